"""What the lectures show holds here too: the same tables as `benchmarks/lectures.py`, trained
briefly on small digits.
"""

from dataclasses import replace

import pytest

from benchmarks import lectures
from benchmarks.lectures import Row, Table
from cnn_core.spec import DataSpec, ModelSpec


@pytest.fixture(scope="module")
def train(digits_data: DataSpec):
    """A function that trains a table's row on the digits."""

    def one(table: Table, label: str, iterations: int, **changes: object) -> dict[str, float]:
        row = next(row for row in table.rows if row.label == label)
        row = replace(row, model=replace(row.model, **changes))
        return lectures.train(table, row, digits_data, iterations)

    return one


def test_small_weights_make_sigmoids_gradient_vanish(train) -> None:
    table = lectures.vanishing()
    vanished = train(table, "sigmoid, N(0, 0.01²)", 300)
    learns = train(table, "ReLU, He", 300)
    assert vanished["valid_accuracy"] < 0.2 < 0.9 < learns["valid_accuracy"]
    assert vanished["grad_norm/dense1"] < vanished["grad_norm/dense3"] / 100
    assert learns["grad_norm/dense1"] > learns["grad_norm/dense3"] / 10


def test_xavier_rescues_sigmoid_and_he_does_too(train) -> None:
    table = lectures.vanishing()
    stuck = train(table, "sigmoid, N(0, 0.01²)", 1000)
    for label in ("sigmoid, Xavier", "sigmoid, He"):
        assert train(table, label, 1000)["valid_accuracy"] > stuck["valid_accuracy"] + 0.3


def test_relu_trains_from_where_sigmoid_does_not(train) -> None:
    table = lectures.vanishing()
    # Three layers of 8x8 images: a spread of 0.05 is as small for 64 inputs as 0.01 for 784.
    sigmoid = train(table, "sigmoid, N(0, 0.01²)", 1000, init_std=0.05)
    relu = train(table, "ReLU, N(0, 0.01²)", 1000, init_std=0.05)
    assert sigmoid["valid_accuracy"] < 0.3 < 0.8 < relu["valid_accuracy"]


def test_adaptive_optimizers_leave_the_plateau_that_holds_sgd(train) -> None:
    table = lectures.optimizers()
    assert train(table, "SGD", 400)["valid_accuracy"] < 0.2
    for label in ("RMSProp, decay 0.99", "Adam"):
        assert train(table, label, 400)["valid_accuracy"] > 0.7
    assert train(table, "RMSProp, decay 1", 300)["valid_accuracy"] < 0.2


def test_penalties_reduce_the_gap_and_cost_accuracy(train) -> None:
    table = replace(lectures.overfitting(), train_size=100)

    def gap(metrics: dict[str, float]) -> float:
        return metrics["train_accuracy"] - metrics["valid_accuracy"]

    hidden = (50,) * 3
    nothing, strong = (train(table, label, 1000, hidden=hidden) for label in ("nothing", "L2 0.1"))
    assert nothing["train_accuracy"] > 0.97
    assert gap(strong) < gap(nothing)
    assert strong["valid_accuracy"] <= nothing["valid_accuracy"] + 0.02
    suppressed = train(table, "nothing", 1000, hidden=hidden, dropout=0.8)
    assert suppressed["train_accuracy"] < nothing["train_accuracy"] - 0.1, (
        "too much dropout suppresses too much"
    )


def test_every_row_of_every_table_trains(
    digits_data: DataSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lectures, "STEPS_AN_EPOCH", 2)
    for table in (
        lectures.vanishing(),
        lectures.optimizers(),
        lectures.overfitting(),
        lectures.convolution(),
    ):
        small = replace(table, train_size=100)
        for row in table.rows:
            # 5x5 filters fit 8x8 images; the tables' own sizes are kept otherwise.
            table.results.append(lectures.train(small, row, digits_data, 1))
        text = "\n".join(lectures.lines(table))
        assert text.count("\n| ") == len(table.rows) + 2
        assert all(row.label in text for row in table.rows)


def test_a_row_is_what_the_course_notes_say() -> None:
    row = next(row for row in lectures.overfitting().rows if row.label == "dropout 0.08, L1 0.004")
    assert row.model == ModelSpec(name="mlp", hidden=(100,) * 6, dropout=0.08)
    assert (row.regularizer.l1, row.regularizer.l2) == (0.004, 0.0)
    assert isinstance(row, Row)
