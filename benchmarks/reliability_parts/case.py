"""A case of load or size: commands, what each of them took, and what must hold at the end."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.document import markdown_table
from benchmarks.reliability_parts.meter import Ended

Runner = Callable[[str, Sequence[str]], Ended]  # runs ``python -m module words``
MB = 1e6
PER_UNIT, ONCE = 30_000, 8_000_000  # bytes of growth that are allowed: a trial's, and a process's
HEAD = ["step", "size", "seconds", "processor, s", "a unit, ms", "peak, MB", "growth, MB",
        "a worker, MB", "descriptors", "threads", "left behind"]  # fmt: skip


@dataclass
class Trial:
    """One running of a case: its folder, its scale, and the rows and sentences found so far."""

    folder: Path
    scale: float
    run: Runner
    rows: list[list[str]] = field(default_factory=list)
    found: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def size(self, full: int, least: int = 1) -> int:
        """Return how many units this scale makes of those of the full case."""
        return max(least, round(full * self.scale))

    def step(
        self, what: str, size: tuple[int, str], module: str, *words: str, code: int = 0
    ) -> Ended:
        """Run a command of the case and add its row; another exit code is wrong, and so is what it
        leaves behind.
        """
        ended = self.run(module, words)
        self.add(what, size, ended, code)
        return ended

    def add(self, what: str, size: tuple[int, str], ended: Ended, code: int = 0) -> None:
        """Add the row of a command that has ended, whose exit code was to be `code`."""
        self.rows.append(cells(what, size, ended))
        if ended.code != code:
            self.wrong.append(f"{what}: exit code {ended.code} ({ended.said})")
        if ended.left:
            self.wrong.append(f"{what} left behind: {', '.join(ended.left)}")

    def flat(self, ended: Ended, what: str, growing: tuple[int, str] = (0, "")) -> None:
        """Check that descriptors and threads stay as they are, and memory but for what each of
        those that the study is `growing` by may add. A command that never said it had begun has
        shown neither.
        """
        if ended.warm is None:
            self.check(f"{what}: it had something to do", holds=False)
            return
        units, unit = growing
        allowed = {"memory": ONCE + PER_UNIT * units, "descriptors": 2, "threads": 1}
        more = f", memory by less than {PER_UNIT / 1000:g} kB for each of {units:,} {unit}"
        grown = {key: ended.quarters(key)[1] - ended.quarters(key)[0] for key in allowed}
        flat = "descriptors and threads are flat" if units else "memory, descriptors, threads flat"
        holds = all(grown[key] <= allowed[key] for key in allowed)
        self.check(f"{what}: {flat}{more if units else ''}", holds=holds)

    def check(self, sentence: str, *, holds: bool) -> None:
        """Add a sentence that was checked; one that does not hold is wrong."""
        (self.found if holds else self.wrong).append(sentence)


@dataclass(frozen=True)
class Case:
    """`about` says what is run; `measure` runs it."""

    name: str
    title: str
    about: str
    measure: Callable[[Trial], None]


def cells(what: str, size: tuple[int, str], ended: Ended) -> list[str]:
    """Return a step's row."""
    units, unit = size
    first, last = ended.quarters("memory")
    flow = [" to ".join(f"{x:.0f}" for x in ended.quarters(k)) for k in ("descriptors", "threads")]
    known = ended.warm is not None
    return [
        what,
        f"{units:,} {unit}",
        f"{ended.seconds:,.1f}",
        f"{ended.processor_s:,.1f}",
        f"{1e3 * ended.processor_s / max(1, units):,.2f}",
        f"{ended.peak / MB:,.0f}",
        f"{(last - first) / MB:+,.1f}" if known else "",
        f"{ended.beside / MB:,.0f}" if ended.beside else "",
        *(flow if known else ["", ""]),
        str(len(ended.left)),
    ]


def section(case: Case, trial: Trial, heading: str) -> str:
    """Return the text of a case's section: `heading` says command, machine, load and scale."""
    wrong = [f"**Does not hold:** {sentence}" for sentence in trial.wrong]
    points = [filled(f"- {point}", indent="  ") for point in [*trial.found, *wrong]]
    parts = [filled(heading), filled(case.about), markdown_table(HEAD, trial.rows)]
    return "\n\n".join([*parts, "\n".join(points)])


def filled(text: str, indent: str = "") -> str:
    """Return prose in lines of at most 100 characters."""
    wrapper = textwrap.TextWrapper(
        100, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return wrapper.fill(text)
