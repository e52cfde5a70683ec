"""`python -m isplit_edge profile`, the command that measures a device."""

import json
import subprocess
import sys

from isplit_edge.__main__ import main
from isplit_edge.device_profile import DeviceProfile

FAST = ["--seconds", "0.02", "--link-seconds", "0.05", "--no-memory", "--threads", "1"]


def test_a_device_and_its_link_are_measured(kit_folder, server, tmp_path, capsys):
    """The file holds heads, formats and the link to any tail; progress is on standard error, a table on the other."""
    file = tmp_path / "device.json"
    url = ["--url", server.url, "--model", "tail"]
    assert main(["profile", str(kit_folder), *url, "-o", str(file), *FAST]) == 0
    shown = capsys.readouterr()
    assert "4 conv4" in shown.out
    assert "isplit_edge profile: pass 4 of 4" in shown.err
    profile = DeviceProfile.load(file)
    assert profile.link.scheme == "http"
    assert profile.link.down_s_per_byte is None  # this server shows no signatures
    profile.require(kit_id="a" * 64, precision="int8")


def test_a_server_that_goes_away_leaves_the_file_and_status_1(kit_folder, server, tmp_path, capsys):
    """What was measured before is in the file, and the last line says what is missing."""
    server.faults.extend([None] * 4 + [lambda handler: handler.cut()] * 100)
    file = tmp_path / "device.json"
    url = ["--url", server.url, "--model", "tail", "--json"]
    assert main(["profile", str(kit_folder), *url, "-o", str(file), *FAST]) == 1
    shown = capsys.readouterr()
    assert shown.err.splitlines()[-1].startswith("isplit_edge profile: missing: link: ")
    assert json.loads(shown.out)["complete"] is False
    assert len(DeviceProfile.load(file).cuts) == 2


def test_bad_requests_are_told_before_any_work(kit_folder, tmp_path, capsys):
    """No kit, a file that is there, a server that is not, and impossible numbers; nothing is written."""
    file = tmp_path / "device.json"
    cases = [
        ([str(tmp_path)], 2, "is not a kit"),
        ([str(kit_folder), "--url", "http://127.0.0.1:9"], 1, "connection refused"),
        ([str(kit_folder), "--url", "127.0.0.1"], 2, "url must be like"),
        ([str(kit_folder), "--threads", "0"], 2, "threads must be a whole number"),
        ([str(kit_folder), "--seconds", "-3"], 2, "seconds must be a number above 0"),
    ]
    for arguments, status, said in cases:
        assert main(["profile", *arguments, "-o", str(file)]) == status
        assert said in capsys.readouterr().err
    assert not file.exists()
    file.write_text("mine")
    assert main(["profile", str(kit_folder), "-o", str(file)]) == 2
    assert "exists. Give --overwrite" in capsys.readouterr().err
    assert file.read_text() == "mine"


def test_the_device_measures_without_tensorflow(kit_folder, tmp_path):
    """A process of its own, with the memory of each model: neither TensorFlow nor Keras is loaded."""
    code = (
        "import sys; from isplit_edge.__main__ import main; status = main(sys.argv[1:]); "
        "sys.exit(3 if {'tensorflow', 'keras', 'isplit_tf'} & set(sys.modules) else status)"
    )
    file = tmp_path / "device.json"
    command = [sys.executable, "-c", code, "profile", str(kit_folder), "-o", str(file), "--seconds", "0.02"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    profile = DeviceProfile.load(file)
    if sys.platform == "linux":
        assert profile.whole.ram_bytes is not None
        assert all(cut.ram_bytes is not None for cut in profile.cuts)
