"""The search problem: overrides become a spec, an epoch is `cnn_core.training.train_epoch`, and the
objective is read from the last state.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import optuna

from cnn_core import training
from cnn_core.architectures import build_model
from cnn_core.data.splits import split_of
from cnn_core.errors import InputError
from cnn_core.measures import is_minimized
from cnn_core.repeats import judged_images, nets_of
from cnn_core.spec import DataSpec, ModelSpec, Scalar, Spec
from pipeline.configuration import Config, compose, spec_of
from pipeline.configuration.overrides import parse_override
from pipeline.configuration.searchable import SECTIONS
from pipeline.search.space import Space

# By what, and by how many nets, a trial is judged is part of a spec, wherever it is set.
JUDGED_BY = ("study.objective", "study.top_k", "study.seeds", "study.folds", "study.paired")
ALWAYS_SHOWN = (
    "model.name",
    "model.filters",
    "model.dropout",
    "model.init",
    "optimizer.name",
    "optimizer.lr",
    "train.batch_size",
)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One net to train, with its composed spec."""

    number: int
    name: str
    seed: tuple[int, ...]
    overrides: tuple[str, ...]  # chosen for this job
    base: tuple[str, ...] = ()  # shared with the other jobs; applied first
    spec: Spec
    params: Mapping[str, Scalar]
    extra: Mapping[str, float] = field(default_factory=dict)  # multiply_adds, parameters
    prior: str = ""  # where a study.prior took its values from

    @property
    def whole(self) -> tuple[str, ...]:
        """All overrides that compose it."""
        return (*self.base, *self.overrides)

    @property
    def epochs(self) -> int:
        return self.spec.train.epochs


class Problem:
    """A search space over a composed configuration and prepared data."""

    def __init__(self, config: Config, space: Space, data: DataSpec) -> None:
        self.config = config
        self.space = space
        self.data = data
        self.base = of_the_net(config.overrides)
        self.objectives = tuple(config.study.objectives)
        self.directions = tuple(
            "minimize" if is_minimized(name) else "maximize" for name in self.objectives
        )

    def check(self) -> None:
        """Compose and build every branch of the space at both ends, so that an impossible one is
        refused before the first trial.

        Raises InputError naming the branch.
        """
        self.space.check(self.base)
        for dearest in (False, True):
            for overrides in self.space.corners(dearest=dearest):
                job = self.job(0, overrides)
                try:
                    training.check_spec(job.spec)
                except InputError as error:
                    raise InputError(
                        f"{error}; in the branch {' '.join(overrides)} of the space"
                    ) from error
        if not self.validation_images:
            raise InputError(
                "data.valid_fraction: a sweep ranks by validation images, got none with "
                f"{self.data.valid_fraction:g}"
            )

    @property
    def training_images(self) -> int:
        """The number of training images: what a full pass of a net sees."""
        return len(split_of(nets_of(self._spec)[0].data).train)

    @property
    def validation_images(self) -> int:
        """The number of images behind a trial's value."""
        return judged_images(self._spec)

    @cached_property
    def _spec(self) -> Spec:
        return spec_of(self.config, self.data, (0,))

    def suggest(self, trial: optuna.Trial) -> list[str]:
        """Return the overrides that the study chooses for a trial."""
        return self.space.suggest(trial)

    def job(
        self, number: int, overrides: Sequence[str], seed: tuple[int, ...] | None = None
    ) -> Job:
        """Compose a trial. Raises InputError when the overrides do not fit together."""
        config = compose([*self.base, *overrides])
        own = (self.config.study.seed, 0 if self.config.study.paired else number)
        spec = spec_of(config, self.data, seed or own)
        return Job(
            number=number,
            name=trial_name(number, config),
            seed=spec.seed,
            overrides=tuple(overrides),
            base=self.base,
            spec=spec,
            params=shown_params(config, overrides),
            extra=costs_of(spec),
        )


def costs_of(spec: Spec) -> dict[str, float]:
    """Return the multiply-adds of one image's forward pass and the number of parameters."""
    return model_cost(spec.model, spec.data.image_shape, spec.data.classes)


def of_the_net(overrides: Sequence[str]) -> tuple[str, ...]:
    """Return the overrides that decide what a trial trains: not the space (a trial is one
    configuration, whatever it was chosen from), nor where and how the sweep runs.
    """
    return tuple(text for text in overrides if _is_of_the_net(parse_override(text).key_or_group))


def _is_of_the_net(key: str) -> bool:
    section = key.partition(".")[0]
    return section in (*SECTIONS, "experiment", "hydra", "plugins") or key in JUDGED_BY


def trial_name(number: int, config: Config) -> str:
    """Return a trial's name in lists: ``t017 momentum he f32 d0.40``."""
    model = config.model
    framed = (
        "" if model.frame == "none" else f" {model.frame}{' beside' if model.frame_beside else ''}"
    )
    return (
        f"t{number:03d} {config.optimizer['name']} {model.init} f{model.filters} "
        f"d{model.dropout:.2f}{framed}"
    )


def shown_params(config: Config, overrides: Sequence[str]) -> dict[str, Scalar]:
    """Return the parameters by which runs are compared: the searched ones and those in
    ALWAYS_SHOWN, with underscores for dots.
    """
    paths = {parse_override(text).key_or_group for text in overrides}
    paths = {f"{path}.name" if path in config.choices else path for path in paths} | set(
        ALWAYS_SHOWN
    )
    found = {path: _value(config, path) for path in sorted(paths)}
    return {
        path.removesuffix(".name").replace(".", "_"): value
        for path, value in found.items()
        if value is not None
    }


def _value(config: Config, path: str) -> Scalar:
    section, _, key = path.partition(".")
    settings: Any = getattr(config, section, None)  # None: a preset, such as experiment=
    value = settings.get(key) if isinstance(settings, Mapping) else getattr(settings, key, None)
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


@lru_cache(maxsize=1024)
def model_cost(
    model: ModelSpec, image_shape: tuple[int, int, int], classes: int
) -> dict[str, float]:
    """Return the multiply-adds of one image's forward pass and the number of parameters."""
    net = build_model(model, image_shape, classes, np.random.default_rng(0))
    return {"multiply_adds": float(net.multiply_adds()), "parameters": float(net.parameter_count())}
