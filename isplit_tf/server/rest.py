"""TensorFlow Serving's REST API: from a request to the status and body of its answer, without sockets.

Status codes, bodies and messages of errors follow TensorFlow Serving, so that a client that handles the errors of one
server also handles those of the other.
"""

import json
import math
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from . import tensors
from .model import DEFAULT_SIGNATURE, Catalogue, ServedModel
from .refusal import (
    DEADLINE_EXCEEDED,
    INTERNAL,
    INVALID_ARGUMENT,
    NOT_FOUND,
    RESOURCE_EXHAUSTED,
    UNAVAILABLE,
    UNIMPLEMENTED,
    Refusal,
    cut,
)

HTTP_STATUS = {
    INVALID_ARGUMENT: 400,
    NOT_FOUND: 404,
    RESOURCE_EXHAUSTED: 429,
    INTERNAL: 500,
    UNIMPLEMENTED: 501,
    UNAVAILABLE: 503,
    DEADLINE_EXCEEDED: 504,
}
_WHICH = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_CALL = re.compile(rf"(?i)/v1/models/(?P<name>[^/:]+){_WHICH}:(?P<verb>classify|regress|predict)", re.ASCII)
_LOOK = re.compile(rf"(?i)/v1/models(?:/(?P<name>[^/:]+))?{_WHICH}(?:/(?P<metadata>metadata))?", re.ASCII)


@dataclass(frozen=True)
class Response:
    """The answer to a request: HTTP status and JSON body."""

    status: int
    body: bytes


def error_response(status: int, message: str) -> Response:
    """Return the answer for an error, with the message in a JSON body."""
    return Response(status, json.dumps({"error": cut(message)}).encode())


def handle(catalogue: Catalogue, method: str, target: str, body: bytes) -> Response:
    """Answer one request.

    Args:
        catalogue: The models.
        method: "GET", "POST", ...
        target: Path of the request, with the query if any.
        body: Body of the request; may be empty.

    Returns:
        The answer. A wrong request gives an error response and raises nothing.
    """
    path = urllib.parse.urlsplit(target).path if target.startswith("/") else target
    if not path.lower().startswith("/v1/"):
        return error_response(404, f"Not found: {method} {path}. The API begins with /v1/models/")
    try:
        return Response(200, _encoded(_dispatch(catalogue, method, path, body)))
    except Refusal as refusal:
        return error_response(HTTP_STATUS[refusal.code], refusal.message)
    except RecursionError:
        return error_response(400, "JSON Parse error: The document is nested too deeply.")


def _dispatch(catalogue: Catalogue, method: str, path: str, body: bytes) -> Any:
    match = {"POST": _CALL, "GET": _LOOK}[method].fullmatch(path) if method in ("POST", "GET") else None
    if match is None:
        raise _invalid(f"Malformed request: {method} {path}")
    if match["name"] is None:
        raise _invalid("Missing model name in request.")
    name = urllib.parse.unquote(match["name"])
    version = _version(match["version"])
    label = None if match["label"] is None else urllib.parse.unquote(match["label"])
    if method == "GET":
        look = _metadata if match["metadata"] else _status
        return look(catalogue, name, version, label)
    model = catalogue.find(name, version, label)
    verb = match["verb"].lower()
    if verb != "predict":
        raise _invalid(
            f"Expected {verb} signature method_name to be tensorflow/serving/{verb}. Was: tensorflow/serving/predict"
        )
    return _predict(model, body)


def _version(text: str | None) -> int | None:
    if text is None:
        return None
    if len(text) > 19 or int(text) >= 2**63:
        raise _invalid(f"Failed to convert version: {text} to numeric.")
    return int(text)


def _status(catalogue: Catalogue, name: str, version: int | None, label: str | None) -> Any:
    versions = catalogue.versions(name)
    if label is not None:
        version = catalogue.version_of_label(name, label)
    if version is not None:
        if version not in versions:
            raise Refusal(NOT_FOUND, f"Could not find version {version} of model {name}")
        versions = [version]
    ok = {"error_code": "OK", "error_message": ""}
    newest_first = sorted(versions, reverse=True)
    return {
        "model_version_status": [
            {"version": str(number), "state": "AVAILABLE", "status": ok} for number in newest_first
        ]
    }


def _metadata(catalogue: Catalogue, name: str, version: int | None, label: str | None) -> Any:
    model = catalogue.find(name, version, label)
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(model.version)},
        "metadata": {"signature_def": {"signature_def": model.signature_def()}},
    }


def _predict(model: ServedModel, body: bytes) -> Any:
    _check_size(model, body)
    document = _parsed(body)
    signature = document.get("signature_name", DEFAULT_SIGNATURE)
    if not isinstance(signature, str):
        raise _invalid(
            f"JSON Value: {tensors.shown(document)} not formatted correctly. 'signature_name' key must be a string "
            "value."
        )
    signature = signature or DEFAULT_SIGNATURE
    specs = model.inputs(signature)
    if "instances" in document and "inputs" in document:
        raise _malformed(
            document, "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        )
    if "instances" in document:
        inputs = _from_instances(document, specs, model.max_instances)
        return {"predictions": tensors.rows(model.predict(signature, inputs))}
    if "inputs" in document:
        inputs = _from_inputs(document["inputs"], specs, model.max_instances)
        return {"outputs": tensors.columns(model.predict(signature, inputs))}
    raise _invalid("Missing 'inputs' or 'instances' key")


def _check_size(model: ServedModel, body: bytes) -> None:
    """Refuse a body of more values than any request to the model has, by counting what stands before each of them.

    Parsed, a value takes up to a hundred times the memory and the time of its text.
    """
    values = sum(map(body.count, (b",", b"[", b"{")))
    if values > model.most_values:
        raise _invalid(
            f"The request has about {values} values, and {model.most_values} are possible: its task size is larger "
            f"than maximum input batch size {model.max_instances}"
        )


def _check_count(count: int, limit: int | None) -> None:
    if limit is not None and count > limit:
        raise _invalid(f"Task size {count} is larger than maximum input batch size {limit}")


def _parsed(body: bytes) -> dict[str, Any]:
    if not body:
        raise _invalid("JSON Parse error: The document is empty at offset: 0")
    try:
        document = json.loads(body.decode(), parse_float=_finite)
    except json.JSONDecodeError as error:
        raise _invalid(f"JSON Parse error: Invalid value. {error.msg} at offset: {error.pos}") from error
    except UnicodeDecodeError as error:
        raise _invalid(f"JSON Parse error: Invalid encoding in string. at offset: {error.start}") from error
    except ValueError as error:  # from `_finite`, or an integer with more digits than Python parses
        raise _invalid("JSON Parse error: Number too big to be stored in double.") from error
    if not isinstance(document, dict):
        raise _malformed(document, "Is not object")
    return document


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


def _from_instances(
    document: Mapping[str, Any], specs: Mapping[str, tf.TensorSpec], limit: int | None
) -> dict[str, np.ndarray]:
    """Read inputs in row format: a list with a value, or an object of named values, for each instance."""
    instances = document["instances"]
    if not isinstance(instances, list):
        raise _malformed(document, "Excepting 'instances' to be an list/array")
    if not instances:
        raise _malformed(document, "No values in 'instances' array")
    _check_count(len(instances), limit)
    named = _is_named(instances[0])
    if not named and len(specs) > 1:
        raise _invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    parts: dict[str, list[np.ndarray]] = {name: [] for name in specs}
    for index, instance in enumerate(instances):
        for name, part in _instance(index, instance, specs, named).items():
            if parts[name] and parts[name][0].shape != part.shape:
                raise _failed_element(index, f"Expecting shape {_written(parts[name][0])} but got: {_written(part)}")
            parts[name].append(part)
    return {name: np.stack(arrays) for name, arrays in parts.items()}


def _instance(index: int, instance: Any, specs: Mapping[str, tf.TensorSpec], named: bool) -> dict[str, np.ndarray]:
    if named != _is_named(instance):
        expected, got = ("object", "list") if named else ("value/list", "object")
        raise _invalid(f"Expecting {expected} but got {got} at item {index} of input list")
    values = instance if named else {next(iter(specs)): instance}
    if set(values) != set(specs):
        raise _invalid(
            f"Failed to process element: {index} of 'instances' list. JSON object: {tensors.shown(instance)} keys must "
            f"be equal to: {','.join(sorted(specs))}"
        )
    try:
        return {name: tensors.tensor(value, specs[name].dtype) for name, value in values.items()}
    except Refusal as refusal:
        raise _failed_element(index, f"{refusal.code}: {refusal.message}") from refusal


def _from_inputs(value: Any, specs: Mapping[str, tf.TensorSpec], limit: int | None) -> dict[str, np.ndarray]:
    """Read inputs in column format: one tensor, or an object of named tensors."""
    if not _is_named(value):
        if len(specs) > 1:
            raise _invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        value = {next(iter(specs)): value}
    missing = [name for name in specs if name not in value]
    if missing:
        raise _invalid(f"Missing named input: {missing[0]} in 'inputs' object.")
    for name in specs:
        _check_count(len(value[name]) if isinstance(value[name], list) else 1, limit)
    return {name: tensors.tensor(value[name], spec.dtype) for name, spec in specs.items()}


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not tensors.is_base64(value)


def _encoded(answer: Any) -> bytes:
    # NaN and infinities are written as bare tokens, as TensorFlow Serving writes them.
    return json.dumps(answer, allow_nan=True, separators=(",", ":")).encode()


def _failed_element(index: int, why: str) -> Refusal:
    return _invalid(f"Failed to process element: {index} of 'instances' list. Error: {why}")


def _malformed(document: Any, why: str) -> Refusal:
    return _invalid(f"JSON Value: {tensors.shown(document)} {why}")


def _invalid(message: str) -> Refusal:
    return Refusal(INVALID_ARGUMENT, message)


def _written(array: np.ndarray) -> str:
    return "[" + ",".join(map(str, array.shape)) + "]"
