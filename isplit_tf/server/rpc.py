"""The gRPC port: TensorFlow Serving's services, answered from the catalogue.

Only this module of the server needs grpcio and tensorflow-serving-api.
"""

import asyncio
import functools
import math
import urllib.parse
from collections.abc import Callable, Mapping
from concurrent import futures
from typing import Any, NoReturn

import grpc
import grpc.aio
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
    predict_pb2,
    regression_pb2,
)

from .crowd import Crowd, Place, group_of
from .loop import event_loop, run_there
from .model import DEFAULT_SIGNATURE, Catalogue, ServedModel
from .refusal import (
    DEADLINE_EXCEEDED,
    INTERNAL,
    INVALID_ARGUMENT,
    NOT_FOUND,
    RESOURCE_EXHAUSTED,
    UNIMPLEMENTED,
    Refusal,
)

_AVAILABLE = get_model_status_pb2.ModelVersionStatus.AVAILABLE
_METADATA_FIELD = "signature_def"
_WORKERS = 64
_MOST_CALLS, _MOST_OF_ONE_ADDRESS = 512, 384
_MOST_CONNECTIONS = 4096
_MOST_STREAMS = 128
Serve = Callable[[Catalogue, Any], Any]


class GrpcPort:
    """The port that listens for gRPC calls, which take no thread until their message is there.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 for any free one.
        catalogue: The models.
        max_message_bytes: Longer requests are refused.
        timeout_s: Seconds within which the message of a call, and its answer, have each to be there, and after which an
            idle connection is closed.

    Raises:
        RuntimeError: If the address and port cannot be listened on.
    """

    def __init__(self, host: str, port: int, catalogue: Catalogue, max_message_bytes: int, timeout_s: float = 30.0):
        self._started = False
        self._catalogue, self._timeout_s = catalogue, timeout_s
        self._crowd = Crowd(_MOST_CALLS, _MOST_OF_ONE_ADDRESS)
        self._workers = futures.ThreadPoolExecutor(_WORKERS, thread_name_prefix="isplit-grpc")
        shown = f"[{host}]" if ":" in host else host
        self._server, self.port = run_there(self._open(f"{shown}:{port}", max_message_bytes))

    async def _open(self, address: str, max_message_bytes: int) -> tuple[grpc.aio.Server, int]:
        timeout_ms = max(1, int(1000 * self._timeout_s))
        options = [
            ("grpc.so_reuseport", 0),  # a port in use is an error
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.max_concurrent_streams", _MOST_STREAMS),
            ("grpc.max_allowed_incoming_connections", _MOST_CONNECTIONS),
            ("grpc.max_connection_idle_ms", timeout_ms),
            ("grpc.server_handshake_timeout_ms", timeout_ms),
        ]
        server = grpc.aio.server(options=options)
        server.add_generic_rpc_handlers((self._service("PredictionService"), self._service("ModelService")))
        port = server.add_insecure_port(address)
        if not port:
            raise RuntimeError("the address cannot be listened on")
        return server, port

    def start(self) -> None:
        """Start answering calls, unless already started."""
        if not self._started:
            self._started = True
            run_there(self._server.start())

    def stop(self, grace_s: float) -> futures.Future[None]:
        """Accept no more calls and give those in progress `grace_s` seconds to end.

        Returns:
            What is done when all calls have ended.
        """
        return asyncio.run_coroutine_threadsafe(self._stop(grace_s), event_loop())

    async def _stop(self, grace_s: float) -> None:
        for call in self._crowd:
            if not call.busy:
                call.end()
        await self._server.stop(grace_s)
        self._workers.shutdown(wait=False, cancel_futures=True)

    def _service(self, name: str) -> Any:
        handlers = {method: self._handler(kind, serve) for method, (kind, serve) in _CALLS[name].items()}
        return grpc.method_handlers_generic_handler(f"tensorflow.serving.{name}", handlers)

    def _handler(self, kind: Any, serve: Serve) -> Any:
        # On the wire a stream of one message is a message; only of a stream can be told how long it may be waited for.
        async def answer(messages: Any, context: Any) -> bytes:
            try:
                return await self._answered(kind, serve, messages, context)
            except Refusal as refusal:
                await context.abort(getattr(grpc.StatusCode, refusal.code), refusal.message)
                raise  # not reached, since `abort` raises

        return grpc.stream_unary_rpc_method_handler(answer)

    async def _answered(self, kind: Any, serve: Serve, messages: Any, context: Any) -> bytes:
        message = asyncio.ensure_future(anext(messages))
        call = Place(group_of(_address(context.peer())), message.cancel)
        if not self._crowd.enter(call):
            message.cancel()
            raise Refusal(RESOURCE_EXHAUSTED, "Too many calls are busy here")
        try:
            content = await self._message(message)
            call.busy = True
            work = functools.partial(self._work, kind, serve, content)
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.get_running_loop().run_in_executor(self._workers, work)
        except TimeoutError:
            what = "The answer" if call.busy else "The message of the call"
            raise Refusal(DEADLINE_EXCEEDED, f"{what} took more than {self._timeout_s:g} s") from None
        finally:
            self._crowd.leave(call)

    async def _message(self, message: asyncio.Future[bytes]) -> bytes:
        try:
            async with asyncio.timeout(self._timeout_s):
                await asyncio.wait([message])
        finally:
            message.cancel()
        if message.cancelled():
            raise Refusal(RESOURCE_EXHAUSTED, "The call made room for others, since its message did not come")
        try:
            return message.result()
        except StopAsyncIteration:
            raise Refusal(INTERNAL, "The call has no message") from None

    def _work(self, kind: Any, serve: Serve, content: bytes) -> bytes:
        try:
            request = kind.FromString(content)
        except DecodeError:
            raise Refusal(INTERNAL, f"The request is no message of type {kind.DESCRIPTOR.name}") from None
        return serve(self._catalogue, request).SerializeToString()


def _address(peer: str) -> str:
    """Return the address in gRPC's name of a peer, such as "ipv4:127.0.0.1:5000" or "ipv6:%5B::1%5D:5000"."""
    return urllib.parse.unquote(peer.partition(":")[2].rpartition(":")[0]).strip("[]")


def _refuse_signature(verb: str) -> Serve:
    """Return the answer to a call for a signature that a tail does not have."""

    def serve(catalogue: Catalogue, request: Any) -> NoReturn:
        _find(catalogue, request.model_spec)
        raise Refusal(
            INVALID_ARGUMENT,
            f"Expected {verb} signature method_name to be tensorflow/serving/{verb}. Was: tensorflow/serving/predict",
        )

    return serve


def _refuse_call(message: str) -> Serve:
    def serve(catalogue: Catalogue, request: Any) -> NoReturn:
        raise Refusal(UNIMPLEMENTED, message)

    return serve


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
    if len(tensor.string_val) > math.prod(shape):
        raise Refusal(
            INVALID_ARGUMENT, f"Tensor {name} cannot be read: {len(tensor.string_val)} values for {list(shape)}"
        )
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


def _status(catalogue: Catalogue, request: Any) -> Any:
    spec = request.model_spec
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


_CALLS: Mapping[str, Mapping[str, tuple[Any, Serve]]] = {
    "PredictionService": {
        "Predict": (predict_pb2.PredictRequest, _predict),
        "GetModelMetadata": (get_model_metadata_pb2.GetModelMetadataRequest, _metadata),
        "Classify": (classification_pb2.ClassificationRequest, _refuse_signature("classify")),
        "Regress": (regression_pb2.RegressionRequest, _refuse_signature("regress")),
        "MultiInference": (
            inference_pb2.MultiInferenceRequest,
            _refuse_call("MultiInference is for models with classify or regress signatures"),
        ),
    },
    "ModelService": {
        "GetModelStatus": (get_model_status_pb2.GetModelStatusRequest, _status),
        "HandleReloadConfigRequest": (
            model_management_pb2.ReloadConfigRequest,
            _refuse_call("The models are changed by their models.config, not over the network"),
        ),
    },
}
