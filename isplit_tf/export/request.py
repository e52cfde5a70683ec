"""The request for an export, checked before any work by the rules of the manifest."""

import dataclasses
import importlib.metadata
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from isplit_edge import __version__, wire
from isplit_edge.code import Code
from isplit_edge.manifest import FORMAT_VERSION, PRECISIONS, check_fields
from isplit_edge.preprocessing import resolve_preprocessing

from ..batches.class_names import class_names_of
from ..bottlenecks.quantizer import is_observed, roundings
from ..errors import ArgumentError, ExportError, NumericsError, checked_class_names
from ..graph.cost import program_macs
from ..graph.output_kinds import Output, checked_word
from ..graph.outputs import compiled_loss, find_logits
from ..splitting import SplitModel
from .fingerprint import architecture
from .litert.converter import QUANTIZED, ConvertedHead
from .litert.engines import check_converter, converter_versions
from .micro.head import MICROCONTROLLER
from .serving.saved_model import output_record

TARGETS = (None, MICROCONTROLLER)
_OUTPUT_DTYPES = {"int8": "int8", "int16x8": "int16"}
_NOT_MEASURED = {"original": None, "split": None, "artefacts": None, "images": None}


@dataclasses.dataclass(frozen=True, eq=False)
class ExportRequest:
    """A checked request.

    Attributes:
        split: What is exported.
        precision: Of the head.
        output: What the model's own output is.
        record: What is known of the manifest before the head is converted.
        code: By which the latent is coded, or None.
        converter: Of the head.
    """

    split: SplitModel
    precision: str
    output: Output
    record: Mapping[str, Any]
    code: Code | None = None
    converter: str = "tf.lite"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Return the shape of the model's input without the batch."""
        return tuple(self.record["shapes"]["input"])

    @property
    def preprocessing(self) -> Mapping[str, Any] | None:
        """Return the complete record of the preprocessing."""
        return self.record["preprocessing"]

    def filled(self, head: ConvertedHead) -> dict[str, Any]:
        """Return the manifest's record with what the converted head brings, without bundle_id and files."""
        return {
            **self.record,
            "dtype": head.dtype,
            "scale": head.scale,
            "zero_point": head.zero_point,
            "shapes": {**self.record["shapes"], "latent": list(head.latent_shape)},
            "payload_bytes": self._payload_bytes(head),
            "head": {**self.record["head"], "size_bytes": len(head.content)},
        }

    def _payload_bytes(self, head: ConvertedHead) -> int:
        measured = self.record.get("payload_bytes")
        return measured or wire.payload_bytes(head.dtype, head.latent_shape, self.record.get("latent_bits"))

    def with_lengths(self, lengths: np.ndarray, max_payload_bytes: int | None) -> "ExportRequest":
        """Return the request of a coded latent, given what the payloads of some images measure.

        Args:
            lengths: (n,) bytes of payloads without a bound.
            max_payload_bytes: The bound of each payload; by default a quarter above the longest of these.
        """
        most = -(-5 * int(lengths.max()) // 4) if max_payload_bytes is None else max_payload_bytes
        mean = round(float(np.minimum(lengths, most).mean()))
        measured = check_fields({"payload_bytes": mean, "max_payload_bytes": most})
        return dataclasses.replace(self, record={**self.record, **measured})


def make_request(
    split: SplitModel,
    *,
    precision: str,
    class_names: Sequence[str] | None,
    preprocessing: str | Mapping[str, Any] | None,
    model_name: str,
    version: int,
    target: str | None,
    from_logits: bool | None,
    output_kind: str | None,
    converter: str,
    data: Iterable[Any] = (),
) -> ExportRequest:
    """Check all arguments of `export_bundle` that need no images; of `data`, only names of classes are taken.

    Raises:
        ArgumentError: If one is outside of what is possible.
        ExportError: If the split has a shape that is not fixed, or a configuration that gives it no identity.
        ModelError: If the model's output is not class scores.
        MissingDependencyError: If the converter is not installed.
        NumericsError: If a weight is NaN or infinite.
    """
    if not isinstance(split, SplitModel):
        raise ArgumentError(f"Expected a SplitModel, as isplit_tf.split gives it. Received: {type(split).__name__}.")
    if precision not in PRECISIONS:
        raise ArgumentError(f"precision must be one of {', '.join(PRECISIONS)}. Received: {precision!r}.")
    if target not in TARGETS:
        raise ArgumentError(f"target must be one of {', '.join(map(repr, TARGETS))}. Received: {target!r}.")
    check_converter(converter)
    split.require_fitted()
    _check_weights(split)
    for model in (split.decoder, split.tail):
        if model is not None:
            architecture(model)  # refuses what has no identity
    bits, code = _packed_bits(split, precision), _code(split, precision)
    shapes = _fixed_shapes(split)
    output = _output(split, from_logits, output_kind)
    record = {
        "format_version": FORMAT_VERSION,
        "model_name": model_name,
        "version": version,
        "wire_version": _wire_version(bits, code),
        "precision": precision,
        "cut": _cut_record(split),
        "shapes": shapes,
        "n_classes": output.n_classes,
        "class_names": checked_class_names(
            _names(class_names, data, output.n_classes), output.n_classes, distinct=True
        ),
        "byte_order": "little",
        "preprocessing": resolve_preprocessing(preprocessing, tuple(shapes["input"])),
        "output": output_record(output),
        "accuracy": _NOT_MEASURED,
        "encoder": _cost(split, split.encoder),
        "head": {**_cost(split, split.head), "size_bytes": 0},  # until it is converted
        "versions": package_versions() | converter_versions(converter),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if bits is not None:
        record["latent_bits"] = bits
    if code is not None:
        record["code"] = code.to_json()
    return ExportRequest(split, precision, output, check_fields(record), code, converter)


def _wire_version(bits: int | None, code: Code | None) -> int:
    if code is not None:
        return wire.CODED_WIRE_VERSION
    return wire.WIRE_VERSION if bits is None else wire.PACKED_WIRE_VERSION


def _names(given: Sequence[str] | None, data: Iterable[Any], n_classes: int) -> Sequence[str] | None:
    """Return the names that were given, else the first that some data bring."""
    if given is not None:
        return given
    return next(filter(None, (class_names_of(some, n_classes) for some in data)), None)


def _code(split: SplitModel, precision: str) -> Code | None:
    """Return the code of the split's latent; None if it is sent as it is."""
    code = split.bottleneck_code
    if code is None:
        return None
    if precision != "int8":
        raise ArgumentError(
            f"A coded latent is the int8 output of the head: precision must be 'int8'. Received: {precision!r}. "
            "Possible: a bottleneck that does not code its latent."
        )
    if code.shape != tuple(split.latent_shape):
        raise ArgumentError(f"The code is of latents {code.shape}. Expected: {tuple(split.latent_shape)}.")
    return code


def _check_weights(split: SplitModel) -> None:
    """Check that all weights are finite: a ReLU may hide NaN in Keras, but not in LiteRT."""
    for weight in split.model.weights:
        value = np.asarray(weight)
        if value.dtype.kind in "fV" and not np.isfinite(value.astype(np.float32)).all():
            raise NumericsError(
                f"Weight '{weight.path}' holds NaN or infinity: the model cannot be exported like that."
            )


def _packed_bits(split: SplitModel, precision: str) -> int | None:
    """Return how many bits of each integer of the head's output are sent; None for all."""
    bits = split.latent_bits
    if bits is None:
        return None
    if precision not in QUANTIZED:
        raise ArgumentError(
            f"A latent of {bits} bits is sent as the highest bits of integers: precision must be "
            f"{' or '.join(map(repr, QUANTIZED))}. Received: {precision!r}. Possible: a bottleneck without latent_bits."
        )
    if not is_observed(split.encoder):
        raise ArgumentError(
            f"The range of the latent of {bits} bits was not observed yet. isplit_tf.train does so between its phases, "
            "also with bottleneck_epochs=0 and fine_tune_epochs=0."
        )
    return wire.sent_bits(_OUTPUT_DTYPES[precision], bits)


def _fixed_shapes(split: SplitModel) -> dict[str, list[int]]:
    if len(split.head.inputs) != 1:
        raise ExportError(
            f"A model of one input can be exported. Found: {len(split.head.inputs)} inputs of '{split.model.name}'. "
            "Possible: a model of one input that takes it apart inside."
        )
    shapes = {
        "input": tuple(split.head.inputs[0].shape[1:]),
        "cut": tuple(split.cut.shape),
        "latent": tuple(split.latent_shape),
    }
    for role, shape in shapes.items():
        if not shape or None in shape:
            raise ExportError(
                f"A device needs fixed shapes. Found: {role} {shape} of '{split.model.name}'. Possible: the same "
                "model built with keras.Input of the size that the device will use."
            )
    return {role: [int(axis) for axis in shape] for role, shape in shapes.items()}


def _output(split: SplitModel, from_logits: bool | None, output_kind: str | None) -> Output:
    checked_word(output_kind, from_logits)
    if split.output is not None and from_logits is None and output_kind is None:
        return split.output
    loss = compiled_loss(split.model)
    return find_logits(split.program, loss=loss, from_logits=from_logits, output_kind=output_kind).output


def _cut_record(split: SplitModel) -> dict[str, Any]:
    cut = split.cut
    return {
        "name": cut.name,
        "index": cut.index,
        "layer_type": cut.layer_type,
        "shape": [int(axis) for axis in cut.shape if axis is not None],
        "size": cut.size,
    }


def _cost(split: SplitModel, part: keras.Model | None) -> dict[str, int]:
    if part is None:
        return {"params": 0, "macs": 0}
    # The ranges of a latent of few bits are folded into the layer before them.
    folded = sum(layer.count_params() for layer in roundings(part))
    return {"params": int(part.count_params() - folded), "macs": int(program_macs(split.read(part)))}


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that make an export."""
    return {
        "isplit_tf": __version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "ai_edge_litert": importlib.metadata.version("ai-edge-litert"),
        "python": platform.python_version(),
    }
