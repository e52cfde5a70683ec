/* The coder of latents, version 3 of the wire: C99 and C++11, whole numbers alone, no memory of its own.
 *
 * It gives the bytes that the Python package gives (isplit_edge/code.py); docs/bundle.md defines them. The tables of a
 * bundle are in its head.h:
 *
 *   static const isplit_code code = ISPLIT_LATENT_CODE;
 *   static isplit_code_work work;
 *   n = isplit_encode(&code, latent, out, ISPLIT_PAYLOAD_BYTES - ISPLIT_PAYLOAD_HEADER_BYTES, &work);
 *   n = isplit_pack_request(request, sizeof request, ++sequence, tag, out, n);
 */
#ifndef ISPLIT_CODE_H_
#define ISPLIT_CODE_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ISPLIT_CODE_SYMBOLS 17u
#define ISPLIT_CODE_LANES 255u

typedef struct {
  const uint16_t* tables;    /* rows of 17: where in 4096 the part of each symbol begins */
  const uint8_t* runs;       /* of each channel, the table of its runs of zeros */
  const uint8_t* magnitudes; /* of each channel, the table of its magnitudes */
  const int8_t* centres;     /* of each channel, what counts as zero */
  uint32_t channels;
  uint32_t positions;
} isplit_code;

/* A lane on its way back through its units. */
typedef struct {
  uint32_t state;
  uint32_t left;     /* operations */
  uint32_t unit;     /* counted over all channels */
  uint32_t position; /* in the channel; what comes from here on is written */
  uint8_t before;    /* positions of the unit before this one */
  uint8_t after;     /* and from this one on */
  uint8_t escapes;   /* of the magnitude at this position */
  uint8_t in_magnitude;
} isplit_code_lane;

/* The encoder's memory: 5,100 bytes. Its stack stays below 256 bytes. */
typedef struct {
  isplit_code_lane lanes[ISPLIT_CODE_LANES];
} isplit_code_work;

/* Writes a latent, int8 with the channels last, or as many of its first channels as fit in so many bytes: their number
 * (2 bytes), then the code. Returns the length, or 0 where not even the first channel fits. */
size_t isplit_encode(const isplit_code* code, const int8_t* latent, uint8_t* out, size_t capacity,
                     isplit_code_work* work);

#ifdef __cplusplus
}
#endif

#endif /* ISPLIT_CODE_H_ */
