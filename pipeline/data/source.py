"""What defines a source: which files it reads, and how; and the share held out where there is no
test set.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from cnn_core.axes import Images, Indices, Labels
from cnn_core.data.about import About, numbered_classes
from cnn_core.data.image_form import ImageForm
from cnn_core.data.splits import by_class, firsts, quotas
from cnn_core.errors import InputError
from cnn_core.plain_text import is_one_line
from pipeline.configuration.data_settings import DataSettings
from pipeline.inputs.labels.labels import MOST_CLASSES

_TEST_PURPOSE = 11  # the stream of the held-out share, apart from those of the validation split
Kind = TypeVar("Kind", bound=DataSettings)


@dataclass(frozen=True)
class Labelled:
    """images: (N, C, H, W) uint8; labels: (N,) int64 from 0 to classes - 1; what the classes are
    called, 0 to classes - 1 where nothing is said; the images' form, as they are where nothing is
    said; lines that say how the source was understood.
    """

    images: Images
    labels: Labels
    classes: int
    class_names: tuple[str, ...] = ()
    form: ImageForm | None = None
    understood: tuple[str, ...] = ()

    def about(self, name: str, groups: Iterable[Sequence[int]] = ()) -> About:
        """Return what the prepared set says of itself, with the groups of its equal pictures.
        Raises InputError for classes that no bundle may have.
        """
        channels, height, width = self.images.shape[1:]
        return About(
            name=name,
            class_names=_checked(self.class_names or numbered_classes(self.classes), name),
            form=self.form or ImageForm(channels=channels, height=height, width=width),
            groups=tuple(tuple(group) for group in groups),
        )


def _checked(names: tuple[str, ...], where: str) -> tuple[str, ...]:
    if len(names) > MOST_CLASSES:
        raise InputError(
            f"training data may have at most {MOST_CLASSES} classes, got {len(names)} in {where}"
        )
    for name in names:
        if not is_one_line(name):
            raise InputError(
                f"a class's name must be one line of text, got {name[:40]!r} in {where}"
            )
    return names


@dataclass(frozen=True, kw_only=True)
class PartToRead:
    """How a source is read: its training or its test part, with room for files, and, for the test,
    what is known of the training data.
    """

    test: bool
    scratch: Path
    known: About | None = None


@dataclass(frozen=True)
class DataSource(Generic[Kind]):
    """How one kind of data is found and read.

    `files` returns what is read for training, or for the test where `own_test` says that there is a
    test set; it looks for files, but reads none. `read` reads those files. Both raise InputError
    with file and place. `options` names the settings that change the arrays. `licence` is what a
    bundle says of the data.
    """

    files: Callable[[Kind, bool], Sequence[Path]]
    read: Callable[[Kind, Sequence[Path], PartToRead], Labelled]
    own_test: Callable[[Kind], bool]
    options: tuple[str, ...] = ()
    licence: str = "as its owner says"


def held_out(
    labels: Labels, fraction: float, seed: int, *, test: bool, groups: Indices | None = None
) -> NDArray[np.bool_]:
    """Return which images are set aside for the test, or what is left of them, (N,): a stratified
    share, a pure function of the arguments; members of a group stay together (`groups`: the first
    of each image's group, (N,)). Raises InputError where the part is empty.
    """
    first = np.arange(len(labels)) if groups is None else firsts(groups)
    size = round(fraction * len(first))
    chosen = np.zeros(len(labels), bool)
    classes = by_class(labels[first], seed, _TEST_PURPOSE)
    for of_class, share in zip(classes, quotas([len(c) for c in classes], size), strict=True):
        chosen[first[of_class[:share]]] = True
    if groups is not None:
        chosen = chosen[groups]
    if not test:
        chosen = ~chosen
    if not chosen.any():
        part, rule = (
            ("test", "hold out at least one image")
            if test
            else ("training", "leave at least one training image")
        )
        raise InputError(
            f"data.test_fraction: must {rule}, got {fraction:g} of {len(labels)} images ({part} "
            "split is empty)"
        )
    return chosen


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
