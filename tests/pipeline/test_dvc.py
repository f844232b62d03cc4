"""`dvc repro` rebuilds the whole chain in a copy of the checkout, and a second one does nothing."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NEEDED = (
    "cnn_core",
    "pipeline",
    "conf",
    ".dvc/config",
    ".dvc/.gitignore",
    ".dvcignore",
    "dvc.yaml",
    "pyproject.toml",
    ".gitignore",
)


def copy_of_the_checkout(folder: Path) -> Path:
    """Return a folder with what the stages need and a git repository of its own, as a fresh clone
    would have.
    """
    for name in NEEDED:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return folder


def dvc(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    binaries = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
        "DVC_NO_ANALYTICS": "1",
    }
    return subprocess.run(
        [str(binaries / "dvc"), *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )


@pytest.mark.slow
def test_repro_builds_everything_once(tmp_path: Path) -> None:
    folder = copy_of_the_checkout(tmp_path)
    first = dvc(folder, "repro", "-q")
    assert first.returncode == 0, first.stdout + first.stderr
    outputs = folder / "outputs" / "dvc"
    samples = json.loads((outputs / "data.json").read_text())["valid"]["images"]
    assert len((outputs / "predictions" / "labels.txt").read_text().split()) == samples
    assert len((outputs / "leaderboard.csv").read_text().splitlines()) == 1 + 6

    before = (outputs / "log.txt").read_text()
    second = dvc(folder, "repro")
    assert second.returncode == 0, second.stderr
    assert "Running stage" not in second.stdout
    assert (outputs / "log.txt").read_text() == before

    metrics = json.loads(dvc(folder, "metrics", "show", "--json").stdout)
    (shown,) = metrics[""]["data"].values()
    assert (
        shown["data"]["accuracy"]
        == json.loads((outputs / "evaluation" / "test.json").read_text())["accuracy"]
    )
    plots = dvc(folder, "plots", "show", "--json")
    assert plots.returncode == 0, plots.stderr
    assert "leaderboard.csv" in plots.stdout
