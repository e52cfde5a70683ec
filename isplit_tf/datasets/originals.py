"""The published archives: where they can be downloaded, and how a download is checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from .archives import Archive

WHOLE = "all"
"""Name of the only part of a data set that its authors did not divide."""

RECORD = "downloads.tsv"
"""File beside a data set's prepared data that holds the SHA-256 of the first download."""


@dataclass(frozen=True)
class Original:
    """A published archive.

    Attributes:
        url: Where it can be downloaded.
        size_bytes: Size of the archive, or None if it is not known for certain.
        md5: MD5 of the archive, or None if unknown. No SHA-256 is published for any of the archives.
        images: For each part of the data set, the number of readable images, in total or by class.
    """

    url: str
    size_bytes: int | None
    md5: str | None
    images: Mapping[str, int | Mapping[str, int]]

    def check(self, archive: Archive) -> None:
        """Compare the size and MD5 of a downloaded archive with those of the original.

        Raises:
            DataError: If the size or the MD5 differs.
        """
        digests = archive.digests
        differences = [
            f"{name}: expected {expected}, found {actual}"
            for name, expected, actual in (
                ("bytes", self.size_bytes, digests.size_bytes),
                ("MD5", self.md5, digests.md5),
            )
            if expected is not None and expected != actual
        ]
        if differences:
            raise DataError(
                f"{self.url} is not the archive that it was. {'; '.join(differences)}. It lies at '{archive.path}': "
                f"delete it to download it again, or read it as it is with isplit_tf.datasets.from_archive."
            )

    def record(self, archive: Archive, directory: Path) -> None:
        """Record the SHA-256 of the first download, and compare later downloads with it.

        Args:
            archive: The downloaded archive.
            directory: Folder of the record; its format is that of TensorFlow Datasets' `checksums.tsv`.

        Raises:
            DataError: If the archive differs from the first download.
        """
        path = directory / RECORD
        lines = path.read_text().splitlines() if path.is_file() else []
        known = {line.split("\t")[0]: line.split("\t") for line in lines if line and not line.startswith("#")}
        digests = archive.digests
        if self.url not in known:
            directory.mkdir(parents=True, exist_ok=True)
            entry = "\t".join((self.url, str(digests.size_bytes), digests.sha256, archive.path.name))
            temporary = path.with_suffix(".part")
            temporary.write_text("\n".join([*lines, entry]) + "\n")
            temporary.replace(path)
        elif known[self.url][2:3] != [digests.sha256]:
            raise DataError(
                f"{self.url} has changed. SHA-256: expected {known[self.url][2]}, as recorded in '{path}' on the first "
                f"download, found {digests.sha256} at '{archive.path}'. If the change is known to be right, delete "
                f"that line."
            )
