"""Everything that the report shows, gathered from a study's folder and database; what is missing is
left out, not guessed. Also the cost of deterministic mode: its rounds train epoch by epoch, so
slots wait for the slowest; without rounds, slots would wait only at the very end.
"""

import heapq
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from cnn_core.errors import InputError
from cnn_core.plain_json import DamagedError
from pipeline import journal
from pipeline.files import StudyPaths
from pipeline.records.ensemble_record import Ensemble, read_ensemble
from pipeline.records.time_plans import TimePlanned, read_times
from pipeline.reporting.best_trials import Confidence, assess
from pipeline.reporting.borders import Place, next_space, places
from pipeline.reporting.effects import Effect, effects, paired_effects
from pipeline.reporting.net_pictures import draw_net
from pipeline.reporting.prospect import outlook, used_seconds
from pipeline.reporting.regression import Regression, fit_study, strongest
from pipeline.reporting.table import StudyTable, TrialRow, confirmed_metrics, table_of
from pipeline.structured_text import parse_yaml, read_json
from pipeline.trial_folder import TrialFolder

EVALUATED = ("proxy", "reserve", "test")  # the sets of images that pipeline.evaluate scores


@dataclass
class Facts:
    """A study's findings."""

    table: StudyTable
    # the sweep's configuration, interpolations unresolved; empty without a journal
    config: dict[str, Any]
    regression: Regression | None = None
    effects: list[Effect] = field(default_factory=list)
    confidence: Confidence | None = None
    places: list[Place] = field(default_factory=list)
    following: dict[str, Any] = field(default_factory=dict)  # the next space
    names: list[str] = field(default_factory=list)  # parameters, the strongest first
    stopped: dict[str, list[tuple[str, int]]] = field(
        default_factory=dict
    )  # state -> (reason, how often)
    pictures: list[str] = field(default_factory=list)  # of the best net, as HTML
    confirmed: dict[int, dict[str, float]] = field(
        default_factory=dict
    )  # trial -> mean, spread over fresh seeds; the best first
    ensemble: Ensemble | None = None
    evaluation: dict[str, dict[str, Any]] = field(
        default_factory=dict
    )  # set of images -> its scores
    overrides: list[str] = field(default_factory=list)  # all of the winner's
    outlook: str = ""  # what more time would bring
    seed: int | None = None  # of the study, as the winner was trained with it
    times: list[TimePlanned] = field(default_factory=list)  # plans of time budgets, and outcomes

    @property
    def winner(self) -> TrialRow:
        """The trial to use; there must be a complete one."""
        best = self.table.best
        assert best is not None
        return best


def gather(study: optuna.Study, paths: StudyPaths) -> Facts:
    """Reads and analyses a study."""
    table = table_of(study, paths.folder, journal.read_all(paths.folder))
    config = _config(table)
    facts = Facts(table, config, stopped=reasons(table))
    facts.confirmed = confirmed_metrics(paths.folder)
    facts.times = read_times(paths)
    with suppress(InputError):  # none was built, or it is damaged
        facts.ensemble = read_ensemble(paths.ensemble / "ensemble.json")
    scores = {name: _json(paths.evaluation / f"{name}.json") for name in EVALUATED}
    facts.evaluation = {name: each for name, each in scores.items() if each is not None}
    if not table.complete:
        return facts
    facts.regression = fit_study(table)
    facts.effects = paired_effects(table)
    told = {effect.name for effect in facts.effects}
    found = effects(table, facts.regression) if facts.regression else []
    facts.effects += [effect for effect in found if effect.name not in told]
    facts.names = strongest(table, facts.regression)
    _of_best(facts, paths)
    space = config.get("space") or {}
    searched = {name: entry.get("path", name) for name, entry in space.items()}
    facts.places = places(table, searched)
    if space:
        facts.following = next_space(space, table, facts.regression, searched)
    return facts


def _config(table: StudyTable) -> dict[str, Any]:
    if table.started is None:
        return {}
    with suppress(DamagedError):
        found = parse_yaml(table.started.config_yaml)
        return found if isinstance(found, dict) else {}
    return {}


def _of_best(facts: Facts, paths: StudyPaths) -> None:
    """Add what needs the data and the kept weights: confidence from the number of validation
    images, and pictures of the best net.
    """
    best = facts.winner
    images: int | None = None
    trial = paths.trial(best.number)
    facts.overrides = list(best.overrides)
    try:
        if trial.overrides.is_file():
            stored = TrialFolder(trial).read()
            facts.overrides, facts.seed = list(stored.overrides), stored.seed[0]
            images = _validation_images(facts.overrides)
        if trial.weights.is_file():
            facts.pictures = draw_net(trial.folder).figures()
    except (InputError, OSError, ValueError, KeyError):
        pass  # data or weights are gone or changed: the rest of the study can still be reported
    facts.confidence = assess(facts.table, images, _seed_noise(facts.confirmed))
    facts.outlook = outlook(facts.table, images, used_seconds(paths.folder))


def _validation_images(overrides: list[str]) -> int:
    from cnn_core.repeats import judged_images
    from pipeline.configuration import compose, spec_of
    from pipeline.data import prepare

    config = compose(overrides)
    return judged_images(spec_of(config, prepare(config.data, config.root), (0,)))


def _seed_noise(confirmed: Mapping[int, Mapping[str, float]]) -> float | None:
    """Standard deviation over seeds, pooled over the confirmed trials."""
    squares, freedom = 0.0, 0.0
    for values in confirmed.values():
        if "confirmed_std" in values:
            squares += (values["confirmed_seeds"] - 1) * values["confirmed_std"] ** 2
            freedom += values["confirmed_seeds"] - 1
    return float(np.sqrt(squares / freedom)) if freedom > 0 and squares > 0 else None


def reasons(table: StudyTable) -> dict[str, list[tuple[str, int]]]:
    """State -> reasons, most frequent first; numbers are removed so that similar reasons are
    counted together.
    """
    found: dict[str, Counter[str]] = {}
    for trial in table.trials:
        if trial.state in ("PAUSED", "PRUNED", "FAIL"):
            text = trial.reason or (
                "no reason stored" if trial.state == "FAIL" else f"after epoch {trial.epochs}"
            )
            if trial.state == "FAIL":
                text = re.sub(r"\bin epoch \d+", "", text).strip()
            found.setdefault(trial.state, Counter())[text] += 1
    return {state: counter.most_common() for state, counter in found.items()}


def _json(path: Path) -> dict[str, Any] | None:
    with suppress(OSError, DamagedError):
        return dict(read_json(path))
    return None


@dataclass(frozen=True)
class Lockstep:
    """How long a study's epochs took in lockstep, and how long they would take on slots that do not
    wait for each other.
    """

    slots: int
    trained_s: float  # of all slots together
    lockstep_s: float
    free_s: float

    @property
    def waiting(self) -> float:
        """Share of the slots' time spent waiting for the rest of a round."""
        return 1.0 - self.trained_s / (self.slots * self.lockstep_s)

    def line(self) -> str:
        """Return the cost in words."""
        more = self.lockstep_s / self.free_s - 1.0
        return (
            "Deterministic mode cost time: its rounds wait for their slowest epoch, so "
            f"{self.slots} slots stood still for "
            f"{self.waiting:.0%} of their time; the same epochs took {self.lockstep_s:.1f} s, "
            "without waiting for one another "
            f"{self.free_s:.1f} s ({more:.0%} more)."
        )


def lockstep(table: StudyTable) -> Lockstep | None:
    """Measure a study from its epochs' durations; None for one that was not deterministic, or whose
    journal has no durations.
    """
    slots = table.started.slots if table.started is not None else 0
    rounds: dict[int, list[list[float]]] = {}
    for trial in table.trials:
        if trial.round is not None:
            seconds = [row.get("epoch_s", 0.0) for _, row in sorted(trial.history.items())]
            rounds.setdefault(trial.round, []).append(seconds)
    trials = [seconds for members in rounds.values() for seconds in members]
    trained_s = sum(map(sum, trials))
    if not slots or trained_s == 0.0:
        return None
    return Lockstep(
        slots,
        trained_s,
        sum(round_s(members, slots) for members in rounds.values()),
        makespan(map(sum, trials), slots),
    )


def round_s(members: Sequence[Sequence[float]], slots: int) -> float:
    """Return the seconds that a round takes: epoch by epoch, with the trials still running spread
    over idle slots.
    """
    epochs = max(map(len, members), default=0)
    return sum(
        makespan((member[epoch] for member in members if epoch < len(member)), slots)
        for epoch in range(epochs)
    )


def makespan(jobs: Iterable[float], slots: int) -> float:
    """Return when the last job ends if each slot takes the next one as soon as it is idle."""
    ends = [0.0] * slots
    for seconds in jobs:
        heapq.heapreplace(ends, ends[0] + seconds)
    return max(ends)
