"""Searches ranked on the public tables. What other libraries' searches found is kept in
docs/search.json, by table, by search and its library's version, a share for each seed, so that
hours of it can be measured in many sittings; the product's own are searched anew each time.
"""

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.document import DOCS, markdown_table
from benchmarks.search_parts import tables

Array = NDArray[np.float64]
Kept = dict[str, dict[str, list[float]]]  # table, search with its library's version: by seed
KEPT = DOCS / "search.json"
TOLD = """the mean rank over seeds and, in brackets, the share of all
configurations that are better than the one chosen (median). `random` and `auto` are the product's
samplers. All values are choices; to `auto` those among numbers have their order, the libraries' are
asked for words, as their users ask for choices."""


def on_tables(searches: Sequence[str], seeds: int) -> dict[str, Array]:
    """Return by table the shares of configurations better than what each search chose, (seeds,
    searches).
    """
    kept: Kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    found = {}
    with ProcessPoolExecutor() as pool:
        for family, names in tables.NAMES.items():
            for name in names:
                table = f"{family} {name}"
                rows = kept.setdefault(table, {})
                columns = [_column(rows, one, (family, name), seeds, pool) for one in searches]
                found[table] = np.array(columns).T
                KEPT.write_text(json.dumps(kept, indent=1) + "\n")
                print(f"{table}: {_ranks(found[table])}", flush=True)
    return found


def _column(
    rows: dict[str, list[float]], search: str, table: tuple[str, str], seeds: int, pool: Executor
) -> list[float]:
    """Return what a search found by seed; what is kept of another library's is not searched again,
    and what is new is kept.
    """
    library = tables.SEARCHES[search].library
    key = f"{search}, {library} {importlib.metadata.version(library)}" if library else search
    known = rows.get(key, [])[:seeds] if library else []
    more = [*pool.map(partial(tables.share_better, *table, search), range(len(known), seeds))]
    if library:
        rows[key] = [*known, *more, *rows.get(key, [])[seeds:]]
    return [*known, *more]


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
