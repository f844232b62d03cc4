"""A submission rehearsed before anything is trained: the test data are read once, and the sample
submission must agree with them.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cnn_core.data.prepared import open_prepared
from cnn_core.spec import DataSpec
from pipeline.inputs import Hints
from pipeline.inputs.reading import open_as_trained
from pipeline.predictions.template import TemplateRows, read_template


def rehearse(data: DataSpec, test: Path, template: Path | None) -> Iterator[str]:
    """Yield what the test data and the sample submission were taken for. Raises InputError where
    they cannot be read, or do not agree.
    """
    prepared = open_prepared(data.folder, data.digest)
    names = prepared.class_names
    hints = Hints(class_names=names, shape=prepared.form.source or prepared.form.shape)
    reading = open_as_trained(test, prepared.form, hints)
    yield f"{test.name}: {'; '.join(reading.lines)}"
    rows = None
    if template is not None:
        found = read_template(template, names, reading.source.id_name)
        yield found.lines(names)
        rows = TemplateRows(io.StringIO(), names, found, reading.source.id_name)
    count = 0
    for batch in reading.batches():
        count += len(batch.ids)
        if rows is not None:
            rows.add(batch.ids, np.zeros((len(batch.ids), len(names)), np.float32))
    yield f"{count} images to label" + ("" if rows is None else f"; {rows.finish()}")
