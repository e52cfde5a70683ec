/* The request of a latent in the form that a bundle's tail reads, with the constants of its head.h: whole, its highest
 * bits, or coded. */
#ifndef ISPLIT_REQUEST_H_
#define ISPLIT_REQUEST_H_

#include "head.h"
#include "isplit_code.h"
#include "isplit_wire.h"

#define ISPLIT_REQUEST_BYTES (ISPLIT_FRAME_HEADER_BYTES + ISPLIT_PAYLOAD_BYTES)

/* Writes a request of at most ISPLIT_REQUEST_BYTES; returns its length, or 0 where not even the first channel of a coded
 * latent fits. It may change the latent. */
static inline size_t isplit_request_of(void* latent, uint8_t request[ISPLIT_REQUEST_BYTES], uint32_t sequence) {
  static const uint8_t tag[] = ISPLIT_BUNDLE_TAG;
#ifdef ISPLIT_LATENT_CODE
  static const isplit_code code = ISPLIT_LATENT_CODE;
  static isplit_code_work work;
  uint8_t* const body = request + ISPLIT_FRAME_HEADER_BYTES + ISPLIT_PAYLOAD_HEADER_BYTES;
  const size_t room = ISPLIT_PAYLOAD_BYTES - ISPLIT_PAYLOAD_HEADER_BYTES;
  const size_t bytes = isplit_encode(&code, (const int8_t*)latent, body, room, &work);
  return bytes == 0 ? 0 : isplit_pack_request(request, ISPLIT_REQUEST_BYTES, sequence, tag, body, bytes);
#else
  const size_t bytes = isplit_keep_bits(latent, ISPLIT_LATENT_SIZE, sizeof(ISPLIT_LATENT_TYPE), ISPLIT_LATENT_BITS);
  return isplit_pack_request(request, ISPLIT_REQUEST_BYTES, sequence, tag, latent, bytes);
#endif
}

#endif /* ISPLIT_REQUEST_H_ */
