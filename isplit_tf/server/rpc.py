"""The gRPC port: TensorFlow Serving's services, answered from the catalogue.

Only this module of the server needs grpcio and tensorflow-serving-api.
"""

import threading
from collections.abc import Mapping
from concurrent import futures
from typing import Any, NoReturn

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from .model import DEFAULT_SIGNATURE, Catalogue, ServedModel
from .refusal import INTERNAL, INVALID_ARGUMENT, NOT_FOUND, UNIMPLEMENTED, Refusal

_AVAILABLE = get_model_status_pb2.ModelVersionStatus.AVAILABLE
_METADATA_FIELD = "signature_def"
_CALLS = {
    "Predict": predict_pb2.PredictRequest,
    "GetModelMetadata": get_model_metadata_pb2.GetModelMetadataRequest,
    "Classify": classification_pb2.ClassificationRequest,
    "Regress": regression_pb2.RegressionRequest,
    "MultiInference": inference_pb2.MultiInferenceRequest,
}
_MODEL_CALLS = {
    "GetModelStatus": get_model_status_pb2.GetModelStatusRequest,
    "HandleReloadConfigRequest": model_management_pb2.ReloadConfigRequest,
}
_WORKERS = 64
_MOST_CALLS = 512


class GrpcPort:
    """The port that listens for gRPC calls.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 for any free one.
        catalogue: The models.
        max_message_bytes: Longer requests are refused.

    Raises:
        RuntimeError: If the address and port cannot be listened on.
    """

    def __init__(self, host: str, port: int, catalogue: Catalogue, max_message_bytes: int):
        self._started = False
        self._server = grpc.server(
            futures.ThreadPoolExecutor(_WORKERS, thread_name_prefix="isplit-grpc"),
            maximum_concurrent_rpcs=_MOST_CALLS,
            options=[
                ("grpc.so_reuseport", 0),  # a port in use is an error
                ("grpc.max_receive_message_length", max_message_bytes),
            ],
        )
        self._server.add_generic_rpc_handlers(
            (
                _service("PredictionService", _Prediction(catalogue), _CALLS),
                _service("ModelService", _Models(catalogue), _MODEL_CALLS),
            )
        )
        shown = f"[{host}]" if ":" in host else host
        self.port = self._server.add_insecure_port(f"{shown}:{port}")
        if not self.port:
            raise RuntimeError("the address cannot be listened on")

    def start(self) -> None:
        """Start answering calls, unless already started."""
        if not self._started:
            self._started = True
            self._server.start()

    def stop(self, grace_s: float) -> threading.Event:
        """Accept no more calls and give those in progress `grace_s` seconds to end.

        Returns:
            An event that is set when all calls have ended.
        """
        return self._server.stop(grace_s)


def _service(name: str, servicer: Any, calls: Mapping[str, Any]) -> Any:
    """Return the handlers of a service; they parse messages, since grpcio would log a traceback for malformed ones."""

    def handler(method: str, kind: Any) -> Any:
        def answer(content: bytes, context: Any) -> bytes:
            try:
                request = kind.FromString(content)
            except DecodeError:
                _abort(context, Refusal(INTERNAL, f"The request is no message of type {kind.DESCRIPTOR.name}"))
            return getattr(servicer, method)(request, context).SerializeToString()

        return grpc.unary_unary_rpc_method_handler(answer)

    handlers = {method: handler(method, kind) for method, kind in calls.items()}
    return grpc.method_handlers_generic_handler(f"tensorflow.serving.{name}", handlers)


class _Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, catalogue: Catalogue):
        self._catalogue = catalogue

    def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Run a signature."""
        try:
            return _predict(self._catalogue, request)
        except Refusal as refusal:
            _abort(context, refusal)

    def GetModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Return the signatures of a version."""
        try:
            return _metadata(self._catalogue, request)
        except Refusal as refusal:
            _abort(context, refusal)

    def Classify(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Refuse the call: a tail has no classify signature."""
        self._refuse(request.model_spec, context, "classify")

    def Regress(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Refuse the call: a tail has no regress signature."""
        self._refuse(request.model_spec, context, "regress")

    def MultiInference(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Refuse the call: a tail has neither classify nor regress signatures."""
        _abort(context, Refusal(UNIMPLEMENTED, "MultiInference is for models with classify or regress signatures"))

    def _refuse(self, spec: Any, context: Any, verb: str) -> NoReturn:
        try:
            _find(self._catalogue, spec)
        except Refusal as refusal:
            _abort(context, refusal)
        message = (
            f"Expected {verb} signature method_name to be tensorflow/serving/{verb}. Was: tensorflow/serving/predict"
        )
        _abort(context, Refusal(INVALID_ARGUMENT, message))


class _Models(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, catalogue: Catalogue):
        self._catalogue = catalogue

    def GetModelStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Return the state of the versions of a model."""
        try:
            return _status(self._catalogue, request.model_spec)
        except Refusal as refusal:
            _abort(context, refusal)

    def HandleReloadConfigRequest(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Refuse the call: the list of models is read from a file."""
        _abort(context, Refusal(UNIMPLEMENTED, "The models are changed by their models.config, not over the network"))


def _abort(context: Any, refusal: Refusal) -> NoReturn:
    context.abort(getattr(grpc.StatusCode, refusal.code), refusal.message)
    raise refusal  # not reached, since `abort` raises


def _find(catalogue: Catalogue, spec: Any) -> ServedModel:
    if not spec.name:
        raise Refusal(INVALID_ARGUMENT, "Model spec has no name specified.")
    version = spec.version.value if spec.HasField("version") else None
    return catalogue.find(spec.name, version, spec.version_label or None)


def _predict(catalogue: Catalogue, request: Any) -> Any:
    spec = request.model_spec
    model = _find(catalogue, spec)
    signature = spec.signature_name or DEFAULT_SIGNATURE
    specs = model.inputs(signature)
    inputs = {name: _array(name, proto, specs.get(name), model.max_instances) for name, proto in request.inputs.items()}
    outputs = model.predict(signature, inputs)
    requested = list(request.output_filter) or list(outputs)
    for name in requested:
        if name not in outputs:
            raise Refusal(
                INVALID_ARGUMENT,
                f"output tensor alias not found in signature: {name} Outputs expected to be in the set "
                f"{{{','.join(sorted(outputs))}}}.",
            )
    answer = predict_pb2.PredictResponse()
    answer.model_spec.name, answer.model_spec.signature_name = model.name, signature
    answer.model_spec.version.value = model.version
    for name in requested:
        answer.outputs[name].CopyFrom(tf.make_tensor_proto(outputs[name]))
    return answer


def _array(name: str, tensor: Any, spec: tf.TensorSpec | None, limit: int | None) -> np.ndarray:
    """Return a tensor of a request as an array, after checking dtype and shape against the signature.

    A malformed request may claim a shape far larger than its data, so the shape is checked before memory is allocated.
    """
    if spec is None:
        return np.zeros(0)  # the signature has no such input: `predict` refuses its name
    if tensor.dtype != spec.dtype.as_datatype_enum:
        dtype = types_pb2.DataType.Name(tensor.dtype) if tensor.dtype in types_pb2.DataType.values() else tensor.dtype
        raise Refusal(INVALID_ARGUMENT, f"Expects {name} to be {spec.dtype.name} but {dtype} is provided")
    return _values(name, tensor, spec, limit)


def _values(name: str, tensor: Any, spec: tf.TensorSpec, limit: int | None) -> np.ndarray:
    shape = tuple(axis.size for axis in tensor.tensor_shape.dim)
    valid = not tensor.tensor_shape.unknown_rank and all(axis >= 0 for axis in shape)
    if not valid or not spec.shape.is_compatible_with(shape):
        raise Refusal(INVALID_ARGUMENT, f"Tensor {name} has shape {list(shape)}, which does not fit {spec.shape}")
    if limit is not None and shape and shape[0] > limit:
        raise Refusal(INVALID_ARGUMENT, f"Task size {shape[0]} is larger than maximum input batch size {limit}")
    try:
        return tf.make_ndarray(tensor)
    except (TypeError, ValueError) as error:
        raise Refusal(INVALID_ARGUMENT, f"Tensor {name} cannot be read: {error}") from error


def _metadata(catalogue: Catalogue, request: Any) -> Any:
    if not request.metadata_field:
        raise Refusal(INVALID_ARGUMENT, "GetModelMetadataRequest must specify at least one metadata_field")
    for name in request.metadata_field:
        if name != _METADATA_FIELD:
            raise Refusal(INVALID_ARGUMENT, f"Metadata field {name} is not supported")
    model = _find(catalogue, request.model_spec)
    answer = get_model_metadata_pb2.GetModelMetadataResponse()
    answer.model_spec.name, answer.model_spec.version.value = model.name, model.version
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, definition in model.definitions.items():
        signatures.signature_def[name].CopyFrom(definition)
    answer.metadata[_METADATA_FIELD].Pack(signatures)
    return answer


def _status(catalogue: Catalogue, spec: Any) -> Any:
    versions: Mapping[int, None] = dict.fromkeys(sorted(catalogue.versions(spec.name), reverse=True))
    version = spec.version.value if spec.HasField("version") else None
    if spec.version_label:
        version = catalogue.version_of_label(spec.name, spec.version_label)
    if version is not None:
        if version not in versions:
            raise Refusal(NOT_FOUND, f"Could not find version {version} of model {spec.name}")
        versions = {version: None}
    answer = get_model_status_pb2.GetModelStatusResponse()
    for number in versions:
        answer.model_version_status.add(version=number, state=_AVAILABLE).status.error_code = 0
    return answer
