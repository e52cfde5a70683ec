"""The metrics of a training for TensorBoard."""

import os

import tensorflow as tf
from tensorflow.core.framework import summary_pb2

from ..errors import ArgumentError
from .history import Epoch

_VALIDATION = "val_"


class Summaries:
    """A writer of scalars for TensorBoard, with one tag per phase and metric, such as `fine_tune/accuracy`.

    Metrics of the training data are in the run "train", those of the validation data in the run "validation". Both have
    the same tag, so that TensorBoard draws them into one chart. The step is the number of the epoch within its phase.
    The package `tensorboard` is needed only to view the scalars.

    Args:
        directory: Directory of the files; None to write nothing.

    Raises:
        ArgumentError: If the directory is a file.
    """

    def __init__(self, directory: str | os.PathLike[str] | None):
        self._directory = None if directory is None else os.fspath(directory)
        if self._directory is not None and os.path.isfile(self._directory):
            raise ArgumentError(f"tensorboard_dir: '{self._directory}' is a file. Expected a directory.")

    def write(self, epoch: Epoch) -> None:
        """Write the metrics of one epoch to disk at once."""
        if self._directory is None:
            return
        metrics = dict(epoch.metrics) | {"duration_s": epoch.duration_s}
        validation = {
            name.removeprefix(_VALIDATION): metrics.pop(name) for name in list(metrics) if _VALIDATION in name[:4]
        }
        # This writes what tf.summary.scalar would write, which needs the package tensorboard.
        plugin = summary_pb2.SummaryMetadata.PluginData(plugin_name="scalars")
        metadata = summary_pb2.SummaryMetadata(plugin_data=plugin, data_class=summary_pb2.DATA_CLASS_SCALAR)
        for run, values in (("train", metrics), ("validation", validation)):
            if not values:
                continue
            writer = tf.summary.create_file_writer(os.path.join(self._directory, run))
            with writer.as_default():
                for name, value in values.items():
                    tag = f"{epoch.phase}/{name}"
                    tf.summary.write(tag, tf.constant(value, tf.float32), step=epoch.number, metadata=metadata)
            writer.close()
