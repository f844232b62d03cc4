"""The wheel holds all that a sweep needs: it is built, unpacked elsewhere, and used from a folder
outside the checkout.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder into which the built wheel was installed, without its dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    run = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(folder / "dist"),
        str(ROOT),
    ]
    subprocess.run(run, check=True, capture_output=True, text=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-index",
        "-q",
        "--target",
        str(folder / "site"),
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True, text=True)
    return folder / "site"


# What a user's own script may look like: typed throughout, and with it what the packages give it.
OWN_SCRIPT = """
from cnn_core.errors import InputError
from cnn_core.optimizers import OPTIMIZERS
from pipeline.study import Study, sweep

study: Study = sweep("experiment=smoke", root="outputs", budget={"trials": 8})
names: list[str] = sorted(OPTIMIZERS)
best = study.best
overrides = list(best.overrides) if best else []
try:
    reveal_type(study.state)
    reveal_type(study.resume("budget.trials=10"))
except InputError as error:
    print(error, names, overrides)
"""


def run_installed(
    site: Path, cwd: Path, *arguments: str, timeout_s: float = 300
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )


@pytest.mark.slow
def test_the_wheel_brings_its_configuration(installed: Path, tmp_path: Path) -> None:
    done = run_installed(
        installed,
        tmp_path,
        "-c",
        "import pipeline, cnn_core; print(pipeline.__path__[0]); print(cnn_core.__file__)",
    )
    assert done.returncode == 0, done.stderr
    assert all(line.startswith(str(installed)) for line in done.stdout.splitlines())
    names = {path.relative_to(ROOT / "conf") for path in (ROOT / "conf").rglob("*.yaml")}
    assert names == {
        path.relative_to(installed / "pipeline" / "conf")
        for path in (installed / "pipeline" / "conf").rglob("*.yaml")
    }


@pytest.mark.slow
def test_a_smoke_sweep_runs_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    done = run_installed(
        installed, tmp_path, "-m", "pipeline.sweep", "experiment=smoke", "slots.n=2"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        len((tmp_path / "outputs" / "smoke" / "leaderboard.csv").read_text().splitlines()) == 1 + 4
    )


@pytest.mark.slow
def test_a_users_script_is_typed_by_the_wheel(installed: Path, tmp_path: Path) -> None:
    assert (installed / "cnn_core" / "py.typed").is_file()
    assert (installed / "pipeline" / "py.typed").is_file()
    (tmp_path / "own.py").write_text(OWN_SCRIPT)
    checking = ("-m", "mypy", "--strict", "own.py")
    done = run_installed(installed, tmp_path, *checking, timeout_s=1200)
    assert done.returncode == 0, done.stdout
    assert 'Revealed type is "str"' in done.stdout.replace("builtins.", "")
    assert 'Revealed type is "pipeline.study.Study"' in done.stdout
