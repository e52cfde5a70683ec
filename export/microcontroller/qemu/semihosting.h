/* The two calls to the debugger, or to QEMU, that the check needs. */
#ifndef ISPLIT_SEMIHOSTING_H_
#define ISPLIT_SEMIHOSTING_H_

#include <stdint.h>

static inline int32_t semihosting_call(uint32_t operation, uint32_t argument) {
  register uint32_t r0 __asm__("r0") = operation;
  register uint32_t r1 __asm__("r1") = argument;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return (int32_t)r0;
}

/* SYS_WRITE0: a text that ends with a zero. */
static inline void semihosting_write(const char* text) { (void)semihosting_call(0x04u, (uint32_t)text); }

/* SYS_EXIT: 0 as success, anything else as failure. */
static inline void semihosting_exit(int code) {
  for (;;) (void)semihosting_call(0x18u, code == 0 ? 0x20026u : 0x20023u);
}

#endif /* ISPLIT_SEMIHOSTING_H_ */
