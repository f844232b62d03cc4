"""What earlier studies know of a new one, ``study.prior=[OLD, ...]``: their best configurations,
spread over their variety and mapped into the new space, are tried first; where distributions agree,
their trials also inform the next suggestions (`pipeline.search.prior_sampler`).

Past results in a table (`pipeline.search.past_results`) are taken in the same way.

Values of other data cannot be compared, so only ranks count. All is read once, when the study is
created, and stored in it: what becomes of the old studies later changes nothing.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cnn_core.errors import InputError
from pipeline.configuration import Config
from pipeline.events import State
from pipeline.files import StudyPaths
from pipeline.reporting.best_trials import ranked
from pipeline.reporting.table import TrialRow, table_of
from pipeline.search.fingerprint import FINGERPRINT, space_lines
from pipeline.search.fork import configuration_of
from pipeline.search.open_study import read_study
from pipeline.search.past_results import PastResults, read_past_results
from pipeline.search.space import Space
from pipeline.search.storage import holds
from pipeline.search.translation import Params, distance, translated

PRIOR = "prior"  # user attribute of a study: what it took from others; of a trial: "digits t003"
GOOD = 0.25  # share of a study's trials whose configurations are chosen from
FEWEST_GOOD = 3
MOST = 1 / 2  # of budget.trials that a prior may suggest
FIRST = 1 / 2  # of those are configurations as they were tried
MOST_EVIDENCE = 300  # trials of a study that inform the sampler, the best first


@dataclass(frozen=True)
class Prior:
    """What a study took from others."""

    first: list[tuple[Params, str]]  # parameters to try first, and where they come from
    evidence: list[tuple[Params, float]]  # what informs the sampler: larger is better
    most: int  # trials that it suggests, the first ones included
    lines: list[str]  # for the user

    def stored(self) -> dict[str, Any]:
        """Return the prior as plain values."""
        return asdict(self)

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "Prior":
        """Return a prior as `stored` gave it."""
        pairs = {key: [(a, b) for a, b in stored[key]] for key in ("first", "evidence")}
        return cls(**pairs, most=stored["most"], lines=list(stored["lines"]))


@dataclass(frozen=True)
class _Candidate:
    """A configuration of an old study in the new space."""

    params: Params
    source: str
    weight: float  # from 1 for its study's best down to a half


@dataclass(frozen=True)
class _Tried:
    """What was tried, in the new space: all of it, and what may inform the sampler."""

    params: Params
    agreed: Params
    label: str
    whole: bool  # trained to its end


@dataclass(frozen=True)
class _Old:
    """An earlier study in the new study's terms."""

    name: str
    good: list[_Candidate]
    evidence: list[tuple[Params, float]]
    trials: int
    agreed: list[str]  # parameters with the same distribution
    left_out: list[str]  # paths that it searched and this space does not


def read_prior(config: Config, space: Space) -> Prior:
    """Read the studies and tables of ``study.prior``. Raises InputError where one does not exist,
    has no complete trial, or has no searched value in common with `space`.
    """
    olds = [_read(given, config, space) for given in config.study.prior]
    most, trials = config.study.prior_trials, config.budget.trials
    if trials is not None:
        most = min(most, max(1, int(trials * MOST)))
    evidence = [pair for old in olds for pair in old.evidence]
    wanted = math.ceil(most * FIRST) if evidence else most
    chosen = _spread([old.good for old in olds], space, wanted)
    if not evidence:
        most = len(chosen)
    first = [(candidate.params, candidate.source) for candidate in chosen]
    lines = [_line(old, chosen) for old in olds]
    rest = most - len(first)
    lines.append(
        f"study.prior: {_count(len(first), 'configuration')} first"
        + (f", then {_count(rest, 'trial')} by what it knows" if rest else "")
        + "; after these the study's own trials alone count"
    )
    return Prior(first, evidence, most, lines)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _line(old: _Old, chosen: Sequence[_Candidate]) -> str:
    start = f"{old.name} "
    taken = [c.source.removeprefix(start) for c in chosen if c.source.startswith(start)]
    parts = [
        f"prior {old.name!r}: {_count(len(taken), 'configuration')} of "
        f"{_count(old.trials, 'trial')}: "
        f"{', '.join(taken) or 'none'}"
    ]
    if old.agreed:
        parts.append(f"they inform the sampler of {', '.join(old.agreed)}")
    if old.left_out:
        parts.append(f"left out: {', '.join(old.left_out)} (not searched here)")
    return "; ".join(parts)


def _paths_of(given: str, config: Config) -> tuple[StudyPaths, str | None]:
    """Return a study's folder, by name under this root or by a path, and its storage."""
    if "/" not in given:
        return StudyPaths(config.root, given), config.study.storage
    folder = Path(given).expanduser().resolve()
    return StudyPaths(folder.parent, folder.name), None


def _read(given: str, config: Config, space: Space) -> _Old:
    """Return what a study or a table of past results knows in the new study's terms."""
    file = Path(given).expanduser()
    if file.suffix.lower() == ".csv" or file.is_file():
        return _of_results(file.name, read_past_results(file, config.study, space), space)
    return _of_study(given, config, space)


def _of_results(name: str, past: PastResults, space: Space) -> _Old:
    distributions = space.distributions()
    paths = {parameter.name: parameter.path for parameter in space.parameters}
    tried = []
    for result in past.results:
        params = translated(result.tried, space)
        inside = {
            key: value
            for key, value in params.items()
            if holds(distributions[key], result.tried[paths[key]])
        }
        tried.append(_Tried(params, inside, f"line {result.line}", result.whole))
    return _old(name, tried, past.left_out, space)


def _of_study(given: str, config: Config, space: Space) -> _Old:
    paths, storage = _paths_of(given, config)
    study = read_study(paths, storage, "study.prior")
    rows = [
        row
        for row in ranked(table_of(study, paths.folder))
        if row.state in (State.COMPLETE, State.PAUSED, State.PRUNED)
    ]
    if not any(row.state == State.COMPLETE for row in rows):
        raise InputError(
            f"study.prior: must name studies with a complete trial, got {given!r} with none"
        )
    lines = space_lines(study.user_attrs.get(FINGERPRINT, {}))
    searched = {line["path"] for line in lines.values()}
    if not searched & space.paths:
        theirs = ", ".join(sorted(searched)) or "nothing"
        raise InputError(
            f"study.prior: must have searched a value that this study searches "
            f"({', '.join(sorted(space.paths))}), got {given!r}, which searched {theirs}"
        )
    tried = [
        _Tried(
            *_mapped(row, lines, space, paths),
            f"t{row.number:03d}",
            row.state == State.COMPLETE,
        )
        for row in rows
    ]
    return _old(paths.name, tried, sorted(searched - space.paths), space)


def _old(name: str, tried: Sequence[_Tried], left_out: Sequence[str], space: Space) -> _Old:
    """Return what is taken of configurations, given best first."""
    evidence = [
        (one.agreed, 1.0 - (place + 0.5) / len(tried))  # the share of trials that it beats
        for place, one in enumerate(tried[:MOST_EVIDENCE])
        if one.agreed
    ]
    agreed = {key for known, _ in evidence for key in known}
    whole = sum(one.whole for one in tried)
    count = min(whole, max(FEWEST_GOOD, math.ceil(GOOD * len(tried))))
    places = [*range(count), *_best_of_choices(tried[:whole], count, space)]
    return _Old(
        name=name,
        good=[
            _Candidate(tried[at].params, f"{name} {tried[at].label}", max(0.5, 1 - at / 2 / count))
            for at in places
            if tried[at].params
        ],
        evidence=evidence,
        trials=len(tried),
        agreed=[key for key in space.names if key in agreed],
        left_out=[*left_out],
    )


def _best_of_choices(tried: Sequence[_Tried], count: int, space: Space) -> list[int]:
    """Return the places, from `count` on, of the best with a net, an optimizer or another group
    that none before it has: which of them is best is what other data tell least.
    """
    groups = [parameter.name for parameter in space.parameters if parameter.kind == "group"]
    seen, found = set[tuple[str, Any]](), []
    for place, one in enumerate(tried):
        choices = {(name, one.params[name]) for name in groups if name in one.params}
        if place >= count and not choices <= seen:
            found.append(place)
        seen |= choices
    return found


def _plain(line: Mapping[str, Any]) -> str:
    """Return a distribution and its path as text, without the conditions under which it is used."""
    return json.dumps({k: v for k, v in line.items() if k != "when"}, sort_keys=True)


def _mapped(
    row: TrialRow, lines: Mapping[str, Mapping[str, Any]], space: Space, paths: StudyPaths
) -> tuple[Params, Params]:
    """Return a trial's searched values in the new space, and those of them whose distributions
    agree. Where a condition of the space asks for a value that the old study had fixed, that one is
    taken: a learning rate belongs to the optimizer that it was found with.
    """
    chosen = {lines[name]["path"]: name for name in row.suggested if name in lines}
    tried = {path: row.suggested[name] for path, name in chosen.items()}
    asked = {name for parameter in space.parameters for name in parameter.when}
    fixed = {p.path for p in space.parameters if p.name in asked} - set(tried)
    if fixed and (whole := configuration_of(paths, row.number)) is not None:
        tried |= {path: whole[path] for path in fixed if path in whole}
    params = translated(tried, space)
    agreed = {
        parameter.name: params[parameter.name]
        for parameter in space.parameters
        if parameter.name in params
        and _plain(parameter.fingerprint()) == _plain(lines.get(chosen.get(parameter.path, ""), {}))
    }
    return params, agreed


def _spread(pools: Sequence[Sequence[_Candidate]], space: Space, wanted: int) -> list[_Candidate]:
    """Return `wanted` candidates: the best of each study, then, one by one, the one farthest from
    those chosen, the better the sooner.
    """
    chosen: list[_Candidate] = []
    for candidate in [pool[0] for pool in pools if pool][:wanted]:
        if all(candidate.params != other.params for other in chosen):
            chosen.append(candidate)
    rest = [candidate for pool in pools for candidate in pool[1:]]

    def gain(candidate: _Candidate) -> float:
        nearest = min(distance(candidate.params, c.params, space) for c in chosen)
        return candidate.weight * nearest

    while rest and len(chosen) < wanted:
        best = max(rest, key=gain)
        if gain(best) == 0:
            break
        chosen.append(best)
        rest.remove(best)
    return chosen
