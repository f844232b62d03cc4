"""A sweep and, with ``final.after_sweep=true``, what follows it in the same slots: final models,
evaluate, export; and a submission.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from cnn_core.errors import InputError
from pipeline.configuration import Config
from pipeline.files import StudyPaths, writable_folder
from pipeline.predictions.asked import PredictKeys
from pipeline.records.time_plans import TimePlanned, note_time, read_times
from pipeline.slots.pool import open_slots, owned
from pipeline.slots.slot import Slot
from pipeline.structured_text import read_csv, read_json

Say = Callable[[str], None]


def run_whole(config: Config) -> int:
    """Run the sweep that `config` describes, and what follows it; return the exit code."""
    folder, began_s = writable_folder(config.paths.folder, "root"), time.time()
    started = time.monotonic()
    with owned(folder), open_slots(config, folder) as slots:
        # The workers load NumPy while Optuna and the rest are imported here.
        from pipeline.ensemble.foreseen import check_members
        from pipeline.ensemble.what_follows import check_final_time
        from pipeline.search.run_sweep import run

        if not config.final.after_sweep:
            return run(config, slots, started)
        check_final_time(config)
        code = run(config, slots, started, check_members)
        if code:
            return code
        began = time.monotonic()
        code = after_sweep(config, slots, print, began_s)
        if config.final.minutes is not None and code == 0:
            used_s, text = time.monotonic() - began, "evaluated and exported"
            minutes = config.final.minutes
            entry = TimePlanned(stage="final", minutes=minutes, used_s=used_s, text=text)
            note_time(config.paths, entry)
        return code


def carried_s(paths: StudyPaths, began_s: float) -> float:
    """Return the seconds that a search which ended for want of time since `began_s` left of its
    budget, less what passed since.
    """
    searches = [entry for entry in read_times(paths) if entry.stage == "search"]
    last = searches[-1] if searches else None
    if last is None or not last.used_up or last.time_s < began_s:
        return 0.0
    return last.minutes * 60 - last.used_s - (time.time() - last.time_s)


def after_sweep(config: Config, slots: Sequence[Slot], say: Say, began_s: float = 0.0) -> int:
    """Train the final models of a finished sweep, evaluate them and export them; return the exit
    code of the first that fails.

    The caller holds the study's lock, and began the search at `began_s` of the wall clock. Steps
    already done for the same model are skipped, so the test split is opened once.
    """
    from pipeline import evaluate, export, final
    from pipeline.ensemble.assemble import assemble

    began, planned = time.monotonic(), final.plan(config)
    carried = carried_s(config.paths, began_s) or began - time.monotonic()
    code = final.build(planned, slots, say, carried, swept=True)
    if code:
        return code
    digest = assemble(config.paths, config.study.storage).manifest.digest
    config = replace(config, slots=replace(config.slots, n=len(slots)))
    if is_evaluated(config.paths, digest):
        say(f"evaluated before: {config.paths.evaluation}")
    else:
        try:
            code = evaluate.main(config.acting_as(evaluate.COMMAND))
        except InputError as error:  # such as data without a test split
            say(f"not evaluated: {error}")
    if code:
        return code
    if is_exported(config.paths, digest):
        say(f"exported before: {config.paths.bundle}")
        return 0
    try:
        return export.main(config.acting_as(export.COMMAND))
    except InputError as error:  # such as code of a plug-in that a bundle may not hold unasked
        say(f"not exported: {error}; python -m pipeline.export does it")
        return 1


def submit(config: Config, keys: PredictKeys) -> int:
    """Label what `keys` name with the study's bundle, warnings on stdout too; return the exit code.
    Without final models the best trial is exported first.
    """
    from pipeline import export, predict

    if not (config.paths.bundle / "manifest.json").exists():
        code = export.main(config.acting_as(export.COMMAND))
        if code:
            return code
    return predict.predict(replace(config.acting_as(predict.COMMAND), arguments=keys), print)


def is_evaluated(paths: StudyPaths, digest: str) -> bool:
    """Tell whether the test split was opened for this model, and its figures exist."""
    openings = paths.evaluation / "openings.csv"
    if not openings.exists() or not (paths.evaluation / "test.json").exists():
        return False
    with suppress(ValueError, KeyError):  # damaged: it is not known, so it is opened and noted
        rows = read_csv(openings)
        return bool(rows) and rows[-1]["model"] == digest[:16]
    return False


def is_exported(paths: StudyPaths, digest: str) -> bool:
    """Tell whether the study's bundle holds this model."""
    manifest = paths.bundle / "manifest.json"
    with suppress(OSError, ValueError):  # none, or damaged: it is written anew
        return bool(read_json(manifest).get("digest") == digest)
    return False
