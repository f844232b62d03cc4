"""Faults of the coordinator: rows 4, 5, 6 and 7 of the matrix."""

import signal

import pytest

from tests.faults.harness import Case, check, no_traceback, wait_until, workers_of
from tests.faults.test_workers import epochs_begun

SLOW = [pytest.param(point, marks=pytest.mark.slow) for point in ("after-ask:3", "after-tell:2")]


@pytest.mark.parametrize("point", ["after-epoch:4", "before-tell:2", "during-export", *SLOW])
def test_a_coordinator_killed_outright_is_resumed_by_the_same_command(
    case: Case, point: str
) -> None:
    first = case.run(env={"PIPELINE_FAULT": point})
    assert first.code == -signal.SIGKILL
    wait_until(lambda: not workers_of(case.folder), "workers to be gone")
    done_before = set(case.told())
    begun = epochs_begun(case)
    second = case.run()
    assert second.code == 0, second.err
    check(case)
    again = {key: count for key, count in epochs_begun(case).items() if count > 1}
    assert len(again) <= 2 and all(count == 2 for count in again.values()), (
        f"more than one epoch a slot was repeated: {again}"
    )
    assert all(number not in done_before for number, _ in again)
    if point == "before-tell:2":  # the finished result is adopted
        finished = {number for number, epoch in begun if epoch == 3}
        assert not {number for number, _ in again} & finished - {
            number for number, _ in again if (number, 3) in again
        }


PROMOTE = ["pruner=promote", "pruner.min_epochs=1", "pruner.reduction_factor=2"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "point", ["before-PAUSED:3", "within-promotion:1", "after-promotion:1", "before-tell:1"]
)
def test_a_kill_around_a_pause_loses_no_epoch(own_pruner: Case, point: str) -> None:
    own_pruner.overrides = PROMOTE
    for _ in range(2):
        assert own_pruner.run(env={"PIPELINE_FAULT": point}).code == -signal.SIGKILL
    ended = own_pruner.run()
    assert ended.code == 0, ended.err
    check(own_pruner)
    again = {key: count for key, count in epochs_begun(own_pruner).items() if count > 1}
    assert len(again) <= 4, f"more than one epoch a slot and kill was repeated: {again}"
    larger = own_pruner.run("budget.trials=12")
    assert larger.code == 0, larger.err
    check(own_pruner, total=12)


def test_sigterm_ends_at_once_and_is_resumable(case: Case) -> None:
    case.ask("hold-1-2")
    running = case.start()
    case.wait_for(1, 2)
    running.signal(signal.SIGTERM)
    ended = running.end()
    assert ended.code == 143
    assert "SIGTERM; resume with: python -m pipeline.sweep" in ended.out
    no_traceback(ended)
    assert not workers_of(case.folder)
    assert case.states()["RUNNING"] == 0
    case.release("hold-1-2")
    assert case.run().code == 0
    check(case)
    assert epochs_begun(case)[1, 1] == 1, "a finished epoch was trained again"


def test_ctrl_c_once_finishes_the_epochs_in_flight(case: Case) -> None:
    for number in (0, 1):
        case.ask(f"hold-{number}-2")
    running = case.start()
    for number in (0, 1):
        case.wait_for(number, 2)
    running.signal(signal.SIGINT)
    wait_until(lambda: "Ctrl-C again" in running.out, "it to be heard")
    for number in (0, 1):
        case.release(f"hold-{number}-2")
    ended = running.end()
    assert ended.code == 130
    assert "interrupted: finishing the epochs in flight" in ended.out
    assert "resume with: python -m pipeline.sweep" in ended.out
    no_traceback(ended)
    assert not case.began(0, 3) and not case.began(1, 3), (
        "an epoch was begun after the interruption"
    )
    assert case.run().code == 0
    check(case)
    assert max(epochs_begun(case).values()) == 1, "an epoch in flight was not saved"


def test_ctrl_c_twice_ends_at_once(case: Case) -> None:
    for number in (0, 1):
        case.ask(f"hold-{number}-2")
    running = case.start()
    for number in (0, 1):
        case.wait_for(number, 2)
    running.signal(signal.SIGINT)
    wait_until(lambda: "Ctrl-C again" in running.out, "the first to be heard")
    running.signal(signal.SIGINT)
    ended = running.end()
    assert ended.code == 130
    no_traceback(ended)
    assert not workers_of(case.folder)
    for number in (0, 1):
        case.release(f"hold-{number}-2")
    assert case.run().code == 0
    check(case)
    assert epochs_begun(case)[0, 1] == epochs_begun(case)[1, 1] == 1
