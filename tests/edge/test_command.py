"""`python -m isplit_edge`, the command for a device."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from isplit_edge.__main__ import main


def test_arrays_and_pictures_are_classified(server, bundles, images, tmp_path, capsys):
    """A line for each image of each file, folders searched; a picture gives what its array gives."""
    from PIL import Image

    np.save(tmp_path / "a.npy", images)
    np.savez(tmp_path / "b.npz", x=images[:2], y=[0, 1])
    Image.fromarray(images[0]).save(tmp_path / "c.png")
    (tmp_path / "readme.txt").write_text("not an image")
    assert main([str(bundles["float32"]), "--url", server.url, "--json", str(tmp_path)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["file"][-5:], line["image"]) for line in lines] == [
        *(("a.npy", row) for row in range(5)),
        *(("b.npz", row) for row in range(2)),
        ("c.png", 0),
    ]
    assert lines[0]["class"] in ("ant", "bee", "cow")
    assert [line["probability"] for line in lines[5:]] == [lines[row]["probability"] for row in (0, 1, 0)]


def test_without_files_the_server_is_checked(server, bundles, capsys):
    """The command doubles as a health check."""
    assert main([str(bundles["float32"]), "--url", server.url]) == 0
    assert capsys.readouterr().out == "AVAILABLE\n"


def test_images_without_an_answer_give_status_1(bundles, images, tmp_path, capsys):
    """The lines say why, and the exit status that something failed."""
    np.save(tmp_path / "a.npy", images[:1])
    assert main([str(bundles["float32"]), "--url", "http://127.0.0.1:9", str(tmp_path / "a.npy")]) == 1
    assert "a.npy\t0\tstatus 3\tPOST http://127.0.0.1:9" in capsys.readouterr().out
    assert main([str(bundles["float32"]), "--url", "http://127.0.0.1:9"]) == 1
    assert "connection refused" in capsys.readouterr().err


def test_bad_requests_give_status_2(server, bundles, tmp_path, capsys):
    """A wrong bundle, file or folder: one line on standard error, nothing on standard output."""
    (tmp_path / "x.npy").write_bytes(b"no array")
    (tmp_path / "x.png").write_bytes(b"no picture")
    np.savez(tmp_path / "empty.npz")
    (tmp_path / "folder").mkdir()
    for arguments, message in [
        ([str(tmp_path)], "is not a bundle"),
        ([str(bundles["float32"]), str(tmp_path / "x.npy")], "x.npy cannot be read"),
        ([str(bundles["float32"]), str(tmp_path / "x.png")], "x.png cannot be read"),
        ([str(bundles["float32"]), str(tmp_path / "empty.npz")], "holds no array"),
        ([str(bundles["float32"]), str(tmp_path / "missing.npy")], "missing.npy cannot be read"),
        ([str(bundles["float32"]), str(tmp_path / "folder")], "folder holds no .npy"),
    ]:
        assert main([*arguments, "--url", server.url]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert message in err


def test_a_bad_file_does_not_stop_the_others(server, bundles, images, tmp_path, capsys):
    """Empty, cut off, of another shape: each is named, the last is classified, and the exit status is 2."""
    np.savez(tmp_path / "whole.npz", x=images[:1])
    (tmp_path / "a.npy").touch()
    (tmp_path / "b.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:60])
    (tmp_path / "c.npy").write_bytes((tmp_path / "whole.npz").read_bytes()[:60])
    np.save(tmp_path / "d.npy", images[0, :2, :2, :1])
    assert main([str(bundles["float32"]), "--url", server.url, str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert [line.split("\t")[0][-9:] for line in out.splitlines()] == ["whole.npz"]
    assert [Path(line.split()[1].rstrip(":")).name for line in err.splitlines()] == ["a.npy", "b.npz", "c.npy", "d.npy"]


def test_pickled_arrays_are_refused(server, bundles, tmp_path, capsys):
    """No code from a file: an array of objects is not loaded."""
    np.save(tmp_path / "x.npy", np.array([{}], object), allow_pickle=True)
    assert main([str(bundles["float32"]), "--url", server.url, str(tmp_path / "x.npy")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_pictures_without_pillow_name_it(server, bundles, tmp_path, capsys, monkeypatch):
    """The message holds the line that installs it."""
    (tmp_path / "x.png").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert main([str(bundles["float32"]), "--url", server.url, str(tmp_path / "x.png")]) == 2
    assert "pip install pillow" in capsys.readouterr().err


def test_help_comes_with_an_example():
    """--help shows how a call looks."""
    done = subprocess.run([sys.executable, "-m", "isplit_edge", "--help"], capture_output=True, text=True, check=True)
    assert "Example: python -m isplit_edge bundle/ --url" in " ".join(done.stdout.split())
