package org.isplit.edge

import android.app.Activity
import android.content.ActivityNotFoundException
import android.content.Context
import android.content.Intent
import android.graphics.Bitmap
import android.graphics.ImageDecoder
import android.net.Uri
import android.os.Build
import android.os.Bundle
import android.provider.MediaStore
import android.text.InputType
import android.widget.Button
import android.widget.EditText
import android.widget.ImageView
import android.widget.LinearLayout
import android.widget.ScrollView
import android.widget.TextView
import java.io.ByteArrayOutputStream
import java.io.File
import java.io.IOException
import java.util.Locale
import java.util.concurrent.Executors

/** One screen: the server's address, a picture, its class, and the milliseconds of each phase. */
class MainActivity : Activity() {
    // The interpreter is for one thread at a time: all work is done on this one.
    private val worker = Executors.newSingleThreadExecutor()
    private var classifier: Classifier? = null
    private lateinit var address: EditText
    private lateinit var picture: ImageView
    private lateinit var report: TextView

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(makeView())
        work { "Ready: ${loaded().manifest.nClasses} classes, ${loaded().manifest.payloadBytes} bytes a picture." }
    }

    override fun onDestroy() {
        worker.execute { classifier?.close() }
        worker.shutdown()
        super.onDestroy()
    }

    @Deprecated("The replacement is not part of Android itself.")
    override fun onActivityResult(requestCode: Int, resultCode: Int, data: Intent?) {
        if (resultCode != RESULT_OK || data == null) return
        val url = address.text.toString()
        getPreferences(Context.MODE_PRIVATE).edit().putString(ADDRESS, url).apply()
        val uri = data.data
        // A camera hands over a small picture by itself; a chosen one is read on the worker.
        @Suppress("DEPRECATION")
        val small = data.extras?.get("data") as? Bitmap
        when {
            requestCode == CHOOSE && uri != null -> work { classify(decode(uri), url) }
            requestCode == TAKE && small != null -> work { classify(small, url) }
        }
    }

    private fun classify(bitmap: Bitmap, url: String): String {
        runOnUiThread { picture.setImageBitmap(bitmap) }
        val loaded = loaded()
        val answer = loaded.classify(loaded.fitted(rawImage(bitmap)), TailClient(loaded.manifest, url))
        return describe(answer, loaded.manifest)
    }

    private fun loaded(): Classifier = classifier ?: Classifier(Assets(this, "bundle")).also { classifier = it }

    /** Measures the kit among the assets, and writes device.json where adb finds it. */
    private fun profile(): String {
        val say = { line: String -> runOnUiThread { report.text = line } }
        val content = Profiler(Assets(this, "kit"), machine(), FORMATS, say = say).measure()
        val target = File(getExternalFilesDir(null) ?: filesDir, "device.json")
        val partial = File(target.path + ".partial")
        partial.writeText(content)
        if (!partial.renameTo(target)) throw IOException("$target cannot be written")
        return "Measured. adb pull $target"
    }

    /** Does something on the worker and shows what it returns, or why it failed. */
    private fun work(task: () -> String) {
        report.text = "..."
        worker.execute {
            val text = try {
                task()
            } catch (error: ISplitException) {
                error.message ?: error.toString()
            } catch (error: IOException) {
                "This picture, or the bundle in this application, cannot be read: ${error.message}"
            }
            runOnUiThread { report.text = text }
        }
    }

    private fun decode(uri: Uri): Bitmap =
        ImageDecoder.decodeBitmap(ImageDecoder.createSource(contentResolver, uri)) { decoder, _, _ ->
            // Pixels in the graphics memory cannot be read.
            decoder.allocator = ImageDecoder.ALLOCATOR_SOFTWARE
        }

    private fun makeView(): ScrollView {
        address = EditText(this)
        address.inputType = InputType.TYPE_CLASS_TEXT or InputType.TYPE_TEXT_VARIATION_URI
        address.hint = "http://server:8501"
        address.setText(getPreferences(Context.MODE_PRIVATE).getString(ADDRESS, ""))
        picture = ImageView(this)
        picture.adjustViewBounds = true
        report = TextView(this)
        report.textSize = 18f
        report.setTextIsSelectable(true)
        val column = LinearLayout(this)
        column.orientation = LinearLayout.VERTICAL
        column.setPadding(32, 32, 32, 32)
        column.addView(address)
        column.addView(button("Choose a picture") {
            val open = Intent(Intent.ACTION_OPEN_DOCUMENT).addCategory(Intent.CATEGORY_OPENABLE).setType("image/*")
            startActivityForResult(open, CHOOSE)
        })
        column.addView(button("Take a picture") {
            startActivityForResult(Intent(MediaStore.ACTION_IMAGE_CAPTURE), TAKE)
        })
        column.addView(button("Measure the kit") { work { profile() } })
        column.addView(report)
        column.addView(picture)
        return ScrollView(this).apply { addView(column) }
    }

    private fun button(text: String, action: () -> Unit): Button {
        val button = Button(this)
        button.text = text
        button.setOnClickListener {
            try {
                action()
            } catch (error: ActivityNotFoundException) {
                report.text = "No application on this phone does that."
            }
        }
        return button
    }

    private companion object {
        const val CHOOSE = 1
        const val TAKE = 2
        const val ADDRESS = "address"
        val FORMATS = listOf(10, 30, 50, 75, 90).flatMap { quality ->
            listOf(format("JPEG", quality, Bitmap.CompressFormat.JPEG), format("WEBP", quality, webp()))
        } + format("PNG", null, Bitmap.CompressFormat.PNG)

        // The newer name of lossy WebP is Android 11's.
        @Suppress("DEPRECATION")
        fun webp() = Bitmap.CompressFormat.WEBP

        fun format(codec: String, quality: Int?, how: Bitmap.CompressFormat) = ImageFormat(codec, quality) { image ->
            val file = ByteArrayOutputStream()
            bitmap(image).compress(how, quality ?: 100, file)
            file.toByteArray()
        }

        fun machine() = mapOf(
            "system" to "Android ${Build.VERSION.RELEASE}",
            "processor" to "${Build.MANUFACTURER} ${Build.MODEL} (${Build.HARDWARE})",
            "cores" to Runtime.getRuntime().availableProcessors(),
            "python" to null,
            "litert" to null,
            "isplit_edge" to null
        )
    }
}

/** A folder among the application's assets. */
private class Assets(private val context: Context, private val folder: String) : BundleFiles {
    override fun read(name: String): ByteArray = context.assets.open("$folder/$name").use { it.readBytes() }
}

/** A raw image as a bitmap. */
private fun bitmap(image: RawImage): Bitmap {
    fun at(pixel: Int, channel: Int) = image.pixels[pixel * image.channels + channel % image.channels].toInt() and 0xff
    val colours = IntArray(image.width * image.height) {
        (0xff shl 24) or (at(it, 0) shl 16) or (at(it, 1) shl 8) or at(it, 2)
    }
    return Bitmap.createBitmap(colours, image.width, image.height, Bitmap.Config.ARGB_8888)
}

/** The pixels of a bitmap as (height, width, 3), row by row: a large picture is not held twice as numbers. */
private fun rawImage(bitmap: Bitmap): RawImage {
    val width = bitmap.width
    val pixels = ByteArray(3 * width * bitmap.height)
    val row = IntArray(width)
    var place = 0
    for (y in 0 until bitmap.height) {
        bitmap.getPixels(row, 0, width, 0, y, width, 1)
        for (colour in row) {
            pixels[place++] = (colour shr 16).toByte()
            pixels[place++] = (colour shr 8).toByte()
            pixels[place++] = colour.toByte()
        }
    }
    return RawImage(bitmap.height, width, 3, pixels)
}

private fun describe(answer: Answer, manifest: Manifest): String {
    val best = answer.best ?: return "No answer: ${Wire.meaning(answer.row.status)}"
    val times = "preprocess %.1f ms, head %.1f ms, wire %.1f ms"
        .format(Locale.ROOT, answer.preprocessMs, answer.headMs, answer.wireMs)
    val share = "%.1f %%".format(Locale.ROOT, 100 * answer.row.probabilities[best])
    return "${manifest.nameOf(best)}  $share\n$times\n${answer.payloadBytes} bytes sent"
}
