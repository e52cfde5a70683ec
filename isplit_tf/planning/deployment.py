"""The making of a plan: what was measured of a device, a server and a link, and the accuracies, brought together."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from isplit_edge.device_profile import DeviceProfile

from ..errors import ArgumentError, PlanError
from ..graph.cuts import Cut, list_cuts, resolve_cut
from ..graph.model_identity import program_sha256
from ..graph.program import Program, read_program
from .accuracies import (
    Accuracy,
    SplitPoint,
    image_points,
    measured_accuracies,
    of_original,
    split_points,
    with_measured,
)
from .alternatives import Alternatives
from .link import LinkTimes, link_times
from .measured_times import DeviceTimes, ServerTimes
from .option import Option
from .plan import Plan, checked_watts
from .protocol import TRANSPORTS
from .server_profile import ServerProfile


def plan_deployment(
    model: keras.Model,
    accuracy: Any = None,
    *,
    device: DeviceProfile | str | os.PathLike[str],
    server: ServerProfile | str | os.PathLike[str],
    link: Any = None,
    codecs: Any = None,
    measured: Mapping[Any, Any] | None = None,
    watts: Mapping[str, float] | None = None,
    transport: str | None = None,
    output: str | int | None = None,
) -> Plan:
    """Plan where a model runs: on the device, on the server, or split, with the latency and the costs of every option.

    Nothing is measured here. The times are those of the profiles; at cuts and rates that they lack, the time of a head
    or of a tail lies between those of its neighbours, along the multiply-accumulates, and the option says so.

    Args:
        model: The model; it is not changed.
        accuracy: The result of `predict_accuracy`, at one rate or several, for the splits and the whole model; None
            if `measured` has what is known.
        device: The device's profile, or its file.
        server: The server's profile, or its file.
        link: A `Link`, the `link` of a device's profile, or a trace: a sequence of (second, bits per second, seconds
            there and back). By default the link that the device measured.
        codecs: The result of `measure_codecs`, for the accuracy on compressed images. Without it, that of JPEG and
            WebP is not known.
        measured: Accuracies in place of predicted ones: results of `evaluate` by "local", "remote" (an image without
            loss), (codec, quality), or (cut, payload_bytes).
        watts: Of the device while it computes, sends and waits: {"compute": ..., "send": ..., "wait": ...}. Without
            them no energy is told.
        transport: "rest" or "grpc"; by default that of the measured link, else of the server's profile, else "rest".
        output: Name or index of the output with the class scores, if the model has several.

    Returns:
        The plan.

    Raises:
        PlanError: If a profile is of another model or kit, no head was measured, or no option is left.
        ArgumentError: If the link, the watts or an accuracy is not possible.
        BundleError: If a file is no profile.
        ModelError: If the model cannot be read.

    Example:
        >>> link = Link(rate_bit_s=4e6, rtt_s=0.04)
        >>> plan = plan_deployment(model, accuracy, device="device.json", server="server.json", link=link)
        >>> choice = plan.best(min_accuracy=accuracy.original - 0.01)
        >>> print(plan.why(choice))

    Reference:
        Kang et al., "Neurosurgeon: collaborative intelligence between the cloud and mobile edge", ASPLOS 2017.
    """
    on_device = _loaded(device, DeviceProfile, "device")
    on_server = _loaded(server, ServerProfile, "server")
    program = read_program(model, output=output)
    cuts = list_cuts(program)
    sha256 = program_sha256(program, model)
    _check_profiles(on_device, on_server, sha256, cuts, model.name)
    times, power = _link_of(link, on_device), checked_watts(watts)
    found = measured_accuracies(measured, lambda wanted: resolve_cut(program, wanted))
    points = with_measured(_of_this_model(split_points(accuracy), cuts, model.name), found)
    original = of_original(accuracy) if accuracy is not None else found.get("remote", Accuracy())
    alternatives = Alternatives(
        device=DeviceTimes(on_device, cuts[0].head_macs + cuts[0].tail_macs),
        server=ServerTimes(on_server, {cut.index: cut for cut in cuts}),
        input_shape=_input_shape(program),
        n_classes=_n_classes(program),
        transport=_transport(transport, times, on_server),
        by_hand=not times.is_measured,
        measured=found,
    )
    options: list[Option] = [*alternatives.local(original), *alternatives.remote(original, image_points(codecs))]
    options += alternatives.splits(points)
    if not options:
        raise PlanError(f"No option of '{model.name}' is left: {' '.join(alternatives.notes)}")
    return Plan(
        options=tuple(option.over(times, on_server.overhead_s, power) for option in options),
        original=original.value,
        link=times,
        overhead_s=on_server.overhead_s,
        watts=power,
        model_name=model.name,
        model_sha256=sha256,
        precision=on_device.precision,
        device=_device_facts(on_device),
        server=_server_facts(on_server),
        notes=(*alternatives.notes, *_incomplete(on_device, on_server)),
    )


def _loaded(given: Any, kind: Any, name: str) -> Any:
    if isinstance(given, kind):
        return given
    if isinstance(given, str | os.PathLike):
        return kind.load(Path(given))
    raise ArgumentError(f"{name}: expected a {kind.__name__}, or its file. Received: {type(given).__name__}.")


def _check_profiles(
    device: DeviceProfile, server: ServerProfile, sha256: str, cuts: list[Cut], model_name: str
) -> None:
    """Check that both profiles are of one kit of this model, and that a head was measured."""
    if not cuts:
        raise PlanError(f"Model '{model_name}' has no cut: it runs whole, on the device or on the server.")
    for name, profile in (("device", device), ("server", server)):
        if profile.model_sha256 != sha256:
            raise PlanError(
                f"The {name}'s profile is of another model, or of another version of it: it was measured for "
                f"'{profile.model_name}' ({profile.model_sha256[:12]}), and this is '{model_name}' ({sha256[:12]}). "
                "Build a kit of this model, and measure it."
            )
    if device.kit_id != server.kit_id:
        raise PlanError(
            f"The profiles are of two kits: the device measured {device.kit_id[:12]} ({device.precision}, "
            f"{device.created}), the server {server.kit_id[:12]} ({server.created}). A kit built again, or in another "
            "precision, is another one. Measure both with the same."
        )
    if not device.cuts:
        raise PlanError(
            f"The device's profile has no head that was measured ({'; '.join(device.missing) or 'it is empty'}): no "
            "split can be planned. Measure it again: python -m isplit_edge profile kit/"
        )
    of_cuts = {cut.index: cut.head_macs for cut in cuts}
    strange = [one for one in device.cuts if of_cuts.get(one.index) != one.head_macs]
    if strange:
        raise PlanError(
            f"The device's profile has a head that this model cannot have: '{strange[0].name}' (cut "
            f"{strange[0].index}, {strange[0].head_macs:,} multiply-accumulates). '{model_name}' has {len(cuts)} cuts."
        )


def _link_of(link: Any, device: DeviceProfile) -> LinkTimes:
    if link is None and device.link is None:
        raise ArgumentError(
            "link: none was given, and the device did not measure one. Give Link(rate_bit_s=, rtt_s=), a trace, or "
            "measure it: python -m isplit_edge profile kit/ --url http://server:8501"
        )
    return link_times(device.link if link is None else link)


def _of_this_model(points: list[SplitPoint], cuts: list[Cut], model_name: str) -> list[SplitPoint]:
    """Return the points of predicted accuracies after a check that their cuts are this model's.

    Raises:
        PlanError: If one is not.
    """
    for point in points:
        cut = point.cut
        if len(cut.shapes) > 1:
            continue
        same = cuts[cut.index] if cut.index < len(cuts) else None
        if same is None or (same.shapes, same.head_macs) != (cut.shapes, cut.head_macs):
            raise PlanError(
                f"The accuracies are of another model: they have a cut {cut.index}, '{cut.name}' {cut.shape}, which "
                f"'{model_name}' has not. Predict them for this model."
            )
    return [point for point in points if len(point.cut.shapes) == 1]


def _transport(transport: str | None, times: LinkTimes, server: ServerProfile) -> str:
    if transport is not None and transport not in TRANSPORTS:
        raise ArgumentError(f"transport: expected one of {', '.join(map(repr, TRANSPORTS))}. Received: {transport!r}")
    chosen = transport or times.transport or server.transport
    return chosen if chosen in TRANSPORTS else "rest"


def _input_shape(program: Program) -> tuple[int, ...]:
    return tuple(int(axis or 1) for axis in program.tensors[program.inputs[0]].sample_shape)


def _n_classes(program: Program) -> int:
    shape = program.tensors[program.outputs[0]].sample_shape
    return max(2, int(shape[-1] or 1)) if shape else 2


def _device_facts(profile: DeviceProfile) -> dict[str, Any]:
    threads = {} if profile.threads is None else {"threads": profile.threads}
    note = {} if profile.note is None else {"note": profile.note}
    facts: dict[str, Any] = {"source": profile.source, "measured": profile.created, "drift": profile.drift}
    return dict(profile.machine) | facts | threads | note


def _server_facts(profile: ServerProfile) -> dict[str, Any]:
    url = {} if profile.url is None else {"url": profile.url}
    return dict(profile.machine) | {"transport": profile.transport, "measured": profile.created} | url


def _incomplete(device: DeviceProfile, server: ServerProfile) -> list[str]:
    notes = []
    if device.source != "measured":
        notes.append(f"The device's times are an estimate, not measured{f': {device.note}' if device.note else ''}.")
    for name, profile in (("device", device), ("server", server)):
        if not profile.complete:
            notes.append(f"The {name}'s profile is not complete; missing: {', '.join(profile.missing)}.")
    return notes
