"""Archives that the user already has: recognized by content, reported against the original, prepared apart."""

import json
import warnings

import numpy as np
import pytest
import tensorflow_datasets as tfds

from isplit_tf.datasets import from_archive, open_data
from isplit_tf.errors import DataError
from support.archive_kit import examples, glyph, image, make_tar, make_zip

PATH_AND_KIND = pytest.mark.parametrize("make", [make_zip, make_tar])


def letters(root="notMNIST_small/", count=10, start=0):
    """Letters A and B of distinct values, far from each other."""
    return {
        f"{root}{letter}/{start + i}.png": image(stripes(start + i, bend), form="PNG")
        for bend, letter in enumerate("AB")
        for i in range(count)
    }


def stripes(number, bend):
    """A 28x28 picture that shows a number: its bits as rows or columns."""
    bits = np.array([255 if number >> (i // 4) & 1 else 0 for i in range(28)], np.uint8)
    picture = np.broadcast_to(bits, (28, 28)).copy()
    picture[:, 24:] = 255
    return picture.T if bend else picture


def xrays(root="chest_xray/"):
    """Twelve patients of each class in train, two in test."""
    files = {f"{root}train/NORMAL/IM-{i:04}-0001.jpeg": image((i * 20, 100, 0)) for i in range(12)}
    files |= {f"{root}train/PNEUMONIA/person{i}_virus_{i}.jpeg": image((i * 20, 0, 200)) for i in range(12)}
    files |= {f"{root}test/NORMAL/IM-01{i:02}-0001.jpeg": image((i * 100, 255, 0)) for i in range(2)}
    return files | {f"{root}test/PNEUMONIA/person2{i}_bacteria_{i}.jpeg": image((0, i * 100, 255)) for i in range(2)}


def quiet(path, data_dir):
    """The builder, without the warning about what is missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return from_archive(path, data_dir)


@PATH_AND_KIND
def test_recognized_by_content(tmp_path, make):
    """The layout inside tells the data set, whatever the file and the folders above are called."""
    path = make(tmp_path / "archive.bin", xrays("download/2/chest_xray/"))
    with pytest.warns(UserWarning, match=r"archive\.bin") as caught:
        builder = from_archive(path, tmp_path / "tfds")
    assert str(caught[0].message) == (
        "archive.bin (chest_xray_pneumonia): 5,208 images missing in train, where the original has 5,232. "
        "620 images missing in test, where the original has 624."
    )
    assert builder.name == "chest_xray_pneumonia"
    assert {split: info.num_examples for split, info in builder.info.splits.items()} == {
        "train": 20,
        "validation": 4,
        "test": 4,
    }
    found = builder.info.metadata
    assert found["missing"]["test"] == {"images": 620, "of": 624, "classes": {"NORMAL": 232, "PNEUMONIA": 388}}
    assert found["splits"]["validation"] == {"NORMAL": 2, "PNEUMONIA": 2}
    assert examples(builder)["test"][0]["name"].startswith("test/")
    json.dumps(dict(found))


def test_part_of_an_archive_has_the_splits_that_it_can_have(tmp_path):
    """Without the test folder there is no test split, and all of it is reported missing."""
    files = {name: content for name, content in xrays().items() if "/test/" not in name}
    builder = quiet(make_zip(tmp_path / "a.zip", files), tmp_path / "tfds")
    assert set(builder.info.splits) == {"train", "validation"}
    assert builder.info.metadata["missing"]["test"]["images"] == 624


def test_val_folder_counts_as_train(tmp_path):
    """A copy that moved some training images into a folder val misses none of them."""
    moved = {
        name.replace("train", "val") if i % 3 == 0 else name: content
        for i, (name, content) in enumerate(xrays().items())
    }
    builder = quiet(make_zip(tmp_path / "a.zip", moved), tmp_path / "tfds")
    assert builder.info.metadata["missing"]["train"]["images"] == 5232 - 24


def test_second_copy_inside_an_archive_is_counted_and_not_read_twice(tmp_path):
    """An archive that holds the data set twice, in a folder of the same name, is read once."""
    files = xrays() | xrays("chest_xray/chest_xray/")
    builder = quiet(make_zip(tmp_path / "a.zip", files), tmp_path / "tfds")
    assert (builder.info.metadata["images"], builder.info.metadata["elsewhere"]) == (28, 28)
    assert builder.info.metadata["duplicates"]["groups"] == 0


def test_unreadable_files_are_counted_and_named(tmp_path):
    """What cannot be decoded, has another shape, or is not what its name says is left out, with the reason."""
    files = letters()
    files |= {
        "notMNIST_small/A/half.png": files["notMNIST_small/A/0.png"][:60],
        "notMNIST_small/B/big.png": image(7, size=(30, 20), form="PNG"),
        "notMNIST_small/B/text.png": b"<html>",
        "notMNIST_small/C/empty.png": b"",
    }
    with pytest.warns(
        UserWarning, match=r"4 files unreadable: A/half\.png \(.+\); B/big\.png \(30x20 pixels, not 28x28"
    ):
        builder = from_archive(make_tar(tmp_path / "a.tar.gz", files), tmp_path / "tfds")
    found = builder.info.metadata
    assert found["images"] == 20
    assert found["unreadable"]["count"] == 4
    assert set(found["unreadable"]["files"]) == {"A/half.png", "B/big.png", "B/text.png", "C/empty.png"}
    assert found["unreadable"]["files"]["C/empty.png"] == "empty"


def test_duplicates_with_several_labels(tmp_path):
    """The same picture under two labels is counted as such and stays in one split."""
    files = letters()
    files["notMNIST_small/B/twin.png"] = files["notMNIST_small/A/0.png"]
    builder = quiet(make_zip(tmp_path / "a.zip", files), tmp_path / "tfds")
    assert builder.info.metadata["duplicates"] == {
        "groups": 1,
        "images": 2,
        "surplus": 1,
        "with_several_labels": 1,
        "across_parts": 0,
        "files": [["A/0.png", "B/twin.png"]],
    }
    splits = {row["name"]: split for split, rows in examples(builder).items() for row in rows}
    assert splits["A/0.png"] == splits["B/twin.png"]


def test_two_archives_never_share_prepared_data(tmp_path):
    """Another archive of the same name has its own prepared data; the same one under another name shares it."""
    first, second, third = tmp_path / "1", tmp_path / "2", tmp_path / "3"
    for folder in (first, second, third):
        folder.mkdir()
    made = [
        quiet(make_zip(folder / name, letters(start=start)), tmp_path / "tfds")
        for folder, name, start in ((first, "a.zip", 0), (second, "a.zip", 64), (third, "other.zip", 0))
    ]
    names = [sorted(row["name"] for rows in examples(builder).values() for row in rows) for builder in made]
    assert names[0] == names[2] != names[1]
    assert made[0].data_path == made[2].data_path != made[1].data_path
    assert made[0].builder_config.name == f"archive_{made[0].info.metadata['archive']['sha256'][:16]}"
    # and it can be opened by name afterwards, without the archive
    name = f"notmnist/{made[1].builder_config.name}"
    assert tfds.builder(name, data_dir=tmp_path / "tfds").info.splits.total_num_examples == 20
    x, _ = next(iter(open_data(f"tfds:{name}:test", data_dir=str(tmp_path / "tfds"))[0]))
    assert x.shape == (4, 28, 28, 1)


def test_prepared_data_of_another_archive_are_refused(tmp_path):
    """Should the folder of an archive hold another one's data, they are not taken for its own."""
    path = make_zip(tmp_path / "a.zip", letters())
    record = quiet(path, tmp_path / "tfds").data_path / "metadata.json"
    record.write_text(record.read_text().replace('"sha256": "', '"sha256": "0'))
    with pytest.raises(
        DataError, match=r"was prepared from another archive, a\.zip, with the SHA-256 0.*another data_dir"
    ):
        quiet(path, tmp_path / "tfds")


def test_original_that_cannot_be_told(tmp_path):
    """Letters in a folder of another name are read; nothing is said about what would be missing."""
    with pytest.warns(UserWarning, match=r"told by nothing: its folder is not named notMNIST_small or notMNIST_large"):
        builder = from_archive(make_zip(tmp_path / "a.zip", letters("glyphs/")), tmp_path / "tfds")
    assert builder.info.metadata["missing"] == {}
    assert builder.info.metadata["original"]["url"] is None


def test_large_is_told_by_its_folder(tmp_path):
    """The folder's name says which original an archive is a part of."""
    builder = quiet(make_zip(tmp_path / "a.zip", letters("x/notMNIST_large/")), tmp_path / "tfds")
    assert builder.info.metadata["missing"] == {"all": {"images": 529_094, "of": 529_114}}


def test_tiny_imagenet_without_annotations_or_sorted_by_class(tmp_path):
    """Val images without labels are not used; val images sorted into classes have their labels from there."""
    train = {f"train/n01443537/images/n01443537_{i}.JPEG": image((i, 0, 9)) for i in range(10)}
    train["train/n00000000/images/n00000000_0.JPEG"] = image((9, 9, 9))  # no class of the 200
    files = train | {f"val/images/val_{i}.JPEG": image((0, i, 9)) for i in range(3)}
    builder = quiet(make_zip(tmp_path / "a.zip", files), tmp_path / "tfds")
    assert set(builder.info.splits) == {"train", "validation"}
    assert builder.info.metadata["images"] == 10
    assert builder.info.metadata["unlabelled"] == {"val": 3}
    files = train | {f"val/n01443537/images/val_{i}.JPEG": image((0, i, 9)) for i in range(3)}
    builder = quiet(make_zip(tmp_path / "b.zip", files), tmp_path / "tfds")
    assert builder.info.splits["test"].num_examples == 3


def test_val_alone_is_recognized(tmp_path):
    """A part with no class in any path is told by its folders; what merely lies in folders of such names is not."""
    files = {f"val/images/val_{i}.JPEG": image((0, i * 90, 9)) for i in range(2)}
    notes = {"val/val_annotations.txt": b"val_0.JPEG\tn01443537\t0\t0\t1\t1\nval_1.JPEG\tn01443537\t0\t0\t1\t1\n"}
    builder = quiet(make_zip(tmp_path / "a.zip", files | notes), tmp_path / "tfds")
    assert (builder.name, list(builder.info.splits)) == ("tiny_imagenet200", ["test"])
    files |= {f"a/{name}": content for name, content in letters().items()}
    assert quiet(make_zip(tmp_path / "b.zip", files), tmp_path / "tfds").name == "notmnist"


def test_nothing_is_unpacked(tmp_path):
    """Preparing writes prepared data below data_dir, and nothing anywhere else."""
    home = tmp_path / "home"
    home.mkdir()
    path = make_zip(
        home / "a.zip", letters() | {"../../evil.png": glyph(1), "notMNIST_small/A/../../evil.png": glyph(2)}
    )
    with pytest.warns(UserWarning, match=r"2 files refused: \.\./\.\./evil\.png \(its name leads out of the archive\)"):
        builder = from_archive(path, tmp_path / "tfds")
    assert builder.info.splits.total_num_examples == 20
    assert not list(tmp_path.rglob("*.png"))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"docs/readme.txt": b"x"},
            r"holds none of the data sets .*tiny_imagenet200\. Found: docs/readme\.txt\. Expected",
        ),
        ({}, r"holds none of the data sets .*Found: no files"),
        ({"A/1.png": b"", "B/2.png": b"x"}, r"holds no readable, labelled image of notmnist"),
    ],
)
def test_archives_that_hold_nothing(tmp_path, files, message):
    """An archive of something else, an empty one, and one of broken files: the message says which."""
    with pytest.raises(DataError, match=message):
        from_archive(make_zip(tmp_path / "a.zip", files), tmp_path / "tfds")
    assert not list((tmp_path / "tfds").rglob("dataset_info.json"))


def test_open_data_takes_an_archive(tmp_path):
    """An archive is data like a folder is: by its path, with a split."""
    path = make_zip(tmp_path / "a.zip", xrays())
    with pytest.warns(UserWarning, match=r"images missing in train"):
        data, names = open_data(path, split="test", image_size=(4, 4), data_dir=str(tmp_path / "tfds"))
    x, y = next(iter(data))
    assert (x.shape, sorted(y.numpy()), names) == ((4, 4, 4, 3), [0, 0, 1, 1], ("NORMAL", "PNEUMONIA"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with pytest.raises(DataError, match=r"a\.zip differ in size\. Give image_size"):
            open_data(path, split="test", data_dir=str(tmp_path / "tfds"))
        with pytest.raises(DataError, match=r"has no split 'val'\. It has: "):
            open_data(path, split="val", data_dir=str(tmp_path / "tfds"))


def test_standard_output_stays_clean(tmp_path, capsys):
    """Messages of TensorFlow Datasets go to standard error: standard output is the caller's."""
    quiet(make_zip(tmp_path / "a.zip", letters()), tmp_path / "tfds")
    assert capsys.readouterr().out == ""
