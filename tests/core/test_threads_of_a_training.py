"""Data parallelism: the gradient is that of the whole batch, normalised part by part, and threads
change no bit.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from cnn_core import caches
from cnn_core.architectures import build_model
from cnn_core.axes import Array, Indices, Labels
from cnn_core.checkpoint import copies
from cnn_core.data.splits import Batcher
from cnn_core.errors import InputError
from cnn_core.fused.fuse import fuse
from cnn_core.losses import softmax_cross_entropy
from cnn_core.replicas import Outcome, Replicas
from cnn_core.spec import ModelSpec, Spec
from cnn_core.threads import FREE_CORES, Crew, free_cores
from cnn_core.train_spec import TrainSpec
from cnn_core.training import check_spec, fit, train_epoch

Make = Callable[..., Spec]
SHAPE, CLASSES = (1, 8, 8), 10


class Batches:
    """Twenty random images, in the form that replicas take inputs in."""

    def __init__(self) -> None:
        rng = np.random.default_rng(4)
        self.images = rng.integers(0, 256, (20, *SHAPE), dtype=np.uint8)
        self.labels = rng.integers(0, CLASSES, 20)

    def __call__(self, chosen: Indices, part: int, batcher: Batcher) -> tuple[Array, Labels]:
        return batcher(self.images[chosen]), self.labels[chosen]


def replicas(model: ModelSpec, shards: int, threads: int = 1) -> tuple[Any, Replicas]:
    plain = build_model(model, SHAPE, CLASSES, np.random.default_rng(3), np.float64)
    made = Replicas(plain, fuse(plain), Batcher(SHAPE, np.float64), shards, threads)
    made.reseed((5,), 0)
    return plain, made


def gradients(
    model: ModelSpec, shards: int, threads: int = 1, images: int = 20
) -> tuple[dict[str, Array], dict[str, Array], Outcome]:
    """Return gradients, running statistics and outcome of one batch."""
    plain, made = replicas(model, shards, threads)
    outcome = made.gradients(np.arange(images), Batches(), softmax_cross_entropy, observed=True)
    written, running = (copies(arrays) for arrays in (plain.grads, plain.buffers))
    return written, running, outcome


@pytest.mark.parametrize("shards", [2, 3, 4])
@pytest.mark.parametrize("name", ["contest", "pyramid", "mlp"])
def test_parts_add_up_to_the_gradient_of_the_whole_batch(name: str, shards: int) -> None:
    model = ModelSpec(name=name, filters=4, kernel=3, hidden=(7,) if name == "mlp" else ())
    whole, _, all_at_once = gradients(model, 1)
    parts, _, outcome = gradients(model, shards)
    assert whole.keys() == parts.keys()
    for key, gradient in whole.items():
        np.testing.assert_allclose(parts[key], gradient, rtol=1e-9, atol=1e-12, err_msg=key)
    assert outcome.loss == pytest.approx(all_at_once.loss, rel=1e-12)
    assert (outcome.correct, outcome.images) == (all_at_once.correct, 20)
    assert outcome.activation_norms == pytest.approx(all_at_once.activation_norms, rel=1e-9)


def test_batch_normalisation_takes_each_part_by_itself() -> None:
    """Truth: plain nets that see the parts as batches, weighted by hand; 7 images are parts of 4
    and 3, the next 5 are parts of 3 and 2, which go on from the mean of the statistics.
    """
    model = ModelSpec(name="contest", filters=4, kernel=3, batch_norm="before")
    plain, made = replicas(model, 2)
    batches, running = Batches(), copies(plain.buffers)
    for cuts in ((0, 4, 7), (7, 10, 12)):
        outcome = made.gradients(np.arange(cuts[0], cuts[-1]), batches, softmax_cross_entropy)
        loss, gradient, statistics = 0.0, dict[str, Any](), dict[str, Any]()
        for first, stop in pairwise(cuts):
            net = build_model(model, SHAPE, CLASSES, np.random.default_rng(3), np.float64)
            net.load(net.params, running)
            x, labels = batches(np.arange(first, stop), 0, Batcher(SHAPE, np.float64))
            part_loss, dlogits = softmax_cross_entropy(net.forward(x, training=True), labels)
            net.backward(dlogits)
            share = (stop - first) / (cuts[-1] - cuts[0])
            loss += share * part_loss
            for total, arrays in ((gradient, net.grads), (statistics, net.buffers)):
                for name, array in arrays.items():
                    total[name] = total.get(name, 0.0) + share * array
        running = statistics
        for got, want in ((plain.grads, gradient), (plain.buffers, running)):
            for name, array in want.items():
                np.testing.assert_allclose(got[name], array, rtol=1e-6, atol=1e-9, err_msg=name)
        assert outcome.loss == pytest.approx(loss, rel=1e-9)
    assert (running["norm1.running_mean"] != 0).any()


def test_each_part_drops_other_units() -> None:
    model = ModelSpec(name="contest", filters=4, kernel=3, dropout=0.5)
    batches = Batches()
    batches.images[:], batches.labels[:] = batches.images[0], batches.labels[0]
    _, made = replicas(model, 2)
    outcome = made.gradients(np.arange(20), batches, softmax_cross_entropy, observed=True)
    (first, _), (second, _) = outcome.outputs["dense1"]
    assert first != second, "all images are the same, so only dropout differs"


def test_a_loss_that_is_not_finite_writes_nothing() -> None:
    model = ModelSpec(name="contest", filters=4, kernel=3, batch_norm="before")
    plain, made = replicas(model, 2)
    plain.params["dense1.b"].fill(np.nan)
    for gradient in plain.grads.values():
        gradient.fill(7)
    before = copies(plain.buffers)
    outcome = made.gradients(np.arange(20), Batches(), softmax_cross_entropy)
    assert np.isnan(outcome.loss)
    assert all((gradient == 7).all() for gradient in plain.grads.values())
    for name, array in before.items():
        np.testing.assert_array_equal(plain.buffers[name], array)


def test_a_batch_smaller_than_the_parts_is_computed_whole() -> None:
    model = ModelSpec(name="contest", filters=4, kernel=3)
    whole, *_ = gradients(model, 1, images=2)
    parts, _, outcome = gradients(model, 4, images=2)
    np.testing.assert_allclose(parts["conv1.W"], whole["conv1.W"], rtol=1e-9, atol=1e-12)
    assert outcome.images == 2


@pytest.mark.parametrize("threads", [2, 3, 4])
@pytest.mark.parametrize("name", ["contest", "vgg_bn", "pyramid"])
def test_the_number_of_threads_changes_no_bit(
    tiny_spec: Make, name: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FREE_CORES, "1")
    model = ModelSpec(name=name, filters=8, kernel=3, dropout=0.3, batch_norm="before")
    train = TrainSpec(epochs=2, batch_size=30, shards=4, select="average")
    spec = tiny_spec(
        model=model, train=train, augment={"shift": 0.2, "rotate": 10.0}, measure="log_loss"
    )
    alone = fit(spec)
    together = fit(replace(spec, train=replace(train, threads=threads)))
    assert alone.average is not None and together.average is not None
    for before, after in (
        (alone.params, together.params),
        (alone.buffers, together.buffers),
        (alone.average.params, together.average.params),
    ):
        for key, array in before.items():
            np.testing.assert_array_equal(after[key], array, err_msg=key)
    for row, other in zip(alone.history, together.history, strict=True):
        assert {k: v for k, v in row.items() if k != "epoch_s"} == {
            k: v for k, v in other.items() if k != "epoch_s"
        }


def test_validation_in_threads_has_the_same_figures(
    tiny_spec: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches are validated by as many threads as train them."""
    monkeypatch.setattr(caches, "INFERENCE_BATCH", 16)
    spec = tiny_spec(measure="macro_f1", train=TrainSpec(epochs=3, batch_size=32, shards=3))
    rows = []
    for cores in ("1", "3"):
        monkeypatch.setenv(FREE_CORES, cores)
        assert caches.threads_of(spec.train) == int(cores)
        assert caches.threads_of(TrainSpec()) == 1, "what is not cut needs no thread"
        rows.append({k: v for k, v in train_epoch(spec, None)[1].items() if k != "epoch_s"})
    assert rows[0] == rows[1] and "valid_macro_f1" in rows[0]


def test_a_training_in_parts_goes_on_to_the_same_bits(tiny_spec: Make) -> None:
    spec = tiny_spec(train=TrainSpec(epochs=3, batch_size=32, shards=2, threads=2))
    begun = train_epoch(spec, None)[0]
    train_epoch(tiny_spec(model=ModelSpec(name="contest", filters=5, kernel=3)), None)
    first = fit(spec, state=begun)
    again = fit(spec)
    for key, array in again.params.items():
        np.testing.assert_array_equal(first.params[key], array)


def test_parts_draw_streams_of_their_own(tiny_spec: Make) -> None:
    """Equal images in both parts of a batch are dropped and moved differently."""
    spec = tiny_spec(train=TrainSpec(epochs=1, batch_size=32, shards=2), augment={"rotate": 20.0})
    inputs = caches.EpochInputs(spec, caches.data_of(spec.data), 0)
    batcher = Batcher(SHAPE)
    chosen = np.arange(16)
    first, second = (inputs(chosen, part, batcher)[0].copy() for part in (0, 1))
    assert (first != second).any()
    net = fuse(build_model(spec.model, SHAPE, CLASSES, np.random.default_rng(3)))
    outputs = []
    for part in (0, 1, 0):
        net.reseed((1,), 0, part)
        outputs.append(net.forward(first, training=True).copy())
    assert (outputs[0] != outputs[1]).any()
    np.testing.assert_array_equal(outputs[0], outputs[2])


def test_a_loss_that_is_not_finite_ends_the_epoch_in_every_thread(tiny_spec: Make) -> None:
    spec = tiny_spec(
        train=TrainSpec(epochs=1, batch_size=32, shards=2, threads=2),
        optimizer={"name": "sgd", "lr": 1e30},
    )
    with np.errstate(all="raise"):  # of the caller; a training neither raises nor warns
        _, row = train_epoch(spec, None)
    assert np.isnan(row["train_loss"])


def test_parts_count_and_threads_do_not(tiny_spec: Make) -> None:
    train = TrainSpec(epochs=3, batch_size=32)
    digests = [
        tiny_spec(train=replace(train, shards=shards, threads=threads)).digest()
        for shards, threads in ((1, None), (1, 1), (2, None), (2, 2), (4, 3))
    ]
    assert digests[0] == digests[1] == tiny_spec().digest()
    assert digests[2] == digests[3]
    assert len(set(digests)) == 3


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"threads": 2}, r"train\.threads: must be at most train\.shards, 1, got 2"),
        ({"shards": 33}, r"train\.shards: must be at most train\.batch_size, 32, got 33"),
        ({"shards": 0}, r"train\.shards: .* got 0"),
    ],
)
def test_more_parts_than_images_and_more_threads_than_parts_are_refused(
    values: dict[str, int], rule: str
) -> None:
    with pytest.raises(InputError, match=rule):
        TrainSpec(batch_size=32, **values)  # type: ignore[arg-type]


def test_dense_normalisation_needs_two_images_in_each_part(tiny_spec: Make) -> None:
    model = ModelSpec(name="mlp", hidden=(6,), batch_norm="before")
    check_spec(tiny_spec(model=model, train=TrainSpec(batch_size=4, shards=2)))
    with pytest.raises(InputError, match=r"at least 2 in each of train\.shards=2 parts"):
        check_spec(tiny_spec(model=model, train=TrainSpec(batch_size=3, shards=2)))


def test_a_crew_returns_results_in_order_and_waits_for_all() -> None:
    crew, seen, together = Crew(3), list[int](), threading.Barrier(3)

    def work(thread: int, item: int) -> tuple[int, int, int]:
        if item < 3:
            together.wait(60)  # passes only where three threads work at once
        seen.append(threading.get_ident())
        return thread, item, item * item

    assert crew.run(work, range(7)) == [(i % 3, i, i * i) for i in range(7)]
    assert len(set(seen)) == 3 and threading.get_ident() in seen
    assert crew.run(work, []) == []
    assert crew.run(work, [5]) == [(0, 5, 25)]

    done = threading.Event()

    def fail(thread: int, item: int) -> None:
        if item == 0:
            raise ValueError("the first")
        done.wait(0.2)
        seen.append(-1)

    with pytest.raises(ValueError, match="the first"):
        crew.run(fail, range(3))
    assert seen.count(-1) == 2, "no thread works on when the call is over"


def test_cores_are_those_that_the_slots_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FREE_CORES, "3")
    assert free_cores() == 3
    for unusable in ("", "0", "many", "²"):
        monkeypatch.setenv(FREE_CORES, unusable)
        assert free_cores() == 1
    monkeypatch.delenv(FREE_CORES)
    assert free_cores() == 1, "BLAS has threads of its own outside of a slot"
