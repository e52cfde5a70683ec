package org.isplit.edge

/** Where the files of a bundle come from: the application's assets, or a directory. */
interface BundleFiles {
    /** Reads a file by its path in the bundle. */
    fun read(name: String): ByteArray
}

/** The answer to one image, with the milliseconds of each phase; the server's work is part of the wire. */
class Answer(
    val row: Row,
    val payloadBytes: Int,
    val preprocessMs: Double,
    val headMs: Double,
    val wireMs: Double
) {
    /** The most probable class, or null where the status is not 0. */
    val best: Int?
        get() = if (row.status == Wire.STATUS_OK) {
            row.probabilities.indices.reduce { a, b -> if (row.probabilities[b] > row.probabilities[a]) b else a }
        } else {
            null
        }
}

/**
 * The head here and the tail on a server, for one thread at a time.
 *
 * @param payloadBytes for a bundle that codes its latents: the most bytes of each payload.
 */
class Classifier(files: BundleFiles, threads: Int = 2, private val payloadBytes: Int? = null) : AutoCloseable {
    val manifest = Manifest.parse(String(files.read(Manifest.FILE), Charsets.UTF_8))
    private val head = Head(manifest, files.read(Manifest.HEAD_FILE), threads)

    /** As [Preprocessor.fitted]. */
    fun fitted(picture: RawImage): RawImage = head.fitted(picture)

    /** Makes the payload of an image; what a test compares with other devices. */
    fun payload(image: RawImage): ByteArray {
        head.prepare(image)
        return head.payload(payloadBytes)
    }

    /**
     * Classifies an image.
     *
     * @throws ISplitException if the image is none for this model, or no answer came.
     */
    fun classify(image: RawImage, tail: TailClient): Answer {
        val begin = System.nanoTime()
        head.prepare(image)
        val prepared = System.nanoTime()
        val payload = head.payload(payloadBytes)
        val encoded = System.nanoTime()
        val row = tail.predict(listOf(payload)).single()
        val end = System.nanoTime()
        return Answer(row, payload.size, ms(begin, prepared), ms(prepared, encoded), ms(encoded, end))
    }

    override fun close() = head.close()

    private fun ms(from: Long, to: Long): Double = (to - from) / 1e6
}
