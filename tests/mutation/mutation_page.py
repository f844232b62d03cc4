"""What became of mutants: the record of rooms (rooms.csv), the survivors with their reasons
(survivors.csv), and the section of docs/RELIABILITY.md that is made from both.
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import date
from pathlib import Path

from tests.mutation.mutated_checkout import SURVIVED, TIMED_OUT, Verdict

HERE = Path(__file__).parent
COUNTS = ("mutants", "tried", "killed", "timed_out", "survived")
NO_REASON = "not looked at yet"


@dataclass(frozen=True)
class RoomScore:
    """What a sample of a room's mutants came to."""

    room: str
    mutants: int
    tried: int
    killed: int
    timed_out: int
    survived: int
    sample: str  # as given, and --slow where slow tests were asked
    seed: int
    day: str

    @classmethod
    def of(
        cls, room: str, mutants: int, verdicts: Sequence[Verdict], sample: str, seed: int
    ) -> "RoomScore":
        outcomes = [verdict.outcome for verdict in verdicts]
        timed_out, survived = outcomes.count(TIMED_OUT), outcomes.count(SURVIVED)
        killed = len(outcomes) - timed_out - survived
        day = date.today().isoformat()
        return cls(room, mutants, len(outcomes), killed, timed_out, survived, sample, seed, day)

    def row(self) -> list[str]:
        """Return the row of the tables."""
        counts = (self.mutants, self.tried, self.killed, self.timed_out, self.survived)
        noticed = self.killed + self.timed_out
        return [self.room, *(f"{count:,}" for count in counts), share(noticed, self.tried)]


@dataclass(frozen=True)
class Survivor:
    """A mutant that no test noticed, and why none does."""

    file: str
    before: str
    after: str
    reason: str = ""


def share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}".replace("%", " %") if whole else ""


def scores(folder: Path = HERE) -> list[RoomScore]:
    """Return the record of rooms."""
    found = []
    for row in _rows(folder / "rooms.csv"):
        mutants, tried, killed, timed_out, survived = (int(row[name]) for name in COUNTS)
        counts = (mutants, tried, killed, timed_out, survived)
        found.append(RoomScore(row["room"], *counts, row["sample"], int(row["seed"]), row["day"]))
    return found


def survivors(folder: Path = HERE) -> list[Survivor]:
    """Return the survivors that are known."""
    return [Survivor(**row) for row in _rows(folder / "survivors.csv")]


def add(score: RoomScore, verdicts: Iterable[Verdict], folder: Path = HERE) -> None:
    """Replace the room's row, add its new survivors, and drop those that are noticed now."""
    rooms = [each for each in scores(folder) if each.room != score.room]
    _save(folder / "rooms.csv", RoomScore, sorted([*rooms, score], key=lambda each: each.room))
    known = {(each.file, each.before, each.after): each for each in survivors(folder)}
    for verdict in verdicts:
        key = verdict.file, verdict.before, verdict.after
        if verdict.outcome == SURVIVED:
            known.setdefault(key, Survivor(*key))
        else:
            known.pop(key, None)
    _save(folder / "survivors.csv", Survivor, [known[key] for key in sorted(known)])


def section(folder: Path = HERE) -> str:
    """Return the text of the section."""
    from benchmarks.document import markdown_table

    rooms, alive = scores(folder), survivors(folder)
    header = ["room", "mutants", "tried", "killed", "timed out", "survived", "noticed"]
    table = markdown_table(header, [room.row() for room in rooms])
    tried = sum(room.tried for room in rooms)
    noticed = tried - sum(room.survived for room in rooms)
    samples = ", ".join(sorted({f"--sample {room.sample} --seed {room.seed}" for room in rooms}))
    together = f"{noticed:,} of {tried:,} noticed, {share(noticed, tried)} (`{samples}`)."
    lines = [
        f"| {each.file} | {_code(each.before)} | {_code(each.after)} | {each.reason or NO_REASON} |"
        for each in alive
    ]
    rest = "| file | before | after | why it survives |\n| --- | --- | --- | --- |"
    return f"{_WORDS}\n{table}\n\n{together}\n\n{_SURVIVORS}\n" + "\n".join([rest, *lines])


def write(folder: Path = HERE) -> None:
    """Renew the section "Mutants" of docs/RELIABILITY.md."""
    from benchmarks.document import write_section
    from benchmarks.reliability_page import PAGE, PREAMBLE

    write_section("mutation", "Mutants", section(folder), PAGE, PREAMBLE)


def _code(text: str) -> str:
    short = text if len(text) <= 120 else f"{text[:117]}..."
    fence = "``" if "`" in short else "`"
    return f"{fence}{short}{fence}".replace("|", "\\|")


def _rows(file: Path) -> list[dict[str, str]]:
    if not file.exists():
        return []
    with file.open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


def _save(file: Path, kind: type, rows: Sequence[RoomScore] | Sequence[Survivor]) -> None:
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow([field.name for field in fields(kind)])
        writer.writerows(astuple(row) for row in rows)


_WORDS = """\
`make mutate` makes small changes to the product, one at a time, and counts how many of them a test
notices: an operator or a number becomes another one, an argument is left out, a value becomes None,
a branch is always taken. The changes are those of mutmut's table of operators; a room's sample is
drawn from all of its mutants by `--seed`, so that another seed tries others, and `--sample all`
tries every one. For each, quick tests are run for at most 60 s of processor time a part: after
`make coverage` at most forty that ran its line, then, where these may not be all that run it, the
two files that name what is changed or reach its file most closely, then six more. A test that
computes for 20 s is stopped, and the mutant counts as noticed by time. A failing test counts only
if it passes without the mutant. Slow tests, those of the two nearest files, are asked about
survivors only with `--slow`: else more may be noticed than is told here.

Not counted, by rules in `tests/mutation/counted.py`: what is raised, printed or logged, what an
error says, the words of a setting, of `help` and of a licence, docstrings, annotations, imports,
decorators. Texts elsewhere count. `python -m tests.mutation --sample 0 --write` makes this section
of `tests/mutation/rooms.csv` and `tests/mutation/survivors.csv`.
"""
_SURVIVORS = """\
A row tells what its sample came to on its day; a test that was written for a survivor counts when
the room is tried again. Rooms without a row were not tried yet.

Survivors that no test notices to this day, those of earlier samples too. *Equivalent*: the change
changes nothing that the function promises, so no test can notice it.
"""
