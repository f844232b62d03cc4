"""Texts as targets: our own files of JSON, YAML and CSV, the journal, overrides and spaces, past
results, and what `redact` is shown.
"""

import math
from contextlib import suppress
from pathlib import Path

from tests.fuzz.mutations import of_json, of_table
from tests.fuzz.target import SEPARATOR, Target, place, written


def json_text(data: bytes) -> None:
    from cnn_core.plain_json import DamagedError, parse_json

    with suppress(DamagedError):
        parse_json(data)


def yaml_text(data: bytes) -> None:
    from cnn_core.plain_json import DamagedError
    from pipeline.structured_text import parse_yaml

    with suppress(DamagedError):
        parse_yaml(data)


def csv_file(data: bytes) -> None:
    """Read a table; what is written of it is read again as the same, and computes nothing."""
    from cnn_core.plain_json import DamagedError
    from pipeline.structured_text import csv_lines, plain_cell, read_csv

    with suppress(DamagedError):
        rows = read_csv(written(data))
        cells = [list(row.values()) for row in rows]
        again = [[str(plain_cell(cell)) for cell in row] for row in cells]
        assert all(plain_cell(cell) == cell for row in again for cell in row)
        if rows and len(rows[0]) > 1:
            header = [f"c{n}" for n in range(len(rows[0]))]
            reread = read_csv(written(csv_lines([header, *cells]).encode(), "again"))
            assert [list(row.values()) for row in reread] == again


def journal(data: bytes) -> None:
    """Read a journal; what is an event is written and read again as one."""
    from pipeline import journal as product

    for event, _ in product.read(written(data, "events.jsonl")):
        if event is not None:
            assert product.decode(product.encode(event)) is not None
    product.read_all(Path(place().name))


def trial_folder(data: bytes) -> None:
    """Read a trial's overrides, history and result."""
    from cnn_core.errors import InputError
    from pipeline.files import TrialPaths
    from pipeline.trial_folder import TrialFolder

    paths = TrialPaths(Path(place().name) / "trial")
    paths.folder.mkdir(parents=True, exist_ok=True)
    parts = [*data.split(SEPARATOR), b"", b"", b""]
    for file, part in zip((paths.overrides, paths.history), parts, strict=False):
        file.write_bytes(part)
    (paths.folder / "result.json").write_bytes(parts[2])
    with suppress(InputError):
        value = TrialFolder(paths).read().value
        assert math.isnan(value) or isinstance(value, int | float)


def ensemble(data: bytes) -> None:
    from cnn_core.errors import InputError
    from pipeline.records.ensemble_record import read_ensemble, write_ensemble

    with suppress(InputError):
        found = read_ensemble(written(data))
        again = Path(place().name) / "again"
        write_ensemble(again, found)


def owner(data: bytes) -> None:
    """Read who holds a study, and look for what that process has left."""
    from pipeline.slots.owner_lock import find_semaphores, read_owner

    found = read_owner(written(data))
    if found is not None:
        find_semaphores(found)


def space(data: bytes) -> None:
    """Parse a space, and write every branch's ends as overrides that parse again."""
    from cnn_core.errors import InputError
    from cnn_core.plain_json import DamagedError
    from pipeline.search.space import Space
    from pipeline.structured_text import parse_yaml

    with suppress(InputError, DamagedError):
        found = Space.parse(parse_yaml(data))
        found.distributions()
        found.fingerprint()
        for parameter in found.parameters:
            parameter.describe()
        for dearest in (False, True):
            for _, _overrides in zip(range(20), found.corners(dearest=dearest), strict=False):
                pass


def override(data: bytes) -> None:
    """Parse an override; its value, written, is read again as the same."""
    from cnn_core.errors import InputError
    from pipeline.configuration.overrides import override as write
    from pipeline.configuration.overrides import parse_override

    with suppress(InputError):
        found = parse_override(data.decode(errors="replace"))
        value = found.value()
        again = parse_override(write("key", value)).value()
        assert repr(again) == repr(value), f"{value!r} became {again!r}"


def configuration(data: bytes) -> None:
    """Compose a command line, a line an override; what would load code is left out."""
    from cnn_core.errors import InputError
    from pipeline.configuration import SWEEP, compose

    words = data.decode(errors="replace").split("\n")[:4]
    if any("plugins" in word or "root" in word for word in words):
        return
    with suppress(InputError):
        compose(words, command=SWEEP)


def redaction(data: bytes) -> None:
    """Hide an address's password wherever the text puts it, once and for all."""
    from pipeline.redact import redact, redacted, shown, visible

    text = data.decode(errors="replace")
    hidden = redact(text)
    redacted({text: [text]})
    assert visible(shown(text)) == shown(text)
    secret = "".join(sign for sign in text if sign.isalnum())[:40]
    if len(secret) >= 12 and secret not in hidden:
        told = redact(f"{text} postgresql://user:{secret}@host/db {text}")
        assert secret not in told, "a password is shown"


def past_results(data: bytes) -> None:
    from cnn_core.errors import InputError
    from pipeline.configuration import SWEEP, compose
    from pipeline.search.past_results import read_past_results
    from pipeline.search.space import Space

    known: tuple[object, ...] = _known.get("past", ())
    if not known:
        lines = {
            "model.filters": {"int": [8, 64]},
            "optimizer": {"group": ["adam", "sgd"]},
            "adam.lr": {"float": [1e-4, 1e-1], "path": "optimizer.lr"},
        }
        known = _known["past"] = (compose([], command=SWEEP).study, Space.parse(lines))
    with suppress(InputError):
        read_past_results(written(data), *known)  # type: ignore[arg-type]


def address(data: bytes) -> None:
    from cnn_core.errors import InputError
    from pipeline.redact import redact
    from pipeline.sqlite_files import sqlite_file

    text = data.decode(errors="replace")
    with suppress(InputError):
        sqlite_file(text)
    redact(text)


_known: dict[str, tuple[object, ...]] = {}

TEXT_TARGETS = (
    Target("json", json_text, of_json),
    Target("yaml", yaml_text),
    Target("csv", csv_file, of_table),
    Target("journal", journal, of_json),
    Target("trial_folder", trial_folder, of_json),
    Target("ensemble_json", ensemble, of_json),
    Target("owner_json", owner, of_json, 1000),
    Target("space", space, of_json),  # JSON is YAML
    Target("override", override, longest=400),
    Target("configuration", configuration, longest=400),
    Target("redact", redaction, longest=1000),
    Target("past_results", past_results, of_table),
    Target("address", address, longest=400),
)
