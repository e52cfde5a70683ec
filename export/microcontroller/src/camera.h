/* What the example asks of a board's camera. */
#ifndef ISPLIT_CAMERA_H_
#define ISPLIT_CAMERA_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Fills a frame of height x width x channels 8-bit pixels, row by row, channels R, G, B; returns 1, or 0 at the end. */
int isplit_capture(uint8_t* pixels, uint32_t height, uint32_t width, uint32_t channels);

#ifdef __cplusplus
}
#endif

#endif /* ISPLIT_CAMERA_H_ */
