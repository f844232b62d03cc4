"""Samplers on a table made by hand: what is drawn, chosen and ranked."""

import numpy as np
import pytest

from benchmarks.search import tables_section
from benchmarks.search_parts import tables
from benchmarks.search_parts.tables import PublicTable, found, ranks
from pipeline.search.space import Space


def made() -> PublicTable:
    """Three by three configurations of two repeats; the mean of a, b is a + b."""
    table = PublicTable.__new__(PublicTable)
    table.choices = {"a": [0, 1, 2], "b": ["x", "y", "z"]}
    table._repeats = {
        f"{a}{b}": np.array([a + b - 0.25, a + b + 0.25]) for a in range(3) for b in range(3)
    }
    table.space = Space.parse(
        {f"model.{key}": {"choice": list(values)} for key, values in table.choices.items()}
    )
    return table


def test_a_table_s_values_and_shares() -> None:
    table = made()
    assert list(table.values({"a": 2, "b": "y"})) == [2.75, 3.25]
    assert table.share_better(4.0) == 0.0
    assert table.share_better(3.0) == pytest.approx(1 / 9)
    assert table.share_better(0.0) == pytest.approx(8 / 9)


@pytest.mark.parametrize("search", ["random", "auto", "optuna_tpe"])
def test_a_search_finds_the_best_of_nine(search: str) -> None:
    assert found(made(), search, seed=1) == 4.0


def test_what_is_chosen_is_judged_by_its_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    table = made()
    table._repeats["00"] = np.array([100.0, -100.0])  # lucky once
    monkeypatch.setattr(tables, "TRIALS", 400)
    assert found(table, "random", seed=0) == 0.0


def test_ranks_by_hand() -> None:
    assert list(ranks(np.array([0.3, 0.1, 0.2]))) == [3.0, 1.0, 2.0]
    assert list(ranks(np.array([0.1, 0.1, 0.2]))) == [1.5, 1.5, 3.0]


def test_the_section_means_over_tables() -> None:
    shares = {"one": np.array([[0.2, 0.1], [0.1, 0.2]]), "two": np.array([[0.2, 0.1]] * 2)}
    text = tables_section(shares, ["A", "B"], "command")
    assert "| one | 1.50 (15.00%) | 1.50 (15.00%) |" in text
    assert "| two | 2.00 (20.00%) | 1.00 (10.00%) |" in text
    assert "| mean rank | 1.75 | 1.25 |" in text
