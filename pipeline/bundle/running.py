"""Running a bundle fast: its nets computed by cnn_core's convolutions, block by block in several
processes, with bounded memory.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from math import prod
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from cnn_core.kernels.correlation import Correlation, as_blocks
from cnn_core.kernels.window import Window
from cnn_core.kernels.winograd import choose_correlation
from cnn_core.layers.layer import Operation
from cnn_core.plugin_source import PluginSpec
from cnn_core.plugins import loaded, require
from pipeline.bundle.predictor import Array, Bundle, Net, load
from pipeline.bundle.writing import CARRIED
from pipeline.inputs.reading import MOST_PICTURES, Batch
from pipeline.records.manifest import BundleError

BLOCK = MOST_PICTURES  # images per task
MOST_HELD_BYTES = 256 << 20


def open_bundle(folder: str | Path) -> Bundle:
    """Load a bundle. Raises BundleError where it is incomplete, changed after it was written, in
    another format, or asks for more than a bundle may.
    """
    try:
        return load(folder)
    except BundleError as error:
        raise BundleError(f"bundle: {error}{_carried(Path(folder))}") from None


def _carried(folder: Path) -> str:
    """Return how to name the plug-ins that a bundle carries, which are never loaded unasked."""
    files = sorted((folder / CARRIED).glob("*/*.py")) + sorted((folder / CARRIED).glob("*/*/*.py"))
    if not files:
        return ""
    return f"; it carries a plug-in, code that is run only where you name it: plugins=[{files[0]}]"


@lru_cache(maxsize=2)
def _loaded(folder: str, digest: str) -> Bundle:
    bundle = load(folder)
    if bundle.manifest.digest != digest:
        raise BundleError(f"a bundle must not change while it is used, got another in {folder}")
    return quicken(bundle)


def _predict(
    folder: str, digest: str, images: NDArray[np.uint8], plugins: Sequence[PluginSpec] = ()
) -> NDArray[np.float32]:
    require(plugins)
    with threadpool_limits(1):  # two threads on these small products only wait for each other
        return _loaded(folder, digest).member_proba(images)


def predict_blocks(
    folder: Path, bundle: Bundle, blocks: Iterable[Batch], jobs: int
) -> Iterator[tuple[Batch, NDArray[np.float32]]]:
    """Yield each block with its members' probabilities (members, n, classes), in order; at most 4 x
    jobs blocks are in memory, and fewer, but one a job, where they and their answers take more than
    256 MB.

    `bundle` is the one in `folder`; every process loads and verifies it once. Blocks are read here,
    between batches of tasks: an error raised by the reader in one of joblib's threads would be
    lost.
    """
    remaining = iter(blocks)
    named = tuple(plugin.spec for plugin in loaded() if plugin.trains)
    with Parallel(n_jobs=jobs, batch_size=1) as parallel:
        while held := _held(remaining, jobs, bundle.answer_bytes):
            tasks = (
                delayed(_predict)(str(folder), bundle.manifest.digest, block.images, named)
                for block in held
            )
            yield from zip(held, parallel(tasks), strict=True)


def _held(remaining: Iterator[Batch], jobs: int, answer_bytes: int) -> list[Batch]:
    """Return the next blocks, as many as may be in memory at once."""
    held: list[Batch] = []
    taken = 0
    for block in islice(remaining, 4 * jobs):
        held.append(block)
        taken += block.images.nbytes + len(block.images) * answer_bytes
        if len(held) >= jobs and taken >= MOST_HELD_BYTES:
            break
    return held


# Images computed at once: with fewer, the overhead of calls for small tiles is too high
# (docs/LOG.md, Speed: inference).
BATCH = 100
MOST_CORRELATIONS = 128  # each of a megabyte or two, beside its kernels
# Winograd's transformed kernels take several times their bytes, and stay with their correlation.
MOST_KERNEL_BYTES, MOST_KERNELS_BYTES = 32 << 20, 64 << 20
# Working memory for each shape, used by one net at a time.
Correlations = dict[tuple[Window, tuple[int, ...]], Correlation]


class QuickNet(Net):
    """A net whose convolutions use the faster algorithm for their shapes: Winograd's or row-by-row
    lowering.
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        arrays: Mapping[str, Array],
        shared: Correlations | None = None,
    ) -> None:
        super().__init__(operations, arrays)
        self._correlations: Correlations = {} if shared is None else shared

    def apply(self, x: Array, operation: Operation) -> Array:
        kernels = self.arrays[operation["W"]].nbytes if operation["op"] == "convolution" else 0
        if not 0 < kernels <= MOST_KERNEL_BYTES:
            return super().apply(x, operation)
        W, b = self.arrays[operation["W"]], self.arrays[operation["b"]][:, None, None]
        correlation = self._correlation(x, operation, W)
        y = np.empty((len(W), *correlation.window.output, x.shape[3]), np.float32)

        def use(first: int, block: Array) -> None:
            block += b
            if operation.get("relu"):
                np.maximum(block, np.float32(0), out=block)

        correlation.forward(x, W, as_blocks(y), use)
        correlation.forget()  # else a net would hold the inputs of all its convolutions
        return y

    def _correlation(self, x: Array, operation: Operation, W: Array) -> Correlation:
        stride, padding = tuple(operation["stride"]), tuple(operation["padding"])
        window = Window((W.shape[2], W.shape[3]), stride, padding, (x.shape[1], x.shape[2]))
        if (window, W.shape) not in self._correlations:
            held = sum(4 * prod(shape) for _, shape in self._correlations)
            full = len(self._correlations) == MOST_CORRELATIONS
            if full or held + W.nbytes > MOST_KERNELS_BYTES:
                self._correlations.clear()
            self._correlations[window, W.shape] = choose_correlation(window, W.shape, np.float32)
        return self._correlations[window, W.shape]


def quicken(bundle: Bundle) -> Bundle:
    """Return the bundle with quick nets, for one thread only: they share working memory."""
    shared: Correlations = {}
    return Bundle(
        bundle.manifest,
        [[QuickNet(net.operations, net.arrays, shared) for net in nets] for nets in bundle.nets],
        BATCH,
        bundle.image_bytes,
    )
