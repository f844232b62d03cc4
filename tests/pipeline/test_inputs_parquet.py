"""Cells of parquet tables that have no value in Python, or none that is text."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from cnn_core.errors import InputError
from pipeline.inputs import Hints, open_input

NO_TEXT = pa.Array.from_buffers(
    pa.string(),
    3,
    [None, pa.py_buffer(np.arange(4, dtype=np.int32).tobytes()), pa.py_buffer(b"\xff\xfe\xff")],
)
CELLS = {
    "a date beyond the calendar": pa.array([2**31 - 1, 0, 1], pa.int32()).view(pa.date32()),
    "a time beyond the calendar": pa.array([2**62, 0, 1]).view(pa.timestamp("us")),
    "a time of no day": pa.array([2**62, 0, 1]).view(pa.time64("us")),
    "a zone that is none": pa.array([1, 2, 3]).view(pa.timestamp("us", tz="Foo/Bar")),
    "no text": NO_TEXT,
}


@pytest.mark.parametrize("name", ["id", "label"])
@pytest.mark.parametrize("cells", CELLS.values(), ids=CELLS)
@pytest.mark.parametrize("pictured", [False, True])
def test_a_cell_without_a_value_is_refused(
    cells: Any, name: str, pictured: bool, tmp_path: Path
) -> None:
    pixels = {f"pixel{k}": pa.array(np.arange(3) + k, pa.uint8()) for k in range(64)}
    lists = {"image": pa.array([[k] * 64 for k in range(3)])}
    path = tmp_path / "table.parquet"
    parquet.write_table(pa.table({name: cells, **(lists if pictured else pixels)}), path)
    hints = Hints(label=name, need_labels=True) if name == "label" else Hints(id=name)
    with pytest.raises(InputError, match=r"a parquet file must be whole, got .* in .*table"):
        for _ in open_input(path, hints).blocks(10):
            pass


def test_a_column_of_fewer_rows_than_the_file_states_is_refused() -> None:
    """One damaged byte of its pages: pyarrow reads none of its two rows, and says nothing."""
    corpus = Path(__file__).parents[1] / "fuzz" / "corpus" / "parquet"
    path = corpus / "a_column_that_lost_its_rows.parquet"
    assert parquet.ParquetFile(path).metadata.num_rows == 2
    with pytest.raises(InputError, match=r"as many rows as it states, 2, got 0"):
        for _ in open_input(path, Hints(label="none", on_damaged="skip")).blocks(3):
            pass
