"""The ways to score a cut, by name."""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from . import kernels


@dataclass(frozen=True)
class Method:
    """A way to score a cut.

    Attributes:
        title: Its name in print.
        maps: The kernel that makes a map of features and gradients, or of the elements' attributions alone.
        on_path: Whether gradients are added up on the way from an input of zeros to the image.
    """

    title: str
    maps: Callable[..., tf.Tensor]
    on_path: bool = False


METHODS = {
    "grad_cam": Method("Grad-CAM", kernels.grad_cam),
    "gradients": Method("Gradients", kernels.gradients_alone),
    "grad_cam++": Method("Grad-CAM++", kernels.grad_cam_plus_plus),
    "hires_cam": Method("HiResCAM", kernels.hires_cam),
    "layer_cam": Method("LayerCAM", kernels.layer_cam),
    "gradient_x_activation": Method("Gradient times activation", kernels.gradient_x_activation),
    "layer_integrated_gradients": Method("Layer integrated gradients", kernels.elements, on_path=True),
}


def title(method: str) -> str:
    """A method's name in print; a name that is not known, as in a file of a later release, stays as it is."""
    return METHODS[method].title if method in METHODS else method
