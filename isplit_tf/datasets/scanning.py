"""One pass over an archive: which images it holds, which of them can be read, which are the same."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..display.progress import bar
from .archives import Archive, Member, UnreadableError


@dataclass(frozen=True)
class Place:
    """Where an image stands in a data set's layout.

    Attributes:
        root: What stands before the data set's own folders in its path, with the `/`.
        part: The part of the original data set: "train", "test".
        label: The class; None where the path does not tell.
    """

    root: str
    part: str
    label: str | None = None


@dataclass(frozen=True, eq=False)
class Picture:
    """A readable image of an archive.

    Attributes:
        path: Its name in the archive.
        name: The same without the layout's root: the same in every copy of the data set.
        part: The part of the original data set.
        label: The class, or None while it is not known.
        digest: SHA-256 of shape and pixels: equal for equal images.
        pixels: uint8 `(H, W, C)`, where they were asked for.
    """

    path: str
    name: str
    part: str
    label: str | None
    digest: bytes
    pixels: np.ndarray | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Layout:
    """How a data set lies in its archive.

    Attributes:
        locate: The place of an image by its path in the archive; None for what is no image of the data set.
        channels: 1 for grey, 3 for RGB.
        shape: What every image must have, `(H, W)`; None where they differ.
        unlabelled: Parts that are counted and not read, since they have no labels.
        texts: Last parts of the paths of text files that are wanted too.
        keep_pixels: Whether pixels are wanted.
    """

    locate: Callable[[str], Place | None]
    channels: int
    shape: tuple[int, int] | None = None
    unlabelled: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()
    keep_pixels: bool = False


@dataclass(frozen=True)
class Scan:
    """What an archive holds.

    Attributes:
        root: The folder of the data set in the archive, with the `/`; the one with most images, where there are more.
        pictures: The readable images, in the archive's order.
        unreadable: Reasons by name.
        unlabelled: Number of images by part that has no labels.
        elsewhere: Number of images under other roots: second copies, as some archives hold them.
        refused: Reasons by name for what is no file of a data set.
        texts: Text files by the last parts of their paths.
    """

    root: str
    pictures: list[Picture]
    unreadable: Mapping[str, str]
    unlabelled: Mapping[str, int]
    elsewhere: int
    refused: Mapping[str, str]
    texts: Mapping[str, str]


def scan_archive(archive: Archive, layout: Layout) -> Scan:
    """Go through an archive once and decode every image.

    Raises:
        DataError: The archive is damaged as a whole.
    """
    pictures: dict[str, list[Picture]] = {}
    unreadable: dict[str, dict[str, str]] = {}
    unlabelled: dict[str, Counter[str]] = {}
    texts = {}
    for member in bar(archive.members(), desc=f"reading {archive.path.name}", unit=" files"):
        place = layout.locate(member.name)
        if place is None:
            wanted = next((text for text in layout.texts if f"/{member.name}".endswith(f"/{text}")), None)
            if wanted is not None and wanted not in texts:
                texts[wanted] = _read_text(member)
            continue
        name = member.name[len(place.root) :]
        pictures.setdefault(place.root, [])
        if place.part in layout.unlabelled:
            unlabelled.setdefault(place.root, Counter())[place.part] += 1
            continue
        try:
            pixels = decode(member.read(), layout)
        except UnreadableError as error:
            unreadable.setdefault(place.root, {})[name] = str(error)
            continue
        digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
        kept = pixels if layout.keep_pixels else None
        pictures[place.root].append(Picture(member.name, name, place.part, place.label, digest, kept))
    root = min(pictures, key=lambda root: (-len(pictures[root]), root), default="")
    return Scan(
        root=root,
        pictures=pictures.get(root, []),
        unreadable=unreadable.get(root, {}),
        unlabelled=unlabelled.get(root, {}),
        elsewhere=sum(len(found) for other, found in pictures.items() if other != root),
        refused=dict(archive.refused),
        texts=texts,
    )


def decode(content: bytes, layout: Layout) -> np.ndarray:
    """Decode an image as it will be decoded when the data set is read.

    Returns:
        uint8 `(H, W, C)`.

    Raises:
        UnreadableError: It is no whole image, or not of the data set's shape.
    """
    import tensorflow as tf  # here, so that registering the builders does not load it

    try:
        pixels = tf.io.decode_image(content, channels=layout.channels, expand_animations=False).numpy()
    except tf.errors.InvalidArgumentError as error:
        reason = error.message.splitlines()[0].split(" [Op:")[0].removeprefix("{{function_node ")
        raise UnreadableError(reason.split("}} ")[-1][:120] if content else "empty") from error
    if layout.shape is not None and pixels.shape[:2] != layout.shape:
        raise UnreadableError(f"{_size(pixels.shape)} pixels, not {_size(layout.shape)}")
    return pixels


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]}"


def _read_text(member: Member) -> str:
    try:
        return member.read().decode("utf-8", errors="replace")
    except UnreadableError:
        return ""
