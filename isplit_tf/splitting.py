"""A model split in two, with a bottleneck between the halves."""

import functools
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from isplit_edge import __version__
from isplit_edge.wire import payload_bytes, sent_bits

from .bottlenecks.base import Bottleneck, for_parts
from .bottlenecks.joining import join, join_bottlenecks, take_apart
from .bottlenecks.records import bottleneck_from_json, bottleneck_to_json
from .display.quiet import without_tracing_advice
from .errors import ArgumentError, BundleError, ExistsError, ModelError
from .graph.cuts import Cut, place_maker, place_of, require_sized, resolve_cut
from .graph.enclosing import lending, record_origins
from .graph.keras_layers import also_known
from .graph.layer_state import record_state, restore_state, take_forms
from .graph.output_kinds import Output
from .graph.outputs import compiled_loss, find_kind
from .graph.passes import require_runnable
from .graph.preprocessor import require_same_as_predict, warn_of_train_step
from .graph.program import Program, Ref, fill, read_program
from .graph.surgery import build, copy_model, free_name, segment
from .storage.directories import check_replaceable, replacing
from .storage.models import load_model, loss_from_json, loss_to_json, require_savable
from .storage.records import read_arrays, read_json, write_arrays, write_json

FORMAT_VERSION = 2  # 1 for what release 0.1.0 can read, as nearly always
_MODEL_FILE = "model.keras"
_RECORD_FILE = "split.json"
_STATE_FILE = "layers.npz"


class SplitModel:
    """A head for the device, a tail for the server, and the bottleneck between them.

    `split` makes it and `SplitModel.load` reads it; `train` changes it. The five models share their weights with
    each other and none with the model that was split.

    Attributes:
        head: From the model's input to the cut; `(N, *input)` to `(N, *cut.shape)`.
        encoder: From the cut to the latent; None without a bottleneck.
        decoder: From the latent back to the cut's shape; None without a bottleneck.
        tail: From the cut to the model's own output.
        model: The whole, one flat functional model: compiles, fits, saves.
        cut: Where it was split.
        program: The whole, read once: its steps and tensors.
        bottleneck: The record that described the bottleneck, or None.
        output_kind: What the output is: "softmax" (probabilities that add up to 1, by whatever layers), "sigmoid",
            "multi_label", "logits", "binary_logit" or "multi_label_logits"; None where it is not class scores.
        loss: The loss that the original was compiled with, or None.
        fine_tuned: Whether `train` changed head and tail, which are then not the original model any more.
    """

    def __init__(
        self,
        model: keras.Model,
        cut: Cut,
        *,
        boundaries: tuple[str, ...],
        bottleneck: Any = None,
        output_kind: str | None = None,
        loss: Any = None,
        fine_tuned: bool = False,
    ):
        self.model = model
        self.cut = cut
        self.bottleneck = bottleneck
        self.output_kind = None if output_kind is None else Output.of(output_kind, 0).kind  # "sigmoids" in old files
        self.loss = loss
        self.fine_tuned = fine_tuned
        self.program = program = read_program(model)
        self._boundaries = boundaries
        self._programs: dict[int, Program] = {}
        require_runnable(program)
        places = [_tensor_named(program, name) for name in boundaries]
        output = program.output_structure
        self.head = segment(program, program.inputs, Ref(places[0]), name="head")
        self.tail = segment(program, [places[-1]], output, name="tail", input_names=["features"])
        self.encoder: keras.Model | None = None
        self.decoder: keras.Model | None = None
        if len(places) > 1:
            cut_tensor, latent, restored = places
            self.encoder = segment(program, [cut_tensor], Ref(latent), name="encoder", input_names=["features"])
            self.decoder = segment(program, [latent], Ref(restored), name="decoder", input_names=["latent"])

    @property
    def output(self) -> Output | None:
        """Return what the output is and how many classes it has; None if it is not class scores."""
        kind = self.output_kind
        return None if kind is None else Output.of(kind, self.model.output_shape[-1])

    def read(self, part: keras.Model) -> Program:
        """Return the program of head, encoder, decoder or tail in inference mode; each is read once."""
        if id(part) not in self._programs:
            self._programs[id(part)] = read_program(part, training=False)
        return self._programs[id(part)]

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Return the shape of the latent, which crosses the wire, without the batch."""
        model = self.encoder or self.head
        return tuple(model.outputs[0].shape[1:])

    @property
    def latent_bits(self) -> int | None:
        """Return how many bits of each element of the latent are sent; None if all bits of the head's output are."""
        return getattr(self.bottleneck, "latent_bits", None)

    def predict(self, x: Any, batch_size: int | None = None, verbose: str | int = 0) -> np.ndarray:
        """Return the output of the whole split model, as `keras.Model.predict` gives it."""
        with without_tracing_advice():
            return self.model.predict(x, batch_size=batch_size, verbose=verbose)

    def without_bottleneck(self) -> keras.Model:
        """Return a copy of the network without the bottleneck; the split is not changed."""
        program = self.program
        _, copies = copy_model(program, name=program.name)
        copied = lambda step: copies[id(step.operation)]  # noqa: E731
        first, last = (_tensor_named(program, self._boundaries[k]) for k in (0, -1))
        head_end, tail_start = program.makers[first] + 1, program.makers[last] + 1

        def body(values: dict[int, Any]) -> Any:
            program.run(values, program.steps[:head_end], copied)
            values[last] = values[first]
            program.run(values, program.steps[tail_start:], copied)
            return fill(program.output_structure, values)

        return build(program, program.inputs, body, name=program.name)

    def save(self, directory: str | os.PathLike, *, overwrite: bool = False) -> None:
        """Write `model.keras` and `split.json` into a directory; an old split there is replaced in one step.

        Args:
            directory: Where to; made if needed.
            overwrite: Whether a split that is there may be replaced.

        Raises:
            ExistsError: The directory exists and `overwrite` was not given, or it holds something else.
            ArgumentError: It is the current folder, or around it.
            ModelError: A layer holds a Python lambda, or what Keras cannot write down.
        """
        target = Path(directory)
        if target.exists():
            if not overwrite:
                raise ExistsError(f"'{target}' exists. Give overwrite=True, or another directory.")
            check_replaceable(target, "split", _RECORD_FILE)
        require_savable(self.model)
        layers, arrays = record_state(self.model)
        more = {name: rest for name, rest in (("layers", layers), ("origins", record_origins(self.model))) if rest}
        with replacing(target) as folder:
            self.model.save(folder / _MODEL_FILE)
            if arrays:
                write_arrays(folder / _STATE_FILE, 1, {"kind": "layers"}, arrays, compressed=False)
            is_new = more or self.output_kind in ("multi_label", "multi_label_logits")  # unknown to release 0.1.0
            write_json(folder / _RECORD_FILE, FORMAT_VERSION if is_new else 1, self._record() | more)

    def _record(self) -> dict[str, Any]:
        return {
            "isplit_tf": __version__,
            "cut": self.cut.to_json(),
            "boundaries": list(self._boundaries),
            "bottleneck": bottleneck_to_json(self.bottleneck),
            "output_kind": self.output_kind,
            "loss": loss_to_json(self.loss),
            "fine_tuned": self.fine_tuned,
        }

    @classmethod
    def load(cls, directory: str | os.PathLike, *, custom_objects: dict[str, Any] | None = None) -> "SplitModel":
        """Read a split that `save` wrote, in Keras' safe mode: no code is run from the file.

        Args:
            directory: Where it is.
            custom_objects: Classes of custom layers by name, where they are not registered with Keras.

        Raises:
            BundleError: It is not there, not complete, or of a newer format.
        """
        source = Path(directory)
        record = _read_record(source)
        with also_known(custom_objects or {}):
            try:
                model = _read_model(source, record)
            except (ModelError, ValueError, TypeError, LookupError) as error:
                raise BundleError(f"'{source}' holds no split that can be read: {error}") from error
            loss = loss_from_json(record["loss"], source)
        try:
            return cls(
                model,
                Cut.from_json(record["cut"]),
                boundaries=tuple(record["boundaries"]),
                bottleneck=bottleneck_from_json(record["bottleneck"]),
                output_kind=record["output_kind"],
                loss=loss,
                fine_tuned=bool(record.get("fine_tuned", False)),
            )
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise BundleError(f"'{source / _RECORD_FILE}' is damaged: {error!r}") from error

    def __repr__(self) -> str:
        between = "no bottleneck" if self.bottleneck is None else f"{self.bottleneck!r}"
        return f"SplitModel(cut='{self.cut.name}' {self.cut.shape}, latent {self.latent_shape}, {between})"


def split(
    model: keras.Model,
    cut: Cut | int | str,
    bottleneck: Any = None,
    *,
    output: str | int | None = None,
    output_kind: str | None = None,
) -> SplitModel:
    """Split a model after a layer, with copies of its layers and weights; the model stays as it is.

    Args:
        model: A built Keras 3 model.
        cut: A `Cut`, its index in `find_cuts(model)`, its name, or an unambiguous last part of its name. Where it has
            several tensors, they cross as one vector.
        bottleneck: What to put between the halves, for instance `Projection(payload_bytes=64)` or
            `Autoencoder(compression=0.9)`; one for each tensor of the cut, which share the elements or bytes; None for
            the tensors as they are.
        output: Name or index of the output to keep, where the model has several; all by default.
        output_kind: What the output is, where neither the model's end nor its values tell: "probabilities" (that add up
            to 1), "logits", or "multi_label" (each unit a label of its own). Training and export go by it.

    Returns:
        The split. Without a bottleneck, `tail(head(x))` equals `model(x)`.

    Raises:
        CutError: There is no such cut.
        ModelError: The model cannot be split or copied, has no such output, or the cut's shape varies and there is a
            bottleneck; or `predict` does more than the model's layers, and the message names the preprocessor.

    Example:
        >>> halves = split(model, "block4_pool", Autoencoder(compression=0.9))
        >>> halves.tail(halves.decoder(halves.encoder(halves.head(images))))

    Reference:
        Cunico, Capogrosso et al., I-Split, ICPR 2022, Sec. III-B.
    """
    program = read_program(model, output=output)
    place = resolve_cut(program, cut)
    require_same_as_predict(model, program)
    warn_of_train_step(model, program)
    loss = compiled_loss(model, output)
    kind = find_kind(program, loss=loss, output_kind=output_kind)
    whole, copies = copy_model(program, name=model.name)
    tensors = place_of(program, place)
    boundaries: tuple[str, ...]
    if bottleneck is None and len(tensors) == 1:
        boundaries = (_name_in_copy(program, tensors[0], copies),)
    else:
        parts = () if bottleneck is None else _build(bottleneck, require_sized(place))
        whole, boundaries = _insert(program, tensors, copies, parts)
    return SplitModel(
        whole,
        place,
        boundaries=boundaries,
        bottleneck=bottleneck,
        output_kind=kind,
        loss=loss,
    )


def _build(bottleneck: Any, cut: Cut) -> tuple[keras.Model, keras.Model]:
    """Build encoder and decoder for the tensors that cross at a cut."""
    if not hasattr(bottleneck, "build"):
        raise ArgumentError(f"Expected a bottleneck such as Autoencoder(). Received: {bottleneck!r}.")
    shapes: Any = cut.shapes  # sized: no dimension varies
    single = len(shapes) == 1
    halves = bottleneck.build(shapes[0]) if single else join_bottlenecks(for_parts(bottleneck, shapes), shapes)
    if isinstance(bottleneck, Bottleneck) and bottleneck.payload_bytes is not None:
        latent = halves[0].output_shape[1:]
        sent = payload_bytes("int8", latent, sent_bits("int8", bottleneck.latent_bits))
        if sent > bottleneck.payload_bytes:
            warnings.warn(
                f"{sent:,} bytes a frame cross at '{cut.name}', more than payload_bytes={bottleneck.payload_bytes}: "
                f"with fewer, a position of the latent {latent} would be left without a number. Cut later; the patches "
                "of a Projection grow with what is asked, up to 65,536 elements.",
                stacklevel=3,
            )
    return halves


def _insert(
    program: Program, tensors: Sequence[int], copies: dict[int, Any], bottleneck: Sequence[keras.Model]
) -> tuple[keras.Model, tuple[str, ...]]:
    """Return the whole model with encoder and decoder at a cut, and the names of the boundaries.

    Several tensors cross as one vector. The boundaries are the outputs of the head and, with a bottleneck, of encoder
    and decoder.
    """
    parts = [read_program(part) for part in bottleneck]
    names = {copy.name for copy in copies.values()}
    common_names = names & {step.operation.name for part in parts for step in part.steps}
    if common_names:
        raise ModelError(f"Layers of the bottleneck are named as layers of the model: {sorted(common_names)}.")
    copied = lambda step: copies[id(step.operation)]  # noqa: E731
    position = place_maker(program, tensors) + 1
    joined = free_name("cut_join", names)

    def body(values: dict[int, Any]) -> Any:
        program.run(values, program.steps[:position], copied)
        crossing = [values[tensor] for tensor in tensors]
        features = crossing[0] if len(crossing) == 1 else join(crossing, name=joined)
        for part in parts:
            features = part.run({part.inputs[0]: features})[part.outputs[0]]
        back = [features] if len(crossing) == 1 else take_apart(features, crossing, name=free_name("cut_part", names))
        values.update(zip(tensors, back, strict=True))
        program.run(values, program.steps[position:], copied)
        return fill(program.output_structure, values)

    whole = build(program, program.inputs, body, name=program.name)
    first = joined if len(tensors) > 1 else _name_in_copy(program, tensors[0], copies)
    return whole, (first, *(part.tensors[part.outputs[0]].name for part in parts))


def _name_in_copy(program: Program, tensor: int, copies: dict[int, Any]) -> str:
    """Return a tensor's name in the copied model, whose layers are named by path."""
    step = program.steps[program.makers[tensor]]
    tail = program.tensors[tensor].name.removeprefix(step.path)
    return copies[id(step.operation)].name + tail


def _tensor_named(program: Program, name: str) -> int:
    for index, tensor in enumerate(program.tensors):
        if tensor.name == name and index in program.makers:
            return index
    raise BundleError(
        f"No tensor '{name}' in the split model '{program.name}': model and record do not belong together."
    )


def _read_model(source: Path, record: dict[str, Any]) -> keras.Model:
    """Read the whole model of a split, with what Keras' own file merges or leaves out."""
    layers, path = record.get("layers", []), source / _STATE_FILE
    late = any(layer["form"] and layer["inner"] for layer in layers)
    prepare = functools.partial(take_forms, records=layers) if late else None
    with lending(record.get("origins", [])):
        model = load_model(source / _MODEL_FILE, compiled=False, before_weights=prepare)
    arrays = read_arrays(path, 1, fault="is not what a split keeps of its layers")[1] if path.exists() else {}
    restore_state(model, layers, arrays)
    return model


def _read_record(source: Path) -> dict[str, Any]:
    fault = f"'{source}' holds no split: {_RECORD_FILE} cannot be read"
    record = read_json(source / _RECORD_FILE, FORMAT_VERSION, fault=fault)
    missing = {"cut", "boundaries", "bottleneck", "output_kind", "loss"} - set(record)
    if missing:
        raise BundleError(f"'{source / _RECORD_FILE}' lacks {sorted(missing)}.")
    return record
