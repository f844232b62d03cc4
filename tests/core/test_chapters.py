"""The chapters of docs/learn: each script is short, needs cnn_core, NumPy and matplotlib alone,
prints what its chapter shows in both languages, and draws the picture that is committed.
"""

import ast
import re
import runpy
import shutil
import sys
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
import pytest
from threadpoolctl import threadpool_limits

LEARN = Path(__file__).parents[2] / "docs" / "learn"
Pixels = npt.NDArray[np.float32]
SCRIPTS = sorted(LEARN.glob("[0-9]*.py"))
EXACT = {"01_im2col", "02_by_hand", "05_valley"}  # nothing in them is left to BLAS's order of sums
QUICK = {*EXACT, "03_zero_weights", "04_vanishing_gradient"}
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]\d+)?")
chapters = pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)


def texts(script: Path) -> list[str]:
    """Return the chapter in English and in Japanese."""
    name = script.stem.replace("_", "-")
    return [(LEARN / f"{name}{language}.md").read_text() for language in ("", ".ja")]


def block(text: str) -> str:
    """Return the one block of a chapter that shows what the script prints."""
    (shown,) = re.findall(r"^```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return str(shown)


def alike(printed: str, shown: str) -> bool:
    """Whether only decimal fractions differ, by 0.03 at most, and powers of ten, twofold at most:
    as much as another processor's sums may change a training.
    """
    if NUMBER.sub("#", printed) != NUMBER.sub("#", shown):
        return False
    for ours, theirs in zip(NUMBER.findall(printed), NUMBER.findall(shown), strict=True):
        a, b = float(ours), float(theirs)
        near = a == b
        if "e" in theirs:
            near = max(a, b) <= 2 * min(a, b)
        elif "." in theirs:
            near = abs(a - b) <= 0.03
        if not near:
            return False
    return True


def test_there_are_ten_chapters() -> None:
    assert [path.stem[:2] for path in SCRIPTS] == [f"{n:02}" for n in range(1, 11)]


@pytest.mark.parametrize(
    ("printed", "same"),
    [
        ("relu: accuracy 0.95, 8 units, 2e-05", True),
        ("relu: accuracy 0.92, 8 units, 1e-05", True),
        ("relu: accuracy 0.90, 8 units, 2e-05", False),
        ("relu: accuracy 0.95, 7 units, 2e-05", False),
        ("relu: accuracy 0.95, 8 units, 5e-05", False),
        ("tanh: accuracy 0.95, 8 units, 2e-05", False),
    ],
)
def test_what_may_differ_between_machines(printed: str, same: bool) -> None:
    assert alike(printed, "relu: accuracy 0.94, 8 units, 2e-05") is same


@chapters
def test_a_script_is_short_and_needs_little(script: Path) -> None:
    text = script.read_text()
    assert len(text.splitlines()) < 40
    nodes = list(ast.walk(ast.parse(text)))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    roots = {name.partition(".")[0] for name in names}
    assert roots - sys.stdlib_module_names == {"cnn_core", "numpy", "matplotlib"}


@chapters
def test_a_chapter_cites_what_its_script_prints(script: Path) -> None:
    english, japanese = texts(script)
    shown = block(english)
    assert block(japanese) == shown
    assert 300 <= len(re.sub(r"^```.*?^```$", "", english, flags=re.M | re.S).split()) <= 600
    for text in (english, japanese):
        prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        cited = set(re.findall(r"\d\.\d{3}", prose))
        assert cited <= set(re.findall(r"\d\.\d{3}", shown)), "a figure that is not printed"
        assert f"({script.stem}.png)" in text and f"({script.name})" in text


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(path, id=path.stem, marks=[] if path.stem in QUICK else pytest.mark.slow)
        for path in SCRIPTS
    ],
)
def test_a_script_prints_its_block_and_draws_its_picture(
    script: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    matplotlib.use("Agg")
    from matplotlib import pyplot

    for needed in (script, LEARN / "digits.npz", LEARN / "learn.mplstyle"):
        shutil.copy(needed, tmp_path)
    with matplotlib.rc_context(), threadpool_limits(1):
        runpy.run_path(str(tmp_path / script.name))
        pyplot.close("all")
    printed, shown = capsys.readouterr().out, block(texts(script)[0])
    assert printed == shown if script.stem in EXACT else alike(printed, shown), printed
    picture = script.with_suffix(".png").name
    drawn, kept = (pyplot.imread(folder / picture) for folder in (tmp_path, LEARN))
    assert drawn.shape == kept.shape and drawn.shape[1] == 1120
    assert unlike(drawn, kept) < 0.25


def unlike(drawn: Pixels, kept: Pixels) -> float:
    """Return how much of what is on the kept picture's background differs: 1 for an empty page."""
    background = np.median(kept, axis=(0, 1))
    return float(np.abs(drawn - kept).sum() / np.abs(kept - background).sum())


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_an_empty_page_is_not_the_picture(script: Path) -> None:
    from matplotlib import pyplot

    kept = pyplot.imread(script.with_suffix(".png"))
    empty = np.broadcast_to(np.median(kept, axis=(0, 1)), kept.shape)
    assert unlike(kept, kept) == 0 and unlike(empty, kept) == pytest.approx(1)
