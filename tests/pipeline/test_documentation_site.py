"""The documentation builds as a site, every internal link and anchor checked; links of the README
lead somewhere too.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """Build with the flags of `make docs`, so that what is tested is what is run."""
    (recipe,) = re.findall(
        r"^docs:.*\n\t.*/mkdocs (build .*?)\s*(?:#.*)?$",
        (ROOT / "Makefile").read_text(),
        re.MULTILINE,
    )
    words = [
        sys.executable,
        "-m",
        "mkdocs",
        *recipe.split(),
        "-f",
        str(source / "mkdocs.yml"),
        "-d",
        str(target),
    ]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_the_site_builds_without_a_broken_link(tmp_path: Path) -> None:
    done = build(ROOT, tmp_path / "site")
    assert done.returncode == 0, done.stderr
    for page in ("inside-a-cnn.html", "index.html", "05-valley.ja.html", "05_valley.py"):
        assert (tmp_path / "site" / "learn" / page).is_file()


BROKEN = {
    "nothing": ("[there](other.md#part)", "", ""),
    "a page": ("[gone](gone.md)", "", "'gone.md', but the target is not found"),
    "a picture": ("![gone](img/gone.png)", "", "'img/gone.png', but the target is not found"),
    "an anchor of another page": (
        "[gone](other.md#gone)",
        "",
        "'other.md#gone', but the doc 'other.md' does not contain an anchor '#gone'",
    ),
    "an anchor of the same page": (
        "[gone](#gone)",
        "",
        "'#gone', but there is no such anchor on this page",
    ),
    "a page of the navigation": (
        "",
        "  - Gone: gone.md\n",
        "'gone.md' is included in the 'nav' configuration, which is not found",
    ),
    "a page outside the navigation": (
        "",
        "omit",
        "exist in the docs directory, but are not included in the",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_fails_the_build_with_its_name(what: str, tmp_path: Path) -> None:
    text, nav, message = BROKEN[what]
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# Start\n{text}\n")
    (tmp_path / "docs" / "other.md").write_text("# Other\n## Part\n")
    settings = (ROOT / "mkdocs.yml").read_text().partition("nav:\n  - ")[0]
    pages = "  - Start: index.md\n" + ("" if nav == "omit" else f"  - Other: other.md\n{nav}")
    (tmp_path / "mkdocs.yml").write_text(f"{settings}nav:\n{pages}")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode == (1 if message else 0), done.stderr
    assert message in done.stderr


@pytest.mark.parametrize("name", ["README.md", "README.ja.md"])
def test_links_of_the_readme_lead_to_files(name: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / name).read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
