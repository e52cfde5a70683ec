"""Training of a split in two phases; the bottleneck alone, then everything end to end."""

from .distillation import Distillation
from .history import Epoch, History
from .phases import train

__all__ = ["Distillation", "Epoch", "History", "train"]
