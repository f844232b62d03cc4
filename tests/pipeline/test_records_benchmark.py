"""The benchmark of records: recipes are ladders that compose, and the test split is opened once for
all nets of a recipe.
"""

from pathlib import Path

import pytest

from benchmarks import records as benchmark
from benchmarks.records import Row, measure, section
from benchmarks.records_parts.record import Record, records
from pipeline.configuration import compose

LADDER = Record(
    name="small",
    title="Digits",
    accuracy=0.9,
    data="digits",
    seeds=2,
    rungs={
        "a": "model=mlp model.hidden=[30] train.epochs=1",
        "b": "optimizer=muon train.steps_per_epoch=20",
        "c": "train.epochs=2",
    },
)


def test_each_rung_adds_to_those_before_it() -> None:
    a, b, c = LADDER.overrides().values()
    assert a[-3:] == ["model=mlp", "model.hidden=[30]", "train.epochs=1"]
    assert b == [*a, "optimizer=muon", "train.steps_per_epoch=20"]
    assert c == [*b, "train.epochs=2"]


@pytest.mark.parametrize("name", records())
def test_every_record_composes(name: str) -> None:
    record = records()[name]
    assert record.seeds >= 5 and 0 < record.accuracy < 1
    for rung in record.overrides().values():
        assert compose(rung).data.name == record.data


def test_rungs_are_scored_on_validation_images_and_the_last_on_the_test_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "has_pytorch", lambda: False)
    noted = tmp_path / "records" / "evaluation" / "openings.csv"
    rows = measure(LADDER, tmp_path, 2, 2, rungs=True)
    assert [row.what for row in rows] == ["a", "b", "c"]
    assert not noted.exists()
    (row,) = measure(LADDER, tmp_path, 2, 2, rungs=False)
    assert len(noted.read_text().splitlines()) == 2, "a header and one opening for both nets"
    assert row.what == "all rungs" and len(row.accuracies) == len(row.seconds) == 2
    assert all(0.2 < accuracy < 1 for accuracy in row.accuracies)


def test_the_page_tells_means_spread_and_ratio() -> None:
    ours = Row("all rungs", [0.99, 0.992], [1.0, 3.0])
    theirs = Row("PyTorch, nchw", [], [8.0, 10.0])
    text = section(LADDER, [ours, theirs], 2, rungs=False)
    assert text.startswith("Goal 90.0%. ")
    assert "PyTorch takes 4.5 times as long." in text
    assert "| all rungs | 99.100% | 0.141% | 2.00 | 1.00 to 3.00 |" in text
    assert "| PyTorch, nchw | - | - | 9.00 | 8.00 to 10.00 |" in text
    assert "PyTorch takes" not in section(LADDER, [ours], 2, rungs=False)


@pytest.mark.parametrize("words", [["--seeds", "0"], ["--cores", "-1"]])
def test_less_than_one_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        benchmark.main(["mnist_99", *words])
    assert f"{words[0]} must be at least 1, got {words[1]}" in capsys.readouterr().err
