"""From a source to plain arrays on disk, once; later starts find them by the path, size and time of
change of the source's files.
"""

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from cnn_core.data.prepared import array_sha256, digest_of, write_prepared
from cnn_core.errors import InputError
from cnn_core.spec import DataSpec
from pipeline.configuration.data_settings import DataSettings, FileSettings, HeldOutSettings
from pipeline.data.source import DataSource, Labelled, hold_out
from pipeline.data.test_split import require_open
from pipeline.files import atomic_write_text, sha256_bytes, writable_folder

VERSION = 1  # of the conversion from sources to arrays


def prepare(settings: DataSettings, root: Path) -> DataSpec:
    """Return the DataSpec of a source's training images, reading the source only if it or its
    options changed.

    The arrays are stored below ``root/prepared``, named by their digest. Raises InputError for a
    missing or damaged file, naming it and the place.
    """
    data = _prepared(settings, root, test=False)
    if settings.valid_images == "clean":
        return data
    from pipeline.data.proxy import with_proxy  # imports SciPy, which other sweeps do not need

    return with_proxy(data, root)


def prepare_test(settings: DataSettings, root: Path) -> DataSpec:
    """Return the DataSpec of the test images; for `pipeline.evaluate` alone.

    Raises TestSplitClosedError anywhere else, InputError where there is no test split, or its shape
    or labels do not fit the training images.
    """
    require_open()
    trained = _prepared(settings, root, test=False)
    test = _prepared(settings, root, test=True, beside=trained.digest)
    if test.image_shape != trained.image_shape:
        expected, got = ("x".join(map(str, data.image_shape)) for data in (trained, test))
        raise InputError(
            f"data={settings.name}: test images must be {expected} (CxHxW) as the training images, "
            f"got {got}"
        )
    if test.classes > trained.classes:
        received = f"from 0 to {trained.classes - 1} as in training, got {test.classes - 1}"
        raise InputError(f"data={settings.name}: test labels must be {received}")
    return test


def source_of(settings: DataSettings) -> DataSource[Any]:
    """Return the source that the settings describe: a constant of its module, such as CSV for
    ``data=csv``.
    """
    module = import_module(f"pipeline.data.{settings.module}")
    found: DataSource[Any] = getattr(module, settings.name.upper())
    return found


def _prepared(settings: DataSettings, root: Path, *, test: bool, beside: str = "") -> DataSpec:
    """Return the DataSpec of one part; test arrays are reused only `beside` the same training
    images.
    """
    folder = writable_folder(root / "prepared", "root")
    source = source_of(settings)
    own_test = source.own_test(settings)
    held_out = not own_test and isinstance(settings, HeldOutSettings) and settings.test_fraction > 0
    if test and not own_test and not held_out:
        raise InputError(
            f"data={settings.name}: a test split must be given or held out, got none, with "
            "data.test_fraction=0"
        )
    files = source.files(settings, test and own_test)
    if own_test and isinstance(settings, FileSettings):
        # Missing test files are refused now, not after hours of search.
        source.files(settings, True)
    part = f"test beside {beside}" if test else "train"
    index = folder / "index" / f"{_outside(source, settings, files, part, held_out)}.json"
    known = _look_up(index)
    if known is None:
        known = _write(source, settings, files, folder, test=test, held_out=held_out)
        atomic_write_text(index, json.dumps(known) + "\n")
    return DataSpec(
        folder=str(folder / known["name"]),
        digest=known["digest"],
        image_shape=(known["shape"][0], known["shape"][1], known["shape"][2]),
        classes=known["classes"],
        **settings.split,
    )


def _outside(
    source: DataSource[Any],
    settings: DataSettings,
    files: Sequence[Path],
    part: str,
    held_out: bool,
) -> str:
    """Return a key for what would be read: files by path, size and time of change, and the options
    that matter.
    """
    stats = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    options = {name: getattr(settings, name) for name in source.options}
    if held_out and isinstance(settings, HeldOutSettings):
        options |= {"test_fraction": settings.test_fraction, "test_seed": settings.test_seed}
    content = {
        "version": VERSION,
        "data": settings.name,
        "part": part,
        "files": stats,
        "options": options,
    }
    return sha256_bytes(json.dumps(content, sort_keys=True).encode())[:24]


def _look_up(index: Path) -> dict[str, Any] | None:
    """Return what was written for these files, if it still exists; workers verify its digest when
    they open it.
    """
    try:
        known: dict[str, Any] = json.loads(index.read_text())
        manifest = json.loads((index.parent.parent / known["name"] / "manifest.json").read_text())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return known if manifest.get("digest") == known.get("digest") else None


def _write(
    source: DataSource[Any],
    settings: DataSettings,
    files: Sequence[Path],
    folder: Path,
    *,
    test: bool,
    held_out: bool,
) -> dict[str, Any]:
    part: Labelled = source.read(settings, files, test and not held_out)
    if held_out and isinstance(settings, HeldOutSettings):
        part = hold_out(part, settings.test_fraction, settings.test_seed, test=test)
    digest = digest_of(
        array_sha256(part.images), array_sha256(part.labels), part.images.shape, part.classes
    )
    name = f"{settings.name}{'-test' if test else ''}-{digest[:16]}"
    try:
        write_prepared(
            folder / name, part.images, part.labels, classes=part.classes, name=settings.name
        )
    except OSError as error:
        raise InputError(
            f"root: prepared data must fit on the disk, got {folder / name} "
            f"({error.strerror or error})"
        ) from error
    return {
        "name": name,
        "digest": digest,
        "shape": list(part.images.shape[1:]),
        "classes": part.classes,
    }
