"""What predictions become: files in the forms that contests ask for, a label-free check of drift, a line in the ledger."""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_core.errors import InputError
from pipeline.artifacts import sha256_file

FORMATS = ("auto", "labels", "submission", "probabilities")
LEDGER = ("time", "file", "sha256", "rows", "bundle", "model", "expected_score", "score")
_FORMULA = re.compile(r"[=+\-@\t\r]")


def format_of(output: Path, chosen: str) -> str:
    """Return the form of an output file: as chosen, or by its ending: .csv a submission, .npy probabilities, else labels."""
    if chosen != "auto":
        return chosen
    return {".csv": "submission", ".npy": "probabilities"}.get(output.suffix.lower(), "labels")


def rows_of(form: str, ids: Sequence[str], probabilities: NDArray[np.floating[Any]]) -> Iterator[str]:
    """Yield the lines of a block: a label; ``ImageId,Label``; or the id and all probabilities."""
    labels = probabilities.argmax(axis=1)
    for name, label, row in zip(ids, labels, probabilities, strict=True):
        if form == "labels":
            yield f"{label}\n"
        elif form == "submission":
            yield _csv_line([safe_id(name), str(label)])
        else:
            yield _csv_line([safe_id(name), *(f"{p:.6f}" for p in row)])


def header_of(form: str, classes: int) -> str:
    """Return the first line of a form, empty for labels."""
    if form == "submission":
        return "ImageId,Label\n"
    return "" if form == "labels" else _csv_line(["ImageId", *(f"p{k}" for k in range(classes))])


def safe_id(name: str) -> str:
    """Return an id that a spreadsheet reads as text. Raises InputError for one that it would run as a formula."""
    if _FORMULA.match(name) and not re.fullmatch(r"[+-]?\d+(\.\d+)?", name):
        raise InputError(f"an id must not begin with = + - @ (a spreadsheet would run it), got {name[:40]!r}")
    if any(ord(sign) < 32 for sign in name):
        raise InputError(f"an id must be one line of text, got {name[:40]!r}")
    return name


def _csv_line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


@dataclass
class Drift:
    """Running sums of what can be seen without labels, compared with what out-of-fold predictions looked like."""

    expected: Mapping[str, Any]
    count: int = 0
    agreed: int = 0
    confidence: float = 0.0
    classes: dict[int, int] = field(default_factory=dict)

    def add(self, members: NDArray[np.floating[Any]], joined: NDArray[np.floating[Any]]) -> None:
        """Count one block: members (M, n, classes), joined (n, classes)."""
        votes = members.argmax(axis=2)
        self.count += votes.shape[1]
        self.agreed += int((votes == votes[0]).all(axis=0).sum())
        self.confidence += float(joined.max(axis=1).sum())
        for label, number in zip(*np.unique(joined.argmax(axis=1), return_counts=True), strict=True):
            self.classes[int(label)] = self.classes.get(int(label), 0) + int(number)

    def lines(self, members: int) -> list[str]:
        """Return what was seen, in one line."""
        agreement = f"all {members} members agree on {self.agreed / self.count:.1%}, " if members > 1 else ""
        shares = " ".join(f"{label}:{number / self.count:.1%}" for label, number in sorted(self.classes.items()))
        return [f"{self.count} images; {agreement}mean confidence {self.confidence / self.count:.1%}; classes {shares}"]

    def warnings(self) -> list[str]:
        """Return a sentence for each sign that these images differ from those that the model was judged on."""
        if not self.expected or self.count < 50:
            return []
        found = []
        for name, value in (("agreement", self.agreed / self.count), ("confidence", self.confidence / self.count)):
            usual = float(self.expected[name])
            # Five points, and twice as many doubtful images as usual: both, so that neither tiny nor noisy differences warn.
            if value < usual - 0.05 and 1 - value > 2 * (1 - usual):
                found.append(f"drift: {name} is {value:.1%}, {usual:.1%} on the training set's own images; expect a lower score")
        share = np.array([self.classes.get(k, 0) / self.count for k in range(len(self.expected["class_share"]))])
        usual_share = np.array(self.expected["class_share"])
        spread = np.sqrt(usual_share * (1 - usual_share) / self.count)
        odd = np.flatnonzero(np.abs(share - usual_share) > 0.05 + 4 * spread)
        if odd.size:
            shown = ", ".join(f"{k}: {share[k]:.1%} instead of {usual_share[k]:.1%}" for k in odd)
            found.append(f"drift: the balance of classes differs from training ({shown})")
        return found


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
    text = _csv_line([line[key] for key in LEDGER])
    with path.open("a", encoding="utf-8") as file:
        if file.tell() == 0:
            file.write(_csv_line(LEDGER))
        file.write(text)
    return path


def expected_score(manifest: Mapping[str, Any]) -> float | None:
    """Return the accuracy that the model showed on what it was chosen on, None where the manifest does not say."""
    scores = manifest.get("scores", {})
    if "out_of_fold" in scores:
        return float(scores["out_of_fold"][scores["chosen_on"]]["accuracy"])
    return float(scores["objective"]) if "objective" in scores else None
