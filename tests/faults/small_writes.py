"""`python -m tests.faults.small_writes`: every file operation of the functions that write files,
failed in turn, in seconds; `tests.faults.every_write` does so through whole commands.

After each, the file must be the old one or the new one, an error must name it, and nothing else may
be left. Prints what is wrong.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnn_core import checkpoint
from cnn_core.checkpoint import TrainState
from cnn_core.data.prepared import open_prepared, write_prepared
from pipeline.bundle.predictor import load
from pipeline.files import atomic_write_bytes
from pipeline.structured_text import append_rows, read_csv
from tests.faults.failing_writes import Fault, available, watch
from tests.pipeline.made_bundle import striped

MODES = ("once", "full", "gone", "killed")
IMAGES = np.arange(20 * 64, dtype=np.uint8).reshape(20, 1, 8, 8)


@dataclass(frozen=True)
class Written:
    """A function that writes version 1 or 2 of `name`, and a reader, which raises where it is not
    whole. may_go: a failure may leave neither, since it can be made again.
    """

    name: str
    write: Callable[[Path, int], Any]
    read: Callable[[Path], Any]
    may_go: bool = False


def _state(path: Path, version: int) -> None:
    arrays = {"W": np.full(20_000, version, np.float32)}
    checkpoint.save(path, TrainState(version, version, arrays, {}, {}))


def _prepared(path: Path, version: int) -> None:
    write_prepared(path, IMAGES, np.arange(20) % (2 + version), classes=4, name="small")


def _digest(path: Path) -> str:
    found = (path / "manifest.json").read_text().partition('"digest": "')[2][:64]
    open_prepared.cache_clear()
    return open_prepared(str(path), found).digest


ALL = (
    Written("a.bin", lambda p, v: atomic_write_bytes(p, b"%d" % v * 10_000), Path.read_bytes),
    Written("rows.csv", lambda p, v: append_rows(p, ["a", "b"], [[v, "x" * 9]]), read_csv),
    Written("state.npz", _state, lambda path: checkpoint.load(path).epoch),
    Written("prepared", _prepared, _digest, may_go=True),
    Written(
        "bundle", lambda path, v: striped(path, ("a", "bcd"[v])), lambda p: load(p).class_names
    ),
)


def walk(one: Written, mode: str, folder: Path, said: Path) -> tuple[int, list[str]]:
    """Fail each operation of one function; return how many there were, and what is wrong."""
    problems: list[str] = []
    path, at = folder / one.name, 0
    while True:
        at += 1
        _clear(folder)
        one.write(path, 1)
        old = one.read(path)
        ended = watch(lambda: _told(lambda: one.write(path, 2), said), folder, Fault(at, mode))
        if not ended.failed:
            one.write(path, 2) if ended.code else None
            return at - 1, problems
        place = f"{one.name}, {mode} at {at} ({ended.failed[0]})"
        cut_off = mode in ("killed", "gone")  # nothing more could be done
        if not (path.exists() or one.may_go or cut_off):
            problems.append(f"{place}: it is gone")
        problems += [f"{place}: {text}" for text in _wrong(one, path, old, ended.code, said)]
        may_stay = cut_off or ended.failed[0].kind == "remove"
        if not may_stay and (left := [p.name for p in folder.iterdir() if p != path]):
            problems.append(f"{place}: left {left}")


def _wrong(one: Written, path: Path, old: Any, code: int, said: Path) -> list[str]:
    if not path.exists():
        return [] if code else ["it said that it had written, and it is gone"]
    try:
        found = one.read(path)
    except Exception as error:
        return [f"partial: {error!r}"]
    if code == 0 and found == old:
        return ["it said that it had written"]
    if code == 1 and not said.read_text().startswith(str(path.parent)):
        return [f"the error names {said.read_text()!r}"]
    return []


def _told(write: Callable[[], Any], said: Path) -> int:
    try:
        write()
    except OSError as error:
        said.write_text(str(error.filename))
        return 1
    return 0


def _clear(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


def main(names: Sequence[str]) -> int:
    """Walk over the functions that write files of these names, or over all of them."""
    if not available():
        return 0
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder, said = Path(name) / "disk", Path(name) / "said"
        for one in [one for one in ALL if not names or one.name in names]:
            for mode in MODES:
                count, problems = walk(one, mode, folder, said)
                wrong += problems
                print(f"{one.name}, {mode}: {count} operations, {len(problems)} problems")
    print(*wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
