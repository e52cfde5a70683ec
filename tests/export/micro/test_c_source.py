"""The head as C: what the texts say, and what a compiler makes of them."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from isplit_edge.interpreter import Head
from isplit_edge.manifest import Manifest
from isplit_tf.export.micro.c_source import header, pixel_table, resolver_method

METHODS = {
    "ADD": "AddAdd",
    "ADD_N": "AddAddN",
    "AVERAGE_POOL_2D": "AddAveragePool2D",
    "BATCH_MATMUL": "AddBatchMatMul",
    "BATCH_TO_SPACE_ND": "AddBatchToSpaceNd",
    "CONV_2D": "AddConv2D",
    "CUMSUM": "AddCumSum",
    "DEPTHWISE_CONV_2D": "AddDepthwiseConv2D",
    "FULLY_CONNECTED": "AddFullyConnected",
    "HARD_SWISH": "AddHardSwish",
    "L2_NORMALIZATION": "AddL2Normalization",
    "LOG_SOFTMAX": "AddLogSoftmax",
    "MAX_POOL_2D": "AddMaxPool2D",
    "PADV2": "AddPadV2",
    "RELU6": "AddRelu6",
    "RESIZE_NEAREST_NEIGHBOR": "AddResizeNearestNeighbor",
    "SELECT_V2": "AddSelectV2",
    "SQUARED_DIFFERENCE": "AddSquaredDifference",
    "SVDF": "AddSvdf",
    "TRANSPOSE_CONV": "AddTransposeConv",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "AddUnidirectionalSequenceLSTM",
}

# Stands in for tflite::MicroMutableOpResolver and writes down what is registered; then everything that head.h says.
PROGRAM = """
#include "head.h"
#include "head.h"
#include <cstdio>
#include <cstring>
struct Recorder {
  const char* failing;
  int Note(const char* name) { std::printf("%s\\n", name); return failing && !std::strcmp(failing, name); }
  METHODS
};
int main(int argc, char** argv) {
  Recorder recorder{argc > 1 ? argv[1] : nullptr};
  const bool added = isplit_add_operators(recorder);
  static const int shape[] = ISPLIT_INPUT_SHAPE, latent[] = ISPLIT_LATENT_SHAPE;
  static const unsigned char tag[] = ISPLIT_BUNDLE_TAG;
  static const int source[] = ISPLIT_PIXEL_SOURCE;
  static_assert(sizeof shape == ISPLIT_INPUT_RANK * sizeof *shape, "");
  static_assert(sizeof latent == ISPLIT_LATENT_RANK * sizeof *latent, "");
  static_assert(sizeof(ISPLIT_LATENT_TYPE) * ISPLIT_LATENT_SIZE == ISPLIT_LATENT_BYTES, "");
#ifdef ISPLIT_LATENT_CODE
  static_assert(sizeof isplit_code_tables / sizeof *isplit_code_tables == ISPLIT_CODE_TABLES, "");
#else
  static_assert(ISPLIT_WIRE_HEADER_BYTES + (ISPLIT_LATENT_SIZE * ISPLIT_LATENT_BITS + 7) / 8 == ISPLIT_PAYLOAD_BYTES,
                "");
#endif
  std::FILE* facts = std::fopen("facts.json", "w");
  std::fprintf(facts, "{\\"added\\": %d, \\"aligned\\": %d, \\"operators\\": %d, \\"arena\\": [%u, %u], ", added,
               reinterpret_cast<uintptr_t>(isplit_head) % 16 == 0, ISPLIT_OPERATORS, ISPLIT_ARENA_SMALLEST_BYTES,
               ISPLIT_ARENA_BYTES);
  std::fprintf(facts, "\\"input\\": [%d, %d, %d, %.9g, %d], ", shape[0], shape[1], shape[2], ISPLIT_INPUT_SCALE,
               ISPLIT_INPUT_ZERO_POINT);
  std::fprintf(facts, "\\"latent\\": [%d, %d, %d, %.9g, %d], ", latent[0], latent[1], latent[2], ISPLIT_LATENT_SCALE,
               ISPLIT_LATENT_ZERO_POINT);
  std::fprintf(facts, "\\"tag\\": %u, \\"classes\\": %d, \\"source\\": [%d, %d, %d]}", tag[0] << 8 | tag[7],
               ISPLIT_CLASSES, source[0], source[1], source[2]);
  std::fclose(facts);
  std::FILE* array = std::fopen("array.bin", "wb");
  std::fwrite(isplit_head, 1, ISPLIT_HEAD_BYTES, array);
  std::fclose(array);
  std::FILE* pixels = std::fopen("pixels.bin", "wb");
  std::fwrite(isplit_pixels, 256, 3, pixels);
  std::fclose(pixels);
}
"""


def compiled(folder: Path, bundle: Path, methods: list[str]) -> Path:
    """The program, built with strict flags from C++11 sources."""
    if shutil.which("g++") is None:
        pytest.skip("no g++ here")
    recorded = "\n  ".join(f'int {name}() {{ return Note("{name}"); }}' for name in methods)
    (folder / "main.cc").write_text(PROGRAM.replace("METHODS", recorded))
    strict = ["-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I", str(bundle / "edge")]
    command = ["g++", *strict, "main.cc", str(bundle / "edge" / "head.cc"), "-o", "main"]
    subprocess.run(command, cwd=folder, check=True, timeout=120)
    return folder / "main"


@pytest.mark.parametrize("name", ["micro_bundle", "packed_micro_bundle", "coded_micro_bundle"])
def test_what_a_compiler_reads(request, name, tmp_path):
    """From C++11, the array is head.tflite to the byte and aligned, and every constant is the manifest's."""
    micro_bundle = request.getfixturevalue(name)
    bundle, manifest = micro_bundle.directory, micro_bundle.manifest
    wanted = [METHODS[name] for name in sorted(manifest.microcontroller["operators"])]
    program = compiled(tmp_path, bundle, wanted)
    done = subprocess.run([program], cwd=tmp_path, check=True, capture_output=True, text=True, timeout=20)
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert done.stdout.split() == wanted
    assert (tmp_path / "array.bin").read_bytes() == (bundle / "edge" / "head.tflite").read_bytes()
    micro = manifest.microcontroller
    assert (facts["added"], facts["aligned"], facts["operators"]) == (1, 1, len(wanted))
    assert facts["arena"] == [micro["arena_smallest_bytes"], micro["arena_bytes"]]
    assert tuple(facts["input"][:3]) == manifest.shapes["input"]
    assert tuple(facts["latent"][:3]) == manifest.shapes["latent"]
    assert np.float32(facts["latent"][3]) == np.float32(manifest.scale)
    assert facts["latent"][4] == manifest.zero_point
    assert facts["tag"] == manifest.tag[0] << 8 | manifest.tag[7]
    assert (facts["classes"], facts["source"]) == (manifest.n_classes, [0, 1, 2])


def test_a_resolver_that_is_full_is_noticed(micro_bundle, tmp_path):
    """Where an operator cannot be added, `isplit_add_operators` is false."""
    wanted = [METHODS[name] for name in sorted(micro_bundle.manifest.microcontroller["operators"])]
    program = compiled(tmp_path, micro_bundle.directory, wanted)
    subprocess.run([program, wanted[-1]], cwd=tmp_path, check=True, capture_output=True, timeout=20)
    assert json.loads((tmp_path / "facts.json").read_text())["added"] == 0


def test_the_pixel_table_is_the_client_s_arithmetic(micro_bundle, tmp_path):
    """For every 8-bit pixel the compiled table holds what the device package gives the head."""
    methods = [METHODS[name] for name in sorted(micro_bundle.manifest.microcontroller["operators"])]
    subprocess.run(
        [compiled(tmp_path, micro_bundle.directory, methods)], cwd=tmp_path, check=True, capture_output=True, timeout=20
    )
    table = np.frombuffer((tmp_path / "pixels.bin").read_bytes(), np.int8).reshape(3, 256)
    head = Head(micro_bundle.directory)
    height, width, _ = micro_bundle.manifest.shapes["input"]
    for start in range(0, 256, height * width):
        levels = np.resize(np.arange(start, 256, dtype=np.uint8), (height, width, 1)).repeat(3, axis=2)
        x = head.prepare(levels)
        np.testing.assert_array_equal(x.reshape(height, width, 3), table.T[levels[..., 0]])


def test_c_reads_the_constants(micro_bundle, tmp_path):
    """head.h is C99 too."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc here")
    (tmp_path / "main.c").write_text(
        '#include "head.h"\nstatic const int8_t zero = ISPLIT_LATENT_ZERO_POINT;\n'
        "int main(void) { return ISPLIT_PAYLOAD_BYTES + zero + (isplit_head[0] && ISPLIT_LATENT_SCALE > 0); }\n"
    )
    strict = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I", str(micro_bundle.directory / "edge")]
    subprocess.run(["gcc", *strict, "-c", "main.c"], cwd=tmp_path, check=True, timeout=60)


@pytest.mark.parametrize(("operator", "method"), METHODS.items())
def test_methods_of_the_resolver(operator, method):
    """LiteRT's names become those of MicroMutableOpResolver, the odd ones too."""
    assert resolver_method(operator) == method


def test_a_camera_of_other_order(micro_bundle):
    """The table of a BGR model is indexed by its own channels: mean and scale go with the head's channel."""
    slot = {"shape": [4, 4, 3], "dtype": "int8", "scale": 1.0, "zero_point": 0}
    record = {"name": None, "size": None, "resize": "bilinear", "scale": 1.0, "std": 1.0, "channel_order": "BGR"}
    table = pixel_table(slot, {**record, "mean": [10.0, 20.0, 30.0]})
    assert table[:, 100].tolist() == [90, 80, 70]
    assert table[:, 0].tolist() == [-10, -20, -30]
    assert table[:, 255].tolist() == [127, 127, 127]


@pytest.mark.parametrize(
    "slot", [{"shape": [4, 4, 3], "dtype": "int16"}, {"shape": [4], "dtype": "int8"}], ids=["int16", "vector"]
)
def test_no_table_without_8_bit_images(slot):
    """Only an int8 image has a table; for other inputs the firmware quantizes by scale and zero point."""
    assert pixel_table({**slot, "scale": 1.0, "zero_point": 0}, None) is None


def test_a_cut_s_name_cannot_leave_its_comment(micro_bundle):
    """Whatever a layer is called, the text stays one comment in ASCII."""
    record = micro_bundle.manifest.to_dict()
    record["cut"] = {**record["cut"], "name": "a */ #error é\n*/"}
    slot = {"shape": [2], "dtype": "float32", "scale": None, "zero_point": None}
    facts = {"size_bytes": 1, "adler32": 1, "arena_bytes": 16, "arena_smallest_bytes": 16, "pixels": False}
    text = header(record, {**facts, "operators": {"ADD": 1}, "input": slot, "output": slot})
    assert text.isascii()
    assert text.split("*/")[0].count("\n") == 3
    assert "ISPLIT_INPUT_SCALE" not in text
    assert "PIXEL" not in text


def test_the_manifest_names_and_hashes_the_sources(micro_bundle):
    """head.h and head.cc are files of the bundle like any other, and what a device loads is compared with them."""
    manifest = Manifest.load(micro_bundle.directory, check=("edge",))
    assert {"edge/head.h", "edge/head.cc"} <= set(manifest.files)
    assert manifest.to_dict()["microcontroller"]["arena_bytes"] == manifest.microcontroller["arena_bytes"]


def test_other_bundles_have_no_such_record(shared_bundle):
    """Without the target there is neither the record nor the sources."""
    assert "microcontroller" not in shared_bundle.manifest.to_dict()
    assert shared_bundle.manifest.microcontroller is None
    assert not (shared_bundle.directory / "edge" / "head.cc").exists()
