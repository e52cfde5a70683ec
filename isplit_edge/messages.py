"""The few messages of TensorFlow Serving's gRPC API that a device sends and reads, as protocol buffers. Pure.

A device needs no TensorFlow and no generated classes for them: a request has four fields, an answer two tensors. Every
length in a server's message is checked; unknown fields are skipped, as the format demands.
"""

import math
import struct
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from .errors import ServerError

DT_FLOAT, DT_INT32, DT_STRING = 1, 3, 7
STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
_DTYPES = {DT_FLOAT: np.dtype("<f4"), DT_INT32: np.dtype("<i4")}
_FLOAT_VAL, _INT_VAL = 5, 7
# Limits of what a few bytes of a server may claim, for callers that set none of their own.
_MOST_ELEMENTS = 1 << 20
_MOST_AXES = 8
_MOST_OUTPUTS = 64

Value = int | bytes


def field(number: int, content: bytes) -> bytes:
    """Return a field whose content has a length: a string, bytes, or a message."""
    return varint(number << 3 | _BYTES) + varint(len(content)) + content


def integer_field(number: int, value: int) -> bytes:
    """Return a field that holds an integer of at least 0."""
    return varint(number << 3 | _VARINT) + varint(value)


def varint(value: int) -> bytes:
    """Return an integer of at least 0 as 7 bits per byte."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def model_spec(name: str, version: int | None = None, signature: str = "") -> bytes:
    """Return a `ModelSpec`: the name of a model, its version, and one of its signatures."""
    parts = field(1, name.encode())
    if version is not None:
        parts += field(2, integer_field(1, version))
    return parts + (field(3, signature.encode()) if signature else b"")


def string_tensor(strings: Sequence[bytes]) -> bytes:
    """Return a `TensorProto` of strings, of rank 1."""
    shape = field(2, integer_field(1, len(strings)))
    return integer_field(1, DT_STRING) + field(2, shape) + b"".join(field(8, one) for one in strings)


def predict_request(spec: bytes, input_name: str, strings: Sequence[bytes]) -> bytes:
    """Return a `PredictRequest` with one tensor of strings.

    Args:
        spec: The result of `model_spec`.
        input_name: Name of the signature's input.
        strings: Any bytes.

    Returns:
        The message.
    """
    return field(1, spec) + field(2, field(1, input_name.encode()) + field(2, string_tensor(strings)))


def read_outputs(message: bytes, most_elements: int = _MOST_ELEMENTS) -> dict[str, np.ndarray]:
    """Read the float32 and int32 outputs of a `PredictResponse`, by name; other outputs are left out.

    Args:
        message: The bytes.
        most_elements: The largest number of elements that an output may claim.

    Raises:
        ServerError: If the bytes are no such message, or claim more elements.
    """
    outputs: dict[str, np.ndarray] = {}
    for number, entry in fields(message):
        if number == 1 and isinstance(entry, bytes):
            name, content = b"", b""
            for part, value in fields(entry):
                if isinstance(value, bytes):
                    name, content = (value, content) if part == 1 else (name, value if part == 2 else content)
            tensor = read_tensor(content, most_elements)
            if tensor is not None:
                if len(outputs) == _MOST_OUTPUTS:
                    raise ServerError(f"The server's answer holds more than {_MOST_OUTPUTS} outputs")
                outputs[name.decode("utf-8", "replace")] = tensor
    return outputs


def read_tensor(message: bytes, most_elements: int = _MOST_ELEMENTS) -> np.ndarray | None:
    """Read a `TensorProto` as an array; None if its type is neither float32 nor int32.

    Its values are stored as bytes or one by one. If there are fewer values than elements, the last value fills the
    rest.

    Args:
        message: The bytes.
        most_elements: The largest number of elements that the tensor may claim; nothing larger is allocated.

    Raises:
        ServerError: If the bytes are no such message, claim more elements, or shape and values do not fit each other.
    """
    dtype, shape, content = None, None, b""
    values: list[np.ndarray] = []
    found = 0
    for number, value in fields(message):
        if number == 1 and isinstance(value, int):
            dtype = _DTYPES.get(value)
        elif number == 2 and isinstance(value, bytes):
            shape = _read_shape(value, most_elements)
        elif number == 4 and isinstance(value, bytes):
            content = value
        elif number == _FLOAT_VAL and isinstance(value, bytes):
            values.append(_packed_floats(value))
            found += values[-1].size
        elif number == _INT_VAL:
            values.append(_integers(value, most_elements))
            found += values[-1].size
        if found > most_elements or len(values) > most_elements:
            raise ServerError(f"The server's answer holds more than {most_elements} numbers for one output")
    if dtype is None:
        return None
    if shape is None:
        shape = ()
    flat = np.concatenate(values) if values else np.frombuffer(b"", dtype)
    if content:
        if len(content) % dtype.itemsize:
            raise ServerError("The server's answer holds a tensor whose bytes are no whole number of elements")
        flat = np.frombuffer(content, dtype)
    return _shaped(flat.astype(dtype.newbyteorder("="), copy=False), shape)


def read_states(message: bytes) -> dict[str, str]:
    """Read the state of each version in a `GetModelStatusResponse`.

    Raises:
        ServerError: If the bytes are no such message.
    """
    states = {}
    for number, entry in fields(message):
        if number == 1 and isinstance(entry, bytes):
            found: Mapping[int, Value] = dict(fields(entry))
            state = found.get(2, 0)
            states[str(found.get(1, 0))] = STATES.get(state if isinstance(state, int) else 0, str(state))
    return states


def fields(message: bytes) -> Iterator[tuple[int, Value]]:
    """Yield the number and the value of each field of a message in order; a value is an integer or bytes.

    Raises:
        ServerError: If the message is cut off, or the bytes are no message.
    """
    view, at = memoryview(message), 0
    while at < len(view):
        key, at = _read_varint(view, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _read_varint(view, at)
            yield number, value
            continue
        if kind == _BYTES:
            length, at = _read_varint(view, at)
        elif kind in _FIXED_BYTES:
            length = _FIXED_BYTES[kind]
        else:
            raise ServerError(f"The server's answer is no message of its API: a field of kind {kind}")
        if number == 0 or length > len(view) - at:
            raise ServerError("The server's answer is no message of its API: a field is cut off")
        yield number, bytes(view[at : at + length])
        at += length


def _read_varint(view: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(view):
            break
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ServerError("The server's answer is no message of its API: a number does not end")


def _read_shape(message: bytes, most_elements: int) -> tuple[int, ...]:
    axes = []
    for number, value in fields(message):
        if number == 2 and isinstance(value, bytes):
            sizes = [size for part, size in fields(value) if part == 1 and isinstance(size, int)]
            axes.append(sizes[-1] if sizes else 0)
        elif number == 3 and value:
            raise ServerError("The server's answer holds a tensor of unknown rank")
        if len(axes) > _MOST_AXES or any(axis > most_elements for axis in axes[-1:]):
            break
    if len(axes) > _MOST_AXES or math.prod(axes) > most_elements:
        raise ServerError(
            f"The server's answer holds a tensor of {len(axes)} axes that cannot be: {axes[:_MOST_AXES]}, where at "
            f"most {most_elements} elements are possible"
        )
    return tuple(axes)


def _packed_floats(content: bytes) -> np.ndarray:
    if len(content) % 4:
        raise ServerError("The server's answer holds floats that are cut off")
    return np.frombuffer(content, "<f4")


def _integers(value: Value, most: int) -> np.ndarray:
    """Read one integer, or several packed integers; negative ones are stored in 64 bits."""
    whole = [value] if isinstance(value, int) else []
    if isinstance(value, bytes):
        view, at = memoryview(value), 0
        while at < len(view) and len(whole) <= most:
            one, at = _read_varint(view, at)
            whole.append(one)
    return np.array([struct.unpack("<i", struct.pack("<I", one & 0xFFFFFFFF))[0] for one in whole], "<i4")


def _shaped(flat: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    size = math.prod(shape)
    if flat.size > size or (size and not flat.size):
        raise ServerError(f"The server's answer holds {flat.size} numbers for a tensor of shape {list(shape)}")
    if flat.size == 1:
        return np.broadcast_to(flat[0], shape)
    if flat.size < size:
        flat = np.concatenate([flat, np.full(size - flat.size, flat[-1], flat.dtype)])
    return flat.reshape(shape)
