"""What finished studies of the presets measured: of a claim's configurations, the values of each
seed, and what they say of the claim.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cnn_core.errors import InputError, did_you_mean
from cnn_core.plain_json import DamagedError
from pipeline import journal
from pipeline.claims_page.claims_file import OF_FINAL, Claim, Claims
from pipeline.configuration import Config, compose, override
from pipeline.events import State, StudyEnded, StudyStarted
from pipeline.files import StudyPaths
from pipeline.records.ensemble_record import read_ensemble
from pipeline.reporting.comparison import Estimate, Verdict, estimate, paired_difference
from pipeline.reporting.prospect import used_seconds
from pipeline.reporting.table import StudyTable, TrialRow, table_of
from pipeline.search.fingerprint import FINGERPRINT, differences, fingerprint
from pipeline.search.grid_sampler import Point, grid
from pipeline.search.open_study import read_study
from pipeline.search.run_sweep import ENDED
from pipeline.search.space import Space, searched
from pipeline.structured_text import read_json
from pipeline.trial_folder import TrialFolder


@dataclass(frozen=True)
class Preset:
    """A preset composed: its study's place, its space and its grid."""

    name: str
    config: Config
    space: Space
    points: Sequence[Point]

    def chosen(self, claim: Claim, choice: Mapping[str, Any]) -> Point:
        """Return the one point of the grid that a claim chooses. Raises InputError."""
        known = {p.name: p.name for p in self.space.parameters}
        known = {p.path: p.name for p in self.space.parameters} | known
        wanted = {}
        for key, value in choice.items():
            if key not in known:
                raise InputError(
                    f"claim {claim.name}: must choose parameters that preset {self.name} searches, "
                    f"got {key!r}{did_you_mean(key, known)}"
                )
            wanted[key] = json.dumps(value) if isinstance(value, list) else value
        found = [point for point in self.points if self._fits(point, wanted)]
        if len(found) != 1:
            raise InputError(
                f"claim {claim.name}: must choose one configuration of preset {self.name}, got "
                f"{len(found)} with {dict(choice)}"
            )
        return found[0]

    def _fits(self, point: Point, wanted: Mapping[str, Any]) -> bool:
        paths = {p.path: point[p.name] for p in self.space.parameters if p.name in point}
        values = paths | point
        return all(key in values and values[key] == value for key, value in wanted.items())


@dataclass(frozen=True)
class Measured:
    """A claim with what was measured of it; without an estimate nothing was."""

    claim: Claim
    estimate: Estimate | None = None
    first: Sequence[float] = ()  # of each seed
    second: Sequence[float] = ()
    note: str = ""  # why there is nothing, or what is to be said of it

    @property
    def verdict(self) -> Verdict | None:
        """Return what the estimate says of the claim, None where nothing was measured."""
        if self.estimate is None:
            return None
        low, high = self.claim.at_least, self.claim.at_most
        return self.estimate.verdict(
            -math.inf if low is None else low,
            math.inf if high is None else high,
            strict=self.claim.over is not None,
        )


@dataclass(frozen=True)
class Finished:
    """A finished study of a preset."""

    table: StudyTable
    paths: StudyPaths
    minutes: float


@dataclass(frozen=True)
class Lacking:
    """Why a preset has no finished study; `occupied`: a study of other settings has its name."""

    note: str
    occupied: bool = False


@dataclass
class Bench:
    """The presets that claims need, and their studies below a root."""

    presets: dict[str, Preset]
    studies: dict[str, Finished] = field(default_factory=dict)
    missing: dict[str, Lacking] = field(default_factory=dict)


UNMEASURED = Lacking("not measured yet")


def read_presets(claims: Claims, overrides: Sequence[str]) -> dict[str, Preset]:
    """Compose every preset that claims name with the user's overrides, and check what they choose
    of it. Raises InputError for a preset or a parameter that there is not.
    """
    found: dict[str, Preset] = {}
    for claim in claims.claims:
        if claim.preset not in found:
            found[claim.preset] = _preset(claim, overrides)
        for choice in (claim.of, claim.over):
            if choice:
                found[claim.preset].chosen(claim, choice)
    return found


def _preset(claim: Claim, overrides: Sequence[str]) -> Preset:
    try:
        config = compose([*overrides, override("experiment", claim.preset)])
        space, _ = searched(config)
    except InputError as error:
        raise InputError(f"claim {claim.name}: {error}") from None
    if config.sampler.name != "grid":
        raise InputError(
            f"claim {claim.name}: preset {claim.preset} must have sampler=grid, which tries every "
            f"configuration, got {config.sampler.name}"
        )
    if claim.epoch is not None and claim.epoch > config.train.epochs:
        raise InputError(
            f"claim {claim.name}: epoch must be at most the {config.train.epochs} of preset "
            f"{claim.preset}, got {claim.epoch}"
        )
    if claim.measure in OF_FINAL and not config.final.after_sweep:
        raise InputError(
            f"claim {claim.name}: preset {claim.preset} must have final.after_sweep=true for "
            f"{claim.measure}, got false"
        )
    return Preset(claim.preset, config, space, grid(space))


def find_studies(bench: Bench) -> None:
    """Look for a finished study of each preset; note what each of the others lacks."""
    for name, preset in bench.presets.items():
        found = _finished(preset)
        if isinstance(found, Lacking):
            bench.missing[name] = found
        else:
            bench.studies[name] = found
            bench.missing.pop(name, None)


def _finished(preset: Preset) -> Finished | Lacking:
    paths = preset.config.paths
    if not paths.study_db.exists():
        return UNMEASURED
    study = read_study(paths)
    attributes = study.user_attrs
    old = {**attributes.get(FINGERPRINT, {}), "data.digest": ""}
    new = {**fingerprint(preset.config, preset.space, ""), "data.digest": ""}
    if other := differences(old, new):
        what = f"the study {paths.name} has other settings than the preset: {other[0]}"
        return Lacking(what, occupied=True)
    if attributes.get(ENDED, -1) < 0:
        return Lacking("begun, not finished yet")
    if preset.config.final.after_sweep and not (paths.ensemble / "ensemble.json").exists():
        return Lacking("swept, its ensemble is not built yet")
    table = table_of(study, paths.folder, journal.read_all(paths.folder))
    return Finished(table, paths, _seconds(paths) / 60)


def _seconds(paths: StudyPaths) -> float:
    """Return how long the search took, and the final nets after it."""
    seconds = used_seconds(paths.folder)
    for folder in paths.final.glob("runs/*"):
        began = math.nan
        for event in journal.read_all(folder):
            if isinstance(event, StudyStarted):
                began = event.time_s
            elif isinstance(event, StudyEnded) and began <= event.time_s:
                seconds += event.time_s - began
    return seconds


class _Unknown(Exception):  # noqa: N818 - no error: the claim's row says it
    """A finished study does not hold what a claim compares."""


def measure(claim: Claim, bench: Bench) -> Measured:
    """Return what a claim's study says of it; a note where it lacks what is compared."""
    finished = bench.studies.get(claim.preset)
    if finished is None:
        return Measured(claim, note=bench.missing.get(claim.preset, UNMEASURED).note)
    if claim.measure == "ensemble_gain":
        return _ensemble(claim, finished)
    preset = bench.presets[claim.preset]
    try:
        if claim.measure in OF_FINAL:
            values = _on_the_test_split(claim, finished)
            return Measured(claim, estimate(values), values, note="the test set, opened once")
        first, note = _values(claim, finished, preset.chosen(claim, claim.of))
        if claim.over is None:
            return Measured(claim, estimate(first), first, note=note)
        second, other = _values(claim, finished, preset.chosen(claim, claim.over))
    except _Unknown as lack:
        return Measured(claim, note=str(lack))
    return Measured(claim, paired_difference(first, second), first, second, note or other)


def _ensemble(claim: Claim, finished: Finished) -> Measured:
    """Return the gain over the best member, its interval the bootstrap's over images."""
    ensemble = read_ensemble(finished.paths.ensemble / "ensemble.json")
    gain = ensemble.out_of_fold["clean"].gain
    found = Estimate(gain.gain, gain.low, gain.high, len(ensemble.members))
    return Measured(claim, found, note=f"{len(ensemble.members)} members, interval over images")


def _on_the_test_split(claim: Claim, finished: Finished) -> list[float]:
    """Return the figure of each member, one net trained on all images, that `pipeline.evaluate`
    found when it opened the test split.
    """
    key = "member_accuracy" if claim.is_share else "member_log_loss"
    try:
        found = read_json(finished.paths.evaluation / "test.json").get(key)
    except (DamagedError, OSError):
        found = None
    values = [float(value) for value in found] if isinstance(found, list) else []
    if len(values) < 2:
        raise _Unknown(
            f"{claim.measure} must be known of at least two members of study "
            f"{finished.paths.name}, got {len(values)}"
        )
    return values


def _values(claim: Claim, finished: Finished, point: Point) -> tuple[list[float], str]:
    """Return the values of a configuration's nets, and a note where it diverged, which counts as
    an accuracy of 0.
    """
    trials = [trial for trial in finished.table.trials if trial.suggested == point]
    done = [trial for trial in trials if trial.state == State.COMPLETE]
    if not done and claim.is_share and any("diverged" in trial.reason for trial in trials):
        seeds = max((len(t.nets) for t in finished.table.complete), default=2)
        return [0.0] * seeds, "diverged, counted as 0"
    if not done:
        shown = ", ".join(f"{name}={value}" for name, value in point.items())
        raise _Unknown(f"the study {finished.paths.name} has no complete trial of {shown}")
    rows = TrialFolder(finished.paths.trial(done[0].number)).history()
    values = _of_nets(claim, done[0], rows)
    if len(values) < 2:
        raise _Unknown(
            f"{claim.measure} must be known of at least two nets of trial {done[0].number} of "
            f"study {finished.paths.name}, got {len(values)}"
        )
    return values, ""


def _of_nets(claim: Claim, trial: TrialRow, rows: Sequence[Mapping[str, float]]) -> list[float]:
    """Return what is compared, of each net of a trial whose epochs have these metrics."""
    if claim.measure == "objective" and claim.epoch is None:
        return trial.nets
    if claim.measure == "lowest_valid_loss":
        of_nets = zip(*(_each_net(row, "valid_loss") for row in rows), strict=True)
        return [min(losses) for losses in of_nets]
    last = claim.epoch or len(rows)
    row = rows[last - 1] if last <= len(rows) else {}
    if claim.measure == "gap":
        both = (_each_net(row, f"{part}_accuracy") for part in ("train", "valid"))
        return [train - valid for train, valid in zip(*both, strict=True)]
    return _each_net(row, "valid_accuracy" if claim.measure == "objective" else claim.measure)


def _each_net(row: Mapping[str, float], name: str) -> list[float]:
    """Return a metric of each net after an epoch, in the nets' order."""
    start = f"{name}/net"
    found = {int(k.removeprefix(start)): value for k, value in row.items() if k.startswith(start)}
    return [found[number] for number in sorted(found)]
