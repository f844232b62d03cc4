"""CNNClassifier: scikit-learn's own checks, and what they do not look at."""

import copy
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from cnn_core.estimator import CNNClassifier


@parametrize_with_checks([CNNClassifier()])
def test_scikit_learns_own_checks(estimator: CNNClassifier, check: Any) -> None:
    """None is expected to fail."""
    check(estimator)


@pytest.fixture(scope="module")
def digits() -> tuple[Any, Any]:
    """Return 600 digits as rows of 64 values from 0 to 16, and their labels."""
    X, y = load_digits(return_X_y=True)
    return X[:600], y[:600]


def quick(**changes: Any) -> CNNClassifier:
    return CNNClassifier(**{"epochs": 6, "random_state": 0} | changes)


def same(one: CNNClassifier, other: CNNClassifier, X: Any) -> bool:
    return bool(np.array_equal(one.predict_proba(X), other.predict_proba(X)))


def test_it_learns_digits(digits: tuple[Any, Any]) -> None:
    X, y = digits
    assert quick(epochs=20).fit(X[:400], y[:400]).score(X[400:], y[400:]) > 0.8


def test_rows_and_images_of_any_range_are_one_input(digits: tuple[Any, Any]) -> None:
    X, y = digits
    model = quick().fit(X, y)
    assert model.image_shape_ == (8, 8, 1)
    for other in (X.reshape(-1, 8, 8), X.reshape(-1, 8, 8, 1)):
        again = quick().fit(other, y)
        assert again.image_shape_ == (8, 8, 1) and same(model, again, X)
        assert np.array_equal(model.predict(other), model.predict(X))
    assert same(model, quick(image_shape=(8, 8)).fit(X, y), X)
    # 16, the largest value, is white; so is 1 of the same images as fractions.
    assert np.array_equal(model.predict_proba(X), quick().fit(X / 16, y).predict_proba(X / 16))


def test_bytes_are_the_same_as_their_fractions(digits: tuple[Any, Any]) -> None:
    X, y = digits
    whole = np.rint(X * (255 / 16)).astype(np.uint8)
    of_bytes, of_floats = quick().fit(whole, y), quick().fit(whole.astype(float), y)
    assert np.array_equal(of_bytes.predict_proba(whole), of_floats.predict_proba(whole))


@pytest.mark.parametrize(
    ("side", "kernel", "pool"), [(8, 3, 2), (12, 3, 2), (16, 5, 2), (28, 7, 3), (96, 7, 3)]
)
def test_windows_fit_the_images(side: int, kernel: int, pool: int) -> None:
    X, y = np.random.default_rng(0).random((20, side, side + 2)), np.arange(20) % 2
    model = quick(epochs=1, filters=2).fit(X, y)
    assert (model.spec_.model.kernel, model.spec_.model.pool) == (kernel, pool)
    assert quick(epochs=1, kernel=4, pool=2).fit(X, y).spec_.model.kernel == 4


def test_colours_keep_their_channels() -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 40)
    X = rng.integers(0, 60, (120, 8, 9, 3), np.uint8)
    X[np.arange(120), :, :, y] += 150  # the class is a colour
    model = quick().fit(X, y)
    assert model.image_shape_ == (8, 9, 3) and model.score(X, y) == 1
    rows = X.reshape(120, -1)
    assert same(model, quick(image_shape=(8, 9, 3)).fit(rows, y), rows)


def test_rows_that_are_no_images_get_a_dense_net(digits: tuple[Any, Any]) -> None:
    X, y = digits
    model = quick().fit(X[:, :30] * 1e6, y)
    assert model.image_shape_ == () and "conv" not in model.summary()
    assert model.spec_.model.hidden == (100,)
    assert model.score(X[:, :30] * 1e6, y) > 0.8


@pytest.mark.parametrize(
    "names", [np.array(["zero", "one", "two"]), np.array([-7, 3, 40]), np.array([0.0, 1.0, 2.0])]
)
def test_labels_of_any_kind_come_back(digits: tuple[Any, Any], names: Any) -> None:
    X, y = digits
    chosen = y < 3
    labels = names[y[chosen]]
    model = quick().fit(X[chosen], labels)
    assert model.classes_.tolist() == sorted(names.tolist())
    assert np.mean(model.predict(X[chosen]) == labels) > 0.95
    assert model.predict(X[:2]).dtype == names.dtype


def test_a_seed_repeats_to_the_bit_and_another_does_not(digits: tuple[Any, Any]) -> None:
    X, y = digits
    model = quick(dropout=0.3).fit(X, y)
    assert same(model, clone(model).fit(X, y), X)
    assert same(model, copy.deepcopy(model).fit(X, y), X), "nothing of the first fit is left"
    assert not same(model, quick(dropout=0.3, random_state=1).fit(X, y), X)


def test_it_is_pickled_with_its_weights_and_goes_on(digits: tuple[Any, Any]) -> None:
    X, y = digits
    model = quick().fit(X, y)
    other = pickle.loads(pickle.dumps(model))  # noqa: S301  (our own)
    assert same(model, other, X)
    assert same(model.partial_fit(X, y), other.partial_fit(X, y), X)


def test_partial_fit_is_an_epoch_and_knows_classes_that_come_later(
    digits: tuple[Any, Any],
) -> None:
    X, y = digits
    few = y < 5
    model = quick()
    for _ in range(3):
        model.partial_fit(X[few], y[few], classes=range(10))
    for _ in range(8):
        model.partial_fit(X, y)
    assert model.state_.epoch == len(model.history_) == 11
    assert model.score(X[~few], y[~few]) > 0.9
    # From the same start an epoch of `fit` is a call of `partial_fit`.
    one = quick(epochs=1).fit(X, y)
    assert same(one, quick().partial_fit(X, y, classes=np.unique(y)), X)


@pytest.mark.parametrize(
    ("classes", "labels", "message"),
    [
        (None, [0, 1], "classes: must list all labels in the first call"),
        ([0, 1], [0, 7], r"y: must be among the classes \[0, 1\], got 7"),
        ([4], [4, 4], "at least 2 classes"),
    ],
)
def test_partial_fit_refuses_what_it_cannot_know(
    classes: Any, labels: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        quick().partial_fit(np.eye(2, 64), np.array(labels), classes=classes)


def test_other_classes_later_are_refused(digits: tuple[Any, Any]) -> None:
    X, y = digits
    model = quick().partial_fit(X, y, classes=range(10))
    with pytest.raises(ValueError, match=r"classes: must be those of before"):
        model.partial_fit(X, y, classes=range(11))


def test_validation_keeps_the_best_epoch(digits: tuple[Any, Any]) -> None:
    X, y = digits
    model = quick(valid_fraction=0.25, select="best", lr=0.02, epochs=8).fit(X, y)
    losses = [row["valid_loss"] for row in model.history_]
    assert len(losses) == 8
    upto = int(np.argmin(losses)) + 1
    cut = quick(valid_fraction=0.25, select="last", lr=0.02, epochs=upto).fit(X, y)
    assert same(model, cut, X)


def test_the_average_of_the_weights_is_kept_unless_another_is_asked_for(
    digits: tuple[Any, Any],
) -> None:
    X, y = digits
    plain = quick(epochs=2).fit(X, y)
    assert same(plain, quick(epochs=2, select="average").fit(X, y), X)
    assert not same(plain, quick(epochs=2, select="last").fit(X, y), X)


GRID = {"filters": np.array([2, 6]), "optimizer": ["adam", {"name": "momentum", "lr": 0.05}]}


def test_grids_folds_and_pipelines(digits: tuple[Any, Any]) -> None:
    X, y = digits
    found = GridSearchCV(quick(epochs=2), GRID, cv=2).fit(X, y)
    assert found.best_params_["filters"] == 6 and found.best_score_ > 0.5
    piped = make_pipeline(StandardScaler(), quick())
    assert cross_val_score(piped, X, y, cv=2).mean() > 0.8


@pytest.mark.slow
def test_processes_find_the_same_scores(digits: tuple[Any, Any]) -> None:
    X, y = digits
    scores = [
        GridSearchCV(quick(epochs=2), GRID, cv=2, n_jobs=jobs).fit(X, y).cv_results_
        for jobs in (None, 2)
    ]
    assert np.array_equal(*(score["mean_test_score"] for score in scores))


@pytest.mark.slow
def test_readme_s_lines_work(capsys: pytest.CaptureFixture[str]) -> None:
    readme = Path(__file__).parents[2] / "README.md"
    blocks = readme.read_text().split("```python\n")
    (lines,) = [block.split("```")[0] for block in blocks if "CNNClassifier" in block]
    assert lines.count("\n") <= 10
    exec(lines, names := {})
    assert names["model"].score(names["X_valid"], names["y_valid"]) > 0.9
    assert "epoch 10/10" in capsys.readouterr().out


def test_threads_that_train_at_once_do_not_meet(digits: tuple[Any, Any]) -> None:
    X, y = digits
    alone = [quick(random_state=seed).fit(X, y) for seed in range(3)]
    beside = [quick(random_state=seed) for seed in range(3)]
    threads = [threading.Thread(target=model.fit, args=(X, y)) for model in beside]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same(one, other, X) for one, other in zip(alone, beside, strict=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dropout": 1.5}, r"^dropout: must be at least 0 and less than 1, got 1.5"),
        ({"filters": 0}, r"^filters: must be at least 1, got 0"),
        ({"filters": 2.5}, r"^filters: must be a whole number, got 2.5"),
        ({"epochs": "many"}, r"^epochs: must be a whole number, got 'many'"),
        ({"batch_size": 0}, r"^batch_size: must be at least 1, got 0"),
        ({"model": "resnet"}, r"^model: must be one of contest, .*got 'resnet'"),
        ({"optimizer": "lion"}, r"^optimizer: must be one of sgd, .*got 'lion'"),
        ({"lr": -1.0}, r"^lr: must be greater than 0, got -1"),
        ({"schedule": {"name": "step", "gama": 1}}, r"^schedule.gama: step takes .*got 'gama'"),
        ({"augment": {"turn": 5}}, r"^augment.turn: must be one of"),
        ({"augment": 3}, r"^augment: must be None or a mapping of strengths, got 3"),
        ({"valid_fraction": 1.0}, r"^valid_fraction: must be at least 0 and less than 1, got 1"),
        ({"kernel": 9}, r"model simple_convnet does not fit images 1x8x8"),
        ({"image_shape": (4, 4)}, r"^image_shape: must be .*got \(4, 4\) for rows of 64"),
        ({"image_shape": 8}, r"^image_shape: must be"),
        ({"lr": 1e30}, r"^lr: the loss must stay finite, it did not in epoch \d+ with lr=1e\+30"),
    ],
)
def test_what_is_wrong_is_said_in_the_estimators_words(
    digits: tuple[Any, Any], changes: dict[str, Any], message: str
) -> None:
    X, y = digits
    with pytest.raises(ValueError, match=message):
        quick(**changes).fit(X[:60], y[:60])


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((20, 1, 28, 28), r"at most 4 channels.*X.transpose\(0, 2, 3, 1\)"),
        ((20, 8, 8, 5), r"at most 4 channels, along the last axis, got shape \(20, 8, 8, 5\)$"),
        ((20, 2, 8, 8, 1), r"must be images \(N, H, W\) or"),
        ((0, 8, 8), r"0 sample"),
    ],
)
def test_images_of_other_shapes_are_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quick().fit(np.zeros(shape), np.arange(shape[0]) % 2)


def test_images_of_another_shape_than_in_training_are_refused(digits: tuple[Any, Any]) -> None:
    X, y = digits
    model = quick(epochs=1).fit(X, y)
    with pytest.raises(ValueError, match=r"must have the shape \(8, 8, 1\), got \(4, 16, 1\)"):
        model.predict(X.reshape(-1, 4, 16))


def test_augmentation_needs_pictures(digits: tuple[Any, Any]) -> None:
    X, y = digits
    model = quick(augment={"shift": 0.1}).fit(X, y)
    assert not same(model, quick().fit(X, y), X)
    for other, got in ((X - 8, "values down to -8"), (X[:, :30], "rows of 30 features")):
        with pytest.raises(ValueError, match=f"augment: must be None unless .*{got}"):
            quick(augment={"shift": 0.1}).fit(other, y)


@pytest.fixture
def shown(digits: tuple[Any, Any], capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    X, y = digits
    yield quick(epochs=2, verbose=True, valid_fraction=0.2).fit(X, y), capsys.readouterr().out


def test_it_shows_its_progress_and_its_layers(shown: tuple[CNNClassifier, str]) -> None:
    model, printed = shown
    first, second = printed.splitlines()
    assert first.startswith("epoch 1/2  train loss ") and "valid accuracy" in second
    html = model._repr_html_()
    assert "sk-top-container" in html, "scikit-learn's own stays"
    assert (
        "<td>conv1 3x3 + relu1</td>" in html
        and f"<td>{model.history_[1]['valid_loss']:.4f}</td>" in html
    )
    assert "conv1" not in CNNClassifier()._repr_html_()
    assert model.summary().splitlines()[-1].startswith("total")


def test_an_images_place_among_others_changes_only_the_rounding(digits: tuple[Any, Any]) -> None:
    X, y = digits
    model = quick(epochs=2).fit(X, y)
    order = np.random.default_rng(0).permutation(len(X))
    whole = model.predict_proba(X)
    np.testing.assert_allclose(model.predict_proba(X[order]), whole[order], rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(model.predict_proba(X[:1]), whole[:1], rtol=1e-4, atol=1e-7)


def test_a_fit_that_fails_leaves_no_older_net(digits: tuple[Any, Any]) -> None:
    X, y = digits
    model = quick(epochs=1).fit(X, y)
    with pytest.raises(ValueError, match="dropout"):
        model.set_params(dropout=2.0).fit(X[y < 3], y[y < 3])
    with pytest.raises(NotFittedError):
        model.predict(X)


def test_nothing_of_the_data_stays_behind(digits: tuple[Any, Any]) -> None:
    from cnn_core import training_data

    X, y = digits
    with pytest.raises(ValueError, match="dropout"):
        quick(dropout=2.0).fit(X, y)
    assert len(pickle.dumps(quick(epochs=1).fit(X, y))) < 200_000
    assert training_data._held == {}


def test_a_name_a_choice_and_a_scale_that_would_do_nothing_are_refused(
    digits: tuple[Any, Any],
) -> None:
    X, y = digits
    with pytest.raises(ValueError, match=r"^select: best needs validation images, got none with"):
        quick(select="best").fit(X, y)
    with pytest.raises(ValueError, match=r"^model: must be one of contest, .*got 'nonsense'"):
        quick(model="nonsense").fit(X[:, :10], y)
    model = quick().fit(X / 16 - 0.5, y).set_params(augment={"shift": 0.1})
    with pytest.raises(ValueError, match=r"^augment: must be set when the first images come"):
        model.partial_fit(X / 16 - 0.5, y)
    with pytest.raises(ValueError, match=r"^lr: .* with lr=1e\+30"):
        quick(optimizer={"name": "momentum", "lr": 1e30}).fit(X, y)
    assert quick(image_shape=(1, 10)).fit(X[:, :10], y).image_shape_ == (1, 10, 1)


def test_a_fit_refused_at_its_first_look_leaves_no_older_net(digits: tuple[Any, Any]) -> None:
    X, y = digits
    model = quick().fit(X, y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(X[:, :10], y[:5])
    with pytest.raises(NotFittedError):
        model.predict(X)
