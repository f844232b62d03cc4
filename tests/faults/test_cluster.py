"""The same sweep on a Dask cluster: a killed worker, a deadline, data that a worker lacks,
addresses that are refused.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.faults.harness import REPOSITORY, Case, check, no_traceback, wait_until
from tests.faults.test_workers import epochs_begun

pytest.importorskip("distributed")
pytestmark = pytest.mark.slow


@contextlib.contextmanager
def started(case: Case, folder: Path, *flags: str, security: Any = None) -> Iterator[str]:
    """A scheduler with two workers, each under its nanny, as a user starts them; yields the
    address.
    """
    environment = {
        **os.environ,
        "TOY": str(case.toy),
        "PYTHONPATH": str(REPOSITORY),
        "DASK_DISTRIBUTED__ADMIN__TICK__LIMIT": "1h",
    }
    file, log = folder / "scheduler.json", folder / "cluster.log"
    scheduler = ["dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-show"]
    worker = ["dask_worker", "--nthreads", "1"]
    processes: list[subprocess.Popen[bytes]] = []

    def start(name: str, *arguments: str) -> None:
        command = [
            sys.executable,
            "-m",
            f"distributed.cli.{name}",
            *arguments,
            "--no-dashboard",
            "--scheduler-file",
            str(file),
            *flags,
        ]
        with log.open("ab") as written:
            processes.append(
                subprocess.Popen(
                    command, env=environment, cwd=folder, stdout=written, stderr=written
                )
            )

    try:
        start(*scheduler, *(["--protocol", "tls"] if security else []))
        address = wait_until(lambda: address_in(file), f"the scheduler (its log: {log})")
        for _ in range(2):
            start(*worker)
        wait_until(lambda: workers_at(address, security) == 2, f"two workers (their log: {log})")
        yield address
    finally:
        for process in reversed(processes):
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
            process.wait(20)


def address_in(file: Path) -> str | None:
    """The address in a scheduler's file; None until it is there, whole: Dask creates the file
    first and writes it afterwards, and a reader can come between.
    """
    try:
        return str(json.loads(file.read_text())["address"])
    except (FileNotFoundError, json.JSONDecodeError):
        return None


@dataclass(frozen=True)
class Tls:
    """What proves to both sides who they are: one certificate for all, as its files and as Dask
    has it.
    """

    security: Any
    files: dict[str, Path]

    @classmethod
    def made(cls, folder: Path) -> "Tls":
        from distributed import Security

        made = Security.temporary()
        contents = {
            "ca": made.tls_ca_file, "cert": made.tls_client_cert, "key": made.tls_client_key
        }  # fmt: skip
        for name, content in contents.items():
            (folder / name).write_text(content)
        return cls(made, {name: folder / name for name in contents})

    @property
    def flags(self) -> list[str]:
        names = {"ca": "--tls-ca-file", "cert": "--tls-cert", "key": "--tls-key"}
        return [f"{names[name]}={file}" for name, file in self.files.items()]

    @property
    def overrides(self) -> list[str]:
        return [f"slots.tls_{name}={file}" for name, file in self.files.items()]


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    return Tls.made(tmp_path)


@pytest.fixture
def cluster(case: Case, tmp_path: Path, tls: Tls) -> Iterator[str]:
    """A cluster's address; the case runs on it."""
    with started(case, tmp_path, *tls.flags, security=tls.security) as address:
        case.overrides = ["slots=dask", f"slots.address={address}", *tls.overrides]
        yield address


def workers_at(address: str, security: Any = None) -> int:
    from distributed import Client

    with Client(address, timeout=10, set_as_default=False, security=security) as client:
        return len(client.scheduler_info(n_workers=-1)["workers"])


def test_an_address_is_read_once_its_file_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    seen = [address_in(file)]
    for text in ("", '{"address": "tcp', '{"address": "tcp://127.0.0.1:1"}'):
        file.write_text(text)
        seen.append(address_in(file))
    assert seen == [None, None, None, "tcp://127.0.0.1:1"]


def test_a_killed_worker_costs_its_epoch_and_is_counted(case: Case, cluster: str) -> None:
    case.ask("once-1-2", "SIGKILL")
    ended = case.run()
    assert ended.code == 0, ended.err
    check(case)
    log = (case.folder / "log.txt").read_text()
    assert {key: count for key, count in epochs_begun(case).items() if count > 1} == {(1, 2): 2}, (
        log
    )
    assert "trial 1 epoch 2: worker died" in log


def test_a_deadline_ends_one_worker_and_its_nanny_starts_another(
    case: Case, cluster: str, tls: Tls
) -> None:
    case.ask("once-1-2", "hang")
    ended = case.run("deadline.epoch_s=2")
    assert ended.code == 0, ended.err
    check(case, failed=1)
    assert "timed out after 2 s in epoch 2" in (case.folder / "leaderboard.csv").read_text()
    wait_until(lambda: workers_at(cluster, tls.security) == 2, "the cluster to be whole")


def test_a_memory_limit_fails_the_trial_that_exceeds_it(case: Case, cluster: str) -> None:
    case.ask("once-1-2", "memory")
    ended = case.run("slots.memory_mb=1000")
    assert ended.code == 0, ended.err
    check(case, failed=1)
    assert "MemoryError" in (case.folder / "leaderboard.csv").read_text()


def test_kernels_that_the_workers_do_not_use_are_refused(case: Case, cluster: str) -> None:
    ended = case.run("blas.kernels=Nehalem")
    assert ended.code == 2
    assert "start the workers with OPENBLAS_CORETYPE=Nehalem" in ended.err
    no_traceback(ended)


def test_a_stop_is_resumable(case: Case, cluster: str) -> None:
    case.ask("hold-1-2")
    running = case.start()
    case.wait_for(1, 2)
    running.signal(signal.SIGTERM)
    assert running.end(60).code == 143
    case.release("hold-1-2")
    assert case.run().code == 0
    check(case)


def test_a_worker_that_lacks_the_data_is_sent_them_once(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed import LocalCluster

    from cnn_core import training
    from cnn_core.spec import DataSpec, ModelSpec, Spec
    from cnn_core.train_spec import TrainSpec
    from pipeline.configuration.sections import SlotSettings
    from pipeline.slots.dask import connect_slots

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    (folder,) = (path.parent for path in (case.root / "prepared").glob("*/manifest.json"))
    import json

    manifest = json.loads((folder / "manifest.json").read_text())
    data = DataSpec(
        folder=str(folder),
        digest=manifest["digest"],
        image_shape=(1, 8, 8),
        classes=10,
        train_size=100,
        valid_size=50,
    )
    spec = Spec(
        data=data,
        model=ModelSpec(filters=4, kernel=3),
        optimizer={"name": "sgd", "lr": 0.1},
        train=TrainSpec(epochs=1),
    )
    here = training.train_epoch(spec, None)[0]
    with LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=None, processes=True
    ) as made:
        (slot,) = connect_slots(
            SlotSettings(name="dask", address=made.scheduler_address), 1, "auto"
        )
        aside = folder.rename(folder.with_name("aside"))
        sent: list[str] = []
        original = slot._send

        def send(message: str, args: tuple[Spec, ...]) -> None:
            sent.append(message)
            aside.rename(folder)
            original(message, args)
            folder.rename(aside)

        monkeypatch.setattr(slot, "_send", send)
        for _ in range(2):
            state, _ = slot.call(training.train_epoch, spec, None)
        slot.close()
    assert len(sent) == 1 and manifest["digest"] in sent[0]
    assert all((state.params[name] == here.params[name]).all() for name in here.params)


@pytest.mark.parametrize(
    ("address", "rule"),
    [
        ("tcp://192.0.2.1:8786", "a scheduler that this process has started"),
        ("tls://192.0.2.1:8786", "slots.tls_ca, tls_cert, tls_key: must be given"),
        ("tcp://127.0.0.1:9", "a scheduler that this process has started"),
        ("tcp://ann:Zq/7kX@127.0.0.1:9", "got tcp://***@127.0.0.1:9"),
    ],
)
def test_an_address_that_is_not_safe_or_does_not_answer_is_refused(
    case: Case, address: str, rule: str
) -> None:
    case.overrides = ["slots=dask", f"slots.address='{address}'"]
    ended = case.run()
    assert ended.code == 2
    assert "7kX" not in ended.err
    assert rule in ended.err


def test_tls_carries_a_sweep_and_refuses_a_plain_client(case: Case, cluster: str) -> None:
    assert cluster.startswith("tls://")
    ended = case.run()
    assert ended.code == 0, ended.err
    check(case)
    plain = case.run("study.name=plain", f"slots.address={cluster.replace('tls', 'tcp')}")
    assert plain.code == 2
    assert "a scheduler that this process has started" in plain.err
