"""The input that a command's keys ask for, opened as the bundle's training data were."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cnn_core.data.prepared import Prepared
from cnn_core.errors import InputError
from cnn_core.field_checks import setting
from pipeline.bundle.predictor import Bundle
from pipeline.configuration.sections import InputKeys
from pipeline.inputs import Hints
from pipeline.inputs.reading import Reading, open_as_trained
from pipeline.predictions.submission import FORMATS


@dataclass
class PredictKeys(InputKeys):
    output: str | None = setting(None, "file of predictions to write")
    format: str = setting(
        "auto",
        "of the output: a label a line, ids and labels, or probabilities; auto: by the ending, or "
        "as the template",
        choices=FORMATS,
    )
    template: str | None = setting(
        None, "the contest's sample submission: gives header, ids, order and form of the output"
    )


def open_asked(
    keys: InputKeys,
    bundle: Bundle | Prepared,
    *,
    labels: str | None = None,
    need_labels: bool = False,
) -> Reading:
    """Return the input that `keys` name, in the form and with the classes of a bundle, or of the
    training data; `labels` is a file of labels beside the pictures.

    Raises InputError for whatever cannot be read or is not certain.
    """
    if keys.input is None:
        raise InputError("input: must be the path of a file or folder, got none")
    hints = Hints(
        label=keys.label,
        id=keys.id,
        labels=Path(labels).expanduser() if labels else None,
        only=Path(keys.only).expanduser() if keys.only else None,
        images_key=keys.images_key,
        labels_key=keys.labels_key,
        shape=tuple(keys.shape) or bundle.form.source or bundle.form.shape,
        shape_told=bool(keys.shape),
        pixel_names=bundle.form.columns,
        class_names=bundle.class_names,
        need_labels=need_labels,
        on_damaged=keys.on_damaged,
    )
    reading = open_as_trained(
        keys.input, bundle.form, hints, keys.normalize, keys.full_scale, keys.polarity
    )
    most = bundle.block if isinstance(bundle, Bundle) else reading.size
    return replace(reading, size=min(reading.size, most))


def few_of(ids: Sequence[str], most: int = 10) -> str:
    """Return ids for a sentence, the first few of many."""
    return ", ".join(ids[:most]) + (f" and {len(ids) - most} more" if len(ids) > most else "")
