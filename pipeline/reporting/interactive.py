"""One self-contained page of interactive pictures of a study (Plotly, included once, nothing loaded
from elsewhere).
"""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from pipeline.reporting.colours import BLUE, INK, ORANGE, SKY, STATE_COLOURS
from pipeline.reporting.study_figures import Scale, smooth
from pipeline.reporting.table import StudyTable

if TYPE_CHECKING:
    from pipeline.reporting.regression import Regression

_LAYOUT = {
    "template": "plotly_white",
    "margin": {"l": 60, "r": 20, "t": 50, "b": 50},
    "font": {"size": 12},
    "height": 380,
}
_STYLE = (
    "body{font:15px system-ui,sans-serif;max-width:1100px;margin:1.5rem auto;padding:0 "
    "1rem;color:#222}h1{font-size:1.3rem}"
)


def interactive_page(
    table: StudyTable, names: Sequence[str], regression: "Regression | None"
) -> str:
    """HTML with history, parallel coordinates, slices, contour, importances and timeline; about 5
    MB, of which Plotly is 4.8.
    """
    from plotly.io import to_html

    figures = [_history(table), _parallel(table, names), *_numeric(table, names)]
    if regression is not None:
        figures.append(_importances(regression))
    if any(trial.spans for trial in table.trials):
        figures.append(_timeline(table))
    config = {"displaylogo": False, "responsive": True}
    parts = [
        to_html(f, full_html=False, include_plotlyjs=i == 0, config=config)
        for i, f in enumerate(figures)
    ]
    head = (
        '<!doctype html><html lang="en"><meta '
        f'charset="utf-8"><title>{escape(table.name)}</title><style>{_STYLE}</style>'
    )
    return (
        f"{head}<h1>Study {escape(table.name)}: {len(table.complete)} complete "
        f"trials</h1>{''.join(parts)}</html>"
    )


def _figure(traces: Sequence[Any], title: str, **layout: Any) -> Any:
    import plotly.graph_objects as go

    figure = go.Figure(
        data=list(traces),
        layout={**_LAYOUT, "title": {"text": title, "font": {"size": 14}}, **layout},
    )
    return figure


def _hover(table: StudyTable) -> list[str]:
    return [
        f"{escape(t.name)}<br>objective {t.value:.5g}<br>"
        + "<br>".join(f"{k} = {v}" for k, v in t.params.items())
        for t in table.complete
    ]


def _history(table: StudyTable) -> Any:
    import numpy as np
    import plotly.graph_objects as go

    x, y = [t.number for t in table.complete], [t.value for t in table.complete]
    best = (np.maximum if table.directions[0] == "maximize" else np.minimum).accumulate(y)
    points = go.Scatter(
        x=x,
        y=y,
        mode="markers",
        name="trial",
        text=_hover(table),
        hoverinfo="text",
        marker={"color": SKY, "line": {"color": BLUE, "width": 1}},
    )
    line = go.Scatter(
        x=x, y=best, mode="lines", name="best so far", line={"shape": "hv", "color": INK}
    )
    return _figure(
        [points, line], "Optimisation history", xaxis_title="trial", yaxis_title="objective"
    )


def _parallel(table: StudyTable, names: Sequence[str]) -> Any:
    import plotly.graph_objects as go

    rows = [t for t in table.complete if all(name in t.params for name in names)]
    dimensions = []
    for name in names:
        scale = Scale([t.params[name] for t in rows] or [0.0])
        marks = scale.ticks()
        values = [scale.place(t.params[name]) for t in rows]
        dimensions.append(
            {
                "label": name,
                "values": values,
                "range": [0, 1],
                "tickvals": [at for at, _ in marks],
                "ticktext": [text for _, text in marks],
            }
        )
    goal = [t.value for t in rows]
    dimensions.append({"label": "objective", "values": goal})
    line = {"color": goal, "colorscale": "Blues", "showscale": True}
    return _figure(
        [go.Parcoords(dimensions=dimensions, line=line)],
        "Parallel coordinates: drag along an axis to select",
        margin={"t": 90, "l": 70, "r": 30, "b": 30},
    )


def _numeric(table: StudyTable, names: Sequence[str]) -> list[Any]:
    """Slices (a menu of parameters) and the objective over the two strongest numbers."""
    import plotly.graph_objects as go

    rows, hover = table.complete, _hover(table)
    traces: list[Any] = []
    buttons: list[Any] = []
    for index, name in enumerate(names):
        x = [t.params.get(name) for t in rows]
        traces.append(
            go.Scatter(
                x=x,
                y=[t.value for t in rows],
                mode="markers",
                text=hover,
                hoverinfo="text",
                visible=index == 0,
                marker={
                    "color": [t.number for t in rows],
                    "colorscale": "Blues",
                    "line": {"color": "#777", "width": 0.5},
                },
            )
        )
        is_log = Scale([v for v in x if v is not None] or [0.0]).is_log
        shown = [other == index for other in range(len(names))]
        buttons.append(
            {
                "label": name,
                "method": "update",
                "args": [
                    {"visible": shown},
                    {"xaxis.type": "log" if is_log else "-", "xaxis.title.text": name},
                ],
            }
        )
    menu = [{"buttons": buttons, "x": 1.0, "xanchor": "right", "y": 1.18}]
    first_log = "log" if buttons and buttons[0]["args"][1]["xaxis.type"] == "log" else "-"
    slices = _figure(
        traces,
        "Slices",
        updatemenus=menu,
        xaxis_title=names[0] if names else "",
        xaxis_type=first_log,
        yaxis_title="objective",
        showlegend=False,
    )
    numbers = [
        n
        for n in names
        if Scale([t.params[n] for t in rows if n in t.params] or [""]).is_number
        and len({t.params.get(n) for t in rows}) > 2
    ]
    if len(numbers) < 2 or len(rows) < 5:
        return [slices]
    a, b = numbers[:2]
    return [slices, _contour(table, a, b)]


def _contour(table: StudyTable, a: str, b: str) -> Any:
    import numpy as np
    import plotly.graph_objects as go

    rows = [t for t in table.complete if a in t.params and b in t.params]
    scales = Scale([t.params[a] for t in rows]), Scale([t.params[b] for t in rows])
    at = np.array([[scales[0].place(t.params[a]), scales[1].place(t.params[b])] for t in rows])
    z = np.array([t.value for t in rows])
    shown = np.clip(z, np.quantile(z, 0.1), None) if table.directions[0] == "maximize" else z
    grid = np.linspace(-0.03, 1.03, 50)
    surface = go.Contour(
        x=grid,
        y=grid,
        z=smooth(at, shown, grid),
        colorscale="Blues",
        hoverinfo="skip",
        colorbar={"title": "objective"},
    )
    marker = {"color": "white", "line": {"color": INK, "width": 1}}
    points = go.Scatter(
        x=at[:, 0],
        y=at[:, 1],
        mode="markers",
        text=[t.name for t in rows],
        hoverinfo="text",
        marker=marker,
    )
    axes: dict[str, Any] = {}
    for axis, scale, name in (("xaxis", scales[0], a), ("yaxis", scales[1], b)):
        marks = scale.ticks()
        axes[axis] = {
            "title": {"text": name},
            "tickvals": [m[0] for m in marks],
            "ticktext": [m[1] for m in marks],
        }
    return _figure(
        [surface, points],
        "Objective over the two strongest numbers, smoothed",
        showlegend=False,
        **axes,
    )


def _importances(regression: "Regression") -> Any:
    import plotly.graph_objects as go

    rows = regression.shares[::-1]
    error = {
        "type": "data",
        "symmetric": False,
        "array": [max(h - s, 0) for _, s, _, h in rows],
        "arrayminus": [max(s - low, 0) for _, s, low, _ in rows],
    }
    bars = go.Bar(
        x=[row[1] for row in rows],
        y=[row[0] for row in rows],
        orientation="h",
        error_x=error,
        marker={"color": ORANGE},
    )
    return _figure(
        [bars],
        f"Share of the objective's variance ({regression.explained:.0%} explained), with 95 % "
        "intervals",
        xaxis_tickformat=".0%",
        margin={"l": 140},
    )


def _timeline(table: StudyTable) -> Any:
    import plotly.graph_objects as go

    spans = [(trial, *span) for trial in table.trials for span in trial.spans]
    start = min(span[2] for span in spans)
    bars = []
    for state, colour in STATE_COLOURS.items():
        of_state = [span for span in spans if span[0].state == state]
        if of_state:
            text = [f"{escape(t.name)}: {end - begin:.1f} s" for t, _, begin, end in of_state]
            bars.append(
                go.Bar(
                    base=[begin - start for _, _, begin, _ in of_state],
                    x=[end - begin for _, _, begin, end in of_state],
                    y=[f"slot {slot}" for _, slot, _, _ in of_state],
                    orientation="h",
                    name=state.lower(),
                    text=text,
                    hoverinfo="text",
                    textposition="none",
                    marker={"color": colour, "line": {"color": "white", "width": 1}},
                )
            )
    return _figure(
        bars,
        "Timeline of slots",
        barmode="overlay",
        xaxis_title="seconds since the start",
        height=260,
    )
