"""The builders are known to TensorFlow Datasets, and cost nothing where it is not used."""

import subprocess
import sys
from pathlib import Path

import pytest

import isplit_tf.datasets

DUMMY = Path(isplit_tf.datasets.__file__).parent


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_import_loads_nothing():
    """Importing the data sets and loading the embedded one loads neither TensorFlow nor TensorFlow Datasets."""
    code = """
import sys
import isplit_tf.datasets
isplit_tf.datasets.load("glyphs")
print({"tensorflow", "keras", "tensorflow_datasets"} & set(sys.modules))
"""
    assert run(code) == ["set()"]


FIRST = (
    "import isplit_tf; isplit_tf.datasets; import tensorflow_datasets.core",
    "import tensorflow_datasets as tfds; import isplit_tf.datasets",
    "import isplit_tf.datasets.archive_builder",
    "from isplit_tf.datasets.tiny_imagenet200.tiny_imagenet200_dataset_builder import Builder",
    "from isplit_tf.datasets.registration import builder_class; builder_class('notmnist')",
)


@pytest.mark.parametrize("first", FIRST)
def test_builders_are_registered(first):
    """Whatever is imported first, the builders are found by name, and TensorFlow is not loaded for it."""
    code = f"""
import sys
{first}
import tensorflow_datasets as tfds
for name in ("tiny_imagenet200", "notmnist", "chest_xray_pneumonia"):
    print(tfds.core.registered._DATASET_REGISTRY[name].__module__.split(".")[-1])
print([finder for finder in sys.meta_path if "isplit" in type(finder).__module__], "tensorflow" in sys.modules)
"""
    assert run(code) == [
        "tiny_imagenet200_dataset_builder",
        "notmnist_dataset_builder",
        "chest_xray_pneumonia_dataset_builder",
        "[]",
        "False",
    ]


def test_from_archive_in_a_fresh_process(tmp_path):
    """An archive can be the first thing that a program touches; afterwards `tfds.load` knows it by name."""
    path = DUMMY / "chest_xray_pneumonia" / "dummy_data" / "ChestXRay2017.zip"
    code = f"""
import warnings
warnings.simplefilter("ignore", UserWarning)
from isplit_tf import datasets
builder = datasets.from_archive({str(path)!r}, {str(tmp_path)!r})
import tensorflow_datasets as tfds
name = "chest_xray_pneumonia/" + builder.builder_config.name
print(len(tfds.load(name, split="test", data_dir={str(tmp_path)!r})))
"""
    assert run(code) == ["4"]


def test_failed_import_is_tried_again(tmp_path):
    """Where the import of TensorFlow Datasets fails, the next one registers, once."""
    package = tmp_path / "tensorflow_datasets"
    package.mkdir()
    (package / "__init__.py").write_text("import sys\nif not sys.argv.pop():\n    raise ImportError")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
sys.argv[:] = ["second", ""]
import isplit_tf.datasets as datasets
datasets._registration._import_builders = lambda: print("registered")
try:
    import tensorflow_datasets
except ImportError:
    print("failed")
import tensorflow_datasets
import tensorflow_datasets
"""
    assert run(code) == ["failed", "registered"]
