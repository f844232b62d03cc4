"""What a trial keeps on disk, and its only reader.

How it was composed, its last two checkpoints, its history, its result (written before the study is
told), and its weights. Nets of a sweep or a confirmation, nets trained on their own and final nets
all keep the same files.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from cnn_core import checkpoint
from cnn_core.checkpoint import TrainState
from cnn_core.errors import InputError
from cnn_core.spec import Spec
from cnn_core.training import selected_weights
from pipeline import journal
from pipeline.events import State, TrialEnded
from pipeline.files import TrialPaths, atomic_write_text, sha256_file


@dataclass(frozen=True, kw_only=True)
class StoredTrial:
    """A trial as stored in its folder."""

    number: int
    seed: tuple[int, ...]
    overrides: tuple[str, ...]  # complete: composing them gives its configuration
    history: tuple[dict[str, float], ...] = ()  # the metrics of each epoch
    ended: TrialEnded | None = None

    @property
    def value(self) -> float:
        """The first objective; nan for a trial without one."""
        return self.ended.objective[0] if self.ended and self.ended.objective else float("nan")


class TrialFolder:
    """The folder of one trial, written by one thread."""

    def __init__(self, paths: TrialPaths) -> None:
        self.paths = paths
        self._previous = paths.folder / "checkpoint.previous.npz"
        self._result = paths.folder / "result.json"

    def begin(self, number: int, seed: Sequence[int], overrides: Sequence[str]) -> None:
        """Write how the trial is composed."""
        content = {"number": number, "seed": list(seed), "overrides": list(overrides)}
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        atomic_write_text(self.paths.overrides, text)

    def read(self) -> StoredTrial:
        """Return the trial as stored.

        Raises InputError where its overrides are missing or damaged: nothing can be composed
        without them.
        """
        try:
            content = yaml.safe_load(self.paths.overrides.read_text(encoding="utf-8"))
            return StoredTrial(
                number=int(content["number"]),
                seed=tuple(map(int, content["seed"])),
                overrides=tuple(map(str, content["overrides"])),
                history=tuple(self.history()),
                ended=self.result(None),
            )
        except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
            place, kind = self.paths.overrides, type(error).__name__
            rule = "a trial's overrides must be readable"
            raise InputError(f"{rule}, got {place} ({kind})") from None

    def save(self, state: TrainState, rows: Sequence[Mapping[str, float]], spec: Spec) -> None:
        """Write the state after an epoch, and the history; the previous state is kept beside it."""
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

    def history(self) -> list[dict[str, float]]:
        """Return the rows of history.csv; empty where there is none."""
        if not self.paths.history.exists():
            return []
        with self.paths.history.open(newline="") as file:
            rows = list(csv.DictReader(file))
        return [{key: float(value) for key, value in row.items() if value != ""} for row in rows]

    def rows(self, state: TrainState | None) -> list[dict[str, float]]:
        """Return the metrics of a state's epochs, their durations (which no state holds) from
        history.csv.
        """
        history = [] if state is None else state.history
        seconds = [row.get("epoch_s", 0.0) for row in self.history()][: len(history)]
        seconds += [0.0] * (len(history) - len(seconds))
        return [{**row, "epoch_s": spent} for row, spent in zip(history, seconds, strict=True)]

    def write_history(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write one row per epoch; floats in full, so that they can be compared bit for bit.

        Whole or not at all, but without fsync: all but the durations is in the checkpoint too.
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

    def write_result(self, ended: TrialEnded, spec: Spec) -> None:
        """Write how the trial ended, before the study is told: after a crash between the two, it is
        told instead of trained again.
        """
        content = {**json.loads(journal.encode(ended)), "spec": spec.digest()}
        atomic_write_text(self._result, json.dumps(content) + "\n")

    def result(self, spec: Spec | None) -> TrialEnded | None:
        """Return how the trial ended, None where it has not. A result of another spec, which a
        deleted study may have left, is ignored; `spec` None accepts any.
        """
        if not self._result.exists():
            return None
        text = self._result.read_text()
        if spec is not None and json.loads(text).get("spec") != spec.digest():
            return None
        ended = journal.decode(text)
        return ended if isinstance(ended, TrialEnded) else None

    def finish(self) -> None:
        """Remove the checkpoints of a trial whose result the study has been told."""
        self.paths.checkpoint.unlink(missing_ok=True)
        self._previous.unlink(missing_ok=True)

    def keep_weights(self, spec: Spec, ended: TrialEnded, overrides: Sequence[str]) -> None:
        """Write weights.npz (see `cnn_core.checkpoint.load_weights`) and, after it, manifest.json,
        from the last checkpoint; `overrides` are those chosen for the trial.
        """
        state, _ = self.load(spec)
        if state is None:
            return
        facts: dict[str, Any] = {
            "trial": ended.number,
            "seed": list(spec.seed),
            "overrides": list(overrides),
            "objective": list(ended.objective),
            "data_digest": spec.data.digest,
        }
        weights = self.paths.weights
        checkpoint.save_weights(weights, selected_weights(spec, state), facts)
        manifest = {"format": 1, **facts, "sha256": {weights.name: sha256_file(weights)}}
        atomic_write_text(self.paths.manifest, json.dumps(manifest, indent=2) + "\n")

    def drop_weights(self) -> None:
        """Remove the weights of a trial that is no longer the best."""
        self.paths.manifest.unlink(missing_ok=True)
        self.paths.weights.unlink(missing_ok=True)


def weights_wanted(keep: str, ended: TrialEnded, is_best: bool) -> bool:
    """Tell whether the weights of a trial that just ended are kept (``tracking.keep_weights``)."""
    return ended.state == State.COMPLETE and (keep == "all" or (keep == "best" and is_best))
