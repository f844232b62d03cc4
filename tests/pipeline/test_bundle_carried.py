"""What a bundle holds that others need not: a plug-in's code, weights that nets share."""

from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from cnn_core.plugins import load
from pipeline.bundle import bundle_checks, predictor
from pipeline.bundle.predict_py import _source_of
from pipeline.bundle.running import open_bundle
from pipeline.bundle.writing import Assembled, npz_bytes, write_bundle
from pipeline.configuration.named_plugins import ALL_KINDS
from pipeline.files import sha256_bytes
from pipeline.records.manifest import BundleError, BundleMember, BundleNet, signed
from tests.pipeline.made_bundle import form_of, in_memory
from tests.pipeline.made_manifest import made_manifest
from tests.pipeline.plugged import NET_PARTS, fresh, write

ARRAYS = {"W": np.zeros((2, 64), np.float32), "b": np.array([0, 1], np.float32)}


def written(folder: Path, *operations: str, nets: int = 1) -> Path:
    """Write a bundle of one member whose nets share their weights."""
    described = ({"op": "flatten"}, {"op": "dense", "W": "W", "b": "b"})
    net = BundleNet(
        file="weights/one.npz",
        sha256=sha256_bytes(npz_bytes(ARRAYS)),
        operations=(*({"op": name} for name in operations), *described),
    )
    member = BundleMember(name="one", temperature=1.0, nets=(net,) * nets)
    manifest = replace(made_manifest((1, 8, 8), 2), members=(member,))
    write_bundle(folder, Assembled(signed(manifest), {net.file: ARRAYS}))
    return folder


@pytest.mark.parametrize("file", ["parts.py", "parts/__init__.py"])
def test_the_code_of_a_plug_in_goes_with_it_and_is_named_where_it_is_needed(
    tmp_path: Path, file: str
) -> None:
    write(tmp_path, {file: NET_PARTS})
    path = tmp_path / Path(file).parts[0]
    with fresh():
        plugin = load(path, ALL_KINDS)
        folder = written(tmp_path / "bundle", "softsign")
        (net,) = open_bundle(folder).nets[0]
        np.testing.assert_allclose(net.logits(np.zeros((1, 8, 8, 1), np.float32)), [[0], [1]])
    carried = folder / "plugins" / plugin.digest / file
    assert carried.read_text() == NET_PARTS
    with fresh(), pytest.raises(BundleError, match="code that is run only where you name") as no:
        open_bundle(folder)
    assert str(no.value).endswith(f"plugins=[{carried}]")


def halved(text: str) -> str:
    return text[::2]


def shown(text: str) -> str:
    return halved(dedent(text))


def test_a_function_goes_with_those_of_its_own_module_and_no_others() -> None:
    carried: dict[str, str] = {}
    assert _source_of(shown, carried).startswith("def shown(text: str)")
    assert carried == {"halved": "def halved(text: str) -> str:\n    return text[::2]"}


def test_weights_that_nets_share_are_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, content = list[str](), bundle_checks.content_of

    def counted(folder: Path, name: str, most: int) -> bytes:
        read.append(name)
        return content(folder, name, most)

    folder = written(tmp_path / "bundle", nets=3)
    monkeypatch.setattr(bundle_checks, "content_of", counted)
    bundle = predictor.load(folder)
    assert read.count("weights/one.npz") == 1
    odds = np.array([1, np.e]) / (1 + np.e)
    proba = bundle.predict_proba(np.zeros((2, 1, 8, 8), np.uint8))
    np.testing.assert_allclose(proba, [odds, odds], atol=1e-6)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_value_for_white_that_cannot_be_is_refused(scale: float) -> None:
    bundle, pictures = in_memory(form_of(), ("a", "b")), np.zeros((1, 8, 8))
    with pytest.raises(BundleError, match=f"full_scale must be above 0 and finite, got {scale}"):
        bundle.prepared(pictures, scale)


def test_pictures_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(BundleError, match="pictures must be numbers, got <U1"):
        in_memory(form_of(), ("a", "b")).prepared(np.full((1, 8, 8), "7"))
