"""Pictures show what they are given; the interactive page stands alone."""

import io
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.reporting.regression import fit_study
from pipeline.reporting.svg import axis_of, log_ticks, nice_ticks
from pipeline.tracking import figures, study_figures
from pipeline.tracking.interactive import interactive_page
from pipeline.tracking.pictures import flat_name, strongest, study_artifacts
from pipeline.tracking.quick_curves import learning_curves_png
from pipeline.tracking.study_figures import Scale
from pipeline.tracking.table import StudyTable, load_table

HISTORY = {e: {"train_loss": 1 / e, "valid_loss": 1.2 / e, "train_accuracy": 0.9, "valid_accuracy": 1 - 0.2 / e} for e in range(1, 6)}
DIGITS = [str(n) for n in range(10)]


@pytest.fixture(scope="module")
def made(made_study: Path) -> StudyTable:
    return load_table(made_study, made_study.name)


def opened(content: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(content))
    assert picture.format == "PNG"
    colours = picture.convert("RGB").getcolors(1 << 24)
    assert colours is not None
    assert len(colours) > 5, "the picture is empty"
    return picture


def test_learning_curves_hold_every_value_with_gaps_for_what_is_not_finite() -> None:
    history = {**HISTORY, 3: {**HISTORY[3], "valid_loss": float("nan")}}
    figure = figures.learning_curves(history, "a trial")
    loss, accuracy = figure.axes
    (valid,) = [line for line in loss.lines if str(line.get_label()).startswith("validation")]
    assert list(valid.get_xdata()) == [1, 2, 3, 4, 5]
    np.testing.assert_array_equal(valid.get_ydata(), [1.2, 0.6, np.nan, 0.3, 0.24])
    assert loss.get_title(loc="left") == "a trial"
    assert "96.00%" in str(accuracy.lines[1].get_label())
    opened(figures.png(figure))


@pytest.mark.parametrize("history", [{1: HISTORY[1]}, {1: {"train_loss": float("inf")}}, {1: {}}, {}])
def test_learning_curves_of_odd_histories(history: dict[int, dict[str, float]]) -> None:
    opened(figures.png(figures.learning_curves(history)))


@pytest.mark.parametrize("history", [HISTORY, {1: HISTORY[1]}, {1: {"train_loss": float("inf")}}, {1: {}}, {}])
def test_quick_curves_of_any_history(history: dict[int, dict[str, float]]) -> None:
    picture = opened(learning_curves_png(history, "t000 momentum"))
    assert picture.size == (760, 290)


def test_quick_curves_show_each_value_in_its_place() -> None:
    """A line from low to high rises to the right; a gap is left for what is not finite."""
    rising = {1: {"valid_accuracy": 0.5}, 2: {"valid_accuracy": float("nan")}, 3: {"valid_accuracy": 0.9}}
    pixels = np.asarray(opened(learning_curves_png(rising)).convert("RGB")).astype(int)
    blue = np.abs(pixels - (0, 114, 178)).sum(axis=2) < 60
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
    opened(figures.png(figure))


def test_misclassified_shows_the_surest_mistakes_first() -> None:
    truth = np.array([1, 2, 3, 4])
    chances = np.full((4, 10), 0.01)
    for row, (label, confidence) in enumerate([(7, 0.6), (2, 0.9), (8, 0.95), (4, 0.5)]):
        chances[row, label] = confidence
    figure = figures.misclassified(np.zeros((4, 1, 8, 8), np.uint8), truth, chances, DIGITS)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert [title[:5] for title in titles] == ["3 → 8", "1 → 7"]
    assert figure.get_suptitle().startswith("2 of 4 wrong")


@pytest.mark.parametrize("shape", [(5, 1, 3, 3), (70, 3, 5, 5), (4, 64)])
def test_filters_of_convolutions_and_of_dense_layers_on_squares(shape: tuple[int, ...]) -> None:
    opened(figures.png(figures.first_layer_filters(np.random.default_rng(0).normal(size=shape))))


def test_filters_that_are_no_square_are_refused() -> None:
    with pytest.raises(ValueError, match="square image, got 63 inputs"):
        figures.first_layer_filters(np.zeros((4, 63)))


@pytest.mark.parametrize("name", ["optimisation_history", "timeline"])
def test_overviews_of_a_study(made: StudyTable, name: str) -> None:
    opened(figures.png(getattr(study_figures, name)(made)))


def test_overviews_over_parameters(made: StudyTable) -> None:
    names = strongest(made, fit_study(made))
    assert set(names) == {"model_filters", "model_dropout", "model_init", "optimizer", "optimizer_lr"}
    opened(figures.png(study_figures.parallel_coordinates(made, names)))
    opened(figures.png(study_figures.slices(made, names)))
    opened(figures.png(study_figures.contour(made, "model_filters", "optimizer_lr")))


def test_the_timeline_has_a_bar_for_each_stay(made: StudyTable) -> None:
    (axes,) = study_figures.timeline(made).axes
    bars = [patch for container in axes.containers for patch in container if patch.get_width() > 0]  # type: ignore[attr-defined]
    assert len(bars) == sum(len(trial.spans) for trial in made.trials) == len(made.trials)


def test_figures_are_drawn_by_threads_at_once(made: StudyTable) -> None:
    """No state is shared: what threads draw together is what one draws alone."""
    alone = figures.png(figures.learning_curves(HISTORY))
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(figures.png(figures.learning_curves(HISTORY)))) for _ in range(3)]
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
