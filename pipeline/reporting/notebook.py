"""What a notebook shows in a cell: a study in short, and its report's page. Both stand alone: their
styles and scripts do not reach the notebook's own page.
"""

import base64
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from pipeline.reporting import course_charts, html
from pipeline.reporting.best_trials import last_values, ranked
from pipeline.reporting.svg import standalone
from pipeline.reporting.table import StudyTable

_SHOWN = 5
_HEIGHT = 640  # pixels of the frame around a report


@dataclass(frozen=True)
class ReportPage:
    """A report's file, a path for whatever opens files; a notebook shows the page itself."""

    path: Path

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def _repr_html_(self) -> str:
        page = escape(self.path.read_text(encoding="utf-8"), quote=True)
        return (
            f'<iframe srcdoc="{page}" sandbox="allow-scripts" title="{escape(str(self.path))}" '
            f'style="width: 100%; height: {_HEIGHT}px; border: 0"></iframe>'
        )


def counted(table: StudyTable) -> str:
    """Return how many trials there are and how they ended, in words."""
    states = Counter(trial.state.lower() for trial in table.trials)
    shares = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    number = len(table.trials)
    return f"{number} trial{'' if number == 1 else 's'}" + (f" ({shares})" if shares else "")


def study_card(table: StudyTable, state: str, objectives: Sequence[str]) -> str:
    """Return a study in short as HTML: its state, its best trials, its course as a picture."""
    best = [
        [
            str(trial.number),
            trial.state.lower(),
            " ".join(f"{value:.4f}" for value in last_values(trial)),
            str(trial.epochs),
            f"{trial.duration_s:.1f} s",
            " ".join(trial.overrides),
        ]
        for trial in ranked(table)[:_SHOWN]
    ]
    heads = ["trial", "state", " ".join(objectives), "epochs", "time", "overrides"]
    parts = [html.text(f"study {table.name}: {state}, {counted(table)}, in {table.folder}")]
    if best:
        parts.append(html.table(heads, best, "The best trials"))
    if table.complete:
        drawing = base64.b64encode(standalone(course_charts.history(table)).encode()).decode()
        parts.append(
            f'<img src="data:image/svg+xml;base64,{drawing}" style="max-width: 100%" '
            'alt="Optimisation history: each trial\'s objective, and the best so far">'
        )
    return f"<div>{''.join(parts)}</div>"
