"""Which of the forms of output predictions are written in."""

from collections.abc import Sequence
from typing import TextIO

from pipeline.predictions.submission import IdRows, LabelLines, ProbabilityArray, Written
from pipeline.predictions.template import Template, TemplateRows


def writer(
    file: TextIO, names: Sequence[str], id_name: str | None, template: Template | None, form: str
) -> Written:
    """Return what writes predictions into the file: as the template says, or in that form, see
    `format_of`. Raises InputError for a class whose name the form cannot hold.
    """
    if template is not None:
        return TemplateRows(file, names, template, id_name)
    if form == "labels":
        return LabelLines(file, names)
    if form == "array":
        return ProbabilityArray(file)
    return IdRows(file, names, id_name, all_classes=form == "probabilities")
