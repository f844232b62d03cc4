"""What final models are made of where something is missing: a trial's folder, a complete trial, any
trial.
"""

import re
import shlex
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import final, sweep
from pipeline.bundle import load_bundle
from pipeline.configuration import SWEEP, command_line, compose
from pipeline.ensemble.assemble import best_net
from pipeline.ensemble.candidates import StoredStudy, candidates, finished_trials
from pipeline.files import StudyPaths
from pipeline.search import run_sweep
from pipeline.search.confirm import Confirmed, forget, write_confirmed
from pipeline.search.study_clock import StudyClock
from pipeline.trial_folder import TrialFolder
from tests.pipeline.final_study import SWEEP_ARGUMENTS


@pytest.fixture
def paths(final_root: Path, tmp_path: Path) -> StudyPaths:
    """A study of two complete trials, free to be damaged."""
    root = tmp_path / "root"
    shutil.copytree(final_root / "prepared", root / "prepared")
    shutil.copytree(
        final_root / "small", root / "small", ignore=shutil.ignore_patterns("final", "ensemble")
    )
    return StudyPaths(root, "small")


def planned(paths: StudyPaths, *more: str) -> final.FinalPlan:
    words = ["study.name=small", "final.members=2", "final.folds=2", "final.epochs=1"]
    return final.plan(compose([*words, *more, f"root={paths.root}"], final.FINAL))


def change(paths: StudyPaths, *statements: str) -> None:
    with sqlite3.connect(paths.study_db) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def test_a_trial_is_rebuilt_from_the_study_letter_by_letter(paths: StudyPaths) -> None:
    for number in (0, 1):
        stored, rebuilt = (
            TrialFolder(paths.trial(number)).read(),
            StoredStudy(paths).rebuilt(number),
        )
        assert rebuilt is not None
        assert rebuilt.overrides == stored.overrides
        assert (rebuilt.seed, rebuilt.value) == (stored.seed, stored.value)


def lose(paths: StudyPaths, number: int) -> None:
    shutil.rmtree(paths.trial(number).folder)


def damage(paths: StudyPaths, number: int) -> None:
    paths.trial(number).overrides.write_text("overrides: [")


@pytest.mark.parametrize("harm", [lose, damage])
@pytest.mark.parametrize("numbers", [[0], [1], [0, 1]])
def test_a_lost_folder_changes_no_member(
    paths: StudyPaths, harm: Callable[[StudyPaths, int], None], numbers: list[int]
) -> None:
    before = planned(paths)
    for number in numbers:
        harm(paths, number)
    after = planned(paths)
    assert after.members == before.members and not before.notes
    assert len(after.notes) == len(numbers)
    assert all("is rebuilt from the study: a trial's overrides must" in n for n in after.notes)


def test_what_cannot_be_rebuilt_is_left_out_with_a_line(paths: StudyPaths) -> None:
    first, second = finished_trials(paths)
    lose(paths, first.number)
    paths.study_db.unlink()
    found = planned(paths)
    assert {member.name.partition("-")[2] for member in found.members} == {f"t{second.number:03d}"}
    assert [note.partition(":")[0] for note in found.notes] == [f"trial {first.number} is left out"]


@pytest.mark.parametrize(
    ("state", "word"), [("WAITING", "paused"), ("RUNNING", "interrupted"), ("PRUNED", "pruned")]
)
def test_without_a_complete_trial_the_best_of_the_others_stand_in(
    paths: StudyPaths, state: str, word: str
) -> None:
    best, other = finished_trials(paths)
    epochs = len(best.history)
    paths.leaderboard.unlink()
    change(paths, f"update trials set state='{state}'", "delete from trial_values")
    found = candidates(compose(["study.name=small", f"root={paths.root}"], final.FINAL))
    assert {trial.number for trial in found.trials} == {best.number, other.number}
    values = [trial.history[-1]["valid_accuracy"] for trial in found.trials]
    assert values == sorted(values, reverse=True) and values[0] == found.trials[0].value
    (note,) = found.notes
    assert f"trial {found.trials[0].number}, {word} after {epochs} epochs" in note
    assert len(planned(paths).members) == 2


def test_complete_trials_count_without_a_leaderboard(paths: StudyPaths) -> None:
    """A killed sweep has written none."""
    before = planned(paths)
    paths.leaderboard.unlink()
    assert planned(paths) == before


def reverse(paths: StudyPaths) -> list[int]:
    """Leave a leaderboard of before, in which the best trial is not yet the first; return the
    trials as the study ranks them.
    """
    ranked = [trial.number for trial in finished_trials(paths)]
    header, *rows = paths.leaderboard.read_text().splitlines()
    paths.leaderboard.write_text("\n".join([header, *reversed(rows)]) + "\n")
    return ranked


def test_the_study_ranks_its_trials_not_what_an_earlier_run_wrote(paths: StudyPaths) -> None:
    """A killed sweep has told of trials that the leaderboard of the run before does not know."""
    before, ranked = planned(paths), reverse(paths)
    assert [trial.number for trial in finished_trials(paths)] == ranked
    assert planned(paths) == before
    assert best_net(paths)[0].number == ranked[0]


def test_a_confirmed_order_counts_while_the_confirmation_does(paths: StudyPaths) -> None:
    best, other = [trial.number for trial in finished_trials(paths)]
    write_confirmed([Confirmed(other, 0.5, (0.5, 0.5, 0.5)), Confirmed(best, 0.6, ())], paths)
    assert [trial.number for trial in finished_trials(paths)] == [other, best]
    reverse(paths)
    assert forget(paths)
    assert [trial.number for trial in finished_trials(paths)] == [best, other]


def test_a_study_on_a_server_ranks_its_trials_itself(paths: StudyPaths, tmp_path: Path) -> None:
    ranked, moved = reverse(paths), tmp_path / "elsewhere.db"
    paths.study_db.rename(moved)
    assert [trial.number for trial in finished_trials(paths)] == ranked[::-1], "no study to ask"
    assert [trial.number for trial in finished_trials(paths, f"sqlite:///{moved}")] == ranked


def test_where_less_is_better_the_least_comes_first(paths: StudyPaths) -> None:
    paths.leaderboard.unlink()
    upwards = [trial.number for trial in finished_trials(paths)]
    change(paths, "UPDATE study_directions SET direction = 'MINIMIZE'")
    assert [trial.number for trial in finished_trials(paths)] == upwards[::-1]


def test_without_any_trial_the_enqueued_configuration_stands_in(paths: StudyPaths) -> None:
    paths.leaderboard.unlink()
    shutil.rmtree(paths.trials)
    change(paths, "update trials set state='FAIL'", "delete from trial_values")
    own = planned(
        paths, "study.enqueue=[['model.filters=7']]", "final.fixed=[['model.dropout=0.25']]"
    )
    nets = [member.specs[0].model for member in own.members]
    assert [net.filters for net in nets] == [7, 7, 7]
    assert [net.dropout for net in nets][2] == 0.25
    assert own.members[0].specs[0].augment["shift"], "the study was run with augment=shift"
    assert "the enqueued configuration stands in" in own.notes[0]
    bare = planned(paths, "study.enqueue=[]")
    assert "its own values stand in" in bare.notes[0] and len(bare.members) == 2


def test_interrupted_trials_that_a_smaller_budget_leaves_are_told_and_taken_up_again(
    paths: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    change(
        paths,
        "update trials set state='WAITING' where number=0",
        "delete from trial_values where trial_id in (select trial_id from trials where number=0)",
    )
    words = [*SWEEP_ARGUMENTS, f"root={paths.root}"]
    assert command_line(SWEEP, [*words, "budget.trials=1"], sweep.main) == 0
    said = capsys.readouterr().out
    assert "all its trials, beside 1 interrupted, which a larger budget.trials goes on with" in said
    (line,) = re.findall("to add trials: (.*); to start", said)
    assert "budget.trials=2" in line
    assert command_line(SWEEP, shlex.split(line)[3:], sweep.main) == 0
    assert "beside 1 interrupted" not in capsys.readouterr().out
    assert len(finished_trials(paths)) == 2


def test_a_sweep_without_time_for_a_trial_still_ends_in_a_bundle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that became so slow that no plan held: none would have let this one begin."""
    monkeypatch.setattr(run_sweep, "calibrated", lambda config, *rest, fixed: (config, None))
    after_an_epoch = property(lambda clock: 0.0 if list(tmp_path.rglob("checkpoint.npz")) else 60.0)
    monkeypatch.setattr(StudyClock, "left_s", after_an_epoch)
    words = [
        "experiment=smoke", "study.name=short", f"root={tmp_path}", "tracking=none", "slots.n=1",
        "budget.trials=3", "budget.minutes=9", "train.epochs=5000", "pruner=none",
        "final.after_sweep=true", "final.members=1", "final.folds=2", "final.epochs=1",
    ]  # fmt: skip
    assert command_line(SWEEP, words, sweep.main) == 0
    said = capsys.readouterr().out
    assert "final: no trial is complete: trial 0, paused after" in said
    assert load_bundle(tmp_path / "short" / "bundle").nets
