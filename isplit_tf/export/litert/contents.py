"""The contents of a `.tflite` file, read from the file."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ai_edge_litert import schema_py_generated as schema

_FLOATS = ("FLOAT16", "BFLOAT16", "FLOAT32", "FLOAT64")


def _names(enumeration: type) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}


_OPERATOR_NAMES = _names(schema.BuiltinOperator)
_TYPE_NAMES = _names(schema.TensorType)


@dataclass(frozen=True)
class Tensor:
    """One tensor: name, element type as LiteRT names it (such as `INT8`), shape, and whether it is a constant."""

    name: str
    type: str
    shape: tuple[int, ...]
    constant: bool

    @property
    def size(self) -> int:
        """Return the number of elements."""
        return math.prod(self.shape)

    @property
    def is_float(self) -> bool:
        """Check whether the elements are floating-point numbers."""
        return self.type in _FLOATS


@dataclass(frozen=True)
class Operator:
    """One operator: name as LiteRT names it (such as `CONV_2D`), whether it is a built-in one, and its tensors."""

    name: str
    builtin: bool
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @property
    def is_float(self) -> bool:
        """Check whether the operator reads or makes a floating-point tensor."""
        return any(tensor.is_float for tensor in (*self.inputs, *self.outputs))


@dataclass(frozen=True)
class Contents:
    """The operators of all subgraphs of a file, in order."""

    operators: tuple[Operator, ...]

    @property
    def counts(self) -> Mapping[str, int]:
        """Return how often each operator occurs, by name."""
        return _counted(self.operators)

    @property
    def float_operators(self) -> tuple[Operator, ...]:
        """Return the operators that work on floating-point numbers."""
        return tuple(operator for operator in self.operators if operator.is_float)

    @property
    def float_counts(self) -> Mapping[str, int]:
        """Return how often each operator on floating-point numbers occurs, by name."""
        return _counted(self.float_operators)

    @property
    def custom_operators(self) -> tuple[Operator, ...]:
        """Return the operators that are not built in, Flex operators (which run TensorFlow) included."""
        return tuple(operator for operator in self.operators if not operator.builtin)

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """Return the constants of two or more axes that operators read: kernels and matrices, no biases."""
        constants = {
            tensor.name: tensor for operator in self.operators for tensor in operator.inputs if tensor.constant
        }
        return tuple(tensor for tensor in constants.values() if len(tensor.shape) >= 2)

    @property
    def float_weights(self) -> tuple[Tensor, ...]:
        """Return the weights that are stored as float32."""
        return tuple(tensor for tensor in self.weights if tensor.type == "FLOAT32")


def read_contents(content: bytes) -> Contents:
    """Read the operators and tensors of a `.tflite` file.

    Args:
        content: The bytes of the file.

    Returns:
        What is in it.
    """
    model = schema.Model.GetRootAsModel(content, 0)
    operators: list[Operator] = []
    for index in range(model.SubgraphsLength()):
        graph = model.Subgraphs(index)
        tensors = [_read_tensor(model, graph.Tensors(k)) for k in range(graph.TensorsLength())]
        operators += [_read_operator(model, graph.Operators(k), tensors) for k in range(graph.OperatorsLength())]
    return Contents(tuple(operators))


def _read_tensor(model: schema.Model, tensor: schema.Tensor) -> Tensor:
    buffer = model.Buffers(tensor.Buffer())
    return Tensor(
        name=tensor.Name().decode(),
        type=_TYPE_NAMES[tensor.Type()],
        shape=tuple(tensor.Shape(k) for k in range(tensor.ShapeLength())),
        constant=buffer.DataLength() > 0 or buffer.Size() > 0,
    )


def _read_operator(model: schema.Model, operator: schema.Operator, tensors: list[Tensor]) -> Operator:
    code = model.OperatorCodes(operator.OpcodeIndex())
    builtin = code.CustomCode() is None
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())  # old files have it in the second field only
    name = _OPERATOR_NAMES[number] if builtin else code.CustomCode().decode()
    # An optional input that is not given has the index -1.
    inputs = [operator.Inputs(k) for k in range(operator.InputsLength())]
    outputs = [operator.Outputs(k) for k in range(operator.OutputsLength())]
    return Operator(
        name,
        builtin,
        tuple(tensors[k] for k in inputs if k >= 0),
        tuple(tensors[k] for k in outputs if k >= 0),
    )


def _counted(operators: Iterable[Operator]) -> Mapping[str, int]:
    return dict(sorted(Counter(operator.name for operator in operators).items()))
