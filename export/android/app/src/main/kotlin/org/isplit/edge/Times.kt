package org.isplit.edge

import kotlin.math.floor

/** The seconds that something took again and again; the same numbers as isplit_edge.times in Python. */
object Times {
    // A second, and a hundred times the median: a phone that slept, not one that was busy.
    private const val ABSURD_S = 1.0
    private const val ABSURD_TIMES = 100.0

    /** The record of device.json. */
    fun of(seconds: List<Double>): Map<String, Any?> = mapOf(
        "n" to seconds.size,
        "median_s" to percentile(seconds, 50.0),
        "p95_s" to percentile(seconds, 95.0),
        "mean_s" to seconds.sum() / seconds.size
    )

    /** Which intervals a clock can have measured, by their positions. */
    fun believable(seconds: List<Double>): Set<Int> {
        val possible = seconds.indices.filter { seconds[it] >= 0 }
        if (possible.isEmpty()) return emptySet()
        val limit = maxOf(ABSURD_S, ABSURD_TIMES * percentile(possible.map { seconds[it] }, 50.0))
        return possible.filter { seconds[it] <= limit }.toSet()
    }

    /** The median of the last tenth over that of the first tenth; 1 where there are under ten values. */
    fun drift(relative: List<Double>): Double {
        val tenth = relative.size / 10
        if (tenth == 0) return 1.0
        val first = percentile(relative.take(tenth), 50.0)
        val last = percentile(relative.takeLast(tenth), 50.0)
        return if (first > 0 && last > 0) last / first else 1.0
    }

    /** As numpy's percentile: between two values it lies on the line. */
    fun percentile(values: List<Double>, percent: Double): Double {
        val sorted = values.sorted()
        val place = percent / 100 * (sorted.size - 1)
        val low = floor(place).toInt()
        val high = minOf(low + 1, sorted.size - 1)
        return sorted[low] + (sorted[high] - sorted[low]) * (place - low)
    }
}
