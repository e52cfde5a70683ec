"""The trial: profiles, plans, and what each option takes in real processes over a shaped link."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from links.rig import Rig

from .networks import as_measured

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PORT = 8501
GROUPS = Path("/sys/fs/cgroup/cpu")
LINK_SECONDS, PROFILE_SECONDS = 6.0, 2.0


@dataclass(frozen=True)
class Device:
    """A kind of device: the share of one processor that it gets."""

    name: str
    share: float


@dataclass(frozen=True)
class Scenario:
    """A network, a device and a link."""

    network: str
    device: Device
    rate_bit_s: float
    rtt_s: float

    @property
    def frames(self) -> int:
        """Return how many frames each option classifies: fewer where each takes long."""
        return 8 if self.rate_bit_s < 5e5 else 14 if self.rate_bit_s < 2e6 else 24


WHOLE, HALF = Device("one thread", 1.0), Device("half of a thread", 0.5)
_LINKS = ((4e6, 0.04), (20e6, 0.04), (1e6, 0.04), (100e6, 0.04), (4e6, 0.15), (0.25e6, 0.04), (4e6, 0.005))
_FEW_LINKS = ((20e6, 0.005), (1e6, 0.04))


def scenarios(networks: list[str]) -> list[Scenario]:
    """Return all scenarios of some networks."""
    return [
        Scenario(network, device, rate, rtt)
        for device, links in ((WHOLE, _LINKS), (HALF, _FEW_LINKS))
        for rate, rtt in links
        for network in networks
    ]


def run_scenario(folder: Path, scenario: Scenario) -> dict[str, Any]:
    """Measure the link, predict every option, measure every option, and return both.

    Args:
        folder: Of the network, as `networks.prepare` wrote it.
        scenario: Device and link.
    """
    device = _device_profile(folder, scenario.device)
    with Rig(scenario.rate_bit_s, scenario.rtt_s) as rig:
        _serve(rig, folder / "kit" / "serving")
        server = _server_profile(rig, folder)
        url = f"http://{rig.reach(PORT)}"
        link = _ask(rig, scenario.device, "link", str(folder / "kit"), url, str(LINK_SECONDS))
        plan = _plan(folder, device, link, server)
        options = [option for option in plan.options if option.accuracy is not None and option.codec != "WEBP"]
        options = [option for option in options if option.codec != "RAW"]
        request = {"frames": scenario.frames, "options": [_named(option) for option in options]}
        seconds = _ask(rig, scenario.device, "run", str(folder / "kit"), url, json.dumps(request))
    rows = [_named(option) | _compared(option, times) for option, times in zip(options, seconds, strict=True)]
    best = plan.best()
    return {
        "network": scenario.network,
        "device": scenario.device.name,
        "rate_bit_s": scenario.rate_bit_s,
        "rtt_s": scenario.rtt_s,
        "frames": scenario.frames,
        "advised": _named(best),
        "why": plan.why(best),
        "options": rows,
    }


def _named(option: Any) -> dict[str, Any]:
    cut = None if option.cut is None else option.cut.name
    return {"kind": option.kind, "codec": option.codec, "quality": option.quality, "cut": cut}


def _compared(option: Any, seconds: list[float]) -> dict[str, Any]:
    return {
        "accuracy": option.accuracy,
        "interval": option.accuracy_interval,
        "predicted_s": option.latency_s,
        "predicted_p95_s": option.latency_p95_s,
        "parts_s": dict(option.parts_s),
        "measured_s": float(np.median(seconds)),
        "measured_p95_s": float(np.quantile(seconds, 0.95)),
    }


def _plan(folder: Path, device: Any, link: dict[str, Any], server: Path) -> Any:
    import keras

    import isplit_tf as isplit
    from isplit_edge.device_profile import DeviceProfile

    record = json.loads((folder / "accuracy.json").read_text())
    profile = DeviceProfile.from_json(device | {"link": link})
    payloads = {one.name: round(one.payload_bytes) for one in profile.cuts}
    model = keras.models.load_model(folder / "model.keras", compile=False)
    measured = as_measured(record, payloads)
    return isplit.plan_deployment(model, None, device=profile, server=server, measured=measured)


def _device_profile(folder: Path, device: Device) -> dict[str, Any]:
    path = folder / f"device_{round(100 * device.share)}.json"
    if not path.exists():
        argv = _as_device(device, "profile", str(folder / "kit"), json.dumps({"seconds": PROFILE_SECONDS}))
        with _group(device):
            path.write_text(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
    return json.loads(path.read_text())


def _server_profile(rig: Rig, folder: Path) -> Path:
    path = folder / "server.json"
    if not path.exists():
        command = [sys.executable, "-m", "isplit_tf", "profile", str(folder / "kit"), "-o", str(path)]
        command += ["--url", f"http://127.0.0.1:{PORT}", "--batches", "1,2"]
        rig.run("server", ["taskset", "-c", "0", *command], check=True, cwd=ROOT, capture_output=True)
    return path


def _serve(rig: Rig, folder: Path) -> None:
    argv = ["taskset", "-c", "1", sys.executable, "-m", "isplit_tf", "serve", str(folder)]
    argv += ["--host", "0.0.0.0", "--port", str(PORT)]
    environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), "1")
    server = rig.start("server", argv, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
    for line in server.stderr:
        if f":{PORT}" in line:
            return
    raise RuntimeError("the server did not start")


def _ask(rig: Rig, device: Device, *words: str) -> Any:
    with _group(device):
        done = rig.run("device", _as_device(device, *words), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout)


def _as_device(device: Device, *words: str) -> list[str]:
    command = ["taskset", "-c", "0", sys.executable, str(HERE / "device.py"), *words]
    if device.share == 1.0:
        return command
    return ["sh", "-c", f'echo $$ > {_folder(device)}/cgroup.procs && exec "$@"', "sh", *command]


def _folder(device: Device) -> Path:
    return GROUPS / f"isplit-trial-{round(100 * device.share)}"


@contextmanager
def _group(device: Device) -> Iterator[None]:
    """Give a device its share of the processor while the context lasts, by a quota of its control group."""
    if device.share == 1.0:
        yield
        return
    folder, period_us = _folder(device), 10_000
    folder.mkdir(exist_ok=True)
    try:
        (folder / "cpu.cfs_period_us").write_text(str(period_us))
        (folder / "cpu.cfs_quota_us").write_text(str(round(device.share * period_us)))
        yield
    finally:
        folder.rmdir()


def of_record(record: dict[str, Any]) -> Scenario:
    """Return the scenario of a row of results."""
    device = next(one for one in (WHOLE, HALF) if one.name == record["device"])
    return replace(Scenario(record["network"], device, 0, 0), rate_bit_s=record["rate_bit_s"], rtt_s=record["rtt_s"])
