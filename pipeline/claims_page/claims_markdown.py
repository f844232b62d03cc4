"""The claims as Markdown: a row a claim, a row a preset, and the README's table of the systems."""

import math
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence

from pipeline.claims_page.claim_chart import named
from pipeline.claims_page.claims_file import Claim, Claims
from pipeline.claims_page.measured import Bench, Measured
from pipeline.reporting.comparison import Verdict
from pipeline.reporting.effects import SHARE, VALUE

PICTURES = "img/claims"  # beside the page
_INTRO = """# What the five systems claim, measured

Written by `python -m pipeline.claims` from the studies of the presets named below; `run=true` runs
those that are missing first. Each configuration is trained with several seeds. A figure is a mean
with its 95 % interval by Student's t, a difference one of the paired test over the seeds. A claim
**holds** where the whole interval keeps to what the claim says, **does not hold** where none of it
does, and else the two **cannot be told apart** with so many seeds. Accuracies and losses are of
validation images, where most of the sources read the test set; test accuracy and test loss are of
nets trained on all training images as long, after their last epoch, on the test set that was opened
once for them.
"""
_COST = """Estimates are of two slots on two cores of about 100 GFLOP/s each: steps times the step
times of docs/PERFORMANCE.md, the images of the metrics, and six seconds to start.
"""


def page(claims: Claims, found: Mapping[str, Measured], bench: Bench) -> str:
    """Return the page of all claims."""
    counts = Counter(each.verdict for each in found.values())
    told = ", ".join(f"{counts[v]} {v}" for v in Verdict if counts[v])
    parts = [_INTRO, f"{len(found)} claims: {told or 'none is measured yet'}.", ""]
    if told and counts[None]:
        parts[1] = f"{len(found)} claims: {told}, {counts[None]} not measured yet."
    for system in claims.systems:
        parts += [f"## {system.number}. {system.name}", ""]
        parts += [*textwrap.wrap(system.text, 100), ""] if system.text else []
        rows = [_row(found[claim.name]) for claim in claims.of_system(system)]
        heads = ["claim", "the source", "measured here", "verdict", "each seed", "preset"]
        parts += [*_table(heads, rows), ""]
    parts += ["## The presets", ""]
    parts += [_COST]
    heads = ["command", "configurations", "seeds", "minutes, estimated", "minutes"]
    parts += _table(heads, [_preset_row(name, claims, bench) for name in claims.presets], "lrrrr")
    parts += ["", f"Together {sum(claims.minutes.values()):.0f} minutes are estimated."]
    return "\n".join(parts) + "\n"


def systems_table(claims: Claims, found: Mapping[str, Measured]) -> str:
    """Return the README's table: each system's figure, ours, and the command."""
    rows = []
    for system in claims.systems:
        for name in system.headline:
            each = found[name]
            said = each.claim.source
            command = f"`python -m pipeline.sweep experiment={each.claim.preset}`"
            verdict = each.verdict or ""
            rows.append([system.name, each.claim.claim, said, _measured(each), verdict, command])
    heads = ["system", "what", "its figure", "ours", "verdict", "command"]
    return "\n".join(_table(heads, rows))


def _row(each: Measured) -> list[str]:
    claim = each.claim
    picture = f"![{claim.name}]({PICTURES}/{claim.name}.svg)" if each.first else ""
    verdict = "" if each.verdict is None else f"**{each.verdict}**"
    return [
        f"{claim.claim} ({_compared(claim)})",
        claim.source,
        _measured(each),
        verdict,
        picture,
        f"`{claim.preset}`",
    ]


def _compared(claim: Claim) -> str:
    """Return what is compared, and the limits."""
    what = claim.measure.replace("_", " ")
    when = "" if claim.epoch is None else f" after epoch {claim.epoch}"
    whose = f" of {named(claim.of)}" if claim.of else ""
    over = "" if claim.over is None else f" less that of {named(claim.over)}"
    signs = (("≥", claim.at_least), ("≤", claim.at_most))
    limits = " and ".join(f"{sign} {limit:g}" for sign, limit in signs if limit is not None)
    return f"{what}{when}{whose}{over} {limits}"


def _measured(each: Measured) -> str:
    found = each.estimate
    if found is None:
        return each.note
    unit, note = SHARE if each.claim.is_share else VALUE, f", {each.note}" if each.note else ""
    if not each.first:
        return f"{unit.difference(found.mean, found.half_width)}{note}"
    seeds = f"{found.count} seeds{note}"
    if each.claim.over is None:
        return f"{unit.estimate(found.mean, found.half_width)}, {seeds}"
    first, second = (math.fsum(v) / len(v) for v in (each.first, each.second))
    both = f"{unit.value(first)} against {unit.value(second)}"
    return f"{unit.difference(found.mean, found.half_width)} ({both}), {seeds}"


def _preset_row(name: str, claims: Claims, bench: Bench) -> list[str]:
    preset, finished = bench.presets[name], bench.studies.get(name)
    minutes = bench.missing[name].note if finished is None else f"{finished.minutes:.1f}"
    seeds = preset.config.study.seeds
    command = f"`python -m pipeline.sweep experiment={name}`"
    estimated = f"{claims.minutes[name]:.1f}" if name in claims.minutes else ""
    return [command, str(len(preset.points)), str(seeds), estimated, minutes]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], sides: str = "") -> list[str]:
    """Return a table; `sides` says of each column whether it is set left (l) or right (r)."""
    marks = {"l": "---", "r": "---:"}
    lines = [heads, [marks[side] for side in (sides or "l" * len(heads))]]
    return [
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
        for row in (*lines, *rows)
    ]
