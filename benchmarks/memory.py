"""Peak of memory of preparing and training on a large folder of pictures, a process each, and of
predicting many rows: ``python -m benchmarks.memory [--pictures 100000] [--rows 1000000]``.

The pictures, JPEG of 96x96 in colour, and the table, rows of 8x8 pixels, are made in a temporary
folder. Each command runs as a user runs it; its peak and that of its largest worker are those that
the system tells of a process's resident memory.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

SIDE, CLASSES = 96, 10
_EVERY_S = 0.2


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="memory-") as name:
        folder = Path(name)
        pictures, table = folder / "pictures", folder / "rows.csv"
        write_pictures(pictures, options.pictures)
        data = ("data=images", f"data.folder={pictures}", "data.test_fraction=0")
        steps = ("model.filters=2", "train.steps_per_epoch=2000", "train.epochs=1")
        tell(f"prepare {options.pictures} pictures", folder, "prepare", *data)
        tell("train 2,000 batches of 100", folder, "train", "model=contest", *data, *steps)
        write_rows(table, options.rows)
        tell("(a sweep for a bundle)", folder, "sweep", "experiment=smoke", "tracking=none")
        made = ("study.name=smoke", "register=false", "onnx=false")
        tell("(its export)", folder, "export", *made)
        asked = (f"input={table}", f"output={folder}/labels.csv", "study.name=smoke")
        tell(f"predict {options.rows} rows", folder, "predict", *asked)
    return 0


def write_pictures(folder: Path, count: int) -> None:
    """Write JPEG files of soft noise, one folder a class."""
    random = np.random.default_rng(0)
    for label in range(CLASSES):
        (folder / f"class{label}").mkdir(parents=True)
    for number in range(count):
        coarse = random.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        picture.save(folder / f"class{number % CLASSES}" / f"{number:06d}.jpg", quality=80)


def write_rows(path: Path, count: int) -> None:
    """Write a table of ids and 64 pixels under a header."""
    random = np.random.default_rng(1)
    lines = [",".join(map(str, row)) for row in random.integers(0, 256, (1000, 64))]
    with path.open("w") as file:
        file.write("Id," + ",".join(f"pixel{n}" for n in range(64)) + "\n")
        file.writelines(f"{number},{lines[number % 1000]}\n" for number in range(count))


def tell(what: str, root: Path, command: str, *overrides: str) -> None:
    """Run a command and print its seconds and the peaks of memory of it and of its workers."""
    line = [sys.executable, "-m", f"pipeline.{command}", *overrides, f"root={root}/out"]
    began = time.perf_counter()
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, env=os.environ) as process:
        peaks = Peaks(process.pid)
        code = process.wait()
        own, largest = peaks.stop()
    seconds = time.perf_counter() - began
    print(
        f"{what:32} exit {code}  {seconds:7.1f} s  peak {own:5.0f} MB, a worker {largest:5.0f} MB"
    )


class Peaks:
    """The largest resident memory seen of a process and of any below it, sampled in a thread."""

    def __init__(self, pid: int) -> None:
        self._process, self._own, self._others = psutil.Process(pid), 0.0, 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> tuple[float, float]:
        """Return the two peaks in MB."""
        self._ended.set()
        self._thread.join()
        return self._own / 1e6, self._others / 1e6

    def _watch(self) -> None:
        while not self._ended.wait(_EVERY_S):
            try:
                self._own = max(self._own, self._process.memory_info().rss)
                for child in self._process.children(recursive=True):
                    self._others = max(self._others, child.memory_info().rss)
            except psutil.NoSuchProcess:
                continue


if __name__ == "__main__":
    sys.exit(main())
