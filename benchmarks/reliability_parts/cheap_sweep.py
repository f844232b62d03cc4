"""A sweep of cheap trials: ``python -m benchmarks.reliability_parts.cheap_sweep COSTS OVERRIDE
...`` is ``pipeline.sweep`` with one slot that does not train.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.reliability_parts.cheap_slot import cheap_slots, costs_noted
from pipeline.configuration import SWEEP, command_line
from pipeline.sweep import main as sweep


def main(argv: Sequence[str]) -> int:
    with cheap_slots(), costs_noted(Path(argv[0])):
        return command_line(SWEEP, argv[1:], sweep)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
