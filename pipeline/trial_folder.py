"""A trial's files on disk, and the only code that reads them.

Its overrides, its last two checkpoints, its history, its result (written before it is told) and its
weights. Nets of a sweep, of a confirmation, trained alone and final ones keep the same files.
"""

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from cnn_core import checkpoint
from cnn_core.checkpoint import TrainState
from cnn_core.errors import InputError
from cnn_core.plain_json import parse_json
from cnn_core.spec import Spec
from cnn_core.training import selected_weights
from cnn_core.whole_files import whole_file
from pipeline import journal
from pipeline.events import State, TrialEnded
from pipeline.files import TrialPaths, atomic_write_text, sha256_file
from pipeline.structured_text import csv_lines, own_text, read_csv, read_yaml


@dataclass(frozen=True, kw_only=True)
class StoredTrial:
    """A trial as stored in its folder."""

    number: int
    seed: tuple[int, ...]
    overrides: tuple[str, ...]  # all of them: composing them gives its configuration
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
        """Return the stored trial.

        Raises InputError if its overrides are missing or damaged: nothing can be composed then.
        """
        try:
            content = read_yaml(self.paths.overrides)
            return StoredTrial(
                number=int(content["number"]),
                seed=tuple(map(int, content["seed"])),
                overrides=tuple(map(str, content["overrides"])),
                history=tuple(self.history()),
                ended=self.result(None),
            )
        except (OSError, KeyError, TypeError, ValueError, OverflowError) as error:
            place, kind = self.paths.overrides, type(error).__name__
            rule = "a trial's overrides must be readable"
            raise InputError(f"{rule}, got {place} ({kind})") from None

    def save(self, state: TrainState, rows: Sequence[Mapping[str, float]], spec: Spec) -> None:
        """Save the history, and the state after an epoch; the previous checkpoint is kept until the
        next save.
        """
        # First the history: were it cut off after the state, the epoch would never be written.
        self.write_history(rows)
        if self.paths.checkpoint.exists():
            self.paths.checkpoint.replace(self._previous)
        checkpoint.save(self.paths.checkpoint, state, spec)

    def load(self, spec: Spec) -> tuple[TrainState | None, str]:
        """Return the newest intact checkpoint of this spec, or None to start over, and what was
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
        """Return the rows of history.csv; empty where there is none. Raises InputError for a
        damaged one.
        """
        if not self.paths.history.exists():
            return []
        try:
            rows = read_csv(self.paths.history)
            return [{key: float(cell) for key, cell in row.items() if cell} for row in rows]
        except ValueError as error:
            place = self.paths.history
            raise InputError(
                f"a trial's history must be a table of numbers, got {error} ({place})"
            ) from None

    def rows(self, state: TrainState | None) -> list[dict[str, float]]:
        """Return the metrics of the epochs in a state, with durations (which no state holds) from
        history.csv.
        """
        history = [] if state is None else state.history
        known: list[dict[str, float]] = []
        with contextlib.suppress(InputError):  # damaged: it is written anew from the state
            known = self.history()
        seconds = [row.get("epoch_s", 0.0) for row in known][: len(history)]
        seconds += [0.0] * (len(history) - len(seconds))
        return [{**row, "epoch_s": spent} for row, spent in zip(history, seconds, strict=True)]

    def write_history(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write a row for each epoch, with floats in full so that they can be compared bit for bit.

        The write is atomic but not fsynced: all but the durations is in the checkpoint too.
        """
        if not rows:
            return
        columns = sorted(set().union(*rows) - {"epoch"})
        cells = [[n, *(row.get(name, "") for name in columns)] for n, row in enumerate(rows, 1)]
        text = csv_lines([["epoch", *columns], *cells])
        with whole_file(self.paths.history, lasting=False) as file:
            file.write(text.encode())

    def write_result(self, ended: TrialEnded, spec: Spec) -> None:
        """Write how the trial ended, before that is told: after a crash in between it is told, not
        trained again.
        """
        content = {**json.loads(journal.encode(ended)), "spec": spec.digest()}
        atomic_write_text(self._result, json.dumps(content) + "\n")

    def result(self, spec: Spec | None) -> TrialEnded | None:
        """Return how the trial ended, None if it has not. A result of another spec (which a deleted
        study may have left) does not count, unless `spec` is None.
        """
        if not self._result.exists():
            return None
        try:
            text = own_text(self._result)
            known = parse_json(text)
        except ValueError:  # damaged: the trial goes on from its last checkpoint
            return None
        if not isinstance(known, dict):
            return None
        if spec is not None and known.get("spec") != spec.digest():
            return None
        ended = journal.decode(text)
        return ended if isinstance(ended, TrialEnded) else None

    def finish(self) -> None:
        """Remove the checkpoints of a trial whose end has been told."""
        self.paths.checkpoint.unlink(missing_ok=True)
        self._previous.unlink(missing_ok=True)

    def keep_weights(self, spec: Spec, ended: TrialEnded, overrides: Sequence[str]) -> None:
        """Write weights.npz (see `cnn_core.checkpoint.load_weights`) and then manifest.json, from
        the last checkpoint; `overrides` are those chosen for the trial.
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
    """Tell whether to keep the weights of a trial that just ended (``tracking.keep_weights``)."""
    return ended.state == State.COMPLETE and (keep == "all" or (keep == "best" and is_best))
