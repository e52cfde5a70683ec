package android.os;

public final class Build {
    public static final String MANUFACTURER = "";
    public static final String MODEL = "";
    public static final String HARDWARE = "";

    public static final class VERSION {
        public static final String RELEASE = "";
    }
}
