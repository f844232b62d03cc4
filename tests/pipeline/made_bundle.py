"""Bundles whose answers are known without training: nets that tell where a picture is bright."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cnn_core.data.image_form import ImageForm
from pipeline.bundle.predict_py import standalone_source
from pipeline.bundle.predictor import Bundle, Net, load
from pipeline.bundle.writing import Assembled, npz_bytes, write_bundle
from pipeline.files import sha256_bytes
from pipeline.records.manifest import BundleMember, BundleNet, Expected, signed
from tests.pipeline.made_manifest import made_manifest

SIDE = 8


def stripe(k: int, classes: int, side: int = SIDE, bright: float = 255, dark: float = 0) -> Any:
    """Return a picture (side, side) whose k-th vertical stripe of `classes` is bright."""
    picture = np.full((side, side), dark)
    picture[:, k * side // classes : (k + 1) * side // classes] = bright
    return picture


def form_of(channels: int = 1, side: int = SIDE, **changes: Any) -> ImageForm:
    return ImageForm(channels=channels, height=side, width=side, **changes)


def striped(
    folder: Path,
    names: tuple[str, ...],
    form: ImageForm | None = None,
    share: tuple[float, ...] | None = None,
) -> Bundle:
    """Write a bundle into `folder` that calls a picture by the name of its brightest stripe."""
    form = form or form_of()
    channels, height, width = form.shape
    weights = np.zeros((len(names), *form.shape), np.float32)
    for k in range(len(names)):
        inside = stripe(k, len(names), width, 1)[:1]
        weights[k] = np.broadcast_to(inside, form.shape) / (inside.sum() * height * channels)
    return _written(folder, names, form, weights, share)


def bars(folder: Path, form: ImageForm) -> Bundle:
    """Write a bundle that tells a tall bar in the middle from a wide one."""
    tall = np.zeros(form.shape, np.float32)
    middle = slice(form.width // 2 - 2, form.width // 2 + 2)
    ends = [*range(5, 8), *range(20, 23)]
    tall[:, ends, middle] = 1 / 24
    return _written(folder, ("tall", "wide"), form, np.stack([tall, tall.transpose(0, 2, 1)]), None)


def _written(
    folder: Path,
    names: tuple[str, ...],
    form: ImageForm,
    weights: Any,
    share: tuple[float, ...] | None,
) -> Bundle:
    arrays = {
        "W": 10 * weights.reshape(len(names), -1).astype(np.float32),
        "b": np.zeros(len(names), np.float32),
    }
    operations = ({"op": "flatten"}, {"op": "dense", "W": "W", "b": "b"})
    sha256 = sha256_bytes(npz_bytes(arrays))
    net = BundleNet(file="weights/one.npz", sha256=sha256, operations=operations)
    manifest = replace(
        made_manifest(form.shape, len(names)),
        members=(BundleMember(name="one", temperature=1.0, nets=(net,)),),
        class_names=names,
        form=form,
        files={"predict.py": sha256_bytes(standalone_source().encode())},
        expected=Expected(agreement=1.0, confidence=0.9, class_share=share),
    )
    write_bundle(folder, Assembled(signed(manifest), {net.file: arrays}))
    return load(folder)


def in_memory(form: ImageForm, names: tuple[str, ...]) -> Bundle:
    """Return a bundle of a net that does nothing, to see what it is given."""
    manifest = replace(made_manifest(form.shape, len(names)), class_names=names, form=form)
    return Bundle(manifest, [[Net([{"op": "flatten"}], {})]])


def save_pictures(folder: Path, pictures: dict[str, Any]) -> Path:
    """Write pictures (H, W) or (H, W, 3) as files by name, such as cat/1.png."""
    for name, picture in pictures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(picture, np.uint8)).save(folder / name)
    return folder
