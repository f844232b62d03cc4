"""An input as a trained net sees it: every picture brought into the form of the training data, in
batches of bounded memory.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_core.axes import Images
from cnn_core.data.agreement import Agreement
from cnn_core.data.image_form import ImageForm
from cnn_core.data.value_range import ValueRange
from cnn_core.errors import InputError
from pipeline.inputs import Block, Hints, InputSource, open_input

MOST_PICTURES = 500  # of a batch
_FIRST_PICTURES = 20  # read at once while their size is not known
_MOST_BYTES = 1 << 24  # of a batch's pictures, as the file holds them and as the net sees them


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Pictures in the form of the training data, (n, C, H, W) uint8, with their ids and labels as
    text; `damaged` (n,) marks those that cannot be read, which are black.
    """

    images: Images
    ids: tuple[str, ...]
    labels: tuple[str, ...] | None = None
    damaged: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Reading:
    """An opened input and what is done to its pictures; it can be read any number of times."""

    source: InputSource
    form: ImageForm
    size: int  # pictures of a batch
    path: Path
    lines: tuple[str, ...]  # what the input was taken for, and what is done to it
    matched: bool = False  # light and dark are as in training, or turned round to be

    def batches(self) -> Iterator[Batch]:
        """Yield the input's pictures in its order. Raises InputError at the first fault."""
        seen = Agreement(self.form, self.source.separate, str(self.path))
        for block in self.source.blocks(self.size):
            seen.add_depths(block.pictures)
            damaged = np.array([not len(picture) for picture in block.pictures], bool)
            images = self._images(block, damaged)
            if self.matched:
                _checked(seen, images[~damaged])
            yield Batch(
                images=images,
                ids=block.ids,
                labels=block.labels,
                damaged=damaged if damaged.any() else None,
            )

    def _images(self, block: Block, damaged: NDArray[np.bool_]) -> Images:
        if not damaged.any():
            return self.form.apply_all(block.pictures, str(self.path))
        whole = [picture for picture in block.pictures if len(picture)]
        images = np.zeros((len(damaged), *self.form.shape), np.uint8)
        images[~damaged] = self.form.apply_all(whole, str(self.path))
        return images


def open_as_trained(
    path: str | Path,
    form: ImageForm,
    hints: Hints,
    normalize: str = "auto",
    full_scale: float | None = None,
    polarity: str = "auto",
) -> Reading:
    """Open an input for a net whose training data have this form.

    `normalize` "auto" repeats the form, "mnist" and "none" override its normalisation;
    `full_scale` is the value that stands for white, None: training's, or another where the input's
    values certainly have that range; `polarity` "auto" turns grey pictures round whose background
    is certainly not training's, "keep" does not. Raises InputError for whatever cannot be read.
    """
    path = Path(path).expanduser()
    source = open_input(path, hints)
    found, size = _range_of(source, form)
    scale = found.full_scale(str(path)) if full_scale is None else full_scale
    lines = [source.understood]
    if scale != form.full_scale:
        lines.append(f"values 0 to {scale:g} stand for training's 0 to {form.full_scale:g}")
    asked = replace(overridden(form, normalize), full_scale=scale)
    some = _some(source)
    form = asked.matched(asked.apply_all(some, str(path))) if polarity == "auto" else asked
    sizes = sorted(
        {"x".join(map(str, p.shape[1:])) for p in some} - {f"{form.height}x{form.width}"}
    )
    now = f" (of {', '.join(sizes[:3])}{', ...' if len(sizes) > 3 else ''})" if sizes else ""
    lines.append(f"every picture{now} becomes, as in training: {form.lines()}")
    if form != asked:
        lines.append("light and dark turned round, to training's background (polarity=keep: not)")
    return Reading(source, form, size, path, tuple(lines), polarity == "auto")


def _checked(seen: Agreement, images: Images) -> None:
    try:
        seen.add_backgrounds(images)
    except InputError as error:
        raise InputError(f"{error}; polarity=keep takes them as they are") from None


def _some(source: InputSource) -> list[NDArray[Any]]:
    """Return the first pictures that can be read."""
    block = next(iter(source.blocks(_FIRST_PICTURES)), None)
    return [] if block is None else [picture for picture in block.pictures if picture.size]


def overridden(form: ImageForm, normalize: str) -> ImageForm:
    """Return the form with another normalisation: none accepts pictures of the net's size alone."""
    if normalize == "mnist":
        return replace(form, normalize="mnist")
    if normalize == "none":
        return replace(form, normalize="none", other_sizes="refuse")
    return form


def _range_of(source: InputSource, form: ImageForm) -> tuple[ValueRange, int]:
    """Return the input's range of values, of as many pictures as it takes to be certain, and how
    many pictures a batch may hold.
    """
    found, largest = ValueRange(form.full_scale), prod(form.shape)
    for block in source.blocks(_FIRST_PICTURES):
        found.add(block.pictures)
        largest = max([largest, *_bytes_of(block.pictures)])
        if found.settled:
            break
    return found, max(1, min(MOST_PICTURES, _MOST_BYTES // largest))


def _bytes_of(pictures: Sequence[NDArray[Any]] | NDArray[Any]) -> list[int]:
    return [picture.nbytes for picture in pictures]
