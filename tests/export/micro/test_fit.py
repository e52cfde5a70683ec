"""Budgets of flash and RAM: what does not fit is refused with figures, and the cut that is named does fit."""

import dataclasses
import re

import numpy as np
import pytest

import isplit_tf as isplit
from isplit_tf.errors import ArgumentError, ExportError
from isplit_tf.export.bundle import export_bundle
from isplit_tf.export.micro.fit import _advice
from isplit_tf.export.micro.head import Needs
from isplit_tf.export.micro.search import Budget, search
from support import tiny

pytest.importorskip("tflite_micro", reason="TensorFlow Lite Micro is not installed: pip install 'isplit-tf[micro]'")


@pytest.fixture(scope="module")
def images(train_images) -> np.ndarray:
    """The same images in the model's own space."""
    return train_images[:16] / np.float32(255)


def export(split, directory, train_images, **budget):
    """An export for a microcontroller."""
    return export_bundle(
        split,
        directory,
        representative_data=train_images,
        preprocessing=tiny.PREPROCESSING,
        target="microcontroller",
        overwrite=True,
        progress=False,
        **budget,
    )


def test_a_budget_of_exactly_what_is_needed(micro_bundle, halves, train_images, tmp_path):
    """A head fits where flash and RAM are what the manifest says, and not where one of them is a byte less."""
    micro = micro_bundle.manifest.microcontroller
    export(halves, tmp_path / "b", train_images, flash_bytes=micro["flash_bytes"], ram_bytes=micro["ram_bytes"])
    names = [field.name for field in dataclasses.fields(Needs)]
    needs = Needs(**{name: micro[name] for name in names})
    assert not Budget(ram_bytes=micro["ram_bytes"] - 1).holds(needs)
    with pytest.raises(ExportError, match="does not fit into") as refused:
        export(halves, tmp_path / "c", train_images, flash_bytes=micro["flash_bytes"] - 1)
    for name in names:
        assert f"{micro[name]:,}" in str(refused.value)
    assert not (tmp_path / "c").exists()


def test_the_cut_that_is_named_fits(original, train_images, tmp_path):
    """Splitting at the named cut and exporting with the same budget works, and needs what was said."""
    split = isplit.split(original, isplit.find_cuts(original)[-2])
    needed = export(split, tmp_path / "late", train_images).manifest.microcontroller
    with pytest.raises(ExportError, match=r"The best cut that fits \(the last one; no curve was given") as refused:
        export(split, tmp_path / "refused", train_images, flash_bytes=needed["flash_bytes"] - 16)
    index = int(re.search(r"\(index (\d+)\)", str(refused.value)).group(1))
    assert index < split.cut.index
    again = isplit.split(original, index)
    micro = export(
        again, tmp_path / "fits", train_images, flash_bytes=needed["flash_bytes"] - 16
    ).manifest.microcontroller
    measured = str(refused.value).split("whose head was measured")[1]
    assert f"{micro['ram_bytes']:,} bytes of RAM" in measured
    # The file's size depends a little on names and on how the numbers fall, and no more.
    said = int(re.search(r"([\d,]+) bytes of flash", measured).group(1).replace(",", ""))
    assert abs(said - micro["flash_bytes"]) <= 64


def test_with_a_curve_importance_decides(halves, original, images, test_data):
    """With a curve, the first of its proposals that fits is named, wherever it is in the network."""
    x, y = test_data
    curve = isplit.measure_importance(original, (x / np.float32(255), y), progress=False)
    order = [candidate.cut for candidate in isplit.propose(curve)] + sorted(
        curve.cuts, key=lambda cut: -curve.values[[c.index for c in curve.cuts].index(cut.index)]
    )
    wanted = next(cut for cut in order if cut.index != halves.cut.index)
    found = search(
        halves, Budget(flash_bytes=10**6), precision="int8", representative=images, curve=curve, progress=False
    )
    assert found.cut is not None
    assert (found.cut.index, found.tried) == (wanted.index, 1)


def test_with_predicted_accuracies_the_highest_that_fits_is_named(halves, original, images, test_data):
    """Whatever its importance; the error says what it ranks by, and a cut that dropped out of a race comes last."""
    x, y = test_data
    data = x / np.float32(255), y
    predicted = isplit.predict_accuracy(original, data, fit_data=data, latent_size=4, progress=False)
    order = sorted(range(len(predicted.cuts)), key=lambda k: -predicted.accuracy[k])
    wanted = next(predicted.cuts[k] for k in order if predicted.cuts[k].index != halves.cut.index)
    budget = Budget(flash_bytes=10**6)
    found = search(halves, budget, precision="int8", representative=images, curve=predicted, progress=False)
    assert found.cut is not None
    assert found.cut.index == wanted.index
    assert "(by predicted accuracy)" in _advice(found, predicted)


def test_where_nothing_fits(halves, images):
    """A budget below every head names none; what arithmetic shows to be too large is not even converted."""
    found = search(halves, Budget(flash_bytes=300), precision="int8", representative=images, progress=False)
    assert (found.cut, found.needs, found.tried, found.untried) == (None, None, 0, 0)
    assert found.estimated > 0
    some = search(halves, Budget(ram_bytes=2500), precision="int8", representative=images, progress=False)
    assert some.cut is None
    assert some.tried > 0


@pytest.mark.parametrize("compression", [None, 0.5])
def test_the_network_before_the_bottleneck(original, compression, test_data):
    """Without its bottleneck a split is the original again, to the bit, with the same cuts; the split is unchanged."""
    split = tiny.make_split(original, compression=compression)
    x = test_data[0][:8] / np.float32(255)
    before = split.model(x).numpy()
    whole = split.without_bottleneck()
    np.testing.assert_array_equal(whole(x).numpy(), original(x).numpy())
    assert [cut.shape for cut in isplit.find_cuts(whole)] == [cut.shape for cut in isplit.find_cuts(original)]
    np.testing.assert_array_equal(split.model(x).numpy(), before)


BAD_REQUESTS = {
    "flash": ({"target": "microcontroller", "flash_bytes": 0}, "flash_bytes: expected an integer of at least 1"),
    "ram": ({"target": "microcontroller", "ram_bytes": 1.5}, "ram_bytes: expected an integer of at least 1"),
    "elsewhere": ({"flash_bytes": 10**6}, "flash_bytes are for target='microcontroller' only. Received: target=None"),
    "precision": ({"target": "microcontroller", "precision": "dynamic"}, "int8, int16x8, float32; float16 and dynamic"),
    "npu": ({"target": "microcontroller", "ethos_u": "ethos-u1"}, "accelerator must be one of ethos-u55-32"),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_bad_requests_are_refused_before_any_work(name, halves, train_images, tmp_path):
    """What cannot be is said at once, and nothing is written."""
    changes, message = BAD_REQUESTS[name]
    arguments = {"representative_data": train_images, "preprocessing": tiny.PREPROCESSING} | changes
    with pytest.raises(ArgumentError, match=message):
        export_bundle(halves, tmp_path / "b", **arguments)
    assert not any(tmp_path.iterdir())
