"""What the lectures show, trained again: vanishing gradients, optimizers, overfitting and its
remedies, a small CNN.

    python -m benchmarks.lectures [--data FOLDER] [--write docs/learn/what-the-lectures-show.md]

FOLDER holds MNIST's four files (default: $CNN_DATA_DIR/mnist). Accuracy is measured on validation
images, where the sources read the test set; everything else is as the sources give it. About two
minutes on one core.
"""

import argparse
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from cnn_core.data.idx import read_idx_images, read_idx_labels
from cnn_core.data.prepared import write_prepared
from cnn_core.spec import DataSpec, ModelSpec, RegularizerSpec, Scalar, Spec, TrainSpec
from cnn_core.training import fit

STEPS_AN_EPOCH = 50


@dataclass(frozen=True)
class Row:
    """One training of a table: what differs from the table's other rows, and what the source says
    of it.
    """

    label: str
    model: ModelSpec
    optimizer: dict[str, Scalar]
    says: str = ""
    regularizer: RegularizerSpec = field(default_factory=RegularizerSpec)


@dataclass(frozen=True)
class Table:
    """Trainings that are compared: equal iterations on equal images."""

    title: str
    text: str
    iterations: int
    rows: list[Row]
    train_size: int | None = None
    show_gradients: bool = False
    results: list[dict[str, float]] = field(default_factory=list)


def _mlp(*hidden: int, **changes: object) -> ModelSpec:
    return replace(ModelSpec(name="mlp", hidden=hidden), **changes)  # type: ignore[arg-type]


def vanishing() -> Table:
    def row(label: str, says: str, *hidden: int, **changes: object) -> Row:
        return Row(label, _mlp(*hidden, **changes), {"name": "sgd", "lr": 0.1}, says)

    rows = [
        row("sigmoid, N(0, 0.01²)", "does not train", 40, 20, activation="sigmoid", init="normal"),
        row("ReLU, N(0, 0.01²)", "trains", 40, 20, activation="relu", init="normal"),
        row("sigmoid, Xavier", "trains", 40, 20, activation="sigmoid", init="xavier"),
        row("sigmoid, He", "trains", 40, 20, activation="sigmoid", init="he"),
        row("ReLU, He", "trains", 40, 20, activation="relu", init="he"),
        row("ReLU, He, batch norm before", "trains faster", 40, 20, batch_norm="before"),
        row("ReLU, He, batch norm after", "trains faster", 40, 20, batch_norm="after"),
        row("ReLU, He, 100-80", "fewer iterations, ends higher", 100, 80),
        row("ReLU, He, 300-100", "still better", 300, 100),
        row(
            "sigmoid, all zero",
            "every unit gets the same value",
            40,
            20,
            activation="sigmoid",
            init="zeros",
        ),
    ]
    text = (
        "An MLP 784-40-20-10, batches of 100, SGD 0.1. Gradients are the last batch's: where the "
        "first layer's is a thousandth of the\n"
        "last one's, nothing is learned there. Sigmoid's slope is at most 0.25, and small weights "
        "shrink the gradient once more a layer."
    )
    return Table("Gradients that vanish", text, 2000, rows, show_gradients=True)


def optimizers() -> Table:
    model = _mlp(40, 20, activation="sigmoid", init="normal")
    course: dict[str, Scalar] = {"eps": 1e-7}
    settings: list[tuple[str, dict[str, Scalar], str]] = [
        ("SGD", {"name": "sgd", "lr": 0.01}, ""),
        ("Momentum 0.9", {"name": "momentum", "lr": 0.01}, ""),
        ("AdaGrad", {"name": "adagrad", "lr": 0.01, **course}, ""),
        (
            "RMSProp, decay 0.99",
            {"name": "rmsprop", "lr": 0.01, "decay": 0.99, **course},
            "among the highest",
        ),
        ("RMSProp, lr 0.0001", {"name": "rmsprop", "lr": 0.0001, "decay": 0.99, **course}, ""),
        ("RMSProp, lr 0.1", {"name": "rmsprop", "lr": 0.1, "decay": 0.99, **course}, ""),
        ("RMSProp, decay 0.01", {"name": "rmsprop", "lr": 0.01, "decay": 0.01, **course}, ""),
        ("RMSProp, decay 1", {"name": "rmsprop", "lr": 0.01, "decay": 1.0, **course}, "saturates"),
        (
            "Adam",
            {"name": "adam", "lr": 0.01, "eps_corrected": False, **course},
            "among the highest",
        ),
    ]
    text = (
        "A sigmoid MLP 784-40-20-10 from N(0, 0.01²), batches of 100, learning rate 0.01: "
        "a start that plain SGD does not leave."
    )
    return Table(
        "Optimizers compared",
        text,
        1000,
        [Row(label, model, chosen, says) for label, chosen, says in settings],
    )


def overfitting() -> Table:
    deep = _mlp(*[100] * 6)
    slow: dict[str, Scalar] = {"name": "sgd", "lr": 0.01}
    fast: dict[str, Scalar] = {"name": "sgd", "lr": 0.1}
    rows = [
        Row("nothing", deep, slow, "training accuracy reaches 100 %"),
        Row("L2 0.1", deep, slow, "less overfitting", RegularizerSpec(l2=0.1)),
        Row("L1 0.005, lr 0.1", deep, fast, "less overfitting", RegularizerSpec(l1=0.005)),
        Row("dropout 0.15", replace(deep, dropout=0.15), slow, "less overfitting"),
        Row(
            "dropout 0.08, L1 0.004",
            replace(deep, dropout=0.08),
            fast,
            "",
            RegularizerSpec(l1=0.004),
        ),
        Row(
            "dropout 0.15, L2 0.005",
            replace(deep, dropout=0.15),
            slow,
            "",
            RegularizerSpec(l2=0.005),
        ),
        Row("dropout 0.5", replace(deep, dropout=0.5), slow, "too high suppresses too much"),
    ]
    text = (
        "Six hidden layers of 100 on the first 300 training images "
        "(ours: 300 drawn evenly from the classes), batches of 100."
    )
    return Table("Overfitting, and what helps", text, 1000, rows, train_size=300)


def convolution() -> Table:
    net = ModelSpec(name="simple_convnet", filters=30, kernel=5, hidden=(100,))
    adam: dict[str, Scalar] = {"name": "adam", "lr": 0.001}
    rows = [
        Row("conv 30 5x5 - pool - 100 - 10", net, adam, ""),
        Row("MLP 100 - 10", _mlp(100), adam, "a plain net is worse"),
    ]
    return Table(
        "A small CNN",
        "5,000 training images, Adam 0.001, batches of 100.",
        1000,
        rows,
        train_size=5000,
    )


def train(table: Table, row: Row, data: DataSpec, iterations: int) -> dict[str, float]:
    """Train one row and return its last metrics, and after how many iterations its accuracy first
    reached 0.9.
    """
    epochs = max(1, iterations // STEPS_AN_EPOCH)
    steps = TrainSpec(
        epochs=epochs,
        batch_size=100,
        steps_per_epoch=STEPS_AN_EPOCH,
        sampling="replacement",
        eval_size=1000,
    )
    limited = replace(data, train_size=table.train_size) if table.train_size else data
    spec = Spec(
        data=limited,
        model=row.model,
        optimizer=row.optimizer,
        regularizer=row.regularizer,
        train=steps,
        seed=(2024,),
    )
    history = fit(spec).history
    reached = [i for i, m in enumerate(history, 1) if m["valid_accuracy"] >= 0.9]
    return {
        **history[-1],
        "iterations_to_90": reached[0] * STEPS_AN_EPOCH if reached else float("nan"),
    }


def lines(table: Table) -> Iterator[str]:
    """Yield the table as Markdown."""
    yield from (f"## {table.title}", "", table.text, f"{table.iterations:,} iterations.", "")
    gradients = " first layer's gradient | last layer's |" if table.show_gradients else ""
    yield (
        "| | training accuracy | validation accuracy | iterations to 90 % "
        f"|{gradients} the source says |"
    )
    yield "| --- |" + " ---: |" * (5 if table.show_gradients else 3) + " --- |"
    for row, metrics in zip(table.rows, table.results, strict=True):
        to_90 = metrics["iterations_to_90"]
        cells = [row.label, f"{metrics['train_accuracy']:.3f}", f"{metrics['valid_accuracy']:.3f}"]
        cells.append("-" if math.isnan(to_90) else f"{to_90:.0f}")
        if table.show_gradients:
            norms = [value for key, value in metrics.items() if key.startswith("grad_norm/dense")]
            cells += [f"{norms[0]:.1e}", f"{norms[-1]:.1e}"]
        yield f"| {' | '.join([*cells, row.says])} |"
    yield ""


def prepared_mnist(source: Path, folder: Path) -> DataSpec:
    images = read_idx_images(source / "train-images-idx3-ubyte.gz")
    labels = read_idx_labels(source / "train-labels-idx1-ubyte.gz", 10)
    digest = write_prepared(folder / "mnist", images, labels, classes=10, name="mnist")
    return DataSpec(
        folder=str(folder / "mnist"), digest=digest, image_shape=(1, 28, 28), classes=10
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.lectures", description="Train what the lectures show."
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(os.environ.get("CNN_DATA_DIR", ".")) / "mnist",
        help="folder of MNIST's files",
    )
    parser.add_argument(
        "--write", type=Path, help="write a Markdown page there instead of printing it"
    )
    options = parser.parse_args()
    started = time.perf_counter()
    page = [
        "# What the lectures show",
        "",
        "Course notes that this project grew from, trained again on MNIST. Written by",
    ]
    page += ["`python -m benchmarks.lectures --write docs/learn/what-the-lectures-show.md`;"]
    page += [
        "accuracy is of 1,000 images each of the training and the validation split, seed 2024.",
        "",
    ]
    with tempfile.TemporaryDirectory() as folder:
        data = prepared_mnist(options.data, Path(folder))
        for table in (vanishing(), optimizers(), overfitting(), convolution()):
            for row in table.rows:
                print(f"{table.title}: {row.label}", file=sys.stderr, flush=True)
                table.results.append(train(table, row, data, table.iterations))
            page += lines(table)
    print(f"{time.perf_counter() - started:.0f} s", file=sys.stderr)
    if options.write is None:
        print("\n".join(page))
    else:
        options.write.write_text("\n".join(page))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
