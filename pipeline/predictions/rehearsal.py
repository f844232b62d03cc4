"""A submission rehearsed before anything is trained: the test data are read once, and the sample
submission must agree with them.
"""

import io
from collections.abc import Iterator

import numpy as np

from cnn_core.data.prepared import open_prepared
from cnn_core.spec import DataSpec
from pipeline.predictions.asked import PredictKeys, open_asked
from pipeline.predictions.template import TemplateRows, check_output, read_template


def rehearse(data: DataSpec, keys: PredictKeys) -> Iterator[str]:
    """Yield what the test data that `keys` name and their sample submission were taken for. Raises
    InputError where they cannot be read, or do not agree.
    """
    prepared = open_prepared(data.folder, data.digest)
    names = prepared.class_names
    reading = open_asked(keys, prepared)
    yield f"{reading.path.name}: {'; '.join(reading.lines)}"
    rows = None
    if keys.template is not None:
        check_output(str(keys.output), keys.format)
        found = read_template(keys.template, names, reading.source.id_name, form=keys.format)
        yield found.lines(names)
        rows = TemplateRows(io.StringIO(), names, found, reading.source.id_name)
    count = 0
    for batch in reading.batches():
        count += len(batch.ids)
        if rows is not None:
            rows.add(batch.ids, np.zeros((len(batch.ids), len(names)), np.float32))
    yield f"{count} images to label" + ("" if rows is None else f"; {rows.finish()}")
