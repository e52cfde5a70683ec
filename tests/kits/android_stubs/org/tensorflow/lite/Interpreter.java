package org.tensorflow.lite;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** The calls of LiteRT's class that the application makes; whoever sets {@code backend} runs the model. */
public final class Interpreter implements AutoCloseable {
    public interface Backend {
        Tensor input(byte[] model);

        Tensor output(byte[] model);

        byte[] run(byte[] input);
    }

    public static Backend backend;

    public static class Options {
        public Options setNumThreads(int numThreads) {
            return this;
        }
    }

    private final byte[] model;
    private boolean closed;

    public Interpreter(ByteBuffer byteBuffer, Options options) {
        // LiteRT's own words.
        if (!byteBuffer.isDirect() || byteBuffer.order() != ByteOrder.nativeOrder()) {
            throw new IllegalArgumentException(
                "Model ByteBuffer should be either a MappedByteBuffer of the model file, or a direct ByteBuffer using "
                    + "ByteOrder.nativeOrder() which contains bytes of model content.");
        }
        model = new byte[byteBuffer.capacity()];
        byteBuffer.duplicate().get(model);
    }

    public int getInputTensorCount() {
        return 1;
    }

    public int getOutputTensorCount() {
        return 1;
    }

    public Tensor getInputTensor(int inputIndex) {
        return backend.input(model);
    }

    public Tensor getOutputTensor(int outputIndex) {
        return backend.output(model);
    }

    public void run(Object input, Object output) {
        if (closed) throw new IllegalStateException("Internal error: The Interpreter has already been closed.");
        ByteBuffer from = (ByteBuffer) input;
        byte[] bytes = new byte[from.remaining()];
        from.get(bytes);
        ((ByteBuffer) output).put(backend.run(bytes));
    }

    @Override
    public void close() {
        closed = true;
    }
}
