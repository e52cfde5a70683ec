/* Stands in for a camera: three frames of a moving ramp. Replace it by the driver of the board. */
#include "camera.h"

int isplit_capture(uint8_t* pixels, uint32_t height, uint32_t width, uint32_t channels) {
  static uint32_t frame = 0;
  uint32_t k;
  if (frame == 3) return 0;
  for (k = 0; k < height * width * channels; ++k) pixels[k] = (uint8_t)(k + 64u * frame);
  ++frame;
  return 1;
}
