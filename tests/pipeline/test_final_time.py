"""final.minutes while final nets train: kept to, with schedules that end, on a machine that becomes
slower or is quicker than measured; with a clock that is told.
"""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from cnn_core import checkpoint
from cnn_core.errors import InputError
from cnn_core.finishing import finished_weights
from cnn_core.spec import Spec
from cnn_core.training import fit
from pipeline import final
from pipeline.configuration import SWEEP, compose
from pipeline.ensemble import ends as ends_file
from pipeline.ensemble.duration import NetTime, fitting_share, longest_slot
from pipeline.ensemble.final_time import measured
from pipeline.ensemble.nets import FinalJobs, is_trained, net_jobs
from pipeline.ensemble.plan import in_order
from pipeline.ensemble.what_follows import Following
from pipeline.files import StudyPaths
from pipeline.records.time_plans import read_times
from pipeline.search.runner import Runner, Usage
from pipeline.search.trial import Context
from pipeline.slots.stop_request import Stop
from pipeline.whole_sweep import run_whole
from tests.pipeline.final_study import FINAL_ARGUMENTS
from tests.pipeline.played_time import Pace, PlayedClock, PlayedSlot, untimed

FOLLOWS_S = 30.0


def test_the_share_that_fits_by_hand() -> None:
    # Two nets of 100 s, then two of 20 s, two at once: 120 s in each slot.
    asked = [NetTime(100, 1.0), NetTime(100, 1.0), NetTime(20, 1.0), NetTime(20, 1.0)]
    assert fitting_share(asked, 2, 60.0) == pytest.approx(0.5)
    assert fitting_share(asked, 2, 500.0) == 1.0
    # What follows a net's last step takes as long as 10 steps, twice in each slot.
    finished = [replace(net, after=10) for net in asked]
    assert fitting_share(finished, 2, 60.0) == pytest.approx(40 / 120)
    assert fitting_share(asked, 2, 0.0) == pytest.approx(0.0, abs=1e-6)
    # One has done 60 of its steps, of 90 planned: a schedule that far is not stretched.
    late = NetTime(100, 1.0, done=60, planned=90)
    assert fitting_share([late], 1, 30.0) == 1.0
    assert fitting_share([late], 1, 20.0) == pytest.approx(0.8)
    assert fitting_share([late, NetTime(100, 1.0)], 1, 80.0) == pytest.approx(0.6, abs=0.15)


def test_slots_take_the_next_net_as_soon_as_they_are_free() -> None:
    assert longest_slot([30.0, 30.0, 20.0, 20.0, 20.0], 2) == 70.0


class Final:
    """Final training with a told clock: one member, two refits and two folds, in one slot."""

    def __init__(self, root: Path) -> None:
        self.root, self.paths = root, StudyPaths(root, "small")

    def planned(self, minutes: float, *more: str) -> final.FinalPlan:
        words = [
            *FINAL_ARGUMENTS, "final.members=1", "final.epochs=40", "final.fold_share=0.5",
            f"final.minutes={minutes}", "final.statistics_batches=0", *more, f"root={self.root}",
        ]  # fmt: skip
        return final.plan(compose(words, final.FINAL))

    def train(self, planned: final.FinalPlan, step_s: Pace, epochs: int = 0) -> PlayedClock:
        """Train what is missing, or a first run's so many epochs; return the clock."""
        self.paths.final.mkdir(parents=True, exist_ok=True)
        clock = planned.ends.clock(planned.config.final.minutes or 0.0)
        assert isinstance(clock, PlayedClock)
        slot, context, said = PlayedSlot(clock, step_s), Context(Stop()), list[str]()
        jobs = net_jobs(planned.decided, self.paths)
        pairs = zip(in_order(planned.members), jobs, strict=True)
        nets = [net for net, job in pairs if not is_trained(*job)]
        time = measured(planned.config, [slot], (clock, planned.ends), planned.members, nets)

        def say(line: str) -> None:
            said.append(line)
            if len(said) == epochs:
                context.stop.request("interrupted", 130)

        final_jobs = FinalJobs(context, net_jobs(planned.decided, self.paths), say, 10)
        final_jobs.time = time
        Runner(final_jobs, [slot], context, Usage(), self.paths.log).run()
        assert context.stop.exit_code == (130 if epochs else 0), context.stop.reason
        clock.save(now=True)
        return clock


@pytest.fixture
def run(final_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Final:
    shutil.copytree(final_root, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "small" / "final")
    monkeypatch.setattr(Following, "of", classmethod(lambda *_: Following(FOLLOWS_S)))
    monkeypatch.setattr(ends_file, "StudyClock", PlayedClock)
    return Final(tmp_path)


def rows_of(planned: final.FinalPlan) -> list[tuple[Spec, list[dict[str, float]]]]:
    jobs = net_jobs(planned.decided, planned.config.paths)
    assert all(is_trained(*job) for job in jobs)
    return [(job.spec, folder.history()) for job, folder in jobs]


def check_schedules(planned: final.FinalPlan) -> None:
    """All nets went down to the rate at which one_cycle ends."""
    for spec, rows in rows_of(planned):
        assert len(rows) == spec.train.epochs
        assert rows[-1]["lr"] <= 2e-4 * float(str(spec.optimizer["lr"])), spec.train


# An epoch of all but the reserved images has 25 steps of 50, one of half of them 13: 40 epochs of
# the two refits and 20 of the two folds' are 2520 steps.
def test_nets_have_the_epochs_that_fit_and_end_in_time(run: Final) -> None:
    planned = run.planned(10.0)
    clock = run.train(planned, lambda spec, used_s: 1.0)
    assert clock.used_s == pytest.approx(600 - FOLLOWS_S, abs=3)
    check_schedules(planned)


def test_with_time_for_all_epochs_nothing_is_changed(run: Final) -> None:
    planned = run.planned(60.0, "final.epochs=3")
    run.train(planned, lambda spec, used_s: 1.0)
    assert planned.decided == list(planned.members)


def test_a_machine_that_becomes_twice_as_slow_halfway(run: Final) -> None:
    planned = run.planned(10.0)
    clock = run.train(planned, lambda spec, used_s: 1.0 if used_s < 300 else 2.0)
    assert clock.used_s == pytest.approx(600 - 2 * FOLLOWS_S, abs=12), "what follows is slower too"
    check_schedules(planned)
    reasons = [entry.reason for entry in read_times(planned.config.paths) if entry.reason]
    assert any("a step takes 2000 ms" in reason for reason in reasons)


def test_a_machine_four_times_slower_than_measured(run: Final) -> None:
    planned = run.planned(10.0)
    probes = 1 + 3 * 8
    clock = run.train(planned, lambda spec, used_s: 1.0 if used_s < probes else 4.0)
    assert clock.used_s <= 600
    check_schedules(planned)


def test_a_machine_quicker_than_measured_trains_longer(run: Final) -> None:
    planned = run.planned(10.0)
    probes = 1 + 3 * 8
    clock = run.train(planned, lambda spec, used_s: 2.0 if used_s < 2 * probes else 1.0)
    assert clock.used_s == pytest.approx(600 - FOLLOWS_S, abs=12)
    check_schedules(planned)


def test_moved_nets_compose_and_train_again_to_the_bit(run: Final) -> None:
    planned = run.planned(6.0)
    run.train(planned, lambda spec, used_s: 1.0 if used_s < 100 else 2.0)
    (job, folder), *_ = net_jobs(planned.decided, planned.config.paths)
    assert len(job.spec.train.replanned) >= 4
    assert compose(job.overrides).train == job.spec.train
    assert folder.read().overrides[-2:] == job.overrides[-2:]
    state = fit(job.spec)
    assert untimed(state.history) == untimed(folder.history())
    kept, about = checkpoint.load_weights(folder.paths.weights)
    again = finished_weights(job.spec, state, 10)
    assert about["spec"] == job.spec.digest()
    for name, value in again.params.items():
        assert (kept.params[name] == value).all()


def test_a_restart_goes_on_with_what_was_decided(run: Final) -> None:
    first = run.planned(10.0)
    run.train(first, lambda spec, used_s: 1.0, epochs=7)
    decided = dict(first.ends.nets)
    second = run.planned(10.0)
    assert second.ends.nets == decided and len(decided) == 1
    clock = run.train(second, lambda spec, used_s: 1.0)
    assert clock.used_s == pytest.approx(600 - FOLLOWS_S, abs=5), "the first run's time counts"
    check_schedules(second)


def test_a_restart_on_a_slower_machine_keeps_what_is_trained(run: Final) -> None:
    first = run.planned(10.0)
    run.train(first, lambda spec, used_s: 1.0, epochs=7)
    (begun,) = first.ends.nets
    run.train(run.planned(10.0), lambda spec, used_s: 1.5)
    jobs = net_jobs(run.planned(10.0).decided, run.paths)
    (folder,) = [f for _, f in jobs if str(f.paths.folder).endswith(begun)]
    seconds = [row["epoch_s"] for row in folder.history()]
    assert seconds[:7] == [25.0] * 7, "of the first run"
    assert seconds[7:-1] == [37.5] * (len(seconds) - 8)


def test_members_without_time_are_left_out(run: Final) -> None:
    planned = run.planned(2.0, "final.members=2")
    run.train(planned, lambda spec, used_s: 0.5)
    assert len(planned.members) == 2 and len(planned.decided) == 1
    (entry,) = [e for e in read_times(planned.config.paths) if "left out" in e.text]
    assert planned.members[1].name in entry.text


def test_minutes_that_what_follows_needs_alone_are_said_to_be_too_few(run: Final) -> None:
    enough, few = "epochs for the first", "there is no time: nets get a tenth of an epoch"
    run.train(run.planned(10.0), lambda spec, used_s: 1.0, epochs=1)
    run.train(run.planned(0.2), lambda spec, used_s: 1.0)
    said = [entry.text for entry in read_times(run.paths) if enough in entry.text]
    assert [few in text for text in said] == [False, True]


def test_another_plan_decides_anew(run: Final) -> None:
    run.train(run.planned(10.0), lambda spec, used_s: 1.0, epochs=7)
    assert run.planned(10.0).ends.nets and run.planned(10.0).ends.kept
    for other in ("final.refit=1", "final.minutes=11.0", "final.overrides=['model.filters=5']"):
        planned = run.planned(10.0, other)
        assert not planned.ends.nets, other
        assert planned.ends.clock(10.0).used_s == 0.0, "nor does the other's time count"


def test_mlflow_is_waited_for_until_evaluation_and_export_have_to_begin(
    run: Final, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Following, "of", classmethod(lambda *_: Following(FOLLOWS_S, 20.0)))
    planned = run.planned(10.0)
    run.paths.final.mkdir(parents=True)
    clock = planned.ends.clock(10.0)
    assert isinstance(clock, PlayedClock)
    slot = PlayedSlot(clock, lambda spec, used_s: 1.0)
    nets = in_order(planned.members)
    time = measured(planned.config, [slot], (clock, planned.ends), planned.members, nets)
    clock.now = 570.0
    assert time.closing_s() == pytest.approx(600 + 0.8 * 12 - 570 - 20)
    clock.now = 605.0
    assert time.closing_s() == 1.0


def played_minutes(run: Final, minutes: float, monkeypatch: pytest.MonkeyPatch) -> final.FinalPlan:
    """A plan of so few minutes, in a root whose best trial kept its weights."""
    planned = run.planned(minutes)
    time = SimpleNamespace(epochs=0.1, plan="planned", note=lambda *_: None)
    monkeypatch.setattr(final, "timed", lambda *_: time)
    return planned


def test_minutes_too_few_for_a_net_leave_a_sweep_its_best_trial(
    run: Final, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    planned = played_minutes(run, 1.0, monkeypatch)
    assert final.build(planned, [], said.append, swept=True) == 0
    assert re.search(r"final\.minutes: must let a net see 50% .*trial \d+ was trained", said[-1])
    assert said[-1].endswith("the result is the ensemble of before")
    shutil.rmtree(run.paths.ensemble)
    assert final.build(planned, [], said.append, swept=True) == 0
    assert said[-1].endswith("the result is that net")
    assert not run.paths.ensemble.exists()


def test_minutes_too_few_for_a_net_are_refused_by_final_alone(
    run: Final, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"final\.minutes: must let a net see 50% .*, got 1 for"):
        final.build(played_minutes(run, 1.0, monkeypatch), [], print)


def test_minutes_that_hold_nothing_are_refused_before_the_first_trial(tmp_path: Path) -> None:
    words = ["experiment=smoke", f"root={tmp_path}", "tracking=none", "final.after_sweep=true"]
    with pytest.raises(
        InputError, match=r"final\.minutes: .*evaluation and export.* 0\.09 minutes"
    ):
        run_whole(compose([*words, "final.minutes=0.08"], SWEEP))
    assert not (tmp_path / "smoke" / "trials").exists()


def test_minutes_that_hold_no_choice_are_refused_before_the_first_net(run: Final) -> None:
    with pytest.raises(InputError, match=r"final\.minutes: .*alone takes 0\.05 minutes"):
        run.planned(0.05)
    assert not run.paths.final.exists()
