"""Which code this is: the git commit of the checkout, or the installed version."""

import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@cache
def code_version() -> str:
    """Return the commit (with "+" after it when files differ), else the distribution's version."""
    if (ROOT / ".git").exists():
        commit = _git("rev-parse", "HEAD")
        if commit:
            return commit[:12] + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    try:
        return version("numpy-cnn-sweep")
    except PackageNotFoundError:
        return "unknown"


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
