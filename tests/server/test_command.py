"""`isplit publish` and `isplit serve` as processes of their own."""

import json
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from isplit_edge.client import Client
from isplit_tf.cli.main import parse, run


def test_a_folder_is_published_and_served(bundle, images, tmp_path, capsys):
    """Published from a shell, served from a shell over both ports, asked by a client, ended by a signal."""
    models = str(tmp_path / "models")
    publish = ["publish", str(bundle.directory), models]
    assert run(parse([*publish, "--label", "stable", "--json"])) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["versions"] == {"3": bundle.manifest.bundle_id}
    assert record["labels"] == {"stable": 3}
    assert run(parse(publish)) == 2
    assert "in use" in capsys.readouterr().err
    process = subprocess.Popen(
        [sys.executable, "-m", "isplit_tf", "serve", models, "--port", "0", "--grpc-port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    try:
        line = next(line for line in process.stderr if "Serving on" in line)
        urls = [word.rstrip(".") for word in line.split() if "://" in word]
        assert [url.split(":")[0] for url in urls] == ["http", "grpc"]
        for url in urls:
            with Client(bundle.directory, url) as client:
                np.testing.assert_array_equal(client.predict(images), bundle.predict(images))
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


@pytest.mark.parametrize("command", ["publish", "serve"])
def test_help_has_an_example(command, capsys):
    """--help shows how it is called."""
    with pytest.raises(SystemExit):
        parse([command, "--help"])
    assert f"example:\n  isplit {command}" in capsys.readouterr().out
