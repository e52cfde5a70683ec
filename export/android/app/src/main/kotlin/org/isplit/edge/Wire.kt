package org.isplit.edge

import java.util.zip.Adler32

/** The bytes that travel from a head to a tail, version 1 of the wire format. */
object Wire {
    const val VERSION = 1L
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
        STATUS_MALFORMED -> "malformed on arrival (length, checksum, or a float latent that is not finite)"
        else -> "unknown"
    }

    /** The bytes of one element of a latent; null for a dtype that the wire does not know. */
    fun itemBytes(dtype: String): Int? = when (dtype) {
        "int8" -> 1
        "int16" -> 2
        "float32" -> 4
        else -> null
    }

    /**
     * Makes the payload of one latent: tag, Adler-32 of the latent (unsigned, little-endian), latent.
     *
     * @param tag the first 8 bytes of the bundle's id.
     * @param latent row-major and little-endian, in the dtype of the head's own output.
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
