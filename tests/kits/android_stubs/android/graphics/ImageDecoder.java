package android.graphics;

import android.content.ContentResolver;
import android.net.Uri;
import java.io.IOException;

public final class ImageDecoder {
    public static final int ALLOCATOR_SOFTWARE = 1;

    public abstract static class Source {}

    public static class ImageInfo {}

    public interface OnHeaderDecodedListener {
        void onHeaderDecoded(ImageDecoder decoder, ImageInfo info, Source source);
    }

    public static Source createSource(ContentResolver cr, Uri uri) {
        return null;
    }

    public static Bitmap decodeBitmap(Source src, OnHeaderDecodedListener listener) throws IOException {
        return null;
    }

    public void setAllocator(int allocator) {}

    public int getAllocator() {
        return 0;
    }
}
