"""One self-contained page that explains a study to someone who was not there: python -m
pipeline.report study.name=NAME.
"""

import sys
from pathlib import Path

from pipeline.configuration import Command, Config, command_line, version
from pipeline.files import atomic_write_text

COMMAND = Command(
    name="report",
    about="Writes report.html into the study's folder: what was searched and found, how sure that "
    "is, what mattered, what to search next.",
    examples=(
        "python -m pipeline.report study.name=digits",
        "python -m pipeline.report study.name=mnist root=elsewhere",
    ),
    sections=("study",),
)


def main(config: Config) -> int:
    """Read the study, write the page, print its path. Raises InputError where there is no such
    study.
    """
    from pipeline.search.open_study import quiet_optuna

    quiet_optuna()
    path = write_report(config)
    if not config.quiet:
        print(f"{path} ({path.stat().st_size / 1e6:.1f} MB); open it in a browser")
    return 0


def write_report(config: Config) -> Path:
    """Read the study that `config` names, write its page and return the page's path. Raises
    InputError where there is no such study.
    """
    from pipeline.reporting.facts import gather
    from pipeline.reporting.page import page
    from pipeline.search.open_study import read_study

    study = read_study(config.paths, config.study.storage)
    atomic_write_text(config.paths.report, page(gather(study, config.paths), version()))
    return config.paths.report


if __name__ == "__main__":
    sys.exit(command_line(COMMAND, sys.argv[1:], main))
