"""Faults of workers: rows 1, 2, 3, 8, 9, 10, 11 and 22 of the matrix."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.faults.harness import Case, Ended, check, no_traceback, workers_of


def epochs_begun(case: Case) -> dict[tuple[int, int], int]:
    """Return how often each epoch of each trial was begun, wherever."""
    begun: dict[tuple[int, int], int] = {}
    for path in case.toy.glob("at-*"):
        _, number, epoch, _ = path.name.split("-")
        begun[int(number), int(epoch)] = begun.get((int(number), int(epoch)), 0) + 1
    return begun


def log_of(case: Case) -> str:
    return (case.folder / "log.txt").read_text()


@pytest.mark.parametrize("misdeed", ["SIGKILL", pytest.param("SIGSEGV", marks=pytest.mark.slow)])
def test_a_worker_that_dies_costs_its_epoch_alone(case: Case, misdeed: str) -> None:
    case.ask("once-1-2", misdeed)
    ended = case.run()
    assert ended.code == 0, ended.err
    check(case)
    assert {key: count for key, count in epochs_begun(case).items() if count > 1} == {(1, 2): 2}
    assert f"trial 1 epoch 2: worker died ({misdeed})" in log_of(case)


def test_a_lost_process_beside_the_worker_costs_its_epoch_alone(case: Case) -> None:
    """Cores of one training are processes of its worker (`cnn_core.cores`)."""
    case.ask("once-1-2", "lose one beside")
    ended = case.run()
    assert ended.code == 0, ended.err
    check(case)  # no trial has failed
    assert "trial 1 epoch 2: a process that trains beside this one" in log_of(case)


def test_a_sibling_goes_on_while_a_worker_is_killed_from_outside(own_pruner: Case) -> None:
    case = own_pruner  # a paused trial may go on in any slot
    case.ask("hold-0-2")
    case.ask("hold-1-2")
    running = case.start()
    victim, sibling = case.wait_for(0, 2), case.wait_for(1, 2)
    os.kill(victim, signal.SIGKILL)
    case.release("hold-0-2")
    case.wait_for(0, 3)
    case.release("hold-1-2")
    assert running.end().code == 0
    check(case)
    assert case.began(1, 2) == case.began(1, 3) == [sibling]


def test_a_trial_that_always_kills_its_worker_fails_after_two_repetitions(case: Case) -> None:
    case.ask("always-2", "SIGKILL")
    ended = case.run()
    assert ended.code == 0, ended.err
    check(case, failed=1)
    assert epochs_begun(case)[2, 1] == 3
    assert (
        "worker died (SIGKILL), 3 times in a row" in (case.folder / "leaderboard.csv").read_text()
    )


def test_a_sweep_whose_every_trial_fails_stops_at_max_failed(case: Case) -> None:
    case.ask("always", "raise")
    ended = case.run("budget.max_failed=3")
    assert ended.code == 1
    assert case.states()["FAIL"] in (3, 4)  # one may have been in flight
    assert (ended.out + ended.err).count("ValueError: a misdeed") - ended.out.count("FAIL") <= 3
    no_traceback(ended)
    failed = case.states()["FAIL"]
    case.release(
        "always"
    )  # the cause is removed: what failed before is not held against the next run
    assert case.run("budget.max_failed=3").code == 0
    check(case, failed=failed)


@pytest.mark.parametrize("misdeed", ["hang", pytest.param("SIGSTOP", marks=pytest.mark.slow)])
def test_an_epoch_past_its_deadline_ends_that_worker_alone(case: Case, misdeed: str) -> None:
    case.ask("once-1-2", misdeed)
    ended = case.run("deadline.epoch_s=1.5")
    assert ended.code == 0, ended.err
    check(case, failed=1)
    assert "timed out after 1.5 s in epoch 2" in (case.folder / "leaderboard.csv").read_text()
    assert workers_of(case.folder) == []


@pytest.mark.slow
def test_a_trial_past_its_deadline_fails(case: Case) -> None:
    case.ask("once-0-1", "hang")
    ended = case.run("deadline.trial_s=1.5")
    assert ended.code == 0, ended.err
    check(case, failed=1)
    assert "timed out" in (case.folder / "leaderboard.csv").read_text()


def test_a_memory_limit_fails_the_trial_that_exceeds_it(case: Case) -> None:
    case.ask("always-1", "memory")
    ended = case.run("slots.memory_mb=1500")
    assert ended.code == 0, ended.err
    check(case, failed=1)
    assert "MemoryError" in (case.folder / "leaderboard.csv").read_text()


@pytest.mark.parametrize(
    "value", ["nan", *(pytest.param(value, marks=pytest.mark.slow) for value in ("inf", "-inf"))]
)
def test_a_trial_that_diverges_fails_and_is_never_best(case: Case, value: str) -> None:
    case.ask("always-1-2", value)
    ended: Ended = case.run()
    assert ended.code == 0, ended.err
    check(case, failed=1)
    board = (case.folder / "leaderboard.csv").read_text().splitlines()
    assert "diverged: train_loss is" in board[-1]
    assert json.loads((Path(case.folder) / "trials/1/result.json").read_text())["state"] == "FAIL"
