"""What predict writes without a template: labels a line, a submission of ids and labels, or all
probabilities.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np
from numpy.typing import NDArray

from cnn_core.plain_text import safe_cell

FORMATS = ("auto", "labels", "submission", "probabilities")

Probabilities = NDArray[np.floating[Any]]


class Written(Protocol):
    """Predictions on their way into a file."""

    def add(self, ids: Sequence[str], probabilities: Probabilities) -> None:
        """Take the predictions of some pictures, (n, classes), in the input's order."""

    def finish(self) -> str | None:
        """Write what is left; return what the user should know, if anything."""


def format_of(output: Path, chosen: str) -> str:
    """Return the form of an output file: as chosen, or by its ending: .csv a submission, .npy
    probabilities, else labels. Probabilities in a .npy file are an "array".
    """
    ending = output.suffix.lower()
    if chosen == "auto":
        chosen = {".csv": "submission", ".npy": "probabilities"}.get(ending, "labels")
    return "array" if chosen == "probabilities" and ending == ".npy" else chosen


class LabelLines:
    """The name of a class a line."""

    def __init__(self, file: TextIO, names: Sequence[str]) -> None:
        self.file = file
        self.names = [safe_cell(name, "a label") for name in names]

    def add(self, ids: Sequence[str], probabilities: Probabilities) -> None:
        self.file.writelines(f"{self.names[k]}\n" for k in probabilities.argmax(axis=1))

    def finish(self) -> None:
        return None


class IdRows:
    """A table of ids and labels, or of ids and all probabilities.

    The id's column keeps the input's name for it; rows that are only numbered have `ImageId`, as in
    the public digit contest, and pictures `id`.
    """

    def __init__(
        self, file: TextIO, names: Sequence[str], id_name: str | None, *, all_classes: bool
    ) -> None:
        self.file, self.id_name = file, id_name
        self.names = [safe_cell(name, "a label") for name in names]
        self.all_classes, self.begun = all_classes, False

    def add(self, ids: Sequence[str], probabilities: Probabilities) -> None:
        if not self.begun:
            self.begun = True
            id_name = self.id_name or "ImageId"
            label = "Label" if id_name[:1].isupper() else "label"
            columns = self.names if self.all_classes else [label]
            self.file.write(csv_line([id_name, *columns]))
        for name, row in zip(ids, probabilities, strict=True):
            shown = chances(row) if self.all_classes else [self.names[int(row.argmax())]]
            self.file.write(csv_line([safe_cell(name), *shown]))

    def finish(self) -> None:
        return None


class ProbabilityArray:
    """All probabilities as a .npy array, (N, classes) float32."""

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self.kept: list[Probabilities] = []

    def add(self, ids: Sequence[str], probabilities: Probabilities) -> None:
        self.kept.append(probabilities)

    def finish(self) -> None:
        np.save(self.file.buffer, np.concatenate(self.kept), allow_pickle=False)


def chances(row: Probabilities) -> list[str]:
    """Return a row's probabilities as text."""
    return [f"{p:.6f}" for p in row]


def csv_line(cells: Sequence[str], delimiter: str = ",") -> str:
    """Return one line of CSV, quoted where it must be."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", delimiter=delimiter).writerow(cells)
    return text.getvalue()
