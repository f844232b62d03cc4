"""Row 33: deterministic mode gives the same study to the bit with 1, 2 and 4 slots, and after an
interruption.
"""

import shutil
import signal
from typing import Any

import pytest

from tests.faults.harness import Case, check

LOCKSTEP = [
    "study.deterministic=true",
    "study.round=3",
    "sampler.startup_trials=4",
    "train.epochs=4",
]
PRUNERS = {
    "halving": ["pruner=successive_halving", "pruner.reduction_factor=2"],
    "median": ["pruner=median", "pruner.startup_trials=3", "pruner.warmup_epochs=1"],
    "promote": ["pruner=promote", "pruner.min_epochs=1", "pruner.reduction_factor=2"],
    "pasha": ["pruner=pasha", "pruner.reduction_factor=2"],
    "top_k": ["pruner=top_k", "pruner.keep=5"],
}
PAUSING = ("pruner=promote", "pruner=pasha", "pruner=top_k")
KILLS = ("after-epoch:7", "before-tell:4", "after-tell:3")
KILLS_AROUND_PAUSES = ("after-epoch:3", "before-PAUSED:3", "within-promotion:1")
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in PRUNERS if name != "halving"]


def fresh(case: Case, name: str) -> Case:
    """Return another root with the same command."""
    base = case.root.parent / name
    (base / "toy").mkdir(parents=True)
    shutil.copytree(case.root / "prepared", base / "root" / "prepared")
    return Case(base / "root", base / "toy", list(case.overrides))


def result_of(case: Case, *more: str, env: dict[str, str] | None = None) -> list[dict[str, Any]]:
    ended = case.run(*more, env=env)
    assert ended.code == 0, ended.err
    check(case, total=12)
    return case.trials()


@pytest.fixture(params=["halving", *SLOW])
def lockstep(own_pruner: Case, request: pytest.FixtureRequest) -> Case:
    own_pruner.overrides = [*LOCKSTEP, *PRUNERS[request.param], "budget.trials=12"]
    return own_pruner


def test_slots_and_interruptions_change_no_bit(lockstep: Case) -> None:
    two = result_of(lockstep)
    assert {"PRUNED", "COMPLETE"} <= {trial["state"] for trial in two}
    assert result_of(fresh(lockstep, "one"), "slots.n=1") == two
    broken = fresh(lockstep, "broken")
    pauses = lockstep.overrides[len(LOCKSTEP)] in PAUSING
    for point in KILLS_AROUND_PAUSES if pauses else KILLS:
        assert broken.run(env={"PIPELINE_FAULT": point}).code == -signal.SIGKILL
    assert result_of(broken, "slots.n=4") == two


@pytest.mark.slow
def test_a_termination_in_a_round_changes_no_bit(lockstep: Case) -> None:
    whole = result_of(lockstep)
    victim = next(
        trial["number"] for trial in whole if trial["number"] >= 3 and len(trial["steps"]) > 2
    )
    case = fresh(lockstep, "interrupted")
    case.ask(f"hold-{victim}-2")
    running = case.start()
    case.wait_for(victim, 2)
    running.signal(signal.SIGTERM)
    assert running.end().code == 143
    case.release(f"hold-{victim}-2")
    assert result_of(case) == whole
