package org.isplit.edge

import org.tensorflow.lite.DataType

/**
 * The head of a bundle, run by LiteRT on the processor. For one thread at a time.
 *
 * It does not use the GPU: its delegate computes int8 heads in float, and the payloads would be other ones.
 *
 * @param content the bytes of head.tflite.
 * @throws BundleException if it is not the head that the manifest describes.
 */
class Head(private val manifest: Manifest, content: ByteArray, threads: Int = 2) : AutoCloseable {
    private val preprocessor = Preprocessor(manifest)
    private val model: LiteRtModel

    init {
        manifest.checkHead(content)
        model = LiteRtModel(Manifest.HEAD_FILE, content, threads)
        model.expect("input shape", model.inputShape, listOf(1) + manifest.inputShape)
        model.expect("output shape", model.outputShape, listOf(1) + manifest.latentShape)
        model.expect("output dtype", model.outputType, DTYPES[manifest.dtype])
        model.expect("output scale", model.outputScale, (manifest.scale ?: 0.0).toFloat())
        model.expect("output zero point", model.outputZeroPoint, manifest.zeroPoint ?: 0)
    }

    /** As [Preprocessor.fitted]. */
    fun fitted(picture: RawImage): RawImage = preprocessor.fitted(picture)

    /** Makes the head's input of an image, in its own dtype; [payload] then runs the head on it. */
    fun prepare(image: RawImage) = model.enter(preprocessor.input(image))

    /** The same for numbers that are no image, as [Preprocessor.input] takes them. */
    fun prepare(numbers: FloatArray) = model.enter(preprocessor.input(numbers))

    /** Runs the head on what was prepared, and returns its output, the latent. */
    fun latent(): ByteArray = model.run()

    /**
     * Returns the payload of a latent for the tail.
     *
     * @param maxBytes for a bundle that codes its latents: a bound for this payload, beside the bundle's own.
     * @throws DataException if not even the first channel of the latent fits.
     */
    fun pack(latent: ByteArray, maxBytes: Int? = null): ByteArray {
        val code = manifest.code
        if (code != null) {
            val bound = minOf(maxBytes ?: Int.MAX_VALUE, manifest.maxPayloadBytes ?: Int.MAX_VALUE)
            val coded = code.encode(latent, bound - Wire.HEADER_BYTES)
                ?: throw DataException("Not even the first channel of the latent fits in $bound bytes: allow for more")
            return Wire.pack(manifest.tag, coded)
        }
        val bits = manifest.latentBits ?: return Wire.pack(manifest.tag, latent)
        return Wire.pack(manifest.tag, Wire.keepBits(latent, manifest.itemBytes, bits))
    }

    /** Runs the head on what was prepared and returns the payload, as [pack] does. */
    fun payload(maxBytes: Int? = null): ByteArray = pack(latent(), maxBytes)

    override fun close() = model.close()

    private companion object {
        val DTYPES = mapOf("float32" to DataType.FLOAT32, "int8" to DataType.INT8, "int16" to DataType.INT16)
    }
}
