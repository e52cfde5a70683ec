"""Models of the server: signatures of SavedModels, found by name and version, independent of any protocol."""

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from isplit_edge.files import BAD_FILE, open_plain
from isplit_edge.manifest import Manifest

from ..errors import BundleError
from .batching import Batcher, Batching
from .models_config import MODELS_CONFIG, ModelsConfig
from .refusal import INTERNAL, INVALID_ARGUMENT, NOT_FOUND, RESOURCE_EXHAUSTED, UNAVAILABLE, Refusal

DEFAULT_SIGNATURE = "serving_default"
# Values of JSON in a request to a model that does not tell the size of its inputs, and beside those of the inputs.
_ANY_VALUES, _SPARE_VALUES = 1 << 22, 1 << 10
# TensorFlow's reader of SavedModels meets damage with whatever error the place happens to give.
_NOT_LOADED = (*BAD_FILE, AssertionError, BufferError, DecodeError, tf.errors.OpError)
_CODES = {
    tf.errors.INVALID_ARGUMENT: INVALID_ARGUMENT,
    tf.errors.OUT_OF_RANGE: INVALID_ARGUMENT,
    tf.errors.FAILED_PRECONDITION: INVALID_ARGUMENT,
    tf.errors.RESOURCE_EXHAUSTED: RESOURCE_EXHAUSTED,
    tf.errors.UNAVAILABLE: UNAVAILABLE,
}


class ServedModel:
    """One version of a model.

    Args:
        directory: The folder of the SavedModel.
        name: Name of the model, as clients ask for it.
        version: Version number, as clients ask for it.
        batching: How requests are joined, and how many instances a request may have; by default each is run alone.

    Raises:
        BundleError: If the SavedModel cannot be loaded.
    """

    def __init__(self, directory: str | os.PathLike[str], name: str, version: int, *, batching: Batching | None = None):
        self.name = name
        self.version = version
        self.max_instances = None if batching is None else batching.max_size
        try:
            for path in Path(directory).rglob("*"):
                if not path.is_dir():
                    open_plain(path).close()  # TensorFlow would wait for a pipe without end
            self._model = tf.saved_model.load(os.fspath(directory))
            record = saved_model_pb2.SavedModel.FromString((Path(directory) / "saved_model.pb").read_bytes())
            self.definitions: Mapping[str, meta_graph_pb2.SignatureDef] = record.meta_graphs[0].signature_def
        except _NOT_LOADED as error:
            raise BundleError(
                f"{directory} is not a SavedModel that can be loaded: {str(error) or type(error).__name__}"
            ) from error
        self.most_values = self._most_values()
        self._batchers: dict[str, Batcher] = {}
        if batching is not None:
            for signature in self._model.signatures:
                self._batchers[signature] = Batcher(functools.partial(self._run, signature), batching)

    def inputs(self, signature: str) -> Mapping[str, tf.TensorSpec]:
        """Return the inputs of a signature by name, with dtype and shape.

        Raises:
            Refusal: If there is no such signature (INVALID_ARGUMENT).
        """
        return self._function(signature).structured_input_signature[1]

    def predict(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run a signature.

        Args:
            signature: Name of the signature.
            inputs: An array for each of its inputs; arrays of bytes objects for strings.

        Returns:
            An array for each output.

        Raises:
            Refusal: If an input is wrong (INVALID_ARGUMENT), or TensorFlow fails (with TensorFlow's code).
        """
        specs = self.inputs(signature)
        if set(inputs) != set(specs):
            raise Refusal(
                INVALID_ARGUMENT,
                f"input size does not match signature: {len(inputs)}!={len(specs)} len({{{','.join(inputs)}}}) != "
                f"len({{{','.join(specs)}}}).",
            )
        for name, spec in specs.items():
            if not spec.shape.is_compatible_with(inputs[name].shape):
                raise Refusal(
                    INVALID_ARGUMENT,
                    f"Tensor {name} has shape {_written(inputs[name].shape)}, which does not fit the signature's "
                    f"{_written(spec.shape)}",
                )
        batcher = self._batchers.get(signature)
        return self._run(signature, inputs) if batcher is None else batcher.submit(inputs)

    def close(self) -> None:
        """Run the requests that wait to be joined; later requests are still answered, one by one."""
        for batcher in self._batchers.values():
            batcher.close()

    def signature_def(self) -> dict[str, Any]:
        """Return the signatures in the form of TensorFlow Serving's metadata."""
        return {name: _as_json(definition) for name, definition in sorted(self.definitions.items())}

    def _most_values(self) -> int:
        """Return a limit on the number of values that a request in JSON has."""
        most = _ANY_VALUES
        if self.max_instances is not None:
            sizes = [self._values(specs) for specs in map(self.inputs, self._model.signatures)]
            known = [size for size in sizes if size is not None]
            if len(known) == len(sizes):
                most = min(most, _SPARE_VALUES + self.max_instances * max(known, default=0))
        return most

    @staticmethod
    def _values(specs: Mapping[str, tf.TensorSpec]) -> int | None:
        """Return a limit on the values of one instance, brackets and names included; None if a size is not known."""
        sizes = [spec.shape[1:].num_elements() if spec.shape.rank else None for spec in specs.values()]
        return None if None in sizes else sum(4 + 2 * size for size in sizes if size is not None)

    def _run(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        function, specs = self._function(signature), self.inputs(signature)
        try:
            outputs = function(**{name: tf.constant(inputs[name], spec.dtype) for name, spec in specs.items()})
        except tf.errors.OpError as error:
            raise Refusal(_CODES.get(error.error_code, INTERNAL), error.message) from error
        return {name: value.numpy() for name, value in outputs.items()}

    def _function(self, signature: str) -> Any:
        if signature not in self._model.signatures:
            raise Refusal(INVALID_ARGUMENT, f'Serving signature name: "{signature}" not found in signature def')
        return self._model.signatures[signature]


class Catalogue:
    """The models of a server; they may be replaced while it answers.

    Args:
        models: Versions of one or several models.
        labels: For each model name, versions by label.
    """

    def __init__(self, models: Sequence[ServedModel], labels: Mapping[str, Mapping[str, int]] | None = None):
        self.replace(models, labels)

    @classmethod
    def of_bundle(
        cls,
        directory: str | os.PathLike[str],
        labels: Mapping[str, int] | None = None,
        *,
        batching: Batching | None = None,
    ) -> "Catalogue":
        """Return a catalogue with the tail of a bundle as its only model.

        Args:
            directory: The bundle.
            labels: Versions by label; by default those of the bundle's `models.config`.
            batching: How requests are joined; by default each is run alone.

        Raises:
            BundleError: If the bundle is incomplete, was changed, or has a newer format.
        """
        manifest = Manifest.load(directory, check=("serving",))
        name, version = manifest.model_name, manifest.version
        serving = Path(directory) / "serving"
        if labels is None and (serving / MODELS_CONFIG).is_file():
            entry = ModelsConfig.parse((serving / MODELS_CONFIG).read_text()).find(name)
            labels = None if entry is None else entry.labels
        model = ServedModel(serving / name / str(version), name, version, batching=batching)
        return cls([model], {name: dict(labels or {})})

    @property
    def models(self) -> dict[tuple[str, int], ServedModel]:
        """Return the models by name and version."""
        return dict(self._models)

    def labels(self, name: str) -> dict[str, int]:
        """Return the versions of a model by label."""
        return dict(self._labels.get(name, {}))

    def replace(self, models: Sequence[ServedModel], labels: Mapping[str, Mapping[str, int]] | None = None) -> None:
        """Replace all models and labels; requests that have already found their model are still answered by it."""
        # One assignment each, models first: readers see the old or the new ones, and labels refer to existing versions.
        self._models, self._labels = {(model.name, model.version): model for model in models}, labels or {}

    def close(self) -> None:
        """Stop the background threads of the models."""
        for model in self._models.values():
            model.close()

    def versions(self, name: str) -> list[int]:
        """Return the versions of a model, in ascending order.

        Raises:
            Refusal: If there is no such model (NOT_FOUND).
        """
        versions = sorted(version for model, version in self.models if model == name)
        if not versions:
            raise Refusal(NOT_FOUND, f"Could not find any versions of model {name}")
        return versions

    def find(self, name: str, version: int | None = None, label: str | None = None) -> ServedModel:
        """Return the version with this number or label; the newest if neither is given.

        Raises:
            Refusal: If there is no such model or version (NOT_FOUND), or no such label (INVALID_ARGUMENT).
        """
        models = self._models
        versions = [number for model, number in models if model == name]
        request = f"Latest({name})" if version is None else f"Specific({name}, {version})"
        if label is not None:
            version = self.version_of_label(name, label)
        elif version is None and versions:
            version = max(versions)
        if version is None or (name, version) not in models:
            raise Refusal(NOT_FOUND, f"Servable not found for request: {request}")
        return models[name, version]

    def version_of_label(self, name: str, label: str) -> int:
        """Return the version that a label refers to.

        Raises:
            Refusal: If there is no such label (INVALID_ARGUMENT).
        """
        labels = self._labels.get(name, {})
        if label not in labels:
            raise Refusal(INVALID_ARGUMENT, f"Unrecognized servable version label: {label}")
        return labels[label]


def _as_json(signature: meta_graph_pb2.SignatureDef) -> dict[str, Any]:
    return json_format.MessageToDict(
        signature, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _written(shape: Any) -> str:
    return "[" + ",".join("?" if axis is None else str(axis) for axis in tuple(shape)) + "]"
