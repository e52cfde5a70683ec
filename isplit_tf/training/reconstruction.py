"""Phase 1, which trains the bottleneck alone: a model around encoder and decoder with the loss of Eq. 3."""

from typing import Any

import keras
from keras import ops

from ..bottlenecks.quantizer import forget
from .callbacks import Run, fit_phase
from .data import ArrayFeed, cached_features, image_feed
from .history import BOTTLENECK
from .objectives import copied
from .strategy import replica_share


class RelativeError(keras.metrics.Metric):
    """The sum of ||F - restored||^2 over the sum of ||F||^2, from rows `(error, energy)`; 0 for a perfect copy."""

    def __init__(self, name: str = "relative_error"):
        super().__init__(name=name)
        self._error = self.add_variable((), initializer="zeros", name="error")
        self._energy = self.add_variable((), initializer="zeros", name="energy")

    def update_state(self, rows: Any) -> None:
        """Add the rows of a batch, `(N, 2)`."""
        self._error.assign_add(ops.sum(rows[:, 0]))
        self._energy.assign_add(ops.sum(rows[:, 1]))

    def result(self) -> Any:
        """Return the ratio; 0 if all features are zero."""
        return ops.divide_no_nan(self._error, self._energy)


class Reconstruction(keras.Model):
    """A model of encoder and decoder whose output is the squared distance of features and their copy per image.

    The loss is Eq. 3 of the paper, the mean over images of ||F - decoder(encoder(F))||^2. Keras tracks only encoder
    and decoder, so only they learn; the head runs in inference mode and does not change.

    Args:
        encoder: Model from the features to the latent.
        decoder: Model from the latent to the features.
        head: Model from the images to the features, if images are fed; None if features are fed.
    """

    def __init__(self, encoder: keras.Model, decoder: keras.Model, head: keras.Model | None = None):
        super().__init__(name="reconstruction")
        self.encoder = encoder
        self.decoder = decoder
        # Keras does not look into a function, so it does not add the weights of the head to the trainable weights.
        self._features_of = (lambda x: x) if head is None else (lambda x: ops.stop_gradient(head(x, training=False)))
        self.relative_error = RelativeError()
        self.built = True

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Return a row `(error, energy)` per image, float32 `(N, 2)`."""
        features = self._features_of(x)
        restored = self.decoder(self.encoder(features, training=training), training=training)
        features, restored = ops.cast(features, "float32"), ops.cast(restored, "float32")
        axes = tuple(range(1, len(features.shape)))
        error = ops.sum(ops.square(features - restored), axis=axes)
        return ops.stack([error, ops.sum(ops.square(features), axis=axes)], axis=1)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Return the loss of Eq. 3."""
        return replica_share(ops.mean(y_pred[:, 0]))

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Return the mean loss and the relative error."""
        self.relative_error.update_state(y_pred)
        return self.get_metrics_result()


def train_bottleneck(run: Run) -> None:
    """Train encoder and decoder to restore the features at the cut."""
    encoder, decoder, head = run.split.encoder, run.split.decoder, None
    if not run.goes_on(BOTTLENECK) or encoder is None or decoder is None:
        return
    forget(encoder, decoder)
    feeds = _feature_feeds(run)
    if feeds is None:
        head = run.split.head
        sources = (run.data, run.validation_data)
        feeds = [None if data is None else image_feed(data, batch_size=run.batch_size) for data in sources]
    model = Reconstruction(encoder, decoder, head)
    model.compile(optimizer=copied(run.optimizers[BOTTLENECK]))
    fit_phase(run, BOTTLENECK, model, *feeds)


def _feature_feeds(run: Run) -> list[Any] | None:
    """Return the features of training and validation data, computed once, or None if they do not fit into memory."""
    budget_bytes = run.cache_bytes
    feeds: list[ArrayFeed | None] = []
    for data in (run.validation_data, run.data):
        if data is None:
            feeds.append(None)
            continue
        features = cached_features(
            run.split.head,
            data,
            program=run.split.read(run.split.head),
            batch_size=run.batch_size,
            budget_bytes=budget_bytes,
            progress=run.progress,
        )
        if features is None:
            return None
        budget_bytes -= features.nbytes
        feeds.append(ArrayFeed((features,), batch_size=run.batch_size))
    return feeds[::-1]
