"""Predicting block by block in processes of their own, in order, with bounded memory."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from cnn_core.errors import InputError
from pipeline.bundle.predictor import Bundle, BundleError, load
from pipeline.bundle.quick import quicken
from pipeline.inputs.source import Block

BLOCK = 500  # images a task


def open_bundle(folder: str | Path) -> Bundle:
    """Load a bundle. Raises InputError where it is incomplete, changed after it was written, or of another format."""
    try:
        return load(folder)
    except BundleError as error:
        raise InputError(f"bundle: {error}") from None


@lru_cache(maxsize=2)
def _loaded(folder: str, digest: str) -> Bundle:
    return quicken(load(folder))


def _predict(folder: str, digest: str, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    with threadpool_limits(1):  # one core a process; two threads on these small products only wait for each other
        return _loaded(folder, digest).member_proba(images)


def predict_blocks(folder: Path, bundle: Bundle, blocks: Iterable[Block], jobs: int) -> Iterator[tuple[Block, NDArray[np.float32]]]:
    """Yield each block with its members' probabilities (members, n, classes), in order; at most 4 x jobs blocks are in memory.

    `bundle` is the one in `folder`; every process loads it once and verifies it. Blocks are read here, between the rounds: a reader that
    raises in joblib's own threads would not be heard.
    """
    remaining = iter(blocks)
    with Parallel(n_jobs=jobs, batch_size=1) as parallel:
        while held := list(islice(remaining, 4 * jobs)):
            tasks = (delayed(_predict)(str(folder), bundle.manifest["digest"], block.images) for block in held)
            yield from zip(held, parallel(tasks), strict=True)
