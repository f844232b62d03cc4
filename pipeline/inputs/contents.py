"""What a file is, decided by its first bytes, never by its ending; what cannot be read is refused
by its name, with advice.
"""

import codecs
import os
import pickletools
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

from cnn_core.data.checks import open_regular
from cnn_core.errors import InputError
from pipeline.inputs.unpacking import GZIP, ZIP, open_unpacked, zip_members

START_BYTES = 4096
_MANY_FILES = 1000  # of data in a folder, after which no picture is expected any more
_UNPACK = "unpack it"
_PICKLE = (
    "a Python pickle, which can run code when it is read",
    "save its arrays with numpy.savez",
)
_NO_PICTURES = ("EPS", "HDF5", "GRIB", "BUFR", "WMF", "MPEG")  # Pillow names, but does not read
_SHEET = "save the sheet as CSV"
# First bytes -> what may be read.
_READABLE: dict[bytes, str] = {
    b"\x93NUMPY": "npy",
    b"PAR1": "parquet",
    b"MATLAB 5.0 MAT-file": "mat",
    b"\x89PNG": "picture",
    b"\xff\xd8\xff": "picture",
    b"GIF8": "picture",
    b"BM": "picture",
    b"II*\x00": "picture",
    b"MM\x00*": "picture",
}
# First bytes -> what it is, and what to do.
_REFUSED: dict[bytes, tuple[str, str]] = {
    b"MATLAB 7.3": ("a MATLAB 7.3 file, which is HDF5", "save it with save(..., '-v7')"),
    b"\x89HDF": ("an HDF5 file", "save its arrays with numpy.savez"),
    b"ARROW1": ("a Feather file", "save the table as parquet or CSV"),
    b"FEA1": ("a Feather file", "save the table as parquet or CSV"),
    b"SQLite format 3": ("an SQLite database", "save the table as CSV"),
    b"RDX": ("an R workspace", "save the table as CSV"),
    b"\xd0\xcf\x11\xe0": ("an old Excel workbook", _SHEET),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", _UNPACK),
    b"Rar!": ("a RAR archive", _UNPACK),
    b"\xfd7zXZ": ("xz-compressed data", _UNPACK),
    b"BZh": ("bzip2-compressed data", _UNPACK),
    b"\x28\xb5\x2f\xfd": ("zstandard-compressed data", _UNPACK),
    b"\x1f\x9d": ("Unix-compressed data", _UNPACK),
    b"%PDF": ("a PDF document", "save its pictures as PNG"),
    b"%!PS": ("a PostScript document", "save it as PNG"),
    b"\xff\xfe": ("UTF-16 text", "save it as UTF-8"),
    b"\xfe\xff": ("UTF-16 text", "save it as UTF-8"),
    b"version https://git-lfs": (
        "a pointer of Git LFS instead of the data",
        "fetch the data with git lfs pull",
    ),
}
_IDX = re.compile(rb"\x00\x00[\x08\x09\x0b-\x0e][\x01-\x04]")
_SHAPED = (
    (re.compile(rb"\s*<svg|\s*<\?xml[^>]*>.{0,500}?<svg", re.S | re.I), "an SVG drawing"),
    (re.compile(rb"\s*<(!doctype html|html|head|body)", re.I), "an HTML page"),
    (re.compile(rb"\s*<[?!a-z]", re.I), "an XML document"),
    (re.compile(rb"\s*[\[{]"), "a JSON document"),
)
_ADVICE = {
    "an SVG drawing": "save it as PNG",
    "an HTML page": "was a page of the site saved in place of the file?",
}


def recognise(path: Path) -> str:
    """Return what a file is: npy, npz, mat, idx, parquet, picture or table; idx and table also
    where they are gzip-compressed, a table also where it is a zip's only member.

    Raises InputError for an empty file and for what cannot be read.
    """
    with open_regular(path) as file:
        start = file.read(START_BYTES)
    if not start:
        raise InputError(f"input must not be empty, got 0 bytes in {path}")
    if start.startswith(ZIP) or start.startswith(b"PK\x05\x06"):
        return _in_zip(path)
    if start.startswith(GZIP):
        return _inside(path, "gzip-compressed")
    return _kind(start, path)


def check_folder(folder: Path) -> None:
    """Raise InputError for a folder without a picture that holds files of data: they are to be
    given themselves.
    """
    data = []
    for file in _files(folder):
        try:
            kind = recognise(file)
        except (InputError, OSError):
            continue
        if kind == "picture":
            return
        data.append(file)
        if len(data) == _MANY_FILES:
            break
    if data:
        few = ", ".join(str(file.relative_to(folder)) for file in sorted(data)[:5])
        raise InputError(
            f"a folder must hold pictures, got files of data ({few}) in {folder}; give the file "
            f"itself, such as {min(data)}"
        )


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files = (Path(place) / name for name in sorted(names) if not name.startswith("."))
        yield from filter(Path.is_file, files)  # a pipe would wait for its writer


def _in_zip(path: Path) -> str:
    members = zip_members(path)
    if members and all(name.endswith(".npy") for name in members):
        return "npz"
    for folder, what, advice in (
        ("xl/", "an Excel workbook", _SHEET),
        ("word/", "a Word document", "save its table as CSV"),
    ):
        if any(name.startswith(folder) for name in members):
            raise _refusal(what, advice, path)
    if any(name.endswith("data.pkl") for name in members):
        raise _refusal("a PyTorch file, which holds a Python pickle", _PICKLE[1], path)
    if len(members) != 1:
        raise _refusal(f"a zip archive of {len(members)} files", _UNPACK, path)
    kind = _inside(path, "a zip archive's only member,")
    if kind == "idx":  # its reader opens the file itself, or gzip
        raise _refusal("a zip archive of an IDX file", _UNPACK, path)
    return kind


def _inside(path: Path, packed: str) -> str:
    with open_unpacked(path) as stream:
        start = stream.read(START_BYTES)
    if not start:
        raise InputError(f"input must not be empty, got 0 bytes packed in {path}")
    kind = _kind(start, path)
    if kind not in ("table", "idx"):
        what = {"npy": "a NumPy array", "mat": "a MATLAB file"}.get(kind, f"a {kind} file")
        raise _refusal(f"{packed} {what}", _UNPACK, path)
    return kind


def _kind(start: bytes, path: Path) -> str:
    """Return what content that begins so is."""
    text = _is_text(start)
    for magic, kind in _READABLE.items():
        if start.startswith(magic) and not (magic == b"BM" and text):
            return kind
    _refuse_known(start, path)
    if _IDX.match(start):
        return "idx"
    if re.match(rb"P[1-7]\s", start):
        return "picture"
    if text:
        return _text_kind(start, path)
    if start[8:12] == b"WEBP" or _pillow_knows(path):
        return "picture"
    raise _refusal(
        f"bytes of no known kind ({start[:8].hex(' ')})", "save it as CSV, .npz or pictures", path
    )


def _refuse_known(start: bytes, path: Path) -> None:
    for magic, (what, advice) in _REFUSED.items():
        if start.startswith(magic):
            raise _refusal(what, advice, path)
    if start[:1] == b"x" and int.from_bytes(start[:2]) % 31 == 0 and not _is_text(start):
        raise _refusal("zlib-compressed data, as joblib writes", _PICKLE[1], path)
    if start[257:262] == b"ustar":
        raise _refusal("a tar archive", _UNPACK, path)
    if _is_pickle(start):
        raise _refusal(*_PICKLE, path)


def _is_pickle(start: bytes) -> bool:
    """Tell a pickle: protocols 2 to 5 by their first bytes, 0 and 1 by operations that follow."""
    if start[:1] == b"\x80" and start[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        return True
    if start[:1] not in (b"(", b"c", b"]", b"}", b")"):
        return False
    operations = 0
    try:
        with warnings.catch_warnings():  # about escapes in what may be no pickle at all
            warnings.simplefilter("ignore")
            for operation, _, _ in pickletools.genops(start):
                operations += 1
                if operation.name == "STOP":
                    return True
    except ValueError:  # the first bytes alone end somewhere within
        return operations >= 8
    return True


def _is_text(start: bytes) -> bool:
    """Tell text of any encoding that keeps ASCII: it has no control bytes but blanks."""
    return not re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]", start)


def _text_kind(start: bytes, path: Path) -> str:
    text = start.removeprefix(codecs.BOM_UTF8)
    for pattern, what in _SHAPED:
        if pattern.match(text):
            raise _refusal(what, _ADVICE.get(what, "save its table as CSV"), path)
    return "table"


def _pillow_knows(path: Path) -> bool:
    """Tell whether Pillow identifies the file as a picture."""
    from PIL import Image

    Image.init()
    formats = [name for name in Image.OPEN if name not in _NO_PICTURES]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=formats):
                return True
    except Image.DecompressionBombError:
        return True
    except Exception:  # the readers of forty formats raise anything
        return False


def _refusal(what: str, advice: str, path: Path) -> InputError:
    return InputError(f"input must be a table, arrays or pictures, got {what} in {path}; {advice}")
