"""time.json of a study: what its time budgets were planned to hold, each plan made anew with its
reason, and what came of it; each is a line of log.txt as well.
"""

import json
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime

from pipeline.files import StudyPaths, atomic_write_text
from pipeline.records.typed_json import RecordError, plain, read_record
from pipeline.structured_text import read_json

_WRITING = threading.Lock()  # each slot's thread may note something


@dataclass(frozen=True, kw_only=True)
class TimePlanned:
    """One entry: a plan, with its reason where it was made anew, or an outcome."""

    stage: str  # search | final
    minutes: float  # the budget
    used_s: float  # of it, so far
    text: str
    reason: str = ""
    used_up: bool = False  # the stage ended for want of time
    time_s: float = field(default_factory=time.time)  # wall clock


def note_time(paths: StudyPaths, entry: TimePlanned) -> None:
    """Append an entry to time.json and a line to log.txt."""
    with _WRITING:
        content = [plain(one) for one in (*read_times(paths), entry)]
        atomic_write_text(paths.time, json.dumps(content, indent=1) + "\n")
    when = datetime.fromtimestamp(entry.time_s).astimezone().isoformat(timespec="seconds")
    with paths.log.open("a", encoding="utf-8") as log:
        log.write(f"{when} {said(entry)}\n")


def read_times(paths: StudyPaths) -> list[TimePlanned]:
    """Return the entries, oldest first; none where there is no such file, or a damaged one."""
    try:
        content = read_json(paths.time, list)
        return [read_record(TimePlanned, one) for one in content]
    except (OSError, ValueError, RecordError):
        return []


def said(entry: TimePlanned) -> str:
    """Return an entry as a line."""
    reason = f" ({entry.reason})" if entry.reason else ""
    return f"time of the {entry.stage}, {entry.used_s:.0f} s used: {entry.text}{reason}"
