"""What a bundle may ask for: files of its own folder, weights of a bounded size, operations that
fit each other. It may be a stranger's, so all is known before anything is computed. NumPy alone: a
bundle's predict.py holds this file.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnn_core.data.checks import read_regular
from cnn_core.data.npz import arrays_of
from cnn_core.layers import OPERATIONS
from cnn_core.layers.layer import Operation
from pipeline.records.manifest import BundleError, Manifest

Weights = Mapping[str, NDArray[np.float32]]
MOST_WEIGHT_BYTES = 1 << 30  # of a bundle, all nets together
MOST_IMAGE_VALUES = 1 << 24  # that an operation may hold for one image: 64 MB
# Of one image, all nets and views together: minutes of a core, so that no bundle of use has more.
MOST_WORK = 10**12  # multiply-adds
MOST_STEPS = 5_000_000  # operations


def content_of(folder: Path, name: str, most: int) -> bytes:
    """Return the bytes of a file that lies in the folder itself, not behind a link."""
    place = folder
    for part in name.split("/"):
        place /= part
        if place.is_symlink():
            raise BundleError(f"a bundle's files must lie in its folder, got a link, {place}")
    try:
        return read_regular(place, most)
    except OSError as error:
        raise BundleError(f"a file of the bundle is missing: {place} ({error.strerror})") from None


def weights_of(folder: Path, manifest: Manifest) -> dict[tuple[str, str], Weights]:
    """Return the arrays of each file by its name and digest. The bytes are read once: those that
    were hashed are those that are parsed.
    """
    found: dict[tuple[str, str], Weights] = {}
    left = MOST_WEIGHT_BYTES
    for net in (net for member in manifest.members for net in member.nets):
        if (net.file, net.sha256) in found:
            continue
        place, content = folder / net.file, content_of(folder, net.file, left)
        actual = hashlib.sha256(content).hexdigest()
        if actual != net.sha256:
            raise BundleError(
                f"a file was changed after it was written: digest {actual[:12]}, expected "
                f"{net.sha256[:12]!r}, in {place}"
            )
        arrays = arrays_of(content, str(place), left)
        for name, array in arrays.items():
            if array.dtype != np.dtype("<f4") or not np.isfinite(array).all():
                raise BundleError(
                    f"weights must be finite float32, got others in {name} of {place}"
                )
        left -= sum(array.nbytes for array in arrays.values())
        found[net.file, net.sha256] = arrays
    return found


def check_net(
    operations: Sequence[Operation], arrays: Weights, manifest: Manifest, where: str
) -> tuple[int, int]:
    """Return how many values computing one image holds at most, and how many multiply-adds it is,
    from sizes alone. Raises BundleError for operations that are not known, do not fit each other or
    their arrays, or hold too much.
    """
    shape: tuple[int, ...] = manifest.image_shape
    work = 0
    most = 4 * math.prod(shape)  # a view, and what it is read from
    for k, operation in enumerate(operations):
        name = operation["op"]
        if name not in OPERATIONS:
            raise BundleError(
                f"a bundle's operations must be known here, got {ascii(name[:40])[1:-1]} in {where}"
            )
        try:
            after, values = OPERATIONS[name].extent(shape, operation, arrays) or _tried(
                shape, operation, arrays
            )
        except Exception as error:  # a plug-in's layer may raise anything
            raise BundleError(f"operation {k + 1}, {error}, in {where}") from None
        most = max(most, math.prod(shape) + values)
        if most > MOST_IMAGE_VALUES:
            raise BundleError(
                f"operation {k + 1}, {name}: may hold {MOST_IMAGE_VALUES:,} values an image, got "
                f"{most:,} in {where}"
            )
        shape = after
        work += values + _multiply_adds(operation, shape, arrays)
    if shape != (manifest.classes,):
        raise BundleError(f"a net must end in {manifest.classes} classes, got {shape} in {where}")
    return most, work


def check_work(work: int, manifest: Manifest, where: str) -> None:
    """Refuse a bundle of which one image would take hours; `work`: multiply-adds of all nets."""
    views = max(1, len(manifest.views))
    steps = sum(len(net.operations) for member in manifest.members for net in member.nets)
    for got, most, what in (
        (views * work, MOST_WORK, "multiply-adds"),
        (views * steps, MOST_STEPS, "operations"),
    ):
        if got > most:
            raise BundleError(
                f"a bundle's nets and views together may take {most:,} {what} an image, got "
                f"{got:,} in {where}"
            )


def _multiply_adds(operation: Operation, after: tuple[int, ...], arrays: Weights) -> int:
    """Return those of an operation whose sizes are known to fit: of its kernel, or its window."""
    kernel = operation.get("W")
    if isinstance(kernel, str) and kernel in arrays:
        return arrays[kernel].size * math.prod(after[1:])
    return math.prod(after) * (math.prod(operation["size"]) if operation["op"] == "pooling" else 1)


def _tried(
    shape: tuple[int, ...], operation: Operation, arrays: Weights
) -> tuple[tuple[int, ...], int]:
    """Return what `extent` does, of a plug-in's layer that does not tell, by one black image."""
    made = OPERATIONS[operation["op"]].infer(np.zeros((*shape, 1), np.float32), operation, arrays)
    return made.shape[:-1], 2 * made.size
