"""Every command in README and docs/ is run, as written and in the order in which a page gives them.

A page's ``sh`` blocks share one folder, so that a page's later commands find what its earlier ones
made. Long ones are run with a tiny budget: `BUDGETS` adds overrides, it takes nothing away.
Installation lines (``pip``, ``venv``, ``git clone``) and the tests' own commands are what the
continuous integration did to get here; of them only the files they name are checked. Servers are
started, asked for a page, and interrupted.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.pipeline import contests

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "README.ja.md", *(ROOT / "docs").rglob("*.md")])
INSTALLS = (
    "git clone",
    "python3 -m venv",
    ".venv/bin/python -m pip",
    "sudo apt-get",
    "cd ",
    "make test",
    ".venv/bin/python -m pytest",
    "make lock",
)
# (what a command holds, what is added to it so that it ends within seconds)
_SMALL = (
    "budget.trials=2 budget.minutes=5 train.epochs=1 final.epochs=1 final.members=1 "
    "final.minutes=2 model.filters=8 'study.enqueue=[]'"
)
BUDGETS = (
    ("data=emnist_letters", f"data.train_size=300 data.valid_size=100 {_SMALL}"),
    ("experiment=contest_quick", _SMALL),
    ("pipeline.contest folder", _SMALL),
    (
        "experiment=contest ",
        "data.train_size=300 data.valid_size=100 train.epochs=1 budget.trials=1 model.filters=4 "
        "final.epochs=1 final.members=1 final.fold_share=0.1",
    ),
    (
        "experiment=contest_quick",
        "train.epochs=1 budget.trials=2 model.filters=4 final.epochs=1 final.refit=1",
    ),
    (
        "experiment=hard_digits",
        "data.train_size=300 data.valid_size=100 train.epochs=1 budget.trials=2 final.epochs=1 "
        "final.members=1 "
        "final.folds=2 'final.fixed=[]' ensemble.views=1",
    ),
    ("experiment=mnist", "data.train_size=300 data.valid_size=100 train.epochs=2 budget.trials=2"),
)
# What README's recipes are tried on, in the page's folder.
CONTESTS = (
    ("my-contest", contests.table_contest),
    ("pictures", contests.picture_contest),
    ("colours", contests.colour_pictures),
    ("unbalanced", contests.unbalanced_pictures),
)
SERVERS = ("make ui", "pipeline.ui", "pipeline.demo", "optuna-dashboard")


def commands(page: Path) -> list[str]:
    """Return the commands of a page's sh blocks, continued lines joined, comments dropped."""
    found: list[str] = []
    for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = re.sub(r"\s+#.*$", "", line).strip()
            if words and not words.startswith("#"):
                found.append(words)
    return found


def files(page: Path) -> dict[str, str]:
    """Return name -> content of a page's blocks that begin with a comment that names their file."""
    block = re.compile(r"^```\w+\n# ([\w./]+\.(?:py|yaml))\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return dict(block.findall(page.read_text()))


def with_budget(command: str) -> str:
    """Return the command with the overrides of the first budget that fits it, those that it gives
    itself left out.
    """
    for mark, extra in BUDGETS:
        if mark in command:
            given = {word.partition("=")[0] for word in shlex.split(command)}
            return " ".join(
                [command, *(word for word in extra.split() if word.partition("=")[0] not in given)]
            )
    return command


def environment() -> dict[str, str]:
    binaries = Path(sys.executable).parent
    return {
        **os.environ,
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
    }


def run(command: str, cwd: Path) -> None:
    done = subprocess.run(
        ["bash", "-ceu", command],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=420,
    )
    assert done.returncode == 0, (
        f"{command}\nexit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    )


def serve(command: str, cwd: Path) -> None:
    """Start a server, read the page at the first address that it prints, interrupt it."""
    with subprocess.Popen(
        ["bash", "-ceu", f"exec {command}"],
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        try:
            printed = ""
            for line in process.stdout:
                printed += line
                if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                    assert "<html" in read_page(found.group(0)).lower()
                    return
            pytest.fail(f"{command} ended without an address\n{printed}")
        finally:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def read_page(address: str) -> str:
    for _ in range(150):
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                return str(answer.read().decode())
        except OSError:
            time.sleep(0.2)  # the address is printed before the server listens
    raise AssertionError(f"no answer from {address}")


def as_run_here(command: str) -> str:
    """Return the command with the environment's own interpreter and, for make, the checkout's
    Makefile with its tools in place.
    """
    command = command.replace(".venv/bin/", "")
    if command.startswith("make "):
        recipe = subprocess.run(
            ["make", "-s", "-n", "-C", str(ROOT), *shlex.split(command)[1:]],
            capture_output=True,
            text=True,
            check=True,
        )
        command = recipe.stdout.strip().splitlines()[-1].replace(".venv/bin/", "")
    return command


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if commands(page)], ids=lambda page: str(page.relative_to(ROOT))
)
def test_the_commands_of_a_page_work(page: Path, tmp_path: Path) -> None:
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    shutil.copytree(ROOT / "docs" / "learn", tmp_path / "docs" / "learn")  # scripts draw in there
    for name, made in CONTESTS:
        if name in page.read_text():
            made(tmp_path / name)
    for name, content in files(page).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    for command in commands(page):
        if command.startswith(INSTALLS):
            for name in re.findall(r"requirements/[\w.]+", command):
                assert (ROOT / name).is_file(), command
            continue
        here = with_budget(as_run_here(command))
        if any(mark in command for mark in SERVERS):
            serve(here, tmp_path)
        else:
            run(here, tmp_path)


def test_a_page_holds_commands() -> None:
    assert "make sweep" in commands(ROOT / "README.md")
    assert any(
        command.startswith("python -m pipeline.") for command in commands(ROOT / "README.md")
    )


def test_without_make_the_same_locks_are_installed() -> None:
    recipe = subprocess.run(
        ["make", "-s", "-n", "-B", "-C", str(ROOT), ".venv/dev.stamp"],
        capture_output=True,
        text=True,
        check=True,
    )
    by_hand = "\n".join(c for c in commands(ROOT / "README.md") if " pip install " in c)
    name = r"requirements/[\w.]+"
    assert re.findall(name, by_hand) == re.findall(name, recipe.stdout)
    assert len(re.findall(name, by_hand)) == 3


def test_a_budget_adds_what_the_command_leaves_open() -> None:
    bounded = with_budget("python -m pipeline.sweep experiment=mnist budget.trials=40").split()
    assert "budget.trials=40" in bounded
    assert "budget.trials=2" not in bounded
    assert "train.epochs=2" in bounded
