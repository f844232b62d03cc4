"""Which keys and groups of the configuration can be searched: those that reach what a trial trains,
since any other is the same for all trials of a study.
"""

from dataclasses import fields

from cnn_core.spec import WITHOUT_EFFECT, SplitSpec

# What a net is trained with. Of the data a trial chooses the split alone: they are read once.
SECTIONS = ("data", "model", "optimizer", "schedule", "regularizer", "augment", "train")
SPLIT = tuple(f"data.{item.name}" for item in fields(SplitSpec))
NETS = (*SECTIONS[1:], "experiment")
# The grammar of a space, a line each of form and meaning.
GRAMMAR = (
    ("NAME: {int: [LOW, HIGH]}", "a whole number; step: N for every Nth, log: true by logarithm"),
    ("NAME: {float: [LOW, HIGH]}", "a number; step and log as for int"),
    ("NAME: {choice: [A, B]}", "one of these values"),
    ("NAME: {group: [A, B]}", "one of these choices of the group NAME, such as optimizer"),
    ("NAME: {..., path: KEY}", "sets KEY where NAME is not a key, as for a second range of a key"),
    ("NAME: {..., when: {OTHER: A}}", "only where the parameter OTHER is A, or in a list [A, B]"),
)


def reaches(path: str) -> bool:
    """Tell whether a key or a group of the configuration is a part of what a trial trains."""
    if path in {f"{section}.{name}" for section, name in WITHOUT_EFFECT}:
        return False
    return path in SPLIT or path.partition(".")[0] in NETS
