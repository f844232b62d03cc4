"""Charts show what they are given: each mark in its place, readable by pointing at it."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from pipeline.reporting import course_charts, parameter_charts
from pipeline.reporting.confusion_chart import confusion_matrix
from pipeline.reporting.net_pictures import first_layer_filters, misclassified
from pipeline.reporting.page import overview
from pipeline.reporting.regression import Regression, fit_study, flat_name, strongest
from pipeline.reporting.svg import axis_of, log_ticks, nice_ticks, parameter_axis, standalone
from pipeline.reporting.table import StudyTable, load_table
from pipeline.tracking.run_files import best_artifacts, study_artifacts

HISTORY = {
    e: {
        "train_loss": 1 / e,
        "valid_loss": 1.2 / e,
        "train_accuracy": 0.9,
        "valid_accuracy": 1 - 0.2 / e,
    }
    for e in range(1, 6)
}
DIGITS = [str(n) for n in range(10)]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def made(made_study: Path) -> StudyTable:
    return load_table(made_study, made_study.name)


class Drawn:
    """A chart's SVG, parsed as the file of its own that MLflow gets."""

    def __init__(self, figure: str) -> None:
        self.root = ElementTree.fromstring(standalone(figure))

    def of(self, tag: str, kind: str) -> list[ElementTree.Element]:
        return [
            node
            for node in self.root.iter(f"{SVG}{tag}")
            if kind in node.attrib.get("class", "").split()
        ]

    def titles(self, tag: str, kind: str) -> list[str]:
        return [node.findtext(f"{SVG}title") or "" for node in self.of(tag, kind)]

    def texts(self) -> list[str]:
        return [node.text or "" for node in self.root.iter(f"{SVG}text")]

    def places(self, kind: str) -> list[tuple[float, float]]:
        return [(float(n.attrib["cx"]), float(n.attrib["cy"])) for n in self.of("circle", kind)]


def assert_linear(found: list[float], truth: list[float]) -> None:
    """Pixels are a linear function of the truth, to their tenth."""
    slope, offset = np.polyfit(truth, found, 1)
    np.testing.assert_allclose(np.polyval([slope, offset], truth), found, atol=0.15)


def test_learning_curves_hold_every_value_with_gaps_for_what_is_not_finite() -> None:
    history = {**HISTORY, 3: {**HISTORY[3], "valid_loss": float("nan")}}
    drawn = Drawn(course_charts.learning_curves(history, "a trial"))
    valid = drawn.titles("circle", "valid")
    assert valid[:4] == [
        "epoch 1: validation loss 1.2000",
        "epoch 2: validation loss 0.6000",
        "epoch 4: validation loss 0.3000",
        "epoch 5: validation loss 0.2400",
    ]
    assert len(valid) == 9 and len(drawn.of("circle", "train")) == 10
    assert len(drawn.of("polyline", "valid")) == 3, "a gap where a loss is not finite"
    losses = [y for _, y in drawn.places("valid")[:4]]
    assert_linear(losses, [1.2, 0.6, 0.3, 0.24])
    assert losses == sorted(losses), "a smaller loss lies lower"
    assert {"a trial", "validation 96.00%", "validation 0.2400", "loss by epoch"} <= set(
        drawn.texts()
    )


@pytest.mark.parametrize(
    "history", [{1: HISTORY[1]}, {1: {"train_loss": float("inf")}}, {1: {}}, {}]
)
def test_learning_curves_of_odd_histories(history: dict[int, dict[str, float]]) -> None:
    drawn = Drawn(course_charts.learning_curves(history))
    finite = [v for row in history.values() for v in row.values() if np.isfinite(v)]
    assert len(drawn.of("circle", "valid") + drawn.of("circle", "train")) == len(finite)


def test_a_file_of_its_own_has_its_colours_for_light_dark_and_print() -> None:
    text = standalone(course_charts.learning_curves(HISTORY))
    assert text.startswith('<svg xmlns="http://www.w3.org/2000/svg" width="720" height="300"')
    assert "prefers-color-scheme: dark" in text and "@media print" in text
    assert not re.search(r"(href|src|url)\s*[=(]", text)


def test_confusion_counts_pairs() -> None:
    truth, predicted = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 2, 0, 0])
    drawn = Drawn(confusion_matrix(truth, predicted, ["a", "b", "c"]))
    cells = drawn.of("rect", "wrong")
    assert drawn.titles("rect", "wrong") == [
        f"true {t}, predicted {p}: {n}"
        for t, row in zip("abc", ((1, 1, 0), (0, 1, 0), (2, 0, 1)), strict=True)
        for p, n in zip("abc", row, strict=True)
    ]
    strength = np.array([float(cell.attrib["fill-opacity"]) for cell in cells]).reshape(3, 3)
    assert strength[2, 0] == strength.max() and (strength.diagonal() == 0).all()
    assert strength[0, 1] == pytest.approx(strength[2, 0] / 2, abs=0.01)
    assert "3 of 6 wrong" in confusion_matrix(truth, predicted, ["a", "b", "c"])


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_misclassified_shows_the_surest_mistakes_first() -> None:
    truth = np.array([1, 2, 3, 4])
    images = np.full((4, 1, 8, 8), 10, np.uint8)
    images[2] = 200
    chances = np.full((4, 10), 0.01)
    for row, (label, confidence) in enumerate([(7, 0.6), (2, 0.9), (8, 0.95), (4, 0.5)]):
        chances[row, label] = confidence
    sheet = pixels(misclassified(images, truth, chances, DIGITS))
    zoom = 11  # the least whole number that makes 8 pixels wide enough for a caption
    assert (sheet[2 : 2 + 8 * zoom, 2 : 2 + 8 * zoom] == 200).all(), "image 2 is the surest mistake"
    second = 4 + 8 * zoom
    assert (sheet[2 : 2 + 8 * zoom, second : second + 8 * zoom] == 10).all()
    assert sheet.shape[1] == 2 + 2 * (8 * zoom + 2), "two of four are wrong"
    assert misclassified(images, chances.argmax(axis=1), chances, DIGITS) == b""


def test_filters_are_blue_where_negative_and_red_where_positive() -> None:
    weights = np.zeros((3, 2, 2, 2))
    weights[0, :, 0, 0], weights[0, :, 1, 1] = 2.0, -2.0
    sheet = pixels(first_layer_filters(weights))
    assert tuple(sheet[5, 5]) == (255, 0, 0)
    assert tuple(sheet[2 + 60, 2 + 60]) == (0, 0, 255)
    assert tuple(sheet[5, 2 + 60]) == (255, 255, 255)


def test_the_history_shows_each_objective_and_the_best_so_far(made: StudyTable) -> None:
    drawn = Drawn(course_charts.history(made))
    shown = [
        trial
        for trial in made.complete
        if any(title.startswith(f"{trial.name}:") for title in drawn.titles("circle", "done"))
    ]
    assert len(shown) >= len(made.complete) - 3
    places = drawn.places("done")
    assert_linear([x for x, _ in places], [trial.number for trial in shown])
    assert_linear([y for _, y in places], [trial.value for trial in shown])
    (best,) = drawn.of("polyline", "best")
    heights = [float(point.split(",")[1]) for point in best.attrib["points"].split()]
    assert heights == sorted(heights, reverse=True)
    assert len(drawn.of("circle", "fail")) == sum(trial.state == "FAIL" for trial in made.trials)


def test_parallel_coordinates_join_each_trial_s_parameters_to_its_objective(
    made: StudyTable,
) -> None:
    names = strongest(made, fit_study(made))
    assert set(names) == {
        "model_filters",
        "model_dropout",
        "model_init",
        "optimizer",
        "optimizer_lr",
    }
    drawn = Drawn(parameter_charts.parallel(made, names))
    lines = drawn.of("polyline", "curve")
    by_title = {
        title.split(":")[0]: line
        for title, line in zip(drawn.titles("polyline", "curve"), lines, strict=True)
    }
    rows = [trial for trial in made.complete if trial.name in by_title]
    assert len(rows) == len(lines) >= len(made.complete) - 3
    ends = [by_title[trial.name].attrib["points"].split() for trial in rows]
    assert {len(points) for points in ends} == {len(names) + 1}
    assert_linear(
        [float(points[-1].split(",")[1]) for points in ends], [trial.value for trial in rows]
    )
    at = names.index("model_init")
    heights = {
        (str(trial.params["model_init"]), points[at].split(",")[1])
        for trial, points in zip(rows, ends, strict=True)
    }
    assert len(heights) == 2, "one place a word"
    assert {*names, "objective"} <= set(drawn.texts())


def test_slices_show_the_objective_against_each_parameter(made: StudyTable) -> None:
    page = parameter_charts.slices(made, ["optimizer_lr", "model_init"])
    rate, init = (Drawn(figure) for figure in page.split("</figure>")[:2])
    values = {trial.name: trial.params for trial in made.complete}
    told = [title.split(":")[0] for title in rate.titles("circle", "done")]
    assert_linear(
        [x for x, _ in rate.places("done")],
        [np.log(float(values[name]["optimizer_lr"])) for name in told],
    )
    he, xavier = (
        [
            x
            for (x, _), title in zip(
                init.places("done"), init.titles("circle", "done"), strict=True
            )
            if title.endswith(f"model_init = {word}")
        ]
        for word in ("he", "xavier")
    )
    assert max(he) < min(xavier), "words stand side by side, in alphabetical order"


def test_the_contour_marks_the_trials_and_the_best(made: StudyTable) -> None:
    names = ["model_filters", "optimizer_lr"]
    drawn = Drawn(parameter_charts.contour(made, ["model_init", *names]))
    (winner,) = drawn.titles("circle", "winner")
    best = made.best_first[0]
    assert winner.startswith(f"{best.name}:")
    assert len(drawn.of("circle", "done")) == len(made.complete) - 1
    cells = drawn.titles("rect", "heat")
    assert len(cells) == 24 * 24
    values = [trial.value for trial in made.complete]
    assert all(min(values) <= float(cell.split()[1]) <= max(values) + 1e-4 for cell in cells)
    assert parameter_charts.contour(made, ["model_init", "model_filters"]) == ""


def test_a_smoothed_surface_lies_where_its_points_do() -> None:
    """A good trial at the right of the first parameter makes the right columns strong."""
    at = np.array([[0.1, 0.5], [0.9, 0.5]])
    surface = parameter_charts.smooth(at, np.array([0.0, 1.0]), np.linspace(0, 1, 11))
    assert (np.diff(surface, axis=1) > 0).all()
    np.testing.assert_allclose(surface[:, 5], 0.5)


def test_importances_are_bars_with_their_intervals() -> None:
    shares = (("lr", 0.6, 0.5, 0.8), ("init", 0.1, 0.0, 0.3))
    none = np.zeros(0)
    drawn = Drawn(parameter_charts.importances(Regression((), none, none, 0.7, shares, 30, 1.0)))
    widths = [float(bar.attrib["width"]) for bar in drawn.of("rect", "bar")]
    assert widths[0] == pytest.approx(6 * widths[1], rel=0.02)
    assert drawn.titles("rect", "bar")[0] == "lr: 60.0%, 95 % interval 50.0% to 80.0%"
    assert {"lr", "init", "share of the objective's variance"} <= set(drawn.texts())


def test_the_timeline_has_a_bar_for_each_stay(made: StudyTable) -> None:
    drawn = Drawn(course_charts.timeline(made))
    bars = [bar for state in ("complete", "pruned", "fail") for bar in drawn.of("rect", state)]
    assert len(bars) == sum(len(trial.spans) for trial in made.trials) == len(made.trials)
    assert "seconds since the start" in drawn.texts()


def test_the_overview_holds_every_chart_and_loads_nothing(made: StudyTable) -> None:
    text = overview(made)
    for title in (
        "Optimisation history",
        "Learning curves",
        "Importance of each parameter",
        "Parallel coordinates",
        "Objective against optimizer_lr",
        "Objective over the two strongest numbers",
        "Timeline of slots",
    ):
        assert f">{title}</title>" in text, title
    assert not re.search(r"<(script|link)[^>]*(src|href)=[\"'](?!data:)", text)
    assert len(text) < 1_000_000
    assert "t000 " in text


def test_a_study_of_one_trial_has_its_timeline_alone(made: StudyTable) -> None:
    one = StudyTable("one", made.folder, ("maximize",), made.trials[:1], made.distributions)
    text = overview(one)
    assert "Timeline of slots" in text and "Optimisation history" not in text


def test_a_study_s_files_are_its_tables_and_its_charts(made: StudyTable) -> None:
    assert set(study_artifacts(made.folder, made.name)) == {"overview.html"}


def test_names_of_the_space_become_the_paths_they_set(made: StudyTable) -> None:
    assert flat_name(made, "momentum.lr") == "optimizer_lr"
    assert flat_name(made, "model.init") == "model_init"


def test_axes_place_numbers_by_logarithm_over_wide_ranges_and_words_by_rank() -> None:
    place: Callable[[list[object], object], float] = lambda values, value: (  # noqa: E731
        axis := parameter_axis(values, 0, 100, pad=0)
    )(axis.place(value))
    assert place([1e-4, 1e-2], 1e-3) == pytest.approx(50.0)
    assert place([0.0, 10.0], 2.5) == pytest.approx(25.0)
    words = parameter_axis(["xavier", "he"], 0, 100)
    assert words.words == ("he", "xavier") and words.place("xavier") == 1.0
    assert parameter_axis([True, False], 0, 100).words == ("False", "True")
    with pytest.raises(TypeError, match="must be a number"):
        parameter_axis([1.0, 2.0], 0, 100).place("x")


def test_ticks_are_round() -> None:
    assert nice_ticks(0.0, 1.0, 5) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert nice_ticks(97.1, 98.6, 4) == [97.5, 98.0, 98.5]
    assert log_ticks(1e-4, 1e-1) == [1e-4, 1e-3, 1e-2, 1e-1]
    assert nice_ticks(3.0, 3.0) == [3.0]


def test_axes_survive_equal_and_missing_values() -> None:
    axis = axis_of([2.0, 2.0], 0, 100)
    assert axis(2.0) == 50.0
    assert axis_of([], 0, 1).low < axis_of([], 0, 1).high
    assert axis_of([0.0, 5.0], 0, 1, log=True).log is False


def test_weights_that_cannot_be_used_cost_a_picture_not_the_runs(tmp_path: Path) -> None:
    (tmp_path / "weights.npz").write_bytes(b"no weights")
    assert best_artifacts(tmp_path) == {}
