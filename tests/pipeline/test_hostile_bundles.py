"""Bundles of strangers: whatever a manifest says, it is refused in one line before anything of it
is computed, by the product and by the bundle's own predict.py.
"""

import ast
import copy
import gzip
import io
import json
import os
import re
import shutil
import struct
import sys
import tracemalloc
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from pipeline import predict
from pipeline.bundle import running
from pipeline.bundle.predict_py import standalone_source
from pipeline.bundle.predictor import load
from pipeline.bundle.running import open_bundle, quicken
from pipeline.bundle.writing import npz_bytes
from pipeline.configuration import command_line
from pipeline.files import sha256_bytes
from pipeline.records.manifest import BundleError, manifest_digest
from tests.pipeline.made_bundle import striped

Change = Callable[[dict[str, Any], Path], object]
NAMES = ("a", "b", "c", "d")
BIG = 10**400


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good") / "bundle"
    striped(folder, NAMES)
    return folder


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    return shutil.copytree(good, tmp_path / "bundle")


def changed(folder: Path, change: Change) -> Path:
    """Change a bundle as a stranger can: its digests are right."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest, folder)
    path.write_text(json.dumps(manifest | {"digest": manifest_digest(manifest)}))
    return folder


def net(manifest: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = manifest["members"][0]["nets"][0]
    return found


def put(*path: str | int, value: Any) -> Change:
    """Return a change of one value."""

    def change(manifest: dict[str, Any], folder: Path) -> None:
        place: Any = manifest
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


def weights(content: bytes) -> Change:
    """Return a change of the weights' bytes, with their digest."""

    def change(manifest: dict[str, Any], folder: Path) -> None:
        (folder / "weights" / "one.npz").write_bytes(content)
        net(manifest)["sha256"] = sha256_bytes(content)

    return change


def operations(*first: dict[str, Any], **arrays: Any) -> Change:
    """Return a change of the net: these operations, then the mean of each channel."""
    ends = {"V": np.zeros((4, 1)), "c": np.zeros(4)}
    content = npz_bytes({k: np.asarray(v, np.float32) for k, v in {**ends, **arrays}.items()})

    def change(manifest: dict[str, Any], folder: Path) -> None:
        weights(content)(manifest, folder)
        last = [{"op": "global_average_pooling"}, {"op": "dense", "W": "V", "b": "c"}]
        net(manifest)["operations"] = [*copy.deepcopy(first), *last]

    return change


def link(name: str, to: str) -> Change:
    def change(manifest: dict[str, Any], folder: Path) -> None:
        place = folder / name
        place.rename(folder.parent / "elsewhere")
        place.symlink_to(to or folder.parent / "elsewhere")

    return change


def pipe(manifest: dict[str, Any], folder: Path) -> None:
    (folder / "weights" / "one.npz").unlink()
    os.mkfifo(folder / "weights" / "one.npz")


def _archive(descr: str, shape: str, values: int = 0) -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    content = io.BytesIO()
    with (
        zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file,
        file.open("W.npy", "w") as member,
    ):
        member.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text)
        for _ in range(values >> 20):
            member.write(bytes(1 << 20))
    return content.getvalue()


CONVOLUTION = {"op": "convolution", "W": "W", "b": "b", "stride": [1, 1], "padding": [0] * 4}
POOLING = {"op": "pooling", "kind": "max", "size": [2, 2], "stride": [2, 2], "padding": [0] * 4}
FRAME = {"op": "moment_normalization", "image_shape": [1, 8, 8], "size": [2.0, 2.0]}
FRAME |= {"beside": False, "together": True, "lean": 0.5, "zoom": [0.5, 2.0], "tiny": 1e-6}
ONE = {"W": np.ones((1, 1, 1, 1)), "b": np.zeros(1)}
PLAIN = "a plain name inside the folder"

GAIN = dict.fromkeys(("gain", "low", "high", "errors_removed"), 0.0)
GAIN |= dict.fromkeys(("errors_best", "errors_ensemble"), 0)
SCORE: dict[str, Any] = {"accuracy": 0.5, "log_loss": 1.0, "best_member": 0}
SCORE |= {"best_member_accuracy": 0.5, "gain": GAIN}

HOSTILE: dict[str, tuple[Change, str]] = {
    "device": (put("members", 0, "nets", 0, "file", value="/dev/zero"), PLAIN),
    "outside": (put("members", 0, "nets", 0, "file", value="../../x.npz"), PLAIN),
    "inside out": (put("members", 0, "nets", 0, "file", value="weights/../../x"), PLAIN),
    "no name": (put("members", 0, "nets", 0, "file", value=""), PLAIN),
    "nul": (put("members", 0, "nets", 0, "file", value="weights/\0"), PLAIN),
    "backslashes": (put("members", 0, "nets", 0, "file", value="..\\x"), PLAIN),
    "long name": (put("members", 0, "nets", 0, "file", value="a" * 5000), PLAIN),
    "half a sign": (put("members", 0, "nets", 0, "file", value="\ud800"), "must be text"),
    "half a class": (put("class_names", 0, value="\ud800"), "must be text"),
    "pipe": (pipe, "must be a regular file, got a pipe"),
    "link": (link("weights/one.npz", ""), "must lie in its folder, got a link"),
    "linked folder": (link("weights", ""), "must lie in its folder, got a link"),
    "linked device": (link("weights/one.npz", "/dev/zero"), "got a link"),
    "digest's type": (put("members", 0, "nets", 0, "sha256", value=5), "must be text"),
    "operations' type": (put("members", 0, "nets", 0, "operations", value=None), "a list"),
    "no operations": (put("members", 0, "nets", 0, "operations", value=[]), "must be 1 to 1000"),
    "op's name": (put("members", 0, "nets", 0, "operations", 0, value={}), "operation's name"),
    "op's type": (
        put("members", 0, "nets", 0, "operations", 0, value={"op": ["x"]}),
        "operation's name",
    ),
    "op unknown": (
        put("members", 0, "nets", 0, "operations", 0, value={"op": "\x1b[2J"}),
        r"known here, got \\x1b",
    ),
    "no members": (put("members", value=[]), "members x classes = 0"),
    "no nets": (put("members", 0, "nets", value=[]), "nets = 0"),
    "temperature 0": (put("members", 0, "temperature", value=0), "temperature = 0"),
    "temperature NaN": (put("members", 0, "temperature", value=float("nan")), "= nan"),
    "temperature huge": (put("members", 0, "temperature", value=BIG), "must be a number"),
    "temperature true": (put("members", 0, "temperature", value=True), "must be a number"),
    "classes huge": (lambda m, f: m.update(classes=10**9, class_names=[]), "members x classes"),
    "classes many": (
        lambda m, f: m.update(classes=1001, class_names=[]),
        "got classes = 1001, must be at most 1,000",
    ),
    "classes few": (lambda m, f: m.update(classes=3, class_names=[]), "must end in 3 classes"),
    "classes below": (lambda m, f: m.update(classes=-1, class_names=[]), "members x classes"),
    "image huge": (
        lambda m, f: (m.pop("form"), m.update(image_shape=[1, 10**5, 10**5])),
        "image_shape = .* must be 1 to 4,194,304 values",
    ),
    "image empty": (lambda m, f: (m.pop("form"), m.update(image_shape=[1, 0, 8])), "image_shape"),
    "image other": (
        lambda m, f: (m.pop("form"), m.update(image_shape=[1, 8, 9])),
        r"W must name an array of \(any, 72\), got \(4, 64\)",
    ),
    "few weights": (put("combine", "weights", value=[]), "combine.weights = 0, must be one a"),
    "weight NaN": (put("combine", "weights", value=[float("nan")]), "weights = nan"),
    "method": (put("combine", "method", value="x"), "must be one of uniform, weighted"),
    "stacking": (
        put("combine", value={"method": "stacking", "coefficients": [[1.0]], "intercepts": [0.0]}),
        "must be 4 rows of 4",
    ),
    "view": (put("views", value=[[1.0]]), "six numbers each"),
    "view NaN": (put("views", value=[[float("nan")] * 6]), "views = nan"),
    "views": (put("views", value=[[1.0] * 6] * 101), "views = 101, must be at most 100"),
    "full scale": (put("form", "full_scale", value=float("inf")), "full_scale = inf"),
    "background": (put("form", "background", value="x"), "dark or light"),
    "columns": (put("form", "columns", value=[1]), "form.columns"),
    "source": (put("form", "source", value=[10**12, 3]), "must be an image's shape"),
    "shares": (put("expected", "class_share", value=[1.0]), "must be one a class"),
    "title": (put("study", value="\x1b]0;x\x07"), r"got a name = '\\x1b"),
    "class of two lines": (put("class_names", 0, value="a\nb"), r"got a name = 'a\\nb', must be a"),
    "class of two lines, told otherwise": (put("class_names", 0, value="a\u2028b"), "a line of at"),
    "class turned round": (put("class_names", 0, value="a\u202eb"), "no control signs"),
    "member of two lines": (put("members", 0, "name", value="a\nb"), "got a name = 'a"),
    "scores of no set": (
        put("scores", value={"out_of_fold": {"clean": SCORE}, "chosen_on": "proxy"}),
        r"got chosen_on = 'proxy', must be a set of out_of_fold \(clean\)",
    ),
    "scores of none": (put("scores", value={"out_of_fold": {}, "chosen_on": "x"}), r"\(none\)"),
    "scores of no member": (
        put("scores", value={"out_of_fold": {"clean": SCORE | {"best_member": 1}}}),
        "scores.best_member = 1, must be from 0 to 0",
    ),
    "long class": (put("class_names", 0, value="a" * 100_000), "at most 10,000 signs"),
    "stride 0": (operations(POOLING | {"stride": [0, 0]}), "stride must be 2 whole numbers"),
    "stride below": (operations(POOLING | {"stride": [-1, 1]}), "stride must be 2 whole"),
    "stride half": (operations(POOLING | {"stride": [1.5, 1]}), "stride must be 2 whole"),
    "stride text": (operations(POOLING | {"stride": "ab"}), "stride must be 2 whole"),
    "size 0": (operations(POOLING | {"size": [0, 0]}), "size must be 2 whole numbers"),
    "size huge": (
        operations(POOLING | {"size": [3000, 3000], "padding": [1500] * 4}),
        "at most 16384 pixels",
    ),
    "padding huge": (operations(POOLING | {"padding": [20_000] * 4}), "values an image, got"),
    "padding of a convolution": (
        operations(CONVOLUTION | {"padding": [20_000] * 4}, **ONE),
        "values an image, got",
    ),
    "padding below": (operations(POOLING | {"padding": [-3, 0, 0, 0]}), "padding must be 4"),
    "padding missing": (
        operations({k: v for k, v in POOLING.items() if k != "padding"}),
        "padding must be 4 whole numbers, at least 0, got None",
    ),
    "kind": (operations(POOLING | {"kind": "foo"}), "max, average or lp, got foo"),
    "power": (operations(POOLING | {"kind": "lp", "p": 0}), "p must be a number from 1"),
    "no power": (operations(POOLING | {"kind": "lp"}), "p must be a number from 1"),
    "channels": (
        operations(CONVOLUTION, W=np.ones((1, 3, 1, 1)), b=np.zeros(1)),
        r"W must name an array of \(any, 1, any, any\), got \(1, 3, 1, 1\)",
    ),
    "offsets": (operations(CONVOLUTION, W=ONE["W"], b=np.zeros(7)), r"array of \(1\), got \(7,"),
    "axes": (operations(CONVOLUTION, W=np.ones((1, 1)), b=np.zeros(1)), "W must name an array"),
    "array absent": (operations(CONVOLUTION | {"W": "none"}, **ONE), "W must name .* got none"),
    "array's name": (operations(CONVOLUTION | {"W": ["W"]}, **ONE), "W must name .* got none"),
    "kernel": (operations(CONVOLUTION, W=np.ones((1, 1, 9, 9)), b=np.zeros(1)), "must fit in the"),
    "filters": (
        operations(
            CONVOLUTION | {"padding": [60] * 4}, W=np.ones((30_000, 1, 1, 1)), b=np.zeros(30_000)
        ),
        "values an image, got",
    ),
    "slope": (operations({"op": "leaky_relu", "slope": "x"}), "slope must be a number from 0"),
    "slope huge": (operations({"op": "leaky_relu", "slope": BIG}), "slope must be a number"),
    "scale": (
        operations({"op": "scale_shift", "flat": False, "scale": "s", "shift": "s"}, s=np.ones(9)),
        r"scale must name an array of \(1\)",
    ),
    "dense on an image": (
        operations({"op": "dense", "W": "V", "b": "c"}),
        r"input must be flat, got \(1, 8, 8\)",
    ),
    "mean of features": (
        operations({"op": "global_average_pooling"}),
        r"input must be \(C, H, W\), got \(1,\)",
    ),
    "zoom": (operations(FRAME | {"zoom": [1]}), "zoom must be 2 numbers"),
    "zoom falls": (operations(FRAME | {"zoom": [2, 1]}), "zoom must rise"),
    "tiny": (operations(FRAME | {"tiny": 0}), "tiny must be a number"),
    "lean": (operations(FRAME | {"lean": float("nan")}), "lean must be a number"),
    "frame missing": (operations({"op": "moment_normalization"}), "image_shape must be 3"),
    "frame's image": (operations(FRAME | {"image_shape": [1, 9, 9]}), "that of the input"),
    "weights are text": (weights(npz_bytes({"W": np.array(["x"] * 4)})), "finite float32"),
    "weights are NaN": (
        weights(npz_bytes({"W": np.full((4, 64), np.nan, np.float32)})),
        "finite float32",
    ),
    "weights are float64": (weights(npz_bytes({"W": np.zeros((4, 64))})), "finite float32"),
    "weights are a bomb": (
        weights(_archive("'<f4'", f"(4, {1 << 23})", 1 << 27)),
        "may hold at most 67,108,864, it states 134,2",
    ),
    "weights are endless": (weights(_archive("'<f4'", f"({1 << 40},)")), "needs 4,398,046,511,104"),
    "weights are objects": (weights(_archive("'|O'", "(1,)")), "no objects"),
    "weights are empty": (weights(b""), "must be a whole .npz archive"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_bundle_is_refused_in_one_line(name: str, folder: Path) -> None:
    change, message = HOSTILE[name]
    tracemalloc.start()
    with pytest.raises(BundleError, match=message) as caught:
        open_bundle(changed(folder, change))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1200
    assert peak < 20e6


RAW: dict[str, bytes] = {
    "brackets": b"[" * 100_000,
    "brackets within": b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "digits": b'{"format": ' + b"9" * 100_000 + b"}",
    "a list": b"[]",
    "null": b"null",
    "a text": b'"x"',
    "bytes": b"\xff\xfe\0",
    "digest": b'{"format": 1, "digest": [1]}',
    "format": b'{"digest": "", "format": ["' + b"x" * 100_000 + b'"]}',
}


@pytest.mark.parametrize("name", RAW)
def test_what_is_no_manifest_is_refused_in_one_line(name: str, folder: Path) -> None:
    (folder / "manifest.json").write_bytes(RAW[name])
    with pytest.raises(BundleError, match="manifest") as caught:
        open_bundle(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


def test_a_manifest_is_a_regular_file_of_bounded_size(folder: Path) -> None:
    path = folder / "manifest.json"
    os.truncate(path, 1 << 40)
    with pytest.raises(BundleError, match="may have at most 16,777,216 bytes"):
        open_bundle(folder)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(BundleError, match="got a link"):
        open_bundle(folder)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(BundleError, match="must be a regular file, got a pipe"):
        open_bundle(folder)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of everything in a parsed JSON."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, item in items:
        found.append((*path, key))
        found += places(item, (*path, key)) if isinstance(item, dict | list) else []
    return found


def with_value(manifest: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """Return a copy, with its digest, that has another value in one place, or misses it."""
    other = copy.deepcopy(manifest)
    around: Any = other
    for key in place[:-1]:
        around = around[key]
    around[place[-1]] = value
    if value == "missing":
        del around[place[-1]]
    return other | {"digest": manifest_digest(other)}


def test_every_field_of_a_manifest_may_be_missing_or_of_any_type(folder: Path) -> None:
    """Of every place in a manifest: it is refused by BundleError, or computes probabilities."""
    manifest = json.loads((folder / "manifest.json").read_text())
    images = np.zeros((2, 1, 8, 8), np.uint8)
    refused = Counter[bool]()
    for place in places(manifest):
        if place == ("digest",):
            continue
        for value in (None, "x", -1, BIG, float("nan"), [], "missing"):
            other = with_value(manifest, place, value)
            (folder / "manifest.json").write_text(json.dumps(other))
            try:
                bundle = quicken(open_bundle(folder))
            except BundleError:
                refused[True] += 1
                continue
            refused[False] += 1
            assert np.isfinite(bundle.predict_proba(images)).all(), (place, value)
    assert refused[True] > 200 and refused[False] > 20


def test_values_beyond_float32_are_refused_where_they_arise(folder: Path) -> None:
    huge = {"W": np.full((4, 64), 3e38, np.float32), "b": np.zeros(4, np.float32)}
    bundle = load(changed(folder, weights(npz_bytes(huge))))
    with pytest.raises(BundleError, match="must give probabilities"):
        bundle.predict_proba(np.full((2, 1, 8, 8), 255, np.uint8))


def test_a_net_that_takes_much_is_computed_in_smaller_batches(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = quicken(load(folder))
    wide = operations(CONVOLUTION | {"padding": [600] * 4}, **ONE)
    large = quicken(load(changed(folder, wide)))
    assert small.batch == running.BATCH
    assert 1 <= large.batch * large.image_bytes <= 512 << 20
    monkeypatch.setattr(running, "MOST_CORRELATIONS", 2)
    few = [CONVOLUTION | {"padding": [k] * 4} for k in range(5)]
    bundle = quicken(load(changed(folder, operations(*few, **ONE))))
    bundle.predict_proba(np.zeros((2, 1, 8, 8), np.uint8))
    assert len(bundle.nets[0][0]._correlations) <= 2  # type: ignore[attr-defined]


def test_a_bundle_that_changes_while_it_is_used_is_refused(folder: Path) -> None:
    bundle = open_bundle(folder)
    changed(folder, put("study", value="another"))
    images = np.zeros((2, 1, 8, 8), np.uint8)
    with pytest.raises(BundleError, match="must not change while it is used"):
        running._predict(str(folder), bundle.manifest.digest, images)


def test_a_refused_bundle_leaves_no_output(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed(folder, put("members", 0, "temperature", value=0))
    np.save(tmp_path / "x.npy", np.zeros((3, 8, 8), np.uint8))
    output = tmp_path / "out" / "labels.txt"
    arguments = [f"bundle={folder}", f"input={tmp_path / 'x.npy'}", f"output={output}"]
    assert command_line(predict.COMMAND, [*arguments, f"root={tmp_path / 'r'}"], predict.main) == 2
    said = capsys.readouterr().err
    assert "bundle: manifest.json must be complete, got temperature = 0" in said
    assert said.count("\n") == 1 and not output.parent.exists()


def test_predict_py_names_nothing_twice() -> None:
    """It is joined from files whose private names could hide each other's."""
    tree = ast.parse(standalone_source())
    names = Counter(
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)
    )
    names += Counter(
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    )
    assert {name for name, count in names.items() if count > 1} <= {"Array"}


@pytest.fixture(scope="module")
def alone() -> ModuleType:
    """The bundle's predict.py as a module."""
    module = ModuleType("predict")
    sys.modules["predict"] = module  # dataclasses look their module up
    exec(compile(standalone_source(), "predict.py", "exec"), module.__dict__)
    return module


def test_a_class_that_a_spreadsheet_would_compute_is_written_by_nobody(
    folder: Path, alone: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed(folder, put("class_names", 1, value="=cmd()"))
    np.save(tmp_path / "x.npy", np.full((3, 8, 8), 255, np.uint8))
    given, output = tmp_path / "x.npy", tmp_path / "labels.csv"
    arguments = [f"bundle={folder}", f"input={given}", f"output={output}", "format=labels"]
    assert command_line(predict.COMMAND, [*arguments, f"root={tmp_path / 'r'}"], predict.main) == 2
    alone.__file__ = str(folder / "predict.py")
    assert alone.main([str(given), str(output)]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and not output.exists()
    assert all("a label must not begin with = + - @" in line for line in said)


@pytest.mark.parametrize("name", HOSTILE)
def test_predict_py_refuses_what_the_product_refuses(
    name: str, folder: Path, alone: ModuleType
) -> None:
    change, message = HOSTILE[name]
    with pytest.raises(alone.BundleError, match=message):
        alone.load(changed(folder, change))


def _npy(descr: str, shape: str, values: bytes = b"") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + values


def _idx(*shape: int) -> bytes:
    return b"\0\0\x08" + bytes([len(shape)]) + struct.pack(f">{len(shape)}I", *shape)


INPUTS: dict[str, tuple[bytes, str]] = {
    "no size": (_npy("'S0'", "(-1,)"), "plain numbers or text"),
    "objects": (_npy("'|O'", "(1,)"), "no objects"),
    "texts": (_npy("'<U1'", "(1, 1)", b"A\0\0\0"), "must be numbers, got <U1"),
    "complex": (_npy("'<c16'", "(1, 8, 8)", bytes(1024)), "must be numbers, got complex128"),
    "one number": (_npy("'|u1'", "()", b"x"), "must hold 1 to 1,000,000 pictures"),
    "many": (_npy("'|u1'", "(2000000, 1)", bytes(2_000_000)), "got 2,000,000 in"),
    "wide": (_npy("'|u1'", "(1, 20000, 1000)", bytes(20_000_000)), "at most 16,000,000 pixels"),
    "IDX": (_idx(1 << 31, 28, 28), "a file of 16 bytes may hold at most"),
    "IDX, empty": (_idx(0, 28, 28), "every dimension must be at least 1"),
    "IDX, cut": (_idx(2, 8, 8) + bytes(100), "the file ends"),
    "bomb": (gzip.compress(_idx(1 << 20, 28, 28) + bytes(1 << 20)), "may hold at most 67,108,864"),
    "cut": (gzip.compress(b"1 2 3" * 100)[:-9], "gzip data must be whole"),
    "long line": (gzip.compress(b"1 " * (3 << 20)), "a line may have 4,194,304 bytes"),
    "nothing": (b"", "must hold 1 to 1,000,000 pictures"),
    "words": (b"a b c\n", "rows of numbers, got b'a b c"),
    "letters": ("ä".encode(), "rows of numbers"),
    "ragged": (b"1 2\n3\n", "every row must have 2 numbers as the first, got 1 in row 2"),
    "NaN": (b"nan " * 64, "pixels must be from 0"),
}


@pytest.mark.parametrize("name", INPUTS)
def test_predict_py_refuses_hostile_input_in_one_line(
    name: str,
    folder: Path,
    alone: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    content, message = INPUTS[name]
    alone.__file__ = str(folder / "predict.py")
    (tmp_path / "x").write_bytes(content)
    (tmp_path / "labels.txt").write_text("kept")
    assert alone.main([str(tmp_path / "x"), str(tmp_path / "labels.txt")]) == 2
    said = capsys.readouterr().err
    assert re.search(message, said) and said.startswith("predict: ") and said.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "labels.txt", "x"]
    assert (tmp_path / "labels.txt").read_text() == "kept"


@pytest.mark.parametrize("scale", ["0", "-1", "nan", "inf", "x"])
def test_predict_py_refuses_impossible_scales_and_places(
    scale: str, folder: Path, alone: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone.__file__ = str(folder / "predict.py")
    np.save(tmp_path / "x.npy", np.full((2, 8, 8), 255, np.uint8))
    given = str(tmp_path / "x.npy")
    os.mkfifo(tmp_path / "fifo")
    for arguments in (
        [given, str(tmp_path / "y"), scale],
        [given, str(tmp_path)],
        [given, str(tmp_path / "none" / "y")],
        [str(tmp_path / "fifo"), str(tmp_path / "y")],
        ["/dev/zero", str(tmp_path / "y")],
    ):
        assert alone.main(arguments) == 2, arguments
        assert capsys.readouterr().err.count("\n") == 1
    assert alone.main([given, str(tmp_path / "y")]) == 0
    assert (tmp_path / "y").read_text().splitlines() == ["a", "a"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "fifo", "x.npy", "y"]


@pytest.mark.parametrize("form", ["npy", "idx", "idx.gz", "text"])
def test_predict_py_reads_what_it_read(
    form: str, folder: Path, alone: ModuleType, tmp_path: Path
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8), dtype=np.uint8)
    idx = _idx(5, 8, 8) + images.tobytes()
    content = io.BytesIO()
    np.save(content, images)
    text = "\n\n".join(",".join(map(str, image.ravel())) for image in images).encode()
    packed = gzip.compress(idx)
    forms = {"npy": content.getvalue(), "idx": idx, "idx.gz": packed, "text": text}
    (tmp_path / "x").write_bytes(forms[form])
    np.testing.assert_array_equal(
        alone.read_images(tmp_path / "x").reshape(5, 8, 8).astype(np.uint8), images
    )
