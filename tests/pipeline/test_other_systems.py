"""Where a system lacks what only POSIX systems have, a command says so in a line, or does without.

Windows is imitated in a process of its own: the libraries are loaded first, then what Windows lacks
is taken away, then a command is run.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
AS_ON_WINDOWS = """
import os, runpy, signal, sys
import hydra, joblib, numpy, omegaconf, optuna, pandas, PIL.Image, psutil, rich.live, sqlalchemy
import joblib.externals.loky.process_executor, joblib.externals.loky.backend.resource_tracker
import multiprocessing.resource_tracker, hydra.core.override_parser.overrides_parser
import asyncio, sklearn.datasets, threadpoolctl, scipy.optimize, rich.progress, importlib.resources
import hydra.core.config_store, hydra.core.global_hydra, sqlite3, subprocess, tempfile
import optuna.storages, optuna.samplers, optuna.pruners, optuna.trial, sqlalchemy.orm

for name in ("fcntl", "resource", "termios", "pwd", "grp"):
    sys.modules[name] = None  # importing it raises ImportError
for name in ("SIGHUP", "SIGKILL", "pthread_sigmask", "SIG_BLOCK", "SIG_SETMASK", "setitimer"):
    delattr(signal, name)
for name in ("pread", "pwrite", "preadv", "sysconf", "O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK",
             "getuid", "geteuid", "fork", "register_at_fork", "mkfifo", "killpg", "setsid"):
    delattr(os, name)
os.set_blocking = None
sys.platform = "win32"
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
COMMANDS = sorted(
    f"pipeline.{path.stem}"
    for path in (ROOT / "pipeline").glob("*.py")
    if "command_line(COMMAND" in path.read_text() or path.stem == "sweep"
)


def as_on_windows(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", AS_ON_WINDOWS, *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("pipeline.sweep", "experiment=smoke", "-q"),
        pytest.param(("pipeline.train", "-q"), marks=pytest.mark.slow),
        pytest.param(
            ("pipeline.sweep", "experiment=smoke", "tracking=none"), marks=pytest.mark.slow
        ),
    ],
    ids=" ".join,
)
def test_training_is_refused_in_a_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = as_on_windows(tmp_path, *arguments)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: this system: must be Linux, macOS or another POSIX")
    assert "got win32" in done.stderr


@pytest.mark.slow
def test_what_trains_nothing_runs(tmp_path: Path) -> None:
    done = as_on_windows(tmp_path, "pipeline.prepare", "-q", "samples=digits.npy")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "digits.npy").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(tmp_path: Path, command: str) -> None:
    done = as_on_windows(tmp_path, command, "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.strip()


@pytest.mark.slow
def test_no_line_asks_for_what_windows_lacks(tmp_path: Path) -> None:
    """Mypy knows what each system has; what is guarded by ``sys.platform`` or ``hasattr`` it leaves
    out.
    """
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--platform", "win32", "--no-warn-unreachable"),
            *("--cache-dir", str(tmp_path)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
