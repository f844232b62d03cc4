"""A bundle in memory: verified, read without a pickle, and computed with NumPy alone, each image
seen through the input transforms of its test-time views.

What each operation of a net computes stands in its layer's file (`infer`); predict.py holds those
functions as text.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_core.data.agreement import Agreement
from cnn_core.data.value_range import ValueRange
from cnn_core.errors import InputError
from cnn_core.layers import OPERATIONS
from cnn_core.layers.layer import Operation
from pipeline.bundle.bundle_checks import check_net, check_work, content_of, weights_of
from pipeline.bundle.views import IDENTITY, resample_view, view_sampler
from pipeline.records.manifest import BundleError, Manifest
from pipeline.records.manifest_reading import MOST_MANIFEST_BYTES, read_manifest

Array = NDArray[np.float32]


class Net:
    """One net: a list of operations over named arrays. Inside, the batch is the last axis."""

    def __init__(self, operations: Sequence[Operation], arrays: Mapping[str, Array]) -> None:
        self.operations = operations
        self.arrays = arrays
        self._steps = joined_relu(operations)

    def logits(self, x: Array) -> Array:
        """Return (classes, N) from (C, H, W, N)."""
        for operation in self._steps:
            x = self.apply(x, operation)
        return x

    def apply(self, x: Array, operation: Operation) -> Array:
        """Return what one operation makes of x."""
        return OPERATIONS[operation["op"]].infer(x, operation, self.arrays)


def joined_relu(operations: Sequence[Operation]) -> list[Operation]:
    """Return the operations with each ReLU right behind a convolution made part of it, so that it
    meets the block while in cache.
    """
    steps: list[Operation] = []
    for operation in operations:
        if operation["op"] == "relu" and steps and steps[-1]["op"] == "convolution":
            steps[-1] = {**steps[-1], "relu": True}
        else:
            steps.append(operation)
    return steps


def softmax(logits: Array) -> Array:
    """Return exp(z) / sum exp(z) over the first axis, without overflow."""
    powers: Array = np.exp(logits - logits.max(axis=0))
    powers /= powers.sum(axis=0)
    return powers


def mean_of(arrays: Iterable[Array]) -> Array:
    """Return the mean of one array or more, added up one by one: they are never held together."""
    total: Array | None = None
    count = 0
    for count, array in enumerate(arrays, 1):  # noqa: B007
        total = array if total is None else total + array
    assert total is not None
    mean: Array = total / np.float32(count)
    return mean


BATCH = 25  # their arrays stay in a second-level cache
MOST_BATCH_BYTES = 512 << 20  # of a batch; where one image takes much, fewer are computed at once
MOST_BATCHES = 20  # whose answers are joined at once
MOST_ANSWER_BYTES = 16 << 20  # of these, of all members together


def load(folder: str | Path) -> "Bundle":
    """Read and verify a bundle; it may be a stranger's. Raises BundleError where it is incomplete,
    changed, of another format, or asks for more than a bundle may, before any of it is computed.
    """
    folder = Path(folder)
    path = folder / "manifest.json"
    if not path.exists():
        raise BundleError(f"a bundle is a folder with manifest.json, got {folder}")
    try:
        manifest = read_manifest(content_of(folder, path.name, MOST_MANIFEST_BYTES), str(path))
        files = weights_of(folder, manifest)
        nets, image_bytes, work = [], 0, 0
        for member in manifest.members:
            nets.append([Net(net.operations, files[net.file, net.sha256]) for net in member.nets])
            for about, net in zip(member.nets, nets[-1], strict=True):
                where = f"{about.file} of {path}"
                values, more = check_net(net.operations, net.arrays, manifest, where)
                image_bytes, work = max(image_bytes, 4 * values), work + more
        check_work(work, manifest, str(path))
    except BundleError:
        raise
    except InputError as error:
        raise BundleError(str(error)) from None
    return Bundle(manifest, nets, image_bytes=image_bytes)


class Bundle:
    """An ensemble: members, each the mean of its nets' calibrated softmax, joined by a weighted
    mean or by a logistic regression.
    """

    def __init__(
        self,
        manifest: Manifest,
        nets: Sequence[Sequence[Net]],
        batch: int = BATCH,
        image_bytes: int = 0,
    ) -> None:
        self.manifest = manifest
        self.nets = nets
        self.image_bytes = image_bytes  # that one image takes at most; 0: not known
        self.image_shape = manifest.image_shape
        self.classes = manifest.classes
        self.answer_bytes = 4 * len(nets) * self.classes  # of all members, for one image
        # Each answer is held by a view, by the sum of all views, and by those of the batch.
        taken = max(1, image_bytes + 4 * self.answer_bytes)
        self.batch = max(1, min(batch, MOST_BATCH_BYTES // taken))  # computed at once
        fit = MOST_ANSWER_BYTES // (self.batch * self.answer_bytes)
        self.block = self.batch * max(1, min(MOST_BATCHES, fit))  # answered at once
        self.class_names = manifest.names  # by class number
        self.form = manifest.image_form  # what was done to every picture of the training data

    def prepared(
        self, pictures: Sequence[NDArray[Any]] | NDArray[Any], full_scale: float | None = None
    ) -> NDArray[np.uint8]:
        """Return what the nets are to see of pictures such as the training data held, (N, C, H, W)
        uint8.

        pictures: (N, H, W), (N, C, H, W), (N, H, W, C), rows (N, C * H * W) of the model's size, or
        one by one in different sizes; any numeric dtype. full_scale: the value that stands for
        white, None: that of training, unless the values certainly have another range. Grey figures
        on the other background than training's are turned round. Raises
        BundleError for pictures that do not fit or whose range is not certain.
        """
        if full_scale is not None and not 1e-30 <= full_scale <= 1e30:
            raise BundleError(f"full_scale must be above 0 and finite, got {full_scale}")
        self._check_axes(pictures)
        planes = [self._planes(np.asarray(picture)) for picture in pictures]
        seen = Agreement(self.form, separate=not isinstance(pictures, np.ndarray))
        try:
            seen.add_depths(planes)
            if full_scale is None:
                found = ValueRange(self.form.full_scale)
                found.add(planes)
                full_scale = found.full_scale()
            form = replace(self.form, full_scale=full_scale)
            images = form.apply_all(planes)
            turned = form.matched(images)
            if turned is not form:
                del images  # else there would be two of them
                images = turned.apply_all(planes)
            seen.add_backgrounds(images)
            return images
        except InputError as error:
            raise BundleError(str(error)) from None

    def _check_axes(self, pictures: Sequence[NDArray[Any]] | NDArray[Any]) -> None:
        """Raise BundleError for one array whose pictures lie along its last axis, or that may be
        one colour picture.
        """
        size = self.image_shape[1:]
        if not isinstance(pictures, np.ndarray) or pictures.ndim != 3:
            return
        if self.image_shape[0] == 3 and 3 in (pictures.shape[0], pictures.shape[2]):
            raise BundleError(
                f"pictures must be (N, ...), got {pictures.shape} for a model of colour pictures; "
                "give pictures[None] for one alone, pictures[:, None] for grey ones"
            )
        if pictures.shape[1:] != size and pictures.shape[:2] == size:
            raise BundleError(
                f"pictures must be (N, H, W), got {pictures.shape}, which looks like (H, W, N); "
                "give pictures.transpose(2, 0, 1)"
            )

    def _planes(self, picture: NDArray[Any]) -> NDArray[Any]:
        """Return one picture as (C, H, W)."""
        if picture.dtype.kind not in "uifb":
            raise BundleError(f"pictures must be numbers, got {picture.dtype}")
        if picture.ndim == 1 and picture.size == int(np.prod(self.image_shape)):
            return picture.reshape(self.image_shape)
        if picture.ndim == 2:
            return picture[None]
        known = (1, 3, self.image_shape[0])
        if picture.ndim == 3 and picture.shape[0] in known:
            return picture
        if picture.ndim == 3 and picture.shape[2] in known:
            return picture.transpose(2, 0, 1)
        shape = "x".join(map(str, self.image_shape))
        raise BundleError(
            f"pictures must be (H, W), (C, H, W), (H, W, C) or rows of {shape}, got {picture.shape}"
        )

    def predict_proba(self, images: NDArray[np.uint8]) -> Array:
        """Return (N, classes) float32 probabilities of uint8 images as `prepared` returns them."""
        images = self.checked(images)
        result = np.empty((len(images), self.classes), np.float32)
        for start in range(0, len(images), self.block):
            block = images[start : start + self.block]
            result[start : start + self.block] = self.combine(self.member_proba(block))
        return result

    def member_proba(self, images: NDArray[np.uint8]) -> Array:
        """Return (members, N, classes) float32. Raises BundleError for images of another type or
        size, and for weights whose products leave the numbers of float32.
        """
        images = self.checked(images)
        views = self.manifest.views or (IDENTITY,)
        samplers = [view_sampler(view, self.image_shape[1:]) for view in views]
        result = np.empty((len(self.nets), len(images), self.classes), np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # told of below
            for start in range(0, len(images), self.batch):
                x = images[start : start + self.batch].transpose(1, 2, 3, 0).astype(np.float32)
                x *= np.float32(1 / 255)
                result[:, start : start + self.batch] = mean_of(
                    self._batch(resample_view(x, sampler)) for sampler in samplers
                )
        if not np.isfinite(result).all():
            raise BundleError("a bundle's nets must give probabilities, got values beyond float32")
        return result

    def combine(self, members: Array) -> Array:
        """Return (N, classes) from (members, N, classes), as the manifest says."""
        how = self.manifest.combine
        if how.method == "stacking":
            features = (
                np.log(np.maximum(members, np.float32(1e-7)))
                .transpose(1, 0, 2)
                .reshape(members.shape[1], -1)
            )
            scores = features @ np.array(how.coefficients, np.float32).T + np.array(
                how.intercepts, np.float32
            )
            return softmax(scores.T).T
        weights, low = np.array(how.weights, np.float32), np.float32(1e-7)
        if how.method == "geometric":
            logs = np.tensordot(weights, np.log(np.maximum(members, low)), axes=1)
        else:
            logs = np.log(np.maximum(np.tensordot(weights, members, axes=1), low))
        return softmax((logs * np.float32(1 / (how.temperature or 1))).T).T

    def checked(self, images: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the images as (N, C, H, W)."""
        size = int(np.prod(self.image_shape))
        if images.dtype != np.uint8:
            raise BundleError(
                f"images must be uint8, 0 to 255, got {images.dtype}; prepared(pictures) makes them"
            )
        if (
            images.ndim < 2
            or images[:1].size not in (0, size)
            or (images.ndim == 4 and images.shape[1:] != self.image_shape)
        ):
            raise BundleError(
                f"images must be {'x'.join(map(str, self.image_shape))} (channels, height, width), "
                f"got {images.shape[1:]}; prepared(pictures) makes them"
            )
        return images.reshape(len(images), *self.image_shape)

    def _batch(self, x: Array) -> Array:
        """Return (members, N, classes) of one batch (C, H, W, N)."""
        rows = []
        for member, nets in zip(self.manifest.members, self.nets, strict=True):
            inverse = np.float32(1 / member.temperature)
            rows.append(mean_of(softmax(net.logits(x) * inverse) for net in nets).T)
        return np.stack(rows)
