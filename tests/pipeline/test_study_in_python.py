"""The Python interface: what the commands do, in a process that stays as it was."""

import csv
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import optuna
import pandas as pd
import pytest
from hydra.core.global_hydra import GlobalHydra
from optuna.trial import TrialState

from cnn_core.errors import InputError
from pipeline import predict
from pipeline import sweep as sweep_command
from pipeline.configuration import SWEEP, command_line
from pipeline.configuration.termination import RunFailed, Terminated
from pipeline.files import StudyPaths
from pipeline.search import run_sweep
from pipeline.search.storage_errors import StorageFailed
from pipeline.slots.owner_lock import OwnerLock
from pipeline.study import Study, compose, open_study, sweep
from pipeline.trial_folder import TrialFolder

REPOSITORY = Path(__file__).parents[2]
TINY: dict[str, Any] = {
    "tracking": "none",
    "slots": {"n": 2},
    "data": {"train_size": 60, "valid_size": 50},
    "budget": {"trials": 3},
}


def state_of_the_process() -> dict[str, Any]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return {
        "cwd": Path.cwd(),
        "environment": dict(os.environ),
        "signals": [signal.getsignal(number) for number in numbers],
        "warnings": list(warnings.filters),
        "levels": [logging.getLogger(name).level for name in ("", "optuna", "mlflow", "alembic")],
        "streams": (sys.stdout, sys.stderr),
        "threads": {each.name for each in threading.enumerate() if "slot" in each.name},
        "hydra": GlobalHydra.instance().hydra,
    }


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A finished study "smoke" of three trials (look at it only)."""
    return sweep("experiment=smoke", root=tmp_path_factory.mktemp("python"), **TINY)


@pytest.fixture
def copied(swept: Study, tmp_path: Path) -> Study:
    """The same study in a root of its own."""
    shutil.copytree(swept.config.root, tmp_path, dirs_exist_ok=True)
    return Study(compose("experiment=smoke", root=tmp_path, **TINY))


def test_its_figures_are_the_command_s_to_the_bit(swept: Study, tmp_path: Path) -> None:
    words = [
        *("experiment=smoke", "tracking=none", "slots.n=2", "data.train_size=60"),
        *("data.valid_size=50", "budget.trials=3", f"root={tmp_path}", "-q"),
    ]
    # one slot at a time asks in the same order; the first ten trials are drawn by number alone
    assert command_line(SWEEP, words, sweep_command.main) == 0
    ours = swept.trials.set_index("number")
    with (tmp_path / "smoke" / "leaderboard.csv").open() as file:
        rows = {int(row["trial"]): row for row in csv.DictReader(file)}
    assert sorted(rows) == [0, 1, 2]
    for number, row in rows.items():
        assert repr(float(ours.loc[number, "valid_accuracy"])) == row["valid_accuracy"]
        assert row["state"] == ours.loc[number, "state"]
    best = swept.best
    assert best is not None
    paths = StudyPaths(tmp_path, "smoke").trial(best.number)
    theirs = pd.DataFrame(TrialFolder(paths).history(), index=best.history.index)
    for metric in ("train_loss", "valid_loss", "valid_accuracy"):
        assert list(best.history[metric]) == list(theirs[metric])


def test_trials_are_a_table_with_a_column_a_searched_path(swept: Study) -> None:
    trials = swept.trials
    assert list(trials.columns[:5]) == ["number", "state", "valid_accuracy", "epochs", "seconds"]
    assert list(trials.number) == [0, 1, 2] and set(trials.state) == {"COMPLETE"}
    assert list(trials.epochs) == [2, 2, 2] and (trials.seconds > 0).all()
    assert set(trials.columns[5:]) == {
        *("model.filters", "model.dropout", "model.init", "optimizer", "optimizer.lr"),
    }
    stored = TrialFolder(swept.config.paths.trial(1)).read()
    row = trials.set_index("number").loc[1]
    assert f"model.filters={row['model.filters']}" in stored.overrides
    assert f"optimizer={row['optimizer']}" in stored.overrides
    # a row's values can be given again as they are
    again = compose("experiment=smoke", **{"model.filters": row["model.filters"]})
    assert again.model.filters == row["model.filters"]


def test_the_best_is_the_leaderboard_s_first(swept: Study) -> None:
    best = swept.best
    assert best is not None
    with swept.config.paths.leaderboard.open() as file:
        first = next(csv.DictReader(file))
    assert (best.number, repr(best.value)) == (int(first["trial"]), first["valid_accuracy"])
    assert best.overrides == TrialFolder(swept.config.paths.trial(best.number)).read().overrides
    assert compose(*best.overrides).model.filters == best.params["model.filters"]
    assert list(best.history.index) == [1, 2]


def test_the_optuna_study_is_for_reading(swept: Study) -> None:
    study = swept.optuna
    assert len(study.trials) == 3
    for change in (
        lambda: study.set_user_attr("a", 1),
        study.ask,
        lambda: study.enqueue_trial({"model.filters": 4}),
        lambda: study.add_trial(study.trials[0]),
    ):
        with pytest.raises(InputError, match="this is a view for reading, got "):
            change()
    assert len(swept.optuna.trials) == 3


def test_a_resumed_study_goes_on_and_an_opened_one_must_be_told_how(
    copied: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    before = copied.trials
    more = copied.resume("budget.trials=5", slots={"n": 1})  # the preset's own are 4
    assert more.state == "complete"
    assert list(more.trials.number) == [0, 1, 2, 3, 4]
    assert list(more.trials.valid_accuracy[:3]) == list(before.valid_accuracy)
    assert "2 trials to go" in capsys.readouterr().out
    opened = open_study("smoke", root=copied.config.root)
    assert list(opened.trials.number) == [0, 1, 2, 3, 4]
    with pytest.raises(InputError, match="opened by its name alone"):
        opened.resume()


def test_what_a_command_refuses_is_an_exception_with_its_sentence(
    swept: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line(SWEEP, ["budget.trial=3", f"root={tmp_path}"], sweep_command.main) == 2
    said = capsys.readouterr().err.removeprefix("error: ").strip()
    with pytest.raises(InputError, match=r'did you mean "budget.trials"\?') as refused:
        sweep("budget.trial=3", root=tmp_path)
    assert said.startswith(str(refused.value))
    with pytest.raises(InputError, match=r"there are: smoke\)"):
        open_study("other", root=swept.config.root)
    with pytest.raises(InputError, match="config_dir: must be a folder"):
        sweep(config_dir=tmp_path / "none")


def test_keywords_take_python_s_values(tmp_path: Path) -> None:
    config = compose(
        "experiment=smoke",
        root=tmp_path / "a b = c",
        study={"name": "a.b", "note": "it's a, b"},
        model={"filters": np.int64(7)},
        space={"model.dropout": {"float": [0.0, 0.5]}, "model.init": {"choice": ["he", "xavier"]}},
    )
    assert config.root == tmp_path / "a b = c"
    assert (config.study.name, config.study.note) == ("a.b", "it's a, b")
    assert config.model.filters == 7
    assert config.space["model.dropout"] == {"float": [0.0, 0.5]}
    assert config.space["model.init"] == {"choice": ["he", "xavier"]}
    noted = compose(study={"note": "größe"}, space={"model.filters": {"int": np.array([4, 8])}})
    assert noted.study.note == "größe"
    assert noted.space["model.filters"] == {"int": [4, 8]}


def test_what_is_no_override_is_refused_in_words() -> None:
    for given, values, says in (
        ((3,), {}, "must be a text such as 'budget.trials=8', got 3"),
        ((["budget.trials=8"],), {}, "must be a text such as 'budget.trials=8', got "),
        ((), {"model": {"filters": {3}}}, "a value must be a number, a text, .* of type set"),
        ((), {"space": {"model.filters": range(3)}}, "a value must be .* of type range"),
        ((), {"study": {"name": "größe"}}, "100 letters of ASCII, .* got 'größe'"),
    ):
        with pytest.raises(InputError, match=says):
            compose(*given, **values)  # type: ignore[arg-type]


def test_files_of_one_s_own_are_read_anew(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    file = tmp_path / "experiment" / "mine.yaml"
    for epochs in (3, 4):
        file.write_text(f"# @package _global_\ntrain:\n  epochs: {epochs}\n")
        assert compose("experiment=mine", config_dir=tmp_path).train.epochs == epochs


def test_a_notebook_shows_it_escaped_and_alone(copied: Study) -> None:
    shown = copied._repr_html_()
    assert "study smoke: complete, 3 trials (3 complete)" in shown
    assert shown.count("<tr>") == 4 and "data:image/svg+xml;base64," in shown
    assert "<style" not in shown and "<script" not in shown, "it reaches the notebook's own page"
    odd = copied.config.root / "<b>"
    shutil.copytree(copied.folder, odd / "smoke")
    shown = open_study("smoke", root=odd)._repr_html_()
    assert "<b>" not in shown and "&lt;b&gt;" in shown


def test_the_report_is_a_path_and_a_page(copied: Study) -> None:
    report = copied.report()
    assert report.path == copied.config.paths.report
    page = Path(report).read_text(encoding="utf-8")  # a path for whatever takes one
    frame = report._repr_html_()
    assert frame.startswith("<iframe srcdoc=") and "<script" not in frame
    assert len(frame) > len(page)


def test_the_process_is_as_it_was_and_hydra_s_user_too(
    copied: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", os.environ.get("OPENBLAS_CORETYPE", "Haswell"))
    monkeypatch.setattr(logging.getLogger("optuna"), "level", logging.WARNING)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "a.yaml").write_text("x: 1\n")
    with hydra.initialize_config_dir(str(tmp_path / "theirs"), version_base="1.2"):
        assert len(copied.trials) == 3  # opening a database sets a level of Optuna's own
        before = state_of_the_process()
        copied.resume("budget.trials=4")
        assert len(copied.trials) == 4 and copied.report().path.exists()
        assert state_of_the_process() == before
        assert hydra.compose("a").x == 1


def test_a_study_that_is_swept_elsewhere_can_be_looked_at_alone(copied: Study) -> None:
    lock = OwnerLock(copied.config.paths.owner)
    lock.acquire()
    try:
        assert copied.state == "running" and len(copied.trials) == 3
        with pytest.raises(InputError, match="one sweep at a time may own a study"):
            copied.resume("budget.trials=4")
    finally:
        lock.release()
    assert copied.state == "complete"


def test_a_trial_runs_where_its_sweep_does_and_is_interrupted_else(copied: Study) -> None:
    storage = f"sqlite:///{copied.config.paths.study_db}"
    study = optuna.load_study(study_name="smoke", storage=storage)
    for _ in range(2):
        trial = study.ask()
        trial.suggest_int("model.filters", 4, 8)
    study._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)  # asked again later
    assert list(copied.trials.state[3:]) == ["INTERRUPTED", "INTERRUPTED"]
    lock = OwnerLock(copied.config.paths.owner)
    lock.acquire()
    try:
        assert list(copied.trials.state[3:]) == ["RUNNING", "INTERRUPTED"]
    finally:
        lock.release()


def test_a_sweep_that_cannot_go_on_says_why(copied: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise StorageFailed("the study's database: disk I/O error")

    monkeypatch.setattr(run_sweep, "open_session", failing)
    with pytest.raises(RunFailed, match="disk I/O error; once that is fixed, the same command"):
        copied.resume("budget.trials=4")


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """SIGTERM as the process's own handler hears it."""
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    yield heard
    signal.signal(signal.SIGTERM, before)


def test_sigterm_goes_to_the_process_once_the_study_is_whole(
    copied: Study, answered: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.study.run_whole", lambda config: 128 + signal.SIGTERM)
    copied.resume()
    assert answered == [signal.SIGTERM]
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nobody handles it: the process ends
    with pytest.raises(Terminated):
        copied.resume()


KERNEL = """
import asyncio, io, os, signal, sys, threading, time
from pathlib import Path

class Stream(io.TextIOBase):  # as a kernel's: no descriptor, no terminal
    def __init__(self, number): self.number = number
    def writable(self): return True
    def write(self, text): return os.write(self.number, text.encode()) and len(text)

async def cells():
    sys.stdout, sys.stderr = Stream(1), Stream(2)
    from pipeline.study import sweep
    root, before = Path.cwd() / "out", signal.getsignal(signal.SIGINT)
    words = dict(root=root, tracking="none", slots={"n": 2}, budget={"trials": 2})
    def interrupt():
        while not list(root.glob("smoke/trials/*/history.csv")): time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=interrupt).start()
    study = sweep("experiment=smoke", train={"epochs": 60}, data={"train_size": 60}, **words)
    print("PAUSED", study.state, len(study.trials), set(study.trials.state), study.best)
    print("HTML", "study smoke: paused" in study._repr_html_())
    study = study.resume()
    print("RESUMED", study.state, list(study.trials.epochs))
    print("SIGNAL", signal.getsignal(signal.SIGINT) == before)

asyncio.run(cells())
"""


def script(text: str, folder: Path) -> str:
    """Run a script without a guard of its main module in `folder`; return what it prints."""
    (folder / "script.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=folder,
        # a kernel forces colours, so that what asks for a terminal by them would find one
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "FORCE_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_ctrl_c_in_a_kernel_pauses(tmp_path: Path) -> None:
    printed = script(KERNEL, tmp_path)
    assert "\x1b[" not in printed
    assert "interrupted: finishing the epochs in flight" in printed
    assert "PAUSED paused 2 {'INTERRUPTED'} None" in printed
    assert "HTML True" in printed
    assert "RESUMED complete [60, 60]" in printed
    assert "SIGNAL True" in printed


def test_another_thread_may_sweep(
    copied: Study,
) -> None:
    found: list[Study] = []
    assert len(copied.trials) == 3  # a study's database, opened, sets a level of Optuna's own
    before = state_of_the_process()
    thread = threading.Thread(target=lambda: found.append(copied.resume("budget.trials=4")))
    thread.start()
    thread.join()
    assert found[0].state == "complete" and len(found[0].trials) == 4
    assert state_of_the_process() == before


def readme() -> str:
    """Return the lines of README's section "From Python"."""
    section = (REPOSITORY / "README.md").read_text().partition("\n## From Python\n")[2]
    found = re.search(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.slow
def test_readme_s_lines_work_and_predict_as_the_command_does(tmp_path: Path) -> None:
    lines = readme().replace('"experiment=smoke", ', '"experiment=smoke", "tracking=none", ')
    assert lines.count("\n") <= 14
    after = (
        "from sklearn.datasets import load_digits; import numpy as np\n"
        "np.save('proba.npy', model.predict_proba(load_digits().images[:60], 16))\n"
        "np.save('pictures.npy', load_digits().images[:60].astype(np.uint8))\n"
        "print('DONE', len(study.trials), study.state)\n"
    )
    assert "DONE 10 complete" in script(lines + after, tmp_path)
    bundle = tmp_path / "outputs" / "smoke" / "bundle"
    words = [
        *(f"bundle={bundle}", f"input={tmp_path / 'pictures.npy'}", "full_scale=16"),
        *(
            f"output={tmp_path / 'command.npy'}",
            "format=probabilities",
            f"root={tmp_path}",
            "slots.n=1",
        ),
    ]
    assert command_line(predict.COMMAND, words, predict.main) == 0
    assert np.array_equal(np.load(tmp_path / "proba.npy"), np.load(tmp_path / "command.npy"))
