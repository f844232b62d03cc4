"""Rules of promotion: tables worked by hand, and what must hold of every course of a search."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.configuration import compose
from pipeline.events import State
from pipeline.search.curve_noise import crossing_noise
from pipeline.search.messages import plan_lines
from pipeline.search.promotion import (
    AsyncHalving,
    GrowingHalving,
    Promotion,
    PromotionRule,
    TopKept,
    TrialSoFar,
    Turn,
    rule_of,
)
from pipeline.search.queue import TrialQueue
from pipeline.search.session import make_problem
from pipeline.slots.stop_request import Stop
from tests.pipeline.here_slot import HereSlot

ASHA = AsyncHalving(min_epochs=1, factor=3, epochs=9)  # rungs 1, 3, 9


def so_far(state: str, *scores: float, until: int | None = None) -> TrialSoFar:
    """Return a trial with these scores after epochs 1, 2, ..."""
    by_epoch = dict(enumerate(scores, 1))
    return TrialSoFar(State[state], by_epoch, len(scores) if until is None else until)


def paused(*scores: float) -> TrialSoFar:
    return so_far("PAUSED", *scores)


def numbered(*trials: TrialSoFar) -> dict[int, TrialSoFar]:
    return dict(enumerate(trials))


def test_rungs_are_powers_and_the_last_epoch() -> None:
    assert ASHA.rungs == (1, 3, 9)
    assert AsyncHalving(2, 3, 10).rungs == (2, 6, 10)
    assert AsyncHalving(4, 2, 4).rungs == (4,)
    assert AsyncHalving(9, 3, 4).rungs == (4,), "a look longer than a trial is the whole trial"


def test_one_in_three_goes_on_and_new_trials_come_meanwhile() -> None:
    two = numbered(paused(0.1), paused(0.3))
    assert ASHA.next_of({}, more=True) == Turn.START
    assert ASHA.next_of(two, more=True) == Turn.START, "a third of two is none"
    assert ASHA.next_of(numbered(*two.values(), paused(0.2)), more=True) == Promotion(1, 3)


def test_the_highest_rung_goes_first_and_ties_go_to_the_earliest() -> None:
    third = [paused(0.5, 0.6, 0.7), paused(0.5, 0.6, 0.7), paused(0.4, 0.5, 0.6)]
    first = [paused(0.9), paused(0.9), paused(0.1)]
    assert ASHA.next_of(numbered(*third, *first), more=True) == Promotion(0, 9)
    gone = numbered(so_far("RUNNING", 0.5, 0.6, 0.7, until=9), *third[1:], *first)
    assert ASHA.next_of(gone, more=True) == Promotion(3, 3)


def test_a_late_comer_is_promoted_beside_an_early_one() -> None:
    early = so_far("COMPLETE", 0.5, *[0.6] * 8)
    rest = [paused(0.1), paused(0.2), paused(0.3)]
    table = numbered(early, *rest, paused(0.9), paused(0.8))
    assert ASHA.next_of(table, more=True) == Promotion(4, 3), "0.9 and 0.8 are the best two of six"


def test_a_failed_trial_is_the_worst_where_it_was_going() -> None:
    table = numbered(paused(0.1), so_far("FAIL", until=1), paused(0.2))
    assert ASHA.next_of(table, more=True) == Promotion(2, 3)
    there = numbered(*[so_far("FAIL", 0.5, 0.5, until=3)] * 2, paused(0.5, 0.5, 0.2))
    assert ASHA.next_of(there, more=True) == Promotion(2, 9), "they never got to epoch 3"
    assert ASHA.next_of(numbered(*[so_far("FAIL", until=1)] * 3), more=False) == Turn.NOTHING


def test_the_end_has_a_complete_trial() -> None:
    two = [paused(0.1), paused(0.3)]
    assert ASHA.next_of(numbered(*two), more=False) == Promotion(1, 9)
    running = so_far("RUNNING", until=1)
    assert ASHA.next_of(numbered(*two, running), more=False) == Turn.WAIT
    done = so_far("COMPLETE", *[0.2] * 9)
    assert ASHA.next_of(numbered(*two, done), more=False) == Promotion(1, 3)
    assert ASHA.next_of(numbered(two[0], done), more=False) == Turn.NOTHING
    further = numbered(paused(0.9), paused(0.2, 0.2, 0.2))
    assert ASHA.next_of(further, more=False) == Promotion(1, 9), "the furthest, then the best"


def test_a_trial_that_another_pruner_ended_counts_and_is_never_promoted() -> None:
    ended = so_far("PRUNED", 0.9, 0.9)
    assert ASHA.next_of(numbered(ended, paused(0.1), paused(0.2)), more=True) == Turn.START
    assert ASHA.next_of(numbered(ended), more=False) == Turn.NOTHING


def test_a_look_that_became_longer_is_made_up_for() -> None:
    later = AsyncHalving(2, 3, 9)
    assert later.next_of(numbered(paused(0.1), paused(0.1, 0.2)), more=True) == Promotion(0, 2)


RISING = [(0.1 * n, 0.1 * n + 0.01, 0.1 * n + 0.02) for n in range(1, 4)]


def test_pasha_stays_low_while_the_top_two_rungs_rank_alike() -> None:
    rule = GrowingHalving(1, 3, 27, epsilon=0.0)
    table = numbered(*(paused(*scores) for scores in RISING))
    assert rule.ceiling(table) == 1
    assert rule.next_of(table, more=True) == Turn.START, "nothing goes beyond epoch 3"
    assert rule.next_of(table, more=False) == Promotion(2, 27), "the best then trains to the end"


def test_pasha_adds_a_rung_when_two_trials_change_places_by_more_than_epsilon() -> None:
    swapped = [(0.1, 0.2, 0.5), (0.2, 0.2, 0.3), (0.3, 0.3, 0.4)]
    table = numbered(*(paused(*scores) for scores in swapped))
    assert GrowingHalving(1, 3, 27, epsilon=0.0).ceiling(table) == 2
    assert GrowingHalving(1, 3, 27, epsilon=0.0).next_of(table, more=True) == Promotion(0, 9)
    # at the first place is trial 0 in place of 2: 0.1 and 0.3 after the first epoch
    assert GrowingHalving(1, 3, 27, epsilon=0.15).ceiling(table) == 2
    assert GrowingHalving(1, 3, 27, epsilon=0.21).ceiling(table) == 1
    one = numbered(paused(*swapped[0]), paused(0.2))
    assert GrowingHalving(1, 3, 27, epsilon=0.0).ceiling(one) == 1, "one trial ranks like itself"


def test_noise_is_the_distance_of_curves_that_cross_twice() -> None:
    zigzag = [{1: 0.1, 2: 0.3, 3: 0.2}, {1: 0.2, 2: 0.2, 3: 0.3}]
    assert crossing_noise(zigzag) == pytest.approx(0.1)
    assert crossing_noise([{1: 0.1, 2: 0.3, 3: 0.4}, {1: 0.2, 2: 0.2, 3: 0.3}]) == 0.0, "once"
    assert crossing_noise([]) == 0.0
    # After epoch 9 they differ by 0.3, after epoch 3, the first both have in common, by 0.1.
    longer = [{**zigzag[0], 9: 0.9}, zigzag[1]]
    assert crossing_noise(longer) == pytest.approx(0.1)


def test_pasha_takes_places_lost_to_noise_for_none() -> None:
    noisy = [(0.20, 0.22, 0.21), (0.21, 0.21, 0.22), (0.05, 0.06, 0.07)]
    table = numbered(*(paused(*scores) for scores in noisy))
    assert GrowingHalving(1, 3, 27).ceiling(table) == 1
    swapped = numbered(paused(0.21, 0.22, 0.20), paused(0.20, 0.21, 0.22), paused(*noisy[2]))
    assert GrowingHalving(1, 3, 27).ceiling(swapped) == 2, "they cross but once: no noise is known"


def test_top_k_looks_at_everything_and_then_trains_the_best() -> None:
    rule = TopKept(look=1, keep=2, epochs=9)
    four = [paused(0.1), paused(0.4), paused(0.3), paused(0.2)]
    assert rule.next_of(numbered(*four), more=True) == Turn.START
    looking = numbered(*four, so_far("RUNNING", until=1))
    assert rule.next_of(looking, more=False) == Turn.WAIT
    assert rule.next_of(numbered(*four), more=False) == Promotion(1, 9)
    four[1] = so_far("RUNNING", 0.4, 0.5, until=9)
    assert rule.next_of(numbered(*four), more=False) == Promotion(2, 9)
    four[2] = so_far("COMPLETE", 0.3, *[0.4] * 8)
    assert rule.next_of(numbered(*four), more=False) == Turn.WAIT
    four[1] = so_far("FAIL", 0.4, 0.5, until=9)
    assert rule.next_of(numbered(*four), more=False) == Promotion(3, 9), "the next best steps in"


def test_the_best_are_chosen_in_steps_that_wait_for_all() -> None:
    rule = TopKept(look=1, keep=1, epochs=9, halvings=2)
    assert list(rule.steps) == [(1, 2, 4), (2, 4, 2), (4, 9, 1)]
    six = [paused(score) for score in (0.1, 0.6, 0.5, 0.4, 0.3, 0.2)]
    assert rule.next_of(numbered(*six), more=True) == Turn.START
    for number in (1, 2, 3, 4):
        assert rule.next_of(numbered(*six), more=False) == Promotion(number, 2)
        six[number] = so_far("RUNNING", 0.5, until=2)
    assert rule.next_of(numbered(*six), more=False) == Turn.WAIT
    six[1:4] = [paused(0.6, 0.1), paused(0.5, 0.7), paused(0.4, 0.8)]
    assert rule.next_of(numbered(*six), more=False) == Turn.WAIT, "for trial 4"
    six[4] = paused(0.3, 0.2)
    assert rule.next_of(numbered(*six), more=False) == Promotion(3, 4)
    six[3] = so_far("FAIL", 0.4, 0.8, until=4)
    assert rule.next_of(numbered(*six), more=False) == Promotion(5, 2), "a place is free again"
    six[5] = paused(0.2, 0.1)
    assert rule.next_of(numbered(*six), more=False) == Promotion(2, 4)
    six[2] = paused(0.5, 0.7, 0.7, 0.7)
    assert rule.next_of(numbered(*six), more=False) == Promotion(4, 4)
    six[4] = paused(0.3, 0.2, 0.8, 0.9)
    assert rule.next_of(numbered(*six), more=False) == Promotion(4, 9)
    six[4] = so_far("COMPLETE", 0.3, 0.2, 0.8, *[0.9] * 6)
    assert rule.next_of(numbered(*six), more=False) == Turn.NOTHING
    short = TopKept(look=2, keep=3, epochs=7, halvings=5)
    assert list(short.steps) == [(2, 4, 6), (4, 7, 3)], "no step behind the end"
    assert list(TopKept(look=4, keep=3, epochs=4, halvings=1).steps) == []


def test_shares_of_the_planned_epochs() -> None:
    assert ASHA.share(9) == pytest.approx((9 * 1 + 3 * 2 + 1 * 6) / 81)
    assert ASHA.share(2) == pytest.approx((2 * 1 + 8) / 18), "the best of two goes on to the end"
    assert GrowingHalving(1, 3, 27).share(9) == pytest.approx((9 * 1 + 3 * 2 + 24) / 243)
    assert TopKept(1, 3, 30).share(20) == pytest.approx((20 + 3 * 29) / 600)
    assert TopKept(1, 30, 30).share(20) == 1.0
    assert TopKept(1, 2, 10, 2).share(30) == pytest.approx((30 + 8 * 1 + 4 * 2 + 2 * 6) / 300)


RULES = st.one_of(
    st.builds(AsyncHalving, st.integers(1, 4), st.integers(2, 4), st.integers(1, 20)),
    st.builds(GrowingHalving, st.integers(1, 4), st.integers(2, 4), st.integers(1, 20)),
    st.builds(TopKept, st.integers(1, 4), st.integers(1, 4), st.integers(1, 20), st.integers(0, 4)),
)


def search(
    rule: PromotionRule, trials: int, slots: int, draw: st.DataObject
) -> tuple[dict[int, TrialSoFar], list[Promotion]]:
    """Return how a search ends in which each epoch has any score and any running trial may be the
    next to end its stretch, or to fail.
    """
    table: dict[int, TrialSoFar] = {}
    made: list[Promotion] = []
    while True:
        running = [number for number, trial in table.items() if trial.state == State.RUNNING]
        started = sum(trial.state != State.FAIL for trial in table.values())
        turn = rule.next_of(table, more=started < trials)
        if len(running) == slots or turn in (Turn.WAIT, Turn.NOTHING):
            if not running:
                assert turn == Turn.NOTHING, "a slot waits for nobody"
                return table, made
            table = end_of(table, draw.draw(st.sampled_from(running)), rule, draw)
        elif isinstance(turn, Promotion):
            assert table[turn.number].state == State.PAUSED
            made.append(turn)
            going = replace(table[turn.number], state=State.RUNNING, until=turn.until)
            table[turn.number] = going
        else:
            table[len(table)] = TrialSoFar(State.RUNNING, {}, rule.first)


def end_of(
    table: Mapping[int, TrialSoFar], number: int, rule: PromotionRule, draw: st.DataObject
) -> dict[int, TrialSoFar]:
    trial = table[number]
    failed = draw.draw(st.integers(0, 9)) == 0 and len(table) < 30
    state = State.COMPLETE if trial.until == rule.epochs else State.PAUSED
    last = trial.until - failed
    new = {e: draw.draw(st.integers(0, 5)) / 5 for e in range(trial.epoch + 1, last + 1)}
    scores = {**trial.scores, **new}
    return {**table, number: TrialSoFar(State.FAIL if failed else state, scores, trial.until)}


@settings(max_examples=50)
@given(RULES, st.integers(1, 12), st.integers(1, 4), st.data())
def test_every_search_ends_with_a_complete_trial_and_promotes_none_twice(
    rule: PromotionRule, trials: int, slots: int, data: st.DataObject
) -> None:
    table, made = search(rule, trials, slots, data)
    states = [trial.state for trial in table.values()]
    assert State.COMPLETE in states or set(states) == {State.FAIL}
    assert len([state for state in states if state != State.FAIL]) == trials
    assert len(set(made)) == len(made)
    for number in table:
        targets = [promotion.until for promotion in made if promotion.number == number]
        assert targets == sorted(targets)


@settings(max_examples=50)
@given(st.integers(2, 4), st.integers(1, 12), st.integers(1, 4), st.data())
def test_whoever_is_among_the_best_of_a_rung_has_left_it(
    factor: int, trials: int, slots: int, data: st.DataObject
) -> None:
    rule = AsyncHalving(1, factor, 9)
    table, _ = search(rule, trials, slots, data)
    for rung, following in zip(rule.rungs, rule.rungs[1:], strict=False):
        scores = {n: trial.score_at(rung) for n, trial in table.items()}
        known = sorted((-s, n) for n, s in scores.items() if s is not None)
        for _, number in known[: len(known) // factor]:
            assert table[number].state == State.FAIL or table[number].epoch >= following


@given(st.permutations(range(40)), st.integers(1, 40), st.integers(2, 4))
def test_each_rung_keeps_the_best_floor_of_the_one_below(
    order: list[int], n: int, factor: int
) -> None:
    rule = AsyncHalving(1, factor, 9)
    merits = [merit for merit in order if merit < n]
    table = numbered(*(paused(float(merit)) for merit in merits))
    while isinstance(turn := rule.next_of(table, more=False), Promotion):
        state = "COMPLETE" if turn.until == 9 else "PAUSED"
        table[turn.number] = so_far(state, *[float(merits[turn.number])] * turn.until)
    kept = n
    for rung in rule.rungs[1:]:
        kept //= factor
        there = {merits[number] for number, trial in table.items() if trial.epoch >= rung}
        assert there == set(range(n - max(kept, 1), n)), "or the best alone"
    trained = sum(trial.epoch for trial in table.values())
    assert trained == pytest.approx(rule.share(n) * n * 9)


@pytest.mark.parametrize(("epochs", "said"), [(2, True), (3, False)])
def test_a_rung_that_no_trial_pauses_at_is_told_of(tmp_path: Path, epochs: int, said: bool) -> None:
    words = ["experiment=smoke", f"root={tmp_path}", "pruner=promote", f"train.epochs={epochs}"]
    config = compose(words)
    queue = TrialQueue(optuna.create_study(), 4, Stop(), 1, rule_of(config.pruner, epochs))
    machine = HereSlot(Stop()).machine()
    lines = plan_lines(config, make_problem(config)[0], queue, 1, machine)
    found = [line for line in lines if "no trial pauses" in line]
    assert bool(found) is said
    if said:
        assert found[0].endswith("the first look is after epoch 2 and a trial has 2")
