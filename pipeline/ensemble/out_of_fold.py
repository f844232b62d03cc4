"""Out-of-fold predictions: every image of the training split predicted by the nets that did not
train on it.
"""

import io
import json
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from cnn_core import checkpoint
from cnn_core.architectures import build_model
from cnn_core.axes import Images, Labels
from cnn_core.checkpoint import Weights
from cnn_core.data.npz import read_npz
from cnn_core.data.prepared import open_prepared
from cnn_core.data.splits import split_of
from cnn_core.plugins import require
from cnn_core.spec import Spec
from pipeline.bundle.predictor import Net
from pipeline.bundle.running import BATCH, QuickNet
from pipeline.bundle.views import resample_view, view_sampler
from pipeline.bundle.writing import operations_of
from pipeline.ensemble.plan import Member
from pipeline.files import StudyPaths, TrialPaths, atomic_write_bytes

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class OutOfFold:
    """One member's logits (views, N, classes) of the images at `indices`, clean and, where there is
    one, on the proxy; and its inference time.
    """

    indices: NDArray[np.int64]
    clean: Logits
    proxy: Logits | None
    ms: float  # per image and view, summed over the member's folds' nets


def inference_net(spec: Spec, weights: Weights) -> Net:
    """Return the net that a bundle would hold for these weights, with the fast convolutions."""
    require(spec.plugins)
    model = build_model(
        spec.model, spec.data.image_shape, spec.data.classes, np.random.default_rng(0)
    )
    model.load(weights.params, weights.buffers)
    return QuickNet(*operations_of(model))


def view_logits(net: Net, images: Images, views: Sequence[Sequence[float]]) -> Logits:
    """Return logits (views, N, classes) of uint8 images (N, C, H, W)."""
    samplers = [view_sampler(view, images.shape[2:]) for view in views]
    parts = []
    for start in range(0, len(images), BATCH):
        x = images[start : start + BATCH].transpose(1, 2, 3, 0).astype(np.float32)
        x *= np.float32(1 / 255)
        parts.append(np.stack([net.logits(resample_view(x, sampler)).T for sampler in samplers]))
    return np.concatenate(parts, axis=1)


def predict_members(
    members: Sequence[Member], paths: StudyPaths, views: Sequence[Sequence[float]], jobs: int
) -> list[OutOfFold]:
    """Return each member's out-of-fold logits, computed by `jobs` processes, or read if they were
    computed before.
    """
    known = [_read(member, paths, views) for member in members]
    todo = [
        (m, fold)
        for m, found in enumerate(known)
        if found is None
        for fold in range(len(members[m].specs))
    ]
    tasks = (
        delayed(_predict_fold)(members[m].specs[fold], members[m].net(paths, fold), views)
        for m, fold in todo
    )
    with warnings.catch_warnings():
        # loky replaces a worker between two tasks when it is idle or has grown by 300 MB, and
        # warns; no task is lost.
        warnings.filterwarnings(
            "ignore", message="A worker stopped while some jobs were given", category=UserWarning
        )
        computed = Parallel(n_jobs=jobs)(tasks) if todo else []
    result: list[OutOfFold] = []
    for m, member in enumerate(members):
        found = known[m]
        if found is None:
            found = _join(
                [part for (owner, _), part in zip(todo, computed, strict=True) if owner == m]
            )
            _write(member, paths, views, found)
        result.append(found)
    return result


def _predict_fold(spec: Spec, paths: TrialPaths, views: Sequence[Sequence[float]]) -> OutOfFold:
    """Predict the images of one fold with the net that was trained without them."""
    weights, _ = checkpoint.load_weights(paths.weights)
    net = inference_net(spec, weights)
    indices = split_of(spec.data).valid
    images = open_prepared(spec.data.folder, spec.data.digest).images[indices]
    proxy = None
    with threadpool_limits(1):
        started = time.perf_counter()
        clean = view_logits(net, images, views)
        ms = (time.perf_counter() - started) * 1000 / (len(indices) * len(views))
        if spec.data.valid_folder is not None and spec.data.valid_digest is not None:
            disturbed = open_prepared(spec.data.valid_folder, spec.data.valid_digest).images[
                indices
            ]
            proxy = view_logits(net, disturbed, views)
    return OutOfFold(indices, clean, proxy, ms)


def _join(folds: Sequence[OutOfFold]) -> OutOfFold:
    """Join the folds, with the images in order of their indices."""
    indices = np.concatenate([fold.indices for fold in folds])
    order = np.argsort(indices)
    clean = np.concatenate([fold.clean for fold in folds], axis=1)[:, order]
    proxies = [fold.proxy for fold in folds if fold.proxy is not None]
    proxy = np.concatenate(proxies, axis=1)[:, order] if proxies else None
    return OutOfFold(indices[order], clean, proxy, float(sum(fold.ms for fold in folds)))


def _mark(member: Member, views: Sequence[Sequence[float]]) -> str:
    return json.dumps(
        {"specs": [spec.digest() for spec in member.specs], "views": [list(view) for view in views]}
    )


def _write(
    member: Member, paths: StudyPaths, views: Sequence[Sequence[float]], found: OutOfFold
) -> None:
    arrays: dict[str, Any] = {
        "indices": found.indices,
        "clean": found.clean,
        "ms": np.array([found.ms]),
    }
    if found.proxy is not None:
        arrays["proxy"] = found.proxy
    content = io.BytesIO()
    np.savez(content, mark=np.frombuffer(_mark(member, views).encode(), np.uint8), **arrays)
    atomic_write_bytes(member.folder(paths) / "out_of_fold.npz", content.getvalue())


def _read(member: Member, paths: StudyPaths, views: Sequence[Sequence[float]]) -> OutOfFold | None:
    """Return what was written for exactly these nets and views, None where nothing was."""
    path = member.folder(paths) / "out_of_fold.npz"
    if not path.exists():
        return None
    arrays = read_npz(path)
    if arrays["mark"].tobytes().decode() != _mark(member, views):
        return None
    return OutOfFold(
        arrays["indices"], arrays["clean"], arrays.get("proxy"), float(arrays["ms"][0])
    )


def labels_of(member: Member, found: OutOfFold) -> Labels:
    """Return the labels of the images that were predicted."""
    data = member.specs[0].data
    labels: Labels = open_prepared(data.folder, data.digest).labels[found.indices]
    return labels
