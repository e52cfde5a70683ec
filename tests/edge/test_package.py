"""The device package as a whole: what it imports, what it shows, and that it can be installed alone."""

import ast
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

import isplit_edge
import isplit_tf.edge

SOURCE = Path(isplit_edge.__file__).parent
PUBLIC = [
    "Answer",
    "ArgumentError",
    "BundleError",
    "Client",
    "DataError",
    "DeviceProfile",
    "Head",
    "ISplitError",
    "Kit",
    "Manifest",
    "MissingDependencyError",
    "ServerError",
    "ServerTimeoutError",
    "ServerUnreachableError",
]
PREDICT = """
import sys
import numpy as np
from isplit_edge import Client
with Client(sys.argv[1], sys.argv[2]) as client:
    client.check()
    np.save(sys.argv[4], client.predict(np.load(sys.argv[3])))
loaded = sorted(name for name in sys.modules if name.split(".")[0] in ("tensorflow", "keras", "isplit_tf", "PIL"))
assert not loaded, loaded
"""


def run(python: Path | str, *arguments: object, cwd: Path | None = None) -> str:
    """Runs a Python without this environment's paths and returns its standard output."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [str(python), *(str(one) for one in arguments)]
    done = subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_public_names_are_these():
    """Programs are written against them; isplit_tf.edge shows the same objects."""
    assert isplit_edge.__all__ == [*PUBLIC, "__version__"]
    assert isplit_tf.edge.__all__ == PUBLIC
    for name in PUBLIC:
        assert getattr(isplit_tf.edge, name) is getattr(isplit_edge, name)
    assert set(PUBLIC) <= set(dir(isplit_edge))
    with pytest.raises(AttributeError, match="has no attribute 'client_'"):
        isplit_edge.client_


def test_the_import_loads_nothing_heavy():
    """`import isplit_edge` loads no TensorFlow, no Keras, not even numpy."""
    code = "import sys, isplit_edge; print([n for n in ('tensorflow', 'keras', 'numpy') if n in sys.modules])"
    assert run(sys.executable, "-c", code, cwd=SOURCE.parent) == "[]\n"


def test_predicting_loads_no_tensorflow(server, bundles, images, tmp_path):
    """In a fresh interpreter that could import TensorFlow, a whole prediction does not."""
    np.save(tmp_path / "x.npy", images)
    arguments = (bundles["float32"], server.url, tmp_path / "x.npy", tmp_path / "y.npy")
    run(sys.executable, "-c", PREDICT, *arguments, cwd=SOURCE.parent)
    assert np.load(tmp_path / "y.npy").shape == (5, 3)


def test_the_source_imports_only_what_a_device_has():
    """The standard library, numpy, ai_edge_litert, itself; Pillow for pictures, grpcio for grpc:// alone."""
    allowed = sys.stdlib_module_names | {"numpy", "ai_edge_litert"}
    optional = {("PIL", "pictures.py"), ("PIL", "encoding.py"), ("grpc", "rpc.py")}
    for path in SOURCE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            for name in names:
                root = name.split(".")[0]
                assert root in allowed or (root, path.name) in optional, f"{path.name} imports {name}"


@pytest.mark.slow
def test_the_small_distribution_works_alone(server, bundles, images, tmp_path):
    """Built and installed alone into an empty environment, it predicts; TensorFlow cannot be imported there."""
    source = shutil.copytree(SOURCE, tmp_path / "isplit_edge", ignore=shutil.ignore_patterns("__pycache__", "build"))
    run(sys.executable, "-m", "build", "--outdir", tmp_path / "dist", source)
    wheel = next((tmp_path / "dist").glob("isplit_edge-*.whl"))
    assert wheel.name == f"isplit_edge-{isplit_edge.__version__}-py3-none-any.whl"
    assert wheel.stat().st_size < 150_000

    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    python = tmp_path / "venv/bin/python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", wheel)
    np.save(tmp_path / "x.npy", images)
    run(python, "-c", PREDICT, bundles["float32"], server.url, tmp_path / "x.npy", tmp_path / "y.npy", cwd=tmp_path)
    with isplit_edge.Client(bundles["float32"], server.url) as client:
        np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), client.predict(images))

    found = "import importlib.util as u; print([n for n in ('tensorflow', 'keras', 'isplit_tf') if u.find_spec(n)])"
    assert run(python, "-c", found, cwd=tmp_path) == "[]\n"
    files = run(sys.executable, "-m", "pip", "--python", python, "show", "-f", "isplit-edge")
    assert "LICENSE" in files
    assert "py.typed" in files
    assert run(python, "-m", "isplit_edge", bundles["float32"], "--url", server.url, cwd=tmp_path) == "AVAILABLE\n"
