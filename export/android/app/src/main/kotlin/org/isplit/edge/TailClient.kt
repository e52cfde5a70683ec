package org.isplit.edge

import java.io.IOException
import java.io.InputStream
import java.net.HttpURLConnection
import java.net.MalformedURLException
import java.net.SocketTimeoutException
import java.net.URL
import java.util.Base64
import java.util.Timer
import java.util.concurrent.atomic.AtomicBoolean
import kotlin.concurrent.schedule
import kotlin.math.abs

/** What a tail answered to one payload; the probabilities are NaN where the status is not 0. */
class Row(val probabilities: FloatArray, val status: Int)

/**
 * Asks the tail on a TensorFlow Serving server over REST, for the version that the manifest names.
 *
 * HttpURLConnection is part of Android, keeps connections open, and needs nothing else.
 *
 * @param url the server's REST address: http://server:8501 or https://...
 * @param token a bearer token; plain http shows it to everyone on the way.
 * @param readTimeoutMs for each piece of an answer.
 * @param totalTimeoutMs for a whole request, from its connection to the last byte of its answer.
 */
class TailClient(
    private val manifest: Manifest,
    url: String,
    private val token: String? = null,
    private val connectTimeoutMs: Int = 3_000,
    private val readTimeoutMs: Int = 10_000,
    private val totalTimeoutMs: Int = 15_000
) {
    private val address: URL

    init {
        val plain = url.trim().trimEnd('/')
        if (!Regex("https?://[^/?#@\\s]+(/[^?#@\\s]*)?").matches(plain)) {
            throw DataException("The server's address looks like http://server:8501. Received: $url")
        }
        try {
            address = URL("$plain/v1/models/${manifest.modelName}/versions/${manifest.version}:predict")
        } catch (error: MalformedURLException) {
            throw DataException("The server's address looks like http://server:8501. Received: $url", error)
        }
    }

    /**
     * Sends payloads in one request.
     *
     * @return a row for each payload, in order.
     * @throws ServerException if the server cannot be reached, refuses, or answers something else than the API says.
     */
    fun predict(payloads: List<ByteArray>): List<Row> {
        val (code, answer) = post(requestBody(payloads), maxAnswerBytes(payloads.size))
        if (code != HttpURLConnection.HTTP_OK) {
            throw ServerException("$address answered HTTP $code: ${errorText(answer)}")
        }
        return readRows(answer, payloads.size, manifest)
    }

    private fun post(body: ByteArray, limit: Int): Pair<Int, String> {
        val connection = address.openConnection() as HttpURLConnection
        // A time-out of the connection begins anew with every byte that comes; this one ends it whatever comes. Where a
        // body is being read, disconnect may wait for the reader, which therefore looks for itself.
        val over = AtomicBoolean()
        val watchdog = Timer("isplit-time-out", true)
        watchdog.schedule(totalTimeoutMs.toLong()) {
            over.set(true)
            connection.disconnect()
        }
        try {
            connection.requestMethod = "POST"
            connection.connectTimeout = connectTimeoutMs
            connection.readTimeout = minOf(readTimeoutMs, totalTimeoutMs)
            connection.instanceFollowRedirects = false
            connection.doOutput = true
            connection.setFixedLengthStreamingMode(body.size)
            connection.setRequestProperty("Content-Type", "application/json")
            if (token != null) connection.setRequestProperty("Authorization", "Bearer $token")
            connection.outputStream.use { it.write(body) }
            val code = connection.responseCode
            val stream = if (code < HttpURLConnection.HTTP_BAD_REQUEST) connection.inputStream else connection.errorStream
            return Pair(code, stream?.use { readAtMost(it, limit, over) } ?: "")
        } catch (error: SocketTimeoutException) {
            throw ServerException("$address did not answer in time", error)
        } catch (error: IOException) {
            if (over.get()) throw ServerException("$address did not answer in time", error)
            throw ServerException("$address cannot be reached: ${error.message}", error)
        } finally {
            watchdog.cancel()
        }
    }

    private fun maxAnswerBytes(n: Int): Int = 65_536 + n * (32 * (manifest.nClasses + 1) + 256)

    companion object {
        // Rounding in a tail of half precision; further off than this is no distribution.
        private const val SUM_TOLERANCE = 0.01
        private val INDEPENDENT = setOf("multi_label", "sigmoids") // the latter in bundles of isplit-tf 0.1.0

        /** The body of a request, byte for byte that of isplit_edge. */
        fun requestBody(payloads: List<ByteArray>): ByteArray {
            val rows = payloads.joinToString("},{") {
                "\"payload\":{\"b64\":\"${Base64.getEncoder().encodeToString(it)}\"}"
            }
            return "{\"signature_name\":\"serving_default\",\"instances\":[{$rows}]}".toByteArray(Charsets.US_ASCII)
        }

        /**
         * Reads an answer, NaN as the bare token included.
         *
         * @throws ServerException if it cannot be the answer to n payloads of this bundle.
         */
        fun readRows(answer: String, n: Int, manifest: Manifest): List<Row> {
            val root = try {
                parseJson(answer, allowNaN = true)
            } catch (error: JsonException) {
                throw ServerException("The server's answer is not JSON: ${shown(answer)}", error)
            }
            val rows = (root as? Map<*, *>)?.get("predictions") as? List<*>
            if (rows == null || rows.size != n) {
                throw ServerException("The server did not answer $n rows of probabilities and status: ${shown(answer)}")
            }
            return rows.map { readRow(it, manifest) ?: throw ServerException("A row is no answer: ${shown(answer)}") }
        }

        private fun readRow(value: Any?, manifest: Manifest): Row? {
            val row = value as? Map<*, *> ?: return null
            val status = (row["status"] as? Long)?.takeIf { it in Wire.STATUS_OK..Wire.STATUS_MALFORMED } ?: return null
            val numbers = (row["probabilities"] as? List<*>)?.map { (it as? Number ?: return null).toDouble() }
            if (numbers == null || numbers.size != manifest.nClasses) return null
            if (status.toInt() == Wire.STATUS_OK && !isDistribution(numbers, manifest.outputKind)) return null
            return Row(FloatArray(numbers.size) { numbers[it].toFloat() }, status.toInt())
        }

        // Written so that NaN fails too. The labels of a multi-label model are independent and need not add up to 1.
        private fun isDistribution(numbers: List<Double>, kind: String): Boolean =
            numbers.all { it >= -SUM_TOLERANCE && it <= 1 + SUM_TOLERANCE } &&
                (kind in INDEPENDENT || abs(numbers.sum() - 1) <= SUM_TOLERANCE)

        private fun errorText(answer: String): String = try {
            ((parseJson(answer, allowNaN = true) as? Map<*, *>)?.get("error") as? String) ?: shown(answer)
        } catch (error: JsonException) {
            shown(answer)
        }

        private fun readAtMost(stream: InputStream, limit: Int, over: AtomicBoolean): String {
            val bytes = java.io.ByteArrayOutputStream()
            val block = ByteArray(8192)
            while (true) {
                if (over.get()) throw IOException("the time for the whole request is over")
                val n = stream.read(block)
                if (n < 0) return String(bytes.toByteArray(), Charsets.UTF_8)
                bytes.write(block, 0, n)
                if (bytes.size() > limit) throw ServerException("The server's answer is longer than $limit bytes")
            }
        }

        private fun shown(text: String): String = if (text.length <= 200) text else text.substring(0, 200) + "..."
    }
}
