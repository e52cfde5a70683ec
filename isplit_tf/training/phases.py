"""The public verb `train`: phase 1 trains the bottleneck alone, phase 2 the whole split end to end."""

import math
import numbers
import os
from collections.abc import Sequence
from typing import Any

import keras

from ..bottlenecks.closed_form import is_final, is_fitted, observe, observe_again
from ..bottlenecks.coded import symbol_layer
from ..bottlenecks.records import bottleneck_to_json
from ..errors import ArgumentError, checked_integer
from ..splitting import SplitModel
from .callbacks import Run, falling_back
from .checkpoint import Checkpoint, begin
from .closed_form import fit_closed_form, images_of
from .data import check_images
from .distillation import read_distillation
from .fine_tuning import Tuning, fine_tune, prepare, remember_teacher
from .history import BOTTLENECK, FINE_TUNE, FIT, History
from .objectives import loss_identity, optimizer_identity, read_optimizer
from .reconstruction import train_bottleneck
from .strategy import check_strategy
from .tensorboard import Summaries

# Adam's steps do not depend on the scale of features and loss. At the pooling layers of VGG16 with ImageNet weights,
# the encoder's ReLU died at a rate of 3e-3, and 3e-4 was slower everywhere.
_FIRST_OPTIMIZER = {"learning_rate": 1e-3}
_SECOND_OPTIMIZER = {"learning_rate": 1e-4}


def train(
    split: SplitModel,
    data: Any,
    *,
    validation_data: Any = None,
    bottleneck_epochs: int = 5,
    fine_tune_epochs: int = 3,
    optimizer: Any = None,
    bottleneck_optimizer: Any = None,
    loss: Any = None,
    keep_best: bool = False,
    batch_norm: str = "frozen",
    rate_weight: float = 0.0,
    checkpoint_dir: str | os.PathLike[str] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] | None = None,
    tensorboard_dir: str | os.PathLike[str] | None = None,
    seed: int | None = None,
    batch_size: int = 32,
    cache_bytes: int = 2**30,
    progress: bool = True,
) -> History:
    """Train a split in two phases. `split` is changed, as `fit` changes a model.

    Phase 1, "bottleneck", trains encoder and decoder alone, without labels or sample weights; the head runs in
    inference mode. It minimizes the mean over images of ||F - decoder(encoder(F))||^2 (Eq. 3), with the features F at
    the cut. Without a bottleneck there is no phase 1. A `Projection` is fitted in closed form instead, from its
    `fit_images` images; an `Autoencoder(init="projection")` is fitted in the same way before phase 1.

    Phase 2, "fine_tune", is `split.model.fit`, end to end. Layers with `trainable=False`, such as a frozen backbone, do
    not change. All `trainable` flags are restored afterwards. `split.model` is then compiled with the loss of phase 2,
    an accuracy and a new optimizer, ready for `fit` or `evaluate`; with `fine_tune_epochs=0` it is not compiled.

    If the training fails or is interrupted, the split has the weights after the last whole epoch. The devices of a
    `tf.distribute.MirroredStrategy` share each batch if model, `isplit_tf.split` and `train` are all inside its scope.

    Args:
        split: Split made by `isplit_tf.split`.
        data: A batched `tf.data.Dataset` of `(x, y)` or `(x, y, weight)`, a tuple of two or three arrays, or a
            `keras.utils.PyDataset`; labels as integers `(N,)` or `(N, 1)`, or one-hot. With `fine_tune_epochs=0` or
            `loss="distill"` also x alone. Arrays are shuffled per image and a PyDataset per batch, anew in each epoch;
            a `tf.data.Dataset` keeps its own order.
        validation_data: Data of the same kinds, evaluated after each epoch.
        bottleneck_epochs: Epochs of phase 1.
        fine_tune_epochs: Epochs of phase 2.
        optimizer: Keras optimizer of phase 2, copied by its configuration, or its name; by default Adam, rate 1e-4.
        bottleneck_optimizer: Optimizer of phase 1, likewise; by default Adam with a learning rate of 1e-3.
        loss: Loss of phase 2: any Keras loss, its name, or `"squared_error"` (Eq. 4), the mean over images of
            ||probabilities - one_hot||^2, summed over classes. By default the loss with which the original model was
            compiled, else the cross-entropy that fits its output and the labels. `"distill"`, or a `Distillation` with
            its settings, takes the outputs of the original model as targets. Labels are converted to the form that
            Keras' own losses need; any other loss gets them unconverted.
        keep_best: Give the split, at the end of phase 2, the weights with the best accuracy on `validation_data`, or
            the best loss if the accuracy is equal or not known (with `loss="distill"` it is known if all data have
            labels). They replace the weights that callbacks, or an optimizer's average, leave at the end. The weights
            before the first epoch count too: a good split, as with a `Projection`, cannot become worse on these data.
        batch_norm: BatchNormalization of head and tail in phase 2: "frozen" for inference mode, "update" to let it
            learn.
        rate_weight: Weight in the loss of phase 2 of the bits of a coded latent, in the mean over images. The bits are
            those of its tables, with noise in place of the rounding; the tables are fitted anew at the end. Such a
            training sends fewer bytes at equal accuracy. Values around 1e-4 to 1e-3 are of use.
        checkpoint_dir: Directory for this run alone, to which the state is written after each epoch. Called again with
            the same split and arguments after an interruption, also in a new process, `train` continues after the last
            whole epoch; after the end, it gives the same result. With arrays, and other data whose order does not
            depend on how often they were read, it ends with the weights of an uninterrupted run, as far as the device
            computes repeatably. The internal state of callbacks is not saved.
        callbacks: Keras callbacks for phase 2.
        tensorboard_dir: Directory for the metrics of all phases, written for TensorBoard with tags such as
            `bottleneck/loss` and `fine_tune/accuracy` and the number of the epoch as the step.
        seed: Seed of the order of arrays and of the random numbers of Dropout; a new one is drawn if None.
        batch_size: Images per step, if the data are arrays or cached features.
        cache_bytes: Memory for the float32 features of phase 1. If they fit, they are computed once, with any random
            augmentation in the data, and shuffled; else, as with 0, the head runs anew in each epoch.
        progress: Whether to show bars on standard error.

    Returns:
        Metrics and seconds of each epoch.

    Raises:
        ArgumentError: If an argument is out of range, `keep_best` lacks `validation_data`, `checkpoint_dir` holds
            another run, a `tf.distribute` strategy other than `MirroredStrategy` or `OneDeviceStrategy` is in use, or
            only the split was made, or only `train` called, inside a strategy's scope.
        BundleError: If the checkpoint cannot be read.
        DataError: If the data are of an unknown kind, empty, endless or not batched, or images or labels do not fit.
        NumericsError: If an image of the first batch contains NaN or infinity, or the loss or a weight becomes NaN or
            infinite; the message then names phase and epoch.

    Example:
        >>> history = train(halves, train_data, validation_data=validation_data, seed=0)
        >>> history.plot()

    Reference:
        Cunico, Capogrosso et al., I-Split, ICPR 2022, Sec. III-B, Eq. 3 and 4.
    """
    _check(split, validation_data, keep_best=keep_best, batch_norm=batch_norm)
    epochs = _epochs(split, bottleneck_epochs, fine_tune_epochs)
    optimizers = {
        BOTTLENECK: read_optimizer("bottleneck_optimizer", bottleneck_optimizer, _FIRST_OPTIMIZER),
        FINE_TUNE: read_optimizer("optimizer", optimizer, _SECOND_OPTIMIZER),
    }
    callback_list = _listed(callbacks)
    batch_size = checked_integer("batch_size", batch_size, 1)
    cache_bytes = checked_integer("cache_bytes", cache_bytes, 0)
    seed = None if seed is None else checked_integer("seed", seed, 0)
    rate_weight = _checked_rate_weight(split, rate_weight)

    check_images(split.program, data, batch_size)
    if validation_data is not None:
        check_images(split.program, validation_data, batch_size)
    tuning = prepare(split, data, validation_data, loss=loss, batch_size=batch_size) if epochs[FINE_TUNE] else None

    arguments = _request(
        split,
        epochs,
        optimizers,
        loss,
        batch_norm=batch_norm,
        batch_size=batch_size,
        keep_best=keep_best,
        rate_weight=rate_weight,
    )
    summaries = Summaries(tensorboard_dir)
    checkpoint = None if checkpoint_dir is None else Checkpoint(checkpoint_dir)
    run = Run(
        split=split,
        data=data,
        validation_data=validation_data,
        epochs=epochs,
        optimizers=optimizers,
        freeze_batch_norm=batch_norm == "frozen",
        rate_weight=rate_weight,
        callbacks=callback_list,
        batch_size=batch_size,
        cache_bytes=cache_bytes,
        keep_best=bool(keep_best),
        progress=progress,
        summaries=summaries,
        checkpoint=checkpoint,
        state=begin(split, checkpoint, arguments, seed),
    )
    return _run_phases(run, tuning)


def _run_phases(run: Run, tuning: Tuning | None) -> History:
    """Run all phases of a training, with a closed form before phase 1 and the ranges of the latent before phase 2."""
    if tuning is not None:
        remember_teacher(run, tuning)
    with falling_back(run):
        fit_closed_form(run)
        run.split.fitted = True
        train_bottleneck(run)
        observe(run.split, images_of(run))
        if tuning is not None:
            fine_tune(run, tuning)
            observe_again(run.split, images_of(run))
    return History(tuple(run.state.epochs), run.state.seed, run.state.kept_epoch, run.state.start)


def _check(split: SplitModel, validation_data: Any, *, keep_best: bool, batch_norm: str) -> None:
    if not isinstance(split, SplitModel):
        raise ArgumentError(f"Expected a SplitModel, as isplit_tf.split makes it. Received: {type(split).__name__}.")
    check_strategy(split.model)
    if batch_norm not in ("frozen", "update"):
        raise ArgumentError(f"batch_norm: expected 'frozen' or 'update'. Received: {batch_norm!r}")
    if keep_best and validation_data is None:
        raise ArgumentError("keep_best=True takes the best epoch by validation_data. Received: none.")


def _checked_rate_weight(split: SplitModel, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= float(value) < math.inf:
        raise ArgumentError(f"rate_weight: expected a number of at least 0. Received: {value!r}")
    if value and symbol_layer(split.encoder) is None:
        raise ArgumentError(
            f"rate_weight={value!r} weighs the bits of a coded latent. Received: {split.bottleneck!r}. Give a "
            "bottleneck with coding='entropy'."
        )
    return float(value)


def _epochs(split: SplitModel, bottleneck_epochs: int, fine_tune_epochs: int) -> dict[str, int]:
    """Return the number of epochs per phase."""
    bottleneck_epochs = checked_integer("bottleneck_epochs", bottleneck_epochs, 0)
    return {
        FIT: int(is_fitted(split)),
        BOTTLENECK: 0 if split.encoder is None or is_final(split) else bottleneck_epochs,
        FINE_TUNE: checked_integer("fine_tune_epochs", fine_tune_epochs, 0),
    }


def _listed(callbacks: Any) -> list[keras.callbacks.Callback]:
    """Return callbacks as a list. As in `fit`, they may be a single one."""
    listed = [callbacks] if isinstance(callbacks, keras.callbacks.Callback) else list(callbacks or ())
    if invalid := [item for item in listed if not isinstance(item, keras.callbacks.Callback)]:
        raise ArgumentError(f"callbacks: expected Keras callbacks. Received: {invalid[0]!r}.")
    return listed


def _request(
    split: SplitModel,
    epochs: dict[str, int],
    optimizers: dict[str, Any],
    loss: Any,
    *,
    keep_best: bool,
    rate_weight: float,
    **others: Any,
) -> dict[str, Any]:
    """Return the arguments that must be the same for a run to continue from its checkpoint, as plain values."""
    distillation = read_distillation(loss)
    return {
        "cut": [split.cut.name, list(split.cut.shape)],
        "bottleneck": bottleneck_to_json(split.bottleneck),
        "bottleneck_epochs": epochs[BOTTLENECK],
        "fine_tune_epochs": epochs[FINE_TUNE],
        "optimizer": optimizer_identity(optimizers[FINE_TUNE]),
        "bottleneck_optimizer": optimizer_identity(optimizers[BOTTLENECK]),
        "loss": distillation.identity() if distillation else loss_identity(split.loss if loss is None else loss),
        **others,
        "keep_best": bool(keep_best) or None,  # None as in older records, which lack this argument
        "rate_weight": rate_weight or None,
    }
