"""Phase 1, the bottleneck alone: a model around encoder and decoder whose loss is Eq. 3."""

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
    """Sum of ||F - restored||^2 over the sum of ||F||^2, from rows `(error, energy)`; 0 is a perfect
    copy."""

    def __init__(self, name: str = "relative_error"):
        super().__init__(name=name)
        self._error = self.add_variable((), initializer="zeros", name="error")
        self._energy = self.add_variable((), initializer="zeros", name="energy")

    def update_state(self, rows: Any) -> None:
        """Adds the images of a batch, `(N, 2)`."""
        self._error.assign_add(ops.sum(rows[:, 0]))
        self._energy.assign_add(ops.sum(rows[:, 1]))

    def result(self) -> Any:
        """The ratio; 0 for features that are all zero and restored so."""
        return ops.divide_no_nan(self._error, self._energy)


class Reconstruction(keras.Model):
    """What stands between the features and their copy: its output is the squared distance of each image.

    The loss is Eq. 3 of the paper, the mean over images of ||F - decoder(encoder(F))||^2. Only encoder and
    decoder are tracked, so only they learn; the head runs in inference mode, untouched.

    Args:
        encoder: From the features to the latent.
        decoder: From the latent to the features.
        head: From the images to the features, where images are fed; None where features are.
    """

    def __init__(self, encoder: keras.Model, decoder: keras.Model, head: keras.Model | None = None):
        super().__init__(name="reconstruction")
        self.encoder = encoder
        self.decoder = decoder
        # In a function, Keras does not find the head and does not count its weights among those that learn.
        self._features_of = (lambda x: x) if head is None else (lambda x: ops.stop_gradient(head(x, training=False)))
        self.relative_error = RelativeError()
        self.built = True

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Rows `(error, energy)` for each image, `(N, 2)` float32."""
        features = self._features_of(x)
        restored = self.decoder(self.encoder(features, training=training), training=training)
        features, restored = ops.cast(features, "float32"), ops.cast(restored, "float32")
        axes = tuple(range(1, len(features.shape)))
        error = ops.sum(ops.square(features - restored), axis=axes)
        return ops.stack([error, ops.sum(ops.square(features), axis=axes)], axis=1)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Eq. 3."""
        return replica_share(ops.mean(y_pred[:, 0]))

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """The mean loss and the relative error."""
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
        given = (run.data, run.validation_data)
        feeds = [None if data is None else image_feed(data, batch_size=run.batch_size) for data in given]
    model = Reconstruction(encoder, decoder, head)
    model.compile(optimizer=copied(run.optimizers[BOTTLENECK]))
    fit_phase(run, BOTTLENECK, model, *feeds)


def _feature_feeds(run: Run) -> list[Any] | None:
    """Return the features of training and validation data, computed once; None if both do not fit."""
    left = run.cache_bytes
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
            budget_bytes=left,
            progress=run.progress,
        )
        if features is None:
            return None
        left -= features.nbytes
        feeds.append(ArrayFeed((features,), batch_size=run.batch_size))
    return feeds[::-1]
