#include "isplit_code.h"

#include <string.h>

#define TOTAL 4096u
#define LIMIT 16u
#define FIRST 0x10000u
#define LANE_SIGNS 16u
#define COUNT_BYTES 2u

/* A prefix of the channels, and what is known of it. */
typedef struct {
  uint32_t channels, operations, signs;
} prefix;

/* Bits that are written from the end of a buffer towards its beginning, and counted beyond it. */
typedef struct {
  uint8_t* begin;
  uint8_t* at;
  uint32_t bits, held, total;
} writer;

static uint32_t at_least(uint32_t a, uint32_t b) { return a > b ? a : b; }
static uint32_t at_most(uint32_t a, uint32_t b) { return a < b ? a : b; }

static int32_t symbol(const isplit_code* code, const int8_t* latent, uint32_t channel, uint32_t position) {
  return (int32_t)latent[(size_t)position * code->channels + channel] - code->centres[channel];
}

static uint32_t magnitude(int32_t s) { return (uint32_t)(s < 0 ? -s : s) - 1u; }

static uint32_t units_of(const isplit_code* code) { return (code->positions + LIMIT - 1u) / LIMIT; }

/* The part of 4096 of a symbol under a limit. */
static uint32_t part(const uint16_t* table, uint32_t limit, uint32_t s, uint32_t* start) {
  *start = table[s];
  return (s < limit ? table[s + 1] : TOTAL) - *start;
}

/* The cost of a part in 256ths of a bit. */
static uint32_t cost(const uint16_t* table, uint32_t limit, uint32_t s) {
  uint32_t start, whole = 0, rest;
  const uint32_t count = part(table, limit, s, &start);
  while (count >> (whole + 1u)) ++whole;
  rest = ((count << 8) >> whole) - 256u;
  return (12u - whole) * 256u - (rest + ((88u * rest * (256u - rest)) >> 16));
}

static uint32_t lanes_of(uint32_t operations, uint32_t signs, uint32_t units) {
  const uint32_t lanes = at_most(operations / 32u, at_least(4u, signs / LANE_SIGNS));
  return at_least(1u, at_most(lanes, at_most(ISPLIT_CODE_LANES, units)));
}

/* Counts a unit's operations and signs, and their cost where that is asked for. */
static uint32_t count_unit(const isplit_code* code, const int8_t* latent, uint32_t unit, uint32_t* signs, uint32_t* sum) {
  const uint32_t n = units_of(code), channel = unit / n, k = unit % n;
  const uint32_t end = (uint32_t)((uint64_t)(k + 1u) * code->positions / n);
  const uint16_t* runs = code->tables + ISPLIT_CODE_SYMBOLS * code->runs[channel];
  const uint16_t* magnitudes = code->tables + ISPLIT_CODE_SYMBOLS * code->magnitudes[channel];
  uint32_t from = (uint32_t)((uint64_t)k * code->positions / n), position, operations = 0;
  for (position = from; position < end; ++position) {
    const int32_t s = symbol(code, latent, channel, position);
    uint32_t m;
    if (s == 0) continue;
    m = magnitude(s);
    operations += 2u + m / LIMIT;
    ++*signs;
    if (sum != NULL) {
      *sum += cost(runs, end - from, position - from) + cost(magnitudes, LIMIT, m % LIMIT);
      *sum += m / LIMIT * (m >= LIMIT ? cost(magnitudes, LIMIT, LIMIT) : 0u);
    }
    from = position + 1u;
  }
  if (from == end) return operations;
  if (sum != NULL) *sum += cost(runs, end - from, end - from);
  return operations + 1u;
}

/* The longest prefix of at most so many channels whose estimated length keeps the bound, without the channels at its end
 * that have no symbol but zero. */
static prefix longest(const isplit_code* code, const int8_t* latent, uint32_t channels, int32_t bound) {
  const uint32_t n = units_of(code);
  prefix all = {0, 0, 0}, found = {1, 0, 0}, trimmed = {1, 0, 0};
  uint32_t sum = 0, unit;
  while (all.channels < channels) {
    const uint32_t signs = all.signs;
    uint32_t carried, bits;
    for (unit = all.channels * n; unit < (all.channels + 1u) * n; ++unit) {
      all.operations += count_unit(code, latent, unit, &all.signs, &sum);
    }
    ++all.channels;
    if (all.signs > signs || all.channels == 1u) trimmed = all;
    carried = LANE_SIGNS * lanes_of(all.operations, all.signs, all.channels * n);
    bits = carried + sum / 256u + (all.signs > carried ? all.signs - carried : 0u);
    if (all.channels == 1u || (int32_t)(COUNT_BYTES + 2u + (bits + 7u) / 8u) <= bound) found = trimmed;
  }
  return found;
}

static void put(writer* out, uint32_t value, uint32_t size) {
  out->held |= value << out->bits;
  out->bits += size;
  out->total += size;
  while (out->bits >= 8u) {
    if (out->at > out->begin) *--out->at = (uint8_t)out->held;
    out->held >>= 8;
    out->bits -= 8u;
  }
}

/* Goes to the end of a unit. */
static void enter(const isplit_code* code, isplit_code_lane* lane) {
  const uint32_t n = units_of(code), k = lane->unit % n;
  const uint32_t begin = (uint32_t)((uint64_t)k * code->positions / n);
  lane->position = (uint32_t)((uint64_t)(k + 1u) * code->positions / n);
  lane->before = (uint8_t)(lane->position - begin);
  lane->after = 0;
}

/* Encodes an operation: the state gives bits and takes the symbol. */
static void encode(isplit_code_lane* lane, const uint16_t* table, uint32_t limit, uint32_t s, writer* out) {
  uint32_t start, size = 0, whole;
  const uint32_t count = part(table, limit, s, &start);
  while (lane->state >> size >= 32u * count) ++size;
  put(out, lane->state & ((1u << size) - 1u), size);
  whole = (lane->state >> size) / count;
  lane->state = (lane->state >> size) + whole * (TOTAL - count) + start;
}

/* Takes a lane one operation back. */
static void step(const isplit_code* code, const int8_t* latent, uint32_t lanes, isplit_code_lane* lane, writer* out) {
  const uint32_t channel = lane->unit / units_of(code);
  const uint16_t* runs = code->tables + ISPLIT_CODE_SYMBOLS * code->runs[channel];
  const uint16_t* magnitudes = code->tables + ISPLIT_CODE_SYMBOLS * code->magnitudes[channel];
  uint32_t run = 0, limit;
  int32_t s = 0;
  if (lane->in_magnitude && lane->escapes > 0u) {
    --lane->escapes;
    encode(lane, magnitudes, LIMIT, LIMIT, out);
    return;
  }
  lane->in_magnitude = 0;
  while (run < lane->before && (s = symbol(code, latent, channel, lane->position - run - 1u)) == 0) ++run;
  limit = run + lane->after;
  if (limit > 0u && !(lane->escapes & 0x80u)) {
    encode(lane, runs, limit, run, out);
    lane->position -= run;
    lane->before = (uint8_t)(lane->before - run);
    lane->after = (uint8_t)limit;
    if (lane->before == 0u) {
      if (lane->left > 1u) {
        lane->unit = 2u * (lane->unit / lanes) * lanes - 1u - lane->unit;
        enter(code, lane);
      }
    } else {
      lane->escapes = 0x80u; /* the run is written: the magnitude before it comes next */
    }
    return;
  }
  encode(lane, magnitudes, LIMIT, magnitude(s) % LIMIT, out);
  lane->escapes = (uint8_t)(magnitude(s) / LIMIT);
  lane->in_magnitude = 1;
  --lane->position;
  --lane->before;
  ++lane->after;
}

/* The lane of a unit: rows of units are shared out in turn from the first lane to the last and back. */
static uint32_t lane_of(uint32_t unit, uint32_t lanes) {
  return unit / lanes % 2u == 0u ? unit % lanes : lanes - 1u - unit % lanes;
}

/* Counts each lane's operations; returns the most. */
static uint32_t share_out(const isplit_code* code, const int8_t* latent, uint32_t units, uint32_t lanes,
                          isplit_code_work* work) {
  uint32_t unit, most = 0, signs = 0;
  memset(work, 0, sizeof *work);
  for (unit = 0; unit < units; ++unit) {
    isplit_code_lane* lane = &work->lanes[lane_of(unit, lanes)];
    lane->left += count_unit(code, latent, unit, &signs, NULL);
    lane->unit = unit;
    most = at_least(most, lane->left);
  }
  return most;
}

/* The most operations that a lane may have: those of the latent whose symbols are as far from their centres as int8 allows,
 * shared out among 255 lanes; or those of a latent of hardly any signs, among four. */
static uint32_t most_steps(const isplit_code* code) {
  const uint32_t n = units_of(code), unit = (code->positions + n - 1u) / n;
  uint32_t farthest = 0, channel;
  for (channel = 0; channel < code->channels; ++channel) {
    const int32_t centre = code->centres[channel];
    farthest = at_least(farthest, (uint32_t)(centre < 0 ? 127 - centre : centre + 128));
  }
  return at_least((code->channels * n + 254u) / 255u * unit * (2u + (farthest - 1u) / LIMIT), code->channels * n / 4u + 160u);
}

/* Gives the first signs to the states, 16 each, and writes the others, from the last one on. */
static void place_signs(const isplit_code* code, const int8_t* latent, const prefix* sent, uint32_t lanes,
                        isplit_code_work* work, writer* out) {
  uint32_t number = sent->signs, k;
  uint32_t channel = sent->channels, position;
  for (k = 0; k < lanes; ++k) work->lanes[k].state = FIRST;
  while (channel-- > 0u) {
    for (position = code->positions; position-- > 0u;) {
      const int32_t s = symbol(code, latent, channel, position);
      if (s == 0) continue;
      --number;
      if (number >= LANE_SIGNS * lanes) {
        put(out, s < 0, 1);
      } else if (s < 0) {
        work->lanes[number / LANE_SIGNS].state |= 0x8000u >> number % LANE_SIGNS;
      }
    }
  }
}

/* Writes a prefix; returns its length, of which only what fits is written. */
static size_t write_prefix(const isplit_code* code, const int8_t* latent, const prefix* sent, uint8_t* out,
                           size_t capacity, isplit_code_work* work) {
  const uint32_t n = units_of(code), units = sent->channels * n;
  const uint32_t most = most_steps(code);
  const uint32_t most_lanes = at_most(ISPLIT_CODE_LANES, units);
  uint32_t lanes = lanes_of(sent->operations, sent->signs, units), k, steps, shift;
  size_t head, length, stream;
  writer to;
  while ((steps = share_out(code, latent, units, lanes, work)) > most && lanes < most_lanes) {
    lanes = at_most(most_lanes, 2u * lanes);
  }
  head = COUNT_BYTES + 1u + 2u * lanes;
  to.begin = out + at_most((uint32_t)head, (uint32_t)capacity);
  to.at = out + capacity;
  to.bits = to.held = to.total = 0;
  place_signs(code, latent, sent, lanes, work, &to);
  for (k = 0; k < lanes; ++k) enter(code, &work->lanes[k]);
  for (; steps > 0u; --steps) {
    for (k = lanes; k-- > 0u;) {
      isplit_code_lane* lane = &work->lanes[k];
      if (lane->left < steps) continue;
      step(code, latent, lanes, lane, &to);
      --lane->left;
    }
  }
  shift = (8u - to.bits) % 8u;
  put(&to, 0, shift);
  stream = to.total / 8u;
  length = head + stream;
  if (length > capacity) return length;
  /* The zeros that fill the first byte belong behind the last bit. */
  for (k = 0; k < stream; ++k) {
    const uint32_t next = k + 1u < stream ? to.at[k + 1u] : 0u;
    out[head + k] = (uint8_t)(((uint32_t)to.at[k] << 8 | next) << shift >> 8);
  }
  out[0] = (uint8_t)sent->channels;
  out[1] = (uint8_t)(sent->channels >> 8);
  out[2] = (uint8_t)lanes;
  for (k = 0; k < lanes; ++k) {
    out[3u + 2u * k] = (uint8_t)work->lanes[k].state;
    out[4u + 2u * k] = (uint8_t)(work->lanes[k].state >> 8);
  }
  return length;
}

size_t isplit_encode(const isplit_code* code, const int8_t* latent, uint8_t* out, size_t capacity,
                     isplit_code_work* work) {
  int32_t bound = (int32_t)capacity;
  uint32_t channels = code->channels;
  for (;;) {
    const prefix sent = longest(code, latent, channels, bound);
    const size_t length = write_prefix(code, latent, &sent, out, capacity, work);
    if (length <= capacity) return length;
    if (sent.channels == 1u) return 0;
    channels = sent.channels - 1u;
    bound -= (int32_t)(length - capacity);
  }
}
