"""The answer of the demo to the question whether to split follows from its figures, and so does the page."""

from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from isplit_tf.demo.page import write_page
from isplit_tf.demo.pictures import Pictures
from isplit_tf.demo.report import DemoReport, smallest_images
from isplit_tf.display.page import Section
from isplit_tf.evaluation.evaluation import Evaluation
from isplit_tf.graph.cuts import Cut
from isplit_tf.selection.candidates import Candidate, Candidates
from isplit_tf.selection.codec_curve import CodecCurve


@pytest.fixture
def report():
    """Figures of a split that pays."""
    accuracy = dict.fromkeys(("original", "split", "exported", "png", "jpeg", "webp"), (0.98, 0.97, 0.99))
    sizes = {"payload": 60, "float_latent": 256, "features": 4096, "raw": 1024, "png": 340.0, "jpeg": 450.0}
    return DemoReport(
        cut="pool",
        n_test=100,
        accuracy=accuracy,
        frame_bytes=sizes | {"webp": 180.0},
        qualities={"png": None, "jpeg": 10, "webp": 50},
        head_bytes=1234,
        head_macs=40,
        model_macs=100,
        latency_ms={"head": 1.0, "wire": 1.0, "tail": 2.0},
        seconds={"classifier": 1.0},
        processor_seconds={"start": 4.0, "classifier": 1.5},
    )


def test_a_small_payload_is_a_reason_to_split(report):
    """Bytes against the smallest image that keeps the accuracy, and the head's share of the work."""
    answer = " ".join(report.answer())
    assert answer.startswith("Where bytes are scarce or the image may not leave the device, yes")
    assert "3.0 times as many bytes" in answer
    assert "(WebP 50) takes 180 bytes" in answer
    assert "40% of the model's multiply-accumulates" in answer


def test_an_image_that_loses_accuracy_does_not_count(report):
    """The smallest image is looked for among those within half a point."""
    worse = replace(report, accuracy=report.accuracy | {"webp": (0.9, 0.89, 0.91)})
    assert "(PNG) takes 340 bytes" in " ".join(worse.answer())


@pytest.mark.parametrize(
    ("payload", "exported", "says"),
    [(200, 0.98, "Not to save bytes"), (60, 0.95, "Not like this: 3.0 points"), (180, 0.976, "Not to save bytes")],
)
def test_a_split_that_does_not_pay_is_not_recommended(report, payload, exported, says):
    """A payload above the image's, or an accuracy that is lost, is said first."""
    accuracy = report.accuracy | {"exported": (exported, exported - 0.01, exported + 0.01)}
    other = replace(report, accuracy=accuracy, frame_bytes=report.frame_bytes | {"payload": payload})
    assert other.answer()[0].startswith(says)
    assert says in other.table()


def test_the_smallest_image_of_each_format_keeps_the_accuracy():
    """Of each format the smallest within half a point, else the one with the highest accuracy."""
    labels = np.zeros(1000, np.int64)

    def right(n):
        return (np.arange(1000) >= n).astype(np.int64)

    codecs = CodecCurve(
        codecs=["JPEG", "JPEG", "JPEG", "WEBP", "WEBP", "PNG"],
        qualities=[1, 10, 50, 1, 10, None],
        sizes=np.full((6, 2), 32),
        sent_bytes=np.array([[100], [200], [300], [50], [90], [400]]).repeat(1000, axis=1),
        labels=labels,
        predictions=np.stack([right(n) for n in (900, 996, 1000, 700, 800, 1000)]),
        original_predictions=labels,
        class_names=None,
        model_name="net",
    )
    found = smallest_images(codecs)
    assert {name: (image.quality, image.mean_bytes) for name, image in found.items()} == {
        "png": (None, 400),
        "jpeg": (10, 200),
        "webp": (10, 90),
    }


class _Headings(HTMLParser):
    """The headings of a page, and what it would fetch."""

    def __init__(self):
        super().__init__()
        self.found, self.fetched, self._open = [], [], False

    def handle_starttag(self, tag, attributes):
        self._open = tag == "h2"
        self.fetched += [value for name, value in attributes if name in ("src", "href") and not value.startswith("#")]

    def handle_data(self, data):
        if self._open:
            self.found.append(data)
        self._open = False


def test_the_page_opens_with_the_question(report, tmp_path):
    """First the answer, then the plan, then what it rests on; wide tables reach beyond the text; nothing is fetched."""
    cut = Cut("pool", 1, "MaxPooling2D", (2, 2, 4), 16, 64, 1, 2, 40, 60)
    chosen = Candidate(cut, 0.1, True, True, 60, 3, 4, "predicted accuracy 1 of 2", predicted_accuracy=0.98)
    early = replace(
        chosen, cut=replace(cut, name="conv", index=0, head_macs=10, tail_macs=90), predicted_accuracy=0.975
    )
    exported = Evaluation(np.array([0, 1, 1]), np.array([0, 1, 0]), 2, ("A", "B"))
    pictures = Pictures(tmp_path)
    pictures.shown.update(dict.fromkeys(("bytes.png", "curve.png"), "<svg></svg>"))
    plan = [Section("A plan for this machine", "Run all of it here.")]
    write_page(tmp_path / "report.html", report, Candidates([chosen, early]), exported, "Not here.", plan, pictures)
    text = (tmp_path / "report.html").read_text()
    page = _Headings()
    page.feed(text)
    assert page.found[:2] == ["Should I split?", "A plan for this machine"]
    assert page.fetched == []
    assert "conv has the cheapest head, with 14% of the work" in text
    assert "<td>44%</td>" in text
    assert "max-width: min(100vw" in text
