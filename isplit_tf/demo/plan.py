"""The demo's plan: what to run where on this machine, from measured times."""

from pathlib import Path

import keras

from ..display.page import Section
from ..selection.accuracy_curve import AccuracyCurve
from ..selection.codec_curve import CodecCurve


def plan_for_this_machine(
    directory: Path, model: keras.Model, accuracy: AccuracyCurve, codecs: CodecCurve
) -> list[Section]:
    """Return the sections of the page that say what to run where, by measured times; none as long as none are measured.

    Args:
        directory: The folder of the demo.
        model: The classifier.
        accuracy: The predicted accuracy at each cut.
        codecs: Bytes and accuracy of compressed images.
    """
    return []
