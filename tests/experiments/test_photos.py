"""The study of photos: a trained network and an archive that are given, and classes beyond a byte."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from isplit_tf.errors import DataError
from isplit_tf.experiments.catalogue import EXPERIMENTS, SCALES
from isplit_tf.experiments.images import open_images
from isplit_tf.experiments.jobs import Job, is_ready, open_jobs, packed, unpacked
from isplit_tf.experiments.originals import Workshop, form_of, preparation
from isplit_tf.experiments.recipes import DataRecipe
from isplit_tf.sweep.store import Store

STUDY = SCALES["cpu"]["lite1_photos"]
LABELS = (3, 17, 500, 999, 2)


@pytest.fixture
def archives(tmp_path):
    """A folder with an archive of five grey photos, each as bright as its place."""
    with zipfile.ZipFile(tmp_path / "imagenet_photos.zip", "w") as archive:
        for k, label in enumerate(LABELS):
            file = io.BytesIO()
            Image.fromarray(np.full((8, 8, 3), 40 * k, np.uint8)).save(file, "PNG")
            archive.writestr(f"{label:03}_n0_thing.jpg", file.getvalue())
        archive.writestr("README.txt", "none of them")
    return tmp_path


@pytest.mark.parametrize(
    ("recipe", "tested"), [(DataRecipe("imagenet_photos", 8), 3), (DataRecipe("imagenet_photos", 8, test=2), 2)]
)
def test_every_second_photo_is_for_tests(archives, recipe, tested):
    """In the order of their names; pixels as they are, inputs prepared, labels the numbers in the names."""
    images = open_images(recipe, preparation(STUDY.model), archives=archives, data_dir=None)
    assert images.test[1].tolist() == [2, 17, 999][:tested]
    assert images.train[1].tolist() == [3, 500]
    assert images.test_pixels[:2, 0, 0, 0].tolist() == [160, 40]
    np.testing.assert_allclose(images.test[0][:2, 0, 0, 0], (np.array([160, 40]) - 127) / 128)
    assert images.n_classes == 1000
    assert len(images.validation[1]) == len(images.original_train[1]) == 0


def test_what_is_not_there_is_named(tmp_path):
    """The archive and the trained network, with the options that give them."""
    with pytest.raises(DataError, match=r"needs imagenet_photos\.zip, .*--archives DIR"):
        open_images(STUDY.data, preparation(STUDY.model), archives=tmp_path, data_dir=None)
    with pytest.raises(DataError, match=r"needs efficientnet_lite1_imagenet\.keras, .*--weights DIR"):
        Workshop(STUDY, tmp_path, weights=tmp_path).original_of(0)
    assert form_of(STUDY.model) == {"mean": 127.0, "std": 128.0}


@pytest.mark.parametrize("classes", [[], [0, 255], [0, 256, 999], [65535]], ids=str)
def test_any_classes_are_packed(classes):
    """Up to 256 in a byte each, as ever; more in two."""
    text = packed(np.array(classes, np.int64))
    assert unpacked(text).tolist() == classes
    assert text.startswith(":") == (max(classes, default=0) > 255)


def test_its_jobs_are_rates_and_codecs_alone(tmp_path):
    """Nothing is scored or trained; the cuts are known once the original is there."""
    store = Store(tmp_path / "photos.jsonl")
    wanted = [EXPERIMENTS["rate_accuracy"]]
    first = open_jobs(STUDY, wanted, store)
    assert [job.key for job in first] == ["original seed0", *(f"codec seed0 {name}" for name in STUDY.codecs)]
    assert not is_ready(STUDY, store, first[1])
    cuts = [{"name": name} for name in ("stem", *STUDY.rate_cuts)]
    store.append({"key": "original seed0", "kind": "original", "seed": 0, "cuts": cuts})
    jobs = open_jobs(STUDY, wanted, store)
    assert len(jobs) == len(STUDY.rates) * 4 + 3
    assert {job.cut for job in jobs if job.kind == "rate"} == {1, 2, 3, 4}
    assert all(is_ready(STUDY, store, job) for job in jobs)
    assert Job("photos", "codec", 0, codec="avif").key in [job.key for job in jobs]
