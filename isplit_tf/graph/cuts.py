"""The cuts of a model: the places where one tensor, or a few, carry all information to the later layers."""

import difflib
import math
import numbers
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras

from ..errors import CutError, ModelError, checked_integer
from .cost import CostTable
from .cut_list import CutList
from .keras_layers import reads_mask
from .program import Program, read_program
from .surgery import find_uncopied


@dataclass(frozen=True)
class Cut:
    """A place to split a model: after the layer that makes the tensor `name`.

    If several tensors cross the cut, they are sent as one vector, in graph order.

    Attributes:
        name: Path of the layer, such as `backbone/block5_conv2`; `conv#1` for the second call of a shared layer,
            `lstm:1` for the second output; the names of several tensors are joined by `+`.
        index: Position in `find_cuts(model)`.
        layer_type: Class of the layer that makes the last tensor.
        shape: Shape of the tensor without the batch; `(size,)` for several tensors.
        size: Number of elements per image.
        size_bytes: Bytes of these elements as float32.
        head_params: Weights (elements) of the layers up to and including this one.
        tail_params: Weights of the layers after it. A layer called on both sides counts on both.
        head_macs: Multiply-accumulates per image up to and including this layer.
        tail_macs: Multiply-accumulates per image after this layer.
        shapes: Shape of each tensor that crosses the cut.
    """

    name: str
    index: int
    layer_type: str
    shape: tuple[int | None, ...]
    size: int
    size_bytes: int
    head_params: int
    tail_params: int
    head_macs: int
    tail_macs: int
    shapes: tuple[tuple[int | None, ...], ...] = ()

    def __post_init__(self) -> None:
        if not self.shapes:
            object.__setattr__(self, "shapes", (self.shape,))

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        return asdict(self) | {"shape": list(self.shape), "shapes": [list(shape) for shape in self.shapes]}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Cut":
        """Return the cut that `to_json` wrote.

        Raises:
            TypeError, KeyError: If it is none.
        """
        for key, value in record.items():
            for shape in [value] if key == "shape" else value if key == "shapes" else []:
                sizes = [one for one in shape if one is not None] if isinstance(shape, list) else [""]
                if not all(type(one) is int and one > 0 for one in sizes):
                    raise TypeError(f"{key} is {value!r:.80}: expected sizes of axes")
            expected = str if key in ("name", "layer_type") else int
            if key not in ("shape", "shapes") and type(value) is not expected:
                raise TypeError(f"{key} is {value!r:.80}: expected {expected.__name__}")
        shapes = tuple(tuple(shape) for shape in record.get("shapes", [record["shape"]]))
        return cls(**(record | {"shape": tuple(record["shape"]), "shapes": shapes}))


def find_cuts(model: keras.Model, *, max_tensors: int = 1, output: str | int | None = None) -> list[Cut]:
    """Return all cuts of a model, in topological order. The model is not changed.

    A tensor is a cut if everything after it can be computed from that tensor alone. The model's inputs
    and its final outputs are left out; a Keras mask that a later layer reads counts as a tensor of its own.

    Args:
        model: A built Keras 3 model: functional, Sequential, nested, or subclassed and written with layers and
            `keras.ops`.
        max_tensors: How many tensors may cross a cut, in the order in which Keras runs the layers. With more than 1,
            there are also cuts inside residual blocks, DenseNet, NASNet or U-Net.
        output: Name or index of the output to keep, if the model has several; all by default.

    Returns:
        The cuts, in a list that prints as a table; empty if every layer has a path around it.

    Raises:
        ModelError: If it is not a Keras 3 model on TensorFlow, is not built, cannot be traced, or has no such output.
        ArgumentError: If `max_tensors` is not an integer of at least 1.

    Warns:
        UserWarning: If a layer cannot be copied, so that `split` will refuse the model; the warning says why.

    Example:
        >>> inputs = keras.Input((8, 8, 3))
        >>> x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
        >>> outputs = keras.layers.Dense(2)(keras.layers.Flatten(name="flat")(x))
        >>> [cut.name for cut in find_cuts(keras.Model(inputs, outputs))]
        ['conv', 'flat']
    """
    most = checked_integer("max_tensors", max_tensors, 1)
    program = read_program(model, output=output)
    uncopied = find_uncopied(program)
    if uncopied:
        warnings.warn(
            f"Importance can be measured at these cuts, but model '{program.name}' cannot be split, for a split copies "
            f"its layers. {next(iter(uncopied.values()))}"
            + (f" Nor can {len(uncopied) - 1} more layers be copied." if len(uncopied) > 1 else ""),
            stacklevel=2,
        )
    return CutList(list_cuts(program, max_tensors=most))


def list_cuts(program: Program, *, max_tensors: int = 1) -> list[Cut]:
    """Return the cuts of a program; see `find_cuts`."""
    costs = CostTable(program)
    cuts: list[Cut] = []
    for place in places(program, max_tensors):
        maker = place_maker(program, place)
        shapes = tuple(program.tensors[tensor].sample_shape for tensor in place)
        # A varying dimension counts as 1: sizes are then per element along it.
        size = sum(math.prod(d or 1 for d in shape) for shape in shapes)
        head, tail = costs.around(maker + 1)
        cuts.append(
            Cut(
                name=place_name(program, place),
                index=len(cuts),
                layer_type=program.steps[maker].layer_type,
                shape=shapes[0] if len(shapes) == 1 else (size,),
                size=size,
                size_bytes=4 * size,
                head_params=head.params,
                tail_params=tail.params,
                head_macs=head.macs,
                tail_macs=tail.macs,
                shapes=shapes,
            )
        )
    return cuts


def cut_tensors(program: Program) -> list[int]:
    """Return the tensors that are cuts by themselves, as indices into the program's tensors, in topological order."""
    return [tensor for (tensor,) in places(program)]


def places(program: Program, max_tensors: int = 1) -> list[tuple[int, ...]]:
    """Return the tensors that cross each cut, in topological order.

    Several tensors cross as one vector: their shapes must be known, their dtypes floating, and no mask may be needed.
    Sparse and ragged tensors are no cuts.
    """
    left_out = set(program.outputs) | set(program.inputs)
    left_out.update(index for index, tensor in enumerate(program.tensors) if tensor.layout != "dense")
    narrow = [tuple(opened) for opened in open_tensors(program) if 0 < len(opened) <= max_tensors]
    return [
        place for place in narrow if not left_out.intersection(place) and (len(place) == 1 or _joinable(program, place))
    ]


def _joinable(program: Program, place: tuple[int, ...]) -> bool:
    specs = [program.tensors[tensor] for tensor in place]
    return len(set(place)) == len(place) and all(None not in s.sample_shape and "float" in s.dtype for s in specs)


def place_name(program: Program, place: Sequence[int]) -> str:
    """Return the name of a cut."""
    return "+".join(program.tensors[tensor].name for tensor in place)


def place_maker(program: Program, place: Sequence[int]) -> int:
    """Return the index of the step that makes the last tensor at a cut."""
    return max(program.makers[tensor] for tensor in place)


def open_tensors(program: Program) -> Iterator[list[int]]:
    """Yield for each step the open tensors: already made (or given as input) and still to be read.

    A tensor whose mask is still to be read is listed twice. All inputs are open from the start: a second input that
    is only read late is open until then.
    """
    last = program.last_reads
    masks = _masks_to_be_read(program)
    opened = [tensor for tensor in program.inputs if tensor in last]
    for index, step in enumerate(program.steps):
        opened = [tensor for tensor in opened if last[tensor] > index]
        opened += [tensor for tensor in step.makes if tensor in last]
        yield opened + [tensor for tensor in opened if tensor in masks]


def _masks_to_be_read(program: Program) -> set[int]:
    """Return the tensors whose Keras mask changes the result of a later layer."""
    needed: set[int] = set()
    for step in reversed(program.steps):
        if reads_mask(step.operation) or needed.intersection(step.makes):
            needed.update(tensor for tensor in step.reads if program.tensors[tensor].masked)
    return needed


def resolve_cut(program: Program, wanted: "Cut | int | str", cuts: Sequence[Cut] | None = None) -> Cut:
    """Return the requested cut of a program.

    Args:
        program: The model's program.
        wanted: A `Cut` of this model or of a saved curve (matched by name, else by index, since automatic names
            change between two builds; the shape must agree), an index into `find_cuts(model)`, a name, or an
            unambiguous last part of a name.
        cuts: The cuts to choose from; by default `list_cuts(program)`, with as many tensors as the requested cut has.

    Returns:
        The cut of this program.

    Raises:
        CutError: If no cut or several cuts match; the message names the nearest.
    """
    cuts = list_cuts(program, max_tensors=tensors_wanted(wanted)) if cuts is None else cuts
    if not cuts:
        raise CutError(f"Model '{program.name}' has no cut: every layer has a path around it, or gives the output.")
    if isinstance(wanted, Cut):
        return _match(program, wanted, cuts)
    if isinstance(wanted, numbers.Integral) and not isinstance(wanted, bool):
        if 0 <= wanted < len(cuts):
            return cuts[int(wanted)]
        raise CutError(f"No cut {wanted} in model '{program.name}': it has {len(cuts)} cuts, 0 to {len(cuts) - 1}.")
    if not isinstance(wanted, str):
        raise CutError(f"A cut is asked for by a Cut, its index or its name. Received: {wanted!r}.")
    exact = [cut for cut in cuts if cut.name == wanted]
    matches = exact or [cut for cut in cuts if cut.name.endswith("/" + wanted)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        names = ", ".join(f"'{cut.name}'" for cut in matches)
        raise CutError(f"'{wanted}' names {len(matches)} cuts in model '{program.name}': {names}. Give a longer name.")
    raise CutError(_why_no_cut(program, wanted, cuts))


def tensors_wanted(wanted: "Cut | int | str") -> int:
    """Return how many tensors cross the requested cut."""
    if isinstance(wanted, Cut):
        return len(wanted.shapes)
    return wanted.count("+") + 1 if isinstance(wanted, str) else 1


def _stem(name: str) -> str:
    """Return a name without the numbers that Keras counts up: `add_3` of one build is `add_7` of the next."""
    return re.sub(r"_\d+(?=$|[/#:~])", "", name)


def _match(program: Program, wanted: Cut, cuts: Sequence[Cut]) -> Cut:
    matches = [cut for cut in cuts if cut.name == wanted.name and cut.shapes == wanted.shapes]
    if matches:
        return matches[0]
    if 0 <= wanted.index < len(cuts):
        candidate = cuts[wanted.index]
        if candidate.shapes == wanted.shapes and _stem(candidate.name) == _stem(wanted.name):
            return candidate
    raise CutError(
        f"Cut '{wanted.name}' (index {wanted.index}, shape {wanted.shape}) is not one of model '{program.name}', "
        f"which has {len(cuts)} cuts from '{cuts[0].name}' to '{cuts[-1].name}'. It seems to be another model's."
    )


def _similar(wanted: str, names: Sequence[str]) -> list[str]:
    """Return up to three names like the one that is wanted.

    First come those that hold it whole, with no further digit behind it, from the last of them backwards: `block_6` is
    the start of many names, and the last is the end of that block.
    """
    whole = re.compile(rf"(?<![a-z0-9]){re.escape(wanted)}(?![0-9])", re.IGNORECASE)
    found = [name for name in reversed(names) if whole.search(name)]
    found += difflib.get_close_matches(wanted, [name.rsplit("/", 1)[-1] for name in names], n=3)
    found += [name for name in names if wanted.lower() in name.lower()]
    return list(dict.fromkeys(found))[:3]


def _why_no_cut(program: Program, wanted: str, cuts: Sequence[Cut]) -> str:
    """Return an error message that explains why a name is not a cut, with the nearest or most similar cuts."""
    text = f"No cut named '{wanted}' in model '{program.name}'."
    tensors = [
        index
        for index, tensor in enumerate(program.tensors)
        if index in program.makers and (tensor.name == wanted or tensor.name.endswith("/" + wanted))
    ]
    if not tensors:
        similar = _similar(wanted, [cut.name for cut in cuts])
        shown = similar or [cuts[0].name, "...", cuts[-1].name]
        return f"{text} No layer has this name. {'Similar' if similar else 'There are'}: {', '.join(map(repr, shown))}."
    maker = program.makers[tensors[0]]
    if tensors[0] in program.outputs:
        return f"{text} It is the model's output: nothing is left for the tail. The last cut is '{cuts[-1].name}'."
    if program.tensors[tensors[0]].layout != "dense":
        layout = program.tensors[tensors[0]].layout
        return f"{text} It is a {layout} tensor, which cannot be sent: build the layer without {layout}=True."
    opened = list(open_tensors(program))[maker]
    names = [f"'{program.tensors[tensor].name}'" for tensor in opened]
    names = [f"the mask of {name}" if name in names[:k] else name for k, name in enumerate(names)]
    position = {cut.name: place_maker(program, place_of(program, cut)) for cut in cuts}
    earlier = [cut.name for cut in cuts if position[cut.name] < maker][-1:]
    later = [cut.name for cut in cuts if position[cut.name] > maker][:1]
    near = [f"'{name}' (earlier)" for name in earlier] + [f"'{name}' (later)" for name in later]
    text = f"{text} {len(opened)} tensors are open there: {', '.join(names)}. Nearest cuts: {', '.join(near)}."
    if tuple(opened) not in places(program, len(opened)):
        return text
    return (
        f"{text} Or send these {len(opened)} as one vector, by the cut '{place_name(program, opened)}', one of "
        f"find_cuts(model, max_tensors={len(opened)})."
    )


def place_of(program: Program, cut: Cut) -> tuple[int, ...]:
    """Return the indices of the tensors that cross a cut of this program."""
    return next(place for place in places(program, len(cut.shapes)) if place_name(program, place) == cut.name)


def tensor_of(program: Program, cut: Cut) -> int:
    """Return the index of the tensor at a cut of this program, which must be a cut of one tensor."""
    (tensor,) = place_of(program, cut)
    return tensor


def require_sized(cut: Cut) -> Cut:
    """Return the cut if its shape is known.

    Raises:
        ModelError: If a dimension other than the batch varies.
    """
    if None in cut.shape:
        raise ModelError(
            f"Cut '{cut.name}' has shape {cut.shape}: a dimension besides the batch varies. Give the model a fixed "
            "input size: build it so, or put it into another, keras.Sequential([keras.Input((224, 224, 3)), model])."
        )
    return cut
