"""Check environment, data, studies and tracking store; say what is wrong, and with fix=true mend what can be mended."""

import sys
from dataclasses import dataclass

from pipeline.config import Command, Config, command_line, setting


@dataclass
class DoctorKeys:
    fix: bool = setting(False, "mend what can be mended; never deletes a result")


DOCTOR = Command(
    name="doctor",
    about="Checks the environment (BLAS, threads, memory, disk), prepared data, every study below root (database, owner, orphans,\n"
    "unfinished files) and the MLflow store. Exit code 0 when all is well or mended, 1 when something is wrong.",
    examples=(
        "python -m pipeline.doctor",
        "python -m pipeline.doctor fix=true",
        "python -m pipeline.doctor root=outputs study.name=digits",
    ),
    keys=DoctorKeys,
    sections=("study", "slots", "blas", "tracking"),
)


def main(config: Config) -> int:
    """Print one line a finding; return 0 when nothing is wrong (any more)."""
    from pipeline.search.examination import examine

    findings = examine(config, fix=config.arguments.fix)
    for finding in findings:
        print(finding.line())
    wrong = [finding for finding in findings if finding.wrong]
    if not wrong:
        return 0
    mendable = any(finding.mendable for finding in wrong)
    hint = "; python -m pipeline.doctor fix=true mends what it can" if mendable and not config.arguments.fix else ""
    print(f"{len(wrong)} {'thing is' if len(wrong) == 1 else 'things are'} wrong{hint}")
    return 1


if __name__ == "__main__":
    sys.exit(command_line(DOCTOR, sys.argv[1:], main))
