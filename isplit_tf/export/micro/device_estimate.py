"""The profile of a microcontroller, from cycles that the user gives or that Arm's compiler estimates.

Nothing of it is measured, and the profile says so.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

from isplit_edge import Manifest, __version__, schema
from isplit_edge.device_profile import DeviceProfile, HeadTimes, WholeTimes, utc_now
from isplit_edge.kit import Kit, KitCut
from isplit_edge.manifest import HEAD_FILE
from isplit_edge.times import Times

from ...errors import ArgumentError
from .ethos_u import estimate_ethos_u, require_ethos_u

WHOLE = "whole"
_NOTHING = Times.estimate(0.0)
Cost = tuple[float, int | None]
"""Seconds of a run, and bytes of RAM if they are known."""


def estimate_device(
    kit: str | os.PathLike[str] | Kit,
    *,
    ethos_u: str | None = None,
    clock_hz: float | None = None,
    cycles_per_mac: float | None = None,
    cycles: Mapping[int | str, float] | None = None,
) -> DeviceProfile:
    """Estimate the profile of a microcontroller that runs the heads of a kit.

    One of three says how many cycles a head takes: `cycles`, counted on the board or in a simulator; `cycles_per_mac`,
    from a head of the same kind that was counted; or `ethos_u`, for which ethos-u-vela estimates them, with the clock
    and the memories of its default system. Preprocessing and coding are taken to cost nothing.

    Args:
        kit: A folder that `build_kit` wrote, or a `Kit`.
        ethos_u: An NPU, such as "ethos-u55-128"; needs `isplit-tf[ethos-u]` and heads in int8.
        clock_hz: Clock of the processor, for cycles that are given.
        cycles_per_mac: Cycles for one multiply-accumulate, in the mean.
        cycles: Cycles of one run, by the index or the name of the cut, and "whole" for the whole model.

    Returns:
        A profile with `source` "estimate" and a `note` on what it rests on. A cut without cycles is in `missing`.

    Raises:
        ArgumentError: If not exactly one way is given, a number is not possible, or a cut is none of the kit's.
        BundleError: If the kit is incomplete or was changed.
        ExportError: If the compiler refuses a head.
        MissingDependencyError: If ethos-u-vela is asked for and not installed.

    Example:
        >>> profile = estimate_device("kit/", clock_hz=100e6, cycles_per_mac=1.5)
        >>> profile.source
        'estimate'
    """
    given = [name for name, value in _named(ethos_u, cycles_per_mac, cycles).items() if value is not None]
    if len(given) != 1:
        raise ArgumentError(
            f"Expected one of ethos_u, cycles_per_mac and cycles. Received: {', '.join(given) or 'none'}"
        )
    if (clock_hz is None) != (ethos_u is not None):
        raise ArgumentError("clock_hz belongs to cycles and cycles_per_mac; of an Ethos-U the compiler knows it.")
    kit = kit if isinstance(kit, Kit) else Kit.load(kit)
    if ethos_u is not None:
        require_ethos_u(ethos_u)
        cost, note = _by_compiler(kit, ethos_u)
    else:
        cost, note = _by_hand(kit, schema.number(above=0)("clock_hz", clock_hz), cycles_per_mac, cycles)
    cuts = [(cut, cost(cut)) for cut in kit.cuts]
    whole = None if kit.whole is None else cost(None)
    missing = [f"head {cut.index} '{cut.name}': no cycles are given" for cut, found in cuts if found is None]
    if kit.whole is not None and whole is None:
        missing.append("the whole model: no cycles are given")
    return DeviceProfile(
        kit_id=kit.kit_id,
        model_name=kit.model_name,
        model_sha256=kit.model_sha256,
        precision=kit.precision,
        created=utc_now(),
        source="estimate",
        note=f"{note}; preprocessing and coding are not in it, and nothing was measured",
        machine={"system": "microcontroller", "processor": ethos_u, "clock_hz": clock_hz, "isplit_edge": __version__},
        threads=1,
        whole=None if whole is None else _whole_times(kit, *whole),
        cuts=tuple(_head_times(kit, cut, *found) for cut, found in cuts if found is not None),
        codecs=(),
        link=None,
        drift=1.0,
        complete=not missing,
        missing=tuple(missing),
    )


def _named(ethos_u: Any, cycles_per_mac: Any, cycles: Any) -> dict[str, Any]:
    return {"ethos_u": ethos_u, "cycles_per_mac": cycles_per_mac, "cycles": cycles}


def _by_hand(
    kit: Kit, clock_hz: float, cycles_per_mac: float | None, cycles: Mapping[int | str, float] | None
) -> tuple[Callable[[KitCut | None], Cost | None], str]:
    """Return what gives the cost of a head, or of the whole model for None, and what it rests on."""
    if cycles_per_mac is not None:
        each_s = schema.number(above=0)("cycles_per_mac", cycles_per_mac) / clock_hz

        def of_macs(cut: KitCut | None) -> Cost:
            macs = cut.head_macs + cut.encoder_macs if cut is not None else kit.whole.macs if kit.whole else 0
            return each_s * macs, None

        return of_macs, f"estimated from {cycles_per_mac:g} cycles for a multiply-accumulate at {clock_hz:g} Hz"
    known = {WHOLE} | {key for cut in kit.cuts for key in (cut.index, cut.name)}
    checked = {key: schema.number(above=0)(f"cycles[{key!r}]", value) for key, value in (cycles or {}).items()}
    if strange := [key for key in checked if key not in known]:
        cuts = ", ".join(f"{cut.index} ('{cut.name}')" for cut in kit.cuts)
        raise ArgumentError(f"cycles: the kit has no head at {strange[0]!r}. Possible: {cuts}, and 'whole'")

    def of_cycles(cut: KitCut | None) -> Cost | None:
        keys = [WHOLE] if cut is None else [cut.index, cut.name]
        return next(((checked[key] / clock_hz, None) for key in keys if key in checked), None)

    return of_cycles, f"estimated from cycles given by hand at {clock_hz:g} Hz"


def _by_compiler(kit: Kit, accelerator: str) -> tuple[Callable[[KitCut | None], Cost | None], str]:
    def of_file(cut: KitCut | None) -> Cost:
        file = f"{cut.directory}/{HEAD_FILE}" if cut is not None else kit.whole.file if kit.whole else ""
        found = estimate_ethos_u((kit.directory / file).read_bytes(), accelerator)
        return found.inference_s, found.sram_bytes

    return of_file, f"ethos-u-vela's estimate for {accelerator} in its default system"


def _head_times(kit: Kit, cut: KitCut, seconds: float, ram_bytes: int | None) -> HeadTimes:
    return HeadTimes(
        index=cut.index,
        name=cut.name,
        head_macs=cut.head_macs,
        encoder_macs=cut.encoder_macs,
        preprocess=_NOTHING,
        head=Times.estimate(seconds),
        coding=_NOTHING,
        request=None,
        payload_bytes=float(Manifest.load(kit.directory / cut.directory).payload_bytes),
        size_bytes=cut.size_bytes,
        ram_bytes=ram_bytes,
    )


def _whole_times(kit: Kit, seconds: float, ram_bytes: int | None) -> WholeTimes:
    size_bytes = kit.whole.size_bytes if kit.whole else 0
    return WholeTimes(preprocess=_NOTHING, run=Times.estimate(seconds), size_bytes=size_bytes, ram_bytes=ram_bytes)
