"""A bundle as a folder: nets as operations, weights, manifest, configuration, scores, licence of
the data, and predict.py, which needs NumPy alone.
"""

import ast
import inspect
import io
import json
import re
import shutil
import tempfile
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cnn_core.axes import Array
from cnn_core.layers import OPERATIONS
from cnn_core.model import Sequential
from pipeline.bundle.predictor import Bundle, Net
from pipeline.files import atomic_write_bytes, atomic_write_text, fsync_folder
from pipeline.records.manifest import Manifest, write_manifest
from pipeline.records.typed_json import plain

_README = (
    "# {study}: {members} members, {nets} nets\n"
    "\n"
    "    python predict.py INPUT OUTPUT      # .npy, IDX (.gz) or text rows of integers -> one "
    "label a line; needs Python and NumPy alone\n"
    "\n"
    "    import predict\n"
    '    model = predict.load(".")\n'
    "    probabilities = model.predict_proba(images)      # uint8 (N, {shape})\n"
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


def npz_bytes(arrays: Mapping[str, Array]) -> bytes:
    """Return an .npz as bytes."""
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    return content.getvalue()


def write_bundle(folder: Path, assembled: Assembled) -> None:
    """Write the bundle under a temporary name, then give it its own; a bundle that is there already
    is replaced as a whole.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        fill_folder(temporary, assembled)
        temporary.chmod(0o755)
        if folder.exists():
            aside = temporary.with_name(temporary.name + ".old")
            folder.rename(aside)
            temporary.rename(folder)
            shutil.rmtree(aside)
        else:
            temporary.rename(folder)
        fsync_folder(folder.parent)
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
    atomic_write_text(folder / "predict.py", standalone_source())
    atomic_write_text(folder / "README.md", _readme(assembled))
    # Last: a folder with a manifest is complete.
    atomic_write_text(folder / "manifest.json", write_manifest(manifest))


def _readme(assembled: Assembled) -> str:
    manifest = assembled.manifest
    return _README.format(
        study=manifest.study,
        members=len(manifest.members),
        nets=sum(len(member.nets) for member in manifest.members),
        shape=", ".join(map(str, manifest.image_shape)),
        data=f"{manifest.data.name} ({manifest.data.licence})",
    )


_HEAD = '''"""Predict with this bundle; Python and NumPy are all that is needed.

    python predict.py INPUT OUTPUT
"""

import os


if __name__ == "__main__":  # more threads only wait for each other on products as small as these
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

'''


# The files that predict.py is joined from, before the layers' operations and behind them.
_BEFORE = ("records/typed_json", "records/manifest")
_BEHIND = ("bundle/predictor", "bundle/standalone")


def standalone_source() -> str:
    """Return predict.py: the modules of the predictor and the layers' operations, joined in the
    order in which they need each other, without their imports of each other and their docstrings.
    """
    parts = [_source(name) for name in _BEFORE]
    parts += [_operations_source(), *(_source(name) for name in _BEHIND)]
    return _HEAD + "\n\n\n".join(parts) + "\n"


def _source(name: str) -> str:
    text = (Path(__file__).parents[1] / f"{name}.py").read_text(encoding="utf-8")
    ours = r"^from (?:pipeline|cnn_core)\.[^\n]*?import (\([^)]*\)|[^\n]*)\n"
    text = re.sub(ours, "", text, flags=re.MULTILINE)
    return re.sub(r'\A""".*?"""\n', "", text, flags=re.DOTALL).strip("\n")


def _operations_source() -> str:
    """Return the layers' `infer` as text, each in a class of its layer's name, and their table."""
    parts: dict[str, str] = {}
    for layer in OPERATIONS.values():
        _add_source(layer.infer, parts)
    rows = [f'    "{op}": {_owner(layer.infer)},\n' for op, layer in OPERATIONS.items()]
    types = (
        "from collections.abc import Mapping, Sequence\nfrom typing import Any\n\n"
        "import numpy as np\nfrom numpy.typing import NDArray\n\n"
        "Array = NDArray[np.float32]\n"
        "Operation, Arrays = Mapping[str, Any], Mapping[str, Array]"
    )
    return "\n\n\n".join([types, *parts.values(), f"OPERATIONS = {{\n{''.join(rows)}}}"])


def _add_source(function: Callable[..., Any], parts: dict[str, str]) -> None:
    """Add a function's text to `parts`, behind that of the functions of cnn_core that it names."""
    text = inspect.getsource(function)
    for node in ast.walk(ast.parse(textwrap.dedent(text))):
        used = function.__globals__.get(node.id) if isinstance(node, ast.Name) else None
        if not inspect.isfunction(used) or used.__qualname__ in parts:
            continue
        if used.__module__.startswith("cnn_core."):
            _add_source(used, parts)
    owner = _owner(function)
    parts[function.__qualname__] = (f"class {owner}:\n{text}" if owner else text).rstrip()


def _owner(function: Callable[..., Any]) -> str:
    return function.__qualname__.rpartition(".")[0]


Operations = list[dict[str, Any]]
Arrays = dict[str, Array]


def operations_of(model: Sequential) -> tuple[Operations, Arrays]:
    """Return the operations of an unfused net and copies of the arrays that they name, float32.

    A scale and a shift (batch normalisation) right behind a convolution or a dense layer are folded
    in: W' = s W, b' = s b + t. A layer that does nothing at inference is left out. Raises
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
