"""One pass over an archive that finds its images, those that cannot be read, and duplicates."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..display.progress import bar
from .archives import Archive, Member, UnreadableError


@dataclass(frozen=True)
class Place:
    """The position of an image in the layout of its data set.

    Attributes:
        root: The part of the path before the data set's own folders, with the `/`.
        part: The part of the original data set: "train", "test".
        label: The class, or None if the path does not contain it.
    """

    root: str
    part: str
    label: str | None = None


@dataclass(frozen=True, eq=False)
class Picture:
    """A readable image of an archive.

    Attributes:
        path: Path in the archive.
        name: Path without the layout's root; the same in every copy of the data set.
        part: The part of the original data set.
        label: The class, or None while it is not known.
        digest: SHA-256 of shape and pixels; equal for equal images.
        pixels: uint8 `(H, W, C)` if the layout keeps pixels, else None.
    """

    path: str
    name: str
    part: str
    label: str | None
    digest: bytes
    pixels: np.ndarray | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Layout:
    """The layout of a data set in its archive.

    Attributes:
        locate: Returns the place of an image from its path in the archive, or None for files that are no images of
            the data set.
        channels: 1 for grey, 3 for RGB.
        shape: Required `(H, W)` of every image; None if images differ in size.
        unlabelled: Parts without labels; their images are counted but not read.
        texts: Ends of the paths of text files to read.
        keep_pixels: Whether to keep the pixels of the images.
    """

    locate: Callable[[str], Place | None]
    channels: int
    shape: tuple[int, int] | None = None
    unlabelled: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()
    keep_pixels: bool = False


@dataclass(frozen=True)
class Scan:
    """The content of an archive.

    Attributes:
        root: The folder of the data set in the archive, with the `/`. If several folders match, the one with the most
            images.
        pictures: The readable images, in the archive's order.
        unreadable: For each image that cannot be read, the reason by name.
        unlabelled: Number of images in each part without labels.
        elsewhere: Number of images under other roots; some archives hold second copies.
        refused: For each member that is no file of a data set, the reason by name.
        texts: Content of the text files, by the end of their path.
    """

    root: str
    pictures: list[Picture]
    unreadable: Mapping[str, str]
    unlabelled: Mapping[str, int]
    elsewhere: int
    refused: Mapping[str, str]
    texts: Mapping[str, str]


def scan_archive(archive: Archive, layout: Layout) -> Scan:
    """Read an archive once and decode every image.

    Raises:
        DataError: If the archive is damaged as a whole.
    """
    pictures: dict[str, list[Picture]] = {}
    unreadable: dict[str, dict[str, str]] = {}
    unlabelled: dict[str, Counter[str]] = {}
    texts = {}
    for member in bar(archive.members(), desc=f"reading {archive.path.name}", unit=" files"):
        place = layout.locate(member.name)
        if place is None:
            ending = next((text for text in layout.texts if f"/{member.name}".endswith(f"/{text}")), None)
            if ending is not None and ending not in texts:
                texts[ending] = _read_text(member)
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
        kept_pixels = pixels if layout.keep_pixels else None
        pictures[place.root].append(Picture(member.name, name, place.part, place.label, digest, kept_pixels))
    root = min(pictures, key=lambda root: (-len(pictures[root]), root), default="")
    return Scan(
        root=root,
        pictures=pictures.get(root, []),
        unreadable=unreadable.get(root, {}),
        unlabelled=unlabelled.get(root, {}),
        elsewhere=sum(len(images) for folder, images in pictures.items() if folder != root),
        refused=dict(archive.refused),
        texts=texts,
    )


def decode(content: bytes, layout: Layout) -> np.ndarray:
    """Decode an image in the same way as when the prepared data set is read.

    Returns:
        uint8 `(H, W, C)`.

    Raises:
        UnreadableError: If the image is damaged or does not have the shape of the data set.
    """
    import tensorflow as tf  # imported here, so that registering the builders does not load TensorFlow

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
