"""A study that an older version began is resumed by a newer one: settings that were added since
count only where they change something.
"""

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from cnn_core.train_spec import TrainSpec
from pipeline.configuration import compose
from pipeline.search import fingerprint as fingerprints
from pipeline.search.fingerprint import code_version, differences, fingerprint
from pipeline.search.space import Space

# The keys of a study's fingerprint, as studies on disk have them. A new setting is no new key here:
# it goes to ADDED or, if it changes no net, to WITHOUT_EFFECT in cnn_core/spec.py.
KEPT = """
augment.blur augment.blur_strength augment.contrast augment.cutout augment.cutout_size
augment.elastic augment.elastic_sigma augment.mild augment.nearest augment.noise
augment.perspective augment.rotate augment.scale augment.shear augment.shift
augment.speck_share augment.specks augment.stroke_strength augment.strokes data.digest
data.name data.reserve data.split_seed data.test_fraction data.test_seed data.train_size
data.valid_fraction data.valid_images data.valid_size model.activation model.batch_norm
model.dropout model.filters model.frame model.frame_beside model.frame_jitter model.hidden
model.init model.init_std model.kernel model.name model.pool optimizer.beta1 optimizer.beta2
optimizer.eps optimizer.eps_corrected optimizer.lr optimizer.name regularizer.l1
regularizer.l2 schedule.name schedule.warmup study.objectives study.seed train.average_decay
train.batch_size train.clip_norm train.epochs train.eval_size train.label_smoothing
train.sampling train.select train.steps_per_epoch
""".split()  # noqa: SIM905


def test_new_settings_do_not_make_an_older_study_another_one() -> None:
    found = fingerprint(compose([]), Space(()), "d")
    assert sorted(found) == sorted(KEPT)


@pytest.mark.parametrize(
    ("given", "differs"),
    [
        (["train.shards=4"], ["train.shards: absent in the study, 4 now"]),
        (["train.shards=1", "train.threads=1"], []),
    ],
)
def test_parts_are_told_and_threads_are_not(given: list[str], differs: list[str]) -> None:
    before = fingerprint(compose([]), Space(()), "d")
    assert differences(before, fingerprint(compose(given), Space(()), "d")) == differs
    assert TrainSpec().shards == 1


@pytest.mark.parametrize(
    ("given", "added"),
    [
        (["study.objective=top_k", "study.top_k=3"], {"study.top_k": "3"}),
        (["study.top_k=3"], {}),
        (
            ["study.prior=[one, two]", "study.prior_trials=7"],
            {"study.prior": '["one", "two"]', "study.prior_trials": "7"},
        ),
        (["study.prior_trials=7"], {}),
    ],
)
def test_what_means_something_only_beside_another_setting_is_told_with_it(
    given: list[str], added: dict[str, str]
) -> None:
    plain = fingerprint(compose([]), Space(()), "d")
    found = fingerprint(compose(given), Space(()), "d")
    assert {key: text for key, text in found.items() if key not in plain} == added


@pytest.mark.parametrize("git", [False, True])
def test_code_without_a_commit_is_told_by_its_version(
    git: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outside a clone, or in one whose machine has no git."""
    monkeypatch.setenv("PATH", "")
    if git:
        (tmp_path / ".git").mkdir()
    monkeypatch.setattr(fingerprints, "ROOT", tmp_path)
    monkeypatch.setattr(fingerprints, "version", lambda name: f"{name} 1.2")
    assert code_version.__wrapped__() == "numpy-cnn-sweep 1.2"

    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(fingerprints, "version", absent)
    assert code_version.__wrapped__() == "unknown"
