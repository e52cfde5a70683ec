package android.widget;

import android.content.Context;
import android.view.View;

public class TextView extends View {
    public TextView(Context context) {
        super(context);
    }

    public CharSequence getText() {
        return "";
    }

    public final void setText(CharSequence text) {}

    public final void setHint(CharSequence hint) {}

    public CharSequence getHint() {
        return "";
    }

    public void setInputType(int type) {}

    public int getInputType() {
        return 0;
    }

    public void setTextSize(float size) {}

    public float getTextSize() {
        return 0;
    }

    public void setTextIsSelectable(boolean selectable) {}
}
