"""Charts as SVG text: colours by CSS class, so that they follow dark mode and print; a title and a
description for screen readers.
"""

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from itertools import count

from pipeline.reporting.scales import Axis

_ids = count(1)


def frame(x: Axis, y: Axis, x_name: str, y_name: str, *, x_most: int = 6, y_most: int = 5) -> str:
    """Grid lines, tick texts and names of both axes."""
    left, right = min(x.first, x.last), max(x.first, x.last)
    top, bottom = min(y.first, y.last), max(y.first, y.last)
    parts = []
    for at, text in y.ticks(y_most):
        parts.append(f'<path class="grid" d="M{left:g} {at:g}H{right:g}"/>')
        parts.append(words(left - 6, at + 3.5, text, "tick", "end"))
    for at, text in x.ticks(x_most):
        parts.append(words(at, bottom + 16, text, "tick", "middle"))
        parts.append(f'<path class="grid" d="M{at:g} {bottom:g}v4"/>')
    parts.append(f'<path class="axis" d="M{left:g} {bottom:g}H{right:g}"/>')
    if x_name:
        parts.append(words((left + right) / 2, bottom + 34, x_name, "name", "middle"))
    if y_name:
        parts.append(words(left - 46, top - 10, y_name, "name"))
    return "".join(parts)


def vertical_grid(x: Axis, top: float, bottom: float, most: int = 6) -> str:
    """Vertical lines with their texts below, for bars."""
    parts = []
    for at, text in x.ticks(most):
        parts.append(f'<path class="grid" d="M{at:g} {top:g}V{bottom:g}"/>')
        parts.append(words(at, bottom + 16, text, "tick", "middle"))
    return "".join(parts)


def dot(x: float, y: float, kind: str, title: str, radius: float = 3.5) -> str:
    """A point with its explanation on hovering."""
    return (
        f'<circle class="{kind}" cx="{x:g}" cy="{y:g}" '
        f'r="{radius:g}"><title>{escape(title)}</title></circle>'
    )


def line(points: Sequence[tuple[float, float]], kind: str, title: str = "") -> str:
    """A polyline."""
    path = " ".join(f"{x:g},{y:g}" for x, y in points)
    told = f"<title>{escape(title)}</title>" if title else ""
    return f'<polyline class="{kind}" points="{path}">{told}</polyline>'


def box(
    corner: tuple[float, float],
    size: tuple[float, float],
    kind: str,
    title: str = "",
    strength: float | None = None,
) -> str:
    """A rectangle from its upper left corner, with its explanation on hovering; `strength` of its
    colour from 0 to 1.
    """
    place = f'x="{corner[0]:.5g}" y="{corner[1]:.5g}" width="{size[0]:.4g}" height="{size[1]:.4g}"'
    opacity = "" if strength is None else f' fill-opacity="{strength:.2f}"'
    told = f"<title>{escape(title)}</title>" if title else ""
    return f'<rect class="{kind}" {place}{opacity}>{told}</rect>'


def words(x: float, y: float, text: str, kind: str = "label", anchor: str = "start") -> str:
    """A line of text."""
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'


def chart(
    body: str, size: tuple[float, float], title: str, description: str, caption: str = ""
) -> str:
    """A figure of `size` (width, height) in pixels: the SVG with its title and description, and a
    caption below.
    """
    told = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    svg = _svg(body, size, title, description)
    return f'<figure class="chart" style="--w:{size[0]:g}px">{svg}{told}</figure>'


def standalone(figure: str) -> str:
    """A figure's SVG as a file of its own, with the style inside, on paper of its own."""
    start, end = figure.index("<svg "), figure.index("</svg>") + len("</svg>")
    drawing = figure[start:end]
    box = drawing.split('viewBox="', 1)[1].split('"', 1)[0]
    width, height = box.split()[2:]
    paper = f'<rect class="paper" width="{width}" height="{height}"/>'
    at = drawing.index(">") + 1
    head = drawing[: at - 1].replace(
        "<svg ", f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" ', 1
    )
    return f"{head}><style>{chart_style()}</style>{paper}{drawing[at:]}\n"


def chart_style() -> str:
    """The style sheet of the charts: colours for light, dark and print."""
    return files("pipeline.reporting").joinpath("charts.css").read_text(encoding="utf-8")


def _svg(body: str, size: tuple[float, float], title: str, description: str) -> str:
    number = next(_ids)
    head = (
        f'<title id="ct{number}">{escape(title)}</title>'
        f'<desc id="cd{number}">{escape(description)}</desc>'
    )
    return (
        f'<svg viewBox="0 0 {size[0]:g} {size[1]:g}" role="img" '
        f'aria-labelledby="ct{number} cd{number}">{head}{body}</svg>'
    )
