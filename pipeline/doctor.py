"""Check machine, data, studies and store; with `fix=true`, repair what can be repaired."""

import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import psutil
from optuna.trial import TrialState

from cnn_core.data.prepared import open_prepared
from cnn_core.errors import InputError
from pipeline.configuration import Command, Config, again, command_line, setting
from pipeline.files import STORE, StudyPaths, check_enclosed
from pipeline.redact import redact, shown
from pipeline.reporting.stored_state import state_of
from pipeline.search.open_study import (
    open_storage,
    quiet_optuna,
    read_study,
    repair,
    unfinished,
)
from pipeline.search.storage_errors import StorageFailed
from pipeline.slots.owner_lock import (
    OwnerLock,
    find_semaphores,
    find_workers,
    is_locked,
    read_owner,
)
from pipeline.slots.pool import open_slots
from pipeline.slots.process import PINS
from pipeline.slots.slot import SlotError
from pipeline.sqlite_files import unsound_sqlite
from pipeline.structured_text import read_json
from pipeline.tracking.artifact_addresses import bring_home, strayed
from pipeline.tracking.mlflow_sender import backlog

WORKER_BYTES = 300_000_000
LEAST_DISK_BYTES = 1_000_000_000


@dataclass(frozen=True)
class Finding:
    """One line: what was checked, and what was found."""

    about: str
    text: str
    wrong: bool = False
    mendable: bool = False
    mended: bool = False

    def line(self) -> str:
        word = "mended" if self.mended else "WRONG" if self.wrong else "ok"
        return f"{word:6} {self.about}: {self.text}"


def examine(config: Config, *, fix: bool) -> list[Finding]:
    """Return all findings, ordered so that dependencies come first."""
    quiet_optuna()
    root = config.root
    findings = [*_environment(config), *_disk(root), *_data(root, fix)]
    studies = sorted(file.parent for file in root.glob("*/study.db"))
    if config.study.storage is not None:
        studies = [config.paths.folder]
    elif config.paths.folder not in studies and _is_named(config):
        studies.append(config.paths.folder)  # it is told that there is no such study
    for folder in studies:
        findings += _told(config, folder, fix)
    return [*findings, *_store(root, fix)]


def _is_named(config: Config) -> bool:
    """Tell whether the user has said which study is meant."""
    return any(text.startswith("study.name=") for text in config.overrides)


def _environment(config: Config) -> list[Finding]:
    cores, memory = joblib.cpu_count(), psutil.virtual_memory().available
    count = config.slots.n or cores
    findings = [
        Finding("cores", f"{cores}; {count} slots are the default"),
        Finding(
            "memory",
            f"{memory / 1e9:.1f} GB free; a worker takes up to 0.3 GB",
            wrong=memory < count * WORKER_BYTES,
        ),
    ]
    pins = [f"{name}={os.environ[name]}" for name in PINS if name in os.environ]
    if pins:
        effect = (
            "cleared for the workers"
            if config.blas.kernels == "auto"
            else f"kept (blas.kernels={config.blas.kernels})"
        )
        findings.append(
            Finding("environment", f"{', '.join(pins)} pins OpenBLAS's kernels; {effect}")
        )
    try:
        with open_slots(config, config.root, count=1) as slots:
            machine = slots[0].machine()
        kernels = f", {machine.kernels} kernels" if machine.kernels else ""
        findings.append(
            Finding(
                "worker",
                f"{machine.processor}, {machine.blas}{kernels}, NumPy {machine.numpy}, "
                f"{machine.gflops:.0f} GFLOP/s",
            )
        )
    except (SlotError, InputError) as error:
        findings.append(Finding("worker", f"does not start: {error}", wrong=True))
    return findings


def _disk(root: Path) -> list[Finding]:
    place = next(folder for folder in (root, *root.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    writable = os.access(place, os.W_OK)
    return [
        Finding("disk", f"{free / 1e9:.1f} GB free at {place}", wrong=free < LEAST_DISK_BYTES),
        Finding("root", f"{root} can{'' if writable else 'not'} be written", wrong=not writable),
    ]


def _data(root: Path, fix: bool) -> list[Finding]:
    findings = []
    for manifest in sorted((root / "prepared").glob("*/manifest.json")):
        folder = manifest.parent
        try:
            digest = str(read_json(manifest)["digest"])
            prepared = open_prepared(str(folder), digest)
            findings.append(
                Finding("data", f"{folder.name}: {len(prepared.labels)} images, digest as written")
            )
        except (InputError, ValueError, KeyError, OSError) as error:
            # A copy, which the next sweep prepares again from its source; elsewhere it is not ours.
            # Through a link, it may be a trial's folder.
            ours = folder.resolve() == root.resolve() / "prepared" / folder.name
            if mends := fix and ours:
                shutil.rmtree(folder)
            text = (
                f"{error}; {'removed, it is' if mends else 'it can be'} prepared again from its "
                "source"
            )
            findings.append(Finding("data", text, wrong=not mends, mendable=ours, mended=mends))
    return findings


def _told(config: Config, folder: Path, fix: bool) -> list[Finding]:
    """Return what was found of a study; one that cannot be looked at is itself a finding, and the
    others are looked at too.
    """
    try:
        check_enclosed(folder, folder.parent)
        return _study(config, folder, fix)
    except (InputError, StorageFailed, OSError) as error:
        rule = "its files must be readable, got " if isinstance(error, OSError) else ""
        return [Finding(f"study {folder.name}", f"{rule}{error}", wrong=True)]


def _study(config: Config, folder: Path, fix: bool) -> list[Finding]:
    paths, about = StudyPaths(folder.parent, folder.name), f"study {folder.name}"
    if is_locked(paths.owner):
        owner = read_owner(paths.owner)
        return [
            Finding(
                about,
                f"a sweep runs it now (process {owner.pid if owner else 'unknown'}); left alone",
            )
        ]
    trials = read_study(paths, config.study.storage).get_trials(deepcopy=False)
    states = [state_of(trial) for trial in trials]
    counts = (
        ", ".join(f"{states.count(name)} {name}" for name in dict.fromkeys(states)) or "no trials"
    )
    findings = [Finding(about, counts)]
    orphans, semaphores, drafts = (
        find_workers(folder),
        _semaphores(paths),
        unfinished(folder),
    )
    running = [trial for trial in trials if trial.state == TrialState.RUNNING]
    checks: list[tuple[list[Any], str, Callable[[], None]]] = [
        (running, "trials left RUNNING by a killed sweep", lambda: _repair(config, paths)),
        (orphans, "orphaned workers", lambda: _each(psutil.Process.kill, orphans)),
        (semaphores, "semaphores of a killed sweep", lambda: _each(_unlink, semaphores)),
        (drafts, "unfinished files", lambda: _each(_unlink, drafts)),
    ]
    for found, what, mend in checks:
        if found and fix:
            lock = OwnerLock(paths.owner)
            lock.acquire()
            try:
                mend()
            finally:
                lock.release()
        if found:
            findings.append(
                Finding(about, f"{what}: {len(found)}", wrong=not fix, mendable=True, mended=fix)
            )
    journals = {"sweep": [folder], "final": [*paths.final.glob("runs/*")]}
    for command in [
        name
        for name, kept in journals.items()
        if config.tracking.name == "mlflow" and any(map(backlog, kept))
    ]:
        text = f"MLflow lacks some of its events; the same {command} command sends them"
        findings.append(Finding(about, text))
    return findings


def _each(call: Callable[[Any], None], items: Sequence[Any]) -> None:
    for item in items:
        call(item)


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)


def _repair(config: Config, paths: StudyPaths) -> None:
    import optuna

    storage = open_storage(paths, config.study.storage)
    repair(optuna.load_study(study_name=paths.name, storage=storage), paths.folder)


def _semaphores(paths: StudyPaths) -> list[Path]:
    owner = read_owner(paths.owner)
    if owner is None or owner.lives():  # in a copied root it may live
        return []
    return find_semaphores(owner)


def _store(root: Path, fix: bool) -> list[Finding]:
    file = root / STORE
    if not file.exists():
        return []
    try:
        answer = unsound_sqlite(file)
    except sqlite3.OperationalError as error:
        answer = str(error)
    findings = [Finding("MLflow store", f"{file}: {answer or 'sound'}", wrong=bool(answer))]
    if not answer and (elsewhere := strayed(root)):
        text = (
            f"its artifacts are in another root ({', '.join(map(str, elsewhere))}): this one was "
            "copied or moved"
        )
        if fix:
            bring_home(root)
        findings.append(Finding("MLflow store", text, wrong=not fix, mendable=True, mended=fix))
    return findings


@dataclass
class DoctorKeys:
    fix: bool = setting(False, "repair what can be repaired; never deletes a result")


DOCTOR = Command(
    name="doctor",
    about="Checks the environment (BLAS, threads, memory, disk), prepared data, every study below "
    "root (database, owner, orphans,\n"
    "unfinished files) and the MLflow store. Exit code 0 when all is well or mended, 1 when "
    "something is wrong.",
    examples=(
        "python -m pipeline.doctor",
        "python -m pipeline.doctor fix=true",
        "python -m pipeline.doctor root=outputs study.name=digits",
    ),
    keys=DoctorKeys,
    sections=("study", "slots", "blas", "tracking"),
)


def main(config: Config) -> int:
    """Print one line per finding; return 0 when nothing is wrong, or no longer."""
    from pipeline.doctor import examine

    findings = examine(config, fix=config.arguments.fix)
    for finding in findings:
        print(shown(finding.line()))
    wrong = [finding for finding in findings if finding.wrong]
    if not wrong:
        return 0
    mendable = any(finding.mendable for finding in wrong)
    fix = redact(again(config, "fix=true"))
    hint = f"; {fix} repairs what it can" if mendable and not config.arguments.fix else ""
    print(f"{len(wrong)} {'thing is' if len(wrong) == 1 else 'things are'} wrong{hint}")
    return 1


if __name__ == "__main__":
    sys.exit(command_line(DOCTOR, sys.argv[1:], main))
