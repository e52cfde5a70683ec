"""The builders are known to TensorFlow Datasets, and cost nothing where it is not used."""

import subprocess
import sys

import pytest


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


@pytest.mark.parametrize(
    "imports",
    [
        "import isplit_tf; isplit_tf.datasets; import tensorflow_datasets.core; import tensorflow_datasets as tfds",
        "import tensorflow_datasets as tfds; import isplit_tf.datasets",
    ],
)
def test_builders_are_registered(imports):
    """Whichever is imported first, the builders are found by name."""
    code = f"""
import sys
{imports}
for name in ("tiny_imagenet200", "notmnist", "chest_xray_pneumonia"):
    print(tfds.builder_cls(name).__module__.split(".")[-1])
print([finder for finder in sys.meta_path if "isplit" in type(finder).__module__])
"""
    assert run(code) == [
        "tiny_imagenet200_dataset_builder",
        "notmnist_dataset_builder",
        "chest_xray_pneumonia_dataset_builder",
        "[]",
    ]


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
