"""The paper's axis: which cuts get a point on the importance curve.

A layer that makes new features gets a point. An operation on single elements or channels moves the previous point to
its own output. A layer that only rearranges elements gets no point. The axis ends where the feature map is flattened
or globally pooled.
"""

import math
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import keras

from ..errors import ArgumentError, ModelError
from .cuts import Cut, cut_tensors, list_cuts, require_sized, resolve_cut, tensors_wanted
from .program import Program, Step, bare_operation

Kind = Literal["features", "pointwise", "layout"]

_POINTWISE_LAYERS = frozenset(
    "Activation ActivityRegularization AlphaDropout BatchNormalization Dropout ELU GaussianDropout GaussianNoise "
    "GroupNormalization Identity LayerNormalization LayerScale LeakyReLU Masking Normalization PReLU "
    "RMSNormalization ReLU Rescaling Softmax SpatialDropout1D SpatialDropout2D SpatialDropout3D StochasticDepth "
    "UnitNormalization".split()
)
_LAYOUT_LAYERS = frozenset(
    "CenterCrop Cropping1D Cropping2D Cropping3D Flatten Permute RepeatVector Reshape Resizing UpSampling1D "
    "UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D".split()
)
_MIXING_OPERATIONS = frozenset(
    "AdaptiveAveragePool AdaptiveMaxPool Amax AssociativeScan Average AveragePool Conv ConvTranspose Cumprod "
    "Cumsum DepthwiseConv Dot DotProductAttention Einsum FFT FFT2 IFFT2 IRFFT ISTFT Inner Kron Logsumexp Map "
    "Matmul Max MaxPool Mean Median Min Outer RFFT STFT Scan SeparableConv Sort Std Sum Tensordot TopK Var Vdot "
    "VectorizedMap".split()
)
_LAYOUT_OPERATIONS = frozenset(
    "DepthToSpace Flip Fliplr Flipud Moveaxis Reshape Roll Rot90 SpaceToDepth Squeeze Swapaxes Take Transpose".split()
)
_PREPROCESSING = "keras.src.layers.preprocessing."


def main_cuts(program: Program, cuts: Sequence[Cut]) -> list[Cut]:
    """Return the cuts on the paper's axis.

    VGG16 has 18, its 13 convolutions and 5 poolings. ResNet50 has 17, its stem and 16 blocks.

    Args:
        program: The model.
        cuts: All its cuts, in order.

    Returns:
        A subset of `cuts`, in order.
    """
    tensors = cut_tensors(program)
    points: list[Cut] = []
    previous, has_space = -1, False
    for cut, tensor in zip(cuts, tensors, strict=True):
        position = program.makers[tensor]
        if has_space and _is_flat(program, tensor):
            return points
        kind = _segment_kind(program, program.steps[previous + 1 : position + 1])
        if kind == "features":
            points.append(cut)
        elif kind == "pointwise" and points:
            points[-1] = cut
        has_space = has_space or (bool(points) and len(cut.shape) > 1)
        previous = position
    # If only an activation follows the last point, its cut would leave the tail nothing else to compute.
    rest = program.steps[previous + 1 :]
    if points and points[-1] is cuts[-1] and all(_kind(program, step) == "pointwise" for step in rest):
        points.pop()
    return points


def choose_cuts(program: Program, cuts: str | Sequence[Cut | int | str]) -> list[Cut]:
    """Return the requested cuts in topological order, without duplicates.

    Args:
        program: The model.
        cuts: "main", "all", or a list of cuts.

    Returns:
        The cuts. Those of "main" and "all" whose shape varies are left out, with a warning.

    Raises:
        ModelError: If the model has no such cut, or if a dimension of all of them, or of one in a list, varies.
        CutError: If a cut in the list does not exist.
        ArgumentError: If `cuts` is neither "main" nor "all" nor a list, or if the list is empty.
    """
    if isinstance(cuts, int | Cut):
        cuts = [cuts]
    if not isinstance(cuts, str | Iterable):
        raise ArgumentError(f"Unknown cuts {cuts!r}. Possible: 'main', 'all', or a list of cuts.")
    max_tensors = 1 if isinstance(cuts, str) else max(map(tensors_wanted, cuts), default=1)
    every = list_cuts(program, max_tensors=max_tensors)
    if not every:
        raise ModelError(f"Model '{program.name}' has no cut: every layer has a path around it, or gives the output.")
    if isinstance(cuts, str):
        if cuts not in ("main", "all"):
            raise ArgumentError(f"Unknown cuts {cuts!r}. Possible: 'main', 'all', or a list of cuts.")
        chosen = every if cuts == "all" else main_cuts(program, every)
        if not chosen:
            raise ModelError(f"Model '{program.name}' has no main cut; cuts='all' lists {len(every)}.")
        chosen = _of_known_shape(program, chosen)
    else:
        chosen = sorted({resolve_cut(program, cut, every) for cut in cuts}, key=lambda cut: cut.index)
        if not chosen:
            raise ArgumentError("The list of cuts is empty.")
    return [require_sized(cut) for cut in chosen]


def _of_known_shape(program: Program, cuts: Sequence[Cut]) -> list[Cut]:
    """Return the cuts whose shape is known, with a warning that names the others; all if there are no others."""
    known = [cut for cut in cuts if None not in cut.shape]
    if known and len(known) < len(cuts):
        varying = ", ".join(f"'{cut.name}' {cut.shape}" for cut in cuts if None in cut.shape)
        warnings.warn(
            f"Model '{program.name}' has cuts whose shape varies, so that nothing can be said of their size. They are "
            f"left out: {varying}.",
            stacklevel=4,  # the line that called `measure_importance` or `predict_accuracy`
        )
    return known or list(cuts)


def _is_flat(program: Program, tensor: int) -> bool:
    """Check whether a tensor has no space or time axis left, or only axes that a global pooling reduced to length 1."""
    shape = program.tensors[tensor].sample_shape
    if len(shape) < 2:
        return True
    step = program.steps[program.makers[tensor]]
    name = step.layer_type
    if not _is_of_keras(step.operation):
        return False
    if name.startswith("Global") or name == "Flatten":
        return True
    pools = name.startswith("Adaptive") or name in ("Mean", "Max", "Amax", "Sum")
    return pools and math.prod(d or 2 for d in shape) == max(d or 2 for d in shape)


def _is_of_keras(operation: Any) -> bool:
    return type(bare_operation(operation)).__module__.startswith("keras.")


def _segment_kind(program: Program, steps: Sequence[Step]) -> Kind:
    """Return the kind of the steps between two cuts; the last step makes the later cut."""
    last = steps[-1]
    if len(set(last.reads)) < 2:
        return _kind(program, last)
    made = {tensor for step in steps for tensor in step.makes}
    # The chain starts with the previous cut and takes in what follows pointwise from it.
    chain = {tensor for step in steps for tensor in step.reads} - made
    for step in steps:
        if _kind(program, step) == "pointwise" and chain.issuperset(step.reads):
            chain.update(step.makes)
    if chain.issuperset(last.reads):
        return "pointwise"  # x * sigmoid(x): every operation acts on single elements
    if last.layer_type == "Multiply" and chain.intersection(last.reads):
        return "pointwise"  # a gate, as in squeeze-and-excite, only scales existing features
    return "features"


def _kind(program: Program, step: Step) -> Kind:
    operation: Any = bare_operation(step.operation)
    if isinstance(operation, keras.layers.TimeDistributed):
        operation = operation.layer
    name, module = type(operation).__name__, type(operation).__module__
    from_keras = _is_of_keras(operation)
    if isinstance(operation, keras.layers.Layer):
        if from_keras and name in _POINTWISE_LAYERS:
            return "pointwise"
        return "layout" if from_keras and (name in _LAYOUT_LAYERS or module.startswith(_PREPROCESSING)) else "features"
    if not from_keras or name in _MIXING_OPERATIONS or len(set(step.reads)) > 1:
        return "features"
    same_shape = [program.tensors[tensor].shape for tensor in step.makes] == [program.tensors[step.reads[0]].shape]
    return "pointwise" if same_shape and name not in _LAYOUT_OPERATIONS else "layout"
