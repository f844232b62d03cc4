"""What defines a source: which files it reads, and how; and the share held out where there is no
test set.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from cnn_core.axes import Images, Labels
from cnn_core.data.image_form import ImageForm
from cnn_core.data.splits import by_class, quotas
from cnn_core.errors import InputError
from pipeline.configuration.data_settings import DataSettings

_TEST_PURPOSE = 11  # the stream of the held-out share, apart from those of the validation split
MOST_CLASSES = 1000
Kind = TypeVar("Kind", bound=DataSettings)


@dataclass(frozen=True)
class Labelled:
    """images: (N, C, H, W) uint8; labels: (N,) int64 from 0 to classes - 1; class_names: empty
    where they are 0, 1, ...; form: what is done to other pictures for the same net, None where it
    follows from the images.
    """

    images: Images
    labels: Labels
    classes: int
    class_names: tuple[str, ...] = ()
    form: ImageForm | None = None


@dataclass(frozen=True)
class DataSource(Generic[Kind]):
    """How one kind of data is found and read.

    `files` returns what is read for training, or for the test where `own_test` says that there is a
    test set; it looks for files, but reads none. `read` reads those files. `options` names the
    settings that change the arrays. Both raise InputError with file and place. `licence` is what a
    bundle says of the data.
    """

    files: Callable[[Kind, bool], Sequence[Path]]
    read: Callable[[Kind, Sequence[Path], bool], Labelled]
    own_test: Callable[[Kind], bool]
    options: tuple[str, ...] = ()
    licence: str = "as its owner says"


def labelled(images: Images, labels: Labels, classes: int | None) -> Labelled:
    """Return the set with the number of classes that the settings or the labels give."""
    return Labelled(images, labels, classes or max(int(labels.max()) + 1, 2))


def hold_out(whole: Labelled, fraction: float, seed: int, *, test: bool) -> Labelled:
    """Return the share that is set aside for the test, or what is left of it; stratified, a pure
    function of labels, fraction and seed.
    """
    size = round(fraction * len(whole.labels))
    chosen = np.zeros(len(whole.labels), bool)
    groups = by_class(whole.labels, seed, _TEST_PURPOSE)
    for group, share in zip(groups, quotas([len(group) for group in groups], size), strict=True):
        chosen[group[:share]] = True
    if not test:
        chosen = ~chosen
    if not chosen.any():
        part, rule = (
            ("test", "hold out at least one image")
            if test
            else ("training", "leave at least one training image")
        )
        raise InputError(
            f"data.test_fraction: must {rule}, got {fraction:g} of {len(whole.labels)} images "
            f"({part} split is empty)"
        )
    return replace(whole, images=whole.images[chosen], labels=whole.labels[chosen])


def required(settings: Any, name: str) -> str:
    """Return a path that the settings must give. Raises InputError, which says how, where they do
    not.
    """
    value = getattr(settings, name)
    if not value:
        raise InputError(
            f"data.{name}: must be given with data={settings.name}, as data.{name}=PATH, got "
            f"{value!r}"
        )
    return str(value)


CACHE_NAME = "numpy-cnn-sweep"


def user_cache() -> Path:
    """Return the platform's cache folder for this project; it need not exist."""
    import pooch  # and with it requests: imported only when data are sought there

    return Path(pooch.os_cache(CACHE_NAME))


def shared_folder(name: str) -> Path | None:
    """Return $CNN_DATA_DIR/<name>, or None where the variable is not set."""
    shared = os.environ.get("CNN_DATA_DIR")
    return Path(shared).expanduser() / name if shared else None


def resolve(path: str, root: str | None, name: str) -> Path:
    """Return an existing file or folder: `path` as it is, or below data.root, or below
    $CNN_DATA_DIR/<name>.

    Raises InputError naming the places searched.
    """
    given = Path(path).expanduser()
    shared = shared_folder(name)
    starts = [Path(root).expanduser()] if root else [Path.cwd(), *([shared] if shared else [])]
    places = [given] if given.is_absolute() else [start / given for start in starts]
    for place in places:
        try:
            if place.exists():
                return place.resolve()
        except OSError as error:
            raise InputError(
                f"data={name}: must be a path, got {path[:200]!r} ({error.strerror})"
            ) from error
    raise InputError(f"data={name}: {path} must exist, looked at {', '.join(map(str, places))}")
