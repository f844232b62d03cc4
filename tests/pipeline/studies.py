"""Made-up studies for tests of tracking, pictures and the report: an Optuna study and its journal,
with known truths.

The objective is a formula with noise: He over Xavier is worth HE_POINTS, dropout has its best at
0.3, filters help by their logarithm; one trial in twelve diverges.
"""

import math
from pathlib import Path

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState, create_trial

from pipeline.events import (
    EpochDone,
    Event,
    Listener,
    StudyEnded,
    StudyStarted,
    TrialEnded,
    TrialStarted,
)

HE_POINTS = 0.004
START_S = 1_780_000_000.0
EPOCHS = 4
NOISE = 0.001
LR_RANGES = {"momentum": (1e-3, 0.3), "adam": (1e-4, 1e-2)}


def study_started(
    folder: Path,
    *,
    trials: int = 6,
    resumed: bool = False,
    directions: tuple[str, ...] = ("maximize",),
    note: str = "a note",
) -> StudyStarted:
    tags = {
        "code": "0123456789abcdef",
        "data": "digits",
        "data_digest": "ab" * 32,
        "command": "python -m pipeline.sweep",
    }
    return StudyStarted(
        study=folder.name, folder=folder, note=note, seed=3, resumed=resumed, total=trials,
        slots=2, directions=directions, tags=tags, config_yaml="study:\n  name: made-up\n",
        time_s=START_S,
    )  # fmt: skip


def trial_started(
    number: int,
    *,
    slot: int = 0,
    time_s: float = START_S,
    resumed_from: int = 0,
    **params: str | int | float,
) -> TrialStarted:
    params = params or {"model_init": "he", "optimizer_lr": 0.01}
    overrides = tuple(f"{key.replace('_', '.', 1)}={value}" for key, value in params.items())
    return TrialStarted(
        number=number, name=f"t{number:03d} momentum he f32 d0.40", overrides=overrides,
        params=params, seed=100 + number, slot=slot, resumed_from=resumed_from,
        epochs=EPOCHS, time_s=time_s,
    )  # fmt: skip


def epoch_done(
    number: int, epoch: int, *, accuracy: float = 0.9, slot: int = 0, time_s: float = START_S
) -> EpochDone:
    metrics = {
        "train_loss": 1.0 / epoch, "train_accuracy": accuracy + 0.01,
        "valid_loss": 1.1 / epoch, "valid_accuracy": accuracy, "epoch_s": 0.5, "lr": 0.01,
        "gradient_norm_conv1": 0.3,
    }  # fmt: skip
    return EpochDone(
        number=number,
        epoch=epoch,
        metrics=metrics,
        slot=slot,
        worker_pid=4000 + slot,
        time_s=time_s,
    )


def trial_ended(
    number: int, folder: Path, *, state: str = "COMPLETE",
    objective: tuple[float, ...] = (0.97,), reason: str = "", epochs: int = EPOCHS,
    time_s: float = START_S, filters: int = 16,
) -> TrialEnded:  # fmt: skip
    extra = {"multiply_adds": 30_000.0 * filters, "parameters": 2_000.0 * filters}
    return TrialEnded(
        number=number, state=state, reason=reason,
        objective=objective if state == "COMPLETE" else (), epochs=epochs, duration_s=2.0,
        folder=folder / "trials" / str(number), time_s=time_s, extra=extra,
    )  # fmt: skip


def study_ended(
    trials: dict[str, int], best: int | None, *, state: str = "COMPLETE", time_s: float = START_S
) -> StudyEnded:
    return StudyEnded(
        state=state,
        reason="",
        trials=trials,
        best_number=best,
        outside_training=0.02,
        time_s=time_s,
    )


def small_events(folder: Path) -> list[Event]:
    """Two complete trials, one pruned, one failed, in two slots."""
    events: list[Event] = [study_started(folder, trials=4)]
    for number, (state, epochs, reason) in enumerate(
        [
            ("COMPLETE", 4, ""),
            ("PRUNED", 2, "after epoch 2 of 4"),
            ("FAIL", 1, "diverged: train_loss is nan in epoch 1"),
            ("COMPLETE", 4, ""),
        ]
    ):
        start = START_S + 10 * number
        init = "he" if number else "xavier"
        events.append(
            trial_started(
                number,
                slot=number % 2,
                time_s=start,
                model_init=init,
                optimizer_lr=0.01 * (number + 1),
            )
        )
        events += [
            epoch_done(
                number,
                e,
                accuracy=0.9 + 0.01 * e + 0.001 * number,
                slot=number % 2,
                time_s=start + e,
            )
            for e in range(1, epochs + 1)
        ]
        events.append(
            trial_ended(
                number,
                folder,
                state=state,
                reason=reason,
                epochs=epochs,
                objective=(0.94 + 0.001 * number,),
                time_s=start + epochs + 1,
            )
        )
    return [*events, study_ended({"COMPLETE": 2, "PRUNED": 1, "FAIL": 1}, 3, time_s=START_S + 60)]


def suggestion(
    rng: np.random.Generator,
) -> tuple[dict[str, str | int | float], dict[str, BaseDistribution], float]:
    """Suggested values, their distributions, and the true accuracy without noise."""
    optimizer = str(rng.choice(["momentum", "adam"]))
    low, high = LR_RANGES[optimizer]
    place, filters = float(rng.random()), round(8 * 8 ** float(rng.random()))
    values: dict[str, str | int | float] = {
        "model.filters": filters,
        "model.dropout": round(0.05 * int(rng.integers(0, 13)), 2),
        "model.init": str(rng.choice(["xavier", "he"])),
        "optimizer": optimizer,
        f"{optimizer}.lr": low * (high / low) ** place,
    }
    distributions: dict[str, BaseDistribution] = {
        "model.filters": IntDistribution(8, 64, log=True),
        "model.dropout": FloatDistribution(0.0, 0.6, step=0.05),
        "model.init": CategoricalDistribution(["xavier", "he"]),
        "optimizer": CategoricalDistribution(["momentum", "adam"]),
        f"{optimizer}.lr": FloatDistribution(low, high, log=True),
    }
    truth = (
        0.975
        + HE_POINTS * (values["model.init"] == "he")
        + 0.006 * math.log(filters / 8) / math.log(8)
    )
    truth -= 0.02 * (place - 0.7) ** 2 + 0.03 * (float(values["model.dropout"]) - 0.3) ** 2
    return values, distributions, truth


def make_study(
    folder: Path,
    trials: int = 60,
    seed: int = 0,
    *,
    listener: Listener | None = None,
    objectives: int = 1,
) -> optuna.Study:
    """Writes `study.db` (as the sweep does) and the journal below `folder`."""
    from pipeline.journal import EventLog

    folder.mkdir(parents=True, exist_ok=True)
    log = listener or EventLog(folder)
    directions = ("maximize", "minimize")[:objectives]
    study = optuna.create_study(
        study_name=folder.name,
        storage=f"sqlite:///{folder / 'study.db'}",
        directions=list(directions),
    )
    rng = np.random.default_rng(seed)
    free = [START_S, START_S]
    counts: dict[str, int] = {}
    rows = []
    log.handle(study_started(folder, trials=trials, directions=directions))
    for number in range(trials):
        values, distributions, truth = suggestion(rng)
        accuracy = truth + NOISE * float(rng.normal())
        state, epochs = ("COMPLETE", EPOCHS)
        if number % 12 == 11:
            state, epochs = "FAIL", 1
        elif accuracy < 0.972 and number > 5:
            state, epochs = "PRUNED", 2
        slot = int(np.argmin(free))
        flat = {
            ("optimizer_lr" if key.endswith(".lr") else key.replace(".", "_")): value
            for key, value in values.items()
        }
        log.handle(trial_started(number, slot=slot, time_s=free[slot], **flat))
        curve = {e: accuracy - 0.1 / e**2 + 0.1 / EPOCHS**2 for e in range(1, epochs + 1)}
        for epoch, value in curve.items():
            free[slot] += 0.5 + int(values["model.filters"]) / 64
            log.handle(epoch_done(number, epoch, accuracy=value, slot=slot, time_s=free[slot]))
        filters = int(values["model.filters"])
        goal = (accuracy, 30_000.0 * filters)[:objectives]
        reason = {
            "FAIL": "diverged: train_loss is nan in epoch 1",
            "PRUNED": "after epoch 2 of 4",
        }.get(state, "")
        log.handle(
            trial_ended(
                number,
                folder,
                state=state,
                objective=goal,
                reason=reason,
                epochs=epochs,
                time_s=free[slot],
                filters=filters,
            )
        )
        counts[state] = counts.get(state, 0) + 1
        told = list(goal) if state == "COMPLETE" else None
        steps = curve if objectives == 1 else {}
        rows.append(
            create_trial(
                state=TrialState[state],
                values=told,
                params=values,
                distributions=distributions,
                intermediate_values=steps,
            )
        )
    study.add_trials(rows)
    complete = [
        (row.values[0], number)
        for number, row in enumerate(rows)
        if row.state == TrialState.COMPLETE
    ]
    log.handle(study_ended(counts, max(complete)[1], time_s=max(free)))
    if listener is None:
        log.close()
    return study
