"""Replays of searches on curves made by hand: how many epochs are spent, on what, and when the
choice is good.
"""

import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.search_parts.curves import Curves, read, settings_of, write_results
from benchmarks.search_parts.method_page import figures, section
from benchmarks.search_parts.methods import priors_for
from benchmarks.search_parts.replay import Replay, Replayed
from pipeline.search.past_results import read_past_results
from pipeline.search.space import Space

SPACE = Space.parse({"model.filters": {"int": [1, 8]}})
EPOCHS = 4


def made(noise: float = 0.0) -> Curves:
    """Eight configurations, each epoch adds a point; the more filters, the better by a point, from
    the first epoch on. Two nets; of the second, noise turns the order round.
    """
    filters = np.arange(1, 9)
    values = 0.5 + 0.01 * filters[:, None] + 0.01 * np.arange(1, EPOCHS + 1)
    both = np.stack([values, values - noise * filters[:, None]], axis=1)
    return Curves("digits", SPACE, [{"model.filters": int(k)} for k in filters], both)


def run(curves: Curves, *words: str, order: int = 0) -> Replayed:
    return Replay(curves, settings_of("digits", *words), order).run()


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_all_in_full_find_the_best_when_they_come_to_it(sampler: str) -> None:
    for order in (0, 2, 4):
        found = run(made(), f"sampler={sampler}", "pruner=none", order=order)
        assert found.epochs == 8 * EPOCHS and found.regret == 0.0
        assert found.found == EPOCHS * found.trials, "when the best is complete"
        lacking = [regret for _, regret in found.course]
        assert lacking == sorted(lacking, reverse=True)


def test_a_look_at_all_then_the_best_to_the_end() -> None:
    found = run(made(), "sampler=random", "pruner=top_k", "pruner.look=1", "pruner.keep=2",
                "budget.trials=8")  # fmt: skip
    assert found.epochs == 8 + 2 * (EPOCHS - 1)
    assert found.regret == 0.0


def test_promotion_trains_the_rungs_shares() -> None:
    # Rungs 1, 2, 4; the best comes last or not: 8 look, half go on to 2, a quarter to the end.
    words = ("pruner=promote", "pruner.min_epochs=1", "pruner.reduction_factor=2")
    found = run(made(), "sampler=random", *words)
    assert found.epochs >= 8 + 4 + 2 * 2
    assert found.epochs < 8 * EPOCHS
    assert found.regret == 0.0


@pytest.mark.parametrize(
    "words",
    [
        ("pruner=median", "pruner.startup_trials=1", "pruner.warmup_epochs=0"),
        ("pruner=successive_halving", "pruner.min_epochs=1", "pruner.reduction_factor=2"),
        ("pruner=hyperband", "pruner.min_epochs=1", "pruner.reduction_factor=2"),
    ],
)
def test_a_pruner_ends_the_worse_ones(words: tuple[str, ...]) -> None:
    found = run(made(), "sampler=random", *words)
    assert found.epochs < 8 * EPOCHS and found.regret == 0.0


def test_a_search_sees_one_net_and_is_judged_by_the_mean() -> None:
    curves = made(noise=0.015)  # the second net ranks them the other way, the mean as the first
    words = ("sampler=random", "pruner=none")
    assert run(curves, *words, order=0).regret == 0.0
    fooled = run(curves, *words, order=1)
    # it takes 1 filter for the best; the mean of 8 filters is better by 7 * (0.01 - 0.0075)
    assert fooled.regret == pytest.approx(7 * 0.0025)


def test_a_trial_of_all_nets_sees_their_mean() -> None:
    curves = made(noise=0.015)
    for order in range(2):
        found = run(curves, "sampler=random", "pruner=none", "study.seeds=2", order=order)
        assert found.regret == 0.0 and found.epochs == 8 * EPOCHS
    curves = made(noise=0.015)
    curves.values[7, 1, 2:] = math.nan  # one net of the best
    found = run(curves, "sampler=random", "pruner=none", "study.seeds=2")
    assert found.epochs == 7 * EPOCHS + 3 and found.regret == 0.0


def test_a_divergence_costs_its_epochs_and_is_never_chosen() -> None:
    curves = made()
    curves.values[7, :, 2:] = math.nan  # the best, from its third epoch on
    found = run(curves, "sampler=random", "pruner=none")
    assert found.epochs == 7 * EPOCHS + 3
    assert found.regret == 0.0, "of those that do not diverge"
    assert curves.final[7] == -math.inf


def test_the_sampler_gets_the_nearest_that_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    replay = Replay(made(), settings_of("digits", "sampler=tpe", "pruner=none"), 0)
    chosen = []
    train = replay._train

    def noted(trial, asked=None):  # type: ignore[no-untyped-def]
        chosen.append(trial.configuration)
        train(trial, asked)

    monkeypatch.setattr(replay, "_train", noted)
    replay.run()
    assert sorted(chosen) == list(range(8)), "each once"


def test_figures_and_text_by_hand() -> None:
    runs = [
        Replayed(found=10.0, trials=3.0, epochs=40, regret=0.0),
        Replayed(found=20.0, trials=5.0, epochs=42, regret=0.0001),
        Replayed(epochs=44, regret=0.002),
    ]
    assert figures(runs, 100) == ["20 (20 to never)", "20.0%", "5", "2 of 3", "42", "0.010"]
    assert figures(runs[2:], 100)[:3] == ["never (never to never)", "never", "never"]
    text = section(made(), 2, {"TPE": runs}, "python -m benchmarks.search")
    assert "8 configurations, 2 nets each, 4 epochs. A trial is 2 nets and reports" in text
    assert ": 32 in all." in text and ": 32 epochs in all." in section(made(), 1, {}, "")
    assert "The best mean is 62.00%; 1 configurations are within" in text


def test_a_table_is_read_as_it_was_recorded(tmp_path: Path) -> None:
    file = tmp_path / "digits.csv"
    file.write_text(
        "configuration,net,model.filters,model.kernel,model.dropout,model.init,optimizer,"
        "momentum.lr,adam.lr,rmsprop.lr,train.batch_size,1,2\n"
        "0,1,20,3,0.2,xavier,adam,,0.01,,100,0.5,0.6\n0,2,20,3,0.2,xavier,adam,,0.01,,100,0.7,0.8\n"
        "1,1,9,5,0.0,he,momentum,0.1,,,32,0.5,\n1,2,9,5,0.0,he,momentum,0.1,,,32,,\n"
    )
    curves = read("digits", file)
    assert curves.params[0] == {
        "model.filters": 20, "model.kernel": 3, "model.dropout": 0.2, "model.init": "xavier",
        "optimizer": "adam", "adam.lr": 0.01, "train.batch_size": 100,
    }  # fmt: skip
    assert curves.values.shape == (2, 2, 2) and curves.values[0, 1, 1] == 0.8
    assert list(curves.final) == [pytest.approx(0.7), -math.inf]


def test_curves_of_one_space_are_a_prior_of_another(tmp_path: Path) -> None:
    file = write_results(read("digits"), tmp_path / "digits.csv")
    mnist = settings_of("mnist", f"study.prior=[{file}]", "budget.trials=150")
    space = Space.parse(dict(mnist.space))
    past = read_past_results(file, mnist.study, space)
    assert len(past.results) == 150 and past.results[0].tried["model"] == "contest"


def test_priors_are_what_other_data_have_taught() -> None:
    assert priors_for("digits") == {}
    known = priors_for("mnist")
    assert known.keys() == {"fashion", "digits"}
    assert all(prior.first for prior in known.values())
