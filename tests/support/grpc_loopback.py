"""A small gRPC server on the loopback, of TensorFlow Serving's own stubs, that answers or fails as told."""

from collections import deque
from collections.abc import Callable
from concurrent import futures

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from isplit_edge.manifest import Manifest
from support.loopback import tail


class GrpcLoopback(prediction_service_pb2_grpc.PredictionServiceServicer, model_service_pb2_grpc.ModelServiceServicer):
    """Serves one version of a bundle's tail, computed by the wire format's reference implementation.

    Attributes:
        faults: Each call takes the next one, which gets the request and the context; what it returns is the answer,
            unless it is None.
        seen: (method, version, number of payloads) of each call, in order.
        metadata: Of the last call.
    """

    def __init__(self, manifest: Manifest, *, state: int = 30, as_bytes: bool = False, port: int = 0, certificate=None):
        self.manifest, self.state, self.as_bytes = manifest, state, as_bytes
        self.faults: deque[Callable | None] = deque()
        self.seen: list[tuple[str, int, int]] = []
        self.metadata: dict[str, str] = {}
        self._server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(self, self._server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(self, self._server)
        if certificate is None:
            self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        else:
            both = certificate.read_bytes()
            credentials = grpc.ssl_server_credentials([(both, both)])
            self.port = self._server.add_secure_port(f"127.0.0.1:{port}", credentials)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"grpc://127.0.0.1:{self.port}"

    def Predict(self, request, context):  # noqa: N802
        """Answers as a tail does."""
        payloads = tf.make_ndarray(request.inputs["payload"]).tolist() if request.inputs else []
        done = self._begin("Predict", request, context, len(payloads))
        if done is not None:
            return done
        manifest = self.manifest
        rows = [manifest.form.unpack(one) for one in payloads]
        nothing = np.full(manifest.n_classes, np.nan)
        probabilities = np.array([nothing if latent is None else tail(latent, manifest) for _, latent in rows])
        answer = predict_pb2.PredictResponse()
        self._put(answer, "probabilities", probabilities.astype(np.float32).reshape(len(rows), manifest.n_classes))
        self._put(answer, "status", np.array([status for status, _ in rows], np.int32))
        return answer

    def GetModelStatus(self, request, context):  # noqa: N802
        """The one version, in the state told."""
        done = self._begin("GetModelStatus", request, context, 0)
        if done is not None:
            return done
        answer = get_model_status_pb2.GetModelStatusResponse()
        answer.model_version_status.add(version=self.manifest.version, state=self.state)
        return answer

    def _begin(self, method, request, context, count):
        spec = request.model_spec
        self.seen.append((method, spec.version.value, count))
        self.metadata = dict(context.invocation_metadata())
        fault = self.faults.popleft() if self.faults else None
        if fault is not None and (done := fault(request, context)) is not None:
            return done
        known = spec.name == self.manifest.model_name
        if not known or (spec.HasField("version") and spec.version.value != self.manifest.version):
            context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: Specific({spec.name})")
        return None

    def _put(self, answer, name, array):
        # TensorFlow Serving writes either form, as its options say.
        tensor = tf.make_tensor_proto(array)
        if self.as_bytes:
            tensor = tf.make_tensor_proto(array.tolist(), array.dtype, array.shape)
            tensor.ClearField("float_val")
            tensor.ClearField("int_val")
            tensor.tensor_content = array.tobytes()
        elif array.dtype == np.float32:
            tensor.ClearField("tensor_content")
            tensor.float_val[:] = array.reshape(-1).tolist()
        else:
            tensor.ClearField("tensor_content")
            tensor.int_val[:] = array.reshape(-1).tolist()
        answer.outputs[name].CopyFrom(tensor)

    def __enter__(self):
        self._server.start()
        return self

    def __exit__(self, *error):
        self._server.stop(None).wait()
