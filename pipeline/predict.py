"""Predict the labels of images in any common form with a bundle: one pass, bounded memory, no file
unless all went well.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TextIO

import joblib
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cnn_core.errors import InputError
from pipeline.bundle.predictor import Bundle
from pipeline.bundle.running import BLOCK, open_bundle, predict_blocks
from pipeline.configuration import Command, Config, command_line, setting
from pipeline.configuration.sections import InputKeys
from pipeline.files import fsync_folder
from pipeline.inputs import Block, Wanted, open_input
from pipeline.predictions.drift import Drift
from pipeline.predictions.submission import (
    FORMATS,
    append_to_ledger,
    expected_score,
    format_of,
    header_of,
    rows_of,
)
from pipeline.slots.process import clear_pins


@dataclass
class PredictKeys(InputKeys):
    output: str | None = setting(None, "file of predictions to write")
    format: str = setting(
        "auto", "of the output, submission: ImageId,Label; auto: by the ending", choices=FORMATS
    )


COMMAND = Command(
    name="predict",
    about="Predicts the labels of images with a bundle and notes the file in submissions.csv.",
    examples=(
        "python -m pipeline.predict bundle=outputs/contest/bundle input=test.csv "
        "output=submission.csv",
        "python -m pipeline.predict study.name=contest input=photos/ output=labels.txt",
    ),
    keys=PredictKeys,
    sections=("study", "slots", "blas"),
)


def main(config: Config) -> int:
    """Predict what the arguments name; return the exit code."""
    keys: PredictKeys = config.arguments
    if keys.input is None or keys.output is None:
        raise InputError(
            "predict needs input=PATH and output=PATH, got "
            + ("no input" if keys.input is None else "no output")
        )
    clear_pins(config)
    folder = Path(keys.bundle).expanduser() if keys.bundle else config.paths.bundle
    bundle = open_bundle(folder)
    source = open_input(
        keys.input,
        Wanted(image_shape=bundle.image_shape, classes=bundle.classes, label=keys.label),
        keys.normalize,
    )
    output = Path(keys.output).expanduser()
    few = source.count is not None and source.count <= BLOCK
    jobs = 1 if few else config.slots.n or joblib.cpu_count()
    blocks = predict_blocks(folder, bundle, source.blocks(BLOCK), jobs)
    with _progress(config.quiet) as progress:
        advance = partial(progress.advance, progress.add_task("predict", total=source.count))
        drift = predict_file(bundle, blocks, output, format_of(output, keys.format), advance)
    for line in drift.lines(len(bundle.nets)):
        print(line)
    for line in drift.warnings():
        print(f"warning: {line}", file=sys.stderr)
    score = expected_score(bundle.manifest)
    ledger = append_to_ledger(
        config.root, output.absolute(), drift.count, folder.absolute(), bundle.manifest, score
    )
    print(
        f"{output}: {drift.count} predictions, noted in {ledger}; fill in its column score when "
        "you know it"
    )
    return 0


def predict_file(
    bundle: Bundle,
    blocks: Iterable[tuple[Block, NDArray[np.float32]]],
    output: Path,
    form: str,
    advance: Callable[[int], None],
) -> Drift:
    """Write the predictions of blocks of images; the file appears once all are made. `advance` is
    called with the number newly done. Raises InputError at the first bad image.
    """
    drift = Drift(bundle.manifest.expected)
    as_array = form == "probabilities" and output.suffix.lower() == ".npy"
    kept = []
    with whole_file(output) as file:
        if not as_array:
            file.write(header_of(form, bundle.classes))
        for block, members in blocks:
            joined = bundle.combine(members)
            drift.add(members, joined)
            if as_array:
                kept.append(joined)
            else:
                file.writelines(rows_of(form, block.ids, joined))
            advance(len(block.ids))
        if as_array:
            np.save(file.buffer, np.concatenate(kept), allow_pickle=False)
    return drift


@contextmanager
def whole_file(output: Path) -> Iterator[TextIO]:
    """Open a file for writing that gets its name only if the block ends without an exception.
    Raises InputError where it cannot be created.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(
            prefix=f".{output.name}.", suffix=".tmp", dir=output.parent
        )
    except OSError as error:
        raise InputError(
            f"output must be a file that can be written, got {output} ({error.strerror or error})"
        ) from None
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        if output.is_dir():
            raise InputError(f"output must be a file, got the folder {output}")
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)
    fsync_folder(output.parent)


def _progress(quiet: bool) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    return Progress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        disable=quiet or not sys.stderr.isatty(),
    )


if __name__ == "__main__":
    sys.exit(command_line(COMMAND, sys.argv[1:], main))
