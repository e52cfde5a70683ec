package org.isplit.edge

import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.tensorflow.lite.DataType
import org.tensorflow.lite.Interpreter

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
    private val interpreter: Interpreter
    private val input: ByteBuffer
    private val output: ByteBuffer
    private val inputType: DataType
    private val inputScale: Float
    private val inputZeroPoint: Int

    init {
        manifest.checkHead(content)
        interpreter = try {
            val model = direct(content.size).put(content)
            model.rewind()
            Interpreter(model, Interpreter.Options().setNumThreads(threads))
        } catch (error: IllegalArgumentException) {
            throw BundleException("${Manifest.HEAD_FILE} is not a model that LiteRT can run: ${error.message}", error)
        }
        val from = interpreter.getInputTensor(0)
        val to = interpreter.getOutputTensor(0)
        inputType = from.dataType()
        inputScale = from.quantizationParams().scale
        inputZeroPoint = from.quantizationParams().zeroPoint
        expect("inputs and outputs", listOf(interpreter.inputTensorCount, interpreter.outputTensorCount), listOf(1, 1))
        expect("input shape", from.shape().toList(), listOf(1) + manifest.inputShape)
        expect("output shape", to.shape().toList(), listOf(1) + manifest.latentShape)
        expect("output dtype", to.dataType(), DTYPES[manifest.dtype])
        expect("output scale", to.quantizationParams().scale, (manifest.scale ?: 0.0).toFloat())
        expect("output zero point", to.quantizationParams().zeroPoint, manifest.zeroPoint ?: 0)
        if (inputType != DataType.FLOAT32 && (inputType !in LIMITS || inputScale == 0f)) {
            throw BundleException("This application runs heads whose input is float32 or quantized. Found: $inputType")
        }
        input = direct(from.numBytes())
        output = direct(to.numBytes())
    }

    /** As [Preprocessor.fitted]. */
    fun fitted(picture: RawImage): RawImage = preprocessor.fitted(picture)

    /** Makes the head's input of an image, in its own dtype; [payload] then runs the head on it. */
    fun prepare(image: RawImage) {
        val x = preprocessor.input(image)
        input.rewind()
        if (inputType == DataType.FLOAT32) {
            for (value in x) input.putFloat(value)
        } else {
            val whole = quantize(x, inputScale, inputZeroPoint, LIMITS.getValue(inputType))
            if (inputType == DataType.INT16) for (value in whole) input.putShort(value.toShort())
            else for (value in whole) input.put(value.toByte())
        }
    }

    /**
     * Runs the head on what was prepared and returns the payload for the tail.
     *
     * @param maxBytes for a bundle that codes its latents: a bound for this payload, beside the bundle's own.
     * @throws DataException if not even the first channel of the latent fits.
     */
    fun payload(maxBytes: Int? = null): ByteArray {
        input.rewind()
        output.rewind()
        interpreter.run(input, output)
        output.rewind()
        val latent = ByteArray(output.remaining())
        output.get(latent)
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

    override fun close() = interpreter.close()

    private fun expect(what: String, found: Any?, expected: Any?) {
        if (found != expected) {
            interpreter.close()
            throw BundleException(
                "${Manifest.HEAD_FILE} is not the head that the manifest describes: $what $found, expected $expected"
            )
        }
    }

    private companion object {
        val DTYPES = mapOf("float32" to DataType.FLOAT32, "int8" to DataType.INT8, "int16" to DataType.INT16)
        val LIMITS = mapOf(
            DataType.INT8 to -128..127,
            DataType.UINT8 to 0..255,
            DataType.INT16 to -32768..32767
        )

        // Android runs on little-endian processors only: the native order, which LiteRT asks for, is the wire's.
        fun direct(size: Int): ByteBuffer = ByteBuffer.allocateDirect(size).order(ByteOrder.nativeOrder())
    }
}
