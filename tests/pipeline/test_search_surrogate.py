"""Trees grown on recorded curves: what they answer, and a search on them."""

import numpy as np
import pytest

from benchmarks.search_parts import surrogate
from benchmarks.search_parts.curves import read
from benchmarks.search_parts.surrogate import Surrogate, lacking, surrogate_section
from pipeline.search.prior import Prior


def test_trees_follow_the_recorded_configurations() -> None:
    curves = read("digits")
    reached = Surrogate(curves)
    answers = np.array([reached(dict(params)) for params in curves.params])
    assert np.corrcoef(answers, np.maximum(curves.final, curves.final.max() - 0.1))[0, 1] > 0.9
    assert reached.best == pytest.approx(answers.max())
    assert 0.002 < reached.noise < 0.03


def test_a_search_lacks_less_with_more_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surrogate, "AFTER", (12,))
    monkeypatch.setattr(surrogate._surrogate("digits"), "noise", 0.0)
    runs = np.array([lacking("digits", "gp", None, seed) for seed in range(3)])
    assert runs.shape == (3, 12) and (np.diff(runs) <= 0).all()
    assert runs[:, -1].max() < 0.02 < runs[:, 0].max()
    assert lacking("digits", "random", None, 0) != lacking("digits", "random", None, 1)


def test_a_prior_s_configurations_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surrogate, "AFTER", (2,))
    reached = surrogate._surrogate("digits")
    monkeypatch.setattr(reached, "noise", 0.0)
    best = max(read("digits").params, key=lambda params: reached(dict(params)))
    prior = Prior(first=[(dict(best), "old t001")], evidence=[], most=1, lines=[])
    assert lacking("digits", "random", prior, 0)[0] == pytest.approx(0.0, abs=1e-12)


def test_the_section_has_medians_and_quartiles() -> None:
    lacks = np.zeros((3, 100))
    lacks[:, :30] = [[0.01], [0.02], [0.06]]
    text = surrogate_section("digits", {"random": lacks}, "the command")
    assert "| random | 2.000 (1.500 to 4.000) | 0.000 (0.000 to 0.000) |" in text
    assert text.endswith("| 31 (31 to 31) |")
    assert "median of 3 seeds" in text
