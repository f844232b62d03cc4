"""Real images for the tests of cnn_core: scikit-learn's 1,797 digits, prepared once a session, and
MNIST where the machine has it.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from cnn_core.axes import Images, Labels
from cnn_core.data.idx import read_idx_images, read_idx_labels
from cnn_core.data.prepared import write_prepared
from cnn_core.spec import DataSpec, ModelSpec, Spec
from cnn_core.train_spec import TrainSpec


@pytest.fixture(scope="session")
def digits() -> tuple[Images, Labels]:
    """All 8x8 digits: images (1797, 1, 8, 8) uint8 stretched from 0..16 to 0..255, labels int64."""
    bunch: Any = load_digits()
    return np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None], bunch.target.astype(
        np.int64
    )


@pytest.fixture(scope="session")
def digits_data(
    digits: tuple[Images, Labels], tmp_path_factory: pytest.TempPathFactory
) -> DataSpec:
    """The digits as prepared data, a fifth of them validating."""
    folder = tmp_path_factory.mktemp("prepared") / "digits"
    digest = write_prepared(folder, *digits, classes=10, name="digits")
    return DataSpec(
        folder=str(folder), digest=digest, image_shape=(1, 8, 8), classes=10, valid_fraction=0.2
    )


@pytest.fixture(scope="session")
def mnist_data(mnist_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> DataSpec:
    """The first 1,000 training images of MNIST as prepared data."""
    images = read_idx_images(mnist_folder / "train-images-idx3-ubyte.gz")[:1000]
    labels = read_idx_labels(mnist_folder / "train-labels-idx1-ubyte.gz", 10)[:1000]
    folder = tmp_path_factory.mktemp("prepared") / "mnist"
    digest = write_prepared(folder, images, labels, classes=10, name="mnist")
    return DataSpec(
        folder=str(folder), digest=digest, image_shape=(1, 28, 28), classes=10, valid_fraction=0.2
    )


@pytest.fixture(scope="session")
def tiny_spec(digits_data: DataSpec) -> Callable[..., Spec]:
    """A function that makes a spec of a tiny net on 200 digits; its arguments replace fields of
    Spec.
    """

    def make(**changes: Any) -> Spec:
        data = replace(digits_data, train_size=200, valid_size=80)
        model = ModelSpec(name="contest", filters=4, kernel=3, dropout=0.3, batch_norm="before")
        base = Spec(
            data=data,
            model=model,
            optimizer={"name": "adam", "lr": 0.003},
            train=TrainSpec(epochs=3, batch_size=32),
            seed=(7, 1),
        )
        return replace(base, **changes)

    return make


@pytest.fixture(scope="session")
def mnist_folder() -> Path:
    """The folder of the four MNIST files, where CNN_DATA_DIR names one."""
    root = os.environ.get("CNN_DATA_DIR", "")
    folder = Path(root) / "mnist"
    if not root or not folder.is_dir():
        pytest.skip("CNN_DATA_DIR names no folder with mnist/ in it")
    return folder
