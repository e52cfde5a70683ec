#include "link.h"

#ifndef ISPLIT_TRIES
#define ISPLIT_TRIES 3
#endif
#ifndef ISPLIT_TIMEOUT_MS
#define ISPLIT_TIMEOUT_MS 2000u
#endif
/* Late answers and noise that are passed over before a request counts as lost. */
#define MOST_OTHERS 16

int isplit_ask(const uint8_t* request, size_t n, uint32_t sequence, isplit_answer* answer) {
  uint8_t frame[ISPLIT_ANSWER_FRAME_BYTES];
  int tries, others;
  for (tries = 0; tries < ISPLIT_TRIES; ++tries) {
    if (!isplit_send(request, n)) continue;
    for (others = 0; others < MOST_OTHERS; ++others) {
      const size_t received = isplit_receive(frame, sizeof frame, ISPLIT_TIMEOUT_MS);
      if (received == 0) break;
      if (isplit_read_answer(frame, received, sequence, answer)) return 1;
    }
  }
  return 0;
}
