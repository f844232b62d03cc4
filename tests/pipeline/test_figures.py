"""Pictures show what they are given; the interactive page stands alone."""

import io
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from pipeline.reporting import figures, study_figures
from pipeline.reporting.interactive import interactive_page
from pipeline.reporting.quick_curves import learning_curves_png
from pipeline.reporting.regression import fit_study, flat_name, strongest
from pipeline.reporting.study_figures import Scale
from pipeline.reporting.svg import axis_of, log_ticks, nice_ticks
from pipeline.reporting.table import StudyTable, load_table
from pipeline.tracking.run_files import study_artifacts

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


@pytest.fixture(scope="module")
def made(made_study: Path) -> StudyTable:
    return load_table(made_study, made_study.name)


def opened(content: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(content))
    assert picture.format == "PNG"
    return picture


def drawn(figure: Figure) -> NDArray[np.uint8]:
    """The figure's pixels (H, W, 3), of the size that it says."""
    picture = opened(figures.png(figure))
    width, height = figure.get_size_inches() * 100
    assert picture.size == (int(width), int(height))
    return np.asarray(picture.convert("RGB"))


def test_learning_curves_hold_every_value_with_gaps_for_what_is_not_finite() -> None:
    history = {**HISTORY, 3: {**HISTORY[3], "valid_loss": float("nan")}}
    figure = figures.learning_curves(history, "a trial")
    loss, accuracy = figure.axes
    (valid,) = [line for line in loss.lines if str(line.get_label()).startswith("validation")]
    assert list(valid.get_xdata()) == [1, 2, 3, 4, 5]
    np.testing.assert_array_equal(valid.get_ydata(), [1.2, 0.6, np.nan, 0.3, 0.24])
    assert loss.get_title(loc="left") == "a trial"
    assert "96.00%" in str(accuracy.lines[1].get_label())
    drawn(figure)


@pytest.mark.parametrize(
    "history", [{1: HISTORY[1]}, {1: {"train_loss": float("inf")}}, {1: {}}, {}]
)
def test_learning_curves_of_odd_histories(history: dict[int, dict[str, float]]) -> None:
    figure = figures.learning_curves(history)
    for axes, what in zip(figure.axes, ("loss", "accuracy"), strict=True):
        assert axes.get_ylabel() == what and axes.get_xlabel() == "epoch"
        for line, part in zip(axes.lines, ("train", "valid"), strict=True):
            np.testing.assert_array_equal(
                line.get_ydata(), [row.get(f"{part}_{what}", np.nan) for row in history.values()]
            )
    drawn(figure)


@pytest.mark.parametrize(
    "history", [HISTORY, {1: HISTORY[1]}, {1: {"train_loss": float("inf")}}, {1: {}}, {}]
)
def test_quick_curves_of_any_history(history: dict[int, dict[str, float]]) -> None:
    picture = opened(learning_curves_png(history, "t000 momentum"))
    assert picture.size == (760, 290)
    blue, legend = (_blue(learning_curves_png(rows, "t000 momentum")) for rows in (history, {}))
    finite = [
        row["valid_loss"] for row in history.values() if np.isfinite(row.get("valid_loss", np.nan))
    ]
    found = (blue & ~legend)[:, :380].any()
    assert found == bool(finite), (
        "the panel of the loss holds a line or a dot where there is a value, else none"
    )


def _blue(png: bytes) -> NDArray[np.bool_]:
    """Where the picture has the colour of validation."""
    pixels = np.asarray(opened(png).convert("RGB")).astype(int)
    return np.asarray(np.abs(pixels - (0, 114, 178)).sum(axis=2) < 60)


def test_quick_curves_show_each_value_in_its_place() -> None:
    """A line from low to high rises to the right; a gap is left for what is not finite."""
    rising = {
        1: {"valid_accuracy": 0.5},
        2: {"valid_accuracy": float("nan")},
        3: {"valid_accuracy": 0.9},
    }
    blue = _blue(learning_curves_png(rising))
    blue[:, :440] = False  # the other panel
    blue[210:260, 600:] = False  # the legend
    rows, columns = np.nonzero(blue)
    left, right = columns < 560, columns > 640
    assert rows[left].min() > rows[right].max(), "0.5 lies below 0.9"
    assert not blue[:, 500:690].any(), "nothing is drawn across the gap"


def test_confusion_counts_pairs() -> None:
    truth, predicted = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 2, 0, 0])
    figure = figures.confusion_matrix(truth, predicted, ["a", "b", "c"])
    (axes,) = figure.axes
    texts = {(int(t.get_position()[1]), int(t.get_position()[0])): t.get_text() for t in axes.texts}
    assert texts == {(0, 0): "1", (0, 1): "1", (1, 1): "1", (2, 2): "1", (2, 0): "2"}
    assert axes.get_title(loc="left") == "3 of 6 wrong"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true class")
    np.testing.assert_array_equal(axes.images[0].get_array(), [[0, 1, 0], [0, 0, 0], [2, 0, 0]])
    drawn(figure)


def test_misclassified_shows_the_surest_mistakes_first() -> None:
    truth = np.array([1, 2, 3, 4])
    images = np.full((4, 1, 8, 8), 10, np.uint8) * np.arange(1, 5, dtype=np.uint8).reshape(
        4, 1, 1, 1
    )
    images[2] = 20
    chances = np.full((4, 10), 0.01)
    for row, (label, confidence) in enumerate([(7, 0.6), (2, 0.9), (8, 0.95), (4, 0.5)]):
        chances[row, label] = confidence
    figure = figures.misclassified(images, truth, chances, DIGITS)
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["3 → 8  95%", "1 → 7  60%"]
    assert figure.get_suptitle().startswith("2 of 4 wrong")
    tiles = np.asarray(axes.images[0].get_array())
    assert (tiles[1:9, 1:9] == 20).all() and (tiles[1:9, 10:18] == 10).all(), (
        "image 2 first, then image 0"
    )
    for text, left in zip(axes.texts, (1, 10), strict=True):
        x, y = text.get_position()
        assert left < x < left + 8 and 9 <= y < 11, "each caption stands below its own image"
    assert drawn(figure).min() < 120


def test_misclassified_images_keep_their_colours() -> None:
    images = np.zeros((1, 3, 4, 4), np.uint8)
    images[:, 1] = 250
    figure = figures.misclassified(images, np.array([1]), np.eye(10)[[2]], DIGITS)
    tiles = np.asarray(figure.axes[0].images[0].get_array())
    assert (tiles[1:5, 1:5] == (0, 250, 0)).all() and (tiles[0] == 255).all()
    assert (
        figures.misclassified(images, np.array([2]), np.eye(10)[[2]], DIGITS)
        .get_suptitle()
        .startswith("0 of 1 wrong")
    )


@pytest.mark.parametrize("shape", [(5, 1, 3, 3), (70, 3, 5, 5), (4, 64)])
def test_filters_of_convolutions_and_of_dense_layers_on_squares(shape: tuple[int, ...]) -> None:
    weights = np.random.default_rng(0).normal(size=shape)
    figure = figures.first_layer_filters(weights)
    (image,) = figure.axes[0].images
    side = round(weights[0].size ** 0.5) if len(shape) == 2 else shape[-1]
    first, last = (
        weights[n].reshape(-1, side, side).mean(axis=0) for n in (0, min(len(weights), 64) - 1)
    )
    tiles = np.ma.filled(image.get_array(), np.nan)
    np.testing.assert_allclose(tiles[1 : 1 + side, 1 : 1 + side], first)
    row, column = divmod(min(len(weights), 64) - 1, min(8, len(weights)))
    top, left = 1 + row * (side + 1), 1 + column * (side + 1)
    np.testing.assert_allclose(tiles[top : top + side, left : left + side], last)
    assert np.isnan(tiles[0]).all() and np.isnan(tiles[:, 0]).all()
    low, high = image.get_clim()
    assert -low == high == pytest.approx(np.nanmax(np.abs(tiles))), (
        "zero is white: blue is negative, red positive"
    )
    assert (
        figure.get_suptitle() == f"first layer, {min(len(weights), 64)} of {len(weights)} filters"
    )
    drawn(figure)


def test_filters_that_are_no_square_are_refused() -> None:
    with pytest.raises(ValueError, match="square image, got 63 inputs"):
        figures.first_layer_filters(np.zeros((4, 63)))


def test_the_history_shows_each_objective_and_the_best_so_far(made: StudyTable) -> None:
    figure = study_figures.optimisation_history(made)
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("trial", "objective")
    truth = [(trial.number, trial.value) for trial in made.complete]
    np.testing.assert_allclose(axes.collections[0].get_offsets(), truth)
    best = axes.lines[0]
    np.testing.assert_allclose(best.get_xdata(), [number for number, _ in truth])
    np.testing.assert_allclose(
        best.get_ydata(), [max(value for _, value in truth[: k + 1]) for k in range(len(truth))]
    )
    failed = next(line for line in axes.lines if line.get_label() == "fail")
    assert list(failed.get_xdata()) == [
        trial.number for trial in made.trials if trial.state == "FAIL"
    ]
    drawn(figure)


def test_parallel_coordinates_end_at_each_objective_and_begin_at_its_parameters(
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
    figure = study_figures.parallel_coordinates(made, names)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == [*names, "objective"]
    (lines,) = (found for found in axes.collections if isinstance(found, LineCollection))
    segments, rows = lines.get_segments(), made.best_first[::-1]
    assert len(segments) == len(rows)
    values = [row.value for row in rows]
    ends = [(value - min(values)) / (max(values) - min(values)) for value in values]
    np.testing.assert_allclose(
        [segment[-1] for segment in segments], [(len(names), end) for end in ends]
    )
    words = {"he": 0.0, "xavier": 1.0}
    at = names.index("model_init")
    assert [segment[at][1] for segment in segments] == [
        words[str(row.params["model_init"])] for row in rows
    ]
    drawn(figure)


def test_slices_show_the_objective_against_each_parameter(made: StudyTable) -> None:
    figure = study_figures.slices(made, ["optimizer_lr", "model_init"])
    rate, init = figure.axes
    assert (rate.get_xlabel(), rate.get_ylabel(), init.get_xlabel()) == (
        "optimizer_lr",
        "objective",
        "model_init",
    )
    assert rate.get_xscale() == "log" and init.get_xscale() == "linear"
    truth = [(trial.params["optimizer_lr"], trial.value) for trial in made.complete]
    np.testing.assert_allclose(rate.collections[0].get_offsets(), truth)
    assert [label.get_text() for label in init.get_xticklabels()] == ["he", "xavier"]
    ranks = [round(float(x)) for x, _ in init.collections[0].get_offsets()]
    assert ranks == [
        ["he", "xavier"].index(str(trial.params["model_init"])) for trial in made.complete
    ]
    drawn(figure)


def test_the_contour_marks_the_trials_and_the_best(made: StudyTable) -> None:
    figure = study_figures.contour(made, "model_filters", "optimizer_lr")
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("model_filters", "optimizer_lr")
    best = next(found for found in axes.collections if found.get_label() == "best")
    points = next(
        found for found in axes.collections if len(found.get_offsets()) == len(made.complete)
    )
    scales = [
        Scale([trial.params[name] for trial in made.complete])
        for name in ("model_filters", "optimizer_lr")
    ]
    places = [
        [
            scale.place(trial.params[name])
            for scale, name in zip(scales, ("model_filters", "optimizer_lr"), strict=True)
        ]
        for trial in made.complete
    ]
    np.testing.assert_allclose(points.get_offsets(), places)
    winner = max(range(len(places)), key=lambda k: made.complete[k].value)
    np.testing.assert_allclose(best.get_offsets(), [places[winner]])
    drawn(figure)


def test_importances_are_bars_with_their_intervals() -> None:
    figure = study_figures.importances(
        [("lr", 0.6, 0.5, 0.8), ("init", 0.1, 0.0, 0.3)], "what matters"
    )
    (axes,) = figure.axes
    assert [bar.get_width() for bar in axes.patches] == [0.6, 0.1] and axes.get_title(
        loc="left"
    ) == "what matters"
    assert dict(
        zip(axes.get_yticks(), (label.get_text() for label in axes.get_yticklabels()), strict=True)
    ) == {1: "lr", 0: "init"}
    (spans,) = (found for found in axes.collections if isinstance(found, LineCollection))
    np.testing.assert_allclose(
        [segment[:, 0] for segment in spans.get_segments()], [[0.5, 0.8], [0.0, 0.3]]
    )


def test_the_timeline_has_a_bar_for_each_stay(made: StudyTable) -> None:
    (axes,) = study_figures.timeline(made).axes
    assert axes.get_xlabel() == "seconds since the start"
    bars = [patch for container in axes.containers for patch in container if patch.get_width() > 0]  # type: ignore[attr-defined]
    assert len(bars) == sum(len(trial.spans) for trial in made.trials) == len(made.trials)


def test_figures_are_drawn_by_threads_at_once(made: StudyTable) -> None:
    """No state is shared: what threads draw together is what one draws alone."""
    alone = figures.png(figures.learning_curves(HISTORY))
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(figures.png(figures.learning_curves(HISTORY))))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [alone] * 3


def test_the_interactive_page_loads_nothing_and_includes_its_library_once(made: StudyTable) -> None:
    text = interactive_page(made, strongest(made, None), fit_study(made))
    assert text.count("Plotly.newPlot(") >= 6
    assert not re.search(r"<(script|link)[^>]*(src|href)=", text)
    assert len(text) < 6_000_000
    assert "t000 " in text


def test_a_study_of_one_trial_has_no_overviews(made: StudyTable) -> None:
    one = StudyTable("one", made.folder, ("maximize",), made.trials[:1], made.distributions)
    assert set(study_artifacts(one)) == {"pictures/timeline.png"}


def test_names_of_the_space_become_the_paths_they_set(made: StudyTable) -> None:
    assert flat_name(made, "momentum.lr") == "optimizer_lr"
    assert flat_name(made, "model.init") == "model_init"


def test_scales_place_numbers_by_logarithm_over_wide_ranges_and_words_by_rank() -> None:
    assert Scale([1e-4, 1e-2]).place(1e-3) == pytest.approx(0.5)
    assert Scale([0.0, 10.0]).place(2.5) == pytest.approx(0.25)
    assert Scale(["he", "xavier"]).place("xavier") == 1.0
    assert Scale([True, False]).is_number is False
    with pytest.raises(TypeError, match="must be a number"):
        Scale([1.0, 2.0]).number("x")


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
