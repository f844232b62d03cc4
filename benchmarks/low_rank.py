"""Speed of a trained net against the rank of its compressed layers, a hundred images and one at a
time, beside its accuracy: ``python -m benchmarks.low_rank``.

What re-training wins back, with several seeds, is the preset low_rank; a study's own net is
compressed by ``python -m pipeline.compress``.
"""

import argparse
import statistics
import sys
import time
from dataclasses import asdict, dataclass

import numpy as np

from benchmarks.document import DOCS, add_outputs, bar_chart, finish, markdown_table
from benchmarks.environment import kernels, restart_unpinned
from benchmarks.peers.batches import images_used
from benchmarks.peers.ours import Ours
from cnn_core.architectures import reference
from cnn_core.axes import Images
from cnn_core.fused.fuse import FusedSequential, fuse
from cnn_core.low_rank import compress

# Nets of the sources, and two of the kinds in which most of the work can be saved.
NETS = {
    "simple_convnet": reference("simple_convnet"),
    "two_conv": reference("two_conv"),
    "wide_dense": reference("mlp", hidden=(1024, 1024)),
    "large_kernel": reference("two_conv", filters=32, kernel=9),
}
HELD_OUT = slice(50_000, 60_000)  # of the training images; the peers train on those before


@dataclass(frozen=True)
class Row:
    net: str
    rank: int | None  # None: the net as it was trained
    accuracy: float
    multiply_adds: int
    parameters: int
    images_per_s: float
    speedup: float  # a hundred images at a time
    speedup_of_one: float  # one at a time


def measure(net: str, ranks: list[int], steps: int, turns: int) -> list[Row]:
    """Train the net, then return a row for it and for each rank; their speeds are measured in
    turns.
    """
    peer = Ours(NETS[net])
    for step in range(steps):
        peer.step(step)
    plain = peer.model.original
    models = {None: plain} | {rank: compress(plain, rank) for rank in ranks}
    fused = {rank: fuse(model) for rank, model in models.items()}
    images, labels = np.ascontiguousarray(peer.images[HELD_OUT]), peer.labels[HELD_OUT]
    accuracy = {
        rank: float(np.mean(model.predict_proba(images).argmax(axis=1) == labels))
        for rank, model in fused.items()
    }
    many = _medians(fused, images[:1000], 100, turns)
    one = _medians(fused, images[:100], 1, turns)
    return [
        Row(
            net,
            rank,
            accuracy[rank],
            m.multiply_adds(),
            m.parameter_count(),
            1000 / many[rank],
            many[None] / many[rank],
            one[None] / one[rank],
        )
        for rank, m in models.items()
    ]


def _medians(
    nets: dict[int | None, FusedSequential], images: Images, batch: int, turns: int
) -> dict[int | None, float]:
    """Return the median seconds that each net takes for the images, timed in turns."""
    times: dict[int | None, list[float]] = {rank: [] for rank in nets}
    for _ in range(turns):
        for rank, model in nets.items():
            started = time.perf_counter()
            model.predict_proba(images, batch)
            times[rank].append(time.perf_counter() - started)
    return {rank: statistics.median(values) for rank, values in times.items()}


def section(rows: list[Row], command: str, machine: str) -> str:
    """Return the notes and the table, and draw the picture."""
    cells = [
        (
            row.net,
            "full" if row.rank is None else str(row.rank),
            f"{row.accuracy:.2%}",
            f"{row.multiply_adds:,}",
            f"{row.parameters:,}",
            f"{row.images_per_s:,.0f}",
            f"{row.speedup:.2f}",
            f"{row.speedup_of_one:.2f}",
        )
        for row in rows
    ]
    heads = ("net", "rank", "accuracy", "multiply-adds", "parameters", "images/s", "speed-up")
    table = markdown_table((*heads, "one at a time"), cells)
    groups = [f"{row.net} {'full' if row.rank is None else row.rank}" for row in rows]
    full = {row.net: row.multiply_adds for row in rows if row.rank is None}
    series = {
        "accuracy": [row.accuracy for row in rows],
        "speed-up": [row.speedup for row in rows],
        "multiply-adds, share": [row.multiply_adds / full[row.net] for row in rows],
    }
    bar_chart(
        DOCS / "low_rank.png",
        groups,
        series,
        "accuracy, speed-up in inference, share of multiply-adds",
    )
    notes = (
        f"`{command}`: {machine}. Accuracy on 10,000 training images that were held out; "
        "no training after the compression."
    )
    return f"{notes}\n\n{table}\n\n![Accuracy and speed by rank](low_rank.png)"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.low_rank", description=__doc__)
    parser.add_argument("--nets", nargs="+", default=list(NETS), choices=NETS)
    parser.add_argument("--ranks", nargs="+", type=int, default=[8, 12, 16, 20, 24, 64])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--turns", type=int, default=15)
    add_outputs(parser)
    arguments = parser.parse_args(argv)
    restart_unpinned("benchmarks.low_rank", 1)
    rows: list[Row] = []
    print(
        f"{'net':16}{'rank':>6}{'accuracy':>10}{'multiply-adds':>15}{'images/s':>11}"
        f"{'speed-up':>10}{'of one':>8}"
    )
    for net in arguments.nets:
        measured = measure(net, arguments.ranks, arguments.steps, arguments.turns)
        rows += measured
        for row in measured:
            rank = "full" if row.rank is None else row.rank
            print(
                f"{net:16}{rank:>6}{row.accuracy:10.2%}{row.multiply_adds:15,}"
                f"{row.images_per_s:11,.0f}{row.speedup:10.2f}{row.speedup_of_one:8.2f}",
                flush=True,
            )
    machine = f"1 thread, BLAS kernels {kernels()}, {images_used()}"
    print(machine)
    rows_of_json = list(map(asdict, rows))
    finish(
        "benchmarks.low_rank",
        arguments,
        argv,
        rows_of_json,
        "Low-rank compression",
        lambda command: section(rows, command, machine),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
