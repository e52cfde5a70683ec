"""Phase 1, the bottleneck alone, and phase 2, everything end to end."""

import os
from collections.abc import Sequence
from typing import Any

import keras

from ..bottlenecks.records import bottleneck_to_json
from ..errors import ArgumentError, checked_integer
from ..splitting import SplitModel
from .callbacks import Run, falling_back
from .checkpoint import Checkpoint, begin
from .closed_form import fit_closed_form, is_final, is_fitted, observe
from .data import check_images
from .distillation import read_distillation
from .fine_tuning import Tuning, fine_tune, prepare, remember_teacher
from .history import BOTTLENECK, FINE_TUNE, FIT, History
from .objectives import loss_identity, optimizer_identity, read_optimizer
from .reconstruction import train_bottleneck
from .strategy import check_strategy
from .tensorboard import Summaries

# Adam's steps do not depend on the scale of features and loss. On VGG16's poolings with ImageNet weights a
# rate of 3e-3 let the encoder's ReLU die, and 3e-4 was slower throughout.
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
    checkpoint_dir: str | os.PathLike[str] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] | None = None,
    tensorboard_dir: str | os.PathLike[str] | None = None,
    seed: int | None = None,
    batch_size: int = 32,
    cache_bytes: int = 2**30,
    progress: bool = True,
) -> History:
    """Trains a split in two phases; changes `split`, as `fit` changes a model.

    Phase 1, "bottleneck", minimises the mean over images of ||F - decoder(encoder(F))||^2 (Eq. 3); only
    encoder and decoder learn, the head runs in inference mode, and labels and weights are not used. The
    features F do not change, so they are computed once where they fit into `cache_bytes`. Without a
    bottleneck there is no such phase. A `Projection` is fitted in closed form in its place, from its
    `fit_images` images; with `fine_tune_epochs=0` this is all there is to do, and needs no labels. An
    `Autoencoder(init="projection")` is fitted so before phase 1, and goes on from there.

    Phase 2, "fine_tune", is `split.model.fit`, end to end. Layers whose `trainable` is False, as in a
    frozen backbone, stay as they are; all flags are afterwards what they were before.

    Where the model, `isplit_tf.split` and `train` are all inside the scope of a `tf.distribute.MirroredStrategy`, its
    devices share each batch.

    Afterwards `split.model` is compiled with the loss of phase 2, an accuracy and a new optimizer, ready
    for `fit` or `evaluate`; after `fine_tune_epochs=0` it is not compiled. If the training fails or is
    interrupted, the split is left with the weights of the last whole epoch.

    Args:
        split: What `isplit_tf.split` made.
        data: A batched `tf.data.Dataset` of `(x, y)` or `(x, y, weight)`, a pair (or three) of arrays, or a
            `keras.utils.PyDataset`; labels as integers `(N,)` or `(N, 1)`, or one-hot. With
            `fine_tune_epochs=0` or `loss="distill"` also x alone. Arrays are shuffled image by image and a
            PyDataset batch by batch, anew in each epoch; a `tf.data.Dataset` comes in its own order. Cached
            features of any data are shuffled; random augmentation in the data is then seen once:
            `cache_bytes=0` to see it anew in each epoch.
        validation_data: The same kinds; evaluated after each epoch.
        bottleneck_epochs: Epochs of phase 1.
        fine_tune_epochs: Epochs of phase 2.
        optimizer: Of phase 2: a Keras optimizer, which is copied by its configuration, or its name; by
            default Adam with a learning rate of 1e-4.
        bottleneck_optimizer: Of phase 1, likewise; by default Adam with a learning rate of 1e-3, whose
            steps do not depend on the scale of the features.
        loss: Of phase 2: any Keras loss, its name, or `"squared_error"`, Eq. 4: the mean over images of
            ||probabilities - one_hot||^2, summed over classes. By default the loss that the original model
            was compiled with, else the cross-entropy that fits its output and the labels. `"distill"`, or a
            `Distillation` with its settings, takes the outputs of the original model as targets. Labels are
            brought to the form that one of Keras' own losses wants; any other loss gets them as they come.
        keep_best: At the end of phase 2, give the split the weights of the epoch that was best on
            `validation_data`, by accuracy, or by the loss where the accuracy is equal or not known; what it had
            before the first epoch counts too. A split that was good already, as behind a `Projection`, then
            cannot become worse on them. These weights take the place of whatever callbacks, or an optimizer's
            average, leave at the end. With `loss="distill"` the accuracy is known where all data have labels.
        batch_norm: "frozen": BatchNormalization of head and tail runs in inference mode in phase 2 and does
            not learn. "update": it learns.
        checkpoint_dir: A directory of this run's own, in which each epoch is taken down. Called again with
            the same split and arguments after an interruption, also after the death of the process, `train`
            goes on after the last whole epoch; with arrays, and with other data whose order does not depend
            on how often they were read, it ends with the weights of an uninterrupted run, as far as the
            device computes repeatably. What callbacks themselves remember is not taken down. Called again
            after the end, it gives the same result.
        callbacks: Keras callbacks, for phase 2.
        tensorboard_dir: Where to write the metrics of all phases for TensorBoard, tagged such as
            `bottleneck/loss` and `fine_tune/accuracy`, with the number of the epoch as the step.
        seed: Makes the order of arrays and the random numbers of Dropout repeatable; a new one is drawn
            where None.
        batch_size: Images in a step, where the data are arrays or cached features.
        cache_bytes: What the features at the cut, float32, may take in memory in phase 1; else the head
            runs in each epoch.
        progress: Whether to show bars on standard error.

    Returns:
        Metrics and seconds of each epoch.

    Raises:
        ArgumentError: An argument is out of range, `keep_best` lacks `validation_data`, `checkpoint_dir` holds another
            run, or a `tf.distribute` strategy other than `MirroredStrategy` or `OneDeviceStrategy` is in use, or one in
            whose scope only the split was made, or only `train` was called.
        BundleError: The checkpoint cannot be read.
        DataError: The data are of another kind, empty, endless or not batched, or images or labels do not fit.
        NumericsError: An image of the first batch holds NaN or infinity, or the loss or a weight became so; the message
            names phase and epoch.

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
    listed = _listed(callbacks)
    batch_size = checked_integer("batch_size", batch_size, 1)
    cache_bytes = checked_integer("cache_bytes", cache_bytes, 0)
    check_images(split.program, data, batch_size)
    if validation_data is not None:
        check_images(split.program, validation_data, batch_size)
    tuning = prepare(split, data, validation_data, loss=loss, batch_size=batch_size) if epochs[FINE_TUNE] else None
    seed = None if seed is None else checked_integer("seed", seed, 0)
    asked = _request(split, epochs, optimizers, loss, batch_norm=batch_norm, batch_size=batch_size, keep_best=keep_best)
    summaries = Summaries(tensorboard_dir)
    checkpoint = None if checkpoint_dir is None else Checkpoint(checkpoint_dir)
    run = Run(
        split=split,
        data=data,
        validation_data=validation_data,
        epochs=epochs,
        optimizers=optimizers,
        freeze_batch_norm=batch_norm == "frozen",
        callbacks=listed,
        batch_size=batch_size,
        cache_bytes=cache_bytes,
        keep_best=bool(keep_best),
        progress=progress,
        summaries=summaries,
        checkpoint=checkpoint,
        state=begin(split, checkpoint, asked, seed),
    )
    return _run_phases(run, tuning)


def _run_phases(run: Run, tuning: Tuning | None) -> History:
    if tuning is not None:
        remember_teacher(run, tuning)
    with falling_back(run):
        fit_closed_form(run)
        train_bottleneck(run)
        observe(run)
        if tuning is not None:
            fine_tune(run, tuning)
    return History(tuple(run.state.epochs), run.state.seed, run.state.kept_epoch, run.state.start)


def _check(split: SplitModel, validation_data: Any, *, keep_best: bool, batch_norm: str) -> None:
    if not isinstance(split, SplitModel):
        raise ArgumentError(f"Expected a SplitModel, as isplit_tf.split makes it. Received: {type(split).__name__}.")
    check_strategy(split.model)
    if batch_norm not in ("frozen", "update"):
        raise ArgumentError(f"batch_norm: expected 'frozen' or 'update'. Received: {batch_norm!r}")
    if keep_best and validation_data is None:
        raise ArgumentError("keep_best=True takes the best epoch by validation_data. Received: none.")


def _epochs(split: SplitModel, bottleneck_epochs: int, fine_tune_epochs: int) -> dict[str, int]:
    """Return how many epochs each phase has."""
    bottleneck_epochs = checked_integer("bottleneck_epochs", bottleneck_epochs, 0)
    return {
        FIT: int(is_fitted(split)),
        BOTTLENECK: 0 if split.encoder is None or is_final(split) else bottleneck_epochs,
        FINE_TUNE: checked_integer("fine_tune_epochs", fine_tune_epochs, 0),
    }


def _listed(callbacks: Any) -> list[keras.callbacks.Callback]:
    """As `fit` takes them: one alone too."""
    found = [callbacks] if isinstance(callbacks, keras.callbacks.Callback) else list(callbacks or ())
    if strange := [one for one in found if not isinstance(one, keras.callbacks.Callback)]:
        raise ArgumentError(f"callbacks: expected Keras callbacks. Received: {strange[0]!r}.")
    return found


def _request(
    split: SplitModel, epochs: dict[str, int], optimizers: dict[str, Any], loss: Any, *, keep_best: bool, **others: Any
) -> dict[str, Any]:
    """Return what a run is asked to do, as plain values: those that have to be the same for it to go on."""
    distilled = read_distillation(loss)
    return {
        "cut": [split.cut.name, list(split.cut.shape)],
        "bottleneck": bottleneck_to_json(split.bottleneck),
        "bottleneck_epochs": epochs[BOTTLENECK],
        "fine_tune_epochs": epochs[FINE_TUNE],
        "optimizer": optimizer_identity(optimizers[FINE_TUNE]),
        "bottleneck_optimizer": optimizer_identity(optimizers[BOTTLENECK]),
        "loss": distilled.identity() if distilled else loss_identity(split.loss if loss is None else loss),
        **others,
        "keep_best": bool(keep_best) or None,  # as in records that know of no such thing
    }
