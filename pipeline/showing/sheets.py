"""Sheets of images: what augmentation makes of them, and what a net would see of an input."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cnn_core.augmentation import augment
from cnn_core.axes import Array, Images
from cnn_core.data.prepared import open_prepared
from cnn_core.layers import MomentNormalization
from cnn_core.streams import stream
from cnn_core.training_data import make_augmentation
from pipeline.configuration import Config
from pipeline.data import prepare
from pipeline.files import writable_file, writable_folder
from pipeline.inputs import Hints
from pipeline.inputs.reading import open_as_trained
from pipeline.picture_sheet import write_sheet

ROWS = 12
MOST_IMAGES = 200

Scalar = str | int | float | bool | None


def augment_sheet(config: Config, output: str | None) -> Path:
    """Write a sheet of training images and their augmented copies; return its path."""
    data = prepare(config.data, config.root)
    images = open_prepared(data.folder, data.digest).images
    chosen = np.linspace(0, len(images) - 1, min(ROWS, len(images))).astype(int)
    name = config.choices.get("augment") or "none"
    place = _place(config, output, f"augment-{name}.png")
    return write_augment_sheet(
        place, images[chosen], config.augment, seed=config.study.seed, frame=config.model.frame
    )


def input_sheet(
    config: Config, path: str, normalize: str, output: str | None
) -> tuple[Path, int, tuple[str, ...]]:
    """Write a sheet of an input's first images as a net trained on ``data=``, of that
    ``model.frame``, would see them.

    Return its path, how many are shown, and what the input was taken for.
    """
    data = prepare(config.data, config.root)
    prepared = open_prepared(data.folder, data.digest)
    hints = Hints(shape=prepared.image_shape, class_names=prepared.class_names)
    reading = open_as_trained(path, prepared.form, hints, normalize)
    images: list[Images] = []
    for batch in reading.batches():
        images.append(batch.images)
        if sum(map(len, images)) >= MOST_IMAGES:
            break
    shown = np.concatenate(images)[:MOST_IMAGES]
    place = _place(config, output, "input.png")
    return write_sheet(place, framed(shown, config.model.frame)), len(shown), reading.lines


def framed(images: Images, frame: str) -> Images:
    """Return images (N, C, H, W) uint8 as a net of that ``model.frame`` frames them when it
    predicts; in training the frame also varies.
    """
    if frame == "none":
        return images
    layer = MomentNormalization(frame)
    layer.build(images.shape[1:], np.random.default_rng(0))
    x = np.ascontiguousarray(images.transpose(1, 2, 3, 0), np.float32) / np.float32(255)
    return _bytes(layer.forward(x, training=False))


def write_augment_sheet(
    path: Path,
    images: Images,
    fields: Mapping[str, Scalar],
    *,
    variants: int = 15,
    seed: int = 0,
    frame: str = "none",
) -> Path:
    """Draw every image of (N, C, H, W) uint8 in a row with `variants` augmented copies, in the
    normalised frame where `frame` names one; return the path.

    fields: those of `AugmentSpec`, as `conf/augment` gives them. Raises InputError where one is out
    of range.
    """
    spec = make_augmentation(fields)
    repeated = np.repeat(images, variants, axis=0)
    changed = augment(repeated, spec, stream((seed,), "augment"))
    seen = framed(_bytes(changed), frame).reshape(len(images), variants, *images.shape[1:])
    rows = np.concatenate([images[:, None], seen], axis=1)
    return write_sheet(path, rows.reshape(-1, *images.shape[1:]), columns=variants + 1)


def _bytes(x: Array) -> Images:
    """Return (C, H, W, N) in [0, 1] as images."""
    return np.rint(x.transpose(3, 0, 1, 2) * 255).astype(np.uint8)


def _place(config: Config, output: str | None, name: str) -> Path:
    if output is not None:
        return writable_file(output, "output")
    return writable_folder(config.root / "sheets", "root") / name
