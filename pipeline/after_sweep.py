"""What follows a sweep with ``final.after_sweep=true``: final models in the same slots, evaluate, export."""

from collections.abc import Callable, Sequence

from pipeline import evaluate, export, final
from pipeline.config import Config, compose
from pipeline.slots.base import Slot


def after_sweep(config: Config, slots: Sequence[Slot], say: Callable[[str], None]) -> int:
    """Train the final models of a finished sweep, evaluate them and export them; return the exit code of the first that fails.

    The caller holds the study's lock.
    """
    planned = final.plan(config)
    code = final.build(planned, slots, say)
    if code:
        return code
    study = (f"study.name={config.study.name}", f"root={config.root}")
    blas = (f"slots.n={len(slots)}", f"blas.kernels={config.blas.kernels}")
    code = evaluate.main(compose([*study, *blas], evaluate.COMMAND))
    if code:
        return code
    return export.main(compose([*study, *blas, f"tracking={config.tracking.name}"], export.COMMAND))
