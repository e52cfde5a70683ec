package android.app;

import android.content.ContentResolver;
import android.content.Context;
import android.content.Intent;
import android.content.SharedPreferences;
import android.content.res.AssetManager;
import android.os.Bundle;
import android.view.View;
import java.io.File;

public class Activity extends Context {
    public static final int RESULT_OK = -1;

    protected void onCreate(Bundle savedInstanceState) {}

    protected void onDestroy() {}

    protected void onActivityResult(int requestCode, int resultCode, Intent data) {}

    public void setContentView(View view) {}

    public void startActivityForResult(Intent intent, int requestCode) {}

    public SharedPreferences getPreferences(int mode) {
        return null;
    }

    public final void runOnUiThread(Runnable action) {}

    @Override
    public AssetManager getAssets() {
        return null;
    }

    @Override
    public ContentResolver getContentResolver() {
        return null;
    }

    @Override
    public File getExternalFilesDir(String type) {
        return null;
    }

    @Override
    public File getFilesDir() {
        return null;
    }
}
