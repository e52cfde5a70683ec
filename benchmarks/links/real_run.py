"""One real client and server over the rig while a trace plays: with the pace, and with payloads of one bound.

The device side is this file, started in the device's namespace: it classifies a frame every 0.2 s, or as soon as the
last one is done, and prints what became of each.
"""

import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PORTS = {"http": 8501, "grpc": 8500}


def serve(rig: Any, bundle: str, scheme: str) -> str:
    """Start `isplit serve` in the server's namespace, and return the address for the device."""
    argv = [sys.executable, "-m", "isplit_tf", "serve", bundle, "--port", str(PORTS["http"])]
    server = rig.start(
        "server", [*argv, "--grpc-port", str(PORTS["grpc"])], stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    for line in server.stderr:
        if f":{PORTS['http']}" in line:
            return f"{scheme}://{rig.reach(PORTS[scheme])}"
    raise RuntimeError("the server did not start")


def run(bundle: str, images: str, trace: Any, options: dict[str, Any], *, down: float, scheme: str) -> dict[str, Any]:
    """Play a trace to a device, and return what became of its frames."""
    from .rig import Rig

    with Rig(*trace.at(0.0), down=down) as rig:
        url = serve(rig, bundle, scheme)
        argv = [sys.executable, str(HERE / "real_run.py"), bundle, url, images, json.dumps(options)]
        device = rig.start("device", argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        if device.stdout.readline() != "ready\n":
            raise RuntimeError("the device did not start")
        with rig.playing(trace):
            found, _ = device.communicate(f"{trace.duration_s}\n")
    return summary(json.loads(found), options.get("deadline_s", options.get("timeout_s", math.inf)))


def summary(frames: list[dict[str, Any]], deadline_s: float) -> dict[str, Any]:
    """Return shares and means over the frames that a device printed."""
    took = np.array([frame["took_s"] for frame in frames])
    return {
        "frames": len(frames),
        "in_time": float(np.mean([f["answered"] and f["took_s"] <= 1.05 * deadline_s for f in frames])),
        "answered": float(np.mean([frame["answered"] for frame in frames])),
        "local": float(np.mean([frame["local"] for frame in frames])),
        "told": float(np.mean([frame["answered"] or bool(frame["reason"]) for frame in frames])),
        "bytes": [frame["payload_bytes"] for frame in frames],
        "took_s": {"median": float(np.median(took)), "p95": float(np.percentile(took, 95))},
    }


def device() -> None:
    """Classify frames for as long as a line of standard input says."""
    sys.path.insert(0, str(ROOT))
    from isplit_edge import Client

    bundle, url, images, options = sys.argv[1:]
    frames = np.load(images)["x"]
    found: list[dict[str, Any]] = []
    with Client(bundle, url, num_threads=1, **json.loads(options)) as client:
        preprocessed = frames.dtype != np.uint8
        client.head.payloads(frames[:3], preprocessed)
        print("ready", flush=True)
        end = time.monotonic() + float(sys.stdin.readline())
        while time.monotonic() < end:
            begin = time.monotonic()
            answer = client.run(frames[len(found) % len(frames)], preprocessed)
            took_s = time.monotonic() - begin
            found.append(
                {
                    "took_s": took_s,
                    "answered": bool(answer.answered[0]),
                    "local": bool(answer.local[0]),
                    "payload_bytes": int(answer.payload_bytes[0]),
                    "reason": answer.reasons.get(0),
                    "pace": answer.pace,
                }
            )
            time.sleep(max(0.0, 0.2 - took_s))
    print(json.dumps(found))


if __name__ == "__main__":
    device()
