"""Past results in a CSV file, for ``study.prior=[results.csv]``: a row a result, whatever made it.

Its columns are found by their names. Searched values: the path (``optimizer.lr``), the path with an
underscore (``optimizer_lr``, as MLflow's table has it) or the parameter's name in the space
(``momentum.lr``), each also after ``params_`` or ``params.`` (as Optuna's table has it); or all of
them as overrides in a column ``overrides``, as in a leaderboard.csv. The result: the study's
objective by its name, or ``objective``, or ``value``. A column ``state`` or ``Status`` tells failed
ones. All other columns are named and left out.
"""

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cnn_core.errors import InputError, did_you_mean
from cnn_core.measures import is_minimized
from cnn_core.plain_json import DamagedError
from pipeline.configuration.overrides import Value, parse_override
from pipeline.configuration.sections import StudySettings
from pipeline.search.space import Space
from pipeline.structured_text import csv_cells, own_text

OVERRIDES = "overrides"
STATES = ("state", "status")
WHOLE = ("", "COMPLETE", "FINISHED")
STOPPED = ("PRUNED", "PAUSED", "KILLED", "SCHEDULED")  # early: they count less
DELIMITERS = ",;\t"


@dataclass(frozen=True)
class PastResult:
    """One row: values by configuration path, and whether it was trained to its end."""

    line: int
    tried: Mapping[str, Value]
    value: float
    whole: bool


@dataclass(frozen=True)
class PastResults:
    """Rows with a result, best first, and the columns that say nothing here."""

    results: list[PastResult]
    left_out: list[str]


def read_past_results(file: Path, study: StudySettings, space: Space) -> PastResults:
    """Read a table. Raises InputError where it cannot be read, has no column of results or none of
    searched values, or no row with a result of a whole training.
    """
    rows = _rows(file)
    names = rows[0]
    result = _column_of_results(file, names, study.objectives[0])
    paths = {name: path for name in names if (path := _path_of(name, space)) is not None}
    if not paths and OVERRIDES not in names:
        near = did_you_mean(names[0], [*space.paths]) if names else ""
        raise InputError(
            f"study.prior: a table must have a column for a value that this study searches "
            f"({', '.join(sorted(space.paths))}) or overrides, got {', '.join(names)}{near} "
            f"({file})"
        )
    results = []
    for line, cells in enumerate(rows[1:], 2):
        row = dict(zip(names, cells, strict=False))
        state = next((row.get(name, "").upper() for name in names if name.lower() in STATES), "")
        value = _number(row.get(result, ""))
        if value is not None and state in (*WHOLE, *STOPPED):
            results.append(PastResult(line, _tried(row, paths), value, state in WHOLE))
    if not any(one.whole for one in results):
        raise InputError(
            f"study.prior: a table must have a row with a result in {result!r}, got none of "
            f"{len(rows) - 1} ({file})"
        )
    sign = 1 if is_minimized(study.objectives[0]) else -1
    results.sort(key=lambda one: (not one.whole, sign * one.value, one.line))
    used = {*paths, OVERRIDES, result}
    return PastResults(results, [n for n in names if n not in used and n.lower() not in STATES])


def _rows(file: Path) -> list[list[str]]:
    """Return the cells of a table, the header first; blank lines are left out."""
    try:
        text = own_text(file).removeprefix("\ufeff")
        delimiter = max(DELIMITERS, key=text.partition("\n")[0].count)
        rows = list(csv_cells(io.StringIO(text, newline=""), delimiter))
    except OSError as error:
        rule = "must be a file that can be read"
        raise InputError(f"study.prior: {rule}, got {file} ({error.strerror})") from None
    except (DamagedError, csv.Error) as error:
        raise InputError(
            f"study.prior: must be a CSV file in UTF-8, got {file} ({error})"
        ) from None
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    if not rows:
        raise InputError(
            f"study.prior: must be a CSV file with a header, got an empty one ({file})"
        )
    return [[cell.strip() for cell in row] for row in rows]


def _column_of_results(file: Path, names: list[str], objective: str) -> str:
    for name in (objective, "objective", "value"):
        if name in names:
            return name
    raise InputError(
        f"study.prior: a table must have a column {objective}, objective or value with the "
        f"results, got {', '.join(names)} ({file})"
    )


def _path_of(name: str, space: Space) -> str | None:
    """Return the configuration path that a column gives values of."""
    plain = name
    for prefix in ("params_", "params."):
        plain = plain.removeprefix(prefix)
    for parameter in space.parameters:
        known = (parameter.path, parameter.path.replace(".", "_"), parameter.name)
        if plain in known:
            return parameter.path
    return None


def _tried(row: Mapping[str, str], paths: Mapping[str, str]) -> dict[str, Value]:
    tried: dict[str, Value] = {}
    for text in row.get(OVERRIDES, "").split():
        one = parse_override(text)
        tried[one.key_or_group] = one.value()  # type: ignore[assignment]
    return tried | {path: _value(row[name]) for name, path in paths.items() if row.get(name)}


def _value(text: str) -> Value:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    number = _number(text)
    if number is None:
        return text
    return int(number) if number == int(number) and "." not in text else number


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
