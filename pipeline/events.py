"""A study's events as plain records: the coordinator emits them; tracking, progress and the log
listen.

The engine knows its listeners only as `Listener`; a listener never raises into the engine and never
blocks it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

Scalar = str | int | float | bool | None


class State(StrEnum):
    """The state of a trial or a study."""

    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAIL = "FAIL"
    PAUSED = "PAUSED"  # at a rung: it waits for a promotion
    INTERRUPTED = "INTERRUPTED"  # with the run: it resumes when the same command runs again


@dataclass(frozen=True, kw_only=True)
class StudyStarted:
    study: str
    folder: Path
    note: str
    seed: int
    resumed: bool
    total: int | None  # number of trials; None: limited by time
    slots: int
    directions: tuple[str, ...]
    tags: Mapping[
        str, str
    ]  # git commit, code version, BLAS kernels, data name and digest, command line
    config_yaml: str  # unresolved, redacted
    time_s: float  # wall clock, for display only


@dataclass(frozen=True, kw_only=True)
class TrialStarted:
    number: int
    name: str  # "t017 momentum he f32 d0.40"
    overrides: tuple[str, ...]
    params: Mapping[str, Scalar]  # flat, underscores: optimizer_lr
    seed: int
    slot: int
    resumed_from: int  # epochs already done, 0 for a new trial
    epochs: int
    time_s: float
    prior: str = ""  # the trial of another study that it was taken from: "digits t003"


@dataclass(frozen=True, kw_only=True)
class EpochDone:
    number: int
    epoch: int  # counted from 1
    metrics: Mapping[
        str, float
    ]  # train_loss train_accuracy valid_loss valid_accuracy epoch_s lr, norms
    slot: int
    worker_pid: int
    time_s: float


@dataclass(frozen=True, kw_only=True)
class TrialRetried:
    number: int
    epoch: int
    attempt: int
    reason: str  # "worker died (SIGKILL)"
    time_s: float


@dataclass(frozen=True, kw_only=True)
class TrialEnded:
    number: int
    state: State
    reason: str  # "" for COMPLETE
    objective: tuple[float, ...]  # empty unless COMPLETE
    epochs: int
    duration_s: float  # sum of this trial's time in its slot, over restarts
    folder: Path  # trials/<number>/
    time_s: float
    extra: Mapping[str, float] = field(default_factory=dict)  # multiply_adds, parameters


@dataclass(frozen=True, kw_only=True)
class StudyEnded:
    state: State
    reason: str
    trials: Mapping[str, int]  # count by state
    best_number: int | None
    outside_training: float  # of the time that slots had a trial: the share not training
    time_s: float
    figures: Mapping[str, float] = field(
        default_factory=dict
    )  # of the study as a whole, such as an ensemble's accuracy


Event = StudyStarted | TrialStarted | EpochDone | TrialRetried | TrialEnded | StudyEnded


class Listener(Protocol):
    def handle(self, event: Event) -> None: ...

    def close(self) -> None: ...
