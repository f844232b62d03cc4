"""A real browser (Debian's Chromium, driven by playwright), a real sweep, the real servers."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PROJECT = Path(__file__).parents[2]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
]
START_S = 180.0  # MLflow's server takes 4 s, or a minute on a machine that is busy
# A net that reads drawn digits well enough after a few seconds of training.
_CHOSEN = (
    "model.filters=24",
    "model.kernel=3",
    "model.dropout=0.1",
    "model.init=he",
    "optimizer=momentum",
    "optimizer.lr=0.08",
)
GOOD_NET = "[[" + ",".join(f'"{override}"' for override in (*_CHOSEN, "train.batch_size=32")) + "]]"


def chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a command of the project to its end; its output is shown when it fails."""
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(address: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Starts a server of the project, waits until `address` answers; stops it as Ctrl-C would."""
    log = subprocess.PIPE
    server = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=PROJECT,
        stdout=log,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        _wait_for(address, server)
        yield server
    finally:
        server.terminate()
        server.communicate(timeout=60)


def _wait_for(address: str, server: subprocess.Popen[str]) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        assert server.poll() is None, "the server ended by itself"
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    raise AssertionError(f"{address} did not answer within {START_S:.0f} s")


@dataclass
class Watched:
    """A page with what its console and its network said."""

    page: "Page"
    errors: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)  # requests that would leave this machine

    def watch(self) -> None:
        def console(message: Any) -> None:
            if message.type == "error":
                self.errors.append(message.text)

        def request(asked: Any) -> None:
            if not asked.url.startswith(
                ("http://127.0.0.1", "http://localhost", "data:", "blob:", "file:", "about:")
            ):
                self.elsewhere.append(asked.url)

        self.page.on("console", console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", request)


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    program = chromium()
    if program is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed (extra browser)"
    )
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield started
        started.close()


Opener = Callable[..., Watched]


@pytest.fixture
def open_page(browser: "Browser") -> Iterator[Opener]:
    """Opens pages of a given width and scheme; they are closed at the end."""
    contexts = []

    def opener(
        url: str, *, width: int = 1400, height: int = 900, dark: bool = False, touch: bool = False
    ) -> Watched:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            has_touch=touch,
        )
        contexts.append(context)
        context.set_default_timeout(60_000)
        watched = Watched(context.new_page())
        watched.watch()
        watched.page.goto(url)
        return watched

    yield opener
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Where screenshots are kept: $SCREENSHOTS, or artifacts/screenshots (ignored by git)."""
    folder = Path(os.environ.get("SCREENSHOTS", PROJECT / "artifacts" / "screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two studies: `smoke`, and `drawn` with a net that is worth asking."""
    folder = tmp_path_factory.mktemp("browser")
    run("pipeline.sweep", "experiment=smoke", f"root={folder}")
    budget = ("budget.trials=3", "train.epochs=14", "pruner=none", f"study.enqueue={GOOD_NET}")
    run("pipeline.sweep", f"root={folder}", "study.name=drawn", *budget)
    return folder
