"""What benchmarks write into docs/PERFORMANCE.md: a section replaces its own, parts that did not
run stay.
"""

import os
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import document, results, sweep
from benchmarks.sweep_parts import PARTS
from pipeline import journal
from tests.pipeline.studies import START_S, study_started

STUDY = [{"trials": 10_000, "trial_ms": 150.0, "sampler_ms": 140.0, "epoch_ms": 0.5}]
SLOTS = [{"slots": 64, "epoch_ms": 8.25, "outside_training": 0.031, "over_ideal": 1.2}]
OPENED = [
    {"time": f"{hour}:00", "study": "hard_digits", "model": "m", "data": "mnist"}
    for hour in ("09", "08")
]


@pytest.fixture
def docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in (document, sweep):
        monkeypatch.setattr(module, "DOCS", tmp_path)
    monkeypatch.setattr(document, "PAGE", tmp_path / "PERFORMANCE.md")
    monkeypatch.setattr(sweep, "KEPT", tmp_path / "sweep.json")
    return tmp_path


def finish(docs: Path, measured: dict[str, Any], *words: str) -> str:
    parser = ArgumentParser()
    document.add_outputs(parser)
    options = parser.parse_args(["--write"])
    document.finish(
        "benchmarks.sweep",
        options,
        words,
        measured,
        "The sweep",
        lambda command: sweep.section(command, measured),
    )
    return (docs / "PERFORMANCE.md").read_text()


def test_a_part_that_did_not_run_keeps_its_table_and_its_command(docs: Path) -> None:
    finish(docs, {"study": STUDY, "slots": SLOTS}, "--sizes", "10000")
    page = finish(docs, {"slots": [{**SLOTS[0], "epoch_ms": 7.5}]}, "--parts", "slots", "--write")
    assert "| 10,000 | 150.0 | 140.0 | 0.50 |" in page
    assert "`python -m benchmarks.sweep --sizes 10000`" in page
    assert "| 64 | 7.50 | 3.1% | 1.20 |" in page
    assert "8.25" not in page
    assert "`python -m benchmarks.sweep --parts slots`" in page
    assert page.count("## The sweep") == 1
    assert (docs / "sweep.png").stat().st_size > 1000


def test_a_section_replaces_its_own_and_leaves_its_neighbours(docs: Path) -> None:
    document.write_section("a", "A", "one")
    document.write_section("b", "B", "two")
    document.write_section("a", "A", "three")
    page = (docs / "PERFORMANCE.md").read_text()
    assert page.startswith(document.PREAMBLE)
    assert "one" not in page.partition("begin a")[2]
    assert page.index("three") < page.index("two")


@pytest.mark.parametrize(
    "given",
    [
        ["--nets", "contest", "--write"],
        ["--json", "/somewhere/rows.json", "--nets", "contest"],
        ["--json=rows.json", "--nets", "contest"],
    ],
)
def test_the_command_shown_is_the_measurement_alone(given: list[str]) -> None:
    assert (
        document.command_of("benchmarks.training", given)
        == "python -m benchmarks.training --nets contest"
    )


def test_rows_are_written_as_json(docs: Path) -> None:
    parser = ArgumentParser()
    document.add_outputs(parser)
    options = parser.parse_args(["--json", str(docs / "new" / "rows.json")])
    document.finish(
        "benchmarks.x",
        options,
        [],
        [{"a": 1}],
        "X",
        lambda command: pytest.fail("no page was asked for"),
    )
    assert (docs / "new" / "rows.json").read_text() == '[\n {\n  "a": 1\n }\n]\n'


def test_every_part_draws_columns_that_it_has() -> None:
    for part in PARTS.values():
        assert set(part.drawn) <= set(part.columns), part.name


def test_results_keep_what_was_not_measured_again_and_every_opening_of_the_test_split() -> None:
    nothing: dict[str, Any] = {"rows": {}, "openings": []}
    first = results.join(
        nothing,
        {"hard_digits": [("a", "1 %", "", "c")], "single_net": [("b", "2 %", "", "c")]},
        OPENED[1:],
    )
    then = results.join(first, {"hard_digits": [("a", "3 %", "", "c")]}, OPENED)
    assert then["rows"]["hard_digits"]["rows"] == [["a", "3 %", "", "c"]]
    assert then["rows"]["single_net"] == first["rows"]["single_net"]
    assert [row["time"] for row in then["openings"]] == ["08:00", "09:00"], (
        "noted once each, in order"
    )
    page = results.page_of(then)
    assert page.index("| b | 2 %") < page.index("| a | 3 %") < page.index("| 08:00 | hard_digits")
    assert "| a | 1 %" not in page


def test_the_whole_time_ends_with_the_written_bundle(tmp_path: Path) -> None:
    folder = tmp_path / "hard_digits"
    (folder / "bundle").mkdir(parents=True)
    manifest = folder / "bundle" / "manifest.json"
    manifest.touch()
    os.utime(manifest, (0, START_S + 607))
    assert results._whole_rows(folder, "cell") == [], (
        "a study that keeps no journal does not tell when it began"
    )
    for count, event in enumerate(
        (study_started(folder), replace(study_started(folder, resumed=True), time_s=START_S + 300)),
        1,
    ):
        log = journal.EventLog(folder)
        log.handle(event)
        log.close()
        paused = "" if count == 1 else ", begun 2 times, pauses included"
        row = (
            f"hard_digits: from the sweep's begin to the last written bundle{paused}",
            "10 min",
            "<= 120 min",
            "cell",
        )
        assert results._whole_rows(folder, "cell") == [row]
