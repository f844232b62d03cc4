"""What predict writes: a file of labels or probabilities in the contest's form, and a line in
submissions.csv for each.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_core.errors import InputError
from pipeline.files import sha256_file
from pipeline.records.manifest import Manifest

FORMATS = ("auto", "labels", "submission", "probabilities")
_FORMULA = re.compile(r"[=+\-@\t\r]")


def format_of(output: Path, chosen: str) -> str:
    """Return the form of an output file: as chosen, or by its ending: .csv a submission, .npy
    probabilities, else labels.
    """
    if chosen != "auto":
        return chosen
    return {".csv": "submission", ".npy": "probabilities"}.get(output.suffix.lower(), "labels")


def rows_of(
    form: str, ids: Sequence[str], probabilities: NDArray[np.floating[Any]]
) -> Iterator[str]:
    """Yield the lines of a block: a label; ``ImageId,Label``; or the id and all probabilities."""
    labels = probabilities.argmax(axis=1)
    for name, label, row in zip(ids, labels, probabilities, strict=True):
        if form == "labels":
            yield f"{label}\n"
        elif form == "submission":
            yield csv_line([safe_id(name), str(label)])
        else:
            yield csv_line([safe_id(name), *(f"{p:.6f}" for p in row)])


def header_of(form: str, classes: int) -> str:
    """Return the first line of a form, empty for labels."""
    if form == "submission":
        return "ImageId,Label\n"
    return "" if form == "labels" else csv_line(["ImageId", *(f"p{k}" for k in range(classes))])


def safe_id(name: str) -> str:
    """Return an id that a spreadsheet reads as text. Raises InputError for one that it would run as
    a formula.
    """
    if _FORMULA.match(name) and not re.fullmatch(r"[+-]?\d+(\.\d+)?", name):
        raise InputError(
            f"an id must not begin with = + - @ (a spreadsheet would run it), got {name[:40]!r}"
        )
    if any(ord(sign) < 32 for sign in name):
        raise InputError(f"an id must be one line of text, got {name[:40]!r}")
    return name


def csv_line(cells: Sequence[str]) -> str:
    """Return one line of CSV, quoted where it must be."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


LEDGER = ("time", "file", "sha256", "rows", "bundle", "model", "expected_score", "score")


def append_to_ledger(
    root: Path, output: Path, rows: int, bundle: Path, manifest: Manifest, expected: float | None
) -> Path:
    """Append a line to submissions.csv and return its path; the column `score` is for the user to
    fill in.
    """
    path = root / "submissions.csv"
    line = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "file": str(output),
        "sha256": sha256_file(output),
        "rows": str(rows),
        "bundle": str(bundle),
        "model": manifest.digest[:16],
        "expected_score": "" if expected is None else f"{expected:.5f}",
        "score": "",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    text = csv_line([line[key] for key in LEDGER])
    with path.open("a", encoding="utf-8") as file:
        if file.tell() == 0:
            file.write(csv_line(LEDGER))
        file.write(text)
    return path


def expected_score(manifest: Manifest) -> float | None:
    """Return the out-of-fold accuracy on the images that stand in for those to label, None where
    the manifest does not say.

    Where refits predict, it is that of the folds' nets, which saw fewer images: if anything, too
    low.
    """
    scores = manifest.scores
    if scores.out_of_fold is not None and scores.chosen_on is not None:
        return scores.out_of_fold[scores.chosen_on].accuracy
    return scores.objective
