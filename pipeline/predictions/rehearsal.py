"""A submission rehearsed before anything is trained: the test data are read once, and the sample
submission must agree with them.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cnn_core.data.prepared import open_prepared
from cnn_core.spec import DataSpec
from pipeline.predictions.asked import PredictKeys, open_asked
from pipeline.predictions.submission import format_of
from pipeline.predictions.template import check_output, read_template
from pipeline.predictions.writers import writer


def rehearse(data: DataSpec, keys: PredictKeys) -> Iterator[str]:
    """Yield what the test data that `keys` name and their sample submission were taken for. Raises
    InputError where they cannot be read, or do not agree.
    """
    prepared = open_prepared(data.folder, data.digest)
    names = prepared.class_names
    reading = open_asked(keys, prepared)
    yield f"{reading.path.name}: {'; '.join(reading.lines)}"
    found, id_name = None, reading.source.id_name
    if keys.template is not None:
        check_output(str(keys.output), keys.format)
        found = read_template(keys.template, names, id_name, form=keys.format)
        yield found.lines(names)
    form = format_of(Path(str(keys.output)), keys.format)
    count = 0
    # An array of probabilities holds no name that could be wrong, and would be kept whole.
    rows = None if form == "array" else writer(_Nowhere(), names, id_name, found, form)
    for batch in reading.batches():
        count += len(batch.ids)
        if rows is not None:
            rows.add(batch.ids, np.zeros((len(batch.ids), len(names)), np.float32))
    said = None if rows is None else rows.finish()
    yield f"{count} images to label" + (f"; {said}" if said else "")


class _Nowhere(io.StringIO):
    """A file that keeps nothing."""

    def write(self, text: str, /) -> int:
        return len(text)
