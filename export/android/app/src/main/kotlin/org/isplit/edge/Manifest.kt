package org.isplit.edge

import java.security.MessageDigest

/** What turns a uint8 RGB image into the model's input: (resize(channels in order) * scale - mean) / std, in float32. */
class Preprocessing(
    val size: Pair<Int, Int>?,
    val nearest: Boolean,
    val scale: Double,
    /** One number for all channels, or null where [means] has one for each. */
    val mean: Double,
    val means: List<Double>?,
    val std: Double,
    val stds: List<Double>?,
    val bgr: Boolean
)

/** What manifest.json says, as far as a device needs it; it is checked as it is read. */
class Manifest private constructor(
    val bundleId: String,
    val modelName: String,
    val version: Long,
    val inputShape: List<Int>,
    val latentShape: List<Int>,
    val nClasses: Int,
    val classNames: List<String>?,
    val dtype: String,
    val scale: Double?,
    val zeroPoint: Int?,
    val preprocessing: Preprocessing?,
    val outputKind: String,
    val payloadBytes: Int,
    /** How many bits of each element of the head's output are sent, or null where it is sent as it is. */
    val latentBits: Int?,
    /** What codes the latent, or null where it is not coded. */
    val code: Code?,
    /** The longest coded payload; null where the latent is not coded. */
    val maxPayloadBytes: Int?,
    private val headSha256: String,
    private val headBytes: Long
) {
    /** The 8 bytes that mark this bundle's payloads. */
    val tag: ByteArray get() = ByteArray(Wire.TAG_BYTES) { bundleId.substring(2 * it, 2 * it + 2).toInt(16).toByte() }

    /** The bytes of one element of the head's output. */
    val itemBytes: Int get() = Wire.itemBytes(dtype) ?: throw BundleException("dtype $dtype is unknown")

    /** The name of a class, or its number where the bundle has no names. */
    fun nameOf(index: Int): String = classNames?.get(index) ?: "class $index"

    /**
     * Compares a head with its size and hash here.
     *
     * @throws BundleException if it is another one.
     */
    fun checkHead(content: ByteArray) {
        val found = MessageDigest.getInstance("SHA-256").digest(content).joinToString("") { "%02x".format(it) }
        if (content.size.toLong() != headBytes || found != headSha256) {
            throw BundleException("$HEAD_FILE is not the one that the manifest names. Copy the bundle again.")
        }
    }

    companion object {
        const val FILE = "manifest.json"
        const val HEAD_FILE = "edge/head.tflite"
        private const val FORMAT_VERSION = 1L

        /**
         * Reads manifest.json.
         *
         * @throws BundleException if it is none, is of a newer format, or contradicts itself; the message names the key.
         */
        fun parse(text: String): Manifest {
            val root = try {
                Record("manifest", parseJson(text))
            } catch (error: JsonException) {
                throw BundleException("$FILE is not JSON: ${error.message}", error)
            }
            root.version("format_version", FORMAT_VERSION)
            val packed = root.has("latent_bits")
            val coded = root.has("code")
            val version = if (coded) Wire.CODED_VERSION else if (packed) Wire.PACKED_VERSION else Wire.VERSION
            root.version("wire_version", Wire.CODED_VERSION, version)
            val head = root.record("files").record(HEAD_FILE)
            return Manifest(
                bundleId = root.matching("bundle_id", "[0-9a-f]{64}"),
                modelName = root.matching("model_name", "[A-Za-z0-9_][A-Za-z0-9_.-]*"),
                version = root.long("version", 1),
                inputShape = root.record("shapes").shape("input"),
                latentShape = root.record("shapes").shape("latent"),
                nClasses = root.int("n_classes", 2),
                classNames = root.list("class_names")?.map { it as? String ?: root.fail("class_names", it, "texts") },
                dtype = root.text("dtype"),
                scale = root.double("scale"),
                zeroPoint = if (root.get("zero_point") == null) null else root.int("zero_point", Int.MIN_VALUE),
                preprocessing = if (root.get("preprocessing") == null) null else preprocessing(root.record("preprocessing")),
                outputKind = root.record("output").text("kind"),
                payloadBytes = root.int("payload_bytes", Wire.HEADER_BYTES),
                latentBits = if (packed) root.int("latent_bits", 1) else null,
                code = if (coded) code(root.record("code"), root.record("shapes").shape("latent")) else null,
                maxPayloadBytes = if (coded) root.int("max_payload_bytes", Wire.HEADER_BYTES + 5) else null,
                headSha256 = head.matching("sha256", "[0-9a-f]{64}"),
                headBytes = head.long("size_bytes", 0)
            ).also { it.checkTogether(root) }
        }

        private fun code(record: Record, shape: List<Int>): Code {
            val channels = shape.last()
            val rows = record.list("tables") ?: record.fail("tables", null, "a list of tables")
            val tables = rows.map { row -> record.numbers("tables", row, 0 until Code.TOTAL, Code.SYMBOLS) }
            for (row in tables) {
                if (row[0] != 0 || (1 until row.size).any { row[it] <= row[it - 1] }) {
                    record.fail("tables", row.toList(), "numbers that rise from 0")
                }
            }
            fun each(key: String, range: IntRange) = record.numbers(key, record.get(key), range, channels)
            val runs = each("runs", tables.indices)
            val positions = shape.dropLast(1).fold(1) { product, axis -> product * axis }
            return Code(tables, runs, each("magnitudes", tables.indices), each("centres", -128..127), positions)
        }

        private fun preprocessing(record: Record): Preprocessing {
            val size = record.list("size")?.let { record.shape("size") }
            if (size != null && size.size != 2) record.fail("size", size, "[height, width]")
            fun each(key: String) = (record.get(key) as? List<*>)?.map { record.number(key, it) }
            return Preprocessing(
                size = size?.let { Pair(it[0], it[1]) },
                nearest = record.choice("resize", "bilinear", "nearest") == "nearest",
                scale = record.number("scale", record.get("scale")),
                mean = if (record.get("mean") is List<*>) 0.0 else record.number("mean", record.get("mean")),
                means = each("mean"),
                std = if (record.get("std") is List<*>) 1.0 else record.number("std", record.get("std")),
                stds = each("std"),
                bgr = record.choice("channel_order", "RGB", "BGR") == "BGR"
            )
        }
    }

    private fun checkTogether(root: Record) {
        root.choice("byte_order", "little")
        val itemBytes = Wire.itemBytes(dtype) ?: root.fail("dtype", dtype, "one of float32, int8, int16")
        if (latentBits != null && (latentBits !in listOf(2, 4, 8) || dtype == "float32" || latentBits >= 8 * itemBytes)) {
            root.fail("latent_bits", latentBits, "2, 4 or 8, fewer than the integers of $dtype have")
        }
        val elements = latentShape.fold(1L) { product, axis -> product * axis }
        val latentBytes = Wire.latentBytes(elements, itemBytes, latentBits)
        if (code != null) {
            if (dtype != "int8" || latentBits != null) root.fail("dtype", dtype, "int8, all bits of it: the latent is coded")
        } else if (payloadBytes.toLong() != Wire.HEADER_BYTES + latentBytes) {
            root.fail("payload_bytes", payloadBytes, "${Wire.HEADER_BYTES + latentBytes} (header and latent)")
        }
        if (classNames != null && classNames.size != nClasses) {
            root.fail("class_names", classNames.size, "$nClasses names")
        }
        if ((scale == null) != (dtype == "float32") || (zeroPoint == null) != (dtype == "float32")) {
            root.fail("scale and zero_point", scale, "null where dtype is float32, else numbers")
        }
        val channels = inputShape.last()
        val preprocessing = preprocessing ?: return
        for (list in listOfNotNull(preprocessing.means, preprocessing.stds)) {
            if (list.size != 1 && list.size != channels) {
                root.fail("preprocessing", list, "$channels numbers, one for each channel")
            }
        }
        if ((preprocessing.size != null || preprocessing.bgr) && inputShape.size != 3) {
            root.fail("preprocessing", "size or channel_order", "scale, mean and std, since the input is no image")
        }
        if (preprocessing.size != null && listOf(preprocessing.size.first, preprocessing.size.second) != inputShape.take(2)) {
            root.fail("preprocessing.size", preprocessing.size, "height and width of shapes.input, $inputShape")
        }
    }
}

/** An object of manifest.json or kit.json whose values are checked as they are taken. */
internal class Record(private val name: String, value: Any?) {
    private val fields = value as? Map<*, *> ?: throw BundleException("$name must be an object. Found: $value")

    fun get(key: String): Any? {
        if (key !in fields) throw BundleException("$name lacks $key")
        return fields[key]
    }

    fun fail(key: String, found: Any?, expected: String): Nothing =
        throw BundleException("$name: $key must be $expected. Found: $found")

    fun record(key: String) = Record("$name.$key", get(key))

    fun text(key: String): String = (get(key) as? String)?.takeIf { it.isNotEmpty() } ?: fail(key, get(key), "a text")

    fun matching(key: String, pattern: String): String =
        text(key).also { if (!Regex(pattern).matches(it)) fail(key, it, "of the form $pattern") }

    fun choice(key: String, vararg possible: String): String =
        text(key).also { if (it !in possible) fail(key, it, "one of ${possible.joinToString()}") }

    fun long(key: String, least: Long): Long =
        (get(key) as? Long)?.takeIf { it >= least } ?: fail(key, get(key), "a whole number from $least on")

    fun int(key: String, least: Int): Int =
        long(key, least.toLong()).also { if (it > Int.MAX_VALUE) fail(key, it, "at most ${Int.MAX_VALUE}") }.toInt()

    fun number(key: String, value: Any?): Double =
        (value as? Number)?.toDouble()?.takeIf { !it.isNaN() && !it.isInfinite() } ?: fail(key, value, "a finite number")

    fun double(key: String): Double? = if (get(key) == null) null else number(key, get(key))

    fun list(key: String): List<*>? =
        if (get(key) == null) null else get(key) as? List<*> ?: fail(key, get(key), "null or a list")

    fun shape(key: String): List<Int> {
        val axes = list(key)?.map { (it as? Long)?.takeIf { axis -> axis in 1..Int.MAX_VALUE }?.toInt() }
        if (axes == null || axes.isEmpty() || axes.any { it == null }) fail(key, get(key), "a list of numbers from 1 on")
        return axes.filterNotNull()
    }

    fun numbers(key: String, value: Any?, range: IntRange, size: Int): IntArray {
        val found = (value as? List<*>)?.map { (it as? Long)?.takeIf { one -> one in range }?.toInt() }
        if (found == null || found.size != size || found.any { it == null }) {
            fail(key, value, "$size whole numbers from ${range.first} to ${range.last}")
        }
        return found.filterNotNull().toIntArray()
    }

    /** Whether a key is there and not null. */
    fun has(key: String): Boolean = fields[key] != null

    fun version(key: String, known: Long, expected: Long = known) {
        val found = long(key, 1)
        if (found > known) {
            throw BundleException("$key is $found, newer than this application knows ($known): update it")
        }
        if (found != expected) fail(key, found, "$expected")
    }
}
