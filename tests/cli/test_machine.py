"""What the processor can do, and when the command line switches TensorFlow's fast kernels on."""

import json
import os
import subprocess
import sys

import pytest

from isplit_tf.cli.machine import SWITCH, cpu_flags, switch_onednn_on, wants_onednn

LAPTOP = "processor\t: 0\nflags\t\t: fpu sse4_2 avx avx2 fma\nprocessor\t: 1\nflags\t\t: fpu sse4_2 avx avx2 fma\n"


def test_flags_are_read_as_linux_writes_them(tmp_path):
    """The words after `flags` of the first processor; nothing where there is no such file, as on macOS."""
    path = tmp_path / "cpuinfo"
    path.write_text(LAPTOP)
    assert cpu_flags(path) == {"fpu", "sse4_2", "avx", "avx2", "fma"}
    assert cpu_flags(tmp_path / "nothing") == frozenset()
    path.write_text("Features\t: fp asimd\n")  # Arm
    assert cpu_flags(path) == frozenset()


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ("avx2 fma", True),
        ("avx2 avx512f avx512bw", True),
        ("avx2 avx_vnni", False),
        ("avx2 avx512f avx512_vnni", False),
        ("sse4_2 avx", False),
        ("", False),
    ],
)
def test_onednn_is_wanted_where_tensorflow_leaves_it_off(flags, wanted):
    """With AVX2 and without instructions for neural networks, which make TensorFlow switch it on by itself."""
    assert wants_onednn(frozenset(flags.split())) is wanted


def test_what_the_user_has_said_stays():
    """The switch is set, and told, only where it is not set already."""
    flags, environment = frozenset({"avx2"}), {}
    told = switch_onednn_on(flags, environment)
    assert environment == {SWITCH: "1"}
    assert f"{SWITCH}=1" in told
    assert switch_onednn_on(flags, environment) is None
    said = {SWITCH: "0"}
    assert switch_onednn_on(flags, said) is None
    assert said == {SWITCH: "0"}


_COMMAND = """
import sys
from pathlib import Path
import isplit_tf.cli.machine as processor
processor.cpu_flags.__defaults__ = (sys.argv[1],)
from isplit_tf.cli.main import parse, run
status = run(parse(sys.argv[2:]))
print(status, processor.onednn_is_on())
"""


@pytest.mark.parametrize("said", [None, "0"])
def test_a_command_switches_it_on_and_says_so_once(tmp_path, said):
    """On a laptop's processor, before TensorFlow is imported; with the variable set, nothing is changed or said."""
    (tmp_path / "cpuinfo").write_text(LAPTOP)
    (tmp_path / "empty.keras").write_bytes(b"PK")  # enough like a model that TensorFlow is imported to read it
    environment = {name: value for name, value in os.environ.items() if name != SWITCH}
    environment |= {} if said is None else {SWITCH: said}
    arguments = [sys.executable, "-c", _COMMAND, str(tmp_path / "cpuinfo"), "cuts", str(tmp_path / "empty.keras")]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", str(said is None)]
    assert done.stderr.count(SWITCH) == (2 if said is None else 0), done.stderr
    assert done.stderr.count("oneDNN is switched on") == (said is None)


@pytest.mark.parametrize("switch", ["0", "1"])
def test_doctor_tells_what_tensorflow_uses(switch):
    """AVX2, AVX-512 and oneDNN as they are in this process, and what would be faster."""
    environment = os.environ | {SWITCH: switch}
    done = subprocess.run(
        [sys.executable, "-m", "isplit_tf", "doctor", "--json"], env=environment, capture_output=True, check=True
    )
    found, flags = json.loads(done.stdout), cpu_flags()
    assert found["onednn"] is (switch == "1")
    if flags:
        assert (found["avx2"], found["avx512"]) == ("avx2" in flags, "avx512f" in flags)
        assert (found["faster"] is not None) == (switch == "0" and "avx2" in flags)
