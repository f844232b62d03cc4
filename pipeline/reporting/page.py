"""The report as one HTML file: sections in reading order, styles and script inside, nothing loaded
from elsewhere.
"""

from datetime import datetime
from html import escape
from importlib.resources import files

from pipeline.reporting import (
    course_charts,
    next_steps,
    parameter_charts,
    result_sections,
    search_sections,
)
from pipeline.reporting.facts import Facts
from pipeline.reporting.regression import fit_study, strongest
from pipeline.reporting.svg import chart_style
from pipeline.reporting.table import StudyTable, clock

Section = tuple[str, str, str]  # id, heading, HTML


def page(facts: Facts, version: str) -> str:
    """The whole report."""
    found: list[Section] = [
        ("short", "In short", result_sections.in_short(facts)),
        ("best", "The best configuration, and how sure that is", result_sections.best(facts)),
        ("searched", "What was searched", search_sections.searched(facts)),
        ("course", "How the search went", search_sections.course(facts)),
        ("time", "The time, planned and used", search_sections.planned_time(facts)),
        ("mattered", "What mattered", search_sections.mattered(facts)),
        ("stopped", "What was stopped, and why", search_sections.stopped(facts)),
        ("cost", "Cost against accuracy", search_sections.cost(facts)),
        ("next", "Borders, and what to search next", next_steps.following(facts)),
        ("ensemble", "The final ensemble", next_steps.ensemble(facts)),
        ("repeat", "How to repeat it", next_steps.repeat(facts)),
        ("trials", "All trials", search_sections.trials(facts)),
        ("methods", "How these figures were made", search_sections.methods(facts)),
    ]
    found = [section for section in found if section[2]]
    links = "".join(f'<li><a href="#{key}">{escape(heading)}</a></li>' for key, heading, _ in found)
    body = "".join(
        f'<section aria-labelledby="{key}"><h2 id="{key}">{escape(heading)}</h2>{text}</section>'
        for key, heading, text in found
    )
    table = facts.table
    note = f"<p>{escape(table.started.note)}</p>" if table.started and table.started.note else ""
    when = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
    return (
        f"{_head(f'{table.name}: sweep report')}"
        '<body><a class="skip" href="#short">Skip to the findings</a><header><h1>Study '
        f"{escape(table.name)}</h1>{note}"
        f'<p class="soft">{escape(_subtitle(facts))}</p></header><nav '
        f'aria-label="Sections"><ul>{links}</ul></nav>'
        f"<main>{body}</main><footer><p>Made on {when} by {escape(version)}. Nothing here is "
        "loaded from elsewhere.</p></footer>"
        f"<script>{_resource('report.js')}</script></body></html>\n"
    )


def overview(table: StudyTable) -> str:
    """All charts of a study on one page, for its run in MLflow."""
    done = table.complete
    searched = table.started is None or table.started.tags.get("kind") != "final"
    charts: list[tuple[str, str]] = []  # heading, HTML
    if searched and len(done) >= 2:
        regression = fit_study(table)
        names = strongest(table, regression)
        charts.append(("Optimisation history", course_charts.history(table)))
        charts.append(("Learning curves", course_charts.curves(table)))
        if regression is not None:
            heading = f"Importance of each parameter: {regression.explained:.0%} explained"
            charts.append((heading, parameter_charts.importances(regression)))
        charts.append(("Parallel coordinates", parameter_charts.parallel(table, names)))
        charts.append(("Objective against each parameter", parameter_charts.slices(table, names)))
        surface = parameter_charts.contour(table, names)
        charts.append(("Objective over the two strongest numbers", surface))
    charts.append(("Timeline of slots", course_charts.timeline(table)))
    body = "".join(f"<h2>{escape(heading)}</h2>{chart}" for heading, chart in charts if chart)
    told = f"{len(done)} of {len(table.trials)} trials are complete; point at a mark to read it."
    return (
        f"{_head(f'{table.name}: charts')}<body><main><h1>Study {escape(table.name)}</h1>"
        f'<p class="soft">{told}</p>{body}</main></body></html>\n'
    )


def _head(title: str) -> str:
    """The beginning of a page that loads nothing from elsewhere."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="icon" href="data:,">'
        f"<style>{chart_style()}{_resource('report.css')}</style></head>"
    )


def _subtitle(facts: Facts) -> str:
    table, parts = facts.table, []
    if table.started is not None:
        when = datetime.fromtimestamp(table.started.time_s).astimezone().strftime("%Y-%m-%d %H:%M")
        parts.append(f"last started {when}")
        if table.starts > 1:
            parts.append(f"in {table.starts} sittings")
        parts.append(
            f"data {table.started.tags.get('data', 'unknown')}, code "
            f"{table.started.tags.get('code', 'unknown')[:12]}"
        )
    spans = [span for trial in table.trials for span in trial.spans]
    if spans:
        parts.append(f"{clock(sum(end - start for _, start, end in spans))} of slot time")
    return "; ".join(parts)


def _resource(name: str) -> str:
    return files("pipeline.reporting").joinpath(name).read_text(encoding="utf-8")
