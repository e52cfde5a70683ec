"""The kit's encoder in C: the bytes of the Python reference, at every rate, on this machine and on Cortex-M."""

import subprocess

import numpy as np
import pytest

from isplit_edge.code import Code
from support.code_vectors import vectors
from support.micro_kit import KIT, compile_c

# Reads the tables; then latents with their codes, and prints what they become, or a dash.
ENCODING = """
#include <stdio.h>
#include "isplit_code.h"
static uint16_t tables[64 * 17];
static uint8_t runs[1000], magnitudes[1000], out[200000];
static int8_t centres[1000], latent[200000];
static isplit_code_work work;
static unsigned number(void) { int n = 0; if (scanf("%d", &n) != 1) n = 0; return (unsigned)n; }
int main(void) {
  isplit_code code = {tables, runs, magnitudes, centres, 0, 0};
  unsigned k, count = number();
  for (k = 0; k < count; ++k) tables[k] = (uint16_t)number();
  while ((code.channels = number()) != 0) {
    unsigned capacity;
    size_t n, j;
    code.positions = number();
    capacity = number();
    for (k = 0; k < code.channels; ++k) runs[k] = (uint8_t)number();
    for (k = 0; k < code.channels; ++k) magnitudes[k] = (uint8_t)number();
    for (k = 0; k < code.channels; ++k) centres[k] = (int8_t)number();
    for (k = 0; k < code.channels * code.positions; ++k) latent[k] = (int8_t)number();
    out[capacity] = 0xa5;
    n = isplit_encode(&code, latent, out, capacity, &work);
    for (j = 0; j < n; ++j) printf("%02x", out[j]);
    printf(out[capacity] != 0xa5 ? "overrun\\n" : n == 0 ? "-\\n" : "\\n");
  }
  return 0;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The encoder, compiled for this machine."""
    folder = tmp_path_factory.mktemp("code")
    (folder / "encoding.c").write_text(ENCODING)
    return compile_c(folder, [folder / "encoding.c", KIT / "src" / "isplit_code.c"])


def asked(code: Code, latent: np.ndarray, max_bytes: int) -> str:
    """A latent with its code as the program reads it."""
    parts = [code.n_channels, code.positions, max_bytes, *code.runs, *code.magnitudes, *code.centres, *latent.ravel()]
    return " ".join(map(str, parts))


def encoded(program, tables: np.ndarray, lines: list[str]) -> list[str]:
    """What the program prints for latents."""
    start = " ".join(map(str, [tables.size, *tables.ravel()]))
    done = subprocess.run([str(program)], input="\n".join([start, *lines]), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    return done.stdout.split("\n")[: len(lines)]


def test_the_stored_vectors_are_those_of_python_and_c(program):
    """Each vector's bytes are what both encoders give, and what the reference decoder reads back."""
    cases = list(vectors())
    found = encoded(program, cases[0]["code"].tables, [asked(c["code"], c["latent"], c["max_bytes"]) for c in cases])
    for case, hexadecimal in zip(cases, found, strict=True):
        assert case["code"].encode(case["latent"], case["max_bytes"]) == case["expected"]
        assert bytes.fromhex(hexadecimal) == case["expected"]
        assert case["code"].decode(case["expected"]) is not None


@pytest.mark.parametrize("seed", range(3))
def test_c_gives_the_bytes_of_python_at_every_rate(program, seed):
    """For random latents of many shapes and every kind of bound, also one that nothing fits, the bytes agree."""
    rng = np.random.default_rng(seed)
    lines, expected = [], []
    for _ in range(40):
        shape = (*rng.integers(1, 15, 2).tolist(), int(rng.integers(1, 60)))
        scale = rng.choice([0.1, 1, 5, 60]) * rng.choice([0.9, 0.99, 1.0]) ** np.arange(shape[-1])
        values = np.rint(rng.laplace(size=(3, *shape)) * scale + rng.integers(-9, 9, shape[-1]))
        symbols = np.clip(values, -128, 127).astype(np.int8)
        code = Code.fit(symbols)
        if rng.random() < 0.2:  # tables that expect something else, so that lanes have to be added
            code = Code(code.tables, code.runs[::-1], code.magnitudes[::-1], code.centres, shape)
        whole = len(code.encode(symbols[0]))
        for bound in {5, 2 * whole, *rng.integers(5, whole + 5, 5).tolist()}:
            lines.append(asked(code, symbols[0], bound))
            try:
                expected.append(code.encode(symbols[0], bound).hex())
            except ValueError:
                expected.append("-")
    assert encoded(program, code.tables, lines) == expected
    assert "-" in expected


def test_the_largest_magnitudes_fit_the_lanes_memory(program):
    """The latent that needs the most operations is coded alike."""
    x = np.where(np.indices((14, 14, 30)).sum(axis=0) % 2, 127, -128).astype(np.int8)
    code = Code(Code.fit(x[None]).tables, [0] * 30, [31] * 30, [-128] * 30, x.shape)
    assert encoded(program, code.tables, [asked(code, x, 150_000)]) == [code.encode(x).hex()]
