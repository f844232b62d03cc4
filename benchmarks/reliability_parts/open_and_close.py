"""Slots opened and closed again and again, each with its worker process:
``python -m benchmarks.reliability_parts.open_and_close CYCLES ROOT``.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.reliability_parts.meter import begun
from pipeline.configuration import compose
from pipeline.slots.pool import open_slots


def main(argv: Sequence[str]) -> int:
    cycles, root = int(argv[0]), Path(argv[1])
    config = compose([f"root={root}"])
    for _ in range(cycles):
        with open_slots(config, root, count=1) as slots:
            if slots[0].call(divmod, 17, 5) != (3, 2):
                return 1
        begun()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
