"""Reports on predictions whose labels are known: figures, tables, the sheet of mistakes."""

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from cnn_core.axes import Images, Labels
from cnn_core.measures import measured
from pipeline.files import atomic_write_text
from pipeline.picture_sheet import write_sheet
from pipeline.records.typed_json import plain
from pipeline.reporting.scores import (
    accuracy,
    calibration_error,
    gain_over,
    log_loss,
    wilson,
)
from pipeline.reporting.svg import shortened
from pipeline.structured_text import csv_lines

_BY_CLASS = ("macro_f1", "balanced_accuracy", "kappa")
_SHOWN = 200  # misclassified images on the sheet
_SHOWN_PIXELS = 4 << 20  # of these together
_LONGEST = 8  # signs of a class's name in a caption


@dataclass(frozen=True)
class Scored:
    """A labelled set and its predictions: members (M, N, classes), joined (N, classes)."""

    name: str  # test | proxy | reserve | file
    images: Images
    labels: Labels
    members: NDArray[np.float32]
    joined: NDArray[np.float32]
    class_names: tuple[str, ...]

    def figures(self) -> dict[str, Any]:
        """Return accuracy with Wilson's interval, the other measures of contests, calibration
        error, per-class figures, each member's accuracy and the gain.
        """
        right = int(np.sum(self.joined.argmax(axis=1) == self.labels))
        low, high = wilson(right, len(self.labels))
        singles = [accuracy(member, self.labels) for member in self.members]
        best = int(np.argmax(singles))
        figures: dict[str, Any] = {
            "images": len(self.labels),
            "accuracy": right / len(self.labels),
            "low": low,
            "high": high,
            "errors": len(self.labels) - right,
            "log_loss": log_loss(self.joined, self.labels),
            "calibration_error": calibration_error(self.joined, self.labels),
            **{name: measured(name, self.joined, self.labels) for name in _BY_CLASS},
            "member_accuracy": singles,
            "member_log_loss": [log_loss(member, self.labels) for member in self.members],
        }
        if len(singles) > 1:
            gain = gain_over(self.members[best], self.joined, self.labels)
            figures["gain_over_best_member"] = plain(gain)
        return figures | {"per_class": self.per_class()}

    def confusion(self) -> NDArray[np.int64]:
        """Return counts (true class, predicted class)."""
        known = np.arange(len(self.class_names))
        counts: NDArray[np.int64] = confusion_matrix(
            self.labels, self.joined.argmax(axis=1), labels=known
        )
        return counts

    def per_class(self) -> list[dict[str, str | int | float]]:
        """Return precision, recall and F1 of each class; 0 where a class is never predicted or
        never occurs.
        """
        known = np.arange(len(self.class_names))
        found = precision_recall_fscore_support(
            self.labels, self.joined.argmax(axis=1), labels=known, zero_division=0
        )
        return [
            {
                "class": name,
                "images": int(count),
                "precision": float(precision),
                "recall": float(recall),
                "f1": float(f1),
            }
            for name, precision, recall, f1, count in zip(self.class_names, *found, strict=True)
        ]

    def line(self) -> str:
        """Return the main figures in one line."""
        f = self.figures()
        interval = f"{f['accuracy']:.2%} [{f['low']:.2%}, {f['high']:.2%}]"
        line = (
            f"{self.name}: accuracy {interval} of {f['images']} images, {f['errors']} errors, log "
            f"loss {f['log_loss']:.4f}, "
        )
        line += f"calibration error {f['calibration_error']:.4f}, macro F1 {f['macro_f1']:.4f}"
        gain = f.get("gain_over_best_member")
        return line + (
            f"; {gain['errors_removed']:.0%} of the best member's errors gone" if gain else ""
        )


def write_scored(folder: Path, scored: Scored) -> None:
    """Write <name>.json, <name>_confusion.csv and, where there are mistakes,
    <name>_misclassified.png.
    """
    atomic_write_text(folder / f"{scored.name}.json", json.dumps(scored.figures(), indent=2) + "\n")
    counts = scored.confusion()
    pairs = zip(scored.class_names, counts.tolist(), strict=True)
    table = csv_lines([["true", *scored.class_names], *([name, *row] for name, row in pairs)])
    atomic_write_text(folder / f"{scored.name}_confusion.csv", table)
    predicted = scored.joined.argmax(axis=1)
    wrong = np.flatnonzero(predicted != scored.labels)
    if wrong.size and scored.images.shape[1] in (1, 3):
        most = max(1, min(_SHOWN, _SHOWN_PIXELS // prod(scored.images.shape[2:])))
        surest = wrong[np.argsort(-scored.joined[wrong, predicted[wrong]])][:most]
        names = [shortened(name, _LONGEST) for name in scored.class_names]
        captions = [f"{names[scored.labels[n]]} as {names[predicted[n]]}" for n in surest]
        write_sheet(
            folder / f"{scored.name}_misclassified.png",
            scored.images[surest],
            columns=20,
            zoom=2,
            captions=captions,
        )
