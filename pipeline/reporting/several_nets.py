"""What is said of a trial of several nets (``study.seeds``, ``study.folds``): the value of each and
their spread, beside the mean that is its objective.
"""

import math
import statistics
from collections.abc import Mapping, Sequence

NETS = "nets"  # user attribute of a trial: the values of its nets
STD = "objective_std"
NET = "objective_net"  # and the net's number, counted from 1


def net_figures(values: Sequence[float]) -> dict[str, float]:
    """Return the values of a trial's nets and their standard deviation by name; nothing for one."""
    if len(values) < 2:
        return {}
    named = {f"{NET}{number}": value for number, value in enumerate(values, 1)}
    return {STD: statistics.stdev(values), **named}


def net_values(figures: Mapping[str, float]) -> list[float]:
    """Return the values of a trial's nets from all its figures; none where it has one net."""
    names = sorted((name for name in figures if name.startswith(NET)), key=_number)
    return [figures[name] for name in names]


def _number(name: str) -> int:
    return int(name.removeprefix(NET))


def noise_of_means(trials: Sequence[Mapping[str, float]]) -> float | None:
    """Return the standard deviation of a trial's mean, from the spread between the nets of all
    these trials, of which the figures are given; None where a trial has one net.

    s / sqrt(K), with s^2 the mean of the trials' variances.
    """
    variances = [figures[STD] ** 2 for figures in trials if STD in figures]
    counts = [len(net_values(figures)) for figures in trials if STD in figures]
    if not variances:
        return None
    return math.sqrt(statistics.fmean(variances) / statistics.fmean(counts))
