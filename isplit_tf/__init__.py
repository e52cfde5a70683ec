"""Find where to split a Keras model between a device and a server, and make the split.

`measure_importance` measures the importance of every cut. `predict_accuracy` predicts the accuracy with an untrained
bottleneck at every cut. `propose` ranks the cuts. `split` inserts a bottleneck, `train` trains it, and `evaluate`
measures the result. `export_bundle` writes the files for a device and for TensorFlow Serving. The package is an
independent implementation of I-Split (Cunico, Capogrosso et al., ICPR 2022).

Importing this package loads neither TensorFlow nor Keras; the first call does.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

from isplit_edge import __version__

from .errors import ISplitError

if TYPE_CHECKING:
    from isplit_edge.device_profile import DeviceProfile
    from isplit_edge.kit import Kit

    from . import datasets, edge
    from .bottlenecks.autoencoder import Autoencoder
    from .bottlenecks.projection import Projection
    from .evaluation.evaluation import Evaluation, evaluate
    from .export.bundle import Bundle, export_bundle
    from .export.kit import build_kit
    from .export.micro.device_estimate import estimate_device
    from .graph.cuts import Cut, find_cuts
    from .graph.preprocessor import include_preprocessor
    from .importance.curve import Curve
    from .importance.measure import measure_importance
    from .importance.sanity import SanityCheck, sanity_check
    from .planning.server_measurement import measure_server
    from .planning.server_profile import ServerProfile
    from .selection.accuracy_curve import AccuracyCurve
    from .selection.accuracy_map import AccuracyMap
    from .selection.candidates import Candidate, Candidates, propose
    from .selection.codec import measure_codecs
    from .selection.codec_curve import CodecCurve
    from .selection.prediction import predict_accuracy
    from .splitting import SplitModel, split
    from .training import Distillation, History, train

_HOMES = {
    "AccuracyCurve": "selection.accuracy_curve",
    "AccuracyMap": "selection.accuracy_map",
    "Autoencoder": "bottlenecks.autoencoder",
    "Bundle": "export.bundle",
    "Candidate": "selection.candidates",
    "Candidates": "selection.candidates",
    "CodecCurve": "selection.codec_curve",
    "Curve": "importance.curve",
    "Cut": "graph.cuts",
    "DeviceProfile": "edge",
    "Distillation": "training",
    "Evaluation": "evaluation.evaluation",
    "History": "training",
    "Kit": "edge",
    "Projection": "bottlenecks.projection",
    "SanityCheck": "importance.sanity",
    "ServerProfile": "planning.server_profile",
    "SplitModel": "splitting",
    "build_kit": "export.kit",
    "estimate_device": "export.micro.device_estimate",
    "evaluate": "evaluation.evaluation",
    "export_bundle": "export.bundle",
    "find_cuts": "graph.cuts",
    "include_preprocessor": "graph.preprocessor",
    "measure_codecs": "selection.codec",
    "measure_importance": "importance.measure",
    "measure_server": "planning.server_measurement",
    "predict_accuracy": "selection.prediction",
    "propose": "selection.candidates",
    "sanity_check": "importance.sanity",
    "split": "splitting",
    "train": "training",
}
_MODULES = ("datasets", "edge", "errors")

__all__ = [
    "AccuracyCurve",
    "AccuracyMap",
    "Autoencoder",
    "Bundle",
    "Candidate",
    "Candidates",
    "CodecCurve",
    "Curve",
    "Cut",
    "DeviceProfile",
    "Distillation",
    "Evaluation",
    "History",
    "ISplitError",
    "Kit",
    "Projection",
    "SanityCheck",
    "ServerProfile",
    "SplitModel",
    "__version__",
    "build_kit",
    "datasets",
    "edge",
    "estimate_device",
    "evaluate",
    "export_bundle",
    "find_cuts",
    "include_preprocessor",
    "measure_codecs",
    "measure_importance",
    "measure_server",
    "predict_accuracy",
    "propose",
    "sanity_check",
    "split",
    "train",
]


def __getattr__(name: str):
    if name in _HOMES:
        value = getattr(_import_module(f"{__name__}.{_HOMES[name]}"), name)
    elif name in _MODULES:
        value = _import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(__all__) | set(globals()))
