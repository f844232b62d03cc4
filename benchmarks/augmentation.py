"""What augmentation costs on top of a training step: every preset, interleaved with steps of
vgg_bn, batch 100, one thread.

python -m benchmarks.augmentation [--json FILE] [--write]
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.document import DOCS, add_outputs, bar_chart, finish, markdown_table
from benchmarks.environment import kernels, restart_unpinned
from cnn_core.architectures import reference
from cnn_core.augmentation import AugmentSpec, augment
from cnn_core.losses import softmax_cross_entropy
from cnn_core.optimizers import make_optimizer
from cnn_core.training_net import net_of
from pipeline.configuration import compose

PRESETS = ("none", "shift", "affine", "hard_digits")
BATCH, ROUNDS = 100, 15
LIMIT = 0.15  # extra time, as a share of a vgg_bn step


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, write JSON where asked; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_outputs(parser)
    options = parser.parse_args(arguments)
    restart_unpinned("benchmarks.augmentation", 1)
    rows = measure()
    print(table(rows))
    finish(
        "benchmarks.augmentation",
        options,
        arguments,
        rows,
        "Augmentation",
        lambda command: section(rows, command),
    )
    return 0


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as a Markdown table."""
    cells = [(row["preset"], f"{row['ms']:.2f}", f"{row['share_of_step']:.1%}") for row in rows]
    return markdown_table(
        ("augment=", "a batch, ms", f"of a vgg_bn step of {rows[0]['step_ms']:.1f} ms"), cells
    )


def section(rows: Sequence[Mapping[str, Any]], command: str) -> str:
    """Return the notes and the table, and draw the picture."""
    presets, shares = [row["preset"] for row in rows], [row["share_of_step"] for row in rows]
    bar_chart(
        DOCS / "augmentation.png",
        presets,
        {"augmentation": shares},
        "share of a vgg_bn step",
        line=LIMIT,
    )
    notes = (
        f"`{command}`: BLAS kernels {kernels()}. Medians of {ROUNDS} interleaved rounds, "
        f"batch {BATCH}, processor time of one thread."
    )
    picture = "![Share of a step](augmentation.png)"
    return f"{notes} At most {LIMIT:.0%} is the aim.\n\n{table(rows)}\n\n{picture}"


def measure() -> list[dict[str, Any]]:
    """Return the median time of each preset and its share of a vgg_bn step."""
    rng = np.random.default_rng(0)
    images = _strokes(rng)
    out = np.empty((1, 28, 28, BATCH), np.float32)
    step = _vgg_step(rng)
    calls: dict[str, Callable[[], Any]] = {}
    for name in PRESETS:
        spec = AugmentSpec(**_fields(compose([f"augment={name}"]).augment))
        calls[name] = lambda spec=spec: augment(images, spec, rng, out)  # type: ignore[misc]
    times: dict[str, list[float]] = {name: [] for name in ("step", *PRESETS)}
    for round_ in range(ROUNDS + 2):
        for name, call in {"step": step, **calls}.items():
            started = time.process_time()
            call()
            if round_ >= 2:
                times[name].append((time.process_time() - started) * 1000)
    medians = {name: statistics.median(values) for name, values in times.items()}
    step_ms = medians["step"]
    return [
        {
            "preset": name,
            "ms": medians[name],
            "step_ms": step_ms,
            "share_of_step": medians[name] / step_ms,
        }
        for name in PRESETS
    ]


def _fields(settings: Mapping[str, Any]) -> dict[str, Any]:
    return dict(settings)


def _strokes(rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return images that are mostly black with some grey, as digits are; the time does not depend
    on the values.
    """
    values = rng.integers(0, 256, (BATCH, 1, 28, 28))
    return np.where(rng.random(values.shape) < 0.2, values, 0).astype(np.uint8)


def _vgg_step(rng: np.random.Generator) -> Callable[[], None]:
    net = net_of(reference("vgg_bn"), (1, 28, 28), 10, (0,)).fused
    net.reseed((0,), 0)
    optimizer = make_optimizer({"name": "adam", "lr": 1e-3})
    x, labels = rng.random((1, 28, 28, BATCH), np.float32), np.arange(BATCH) % 10

    def step() -> None:
        _, dlogits = softmax_cross_entropy(net.forward(x, training=True), labels, 0.05)
        net.backward(dlogits)
        optimizer.step(net.params, net.grads, 1.0)

    return step


if __name__ == "__main__":
    raise SystemExit(main())
