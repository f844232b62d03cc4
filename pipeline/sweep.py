"""The main command: search hyperparameters of a convolutional net, many trials at once, resumable
at any time.
"""

import sys

from pipeline.config import SWEEP, Config, command_line
from pipeline.files import writable_folder
from pipeline.slots.owner import OwnerLock, reap_after
from pipeline.slots.pool import open_slots


def main(config: Config) -> int:
    """Run the sweep that `config` describes; return its exit code."""
    folder = writable_folder(config.paths.folder, "root")
    lock = OwnerLock(config.paths.owner)
    lock.acquire()
    try:
        reap_after(lock.previous, folder)
        slots = open_slots(
            config, folder
        )  # the workers load NumPy while Optuna and the rest are imported here
    except BaseException:
        lock.release()
        raise
    try:
        from pipeline.search.run_sweep import run

        code = run(config, slots)
        if code == 0 and config.final.after_sweep:
            from pipeline.after_sweep import after_sweep

            code = after_sweep(config, slots, print)
        return code
    finally:
        for slot in slots:
            slot.close()
        lock.release()


if __name__ == "__main__":
    sys.exit(command_line(SWEEP, sys.argv[1:], main))
