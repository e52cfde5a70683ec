"""Operations that use a weight without a layer around it, as `x + self.position` in a subclassed model."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import tree

from .keras_layers import describe_weight


@keras.saving.register_keras_serializable("isplit_tf")
class WeightedOperation(keras.layers.Layer):
    """An operation together with the weights that it uses: one step, which can be run, copied and saved.

    A weight that two such operations use is one variable in the user's model and two in a copy.

    Args:
        operation: The operation as Keras records it.
        arguments: `[args, kwargs]` of its call; `{"tensor": k}` stands for the k-th tensor that it is given and
            `{"weight": k}` for the k-th weight.
        weights: A record for each weight: `shape`, `dtype`, `trainable`, and `enters_as`, the dtype in which the
            operation sees it.
        variables: The weights, where they exist; new ones by default.
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
        """Wrap a recorded call around the weights that it uses, which stay the user's own.

        Args:
            operation: As Keras recorded it.
            arguments: `[args, kwargs]` of the call.
            is_tensor: Whether a leaf of the arguments is a tensor that the step reads.
            autocast: dtype in which the weights enter the operation; None for their own.

        Returns:
            The step's operation, and the tensors that it is to be given, in order.
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
        """The same operation with weights of its own, zeros still, of which those in float32 are in another dtype."""
        specs = [
            spec | {"dtype": dtype, "enters_as": dtype} if spec["enters_as"] == "float32" else spec
            for spec in self._specs
        ]
        return WeightedOperation(self.operation, arguments=self._arguments, weights=specs, dtype=self.dtype_policy)

    def call(self, tensors: Sequence[Any]) -> Any:
        """What the operation makes of some tensors and its weights."""
        weights = [keras.ops.cast(one, spec["enters_as"]) for one, spec in zip(self._used, self._specs, strict=True)]
        args, kwargs = self._filled(tensors, weights)
        return self.operation(*args, **kwargs)

    def compute_output_spec(self, tensors: Sequence[Any]) -> Any:
        """Shape and dtype of the result, as the operation says."""
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
        """The operation and its arguments; the weights are not part of it."""
        serialize = keras.saving.serialize_keras_object
        return super().get_config() | {
            "operation": serialize(self.operation),
            "arguments": serialize(list(self._arguments)),
            "weights": [dict(spec) for spec in self._specs],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WeightedOperation":
        """The inverse of `get_config`."""
        deserialize = keras.saving.deserialize_keras_object
        read = {key: deserialize(config[key]) for key in ("operation", "arguments")}
        return cls(**(config | read))
