"""Time of reading a table of 42,000 images of 28x28 beside the libraries that read tables, and the
peak of memory for 1,000,000 rows: ``python -m benchmarks.reading [--rows 100000]``.

The CSV, labels first, is made in a temporary folder: digits of the prepared MNIST would need its
files, so pixels are drawn, four in five black. Ours gives (n, 1, 28, 28) uint8 blocks and labels;
pyarrow and pandas give their own table with types found by themselves. All take turns in one
process; medians.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

IMAGES = 42_000
_AT_ONCE = 2000


def write_table(path: Path, rows: int) -> None:
    """Write rows of a label and 784 pixels under a header."""
    random = np.random.default_rng(0)
    pixels = random.integers(1, 256, (_AT_ONCE, 784)) * (random.random((_AT_ONCE, 784)) < 0.2)
    lines = [",".join(map(str, row)) for row in pixels]
    with path.open("w") as file:
        file.write("label," + ",".join(f"pixel{n}" for n in range(784)) + "\n")
        for start in range(0, rows, _AT_ONCE):
            labels = random.integers(0, 10, min(_AT_ONCE, rows - start))
            file.writelines(f"{label},{line}\n" for label, line in zip(labels, lines, strict=False))


def ours(path: Path) -> int:
    """Read a table as training does; return the number of images."""
    from pipeline.inputs import Hints, open_input

    blocks = open_input(path, Hints(need_labels=True)).blocks(1000)
    return sum(len(block.pictures) for block in blocks)


def by_pyarrow(path: Path) -> int:
    from pyarrow import csv

    return int(csv.read_csv(path).num_rows)


def by_pandas(path: Path) -> int:
    import pandas as pd

    return len(pd.read_csv(path))


READERS: dict[str, Callable[[Path], int]] = {
    "ours": ours,
    "pyarrow.csv": by_pyarrow,
    "pandas": by_pandas,
}


def measure(path: Path, turns: int) -> dict[str, tuple[float, float]]:
    """Return each reader's median (wall-clock, processor) seconds, the readers taking turns."""
    times: dict[str, list[tuple[float, float]]] = {who: [] for who in READERS}
    for turn in range(turns + 1):
        for who, read in READERS.items():
            wall, processor = time.perf_counter(), time.process_time()
            read(path)
            if turn:  # the first loads the libraries
                taken = time.perf_counter() - wall, time.process_time() - processor
                times[who].append(taken)
    return {
        who: (statistics.median(w for w, _ in found), statistics.median(p for _, p in found))
        for who, found in times.items()
    }


def peak_bytes(path: Path) -> int:
    """Return the peak of memory of a process of its own that reads the table."""
    command = [sys.executable, "-m", "benchmarks.reading", "--read", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reading", description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the table for memory")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.read:
        ours(options.read)
        # Not getrusage's peak: it begins with that of the process that started this one.
        status = Path("/proc/self/status").read_text()
        print(int(status.partition("VmHWM:")[2].split()[0]) * 1024)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.csv"
        write_table(path, IMAGES)
        medians = measure(path, options.turns)
        fastest = min(wall for who, (wall, _) in medians.items() if who != "ours")
        print(f"{IMAGES:,} x 785, {path.stat().st_size / 1e6:.0f} MB, {os.cpu_count()} cores")
        print(f"{'who':14}{'seconds':>10}{'CPU s':>10}{'to fastest':>12}")
        for who, (wall, processor) in medians.items():
            print(f"{who:14}{wall:10.2f}{processor:10.2f}{wall / fastest:12.2f}")
        write_table(path, options.rows)
        size = path.stat().st_size
        print(f"{options.rows:,} rows, {size / 1e6:,.0f} MB: peak {peak_bytes(path) / 1e6:,.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
