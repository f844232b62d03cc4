"""The same batches for every peer, from memory: MNIST's training images where they are found,
otherwise images of random blobs.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from cnn_core.architectures import build_model, reference
from cnn_core.axes import Images, Indices, Labels
from cnn_core.data.idx import read_idx_images, read_idx_labels
from cnn_core.model import Sequential
from cnn_core.spec import ModelSpec

BATCH = 100
CLASSES = 10
EVALUATED = slice(50_000, 52_000)
TRAINED = 50_000


def mnist_files() -> tuple[Path, Path] | None:
    """Return MNIST's training images and labels under ``$CNN_DATA_DIR/mnist``, None where they are
    not.
    """
    folder = Path(os.environ.get("CNN_DATA_DIR", ".")) / "mnist"
    files = folder / "train-images-idx3-ubyte.gz", folder / "train-labels-idx1-ubyte.gz"
    return files if all(file.exists() for file in files) else None


def images_used() -> str:
    """Return which images the figures are measured on."""
    return (
        "images of MNIST"
        if mnist_files()
        else "images of random blobs (CNN_DATA_DIR holds no MNIST)"
    )


def load_images() -> tuple[Images, Labels]:
    """Return 60,000 uint8 images (N, 1, 28, 28) and their labels."""
    files = mnist_files()
    if files is not None:
        return read_idx_images(files[0]), read_idx_labels(files[1], CLASSES)
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, CLASSES, 60_000)
    blobs = (
        rng.integers(0, 2, (CLASSES, 1, 7, 7), dtype=np.uint8).repeat(4, axis=2).repeat(4, axis=3)
        * 120
    )
    images = blobs[drawn] + rng.integers(0, 136, (60_000, 1, 28, 28), dtype=np.uint8)
    wrong = rng.random(60_000) < 0.3  # so that losses stay away from zero and can be compared
    return images, np.where(wrong, rng.integers(0, CLASSES, 60_000), drawn)


def batches_in_order() -> list[Indices]:
    """Return the images of each batch of one epoch, the same for all."""
    order = np.random.default_rng(1).permutation(TRAINED)
    return [order[at : at + BATCH] for at in range(0, TRAINED, BATCH)]


def initial_model(net: str | ModelSpec, dropout: bool = True) -> Sequential:
    """Return the plain net with the weights that every peer starts from; without dropout where
    losses are to be compared.
    """
    spec = reference(net) if isinstance(net, str) else net
    spec = spec if dropout else replace(spec, dropout=0.0)
    return build_model(spec, (1, 28, 28), CLASSES, np.random.default_rng(7))


def step_flops(net: str) -> float:
    """Return the operations of one step by the direct algorithm: 2 per multiply-add, forward and
    gradients, without the gradient of the net's input.
    """
    model = initial_model(net)
    first = next(layer for layer in model.layers if layer.params)
    return 2.0 * BATCH * (3 * model.multiply_adds() - first.multiply_adds())
