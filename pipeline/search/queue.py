"""The only door to the Optuna study while a sweep runs: ask, report, tell, pause, under one lock,
with a ticket for each trial.
"""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from pipeline.events import State, TrialEnded
from pipeline.redact import redact
from pipeline.reporting.foreign_trials import ASKED, is_foreign
from pipeline.reporting.several_nets import NETS, net_values
from pipeline.reporting.stored_state import state_of
from pipeline.search.promotion import Promotion, PromotionRule, Turn
from pipeline.search.rungs import (
    REASON,
    RUNG,
    known_trials,
    pause,
    pause_again,
    promote,
    still_paused,
    tell_pruned,
)
from pipeline.search.storage import asking, reported_epochs, set_state
from pipeline.search.storage_errors import storage_errors
from pipeline.slots.stop_request import FAILED, Stop

Suggest = Callable[[optuna.Trial], list[str]]  # a trial's overrides
Asked = tuple[optuna.Trial, list[str]]
COUNTED = (TrialState.COMPLETE, TrialState.PRUNED)
REPLANNED = "replanned"  # user attribute of a trial: overrides that moved its end while it trained


class TrialQueue:
    """Hands out trials and stores how they end; tickets keep the total exact with any number of
    slots: counted + in flight < total. The point of a grid's failed trial is not tried again.
    """

    def __init__(
        self,
        study: optuna.Study,
        total: int | None,
        stop: Stop,
        max_failed: int,
        rule: PromotionRule | None = None,
    ) -> None:
        self.study = study
        self._wanted = total
        self.most: int | None = None  # that can count at all: a grid has no more points
        self.rule = rule  # of promotions, where trials pause
        # in this run only: a user who restarts has fixed the cause of earlier ones
        self.failed = 0
        self.first_failure = ""
        # why the study may end before it has all its trials, and what said so
        self.enough = ""
        self.may_end: Callable[[Sequence[FrozenTrial]], str] | None = None
        # slot-seconds spent waiting, with no trial left, in case one in flight fails
        self.idle_s = 0.0
        self._max_failed = max_failed
        self._stop = stop
        self._in_flight = 0
        self._changed = threading.Condition(threading.RLock())
        with storage_errors():
            self._attributes = study.user_attrs
            trials = study.get_trials(deepcopy=False, states=COUNTED)
        trials = [trial for trial in trials if self.counts_for_the_budget(trial)]
        self._counted = len(trials)
        self._maximize = study.directions[0] == optuna.study.StudyDirection.MAXIMIZE
        complete = [
            (self._score(t.values[0]), -t.number) for t in trials if t.state == TrialState.COMPLETE
        ]
        self._best = max(complete, default=(-math.inf, 0))  # the earliest on a tie
        stop.on_request.append(self._wake)

    @property
    def single(self) -> bool:
        """Tell whether the study has one objective: only then can trials be pruned."""
        return len(self.study.directions) == 1

    @property
    def total(self) -> int | None:
        """Trials that are to count; None when time is the only limit."""
        return min((n for n in (self._wanted, self.most) if n is not None), default=None)

    @property
    def counted(self) -> int:
        """Trials that count: complete or pruned."""
        return self._counted

    @property
    def left(self) -> int | None:
        """Trials still needed; None when time is the only limit."""
        return None if (total := self.total) is None else max(0, total - self._counted)

    @property
    def finished(self) -> bool:
        """Tell whether the study has all its trials, and none is to be promoted."""
        with self._changed, storage_errors():
            return self._turn() == Turn.NOTHING

    def counts_for_the_budget(self, trial: FrozenTrial) -> bool:
        """Tell whether a stored trial is one of those that the study wants so many of."""
        return trial.state in COUNTED and not self.is_foreign(trial)

    def is_foreign(self, trial: FrozenTrial) -> bool:
        """Tell whether a trial was added through another program."""
        return is_foreign(trial, self._attributes)

    def ask(self, suggest: Suggest) -> Asked | None:
        """Return a trial with its overrides: interrupted ones first, then a promoted or a new one;
        None if none is left or the sweep stops.

        Waits while trials in flight may still fail and need a replacement, or decide a promotion.
        """
        with self._changed:
            while not self._stop.requested:
                with storage_errors():
                    turn = self._turn()
                    if isinstance(turn, Promotion):
                        trial = self.promote(turn)
                        return trial, suggest(trial)
                if turn == Turn.START:
                    return self._start(suggest)
                if turn == Turn.NOTHING:
                    return None
                began = time.monotonic()
                self._changed.wait()
                self.idle_s += time.monotonic() - began
            return None

    def _turn(self) -> Promotion | Turn:
        """Return what a free slot does."""
        total = self.total
        more = total is None or self._counted + self._in_flight < total
        if self.rule is None:
            done = total is not None and self._counted >= total
            return Turn.START if more else Turn.NOTHING if done else Turn.WAIT
        trials = self.study.get_trials(deepcopy=False)
        trials = [trial for trial in trials if not self.is_foreign(trial)]
        if more and any(t.state == TrialState.WAITING and t.params for t in trials):
            return Turn.START  # an interrupted trial
        return self.rule.next_of(known_trials(self.study, trials), more=more)

    def _start(self, suggest: Suggest) -> Asked:
        with storage_errors(), asking(self.study):
            trial = self.study.ask()
            trial.set_user_attr(ASKED, True)
            if self.rule is not None and RUNG not in trial.user_attrs:
                trial.set_user_attr(RUNG, self.rule.first)
            overrides = suggest(trial)
        self._in_flight += 1
        return trial, overrides

    def promote(self, promotion: Promotion) -> optuna.Trial:
        """Let a paused trial run on; return it."""
        with self._changed, storage_errors():
            trial = promote(self.study, promotion)
            self._counted -= 1
            self._in_flight += 1
            return trial

    def until(self, trial: optuna.Trial) -> int | None:
        """Return the epoch at which a trial pauses; None for one that trains to its end."""
        if self.rule is None or REPLANNED in trial.user_attrs:
            return None
        with self._changed, storage_errors():
            rung = int(trial.user_attrs[RUNG])
        return rung if rung < self.rule.epochs else None

    def enter(self) -> None:
        """Take a ticket for a trial that was asked for elsewhere."""
        with self._changed:
            self._in_flight += 1

    def report(self, trial: optuna.Trial, epoch: int, value: float) -> bool:
        """Store the value after an epoch; return whether the trial should be pruned."""
        if not self.single:
            return False
        with self._changed, storage_errors():
            trial.report(value, epoch)
            return trial.should_prune()

    def note(self, trial: optuna.Trial, key: str, value: object) -> None:
        """Store a user attribute of a trial."""
        with self._changed, storage_errors():
            trial.set_user_attr(key, value)

    def reported(self, trial: optuna.Trial) -> set[int]:
        """Return the epochs whose value the study already holds."""
        with self._changed, storage_errors():
            return reported_epochs(self.study, trial)

    def tell(self, trial: optuna.Trial, ended: TrialEnded) -> int | None:
        """Store how the trial ended; if it is the new best, return the number of the previous best.

        An interrupted trial goes back to the queue; a paused one counts, and waits for a promotion.
        """
        with self._changed:
            with storage_errors():
                if ended.state == State.INTERRUPTED:
                    set_state(self.study, trial, TrialState.WAITING)
                elif ended.state == State.PAUSED:
                    pause(self.study, trial, ended.reason)
                else:
                    if ended.reason or self.rule is not None:
                        trial.set_user_attr(REASON, redact(ended.reason))
                    if values := net_values(ended.extra):
                        trial.set_user_attr(NETS, values)
                    self.study.tell(trial, list(ended.objective) or None, TrialState[ended.state])
            return self._count(trial.number, ended)

    def paused(self) -> list[FrozenTrial]:
        """Return the trials that wait for a promotion."""
        with self._changed, storage_errors():
            return still_paused(self.study)

    def pause_again(self, stored: FrozenTrial) -> None:
        """Pause a trial in the queue that a kill has taken back from its rung."""
        with self._changed, storage_errors():
            pause_again(self.study, stored)
            self._counted += 1

    def tell_pruned(self, stored: FrozenTrial) -> None:
        """Tell that a paused trial is pruned, now that the study ends."""
        with self._changed, storage_errors():
            tell_pruned(self.study, stored)

    def end_early(self, *, at_rest: bool = False) -> None:
        """Ask for no more trials than there are if they say that the study may end; with `at_rest`
        only where none is left to go on with.
        """
        if self.may_end is None:
            return
        with self._changed:
            with storage_errors():
                trials = self.study.get_trials(deepcopy=False)
            if self.finished or (at_rest and not all(t.state.is_finished() for t in trials)):
                return
            if reason := self.may_end(list(filter(self.counts_for_the_budget, trials))):
                self.enough, self._wanted = reason, self._counted + self._in_flight
                self._changed.notify_all()

    def is_best(self, number: int, ended: TrialEnded) -> bool:
        """Tell whether a trial that is about to be told is the best complete one so far."""
        return (
            ended.state == State.COMPLETE
            and (self._score(ended.objective[0]), -number) > self._best
        )

    @property
    def best_number(self) -> int | None:
        """The number of the best complete trial; None while there is none."""
        return None if self._best[0] == -math.inf else -self._best[1]

    def counts(self) -> dict[str, int]:
        """Return the number of trials by state, those in the queue as INTERRUPTED."""
        with self._changed, storage_errors():
            trials = self.study.get_trials(deepcopy=False)
        names = [state_of(t) for t in trials if t.state != TrialState.WAITING or t.params]
        return dict(
            Counter("INTERRUPTED" if name in ("WAITING", "RUNNING") else name for name in names)
        )

    def _count(self, number: int, ended: TrialEnded) -> int | None:
        beaten = None
        self._in_flight -= 1
        if ended.state in (State.COMPLETE, State.PRUNED, State.PAUSED):
            self._counted += 1
        if self.is_best(number, ended):
            beaten = None if self._best[0] == -math.inf else -self._best[1]
            self._best = (self._score(ended.objective[0]), -number)
        if ended.state == State.FAIL:
            self._fail(ended.reason)
        self._changed.notify_all()
        return beaten

    def _fail(self, reason: str) -> None:
        self.failed += 1
        if self.most is not None:
            self.most -= 1
        self.first_failure = self.first_failure or reason
        if self.failed >= self._max_failed:
            text = (
                f"{self.failed} trials failed in this run (budget.max_failed), the first: "
                f"{self.first_failure}"
            )
            self._stop.request(text, FAILED)

    def _score(self, value: float) -> float:
        return value if self._maximize else -value

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
