"""The report page: whole, self-contained, readable by machines, small; made from studies of every
kind.
"""

import html.parser
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest

from pipeline.configuration import compose
from pipeline.files import StudyPaths
from pipeline.predictions.scoring import Scored, write_scored
from pipeline.records.time_plans import TimePlanned, note_time
from pipeline.report import COMMAND, main
from pipeline.reporting.facts import gather, reasons
from pipeline.reporting.page import page
from pipeline.reporting.table import load_table
from pipeline.search.open_study import read_study
from tests.pipeline.studies import make_study

VOID = {"meta", "link", "img", "br", "input", "hr"}


class Checker(html.parser.HTMLParser):
    """Notes ids, links, addresses, headings and whether tags are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.loaded: list[str] = []
        self.headings: list[str] = []
        self.unnamed: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if "id" in values:
            self.ids.append(str(values["id"]))
        if tag == "a":
            self.targets.append(str(values["href"]))
        self.loaded += [str(values[key]) for key in ("src", "href") if key in values and tag != "a"]
        if tag in ("h1", "h2", "h3"):
            self.headings.append(tag)
        if tag == "img" and not values.get("alt"):
            self.unnamed.append(tag)
        if tag == "svg" and not values.get("aria-labelledby"):
            self.unnamed.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def checked(text: str) -> Checker:
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert len(checker.ids) == len(set(checker.ids))
    assert all(target[1:] in checker.ids for target in checker.targets), (
        "every link leads somewhere"
    )
    assert all(address.startswith("data:") for address in checker.loaded), (
        "nothing is loaded from elsewhere"
    )
    assert checker.unnamed == [], "every picture has words"
    assert checker.headings[0] == "h1"
    assert checker.headings.count("h1") == 1
    return checker


def report_of(folder: Path) -> str:
    paths = StudyPaths(folder.parent, folder.name)
    return page(gather(read_study(paths), paths), "test 1.0")


def test_the_page_is_whole_self_contained_and_small(made_study: Path) -> None:
    text = report_of(made_study)
    checked(text)
    assert len(text.encode()) < 3_000_000
    for heading in (
        "In short",
        "how sure that is",
        "What was searched",
        "What mattered",
        "What was stopped",
        "Cost against accuracy",
        "Borders",
        "How to repeat it",
        "All trials",
    ):
        assert heading in text
    assert "he over xavier: +0." in text
    assert "diverged: train_loss is nan: " in text
    assert "after epoch 2 of 4: " in text
    assert '<html lang="en">' in text
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_figures_in_the_page_are_the_study_s(made_study: Path) -> None:
    table = load_table(made_study, made_study.name)
    text = report_of(made_study)
    best = max(table.complete, key=lambda trial: trial.value)
    assert f"{best.value * 100:.2f} %" in text
    assert f"Trial {best.number} is best" in text
    assert len(re.findall(r'<th scope="row" class="number"', text)) == len(table.trials)


def test_names_and_notes_cannot_inject_markup(tmp_path: Path) -> None:
    from dataclasses import replace

    from pipeline.journal import EventLog
    from tests.pipeline.studies import study_started

    folder = tmp_path / "made"
    log = EventLog(folder)
    make_study(folder, 12)
    log.handle(
        replace(
            study_started(folder),
            note="<script>alert(1)</script>",
            tags={"command": "x <b>", "code": '"><i>'},
        )
    )
    log.close()
    text = report_of(folder)
    checked(text)
    assert "<script>alert" not in text
    assert "<i>" not in text


@pytest.mark.parametrize("trials", [1, 2, 3, 12, 13])
def test_small_studies_have_a_page_too(tmp_path: Path, trials: int) -> None:
    folder = tmp_path / "small"
    make_study(folder, trials)
    checked(report_of(folder))


def test_a_study_without_a_complete_trial_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    study = optuna.create_study(
        study_name="empty", storage=f"sqlite:///{folder / 'study.db'}", direction="maximize"
    )
    trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
    study.tell(trial, state=optuna.trial.TrialState.FAIL)
    text = report_of(folder)
    checked(text)
    assert "No trial is complete" in text


def test_plans_of_time_and_their_reasons_are_told(tmp_path: Path) -> None:
    make_study(tmp_path / "made", 6)
    paths = StudyPaths(tmp_path, "made")
    assert "The time, planned and used" not in report_of(paths.folder)
    first = TimePlanned(stage="search", minutes=2.0, used_s=3.0, text="2 slots, about 7 trials")
    note_time(paths, first)
    note_time(paths, replace(first, used_s=61.0, text="about 4 trials", reason="an epoch <slow>"))
    text = report_of(paths.folder)
    checked(text)
    assert "The time, planned and used" in text and "0:03 of 2:00" in text
    assert "1:01 of 2:00" in text and "an epoch &lt;slow&gt;" in text
    assert "61 s used: about 4 trials (an epoch <slow>)" in paths.log.read_text()
    paths.time.write_text("[{}]")
    assert "The time, planned and used" not in report_of(paths.folder), "a damaged file"


def test_two_objectives(tmp_path: Path) -> None:
    folder = tmp_path / "two"
    make_study(folder, 30, objectives=2)
    checked(report_of(folder))


def test_without_a_journal_the_database_alone_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    make_study(folder, 30)
    (folder / "events.jsonl").unlink()
    text = report_of(folder)
    checked(text)
    assert "What mattered" in text


def test_confirmed_trials_and_the_ensemble_are_told_when_there(tmp_path: Path) -> None:
    folder = tmp_path / "final"
    make_study(folder, 30)
    gain = {
        "gain": 0.002,
        "low": 0.001,
        "high": 0.003,
        "errors_best": 10,
        "errors_ensemble": 8,
        "errors_removed": 0.2,
    }
    ensemble = {
        "chosen_on": "proxy", "ordinary": 0.75, "images": 1437,
        "combine": {"method": "uniform", "weights": [1.0], "temperature": 1.0}, "views": [],
        "members": [{
            "name": "m0", "overrides": ["model.filters=8"], "clean_accuracy": 0.97,
            "proxy_accuracy": 0.84, "refits": ["ab"], "temperature": 1, "model": {}, "specs": [],
        }],
        "out_of_fold": {
            name: {
                "accuracy": 0.99, "log_loss": 0.1, "best_member": 0, "best_member_accuracy": 0.9,
                "gain": gain,
            }
            for name in ("clean", "proxy")
        },
        "expected": {},
    }  # fmt: skip
    (folder / "ensemble").mkdir()
    (folder / "ensemble" / "ensemble.json").write_text(json.dumps(ensemble))
    probabilities = np.eye(10, dtype=np.float32)[[0, 1, 2, 4]]  # the last of four is wrong
    images = np.zeros((4, 1, 8, 8), np.uint8)
    write_scored(
        folder / "evaluation",
        Scored(
            "test",
            images,
            np.array([0, 1, 2, 3]),
            probabilities[None],
            probabilities,
            tuple("0123456789"),
        ),
    )
    text = report_of(folder)
    checked(text)
    assert '<th scope="row">test split</th><td>4</td><td>75.00%</td>' in text
    assert "1 members joined by uniform" in text
    assert (
        "chosen out of fold on 1,437 proxy images (25%) and the same images undisturbed (75%)"
        in text
    )
    assert "<td>97.000%</td><td>84.000%</td>" in text
    assert (
        "+0.200 points over its best member (95 % interval +0.100 to +0.300); 20% of that member"
        in text
    )
    assert "the nets that predict were trained on all images but the reserved" in text


def test_what_fresh_seeds_found_is_told_and_chooses_the_winner(tmp_path: Path) -> None:
    folder = tmp_path / "sure"
    make_study(folder, 30)
    first, second = load_table(folder, "sure").best_first[:2]
    rows = [
        f"1,{second.number},0.98,0.981,0.0004,3,0.9803,x",
        f"2,{first.number},0.99,{first.value - 0.002},0.0006,3,0.97,x",
    ]
    (folder / "confirmed.csv").write_text(
        "\n".join(["rank,trial,search,mean,std,seeds,lower_95,values", *rows]) + "\n"
    )
    text = report_of(folder)
    checked(text)
    assert f"Trial {second.number} is best" in text
    assert "Run again with 3 fresh seeds it reached 98.10 % on average" in text
    assert f"trial {first.number}, was +0.2 points against its mean over fresh seeds" in text


def test_reasons_are_counted_together_whatever_their_epoch(made_study: Path) -> None:
    found = reasons(load_table(made_study, made_study.name))
    (failed,) = found["FAIL"]
    assert failed[0] == "diverged: train_loss is nan"
    assert failed[1] == 6


def test_the_command_writes_the_file_and_names_it(
    made_study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = compose([f"root={made_study.parent}", f"study.name={made_study.name}"], COMMAND)
    assert main(config) == 0
    assert (made_study / "report.html").read_text().startswith("<!doctype html>")
    assert str(made_study / "report.html") in capsys.readouterr().out
