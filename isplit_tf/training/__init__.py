"""Training of a split in two phases; first the bottleneck alone, then all of it end to end."""

from .distillation import Distillation
from .history import Epoch, History
from .phases import train

__all__ = ["Distillation", "Epoch", "History", "train"]
