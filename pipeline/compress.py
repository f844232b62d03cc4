"""A bundle of a study's best net, its layers compressed to a low rank: smaller, and where that is
worth it faster; a short re-training wins accuracy back.
"""

import sys
from dataclasses import dataclass

from threadpoolctl import threadpool_limits

from cnn_core.errors import InputError
from pipeline.bundle.writing import replaceable_folder, write_bundle
from pipeline.configuration import Command, Config, command_line, override, setting
from pipeline.ensemble.compression import Compressed, compressed
from pipeline.files import writable_folder
from pipeline.slots.process import clear_pins


@dataclass
class CompressKeys:
    rank: int | None = setting(
        None, "largest rank of the layers, the last one excepted; must be given", low=1
    )
    epochs: int = setting(0, "epochs of re-training after the compression", low=0)
    output: str | None = setting(
        None, "folder of the bundle; null: rank<RANK>/ in the study's folder"
    )


COMMAND = Command(
    name="compress",
    about="Writes a bundle of a study's best net with its layers compressed to a low rank, and "
    "says what that costs and saves; epochs= trains it once more.",
    examples=(
        "python -m pipeline.compress study.name=digits rank=8",
        "python -m pipeline.compress study.name=digits rank=4 epochs=3 output=small",
    ),
    keys=CompressKeys,
    sections=("study", "blas"),
)


def main(config: Config) -> int:
    """Compress the best net of the study that `config` names; return the exit code."""
    keys: CompressKeys = config.arguments
    if keys.rank is None:
        raise InputError("rank: must be given, such as rank=8, got null")
    clear_pins(config)
    folder = replaceable_folder(keys.output or config.paths.folder / f"rank{keys.rank}")
    writable_folder(folder.parent, "output")
    with threadpool_limits(1):
        found = compressed(config.paths, keys.rank, keys.epochs, print, config.study.storage)
    write_bundle(folder, found.assembled)
    print(*_lines(found, keys), f"bundle: {folder}", sep="\n")
    words = f"python -m pipeline.predict {override('bundle', folder)}"
    print(f"predict: {words} input=IMAGES output=submission.csv")
    return 0


def _lines(found: Compressed, keys: CompressKeys) -> list[str]:
    whole, thin, trained = found.accuracy
    before, after = found.multiply_adds
    many, one = found.speedup
    lines = [
        f"validation accuracy: {whole:.2%} whole, {thin:.2%} of rank {keys.rank} "
        f"({100 * (thin - whole):+.2f} points)",
        f"multiply-adds: {before:,} whole, {after:,} of rank {keys.rank} "
        f"({before / after:.2f}x fewer)",
        f"speed, one thread: {many:.2f}x a hundred images at a time, {one:.2f}x one at a time",
    ]
    if keys.epochs:
        lines.insert(
            1,
            f"after {keys.epochs} epochs of re-training: {trained:.2%} "
            f"({100 * (trained - whole):+.2f} points)",
        )
    return lines


if __name__ == "__main__":
    sys.exit(command_line(COMMAND, sys.argv[1:], main))
