"""A writer of bundles that is really killed leaves the old bundle or the new one, whole."""

import os
import random
import signal
import subprocess
import sys
import time

from isplit_edge.manifest import Manifest
from isplit_tf.storage.directories import replacing


def test_killed_at_random_moments_it_leaves_a_whole_bundle(shared_bundle, tmp_path):
    """A dozen SIGKILLs into a writer that replaces two bundles in turn: one of them is left, every hash right."""
    script = (
        "import itertools, shutil, sys\n"
        "from isplit_tf.storage.directories import replacing\n"
        "for source in itertools.cycle(sys.argv[2:]):\n"
        "    with replacing(sys.argv[1]) as scratch:\n"
        "        shutil.copytree(source, scratch, dirs_exist_ok=True)\n"
        "    print('written', flush=True)\n"
    )
    sources = [shared_bundle.directory, tmp_path / "other"]
    other = shared_bundle.manifest.to_dict() | {"created": "2000-01-01T00:00:00+00:00"}
    with replacing(sources[1]) as scratch:
        subprocess.run(["cp", "-r", f"{sources[0]}/.", scratch], check=True)
        Manifest.from_dict(other).write(scratch)
    expected = {Manifest.load(source).created for source in sources}
    assert len(expected) == 2
    target, rng, found = tmp_path / "target", random.Random(0), set()
    for _ in range(12):
        writer = subprocess.Popen(
            [sys.executable, "-c", script, str(target), *map(str, sources)], stdout=subprocess.PIPE
        )
        try:
            writer.stdout.readline()
            time.sleep(rng.uniform(0, 0.05))
        finally:
            writer.send_signal(signal.SIGKILL)
            writer.communicate()
        manifest = Manifest.load(target, check=("edge", "serving", "compose.yaml"))
        files = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
        assert files == {"manifest.json", *manifest.files}
        found.add(manifest.created)
    assert found <= expected
    with replacing(target) as scratch:
        (scratch / "end.txt").write_text("end")
    assert sorted(os.listdir(tmp_path)) == ["other", "target"]
