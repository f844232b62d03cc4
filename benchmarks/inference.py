"""Images a second of trained nets in inference, beside onnxruntime where it is installed: ``python
-m benchmarks.inference``.

Both take uint8 images and return probabilities: ours by `predict_proba` (fused, batch normalisation
folded into the convolution), theirs by the same net as an ONNX graph with all optimizations on.
They take turns; medians. Probabilities must agree within 1e-4.
"""

import argparse
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from benchmarks.document import DOCS, add_outputs, bar_chart, finish, markdown_table
from benchmarks.environment import kernels, restart_unpinned
from benchmarks.peers.batches import images_used, load_images
from benchmarks.peers.ours import Ours
from cnn_core.axes import Array, Images
from cnn_core.model import Sequential

NETS = ("contest", "simple_convnet", "three_conv", "two_conv", "vgg_bn")
TOLERANCE = 1e-4
Predict = Callable[[Images], Array]


@dataclass(frozen=True)
class Row:
    net: str
    who: str
    batch: int
    images_per_s: float
    ratio_to_ours: float


def onnxruntime_predict(model: Sequential, threads: int) -> Predict:
    """Return a function that runs the net in onnxruntime."""
    import onnxruntime

    from benchmarks.peers.onnx_net import to_onnx

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(
        to_onnx(model), options, providers=["CPUExecutionProvider"]
    )

    def predict(images: Images) -> Array:
        probabilities: Array = session.run(None, {"images": images})[0]
        return probabilities

    return predict


def measure(net: str, batches: list[int], turns: int, threads: int) -> list[Row]:
    """Return a row for each batch size and each runtime; raise ValueError where their probabilities
    differ.
    """
    peer = Ours(net)
    for step in range(
        30
    ):  # so that statistics and weights are those of a net that learned something
        peer.step(step)
    images, _ = load_images()
    predictors: dict[str, Predict] = {"ours": peer.model.predict_proba}
    if importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnx"):
        predictors["onnxruntime"] = onnxruntime_predict(peer.model.original, threads)
    rows = []
    for batch in batches:
        chosen = np.ascontiguousarray(images[:batch])
        answers = {who: predict(chosen) for who, predict in predictors.items()}
        for who, answer in answers.items():
            if np.abs(answer - answers["ours"]).max() > TOLERANCE:
                raise ValueError(
                    f"{net}: probabilities of {who} must agree within {TOLERANCE}, got "
                    f"{np.abs(answer - answers['ours']).max()}"
                )
        times: dict[str, list[float]] = {who: [] for who in predictors}
        for _ in range(turns):
            for who, predict in predictors.items():
                started = time.perf_counter()
                predict(chosen)
                times[who].append(time.perf_counter() - started)
        medians = {who: statistics.median(values) for who, values in times.items()}
        rows += [
            Row(net, who, batch, batch / taken, taken / medians["ours"])
            for who, taken in medians.items()
        ]
    return rows


def section(rows: list[Row], command: str, machine: str) -> str:
    """Return the notes and the table, and draw the picture."""
    cells = [
        (row.net, row.who, str(row.batch), f"{row.images_per_s:,.0f}", f"{row.ratio_to_ours:.2f}")
        for row in rows
    ]
    table = markdown_table(("net", "who", "batch", "images/s", "their time divided by ours"), cells)
    largest = max(row.batch for row in rows)
    nets = list(dict.fromkeys(row.net for row in rows))
    found = {(row.net, row.who): row.images_per_s for row in rows if row.batch == largest}
    names = list(dict.fromkeys(row.who for row in rows))
    series = {who: [found.get((net, who)) for net in nets] for who in names}
    bar_chart(DOCS / "inference.png", nets, series, f"images a second, batch {largest}")
    notes = (
        f"`{command}`: {machine}. From uint8 images in memory to probabilities; "
        "medians of interleaved turns."
    )
    return f"{notes}\n\n{table}\n\n![Images a second](inference.png)"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference", description=__doc__)
    parser.add_argument("--nets", nargs="+", choices=NETS, default=NETS)
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 100])
    parser.add_argument("--turns", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    add_outputs(parser)
    arguments = parser.parse_args(argv)
    restart_unpinned("benchmarks.inference", arguments.threads)
    rows: list[Row] = []
    print(f"{'net':16}{'who':14}{'batch':>6}{'images/s':>11}{'ratio':>8}")
    for net in arguments.nets:
        measured = measure(net, arguments.batches, arguments.turns, arguments.threads)
        rows += measured
        for row in measured:
            print(
                f"{row.net:16}{row.who:14}{row.batch:6}{row.images_per_s:11,.0f}{row.ratio_to_ours:8.2f}",
                flush=True,
            )
    machine = f"{arguments.threads} thread, BLAS kernels {kernels()}, {images_used()}"
    print(machine)
    finish(
        "benchmarks.inference",
        arguments,
        argv,
        list(map(asdict, rows)),
        "Inference",
        lambda command: section(rows, command, machine),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
