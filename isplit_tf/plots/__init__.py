"""Figures of records; also as files, legible in grey print and for colour-blind people."""

from .accuracy import accuracies, f1_before_and_after, rate_and_accuracy, score_against_accuracy
from .curves import curve_and_sizes, curves, importance_sizes_accuracy
from .files import FORMATS, save_figure, svg

__all__ = [
    "FORMATS",
    "accuracies",
    "curve_and_sizes",
    "curves",
    "f1_before_and_after",
    "importance_sizes_accuracy",
    "rate_and_accuracy",
    "save_figure",
    "score_against_accuracy",
    "svg",
]
