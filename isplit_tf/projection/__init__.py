"""A bottleneck in closed form: moments of patches of the features, and the linear map that keeps what counts."""

from .record import Projection

__all__ = ["Projection"]
