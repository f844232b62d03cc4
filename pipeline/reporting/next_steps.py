"""The report's next steps: the space to search next, the final ensemble, and the commands that
reproduce everything.
"""

import shlex
from collections.abc import Mapping
from html import escape
from typing import Any

import yaml

from pipeline.configuration import command_of, override
from pipeline.records.manifest import SetScore
from pipeline.reporting.facts import Facts, lockstep
from pipeline.reporting.html import bullets, command, table, text
from pipeline.reporting.scores import REFITTED

SETS = {
    "test": "test split",
    "proxy": "contest proxy",
    "reserve": "the proxy's images, undisturbed",
}


def following(facts: Facts) -> str:
    """Where the winners lie in each range, and the space to search next."""
    if not facts.places:
        return ""
    points = []
    for place in facts.places:
        low, high = (f"{end:.4g}" for end in place.winners)
        span = (
            f"the best trials lie between {low} and {high}"
            if low != high
            else f"the best trials lie at {low}"
        )
        if place.side and place.at_limit:
            where = f"{span}, at the {place.side} end of what makes sense"
        elif place.side:
            where = (
                f"{span}: {place.share:.0%} of them on the {place.side} border, so better values "
                "may lie beyond it"
            )
        else:
            where = f"{span}, inside the range"
        points.append(f"<b>{escape(place.name)}</b>: {escape(where)}.")
    parts = [bullets(points)]
    if facts.following:
        words = (
            "A space to search next: ranges moved past borders where winners sit, else narrowed "
            "to them; clearly worse choices dropped."
        )
        parts.append(text(f"{words} Save it as my_conf/space/next.yaml:"))
        parts.append(command(space_yaml(facts.following)))
        parts.append(command(next_sweep(facts)))
    return "".join(parts)


def next_sweep(facts: Facts) -> str:
    """The sweep's command with the next space, as another study; what it fixed stays."""
    name = override("study.name", f"{facts.table.name}-2")
    words = _words(facts)[3:]
    replaced = ("space", "study.name", "study.fork", "study.enqueue", "study.confirm")
    kept = [word for word in words if word.partition("=")[0] not in replaced]
    whole = [*kept, "--config-dir", "my_conf", "space=next", "study.enqueue=[]", name]
    return shlex.join(["python", "-m", "pipeline.sweep", *whole])


def _words(facts: Facts) -> list[str]:
    """The words of the command that ran the sweep, or of one that names its root alone."""
    started = facts.table.started
    told = shlex.split(started.tags.get("command", "")) if started is not None else []
    return told or shlex.split(command_of("sweep", facts.table.folder.parent))


def space_yaml(space: Mapping[str, Any]) -> str:
    """A space in the form of `conf/space/*.yaml`: one line per parameter."""
    lines = (
        f"{name}: {yaml.safe_dump(entry, sort_keys=False, default_flow_style=True, width=1000)}"
        for name, entry in space.items()
    )
    return "".join(lines)


def ensemble(facts: Facts) -> str:
    """Members, weights and gain of the final ensemble, and the single evaluation on the test images
    if there was one.
    """
    parts = []
    found = facts.ensemble
    if found is not None:
        sets = [name for name in ("clean", "proxy") if name in found.out_of_fold]
        heads = ["member", "weight", *(f"out of fold, {name}" for name in sets), "overrides"]
        weights = found.combine.weights
        rows = [
            [
                member.name,
                f"{weights[k]:.2f}" if weights else "",
                *(f"{member.accuracy_on(name):.3%}" for name in sets),
                " ".join(member.overrides),
            ]
            for k, member in enumerate(found.members)
        ]
        chosen = f"chosen out of fold on {found.images:,} {found.chosen_on} images"
        if found.chosen_on == "proxy" and found.ordinary:
            chosen += (
                f" ({1 - found.ordinary:.0%}) and the same images undisturbed "
                f"({found.ordinary:.0%})"
            )
        parts.append(
            text(f"{len(found.members)} members joined by {found.combine.method}, {chosen}.")
        )
        parts.append(table(heads, rows, "Members of the ensemble"))
        parts.append(bullets([_gain(name, score) for name, score in found.out_of_fold.items()]))
        if found.refitted:
            parts.append(text(f"{REFITTED}.".capitalize()))
    if facts.evaluation:
        parts.append("<h3>Evaluation</h3>")
        heads = [
            "images",
            "how many",
            "accuracy",
            "95 % interval",
            "errors",
            "log loss",
            "calibration error",
        ]
        parts.append(
            table(
                heads,
                [_scores(name, scores) for name, scores in facts.evaluation.items()],
                "Evaluation of the ensemble",
            )
        )
    return "".join(parts)


def _gain(name: str, score: SetScore) -> str:
    gain = score.gain
    return escape(
        f"On {name} images: accuracy {score.accuracy:.3%}, {gain.gain * 100:+.3f} points "
        f"over its best member (95 % interval {gain.low * 100:+.3f} to {gain.high * 100:+.3f}); "
        f"{gain.errors_removed:.0%} of that member's errors are gone."
    )


def _scores(name: str, scores: Mapping[str, Any]) -> list[str]:
    interval = f"{scores['low']:.2%} to {scores['high']:.2%}"
    figures = [
        f"{scores['accuracy']:.2%}",
        interval,
        str(scores["errors"]),
        f"{scores['log_loss']:.4f}",
        f"{scores['calibration_error']:.4f}",
    ]
    return [SETS[name], f"{scores['images']:,}", *figures]


def repeat(facts: Facts) -> str:
    """The commands that reproduce the study."""
    study = facts.table
    root, name = study.folder.parent, override("study.name", study.name)
    steps: list[tuple[str, str]] = []
    if study.started is not None and study.started.tags.get("command"):
        steps.append(("the sweep", study.started.tags["command"]))
    if facts.overrides:
        number = override("trial", facts.winner.number)
        if (alone := _alone(facts)) is not None:
            steps.append(("the best configuration alone, to the bit", alone))
        again = command_of("replay", root, name, number)
        steps.append(("the best trial again, compared to the bit", again))
    steps.append(("longer training on folds, and the ensemble", command_of("final", root, name)))
    steps.append(("this page", command_of("report", root, name)))
    lines = [f"# {about}\n{words.strip()}" for about, words in steps]
    code = study.started.tags.get("code", "") if study.started else ""
    digest = study.started.tags.get("data_digest", "") if study.started else ""
    facts_line = f"Code {code}, data digest {digest}." if code or digest else ""
    cost = lockstep(study)
    notes = [text(line, "soft") for line in (facts_line, cost.line() if cost else "") if line]
    return command("\n".join(lines)) + "".join(notes)


def _alone(facts: Facts) -> str | None:
    """The command that trains the winner alone, None where it was not trained in this study."""
    study, winner = facts.table, facts.winner
    if winner.foreign or facts.seed is None:
        return None
    where = [word for word in _words(facts)[3:] if word.startswith(("blas.", "blas=", "tracking"))]
    names = [override("study.name", study.name), override("study.seed", facts.seed)]
    whole = [*facts.overrides, *where, *names, override("trial", winner.number)]
    return command_of("train", study.folder.parent, *whole)
