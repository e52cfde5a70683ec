#include "isplit_wire.h"

#include <string.h>

#define MODULUS 65521u
/* So many bytes can be summed before either sum passes 32 bits (as in zlib). */
#define BLOCK 5552u

static uint32_t adler32_from(uint32_t sums, const void* data, size_t n) {
  const uint8_t* bytes = (const uint8_t*)data;
  uint32_t a = sums & 0xffffu;
  uint32_t b = sums >> 16;
  while (n > 0) {
    size_t block = n < BLOCK ? n : BLOCK;
    n -= block;
    while (block-- > 0) {
      a += *bytes++;
      b += a;
    }
    a %= MODULUS;
    b %= MODULUS;
  }
  return b << 16 | a;
}

uint32_t isplit_adler32(const void* data, size_t n) { return adler32_from(1u, data, n); }

static void write_u32(uint8_t* out, uint32_t value) {
  out[0] = (uint8_t)value;
  out[1] = (uint8_t)(value >> 8);
  out[2] = (uint8_t)(value >> 16);
  out[3] = (uint8_t)(value >> 24);
}

static uint32_t read_u32(const uint8_t* in) {
  return (uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 | (uint32_t)in[3] << 24;
}

size_t isplit_keep_bits(void* latent, size_t n, size_t element_bytes, unsigned bits) {
  uint8_t* bytes = (uint8_t*)latent;
  size_t each, k;
  if (bits == 8u * element_bytes) return n * element_bytes;
  each = 8u / bits;
  for (k = 0; k < n; ++k) {
    /* The highest byte comes last; with its sign flipped, the lowest integer has level 0. */
    const unsigned level = (bytes[(k + 1) * element_bytes - 1] ^ 0x80u) >> (8u - bits);
    const unsigned shift = (unsigned)(k % each) * bits;
    uint8_t* out = bytes + k / each; /* never after what is still to be read */
    *out = (uint8_t)(shift == 0 ? level : *out | level << shift);
  }
  return (n + each - 1) / each;
}

size_t isplit_pack(uint8_t* out, size_t capacity, const uint8_t tag[ISPLIT_TAG_BYTES], const void* latent,
                   size_t latent_bytes) {
  if (capacity < ISPLIT_PAYLOAD_HEADER_BYTES || latent_bytes > capacity - ISPLIT_PAYLOAD_HEADER_BYTES) return 0;
  memcpy(out, tag, ISPLIT_TAG_BYTES);
  write_u32(out + ISPLIT_TAG_BYTES, isplit_adler32(latent, latent_bytes));
  memmove(out + ISPLIT_PAYLOAD_HEADER_BYTES, latent, latent_bytes);
  return ISPLIT_PAYLOAD_HEADER_BYTES + latent_bytes;
}

static uint32_t frame_sum(const uint8_t* frame, size_t body_bytes) {
  return adler32_from(isplit_adler32(frame, 12), frame + ISPLIT_FRAME_HEADER_BYTES, body_bytes);
}

size_t isplit_pack_request(uint8_t* out, size_t capacity, uint32_t sequence, const uint8_t tag[ISPLIT_TAG_BYTES],
                           const void* latent, size_t latent_bytes) {
  size_t body;
  if (capacity < ISPLIT_FRAME_HEADER_BYTES) return 0;
  body = isplit_pack(out + ISPLIT_FRAME_HEADER_BYTES, capacity - ISPLIT_FRAME_HEADER_BYTES, tag, latent, latent_bytes);
  if (body == 0) return 0;
  out[0] = 'I';
  out[1] = 'S';
  out[2] = 1;
  out[3] = ISPLIT_REQUEST;
  write_u32(out + 4, sequence);
  write_u32(out + 8, (uint32_t)body);
  write_u32(out + 12, frame_sum(out, body));
  return ISPLIT_FRAME_HEADER_BYTES + body;
}

/* Whether n bytes can be the beginning of a frame that fits into capacity. */
static int may_begin(const uint8_t* frame, size_t n, size_t capacity, enum isplit_kind kind) {
  const uint8_t start[4] = {'I', 'S', 1, (uint8_t)kind};
  if (memcmp(frame, start, n < 4 ? n : 4) != 0) return 0;
  return n < 12 || read_u32(frame + 8) <= capacity - ISPLIT_FRAME_HEADER_BYTES;
}

size_t isplit_check_frame(const uint8_t* frame, size_t n, enum isplit_kind kind) {
  size_t body;
  if (n < ISPLIT_FRAME_HEADER_BYTES || !may_begin(frame, n, n, kind)) return 0;
  body = read_u32(frame + 8);
  return read_u32(frame + 12) == frame_sum(frame, body) ? ISPLIT_FRAME_HEADER_BYTES + body : 0;
}

int isplit_read_answer(const uint8_t* frame, size_t n, uint32_t sequence, isplit_answer* answer) {
  const size_t length = isplit_check_frame(frame, n, ISPLIT_ANSWER);
  const uint8_t* body = frame + ISPLIT_FRAME_HEADER_BYTES;
  uint32_t k;
  if (length < ISPLIT_FRAME_HEADER_BYTES + 8u || read_u32(frame + 4) != sequence) return 0;
  answer->status = (int32_t)read_u32(body);
  answer->count = read_u32(body + 4);
  if (answer->count != (length - ISPLIT_FRAME_HEADER_BYTES - 8u) / 8u) return 0;
  if (answer->count > ISPLIT_MOST_CLASSES) answer->count = ISPLIT_MOST_CLASSES;
  for (k = 0; k < answer->count; ++k) {
    const uint32_t bits = read_u32(body + 12 + 8 * k);
    answer->classes[k] = read_u32(body + 8 + 8 * k);
    memcpy(&answer->probabilities[k], &bits, sizeof bits);
  }
  return 1;
}

uint32_t isplit_parts(float probability, uint32_t whole) {
  if (!(probability > 0.0f)) return 0; /* NaN too */
  return probability < 1.0f ? (uint32_t)(probability * (float)whole + 0.5f) : whole;
}

size_t isplit_take(isplit_reader* reader, uint8_t byte) {
  if (reader->capacity == 0) return 0;
  if (reader->filled >= reader->capacity) reader->filled = 0;
  reader->buffer[reader->filled++] = byte;
  while (reader->filled > 0) {
    size_t length = 0;
    if (may_begin(reader->buffer, reader->filled, reader->capacity, ISPLIT_ANSWER)) {
      if (reader->filled < ISPLIT_FRAME_HEADER_BYTES ||
          reader->filled < ISPLIT_FRAME_HEADER_BYTES + read_u32(reader->buffer + 8)) {
        return 0; /* the rest is still to come */
      }
      length = isplit_check_frame(reader->buffer, reader->filled, ISPLIT_ANSWER);
      if (length > 0) return length;
    }
    /* Noise: a frame may begin at the next byte. */
    reader->filled -= 1;
    memmove(reader->buffer, reader->buffer + 1, reader->filled);
  }
  return 0;
}
