"""Small pieces of HTML that the sections share; all text is escaped here."""

from collections.abc import Sequence
from html import escape


def bullets(items: Sequence[str]) -> str:
    """A list of items that are already HTML."""
    return (
        f'<ul class="findings">{"".join(f"<li>{item}</li>" for item in items)}</ul>'
        if items
        else ""
    )


def text(words: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    return f'<p class="{kind}">{escape(words)}</p>' if kind else f"<p>{escape(words)}</p>"


def command(words: str) -> str:
    """A command to type, or a file."""
    return f"<pre><code>{escape(words)}</code></pre>"


def numbers(entries: Sequence[tuple[str, str]]) -> str:
    """Headline figures: (what, figure)."""
    inner = "".join(f"<div><dt>{escape(a)}</dt><dd>{escape(b)}</dd></div>" for a, b in entries)
    return f'<dl class="numbers">{inner}</dl>'


Cell = str | tuple[str, float]  # text, or text and its sort key


def table(
    heads: Sequence[str], rows: Sequence[Sequence[Cell]], caption: str, *, sortable: bool = False
) -> str:
    """A table in a scrolling box with keyboard focus; a row's first cell is its header."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    body = "".join(
        f"<tr>{''.join(_cell(cell, first=index == 0) for index, cell in enumerate(row))}</tr>"
        for row in rows
    )
    kind = ' class="sortable"' if sortable else ""
    inner = (
        f"<table{kind}><caption>{escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )
    return (
        f'<div class="scroll" role="region" aria-label="{escape(caption, quote=True)}" '
        f'tabindex="0">{inner}</div>'
    )


def _cell(cell: Cell, *, first: bool) -> str:
    if isinstance(cell, tuple):
        words, value = cell
        attributes = f' class="number" data-value="{value:.10g}"'
    else:
        words, attributes = cell, ""
    tag, scope = ("th", ' scope="row"') if first else ("td", "")
    return f"<{tag}{scope}{attributes}>{escape(words)}</{tag}>"
