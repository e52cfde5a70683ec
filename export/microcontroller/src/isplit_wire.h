/* What a device sends and what comes back: C99 and C++11, no memory of its own, no library but string.h.
 *
 * A payload is what the bundle's tail reads (the format's definition is isplit_edge/wire.py):
 *
 *   bytes 0-7    the bundle's tag, ISPLIT_BUNDLE_TAG in head.h
 *   bytes 8-11   Adler-32 of the latent, little-endian
 *   bytes 12-    the latent, as the head gave it, little-endian; or the highest bits of each element, side by side
 *
 * Between device and gateway a payload travels in a frame, so that answers find their questions and a serial line finds
 * its way back after noise:
 *
 *   bytes 0-1    'I' 'S'
 *   byte  2      1, the version of the frame
 *   byte  3      1 a request, whose body is a payload; 2 an answer
 *   bytes 4-7    sequence number, little-endian; an answer has that of its request
 *   bytes 8-11   length of the body, little-endian
 *   bytes 12-15  Adler-32 of the 12 bytes before and the body, little-endian
 *   bytes 16-    the body
 *
 * The body of an answer: status (int32: 0 answered, 1 of another bundle, 2 malformed, 3 no server), number n of classes
 * that follow (uint32), then n pairs of class (uint32) and probability (float32), the most probable first.
 */
#ifndef ISPLIT_WIRE_H_
#define ISPLIT_WIRE_H_

#include <stddef.h>
#include <stdint.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "A latent is sent as it lies in memory, which must be little-endian."
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define ISPLIT_TAG_BYTES 8u
#define ISPLIT_PAYLOAD_HEADER_BYTES 12u
#define ISPLIT_FRAME_HEADER_BYTES 16u
#define ISPLIT_MOST_CLASSES 8u
#define ISPLIT_ANSWER_FRAME_BYTES (ISPLIT_FRAME_HEADER_BYTES + 8u + 8u * ISPLIT_MOST_CLASSES)

enum isplit_kind { ISPLIT_REQUEST = 1, ISPLIT_ANSWER = 2 };
enum isplit_status { ISPLIT_OK = 0, ISPLIT_OTHER_BUNDLE = 1, ISPLIT_MALFORMED = 2, ISPLIT_NO_SERVER = 3 };

typedef struct {
  int32_t status;
  uint32_t count; /* of the classes below; more than ISPLIT_MOST_CLASSES are left out */
  uint32_t classes[ISPLIT_MOST_CLASSES];
  float probabilities[ISPLIT_MOST_CLASSES];
} isplit_answer;

/* Adler-32 (RFC 1950) of n bytes. */
uint32_t isplit_adler32(const void* data, size_t n);

/* Leaves the highest bits of each of n integers, side by side, the first in the lowest bits of the first byte; in place.
 * Returns the bytes that are left. Bundles say how many bits their tail reads (ISPLIT_LATENT_BITS in head.h: 8, 4 or 2, or
 * all that an element has, which changes nothing). */
size_t isplit_keep_bits(void* latent, size_t n, size_t element_bytes, unsigned bits);

/* Writes a payload; returns its length, or 0 where out is too small. */
size_t isplit_pack(uint8_t* out, size_t capacity, const uint8_t tag[ISPLIT_TAG_BYTES], const void* latent,
                   size_t latent_bytes);

/* Writes a request around the payload of a latent; returns its length, or 0 where out is too small. */
size_t isplit_pack_request(uint8_t* out, size_t capacity, uint32_t sequence, const uint8_t tag[ISPLIT_TAG_BYTES],
                           const void* latent, size_t latent_bytes);

/* Length of the frame of this kind that n bytes begin with, if it is whole and undamaged; else 0. */
size_t isplit_check_frame(const uint8_t* frame, size_t n, enum isplit_kind kind);

/* Reads the answer to a request; returns 1, or 0 where it is damaged or answers another request. */
int isplit_read_answer(const uint8_t* frame, size_t n, uint32_t sequence, isplit_answer* answer);

/* A probability in parts of a whole (100 for percent, up to a million), rounded. An answer may hold any number: what is
 * no probability becomes 0 or the whole, as a float that fits no integer must not be turned into one. */
uint32_t isplit_parts(float probability, uint32_t whole);

/* Finds answers in a stream of bytes. Set filled to 0 to begin, and after each frame. */
typedef struct {
  uint8_t* buffer;
  size_t capacity;
  size_t filled;
} isplit_reader;

/* Takes one byte; returns the length of a whole answer at the start of the buffer, else 0. */
size_t isplit_take(isplit_reader* reader, uint8_t byte);

#ifdef __cplusplus
}
#endif

#endif /* ISPLIT_WIRE_H_ */
