#!/usr/bin/env python3
"""Runs a bundle's head and client on an emulated aarch64 machine and compares every output with this machine's.

    python export/raspberry_pi/emulate.py bundle/ --cache aarch64-cache

The tail is served here by the local server. An int8 or int16 head must give the same payloads to the bit, and then
the same probabilities to the bit; a float head the same up to --tolerance. Emulated times say nothing about a
Raspberry Pi and are not shown. Exit status: 0 all equal, 1 differences, 3 the emulation cannot be prepared here.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from aarch64 import Emulation, UnavailableError

import isplit_edge
from isplit_edge import ISplitError, Manifest
from isplit_edge.wire import STATUS_OK

HERE = Path(__file__).resolve().parent
CANNOT_PREPARE = 3
_LOOPED_IMAGES = 3


class DeviceFailedError(Exception):
    """What ran on either machine failed there."""


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="the whole bundle, serving/ included")
    parser.add_argument("--cache", type=Path, required=True, help="about 250 MB; kept for the next run")
    parser.add_argument("--images", type=Path, help="a .npy file of raw images (N, H, W, C), uint8; else made up")
    parser.add_argument("--count", type=int, default=32, help="how many images to make up (default: 32)")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="largest difference for a float head")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Run a parsed command line; the report is one JSON object on standard output."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from isplit_tf.server import Server

    manifest = Manifest.load(args.bundle)
    images = made_up(manifest, args.count) if args.images is None else np.load(args.images, allow_pickle=False)
    emulation = Emulation(args.cache)
    with tempfile.TemporaryDirectory() as folder, Server(args.bundle, port=0) as server:
        scratch = Path(folder)
        np.save(scratch / "images.npy", images)
        package = scratch / "path"
        ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
        shutil.copytree(Path(isplit_edge.__file__).parent, package / "isplit_edge", ignore=ignored)
        words = [HERE / "payloads.py", args.bundle.resolve(), server.url, scratch / "images.npy"]
        native = [sys.executable, *map(str, words), str(scratch / "here.npz")]
        _checked(subprocess.run(native, capture_output=True, text=True))
        _checked(emulation.run([*words, scratch / "there.npz"], package))
        here, there = (dict(np.load(scratch / name)) for name in ("here.npz", "there.npz"))
        report = compare(here, there, manifest, args.tolerance)
        report["installed_mb"] = round((_size(emulation.site) + _size(package)) / 1e6, 1)
        report["loop_equal"] = _loop_agrees(emulation, package, args.bundle, server.url, images, there)
    report["equal"] = report["equal"] and report["loop_equal"]
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    return 0 if report["equal"] else 1


def made_up(manifest: Manifest, count: int, seed: int = 0) -> np.ndarray:
    """Return images of noise, of ramps and of both, in the size of the model's input, (N, H, W, C) uint8."""
    rng = np.random.default_rng(seed)
    height, width, channels = manifest.shapes["input"]
    noise = rng.integers(0, 256, (count, height, width, channels))
    ramps = np.linspace(0, 1, height)[None, :, None, None] * rng.uniform(0, 255, (count, 1, width, 1))
    weights = np.resize([1.0, 0.0, 0.5], count)[:, None, None, None]
    return np.clip(weights * noise + (1 - weights) * ramps, 0, 255).astype(np.uint8)


def compare(
    here: Mapping[str, np.ndarray], there: Mapping[str, np.ndarray], manifest: Manifest, tolerance: float
) -> dict[str, Any]:
    """Compare the files that `payloads.py` saved on two machines.

    Args:
        here, there: The arrays of either.
        manifest: Of the bundle.
        tolerance: For a float head: the largest difference of latents, and of probabilities.

    Returns:
        The report: `equal` says whether the two agree, as far as the head's precision promises it.
    """
    exact = manifest.dtype != "float32"
    payloads = [_payloads(side) for side in (here, there)]
    latents = [np.stack([_latent(manifest, one) for one in side]) for side in payloads]
    apart = np.abs(latents[0].astype(np.float64) - latents[1])
    answers_apart = float(np.abs(here["probabilities"] - there["probabilities"]).max())
    tags_equal = all(one[:8] == other[:8] for one, other in zip(*payloads, strict=True))
    answered = bool((here["status"] == STATUS_OK).all() and (there["status"] == STATUS_OK).all())
    limit = 0.0 if exact else tolerance
    return {
        "machines": [str(here["machine"]), str(there["machine"])],
        "ai_edge_litert": [str(here["litert"]), str(there["litert"])],
        "numpy": [str(here["numpy"]), str(there["numpy"])],
        "precision": manifest.precision,
        "images": len(apart),
        "values_compared": int(apart.size),
        "payloads_identical": sum(one == other for one, other in zip(*payloads, strict=True)),
        "latent_difference": float(apart.max()),
        "probability_difference": answers_apart,
        "all_answered": answered,
        "equal": answered and tags_equal and float(apart.max()) <= limit and answers_apart <= limit,
    }


def _payloads(side: Mapping[str, np.ndarray]) -> list[bytes]:
    return [row[:length].tobytes() for row, length in zip(side["payloads"], side["lengths"], strict=True)]


def _latent(manifest: Manifest, payload: bytes) -> np.ndarray:
    """Return the latent of a payload, or its levels; NaN throughout if the payload is none of the bundle's."""
    latent = manifest.form.unpack(payload)[1]
    return np.full(manifest.shapes["latent"], np.nan) if latent is None else latent


def _loop_agrees(
    emulation: Emulation, package: Path, bundle: Path, url: str, images: np.ndarray, there: Mapping[str, np.ndarray]
) -> bool:
    """Check whether the kit's own program, run on the emulated machine over a folder, names the classes of `there`."""
    n = min(_LOOPED_IMAGES, len(images))
    with tempfile.TemporaryDirectory() as folder:
        for row in range(n):
            np.save(Path(folder) / f"{row}.npy", images[row])
        arguments = [str(bundle.resolve()), "--url", url, "--folder", folder, "--once", "--json"]
        done = _checked(emulation.run([HERE / "classify.py", *arguments], package))
    found = [json.loads(line)["class_index"] for line in done.stdout.splitlines()]
    return found == there["probabilities"][:n].argmax(axis=1).tolist()


def _checked(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    if done.returncode != 0:
        raise DeviceFailedError(f"{done.args[-2]} ... ended with {done.returncode}: {done.stderr[-2000:]}")
    return done


def _size(path: Path) -> int:
    return sum(one.stat().st_size for one in path.rglob("*") if one.is_file() and not one.is_symlink())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    try:
        return run(parse(argv))
    except UnavailableError as error:
        sys.stderr.write(f"emulate: {error}\n")
        return CANNOT_PREPARE
    except DeviceFailedError as error:
        sys.stderr.write(f"emulate: {error}\n")
        return 1
    except ISplitError as error:
        sys.stderr.write(f"emulate: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
