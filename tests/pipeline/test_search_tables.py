"""Samplers on a table made by hand: what is drawn, chosen and ranked."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from benchmarks.search_parts import table_ranks, tables
from benchmarks.search_parts.table_ranks import on_tables, tables_section
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


def test_what_others_found_is_kept_and_not_searched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched = []

    def share(family: str, name: str, search: str, seed: int) -> float:
        searched.append((search, seed))
        return seed / 10 if search == "random" else seed / 5

    monkeypatch.setattr(table_ranks, "KEPT", tmp_path / "search.json")
    monkeypatch.setattr(table_ranks, "ProcessPoolExecutor", ThreadPoolExecutor)
    monkeypatch.setattr(tables, "share_better", share)
    monkeypatch.setattr(tables, "NAMES", {"Family": ("one",)})
    on_tables(["optuna_tpe"], 2)
    found = on_tables(["random", "optuna_tpe"], 3)
    assert found["Family one"].tolist() == [[0.0, 0.0], [0.1, 0.2], [0.2, 0.4]]
    assert sorted(searched) == [
        *[("optuna_tpe", seed) for seed in range(3)],
        *[("random", seed) for seed in range(3)],
    ]
    on_tables(["optuna_tpe"], 1)
    assert on_tables(["optuna_tpe"], 3)["Family one"].tolist() == [[0.0], [0.2], [0.4]]
    assert len(searched) == 6, "three seeds are still there"


def test_another_version_of_a_library_searches_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_ranks, "KEPT", tmp_path / "search.json")
    monkeypatch.setattr(table_ranks, "ProcessPoolExecutor", ThreadPoolExecutor)
    monkeypatch.setattr(tables, "NAMES", {"Family": ("one",)})
    for share in (0.25, 0.5):
        monkeypatch.setattr(tables, "share_better", lambda *_, share=share: share)
        monkeypatch.setattr(table_ranks.importlib.metadata, "version", lambda _, v=share: str(v))
        assert on_tables(["smac"], 1)["Family one"].tolist() == [[share]]
