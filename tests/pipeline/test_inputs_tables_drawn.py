"""Any table that pandas writes is read right or refused, never wrong."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cnn_core.errors import InputError
from pipeline.inputs import Hints
from tests.pipeline.test_inputs_tables import SIDE, pixel_names, read


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "sign": draw(st.sampled_from([",", ";", "\t", "|"])),
        "header": draw(st.sampled_from(["names", "numbers", "none", "unknown label"])),
        "label": draw(st.sampled_from([None, 0, 1, -1])),
        "id": draw(st.sampled_from([None, "numbers", "text", "large"])),
        "id_first": draw(st.booleans()),
        "index": draw(st.booleans()),
        "quoted": draw(st.booleans()),
        "labels": draw(st.sampled_from(["digits", "letters", "floats", "negative"])),
        "count": draw(st.sampled_from([1, 3, 30, 70])),
        "most": draw(st.sampled_from([1, 16, 255])),
        "black_border": draw(st.booleans()),
        "seed": draw(st.integers(0, 5)),
    }


def _frame(drawn: dict[str, Any]) -> tuple[pd.DataFrame, np.ndarray, list[str] | None, list | None]:
    random, count = np.random.default_rng(drawn["seed"]), drawn["count"]
    images = random.integers(0, drawn["most"] + 1, (count, SIDE, SIDE))
    if drawn["black_border"]:
        images[:, [0, -1]] = images[:, :, [0, -1]] = 0
    frame = pd.DataFrame(images.reshape(count, -1), columns=pixel_names())
    labels = ids = None
    if drawn["label"] is not None:
        codes = random.integers(0, 5, count)
        kinds = {"digits": codes, "floats": codes * 1.0, "negative": codes - 2}
        values = kinds.get(drawn["labels"], np.array(list("abcde"))[codes])
        name = "what" if drawn["header"] == "unknown label" else "label"
        frame.insert(len(frame.columns) if drawn["label"] == -1 else 0, name, values)
        letters = drawn["labels"] == "letters"
        labels = [str(v) if letters else str(int(v)) for v in values]
    if drawn["id"] is not None:
        kinds = {
            "numbers": np.arange(1, count + 1),
            "text": np.array([f"f{n}.png" for n in range(count)]),
        }
        values = kinds.get(drawn["id"], np.arange(count) * 7 + 5000)
        behind = len(frame.columns) - (0 if drawn["id_first"] else 1)
        place = (0 if drawn["id_first"] else 1) if drawn["label"] in (0, 1) else behind
        frame.insert(0 if drawn["label"] is None and drawn["id_first"] else place, "id", values)
        ids = [str(value) for value in values]
    return frame, images, labels, ids


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(drawn=tables(), training=st.booleans())
def test_any_table_is_read_right_or_refused(
    tmp_path: Path, drawn: dict[str, Any], training: bool
) -> None:
    frame, images, labels, ids = _frame(drawn)
    if drawn["header"] == "numbers":
        frame.columns = pd.Index([str(n) for n in range(len(frame.columns))])
    path = tmp_path / "drawn.csv"
    frame.to_csv(
        path,
        sep=drawn["sign"],
        header=drawn["header"] != "none",
        index=drawn["index"] and drawn["header"] != "none",
        quoting=1 if drawn["quoted"] else 0,
    )
    classes = () if training or labels is None else tuple(sorted({*labels}))
    hints = Hints(need_labels=training, class_names=classes)
    try:
        found, names, texts = read(path, hints)
    except InputError:
        return
    np.testing.assert_array_equal(found[:, 0], images)
    assert texts == labels
    assert names == (ids or [str(n) for n in range(1, len(images) + 1)])
