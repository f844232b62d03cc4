"""The output of the benchmarks: rows as JSON, tables and pictures in docs/PERFORMANCE.md, written
by the commands that measure them.
"""

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "PERFORMANCE.md"
PREAMBLE = (
    "# Performance\n"
    "\n"
    "Every table and picture here was written by the command named above it, run with `--write`. "
    "Ratios are taken within one run, on one\n"
    "machine; absolute times depend on both. How it is done: [ARCHITECTURE.md](ARCHITECTURE.md); "
    "what was tried: [LOG.md](LOG.md).\n"
)


@dataclass(frozen=True)
class Panel:
    """One of several diagrams side by side: groups of bars, one bar per series."""

    title: str
    groups: Sequence[str]
    label: str
    series: Mapping[str, Sequence[float]]
    unit: str


def add_outputs(parser: ArgumentParser) -> None:
    """Add the options that `finish` reads."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file")
    parser.add_argument(
        "--write", action="store_true", help="write tables and picture into docs/PERFORMANCE.md"
    )


def finish(
    module: str,
    options: Namespace,
    argv: Sequence[str] | None,
    rows: Any,
    title: str,
    body: Callable[[str], str],
) -> None:
    """Write the rows to ``--json`` and, with ``--write``, the section ``body(command)``; the body
    may draw its picture into docs/. Options with a ``variant`` have a section of their own.
    """
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    if options.write:
        write_section(
            module.rpartition(".")[2] + getattr(options, "variant", ""),
            title,
            body(command_of(module, sys.argv[1:] if argv is None else argv)),
        )


def command_of(module: str, arguments: Sequence[str]) -> str:
    """Return the command that repeats the measurement, without ``--write`` and without ``--json``,
    whose file is the caller's own.
    """
    kept: list[str] = []
    for at, word in enumerate(arguments):
        if (
            word != "--write"
            and not word.startswith("--json")
            and arguments[max(0, at - 1)] != "--json"
        ):
            kept.append(word)
    return " ".join(["python", "-m", module, *kept])


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose first column is text and whose others are figures."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def write_section(
    name: str, title: str, body: str, file: Path | None = None, preamble: str = PREAMBLE
) -> None:
    """Put a section into a page, docs/PERFORMANCE.md unless another `file` is given, replacing the
    one of that name, or at the end.
    """
    file = file or PAGE
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    section = f"{begin}\n\n## {title}\n\n{body.strip()}\n\n{end}\n"
    page = file.read_text() if file.exists() else preamble
    if begin in page:
        before, _, rest = page.partition(begin)
        page = before + section + rest.partition(end + "\n")[2]
    else:
        page = page.rstrip("\n") + "\n\n" + section
    file.write_text(page)


def bar_chart(
    path: Path,
    groups: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    label: str,
    line: float | None = None,
) -> None:
    """Save horizontal bars: one group per name, one bar per series; None leaves a gap; `line` marks
    a reference value.
    """
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 0.6 + 0.25 * len(groups) * (len(series) + 1)), dpi=90)
    height = 0.8 / len(series)
    for i, (name, values) in enumerate(series.items()):
        shown: list[tuple[float, Any]] = [
            (g + i * height, v) for g, v in enumerate(values) if v is not None
        ]
        bars = axes.barh([at for at, _ in shown], [v for _, v in shown], height * 0.9, label=name)
        axes.bar_label(bars, fmt="%.3g", padding=2, fontsize=8)
    axes.set_yticks([g + 0.4 - height / 2 for g in range(len(groups))], list(groups))
    axes.invert_yaxis()
    if line is not None:
        axes.axvline(line, color="black", linewidth=0.8)
    axes.set_xlabel(label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def panels(path: Path, drawn: Sequence[Panel]) -> None:
    """Save diagrams side by side, values above their bars."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, grid = plt.subplots(
        1, len(drawn), figsize=(1 + 3.6 * len(drawn), 3.2), dpi=90, squeeze=False
    )
    for panel, axes in zip(drawn, grid[0], strict=True):
        width = 0.8 / len(panel.series)
        for i, (name, values) in enumerate(panel.series.items()):
            bars = axes.bar(
                [g + i * width for g in range(len(values))], values, width * 0.9, label=name
            )
            axes.bar_label(bars, fmt="%.3g", padding=1, fontsize=7)
        axes.set_xticks([g + 0.4 - width / 2 for g in range(len(panel.groups))], list(panel.groups))
        axes.set(title=panel.title, xlabel=panel.label, ylabel=panel.unit)
        axes.margins(y=0.4)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=7, frameon=False, loc="upper left")
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
