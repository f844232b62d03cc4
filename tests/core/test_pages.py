"""Rows of a large mapped array are read from its file."""

from pathlib import Path

import numpy as np
import pytest

from cnn_core.data import pages

VALUES = np.random.default_rng(0).integers(0, 256, (64, 3, 5, 7), dtype=np.uint8)


@pytest.fixture
def mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    monkeypatch.setattr(pages, "MAPPED_BYTES", 0)
    np.save(tmp_path / "x.npy", VALUES)
    return np.asarray(np.load(tmp_path / "x.npy", mmap_mode="r"))


@pytest.mark.parametrize("rows", [np.array([63, 0, 7, 7]), slice(10, 20), slice(0, 0)])
def test_they_are_those_of_the_array(mapped: np.ndarray, rows: "slice | np.ndarray") -> None:
    np.testing.assert_array_equal(pages.rows_of(mapped, rows), VALUES[rows])


def test_they_come_from_the_file_and_not_through_the_map(mapped: np.ndarray) -> None:
    found = pages.rows_of(mapped, np.array([3]))
    assert found.base is None and not np.shares_memory(found, mapped)


def test_parts_and_arrays_in_memory_are_indexed(mapped: np.ndarray) -> None:
    np.testing.assert_array_equal(pages.rows_of(mapped[8:], np.array([0])), VALUES[8:9])
    np.testing.assert_array_equal(pages.rows_of(VALUES, np.array([5])), VALUES[[5]])


def test_a_file_that_became_shorter_is_noticed(mapped: np.ndarray, tmp_path: Path) -> None:
    content = (tmp_path / "x.npy").read_bytes()
    with (tmp_path / "x.npy").open("r+b") as file:
        file.truncate(len(content) - 1)
    with pytest.raises(OSError, match="ends before image 63"):
        pages.rows_of(mapped, np.array([63]))
