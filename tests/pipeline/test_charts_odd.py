"""Charts and tables of studies that hold little, or trials far worse than the others."""

import math
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from cnn_core.architectures import build_model, reference
from cnn_core.checkpoint import Weights
from cnn_core.training_data import data_of
from pipeline.configuration import compose, spec_of
from pipeline.data import prepare
from pipeline.reporting import course_charts, net_pictures, parameter_charts
from pipeline.reporting.data_frames import trials_frame
from pipeline.reporting.notebook import study_card
from pipeline.reporting.svg import standalone
from pipeline.reporting.table import StudyTable, TrialRow, table_of_journal

SVG = "{http://www.w3.org/2000/svg}"


def titles(figure: str, tag: str, kind: str) -> list[str]:
    """The tooltips of a chart's marks of one kind."""
    return [
        node.findtext(f"{SVG}title") or ""
        for node in ElementTree.fromstring(standalone(figure)).iter(f"{SVG}{tag}")
        if kind in node.attrib.get("class", "").split()
    ]


@pytest.fixture
def with_a_disaster() -> StudyTable:
    """Eleven trials between 97 and 98 %, and one, t005, that learnt nothing."""
    rows = []
    for n in range(12):
        value = 0.1 if n == 5 else 0.97 + n / 1000
        params: dict[str, str | int | float] = {"optimizer_lr": 0.01 * (n + 1)}
        rows.append(TrialRow(n, f"t{n:03d}", "COMPLETE", objective=(value,), params=params))
    return StudyTable("s", Path("s"), ("maximize",), rows)


def test_a_far_worse_trial_lies_outside_the_charts_of_objectives(
    with_a_disaster: StudyTable,
) -> None:
    names = {f"t{n:03d}" for n in range(12)} - {"t005"}
    history = course_charts.history(with_a_disaster)
    slices = parameter_charts.slices(with_a_disaster, ["optimizer_lr"])
    for marks in (
        titles(history, "circle", "done"),
        titles(slices.partition("</figure>")[0], "circle", "done"),
        titles(parameter_charts.parallel(with_a_disaster, ["optimizer_lr"]), "polyline", "curve"),
    ):
        assert {title.split(":")[0] for title in marks} == names
    assert "1 far worse trials lie outside the picture." in history
    table = with_a_disaster
    table.trials = [trial for trial in table.trials if trial.number != 5]
    assert "far worse" not in course_charts.history(table)


def test_grey_is_explained_where_trials_are_paused(with_a_disaster: StudyTable) -> None:
    told = "Grey: paused trials, which may still go on."
    assert told not in course_charts.history(with_a_disaster)
    with_a_disaster.trials.append(TrialRow(12, "t012", "PAUSED", epochs=2))
    history = course_charts.history(with_a_disaster)
    assert told in history
    assert titles(history, "circle", "paused") == ["t012: paused, 2 epochs, 0.0 s"]


def test_what_no_trial_tells_has_no_chart(with_a_disaster: StudyTable) -> None:
    with_a_disaster.trials[0].history = {1: {"valid_accuracy": math.nan}}
    assert course_charts.curves(with_a_disaster) == ""
    assert parameter_charts.slices(with_a_disaster, ["model_init"]).endswith('charts"></div>')


def test_a_study_without_trials_is_named_and_has_no_pictures() -> None:
    card = study_card(StudyTable("s", Path("s"), ("maximize",), []), "running", ["accuracy"])
    assert "study s: running, 0 trials, in s" in card
    assert "<table" not in card and "<img" not in card
    one = StudyTable("s", Path("s"), ("maximize",), [TrialRow(0, "t", "FAIL")])
    assert "1 trial (1 fail)" in study_card(one, "running", ["accuracy"])


def test_a_folder_without_a_journal_has_no_table(tmp_path: Path) -> None:
    assert table_of_journal(tmp_path) is None


def test_the_frame_has_the_values_of_a_trial_that_another_program_added() -> None:
    """Such a trial has no overrides, only what was suggested."""
    rows = [
        TrialRow(0, state="COMPLETE", objective=(0.9,), overrides=("optimizer.lr=0.1",)),
        TrialRow(1, state="COMPLETE", objective=(0.8,), suggested={"optimizer.lr": 0.25}),
    ]
    assert trials_frame(rows, ["accuracy"])["optimizer.lr"].tolist() == [0.1, 0.25]


def test_a_net_without_a_convolution_has_no_picture_of_filters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = compose(["model=mlp", "data.train_size=60", "data.valid_size=20"])
    flat = spec_of(config, prepare(config.data, tmp_path), (0, 0))
    convolved = replace(flat, model=reference("simple_convnet", filters=4))
    for spec, wanted in ((flat, ["misclassified.png"]), (convolved, ["first_layer.png"])):
        data = data_of(spec.data)
        shape, names = data.prepared.image_shape, data.prepared.class_names
        model = build_model(spec.model, shape, len(names), np.random.default_rng(0))
        kept = net_pictures.KeptNet(
            spec,
            Weights(model.params, model.buffers),
            data.valid_images[data.valid],
            data.labels[data.valid],
            names,
        )
        monkeypatch.setattr(net_pictures, "open_kept", lambda folder, kept=kept: kept)
        found = net_pictures.draw_net(tmp_path)
        assert [name for name in found.sheets if name in wanted] == wanted
        assert ("first_layer.png" in found.sheets) == (spec is convolved)
        assert np.shape(found.figures()) == (1 + len(found.sheets),)
