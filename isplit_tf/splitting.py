"""A model split in two, with a bottleneck between the halves."""

import functools
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from isplit_edge import __version__
from isplit_edge.code import Code

from .bottlenecks.closed_form import Images, fit_split
from .bottlenecks.coded import code_of, symbol_layer
from .bottlenecks.insertion import build_bottleneck, insert, name_in_copy, tensor_named
from .bottlenecks.projection import Projection
from .bottlenecks.records import bottleneck_from_json, bottleneck_to_json
from .display.quiet import without_tracing_advice
from .errors import ArgumentError, BundleError, ExistsError, ModelError
from .graph.cuts import Cut, place_of, require_sized, resolve_cut
from .graph.enclosing import lending, record_origins
from .graph.keras_layers import also_known
from .graph.layer_state import record_state, restore_state, take_forms
from .graph.output_kinds import Output
from .graph.outputs import compiled_loss, find_kind
from .graph.passes import require_runnable
from .graph.preprocessor import require_same_as_predict, warn_of_train_step
from .graph.program import Program, Ref, fill, read_program
from .graph.surgery import build, copy_model, segment
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
        fitted: Whether the bottleneck has its weights; False for a `Projection` until it was fitted.
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
        fitted: bool = True,
    ):
        self.model = model
        self.cut = cut
        self.bottleneck = bottleneck
        self.output_kind = None if output_kind is None else Output.of(output_kind, 0).kind  # "sigmoids" in old files
        self.loss = loss
        self.fine_tuned = fine_tuned
        self.fitted = fitted
        self._code: Code | None = None
        self.program = program = read_program(model)
        self._boundaries = boundaries
        self._programs: dict[int, Program] = {}
        require_runnable(program)
        places = [tensor_named(program, name) for name in boundaries]
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
        """Return how many bits of each element of the latent are sent; None for all bits of the head's output."""
        return getattr(self.bottleneck, "latent_bits", None)

    @property
    def bottleneck_code(self) -> Code | None:
        """Return the code by which the latent is sent; None if it is not coded, or not fitted yet.

        Set it for integers that a bottleneck of your own makes; it is then not saved with the split.
        """
        return self._code or code_of(self.encoder)

    @bottleneck_code.setter
    def bottleneck_code(self, code: Code | None) -> None:
        self._code = code

    def fit_bottleneck(self, data: Any, *, batch_size: int = 32, progress: bool = True) -> dict[str, float]:
        """Fit a `Projection` from images; the split then needs no training.

        An `Autoencoder(init="projection")` gets its first weights. Head and tail stay as they are.

        Args:
            data: Images as `train` takes them; labels are ignored.
            batch_size: Images per batch, if the data are arrays.
            progress: Whether to show bars on standard error.

        Returns:
            `relative_error`, the error of the features before rounding (sum of squares over sum of squares), and
            `fit_images`, how many images were read.

        Raises:
            ArgumentError: If the bottleneck is not one that is fitted.
            DataError: If there are no images, or they do not fit the model.
            NumericsError: If features or gradients are not finite.

        Example:
            >>> halves = split(model, "block4_pool", Projection(payload_bytes=1000))
            >>> metrics = halves.fit_bottleneck(images, progress=False)
        """
        return fit_split(self, Images(data, batch_size, progress))

    def require_fitted(self) -> None:
        """Raise `ArgumentError` if the bottleneck has no weights yet."""
        if not self.fitted:
            raise ArgumentError(
                f"The {type(self.bottleneck).__name__} at '{self.cut.name}' is not fitted yet. Give "
                "images: split(..., fit_data=images), split.fit_bottleneck(images), isplit_tf.train, or on the "
                "command line isplit split --fit-data."
            )

    def predict(self, x: Any, batch_size: int | None = None, verbose: str | int = 0) -> np.ndarray:
        """Return the output of the whole split model, as `keras.Model.predict` gives it.

        Raises:
            ArgumentError: If its projection was not fitted.
        """
        self.require_fitted()
        with without_tracing_advice():
            return self.model.predict(x, batch_size=batch_size, verbose=verbose)

    def without_bottleneck(self) -> keras.Model:
        """Return a copy of the network without the bottleneck; the split is not changed."""
        program = self.program
        _, copies = copy_model(program, name=program.name)
        copied = lambda step: copies[id(step.operation)]  # noqa: E731
        first, last = (tensor_named(program, self._boundaries[k]) for k in (0, -1))
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
            coded = symbol_layer(self.encoder) is not None
            is_new = more or coded or self.output_kind in ("multi_label", "multi_label_logits")  # unknown to 0.1.0
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
            **({} if self.fitted else {"fitted": False}),
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
                fitted=bool(record.get("fitted", True)),
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
    fit_data: Any = None,
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
        fit_data: Images from which a `Projection` is fitted, labels ignored; see `SplitModel.fit_bottleneck`.
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
        boundaries = (name_in_copy(program, tensors[0], copies),)
    else:
        parts = () if bottleneck is None else build_bottleneck(bottleneck, require_sized(place))
        whole, boundaries = insert(program, tensors, copies, parts)
    made = SplitModel(
        whole,
        place,
        boundaries=boundaries,
        bottleneck=bottleneck,
        output_kind=kind,
        loss=loss,
        fitted=not isinstance(bottleneck, Projection),
    )
    if fit_data is not None:
        made.fit_bottleneck(fit_data)
    return made


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
