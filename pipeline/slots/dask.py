"""Slots on a Dask cluster, with a Dask worker behind each. State travels by value; data are sent
once to each worker that lacks them.

Every failure guarded against here occurred in practice.
"""

import threading
import time
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cnn_core.data.prepared import DataAbsentError
from cnn_core.errors import InputError
from cnn_core.spec import Spec
from pipeline.configuration.sections import SlotSettings
from pipeline.redact import redact
from pipeline.slots import dask_worker, worker
from pipeline.slots.scheduler_trust import security_of
from pipeline.slots.slot import CallFailed, Machine, Result, TimedOut, WorkerDied, failure

CONNECT_S = 10.0
POLL_S = 0.05
# Of one call: Dask reruns a task by itself when its worker dies, and we count those runs too.
MOST_STARTS = 3
INSTALL = 'pip install "numpy-cnn-sweep[cluster]"'


def connect_slots(settings: SlotSettings, count: int | None, kernels: str) -> list["ClusterSlot"]:
    """Connect to the scheduler and return one slot per worker, or `count` if that is less.

    Raises InputError for an address that does not answer, has no workers, or is neither TLS nor of
    a scheduler of this process, and for workers that use other kernels than `kernels`.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError(
            "slots: dask needs the library distributed, which is not installed; install it with: "
            f"{INSTALL}"
        ) from error
    address = settings.address or ""
    shown_address = redact(address)
    security = security_of(settings)
    warnings.filterwarnings("ignore", message="Sending large graph", category=UserWarning)
    try:
        client: Any = Client(  # type: ignore[no-untyped-call]
            address, timeout=CONNECT_S, set_as_default=False, security=security
        )
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(
            f"slots.address: must be a Dask scheduler that answers, got {shown_address} "
            f"({redact(str(error)).splitlines()[0]})"
        ) from error
    workers = len(client.scheduler_info(n_workers=-1)["workers"])
    if workers == 0:
        client.close()
        raise InputError(
            f"slots.address: the cluster must have a worker, got none at {shown_address}; start "
            f"one with: dask worker {shown_address}"
        )
    if kernels not in ("auto", "inherit"):
        _check_kernels(client, kernels)
    cluster = _Cluster(client, settings.memory_mb)
    return [ClusterSlot(index, cluster) for index in range(min(count or workers, workers))]


def _check_kernels(client: Any, wanted: str) -> None:
    """Check that the workers use the `wanted` kernels: a loaded library keeps its own. Raises
    InputError, with how to start the workers, if not.
    """
    found = set(client.run(dask_worker.kernels).values())
    if {name.lower() for name in found} != {wanted.lower()}:
        client.close()
        raise InputError(
            "blas.kernels: must be those that the cluster's workers were started with "
            f"({', '.join(sorted(found))}), got {wanted}; "
            f"start the workers with OPENBLAS_CORETYPE={wanted}, or leave blas.kernels=auto"
        )


class _Cluster:
    """The connection that all slots share, and which workers run which call, as announced."""

    def __init__(self, client: Any, memory_mb: int | None) -> None:
        self.client = client
        self.memory_mb = memory_mb
        self.users = 0
        self._starts: dict[str, list[str]] = {}
        self._lock = threading.Lock()
        client.subscribe_topic(dask_worker.TOPIC, self._announced)

    def _announced(self, event: tuple[float, dict[str, str]]) -> None:
        _, message = event
        with self._lock:
            if message["call"] in self._starts:
                self._starts[message["call"]].append(message["address"])

    def begin(self, call: str) -> list[str]:
        """Return the list to which the addresses of workers that start this call are appended."""
        with self._lock:
            return self._starts.setdefault(call, [])

    def end(self, call: str) -> None:
        with self._lock:
            self._starts.pop(call, None)

    def deaths(self, key: str) -> int:
        """Return how many workers died while they held a task; the scheduler silently passes it on
        to the next one.

        (Announcements do not tell: that of a worker that dies at once is lost with it.)
        """
        return int(self.client.run_on_scheduler(_suspicious, key=key))

    def kill_worker(self, address: str) -> None:
        """Kill one worker process; its nanny starts another. (Cancelling alone would leave the task
        running.)
        """
        self.client.run(_kill, workers=[address], nanny=True, on_error="ignore")


def _kill(dask_worker: Any) -> None:
    import os
    import signal

    if dask_worker.pid is not None:
        os.kill(dask_worker.pid, getattr(signal, "SIGKILL", signal.SIGTERM))


def _suspicious(key: str, dask_scheduler: Any) -> int:
    task = dask_scheduler.tasks.get(key)
    return 0 if task is None else int(task.suspicious)


class ClusterSlot:
    """One of the calls that the cluster runs at once: never more than workers, so that a call
    starts at once.
    """

    def __init__(self, index: int, cluster: _Cluster) -> None:
        self.index = index
        self._cluster = cluster
        self._stopped = threading.Event()
        self._repeats: list[str] = []
        self._machine: Machine | None = None
        cluster.users += 1

    def call(
        self, function: Callable[..., Result], *args: Any, deadline_s: float | None = None
    ) -> Result:
        """Return ``function(*args)`` computed by whichever worker is free; see `Slot.call`. The
        deadline counts from when a worker begins.
        """
        while True:
            kind, value = self._once(function, args, deadline_s)
            if kind == DataAbsentError.__name__:
                self._send(value, args)
                continue
            if kind:
                raise failure(kind, value)
            result: Result = value
            return result

    def machine(self) -> Machine:
        """Return what a worker runs on; the workers of a cluster are assumed to be alike."""
        if self._machine is None:
            self._machine = Machine(**self.call(worker.warm_up))
        return self._machine

    def repeats(self) -> list[str]:
        """Return, once, the deaths of workers from which Dask has recovered by itself."""
        repeats, self._repeats = self._repeats, []
        return repeats

    def stop(self) -> None:
        """Give up the call in progress and kill its worker's process."""
        self._stopped.set()

    def close(self) -> None:
        """Leave the cluster; the last slot closes the connection."""
        self._stopped.set()
        self._cluster.users -= 1
        if self._cluster.users == 0:
            self._cluster.client.close()

    def _once(
        self, function: Callable[..., Any], args: tuple[Any, ...], deadline_s: float | None
    ) -> tuple[str, Any]:
        client, name = self._cluster.client, uuid.uuid4().hex
        starts = self._cluster.begin(name)
        done = threading.Event()
        try:
            call = (name, function, args, self._cluster.memory_mb)
            future = client.submit(
                dask_worker.invoke, *call, pure=False, key=f"{dask_worker.TOPIC}-{name}"
            )
            future.add_done_callback(lambda _: done.set())
            self._wait(future, done, starts, deadline_s)
            kind, value = future.result()
            self._repeats += ["worker died (replaced by the cluster)"] * self._cluster.deaths(
                future.key
            )
            return kind, value
        except (WorkerDied, TimedOut):
            raise
        except Exception as error:  # KilledWorker, CancelledError, a closed connection
            if client.status not in ("running", "connecting"):
                raise ConnectionError(f"the Dask scheduler is gone ({client.status})") from error
            raise WorkerDied(f"worker died ({type(error).__name__})") from error
        finally:
            self._cluster.end(name)

    def _wait(
        self, future: Any, done: threading.Event, starts: list[str], deadline_s: float | None
    ) -> None:
        began: float | None = None
        while not done.wait(POLL_S):
            if began is None and starts:
                began = time.monotonic()
            if self._stopped.is_set() or len(starts) > MOST_STARTS:
                self._give_up(future, starts)
                raise WorkerDied(
                    "worker died "
                    f"({'stopped' if self._stopped.is_set() else f'{len(starts)} times in a row'})"
                )
            if (
                deadline_s is not None
                and began is not None
                and time.monotonic() - began > deadline_s
            ):
                self._give_up(future, starts)
                raise TimedOut(f"timed out after {deadline_s:g} s")

    def _give_up(self, future: Any, starts: list[str]) -> None:
        future.cancel()
        if starts:
            self._cluster.kill_worker(starts[-1])

    def _send(self, message: str, args: tuple[Any, ...]) -> None:
        """Send the data that a worker lacks, once."""
        digest, address = message.split()
        for spec in (arg for arg in args if isinstance(arg, Spec)):
            for folder, known in (
                (spec.data.folder, spec.data.digest),
                (spec.data.valid_folder, spec.data.valid_digest),
            ):
                if folder is not None and known == digest:
                    files = {name: (Path(folder) / name).read_bytes() for name in dask_worker.FILES}
                    future = self._cluster.client.submit(
                        dask_worker.receive, digest, files, workers=[address], pure=False
                    )
                    future.result(timeout=600)
                    return
        raise CallFailed(
            DataAbsentError.__name__,
            f"data {digest[:12]} are asked for, but the call has none of that digest",
        )
