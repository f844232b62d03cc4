"""What the source systems claim, held against finished studies of the presets: docs/CLAIMS.md, and
the README's table of the systems.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cnn_core.errors import InputError
from cnn_core.plain_json import DamagedError
from pipeline.claims_page.claims_file import Claims, read_claims
from pipeline.configuration import Command, Config, command_line, compose, override, setting
from pipeline.files import atomic_write_text, writable_file
from pipeline.structured_text import own_text
from pipeline.whole_sweep import run_whole

if TYPE_CHECKING:
    from pipeline.claims_page.measured import Bench, Measured

BEGIN, END = "<!-- begin systems -->", "<!-- end systems -->"


@dataclass
class ClaimsKeys:
    claims: str = setting("docs/claims.yaml", "file of the claims")
    output: str = setting("docs/CLAIMS.md", "page to write; pictures go to img/claims beside it")
    readme: str | None = setting(
        "README.md", "page whose table of the systems is renewed between its marks; null: none"
    )
    run: bool = setting(
        False, "first run the presets that have no finished study; interrupted, it resumes"
    )


COMMAND = Command(
    name="claims",
    about="Holds what the source systems claim against finished studies of the presets: each "
    "claim holds, does not hold, or cannot be told apart.",
    examples=(
        "python -m pipeline.claims",
        "python -m pipeline.claims run=true slots.n=2        an hour on two cores",
        "python -m pipeline.claims root=elsewhere output=mine.md readme=null",
    ),
    keys=ClaimsKeys,
    sections=("slots", "tracking", "blas"),
)


def main(config: Config) -> int:
    """Judge the claims and write the page; return the exit code. Raises InputError, before anything
    is run or written, for a claim of what there is not.
    """
    keys: ClaimsKeys = config.arguments
    claims = read_claims(Path(keys.claims).expanduser())
    readme = None if keys.readme is None else _marked(Path(keys.readme).expanduser())

    from pipeline.claims_page.measured import Bench, find_studies, measure, read_presets
    from pipeline.search.open_study import quiet_optuna

    quiet_optuna()
    bench = Bench(read_presets(claims, config.overrides))
    find_studies(bench)
    _check_studies(config, keys, bench)
    writable_file(keys.output, "output")
    if keys.run:
        for name in sorted(bench.missing):
            words = [*config.overrides, override("experiment", name)]
            sweep = replace(compose(words, quiet=config.quiet), invocation=config.invocation)
            code = run_whole(sweep)
            if code:
                return code
        find_studies(bench)
    found = {claim.name: measure(claim, bench) for claim in claims.claims}
    _write(keys, claims, (found, bench), readme)
    if not config.quiet:
        for each in found.values():
            print(f"{each.claim.name}: {each.verdict or each.note}")
        print(f"written: {keys.output}")
    return 0


def _check_studies(config: Config, keys: ClaimsKeys, bench: "Bench") -> None:
    """Refuse what no page can be made of, and presets whose place another study has."""
    for lacking in bench.missing.values():
        if keys.run and lacking.occupied:
            raise InputError(f"root: must be free for the presets, got {lacking.note}")
    if not keys.run and not bench.studies:
        why = next((lacking.note for lacking in bench.missing.values() if lacking.occupied), "none")
        raise InputError(
            f"root: must hold finished studies of the presets, got {why} in {config.root}; "
            "run=true runs those that are missing"
        )


def _marked(path: Path) -> tuple[str, str]:
    """Return a page's text before and after its table of the systems, the marks included. Raises
    InputError for a page without the marks.
    """
    try:
        before, begin, rest = own_text(path).partition(BEGIN)
    except (DamagedError, OSError) as error:
        raise InputError(f"readme: must be a page that can be read, got {path}: {error}") from None
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"readme: must hold the marks {BEGIN} and {END}, got {path} without them")
    return before + begin, end + after


def _write(
    keys: ClaimsKeys,
    claims: Claims,
    found: "tuple[dict[str, Measured], Bench]",
    readme: tuple[str, str] | None,
) -> None:
    """Write the page, its pictures and the README's table."""
    from pipeline.claims_page.claim_chart import draw
    from pipeline.claims_page.claims_markdown import PICTURES, page, systems_table

    measured, bench = found
    text = page(claims, measured, bench)
    output = writable_file(keys.output, "output")
    for name, each in measured.items():
        picture = output.parent / PICTURES / f"{name}.svg"
        if each.first:
            picture.parent.mkdir(parents=True, exist_ok=True)
            atomic_write_text(picture, draw(each))
        else:
            picture.unlink(missing_ok=True)
    atomic_write_text(output, text)
    if readme is not None and keys.readme is not None:
        table = systems_table(claims, measured)
        path = Path(keys.readme).expanduser()
        atomic_write_text(path, f"{readme[0]}\n{table}\n{readme[1]}")


if __name__ == "__main__":
    sys.exit(command_line(COMMAND, sys.argv[1:], main))
