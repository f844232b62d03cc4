"""A bundle as a folder: nets as operations, weights, manifest, configuration, scores, the data's
licence, and predict.py, which needs only NumPy.
"""

import io
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cnn_core.axes import Array
from cnn_core.errors import InputError
from cnn_core.model import Sequential
from cnn_core.plugin_source import files_of
from cnn_core.plugins import Plugin, own_operations
from cnn_core.whole_files import sync_folder
from pipeline.bundle.predict_py import standalone_source
from pipeline.bundle.predictor import Bundle, Net
from pipeline.files import atomic_write_bytes, atomic_write_text
from pipeline.records.manifest import BundleMember, Manifest, write_manifest
from pipeline.records.typed_json import plain

CARRIED = "plugins"  # folder of the plug-ins that a bundle carries, by their digests
Operations = list[dict[str, Any]]
Arrays = dict[str, Array]

_README = (
    "# {study}: {members} members, {nets} nets\n"
    "\n"
    "    python predict.py INPUT OUTPUT      # .npy, IDX (.gz), text rows -> one name a line, "
    "by Python and NumPy alone\n"
    "\n"
    "    import predict\n"
    '    model = predict.load(".")\n'
    "    images = model.prepared(pictures)      # as the training data held them -> uint8 (N, "
    "{shape})\n"
    "    probabilities = model.predict_proba(images)      # (N, {classes})\n"
    "    names = [model.class_names[k] for k in probabilities.argmax(axis=1)]\n"
    "\n"
    "What training did to a picture, and `prepared` does: {form}. The classes: {names}.\n"
    "\n"
    "manifest.json names every weight file with its sha256 and describes each net; config.yaml "
    "holds the overrides that trained the members;\n"
    "scores.json says how well they, or their folds' nets, did and on what. The weights were "
    "trained on: {data}.\n"
)


@dataclass(frozen=True)
class Assembled:
    """A bundle's manifest and what its weight files hold."""

    manifest: Manifest
    arrays: dict[str, dict[str, Array]]  # name of a weight file -> what it holds

    @property
    def own(self) -> dict[str, Plugin]:
        """Return the operations of plug-ins that its nets use."""
        return own_operations(used_by(self.manifest.members))

    def bundle(self) -> Bundle:
        """Return the bundle as it would be loaded."""
        nets = [
            [Net(net.operations, self.arrays[net.file]) for net in member.nets]
            for member in self.manifest.members
        ]
        return Bundle(self.manifest, nets)

    def files(self) -> dict[str, bytes]:
        """Return the weight files, name -> bytes."""
        return {name: npz_bytes(arrays) for name, arrays in self.arrays.items()}


def used_by(members: Sequence[BundleMember]) -> set[str]:
    """Return the names of the operations that the members' nets use."""
    return {op["op"] for member in members for net in member.nets for op in net.operations}


def npz_bytes(arrays: Mapping[str, Array]) -> bytes:
    """Return an .npz as bytes."""
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    return content.getvalue()


def replaceable_folder(path: str | Path) -> Path:
    """Return the folder to write a bundle to: a new one, an empty one, or a bundle to replace.

    Raises InputError for anything else, since replacing it would delete what the user keeps there.
    """
    folder = Path(path).expanduser().absolute()
    bundle = all((folder / name).is_file() for name in ("manifest.json", "predict.py"))
    empty = folder.is_dir() and not any(folder.iterdir())
    if folder.exists() and not bundle and not empty:
        raise InputError(
            f"output: must be a new or empty folder, or a bundle to replace, got {folder}, which "
            "holds something else"
        )
    return folder


def write_bundle(folder: Path, assembled: Assembled) -> None:
    """Write the bundle under a temporary name, then rename it; an existing bundle is replaced as a
    whole.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        fill_folder(temporary, assembled)
        temporary.chmod(0o755)
        if folder.exists():
            aside = temporary.with_name(temporary.name + ".old")
            folder.rename(aside)
            try:
                temporary.rename(folder)
            except BaseException:
                aside.rename(folder)
                raise
            shutil.rmtree(aside, ignore_errors=True)
        else:
            temporary.rename(folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def fill_folder(folder: Path, assembled: Assembled) -> None:
    """Write a bundle's files into a folder."""
    manifest = assembled.manifest
    for name, content in assembled.files().items():
        atomic_write_bytes(folder / name, content)
    configuration = {member.name: list(member.overrides) for member in manifest.members}
    licence = f"The weights were trained on {manifest.data.name}: {manifest.data.licence}.\n"
    atomic_write_text(
        folder / "config.yaml", yaml.safe_dump(configuration, sort_keys=False, allow_unicode=True)
    )
    atomic_write_text(folder / "scores.json", json.dumps(plain(manifest.scores), indent=2) + "\n")
    atomic_write_text(folder / "LICENCE-DATA.txt", licence)
    used = used_by(manifest.members)
    atomic_write_text(folder / "predict.py", standalone_source(used))
    for plugin in set(assembled.own.values()):
        _carry(plugin, folder / CARRIED / plugin.digest)
    atomic_write_text(folder / "README.md", _readme(assembled))
    # Written last: a folder with a manifest is complete.
    atomic_write_text(folder / "manifest.json", write_manifest(manifest))


def _carry(plugin: Plugin, folder: Path) -> None:
    """Copy a plug-in's files, so that they are the same plug-in there."""
    inside = plugin.path.name if plugin.path.is_dir() else ""
    for name, file in files_of(plugin.path).items():
        target = folder / inside / name
        target.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_bytes(target, file.read_bytes())


def _readme(assembled: Assembled) -> str:
    manifest = assembled.manifest
    return _README.format(
        study=manifest.study,
        members=len(manifest.members),
        nets=sum(len(member.nets) for member in manifest.members),
        shape=", ".join(map(str, manifest.image_shape)),
        classes=manifest.classes,
        form=manifest.image_form.lines(),
        names=", ".join(manifest.names[:20]) + (", ..." if manifest.classes > 20 else ""),
        data=f"{manifest.data.name} ({manifest.data.licence})",
    )


def operations_of(model: Sequential) -> tuple[Operations, Arrays]:
    """Return the operations of an unfused net and copies of the arrays that they name, float32.

    A scale and shift (batch normalisation) directly after a convolution or a dense layer is folded
    into it: W' = s W, b' = s b + t. A layer that does nothing at inference is left out. Raises
    ValueError for a layer that has no operation.
    """
    operations: Operations = []
    arrays: Arrays = {}
    for layer in model.layers:
        described = layer.at_inference()
        if described is None:
            continue
        operation, own = described
        if operation["op"] == "scale_shift" and operations and "W" in operations[-1]:
            _fold(own[operation["scale"]], own[operation["shift"]], operations[-1], arrays)
        else:
            operations.append(operation)
            arrays |= own
    return operations, arrays


def _fold(scale: Array, shift: Array, before: dict[str, Any], arrays: Arrays) -> None:
    W, b = arrays[before["W"]], arrays[before["b"]]
    arrays[before["W"]] = (W * scale.reshape(-1, *(1,) * (W.ndim - 1))).astype(np.float32)
    arrays[before["b"]] = (b * scale + shift).astype(np.float32)
