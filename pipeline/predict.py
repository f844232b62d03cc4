"""Predict the labels of images in any common form with a bundle: what training did to a picture is
done again, in bounded memory; no file unless all went well.
"""

import io
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
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cnn_core.errors import InputError
from cnn_core.whole_files import whole_file
from pipeline.bundle.predictor import Bundle
from pipeline.bundle.running import BLOCK, open_bundle, predict_blocks
from pipeline.configuration import Command, Config, command_line
from pipeline.configuration.standard_streams import live_console
from pipeline.inputs.reading import Batch, Reading
from pipeline.predictions.asked import PredictKeys, few_of, open_asked
from pipeline.predictions.drift import Drift
from pipeline.predictions.ledger import append_to_ledger
from pipeline.predictions.submission import Written, format_of
from pipeline.predictions.template import Template, check_output, read_template
from pipeline.predictions.writers import writer
from pipeline.slots.process import clear_pins

COMMAND = Command(
    name="predict",
    about="Predicts the labels of images with a bundle and notes the file in submissions.csv.",
    examples=(
        "python -m pipeline.predict bundle=outputs/contest/bundle input=test.csv "
        "output=submission.csv",
        "python -m pipeline.predict bundle=outputs/contest/bundle input=test/ "
        "template=sample_submission.csv output=submission.csv",
        "python -m pipeline.predict study.name=contest input=photos/ output=labels.txt",
    ),
    keys=PredictKeys,
    sections=("study", "slots", "blas"),
)


def main(config: Config) -> int:
    """Predict what the arguments name; return the exit code."""
    return predict(config)


def predict(config: Config, warned: Callable[[str], None] | None = None) -> int:
    """Do so; `warned` is called with each warning, beside its line on stderr."""
    keys: PredictKeys = config.arguments
    if keys.input is None or keys.output is None:
        raise InputError(
            "predict needs input=PATH and output=PATH, got "
            + ("no input" if keys.input is None else "no output")
        )
    clear_pins(config)
    folder = Path(keys.bundle).expanduser() if keys.bundle else config.paths.bundle
    bundle = open_bundle(folder)
    reading = open_asked(keys, bundle)
    for line in reading.lines:
        print(line)
    output, count = Path(keys.output).expanduser(), reading.source.count
    template = _template(keys, bundle, reading)
    jobs = 1 if count is not None and count <= BLOCK else config.slots.n or joblib.cpu_count()
    blocks = predict_blocks(folder, bundle, reading.batches(), jobs)

    def written(file: TextIO) -> Written:
        names, form = bundle.class_names, format_of(output, keys.format)
        return writer(file, names, reading.source.id_name, template, form)

    with _progress(config.quiet) as progress:
        advance = partial(progress.advance, progress.add_task("predict", total=count))
        done = predict_file(bundle, blocks, output, written, advance)
    _report(done, bundle, warned)
    ledger = append_to_ledger(
        *(config.root, output.absolute(), done.rows, folder.absolute(), bundle.manifest),
        damaged=len(done.damaged),
    )
    print(
        f"{output}: {done.rows} predictions, noted in {ledger}; fill in its column score when you "
        "know it"
    )
    return 0


def _template(keys: PredictKeys, bundle: Bundle, reading: Reading) -> Template | None:
    """Return the template that `keys` name, if any, after saying what it was taken for."""
    if keys.template is None:
        return None
    check_output(str(keys.output), keys.format)
    found = read_template(
        keys.template, bundle.class_names, reading.source.id_name, form=keys.format
    )
    print(found.lines(bundle.class_names))
    return found


@dataclass(frozen=True)
class Predicted:
    """What was predicted: signs of drift, ids of damaged pictures, how ids were matched."""

    drift: Drift
    damaged: list[str]
    said: str | None

    @property
    def rows(self) -> int:
        return self.drift.count + len(self.damaged)


def predict_file(
    bundle: Bundle,
    batches: Iterable[tuple[Batch, NDArray[np.float32]]],
    output: Path,
    written: Callable[[TextIO], Written],
    advance: Callable[[int], None],
) -> Predicted:
    """Write the predictions of batches of pictures; the file appears once all are made. A damaged
    picture is answered with training's shares of the classes, so with its most frequent one.

    `advance` is called with the number newly done. Raises InputError at the first fault.
    """
    drift = Drift(bundle.manifest.expected, bundle.class_names)
    damaged: list[str] = []
    usual = bundle.manifest.expected.class_share or (1 / bundle.classes,) * bundle.classes
    with whole_output(output) as file:
        lines = written(file)
        for batch, members in batches:
            joined = bundle.combine(members)
            seen = np.ones(len(joined), bool) if batch.damaged is None else ~batch.damaged
            drift.add(members[:, seen], joined[seen])
            joined[~seen] = usual
            damaged += [batch.ids[n] for n in np.flatnonzero(~seen)]
            lines.add(batch.ids, joined)
            advance(len(batch.ids))
        if not drift.count and not damaged:
            raise InputError("the input must hold pictures, got none")
        said = lines.finish()
    return Predicted(drift, damaged, said)


def _report(done: Predicted, bundle: Bundle, warned: Callable[[str], None] | None) -> None:
    """Print how ids were matched, what was seen, and what is odd."""
    if done.said is not None:
        print(done.said)
    for line in done.drift.lines(len(bundle.nets)):
        print(line)
    warnings = done.drift.warnings()
    if done.damaged:
        share = bundle.manifest.expected.class_share
        answer = (
            f"training's most frequent class, {bundle.class_names[int(np.argmax(share))]}"
            if share
            else f"the first class, {bundle.class_names[0]}"
        )
        warnings.append(
            f"{len(done.damaged)} pictures cannot be read and are answered with {answer}: "
            f"{few_of(done.damaged)}"
        )
    for line in warnings:
        print(f"warning: {line}", file=sys.stderr)
        if warned is not None:
            warned(f"warning: {line}")


@contextmanager
def whole_output(output: Path) -> Iterator[TextIO]:
    """Open a file for writing that gets its name only if the block ends without an exception.
    Raises InputError where it cannot be created.
    """
    if output.is_dir():
        raise InputError(f"output must be a file, got the folder {output}")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output.parent):
            pass
    except OSError as error:
        raise InputError(
            f"output must be a file that can be written, got {output} ({error.strerror or error})"
        ) from None
    with whole_file(output) as content:
        text = io.TextIOWrapper(content, encoding="utf-8", newline="")
        yield text
        text.flush()
        text.detach()


def _progress(quiet: bool) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    return Progress(
        *columns,
        console=live_console(sys.stderr),
        transient=True,
        disable=quiet or not sys.stderr.isatty(),
    )


if __name__ == "__main__":
    sys.exit(command_line(COMMAND, sys.argv[1:], main))
