/* How frames travel: one of the transport_*.c files is compiled in, and link.c asks questions over it. */
#ifndef ISPLIT_LINK_H_
#define ISPLIT_LINK_H_

#include "isplit_wire.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Opens the way to the gateway; a serial line ignores both. Returns 1, or 0 where it failed. */
int isplit_open(const char* host, const char* port);

/* Sends a whole frame; returns 1, or 0 where it failed. */
int isplit_send(const uint8_t* frame, size_t n);

/* Waits for a frame; returns its length, or 0 where none came in time. */
size_t isplit_receive(uint8_t* frame, size_t capacity, uint32_t timeout_ms);

/* Sends a request, again where no answer comes, and reads the answer; returns 1, or 0 after the last try. A request may
 * be sent twice: it changes nothing on the server, and a late answer to an earlier request is passed over. */
int isplit_ask(const uint8_t* request, size_t n, uint32_t sequence, isplit_answer* answer);

#ifdef __cplusplus
}
#endif

#endif /* ISPLIT_LINK_H_ */
