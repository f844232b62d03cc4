"""Tables and pictures of docs/PERFORMANCE.md, written by the commands that measure them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "PERFORMANCE.md"
PREAMBLE = """# Performance

Every table and picture here was written by the command named above it, run with `--write`. Ratios are taken within one run, on one
machine; absolute times depend on both. How it is done: [ARCHITECTURE.md](ARCHITECTURE.md); what was tried: [LOG.md](LOG.md).
"""


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose first column is text and whose others are figures."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def write_section(name: str, title: str, body: str) -> None:
    """Put a section into docs/PERFORMANCE.md in place of the one of that name, or at its end."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    section = f"{begin}\n\n## {title}\n\n{body.strip()}\n\n{end}\n"
    page = PAGE.read_text() if PAGE.exists() else PREAMBLE
    if begin in page:
        before, _, rest = page.partition(begin)
        page = before + section + rest.partition(end + "\n")[2]
    else:
        page = page.rstrip("\n") + "\n\n" + section
    PAGE.write_text(page)


def bar_chart(
    path: Path, groups: Sequence[str], series: Mapping[str, Sequence[float | None]], label: str, line: float | None = None
) -> None:
    """Save horizontal bars: one group a name, one bar a series; None leaves a gap; `line` marks a value of comparison."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 0.6 + 0.25 * len(groups) * (len(series) + 1)), dpi=90)
    height = 0.8 / len(series)
    for i, (name, values) in enumerate(series.items()):
        shown: list[tuple[float, Any]] = [(g + i * height, v) for g, v in enumerate(values) if v is not None]
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
