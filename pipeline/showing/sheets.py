"""Sheets of images: what augmentation makes of them, and what a net would see of an input."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cnn_core.augmentation import AugmentSpec, augment
from cnn_core.axes import Images
from cnn_core.data.prepared import open_prepared
from cnn_core.streams import stream
from pipeline.artifacts import writable_file, writable_folder
from pipeline.config import Config
from pipeline.data import prepare
from pipeline.inputs import Wanted, open_input
from pipeline.showing.contact_sheet import write_sheet

ROWS = 12
MOST_IMAGES = 200

Scalar = str | int | float | bool | None


def augment_sheet(config: Config, output: str | None) -> Path:
    """Write a sheet of training images and their augmented copies; return its path."""
    data = prepare(config.data, config.root)
    images = open_prepared(data.folder, data.digest).images
    chosen = np.linspace(0, len(images) - 1, min(ROWS, len(images))).astype(int)
    name = config.choices.get("augment") or "none"
    return write_augment_sheet(_place(config, output, f"augment-{name}.png"), images[chosen], config.augment, seed=config.study.seed)


def input_sheet(config: Config, path: str, normalize: str, output: str | None) -> tuple[Path, int]:
    """Write a sheet of an input's first images as a net trained on ``data=`` would see them; return its path and how many are shown."""
    data = prepare(config.data, config.root)
    source = open_input(path, Wanted(image_shape=data.image_shape, classes=data.classes), normalize)
    block = next(iter(source.blocks(MOST_IMAGES)))
    return write_sheet(_place(config, output, "input.png"), block.images), len(block.images)


def write_augment_sheet(path: Path, images: Images, fields: Mapping[str, Scalar], *, variants: int = 15, seed: int = 0) -> Path:
    """Draw every image of (N, C, H, W) uint8 in a row with `variants` augmented copies; return the path.

    fields: those of `AugmentSpec`, as `conf/augment` gives them. Raises InputError where one is out of range.
    """
    spec = AugmentSpec(**fields)  # type: ignore[arg-type]
    repeated = np.repeat(images, variants, axis=0)
    changed = augment(repeated, spec, stream((seed,), "augment"))
    changed_bytes = np.rint(changed.transpose(3, 0, 1, 2) * 255).astype(np.uint8).reshape(len(images), variants, *images.shape[1:])
    rows = np.concatenate([images[:, None], changed_bytes], axis=1)
    return write_sheet(path, rows.reshape(-1, *images.shape[1:]), columns=variants + 1)


def _place(config: Config, output: str | None, name: str) -> Path:
    if output is not None:
        return writable_file(output, "output")
    return writable_folder(config.root / "sheets", "root") / name
