/* Start of a firmware on Arm's MPS2 boards with a Cortex-M4 (AN386) or M7 (AN500), and its way out by semihosting. */
#include <stdint.h>
#include <string.h>

#include "semihosting.h"

extern uint32_t _data_start[], _data_end[], _data_load[], _bss_start[], _bss_end[], _stack_top[];
int main(void);

void reset_handler(void);
void reset_handler(void) {
  /* The floating-point unit is off after a reset: CPACR. */
  *(volatile uint32_t*)0xe000ed88u |= 0xfu << 20;
  __asm__ volatile("dsb\n isb");
  memcpy(_data_start, _data_load, (size_t)((uint8_t*)_data_end - (uint8_t*)_data_start));
  memset(_bss_start, 0, (size_t)((uint8_t*)_bss_end - (uint8_t*)_bss_start));
  semihosting_exit(main());
}

static void fault_handler(void) {
  semihosting_write("fault\n");
  semihosting_exit(1);
}

static const struct {
  uint32_t* stack;
  void (*handlers[15])(void);
} vectors __attribute__((section(".vectors"), used)) = {
    _stack_top,
    {reset_handler, fault_handler, fault_handler, fault_handler, fault_handler, fault_handler},
};
