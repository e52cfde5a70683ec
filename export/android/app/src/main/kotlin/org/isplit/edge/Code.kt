package org.isplit.edge

/**
 * The coder of latents, version 3 of the wire: the bytes that isplit_edge gives, which docs/bundle.md defines.
 *
 * @param tables rows of 17: where in 4096 the part begins of each of the numbers 0 to 15, and of "16 or more".
 * @param runs of each channel, the table of its runs of zeros.
 * @param magnitudes of each channel, the table of its magnitudes.
 * @param centres of each channel, what counts as zero.
 * @param positions of each channel.
 */
class Code(
    private val tables: List<IntArray>,
    private val runs: IntArray,
    private val magnitudes: IntArray,
    private val centres: IntArray,
    private val positions: Int
) {
    private val channels = centres.size
    private val perChannel = (positions + LIMIT - 1) / LIMIT

    /** The most operations of a lane: symbols as far from their centres as int8 allows in 255 lanes, few signs in four. */
    private val mostSteps: Int = run {
        val farthest = centres.fold(0) { most, centre -> maxOf(most, maxOf(127 - centre, centre + 128)) }
        val unit = (positions + perChannel - 1) / perChannel
        val units = channels * perChannel
        maxOf((units + MOST_LANES - 1) / MOST_LANES * unit * (2 + (farthest - 1) / LIMIT), units / 4 + 160)
    }

    /**
     * Codes a latent, or as many of its first channels as fit.
     *
     * @param latent int8, the channels last.
     * @return the number of channels (2 bytes), then the code; null if not even the first channel fits.
     */
    fun encode(latent: ByteArray, maxBytes: Int): ByteArray? {
        val operations = Operations(latent)
        var bound = maxBytes
        var most = channels
        while (true) {
            val sent = operations.longest(most, bound)
            val body = write(operations, sent)
            if (body.size <= maxBytes) return body
            if (sent == 1) return null
            most = sent - 1
            bound -= body.size - maxBytes
        }
    }

    /** The operations of a latent in the order of its units, and what its first channels have of them. */
    private inner class Operations(latent: ByteArray) {
        var starts = IntArray(4 * latent.size + perChannel * channels)
        var counts = IntArray(starts.size)
        var size = 0
        val ends = IntArray(perChannel * channels)
        val negative = BooleanArray(latent.size)
        val signs = IntArray(channels + 1)
        private val costs = LongArray(channels + 1)
        private var sum = 0L

        init {
            for (channel in 0 until channels) {
                signs[channel + 1] = signs[channel]
                for (k in 0 until perChannel) unit(latent, channel, k)
                costs[channel + 1] = sum
            }
        }

        private fun unit(latent: ByteArray, channel: Int, k: Int) {
            var from = (k.toLong() * positions / perChannel).toInt()
            val end = ((k + 1L) * positions / perChannel).toInt()
            val run = tables[runs[channel]]
            val magnitude = tables[magnitudes[channel]]
            for (position in from until end) {
                val symbol = latent[position * channels + channel] - centres[channel]
                if (symbol == 0) continue
                add(run, end - from, position - from)
                val whole = (if (symbol < 0) -symbol else symbol) - 1
                repeat(whole / LIMIT) { add(magnitude, LIMIT, LIMIT) }
                add(magnitude, LIMIT, whole % LIMIT)
                negative[signs[channel + 1]++] = symbol < 0
                from = position + 1
            }
            if (from < end) add(run, end - from, end - from)
            ends[channel * perChannel + k] = size
        }

        private fun add(table: IntArray, limit: Int, symbol: Int) {
            if (size == starts.size) {
                starts = starts.copyOf(2 * size)
                counts = counts.copyOf(2 * size)
            }
            val count = (if (symbol < limit) table[symbol + 1] else TOTAL) - table[symbol]
            starts[size] = table[symbol]
            counts[size++] = count
            val whole = 31 - Integer.numberOfLeadingZeros(count)
            val rest = ((count shl 8) ushr whole) - 256
            sum += (12 - whole) * 256 - (rest + ((88 * rest * (256 - rest)) ushr 16))
        }

        /** The longest prefix whose estimated length keeps a bound, without channels at its end that are zero. */
        fun longest(most: Int, bound: Int): Int {
            var found = 0
            for (count in 1..most) {
                val units = count * perChannel
                val carried = LANE_SIGNS * lanesOf(ends[units - 1], signs[count], units)
                val bits = carried + costs[count] / 256 + maxOf(0, signs[count] - carried)
                if (COUNT_BYTES + 2 + (bits + 7) / 8 <= bound) found = count
            }
            while (found > 1 && signs[found] == signs[found - 1]) found -= 1
            return maxOf(1, found)
        }
    }

    private fun lanesOf(operations: Int, signs: Int, units: Int): Int =
        maxOf(1, minOf(minOf(MOST_LANES, units), minOf(operations / 32, maxOf(4, signs / LANE_SIGNS))))

    private fun write(operations: Operations, sent: Int): ByteArray {
        val units = sent * perChannel
        val signs = operations.signs[sent]
        val mostLanes = minOf(MOST_LANES, units)
        var lanes = lanesOf(operations.ends[units - 1], signs, units)
        var order = shareOut(operations, units, lanes)
        while (stepsOf(order) > mostSteps && lanes < mostLanes) {
            lanes = minOf(mostLanes, 2 * lanes)
            order = shareOut(operations, units, lanes)
        }
        val states = IntArray(lanes) { FIRST }
        for (k in 0 until minOf(signs, LANE_SIGNS * lanes)) {
            if (operations.negative[k]) states[k / LANE_SIGNS] = states[k / LANE_SIGNS] or (0x8000 ushr (k % LANE_SIGNS))
        }
        val bits = Bits()
        for (k in signs - 1 downTo LANE_SIGNS * lanes) bits.put(if (operations.negative[k]) 1 else 0, 1)
        for (step in stepsOf(order) - 1 downTo 0) {
            for (lane in lanes - 1 downTo 0) {
                val which = order[lane].getOrNull(step) ?: continue
                states[lane] = encode(states[lane], operations.starts[which], operations.counts[which], bits)
            }
        }
        val stream = bits.bytes()
        val body = ByteArray(COUNT_BYTES + 1 + 2 * lanes + stream.size)
        body[0] = sent.toByte()
        body[1] = (sent ushr 8).toByte()
        body[2] = lanes.toByte()
        for (lane in 0 until lanes) {
            body[3 + 2 * lane] = states[lane].toByte()
            body[4 + 2 * lane] = (states[lane] ushr 8).toByte()
        }
        stream.copyInto(body, 3 + 2 * lanes)
        return body
    }

    /** The operations of each lane: rows of units are shared out in turn from the first lane to the last and back. */
    private fun shareOut(operations: Operations, units: Int, lanes: Int): List<List<Int>> {
        val order = List(lanes) { ArrayList<Int>() }
        var begin = 0
        for (unit in 0 until units) {
            val lane = if (unit / lanes % 2 == 0) unit % lanes else lanes - 1 - unit % lanes
            for (k in begin until operations.ends[unit]) order[lane].add(k)
            begin = operations.ends[unit]
        }
        return order
    }

    private fun stepsOf(order: List<List<Int>>): Int = order.fold(0) { most, lane -> maxOf(most, lane.size) }

    private fun encode(state: Int, start: Int, count: Int, bits: Bits): Int {
        var size = 0
        while (state ushr size >= 32 * count) size += 1
        bits.put(state and ((1 shl size) - 1), size)
        val rest = state ushr size
        return rest / count * TOTAL + rest % count + start
    }

    /** Bits that are written from the last to the first. */
    private class Bits {
        private var reversed = ByteArray(256)
        private var size = 0

        fun put(value: Int, count: Int) {
            if (size + count > reversed.size) reversed = reversed.copyOf(2 * reversed.size)
            for (bit in 0 until count) reversed[size++] = (value ushr bit and 1).toByte()
        }

        fun bytes(): ByteArray {
            val found = ByteArray((size + 7) / 8)
            for (k in 0 until size) {
                found[k / 8] = (found[k / 8].toInt() or (reversed[size - 1 - k].toInt() shl (7 - k % 8))).toByte()
            }
            return found
        }
    }

    companion object {
        const val SYMBOLS = 17
        const val TOTAL = 4096
        private const val LIMIT = 16
        private const val FIRST = 0x10000
        private const val LANE_SIGNS = 16
        private const val MOST_LANES = 255
        private const val COUNT_BYTES = 2
    }
}
