"""The last lines of a sweep: the leaderboard, the best trial, how to look at the runs, how to go on."""

import shlex
from collections.abc import Sequence

from pipeline.config import Config, command_of
from pipeline.redact import redact
from pipeline.search.leaderboard import Row, table
from pipeline.search.ledger import Ledger
from pipeline.search.problem import Problem
from pipeline.search.stop import Stop
from pipeline.tracking.store import is_server, resolve_uri


def closing_lines(config: Config, rows: Sequence[Row], problem: Problem, outside: float | None) -> list[str]:
    """Return the lines; `outside` is the share of the slots' time outside training, None when nothing ran."""
    lines = ["", *table(rows, problem.objectives)]
    best = [row for row in rows if row.front]
    if best:
        words = "best trial" if len(problem.objectives) == 1 else "Pareto front: trials"
        lines += ["", f"{words} {', '.join(str(row.number) for row in best)}: {' '.join(best[0].overrides)}"]
        lines.append(f"train it alone: python -m pipeline.train {shlex.join([*problem.base, *best[0].overrides])}")
    if outside is not None:
        lines.append(f"{outside:.1%} of the slots' time was spent outside training")
    if config.tracking.name == "mlflow":
        uri = resolve_uri(config.tracking.uri, config.root)
        lines.append(f"compare the runs: {f'open {redact(uri)}' if is_server(uri) else command_of('ui', config.root)}")
    return lines


def next_step(config: Config, ledger: Ledger, stop: Stop) -> str:
    """Return the line that says how to go on."""
    if stop.exit_code:
        return f"{stop.reason}; this goes on where it stopped: {resume_command(config)}"
    if ledger.total is not None and not stop.reason:
        more = f"budget.trials={2 * ledger.total}"
    else:
        more = f"budget.minutes={2 * (config.budget.minutes or 1):g}"
    done = stop.reason or "the study has all its trials"
    return f"{done}; go on with more: {resume_command(config, more)}, or begin another: study.name=NAME"


def resume_command(config: Config, *more: str) -> str:
    """Return the command that goes on with this study."""
    keys = {text.partition("=")[0] for text in more}
    kept = [text for text in config.overrides if text.partition("=")[0] not in keys]
    return redact(shlex.join(["python", "-m", "pipeline.sweep", *kept, *more]))
