"""The contest proxy: harder images by code of its own, aligned with the clean ones, the same every
time.
"""

import ast
from pathlib import Path

import numpy as np
import pytest

from cnn_core.data.prepared import open_prepared
from cnn_core.data.splits import reserved, split
from cnn_core.training_data import data_of
from pipeline.configuration import compose, spec_of
from pipeline.data import prepare, proxy
from pipeline.data.proxy import (
    FROZEN_SEED,
    VALIDATION_SEED,
    ProxyRecipe,
    digest,
    disturb,
    frozen_proxy,
)

STILL = ProxyRecipe(
    rotate=0,
    shift=0,
    scale=(1, 1),
    shear=0,
    nearest=1,
    specks=0,
    dilate=0,
    erode=0,
    blur=0,
    noise=0,
)


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    """Bars and boxes that look the same nowhere."""
    images = np.zeros((60, 1, 28, 28), np.uint8)
    for n in range(60):
        images[n, 0, 6 : 8 + n % 12, 10 + n % 5 : 14 + n % 7] = 200
    return images


def test_a_recipe_without_changes_keeps_the_images(digits: np.ndarray) -> None:
    np.testing.assert_array_equal(disturb(digits, 1, STILL), digits)


def test_images_depend_on_seed_and_place_alone(digits: np.ndarray) -> None:
    first = disturb(digits, 1)
    np.testing.assert_array_equal(disturb(digits[:7], 1), first[:7])
    assert np.mean((disturb(digits, 2) != first).any(axis=(1, 2, 3))) > 0.9
    assert digest(first) == digest(disturb(digits, 1)) != digest(disturb(digits, 2))


def test_shift_and_scale_stay_in_their_ranges() -> None:
    dot = np.zeros((300, 1, 29, 29), np.uint8)
    dot[:, :, 13:16, 13:16] = 255
    from dataclasses import replace

    moved = disturb(dot, 3, replace(STILL, shift=4.0, nearest=0.0)).astype(float)
    y = (moved.sum(axis=(1, 3)) * np.arange(29)).sum(axis=1) / moved.sum(axis=(1, 2, 3)) - 14
    assert 3.5 < np.abs(y).max() <= 4 * 29 / 28 + 0.01
    box = np.zeros((300, 1, 28, 28), np.uint8)
    box[:, :, 8:20, 8:20] = 255
    area = disturb(box, 3, replace(STILL, scale=(0.75, 1.25), nearest=0.0)).sum(axis=(1, 2, 3)) / (
        255 * 144
    )
    assert 0.5 < area.min() < 0.65 and 1.4 < area.max() < 1.6


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("specks", 1.0),
        ("dilate", 1.0),
        ("erode", 1.0),
        ("blur", 1.0),
        ("noise", 1.0),
        ("rotate", 30.0),
        ("shear", 0.25),
    ],
)
def test_every_disturbance_alone_changes_images(
    field: str, value: float, digits: np.ndarray
) -> None:
    from dataclasses import replace

    changed = disturb(digits, 1, replace(STILL, nearest=0.0, **{field: value})).astype(int)
    assert np.mean(np.any(changed != digits, axis=(1, 2, 3))) > 0.8
    if field in ("dilate", "specks"):
        assert (changed >= digits).all()
    if field == "erode":
        assert (changed <= digits).all()


def test_it_shares_no_code_with_the_augmentation() -> None:
    tree = ast.parse(Path(proxy.__file__).read_text())
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not [name for name in names if "augmentation" in name] and "cnn_core.axes" in names


def test_validation_reads_disturbed_copies_and_training_clean_ones(tmp_path: Path) -> None:
    config = compose(
        ["data=digits", "data.valid_images=proxy", "data.reserve=150", f"root={tmp_path}"]
    )
    spec = spec_of(config, prepare(config.data, config.root), (0,))
    data = data_of(spec.data)
    clean = open_prepared(spec.data.folder, spec.data.digest)
    np.testing.assert_array_equal(data.prepared.images, clean.images)
    np.testing.assert_array_equal(data.valid_images, disturb(clean.images, VALIDATION_SEED))
    held = reserved(clean.labels, spec.data)
    chosen = split(clean.labels, spec.data)
    assert (
        len(held) == 150
        and not np.intersect1d(held, np.concatenate([chosen.train, chosen.valid])).size
    )
    frozen = frozen_proxy(spec.data)
    assert frozen is not None
    np.testing.assert_array_equal(frozen.clean, clean.images[held])
    np.testing.assert_array_equal(frozen.images, disturb(clean.images[held], FROZEN_SEED))
    assert (
        frozen_proxy(prepare(compose(["data=digits", f"root={tmp_path}"]).data, tmp_path)) is None
    )
    again = prepare(config.data, config.root)
    assert (again.valid_folder, again.valid_digest) == (
        spec.data.valid_folder,
        spec.data.valid_digest,
    )


def test_the_digest_of_mnist_s_frozen_proxy_is_committed() -> None:
    import json

    committed = json.loads(proxy.COMMITTED.read_text())
    assert [key.split(":")[1:] for key in committed] == [["5000", "0"]] and all(
        len(value) == 64 for value in committed.values()
    )
