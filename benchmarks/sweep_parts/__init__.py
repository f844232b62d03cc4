"""The parts of `python -m benchmarks.sweep`, one per file: each measures and defines how its rows
are shown. A new one is listed in `PARTS`.
"""

from benchmarks.sweep_parts.dask import DASK
from benchmarks.sweep_parts.part import Part
from benchmarks.sweep_parts.real import REAL
from benchmarks.sweep_parts.slots import SLOTS
from benchmarks.sweep_parts.start import START
from benchmarks.sweep_parts.study import STUDY
from benchmarks.sweep_parts.tracking import TRACKING

PARTS: dict[str, Part] = {part.name: part for part in (REAL, DASK, START, STUDY, SLOTS, TRACKING)}
