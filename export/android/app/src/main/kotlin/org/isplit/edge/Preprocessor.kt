package org.isplit.edge

import kotlin.math.ceil
import kotlin.math.floor

/** A raw image, uint8, row-major: (height, width, channels), channels R, G, B or grey. */
class RawImage(val height: Int, val width: Int, val channels: Int, val pixels: ByteArray) {
    init {
        require(pixels.size == height * width * channels) { "${pixels.size} bytes are no $height x $width x $channels" }
    }

    /** The same in grey, as Pillow's convert("L") has it: ITU-R 601 luma with 16 bits after the point. */
    fun grey(): RawImage {
        if (channels == 1) return this
        val grey = ByteArray(height * width) {
            val red = pixels[3 * it].toInt() and 0xff
            val green = pixels[3 * it + 1].toInt() and 0xff
            val blue = pixels[3 * it + 2].toInt() and 0xff
            ((19595 * red + 38470 * green + 7471 * blue + 0x8000) ushr 16).toByte()
        }
        return RawImage(height, width, 1, grey)
    }
}

/**
 * Makes a model's input of a raw image, or of other raw numbers: the same numbers, to the bit, as isplit_edge.preprocessing in Python.
 *
 * Every step is one operation in float32, rounded on its own.
 */
class Preprocessor(private val manifest: Manifest) {
    private val shape = manifest.inputShape
    private val isImage = shape.size == 2 || (shape.size == 3 && (shape[2] == 1 || shape[2] == 3))
    private val height = if (isImage) shape[0] else 0
    private val width = if (isImage) shape[1] else 0
    private val channels = if (isImage) shape.getOrElse(2) { 1 } else 0

    /**
     * Brings a picture into the model's channels and, where the bundle does not resize, into its size.
     *
     * A bundle without a size takes images of one size only; what comes from a camera has another one.
     */
    fun fitted(picture: RawImage): RawImage {
        requireImage()
        val image = if (channels == 1) picture.grey() else picture
        if (manifest.preprocessing?.size != null || (image.height == height && image.width == width)) return image
        val x = bilinear(Pixels(image))
        return RawImage(height, width, channels, ByteArray(x.size) { Math.rint(x[it].toDouble()).toInt().toByte() })
    }

    /**
     * Makes the model's input.
     *
     * @return float32, (height, width, channels), row-major.
     * @throws DataException if the image has other channels, or another size and the bundle does not resize.
     */
    fun input(image: RawImage): FloatArray {
        requireImage()
        val record = manifest.preprocessing
        if (image.channels != channels) {
            throw DataException("Images must have $channels channels. Received: ${image.channels}")
        }
        val right = image.height == height && image.width == width
        if (record?.size == null && !right) {
            throw DataException("Images must be $height x $width. Received: ${image.height} x ${image.width}")
        }
        val pixels = Pixels(image, record?.bgr ?: false)
        val x = when {
            right -> each { row, column, channel -> pixels.at(row, column, channel) }
            record?.nearest ?: false -> nearest(pixels)
            else -> bilinear(pixels)
        }
        return if (record == null) x else scaled(x, record)
    }

    /**
     * Makes the model's input of numbers that are no image, of any shape, as a sensor gives them.
     *
     * @param numbers row-major, as many as the model's input has.
     * @throws DataException if they are more or fewer.
     */
    fun input(numbers: FloatArray): FloatArray {
        val expected = shape.fold(1L) { product, axis -> product * axis }
        if (numbers.size.toLong() != expected) {
            throw DataException("The model's input $shape has $expected numbers. Received: ${numbers.size}")
        }
        val record = manifest.preprocessing ?: return numbers.copyOf()
        return scaled(numbers.copyOf(), record)
    }

    private fun requireImage() {
        if (!isImage) throw DataException("This model takes no images of 1 or 3 channels. Its input: $shape")
    }

    private fun scaled(x: FloatArray, record: Preprocessing): FloatArray {
        val last = shape.last()
        fun each(list: List<Double>?, single: Double) =
            FloatArray(last) { (list?.get(minOf(it, list.size - 1)) ?: single).toFloat() }
        if (record.scale != 1.0) for (k in x.indices) x[k] *= record.scale.toFloat()
        if (record.means != null || record.mean != 0.0) {
            val mean = each(record.means, record.mean)
            for (k in x.indices) x[k] -= mean[k % last]
        }
        if (record.stds != null || record.std != 1.0) {
            val std = each(record.stds, record.std)
            for (k in x.indices) x[k] /= std[k % last]
        }
        return x
    }

    private fun nearest(pixels: Pixels): FloatArray {
        fun grid(old: Int, new: Int) = IntArray(new) { minOf(floor(place(it, old, new)).toInt(), old - 1) }
        val rows = grid(pixels.height, height)
        val columns = grid(pixels.width, width)
        return each { row, column, channel -> pixels.at(rows[row], columns[column], channel) }
    }

    private fun bilinear(pixels: Pixels): FloatArray {
        val rows = Grid(pixels.height, height)
        val columns = Grid(pixels.width, width)
        fun between(row: Int, column: Int, channel: Int): Float {
            val start = pixels.at(row, columns.lower[column], channel)
            return start + (pixels.at(row, columns.upper[column], channel) - start) * columns.fraction[column]
        }
        return each { row, column, channel ->
            val upper = between(rows.lower[row], column, channel)
            upper + (between(rows.upper[row], column, channel) - upper) * rows.fraction[row]
        }
    }

    private inline fun each(value: (Int, Int, Int) -> Float) =
        FloatArray(height * width * channels) { value(it / (width * channels), it / channels % width, it % channels) }

    /** The numbers of an image, its channels in order. A large picture is never held as floats. */
    private class Pixels(private val image: RawImage, private val bgr: Boolean = false) {
        val height = image.height
        val width = image.width

        fun at(row: Int, column: Int, channel: Int): Float {
            val ordered = if (bgr) image.channels - 1 - channel else channel
            return (image.pixels[(row * width + column) * image.channels + ordered].toInt() and 0xff).toFloat()
        }
    }

    /** The two neighbours of each new pixel along an axis, and how far it lies from the first. */
    private class Grid(old: Int, new: Int) {
        private val places = FloatArray(new) { place(it, old, new) - 0.5f }
        val lower = IntArray(new) { maxOf(floor(places[it]), 0f).toInt() }
        val upper = IntArray(new) { minOf(ceil(places[it]).toInt(), old - 1) }
        val fraction = FloatArray(new) { places[it] - floor(places[it]) }
    }

    private companion object {
        /** Where the middle of a new pixel lies in the old image: half-pixel centres. */
        fun place(index: Int, old: Int, new: Int): Float = (index.toFloat() + 0.5f) * (old.toDouble() / new).toFloat()
    }
}

/**
 * Quantizes as TFLite's reference kernel does: round(x / scale) + zeroPoint, halves away from zero.
 *
 * @param limits the range of the head's input dtype; what is out of it ends at its limits.
 */
fun quantize(x: FloatArray, scale: Float, zeroPoint: Int, limits: IntRange): IntArray {
    val low = (limits.first - zeroPoint).toFloat()
    val high = (limits.last - zeroPoint).toFloat()
    return IntArray(x.size) {
        val y = minOf(maxOf(x[it] / scale, low), high)
        (y + Math.copySign(ALMOST_HALF, y)).toInt() + zeroPoint
    }
}

// The largest number below one half: added before cutting off, it rounds halves away from zero and nothing else.
private val ALMOST_HALF = Math.nextDown(0.5f)
