package android.graphics;

import java.io.OutputStream;

public final class Bitmap {
    public enum CompressFormat {
        JPEG,
        PNG,
        @Deprecated
        WEBP
    }

    public enum Config {
        ARGB_8888
    }

    public static Bitmap createBitmap(int[] colors, int width, int height, Config config) {
        return new Bitmap();
    }

    public boolean compress(CompressFormat format, int quality, OutputStream stream) {
        return true;
    }

    public int getWidth() {
        return 0;
    }

    public int getHeight() {
        return 0;
    }

    public void getPixels(int[] pixels, int offset, int stride, int x, int y, int width, int height) {}
}
