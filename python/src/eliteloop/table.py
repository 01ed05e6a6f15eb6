"""Tables of a record: their columns by name, type, unit and meaning, and the data frames made of them."""

from __future__ import annotations

from typing import Any, Callable, Iterable, List, NamedTuple, Sequence

import pandas as pd

# Types of pandas. A capital letter, `boolean` and `string` may be missing (pd.NA); a missing float64 is NaN.
WHOLE, WHOLE_OR_NONE, SEED, REAL, FLAG, FLAG_OR_NONE, TEXT = "int64", "Int64", "uint64", "float64", "bool", "boolean", "string"


class Column(NamedTuple):
    name: str
    dtype: str
    meaning: str
    unit: str = ""


class Table(NamedTuple):
    """What one row is, and the columns in their order."""

    name: str
    note: str
    columns: Sequence[Column]

    def frame(self, rows: Iterable[Sequence[Any]]) -> pd.DataFrame:
        """A data frame of these rows, each a value per column; all types are the columns', also without a row."""
        names = [column.name for column in self.columns]
        frame = pd.DataFrame(list(rows), columns=names, dtype=object)
        return frame.astype({column.name: column.dtype for column in self.columns})

    def doc(self) -> str:
        lines = [f"{c.name} ({', '.join(filter(None, [c.dtype, c.unit]))}): {c.meaning}" for c in self.columns]
        return "\n".join([self.note, "", "Columns:", *(f"- {line}" for line in lines)])


def framed(table: Table) -> Callable[[Callable[[Any], Iterable[Sequence[Any]]]], property]:
    """Makes a property out of what gives the rows of `table`: a new data frame at each use, documented by its columns."""

    def property_of(rows: Callable[[Any], Iterable[Sequence[Any]]]) -> property:
        return property(lambda self: table.frame(rows(self)), doc=table.doc())

    return property_of


COLUMNS = Table(
    "columns",
    "One row per column of each frame.",
    [
        Column("table", TEXT, "the frame"),
        Column("column", TEXT, "its name"),
        Column("dtype", TEXT, "type in pandas; of Int64, boolean and string values may be missing, a missing float64 is NaN"),
        Column("unit", TEXT, "empty of counts, shares of 1 and text"),
        Column("meaning", TEXT, "what it says, and what else says the same"),
    ],
)


def described(tables: Iterable[Table]) -> pd.DataFrame:
    """The columns of all of these."""
    rows: List[Sequence[Any]] = [(t.name, c.name, c.dtype, c.unit, c.meaning) for t in tables for c in t.columns]
    return COLUMNS.frame(rows)
