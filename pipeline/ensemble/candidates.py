"""What final models can be made of: a study's complete trials, best first; where none is complete,
its other trials, what was enqueued, or its own configuration.
"""

import contextlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cnn_core.errors import InputError
from cnn_core.measures import ranked_by
from pipeline.configuration import Config
from pipeline.events import State, TrialEnded
from pipeline.files import StudyPaths
from pipeline.reporting.best_trials import ranked
from pipeline.reporting.foreign_trials import FOREIGN, is_foreign
from pipeline.reporting.stored_state import state_of
from pipeline.reporting.table import TrialRow, table_of
from pipeline.search.fingerprint import BASE, FINGERPRINT, chosen_overrides
from pipeline.structured_text import read_csv
from pipeline.trial_folder import StoredTrial, TrialFolder

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

NOT_ENDED = {
    "PRUNED": "pruned",
    "PAUSED": "paused",
    "WAITING": "paused",
    "RUNNING": "interrupted",
}


@dataclass(frozen=True)
class Candidates:
    """Trials, best first; the overrides that the study was run with; what the user should know."""

    trials: Sequence[StoredTrial]
    base: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    exists: bool = True  # the study


@dataclass(frozen=True)
class StoredStudy:
    """A study as its database has it, read where a trial's folder does not say enough."""

    paths: StudyPaths
    storage: str | None = None

    @cached_property
    def trials(self) -> dict[int, "FrozenTrial"]:
        """The trials by number; none where there is no study."""
        return {} if self._opened is None else {t.number: t for t in self._opened[0]}

    @property
    def exists(self) -> bool:
        return self._opened is not None

    @property
    def sign(self) -> int:
        """-1 where more of the objective is better, else 1: the best come first by its product."""
        return 1 if self._opened is not None and self._opened[2] == "MINIMIZE" else -1

    @property
    def base(self) -> tuple[str, ...]:
        """The overrides that the study was run with."""
        return () if self._opened is None else tuple(self._opened[1].get(BASE, ()))

    def rebuilt(self, number: int) -> StoredTrial | None:
        """Return a trial as its folder had it, but for its history; None where the study does not
        know how it was composed.
        """
        if self._opened is None or number not in self.trials:
            return None
        frozen, known = self.trials[number], self._opened[1]
        if BASE not in known:
            return None
        chosen = chosen_overrides(known[FINGERPRINT], frozen.params)
        return StoredTrial(
            number=number,
            seed=(json.loads(known[FINGERPRINT]["study.seed"]), number),
            overrides=(*self.base, *chosen),
            ended=self._end(frozen, State(frozen.state.name), frozen.values or ())
            if frozen.state.is_finished()
            else None,
        )

    def unfinished(self) -> list[StoredTrial]:
        """Return the trials that were stopped early or paused after an epoch at least, by what
        they were judged by last.
        """
        found = []
        for number, frozen in self.trials.items():
            trial = self.read(number)[0] if state_of(frozen) in NOT_ENDED else None
            if trial is None:
                continue
            values = dict(sorted(frozen.intermediate_values.items()))
            judged = {k: ranked_by(metrics) for k, metrics in enumerate(trial.history, 1)}
            values = {k: value for k, value in judged.items() if value is not None} or values
            if values:
                state = State.PRUNED if frozen.state.name == "PRUNED" else State.INTERRUPTED
                ended = self._end(frozen, state, [list(values.values())[-1]], len(values))
                found.append(replace(trial, ended=ended))
        return sorted(found, key=lambda trial: (self.sign * trial.value, trial.number))

    def read(self, number: int) -> tuple[StoredTrial | None, str]:
        """Return a trial from its folder, or else from the study, or None where both fail; and a
        line for the user, "" where all is as it should be.
        """
        if (
            self._opened
            and number in self.trials
            and is_foreign(self.trials[number], self._opened[1])
        ):
            return None, f"trial {number} is left out: {FOREIGN}"
        try:
            trial = TrialFolder(self.paths.trial(number)).read()
        except InputError as error:
            rebuilt = self.rebuilt(number)
            end = "left out" if rebuilt is None else "rebuilt from the study"
            return rebuilt, f"trial {number} is {end}: {error}"
        known = self.rebuilt(number) if math.isnan(trial.value) else None  # its result is lost
        return (trial if known is None else replace(trial, ended=known.ended)), ""

    def _end(
        self, frozen: "FrozenTrial", state: State, objective: Sequence[float], epochs: int = 0
    ) -> TrialEnded:
        return TrialEnded(
            number=frozen.number,
            state=state,
            reason="",
            objective=tuple(objective),
            epochs=epochs or max(frozen.intermediate_values, default=0),
            duration_s=0.0,
            folder=self.paths.trial(frozen.number).folder,
            time_s=0.0,
        )

    @property
    def ranked(self) -> list[TrialRow]:
        """The trials, best first, after confirmation where there was one."""
        return [] if self._opened is None else self._opened[3]

    @cached_property
    def _opened(self) -> "tuple[list[FrozenTrial], dict[str, Any], str, list[TrialRow]] | None":
        if self.storage is None and not self.paths.study_db.exists():
            return None
        from pipeline.search.open_study import read_study

        study = read_study(self.paths, self.storage)
        trials, rows = study.get_trials(deepcopy=False), ranked(table_of(study, self.paths.folder))
        return trials, study.user_attrs, study.directions[0].name, rows


def finished_trials(paths: StudyPaths, storage: str | None = None) -> list[StoredTrial]:
    """Return the complete trials, best first (after confirmation where there was one), without
    those that neither their folders nor the study describe.
    """
    return list(_complete(StoredStudy(paths, storage)).trials)


def candidates(config: Config) -> Candidates:
    """Return what the study of `config` offers to build final models of, with notes on what is
    missing. Empty where there is no study.
    """
    study = StoredStudy(config.paths, config.study.storage)
    complete = _complete(study)
    if complete.trials:
        return complete
    unfinished, notes = study.unfinished(), list(complete.notes)
    if unfinished:
        first = unfinished[0]
        assert first.ended is not None
        word = NOT_ENDED[state_of(study.trials[first.number])]
        notes.append(
            f"no trial is complete: trial {first.number}, {word} after {first.ended.epochs} epochs "
            f"with {first.value:.4f}, and {len(unfinished) - 1} others stand in"
        )
    return Candidates(unfinished, study.base, tuple(notes), study.exists)


def stand_ins(config: Config, found: Candidates) -> Candidates:
    """Return, where a study has no trial to offer, what it would have tried first: its enqueued
    configurations, or else its own; `config` is the study's, composed.
    """
    if found.trials or not found.exists:
        return found
    entries = config.study.enqueue or [[]]
    trials = [
        StoredTrial(
            number=number, seed=(config.study.seed, number), overrides=(*found.base, *entry)
        )
        for number, entry in enumerate(entries)
    ]
    what = "the enqueued configuration stands" if config.study.enqueue else "its own values stand"
    return replace(
        found, trials=trials, notes=(*found.notes, f"no trial has ended an epoch: {what} in")
    )


def _complete(study: StoredStudy) -> Candidates:
    found = [study.read(number) for number in _order(study)]
    trials = [trial for trial, _ in found if trial is not None]
    return Candidates(trials, notes=tuple(note for _, note in found if note))


def _order(study: StoredStudy) -> list[int]:
    """Return the numbers of the complete trials, best first."""
    if study.exists:
        return [row.number for row in study.ranked if row.state == State.COMPLETE]
    # Only without the study: the leaderboard is as old as the last run that came to its end.
    with contextlib.suppress(OSError, ValueError, KeyError):  # none, or damaged
        rows = read_csv(study.paths.leaderboard)
        return [int(row["trial"]) for row in rows if row["state"] == State.COMPLETE]
    return []
