// A firmware that checks a bundle's array where it will lie, and speaks the wire: run by QEMU, see the README.
//
// It prints the payload of the latent 0, 7, 14, ... (modulo 256) in hexadecimal. With ISPLIT_ASK it also asks the gateway
// on the serial port about that latent, and prints status, class and probability in thousandths.
#include <stdint.h>

#include "head.h"
#include "isplit_wire.h"
#include "link.h"
#include "semihosting.h"

namespace {

const uint8_t kTag[] = ISPLIT_BUNDLE_TAG;
uint8_t latent[ISPLIT_LATENT_BYTES];
uint8_t request[ISPLIT_FRAME_HEADER_BYTES + ISPLIT_PAYLOAD_BYTES];

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

#ifdef ISPLIT_ASK
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
  for (size_t k = 0; k < sizeof latent; ++k) latent[k] = static_cast<uint8_t>(7 * k);
  const size_t bytes = isplit_keep_bits(latent, ISPLIT_LATENT_SIZE, sizeof(ISPLIT_LATENT_TYPE), ISPLIT_LATENT_BITS);
  const size_t n = isplit_pack_request(request, sizeof request, 1, kTag, latent, bytes);
  if (n != sizeof request) return Fail("the payload has a wrong length");
  semihosting_write("payload ");
  WriteHex(request + ISPLIT_FRAME_HEADER_BYTES, ISPLIT_PAYLOAD_BYTES);
  semihosting_write("\n");
#ifdef ISPLIT_ASK
  return Ask(n);
#else
  return 0;
#endif
}
