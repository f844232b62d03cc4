"""submissions.csv: every file of predictions with its digest, its model, the score that is expected and the one that the user fills in."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.artifacts import sha256_file
from pipeline.predictions.forms import csv_line

LEDGER = ("time", "file", "sha256", "rows", "bundle", "model", "expected_score", "score")


def append_to_ledger(root: Path, output: Path, rows: int, bundle: Path, manifest: Mapping[str, Any], expected: float | None) -> Path:
    """Append a line to submissions.csv and return its path; the column `score` is for the user to fill in."""
    path = root / "submissions.csv"
    line = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "file": str(output),
        "sha256": sha256_file(output),
        "rows": str(rows),
        "bundle": str(bundle),
        "model": manifest["digest"][:16],
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


def expected_score(manifest: Mapping[str, Any]) -> float | None:
    """Return the accuracy shown out of fold on what stands for the images to label, None where the manifest does not say.

    Where refits predict it is that of the folds' nets, which saw fewer images: rather too little.
    """
    scores = manifest.get("scores", {})
    if "out_of_fold" in scores:
        return float(scores["out_of_fold"][scores["chosen_on"]]["accuracy"])
    return float(scores["objective"]) if "objective" in scores else None
