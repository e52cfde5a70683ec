"""The kit's C code: the wire against Python, and a bundle's array on Cortex-M4 and M7 under QEMU."""

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from isplit_edge import wire
from support.micro_kit import KIT, STRICT, compile_c, need_cross_tools

sys.path.insert(0, str(KIT))  # the kit's programs are no package
from link_frames import ANSWER, REQUEST, FrameReader, pack_answer, pack_frame, unpack_frame

TAG = bytes(range(8))
# As qemu/check.cc fills a latent that is coded.
AROUND = [0, 0, 1, 0, -1, 0, 0, 2, 0, 0, 0, -2, 0]
# Packs each line of hexadecimal as a latent, and prints payload and request.
PACKING = """
#include <stdio.h>
#include <string.h>
#include "isplit_wire.h"
static uint8_t latent[70000], out[80000];
static void show(const char* name, size_t n) {
  size_t k;
  printf("%s ", name);
  for (k = 0; k < n; ++k) printf("%02x", out[k]);
  printf("\\n");
}
int main(void) {
  static const uint8_t tag[8] = {0, 1, 2, 3, 4, 5, 6, 7};
  unsigned count, sequence = 0;
  while (scanf("%u", &count) == 1) {
    unsigned k, byte;
    for (k = 0; k < count; ++k) {
      if (scanf("%2x", &byte) != 1) return 1;
      latent[k] = (uint8_t)byte;
    }
    show("payload", isplit_pack(out, sizeof out, tag, latent, count));
    show("request", isplit_pack_request(out, sizeof out, ++sequence, tag, latent, count));
    if (isplit_pack_request(out, 28 + count - 1, 1, tag, latent, count) != 0) return 1; /* no room */
  }
  return 0;
}
"""
# Keeps the highest bits of each line's elements, and prints what is left.
KEEPING = """
#include <stdio.h>
#include "isplit_wire.h"
int main(void) {
  static uint8_t latent[70000];
  unsigned bits, element_bytes, count;
  while (scanf("%u %u %u", &bits, &element_bytes, &count) == 3) {
    unsigned k, byte;
    size_t left;
    for (k = 0; k < count * element_bytes; ++k) {
      if (scanf("%2x", &byte) != 1) return 1;
      latent[k] = (uint8_t)byte;
    }
    left = isplit_keep_bits(latent, count, element_bytes, bits);
    for (k = 0; k < left; ++k) printf("%02x", latent[k]);
    printf("\\n");
  }
  return 0;
}
"""
# Takes bytes from standard input as from a serial line, and prints the answers to request 7 among them.
TAKING = """
#include <stdio.h>
#include "isplit_wire.h"
int main(void) {
  static uint8_t buffer[ISPLIT_ANSWER_FRAME_BYTES];
  isplit_reader reader = {buffer, sizeof buffer, 0};
  int byte;
  while ((byte = getchar()) != EOF) {
    const size_t length = isplit_take(&reader, (uint8_t)byte);
    isplit_answer answer;
    uint32_t k;
    if (length == 0) continue;
    if (isplit_read_answer(buffer, length, 7, &answer)) {
      printf("%d", (int)answer.status);
      for (k = 0; k < answer.count; ++k) {
        printf(" %u %.9g", (unsigned)answer.classes[k], (double)answer.probabilities[k]);
      }
      printf("\\n");
    }
    reader.filled = 0;
  }
  return 0;
}
"""


def test_payloads_and_requests_equal_python_s(tmp_path, rng):
    """For latents of every odd length, C packs what `isplit_edge.wire` packs, and requests that the gateway reads."""
    (tmp_path / "main.c").write_text(PACKING)
    program = compile_c(tmp_path, [tmp_path / "main.c", KIT / "src" / "isplit_wire.c"])
    latents = [rng.integers(-128, 128, n).astype(np.int8) for n in (1, 2, 63, 1000, 5552, 5553, 65000)]
    latents.append(np.full(65000, -1, np.int8))  # the largest sums
    asked = "".join(f"{latent.size} {latent.tobytes().hex()}\n" for latent in latents)
    done = subprocess.run([program], input=asked, capture_output=True, text=True, check=True, timeout=60)
    lines = iter(done.stdout.splitlines())
    for sequence, latent in enumerate(latents, 1):
        payload, request = (bytes.fromhex(next(lines).split()[1]) for _ in range(2))
        assert payload == wire.pack(TAG, latent)
        assert unpack_frame(request, REQUEST) == (sequence, payload)
        assert pack_frame(REQUEST, sequence, payload) == request


def test_bits_are_kept_as_python_keeps_them(tmp_path, rng):
    """Of int8 and int16 latents of every odd length C leaves, in place, the bytes that `isplit_edge.wire` packs."""
    (tmp_path / "main.c").write_text(KEEPING)
    program = compile_c(tmp_path, [tmp_path / "main.c", KIT / "src" / "isplit_wire.c"])
    cases = [
        (bits, rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, n, dtype, endpoint=True))
        for dtype, choices in (("int8", (8, 4, 2)), ("int16", (16, 8, 4, 2)))
        for bits in choices
        for n in (1, 2, 3, 4, 5, 7, 8, 9, 1001)
    ]
    asked = "".join(f"{bits} {one.itemsize} {one.size} {one.tobytes().hex()}\n" for bits, one in cases)
    done = subprocess.run([program], input=asked, capture_output=True, text=True, check=True, timeout=60)
    expected = [wire.pack(TAG, one, wire.sent_bits(one.dtype.name, bits))[12:].hex() for bits, one in cases]
    assert done.stdout.split() == expected


def test_answers_are_found_in_a_noisy_stream(tmp_path, rng):
    """C finds every whole answer between noise, half frames and damaged ones, and believes no damaged one."""
    (tmp_path / "main.c").write_text(TAKING)
    program = compile_c(tmp_path, [tmp_path / "main.c", KIT / "src" / "isplit_wire.c"])
    stream, expected = b"", []
    for k in range(300):
        probabilities = rng.dirichlet(np.ones(10)).astype(np.float32)
        status = 0 if k % 5 else 3
        good = pack_frame(ANSWER, 7, pack_answer(status, probabilities, 3))
        best = np.argsort(-probabilities, kind="stable")[: 0 if status else 3]
        expected.append(" ".join([str(status), *(f"{j} {probabilities[j]:.9g}" for j in best)]))
        damaged = bytearray(good)
        damaged[rng.integers(len(good))] ^= 1 << rng.integers(8)
        other = pack_frame(ANSWER, 8, pack_answer(0, probabilities, 3))
        noise = [
            rng.bytes(rng.integers(40)),
            b"I",
            b"IS",
            b"ISIS\x01\x02",
            bytes(damaged),
            good[: rng.integers(len(good))],
        ]
        # A half frame swallows what follows only up to the length that it promised.
        stream += noise[k % 6] + other * 4 + good
    done = subprocess.run([program], input=stream, capture_output=True, check=True, timeout=60)
    found = done.stdout.decode().splitlines()
    assert set(found) <= set(expected)
    assert len(found) >= len(expected) - 5
    assert found == [line for line in expected if line in set(found)]


SMALL = r"""
#include <stdio.h>
#include <string.h>
#include "isplit_wire.h"
int main(void) {
  static uint8_t memory[64];
  size_t capacity, k;
  for (capacity = 0; capacity <= 20; ++capacity) {
    isplit_reader reader = {memory + 16, 0, 0};
    reader.capacity = capacity;
    memset(memory, 0xee, sizeof memory);
    for (k = 0; k < 200; ++k) {
      if (isplit_take(&reader, (uint8_t)"IS\1\2xxxx\377"[k % 9]) != 0) return 1;
      if (reader.filled > capacity) return 2;
    }
    reader.filled = capacity + 3; /* as a caller's mistake may leave it */
    isplit_take(&reader, 'I');
    for (k = 0; k < sizeof memory; ++k) {
      if ((k < 16 || k >= 16 + capacity) && memory[k] != 0xee) return 3;
    }
  }
  return 0;
}
"""


def test_a_reader_without_room_writes_nowhere(tmp_path):
    """Whatever its capacity, none included, a reader stays within its buffer."""
    (tmp_path / "main.c").write_text(SMALL)
    program = compile_c(tmp_path, [tmp_path / "main.c", KIT / "src" / "isplit_wire.c"])
    assert subprocess.run([program], timeout=20).returncode == 0


@pytest.mark.parametrize("top", [0, 1, 7, 8, 9, 100])
def test_surplus_classes_are_left_out(top, tmp_path, rng):
    """Whatever --top says, a device has room for the answer, with the most probable classes."""
    (tmp_path / "main.c").write_text(TAKING)
    program = compile_c(tmp_path, [tmp_path / "main.c", KIT / "src" / "isplit_wire.c"])
    probabilities = rng.dirichlet(np.ones(20)).astype(np.float32)
    frame = pack_frame(ANSWER, 7, pack_answer(0, probabilities, top))
    done = subprocess.run([program], input=frame, capture_output=True, check=True, timeout=20)
    best = np.argsort(-probabilities, kind="stable")[: min(top, 8)]
    assert done.stdout.decode().split() == " ".join(["0", *(f"{j} {probabilities[j]:.9g}" for j in best)]).split()


PARTS = r"""
#include <math.h>
#include <stdio.h>
#include "isplit_wire.h"
int main(void) {
  const float values[] = {0,    -0.0f,  0.004f,   0.006f,    0.5f, 0.9999999f, 1,
                          1.5f, -1,     1e30f,    -1e30f,    INFINITY, -INFINITY, NAN};
  size_t k;
  for (k = 0; k < sizeof values / sizeof *values; ++k) {
    printf("%u %u\n", (unsigned)isplit_parts(values[k], 100), (unsigned)isplit_parts(values[k], 1000000));
  }
  return 0;
}
"""


def test_a_number_that_is_no_probability_becomes_none(tmp_path):
    """NaN, infinities and numbers that fit no integer, under a sanitizer where there is one."""
    (tmp_path / "main.c").write_text(PARTS)
    sources = [tmp_path / "main.c", KIT / "src" / "isplit_wire.c"]
    program = compile_c(tmp_path, sources)
    checks = ["-fsanitize=undefined,float-cast-overflow", "-fno-sanitize-recover=all"]
    subprocess.run(["gcc", *checks, "-I", KIT / "src", *sources, "-o", program], capture_output=True, timeout=60)
    done = subprocess.run([program], capture_output=True, text=True, timeout=20, check=True)
    percents = [line.split()[0] for line in done.stdout.splitlines()]
    assert percents == "0 0 0 1 50 100 100 100 0 100 0 100 0 0".split()
    for path in [*(KIT / "src").glob("*.c*"), *(KIT / "qemu").glob("*.cc")]:
        casts = re.findall(r"(?:static_cast<\w+>|\(u?int\w*\))\([^;]*probabilit[^;]*;", path.read_text())
        assert [one for one in casts if "isplit_parts" not in one] == [] or path.name == "isplit_wire.c"


def test_requests_are_found_in_a_noisy_stream(rng):
    """So does the gateway, whatever the pieces are in which the bytes come."""
    reader = FrameReader(most_body_bytes=64)
    stream = b""
    for k in range(200):
        good = pack_frame(REQUEST, k, rng.bytes(rng.integers(1, 65)))
        damaged = bytearray(good)
        damaged[rng.integers(len(good))] ^= 1 << rng.integers(8)
        stream += [b"", rng.bytes(30), bytes(damaged), b"IS\x01\x01" + b"\xff" * 12][k % 4] + good
    found = []
    while stream:
        size = int(rng.integers(1, 50))
        found += [sequence for sequence, _ in reader.feed(stream[:size])]
        stream = stream[size:]
    assert found == sorted(found)
    assert len(found) >= 190


@pytest.mark.parametrize("name", ["micro_bundle", "packed_micro_bundle", "coded_micro_bundle"])
def test_a_bundle_on_cortex_m4_and_m7(request, name, tmp_path):
    """Array and wire code compile for both, the firmware finds every byte in place, and Python reads its payload."""
    need_cross_tools()
    micro_bundle = request.getfixturevalue(name)
    done = run_check(micro_bundle.directory, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    cores = [line.split() for line in lines if line.startswith("cortex")]
    assert [words[0] for words in cores] == ["cortex-m4", "cortex-m7"]
    assert all(int(words[2]) >= micro_bundle.manifest.head["size_bytes"] for words in cores)
    assert all(int(words[4]) == 0 for words in cores)  # nothing of the array in RAM
    manifest = micro_bundle.manifest
    bits, k = manifest.latent_bits, np.arange(np.prod(manifest.shapes["latent"]))
    latent = (7 * k).astype(np.uint8).view(np.int8)
    if manifest.form.code is not None:
        around = manifest.form.code.centres[k % manifest.form.code.n_channels].astype(int) + np.array(AROUND)[k % 13]
        latent = np.clip(around, -128, 127).astype(np.int8)
    latent = latent.reshape(manifest.shapes["latent"])
    payloads = [bytes.fromhex(line.split()[1]) for line in lines if line.startswith("payload")]
    assert payloads == [manifest.form.pack(latent)] * 2
    status, unpacked = manifest.form.unpack(payloads[0])
    assert status == wire.STATUS_OK
    np.testing.assert_array_equal(unpacked, latent if bits is None else wire.levels(latent, bits))
    instructions = [int(line.split()[1]) for line in lines if line.startswith("instructions")]
    assert len(instructions) == 2
    assert all(0 < one < 1500 for one in instructions)


def test_the_firmware_notices_a_damaged_array(micro_bundle, tmp_path):
    """One number of the array changed, and the check ends with a failure that says so."""
    need_cross_tools()
    bundle = shutil.copytree(micro_bundle.directory, tmp_path / "bundle")
    source = bundle / "edge" / "head.cc"
    text = source.read_text()
    at = text.index(",0,", len(text) // 2)
    source.write_text(text[:at] + ",1," + text[at + 3 :])
    done = run_check(bundle, tmp_path / "out")
    assert done.returncode != 0
    assert "the array is damaged" in done.stdout + done.stderr


def run_check(bundle, out) -> subprocess.CompletedProcess:
    """qemu/check.sh on a bundle."""
    command = ["sh", str(KIT / "qemu" / "check.sh"), str(bundle), str(out)]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)


# As much of TensorFlow Lite Micro as the example uses.
DECLARATIONS = {
    "tensorflow/lite/schema/schema_generated.h": """
        #pragma once
        #include <cstdint>
        namespace tflite { struct Model { std::uint32_t version() const; }; const Model* GetModel(const void*); }
    """,
    "tensorflow/lite/micro/system_setup.h": """
        #pragma once
        namespace tflite { void InitializeTarget(); }
    """,
    "tensorflow/lite/micro/micro_mutable_op_resolver.h": """
        #pragma once
        enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };
        namespace tflite {
        class MicroOpResolver {};
        template <unsigned int count> class MicroMutableOpResolver : public MicroOpResolver {
         public:
          METHODS
        };
        }
    """,
    "tensorflow/lite/micro/micro_interpreter.h": """
        #pragma once
        #include <cstddef>
        #include <cstdint>
        #include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
        #include "tensorflow/lite/schema/schema_generated.h"
        #define TFLITE_SCHEMA_VERSION (3)
        union TfLitePtrUnion { std::int8_t* int8; char* raw; };
        struct TfLiteTensor { TfLitePtrUnion data; };
        namespace tflite {
        class MicroInterpreter {
         public:
          MicroInterpreter(const Model*, const MicroOpResolver&, std::uint8_t*, std::size_t);
          TfLiteStatus AllocateTensors();
          TfLiteStatus Invoke();
          TfLiteTensor* input(std::size_t);
          TfLiteTensor* output(std::size_t);
          std::size_t arena_used_bytes() const;
        };
        }
    """,
}


@pytest.mark.parametrize("name", ["micro_bundle", "packed_micro_bundle", "coded_micro_bundle"])
def test_the_example_fits_the_declarations_that_it_uses(request, name, tmp_path):
    """main.cc compiles with a bundle's head.h against thin declarations of TensorFlow Lite Micro, which is not here."""
    if shutil.which("g++") is None:
        pytest.skip("no g++ here")
    micro_bundle = request.getfixturevalue(name)
    header = (micro_bundle.directory / "edge" / "head.h").read_text()
    methods = " ".join(f"TfLiteStatus {word}();" for word in sorted(set(re.findall(r"resolver\.(Add\w+)", header))))
    for name, text in DECLARATIONS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text.replace("METHODS", methods))
    include = [tmp_path, micro_bundle.directory / "edge", KIT / "src"]
    flags = [flag for path in include for flag in ("-I", str(path))]
    command = ["g++", "-std=c++17", *STRICT, *flags, "-c", str(KIT / "src" / "main.cc"), "-o", str(tmp_path / "main.o")]
    subprocess.run(command, check=True, timeout=60)


def test_cmake_builds_the_link(micro_bundle, tmp_path):
    """Without TensorFlow Lite Micro CMake builds what needs none, and it says what a bundle without head.cc lacks."""
    if shutil.which("cmake") is None or shutil.which("make") is None:
        pytest.skip("no cmake and make here")
    configure = ["cmake", "-S", str(KIT), "-B", str(tmp_path / "build")]
    failed = subprocess.run([*configure, "-DBUNDLE=/nowhere"], capture_output=True, text=True, timeout=60)
    assert failed.returncode != 0
    assert "Export it with --target microcontroller" in " ".join(failed.stderr.split())
    subprocess.run([*configure, f"-DBUNDLE={micro_bundle.directory}"], check=True, capture_output=True, timeout=60)
    subprocess.run(["cmake", "--build", str(tmp_path / "build")], check=True, capture_output=True, timeout=60)
    done = subprocess.run([tmp_path / "build" / "replay"], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (2, "usage: replay HOST PORT < latents\n")
