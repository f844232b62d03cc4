"""The user's own labelled data, in every form that `pipeline.inputs` reads: surveyed once, brought
into one form, and kept on disk while they are read.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cnn_core.axes import Images
from cnn_core.data.about import About, numbered_classes
from cnn_core.data.agreement import Agreement
from cnn_core.data.image_form import ImageForm
from cnn_core.errors import InputError
from pipeline.configuration.data_settings import FileSettings, NpzSettings
from pipeline.data.source import DataSource, Labelled, PartToRead, required, resolve
from pipeline.data.survey import BLOCK, Survey, form_of, survey_of, with_polarity
from pipeline.inputs import Hints, InputSource, open_input
from pipeline.inputs.labels.labels import class_names, class_numbers


def own_files(settings: FileSettings, test: bool) -> Sequence[Path]:
    """Return the file or folder of images and, where they are given, that of their labels and the
    table of those that count.
    """
    images, labels = settings.test_places if test else settings.places
    paths = [resolve(required(settings, images), settings.root, settings.name)]
    if getattr(settings, labels):
        paths.append(resolve(getattr(settings, labels), settings.root, settings.name))
    if settings.only and not test:
        paths.append(resolve(settings.only, settings.root, settings.name))
    return paths


def read_own(settings: FileSettings, files: Sequence[Path], part: PartToRead) -> Labelled:
    """Return what the files hold, its images mapped from a file in the scratch folder; a test set
    has the form and the classes of the training data. Raises InputError.
    """
    known, where = part.known, str(files[0])
    source = _opened(settings, files, part.test, known)
    survey = survey_of(source, where)
    damaged = set(survey.damaged)
    labels = [label for k, label in enumerate(survey.labels) if k not in damaged]
    names = known.class_names if known else _names(labels, settings, where)
    form = _as_in_training(known.form, source) if known else form_of(survey, settings, where)
    if known is None:
        form = replace(form, columns=tuple(source.pixel_names))
    turned = known is not None and form.invert != known.form.invert
    if known is None and settings.polarity == "light_on_dark":
        form = with_polarity(form, source)
    if not part.test and settings.has_test:
        # What is wrong with the test's layout is said now, not after hours of search.
        _opened(settings, own_files(settings, True), True, None)
    return Labelled(
        images=_on_disk(source, form, len(labels), part, where),
        labels=class_numbers(labels, names, where),
        classes=len(names),
        class_names=names,
        form=form,
        understood=(
            f"{files[0].name}: {source.understood}",
            *_lines(survey, form, names),
            *(["light and dark turned round, to training's background"] if turned else []),
        ),
    )


def _as_in_training(form: ImageForm, source: InputSource) -> ImageForm:
    """Return training's form, turned round where the test's background is the other one."""
    some = [p for p in next(iter(source.blocks(BLOCK))).pictures if p.size]
    return form.matched(form.apply_all(some))


def _opened(
    settings: FileSettings, files: Sequence[Path], test: bool, known: About | None
) -> InputSource:
    """Open a part's files, which must hold labels."""
    images_key, labels_key = settings.array_names[2 if test else 0 :][:2]
    labelled = bool(getattr(settings, (settings.test_places if test else settings.places)[1]))
    hints = Hints(
        label=settings.label,
        id=settings.id,
        labels=files[1] if labelled else None,
        only=files[-1] if settings.only and not test else None,
        images_key=images_key,
        labels_key=labels_key,
        shape=tuple(settings.shape),
        shape_told=bool(settings.shape),
        pixel_names=known.form.columns if known else (),
        class_names=known.class_names if known else (),
        need_labels=True,
        on_damaged=settings.on_damaged,
    )
    try:
        return open_input(files[0], hints)
    except InputError as error:
        raise InputError(_with_keys(str(error), settings)) from None


def _with_keys(message: str, settings: FileSettings) -> str:
    """Return a reader's message with its hints called as the settings call them."""
    end = "" if isinstance(settings, NpzSettings) else "_key"
    for key in ("images", "labels"):
        message = message.replace(f"{key}_key", f"data.{key}{end}")
    return re.sub(r"`(shape|label|id|labels|only)`", r"data.\1", message)


def _names(labels: Sequence[str], settings: FileSettings, where: str) -> tuple[str, ...]:
    if settings.classes is None:
        return class_names(labels, where)
    names = numbered_classes(settings.classes)
    class_numbers(labels, names, where)
    return names


def _lines(survey: Survey, form: ImageForm, names: Sequence[str]) -> Iterator[str]:
    few = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    count = survey.count - len(survey.damaged)
    yield f"{count} images, {form.lines()}; {len(names)} classes: {few}"
    other = sum(n for size, n in survey.sizes.items() if size != (form.height, form.width))
    if other:
        sizes = ", ".join(f"{h}x{w}" for (h, w), _ in survey.sizes.most_common(3))
        more = ", ..." if len(survey.sizes) > 3 else ""
        yield f"{other} images resampled to {form.height}x{form.width} (sizes: {sizes}{more})"
    if survey.damaged:
        yield f"{len(survey.damaged)} damaged pictures left out"


def _on_disk(
    source: InputSource, form: ImageForm, count: int, part: PartToRead, where: str
) -> Images:
    """Return the images in their form, (N, C, H, W), mapped from a file in the scratch folder;
    those of a test set must agree with the training data.
    """
    path, seen = part.scratch / "images", Agreement(form, source.separate, where)
    with path.open("wb") as file:
        for block in source.blocks(BLOCK):
            pictures = block.pictures
            if not isinstance(pictures, np.ndarray):
                pictures = [picture for picture in pictures if picture.size]
            if len(pictures):
                images = form.apply_all(pictures, where)
                if part.known is not None:
                    seen.add_backgrounds(images)
                file.write(np.ascontiguousarray(images).data)
    return np.memmap(path, np.uint8, "r", shape=(count, *form.shape))


_OPTIONS = (
    *("label", "id", "only", "shape", "classes", "colour", "size", "normalize", "polarity"),
    *("images_key", "labels_key", "on_damaged", "duplicates"),
)


def _source(*options: str) -> DataSource[FileSettings]:
    return DataSource(
        own_files,
        read_own,
        own_test=lambda settings: settings.has_test,
        options=(*_OPTIONS, *options),
    )


# Each a group of settings; what a file is, its content says.
CSV = TEXT = IDX = IMAGES = FILES = _source()
NPZ = _source("images", "labels", "test_images", "test_labels")
