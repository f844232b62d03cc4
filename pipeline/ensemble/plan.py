"""Which nets make up an ensemble: the best distinct trials of a study and fixed configurations,
each on every fold, and refits.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cnn_core import training
from cnn_core.data.splits import split_of
from cnn_core.errors import InputError
from cnn_core.measures import MINIMIZED
from cnn_core.spec import DataSpec, Spec
from pipeline.configuration import Config, compose, override, spec_of
from pipeline.ensemble.candidates import Candidates
from pipeline.files import StudyPaths, TrialPaths
from pipeline.search.open_study import studies_beside
from pipeline.search.problem import of_the_net
from pipeline.search.trial import end_overrides
from pipeline.trial_folder import StoredTrial

_SHIFT = 1 / 28  # of the side: one pixel in 28
_TURN = math.radians(10)
_ZOOM = 1.08


def views_of(count: int, image_size: tuple[int, int]) -> list[list[float]]:
    """Return the first `count` of nine views: the image itself, two turns, two zooms, four shifts.

    Turns come first, since a net behind a frame sees the same image whatever the shift, and nearly
    so whatever the zoom (docs/LOG.md, Frames). A view is (yy, yx, ty, xy, xx, tx): where each
    output pixel is read from, relative to the centre, in pixels.
    """
    dy, dx = _SHIFT * image_size[0], _SHIFT * image_size[1]
    cos, sin = math.cos(_TURN), math.sin(_TURN)
    views = [
        [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        [cos, sin, 0.0, -sin, cos, 0.0],
        [cos, -sin, 0.0, sin, cos, 0.0],
        [_ZOOM, 0.0, 0.0, 0.0, _ZOOM, 0.0],
        [1 / _ZOOM, 0.0, 0.0, 0.0, 1 / _ZOOM, 0.0],
        [1.0, 0.0, dy, 0.0, 1.0, 0.0],
        [1.0, 0.0, -dy, 0.0, 1.0, 0.0],
        [1.0, 0.0, 0.0, 0.0, 1.0, dx],
        [1.0, 0.0, 0.0, 0.0, 1.0, -dx],
    ]
    return views[:count]


def mirrored(views: Sequence[Sequence[float]]) -> list[list[float]]:
    """Return the views, and each with left and right exchanged: what a net that saw mirrored images
    in training knows as well.
    """
    return [
        [yy, yx, ty, sign * xy, sign * xx, sign * tx]
        for sign in (1.0, -1.0)
        for yy, yx, ty, xy, xx, tx in views
    ]


_SEED_OFFSET = 1_000_000  # final nets share no random stream with trials, numbered from 0


@dataclass(frozen=True, kw_only=True)
class Member:
    """One configuration and seed, trained once per fold, and `final.refit` times on all images that
    are not reserved.
    """

    name: str  # "m1-t017", or "m4-fixed1"
    overrides: tuple[str, ...]  # complete: they compose to the configuration
    # one per fold: temperatures and weights are chosen on their out-of-fold predictions
    specs: tuple[Spec, ...]
    # on all images that are not reserved; where there are any, only they predict
    refits: tuple[Spec, ...] = ()

    def folder(self, paths: StudyPaths) -> Path:
        return paths.final / self.name

    def net(self, paths: StudyPaths, fold: int) -> TrialPaths:
        return TrialPaths(self.folder(paths) / f"fold{fold}")


def plan_members(
    config: Config, data: DataSpec, own: Sequence[str], found: Candidates
) -> list[Member]:
    """Return the members that ``config.final`` specifies, of the trials that were found; `own` are
    the command's overrides: they take precedence over a trial's, but not over ``final.overrides``
    and ``final.fixed``.

    The best trials are chosen so that architectures, kernel sizes and frames differ as long as
    others are nearly as good; with fewer distinct trials than members, the best are repeated with
    other seeds. Raises InputError where there is nothing to build from.
    """
    final = config.final
    trials = found.trials
    if final.members and not trials:
        hint = "run python -m pipeline.sweep first, or give final.members=0 and final.fixed"
        raise InputError(
            f"final needs a finished sweep, got no complete trial in {config.paths.folder}"
            f"{studies_beside(config.paths)}; {hint}"
        )
    if not final.members and not final.fixed:
        raise InputError("final needs final.members of at least 1, or final.fixed, got neither")
    chosen = [
        (f"t{trial.number:03d}", trial.overrides)
        for trial in _diverse(trials, final.members, final.kind_errors, config.study.objective)
    ]
    base = trials[0].overrides if trials else found.base
    chosen += [(f"fixed{k}", (*base, *fixed)) for k, fixed in enumerate(final.fixed, 1)]
    whole = {}
    for k, (name, overrides) in enumerate(chosen, 1):
        fixed = final.fixed[k - 1 - final.members] if k > final.members else []
        whole[f"m{k}-{name}"] = (*of_the_net(overrides), *of_the_net(own), *final.overrides, *fixed)

    return [
        _member(config, data, name, overrides, k)
        for k, (name, overrides) in enumerate(whole.items(), 1)
    ]


@dataclass(frozen=True)
class FinalNet:
    """One net of a member: the part of the images it trains on, "fold 2/3" (all but that fold) or
    "all images 1/1", and its folder's name.
    """

    member: Member
    spec: Spec
    part: str
    folder: str

    @property
    def key(self) -> str:
        """Its member's name and its folder's."""
        return f"{self.member.name}/{self.folder}"

    @property
    def overrides(self) -> tuple[str, ...]:
        """The overrides that compose this net: its member's, with the last, train.epochs, replaced
        by its own, since a fold's net may have fewer, and with its end where time moved it.
        """
        return (*self.member.overrides[:-1], *end_overrides(self.spec))


def in_order(members: Sequence[Member]) -> list[FinalNet]:
    """Return all nets in training order: refits first, since they mostly take longest and slots
    should end together.
    """
    refits = [
        FinalNet(m, spec, f"all images {k + 1}/{len(m.refits)}", f"all{k}")
        for m in members
        for k, spec in enumerate(m.refits)
    ]
    return refits + [
        FinalNet(m, spec, f"fold {k + 1}/{len(m.specs)}", f"fold{k}")
        for m in members
        for k, spec in enumerate(m.specs)
    ]


def _diverse(
    trials: Sequence[StoredTrial], count: int, kind_errors: float, measure: str = "accuracy"
) -> list[StoredTrial]:
    """Return `count` trials: first the best of each kind of net that is nearly as good as the best,
    then the others, then the best again.

    A kind is nearly as good if its best trial makes at most `kind_errors` times the errors of the
    best of all: weaker members get next to no weight in the ensemble and cost as much training as
    strong ones. The errors of a measure are what it lacks to 1, or itself where less is better.
    """

    def errors(trial: StoredTrial) -> float:
        return trial.value if measure in MINIMIZED else 1 - trial.value

    allowed = kind_errors * min(map(errors, trials), default=0.0)
    kinds: set[tuple[Any, ...]] = set()
    seen: set[str] = set()
    first: list[StoredTrial] = []
    rest: list[StoredTrial] = []
    for trial in trials:
        config = compose(of_the_net(trial.overrides))
        whole = spec_key(config)
        if whole in seen:
            continue
        seen.add(whole)
        kind = (
            config.model.name,
            config.model.kernel,
            config.model.pool,
            config.model.frame,
            config.model.frame_beside,
        )
        (first if kind not in kinds and errors(trial) <= allowed else rest).append(trial)
        kinds.add(kind)
    order = [*first, *rest]
    return [order[k % len(order)] for k in range(count)] if order else []


def spec_key(config: Config) -> str:
    """Return a key that is equal for equal configurations: every section that a net's training
    depends on.
    """
    parts = (
        config.model,
        config.optimizer,
        config.schedule,
        config.regularizer,
        config.augment,
        config.train,
    )
    return repr(parts)


def _member(
    config: Config,
    data: DataSpec,
    name: str,
    overrides: tuple[str, ...],
    index: int,
) -> Member:
    """Return one member, with the epochs that are asked for: final.epochs, or twice those of its
    configuration.
    """
    composed = compose(overrides)
    tried, study = composed.train, composed.study
    epochs = config.final.epochs or 2 * tried.epochs
    if tried.replanned:  # a trial's, for want of time; not its member's
        overrides = (*overrides, "train.replanned=[]")
    if study.seeds > 1 or study.folds is not None:  # a trial's nets; a member has its own
        overrides = (*overrides, "study.seeds=1", "study.folds=null")
    whole = (*overrides, override("train.epochs", epochs))
    net = compose(whole)
    if config.final.refit and net.train.select == "best":
        raise InputError(
            "final.refit: needs train.select=average or last, since no image is left to find the "
            "best epoch by, got best"
        )
    folds, refit = config.final.folds, config.final.refit
    _check_folds(spec_of(net, data, (0,)).data, folds)
    specs = [
        spec_of(net, data, (config.study.seed, _SEED_OFFSET + index, number))
        for number in range(folds + refit)
    ]
    training.check_spec(specs[0])
    train = specs[0].train
    judging = (
        replace(train, epochs=max(1, round(epochs * config.final.fold_share))) if refit else train
    )
    return Member(
        name=name,
        overrides=whole,
        specs=tuple(
            replace(spec, data=fold_of(spec.data, fold, folds), train=judging)
            for fold, spec in enumerate(specs[:folds])
        ),
        refits=tuple(replace(spec, data=all_images(spec.data)) for spec in specs[folds:]),
    )


def _check_folds(data: DataSpec, folds: int) -> None:
    try:
        split_of(fold_of(data, 0, folds))
    except InputError as error:
        rule = "final.folds: every fold must have an image to judge by"
        raise InputError(f"{rule}; {error}") from error


def views_for(config: Config, members: Sequence[Member]) -> list[list[float]]:
    """Return the views with which these members predict."""
    _, height, width = members[0].specs[0].data.image_shape
    views = views_of(config.ensemble.views, (height, width))
    if config.ensemble.mirror and all(m.specs[0].augment.get("flip", 0.0) for m in members):
        views = mirrored(views)
    return views


def fold_of(data: DataSpec, fold: int, folds: int) -> DataSpec:
    """Return the data of a net trained without one fold."""
    return replace(data, fold=fold, folds=folds, train_size=None, valid_size=None)


def all_images(data: DataSpec) -> DataSpec:
    """Return the data of a net trained on all images that are not reserved, with no validation."""
    return replace(
        data,
        fold=None,
        folds=None,
        valid_fraction=0.0,
        train_size=None,
        valid_size=None,
        valid_folder=None,
        valid_digest=None,
    )
