"""The benchmark of the estimator: equal parts for all, and ratios within a seed."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks import estimator as benchmark
from benchmarks.estimator import RACERS, Run, race, section, verdict


def runs(seconds: list[float], accuracy: float = 0.98) -> list[Run]:
    return [
        Run(kind.__name__, rows, at, None, spent * (at + 1), 4000, accuracy)
        for at in range(2)
        for (kind, rows), spent in zip(RACERS, seconds, strict=True)
    ]


def test_ratios_are_taken_within_a_seed() -> None:
    said = verdict(runs([1.0, 12.0, 6.0]))
    assert "12.0 (12.0 to 12.0) times" in said and "6.0 (6.0 to 6.0) times where" in said
    text = section(runs([1.0, 12.0, 6.0]), "python -m x", "a machine")
    assert "| 1 | 2.00 | 24.00 | 12.00 | 4,000 | 4,000 | 4,000 | 12.0 | 6.0 |" in text
    assert verdict(runs([1.0, 2.0, 3.0], 0.9)).startswith("Not reached: CNNClassifier with seed 0")
    # 12 / 1 and 20 / 10: their median is 7, the medians' quotient 16 / 5.5
    unequal = [
        replace(run, seconds=seconds)
        for run, seconds in zip(
            runs([1.0, 12.0, 6.0]), (1.0, 12.0, 6.0, 10.0, 20.0, 30.0), strict=True
        )
    ]
    assert "7.0 (2.0 to 12.0) times" in verdict(unequal)


def test_each_gets_the_same_parts_until_its_goal(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[tuple[str, str], list[bytes]] = {}
    for kind, rows in RACERS:
        goal = 0.98 if rows is np.float32 else 0.5

        def fit(self: Any, X: Any, y: Any, classes: Any, kind: Any = kind) -> None:
            part = np.rint(255 * X).astype(np.int16).tobytes() + y.tobytes()
            seen.setdefault((kind.__name__, X.dtype.name), []).append(part)

        monkeypatch.setattr(kind, "partial_fit", fit)
        monkeypatch.setattr(kind, "score", lambda self, X, y, goal=goal: goal)
    monkeypatch.setattr(benchmark, "VALIDATE", 20)
    monkeypatch.setattr(benchmark, "PART", 30)
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 255, (100, 64), np.uint8), rng.integers(0, 10, 100)
    found = race(X, y, 0, 90)
    assert {run.images for run in found} == {30, 90}
    assert len(seen) == 3 and all(len(parts) in (1, 3) for parts in seen.values())
    for parts in zip(*(parts for parts in seen.values() if len(parts) == 3), strict=True):
        assert len(set(parts)) == 1
    assert len({parts[0] for parts in seen.values()}) == 1
