"""Checks of a command line before TensorFlow is imported, which takes seconds: paths, numbers and names."""

import argparse
from collections.abc import Callable
from pathlib import Path

from ..errors import ArgumentError, BundleError, DataError, checked_integer, checked_share
from .custom_objects import require_module
from .files import near, read_preprocessing, require_model
from .output import free_output

METHODS = (
    "grad_cam",
    "gradients",
    "grad_cam++",
    "hires_cam",
    "layer_cam",
    "gradient_x_activation",
    "layer_integrated_gradients",
)
PRECISIONS = {
    "importance": ("float32", "bfloat16", "float16"),
    **dict.fromkeys(("export", "kit"), ("int8", "int16x8", "float16", "dynamic", "float32")),
}
_CHOICES: dict[str, tuple[str, ...]] = {
    "method": METHODS,
    "reduction": ("mean", "sum"),
    "target": ("label", "predicted"),
}
_SHARES = ("compression", "confidence", "max_loss", "min_accuracy", "max_head_share", "within")
_LEAST = {
    **dict.fromkeys(("batch_size", "max_images", "fit_images", "max_tensors", "latent_size", "filters"), 1),
    **dict.fromkeys(("max_payload_bytes", "image_bytes", "flash_bytes", "ram_bytes", "model_version"), 1),
    **dict.fromkeys(("max_head_macs", "bottleneck_epochs", "fine_tune_epochs", "seed"), 0),
}
_ANY_VERSION = 2**31  # the command itself refuses a format that is newer than the release
_DATA = ("data", "fit_data", "validation_data", "representative_data", "evaluation_data")


def check_request(args: argparse.Namespace) -> None:
    """Check what can be checked of a command line without TensorFlow.

    Options are looked at first, then whether files are there, then whether the output can be written, then what the
    files hold.

    Raises:
        ISplitError: As the command itself would, seconds later.
    """
    _check_values(args)
    if getattr(args, "check", None) is not None:
        args.check(args)
    named = [(name, path) for name in _READERS for path in _paths(args, name)]
    for name, path in named:
        _require_there("candidates" if _is_candidates(args, name) else name, path)
    if getattr(args, "output", None) and hasattr(args, "output_holds") and not getattr(args, "all_candidates", False):
        free_output(args, args.output_holds)
    for name, path in named:
        _reader(args, name)(path)


def _paths(args: argparse.Namespace, name: str) -> list[str]:
    found = getattr(args, name, None)
    return [found] if isinstance(found, str) else [one for one in found or [] if isinstance(one, str)]


def _require_there(name: str, path: str) -> None:
    if name in ("model", "original") or (name == "predictor" and not Path(path).is_dir()):
        require_model(path)
    elif name in _DATA:
        _check_data(path)
    elif name in _MADE_BY and not Path(path).exists():
        raise BundleError(f"There is no '{path}'. isplit {_MADE_BY[name]} writes one.{near(path)}")


def _check_values(args: argparse.Namespace) -> None:
    for name, possible in {**_CHOICES, "precision": PRECISIONS.get(args.command, ())}.items():
        value = getattr(args, name, None)
        if name == "target" and args.command != "importance":
            continue
        if value is not None and possible and value not in possible:
            raise ArgumentError(f"Unknown {name} {value!r}. Possible: {', '.join(map(repr, possible))}.")
    for name in _SHARES:
        value = getattr(args, name, None)
        if value is not None and (name, value) not in (("within", 0), ("compression", 0)):
            checked_share(name, value)
    for name, least in _LEAST.items():
        if (value := getattr(args, name, None)) is not None:
            checked_integer(name, value, least)


def _check_data(spec: str) -> None:
    """Raise `DataError` where there is nothing at a data set's name."""
    from ..datasets.splits import EMBEDDED, KINDS, SPLIT_NAMES

    name, _, split = spec.partition(":")
    if name in EMBEDDED:
        if split and split not in SPLIT_NAMES:
            raise DataError(
                f"{name} has the splits {', '.join(SPLIT_NAMES)}, and not {split!r}. Name one: {name}:{SPLIT_NAMES[0]}."
            )
    elif name != "tfds" and not Path(spec).exists():
        raise DataError(f"There is no '{spec}'. Data are given as {KINDS}.{near(spec)}")


def _check_curve(path: str) -> None:
    from ..storage.records import read_arrays

    record, _ = read_arrays(path, _ANY_VERSION, fault="is not a curve that Curve.save wrote")
    if "kind" in record:  # a curve has none, other records do
        raise BundleError(f"'{path}' is not a curve, which isplit importance writes. It holds {record['kind']!r}.")


def _check_accuracy(path: str) -> None:
    from ..storage.records import read_arrays

    record, _ = read_arrays(path, _ANY_VERSION, fault="is not what isplit accuracy wrote")
    if record.get("kind") not in ("accuracy", "accuracy_map"):
        raise BundleError(f"'{path}' is not what isplit accuracy wrote: it holds something else.")


def _check_candidates(path: str) -> None:
    from ..storage.records import read_record

    read_record(path, "candidates", _ANY_VERSION)


def _check_split(path: str) -> None:
    from ..storage.records import read_json

    read_json(Path(path) / "split.json", _ANY_VERSION, fault=f"'{path}' holds no split: split.json cannot be read")


def _check_bundle(path: str) -> None:
    from isplit_edge import Manifest

    Manifest.load(path, check=())


def _check_served(path: str) -> None:
    if (Path(path) / "manifest.json").is_file():
        _check_bundle(path)


def _check_predictor(path: str) -> None:
    if (Path(path) / "manifest.json").is_file():
        _check_bundle(path)
    elif Path(path).is_dir():
        _check_split(path)


def _check_image(path: str) -> None:
    if not Path(path).is_file():
        raise DataError(f"There is no image '{path}'.{near(path)}")


def _nothing(path: str) -> None:
    """Check nothing more: that it is there was checked."""


# By the name of the argument; the same name stands for the same kind of thing in every command.
_READERS: dict[str, Callable[[str], object]] = {
    "model": require_model,
    "original": require_model,
    "predictor": _check_predictor,
    "split": _check_split,
    "bundle": _check_bundle,
    "curve": _check_curve,
    "accuracy": _check_accuracy,
    "candidates": _check_candidates,
    **dict.fromkeys(_DATA, _nothing),
    "images": _check_image,
    "preprocessing": read_preprocessing,
    "custom_objects": require_module,
    **dict.fromkeys(("kit", "server", "plan"), _nothing),
}
_MADE_BY = {
    "split": "split",
    "bundle": "export",
    "curve": "importance",
    "accuracy": "accuracy",
    "candidates": "propose",
    "kit": "kit",
    "server": "profile",
    "plan": "plan",
}


def _is_candidates(args: argparse.Namespace, name: str) -> bool:
    return name == "split" and getattr(args, "all_candidates", False)


def _reader(args: argparse.Namespace, name: str) -> Callable[[str], object]:
    if _is_candidates(args, name):
        return _check_candidates
    if name == "bundle" and args.command == "serve":
        return _check_served
    return _READERS[name]
