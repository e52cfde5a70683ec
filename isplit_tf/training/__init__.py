"""Two-phase training of a split: the bottleneck alone, then everything end to end."""

from .distillation import Distillation
from .history import Epoch, History
from .phases import train

__all__ = ["Distillation", "Epoch", "History", "train"]
