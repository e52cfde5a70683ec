"""The Raspberry Pi kit's installation: it is small, its unit is right, and an emulated Pi agrees with this machine."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
KIT = ROOT / "export" / "raspberry_pi"
NAME = "caffe int8"
INSTALLED_MB = 150


def install(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs install.sh."""
    return subprocess.run(
        ["sh", str(KIT / "install.sh"), *map(str, arguments)], capture_output=True, text=True, timeout=500
    )


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("3.11 32 aarch64", "of 32 bit (aarch64). There is no LiteRT (ai-edge-litert) for 32-bit Arm"),
        ("3.11 32 armv7l", "install the 64-bit Raspberry Pi OS"),
        ("3.11 64 riscv64", "no LiteRT (ai-edge-litert) for riscv64"),
    ],
)
def test_machines_without_litert_are_refused_before_anything_is_written(tmp_path, answer, message):
    """A 32-bit system is refused with the reason, also under a 64-bit kernel. (A script stands in for its Python.)"""
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho {answer}\n")
    python.chmod(0o755)
    done = install("--python", python, "--prefix", tmp_path / "opt")
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "opt").exists()


def test_without_sources_no_name_is_looked_up(tmp_path):
    """Away from its checkout the script asks for a wheel: a name alone could be anybody's package."""
    alone = tmp_path / "a" / "b" / "install.sh"
    alone.parent.mkdir(parents=True)
    shutil.copy(KIT / "install.sh", alone)
    command = ["sh", str(alone), "--prefix", str(tmp_path / "opt"), "--python", sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "no sources of isplit-edge beside this script: --package WHEEL" in done.stderr
    assert not (tmp_path / "opt").exists()


def test_unknown_options_are_refused(tmp_path):
    """A mistyped option installs nothing."""
    assert install("--prefx", tmp_path / "opt").returncode == 2
    assert install("--prefix").returncode == 2
    assert not (tmp_path / "opt").exists()


def analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs systemd-analyze."""
    return subprocess.run(["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, timeout=60)


@pytest.mark.slow
@pytest.mark.network
def test_an_installation_is_small_complete_and_started_by_a_tight_unit(kit_bundle, raw_images, tmp_path):
    """install.sh leaves at most 150 MB that classify without TensorFlow, and a unit that systemd finds right."""
    from isplit_tf.server import Server

    opt, units = tmp_path / "opt", tmp_path / "units"
    arguments = ["--prefix", opt, "--service", "--unit-dir", units, "--settings", tmp_path / "isplit.env"]
    done = install("--python", sys.executable, *arguments)
    if done.returncode != 0 and "No matching distribution" in done.stderr:
        pytest.skip("the packages cannot be fetched here")
    assert done.returncode == 0, done.stderr
    print(done.stdout.splitlines()[-1])
    size_bytes = sum(one.stat().st_size for one in opt.rglob("*") if one.is_file() and not one.is_symlink())
    assert size_bytes / 1e6 <= INSTALLED_MB
    np.save(tmp_path / "a.npy", raw_images(NAME)[2])
    python = opt / "venv" / "bin" / "python"
    with Server(kit_bundle(NAME), port=0) as server:
        program = [python, opt / "classify.py", kit_bundle(NAME), "--url", server.url, "--folder", tmp_path, "--once"]
        ran = subprocess.run(list(map(str, program)), capture_output=True, text=True, cwd="/", timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("a.npy: class ")
    assert subprocess.run([python, "-c", "import tensorflow"], capture_output=True, cwd="/").returncode != 0
    if shutil.which("systemd-analyze") is None:
        pytest.skip("all but the unit was checked: systemd-analyze is not installed")
    checked = analyze("verify", units / "isplit-edge.service")
    assert (checked.returncode, checked.stderr.strip()) == (0, "")
    assert analyze("security", "--offline=yes", "--threshold=20", units / "isplit-edge.service").returncode == 0


@pytest.mark.slow
@pytest.mark.network
def test_an_emulated_pi_gives_the_same_bytes(kit_bundle, pytestconfig):
    """Head, client and loop under emulated aarch64: every int8 payload and answer is that of this machine."""
    cache = pytestconfig.cache.mkdir("isplit-aarch64")
    command = [sys.executable, str(KIT / "emulate.py"), str(kit_bundle(NAME)), "--cache", str(cache)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=550)
    if done.returncode == 3:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode in (0, 1), done.stderr
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    print(done.stdout)
    assert report["machines"][1] == "aarch64"
    assert report["payloads_identical"] == report["images"] == 32
    assert (report["latent_difference"], report["probability_difference"]) == (0.0, 0.0)
    assert report["equal"]
    assert report["installed_mb"] <= INSTALLED_MB
