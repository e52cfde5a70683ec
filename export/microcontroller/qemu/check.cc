// A firmware that checks a bundle's array where it will lie, and speaks the wire: run by QEMU, see the README.
//
// It prints the payload of the latent 0, 7, 14, ... (modulo 256) in hexadecimal, or, where it is coded, of small numbers
// around the centres; and how many instructions the request took for each element of the latent. With ISPLIT_ASK it also asks the gateway
// on the serial port about that latent, and prints status, class and probability in thousandths.
#include <stdint.h>

#include "head.h"
#include "isplit_wire.h"
#include "link.h"
#include "request.h"
#include "semihosting.h"

namespace {

uint8_t latent[ISPLIT_LATENT_BYTES];
uint8_t request[ISPLIT_REQUEST_BYTES];
volatile uint32_t* const kSysTick = reinterpret_cast<volatile uint32_t*>(0xe000e010);
// QEMU's clock takes 1 ns for an instruction (-icount shift=0), and SysTick counts down at 25 MHz.
const uint32_t kInstructionsATick = 40;

int Fail(const char* what) {
  semihosting_write(what);
  semihosting_write("\n");
  return 1;
}

void WriteHex(const uint8_t* bytes, size_t n) {
  static const char kDigits[] = "0123456789abcdef";
  char text[3] = {0, 0, 0};
  for (size_t k = 0; k < n; ++k) {
    text[0] = kDigits[bytes[k] >> 4];
    text[1] = kDigits[bytes[k] & 15];
    semihosting_write(text);
  }
}

void WriteNumber(uint32_t value) {
  char text[12];
  char* start = text + sizeof text - 1;
  *start = 0;
  do {
    *--start = static_cast<char>('0' + value % 10);
    value /= 10;
  } while (value > 0);
  semihosting_write(start);
}

void FillLatent() {
#ifdef ISPLIT_LATENT_CODE
  static const int8_t kAround[] = {0, 0, 1, 0, -1, 0, 0, 2, 0, 0, 0, -2, 0};
  for (size_t k = 0; k < sizeof latent; ++k) {
    const int value = isplit_code_centres[k % ISPLIT_CODE_CHANNELS] + kAround[k % sizeof kAround];
    latent[k] = static_cast<uint8_t>(value < -128 ? -128 : value > 127 ? 127 : value);
  }
#else
  for (size_t k = 0; k < sizeof latent; ++k) latent[k] = static_cast<uint8_t>(7 * k);
#endif
}

// The request of the latent, and how long it took.
size_t TimedRequest() {
  kSysTick[1] = 0xffffff;
  kSysTick[2] = 0;
  kSysTick[0] = 5;
  const uint32_t begin = kSysTick[2];
  const size_t n = isplit_request_of(latent, request, 1);
  const uint32_t ticks = (begin - kSysTick[2]) & 0xffffff;
  semihosting_write("instructions ");
  WriteNumber(ticks * kInstructionsATick / ISPLIT_LATENT_SIZE);
  semihosting_write("\n");
  return n;
}

#ifdef ISPLIT_ASK
int Ask(size_t n) {
  isplit_answer answer;
  if (!isplit_open("", "") || !isplit_ask(request, n, 1, &answer)) return Fail("no answer");
  semihosting_write("answer ");
  WriteNumber(static_cast<uint32_t>(answer.status));
  semihosting_write(" ");
  WriteNumber(answer.classes[0]);
  semihosting_write(" ");
  WriteNumber(isplit_parts(answer.probabilities[0], 1000));
  semihosting_write("\n");
  return answer.count > 0 ? 0 : 1;
}
#endif

}  // namespace

extern "C" int main() {
  if (reinterpret_cast<uintptr_t>(isplit_head) % 16 != 0) return Fail("the array is not aligned to 16 bytes");
  if (isplit_adler32(isplit_head, ISPLIT_HEAD_BYTES) != ISPLIT_HEAD_ADLER32) return Fail("the array is damaged");
  FillLatent();
  const size_t n = TimedRequest();
  if (n == 0) return Fail("the latent makes no request");
  semihosting_write("payload ");
  WriteHex(request + ISPLIT_FRAME_HEADER_BYTES, n - ISPLIT_FRAME_HEADER_BYTES);
  semihosting_write("\n");
#ifdef ISPLIT_ASK
  return Ask(n);
#else
  return 0;
#endif
}
