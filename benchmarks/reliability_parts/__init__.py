"""The cases of ``python -m benchmarks.reliability``, one a file: each runs the product's own
commands and says what must hold. A new one is listed in `CASES`.
"""

from benchmarks.reliability_parts.case import Case
from benchmarks.reliability_parts.day import DAY
from benchmarks.reliability_parts.ensemble import ENSEMBLE
from benchmarks.reliability_parts.rows import ROWS
from benchmarks.reliability_parts.slots import SLOTS
from benchmarks.reliability_parts.trials import TRIALS

CASES: dict[str, Case] = {case.name: case for case in (TRIALS, ROWS, ENSEMBLE, DAY, SLOTS)}
