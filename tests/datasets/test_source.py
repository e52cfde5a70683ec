"""Data named by a string: folders, .npz files, TensorFlow Datasets, embedded sets."""

import io
import re

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from isplit_tf.datasets import load, open_data
from isplit_tf.errors import ArgumentError, DataError


def picture(value, size=(6, 5), mode="RGB", kind="PNG"):
    """Bytes of an image of one colour; size is (height, width)."""
    channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
    file = io.BytesIO()
    Image.fromarray(np.full((*size, *channels), value, np.uint8), mode).save(file, kind)
    return file.getvalue()


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture
def folder(tmp_path):
    """Three cats of value 10 and two dogs of value 200, one of them deeper."""
    for i in range(3):
        write(tmp_path / "cat" / f"{i}.png", picture(10))
    write(tmp_path / "dog" / "0.jpg", picture(200, kind="JPEG"))
    write(tmp_path / "dog" / "more" / "1.PNG", picture(200))
    write(tmp_path / "dog" / "notes.txt", b"no image")
    write(tmp_path / ".git" / "x.png", picture(0))
    write(tmp_path / "__MACOSX" / "._0.png", b"")
    return tmp_path


def collect(data):
    xs, ys = zip(*((x.numpy(), y.numpy()) for x, y in data), strict=True)
    return np.concatenate(xs), np.concatenate(ys)


class TestFolder:
    def test_class_names_are_those_of_the_folders(self, folder):
        """Folders make the classes, sorted by name; other files and hidden folders make none."""
        data, names = open_data(folder, batch_size=2)
        assert names == ("cat", "dog")
        x, y = collect(data)
        assert (x.shape, x.dtype, y.dtype) == ((5, 6, 5, 3), np.float32, np.int64)
        assert sorted(y) == [0, 0, 0, 1, 1]
        np.testing.assert_allclose(x[y == 0], 10)
        np.testing.assert_allclose(x[y == 1], 200, atol=1)  # one is a JPEG
        assert [len(b[1]) for b in data] == [2, 2, 1]

    def test_number_of_batches_is_known(self, folder):
        """A progress bar can tell what is left."""
        assert open_data(folder, batch_size=2)[0].cardinality() == 3

    def test_images_are_brought_to_size_channels_and_dtype(self, folder):
        """The model's input says what images look like."""
        x, _ = collect(open_data(folder, image_size=(4, 8), channels=1, dtype="uint8")[0])
        assert (x.shape, x.dtype) == ((5, 4, 8, 1), np.uint8)

    def test_grey_files_keep_their_values(self, tmp_path):
        """Grey images read as grey are exact, and transparency is dropped."""
        write(tmp_path / "a" / "0.png", picture(77, mode="L"))
        write(tmp_path / "a" / "1.png", picture(77, mode="RGBA"))
        x, _ = collect(open_data(tmp_path, channels=1)[0])
        assert set(x.ravel()) == {77.0}

    def test_order_is_fixed_and_mixes_the_classes(self, tmp_path):
        """The first part of an unshuffled folder holds all classes, the same in every pass."""
        for i in range(40):
            write(tmp_path / "ab"[i % 2] / f"{i}.png", picture(i))
        data, _ = open_data(tmp_path, batch_size=40)
        (x, y), (again, _) = collect(data), collect(open_data(str(tmp_path), batch_size=40)[0])
        np.testing.assert_array_equal(x, again)
        assert 5 <= y[:20].sum() <= 15

    def test_shuffle_changes_the_order_with_each_pass(self, tmp_path):
        """Training sees the images in another order each epoch, and all of them."""
        for i in range(30):
            write(tmp_path / "a" / f"{i}.png", picture(i))
        data, _ = open_data(tmp_path, shuffle=True, seed=1)
        first, second = (collect(data)[0][:, 0, 0, 0] for _ in range(2))
        assert list(first) != list(second)
        assert sorted(first) == sorted(second) == list(range(30))

    def test_unreadable_images_are_counted_and_named_and_left_out(self, folder):
        """A broken file is told beforehand and does not stop the work half-way."""
        write(folder / "cat" / "broken.png", picture(10)[:40])
        write(folder / "dog" / "empty.jpg", b"")
        with pytest.warns(UserWarning, match=r"2 of 7 images in .* cannot be read: cat.broken.png \(.*dog.empty.jpg"):
            data, _ = open_data(folder)
        assert len(collect(data)[1]) == 5

    def test_no_readable_image_is_an_error(self, tmp_path):
        """Nothing to work with is said at once, with the reason."""
        for i in range(7):
            write(tmp_path / "a" / f"{i}.png", b"html")
        with pytest.raises(DataError, match=r"7 of 7 images .* cannot be read: a.0.png .*and 2 more\."):
            open_data(tmp_path)

    def test_no_class_folders(self, tmp_path):
        """Images outside of class folders have no class; the message says what was expected."""
        with pytest.raises(DataError, match=r"holds no folders: .*CLASS.*IMAGE"):
            open_data(tmp_path)
        write(tmp_path / "0.png", picture(1))
        with pytest.raises(DataError, match=r"holds 1 images that are in no class folder"):
            open_data(tmp_path)

    def test_class_folders_without_images(self, tmp_path):
        """Folders with other files are no data."""
        write(tmp_path / "cat" / "x.txt", b"")
        with pytest.raises(DataError, match=r"No images in the 1 folders of .* \(cat\).*\.jpeg"):
            open_data(tmp_path)

    def test_an_empty_class_keeps_its_number(self, folder):
        """A class without an image does not move the labels of the others."""
        (folder / "bird").mkdir()
        data, names = open_data(folder)
        assert names == ("bird", "cat", "dog")
        assert set(collect(data)[1]) == {1, 2}

    def test_images_of_several_sizes_need_a_size(self, folder):
        """Images that do not fit into one batch are an error that names the sizes."""
        write(folder / "dog" / "big.png", picture(1, size=(9, 9)))
        with pytest.raises(DataError, match=r"differ in size: 6x5 \(5\), 9x9 \(1\)\. Give image_size"):
            open_data(folder)
        assert collect(open_data(folder, image_size=(3, 3))[0])[0].shape == (6, 3, 3, 3)

    def test_folder_of_splits(self, folder, tmp_path_factory):
        """Folders named after splits are no classes: the split says which one."""
        root = tmp_path_factory.mktemp("splits")
        (root / "Train").symlink_to(folder, target_is_directory=True)
        write(root / "val" / "cat" / "0.png", picture(10))
        assert len(collect(open_data(root, split="train")[0])[1]) == 5
        assert len(collect(open_data(root, split="validation")[0])[1]) == 1
        with pytest.raises(DataError, match=r"holds the splits train, val, and no split is asked for\. Name one"):
            open_data(root)
        with pytest.raises(DataError, match=r"there is no split 'test'"):
            open_data(root, split="test")

    def test_split_is_not_needed_where_there_are_none(self, folder):
        """A command's own split is taken where there are splits, else the whole folder."""
        assert len(collect(open_data(folder, split="test")[0])[1]) == 5


class TestNpz:
    def test_x_and_y(self, tmp_path):
        """x and y come as they are, in their order; whole numbers as float32."""
        x = np.arange(5 * 4 * 4 * 1, dtype=np.uint8).reshape(5, 4, 4, 1)
        np.savez(tmp_path / "d.npz", x=x, y=np.array([[3], [1], [0], [2], [1]], np.int32))
        data, names = open_data(tmp_path / "d.npz", batch_size=2)
        got_x, got_y = collect(data)
        np.testing.assert_array_equal(got_x, x.astype(np.float32))
        assert (got_x.dtype, got_y.dtype, list(got_y)) == (np.float32, np.int64, [3, 1, 0, 2, 1])
        assert names is None
        assert data.cardinality() == 3

    def test_raw_images_stay_bytes(self, tmp_path):
        """dtype="uint8" gives what a camera gives; floating arrays are the model's own input and stay floating."""
        for name, x in (("u", np.full((2, 4, 4, 3), 7, np.uint8)), ("f", np.full((2, 4, 4, 3), 0.25))):
            np.savez(tmp_path / f"{name}.npz", x=x, y=[0, 1])
        assert collect(open_data(tmp_path / "u.npz", dtype="uint8")[0])[0].dtype == np.uint8
        floats = collect(open_data(tmp_path / "f.npz", dtype="uint8")[0])[0]
        assert floats.dtype == np.float32
        assert set(floats.ravel()) == {0.25}

    def test_class_names_and_splits_in_the_file(self, tmp_path):
        """Names of classes and parts by split are found by their keys."""
        np.savez(tmp_path / "d.npz", x_test=np.zeros((2, 4), np.float32), y_test=[0, 1], class_names=["no", "yes"])
        data, names = open_data(tmp_path / "d.npz", split="test")
        assert names == ("no", "yes")
        assert collect(data)[0].shape == (2, 4)

    def test_grey_images_without_a_channel_axis(self, tmp_path):
        """(N, H, W) becomes (N, H, W, C) where the model takes images, and stays a sequence where it does not."""
        np.savez(tmp_path / "d.npz", x=np.zeros((2, 4, 5), np.uint8), y=[0, 1])
        assert collect(open_data(tmp_path / "d.npz", channels=3)[0])[0].shape == (2, 4, 5, 3)
        assert collect(open_data(tmp_path / "d.npz")[0])[0].shape == (2, 4, 5)

    def test_one_hot_labels_stay(self, tmp_path):
        """One-hot labels are left as they are."""
        np.savez(tmp_path / "d.npz", x=np.zeros((3, 4)), y=np.eye(3))
        np.testing.assert_array_equal(collect(open_data(tmp_path / "d.npz")[0])[1], np.eye(3))

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"images": np.zeros((2, 4)), "y": [0, 1]}, r"must hold 'x' and 'y'\. Found: images, y\."),
            ({"x": np.zeros((2, 4)), "y": [0, 1, 2]}, r"2 images in 'x' and labels of shape \(3,\)"),
            ({"x": np.zeros((0, 4)), "y": []}, r"numbers of shape \(N, \.\.\.\)\. Found: float64 \(0, 4\)"),
            ({"x": np.array(["a", "b"]), "y": [0, 1]}, r"'x' in .* must be numbers"),
            ({"x": np.zeros((2, 4)), "y": np.array([{}, {}])}, r"cannot be read as an \.npz file of plain arrays"),
        ],
    )
    def test_wrong_content(self, tmp_path, arrays, message):
        """Missing keys, lengths that differ, no numbers, pickled objects: each is named."""
        np.savez(tmp_path / "d.npz", **arrays)
        with pytest.raises(DataError, match=message):
            open_data(tmp_path / "d.npz")

    def test_missing_keys_of_a_split(self, tmp_path):
        """With a split both pairs of keys are named."""
        np.savez(tmp_path / "d.npz", z=[1])
        with pytest.raises(DataError, match=r"must hold 'x' and 'y' or 'x_test' and 'y_test'\. Found: z\."):
            open_data(tmp_path / "d.npz", split="test")

    def test_damaged_file(self, tmp_path):
        """A half-written file is an error of the data, not of the program."""
        np.savez(tmp_path / "whole.npz", x=np.zeros((50, 4)), y=np.zeros(50, int))
        half = (tmp_path / "whole.npz").read_bytes()[:900]
        for content in (half, b"", b"no zip"):
            (tmp_path / "d.npz").write_bytes(content)
            with pytest.raises(DataError, match=r"d\.npz is no \.npz file, or a damaged one"):
                open_data(tmp_path / "d.npz")


class TestGlyphs:
    def test_split_by_name_or_argument(self):
        """glyphs:test and split="test" are the same images, those of load."""
        data, names = open_data("glyphs:test", batch_size=500, dtype="uint8")
        x, y = collect(data)
        np.testing.assert_array_equal(x, load("glyphs").test[0])
        np.testing.assert_array_equal(y, load("glyphs").test[1])
        assert names == tuple("ABCDEFGHIJ")
        assert collect(open_data("glyphs", split="validation", batch_size=500)[0])[0].shape == (1830, 28, 28, 1)
        # what the name says goes before the argument
        np.testing.assert_array_equal(collect(open_data("glyphs:test", split="train", batch_size=500)[0])[1], y)

    def test_larger_sizes_enlarge_by_whole_factors(self):
        """32x32 is a border of 2; 57x90 is twice the size with a border; smaller sizes are resized."""
        raw = load("glyphs").validation[0][:4]
        x = next(iter(open_data("glyphs:validation", image_size=(32, 32), dtype="uint8")[0]))[0].numpy()[:4]
        np.testing.assert_array_equal(x, np.pad(raw, ((0, 0), (2, 2), (2, 2), (0, 0))))
        x = next(iter(open_data("glyphs:validation", image_size=(57, 90), dtype="uint8")[0]))[0].numpy()[:4]
        np.testing.assert_array_equal(x[:, 0:56:2, 17:73:2], raw)
        assert not x[:, :, :17].any()
        x = next(iter(open_data("glyphs:validation", image_size=(14, 14), channels=3)[0]))[0]
        assert x.shape == (32, 14, 14, 3)

    def test_wrong_or_no_split(self):
        """The splits that there are are named."""
        with pytest.raises(DataError, match=r"glyphs has the splits train, validation, test, and none is asked for"):
            open_data("glyphs")
        with pytest.raises(DataError, match=r"and not 'val'\. Name one: glyphs:train"):
            open_data("glyphs:val")


class TestArguments:
    def test_missing_path(self, tmp_path):
        """A path that is not there is an error that lists what data can be."""
        message = (
            r"There is no '.*nowhere'\. Data are given as a folder of class folders, an \.npz file .*tfds:NAME.*glyphs"
        )
        with pytest.raises(DataError, match=message):
            open_data(tmp_path / "nowhere")

    def test_other_file(self, tmp_path):
        """A file of another kind is refused."""
        write(tmp_path / "d.csv", b"1,2")
        with pytest.raises(DataError, match=r"d\.csv is no \.npz file\. Data are given as"):
            open_data(str(tmp_path / "d.csv"))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"channels": 2}, r"channels must be 1 \(grey\) or 3 \(RGB\)\. Received: 2"),
            ({"image_size": (0, 4)}, r"image_size must be \(height, width\), each at least 1\. Received: \(0, 4\)"),
            ({"dtype": "float64"}, r"dtype must be one of float32, uint8\. Received: 'float64'"),
            ({"batch_size": 0}, r"batch_size must be at least 1\. Received: 0"),
        ],
    )
    def test_arguments_out_of_range(self, arguments, message):
        """Arguments are checked before anything is read."""
        with pytest.raises(ArgumentError, match=message):
            open_data("glyphs:test", **arguments)

    def test_channels_that_cannot_be_made(self, tmp_path):
        """Nothing is guessed about images of five channels."""
        np.savez(tmp_path / "d.npz", x=np.zeros((2, 4, 4, 5), np.uint8), y=[0, 1])
        with pytest.raises(DataError, match=re.escape("Images have 5 channels: no way to make 3 of them.")):
            open_data(tmp_path / "d.npz", channels=3)

    def test_result_is_a_batched_dataset(self, folder):
        """What comes back goes into every verb and into fit."""
        data, _ = open_data(folder, image_size=(8, 8))
        assert isinstance(data, tf.data.Dataset)
        x, y = data.element_spec
        assert (x.shape.as_list(), y.shape.as_list()) == ([None, 8, 8, 3], [None])
