"""Data parallelism: the gradient is that of the whole batch, normalised part by part, and processes
change no bit.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_core import cores, training_data, training_net
from cnn_core.architectures import build_model
from cnn_core.axes import Array, Indices, Labels
from cnn_core.checkpoint import copies
from cnn_core.cores import FREE_CORES, LostProcess, beside, free_cores, shared_copy
from cnn_core.data.splits import Batcher
from cnn_core.errors import InputError
from cnn_core.fused.fuse import fuse
from cnn_core.losses import softmax_cross_entropy
from cnn_core.replicas import Gradients, Outcome, Replicas
from cnn_core.spec import ModelSpec, Spec
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


@contextmanager
def at_work(
    model: ModelSpec, shards: int, processes: int = 1, batches: Batches | None = None
) -> Iterator[tuple[Any, Gradients]]:
    plain = build_model(model, SHAPE, CLASSES, np.random.default_rng(3), np.float64)
    made = Replicas(plain, fuse(plain), Batcher(SHAPE, np.float64), shards, processes)
    with made.epoch((5,), 0, batches or Batches(), softmax_cross_entropy) as gradients:
        yield plain, gradients


def gradients(
    model: ModelSpec, shards: int, processes: int = 1, images: int = 20
) -> tuple[dict[str, Array], dict[str, Array], Outcome]:
    """Return gradients, running statistics and outcome of one batch."""
    with at_work(model, shards, processes) as (plain, compute):
        outcome = compute(np.arange(images), True)
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
    with at_work(model, 2) as (plain, compute):
        batches, running = Batches(), copies(plain.buffers)
        for cuts in ((0, 4, 7), (7, 10, 12)):
            outcome = compute(np.arange(cuts[0], cuts[-1]), False)
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
    with at_work(model, 2, batches=batches) as (_, compute):
        outcome = compute(np.arange(20), True)
    (first, _), (second, _) = outcome.outputs["dense1"]
    assert first != second, "all images are the same, so only dropout differs"


def test_a_loss_that_is_not_finite_writes_nothing() -> None:
    model = ModelSpec(name="contest", filters=4, kernel=3, batch_norm="before")
    with at_work(model, 2) as (plain, compute):
        plain.params["dense1.b"].fill(np.nan)
        for gradient in plain.grads.values():
            gradient.fill(7)
        before = copies(plain.buffers)
        outcome = compute(np.arange(20), False)
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
def test_the_number_of_processes_changes_no_bit(
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


def test_validation_by_several_has_the_same_figures(
    tiny_spec: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches are validated by as many processes as train them."""
    monkeypatch.setattr(training_net, "INFERENCE_BATCH", 16)
    spec = tiny_spec(measure="macro_f1", train=TrainSpec(epochs=3, batch_size=32, shards=3))
    rows = []
    for count in ("1", "3"):
        monkeypatch.setenv(FREE_CORES, count)
        assert training_net.cores_of(spec.train) == int(count)
        assert training_net.cores_of(TrainSpec()) == 1, "what is not cut needs one core"
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
    inputs = training_data.EpochInputs(spec, training_data.data_of(spec.data), 0)
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


def test_a_loss_that_is_not_finite_ends_the_epoch_in_every_process(tiny_spec: Make) -> None:
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


def test_several_processes_answer_in_order() -> None:
    here = os.getpid()

    def work(item: int) -> tuple[int, int]:
        return os.getpid(), item * item

    with beside(work, 3) as run:
        answers = run(range(7))
        assert [square for _, square in answers] == [i * i for i in range(7)]
        by = [pid for pid, _ in answers]
        assert by[0] == by[3] == by[6] == here and len(set(by)) == 3
        assert by[1] == by[4] and by[2] == by[5]
        assert run([]) == []
        assert run([5]) == [(here, 25)]
    for pid in set(by) - {here}:
        assert not is_alive(pid), "they end with the block"


def test_blocks_may_overlap_and_end_in_any_order() -> None:
    first, second = (beside(lambda item: (os.getpid(), item), 3) for _ in range(2))
    run, other = first.__enter__(), second.__enter__()
    for answers in (run([0, 1, 2]), other([0, 1, 2])):
        assert [item for _, item in answers] == [0, 1, 2]
    first.__exit__(None, None, None)
    assert [item for _, item in other([0, 1, 2])] == [0, 1, 2]
    second.__exit__(None, None, None)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_one_writes_to_shared_memory_all_read() -> None:
    given, answers = shared_copy(np.zeros(2)), shared_copy(np.zeros((2, 2), np.float32))

    def work(row: int) -> None:
        answers[row] = given + row

    with beside(work, 2) as run:
        for value in (1.0, 5.0):
            given[:] = value
            run([0, 1])
            assert answers.tolist() == [[value, value], [value + 1, value + 1]]
    assert shared_copy(np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize(("item", "rule"), [(0, "not 0"), (1, "ValueError: not 1")])
def test_what_one_raises_is_raised(item: int, rule: str) -> None:
    def work(number: int) -> int:
        if number == item:
            raise ValueError(f"not {number}")
        return number

    with pytest.raises((ValueError, RuntimeError), match=f"^{rule}$"), beside(work, 2) as run:
        run([0, 1])


@pytest.mark.parametrize("item", [0, 1])
def test_after_an_error_no_answer_is_left_for_the_next_call(item: int) -> None:
    def work(number: int) -> int:
        if number == item:
            raise ValueError("a misdeed")
        return number

    with beside(work, 3) as run:
        with pytest.raises((ValueError, RuntimeError), match="a misdeed"):
            run([0, 1, 2])
        assert run([7, 8, 9]) == [7, 8, 9]


def test_a_process_that_is_killed_is_told_of() -> None:
    with beside(lambda _: os.getpid(), 2) as run:
        _, other = run([0, 1])
        os.kill(other, signal.SIGKILL)
        with pytest.raises(LostProcess, match=rf"beside this one, {other}, died"):
            run([0, 1])


def test_others_end_when_the_first_is_killed() -> None:
    """The first process is one of this test's own; the others have only their pipes to go by."""
    ours, theirs = os.pipe()
    first = os.fork()
    if first == 0:
        try:
            with beside(lambda _: os.getpid(), 3) as run:
                os.write(theirs, ",".join(map(str, run([0, 1, 2])[1:])).encode())
                signal.pause()
        finally:
            os._exit(0)
    others = [int(pid) for pid in os.read(ours, 100).decode().split(",")]
    os.close(ours), os.close(theirs)
    assert all(map(is_alive, others))
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    deadline = time.monotonic() + 60
    while any(map(is_running, others)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Tell whether a process is there and not yet ended: who reaps an orphan is the system's
    choice.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_fewer_do_where_no_more_can_be_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    fork, forked = os.fork, list[int]()

    def once() -> int:
        if forked:
            raise OSError("no more")
        forked.append(fork())
        return forked[0]

    monkeypatch.setattr(cores.os, "fork", once)
    with beside(lambda item: (os.getpid(), item), 4) as run:
        answers = run(range(5))
    assert [item for _, item in answers] == [*range(5)]
    assert {pid for pid, _ in answers} == {os.getpid(), forked[0]}


def test_elsewhere_one_process_does_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores.sys, "platform", "darwin")
    with beside(lambda item: (os.getpid(), item), 4) as run:
        assert run([3, 4]) == [(os.getpid(), 3), (os.getpid(), 4)]


def test_cores_are_those_that_the_slots_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FREE_CORES, "3")
    assert free_cores() == 3
    for unusable in ("", "0", "many", "²"):
        monkeypatch.setenv(FREE_CORES, unusable)
        assert free_cores() == 1
    monkeypatch.delenv(FREE_CORES)
    assert free_cores() == 1, "BLAS has threads of its own outside of a slot"
