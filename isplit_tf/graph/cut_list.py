"""A list of cuts that prints as a table."""

from typing import Any, SupportsIndex, TypeVar, overload

from ..display.tables import html_table, text_table

T = TypeVar("T")
_COLUMNS = ("cut", "index", "layer", "shape", "bytes", "head params", "tail params", "head MACs", "tail MACs")


class CutList(list[T]):
    """A list of cuts, equal to any list of the same cuts; terminals and notebooks show it as a table.

    Example:
        >>> print(find_cuts(model)[:3])
    """

    def table(self) -> str:
        """Return the cuts as text, one line each."""
        return text_table(_COLUMNS, self._rows())

    def __repr__(self) -> str:
        return self.table() if self else "[]"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return html_table(_COLUMNS, self._rows())

    @overload
    def __getitem__(self, index: SupportsIndex) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> "CutList[T]": ...

    def __getitem__(self, index: SupportsIndex | slice) -> "T | CutList[T]":
        return CutList(super().__getitem__(index)) if isinstance(index, slice) else super().__getitem__(index)

    def _rows(self) -> list[list[Any]]:
        cuts: list[Any] = list(self)
        return [
            [
                cut.name,
                cut.index,
                cut.layer_type,
                "x".join("?" if size is None else str(size) for size in cut.shape),
                cut.size_bytes,
                cut.head_params,
                cut.tail_params,
                cut.head_macs,
                cut.tail_macs,
            ]
            for cut in cuts
        ]
