"""Two-phase training of a split: the bottleneck alone, then everything end to end."""

from .history import Epoch, History
from .phases import train

__all__ = ["Epoch", "History", "train"]
