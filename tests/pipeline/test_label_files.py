"""A file of labels says which picture is what: tables in every usual dress, lines, arrays; labels
stay the text that they are, and what can be read in two ways is refused.
"""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from cnn_core.errors import InputError
from pipeline.inputs.labels import label_arrays
from pipeline.inputs.labels.label_files import read_labels

IDS = ("a.png", "b.png", "c.png", "d.png")
LABELS = ("cat", "dog", "cat", "NA")
TABLES = {
    "plain": "id,label\na.png,cat\nb.png,dog\nc.png,cat\nd.png,NA\n",
    "other order": "label,id\ncat,a.png\ndog,b.png\ncat,c.png\nNA,d.png",
    "unknown names": "what,which\ncat,a.png\ndog,b.png\ncat,c.png\nNA,d.png",
    "no header": "a.png,cat\nb.png,dog\nc.png,cat\nd.png,NA\n",
    "quoted": '"Id","Class"\r\n"a.png","cat"\r\n"b.png","dog"\r\n"c.png","cat"\r\n"d.png","NA"',
    "semicolons": "file;species\na.png;cat\nb.png;dog\nc.png;cat\nd.png;NA\n",
    "tabs": "file\tspecies\na.png\tcat\nb.png\tdog\nc.png\tcat\nd.png\tNA\n",
    "blanks": "a.png cat\nb.png dog\nc.png  cat\nd.png NA\n",
    "row numbers": ",id,label\n0,a.png,cat\n1,b.png,dog\n2,c.png,cat\n3,d.png,NA\n",
    "row numbers, unknown names": ",p,q\n0,a.png,cat\n1,b.png,dog\n2,c.png,cat\n3,d.png,NA\n",
    "row numbers, tabs": "\tid\tlabel\n0\ta.png\tcat\n1\tb.png\tdog\n2\tc.png\tcat\n3\td.png\tNA",
    "more columns": "id,author,label\na.png,x,cat\nb.png,x,dog\nc.png,y,cat\nd.png,y,NA\n",
    "separator told": "sep=,\nid,label\na.png,cat\nb.png,dog\nc.png,cat\nd.png,NA\n",
    "separator told and quoted": '"SEP=;"\r\n'
    "id;label;a,b,c\r\na.png;cat;\r\nb.png;dog;\r\nc.png;cat;\r\nd.png;NA;x\r\n",
    "byte order mark": "\ufeffid,label\n\na.png, cat\nb.png,dog\nc.png,cat \nd.png,NA\n",
    "true and false": "id,cat,dog,NA\n"
    "a.png,True,False,False\nb.png,False,True,False\nc.png,True,False,False\nd.png,False,False,True",
    "TRUE and FALSE": "file,cat,dog,NA\n"
    "a.png,TRUE,FALSE,FALSE\nb.png,FALSE,TRUE,FALSE\nc.png,TRUE,FALSE,FALSE\nd.png,FALSE,FALSE,TRUE",
    "a column a class": "id,cat,dog,NA\na.png,1,0,0\nb.png,0,1,0\nc.png,1,0,0\nd.png,0,0,1\n",
}


@pytest.mark.parametrize("name", sorted(TABLES))
@pytest.mark.parametrize("packed", [False, True])
def test_every_table_says_the_same(name: str, packed: bool, tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    content = TABLES[name].encode()
    path.write_bytes(gzip.compress(content) if packed else content)
    found = read_labels(path)
    assert (found.ids, found.labels) == (IDS, LABELS)
    assert "ids: " in found.understood and "labels: " in found.understood


@pytest.mark.parametrize(
    "text", ["None", "null", "nan", "NA", "", "3", "1e5", "-2", "T-shirt, top"]
)
def test_labels_stay_text(text: str, tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text(f'id,label\n1,"{text}"\n2,x\n3,x\n')
    if text:
        assert read_labels(path).labels == (text, "x", "x")
    else:
        with pytest.raises(InputError, match="label must not be empty, got none in row 1"):
            read_labels(path)


def test_a_missing_label_among_numbers_is_refused_by_its_row(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("id,label\na,0.0\nb,1.0\nc,nan\n")
    with pytest.raises(InputError, match=r"got 'nan' among numbers in row 3 of .*train.csv"):
        read_labels(path)


def test_labels_as_savetxt_writes_them_are_whole_numbers(tmp_path: Path) -> None:
    path, values = tmp_path / "y.txt", np.array([3, 0, 12, 3])
    np.savetxt(path, values)
    assert read_labels(path).labels == ("3", "0", "12", "3")
    np.savetxt(path, np.stack([np.arange(4), values], 1))
    assert read_labels(path).in_order(4, "x.npy") == (("3", "0", "12", "3"), "in order")
    np.savetxt(path, values, header="label")
    assert read_labels(path).labels == ("3", "0", "12", "3")


def test_whole_numbers_written_as_floats_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "y.csv"
    path.write_text("ImageId,Label\n1,3.0\n2,10.0\n3,3.0\n")
    assert read_labels(path).ids == ("1", "2", "3")
    assert read_labels(path).labels == ("3", "10", "3")


@pytest.mark.parametrize(
    ("content", "labels"),
    [
        ("3\n1\n3\n", ("3", "1", "3")),
        ("label\n3\n1\n3\n", ("3", "1", "3")),
        ("cat\ndog\ncat", ("cat", "dog", "cat")),
        ("maple tree\noak tree\nmaple tree\n", ("maple tree", "oak tree", "maple tree")),
        ("y\nn\ny\n", ("y", "n", "y")),
        ("5.0\n6.0\n", ("5", "6")),
    ],
)
def test_one_label_a_line(content: str, labels: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "y.txt").write_text(content)
    found = read_labels(tmp_path / "y.txt")
    assert found.ids is None and found.labels == labels


def test_arrays_of_labels(tmp_path: Path) -> None:
    values = np.array([5, 0, 5])
    np.save(tmp_path / "y.npy", values)
    np.savez(tmp_path / "y.npz", anything=np.eye(6)[values])
    idx = b"\0\0\x08\x01" + struct.pack(">I", 3) + bytes([5, 0, 5])
    (tmp_path / "y-idx1").write_bytes(idx)
    (tmp_path / "y-idx1.gz").write_bytes(gzip.compress(idx))
    for name in ("y.npy", "y.npz", "y-idx1", "y-idx1.gz"):
        found = read_labels(tmp_path / name)
        assert found.ids is None and found.labels == ("5", "0", "5")


BAD = {
    "both ways": (b"one,two\n1,x\n2,y\n3,z\n", "give `label` and `id`, each one of 'one', 'two'"),
    "neither way": (b"one,two\na,x\na,x\nc,x\n", "give `label` and `id`"),
    "many columns": (b"p,q,r\n1,2,3\n2,2,3\n", "give `label` and `id`, each one of 'p', 'q', 'r'"),
    "twice": (b"id,label\n1,a\n2,b\n1,b\n", "ids must be different, got '1' in two rows"),
    "ragged": (b"id,label\n1,a\n2\n", "2 cells as the first, got 1 in row 3"),
    "header alone": (b"id,label\n", "a row below its header"),
    "empty": (b"", "must not be empty"),
    "separator alone": (b"sep=;\n", "a cell that is not blank, got none"),
    "blank": (b"\n \n", "must not be empty"),
    "binary": (b"\xff\xfe\x00\x01" * 9, "must be text or an array"),
    "cut": (gzip.compress(bytes(range(256)) * 90)[:60], "compressed data must be whole"),
    "no class": (b"id,a,b\n1,0,0\n2,0,1\n", "exactly one 1, got 0 in row 1"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(30), "must be text or an array"),
    "short idx": (b"\0\0\x08\x01" + struct.pack(">I", 9) + bytes(8), "what its header says"),
    "long idx": (b"\0\0\x08\x01" + struct.pack(">I", 9) + bytes(10), "what its header says"),
    "idx of images": (b"\0\0\x08\x03" + struct.pack(">3I", 1, 2, 2) + bytes(4), "one dimension"),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_what_is_not_certain_is_refused(name: str, tmp_path: Path) -> None:
    content, message = BAD[name]
    path = tmp_path / "labels.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_labels(path)
    assert "\n" not in str(caught.value) and "labels.csv" in str(caught.value)


def test_columns_that_are_told(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("one,two\na,x\nb,y\nc,z\n")
    assert read_labels(path, label="one").ids == ("x", "y", "z")
    assert read_labels(path, id_column="one").labels == ("x", "y", "z")
    path.write_text("one,two\n1,x\n2,y\n3,z\n")
    assert read_labels(path, label="last").ids == ("1", "2", "3")
    with pytest.raises(InputError, match=r'label=too must be a column .*did you mean "two"'):
        read_labels(path, label="too")


def test_a_bomb_of_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "y.csv.gz"
    path.write_bytes(gzip.compress(b"1\n" * (1 << 24)))
    with pytest.raises(InputError, match=r"may have at most [0-9,]+ bytes, got more"):
        read_labels(path)


def test_labels_beyond_all_measure_are_refused_unread(tmp_path: Path) -> None:
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({1 << 31},)}}\n".encode()
    path = tmp_path / "labels.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    os.truncate(path, path.stat().st_size + (1 << 31))
    with pytest.raises(InputError, match="at most 268,435,456 bytes, got 2,147,483,648"):
        read_labels(path)
    np.savez_compressed(tmp_path / "two.npz", a=np.zeros(1 << 20, np.uint8), b=np.zeros(3))
    with pytest.raises(InputError, match="must hold one array, got a, b"):
        read_labels(tmp_path / "two.npz")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(InputError, match="must be a regular file, got a pipe"):
        read_labels(tmp_path / "fifo")


def test_more_labels_than_a_list_should_hold_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_arrays, "MOST_LABELS", 3)
    np.save(tmp_path / "labels.npy", np.zeros(4, np.uint8))
    with pytest.raises(InputError, match=r"at most 3, got shape \(4,\)"):
        read_labels(tmp_path / "labels.npy")
