"""One net alone, in a slot that computes here: how its run is told and ends, and how it compares
when a trial is trained again.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cnn_core.errors import InputError
from pipeline.configuration import Config, compose
from pipeline.configuration.termination import RunFailed
from pipeline.data import prepare
from pipeline.replay import REPLAY
from pipeline.search import retrain, train_one
from pipeline.search.problem import Problem
from pipeline.search.retrain import replay
from pipeline.search.space import Space
from pipeline.slots.slot import CallFailed
from pipeline.slots.stop_request import Stop
from tests.pipeline.here_slot import HereSlot
from tests.pipeline.test_promoted_sweeps import quick, root, search, template

__all__ = ["quick", "root", "template"]  # fixtures
NET = ("tracking=none", "data.train_size=40", "data.valid_size=40", "train.epochs=2")
STUDY = ("budget.trials=1", "train.epochs=2", "sampler=random")


class Slots:
    """What opens the slots of a run: one that computes here, or fails."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    @contextlib.contextmanager
    def __call__(self, *arguments: Any, **more: Any) -> Iterator[list[HereSlot]]:
        slot = HereSlot(Stop())
        if self.error is not None:
            slot.call = self._fail  # type: ignore[method-assign]
        yield [slot]

    def _fail(self, function: Callable[..., Any], *values: Any, deadline_s: Any = None) -> Any:
        assert self.error is not None
        raise self.error


@pytest.fixture
def slots(quick: Path, monkeypatch: pytest.MonkeyPatch) -> Slots:
    found = Slots()
    for module in (train_one, retrain):
        monkeypatch.setattr(module, "open_slots", found)
    return found


def train(root: Path, *words: str, quiet: bool = True) -> tuple[int, list[str]]:
    """Train one net; return the exit code and what was said."""
    config = compose([*NET, f"root={root}", "study.name=s", *words], quiet=quiet)
    said: list[str] = []
    return train_one.run(config, prepare(config.data, root), 0, said.append), said


def place_of(root: Path) -> Path:
    (place,) = (root / "s" / "train").iterdir()
    return place


@pytest.mark.parametrize("quiet", [True, False])
def test_a_net_alone_shows_its_layers_unless_it_is_to_be_quiet(
    quiet: bool, root: Path, slots: Slots
) -> None:
    code, said = train(root, quiet=quiet)
    assert code == 0
    assert any("conv1" in line for line in said) is not quiet
    assert said[-2].startswith("COMPLETE: objective 0.") and " after 2 epochs, " in said[-2]
    assert said[-1].startswith(f"in {place_of(root)}: ")


def test_sizes_that_follow_from_the_data_are_said(
    root: Path, slots: Slots, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "sizes by the data: train.batch_size=16"
    monkeypatch.setattr(train_one, "fitted", lambda config, data: (config, [line]))
    assert train(root)[1][0] == line


def test_a_net_whose_epoch_fails_leaves_no_curves(root: Path, slots: Slots) -> None:
    slots.error = CallFailed("MemoryError", "no room")
    code, said = train(root)
    assert code == 1 and said[0].startswith("FAIL: MemoryError: no room in epoch 1 after 0 epochs")
    assert not (place_of(root) / "learning_curves.svg").exists()


def test_a_net_whose_run_fails_can_be_gone_on_with(root: Path, slots: Slots) -> None:
    slots.error = OSError(28, "No space left on device")
    with pytest.raises(RunFailed, match="No space left on device; once that is fixed, the same"):
        train(root)
    slots.error = None
    assert train(root)[0] == 0


def test_a_net_interrupted_before_its_first_epoch_says_so(
    root: Path, slots: Slots, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Asked(Stop):
        def __init__(self) -> None:
            super().__init__()
            self.request("interrupted", 130)

    monkeypatch.setattr(train_one, "Stop", Asked)
    assert train(root) == (130, ["INTERRUPTED: interrupted"])


def test_a_study_without_a_complete_trial_has_none_to_train_again(root: Path, slots: Slots) -> None:
    search(root, *STUDY, epochs=1)  # of two
    with pytest.raises(InputError) as refused:
        replay(asked(root, None))
    said = "trial: must be given for a study without a complete trial, got null ('s')"
    assert str(refused.value) == said


def asked(root: Path, trial: int | None) -> Config:
    words = [f"root={root}", "study.name=s"]
    return compose(words if trial is None else [*words, f"trial={trial}"], REPLAY)


@pytest.mark.parametrize("trial", [None, 0])
def test_the_best_trial_is_trained_again_where_none_is_named(
    trial: int | None, root: Path, slots: Slots, capsys: pytest.CaptureFixture[str]
) -> None:
    session = search(root, *STUDY)
    machine = HereSlot(Stop()).machine().fingerprint()
    session.study.set_user_attr("machine", machine)
    assert replay(asked(root, trial)) == 0
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "trial 0 epoch 1: same",
        "trial 0 epoch 2: same",
        "trial 0: 2 epochs are the same to the bit",
    ]


def test_on_another_machine_metrics_are_compared_to_a_tolerance(
    root: Path, slots: Slots, capsys: pytest.CaptureFixture[str]
) -> None:
    session = search(root, *STUDY)
    machine = HereSlot(Stop()).machine().fingerprint()
    key = next(iter(machine))
    session.study.set_user_attr("machine", {**machine, key: "another"})
    config = asked(root, 0)
    assert replay(config) == 0
    out = capsys.readouterr().out
    tolerance = f"{config.arguments.tolerance:g}"
    said = f"{key} was another, is {machine[key]}: metrics are compared to {tolerance}, not to the"
    assert said in out and f"trial 0: 2 epochs are the same to {tolerance}" in out


def test_a_trial_that_cannot_be_trained_again_says_why(
    root: Path, slots: Slots, capsys: pytest.CaptureFixture[str]
) -> None:
    search(root, *STUDY)
    slots.error = CallFailed("MemoryError", "no room")
    assert replay(asked(root, 0)) == 1
    assert "trial 0: MemoryError: no room in epoch 1\n" in capsys.readouterr().out


def test_a_sweep_needs_images_to_validate_on(root: Path) -> None:
    config = compose([*NET, "data.valid_size=null", "data.valid_fraction=0.0001", f"root={root}"])
    with pytest.raises(InputError) as refused:
        Problem(config, Space(()), prepare(config.data, root)).check()
    assert str(refused.value) == (
        "data.valid_fraction: a sweep ranks by validation images, got none with 0.0001"
    )
