"""Operations that use a weight outside of any layer, such as `x + self.position` in a subclassed model."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import tree

from .keras_layers import describe_weight


@keras.saving.register_keras_serializable("isplit_tf")
class WeightedOperation(keras.layers.Layer):
    """An operation together with the weights that it uses: one step, which can be run, copied and saved.

    If two such operations use the same weight, it is one variable in the user's model and two in a copy.

    Args:
        operation: The operation as Keras recorded it.
        arguments: `[args, kwargs]` of its call, with `{"tensor": k}` in place of the k-th tensor and `{"weight": k}`
            in place of the k-th weight.
        weights: A record for each weight: `shape`, `dtype`, `trainable`, and `enters_as`, the dtype in which the
            operation uses it.
        variables: Existing weights; new ones by default.
    """

    def __init__(
        self,
        operation: Any,
        *,
        arguments: Sequence[Any],
        weights: Sequence[dict[str, Any]],
        variables: Sequence[keras.Variable] | None = None,
        **kwargs: Any,
    ):
        super().__init__(autocast=False, **kwargs)
        self.operation = operation
        self._arguments = tuple(arguments)
        self._specs = tuple(weights)
        if variables is None:
            variables = [
                self.add_weight(
                    shape=tuple(spec["shape"]),
                    dtype=spec["dtype"],
                    trainable=spec["trainable"],
                    initializer="zeros",
                    name=f"weight_{k}",
                )
                for k, spec in enumerate(self._specs)
            ]
        self._used = list(variables)

    @classmethod
    def around(
        cls, operation: Any, arguments: Sequence[Any], *, is_tensor: Callable[[Any], bool], autocast: str | None
    ) -> tuple["WeightedOperation", list[Any]]:
        """Wrap a recorded call together with the weights that it uses. They stay the user's own variables.

        Args:
            operation: The operation as Keras recorded it.
            arguments: `[args, kwargs]` of the call.
            is_tensor: Returns whether a leaf of the arguments is a tensor that the step reads.
            autocast: dtype to which the weights are cast for the operation; None for no cast.

        Returns:
            The wrapped operation, and the tensors to call it with, in order.
        """
        tensors: list[Any] = []
        variables: list[keras.Variable] = []

        def mark(leaf: Any) -> Any:
            if is_tensor(leaf):
                tensors.append(leaf)
                return {"tensor": len(tensors) - 1}
            if isinstance(leaf, keras.Variable):
                variables.append(leaf)
                return {"weight": len(variables) - 1}
            return leaf

        marked = tree.map_structure(mark, list(arguments))
        weights = [describe_weight(variable, autocast) for variable in variables]
        return cls(operation, arguments=marked, weights=weights, variables=variables, dtype="float32"), tensors

    def with_weights_as(self, dtype: str) -> "WeightedOperation":
        """Return the same operation with new weights, all zero; weights that are used as float32 get `dtype`."""
        specs = [
            spec | {"dtype": dtype, "enters_as": dtype} if spec["enters_as"] == "float32" else spec
            for spec in self._specs
        ]
        return WeightedOperation(self.operation, arguments=self._arguments, weights=specs, dtype=self.dtype_policy)

    def call(self, tensors: Sequence[Any]) -> Any:
        """Run the operation on tensors and its weights."""
        weights = [
            keras.ops.cast(weight, spec["enters_as"]) for weight, spec in zip(self._used, self._specs, strict=True)
        ]
        args, kwargs = self._filled(tensors, weights)
        return self.operation(*args, **kwargs)

    def compute_output_spec(self, tensors: Sequence[Any]) -> Any:
        """Return the operation's own specification of the result: its shape and dtype."""
        weights = [keras.KerasTensor(tuple(spec["shape"]), spec["enters_as"]) for spec in self._specs]
        args, kwargs = self._filled(tensors, weights)
        return self.operation.compute_output_spec(*args, **kwargs)

    def _filled(self, tensors: Sequence[Any], weights: Sequence[Any]) -> tuple[tuple, dict]:
        def fill(item: Any) -> Any:
            if isinstance(item, dict):
                if set(item) == {"tensor"}:
                    return tensors[item["tensor"]]
                if set(item) == {"weight"}:
                    return weights[item["weight"]]
                return {key: fill(value) for key, value in item.items()}
            return type(item)(fill(part) for part in item) if isinstance(item, list | tuple) else item

        args, kwargs = self._arguments
        return tuple(fill(part) for part in args), {name: fill(value) for name, value in kwargs.items()}

    def get_config(self) -> dict[str, Any]:
        """Return the operation, its arguments and the records of its weights, without the values of the weights."""
        serialize = keras.saving.serialize_keras_object
        return super().get_config() | {
            "operation": serialize(self.operation),
            "arguments": serialize(list(self._arguments)),
            "weights": [dict(spec) for spec in self._specs],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WeightedOperation":
        """Return the operation that `get_config` describes, with new weights."""
        deserialize = keras.saving.deserialize_keras_object
        deserialized = {key: deserialize(config[key]) for key in ("operation", "arguments")}
        return cls(**(config | deserialized))
