"""Where winners sit on a border of the space, and the space to search next."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from pipeline.reporting.regression import Regression, unit_position, value_at
from pipeline.reporting.table import StudyTable, TrialRow

EDGE = 0.06  # share of the range that counts as its border
FEWEST = 8  # complete trials needed before winners are analysed
_MARGIN = 0.15
# Values beyond which a parameter has no meaning, by the last part of its path.
LIMITS = {
    "dropout": (0.0, 0.95),
    "label_smoothing": (0.0, 0.5),
    "valid_fraction": (0.0, 0.9),
    "momentum": (0.0, 0.999),
}


@dataclass(frozen=True)
class Place:
    """Where the best trials lie in one parameter's range."""

    name: str
    path: str
    side: str  # "upper", "lower" or "" for inside
    share: float  # of the winners at that border
    winners: tuple[float, float]  # span of their values
    at_limit: bool  # beyond the border, values have no meaning


def winners_of(table: StudyTable) -> list[TrialRow]:
    """The best tenth of the complete trials, at least three, at most ten."""
    ranked = table.best_first
    return ranked[: int(np.clip(math.ceil(len(ranked) / 10), 3, 10))]


def places(table: StudyTable, paths: Mapping[str, str]) -> list[Place]:
    """One entry for each numeric parameter that at least two winners have; none for a study too
    small to have winners.

    paths: name in the space -> configuration path.
    """
    found: list[Place] = []
    if len(table.complete) < FEWEST:
        return found
    for name, distribution in table.distributions.items():
        if (
            not isinstance(distribution, IntDistribution | FloatDistribution)
            or distribution.low == distribution.high
        ):
            continue
        values = [float(row.suggested[name]) for row in winners_of(table) if name in row.suggested]  # type: ignore[arg-type]
        if len(values) < 2:
            continue
        positions = np.array([unit_position(distribution, value) for value in values])
        upper, lower = float(np.mean(positions > 1 - EDGE)), float(np.mean(positions < EDGE))
        side = "upper" if upper >= max(0.5, lower) else "lower" if lower >= 0.5 else ""
        path = paths.get(name, name)
        low, high = LIMITS.get(path.rsplit(".", 1)[-1], (-math.inf, math.inf))
        at_limit = (side == "upper" and distribution.high >= high) or (
            side == "lower" and distribution.low <= low
        )
        found.append(
            Place(
                name,
                path,
                side,
                max(upper, lower) if side else 0.0,
                (min(values), max(values)),
                at_limit,
            )
        )
    return found


def next_space(
    space: Mapping[str, Any],
    table: StudyTable,
    regression: Regression | None,
    paths: Mapping[str, str],
) -> dict[str, Any]:
    """The space to search next, in the form of `conf/space/*.yaml`.

    A range is extended past a border where winners sit, else narrowed to theirs with a margin; a
    choice that the regression finds clearly (95 %) worse than the best one is dropped. Conditions
    and groups stay, except those of dropped choices.
    """
    by_name = {place.name: place for place in places(table, paths)}
    following: dict[str, Any] = {}
    dropped: dict[str, set[str]] = {}
    for name, entry in space.items():
        new = dict(entry)
        distribution = table.distributions.get(name)
        key = next((k for k in ("group", "choice") if k in new), None)
        if key and isinstance(distribution, CategoricalDistribution):
            kept = _kept_choices(name, list(new[key]), table, regression)
            dropped[name] = {str(v) for v in new[key]} - {str(v) for v in kept}
            new[key] = kept
        elif name in by_name and isinstance(distribution, IntDistribution | FloatDistribution):
            new["int" if "int" in new else "float"] = _next_range(by_name[name], distribution)
        if not _is_dead(new.get("when"), dropped):
            following[name] = new
    return following


def _is_dead(when: Mapping[str, Any] | None, dropped: Mapping[str, set[str]]) -> bool:
    for name, wanted in (when or {}).items():
        values = wanted if isinstance(wanted, list | tuple) else [wanted]
        if all(str(value) in dropped.get(name, set()) for value in values):
            return True
    return False


def _kept_choices(
    name: str, choices: Sequence[Any], table: StudyTable, regression: Regression | None
) -> list[Any]:
    group = (
        None
        if regression is None
        else next((g for g in regression.groups if g.name == name and g.words), None)
    )
    if group is None or regression is None:
        return list(choices)
    sign = 1.0 if table.directions[0] == "maximize" else -1.0
    best = group.words[int(np.argmax(sign * regression.coefficients[group.columns]))]
    won = {str(row.suggested.get(name)) for row in winners_of(table)}

    def behind(choice: Any) -> bool:
        if str(choice) == best or str(choice) in won or str(choice) not in group.words:
            return False
        size, half = regression.contrast(name, best, str(choice))
        return sign * size > half

    return [choice for choice in choices if not behind(choice)]


def _next_range(place: Place, distribution: BaseDistribution) -> list[float | int]:
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    span = [unit_position(distribution, value) for value in place.winners]
    low, high = max(0.0, span[0] - _MARGIN), min(1.0, span[1] + _MARGIN)
    if place.side == "upper" and not place.at_limit:
        high = 1.5
    if place.side == "lower" and not place.at_limit:
        low = -0.5
    least, most = LIMITS.get(place.path.rsplit(".", 1)[-1], (-math.inf, math.inf))
    if distribution.low >= 0:  # a range stays non-negative, a count at least one
        least = max(
            least,
            1.0 if isinstance(distribution, IntDistribution) and distribution.low >= 1 else 0.0,
        )
    if distribution.low > 0 and isinstance(distribution, FloatDistribution):
        least = max(least, distribution.low / 10)
    first, last = (
        min(max(_rounded(distribution, value_at(distribution, at)), least), most)
        for at in (low, high)
    )
    if isinstance(distribution, IntDistribution):
        return [int(first), max(int(last), int(first) + 1)]
    return [float(first), float(last)]


def _rounded(distribution: IntDistribution | FloatDistribution, value: float) -> float:
    if isinstance(distribution, IntDistribution):
        return round(value)
    if distribution.step:
        return round(
            distribution.low
            + round((value - distribution.low) / distribution.step) * distribution.step,
            10,
        )
    return float(f"{value:.2g}")
