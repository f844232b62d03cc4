"""The only door to the test split: score a study's ensemble (or a bundle) on it, once, and note
that it was opened.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import joblib
import numpy as np

from cnn_core.axes import Images, Labels
from cnn_core.data.prepared import open_prepared
from cnn_core.errors import InputError
from pipeline.bundle.predictor import Bundle
from pipeline.bundle.running import BLOCK, open_bundle, predict_blocks
from pipeline.bundle.writing import fill_folder
from pipeline.configuration import Command, Config, command_line, override, setting, spec_of
from pipeline.configuration.sections import InputKeys
from pipeline.data import prepare, prepare_test
from pipeline.data.proxy import frozen_proxy
from pipeline.data.test_split import opened_for_evaluation
from pipeline.ensemble.assemble import assemble, trained_with
from pipeline.files import check_enclosed
from pipeline.inputs.labels.labels import class_numbers
from pipeline.inputs.reading import Batch
from pipeline.predictions.asked import few_of, open_asked
from pipeline.predictions.scoring import Scored, write_scored
from pipeline.records.manifest import Manifest
from pipeline.redact import redact
from pipeline.slots.process import clear_pins
from pipeline.structured_text import append_rows

MOST_SCORED_BYTES = 2 << 30  # of an input's pictures and the members' answers, which are kept
OPENINGS = ("time", "study", "model", "data", "data_digest", "command")


@dataclass
class EvaluateKeys(InputKeys):
    input: str | None = setting(
        None, "a labelled file or folder to score instead of the test split"
    )
    labels: str | None = setting(None, "a file of labels, or of ids and labels, beside the images")


@dataclass(frozen=True)
class LabelledSet:
    """A labelled set to score."""

    name: str  # test | proxy | reserve | file
    images: Images
    labels: Labels


COMMAND = Command(
    name="evaluate",
    about="Scores a study's ensemble, or a bundle, on the test split and on the frozen contest "
    "proxy, and notes each opening.",
    examples=(
        "python -m pipeline.evaluate study.name=contest",
        "python -m pipeline.evaluate bundle=outputs/contest/bundle input=labelled.csv",
    ),
    keys=EvaluateKeys,
    sections=("study", "slots", "blas"),
)


def main(config: Config) -> int:
    """Evaluate what the arguments name; return the exit code. Raises InputError for a given bundle
    without a labelled input: what a stranger's bundle says of paths and overrides is not taken.
    """
    keys: EvaluateKeys = config.arguments
    if keys.bundle is not None and keys.input is None:
        raise InputError(
            "input: must be a labelled file or folder where bundle= names a bundle, which may be "
            "anybody's, got none; study.name=NAME alone scores a study on its own test images"
        )
    clear_pins(config)
    with _bundle_folder(config, keys.bundle) as folder:
        return evaluate(config, folder, _target(config, keys.bundle))


def evaluate(config: Config, folder: Path, target: Path) -> int:
    """Score the bundle in `folder` on the labelled input, or else, where it is one's own, on the
    data that its overrides name; write into `target` and return the exit code.
    """
    keys: EvaluateKeys = config.arguments
    bundle = open_bundle(folder)
    sets = (
        _file_set(bundle, keys)
        if keys.input is not None
        else _held_out_sets(config, bundle, target)
    )
    for labelled in sets:
        scored = score(labelled, bundle, folder, config.slots.n or joblib.cpu_count())
        write_scored(target, scored)
        print(scored.line())
    print(f"written to {target}")
    return 0


def _target(config: Config, given: str | None) -> Path:
    """Return the folder to write scores into, beside the bundle; that of a foreign one came from
    where it came from. Raises InputError where a link there leads the writing elsewhere.
    """
    if given is None:
        return config.paths.evaluation
    target = Path(given).expanduser().parent / "evaluation"
    about = f"bundle={given}: the evaluation beside it"
    if target.is_symlink():
        raise InputError(f"{about} must be a folder, got the link {target}")
    check_enclosed(target, target.parent, about)
    return target


@contextmanager
def _bundle_folder(config: Config, given: str | None) -> Iterator[Path]:
    """Yield the folder of the bundle: the given one, or the study's, assembled temporarily."""
    if given is not None:
        yield Path(given).expanduser()
        return
    with tempfile.TemporaryDirectory(prefix="evaluate-", ignore_cleanup_errors=True) as name:
        fill_folder(Path(name), assemble(config.paths, config.study.storage))
        yield Path(name)


def score(labelled: LabelledSet, bundle: Bundle, folder: Path, jobs: int) -> Scored:
    """Predict a labelled set in `jobs` processes."""
    images = labelled.images
    size = min(BLOCK, bundle.block)
    batches = (
        Batch(images=images[k : k + size], ids=("",) * len(images[k : k + size]))
        for k in range(0, len(images), size)
    )
    members = np.empty((len(bundle.nets), len(images), bundle.classes), np.float32)
    joined = np.empty(members.shape[1:], np.float32)
    at = 0
    for block, found in predict_blocks(folder, bundle, batches, jobs):
        until = at + len(block.ids)
        members[:, at:until], joined[at:until] = found, bundle.combine(found)
        at = until
    return Scored(
        *(labelled.name, images, labelled.labels, members, joined), class_names=bundle.class_names
    )


def _file_set(bundle: Bundle, keys: EvaluateKeys) -> list[LabelledSet]:
    """Return a labelled file as one set, without pictures that cannot be read and are skipped.
    Raises InputError where it holds no labels.
    """
    reading = open_asked(keys, bundle, labels=keys.labels, need_labels=True)
    for line in reading.lines:
        print(line)
    images: list[Images] = []
    labels: list[str] = []
    damaged: list[str] = []
    taken = 0
    for batch in reading.batches():
        if batch.labels is None:
            raise InputError(
                "evaluate needs labels (a label column, a labels file, a folder a class), got "
                f"none in {keys.input}"
            )
        seen = np.ones(len(batch.ids), bool) if batch.damaged is None else ~batch.damaged
        taken += batch.images.nbytes + len(batch.ids) * bundle.answer_bytes
        if taken > MOST_SCORED_BYTES:
            raise InputError(
                "labelled pictures, as the nets see them, and the members' answers may take "
                f"{MOST_SCORED_BYTES:,} bytes, got more after {len(labels)} pictures of "
                f"{keys.input}"
            )
        images.append(batch.images[seen])
        labels += [batch.labels[n] for n in np.flatnonzero(seen)]
        damaged += [batch.ids[n] for n in np.flatnonzero(~seen)]
    if not labels:
        raise InputError(f"the input must hold labelled pictures, got none in {keys.input}")
    if damaged:
        print(
            f"warning: {len(damaged)} pictures cannot be read and are not scored: "
            f"{few_of(damaged)}",
            file=sys.stderr,
        )
    numbers = class_numbers(labels, bundle.class_names, str(keys.input))
    return [LabelledSet("file", np.concatenate(images), numbers)]


def _held_out_sets(config: Config, bundle: Bundle, target: Path) -> Iterator[LabelledSet]:
    """Yield the frozen proxy and its undisturbed images, where images are reserved, and last the
    test split, after noting its opening.
    """
    trained = trained_with(bundle.manifest, config.root)
    data = spec_of(trained, prepare(trained.data, config.root), (0,)).data
    proxy = frozen_proxy(data)
    if proxy is not None:
        yield LabelledSet("proxy", proxy.images, proxy.labels)
        yield LabelledSet("reserve", proxy.clean, proxy.labels)
    with opened_for_evaluation():
        test_spec = prepare_test(trained.data, config.root, print)
    note_opening(target / "openings.csv", bundle.manifest, test_spec.digest, given_to(config))
    test = open_prepared(test_spec.folder, test_spec.digest)
    yield LabelledSet("test", test.images, test.labels)


def given_to(config: Config) -> list[str]:
    """Return what a command was given; a process that is not the command's has other arguments."""
    keys, usual = vars(config.arguments), vars(EvaluateKeys())
    own = [override(key, value) for key, value in keys.items() if value != usual[key]]
    return [*config.overrides, *own]


def note_opening(
    path: Path, manifest: Manifest, data_digest: str, arguments: Sequence[str]
) -> None:
    """Append a line to openings.csv, before anything is computed: an opening counts even if nothing
    comes of it.
    """
    row = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "study": manifest.study,
        "model": manifest.digest[:16],
        "data": manifest.data.name,
        "data_digest": data_digest[:16],
        "command": redact(" ".join(arguments)),
    }
    append_rows(path, OPENINGS, [[row[key] for key in OPENINGS]])


if __name__ == "__main__":
    sys.exit(command_line(COMMAND, sys.argv[1:], main))
