"""What replays on recorded curves become: a table and a picture."""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np

from benchmarks.document import markdown_table
from benchmarks.search_parts.curves import Curves
from benchmarks.search_parts.replay import CLOSE, Replayed

COLUMNS = ("epochs until found", "share", "trials", "found", "epochs in all", "lacks, points")


def figures(runs: Sequence[Replayed], whole: int) -> list[str]:
    """Return a method's cells: epochs until found and their share, trials until then, how often,
    epochs in all, and what the choice at the end lacks, in points.
    """
    until, trials = [run.found for run in runs], [run.trials for run in runs]
    low, middle, high = (float(np.quantile(until, q, method="higher")) for q in (0.25, 0.5, 0.75))
    share = "never" if math.isinf(middle) else f"{middle / whole:.1%}"
    epochs = statistics.median(run.epochs for run in runs)
    lacking = [100 * run.regret for run in runs]
    return [
        f"{_count(middle)} ({_count(low)} to {_count(high)})",
        share,
        _count(float(np.quantile(trials, 0.5, method="higher"))),
        f"{sum(map(math.isfinite, until))} of {len(runs)}",
        f"{epochs:.0f}",
        f"{statistics.median(lacking):.3f}",
    ]


def _count(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:.0f}"


def section(
    curves: Curves, seeds: int, found: Mapping[str, Sequence[Replayed]], command: str
) -> str:
    """Return the text of one space's section, for trials of so many nets."""
    count, nets, epochs = curves.values.shape
    head = [
        "method",
        "epochs until found",
        "share",
        "trials",
        "found",
        "epochs in all",
        "lacks, points",
    ]
    rows = [[method, *figures(runs, curves.whole)] for method, runs in found.items()]
    close = np.sum(curves.final >= curves.final.max() - CLOSE)
    spread = float(np.nanmedian(np.nanstd(curves.values[:, :, -1], axis=1, ddof=1)))
    return "\n\n".join(
        [
            f"`{command}`",
            f"{count} configurations, {nets} nets each, {epochs} epochs. "
            f"{_trial(seeds, curves)} The best mean is {curves.final.max():.2%}; {close} "
            "configurations are within 0.02 points of it, while nets of one configuration differ "
            f"by {100 * spread:.2f} (median standard deviation, in points).",
            markdown_table(head, rows),
        ]
    )


def _trial(seeds: int, curves: Curves) -> str:
    """Say what a trial is, and what its epochs are counted in."""
    if seeds == 1:
        return f"A trial is one net, which may be lucky: {curves.whole} epochs in all."
    return (
        f"A trial is {seeds} nets and reports their mean; an epoch is one of each: {curves.whole} "
        "in all."
    )


def picture(curves: Curves, found: Mapping[str, Sequence[Replayed]], path: Path) -> None:
    """Save the median of what the choice lacks, by the share of epochs spent."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    whole = curves.whole
    spent = np.unique(np.geomspace(5, whole, 80).astype(int))
    figure, axes = plt.subplots(figsize=(9, 4.2), dpi=90)
    for number, (method, runs) in enumerate(found.items()):
        lacks = np.median([[100 * _lacking(run, at) for at in spent] for run in runs], axis=0)
        axes.plot(spent / whole, lacks, ("-", "--", ":")[number // 10], linewidth=1.2, label=method)
    axes.set(xscale="log", xlabel="share of all epochs", ylabel="lacks, points")
    axes.set_yscale("symlog", linthresh=0.02)
    axes.set_ylim(0, 2)  # before anything is complete a choice lacks everything
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def _lacking(run: Replayed, epochs: int) -> float:
    known = [regret for at, regret in run.course if at <= epochs]
    return known[-1] if known else 1.0
