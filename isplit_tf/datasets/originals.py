"""The archives as their authors published them: where they are, what is known of them, how a download is checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from .archives import Archive

WHOLE = "all"
"""The only part of a data set that its authors did not divide."""

RECORD = "downloads.tsv"
"""SHA-256 of what was downloaded first, beside a data set's prepared data."""


@dataclass(frozen=True)
class Original:
    """A published archive.

    Attributes:
        url: Where it can be downloaded.
        size_bytes: Its size, or None where it is not known for certain.
        md5: Its MD5, or None where it is not known. No SHA-256 is published for any of them.
        images: For each part of the data set its readable images, in all or by class.
    """

    url: str
    size_bytes: int | None
    md5: str | None
    images: Mapping[str, int | Mapping[str, int]]

    def check(self, archive: Archive) -> None:
        """Compare a downloaded archive with what is known.

        Raises:
            DataError: Its size or MD5 is another.
        """
        found = archive.digests
        wrong = [
            f"{name}: expected {expected}, found {actual}"
            for name, expected, actual in (("bytes", self.size_bytes, found.size_bytes), ("MD5", self.md5, found.md5))
            if expected is not None and expected != actual
        ]
        if wrong:
            raise DataError(
                f"{self.url} is not the archive that it was. {'; '.join(wrong)}. It lies at '{archive.path}': "
                f"delete it to download it again, or read it as it is with isplit_tf.datasets.from_archive."
            )

    def record(self, archive: Archive, directory: Path) -> None:
        """Write down the SHA-256 of a first download, and compare a later one with it.

        Args:
            archive: What was downloaded.
            directory: Where the record lies; its format is that of TensorFlow Datasets' `checksums.tsv`.

        Raises:
            DataError: It is not what was downloaded first.
        """
        path = directory / RECORD
        lines = path.read_text().splitlines() if path.is_file() else []
        known = {line.split("\t")[0]: line.split("\t") for line in lines if line and not line.startswith("#")}
        found = archive.digests
        if self.url not in known:
            directory.mkdir(parents=True, exist_ok=True)
            entry = "\t".join((self.url, str(found.size_bytes), found.sha256, archive.path.name))
            temporary = path.with_suffix(".part")
            temporary.write_text("\n".join([*lines, entry]) + "\n")
            temporary.replace(path)
        elif known[self.url][2:3] != [found.sha256]:
            raise DataError(
                f"{self.url} has changed. SHA-256: expected {known[self.url][2]}, as recorded in '{path}' on the first "
                f"download, found {found.sha256} at '{archive.path}'. If the change is known to be right, delete "
                f"that line."
            )
