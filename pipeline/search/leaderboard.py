"""leaderboard.csv and best.yaml: every ended trial, best first; with two objectives the Pareto
front first.
"""

from collections.abc import Sequence

import optuna
import yaml

from pipeline.events import State
from pipeline.files import StudyPaths, atomic_write_text
from pipeline.reporting.best_trials import best_of, last_values, ranked
from pipeline.reporting.foreign_trials import FOREIGN
from pipeline.reporting.table import TrialRow, table_of
from pipeline.search.queue import REPLANNED
from pipeline.search.space import Space
from pipeline.structured_text import csv_lines

SHOWN = 10
CONFIRMED = "confirmed.csv"  # what `study.confirm` found, best first


def rank(
    study: optuna.Study, space: Space, paths: StudyPaths, *, searched: bool = False
) -> list[TrialRow]:
    """Return the ended trials, best first, with the overrides that the space gives them; before
    any confirmation where `searched`.
    """
    rows = ranked(table_of(study, paths.folder), searched=searched)
    moved = {t.number: t.user_attrs.get(REPLANNED, ()) for t in study.get_trials(deepcopy=False)}
    for row in rows:
        row.overrides = (*space.overrides_of(row.suggested), *moved[row.number])
    return rows


def best_number(study: optuna.Study, paths: StudyPaths) -> int | None:
    """Return the number of the best trial; None without a complete one."""
    best = best_of(table_of(study, paths.folder))
    return None if best is None else best.number


def write(
    rows: Sequence[TrialRow], objectives: Sequence[str], base: Sequence[str], paths: StudyPaths
) -> None:
    """Write leaderboard.csv, and best.yaml when a trial is complete."""
    taken = any(row.prior for row in rows)  # the column is there where a study.prior was given
    several = any(row.nets for row in rows)  # and these where trials have several nets
    more = [*["std", "nets"] * several, *["prior"] * taken]
    lines: list[list[object]] = [
        ["rank", "trial", "state", *objectives, "epochs", "overrides", "reason", *more]
    ]
    for place, row in enumerate(rows, 1):
        values = _filled([repr(value) for value in last_values(row)], objectives)
        overrides = " ".join(row.overrides)
        reason = row.reason or row.foreign
        cells = [place, row.number, row.state, *values, row.epochs, overrides, reason]
        nets = [repr(row.std), " ".join(map(repr, row.nets))] if row.nets else ["", ""]
        lines.append([*cells, *nets * several, *[row.prior] * taken])
    atomic_write_text(paths.leaderboard, csv_lines(lines))
    if rows and rows[0].state == State.COMPLETE and rows[0].foreign != FOREIGN:
        best = rows[0]
        content = {
            "study": paths.name,
            "trial": best.number,
            **dict(zip(objectives, best.objective, strict=True)),
            "overrides": [*base, *best.overrides],
        }
        atomic_write_text(paths.best, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def table(rows: Sequence[TrialRow], objectives: Sequence[str], shown: int = SHOWN) -> list[str]:
    """Return the leaderboard as plain lines."""
    taken = any(row.prior for row in rows)
    several = any(row.nets for row in rows)
    head = ["rank", "trial", *objectives, *["std"] * several, "epochs", "state"]
    lines = [[*head, *["prior"] * taken, "overrides"]]
    for place, row in enumerate(rows[:shown], 1):
        values = [f"{v:.4f}" if abs(v) < 1000 else f"{v:.4g}" for v in last_values(row)]
        std = ["" if row.std is None else f"{row.std:.4f}"] * several
        cells = [str(place), str(row.number), *_filled(values, objectives), *std, str(row.epochs)]
        state = f"{row.state}, {FOREIGN}" if row.foreign == FOREIGN else row.state
        prior = [row.prior] * taken
        lines.append([*cells, state, *prior, " ".join(map(_short, row.overrides))])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    more = [f"... and {len(rows) - shown} more in leaderboard.csv"] if len(rows) > shown else []
    return padded + more


def _filled(values: Sequence[str], objectives: Sequence[str]) -> list[str]:
    return [*values, *[""] * (len(objectives) - len(values))]


def _short(override: str) -> str:
    """Return an override with a float shortened to four digits."""
    key, _, value = override.partition("=")
    try:
        return f"{key}={float(value):.4g}" if "." in value or "e" in value else override
    except ValueError:
        return override
