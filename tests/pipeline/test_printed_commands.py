"""Every command that is printed does what was announced, run as printed in a shell."""

import html
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.configuration import again, compose, going_on
from pipeline.reporting.facts import Facts
from pipeline.reporting.next_steps import next_sweep
from pipeline.reporting.table import StudyTable, load_table
from pipeline.search.messages import next_step, ui_command
from pipeline.slots.stop_request import INTERRUPTED, Stop
from tests.pipeline.studies import study_started

REPOSITORY = Path(__file__).parents[2]
TINY = [
    "experiment=smoke",
    "data.train_size=60",
    "data.valid_size=50",
    "tracking.figures=false",
    "slots.n=2",
]


def shell(line: str, place: Path) -> "subprocess.CompletedProcess[str]":
    """Run a line as a user would who works in `place`."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PATH": path}
    return subprocess.run(
        line, shell=True, cwd=place, env=environment, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip


def sweep(place: Path, *more: str) -> str:
    """Run a sweep with an awkward root; return what it prints."""
    words = ["python", "-m", "pipeline.sweep", "root='the root, of $HOME'", *TINY, *more]
    done = shell(shlex.join(words), place)
    assert done.returncode == 0, done.stderr
    return done.stdout


def line_after(text: str, words: str) -> str:
    found = re.search(rf"{re.escape(words)}(.*?)(?:; to start another study.*)?$", text, re.M)
    assert found is not None, text
    return found[1]


def table_in(place: Path, name: str) -> StudyTable:
    return load_table(place / "the root, of $HOME" / name, name)


def result_of(place: Path, name: str) -> Mapping[str, object]:
    (file,) = (place / "the root, of $HOME" / name).glob("train/*/result.json")
    found: Mapping[str, object] = json.loads(file.read_text())
    return found


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Where a study of four trials was swept, and what that printed."""
    place = tmp_path_factory.mktemp("printed")
    return place, sweep(place, "study.name=a-1", "study.seed=5", "train.epochs=3")


@pytest.mark.slow
def test_the_best_trial_is_trained_alone_to_the_bit(swept: tuple[Path, str]) -> None:
    place, text = swept
    done = shell(line_after(text, "train it alone: "), place)
    assert done.returncode == 0, done.stderr
    best = table_in(place, "a-1").best
    assert best is not None
    assert result_of(place, "a-1")["objective"] == list(best.objective)


@pytest.mark.slow
def test_more_trials_are_more_than_there_are(swept: tuple[Path, str]) -> None:
    place, _ = swept
    own = ["study.name=a-1", "study.seed=5", "train.epochs=3"]
    text = sweep(place, *own, "budget.trials=2")  # of four
    line = line_after(text, "to add trials: ")
    assert "budget.trials=8" in line
    assert shell(line, place).returncode == 0
    assert len(table_in(place, "a-1").trials) == 8


@pytest.mark.slow
def test_a_grid_is_offered_to_its_end_and_no_further(tmp_path: Path) -> None:
    space = "space={model.filters:{int:[4,6]}}"
    text = sweep(tmp_path, "study.name=g", "sampler=grid", space, "budget.trials=2")
    line = line_after(text, "to add trials: ")
    assert "budget.trials=3" in line
    done = shell(line, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "to add trials" not in done.stdout and "its grid has no more" in done.stdout
    assert len(table_in(tmp_path, "g").trials) == 3


@pytest.mark.slow
def test_the_commands_of_the_report_and_of_show(swept: tuple[Path, str]) -> None:
    place, _ = swept
    root = shlex.quote("root='the root, of $HOME'")
    shown = shell(f"python -m pipeline.show {root} study.name=a-1", place)
    one = shell(line_after(shown.stdout, "one of them: "), place)
    assert one.returncode == 0 and " of a-1: " in one.stdout, one.stderr
    again = shell(line_after(one.stdout, "again: "), place)
    assert "are the same to the bit" in again.stdout, again.stderr
    made = shell(f"python -m pipeline.report {root} study.name=a-1", place)
    assert made.returncode == 0, made.stderr
    page = (place / "the root, of $HOME" / "a-1" / "report.html").read_text()
    page = page.replace("</code>", "\n")  # what follows a command is not a part of it
    lines = html.unescape(re.sub(r"<[^>]+>", "", page)).splitlines()
    printed = [line for line in lines if line.startswith("python -m pipeline.")]
    kinds = {line.split()[2] for line in printed}
    wanted = {"sweep", "train", "replay", "final", "report"}
    assert {f"pipeline.{name}" for name in wanted} <= kinds
    for line in printed:
        if line.split()[2] in ("pipeline.train", "pipeline.replay", "pipeline.report"):
            done = shell(line, place)
            assert done.returncode == 0, (line, done.stderr)


def test_the_next_sweep_is_on_the_same_data_with_the_same_fixed_values(tmp_path: Path) -> None:
    given = f"root='{tmp_path}/the root' data=mnist study.name=a-1 space=digits train.epochs=3"
    started = study_started(tmp_path / "the root" / "a-1")
    words = shlex.split(given)
    started = replace(started, tags={"command": shlex.join(["python", "-m", "x", *words])})
    table = StudyTable("a-1", started.folder, ("maximize",), [], started=started)
    line = shlex.split(next_sweep(Facts(table, {})))
    config = ["--config-dir", "my_conf", "space=next", "study.enqueue=[]", "study.name=a-1-2"]
    assert line[3:] == [words[0], "data=mnist", "train.epochs=3", *config]


def test_a_study_that_fits_sizes_to_the_data_is_resumed_by_what_the_user_typed(
    tmp_path: Path,
) -> None:
    from pipeline.search.fitting import with_sizes

    given = ["experiment=contest_quick", f"root={tmp_path}", "budget.minutes=5"]
    config = with_sizes(compose(given), ["train.batch_size=32", "model.filters=8"])
    assert config.train.batch_size == 32
    assert shlex.split(again(config, "budget.minutes=10"))[2:] == [
        "pipeline.sweep", "experiment=contest_quick", f"root={tmp_path}", "budget.minutes=10",
    ]  # fmt: skip


def test_a_contest_is_resumed_as_a_contest(tmp_path: Path) -> None:
    from pipeline.contest import COMMAND

    words = ["folder=my contest", f"root={tmp_path}"]
    given = ["folder='my contest'", f"root={tmp_path}"]
    config = compose(given, COMMAND)
    stop = Stop()
    stop.request("interrupted", INTERRUPTED)
    line = next_step(config, stop, "").partition("resume with: ")[2]
    assert shlex.split(line)[2:] == ["pipeline.contest", given[0], words[1]]


def test_what_follows_keeps_the_store_the_database_and_the_root(tmp_path: Path) -> None:
    root = tmp_path / "the root"
    given = [
        f"root='{root}'",
        "experiment=smoke",
        "tracking.uri=sqlite:////tmp/other.db",
        "study.storage=sqlite:////tmp/study.db",
        "slots.n=3",
    ]
    config = compose(["study.name=a-1", *given])
    export = shlex.split(going_on(config, "export", ("tracking", "slots", "blas")))
    assert export[2] == "pipeline.export"
    assert set(export[3:]) == {given[0], given[2], given[3], given[4], "study.name=a-1"}
    assert set(shlex.split(ui_command(config))[3:]) == {given[0], given[2]}
