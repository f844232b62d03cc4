"""From a source to plain arrays on disk, once; later starts find them by the path, size and time of
change of the source's files.
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from cnn_core.axes import Images, Indices
from cnn_core.data.about import About
from cnn_core.data.figures import background_of
from cnn_core.data.image_form import ImageForm
from cnn_core.data.pages import rows_of
from cnn_core.data.prepared import open_prepared, store
from cnn_core.errors import InputError
from cnn_core.plugins import loaded
from cnn_core.spec import DataSpec
from pipeline.configuration.data_settings import DataSettings, FileSettings, HeldOutSettings
from pipeline.data.duplicates import fills_a_class, find_duplicates, find_leak
from pipeline.data.source import DataSource, Labelled, PartToRead, held_out
from pipeline.data.test_split import require_open
from pipeline.files import atomic_write_text, sha256_bytes, writable_folder
from pipeline.structured_text import read_json

VERSION = 4  # of the conversion from sources to arrays
_AT_ONCE = 1024  # images copied together
Say = Callable[[str], None]


def prepare(settings: DataSettings, root: Path, say: Say | None = None) -> DataSpec:
    """Return the DataSpec of a source's training images, reading the source only if it or its
    options changed.

    The arrays are stored below ``root/prepared``, named by their digest; `say` is called with each
    line that tells how the source was understood. Raises InputError for a missing or damaged file,
    naming it and the place.
    """
    data = _prepared(_Part(settings, root, test=False), say)
    if settings.valid_images == "clean":
        return data
    from pipeline.data.proxy import with_proxy  # imports SciPy, which other sweeps do not need

    return with_proxy(data, root)


def prepare_test(settings: DataSettings, root: Path, say: Say | None = None) -> DataSpec:
    """Return the DataSpec of the test images, in the form of the training images and with their
    classes; for `pipeline.evaluate` alone.

    Raises TestSplitClosedError anywhere else, InputError where there is no test split, or it does
    not fit the training images.
    """
    require_open()
    trained = _prepared(_Part(settings, root, test=False), None)
    known = open_prepared(trained.folder, trained.digest).about
    test = _prepared(
        _Part(settings, root, test=True, known=known, beside=f"beside {trained.digest}"), say
    )
    if test.image_shape != trained.image_shape:
        expected, got = ("x".join(map(str, data.image_shape)) for data in (trained, test))
        raise InputError(
            f"data={settings.name}: test images must be {expected} (CxHxW) as the training images, "
            f"got {got}"
        )
    if test.classes > trained.classes:
        received = f"from 0 to {trained.classes - 1} as in training, got {test.classes - 1}"
        raise InputError(f"data={settings.name}: test labels must be {received}")
    if say is not None and isinstance(settings, FileSettings) and settings.duplicates != "ignore":
        images = (open_prepared(data.folder, data.digest).images for data in (trained, test))
        for line in find_leak(*images).lines():
            say(line)
    return test


def source_of(settings: DataSettings) -> DataSource[Any]:
    """Return the source that the settings describe: a constant of its module, such as CSV for
    ``data=csv``.
    """
    own: DataSource[Any] | None = getattr(settings, "source", None)
    if own is not None:  # a plug-in's
        return own
    module = import_module(f"pipeline.data.{settings.module}")
    found: DataSource[Any] = getattr(module, settings.name.upper())
    return found


@dataclass(frozen=True)
class _Part:
    """The training or the test part of a source; test arrays are reused only `beside` the same
    training images.
    """

    settings: DataSettings
    root: Path
    test: bool
    known: About | None = None
    beside: str = ""

    @property
    def source(self) -> DataSource[Any]:
        return source_of(self.settings)

    @property
    def own_test(self) -> bool:
        return self.source.own_test(self.settings)

    @property
    def held_out(self) -> HeldOutSettings | None:
        """Return the settings that say which share is set aside, None where none is."""
        settings = self.settings
        if self.own_test or not isinstance(settings, HeldOutSettings) or not settings.test_fraction:
            return None
        return settings

    def files(self) -> Sequence[Path]:
        """Return what is read. Test files that are missing are refused even while training, not
        after hours of search.
        """
        found = self.source.files(self.settings, self.test and self.own_test)
        if self.own_test and isinstance(self.settings, FileSettings):
            self.source.files(self.settings, True)
        return found

    def key(self, files: Sequence[Path]) -> str:
        """Return a key for what would be read: files by path, size and time of change, and the
        options that matter.
        """
        options = {name: getattr(self.settings, name) for name in self.source.options}
        if (held := self.held_out) is not None:
            options |= {"test_fraction": held.test_fraction, "test_seed": held.test_seed}
        content: dict[str, Any] = {
            "version": VERSION,
            "data": self.settings.name,
            "part": f"test {self.beside}" if self.test else "train",
            "files": [_stamp(path) for path in files],
            "options": options,
        }
        if digests := _plugins_of(self.settings):  # another code may read the files otherwise
            content["plugins"] = digests
        return sha256_bytes(json.dumps(content, sort_keys=True).encode())[:24]


def _plugins_of(settings: DataSettings) -> list[str]:
    """Return the digest of the plug-in that a source is of; nothing for one of our own."""
    name = settings.name
    return [one.digest for one in loaded() if name in one.names.get("DATA_SOURCES", ())]


def _stamp(path: Path) -> tuple[str, int, int]:
    """Return path, size and time of the last change; of a folder: of all files in it together."""
    if path.is_file():
        found = path.stat()
        return str(path), found.st_size, found.st_mtime_ns
    files = sorted(Path(folder, name) for folder, _, names in os.walk(path) for name in names)
    listed = [(str(file), *_size_and_time(file)) for file in files]
    return sha256_bytes(repr(listed).encode()), sum(size for _, size, _ in listed), len(listed)


def _size_and_time(file: Path) -> tuple[int, int]:
    """Return those of a file, of the link itself where it leads nowhere: its reader says so."""
    found = file.stat() if file.exists() else file.lstat()
    return found.st_size, found.st_mtime_ns


def _prepared(part: _Part, say: Say | None) -> DataSpec:
    settings, folder = part.settings, writable_folder(part.root / "prepared", "root")
    if part.test and not part.own_test and part.held_out is None:
        raise InputError(
            f"data={settings.name}: a test split must be given or held out, got none, with "
            "data.test_fraction=0"
        )
    files = part.files()
    index = folder / "index" / f"{part.key(files)}.json"
    known = _look_up(index)
    if known is None:
        known = _write(part, files, folder)
        atomic_write_text(index, json.dumps(known) + "\n")
    if say is not None:
        for line in known["understood"]:
            say(line)
    return DataSpec(
        folder=str(folder / known["name"]),
        digest=known["digest"],
        image_shape=(known["shape"][0], known["shape"][1], known["shape"][2]),
        classes=known["classes"],
        **settings.split,
    )


def _look_up(index: Path) -> dict[str, Any] | None:
    """Return what was written for these files, if it still exists; workers verify its digest when
    they open it.
    """
    try:
        known: dict[str, Any] = read_json(index)
        name, shape = str(known["name"]), known["shape"]
        manifest = read_json(index.parent.parent / name / "manifest.json")
        sound = (
            Path(name).name == name and len(shape) == 3 and isinstance(known["understood"], list)
        )
        sound = sound and len(shape) == 3
        sound = sound and all(isinstance(number, int) for number in (known["classes"], *shape))
        return known if sound and manifest["digest"] == known["digest"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(part: _Part, files: Sequence[Path], folder: Path) -> dict[str, Any]:
    """Read the source and write the part; return its entry of the index."""
    name = part.settings.name
    with tempfile.TemporaryDirectory(
        prefix=".reading.", dir=folder, ignore_cleanup_errors=True
    ) as scratch:
        reading = PartToRead(
            test=part.test and part.own_test, scratch=Path(scratch), known=part.known
        )
        whole: Labelled = part.source.read(part.settings, files, reading)
        groups, said = _copies(part, whole)
        chosen = np.arange(len(whole.labels))
        if (held := part.held_out) is not None:
            fraction, seed = held.test_fraction, held.test_seed
            aside = held_out(whole.labels, fraction, seed, test=part.test, groups=groups)
            chosen = np.flatnonzero(aside)
        about = whole.about(name, () if groups is None else _members(groups, chosen))
        if part.known is None:
            about = replace(about, form=_with_background(about.form, whole.images, chosen))
        kind = f"{name}-test" if part.test else name
        try:
            place, digest = store(
                folder,
                _copied(whole.images, chosen),
                whole.labels[chosen],
                about,
                lambda digest: f"{kind}-{digest[:16]}",
            )
        except OSError as error:
            raise InputError(
                f"root: prepared data must fit on the disk, got {folder} "
                f"({error.strerror or error})"
            ) from error
    return {
        "name": place.name,
        "digest": digest,
        "shape": list(about.form.shape),
        "classes": len(about.class_names),
        "understood": [*whole.understood, *said],
    }


def _copies(part: _Part, whole: Labelled) -> tuple[Indices | None, list[str]]:
    """Return which pictures of the user's own files are copies of each other, None where none are
    to be kept together, and what is to be said of them.
    """
    settings = part.settings
    if not isinstance(settings, FileSettings) or settings.duplicates == "ignore":
        return None, []
    found = find_duplicates(whole.images, whole.labels)
    filled = fills_a_class(found.groups, whole.labels)
    if filled or settings.duplicates == "report":
        why = ", since they fill a class" if filled else ""
        return None, found.lines(f"left where they are{why}")
    alone = (found.groups == np.arange(len(found.groups))).all()
    return None if alone else found.groups, found.lines()


def _with_background(form: ImageForm, images: Images, chosen: Indices) -> ImageForm:
    """Return the form with the background that the training images have, by some of them."""
    some = chosen[:: max(1, len(chosen) // _AT_ONCE)][:_AT_ONCE]
    return replace(form, background=background_of(rows_of(images, some)))


def _members(groups: Indices, chosen: Indices) -> Iterator[list[int]]:
    """Yield the members of each group of several, by their places among the chosen images."""
    order = np.argsort(groups[chosen], kind="stable")
    starts = np.flatnonzero(np.diff(groups[chosen][order])) + 1
    for members in np.split(order, starts):
        if len(members) > 1:
            yield members.tolist()


def _copied(images: Images, chosen: Indices) -> Iterator[Images]:
    """Yield the chosen images, some at a time."""
    for start in range(0, len(chosen), _AT_ONCE):
        yield rows_of(images, chosen[start : start + _AT_ONCE])
