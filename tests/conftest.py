"""What holds in every test: fixed seeds, and a quiet TensorFlow."""

import gc
import os
import random
import re
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest


def _set_aside() -> None:
    """Take all objects that there are out of the sight of the garbage collector.

    TensorFlow's converter asks for a full collection at each conversion. Among a million objects of imported modules,
    and what TensorFlow itself keeps of each graph, that is half of what the conversion of a small head costs.
    """
    gc.collect()
    gc.freeze()


_IN_HALF_PRECISION = re.compile(
    r"float16|mixed_precision|several_dtypes|/test_precision\.py|lower_precision|importance/test_strategy\.py"
)
_HALF_PRODUCTS = "import tensorflow as tf; [tf.matmul(*[tf.ones((8, 8), t)] * 2) for t in (tf.bfloat16, tf.float16)]"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out half precision where TensorFlow itself crashes in it, which nobody but a test of kernels sees.

    With ONEDNN_MAX_CPU_ISA below what the processor has, TensorFlow asks the processor, finds bfloat16 or float16, and
    calls a kernel that oneDNN then has not: the process ends with a segmentation fault. A processor that really has no
    more than that takes other kernels.
    """
    if "ONEDNN_MAX_CPU_ISA" not in os.environ or not any(_IN_HALF_PRECISION.search(item.nodeid) for item in items):
        return
    if subprocess.run([sys.executable, "-c", _HALF_PRODUCTS], capture_output=True).returncode:
        reason = "TensorFlow crashes in half precision under ONEDNN_MAX_CPU_ISA on this processor"
        for item in items:
            if _IN_HALF_PRECISION.search(item.nodeid):
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_finish() -> None:
    """What the imports of all tests left."""
    _set_aside()


@pytest.fixture(scope="module", autouse=True)
def _end_of_module():
    """What the tests of a module left."""
    yield
    _set_aside()


@pytest.fixture(autouse=True)
def _fixed_seeds(request):
    """The same numbers in each run, whatever ran before."""
    random.seed(0)
    np.random.seed(0)
    if "keras" in sys.modules:  # tests of the device package do without
        import keras

        keras.utils.set_random_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers of the test's own."""
    return np.random.default_rng(0)
