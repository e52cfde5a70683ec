package org.isplit.edge

import java.io.Closeable
import java.io.IOException
import java.time.Instant
import java.time.ZoneOffset
import java.time.temporal.ChronoUnit

/** A format in which the device can send an image. */
class ImageFormat(val codec: String, val quality: Int?, val encode: (RawImage) -> ByteArray)

/** Something that is measured, once it is loaded: makes one run on an image. */
private interface Run : Closeable {
    /** Returns the moments before, between and after its parts, in nanoseconds, and the bytes that came out. */
    fun once(index: Int): Pair<LongArray, Int>
}

/** Something that is measured, with what was measured so far. */
private class Subject(val name: String, val load: () -> Run) {
    var runs = ArrayList<Pair<Long, List<Double>>>()
    val sizes = ArrayList<Int>()
    var failure: String? = null
    var dropped = 0

    fun note(moments: LongArray, size: Int) {
        runs.add(Pair(moments[0], (1 until moments.size).map { (moments[it] - moments[it - 1]) / 1e9 }))
        sizes.add(size)
    }

    /** Leaves out the runs that no clock can have measured. */
    fun clean() {
        val parts = runs.firstOrNull()?.second?.size ?: return
        val good = (0 until parts).map { part -> Times.believable(runs.map { it.second[part] }) }
            .reduce { a, b -> a intersect b }
        dropped = runs.size - good.size
        runs = ArrayList(runs.filterIndexed { index, _ -> index in good })
    }

    fun part(index: Int) = Times.of(runs.map { it.second[index] })
}

/**
 * Measures this device with a kit, one image at a time, and writes what `python -m isplit_edge profile` writes.
 *
 * All is measured in four passes, one model in memory at a time, so that a phone that gets warm slows down all of them.
 * Each pass begins with a warm-up that is left out. The link is not measured: its record is null.
 *
 * @param formats in which this device can send an image, beside the raw one.
 * @param seconds for each model, in all passes together.
 * @param say gets a line about the progress.
 * @param clock gives moments in nanoseconds.
 */
class Profiler(
    files: BundleFiles,
    private val machine: Map<String, Any?>,
    private val formats: List<ImageFormat> = emptyList(),
    private val threads: Int = 2,
    private val seconds: Double = 2.0,
    private val say: (String) -> Unit = {},
    private val clock: () -> Long = System::nanoTime
) {
    private val kit = Kit(files)
    private val images = kit.images

    /**
     * Measures everything, and returns device.json. What cannot run here is left out and named; where the thread is
     * interrupted, what was measured until then is returned.
     */
    fun measure(): String {
        val heads = kit.cuts.map { Subject("head ${it.index} ${it.name}") { headOf(it) } }
        val whole = if (kit.wholeFile == null) null else Subject("the whole model") { wholeOf() }
        val all = formats + ImageFormat("RAW", null) { it.pixels.copyOf() }
        val codecs = if (images.arePictures) all.map { Subject("${it.codec} ${it.quality ?: ""}".trim()) { runOf(it) } }
            else emptyList()
        val subjects = heads + listOfNotNull(whole) + codecs
        val stopped = visitAll(subjects)
        for (subject in subjects) subject.clean()
        val missing = subjects.filter { it.runs.isEmpty() }.map { "${it.name}: ${it.failure ?: "not measured"}" } +
            listOfNotNull(if (stopped) "interrupted" else null)
        val found = linkedMapOf<String, Any?>(
            "format_version" to 1,
            "kind" to "device_profile",
            "kit_id" to kit.id,
            "model_name" to kit.modelName,
            "model_sha256" to kit.modelSha256,
            "precision" to kit.precision,
            "created" to Instant.now().truncatedTo(ChronoUnit.SECONDS).atOffset(ZoneOffset.UTC).toString()
                .replace("Z", "+00:00"),
            "source" to "measured",
            "note" to null,
            "machine" to machine,
            "threads" to threads,
            "whole" to whole?.takeIf { it.runs.isNotEmpty() }?.let { wholeRecord(it) },
            "cuts" to kit.cuts.zip(heads).filter { it.second.runs.isNotEmpty() }.map { headRecord(it.first, it.second) },
            "codecs" to all.zip(codecs).filter { it.second.runs.isNotEmpty() }.map { codecRecord(it.first, it.second) },
            "link" to null,
            "drift" to driftOf(subjects),
            "complete" to missing.isEmpty(),
            "missing" to missing,
            "dropped" to subjects.map { it.dropped }.sum()
        )
        return jsonText(found) + "\n"
    }

    /** Returns whether the thread was interrupted. */
    private fun visitAll(subjects: List<Subject>): Boolean {
        for (pass in 1..PASSES) {
            for ((place, subject) in subjects.withIndex()) {
                say("pass $pass of $PASSES, ${place + 1} of ${subjects.size}: ${subject.name}")
                if (subject.failure == null) visit(subject)
                if (Thread.interrupted()) return true
            }
        }
        return false
    }

    private fun visit(subject: Subject) {
        try {
            subject.load().use { run ->
                repeat(WARM_UP_RUNS) { run.once(it % images.size) }
                val end = System.nanoTime() + (seconds / PASSES * 1e9).toLong()
                var index = 0
                while (index < FEWEST_RUNS || (System.nanoTime() < end && !Thread.currentThread().isInterrupted)) {
                    val (moments, size) = run.once(index % images.size)
                    subject.note(moments, size)
                    index += 1
                }
            }
        } catch (error: ISplitException) {
            subject.failure = error.message
        } catch (error: IOException) {
            subject.failure = error.message ?: error.toString()
        }
    }

    private fun headOf(cut: KitCut): Run {
        val files = kit.filesOf(cut)
        val manifest = Manifest.parse(String(files.read(Manifest.FILE), Charsets.UTF_8))
        val head = Head(manifest, files.read(Manifest.HEAD_FILE), threads)
        return object : Run {
            override fun once(index: Int): Pair<LongArray, Int> {
                val picture = if (images.arePictures) images.picture(index) else null
                val numbers = if (picture == null) images.numbers(index) else FloatArray(0)
                val begin = clock()
                if (picture != null) head.prepare(picture) else head.prepare(numbers)
                val prepared = clock()
                val latent = head.latent()
                val ran = clock()
                val payload = head.pack(latent)
                val packed = clock()
                TailClient.requestBody(listOf(payload))
                return Pair(longArrayOf(begin, prepared, ran, packed, clock()), payload.size)
            }

            override fun close() = head.close()
        }
    }

    private fun wholeOf(): Run {
        // The whole model takes what a head takes.
        val files = kit.filesOf(kit.cuts.firstOrNull() ?: throw BundleException("This kit holds no head"))
        val preprocessor = Preprocessor(Manifest.parse(String(files.read(Manifest.FILE), Charsets.UTF_8)))
        val model = LiteRtModel("whole.tflite", kit.readWhole(), threads)
        return object : Run {
            override fun once(index: Int): Pair<LongArray, Int> {
                val picture = if (images.arePictures) images.picture(index) else null
                val numbers = if (picture == null) images.numbers(index) else FloatArray(0)
                val begin = clock()
                model.enter(if (picture != null) preprocessor.input(picture) else preprocessor.input(numbers))
                val prepared = clock()
                val answer = model.run()
                return Pair(longArrayOf(begin, prepared, clock()), answer.size)
            }

            override fun close() = model.close()
        }
    }

    private fun runOf(format: ImageFormat): Run = object : Run {
        override fun once(index: Int): Pair<LongArray, Int> {
            val picture = images.picture(index)
            val begin = clock()
            val content = format.encode(picture)
            return Pair(longArrayOf(begin, clock()), content.size)
        }

        override fun close() = Unit
    }

    private fun headRecord(cut: KitCut, one: Subject): Map<String, Any?> = linkedMapOf(
        "index" to cut.index,
        "name" to cut.name,
        "head_macs" to cut.headMacs,
        "encoder_macs" to cut.encoderMacs,
        "preprocess" to one.part(0),
        "head" to one.part(1),
        "coding" to one.part(2),
        "request" to one.part(3),
        "payload_bytes" to one.sizes.average(),
        "size_bytes" to cut.sizeBytes,
        "ram_bytes" to null
    )

    private fun wholeRecord(one: Subject): Map<String, Any?> = linkedMapOf(
        "preprocess" to one.part(0),
        "run" to one.part(1),
        "size_bytes" to kit.wholeBytes,
        "ram_bytes" to null
    )

    private fun codecRecord(format: ImageFormat, one: Subject): Map<String, Any?> = linkedMapOf(
        "codec" to format.codec,
        "quality" to format.quality,
        "size" to images.shape.subList(1, 3),
        "encode" to one.part(0),
        "mean_bytes" to one.sizes.average()
    )

    private fun driftOf(subjects: List<Subject>): Double {
        val relative = subjects.filter { it.runs.isNotEmpty() }.flatMap { subject ->
            val median = Times.percentile(subject.runs.map { it.second.sum() }, 50.0)
            if (median > 0) subject.runs.map { Pair(it.first, it.second.sum() / median) } else emptyList()
        }
        return Times.drift(relative.sortedBy { it.first }.map { it.second })
    }

    private companion object {
        const val PASSES = 4
        const val WARM_UP_RUNS = 3
        const val FEWEST_RUNS = 2
    }
}
