"""The main command: search hyperparameters of a convolutional net, many trials at once, resumable
at any time.
"""

import sys

from pipeline.configuration import SWEEP, Config, command_line
from pipeline.whole_sweep import run_whole


def main(config: Config) -> int:
    """Run the sweep that `config` describes; return its exit code."""
    return run_whole(config)


if __name__ == "__main__":
    sys.exit(command_line(SWEEP, sys.argv[1:], main))
