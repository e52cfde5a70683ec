package harness

import java.io.DataInputStream
import java.io.DataOutputStream
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.isplit.edge.BundleFiles
import org.isplit.edge.Classifier
import org.isplit.edge.Code
import org.isplit.edge.ISplitException
import org.isplit.edge.ImageFormat
import org.isplit.edge.JsonException
import org.isplit.edge.Profiler
import org.isplit.edge.RawImage
import org.isplit.edge.TailClient
import org.isplit.edge.parseJson
import org.tensorflow.lite.DataType
import org.tensorflow.lite.Interpreter
import org.tensorflow.lite.Tensor

// Runs the application's own code, all but its screen, for a test in Python, over standard input and output.
//
// Frames: the length of a name and the name; the length of a body and the body; lengths as 4 bytes, most significant
// first. The test sends a command and gets "result" or "error"; in between it gets "infer" with the bytes of the head's
// input, and answers with the latent that the real LiteRT makes of it.

private val input = DataInputStream(System.`in`.buffered())
private val output = DataOutputStream(System.out.buffered())

private fun send(name: String, body: ByteArray) {
    output.writeInt(name.length)
    output.writeBytes(name)
    output.writeInt(body.size)
    output.write(body)
    output.flush()
}

private fun receive(): Pair<String, ByteArray>? {
    val length = input.read()
    if (length < 0) return null
    val name = ByteArray((length shl 24) or (input.readUnsignedByte() shl 16) or input.readUnsignedShort())
    input.readFully(name)
    val body = ByteArray(input.readInt())
    input.readFully(body)
    return Pair(String(name, Charsets.US_ASCII), body)
}

private class Described(text: String) : Tensor {
    private val words = text.split(" ")
    override fun dataType() = DataType.valueOf(words[0])
    override fun numBytes() = words[1].toInt()
    override fun quantizationParams() = Tensor.QuantizationParams(words[2].toFloat(), words[3].toInt())
    override fun shape() = IntArray(words.size - 4) { words[it + 4].toInt() }
}

private object RealLiteRt : Interpreter.Backend {
    var description = listOf<String>()
    override fun input(model: ByteArray) = Described(description[0])
    override fun output(model: ByteArray) = Described(description[1])
    override fun run(input: ByteArray): ByteArray {
        send("infer", input)
        return receive()!!.second
    }
}

/** The models of a kit, told apart by their hash; what runs them answers zeros. */
private class Zeros(descriptions: List<String>) : Interpreter.Backend {
    private val known = descriptions.map { it.split("|") }.associateBy { it[0] }
    private var size = 0
    private fun described(model: ByteArray, end: Int): Tensor {
        val digest = java.security.MessageDigest.getInstance("SHA-256").digest(model)
        return Described(known.getValue(digest.joinToString("") { "%02x".format(it) })[end])
    }
    override fun input(model: ByteArray) = described(model, 1)
    override fun output(model: ByteArray) = described(model, 2).also { size = it.numBytes() }
    override fun run(input: ByteArray) = ByteArray(size)
}

/** A clock that is set back and that sleeps now and then, where it is asked to. */
private class Clock(private val jumps: Boolean) {
    private var reads = 0
    fun read(): Long {
        reads += 1
        if (!jumps) return System.nanoTime()
        return System.nanoTime() + if (reads % 40 == 7) -3_000_000_000L else if (reads % 40 == 9) 500_000_000_000L else 0L
    }
}

private fun profile(words: List<String>, lines: List<String>): ByteArray {
    Interpreter.backend = Zeros(lines.drop(1))
    val format = ImageFormat("JPEG", 75) { it.pixels.copyOf(10) }
    val machine = mapOf("system" to "Java \"machine\"\n", "cores" to 2, "python" to null)
    if (words[1] == "interrupted") Thread.currentThread().interrupt()
    try {
        val clock = Clock(words[1] == "jumps")
        val profiler = Profiler(
            Directory(lines[0]), machine, listOf(format), 1, words[0].toDouble(), clock = { clock.read() }
        )
        return profiler.measure().toByteArray()
    } finally {
        Thread.interrupted()
        Interpreter.backend = RealLiteRt
    }
}

private class Directory(private val path: String) : BundleFiles {
    override fun read(name: String) = File(path, name).readBytes()
}

private fun image(arguments: List<String>, body: ByteArray) =
    RawImage(arguments[0].toInt(), arguments[1].toInt(), arguments[2].toInt(), body)

private fun bytesOf(row: org.isplit.edge.Row): ByteArray {
    val buffer = ByteBuffer.allocate(4 + 4 * row.probabilities.size).order(ByteOrder.LITTLE_ENDIAN)
    buffer.putInt(row.status)
    for (value in row.probabilities) buffer.putFloat(value)
    return buffer.array()
}

private fun encode(vector: Map<*, *>): ByteArray {
    fun numbers(value: Any?) = (value as List<*>).map { (it as Long).toInt() }.toIntArray()
    val tables = (vector["tables"] as List<*>).map { numbers(it) }
    val (runs, magnitudes, centres) = listOf("runs", "magnitudes", "centres").map { numbers(vector[it]) }
    val latent = numbers(vector["latent"])
    val code = Code(tables, runs, magnitudes, centres, latent.size / centres.size)
    val bytes = ByteArray(latent.size) { latent[it].toByte() }
    return code.encode(bytes, numbers(listOf(vector["max_bytes"]))[0]) ?: ByteArray(0)
}

private var classifier: Classifier? = null

private fun perform(command: String, body: ByteArray): ByteArray {
    val words = command.split(" ")
    val arguments = words.drop(1)
    return when (words[0]) {
        "open" -> {
            val (directory, from, to) = String(body, Charsets.UTF_8).split("\n")
            RealLiteRt.description = listOf(from, to)
            classifier?.close()
            classifier = Classifier(Directory(directory))
            ByteArray(0)
        }
        "payload" -> classifier!!.payload(image(arguments, body))
        "numbers" -> {
            val numbers = ByteBuffer.wrap(body).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer()
            classifier!!.payload(FloatArray(numbers.remaining()).also { numbers.get(it) })
        }
        "fitted" -> classifier!!.fitted(image(arguments, body)).pixels
        "classify" -> {
            val tail = TailClient(classifier!!.manifest, arguments[3])
            val answer = classifier!!.classify(image(arguments, body), tail)
            val name = answer.best?.let { classifier!!.manifest.nameOf(it) }
            "$name ${answer.payloadBytes} ${answer.preprocessMs} ${answer.headMs} ${answer.wireMs}".toByteArray()
        }
        "ask" -> {
            val limit = arguments.getOrNull(1)?.toInt() ?: 15_000
            val tail = TailClient(classifier!!.manifest, arguments[0], totalTimeoutMs = limit)
            bytesOf(tail.predict(listOf(body)).single())
        }
        "profile" -> profile(arguments, String(body, Charsets.UTF_8).split("\n"))
        "body" -> TailClient.requestBody(listOf(body, body))
        "rows" -> {
            val text = String(body, Charsets.UTF_8)
            TailClient.readRows(text, arguments[0].toInt(), classifier!!.manifest).map { bytesOf(it) }
                .fold(ByteArray(0)) { all, one -> all + one }
        }
        "encode" -> encode(parseJson(String(body, Charsets.UTF_8)) as Map<*, *>)
        "json" -> parseJson(String(body, Charsets.UTF_8), arguments[0] == "nan").toString().toByteArray()
        else -> throw IllegalArgumentException(command)
    }
}

fun main() {
    Interpreter.backend = RealLiteRt
    while (true) {
        val (command, body) = receive() ?: return
        try {
            send("result", perform(command, body))
        } catch (error: ISplitException) {
            send("error", "${error.javaClass.simpleName}: ${error.message}".toByteArray())
        } catch (error: JsonException) {
            send("error", "JsonException: ${error.message}".toByteArray())
        }
    }
}
