"""The main command: search hyperparameters of a convolutional net, many trials at once, resumable
at any time.
"""

import sys

from pipeline.configuration import SWEEP, Config, command_line
from pipeline.files import writable_folder
from pipeline.slots.pool import open_slots, owned


def main(config: Config) -> int:
    """Run the sweep that `config` describes; return its exit code."""
    folder = writable_folder(config.paths.folder, "root")
    with owned(folder), open_slots(config, folder) as slots:
        # The workers load NumPy while Optuna and the rest are imported here.
        from pipeline.search.run_sweep import run

        code = run(config, slots)
        if code == 0 and config.final.after_sweep:
            from pipeline.after_sweep import after_sweep

            code = after_sweep(config, slots, print)
        return code


if __name__ == "__main__":
    sys.exit(command_line(SWEEP, sys.argv[1:], main))
