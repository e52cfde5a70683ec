package org.isplit.edge

import java.io.ByteArrayInputStream
import java.io.IOException
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.security.MessageDigest
import java.util.zip.ZipInputStream

/** A head of a kit: what kit.json says of it. */
class KitCut(
    val index: Long,
    val name: String,
    val headMacs: Long,
    val encoderMacs: Long,
    val directory: String,
    val sizeBytes: Long
)

/** A kit to measure a device with, as isplit kit writes it: heads at many cuts, the whole model, some images. */
class Kit(private val files: BundleFiles) {
    val id: String
    val modelName: String
    val modelSha256: String
    val precision: String
    val cuts: List<KitCut>
    val wholeFile: String?
    val wholeBytes: Long
    val images: Images
    private val entries: Record

    init {
        val root = try {
            Record("kit", parseJson(String(files.read(FILE), Charsets.UTF_8)))
        } catch (error: JsonException) {
            throw BundleException("$FILE is not JSON: ${error.message}", error)
        }
        root.choice("kind", "kit")
        root.version("format_version", FORMAT_VERSION)
        id = root.matching("kit_id", "[0-9a-f]{64}")
        modelName = root.text("model_name")
        modelSha256 = root.matching("model_sha256", "[0-9a-f]{64}")
        precision = root.text("precision")
        entries = root.record("files")
        cuts = (root.list("cuts") ?: root.fail("cuts", null, "a list")).map { value ->
            val cut = Record("kit.cuts", value)
            KitCut(
                cut.long("index", 0),
                cut.text("name"),
                cut.long("head_macs", 0),
                cut.long("encoder_macs", 0),
                inside(cut.text("directory")),
                cut.long("size_bytes", 0)
            )
        }
        val whole = if (root.has("whole")) root.record("whole") else null
        wholeFile = whole?.text("file")
        wholeBytes = whole?.long("size_bytes", 0) ?: 0
        images = Images.parse(checked(root.text("images")))
    }

    /** The files of a head, as a bundle has them. */
    fun filesOf(cut: KitCut): BundleFiles = object : BundleFiles {
        override fun read(name: String) = files.read("${cut.directory}/$name")
    }

    /** Reads the whole model; only where [wholeFile] is not null. */
    fun readWhole(): ByteArray = checked(wholeFile ?: throw BundleException("This kit holds no whole model"))

    private fun checked(name: String): ByteArray {
        val entry = entries.record(name)
        val content = files.read(inside(name))
        val found = MessageDigest.getInstance("SHA-256").digest(content).joinToString("") { "%02x".format(it) }
        if (found != entry.matching("sha256", "[0-9a-f]{64}")) {
            throw BundleException("$name is not the one that $FILE names. Copy the kit again.")
        }
        return content
    }

    private fun inside(name: String): String {
        if (name.startsWith("/") || name.split("/").any { it == ".." }) {
            throw BundleException("$name leads out of the kit")
        }
        return name
    }

    companion object {
        const val FILE = "kit.json"
        private const val FORMAT_VERSION = 1L
    }
}

/** The images of a kit: pictures, or numbers of any shape. */
class Images private constructor(val shape: List<Int>, private val bytes: ByteArray?, private val floats: FloatArray?) {
    val size: Int get() = shape[0]

    /** Whether they are pictures, uint8 with one or three channels. */
    val arePictures: Boolean get() = bytes != null && shape.size == 4 && (shape[3] == 1 || shape[3] == 3)

    private val each = shape.drop(1).fold(1) { product, axis -> product * axis }

    /** A picture; only where [arePictures]. */
    fun picture(index: Int): RawImage {
        val all = bytes ?: throw DataException("The kit's images are no pictures")
        return RawImage(shape[1], shape[2], shape[3], all.copyOfRange(index * each, (index + 1) * each))
    }

    /** The numbers of one that is no picture. */
    fun numbers(index: Int): FloatArray {
        if (floats != null) return floats.copyOfRange(index * each, (index + 1) * each)
        val all = bytes ?: ByteArray(0)
        return FloatArray(each) { (all[index * each + it].toInt() and 0xff).toFloat() }
    }

    companion object {
        private const val NAME = "images.npy"
        private const val MAGIC_BYTES = 6
        private val HEADER = Regex(
            "\\s*\\{'descr': '([|<](?:u1|f4))', 'fortran_order': False, 'shape': \\(([0-9, ]+)\\), \\}\\s*"
        )

        /** Reads images.npz. */
        fun parse(content: ByteArray): Images {
            val array = try {
                ZipInputStream(ByteArrayInputStream(content)).use { zip ->
                    generateSequence { zip.nextEntry }.firstOrNull { it.name == NAME }?.let { zip.readBytes() }
                }
            } catch (error: IOException) {
                throw BundleException("The kit's images cannot be read: ${error.message}", error)
            }
            return ofArray(array ?: throw BundleException("The kit's images hold no $NAME"))
        }

        private fun ofArray(array: ByteArray): Images {
            if (array.size < MAGIC_BYTES + 6) throw BundleException("The kit's images are cut off")
            val buffer = ByteBuffer.wrap(array).order(ByteOrder.LITTLE_ENDIAN)
            val wide = array[MAGIC_BYTES].toInt() > 1
            val begin = MAGIC_BYTES + if (wide) 6 else 4
            val length = if (wide) buffer.getInt(MAGIC_BYTES + 2) else buffer.getShort(MAGIC_BYTES + 2).toInt() and 0xffff
            if (length < 0 || begin + length > array.size) throw BundleException("The kit's images are cut off")
            val header = String(array, begin, length, Charsets.ISO_8859_1)
            val found = HEADER.matchEntire(header) ?: throw BundleException("The kit's images are none: $header")
            val shape = found.groupValues[2].split(",").map { it.trim() }.filter { it.isNotEmpty() }.map { it.toInt() }
            val wanted = shape.fold(1L) { product, axis -> product * axis }
            val itemBytes = if (found.groupValues[1].endsWith("u1")) 1 else 4
            if (shape.size < 2 || wanted == 0L || wanted * itemBytes != (array.size - begin - length).toLong()) {
                throw BundleException("The kit's images are no array of the shape $shape")
            }
            if (itemBytes == 1) return Images(shape, array.copyOfRange(begin + length, array.size), null)
            buffer.position(begin + length)
            val floats = buffer.slice().order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer()
            return Images(shape, null, FloatArray(wanted.toInt()).also { floats.get(it) })
        }
    }
}
