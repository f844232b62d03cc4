"""`python -m tests.mutation --rooms files --sample 20`: small changes to the product, one at a time
in a copy of the checkout, and for each whether a quick test notices it.

The sample of a room follows from `--seed`; `--sample all` tries every mutant. With `--write` what
was found is kept in tests/mutation/ and written into docs/RELIABILITY.md. Exit code 1: fewer than
`--least` were noticed in a room.
"""

import argparse
import itertools
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.mutation import mutation_page
from tests.mutation.mutants import Mutant, drawn, mutants
from tests.mutation.mutated_checkout import SURVIVED, Checkout, Verdict
from tests.mutation.mutation_page import NO_REASON, RoomScore

ROOT = Path(__file__).resolve().parents[2]
ROOMS = {
    "cnn_core": "cnn_core",
    **{room: f"pipeline/{room}" for room in ("search", "slots", "bundle", "inputs", "data")},
    "files": "pipeline/files.py",
    "sqlite_files": "pipeline/sqlite_files.py",
}


def all_mutants(root: Path, place: str) -> list[Mutant]:
    """Return the mutants of a file, or of all files of a folder."""
    start = root / place
    files = [start] if start.is_file() else sorted(start.rglob("*.py"))
    return [each for file in files for each in mutants(root, str(file.relative_to(root)))]


def try_room(
    checkout: Checkout, found: list[Mutant], room: str, sample: int | None, seed: int
) -> list[Verdict]:
    """Judge so many of a room's mutants, all for None; print each as it is done."""
    judged = (
        verdict
        for mutant in drawn(found, seed, room)
        if (verdict := checkout.judge(mutant, checkout.tests_for(mutant)))
    )
    verdicts = []
    for verdict in itertools.islice(judged, sample):
        print(verdict.told(), flush=True)
        verdicts.append(verdict)
    return verdicts


def run(rooms: Sequence[str], sample: str, seed: int, *, keep: bool, slow: bool) -> list[RoomScore]:
    """Try a sample of each room; print what it came to, and keep it where asked to; `slow`: slow
    tests are asked about survivors.
    """
    scores = []
    reasons = {(each.file, each.before, each.after): each.reason
               for each in mutation_page.survivors()}  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="mutation-", ignore_cleanup_errors=True) as folder:
        checkout = Checkout(ROOT, Path(folder), slow=slow)
        for room in rooms:
            found = all_mutants(checkout.root, ROOMS[room])
            verdicts = try_room(
                checkout, found, room, None if sample == "all" else int(sample), seed
            )
            words = f"{sample} --slow" if slow else sample
            scores.append(RoomScore.of(room, len(found), verdicts, words, seed))
            if keep:
                mutation_page.add(scores[-1], verdicts)
            for one in verdicts:
                if one.outcome == SURVIVED:
                    reason = reasons.get((one.file, one.before, one.after)) or NO_REASON
                    print(f"survivor: {one.file}:{one.line}\n  - {one.before}\n  + {one.after}")
                    print(f"  {reason}")
            print(" | ".join(scores[-1].row()), flush=True)
        for test in checkout.unsound:
            print(f"left out, since it fails without a mutant: {test}")
    return scores


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--rooms", default=",".join(ROOMS), metavar="NAME,...")
    parser.add_argument("--sample", default="20", help="mutants of each room, or all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--slow", action="store_true", help="ask slow tests about survivors too")
    parser.add_argument("--least", type=float, default=0.85, help="share that must be noticed")
    parser.add_argument("--write", action="store_true", help="renew docs/RELIABILITY.md")
    options = parser.parse_args()
    rooms = options.rooms.split(",")
    if unknown := [room for room in rooms if room not in ROOMS]:
        parser.error(f"--rooms must be of {', '.join(ROOMS)}, got {', '.join(unknown)}")
    if options.sample != "all" and not options.sample.isdigit():
        parser.error(f"--sample must be a number or all, got {options.sample}")
    scores = []
    if options.sample != "0":
        print("room | mutants | tried | killed | timed out | survived | noticed")
        scores = run(rooms, options.sample, options.seed, keep=options.write, slow=options.slow)
    if options.write:
        mutation_page.write()
    return int(any(each.tried - each.survived < options.least * each.tried for each in scores))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
