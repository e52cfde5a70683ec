"""Estimates for the NPU Ethos-U, made by Arm's own compiler; nothing of them is measured."""

import csv
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...errors import ArgumentError, ExportError, MissingDependencyError

INSTALL = "pip install 'isplit-tf[ethos-u]' (or: pip install ethos-u-vela)"
ACCELERATORS = (
    *(f"ethos-u55-{macs}" for macs in (32, 64, 128, 256)),
    *(f"ethos-u65-{macs}" for macs in (256, 512)),
    *(f"ethos-u85-{macs}" for macs in (128, 256, 512, 1024, 2048)),
)


@dataclass(frozen=True)
class EthosUEstimate:
    """The compiler's estimate for one inference; nothing of it was measured.

    Attributes:
        accelerator: Which NPU.
        system: The compiler's description of the memories around it.
        memory_mode: Where weights and activations lie.
        clock_hz: Clock of the NPU.
        sram_bytes: SRAM used.
        dram_bytes: DRAM used; the systems of Ethos-U65 and U85 keep the weights there.
        flash_bytes: Flash used, for the weights as the NPU wants them.
        cycles: Of the NPU.
        inference_s: Seconds, without what runs on the CPU.
        npu_operators, cpu_operators: How many operators run where.
    """

    accelerator: str
    system: str
    memory_mode: str
    clock_hz: float
    sram_bytes: int
    dram_bytes: int
    flash_bytes: int
    cycles: int
    inference_s: float
    npu_operators: int
    cpu_operators: int

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        return asdict(self)


def require_ethos_u(accelerator: str) -> None:
    """Raise unless an estimate for this NPU is possible here.

    Raises:
        ArgumentError: If it is unknown.
        MissingDependencyError: If ethos-u-vela is not installed.
    """
    if accelerator not in ACCELERATORS:
        raise ArgumentError(f"accelerator must be one of {', '.join(ACCELERATORS)}. Received: {accelerator!r}.")
    if importlib.util.find_spec("ethosu") is None:
        raise MissingDependencyError(f"The Ethos-U estimate needs ethos-u-vela: {INSTALL}.")


def estimate_ethos_u(content: bytes, accelerator: str = "ethos-u55-128") -> EthosUEstimate:
    """Estimate the cost of a head on an Ethos-U with ethos-u-vela and its default system for that NPU.

    Args:
        content: The bytes of an int8 `.tflite` file.
        accelerator: One of `ACCELERATORS`.

    Returns:
        Estimates.

    Raises:
        ArgumentError: If the accelerator is unknown.
        ExportError: If the compiler refuses the head.
        MissingDependencyError: If ethos-u-vela is not installed.
    """
    require_ethos_u(accelerator)
    with tempfile.TemporaryDirectory() as folder:
        head = Path(folder) / "head.tflite"
        head.write_bytes(content)
        command = [shutil.which("vela", path=str(Path(sys.executable).parent)) or "vela", str(head)]
        command += ["--accelerator-config", accelerator, "--output-dir", folder]
        try:
            process = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        except OSError as error:
            raise MissingDependencyError(f"The command 'vela' cannot be started ({error}): {INSTALL}.") from error
        summaries = list(Path(folder).glob("head_summary*.csv"))
        if process.returncode or not summaries:
            raise ExportError(f"ethos-u-vela refuses the head: {(process.stderr or process.stdout).strip()[-2000:]}")
        with summaries[0].open(newline="") as file:
            row = next(csv.DictReader(file))
    return _estimate(row, process.stdout)


def _estimate(row: dict[str, str], printed: str) -> EthosUEstimate:
    def operators(kind: str) -> int:
        match = re.search(rf"^{kind} operators = (\d+)", printed, re.MULTILINE)
        return int(match.group(1)) if match else 0

    def used_bytes(*memories: str) -> int:
        return sum(round(1024 * float(row[f"{memory}_memory_used"])) for memory in memories)

    return EthosUEstimate(
        accelerator=row["accelerator_configuration"].lower().replace("_", "-"),
        system=row["system_config"],
        memory_mode=row["memory_mode"],
        clock_hz=float(row["core_clock"]),
        sram_bytes=used_bytes("sram"),
        dram_bytes=used_bytes("dram"),
        flash_bytes=used_bytes("on_chip_flash", "off_chip_flash"),
        cycles=round(float(row["cycles_total"])),
        inference_s=float(row["inference_time"]),
        npu_operators=operators("NPU"),
        cpu_operators=operators("CPU"),
    )
