"""The report as one HTML file: sections in reading order, styles and script inside, nothing loaded
from elsewhere.
"""

from datetime import datetime
from html import escape
from importlib.resources import files

from pipeline.reporting import sections, sections_more
from pipeline.reporting.facts import Facts
from pipeline.reporting.table import clock

Section = tuple[str, str, str]  # id, heading, HTML


def page(facts: Facts, version: str) -> str:
    """The whole report."""
    found: list[Section] = [
        ("short", "In short", sections.in_short(facts)),
        ("best", "The best configuration, and how sure that is", sections.best(facts)),
        ("searched", "What was searched", sections.searched(facts)),
        ("course", "How the search went", sections.course(facts)),
        ("mattered", "What mattered", sections.mattered(facts)),
        ("stopped", "What was stopped, and why", sections.stopped(facts)),
        ("cost", "Cost against accuracy", sections_more.cost(facts)),
        ("next", "Borders, and what to search next", sections_more.following(facts)),
        ("ensemble", "The final ensemble", sections_more.ensemble(facts)),
        ("repeat", "How to repeat it", sections_more.repeat(facts)),
        ("trials", "All trials", sections_more.trials(facts)),
        ("methods", "How these figures were made", sections_more.methods(facts)),
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
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(table.name)}: sweep report</title><link rel="icon" '
        f'href="data:,"><style>{_resource("report.css")}</style></head>'
        '<body><a class="skip" href="#short">Skip to the findings</a><header><h1>Study '
        f"{escape(table.name)}</h1>{note}"
        f'<p class="soft">{escape(_subtitle(facts))}</p></header><nav '
        f'aria-label="Sections"><ul>{links}</ul></nav>'
        f"<main>{body}</main><footer><p>Made on {when} by {escape(version)}. Nothing here is "
        "loaded from elsewhere.</p></footer>"
        f"<script>{_resource('report.js')}</script></body></html>\n"
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
