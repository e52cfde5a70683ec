"""The kinds of a model's output, and the way from its values to probabilities and logits."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from ..errors import ArgumentError, ModelError

KINDS = ("softmax", "sigmoid", "multi_label", "logits", "binary_logit", "multi_label_logits")
# What a user says of an output; the number of units makes it one of the kinds.
WORDS = ("probabilities", "logits", "multi_label", "multi_label_logits")
_UNITS = ("sigmoid", "binary_logit")  # one unit for two classes
_SEVERAL = ("multi_label", "multi_label_logits")  # units that are independent of each other
_FORMER = {"sigmoids": "multi_label"}  # as files of 0.1.0 say it
# Smaller probabilities are raised to this value, so that the logarithm and its gradient stay finite in float32.
_SMALLEST = 1e-12
# Sigmoids are clipped to this distance from 0 and 1: float32 has no values much closer to 1.
_MARGIN = 1e-7


@dataclass(frozen=True)
class Output:
    """The kind and number of classes of a model's output.

    Attributes:
        kind: "softmax" (several probabilities that add up to 1); "sigmoid" (one unit); "multi_label" (several
            independent probabilities); "logits" (several linear units, before a softmax); "binary_logit" (one linear
            unit); "multi_label_logits" (several linear units, each before a sigmoid).
        n_classes: Number of classes; 2 for one unit.
    """

    kind: str
    n_classes: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", _FORMER.get(self.kind, self.kind))

    @classmethod
    def of(cls, kind: str, units: int) -> "Output":
        """Return the record of an output of the given kind and number of units.

        Raises:
            ModelError: If the kind is unknown.
        """
        kind = _FORMER.get(kind, kind)
        if kind not in KINDS:
            raise ModelError(f"The model's output is of an unknown kind: {kind!r}. Known: {', '.join(KINDS)}.")
        return cls(kind, 2 if kind in _UNITS else int(units))

    @property
    def is_binary_unit(self) -> bool:
        """Return whether one unit stands for two classes."""
        return self.kind in _UNITS

    @property
    def units(self) -> int:
        """Return the number of units of the output."""
        return 1 if self.is_binary_unit else self.n_classes

    @property
    def holds_logits(self) -> bool:
        """Return whether the output holds logits and not probabilities."""
        return self.kind in ("logits", "binary_logit", "multi_label_logits")

    @property
    def is_multi_label(self) -> bool:
        """Return whether each unit is a label of its own, so that an image may have several, or none."""
        return self.kind in _SEVERAL

    @property
    def is_exclusive(self) -> bool:
        """Return whether several units share one softmax. Labels of a multi-label model are independent."""
        return self.kind in ("softmax", "logits")

    def probabilities(self, outputs: Any) -> Any:
        """Turn the model's own outputs into probabilities: softmax or sigmoid for logits, `[1 - p, p]` for one unit.

        Args:
            outputs: `(N, units)`, a TensorFlow tensor or a symbolic Keras tensor.

        Returns:
            `(N, n_classes)` of the same dtype. Those of a multi-label model need not sum to 1.
        """
        if self.kind == "logits":
            return ops.softmax(outputs, axis=-1)
        if self.kind == "sigmoid":
            return ops.concatenate([1.0 - outputs, outputs], axis=-1)
        if self.kind == "binary_logit":
            # sigmoid(-x) stays precise for large x, where 1 - sigmoid(x) would round to 0.
            return ops.sigmoid(ops.concatenate([outputs * -1.0, outputs], axis=-1))
        if self.kind == "multi_label_logits":
            return ops.sigmoid(outputs)
        return outputs

    def logits(self, outputs: Any) -> Any:
        """Turn the model's own outputs into logits, up to an additive constant, which a softmax ignores.

        Args:
            outputs: `(N, units)`.

        Returns:
            float32 `(N, units)`, finite also for probabilities of 0 and 1.
        """
        outputs = ops.cast(outputs, "float32")
        if self.kind == "softmax":
            return ops.log(ops.maximum(outputs, _SMALLEST))
        if self.kind in ("sigmoid", "multi_label"):
            p = ops.clip(outputs, _MARGIN, 1 - _MARGIN)
            return ops.log(p) - ops.log1p(-p)
        return outputs

    def log_odds(self, outputs: Any) -> Any:
        """Turn the model's own outputs into the score of each class: log p - log(1 - p) of its probability p.

        For a network whose logits cannot be read, this is their stand-in: unlike log p it does not level off where the
        model is sure, and with two classes it is the logit of a sigmoid, with its sign.

        Args:
            outputs: `(N, units)`.

        Returns:
            float32 `(N, units)`, finite also for probabilities of 0 and 1.
        """
        if self.kind != "softmax":
            return self.logits(outputs)
        p = ops.cast(outputs, "float32")
        # The sum of the others keeps digits that 1 - p has lost where p is near 1.
        others = ops.matmul(p, 1.0 - ops.eye(self.n_classes, dtype="float32"))
        return ops.log(ops.maximum(p, _SMALLEST)) - ops.log(ops.maximum(others, _SMALLEST))


def to_probabilities(outputs: np.ndarray, output: Output) -> np.ndarray:
    """Turn an array of a model's outputs into probabilities; see `Output.probabilities`.

    Args:
        outputs: `(N, units)`; the computation is in float64.
        output: Kind and classes of the output.

    Returns:
        float32 `(N, n_classes)`.
    """
    return np.asarray(output.probabilities(ops.convert_to_tensor(outputs, "float64"))).astype(np.float32)


def checked_word(output_kind: Any, from_logits: bool | None = None) -> str | None:
    """Return what the user says of the output, one of `WORDS`, or None if nothing is said.

    Args:
        output_kind: The argument of this name.
        from_logits: The argument of this name; True says "logits".

    Raises:
        ArgumentError: If the word is unknown, or the two arguments contradict each other.
    """
    if output_kind is None:
        return "logits" if from_logits else None
    if output_kind not in WORDS:
        raise ArgumentError(f"output_kind must be one of {', '.join(map(repr, WORDS))}. Received: {output_kind!r}.")
    if from_logits is not None and from_logits != output_kind.endswith("logits"):
        raise ArgumentError(
            f"output_kind={output_kind!r} and from_logits={from_logits} contradict each other. Give one of them."
        )
    return output_kind
