"""Past results in a CSV file as a prior: which columns are read as what, and what is refused."""

import csv
import os
from pathlib import Path

import pytest

from cnn_core.errors import InputError
from pipeline.configuration import SWEEP, Config, compose
from pipeline.search.past_results import read_past_results
from pipeline.search.prior import Prior, read_prior
from pipeline.search.space import Space
from tests.pipeline.test_prior import LINES, SPACE

HE = {"model.filters": 32, "model.init": "he", "optimizer": "adam", "adam.lr": 0.01}


def config(file: Path, *more: str) -> Config:
    words = [f"root={file.parent}", f"study.prior=[{file}]", "budget.trials=20", *more]
    return compose(words, command=SWEEP)


def table(folder: Path, text: str, name: str = "past.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def prior_of(folder: Path, text: str, *more: str) -> Prior:
    return read_prior(config(table(folder, text), *more), SPACE)


@pytest.mark.parametrize(
    "text",
    [
        "model.filters,model.init,optimizer,optimizer.lr,valid_accuracy\n32,he,adam,0.01,0.9\n",
        "objective,model_filters,model_init,optimizer,optimizer_lr\n0.9,32,he,adam,1e-2\n",
        "number,value,params_model.filters,params_model.init,params_optimizer,params_adam.lr,state\n"
        "0,0.9,32,he,adam,0.01,COMPLETE\n",
        "Run ID;Status;objective;params.model_filters;params.model_init;params.optimizer;"
        "params.optimizer_lr\nabc;FINISHED;0.9;32;he;adam;0.01\n",
        "rank,trial,state,valid_accuracy,epochs,overrides,reason\n"
        "1,3,COMPLETE,0.9,10,model.filters=32 model.init=he optimizer=adam optimizer.lr=0.01,\n",
        "\ufeffvalue\tmodel.filters\tmodel.init\toptimizer\tadam.lr\n\n0.9\t32\the\tadam\t0.01\n",
    ],
    ids=["paths", "mlflow", "optuna", "mlflow-export", "leaderboard", "tabs"],
)
def test_tables_of_all_programs_say_the_same(tmp_path: Path, text: str) -> None:
    prior = prior_of(tmp_path, text)
    assert [params for params, _ in prior.first] == [HE]
    assert [known for known, _ in prior.evidence] == [HE]


def test_the_best_come_first_and_failed_ones_not_at_all(tmp_path: Path) -> None:
    text = (
        "state,valid_accuracy,model.filters,speed\n"
        "COMPLETE,0.90,10,1\nCOMPLETE,0.95,20,1\nPRUNED,0.99,30,1\nFAIL,0.999,40,1\n"
        "COMPLETE,,50,1\nCOMPLETE,nan,60,1\nRUNNING,0.9,61,1\n"
    )
    file = table(tmp_path, text)
    past = read_past_results(file, config(file).study, SPACE)
    assert [(one.line, one.tried["model.filters"], one.whole) for one in past.results] == [
        (3, 20, True),
        (2, 10, True),
        (4, 30, False),
    ]
    assert past.left_out == ["speed"]
    prior = read_prior(config(file), SPACE)
    assert prior.first[0] == ({"model.filters": 20}, "past.csv line 3")
    assert {params["model.filters"] for params, _ in prior.first} == {10, 20}
    shares = {known["model.filters"]: share for known, share in prior.evidence}
    assert shares[20] > shares[10] > shares[30]
    assert "left out: speed (not searched here)" in prior.lines[0]
    assert "line 3" in prior.lines[0]


def test_where_less_is_better_the_least_comes_first(tmp_path: Path) -> None:
    more = ("study.objective=log_loss", "study.objectives=[valid_log_loss]")
    text = "valid_log_loss,model.filters\n0.3,10\n0.1,20\n0.2,30\n"
    prior = prior_of(tmp_path, text, *more)
    assert prior.first[0][0] == {"model.filters": 20}


def test_a_value_outside_the_range_is_tried_nearby_and_does_not_inform(tmp_path: Path) -> None:
    prior = prior_of(tmp_path, "value,model.filters,model.dropout\n0.9,500,0.3\n")
    assert prior.first[0][0] == {"model.filters": 64, "model.dropout": 0.3}
    assert prior.evidence[0][0] == {"model.dropout": 0.3}


def test_a_leaderboard_of_this_program_is_a_table(tmp_path: Path, made_study: Path) -> None:
    from pipeline.files import StudyPaths
    from pipeline.reporting.best_trials import ranked
    from pipeline.reporting.table import load_table
    from pipeline.search import leaderboard

    rows = ranked(load_table(made_study, made_study.name))
    (tmp_path / "out").mkdir()
    leaderboard.write(rows, ["valid_accuracy"], (), StudyPaths(tmp_path, "out"))
    file = tmp_path / "out" / "leaderboard.csv"
    with file.open(newline="") as lines:
        best = next(csv.DictReader(lines))
    past = read_past_results(file, config(file).study, SPACE)
    assert past.results[0].value == float(best["valid_accuracy"])
    assert len(past.results) == sum(row.state in ("COMPLETE", "PRUNED") for row in rows)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "got an empty one"),
        ("model.filters\n32\n", "must have a column valid_accuracy, objective or value"),
        ("value,filters\n0.9,32\n", "must have a column for a value that this study searches"),
        ("value,model.filters\n,32\n", "must have a row with a result in 'value', got none of 1"),
        ("value,state,model.filters\n0.9,PRUNED,32\n", "must have a row with a result"),
        ('value,model.filters\n0.9,"32\n', "must be a CSV file in UTF-8"),
    ],
)
def test_what_says_nothing_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as refused:
        prior_of(tmp_path, text)
    assert "past.csv" in str(refused.value)


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"file that can be read, got .*none.csv \(No such"):
        read_prior(config(tmp_path / "none.csv"), SPACE)
    (tmp_path / "z.csv").write_bytes(b"\xff\xfe\x00value")
    with pytest.raises(InputError, match="must be a CSV file in UTF-8"):
        read_prior(config(tmp_path / "z.csv"), SPACE)
    os.mkfifo(tmp_path / "pipe.csv")  # its bytes may never come
    with pytest.raises(InputError, match="must be a plain file"):
        read_prior(config(tmp_path / "pipe.csv"), SPACE)


def test_a_row_that_ends_before_its_state_is_of_a_whole_training(tmp_path: Path) -> None:
    text = "value,model.filters,state\n0.9,32\n0.8,16,FAIL\n"
    assert prior_of(tmp_path, text).first[0][0] == {"model.filters": 32}


def test_a_column_of_a_choice_with_numbers_and_truths(tmp_path: Path) -> None:
    space = Space.parse({**LINES, "model.frame_beside": {"choice": [True, False]}})
    file = table(tmp_path, "value,model.frame_beside,model.filters\n0.9,True,16.0\n")
    prior = read_prior(config(file), space)
    assert prior.first[0][0] == {"model.filters": 16, "model.frame_beside": True}
