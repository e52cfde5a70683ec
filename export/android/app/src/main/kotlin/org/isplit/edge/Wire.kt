package org.isplit.edge

import java.util.zip.Adler32

/** The bytes that travel from a head to a tail: version 1, and 2 and 3, whose latents have fewer bits or are coded. */
object Wire {
    const val VERSION = 1L
    const val PACKED_VERSION = 2L
    const val CODED_VERSION = 3L
    const val TAG_BYTES = 8
    const val HEADER_BYTES = 12

    const val STATUS_OK = 0
    const val STATUS_OTHER_BUNDLE = 1
    const val STATUS_MALFORMED = 2

    /** What a status means, in words. */
    fun meaning(status: Int): String = when (status) {
        STATUS_OK -> "answered"
        STATUS_OTHER_BUNDLE ->
            "the server's version of this model belongs to another export than this application's bundle"
        STATUS_MALFORMED -> "malformed on arrival (length, checksum, bits left over, or a float latent that is not finite)"
        else -> "unknown"
    }

    /** The bytes of one element of a latent; null for a dtype that the wire does not know. */
    fun itemBytes(dtype: String): Int? = when (dtype) {
        "int8" -> 1
        "int16" -> 2
        "float32" -> 4
        else -> null
    }

    /** The bytes that a latent of so many elements takes. */
    fun latentBytes(elements: Long, itemBytes: Int, bits: Int?): Long =
        if (bits == null) elements * itemBytes else (elements * bits + 7) / 8

    /**
     * Keeps the highest bits of each element, side by side, the first in the lowest bits of the first byte.
     *
     * @param latent integers of [itemBytes] bytes, little-endian.
     * @param bits 8, 4 or 2, fewer than an element has.
     */
    fun keepBits(latent: ByteArray, itemBytes: Int, bits: Int): ByteArray {
        val count = latent.size / itemBytes
        val kept = ByteArray(latentBytes(count.toLong(), itemBytes, bits).toInt())
        for (k in 0 until count) {
            // The highest byte comes last; with its sign flipped, the lowest integer has level 0.
            val highest = (latent[(k + 1) * itemBytes - 1].toInt() and 0xff) xor 0x80
            val at = k * bits / 8
            kept[at] = (kept[at].toInt() or ((highest ushr (8 - bits)) shl (k * bits % 8))).toByte()
        }
        return kept
    }

    /**
     * Makes the payload of one latent: tag, Adler-32 of the latent (unsigned, little-endian), latent.
     *
     * @param tag the first 8 bytes of the bundle's id.
     * @param latent row-major and little-endian, in the dtype of the head's own output, what [keepBits] left of it, or what
     * [Code.encode] made of it.
     */
    fun pack(tag: ByteArray, latent: ByteArray): ByteArray {
        require(tag.size == TAG_BYTES) { "A payload's tag has $TAG_BYTES bytes. Received: ${tag.size}" }
        val checksum = Adler32().apply { update(latent) }.value
        val payload = ByteArray(HEADER_BYTES + latent.size)
        tag.copyInto(payload)
        for (k in 0 until 4) payload[TAG_BYTES + k] = (checksum ushr (8 * k)).toByte()
        latent.copyInto(payload, HEADER_BYTES)
        return payload
    }
}
