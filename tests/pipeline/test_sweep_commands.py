"""Whole sweeps on a few digits: what they leave on disk, replay, fork, two objectives, a time
budget, overlap in time.
"""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.events import TrialStarted
from pipeline.journal import read_all
from pipeline.reporting.table import load_table
from pipeline.search.study_clock import WITHIN_S

REPOSITORY = Path(__file__).parents[2]
TINY = [
    "experiment=smoke",
    "tracking=none",
    "data.train_size=60",
    "data.valid_size=50",
    "slots.n=2",
]


def command(module: str, root: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        [sys.executable, "-m", f"pipeline.{module}", f"root={root}", *more],
        cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a finished study "smoke" of four trials, its journal in place of MLflow (read it
    only).
    """
    root = tmp_path_factory.mktemp("swept")
    done = command(
        "sweep", root, *TINY, "tracking=mlflow", "tracking.figures=false", "train.epochs=6"
    )
    assert done.returncode == 0, done.stderr
    return root


def test_a_sweep_leaves_named_files(swept: Path) -> None:
    folder = swept / "smoke"
    with (folder / "leaderboard.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"]
    values = [float(row["valid_accuracy"]) for row in rows]
    assert values == sorted(values, reverse=True)
    best = yaml.safe_load((folder / "best.yaml").read_text())
    assert best["trial"] == int(rows[0]["trial"]) and best["valid_accuracy"] == values[0]
    kept = [path.parent.name for path in folder.glob("trials/*/weights.npz")]
    assert kept == [rows[0]["trial"]], "weights of the best alone are kept"
    assert not list(folder.glob("trials/*/checkpoint*")), "a finished trial needs no checkpoint"
    for number in range(4):
        about = yaml.safe_load((folder / "trials" / str(number) / "overrides.yaml").read_text())
        assert about["number"] == number and about["seed"] == [0, number]
        with (folder / "trials" / str(number) / "history.csv").open() as file:
            assert len(list(csv.DictReader(file))) == 6


def test_two_trials_overlap_in_processes_of_their_own(swept: Path) -> None:
    events = [
        json.loads(line) for line in (swept / "smoke" / "events.jsonl").read_text().splitlines()
    ]
    spans: dict[int, tuple[float, float, int]] = {}
    for event in events:
        if event["event"] == "EpochDone":
            begin = event["time_s"] - event["metrics"]["epoch_s"]
            first, _, _ = spans.get(event["number"], (begin, 0.0, 0))
            spans[event["number"]] = (first, event["time_s"], event["worker_pid"])
    pids = {pid for _, _, pid in spans.values()}
    owner = json.loads((swept / "smoke" / "owner.json").read_text())["pid"]
    assert len(pids) == 2 and owner not in pids
    trials = list(spans.values())
    assert any(
        a[0] < b[1] and b[0] < a[1] and a[2] != b[2]
        for i, a in enumerate(trials)
        for b in trials[i + 1 :]
    )


def test_a_replay_is_the_same_to_the_bit_and_finds_what_was_altered(
    swept: Path, tmp_path: Path
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(swept, root)
    trial = root / "smoke" / "trials" / "1"
    same = command("replay", root, "study.name=smoke", "trial=1")
    assert same.returncode == 0, same.stdout + same.stderr
    assert "trial 1: 6 epochs are the same to the bit" in same.stdout
    history = trial / "history.csv"
    text = history.read_text()
    with history.open() as file:
        stored = list(csv.DictReader(file))[3]["train_loss"]
    history.write_text(text.replace(stored, repr(float(stored) * (1 + 1e-12)), 1))
    altered = command("replay", root, "study.name=smoke", "trial=1")
    assert altered.returncode == 1
    assert (
        "trial 1 epoch 4: DIFFERENT" in altered.stdout
        and "trial 1: 1 of 6 epochs differ" in altered.stdout
    )
    history.write_text(text)
    about = yaml.safe_load((trial / "overrides.yaml").read_text())
    (trial / "overrides.yaml").write_text(yaml.safe_dump({**about, "seed": [0, 99]}))
    assert "6 of 6 epochs differ" in command("replay", root, "study.name=smoke", "trial=1").stdout
    missing = command("replay", root, "study.name=smoke", "trial=77")
    assert missing.returncode == 2 and "got 77" in missing.stderr


def test_a_fork_takes_over_the_trials_that_fit(swept: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(swept, root)
    same = [*TINY, "train.epochs=6", "study.name=wider", "study.fork=smoke", "budget.trials=5"]
    wider = "space={model.filters:{int:[2,16]},model.dropout:{float:[0.0,0.6]},"
    wider += "model.init:{choice:[xavier,he]},optimizer:{group:[adam,momentum]}}"
    refused = command("sweep", root, *same, wider, "data.valid_fraction=0.3")
    assert "study.fork: 0 of 4 trials" in refused.stdout
    shutil.rmtree(root / "wider")
    lr = ",momentum.lr:{path:optimizer.lr,float:[1e-3,0.5],log:true,when:{optimizer:momentum}}"
    lr += ",adam.lr:{path:optimizer.lr,float:[1e-4,0.1],log:true,when:{optimizer:adam}}}"
    done = command("sweep", root, *same, wider[:-1] + lr)
    assert done.returncode == 0, done.stderr
    assert "study.fork: 4 of 4 trials of 'smoke' fit and are taken over; they count" in done.stdout
    assert len(list((root / "wider" / "trials").glob("*/history.csv"))) == 1, (
        "one trial was left to train"
    )


def test_a_deterministic_fork_still_tries_what_is_enqueued(swept: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(swept, root)
    known = load_table(root / "smoke", "smoke").trials[0]
    new = [
        "model.filters=7",
        "model.dropout=0.2",
        "model.init=he",
        "optimizer=adam",
        "optimizer.lr=0.0042",
    ]
    first = json.dumps([list(known.overrides), new])
    forked = [
        *TINY,
        "train.epochs=6",
        "study.name=exact",
        "study.fork=smoke",
        "study.deterministic=true",
        f"study.enqueue={first}",
    ]
    done = command("sweep", root, *forked, "budget.trials=6")
    assert done.returncode == 0, done.stderr
    trials = load_table(root / "exact", "exact").trials
    assert trials[4].suggested["adam.lr"] == 0.0042, (
        "the first that is trained; the other was taken over"
    )
    assert trials[5].suggested != trials[0].suggested


@pytest.mark.slow
def test_two_objectives_rank_the_pareto_front(tmp_path: Path) -> None:
    done = command(
        "sweep",
        tmp_path,
        *TINY,
        "sampler=nsga2",
        "study.objectives=[valid_accuracy,multiply_adds]",
        "budget.trials=5",
    )
    assert done.returncode == 0, done.stderr
    assert "Pareto front: trials" in done.stdout
    with (tmp_path / "smoke" / "leaderboard.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5 and all(float(row["multiply_adds"]) > 0 for row in rows)


@pytest.mark.slow
def test_minutes_alone_choose_epochs_and_are_kept(tmp_path: Path) -> None:
    done = command(
        "sweep", tmp_path, *TINY, "budget.trials=null", "budget.minutes=0.4", "train.epochs=20"
    )
    assert done.returncode == 0, done.stderr
    assert "0.4 minutes: " in done.stdout and "epochs a trial" in done.stdout
    assert json.loads((tmp_path / "smoke" / "clock.json").read_text())["used_s"] < 24 + WITHIN_S


@pytest.mark.slow
def test_real_nets_in_lockstep_give_the_same_bits_with_any_number_of_slots(tmp_path: Path) -> None:
    lockstep = [
        "experiment=smoke", "tracking=none", "study.deterministic=true", "budget.trials=16",
        "sampler.startup_trials=5", "train.epochs=4", "pruner=median", "pruner.startup_trials=4",
        "pruner.warmup_epochs=1", "augment=affine",
    ]  # fmt: skip
    boards = []
    for slots in (1, 2, 4):
        root = tmp_path / str(slots)
        done = command("sweep", root, *lockstep, f"slots.n={slots}")
        assert done.returncode == 0, done.stderr
        boards.append((root / "smoke" / "leaderboard.csv").read_text())
    assert boards[0] == boards[1] == boards[2]
    assert "PRUNED" in boards[0]


@pytest.mark.slow
def test_a_prior_is_seen_everywhere_and_needed_only_once(swept: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(swept, root)
    known = load_table(root / "smoke", "smoke").best
    assert known is not None
    warm = [*TINY, "tracking=mlflow", "tracking.figures=false", "data.train_size=50"]
    warm += ["study.name=warm", "study.prior=[smoke]", "budget.trials=6"]
    refused = command("sweep", root, *warm[:-2], "study.prior=[smoky]")
    assert refused.returncode == 2 and "study.prior: must name a study in" in refused.stderr
    assert not (root / "warm" / "study.db").exists()
    done = command("sweep", root, *warm)
    assert done.returncode == 0, done.stderr
    assert f"prior 'smoke': 2 configurations of 4 trials: t{known.number:03d}, " in done.stdout
    assert "study.prior: 2 configurations first, then 1 trial by what it knows" in done.stdout
    assert "the prior's 3 trials reached " in done.stdout
    assert "another hour would bring " in done.stdout
    trials = load_table(root / "warm", "warm").trials
    assert [bool(trial.prior) for trial in trials] == [True] * 3 + [False] * 3
    assert trials[0].prior == f"smoke t{known.number:03d}" and trials[2].prior == "informed"
    assert trials[0].suggested == known.suggested
    started = [event for event in read_all(root / "warm") if isinstance(event, TrialStarted)]
    assert {e.number: e.prior for e in started} == {t.number: t.prior for t in trials}
    report = command("report", root, "study.name=warm")
    page = (root / "warm" / "report.html").read_text()
    assert report.returncode == 0 and "The prior&#x27;s 3 trials reached" in page
    shutil.rmtree(root / "smoke")
    more = command("sweep", root, *warm[:-1], "budget.trials=7")
    assert more.returncode == 0, more.stderr
    without = command("sweep", root, *warm[:-2], "budget.trials=7")
    assert without.returncode == 2 and "study.prior" in without.stderr


@pytest.mark.slow
def test_a_sweep_ends_where_more_would_bring_nothing(tmp_path: Path) -> None:
    still = [*TINY, "budget.trials=60", "budget.gain=0.02", "sampler.startup_trials=2"]
    done = command("sweep", tmp_path, *still)
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.startswith("another tenth of the time would bring about ")
    assert "budget.gain=null budget.trials=" in last
    count = len(load_table(tmp_path / "smoke", "smoke").complete)
    assert 12 <= count < 60
    again = command("sweep", tmp_path, *still)
    assert again.returncode == 0 and "would bring about" in again.stdout.splitlines()[-1]
    assert len(load_table(tmp_path / "smoke", "smoke").complete) == count, "it stays ended"
