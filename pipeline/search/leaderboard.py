"""leaderboard.csv and best.yaml: every finished trial, best first; with two objectives the Pareto
front first.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import optuna
import yaml
from optuna.trial import FrozenTrial, TrialState

from pipeline.files import StudyPaths, atomic_write_text
from pipeline.search.space import Space

ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
SHOWN = 10
CONFIRMED = "confirmed.csv"  # what `study.confirm` found, best first


@dataclass(frozen=True)
class Row:
    """One finished trial."""

    rank: int
    number: int
    state: str
    values: tuple[float, ...]  # of a pruned trial: the last value it reported
    epochs: int
    overrides: tuple[str, ...]
    reason: str
    front: bool  # on the Pareto front, or the best


def rank(study: optuna.Study, space: Space, confirmed: Sequence[int] = ()) -> list[Row]:
    """Return the finished trials: `confirmed` ones in that order, other complete ones by objective,
    then pruned, then failed.

    Equal ones by number.
    """
    trials = study.get_trials(deepcopy=False, states=ENDED)
    front = {trial.number for trial in best_trials(study, trials)}
    sign = -1.0 if study.directions[0] == optuna.study.StudyDirection.MAXIMIZE else 1.0

    def key(trial: FrozenTrial) -> tuple[Any, ...]:
        value = sign * trial.values[0] if trial.values else 0.0
        place = confirmed.index(trial.number) if trial.number in confirmed else len(confirmed)
        return (
            ENDED.index(trial.state),
            place,
            trial.number not in front and len(study.directions) > 1,
            value,
            trial.number,
        )

    ordered = sorted(trials, key=key)
    if confirmed and len(study.directions) == 1:
        front = {ordered[0].number}
    return [
        _row(place, trial, space, trial.number in front) for place, trial in enumerate(ordered, 1)
    ]


def best_trials(
    study: optuna.Study, trials: Sequence[FrozenTrial] | None = None
) -> list[FrozenTrial]:
    """Return the best complete trial, the earliest among equals, or the Pareto front; empty when
    none is complete.
    """
    complete = [
        t for t in trials or study.get_trials(deepcopy=False) if t.state == TrialState.COMPLETE
    ]
    signs = [
        1.0 if direction == optuna.study.StudyDirection.MAXIMIZE else -1.0
        for direction in study.directions
    ]
    scores = {t.number: [s * v for s, v in zip(signs, t.values, strict=True)] for t in complete}
    if len(signs) == 1:
        return sorted(complete, key=lambda t: (-scores[t.number][0], t.number))[:1]
    return [
        t
        for t in complete
        if not any(_dominates(scores[other.number], scores[t.number]) for other in complete)
    ]


def confirmed_order(paths: StudyPaths) -> list[int]:
    """Return the numbers of the confirmed trials, best first; empty where none was."""
    file = paths.folder / CONFIRMED
    if not file.exists():
        return []
    with file.open(newline="") as text:
        return [int(row["trial"]) for row in csv.DictReader(text)]


def best_number(study: optuna.Study, paths: StudyPaths) -> int | None:
    """Return the number of the best trial: of the confirmed ones, where there are any; None without
    a complete trial.
    """
    return next(
        iter([*confirmed_order(paths), *(trial.number for trial in best_trials(study))]), None
    )


def _dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    return all(x >= y for x, y in zip(a, b, strict=True)) and any(
        x > y for x, y in zip(a, b, strict=True)
    )


def _row(place: int, trial: FrozenTrial, space: Space, front: bool) -> Row:
    return Row(
        rank=place,
        number=trial.number,
        state=trial.state.name,
        values=tuple(trial.values or ()),
        epochs=trial.last_step or 0,
        overrides=tuple(space.overrides_of(trial.params)),
        reason=trial.user_attrs.get("reason", ""),
        front=front,
    )


def write(
    rows: Sequence[Row], objectives: Sequence[str], base: Sequence[str], paths: StudyPaths
) -> None:
    """Write leaderboard.csv, and best.yaml when a trial is complete."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["rank", "trial", "state", *objectives, "epochs", "overrides", "reason"])
    for row in rows:
        values = [repr(value) for value in row.values] + [""] * (len(objectives) - len(row.values))
        writer.writerow(
            [
                row.rank,
                row.number,
                row.state,
                *values,
                row.epochs,
                " ".join(row.overrides),
                row.reason,
            ]
        )
    atomic_write_text(paths.leaderboard, text.getvalue())
    if rows and rows[0].state == "COMPLETE":
        best = rows[0]
        content = {
            "study": paths.name,
            "trial": best.number,
            **dict(zip(objectives, best.values, strict=True)),
            "overrides": [*base, *best.overrides],
        }
        atomic_write_text(paths.best, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def table(rows: Sequence[Row], objectives: Sequence[str], shown: int = SHOWN) -> list[str]:
    """Return the leaderboard as plain lines."""
    heads = ["rank", "trial", *objectives, "epochs", "state", "overrides"]
    cells = [
        [
            str(r.rank),
            str(r.number),
            *_shown_values(r, len(objectives)),
            str(r.epochs),
            r.state,
            " ".join(_short(r)),
        ]
        for r in rows[:shown]
    ]
    widths = [max(len(line[i]) for line in [heads, *cells]) for i in range(len(heads))]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in [heads, *cells]
    ]
    return lines + (
        [f"... and {len(rows) - shown} more in leaderboard.csv"] if len(rows) > shown else []
    )


def _shown_values(row: Row, count: int) -> list[str]:
    return [f"{value:.4f}" if abs(value) < 1000 else f"{value:.4g}" for value in row.values] + [
        ""
    ] * (count - len(row.values))


def _short(row: Row) -> list[str]:
    """Return overrides with their floats cut to four digits."""
    short = []
    for text in row.overrides:
        key, _, value = text.partition("=")
        try:
            short.append(f"{key}={float(value):.4g}" if "." in value or "e" in value else text)
        except ValueError:
            short.append(text)
    return short
