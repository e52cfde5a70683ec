"""The demo's plan: what to run where on this machine, from measured times."""

import keras

from ..display.page import Section
from ..selection.accuracy_curve import AccuracyCurve
from ..selection.codec_curve import CodecCurve


def plan_for_this_machine(model: keras.Model, accuracy: AccuracyCurve, codecs: CodecCurve) -> list[Section]:
    """Return the sections of the page that say what to run where, by measured times; none as long as none are measured.

    Args:
        model: The classifier.
        accuracy: The predicted accuracy at each cut.
        codecs: Bytes and accuracy of compressed images.
    """
    return []
