package android.content;

import android.content.res.AssetManager;

public abstract class Context {
    public static final int MODE_PRIVATE = 0;

    public abstract AssetManager getAssets();

    public abstract ContentResolver getContentResolver();
}
