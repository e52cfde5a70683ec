package org.isplit.edge

import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.tensorflow.lite.DataType
import org.tensorflow.lite.Interpreter

/**
 * A model of one input and one output, run by LiteRT on the processor. For one thread at a time.
 *
 * @param name what a message calls it.
 * @param content the bytes of a .tflite file.
 * @throws BundleException if LiteRT cannot run it, or its input is neither float32 nor quantized.
 */
class LiteRtModel(private val name: String, content: ByteArray, threads: Int) : AutoCloseable {
    private val interpreter: Interpreter
    private val input: ByteBuffer
    private val output: ByteBuffer
    private val inputType: DataType
    private val inputScale: Float
    private val inputZeroPoint: Int
    val inputShape: List<Int>
    val outputShape: List<Int>
    val outputType: DataType
    val outputScale: Float
    val outputZeroPoint: Int

    init {
        interpreter = try {
            val model = direct(content.size).put(content)
            model.rewind()
            Interpreter(model, Interpreter.Options().setNumThreads(threads))
        } catch (error: IllegalArgumentException) {
            throw BundleException("$name is not a model that LiteRT can run: ${error.message}", error)
        }
        val from = interpreter.getInputTensor(0)
        val to = interpreter.getOutputTensor(0)
        inputType = from.dataType()
        inputScale = from.quantizationParams().scale
        inputZeroPoint = from.quantizationParams().zeroPoint
        inputShape = from.shape().toList()
        outputShape = to.shape().toList()
        outputType = to.dataType()
        outputScale = to.quantizationParams().scale
        outputZeroPoint = to.quantizationParams().zeroPoint
        input = direct(from.numBytes())
        output = direct(to.numBytes())
        expect("inputs and outputs", listOf(interpreter.inputTensorCount, interpreter.outputTensorCount), listOf(1, 1))
        if (inputType != DataType.FLOAT32 && (inputType !in LIMITS || inputScale == 0f)) {
            interpreter.close()
            throw BundleException("This application runs heads whose input is float32 or quantized. Found: $inputType")
        }
    }

    /** Closes the model and throws if something of it is not what the manifest says. */
    fun expect(what: String, found: Any?, expected: Any?) {
        if (found != expected) {
            interpreter.close()
            throw BundleException(
                "$name is not the head that the manifest describes: $what $found, expected $expected"
            )
        }
    }

    /** Takes the model's input, in its own dtype; [run] then runs the model on it. */
    fun enter(x: FloatArray) {
        input.rewind()
        if (inputType == DataType.FLOAT32) {
            for (value in x) input.putFloat(value)
        } else {
            val whole = quantize(x, inputScale, inputZeroPoint, LIMITS.getValue(inputType))
            if (inputType == DataType.INT16) for (value in whole) input.putShort(value.toShort())
            else for (value in whole) input.put(value.toByte())
        }
    }

    /** Runs the model on what was entered, and returns the bytes of its output. */
    fun run(): ByteArray {
        input.rewind()
        output.rewind()
        interpreter.run(input, output)
        output.rewind()
        return ByteArray(output.remaining()).also { output.get(it) }
    }

    override fun close() = interpreter.close()

    private companion object {
        val LIMITS = mapOf(
            DataType.INT8 to -128..127,
            DataType.UINT8 to 0..255,
            DataType.INT16 to -32768..32767
        )

        // Android runs on little-endian processors only: the native order, which LiteRT asks for, is the wire's.
        fun direct(size: Int): ByteBuffer = ByteBuffer.allocateDirect(size).order(ByteOrder.nativeOrder())
    }
}
