"""What the names of files and folders say of their part in a contest."""

import re
from pathlib import Path

# In the name of a file, anywhere: few words hold them, and names are run together (trainX.csv).
TRAIN = re.compile(r"train", re.IGNORECASE)
# Not in contest, latest, intestine, protest, testis, testimony; medieval, primeval, retrieval.
TEST = re.compile(
    r"(?<!con)(?<!la)(?<!in)(?<!pro)test(?!i[ms])|t10k|(?<!medi)(?<!prim)(?<!retri)eval|unlabel"
    r"|(?<![a-z])h[oe]ld[-_ ]?out",
    re.IGNORECASE,
)
TEMPLATE = re.compile(r"sample|submi", re.IGNORECASE)
# In the name of a folder, which may be a class's (trainers, medieval), as whole words alone.
_OF = r"(?:[xy]|sets?|data|images?|imgs?|pics?|pictures?|photos?|files?|folder|dir)?"
_WORDS = {
    "train": re.compile(rf"[xy]?(?:train|training){_OF}"),
    "test": re.compile(
        rf"[xy]?(?:test|testing|eval|evaluation|unlabell?ed|h[oe]ld[-_ ]?out|t10k){_OF}"
    ),
    "valid": re.compile(rf"[xy]?(?:val|valid|validation){_OF}"),
}


def part_said(path: Path) -> str:
    """Return "train", "test", "valid" or nothing: what the name of a file or folder says."""
    return folder_part(path.name) if path.is_dir() else name_part(path.name)


def name_part(name: str) -> str:
    """Return the same of the name of a file, or of an array in one."""
    found = (part for part, said in (("train", TRAIN), ("test", TEST)) if said.search(name))
    return next(found, folder_part(name))


def folder_part(name: str) -> str:
    """Return what a name says by one of its words, which end at other signs than letters and where
    a capital follows a small letter: train_v2, train2017, TrainImages.
    """
    cut = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = [word.casefold() for word in re.findall(r"t10k|h[oe]ld[-_ ]out|[^\W\d_]+", cut)]
    return next((part for part, said in _WORDS.items() if any(map(said.fullmatch, words))), "")
