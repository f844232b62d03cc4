"""A part of the sweep's benchmark: a measurement, the table of its rows, and their picture."""

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.document import Panel, markdown_table

Row = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """`columns` are the rows' keys with a column's header and format; `drawn` are those that the
    picture shows, by the first column.
    """

    name: str
    title: str
    about: str
    measure: Callable[[Namespace], list[Row]]
    columns: Mapping[str, tuple[str, str]]
    drawn: Sequence[str]
    unit: str

    def table(self, rows: Sequence[Row]) -> str:
        """Return the rows as a Markdown table."""
        header = [title for title, _ in self.columns.values()]
        return markdown_table(
            header,
            [[format(row[key], form) for key, (_, form) in self.columns.items()] for row in rows],
        )

    def panel(self, rows: Sequence[Row]) -> Panel:
        """Return what the picture shows of the rows."""
        first, (title, form) = next(iter(self.columns.items()))
        series = {self.columns[key][0]: [row[key] for row in rows] for key in self.drawn}
        return Panel(
            self.title, [format(row[first], form) for row in rows], title, series, self.unit
        )
