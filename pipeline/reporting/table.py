"""A study as a table of trials: Optuna's store joined with the journal (times, slots, curves)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cnn_core.errors import InputError
from cnn_core.measures import MEASURES, metric_of
from pipeline import journal
from pipeline.events import (
    EpochDone,
    Event,
    Scalar,
    StudyEnded,
    StudyStarted,
    TrialEnded,
    TrialRetried,
    TrialStarted,
)
from pipeline.reporting.foreign_trials import FOREIGN, FORKED_FROM, ROUND, is_foreign
from pipeline.reporting.several_nets import NETS, STD, net_figures, net_values
from pipeline.reporting.stored_state import told_state
from pipeline.sqlite_files import sqlite_url
from pipeline.structured_text import read_csv

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution


@dataclass
class TrialRow:
    """One trial. `params` are keyed by configuration path (`optimizer_lr`), `suggested` by name in
    the space (`momentum.lr`).
    """

    number: int
    name: str = ""
    state: str = "RUNNING"
    reason: str = ""
    objective: tuple[float, ...] = ()
    params: dict[str, Scalar] = field(default_factory=dict)
    suggested: dict[str, Scalar] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    seed: int | None = None
    epochs: int = 0
    epochs_wanted: int = 0
    duration_s: float = 0.0
    retries: list[str] = field(default_factory=list)
    extra: dict[str, float] = field(default_factory=dict)
    history: dict[int, dict[str, float]] = field(default_factory=dict)
    foreign: str = ""  # why it was not trained here: added by another program, or taken over
    prior: str = ""  # where a study.prior took its values from: "digits t003", or "informed"
    round: int | None = None  # in deterministic mode: the number of its round's first trial
    spans: list[tuple[int, float, float]] = field(
        default_factory=list
    )  # (slot, start, end), seconds of the wall clock

    @property
    def value(self) -> float:
        """The first objective. Raises IndexError for a trial without one."""
        return self.objective[0]

    @property
    def nets(self) -> list[float]:
        """The values of its nets, of which the first objective is the mean; none for one net."""
        return net_values(self.extra)

    @property
    def std(self) -> float | None:
        """The standard deviation between its nets."""
        return self.extra.get(STD)


@dataclass
class StudyTable:
    """All trials of a study, by number, and what is known of the study itself."""

    name: str
    folder: Path
    directions: tuple[str, ...]
    trials: list[TrialRow]
    distributions: dict[str, "BaseDistribution"] = field(default_factory=dict)
    started: StudyStarted | None = None
    ended: StudyEnded | None = None
    starts: int = 1

    @property
    def complete(self) -> list[TrialRow]:
        """The study's own complete trials."""
        return [
            trial
            for trial in self.trials
            if trial.state == "COMPLETE" and trial.objective and trial.foreign != FOREIGN
        ]

    @property
    def metric(self) -> str:
        """The metric by which trials are judged: the contest's measure, if they have it."""
        seen = {name for trial in self.trials for row in trial.history.values() for name in row}
        return next((metric_of(m) for m in MEASURES[1:] if metric_of(m) in seen), "valid_accuracy")

    @property
    def best_first(self) -> list[TrialRow]:
        """Complete trials by the first objective, best first; ties by number."""
        sign = -1.0 if self.directions[0] == "maximize" else 1.0
        return sorted(self.complete, key=lambda trial: (sign * trial.value, trial.number))

    @property
    def best(self) -> TrialRow | None:
        """The trial to use: the best after confirmation where there was one, else the best found;
        None without a complete trial.
        """
        ranked = self.best_first
        confirmed = confirmed_metrics(self.folder)
        return next(
            (row for number in confirmed for row in ranked if row.number == number),
            ranked[0] if ranked else None,
        )

    @property
    def varied(self) -> list[str]:
        """Names of parameters that took at least two values."""
        seen: dict[str, set[Scalar]] = {}
        for trial in self.trials:
            for key, value in trial.params.items():
                seen.setdefault(key, set()).add(value)
        return [key for key, values in seen.items() if len(values) > 1]


def load_table(folder: Path, name: str) -> StudyTable:
    """Reads a study from the database in its folder, without writing to it. Raises
    FileNotFoundError without one, KeyError for an unknown study.
    """
    import optuna

    if not (folder / "study.db").exists():
        raise FileNotFoundError(folder / "study.db")
    storage = sqlite_url(folder / "study.db", read_only=True)
    study = optuna.load_study(study_name=name, storage=storage)
    return table_of(study, folder, journal.read_all(folder))


def table_of_journal(folder: Path) -> StudyTable | None:
    """The table from the journal alone, without distributions; None where it has no study."""
    rows: dict[int, TrialRow] = {}
    table = StudyTable("", folder, (), [])
    _read_events(journal.read_all(folder), rows, table)
    if table.started is None:
        return None
    table.name, table.directions = table.started.study, table.started.directions
    table.trials = [rows[number] for number in sorted(rows)]
    return table


def table_of(study: "optuna.Study", folder: Path, events: Sequence[Event] = ()) -> StudyTable:
    """Joins Optuna's trials with the journal's events. Where they differ, Optuna decides on states,
    values and parameters.
    """
    rows: dict[int, TrialRow] = {}
    table = StudyTable(
        study.study_name, folder, tuple(d.name.lower() for d in study.directions), []
    )
    _read_events(events, rows, table)
    attributes = study.user_attrs  # once: each look asks the database
    for frozen in study.get_trials(deepcopy=False):
        row = rows.setdefault(frozen.number, TrialRow(frozen.number))
        _read_optuna(frozen, row)
        if is_foreign(frozen, attributes):
            row.foreign = FOREIGN
        elif FORKED_FROM in frozen.user_attrs:
            origin, number = frozen.user_attrs[FORKED_FROM]
            row.foreign = f"taken over from study {origin} as trial {number}"
        table.distributions.update(frozen.distributions)
    table.trials = [rows[number] for number in sorted(rows)]
    return table


def confirmed_metrics(folder: Path) -> dict[int, dict[str, float]]:
    """Trial -> what `study.confirm` found with fresh seeds (mean, standard deviation, lower bound,
    seeds), best first.

    Empty without a confirmation; values that are not finite (a single seed has no spread) are left
    out.
    """
    path = folder / "confirmed.csv"
    if not path.is_file():
        return {}
    names = {
        "mean": "confirmed_mean",
        "std": "confirmed_std",
        "lower_95": "confirmed_lower_95",
        "seeds": "confirmed_seeds",
    }
    try:
        rows = [
            (int(row["trial"]), {new: float(row[old]) for old, new in names.items()})
            for row in read_csv(path)
        ]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"confirmed.csv must be what study.confirm wrote, got {type(error).__name__}: {error} "
            f"({path}); without it the search's own ranking counts"
        ) from None
    return {
        number: {key: value for key, value in values.items() if math.isfinite(value)}
        for number, values in rows
    }


def _read_optuna(frozen: "optuna.trial.FrozenTrial", row: TrialRow) -> None:
    attributes = frozen.user_attrs
    row.state = told_state(frozen, row.state)
    if row.state == "COMPLETE" and frozen.values is not None:
        row.objective = tuple(frozen.values)
    row.suggested = dict(frozen.params)
    row.round = attributes.get(ROUND)
    row.prior = row.prior or str(attributes.get("prior", ""))
    if not row.params:
        row.params = {key.replace(".", "_"): value for key, value in frozen.params.items()}
    row.name = row.name or str(attributes.get("name", f"t{frozen.number:03d}"))
    row.reason = row.reason or str(attributes.get("reason", ""))
    row.overrides = row.overrides or tuple(attributes.get("overrides", ()))
    if not row.history:
        row.history = {
            step: {"valid_accuracy": value}
            for step, value in sorted(frozen.intermediate_values.items())
        }
    row.epochs = row.epochs or max(row.history, default=0)
    if not row.duration_s and frozen.duration is not None:
        row.duration_s = frozen.duration.total_seconds()
    row.extra |= net_figures(attributes.get(NETS, ()))


def _read_events(events: Sequence[Event], rows: dict[int, TrialRow], table: StudyTable) -> None:
    running: dict[int, tuple[int, float]] = {}
    last_s = 0.0
    for event in events:
        if isinstance(event, StudyStarted):
            _close_spans(rows, running, last_s)  # a coordinator that died left no end events
            table.starts = table.starts + 1 if table.started is not None else 1
            table.started = event
        elif isinstance(event, StudyEnded):
            table.ended = event
        else:
            _read_trial(event, rows.setdefault(event.number, TrialRow(event.number)), running)
        last_s = event.time_s
    _close_spans(rows, running, last_s)


def _read_trial(
    event: TrialStarted | EpochDone | TrialRetried | TrialEnded,
    row: TrialRow,
    running: dict[int, tuple[int, float]],
) -> None:
    match event:
        case TrialStarted():
            row.prior = event.prior or row.prior
            row.name, row.overrides, row.params = event.name, event.overrides, dict(event.params)
            row.seed, row.epochs_wanted, row.state = event.seed, event.epochs, "RUNNING"
            running[event.number] = (event.slot, event.time_s)
        case EpochDone():
            row.history.setdefault(event.epoch, dict(event.metrics))
        case TrialRetried():
            row.retries.append(event.reason)
        case TrialEnded():
            _end(row, event)
            if event.number in running:
                slot, start = running.pop(event.number)
                row.spans.append((slot, start, event.time_s))


def _end(row: TrialRow, event: TrialEnded) -> None:
    row.state, row.reason, row.objective = event.state, event.reason, event.objective
    row.epochs, row.duration_s = event.epochs, event.duration_s
    row.extra.update(event.extra)


def _close_spans(
    rows: Mapping[int, TrialRow], running: dict[int, tuple[int, float]], end_s: float
) -> None:
    for number, (slot, start) in running.items():
        rows[number].spans.append((slot, start, end_s))
    running.clear()


def objective_text(value: float, *, share: bool = True) -> str:
    """A value from 0 to 1 as per cent, others, and losses (`share` False), plainly."""
    return f"{value:.2%}" if share and 0.0 <= value <= 1.0 else f"{value:.4g}"


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    whole = round(seconds)
    minutes, hours = whole // 60, whole // 3600
    return (
        f"{hours}:{minutes % 60:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
    )
