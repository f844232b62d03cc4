"""What a bundle asks for does not decide how much memory is taken: pictures, answers and weights
are held in parts of stated sizes, by the product and by the bundle's own predict.py.
"""

import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_core.data.npz import arrays_of
from cnn_core.errors import InputError
from pipeline import evaluate
from pipeline.bundle import bundle_checks, predictor, running, standalone
from pipeline.bundle.predictor import Bundle, Net, load, mean_of
from pipeline.files import sha256_bytes
from pipeline.inputs import Hints
from pipeline.inputs.reading import Batch, open_as_trained
from pipeline.predictions import asked
from pipeline.records.manifest import BundleError, manifest_digest
from pipeline.records.manifest_reading import read_manifest
from tests.pipeline.made_bundle import form_of, striped
from tests.pipeline.made_manifest import made_manifest

PICTURES = np.arange(30 * 64, dtype=np.uint8).reshape(30, 8, 8)


def of_many(members: int, classes: int, image_bytes: int = 0, batch: int = 25) -> Bundle:
    net = Net([{"op": "flatten"}], {})
    manifest = made_manifest((1, 1, classes), classes)
    return Bundle(manifest, [[net]] * members, batch, image_bytes)


def test_a_batch_is_as_many_pictures_as_fit_in_the_form_of_the_net(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", PICTURES)
    for side, most in ((8, 500), (512, 64)):
        form = form_of(side=side)
        reading = open_as_trained(tmp_path / "x.npy", form, Hints(shape=(1, 8, 8)))
        assert reading.size == most


def test_as_many_pictures_are_read_at_once_as_their_answers_fit(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", PICTURES)
    bundle = striped(tmp_path / "bundle", ("a", "b"))
    keys = asked.PredictKeys(input=str(tmp_path / "x.npy"))
    assert asked.open_asked(keys, bundle).size == 500
    bundle.block = 7
    assert [len(b.images) for b in asked.open_asked(keys, bundle).batches()] == [7, 7, 7, 7, 2]


def test_blocks_are_held_up_to_a_size_and_one_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "MOST_HELD_BYTES", 1000)
    one = Batch(images=np.zeros((2, 1, 10, 10), np.uint8), ids=("a", "b"))
    for answer_bytes, jobs, held in ((0, 2, 5), (0, 1, 4), (150, 1, 2), (10_000, 3, 3)):
        assert len(running._held(iter([one] * 20), jobs, answer_bytes)) == held


def test_answers_of_many_members_and_classes_are_joined_in_parts() -> None:
    few, many = of_many(2, 10), of_many(100, 1000)
    assert (few.block, few.batch) == (500, 25)
    assert many.block * many.answer_bytes <= 16 << 20
    assert of_many(100, 1000, batch=100_000).batch * 4 * many.answer_bytes <= 512 << 20
    assert of_many(1, 10, image_bytes=300 << 20).block == 20


def test_parts_are_answered_as_the_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bundle = striped(tmp_path / "bundle", ("a", "b", "c", "d"))
    images = np.random.default_rng(0).integers(0, 256, (61, 1, 8, 8), dtype=np.uint8)
    whole = bundle.combine(bundle.member_proba(images))
    seen = []
    inner = bundle.member_proba
    monkeypatch.setattr(bundle, "member_proba", lambda part: seen.append(len(part)) or inner(part))
    bundle.block = 25
    np.testing.assert_allclose(bundle.predict_proba(images), whole, rtol=1e-6)
    assert seen == [25, 25, 11]
    assert bundle.predict_proba(images[:0]).shape == (0, 4)


def test_a_mean_holds_one_array_at_a_time() -> None:
    arrays = np.random.default_rng(0).normal(size=(7, 3, 5)).astype(np.float32)
    found = mean_of(iter(arrays))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.mean(list(arrays), axis=0))


def test_predict_py_refuses_pictures_that_become_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    striped(tmp_path, ("a", "b"), form_of(side=64))
    monkeypatch.setattr(standalone, "__file__", str(tmp_path / "predict.py"))
    monkeypatch.setattr(standalone, "MOST_INPUT_BYTES", 30 * 64 * 64 - 1)
    np.save(tmp_path / "x.npy", PICTURES)
    arguments = [str(tmp_path / "x.npy"), str(tmp_path / "y.txt")]
    assert standalone.main(arguments) == 2
    said = capsys.readouterr().err
    assert "got 30 in 122,880 bytes in" in said and "as the nets see them" in said
    monkeypatch.setattr(standalone, "MOST_INPUT_BYTES", 30 * 64 * 64)
    monkeypatch.setattr(predictor, "MOST_BATCHES", 1)
    assert standalone.main(arguments) == 0
    assert len((tmp_path / "y.txt").read_text().splitlines()) == 30


def test_an_archive_of_weights_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = io.BytesIO()
    np.savez_compressed(content, W=np.zeros(2 << 20, np.float32))
    assert len(arrays_of(content.getvalue(), "x")["W"]) == 2 << 20
    tracemalloc.start()
    with pytest.raises(InputError, match="x: its members may hold 8,388,608 bytes, they state 8,3"):
        arrays_of(content.getvalue(), "x", 8 << 20)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    striped(tmp_path, ("a", "b"))
    (tmp_path / "weights" / "one.npz").write_bytes(content.getvalue())
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["members"][0]["nets"][0]["sha256"] = sha256_bytes(content.getvalue())
    manifest["digest"] = manifest_digest(manifest)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setattr(bundle_checks, "MOST_WEIGHT_BYTES", 8 << 20)
    with pytest.raises(BundleError, match="members may hold 8,388,608 bytes, they state 8,388,7"):
        load(tmp_path)


def test_work_is_bounded_as_it_is_known_from_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    striped(tmp_path, ("a", "b"))  # flatten, and a dense layer of 2 x 64
    for name, most, what in (("MOST_WORK", 128, "multiply-adds"), ("MOST_STEPS", 1, "operations")):
        with monkeypatch.context() as patched:
            patched.setattr(bundle_checks, name, most)
            with pytest.raises(BundleError, match=f"may take {most} {what} an image, got "):
                load(tmp_path)
    assert load(tmp_path).classes == 2
    kernel = {"W": np.zeros((4, 3, 5, 5), np.float32)}
    work = bundle_checks._multiply_adds
    assert work({"op": "convolution", "W": "W"}, (4, 6, 7), kernel) == 4 * 3 * 25 * 42
    assert work({"op": "pooling", "size": [2, 3]}, (4, 6, 7), {}) == 4 * 42 * 6
    assert work({"op": "relu"}, (4, 6, 7), {}) == work({"op": "relu", "W": []}, (4, 42), {}) == 168


def test_transformed_kernels_are_held_up_to_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = {"b": np.zeros(32, np.float32)}
    rng = np.random.default_rng(0)
    for k in (3, 5, 7):
        arrays[f"W{k}"] = rng.normal(size=(32, 32, k, k)).astype(np.float32)
    rest: dict[str, Any] = {"op": "convolution", "b": "b", "stride": [1, 1], "padding": [0] * 4}
    net = running.QuickNet([{**rest, "W": f"W{k}"} for k in (3, 5, 7)], arrays)
    x = rng.normal(size=(32, 16, 16, 2)).astype(np.float32)
    wanted = net.logits(x)
    assert len(net._correlations) == 3
    sizes = [arrays[f"W{k}"].nbytes for k in (3, 5, 7)]
    for largest, together, left in ((sizes[1], sum(sizes), 2), (sizes[2], sizes[2], 1)):
        monkeypatch.setattr(running, "MOST_KERNEL_BYTES", largest)
        monkeypatch.setattr(running, "MOST_KERNELS_BYTES", together)
        net._correlations.clear()
        np.testing.assert_allclose(net.logits(x), wanted, rtol=1e-3, atol=1e-2)
        assert len(net._correlations) == left


def test_a_manifest_of_many_values_is_refused_unread() -> None:
    content = b'{"x": [' + b"[]," * (1 << 19) + b"[]]}"
    with pytest.raises(BundleError, match="at most 1,048,576 values, got 1,048,579 in manifest"):
        read_manifest(content)


def test_what_is_scored_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "x.npz", images=PICTURES, labels=np.arange(30) % 2)
    bundle = striped(tmp_path / "bundle", ("0", "1"))
    keys: Any = evaluate.EvaluateKeys(input=str(tmp_path / "x.npz"))
    assert len(evaluate._file_set(bundle, keys)[0].images) == 30
    monkeypatch.setattr(evaluate, "MOST_SCORED_BYTES", 30 * (64 + 8) - 1)
    with pytest.raises(InputError, match="answers may take 2,159 bytes, got more after 0 pictures"):
        evaluate._file_set(bundle, keys)
