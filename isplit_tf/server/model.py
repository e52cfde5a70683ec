"""Models that answer: signatures of a SavedModel, found by name and version, without any protocol."""

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from isplit_edge.manifest import Manifest

from ..errors import BundleError
from .batching import Batcher, Batching
from .models_config import MODELS_CONFIG, ModelsConfig
from .refusal import INTERNAL, INVALID_ARGUMENT, NOT_FOUND, RESOURCE_EXHAUSTED, UNAVAILABLE, Refusal

DEFAULT_SIGNATURE = "serving_default"
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
        directory: The SavedModel.
        name: As clients ask for it.
        version: The same.
        batching: How requests are joined, and how many instances one may have; each is run alone by default.

    Raises:
        BundleError: If the SavedModel cannot be loaded.
    """

    def __init__(self, directory: str | os.PathLike[str], name: str, version: int, *, batching: Batching | None = None):
        self.name = name
        self.version = version
        self.max_instances = None if batching is None else batching.max_size
        try:
            self._model = tf.saved_model.load(os.fspath(directory))
            record = saved_model_pb2.SavedModel.FromString((Path(directory) / "saved_model.pb").read_bytes())
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise BundleError(f"{directory} is not a SavedModel that can be loaded: {error}") from error
        self.definitions: Mapping[str, meta_graph_pb2.SignatureDef] = record.meta_graphs[0].signature_def
        self._batchers: dict[str, Batcher] = {}
        if batching is not None:
            for signature in self._model.signatures:
                self._batchers[signature] = Batcher(functools.partial(self._run, signature), batching)

    def inputs(self, signature: str) -> Mapping[str, tf.TensorSpec]:
        """The inputs of a signature by name, with dtype and shape.

        Raises:
            Refusal: INVALID_ARGUMENT, if there is no such signature.
        """
        return self._function(signature).structured_input_signature[1]

    def predict(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
            signature: Its name.
            inputs: An array for each of its inputs; arrays of bytes objects for strings.

        Returns:
            An array for each output.

        Raises:
            Refusal: INVALID_ARGUMENT for a wrong input; otherwise what TensorFlow gives as the code.
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
        """Runs what waits to be joined; the model answers as before, each request alone."""
        for batcher in self._batchers.values():
            batcher.close()

    def signature_def(self) -> dict[str, Any]:
        """The signatures as TensorFlow Serving's metadata shows them."""
        return {name: _as_json(one) for name, one in sorted(self.definitions.items())}

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
    """The models that a server has; they may be replaced while it answers.

    Args:
        models: Versions of one model or of several.
        labels: For a model's name, versions by label.
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
        """The tail of a bundle, as the one version of the one model, with the labels of its models.config by default.

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
        """The models by name and version."""
        return dict(self._models)

    def replace(self, models: Sequence[ServedModel], labels: Mapping[str, Mapping[str, int]] | None = None) -> None:
        """Has other models from now on; requests that found theirs already are answered by it."""
        # One assignment each: readers see the old ones or the new ones, and labels lead to versions that are there.
        self._models, self._labels = {(model.name, model.version): model for model in models}, labels or {}

    def close(self) -> None:
        """Ends what works for the models in the background."""
        for model in self._models.values():
            model.close()

    def versions(self, name: str) -> list[int]:
        """The versions of a model.

        Raises:
            Refusal: NOT_FOUND, if there is no such model.
        """
        found = sorted(version for model, version in self.models if model == name)
        if not found:
            raise Refusal(NOT_FOUND, f"Could not find any versions of model {name}")
        return found

    def find(self, name: str, version: int | None = None, label: str | None = None) -> ServedModel:
        """The version that was asked for, or the newest.

        Raises:
            Refusal: NOT_FOUND for a model or a version, INVALID_ARGUMENT for a label that is not there.
        """
        models = self._models
        known = [number for model, number in models if model == name]
        wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
        if label is not None:
            version = self.version_of_label(name, label)
        elif version is None and known:
            version = max(known)
        if version is None or (name, version) not in models:
            raise Refusal(NOT_FOUND, f"Servable not found for request: {wanted}")
        return models[name, version]

    def version_of_label(self, name: str, label: str) -> int:
        """The version that a label stands for.

        Raises:
            Refusal: INVALID_ARGUMENT, if there is no such label.
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
