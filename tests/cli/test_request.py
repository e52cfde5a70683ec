"""A command line that is wrong costs no import of TensorFlow, and is answered in the words of the shell."""

import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from isplit_tf.cli import checks
from isplit_tf.cli.main import EXIT_STATUS, parse
from isplit_tf.importance.kernels import METHODS
from isplit_tf.importance.measure import _CHOICES
from support.shell import isplit

RUN = """
import sys
from isplit_tf.cli.main import parse, run
for line in sys.stdin.read().splitlines():
    print("$", line, file=sys.stderr)
    print(run(parse(line.split())), sorted({"tensorflow", "keras"} & set(sys.modules)))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files that are what they seem by name alone."""
    folder = tmp_path_factory.mktemp("request")
    with zipfile.ZipFile(folder / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    (folder / "text.keras").write_text("no model")
    (folder / "notes.json").write_text('{"kind": "notes", "format_version": 1}')
    (folder / "train").mkdir()
    (folder / "split").mkdir()
    (folder / "split" / "split.json").write_text('{"format_version": 1}')
    (folder / "taken.json").write_text("mine")
    np.savez(folder / "images.npz", x=np.zeros((2, 4, 4, 1), np.uint8), y=[0, 1])
    return folder


WRONG = {
    "cuts nothere.keras -o taken.json": "There is no file 'nothere.keras'",
    "cuts modell.keras": "Did you mean 'model.keras'?",
    "cuts text.keras": "neither a .keras nor an .h5 file",
    "cuts model.keras -o taken.json": "Give --overwrite",
    "importance model.keras --data trian": "There is no 'trian'. Data are given as a folder",
    "importance model.keras --data glyphs:tests": "glyphs has the splits",
    "importance model.keras --data train --method lime": "Unknown method 'lime'. Possible: 'grad_cam'",
    "importance model.keras --data train --target labels": "Unknown target 'labels'. Possible: 'label', 'predicted'",
    "importance model.keras --data train --confidence 2": "--confidence: expected a number between 0 and 1",
    "importance model.keras --data train --plot curve.bmp": "written as .png, .svg or .pdf",
    "accuracy model.keras --data train --max-images 0": "--max-images: expected an integer of at least 1",
    "accuracy model.keras --data train --fit-data images.npy": "Did you mean 'images.npz'?",
    "propose curve.npz": "There is no 'curve.npz'. isplit importance writes one.",
    "propose images.npz": "is not a curve that Curve.save wrote",
    "propose images.npz --rank accuracy": "give --accuracy FILE, what isplit accuracy wrote",
    "propose images.npz --within 0.1": "--within is for --rank cheapest",
    "split model.keras --candidates notes.json -o new": "holds 'notes'. Expected a saved candidates",
    "split model.keras --cut 3 --compression 1.5": "--compression: expected a number between 0 and 1",
    "split model.keras --cut 3 --bottleneck projection --filters 8": "A projection has no hidden layer",
    "split model.keras --cut 3 --custom-objects own.py -o new": "expected a Python file",
    "train splt --data train": "There is no 'splt'. isplit split writes one. Did you mean 'split'?",
    "train train --data train": "holds no split: split.json cannot be read: No such file",
    "train split --data train --keep-best": "--keep-best takes the best epoch by --validation-data",
    "train notes.json --all-candidates --data train": "Name it: --model classifier.keras",
    "evaluate model.keras --data train --url http://localhost:1": "is no bundle",
    "evaluate model.keras --data train --preprocessing form.json": "cannot be read as JSON: No such file",
    "export split --precision int9": "Unknown precision 'int9'. Possible: 'int8'",
    "export split --representative-data nowhere": "There is no 'nowhere'",
    "predict split photo.png": "it has no manifest.json",
    "publish bundle models": "There is no 'bundle'. isplit export writes one.",
    "serve bundle": "There is no 'bundle'",
}


@pytest.fixture(scope="module")
def answers(folder):
    """What a process that runs all of them says of each, and what it has imported by then."""
    lines = "\n".join(WRONG)
    done = subprocess.run([sys.executable, "-c", RUN], input=lines, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = [part.partition("\n")[2] for part in done.stderr.split("$ ")[1:]]
    return dict(zip(WRONG, zip(done.stdout.splitlines(), said, strict=True), strict=True))


@pytest.mark.parametrize("line", WRONG)
def test_a_mistake_is_named_before_tensorflow_is_imported(answers, line):
    """Exit status 2, one message, and neither TensorFlow nor Keras in the process."""
    status, said = answers[line]
    assert status == "2 []"
    assert WRONG[line] in said
    assert "Errno" not in said


def test_the_names_that_are_checked_are_those_of_the_library():
    """Methods, reductions, targets and precisions are listed twice, since the library's lists need TensorFlow."""
    from isplit_tf.export.litert.converter import PRECISIONS

    assert tuple(METHODS) == checks.METHODS
    assert {name: checks._CHOICES[name] for name in _CHOICES} == _CHOICES
    assert tuple(PRECISIONS) == checks.PRECISIONS["export"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("impotance model.keras", "there is no command 'impotance'. Did you mean 'importance'?"),
        ("qqq", "there is no command 'qqq'. Possible: demo, cuts"),
        (
            "split model.keras --cut 1 --compresion 0.9",
            "there is no option '--compresion'. Did you mean '--compression'?",
        ),
        ("importance model.keras --dta=x", "there is no option '--dta'. Did you mean '--data'?"),
        ("propose curve.npz --rank acuracy", "there is no --rank 'acuracy'. Did you mean 'accuracy'?"),
        ("accuracy m.keras --data x --payload-bytes 1,x", "such as 1000, 1k or 2.5M. Received: 'x'"),
        ("propose curve.npz --max-head-macs 2.5", "expected a whole number"),
    ],
)
def test_a_misspelt_word_is_answered_by_the_nearest(capsys, words, text):
    """Two lines on standard error, without the whole usage, and exit status 2."""
    with pytest.raises(SystemExit) as stop:
        parse(words.split())
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert text in said
    assert len(said.splitlines()) == 2
    assert "--help explains what is possible" in said


@pytest.mark.parametrize(
    ("typed", "number"),
    [
        ("100M", 10**8),
        ("1k", 1000),
        ("2.5G", 2_500_000_000),
        ("64", 64),
        ("1_000", 1000),
        ("512KiB", 2**19),
        ("1e6", 10**6),
    ],
)
def test_numbers_may_have_a_suffix(typed, number):
    """k, M, G and T count thousands, Ki and so on 1,024s."""
    assert parse(["propose", "curve.npz", "--max-head-macs", typed]).max_head_macs == number
    assert parse(["export", "split", "--flash-bytes", typed]).flash_bytes == number
    ask = ["accuracy", "m.keras", "--data", "x", "--payload-bytes", f"7,{typed}"]
    assert parse(ask).payload_bytes == (7, number)


def test_a_full_disk_behind_standard_output_is_one_line(folder):
    """Exit status 1 and a line, for a result and for the help; the file that was asked for is written."""
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full here")
    code = "import sys; from isplit_tf.cli.main import main; main(sys.argv[1:])"
    for words in (["doctor"], ["--help"], ["cuts", "--help"], ["--version"]):
        for unbuffered in ("", "1"):
            if words == ["doctor"] and unbuffered:
                continue
            with open("/dev/full", "w") as full:
                done = subprocess.run(
                    [sys.executable, "-c", code, *words],
                    stdout=full,
                    stderr=subprocess.PIPE,
                    text=True,
                    env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
                )
            assert done.returncode == 1
            assert done.stderr.splitlines()[-1].endswith(": No space left on device")
            assert len(done.stderr.splitlines()) == 1


def test_the_next_step_is_named_with_the_files_of_this_one(place, tmp_path, capsys):
    """On standard error, as a command line that the parser takes; not where a program reads the result."""
    model, data = place / "tiny.keras", place / "images.npz"
    assert isplit("cuts", model) == 0
    assert f"next: isplit importance {model} --data VALIDATION" in capsys.readouterr().err
    accuracy = tmp_path / "accuracy.npz"
    ask = ["accuracy", model, "--data", data, "--payload-bytes", "40", "--fit-images", 20, "--max-images", 20]
    assert isplit(*ask, "-o", accuracy) == 0
    step = capsys.readouterr().err.partition("next: isplit ")[2].split()
    assert step[:4] == ["propose", "curve.npz", "--accuracy", str(accuracy)]
    assert parse(step).max_head_share == 0.5
    split = ["split", model, "--cut", "pool2", "--fit-data", data, "--payload-bytes", 40, "-o", tmp_path / "split"]
    assert isplit(*split) == 0
    out, err = capsys.readouterr()
    assert "Projection(" in out
    assert f"next: isplit evaluate {tmp_path / 'split'} --data TEST" in err
    export = ["export", tmp_path / "split", "--representative-data", data, "--evaluation-data", data]
    assert isplit(*export, "-o", tmp_path / "bundle") == 0
    out, err = capsys.readouterr()
    assert "accuracy on 120 images: split in float 0." in out
    assert "exported pair over the wire 0." in out
    assert f"next: isplit serve {tmp_path / 'bundle'}" in err
    assert isplit("cuts", model, "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)
    assert "next:" not in err


def test_a_projection_without_images_is_fitted_by_training_alone(place, tmp_path, capsys):
    """evaluate and export refuse it with the option that fits it; fitted at the split, it needs no train."""
    model, data = place / "tiny.keras", place / "images.npz"
    ask = ["split", model, "--cut", "pool2", "--bottleneck", "projection", "-o", tmp_path / "empty"]
    assert isplit(*ask) == 0
    assert f"next: isplit train {tmp_path / 'empty'}" in capsys.readouterr().err
    export = ["--representative-data", data, "--precision", "float32"]
    for words in (["evaluate", tmp_path / "empty", "--data", data], ["export", tmp_path / "empty", *export]):
        assert isplit(*words, "-o", tmp_path / "out") == 2
        said = capsys.readouterr().err
        assert "is not fitted yet. Give images: isplit split --fit-data." in said
        assert not (tmp_path / "out").exists()
    assert isplit("split", model, "--cut", "pool2", "--fit-data", data, "-o", tmp_path / "fitted") == 0
    assert isplit("evaluate", tmp_path / "fitted", "--data", data, "-o", tmp_path / "report.json") == 0


def test_exit_statuses_are_told(capsys):
    """`isplit --help` lists what each status means."""
    with pytest.raises(SystemExit):
        parse(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for code, meaning in EXIT_STATUS.items():
        assert f"{code} {meaning}" in shown
