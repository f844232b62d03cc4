"""The contest proxy: labelled images made as hard as a contest's, by code that shares nothing with
`cnn_core.augmentation`.

A contest's images are off-centre, rotated, scaled and sheared with blocky edges, dirty, drawn with
other pens, blurred and noisy. Two proxies are made from images that the judged nets did not train
on: one from the validation images, by which a sweep may choose, and a frozen one from the reserved
images (`data.reserve`) with another seed, which is only reported. Each image's changes depend on
(seed, index) alone.
"""

import contextlib
import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from scipy import ndimage

from cnn_core.axes import Images, Labels
from cnn_core.data.prepared import open_prepared, write_prepared
from cnn_core.data.splits import reserved
from cnn_core.errors import InputError
from cnn_core.spec import DataSpec
from pipeline.files import atomic_write_text
from pipeline.structured_text import read_json

VALIDATION_SEED = 41  # the proxy that a sweep may optimise
FROZEN_SEED = 1789  # the proxy that is reported
VERSION = 1  # of the recipe and of what it draws
COMMITTED = Path(__file__).with_name(
    "frozen_proxies.json"
)  # "data digest:reserve:split_seed" -> digest of the frozen proxy


@dataclass(frozen=True, kw_only=True)
class ProxyRecipe:
    """How hard the proxy is; lengths are pixels of a 28-pixel image and grow with its side."""

    rotate: float = 30.0  # degrees
    shift: float = 4.0  # pixels
    scale: tuple[float, float] = (0.75, 1.25)
    shear: float = 0.25
    nearest: float = 0.5  # share resampled by nearest neighbour
    specks: float = 0.5  # share with white specks, up to 3 % of the pixels
    dilate: float = 0.25  # share drawn with a thicker pen
    erode: float = 0.15  # share drawn with a thinner one
    blur: float = 0.3  # share blurred, sigma up to 0.9 pixels
    noise: float = 0.5  # share with Gaussian noise, standard deviation up to 30 of 255


def disturb(images: Images, seed: int, recipe: ProxyRecipe = ProxyRecipe()) -> Images:
    """Return disturbed copies of (N, C, H, W) uint8 images, a pure function of the arguments; image
    n depends on (seed, n) alone.
    """
    result = np.empty_like(images)
    for n, image in enumerate(images):
        result[n] = _disturb_one(image, default_rng((seed, n)), recipe)
    return result


def digest(images: Images) -> str:
    """Return the sha256 of the images' shape and bytes: what is committed for the frozen proxy."""
    return hashlib.sha256(repr(images.shape).encode() + images.tobytes()).hexdigest()


def with_proxy(data: DataSpec, root: Path) -> DataSpec:
    """Return `data` with its validation images read from disturbed copies, which are made once and
    kept under ``root/prepared``.

    All training images are disturbed, in their order, so that any split and any fold finds its
    validation images among them.
    """
    folder = root / "prepared" / f"proxy-{data.digest[:16]}-{VALIDATION_SEED}-v{VERSION}"
    mark = folder.with_name(folder.name + ".json")
    known = _known(mark) if (folder / "manifest.json").is_file() else None
    if known is None:
        source = open_prepared(data.folder, data.digest)
        known = write_prepared(
            folder,
            disturb(source.images, VALIDATION_SEED),
            source.labels,
            classes=data.classes,
            name=f"{source.name}-proxy",
        )
        atomic_write_text(mark, json.dumps({"digest": known}) + "\n")
    return replace(data, valid_folder=str(folder), valid_digest=known)


def _known(mark: Path) -> str | None:
    with contextlib.suppress(OSError, ValueError, KeyError):  # none, or damaged: made again
        return str(read_json(mark)["digest"])
    return None


@dataclass(frozen=True)
class FrozenProxy:
    """The reported proxy: disturbed copies of the reserved images, those images themselves, their
    labels.
    """

    images: Images
    clean: Images
    labels: Labels
    digest: str


def frozen_proxy(data: DataSpec) -> FrozenProxy | None:
    """Return the frozen proxy of a data set with reserved images, None where none are reserved.

    Raises InputError where its digest differs from the one committed for this data set in
    ``frozen_proxies.json``.
    """
    if data.reserve == 0:
        return None
    source = open_prepared(data.folder, data.digest)
    chosen = reserved(source.labels, data, source.groups)
    clean = np.ascontiguousarray(source.images[chosen])
    images = disturb(clean, FROZEN_SEED)
    found = digest(images)
    committed = json.loads(COMMITTED.read_text()).get(
        f"{data.digest}:{data.reserve}:{data.split_seed}"
    )
    if committed is not None and committed != found:
        raise InputError(
            f"the frozen proxy must have the committed digest {committed[:12]}, got {found[:12]} "
            "(another SciPy or NumPy?)"
        )
    return FrozenProxy(images, clean, source.labels[chosen], found)


def _disturb_one(
    image: NDArray[np.uint8], rng: Generator, recipe: ProxyRecipe
) -> NDArray[np.uint8]:
    side = max(image.shape[1:])
    unit = side / 28
    angle, shear = (
        np.deg2rad(rng.uniform(-recipe.rotate, recipe.rotate)),
        rng.uniform(-recipe.shear, recipe.shear),
    )
    zoom = rng.uniform(*recipe.scale)
    shift = rng.uniform(-recipe.shift * unit, recipe.shift * unit, size=2)
    order: Literal[0, 1] = 0 if rng.random() < recipe.nearest else 1
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.linalg.inv(rotation @ np.array([[1.0, 0.0], [shear, 1.0]]) * zoom)
    centre = (np.array(image.shape[1:]) - 1) / 2
    offset = centre - matrix @ (centre + shift)
    thicker, thinner = (rng.random(2) < (recipe.dilate, recipe.erode)).tolist()
    sigma = rng.uniform(0.3, 0.9) * unit if rng.random() < recipe.blur else 0.0
    planes = []
    for plane in image:
        x = plane.astype(np.float64)
        if thicker:
            x = ndimage.grey_dilation(x, footprint=_PEN)
        elif thinner:
            x = ndimage.grey_erosion(x, footprint=_NIB)
        x = ndimage.affine_transform(x, matrix, offset, order=order, mode="constant")
        planes.append(ndimage.gaussian_filter(x, sigma, mode="constant") if sigma else x)
    return _dirty(np.stack(planes), rng, recipe)


_PEN = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)
_NIB = np.ones((2, 2), bool)  # a plus would wipe out two-pixel strokes


def _dirty(x: NDArray[np.float64], rng: Generator, recipe: ProxyRecipe) -> NDArray[np.uint8]:
    """Return (C, H, W) with white specks and noise, in bytes."""
    if rng.random() < recipe.specks:
        x[:, rng.random(x.shape[1:]) < rng.uniform(0, 0.03)] = 255
    if rng.random() < recipe.noise:
        x += rng.normal(0, rng.uniform(0, 30), x.shape)
    return np.clip(np.rint(x), 0, 255).astype(np.uint8)
