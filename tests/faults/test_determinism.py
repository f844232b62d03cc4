"""Row 33: deterministic mode gives the same study to the bit with 1, 2 and 4 slots, and after an
interruption.
"""

import csv
import shutil
import signal
from collections import Counter
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
    "top_k_in_steps": ["pruner=top_k_in_steps", "pruner.keep=2"],
}
PAUSING = ("pruner=promote", "pruner=pasha", "pruner=top_k", "pruner=top_k_in_steps")
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


@pytest.mark.slow
def test_a_prior_and_an_early_end_change_no_bit_with_slots_and_interruptions(
    own_pruner: Case,
) -> None:
    """The old study is gone after the first start: what was taken from it stands in the new one."""
    case = own_pruner
    case.overrides = [*LOCKSTEP, "pruner=none", "budget.trials=30", "sampler=auto"]
    first = case.run("study.name=old", "budget.trials=9")
    assert first.code == 0, first.err
    begun = [
        "study.prior=[old]",
        "study.seed=3",
        "study.prior_trials=6",
        "budget.gain=0.01",
        "sampler.startup_trials=4",
    ]
    roots = {}
    for name in ("two", "one", "broken"):
        roots[name] = fresh(case, name)
        shutil.copytree(case.root / "old", roots[name].root / "old")
    ended = roots["two"].run(*begun)
    assert ended.code == 0, ended.err
    assert "sampler auto: gp (30 trials, 2 of 6 parameters are choices)" in ended.out
    assert "prior 'old': 3 configurations of 9 trials: t0" in ended.out
    assert "another tenth of the time would bring about" in ended.out.splitlines()[-1]
    with (roots["two"].folder / "leaderboard.csv").open() as file:
        priors = Counter(row["prior"].split()[0] for row in csv.DictReader(file) if row["prior"])
    assert priors == {"old": 3, "informed": 3}
    two = roots["two"].trials()
    assert 14 <= len(two) < 30 and len(two) % 3 == 0, "it ends at a round's end"
    one = roots["one"].run(*begun, "slots.n=1")
    assert one.code == 0 and roots["one"].trials() == two
    broken = roots["broken"]
    for point in ("after-epoch:5", "after-tell:4", "before-tell:7"):
        assert broken.run(*begun, env={"PIPELINE_FAULT": point}).code == -signal.SIGKILL
        shutil.rmtree(broken.root / "old", ignore_errors=True)
    assert broken.run(*begun, "slots.n=4").code == 0
    assert broken.trials() == two
    again = broken.run(*begun)
    assert again.code == 0 and "rank" in again.out and broken.trials() == two, "it stays ended"
    more = broken.run(*begun, "budget.gain=null", "budget.trials=22")
    assert more.code == 0 and len(broken.trials()) == 22
