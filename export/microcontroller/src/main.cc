// A frame from the camera, the head under TensorFlow Lite Micro, the payload to the gateway, the class back.
#include <cstdint>
#include <cstdio>

#include "camera.h"
#include "head.h"
#include "link.h"
#include "request.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/micro/system_setup.h"
#include "tensorflow/lite/schema/schema_generated.h"

#ifndef ISPLIT_PIXEL_SOURCE
#error "This example is for int8 heads of images: export with precision int8."
#endif
#ifndef ISPLIT_GATEWAY_HOST
#define ISPLIT_GATEWAY_HOST "127.0.0.1"
#endif
#ifndef ISPLIT_GATEWAY_PORT
#define ISPLIT_GATEWAY_PORT "8510"
#endif

namespace {

constexpr std::uint32_t kShape[] = ISPLIT_INPUT_SHAPE;
constexpr std::uint32_t kSource[] = ISPLIT_PIXEL_SOURCE;

alignas(16) std::uint8_t arena[ISPLIT_ARENA_BYTES];
std::uint8_t pixels[ISPLIT_INPUT_SIZE];
std::uint8_t request[ISPLIT_REQUEST_BYTES];

// Preprocessing and quantization are one table: the head's input is what the Python client would give it.
void Quantize(const std::uint8_t* image, std::int8_t* input) {
  const std::uint32_t channels = kShape[2];
  for (std::uint32_t k = 0; k < ISPLIT_INPUT_SIZE; k += channels) {
    for (std::uint32_t c = 0; c < channels; ++c) input[k + c] = isplit_pixels[c][image[k + kSource[c]]];
  }
}

int Fail(const char* what) {
  std::printf("%s\n", what);
  return 1;
}

}  // namespace

int main() {
  tflite::InitializeTarget();
  const tflite::Model* model = tflite::GetModel(isplit_head);
  if (model->version() != TFLITE_SCHEMA_VERSION) return Fail("The head is of another schema version.");

  tflite::MicroMutableOpResolver<ISPLIT_OPERATORS> resolver;
  if (!isplit_add_operators(resolver)) return Fail("An operator could not be registered.");
  tflite::MicroInterpreter interpreter(model, resolver, arena, sizeof arena);
  if (interpreter.AllocateTensors() != kTfLiteOk) return Fail("The arena is too small: see ISPLIT_ARENA_BYTES.");
  std::printf("arena: %u of %u bytes used\n", static_cast<unsigned>(interpreter.arena_used_bytes()),
              static_cast<unsigned>(sizeof arena));

  if (!isplit_open(ISPLIT_GATEWAY_HOST, ISPLIT_GATEWAY_PORT)) return Fail("There is no way to the gateway.");
  std::uint32_t sequence = 0;
  while (isplit_capture(pixels, kShape[0], kShape[1], kShape[2])) {
    Quantize(pixels, interpreter.input(0)->data.int8);
    if (interpreter.Invoke() != kTfLiteOk) return Fail("The head failed.");
    const std::size_t n = isplit_request_of(interpreter.output(0)->data.raw, request, ++sequence);
    isplit_answer answer;
    if (n == 0 || !isplit_ask(request, n, sequence, &answer)) {
      std::printf("no answer\n");
    } else if (answer.status != ISPLIT_OK || answer.count == 0) {
      std::printf("status %d\n", static_cast<int>(answer.status));
    } else {
      std::printf("class %u, %u %%\n", static_cast<unsigned>(answer.classes[0]),
                  static_cast<unsigned>(isplit_parts(answer.probabilities[0], 100)));
    }
  }
  return 0;
}
