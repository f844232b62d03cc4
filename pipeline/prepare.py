"""Read a data source once, check it, and report the result: the first stage of `dvc.yaml`, and a
check of the user's own files.
"""

import io
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from cnn_core.data.prepared import open_prepared
from cnn_core.data.splits import split
from cnn_core.spec import DataSpec
from pipeline.configuration import Command, Config, command_line, setting
from pipeline.data import prepare
from pipeline.files import atomic_write_bytes, atomic_write_text, writable_file
from pipeline.picture_sheet import contact_sheet


@dataclass
class Keys:
    output: str | None = setting(None, "also write what is printed to this JSON file")
    samples: str | None = setting(
        None, "also write the validation images to this .npy file, to try predictions on"
    )
    sheet: str | None = setting(
        None, "also write a picture of what the net will see, a class a row, to this PNG file"
    )


COMMAND = Command(
    name="prepare",
    about="Reads a data source once, checks it and keeps it as plain arrays named by their digest. "
    "Training reads those.",
    examples=(
        "python -m pipeline.prepare data=mnist",
        "python -m pipeline.prepare data=csv data.file=train.csv",
    ),
    keys=Keys,
    sections=("data", "root"),
)


def describe(spec: DataSpec) -> dict[str, object]:
    """Return digest, the images' form, the classes by name, and the sizes of the splits with the
    images per class of each.
    """
    prepared = open_prepared(spec.folder, spec.digest)
    labels = np.asarray(prepared.labels)
    parts = split(labels, spec)
    return {
        "digest": spec.digest,
        "image_shape": list(spec.image_shape),
        "form": asdict(prepared.form),
        "classes": spec.classes,
        "class_names": list(prepared.class_names),
        "train": {
            "images": len(parts.train),
            "per_class": np.bincount(labels[parts.train], minlength=spec.classes).tolist(),
        },
        "valid": {
            "images": len(parts.valid),
            "per_class": np.bincount(labels[parts.valid], minlength=spec.classes).tolist(),
        },
    }


def _write_samples(spec: DataSpec, path: Path) -> None:
    """Write the validation images, (N, H, W) or (N, C, H, W) uint8, as `numpy.save` does."""
    prepared = open_prepared(spec.folder, spec.digest)
    images = np.asarray(prepared.images[split(np.asarray(prepared.labels), spec).valid])
    buffer = io.BytesIO()
    np.save(buffer, images[:, 0] if images.shape[1] == 1 else images, allow_pickle=False)
    atomic_write_bytes(path, buffer.getvalue())


def main(config: Config) -> int:
    """Prepare the data that `config` names; return the exit code."""
    keys: Keys = config.arguments
    output = None if keys.output is None else writable_file(keys.output, "output")
    samples = None if keys.samples is None else writable_file(keys.samples, "samples")
    sheet = None if keys.sheet is None else writable_file(keys.sheet, "sheet")
    understood: list[str] = []
    spec = prepare(config.data, config.root, understood.append)
    text = json.dumps({"understood": understood, **describe(spec)}, indent=2) + "\n"
    if output is not None:
        atomic_write_text(output, text)
    if samples is not None:
        _write_samples(spec, samples)
    if sheet is not None:
        atomic_write_bytes(sheet, contact_sheet(open_prepared(spec.folder, spec.digest)))
    if not config.quiet:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(command_line(COMMAND, sys.argv[1:], main))
