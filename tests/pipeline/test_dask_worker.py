"""What a Dask worker does with a call, without a cluster: it announces it, finds the data that the
call names, stores data that were sent, and limits its memory for the call alone.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import distributed
import numpy as np
import pytest

from cnn_core.cores import FREE_CORES
from cnn_core.data.prepared import DataAbsentError, write_prepared
from cnn_core.errors import InputError
from cnn_core.spec import DataSpec, ModelSpec, Spec
from pipeline.slots import dask_worker, worker

resource = pytest.importorskip("resource", reason="limits of memory are POSIX's")
ADDRESS = "tcp://127.0.0.1:9"


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[Any]]:
    """What a worker of three threads has announced; its temporary folder is the test's."""
    events: list[Any] = []
    here = SimpleNamespace(
        state=SimpleNamespace(nthreads=3),
        log_event=lambda topic, event: events.append((topic, event)),
        address=ADDRESS,
    )
    monkeypatch.setattr(distributed, "get_worker", lambda: here)
    monkeypatch.setattr(dask_worker.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(dask_worker.tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv(FREE_CORES, raising=False)
    yield events
    os.environ.pop(FREE_CORES, None)


@pytest.fixture
def prepared(tmp_path: Path) -> tuple[str, str]:
    """A prepared set of six pictures: its folder and digest."""
    images = np.arange(6 * 4, dtype=np.uint8).reshape(6, 1, 2, 2)
    labels = np.array([0, 1, 0, 1, 0, 1])
    place = tmp_path / "elsewhere"
    place.mkdir()
    digest = write_prepared(place / "six", images, labels, classes=2, name="six")
    return str(place / "six"), digest


def spec_of(folder: str, digest: str, valid: tuple[str, str] | None = None) -> Spec:
    data = DataSpec(folder=folder, digest=digest, image_shape=(1, 2, 2), classes=2)
    if valid is not None:
        data = replace(data, valid_folder=valid[0], valid_digest=valid[1])
    return Spec(data=data, model=ModelSpec(), optimizer={"name": "sgd"})


def folders(spec: Spec) -> tuple[str, str | None]:
    return spec.data.folder, spec.data.valid_folder


def test_a_call_is_announced_and_its_value_comes_back(heard: list[Any]) -> None:
    assert dask_worker.invoke("call 7", divmod, (17, 5)) == ("", (3, 2))
    assert heard == [("cnn-sweep", {"call": "call 7", "address": ADDRESS})]
    assert os.environ[FREE_CORES] == "3"


def test_cores_that_were_given_stay(heard: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FREE_CORES, "1")
    dask_worker.invoke("call", divmod, (17, 5))
    assert os.environ[FREE_CORES] == "1"


def test_what_a_call_raises_comes_back_as_text(heard: list[Any]) -> None:
    kind, text = dask_worker.invoke("call", divmod, (1, 0))
    assert kind == "ZeroDivisionError" and "zero" in text


def test_data_are_found_where_they_are_said_to_be(
    heard: list[Any], prepared: tuple[str, str]
) -> None:
    spec = spec_of(*prepared, valid=prepared)
    assert dask_worker.invoke("call", folders, (spec,)) == ("", (prepared[0], prepared[0]))


def test_absent_data_are_asked_for_and_found_where_they_were_stored(
    heard: list[Any], prepared: tuple[str, str]
) -> None:
    folder, digest = prepared
    spec = spec_of("/nowhere/six", digest, valid=("/nowhere/six", digest))
    asked = dask_worker.invoke("call", folders, (spec,))
    assert asked == (DataAbsentError.__name__, f"{digest} {ADDRESS}")
    files = {name: (Path(folder) / name).read_bytes() for name in dask_worker.FILES}
    stored = dask_worker.receive(digest, files)
    assert stored == str(dask_worker.store() / digest)
    assert dask_worker.receive(digest, {}) == stored  # a second time: they are there
    assert dask_worker.invoke("call", folders, (spec,)) == ("", (stored, stored))


def test_only_this_user_may_write_what_was_sent(
    heard: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dask_worker.store().stat().st_mode & 0o777 == 0o700
    owner = os.getuid()
    folder = dask_worker.store()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    folder.rename(folder.with_name(f"cnn-sweep-{owner + 1}"))
    with pytest.raises(PermissionError, match=f"must belong to user {owner + 1}"):
        dask_worker.store()


def test_data_that_are_not_what_their_digest_says_are_refused(
    heard: list[Any], prepared: tuple[str, str]
) -> None:
    files = {name: (Path(prepared[0]) / name).read_bytes() for name in dask_worker.FILES}
    with pytest.raises(InputError):
        dask_worker.receive("0" * 64, files)
    assert [path.name for path in dask_worker.store().iterdir()] == ["0" * 64]


def test_a_full_disk_leaves_nothing_half_stored(
    heard: list[Any], prepared: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    files = {name: (Path(prepared[0]) / name).read_bytes() for name in dask_worker.FILES}
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        dask_worker.receive(prepared[1], files)
    assert not list(dask_worker.store().iterdir())


def limits() -> tuple[int, int]:
    found: tuple[int, int] = resource.getrlimit(resource.RLIMIT_AS)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="the size of a process is read as Linux has it")
def test_memory_is_limited_in_the_call_alone(
    heard: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = limits()
    monkeypatch.setattr(dask_worker, "own_bytes", lambda: 8 << 40)
    kind, (soft, hard) = dask_worker.invoke("call", limits, (), memory_mb=64)
    assert (kind, soft, hard) == ("", (8 << 40) + (64 << 20), before[1])
    assert limits() == before
    assert dask_worker.invoke("call", limits, ()) == ("", before)


def test_a_hard_limit_is_not_exceeded(heard: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(dask_worker, "own_bytes", lambda: 1 << 30)
    monkeypatch.setattr(dask_worker, "limits_before", lambda: (-1, 1000))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limit: told.append(limit))
    with dask_worker.limited(64):
        pass
    assert told == [(1000, 1000), (-1, 1000)]


def test_its_own_size_is_that_of_its_address_space() -> None:
    dask_worker.own_bytes.cache_clear()
    text = Path("/proc/self/status").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith("VmSize"))
    assert dask_worker.own_bytes() == pytest.approx(int(line.split()[1]) * 1024, rel=0.1)


def test_kernels_are_those_of_the_loaded_library() -> None:
    assert dask_worker.kernels() == worker.openblas_kernels()
