"""What all reports can do: show themselves, give their data, let columns be chosen."""

from __future__ import annotations

import csv
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from ..arguments import written

if TYPE_CHECKING:
    from pandas import DataFrame

    from .table import Table

Row = TypeVar("Row")
_LATIN = str.maketrans({"│": "|", "µ": "u", "×": "x", "→": "->", "≈": "~"})


class Report(ABC):
    """What shows itself as a table, in a shell and in a notebook, and gives its data.

    A dataclass needs `repr=False` for it, or it would write a `__repr__` of its own.
    """

    @abstractmethod
    def _table(self) -> Table: ...

    def _tree(self) -> Table:
        """Return the table for notebooks, where what stands deeper can be folded away."""
        return self._table()

    def columns(self, *names: str) -> Table:
        """Return the table with these columns alone, in this order.

        >>> d2c.describe(nn.Linear(2, 3)).columns("name", "count")
        Linear
        name      count
        ------  -------
        weight        6
        bias          3
        ...

        Columns that are not shown at first can be chosen too; `to_dict` has all of them. Raises
        `ValueError` for one that does not exist.
        """
        return self._table().select(names)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that `json.dumps` takes: the rows, and what the report says of all."""
        facts = {name: _lists(value) for name, value in vars(self).items() if _is_plain(value)}
        return {**facts, "rows": self._table().records()}

    def to_pandas(self) -> DataFrame:
        """Return the rows as a `DataFrame`; raises `ImportError` where pandas is missing."""
        try:
            import pandas
        except ImportError:
            raise ImportError(
                "`to_pandas` must find pandas, got none; do pip install pandas, "
                "or use to_dict() or to_csv(path), which do without"
            ) from None
        table = self._table()
        return pandas.DataFrame(table.records(), columns=list(table.headers))

    def to_csv(self, path: str | Path) -> None:
        """Write the rows to a file of comma-separated values, below the names of the columns."""
        table = self._table()
        with (
            written(path, do="to_csv('table.csv')") as target,
            target.open("w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(table.headers)
            writer.writerows(table.fields())

    def __repr__(self) -> str:
        return printable(self._table().text())

    def _repr_html_(self) -> str:
        return self._tree().html()


class Rows(Report, Generic[Row]):
    """A report that is a sequence of what its rows tell of."""

    @abstractmethod
    def _rows(self) -> Sequence[Row]: ...

    def __len__(self) -> int:
        return len(self._rows())

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows())

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        return self._rows()[index]


class Named(Report, Mapping[str, Row]):
    """A report that is a mapping from the names of its rows to what these tell of."""

    @abstractmethod
    def _rows(self) -> Mapping[str, Row]: ...

    def __getitem__(self, name: str) -> Row:
        return self._rows()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows())

    def __len__(self) -> int:
        return len(self._rows())


def printable(text: str) -> str:
    """Return a text that can be printed here: a pipe on Windows may know Latin letters only."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_LATIN).encode(encoding, "backslashreplace").decode(encoding)
    return text


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float)


def _lists(value: object) -> object:
    return [_lists(one) for one in value] if isinstance(value, tuple | list) else value
