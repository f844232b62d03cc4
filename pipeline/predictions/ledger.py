"""The ledger of predictions: a line in submissions.csv for each file that predict wrote."""

import csv
from datetime import UTC, datetime
from pathlib import Path

from cnn_core.errors import InputError
from cnn_core.plain_json import DamagedError
from pipeline.files import atomic_write_text, sha256_file
from pipeline.records.manifest import Manifest
from pipeline.structured_text import append_rows, csv_cells, csv_lines, own_text

# damaged: pictures among the rows that could not be read, answered with the most frequent class
LEDGER = ["time", "file", "sha256", "rows", "damaged", "bundle", "model", "expected_score", "score"]


def append_to_ledger(
    root: Path, output: Path, rows: int, bundle: Path, manifest: Manifest, damaged: int = 0
) -> Path:
    """Append a line to submissions.csv and return its path; the column `score` is for the user to
    fill in.
    """
    path = root / "submissions.csv"
    expected = expected_score(manifest)
    line = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "file": str(output),
        "sha256": sha256_file(output),
        "rows": str(rows),
        "damaged": str(damaged),
        "bundle": str(bundle),
        "model": manifest.digest[:16],
        "expected_score": "" if expected is None else f"{expected:.5f}",
        "score": "",
    }
    _add_column(path)
    append_rows(path, LEDGER, [[line[key] for key in LEDGER]])
    return path


def _add_column(path: Path) -> None:
    """Give a ledger from before there were damaged pictures their column."""
    if path.is_symlink() or not path.exists():
        return
    try:
        rows = list(csv_cells(own_text(path).splitlines()))
    except (DamagedError, csv.Error) as error:
        raise InputError(
            f"a ledger of predictions {error} in {path}; the predictions are written, their line "
            "in it is not"
        ) from None
    if rows and "rows" in rows[0] and "damaged" not in rows[0]:
        at = rows[0].index("rows") + 1
        for n, row in enumerate(rows):
            row.insert(at, "" if n else "damaged")
        atomic_write_text(path, csv_lines(rows))


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
