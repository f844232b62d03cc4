"""One self-contained page that explains a study to someone who was not there: python -m
pipeline.report study.name=NAME.
"""

import sys

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
    from pipeline.reporting.facts import gather
    from pipeline.reporting.page import page
    from pipeline.search.open_study import quiet_optuna, read_study

    quiet_optuna()
    study = read_study(config.paths, config.study.storage)
    text = page(gather(study, config.paths), version())
    atomic_write_text(config.paths.report, text)
    if not config.quiet:
        print(f"{config.paths.report} ({len(text.encode()) / 1e6:.1f} MB); open it in a browser")
    return 0


if __name__ == "__main__":
    sys.exit(command_line(COMMAND, sys.argv[1:], main))
