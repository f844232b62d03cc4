"""What augmentation makes of images, drawn: each row shows one image, first as it is, then changed at random."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cnn_core.augmentation import AugmentSpec, augment
from cnn_core.axes import Images
from cnn_core.streams import stream
from pipeline.sheets import write_sheet

Scalar = str | int | float | bool | None


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
