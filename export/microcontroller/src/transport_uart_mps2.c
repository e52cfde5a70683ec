/* The first serial port of Arm's MPS2 boards (CMSDK APB UART); the model for one's own board. */
#include "link.h"

#define UART ((volatile uint32_t*)0x40004000u)
enum { DATA = 0, STATE = 1, CONTROL = 2, BAUD_DIVIDER = 4 };
enum { SEND_FULL = 1, RECEIVE_FULL = 2 };
#ifndef ISPLIT_CLOCK_HZ
#define ISPLIT_CLOCK_HZ 25000000u
#endif
#ifndef ISPLIT_BAUD
#define ISPLIT_BAUD 115200u
#endif

/* Every Cortex-M has this timer; it is read, and interrupts nobody. */
#define SYSTICK ((volatile uint32_t*)0xe000e010u)
enum { TICK_CONTROL = 0, TICK_RELOAD = 1, TICK_VALUE = 2 };
#define TICK_ENABLED_ON_CORE_CLOCK 5u
#define TICK_PASSED (1u << 16)

int isplit_open(const char* host, const char* port) {
  (void)host;
  (void)port;
  UART[BAUD_DIVIDER] = ISPLIT_CLOCK_HZ / ISPLIT_BAUD;
  UART[CONTROL] = 3; /* send and receive */
  SYSTICK[TICK_RELOAD] = ISPLIT_CLOCK_HZ / 1000u - 1u; /* a millisecond */
  SYSTICK[TICK_VALUE] = 0;
  SYSTICK[TICK_CONTROL] = TICK_ENABLED_ON_CORE_CLOCK;
  return 1;
}

int isplit_send(const uint8_t* frame, size_t n) {
  size_t k;
  for (k = 0; k < n; ++k) {
    while (UART[STATE] & SEND_FULL) {
    }
    UART[DATA] = frame[k];
  }
  return 1;
}

size_t isplit_receive(uint8_t* frame, size_t capacity, uint32_t timeout_ms) {
  isplit_reader reader;
  uint32_t waited_ms = 0;
  reader.buffer = frame;
  reader.capacity = capacity;
  reader.filled = 0;
  while (waited_ms < timeout_ms) { /* in all: noise may never end */
    if (UART[STATE] & RECEIVE_FULL) {
      const size_t length = isplit_take(&reader, (uint8_t)UART[DATA]);
      if (length > 0) return length;
    }
    if (SYSTICK[TICK_CONTROL] & TICK_PASSED) ++waited_ms;
  }
  return 0;
}
