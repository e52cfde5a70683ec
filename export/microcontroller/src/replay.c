/* Sends latents from standard input through the gateway, to try it without a board:
 *
 *   replay HOST PORT < latents
 *
 * Each ISPLIT_LATENT_BYTES bytes are one latent of the bundle, as its head gives it. For each it prints status, class
 * and probability. */
#include <stdio.h>

#include "head.h"
#include "link.h"
#include "request.h"

int main(int argc, char** argv) {
  static uint8_t latent[ISPLIT_LATENT_BYTES];
  static uint8_t request[ISPLIT_REQUEST_BYTES];
  uint32_t sequence = 0;
  int lost = 0;
  if (argc != 3) {
    fprintf(stderr, "usage: replay HOST PORT < latents\n");
    return 2;
  }
  if (!isplit_open(argv[1], argv[2])) {
    fprintf(stderr, "replay: no way to %s port %s\n", argv[1], argv[2]);
    return 1;
  }
  while (fread(latent, sizeof latent, 1, stdin) == 1) {
    isplit_answer answer;
    const size_t n = isplit_request_of(latent, request, ++sequence);
    if (n == 0 || !isplit_ask(request, n, sequence, &answer)) {
      printf("lost\n");
      lost = 1;
    } else if (answer.count == 0) {
      printf("%d\n", (int)answer.status);
    } else {
      printf("%d %u %.9g\n", (int)answer.status, (unsigned)answer.classes[0], (double)answer.probabilities[0]);
    }
  }
  return lost;
}
