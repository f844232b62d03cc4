"""A training state, what one epoch passes to the next, and its file: an .npz with a manifest of
digests, written atomically, read without pickle and with every digest checked.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cnn_core.axes import Array
from cnn_core.data.npz import AnyArray, read_npz
from cnn_core.errors import InputError
from cnn_core.plain_json import parse_json
from cnn_core.spec import Spec
from cnn_core.whole_files import whole_file


class Weights(NamedTuple):
    """A net's learned parameters and its buffers (running statistics), by name."""

    params: dict[str, Array]
    buffers: dict[str, Array]


def copies(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Return the arrays, copied."""
    return {name: array.copy() for name, array in arrays.items()}


@dataclass
class TrainState:
    """A net in mid-training.

    epoch, step: how many are done. params, buffers: the net. optimizer: what `Optimizer.state`
    returns. average: the moving average of weights (``train.select=average`` only). best: the
    weights of the epoch of lowest validation loss (``train.select=best`` only). history: the
    metrics of each epoch but for its duration, so that equal trainings have bit-identical states.
    No random generator is part of it: streams are functions of (seed, name, epoch).
    """

    epoch: int
    step: int
    params: dict[str, Array]
    buffers: dict[str, Array]
    optimizer: dict[str, Array]
    average: Weights | None = None
    best: Weights | None = None
    history: list[dict[str, float]] = field(default_factory=list)


VERSION = 1
MANIFEST = "manifest"
WHOLE = {"params": "params", "buffers": "buffers", "optimizer": "optimizer"}
PAIRS = ("average", "best")


class CheckpointError(ValueError):
    """A checkpoint is damaged, not a checkpoint, or of another spec; the message names the file and
    what differs.
    """


def save(path: Path, state: TrainState, spec: Spec | None = None) -> None:
    """Write the state; a file of that name is replaced in one step, and a crash leaves the old one.

    With `spec` its digest is stored, so that `load` can refuse a checkpoint of another
    configuration. Raises OSError where it cannot write.
    """
    arrays: dict[str, Array] = {}
    for prefix, name in WHOLE.items():
        arrays |= {f"{prefix}/{key}": a for key, a in getattr(state, name).items()}
    for name in PAIRS:
        weights = getattr(state, name)
        if weights is not None:
            arrays |= {f"{name}/params/{key}": a for key, a in weights.params.items()}
            arrays |= {f"{name}/buffers/{key}": a for key, a in weights.buffers.items()}
    about = {
        "kind": "state",
        "epoch": state.epoch,
        "step": state.step,
        "history": state.history,
        "held": [name for name in PAIRS if getattr(state, name) is not None],
        "spec": None if spec is None else spec.digest(),
    }
    _write(path, arrays, about)


def load(path: Path, spec: Spec | None = None) -> TrainState:
    """Return the state that `save` wrote, bit for bit; raise CheckpointError where the file is not
    exactly that.
    """
    arrays, about = _read(path, "state")
    if spec is not None and about.get("spec") != spec.digest():
        raise CheckpointError(
            f"{path}: must belong to the spec {spec.digest()[:12]}, got "
            f"{str(about.get('spec'))[:12]}"
        )
    try:
        if not set(about["held"]) <= set(PAIRS):
            raise ValueError(f"held must be of {PAIRS}")
        held = {
            name: Weights(_part(arrays, f"{name}/params/"), _part(arrays, f"{name}/buffers/"))
            for name in about["held"]
        }
        return TrainState(
            epoch=int(about["epoch"]),
            step=int(about["step"]),
            params=_part(arrays, "params/"),
            buffers=_part(arrays, "buffers/"),
            optimizer=_part(arrays, "optimizer/"),
            average=held.get("average"),
            best=held.get("best"),
            history=[
                {str(k): float(v) for k, v in metrics.items()} for metrics in about["history"]
            ],
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CheckpointError(
            f"{path}: the manifest must describe a training state, got: {error!r}"
        ) from error


def save_weights(path: Path, weights: Weights, about: Mapping[str, Any] | None = None) -> None:
    """Write parameters and buffers alone, with any plain facts `about` them; as `save` does."""
    arrays = {f"params/{k}": a for k, a in weights.params.items()} | {
        f"buffers/{k}": a for k, a in weights.buffers.items()
    }
    _write(path, arrays, {"kind": "weights", "about": dict(about or {})})


def load_weights(path: Path) -> tuple[Weights, dict[str, Any]]:
    """Return what `save_weights` wrote; raise CheckpointError if the file is not exactly that."""
    arrays, about = _read(path, "weights")
    facts = about.get("about")
    return Weights(_part(arrays, "params/"), _part(arrays, "buffers/")), facts if isinstance(
        facts, dict
    ) else {}


def _part(arrays: Mapping[str, AnyArray], prefix: str) -> dict[str, Array]:
    return {key.removeprefix(prefix): a for key, a in arrays.items() if key.startswith(prefix)}


def _sha256(array: AnyArray) -> str:
    """Hash the values together with their type and shape."""
    return hashlib.sha256(
        f"{array.dtype.str}{array.shape}".encode() + np.ascontiguousarray(array).tobytes()
    ).hexdigest()


def _write(path: Path, arrays: Mapping[str, Array], about: Mapping[str, Any]) -> None:
    text = json.dumps(
        {**about, "version": VERSION, "sha256": {key: _sha256(a) for key, a in arrays.items()}}
    )
    manifest = np.frombuffer(text.encode(), np.uint8)
    members: dict[str, Any] = {MANIFEST: manifest, **arrays}
    with whole_file(path) as file:
        np.savez(file, allow_pickle=False, **members)


def _read(path: Path, kind: str) -> tuple[dict[str, AnyArray], dict[str, Any]]:
    try:
        arrays = read_npz(path)
        about = parse_json(arrays.pop(MANIFEST).tobytes())
        hashes = about["sha256"]
        if about["version"] != VERSION or about["kind"] != kind:
            raise CheckpointError(
                f"{path}: must be a {kind} file of version {VERSION}, got {about['kind']!r}, "
                f"version {about['version']}"
            )
    except InputError as error:
        raise CheckpointError(str(error)) from error
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"{path}: must hold a manifest that names its arrays, got: {error!r}"
        ) from error
    if not isinstance(hashes, dict) or hashes.keys() != arrays.keys():
        raise CheckpointError(
            f"{path}: must hold the arrays that its manifest names, got "
            f"{', '.join(sorted(arrays)[:8])}"
        )
    for key, array in arrays.items():
        if _sha256(array) != hashes[key]:
            raise CheckpointError(
                f"{path}: array {key!r} must have the digest {str(hashes[key])[:12]}, got "
                f"{_sha256(array)[:12]}"
            )
    return arrays, about
