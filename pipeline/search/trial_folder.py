"""What a trial keeps on disk: how it was composed, its last two checkpoints, its history, its
result before it is told, its weights.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cnn_core import checkpoint, training
from cnn_core.checkpoint import save_weights
from cnn_core.spec import Spec
from cnn_core.state import TrainState
from pipeline.events import TrialEnded
from pipeline.files import TrialPaths, atomic_write_text, sha256_file
from pipeline.search.problem import Work


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a trial ended (or why it paused: INTERRUPTED)."""

    state: str  # COMPLETE | PRUNED | FAIL | INTERRUPTED
    reason: str = ""
    values: tuple[float, ...] = ()
    epochs: int = 0
    duration_s: float = 0.0  # in its slot, over restarts
    time_s: float = 0.0
    extra: Mapping[str, float] = field(default_factory=dict)  # multiply_adds, parameters

    def event(self, number: int, folder: Path) -> TrialEnded:
        """Return what the listeners hear of it."""
        return TrialEnded(
            number=number,
            state=self.state,
            reason=self.reason,
            objective=self.values,
            epochs=self.epochs,
            duration_s=self.duration_s,
            folder=folder,
            time_s=self.time_s,
            extra=self.extra,
        )


class TrialRecord:
    """The folder of one trial, written by one thread."""

    def __init__(self, paths: TrialPaths) -> None:
        self.paths = paths
        self._previous = paths.folder / "checkpoint.previous.npz"
        self._result = paths.folder / "result.json"

    def begin(self, number: int, seed: Sequence[int], overrides: Sequence[str]) -> None:
        """Write how the trial is composed."""
        content = {"number": number, "seed": list(seed), "overrides": list(overrides)}
        atomic_write_text(
            self.paths.overrides, yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        )

    def save(self, state: TrainState, rows: Sequence[Mapping[str, float]], spec: Spec) -> None:
        """Keep the state after an epoch, the one before it until the next is written, and the
        history.
        """
        if self.paths.checkpoint.exists():
            self.paths.checkpoint.replace(self._previous)
        checkpoint.save(self.paths.checkpoint, state, spec)
        self.write_history(rows)

    def load(self, spec: Spec) -> tuple[TrainState | None, str]:
        """Return the newest whole checkpoint of this spec, or None to start over, and what was
        wrong with a newer one ("" if nothing).
        """
        complaints: list[str] = []
        for path in (self.paths.checkpoint, self._previous):
            if not path.exists():
                continue
            try:
                return checkpoint.load(path, spec), "; ".join(complaints)
            except checkpoint.CheckpointError as error:
                complaints.append(str(error))
        return None, "; ".join(complaints)

    def rows(self, state: TrainState | None) -> list[dict[str, float]]:
        """Return the metrics of the epochs that a state has behind it, durations (which no state
        holds) from history.csv.
        """
        history = [] if state is None else state.history
        seconds = [row.get("epoch_s", 0.0) for row in read_history(self.paths)][: len(history)]
        seconds += [0.0] * (len(history) - len(seconds))
        return [{**row, "epoch_s": spent} for row, spent in zip(history, seconds, strict=True)]

    def write_history(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write a row for each epoch; floats in full, so that they can be compared to the bit.

        Whole or not at all, but not forced to the disk each time: all but the durations stands in
        the checkpoint too.
        """
        if not rows:
            return
        columns = sorted(set().union(*rows) - {"epoch"})
        text = io.StringIO()
        writer = csv.DictWriter(text, ["epoch", *columns], lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "epoch": number} for number, row in enumerate(rows, 1))
        temporary = self.paths.history.with_name(".history.csv.tmp")
        try:
            temporary.write_text(text.getvalue(), encoding="utf-8")
            temporary.replace(self.paths.history)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise

    def write_result(self, outcome: Outcome, spec: Spec) -> None:
        """Write the outcome before it is told to the study: after a crash between the two it is
        told, not trained again.
        """
        atomic_write_text(
            self._result, json.dumps({**asdict(outcome), "spec": spec.digest()}) + "\n"
        )

    def result(self, spec: Spec | None) -> Outcome | None:
        """Return the outcome of a finished trial of this spec (a deleted study may have left
        others), None standing for any.
        """
        if not self._result.exists():
            return None
        content: dict[str, Any] = json.loads(self._result.read_text())
        digest = content.pop("spec")
        if spec is not None and digest != spec.digest():
            return None
        return Outcome(**{**content, "values": tuple(content["values"])})

    def finish(self) -> None:
        """Remove the checkpoints of a trial whose outcome is told."""
        self.paths.checkpoint.unlink(missing_ok=True)
        self._previous.unlink(missing_ok=True)


def read_history(paths: TrialPaths) -> list[dict[str, float]]:
    """Return the rows of history.csv; empty where there is none."""
    if not paths.history.exists():
        return []
    with paths.history.open(newline="") as file:
        return [
            {key: float(value) for key, value in row.items() if value != ""}
            for row in csv.DictReader(file)
        ]


def weights_wanted(keep: str, outcome: Outcome, is_best: bool) -> bool:
    """Tell whether the weights of a just ended trial are kept, by ``tracking.keep_weights``."""
    return outcome.state == "COMPLETE" and (keep == "all" or (keep == "best" and is_best))


def keep_weights(work: Work, record: TrialRecord, outcome: Outcome) -> None:
    """Write weights.npz (see `cnn_core.checkpoint.load_weights`) and, after it, manifest.json, from
    the trial's last checkpoint.
    """
    state, _ = record.load(work.spec)
    if state is None:
        return
    facts = {
        "trial": work.number,
        "seed": list(work.seed),
        "overrides": list(work.overrides),
        "objective": list(outcome.values),
        "data_digest": work.spec.data.digest,
    }
    save_weights(record.paths.weights, training.selected_weights(work.spec, state), facts)
    manifest = {
        "format": 1,
        **facts,
        "sha256": {record.paths.weights.name: sha256_file(record.paths.weights)},
    }
    atomic_write_text(record.paths.manifest, json.dumps(manifest, indent=2) + "\n")


def drop_weights(paths: TrialPaths) -> None:
    """Remove the weights of a trial that is no longer the best."""
    paths.manifest.unlink(missing_ok=True)
    paths.weights.unlink(missing_ok=True)
