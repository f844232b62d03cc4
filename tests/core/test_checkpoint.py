"""A checkpoint comes back to the bit, continues to the same bits, and never lies after damage."""

import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_core import checkpoint
from cnn_core.checkpoint import (
    CheckpointError,
    TrainState,
    Weights,
    load,
    load_weights,
    save,
    save_weights,
)
from cnn_core.spec import Spec
from cnn_core.train_spec import TrainSpec
from cnn_core.training import train_epoch

Make = Callable[..., Spec]


def small_state() -> TrainState:
    rng = np.random.default_rng(0)
    arrays = {
        "conv1.W": rng.standard_normal((2, 1, 3, 3)).astype(np.float32),
        "conv1.b": np.zeros(2, np.float32),
    }
    weights = Weights(
        {k: a + 1 for k, a in arrays.items()},
        {"norm1.running_mean": np.array([np.nan, -0.0], np.float32)},
    )
    history = [
        {"train_loss": 0.1 + 0.2, "valid_loss": float("nan")},
        {"train_loss": 1e-300, "valid_loss": float("inf")},
    ]
    optimizer = {"step": np.array(7.0), "conv1.W:m": arrays["conv1.W"] * 2}
    return TrainState(
        2, 7, arrays, dict(weights.buffers), optimizer, average=weights, best=None, history=history
    )


def flat(state: TrainState) -> dict[str, bytes]:
    found = {}
    for name in ("params", "buffers", "optimizer"):
        found |= {
            f"{name} {k} {a.dtype} {a.shape}": a.tobytes() for k, a in getattr(state, name).items()
        }
    for name in ("average", "best"):
        weights = getattr(state, name)
        for part in ({}, {}) if weights is None else weights:
            found |= {f"{name} {k} {a.dtype} {a.shape}": a.tobytes() for k, a in part.items()}
    return found | {"numbers": f"{state.epoch} {state.step} {state.history!r}".encode()}


def test_a_state_comes_back_to_the_bit(tmp_path: Path) -> None:
    save(tmp_path / "c.npz", small_state())
    loaded = load(tmp_path / "c.npz")
    assert flat(loaded) == flat(small_state())
    assert loaded.best is None and loaded.average is not None
    assert [p.name for p in tmp_path.iterdir()] == ["c.npz"]
    (tmp_path / "plain").touch()  # and whoever may read the folder's other files may read it
    assert (tmp_path / "c.npz").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("select", ["last", "average", "best"])
def test_training_continues_to_the_same_bits(tiny_spec: Make, tmp_path: Path, select: str) -> None:
    spec = tiny_spec(
        train=TrainSpec(epochs=3, batch_size=64, select=select), augment={"rotate": 10}
    )
    state, _ = train_epoch(spec, None)
    save(tmp_path / "c.npz", state, spec)
    straight, _ = train_epoch(spec, state)
    resumed, _ = train_epoch(spec, load(tmp_path / "c.npz", spec))
    assert flat(straight) == flat(resumed)


def test_equal_states_make_equal_files(tmp_path: Path) -> None:
    save(tmp_path / "a.npz", small_state())
    save(tmp_path / "b.npz", small_state())
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_numpy_reads_it_without_pickle(tmp_path: Path) -> None:
    save(tmp_path / "c.npz", small_state())
    with np.load(tmp_path / "c.npz", allow_pickle=False) as archive:
        manifest = json.loads(archive["manifest"].tobytes())
        assert manifest["epoch"] == 2 and set(manifest["sha256"]) == set(archive.files) - {
            "manifest"
        }


def test_any_damage_is_noticed_or_harmless(tmp_path: Path) -> None:
    path, good = tmp_path / "c.npz", small_state()
    save(path, good)
    whole = path.read_bytes()
    noticed = 0
    for at in range(0, len(whole), 13):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << (at % 8)
        path.write_bytes(damaged)
        try:
            loaded = load(path)
        except CheckpointError:
            noticed += 1
        else:
            assert flat(loaded) == flat(good), f"byte {at} changed what was loaded"
    assert noticed > len(whole) / 13 / 2


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "c.npz"
    save(path, small_state())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match=r"c\.npz: must be a whole .npz archive"):
        load(path)


def test_a_missing_file_and_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="must be a readable file"):
        load(tmp_path / "none.npz")
    save_weights(tmp_path / "w.npz", Weights({"a.W": np.ones(2)}, {}))
    with pytest.raises(CheckpointError, match="must be a state file of version 1, got 'weights'"):
        load(tmp_path / "w.npz")
    np.savez(tmp_path / "plain.npz", a=np.ones(2))
    with pytest.raises(CheckpointError, match="must hold a manifest"):
        load(tmp_path / "plain.npz")


def rewritten(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Write the archive again with another manifest."""
    with np.load(path) as archive:
        arrays = dict(archive)
    manifest = json.loads(arrays.pop("manifest").tobytes())
    change(manifest)
    np.savez(path, manifest=np.frombuffer(json.dumps(manifest).encode(), np.uint8), **arrays)


def _swap(m: dict[str, Any]) -> None:
    m["sha256"]["params/conv1.b"] = m["sha256"]["params/conv1.W"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_swap, "array 'params/conv1.b' must have the digest"),
        (
            lambda m: m["sha256"].pop("params/conv1.b"),
            "must hold the arrays that its manifest names",
        ),
        (
            lambda m: m.update(version=2),
            "must be a state file of version 1, got 'state', version 2",
        ),
        (lambda m: m.pop("history"), "must describe a training state"),
        (lambda m: m.update(held=["x", 1]), "must describe a training state"),
        (lambda m: m.update(epoch="two"), "must describe a training state"),
    ],
)
def test_a_manifest_that_disagrees_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    save(tmp_path / "c.npz", small_state())
    rewritten(tmp_path / "c.npz", change)
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path / "c.npz")


def test_the_checkpoint_of_another_spec_is_refused(tiny_spec: Make, tmp_path: Path) -> None:
    spec = tiny_spec()
    save(tmp_path / "c.npz", small_state(), spec)
    load(tmp_path / "c.npz", spec)
    load(tmp_path / "c.npz")
    with pytest.raises(CheckpointError, match="must belong to the spec"):
        load(tmp_path / "c.npz", replace(spec, seed=(1,)))


def test_a_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.npz"
    save(path, small_state())
    before = path.read_bytes()

    def fails(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="No space left"):
        save(path, replace(small_state(), epoch=9))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["c.npz"]


def test_weights_come_back_with_the_facts_about_them(tmp_path: Path) -> None:
    weights = Weights(
        {"a.W": np.arange(6.0).reshape(2, 3)}, {"n.running_mean": np.ones(2, np.float32)}
    )
    save_weights(tmp_path / "w.npz", weights, {"trial": 3, "model": "contest"})
    loaded, about = load_weights(tmp_path / "w.npz")
    np.testing.assert_array_equal(loaded.params["a.W"], weights.params["a.W"])
    np.testing.assert_array_equal(loaded.buffers["n.running_mean"], 1)
    assert about == {"trial": 3, "model": "contest"}
    with zipfile.ZipFile(tmp_path / "w.npz") as archive:
        assert sorted(archive.namelist()) == [
            "buffers/n.running_mean.npy",
            "manifest.npy",
            "params/a.W.npy",
        ]


ENDLESS = [b"[" * 100_000, b'{"sha256": 1' + b"0" * 9000, b"[" + b"[]," * 1_000_001 + b"1]"]


@pytest.mark.parametrize("text", [*ENDLESS, b"[]", b"\xff"])
def test_a_manifest_beyond_all_measure_is_refused(text: bytes, tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", **{checkpoint.MANIFEST: np.frombuffer(text, np.uint8)})
    with pytest.raises(checkpoint.CheckpointError, match="must hold a manifest that names its"):
        checkpoint.load_weights(tmp_path / "w.npz")
