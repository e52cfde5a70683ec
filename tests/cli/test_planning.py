"""`isplit profile`: a server's profile and a microcontroller's, as files and as exit status."""

import json

import pytest

from isplit_edge.device_profile import DeviceProfile
from isplit_tf import ServerProfile
from isplit_tf.cli.main import parse, run
from isplit_tf.planning.kit_calls import InProcess, OverRest
from isplit_tf.server import Batching, Server
from support.kits import kit_of

__all__ = ["kit_of"]
QUICK = ["--batches", "1,2", "--seconds", "0.001"]


def test_a_server_is_profiled_into_a_file(kit_of, tmp_path, monkeypatch, capsys):
    """The file is the profile; the table goes to standard output; without --overwrite nothing is replaced."""
    monkeypatch.chdir(tmp_path)
    command = ["profile", str(kit_of("series").directory), *QUICK]
    assert run(parse(command)) == 0
    assert "in process" in capsys.readouterr().out
    profile = ServerProfile.load("server.json")
    assert (profile.batches, profile.complete) == ((1, 2), True)
    assert run(parse(command)) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run(parse([*command, "--overwrite", "--json"])) == 0
    assert json.loads(capsys.readouterr().out)["batches"] == [1, 2]


def test_a_server_that_goes_away_is_a_failure_with_a_file(kit_of, tmp_path, monkeypatch, capsys):
    """Exit status 1, what was measured is in the file, and the message says so."""
    send, left, output = OverRest.send, [20], tmp_path / "server.json"
    with Server(kit_of("grey").directory / "serving", port=0) as server:

        def close_after(self, request):
            left[0] -= 1
            if not left[0]:
                server.close()
            return send(self, request)

        monkeypatch.setattr(OverRest, "send", close_after)
        command = ["profile", str(kit_of("grey").directory), "--url", server.url, "-o", str(output), *QUICK]
        assert run(parse(command)) == 1
    assert "What was measured until then is in" in capsys.readouterr().err
    assert not ServerProfile.load(output).complete


def test_an_interrupt_keeps_what_was_measured(kit_of, tmp_path, monkeypatch, capsys):
    """Exit status 130, and the message says where it is."""
    send, left = InProcess.send, [20]

    def interrupt(self, request):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return send(self, request)

    monkeypatch.setattr(InProcess, "send", interrupt)
    command = ["profile", str(kit_of("grey").directory), "-o", str(tmp_path / "server.json"), *QUICK]
    assert run(parse(command)) == 130
    assert "What was measured until then is in" in capsys.readouterr().err
    assert not ServerProfile.load(tmp_path / "server.json").complete


def test_what_a_server_refuses_is_a_failure_with_a_file(kit_of, tmp_path, capsys):
    """A server that takes fewer images in a call: status 1, the file, and what is missing in words."""
    output = tmp_path / "server.json"
    with Server(kit_of("series").directory / "serving", port=0, batching=Batching(max_size=1)) as server:
        command = ["profile", str(kit_of("series").directory), "--url", server.url, "-o", str(output), *QUICK]
        assert run(parse(command)) == 1
    assert "Missing:" in capsys.readouterr().err
    assert set(ServerProfile.load(output).whole) == {1}


def test_a_microcontroller_is_estimated(kit_of, tmp_path, capsys):
    """With cycles the file is a device's profile, which says that it is an estimate."""
    kit, output = kit_of("colour"), tmp_path / "device.json"
    cycles = [f"--cycles={kit.cuts[0].index}=5000", "--cycles", f"{kit.cuts[1].name}=7e3", "--cycles", "whole=9000"]
    assert run(parse(["profile", str(kit.directory), "-o", str(output), "--clock-hz", "1e6", *cycles])) == 0
    profile = DeviceProfile.load(output)
    assert profile.source == "estimate"
    assert [cut.head.median_s for cut in profile.cuts[:2]] == [0.005, 0.007]
    assert "an estimate: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batches", "1,x"], "--batches: expected whole numbers"),
        (["--batches", "0"], "batches: expected an integer of at least 1"),
        (["--seconds", "0"], "seconds must be a number above 0"),
        (["--url", "server"], "url must be like"),
        (["--cycles", "3"], "--cycles: expected CUT=N"),
        (["--clock-hz", "1e6"], "Expected one of --ethos-u"),
    ],
)
def test_a_bad_request_is_refused(kit_of, tmp_path, capsys, options, message):
    """Exit status 2, the option in the message, and no file."""
    output = tmp_path / "server.json"
    assert run(parse(["profile", str(kit_of("grey").directory), "-o", str(output), *options])) == 2
    assert message in capsys.readouterr().err
    assert not output.exists()
