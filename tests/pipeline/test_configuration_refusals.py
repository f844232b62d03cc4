"""What a user gives wrong: exit code 2, one line on stderr that names the rule and the nearest key,
before anything is done.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.configuration import SWEEP, Config, command_line

# (override or overrides, what the line must say)
BAD = [
    ("lrr=1", 'lrr: is not a key of the configuration; did you mean "optimizer.lr"?'),
    (
        "+lrr=1",
        "must not begin with + or ~, keys are neither added nor deleted, got '+lrr=1'; did you "
        'mean "optimizer.lr"?',
    ),
    ("+model.filters=3", "must not begin with + or ~"),
    ("++model.filters=3", "must not begin with + or ~"),
    ("~optimizer", "must not begin with + or ~"),
    (
        "data.file=x.csv",
        "data.file: is not a key of data=digits, but of data=csv, npz or text (override "
        "data.file=x.csv)",
    ),
    (
        "optimizer.momentum=0.5",
        "optimizer.momentum: is not a key of optimizer=adam, but of optimizer=momentum, "
        "muon or nesterov",
    ),
    ("optimizer.lrr=1", 'did you mean "optimizer.lr"?'),
    ("optimizer.lr=abc", "optimizer.lr: must be a number, got 'abc'"),
    ("optimizer.lr=", "optimizer.lr: must be a number, got ''"),
    ("optimizer.lr=null", "optimizer.lr: must be a number, got None"),
    ("optimizer.lr=true", "optimizer.lr: must be a number, got True"),
    ("optimizer.lr=-1", "optimizer.lr: must be greater than 0, got -1.0"),
    ("optimizer.lr=nan", "optimizer.lr: must be finite, got nan"),
    ("optimizer.lr=inf", "optimizer.lr: must be finite, got inf"),
    ("optimizer.lr=[1]", "optimizer.lr: must be a number"),
    ("model=null", "model: must be one of contest, "),
    ("model=contets", 'did you mean "contest"?'),
    ("optimizer=3", "optimizer: must be one of"),
    ("optimizer={lr:1}", "optimizer: is a group of files, choose one by name"),
    ("optimizer.name=sgd", "optimizer.name: is set by choosing the group, as optimizer=NAME"),
    ("optimizer@x=adam", "a group goes to its own place"),
    (
        "optimizer=adam,sgd",
        "must be one value, got 'optimizer=adam,sgd'; what to search is said by space=",
    ),
    ("model.filters=range(1,4)", "must be one value"),
    ("slots.n=0", "slots.n: must be at least 1, got 0"),
    ("slots.n=1.5", "slots.n: must be a whole number or null, got 1.5"),
    (
        "slots=dask",
        "slots.address: must be given with slots=dask, as slots.address=tls://host:8786, got null",
    ),
    ("model.dropout=1", "model.dropout: must be at least 0 and less than 1, got 1.0"),
    ("model.dropout=-0.1", "model.dropout: must be at least 0 and less than 1, got -0.1"),
    ("model.hidden=[0]", "model.hidden: must be at least 1, got 0"),
    ("model.hidden=[a]", "model.hidden: must be a list"),
    (
        "model.activation=rely",
        "must be one of relu, leaky_relu, sigmoid, tanh, got 'rely'; did you mean \"relu\"?",
    ),
    ("train.epochs=0", "train.epochs: must be at least 1, got 0"),
    ("train.epochs=2.5", "train.epochs: must be a whole number, got 2.5"),
    ("train.epoch=2", 'did you mean "train.epochs"?'),
    ("data.valid_fraction=1", "data.valid_fraction: must be at least 0 and less than 1, got 1.0"),
    ("data.valid_fraction=0", "data.valid_fraction: must be greater than 0, got 0.0"),
    ("study.deterministic=7", "study.deterministic: must be true or false, got 7"),
    ("study.name=../x", "study.name: must be up to 100 letters"),
    ("study.name=", "study.name: must be up to 100 letters"),
    ("study.seed=-1", "study.seed: must be at least 0, got -1"),
    ("study=5", "study: must be a mapping, got 5; set its keys as study.KEY=VALUE"),
    (
        "study.objectives=[speed]",
        "study.objectives: must be one of valid_accuracy, valid_log_loss, valid_macro_f1",
    ),
    (
        "study.objectives=[multiply_adds]",
        "study.objectives: must begin with valid_<study.objective> and name each once, got "
        "['multiply_adds']",
    ),
    ("study.objectives=[valid_accuracy,multiply_adds]", "pruner: must be none with two objectives"),
    (
        "study.objectives=[valid_accuracy,multiply_adds] pruner=none sampler=cmaes",
        "sampler: must be auto, nsga2, tpe, random or grid with two objectives, got cmaes",
    ),
    ("study.deterministic=true budget.minutes=3", "study.deterministic: excludes budget.minutes"),
    ("budget.minutes=0", "budget.minutes: must be greater than 0, got 0.0"),
    ("root=", "root: must be a folder, got ''"),
    ("schedule=cosine schedule.final=2", "schedule.final: must be from 0 to 1, got 2"),
    ("augment.rotate=500", "augment.rotate: must be from 0 to 180, got 500.0"),
    ("tracking.uri=${oc.env:NO_SUCH_VARIABLE_HERE}", "interpolations must resolve"),
    ("data.train_size=${oc.env:HOME}", "data.train_size: must be given as it is"),
    ("study.note=a_${oc.env:HOME,b}", "for tracking.uri, study.storage, slots.address alone"),
    ("study={note:'${oc.env:HOME}'}", "study.note: must be given as it is"),
    ("study.enqueue=[['model.filters=${oc.decode:${oc.env:HOME}}']]", "study.enqueue: must be"),
    (r"study.note='\\\\${oc.env:HOME}'", "study.note: must be given as it is"),
    ("study.note='${${study.name}.env:HOME}'", "study.note: must be given as it is"),
    ("space={model.filters:{choice:['${oc.env:HOME}']}}", "must be given as it is"),
    ("study.note=${nowhere.at.all}", "interpolations must resolve"),
    ("space.model.filters={int:[1,2]}", "keys of the space hold dots"),
    ("space=5", "space: must be one of"),
    ("model.hidden.x=3", "model.hidden.x: must not be a part of a list, which is set whole"),
    ("model.hidden.x.y=3", "model.hidden.x.y: must not be a part of a list"),
    ("model.hidden.9=3", "model.hidden.9: must be a value that fits"),
    ("hydra.run.dir=x", "hydra.run.dir: is not a key of the configuration"),
    ("hydra/launcher=basic", "hydra/launcher: is not a key of the configuration"),
    ("just-a-word", "must be KEY=VALUE in Hydra's grammar, got 'just-a-word'"),
    ("a=t,,", "must be KEY=VALUE in Hydra's grammar"),
    ("x._target_=os.getcwd", "a configuration never names code to run"),
    ("model._target_=os.getcwd", "a configuration never names code to run"),
    (
        "space={model.filters:{_target_:os.getcwd,int:[1,2]}}",
        "a configuration never names code to run",
    ),
    ("-m", "-m: is not how this project sweeps"),
    ("--multirun", "space="),
    ("--hlep", 'is not a flag of this command; did you mean "--help"?'),
    ("--cfg all", "--cfg: must be job, got 'all'"),
    ("--config-dir /no/such/folder", "must be a folder"),
]


def never(config: Config) -> int:
    raise AssertionError("the command must not begin")


@pytest.mark.parametrize(("words", "says"), BAD, ids=[words for words, _ in BAD])
def test_refused_in_one_line(words: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line(SWEEP, words.split(), never) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err


@pytest.mark.parametrize("place", ["model", "train", "space", "experiment"])
def test_target_in_a_file_of_ones_own_is_refused_unread(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proof = tmp_path / "ran"
    (tmp_path / place).mkdir()
    (tmp_path / place / "evil.yaml").write_text(
        f"_target_: pathlib.Path.touch\nname: contest\n_args_: ['{proof}']\n"
    )
    assert command_line(SWEEP, [f"--config-dir={tmp_path}", f"{place}=evil"], never) == 2
    assert "a configuration never names code to run" in capsys.readouterr().err
    assert not proof.exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "name: contest\nfiltres: 3\n",
            (
                'model.filtres: is not a key of the configuration; did you mean "model.filters"? '
                "({folder}/model/mine.yaml)"
            ),
        ),
        (
            "name: contest\nfilters: many\n",
            "model.filters: must be a whole number, got 'many' ({folder}/model/mine.yaml)",
        ),
        ("name: [contest\n", "configuration: must compose"),
        ("- 1\n", "model: must be a mapping, got [1] ({folder}/model/mine.yaml)"),
    ],
)
def test_faults_in_a_file_of_ones_own_name_it(
    text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text(text)
    assert command_line(SWEEP, ["-cd", str(tmp_path), "model=mine"], never) == 2
    err = capsys.readouterr().err
    assert says.replace("{folder}", str(tmp_path)) in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("section", "name", "says"),
    [
        ("optimizer", "lion", "optimizer.name: must be one of sgd, momentum, nesterov, "),
        ("optimizer", "adan", "got 'adan'; did you mean \"adam\"?"),
        ("schedule", "warm", "schedule.name: must be one of constant, "),
        ("sampler", "bohb", "sampler.name: must be one of tpe, random, grid, cmaes, gp, nsga2, "),
        ("pruner", "asha", "pruner.name: must be one of none, median, "),
        ("data", "cifar", "data.name: must be one of digits, mnist, "),
    ],
)
def test_an_unknown_name_in_a_file_of_ones_own_names_it_and_lists_the_names(
    section: str, name: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / section).mkdir()
    (tmp_path / section / "mine.yaml").write_text(f"name: {name}\n")
    assert command_line(SWEEP, ["-cd", str(tmp_path), f"{section}=mine"], never) == 2
    err = capsys.readouterr().err
    assert says in err and f"got {name!r}" in err
    assert f"({tmp_path}/{section}/mine.yaml)" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("given", "command"),
    [
        ("mine/space/narrow.yaml", "--config-dir mine space=narrow"),
        ("./space/narrow.yaml", "--config-dir . space=narrow"),
        ("narrow.yaml", "with it in DIR/space/narrow.yaml and --config-dir DIR space=narrow"),
        ("mine/narrow", "with it in DIR/space/narrow.yaml and --config-dir DIR space=narrow"),
    ],
)
def test_a_file_in_place_of_a_choice_is_told_how_it_is_chosen(
    given: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line(SWEEP, [f"space={given}"], never) == 2
    assert command in capsys.readouterr().err


@pytest.mark.parametrize(
    "value",
    ["a=b", "größe", "a,b.csv", "日本/train.csv", "it's, fine", 'say "hi", then', "50% = half",
     "cost: $5, or `x`", "x:{y}", "(1)=2"],
)  # fmt: skip
def test_a_value_that_needs_quotes_is_shown_with_them(
    value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The form that is printed is read as a shell would, and gives the value back."""
    if command_line(SWEEP, [f"study.note={value}"], lambda config: 0) == 0:
        return  # taken as it is
    err = capsys.readouterr().err
    shown = err.rstrip("\n").partition("as one text it is written in quotes: ")[2]
    (word,) = subprocess.run(
        ["bash", "-c", f'printf "%s\\n" {shown}'], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    seen: list[str] = []
    assert command_line(SWEEP, [word], lambda config: seen.append(config.study.note) or 0) == 0
    assert seen == [value]


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("study.enqueue=[[model.filters=7]]", "in a list, quotes make a text of what holds ="),
        ("optimizer=adam,sgd", "what to search is said by space="),
        ("model.filters=8,16", "what to search is said by space="),
    ],
)
def test_quotes_are_shown_only_where_they_help(
    word: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line(SWEEP, [word], never) == 2
    err = capsys.readouterr().err
    assert says in err and "as one text" not in err


def test_credentials_do_not_reach_the_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line(SWEEP, ["trackin.uri='http://me:hunter2@host/?token=abc'"], never) == 2
    err = capsys.readouterr().err
    assert 'did you mean "tracking.uri"?' in err
    assert "hunter2" not in err
    assert "abc" not in err


@pytest.mark.parametrize(
    "words", [["lrr=1"], ["model=null"], ["space={}"], ["data=mnist", "data.root=/no/such/folder"]]
)
def test_real_process_refuses_before_the_first_trial(words: list[str], tmp_path: Path) -> None:
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pipeline.sweep", f"root={tmp_path}", *words]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=300, check=False
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*/trials/*"))


def test_unwritable_root_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "pipeline.sweep", f"root={tmp_path / 'file'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert "root: must be a folder that can be written to" in done.stderr
