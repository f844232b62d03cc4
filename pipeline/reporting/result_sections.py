"""The report's result: key sentences, the best configuration, and how certain it is."""

from collections import Counter
from collections.abc import Mapping
from html import escape
from typing import Any

from pipeline.reporting.effects import Unit, unit_of
from pipeline.reporting.facts import Facts
from pipeline.reporting.html import bullets, numbers, table, text
from pipeline.reporting.table import clock
from pipeline.reporting.warm_start import help_of_prior

COSTS = ("multiply_adds", "parameters")


def in_short(facts: Facts) -> str:
    """Headline figures and a few key sentences."""
    study, unit = facts.table, unit_of(facts.table)
    states = Counter(trial.state for trial in study.trials)
    entries = [("trials", str(len(study.trials))), ("complete", str(states["COMPLETE"]))]
    entries += [
        (word, str(states[state]))
        for state, word in (("PAUSED", "paused"), ("PRUNED", "pruned"), ("FAIL", "failed"))
        if states[state]
    ]
    if study.complete:
        entries.insert(0, ("best objective", unit.value(study.best_first[0].value)))
    wall = _wall_s(facts)
    if wall:
        entries.append(("wall-clock time", clock(wall)))
    points: list[str] = []
    if facts.confidence is not None:
        best = facts.winner
        points.append(
            f"Trial {best.number} is best, with {unit.value(best.value)}: "
            f"<code>{escape(' '.join(best.overrides))}</code>"
        )
        again = facts.confirmed.get(best.number, {})
        if "confirmed_mean" in again:
            seeds = f"{again['confirmed_seeds']:.0f} fresh seeds"
            points.append(
                f"Run again with {seeds} it reached {unit.value(again['confirmed_mean'])} on "
                "average: that is to be expected of it."
            )
        elif facts.confidence.optimism is not None:
            expected = unit.value(
                best.value
                - facts.confidence.optimism * (1 if study.directions[0] == "maximize" else -1)
            )
            points.append(
                f"Allowing for the luck of the winner, about {expected} is to be expected of it."
            )
    said = (help_of_prior(study), facts.outlook)
    points += [f"{escape(line[:1].upper() + line[1:])}." for line in said if line]
    clear = [effect for effect in facts.effects if effect.clear][:3]
    points += [f"<b>{escape(effect.name)}</b>: {escape(effect.text)}" for effect in clear]
    on_border = [place for place in facts.places if place.side and not place.at_limit]
    points += [
        f"The best trials sit on the {place.side} border of {escape(place.name)}: its range should "
        "move."
        for place in on_border
    ]
    if not study.complete:
        points.append("No trial is complete, so there is no best configuration; see why below.")
    return numbers(entries) + bullets(points)


def _wall_s(facts: Facts) -> float:
    spans = [span for trial in facts.table.trials for span in trial.spans]
    return (
        max(span[2] for span in spans) - min(span[1] for span in spans)
        if spans and facts.table.starts == 1
        else 0.0
    )


def best(facts: Facts) -> str:
    """Parameters of the winner, its pictures, and how certain its value is."""
    study, sure = facts.table, facts.confidence
    if sure is None:
        return ""
    unit, winner = unit_of(study), facts.winner
    rows = [[name, _plain(value)] for name, value in winner.params.items()]
    costs = {name: winner.extra[name] for name in COSTS if name in winner.extra}
    rows += [[name.replace("_", "-"), f"{value:,.0f}"] for name, value in costs.items()]
    parts = [table(["parameter", "value"], rows, f"Trial {winner.number}, {winner.name}")]
    points = [
        f"Objective {unit.value(winner.value)} after {winner.epochs} epochs, "
        f"{winner.duration_s:.1f} s."
    ]
    if winner.std is not None:
        each = ", ".join(map(unit.value, winner.nets))
        spread = f"{winner.std * unit.factor:.2g}{unit.word}"
        points.append(f"It is the mean of its nets: {each}; their standard deviation is {spread}.")
    if sure.interval is not None:
        low, high = (unit.value(end) for end in sure.interval)
        points.append(
            f"On {sure.images:,} validation images its accuracy is known to within {low} to {high} "
            "(95 %, Wilson)."
        )
    if sure.optimism is not None and sure.noise is not None:
        optimism = f"{sure.optimism * unit.factor:.2g}{unit.word}"
        noise = f"{sure.noise * unit.factor:.2g}{unit.word}"
        points.append(
            f"Selection optimism: being the best of {len(study.complete)} noisy values flatters it "
            f"by about {optimism} on average."
        )
        points.append(f"The noise of one value is {noise} ({escape(sure.noise_source)}).")
        points.append(_rivals(sure.rivals))
    parts.append(bullets(points))
    if facts.confirmed:
        parts.append(_confirmation(facts))
    else:
        parts.append(
            text(
                "The best trials were not run again with other seeds; study.confirm=5 does so and "
                "measures what is estimated here.",
                "soft",
            )
        )
    parts += facts.pictures
    return "".join(parts)


def _confirmation(facts: Facts) -> str:
    """The table of runs with fresh seeds, and how much the search overrated its best trial."""
    unit, found = unit_of(facts.table), {trial.number: trial for trial in facts.table.complete}
    rows = [
        [
            str(number),
            unit.value(found[number].value),
            *(_measured(values, key, unit) for key in ("mean", "std", "lower_95")),
        ]
        for number, values in facts.confirmed.items()
        if number in found
    ]
    heads = [
        "trial",
        "found in the search",
        "mean of fresh seeds",
        "standard deviation",
        "95 % lower bound of the mean",
    ]
    parts = [
        "<h3>Run again with fresh seeds</h3>",
        table(heads, rows, "Confirmation of the best trials, the best first"),
    ]
    top = facts.table.best_first[0]
    mean = facts.confirmed.get(top.number, {}).get("confirmed_mean")
    if mean is not None:
        excess = f"{(top.value - mean) * unit.factor:+.2g}{unit.word}"
        parts.append(
            text(
                f"Measured optimism: the search's own best, trial {top.number}, was {excess} "
                "against its mean over fresh seeds."
            )
        )
    return "".join(parts)


def _measured(values: Mapping[str, float], key: str, unit: Unit) -> str:
    value = values.get(f"confirmed_{key}")
    return "" if value is None else unit.value(value)


def _rivals(rivals: tuple[int, ...]) -> str:
    if not rivals:
        return "No other trial comes so close that this noise could explain the difference."
    listed = ", ".join(str(number) for number in rivals[:12]) + (
        " and others" if len(rivals) > 12 else ""
    )
    word = "trial cannot" if len(rivals) == 1 else "trials cannot"
    return f"{len(rivals)} other {word} be told from it by this noise: {listed}."


def _plain(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
