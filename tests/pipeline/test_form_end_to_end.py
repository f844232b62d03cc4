"""From the user's own files to predictions: the names and the form of training hold to the end."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from pipeline import evaluate, export, predict, sweep
from pipeline.configuration import SWEEP, command_line
from pipeline.records.manifest_reading import read_manifest
from tests.pipeline.made_bundle import save_pictures

SWEEP_ARGUMENTS = (
    *("experiment=smoke", "study.name=own", "budget.trials=1", "tracking=none", "slots.n=1"),
    *("data=images", "data.train_size=null", "data.valid_size=null", "data.valid_fraction=0.3"),
    *("data.test_fraction=0.1", "train.epochs=6", "train.batch_size=10", "space=learning_rate"),
)


def _bars(n: int, turns: int, *, dark: bool, side: int = 40) -> np.ndarray:
    """Return a picture (side, side) with a bar whose direction, in steps of 45 degrees, tells its
    class; place, size and strength vary with n.
    """
    rng = np.random.default_rng(1000 * turns + n)
    rows, columns = np.mgrid[:side, :side] - np.array([[[side / 2]], [[side / 2]]])
    rows, columns = rows + rng.integers(-3, 4), columns + rng.integers(-3, 4)
    angle = turns * np.pi / 4 + rng.uniform(-0.2, 0.2)
    along = rows * np.cos(angle) + columns * np.sin(angle)
    across = columns * np.cos(angle) - rows * np.sin(angle)
    thick, long = rng.uniform(2, 5), rng.uniform(side / 4, side / 2.5)
    # As much texture as it takes for pictures of a class not to count as near duplicates.
    texture = rng.uniform(0.5, 1, (side // 4, side // 4)).repeat(4, axis=0).repeat(4, axis=1)
    ink = ((np.abs(across) < thick) & (np.abs(along) < long)) * texture * rng.integers(160, 256)
    return np.asarray(255 - ink if dark else ink, np.uint8)


def _study(root: Path, names: tuple[str, ...], *more: str, dark: bool) -> list[str]:
    """Train on pictures of these classes below `root` and predict others; return the right
    answers by file name in order.
    """
    train = {
        f"{name}/{n}.png": _bars(n, k, dark=dark) for k, name in enumerate(names) for n in range(60)
    }
    test = {f"{n}.png": _bars(5000 + n, n % len(names), dark=dark) for n in range(40)}
    folder = save_pictures(root / "train", train)
    save_pictures(root / "test", test)
    arguments = [*SWEEP_ARGUMENTS, f"root={root}", f"data.folder={folder}", *more]
    assert command_line(SWEEP, arguments, sweep.main) == 0
    arguments = ["study.name=own", "tracking=none", "onnx=false", f"root={root}"]
    assert command_line(export.COMMAND, arguments, export.main) == 0
    return [names[n % len(names)] for n in range(40)]


def _agreement(root: Path, want: list[str], source: Path, *more: str) -> float:
    arguments = [
        *("study.name=own", f"root={root}", f"input={source}", f"output={root / 'out.csv'}", *more)
    ]
    assert command_line(predict.COMMAND, arguments, predict.main) == 0
    rows = list(csv.reader((root / "out.csv").read_text().splitlines()))
    assert len(rows) == 41
    return float(np.mean([row[1] == label for row, label in zip(rows[1:], want, strict=True)]))


@pytest.mark.parametrize(
    ("names", "more", "dark"),
    [
        (("3", "5", "7"), ("data.size=[28,28]",), False),
        (("cat", "dog", "ox"), ("data.size=[28,28]", "data.normalize=mnist"), True),
    ],
)
def test_predict_and_evaluate_see_what_training_saw(
    tmp_path: Path, names: tuple[str, ...], more: tuple[str, ...], dark: bool
) -> None:
    want = _study(tmp_path, names, *more, dark=dark)
    manifest = read_manifest((tmp_path / "own" / "bundle" / "manifest.json").read_bytes())
    assert manifest.names == names
    assert _agreement(tmp_path, want, tmp_path / "test") > 0.95
    labelled = {f"{names[n % 3]}/{n}.png": _bars(9000 + n, n % 3, dark=dark) for n in range(30)}
    folder = save_pictures(tmp_path / "labelled", labelled)
    arguments = [
        *(f"bundle={tmp_path / 'own' / 'bundle'}", f"input={folder}", f"root={tmp_path}"),
    ]
    assert command_line(evaluate.COMMAND, arguments, evaluate.main) == 0
    figures = json.loads((tmp_path / "own" / "evaluation" / "file.json").read_text())
    assert figures["accuracy"] > 0.95


def test_a_table_of_another_size_is_brought_to_the_training_s(tmp_path: Path) -> None:
    """The same pictures as rows of 1,600 pixels, with shape= said."""
    names = ("3", "5", "7")
    want = _study(tmp_path, names, "data.size=[28,28]", dark=False)
    lines = ["Id," + ",".join(f"pixel{n}" for n in range(1600))]
    pictures = [_bars(5000 + n, n % 3, dark=False) for n in range(40)]
    lines += [f"{n + 70}," + ",".join(map(str, p.ravel())) for n, p in enumerate(pictures)]
    (tmp_path / "test.csv").write_text("\n".join(lines) + "\n")
    assert _agreement(tmp_path, want, tmp_path / "test.csv", "shape=[1,40,40]") > 0.95
    header = (tmp_path / "out.csv").read_text().splitlines()[0]
    assert header == "Id,Label"
