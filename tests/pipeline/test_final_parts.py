"""Final models without a net trained: how their run ends, what is timed, and what is worth its
time.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cnn_core.errors import InputError
from pipeline import final
from pipeline.configuration import compose
from pipeline.configuration.termination import RunFailed
from pipeline.slots.slot import CallFailed
from pipeline.slots.stop_request import FAILED, INTERRUPTED


class Time:
    """What plans the time of final nets, and hears what came of it."""

    epochs, plan = 3.0, "3 epochs a net"

    def __init__(self) -> None:
        self.noted: list[str] = []

    def note(self, text: str, reason: str = "") -> None:
        self.noted.append(text)


def planned(root: Path, *words: str) -> Any:
    """A plan without members, of which nothing is begun."""
    config = compose([f"root={root}", "study.name=s", *words], final.FINAL)
    ends = SimpleNamespace(nets={}, members=1, clock=lambda minutes: f"a clock of {minutes:g}")
    return SimpleNamespace(config=config, notes=[], decided=[], members=[], ends=ends)


@pytest.mark.parametrize(
    ("request_", "code", "noted", "said"),
    [
        (None, 0, "the ensemble is there", "its summary"),
        (
            ("interrupted", INTERRUPTED),
            INTERRUPTED,
            "interrupted",
            "final: interrupted; resume with: python -m pipeline.final ",
        ),
        (("disk full", FAILED), None, "disk full", "final: disk full; once that is fixed, python "),
    ],
)
@pytest.mark.parametrize("timed", [False, True])
def test_how_a_run_ended_is_said_and_noted(
    request_: tuple[str, int] | None, code: int | None, noted: str, said: str, timed: bool,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    time = Time() if timed else None
    lines: list[str] = []

    def train(plan: Any, nets: Any, slots: Any, controls: Any, say: Any) -> Any:
        if request_ is not None:
            controls[0].request(*request_)
            return None
        return "an ensemble"

    monkeypatch.setattr(final, "train", train)
    monkeypatch.setattr(final, "timed", lambda *arguments: time)
    monkeypatch.setattr(final, "_worth_it", lambda *arguments, **more: True)
    monkeypatch.setattr(final, "summary_lines", lambda ensemble: ["its summary"])
    plan = planned(tmp_path)
    if code is None:
        with pytest.raises(RunFailed) as raised:
            final.build(plan, [], lines.append)
        lines.append(str(raised.value))
    else:
        assert final.build(plan, [], lines.append) == code
    assert lines[-1].startswith(said)
    assert time is None or time.noted == [noted]


@pytest.fixture
def one_missing(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """One net, which is not trained."""
    net = SimpleNamespace(key="net")
    monkeypatch.setattr(final, "in_order", lambda members: [net])
    monkeypatch.setattr(final, "net_jobs", lambda members, paths: [("its job", "its folder")])
    monkeypatch.setattr(final, "is_trained", lambda job, folder: False)
    return net


def test_nets_that_are_missing_are_timed_with_what_the_search_left(
    one_missing: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(config: Any, slots: Any, clock: Any, members: Any, nets: Any) -> Any:
        return slots, clock[0], nets

    monkeypatch.setattr(final, "measured", measured)
    found: Any = final.timed(planned(tmp_path, "final.minutes=4"), [], 30.0)
    assert found == ([], "a clock of 4.5", [one_missing]), "half a minute more"
    assert final.timed(planned(tmp_path), [], 30.0) is None, "there is no limit"
    monkeypatch.setattr(final, "is_trained", lambda job, folder: True)
    assert final.timed(planned(tmp_path, "final.minutes=4"), [], 30.0) is None, "none is missing"


def test_nets_that_cannot_be_timed_are_refused(
    one_missing: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(*arguments: Any) -> Any:
        raise CallFailed("MemoryError", "no room")

    monkeypatch.setattr(final, "measured", measured)
    with pytest.raises(InputError) as refused:
        final.timed(planned(tmp_path, "final.minutes=4"), [], 0.0)
    said = "final.minutes: needs a few batches to be timed, got MemoryError: no room"
    assert str(refused.value) == said


@pytest.mark.parametrize(
    ("best", "begun", "images", "worth"),
    [
        (False, {}, 10, True),  # there is no trial to compare with
        (True, {}, 10, False),  # 30 of 100 images: less than half
        (True, {}, 17, True),
        (True, {"net": 1}, 10, True),  # it was begun before
    ],
)
def test_new_nets_see_half_of_what_the_best_trial_s_saw(
    best: bool, begun: dict[str, int], images: int, worth: bool,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    plan, time, said = planned(tmp_path, "final.minutes=4"), Time(), list[str]()
    plan.members, plan.ends.nets = [SimpleNamespace(specs=["a member's"])], begun
    found = SimpleNamespace(number=7, history=[{}] * 5, overrides=[])

    def best_net(paths: Any, storage: Any) -> Any:
        if not best:
            raise InputError("no trial is complete")
        return found, None

    monkeypatch.setattr(final, "best_net", best_net)
    monkeypatch.setattr(final, "spec_in", lambda paths, overrides: "the trial's")
    monkeypatch.setattr(
        final, "images_an_epoch", lambda spec: images if spec == "a member's" else 20
    )
    fake: Any = time
    assert final._worth_it(plan, fake, said.append, swept=True) is worth
    if worth:
        assert said == ["final: 4 minutes: 3 epochs a net"] and time.noted == []
    else:
        assert "got 4 for 30 of them: the result is that net" in said[0]
        assert time.noted == ["no new nets, but that of trial 7"]
