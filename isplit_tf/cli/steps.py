"""What to do after a command: the next command line of the story."""

import argparse
import shlex
from collections.abc import Callable
from pathlib import Path

Arguments = argparse.Namespace


def next_step(args: Arguments) -> str | None:
    """Return the command line that usually follows, with the files of this one; None where the story ends."""
    step = _STEPS.get(args.command)
    return None if step is None else step(args)


def _line(*words: object) -> str:
    """Return a command line; words in capitals stand for what only the user knows."""
    return " ".join(["isplit", *(shlex.quote(str(word)) for word in words)])


def _after_accuracy(args: Arguments) -> str:
    rate = args.payload_bytes[0] if isinstance(args.payload_bytes, tuple) else None
    of_map = [] if rate is None else ["--payload-bytes", rate]
    return _line("propose", "curve.npz", "--accuracy", args.output, *of_map, "--max-head-share", 0.5)


def _after_propose(args: Arguments) -> str:
    if args.accuracy is None:
        return _line("split", "MODEL", "--candidates", args.output, "--fit-data", "TRAIN")
    amount = args.payload_bytes or "N"
    return _line("split", "MODEL", "--candidates", args.output, "--payload-bytes", amount, "--fit-data", "TRAIN")


def _after_split(args: Arguments) -> str:
    if args.no_bottleneck or args.fit_data is not None:
        return _line("evaluate", args.output, "--data", "TEST")
    return _line("train", args.output, "--data", "TRAIN", "--validation-data", "VALIDATION", "--keep-best")


def _after_train(args: Arguments) -> str:
    trained = f"{args.output}/FOLDER" if args.all_candidates else args.output
    return _line("evaluate", trained, "--data", "TEST")


def _after_evaluate(args: Arguments) -> str:
    path = Path(args.predictor)
    if (path / "manifest.json").is_file():
        return _line("predict", path, "IMAGE", "--url", args.url) if args.url else _line("serve", path)
    if path.is_dir():
        return _line("export", path, "--representative-data", "TRAIN", "--evaluation-data", args.data)
    return _line("importance", path, "--data", "VALIDATION")


_STEPS: dict[str, Callable[[Arguments], str]] = {
    "cuts": lambda args: _line("importance", args.model, "--data", "VALIDATION"),
    "importance": lambda args: _line(
        "accuracy", args.model, "--data", args.data, "--fit-data", "TRAIN", "--payload-bytes", "250,500,1k,2k"
    ),
    "accuracy": _after_accuracy,
    "propose": _after_propose,
    "split": _after_split,
    "train": _after_train,
    "evaluate": _after_evaluate,
    "export": lambda args: _line("serve", args.output),
    "kit": lambda args: f"python -m isplit_edge profile {shlex.quote(str(args.output))} --url http://SERVER:8501",
    "profile": lambda args: _line(
        "plan", "MODEL", "--accuracy", "accuracy.npz", "--device", "device.json", "--server", args.output
    ),
    "plan": lambda args: _line("split", args.model, "--cut", "CUT", "--payload-bytes", "N", "--fit-data", "TRAIN"),
    "publish": lambda args: _line("evaluate", args.bundle, "--data", "TEST", "--url", "http://SERVER:8501"),
    "predict": lambda args: (
        _line("evaluate", args.bundle, "--data", "TEST", "--url", args.url) if args.url else _line("serve", args.bundle)
    ),
}
