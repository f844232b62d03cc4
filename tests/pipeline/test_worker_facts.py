"""What a worker says of the machine that it runs on."""

import importlib.metadata
import os
import platform
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.slots import worker


def test_it_names_process_machine_and_libraries() -> None:
    described = worker.describe()
    assert described["pid"] == os.getpid() and described["host"] == platform.node()
    assert described["numpy"] == importlib.metadata.version("numpy")
    dependencies: Any = np.show_config(mode="dicts")
    blas = dependencies["Build Dependencies"]["blas"]
    assert described["blas"] == f"{blas['name']} {blas['version']}"
    assert re.fullmatch(r"\S+ \d\S*", described["blas"])
    if Path("/proc/cpuinfo").exists() and platform.machine() == "x86_64":
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        assert any(line.endswith(f": {described['processor']}") for line in lines)


def test_its_speed_is_that_of_the_fastest_of_four_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """A product of squares of 512 takes 2 x 512^3 operations; here 4, 2, 8 and 3 ms."""
    times = iter((0.0, 0.004, 1.0, 1.002, 2.0, 2.008, 3.0, 3.003))
    monkeypatch.setattr("pipeline.slots.worker.time.perf_counter", lambda: next(times))
    assert worker._product_speed() == pytest.approx(2 * 512**3 / 0.002 / 1e9)
    assert next(times, None) is None
