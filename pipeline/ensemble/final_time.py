"""``final.minutes`` while final nets train: each net is told with which step it ends before it
begins, and again after each of its epochs, so that all that follows is done in time too.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cnn_core.replanning import ending_at, planned_steps, whole_epoch
from cnn_core.spec import Spec
from pipeline.configuration import Config
from pipeline.ensemble.duration import NetTime, fitting_share
from pipeline.ensemble.ends import Ends
from pipeline.ensemble.plan import FinalNet, Member
from pipeline.ensemble.what_follows import Following, python_pace
from pipeline.records.time_plans import TimePlanned, note_time
from pipeline.search.budget import PROBE_STEPS, step_seconds
from pipeline.search.study_clock import StudyClock
from pipeline.search.trial import Training
from pipeline.slots.slot import Slot

FEWEST = 3  # epochs of a net that predicts, as long as a member can be left out for them
PROBED = 0.01  # of the time, what measuring one member's batches may take
LEAST_STEPS = 0.1  # of an epoch, however little time there is
FINISHING = 0.5  # of a step, what a batch of a finished net's statistics takes
WINDOW_S = 5.0  # of a net's training, at least, that its pace is known from
# A plan that misses the end by less than so many seconds, or that share of the budget, stays.
MISSED_S, MISSED = 2.0, 0.01


@dataclass
class Course:
    """What is known of one net: as asked for, as planned, its epochs and its pace.

    Its pace is what the clock says between the ends of epochs, over WINDOW_S and more: what passes
    between epochs counts, and one slow epoch says little.
    """

    asked: Spec
    probed_s: float  # seconds of a step, as measured before
    step_s: float
    finishing: float = 0.0  # steps that take as long as its statistics after the last
    spec: Spec | None = None  # None: not begun
    epochs: int = 0
    ended: bool = False
    since: tuple[float, int] | None = None  # seconds used and steps done where the window begins
    usual: float | None = None  # the pace of the first window, over how slow the machine was then

    @property
    def done(self) -> int:
        """The steps done; the last epoch may be shorter than others."""
        steps = self.epochs * whole_epoch(self.asked)
        return steps if self.spec is None else min(steps, planned_steps(self.spec))

    @property
    def time(self) -> NetTime:
        planned = None if self.spec is None else planned_steps(self.spec)
        return NetTime(planned_steps(self.asked), self.step_s, self.done, planned, self.finishing)

    def advance(self, epochs: int, used_s: float) -> bool:
        """Take an epoch into account that ended after `used_s`; return whether the pace is known
        anew.
        """
        self.epochs = epochs
        start_s, start = self.since = self.since or (used_s, self.done)
        if self.done == start or used_s - start_s < WINDOW_S:
            return False
        self.step_s = (used_s - start_s) / (self.done - start)
        self.since = (used_s, self.done)
        return True


class FinalTime:
    """Plans the ends of final nets; thread-safe."""

    def __init__(
        self,
        config: Config,
        clock: StudyClock,
        ends: Ends,
        slots: int,
        courses: Mapping[str, Course],
        following: Following,
    ) -> None:
        self._config, self._clock, self._ends, self._slots = config, clock, ends, slots
        self._courses, self._following = dict(courses), following
        self.plan, self.epochs = "", 0.0  # in words, and of the first net
        # than the machine was when the first nets began, and than batches were measured to be
        self._slower, self._measured_slower = 1.0, 1.0
        self._lock = threading.RLock()

    @property
    def left_s(self) -> float:
        """Seconds left for training: what follows is taken off, at the present pace."""
        return (self._clock.left_s or 0.0) - self._following.seconds * self._slower

    def closing_s(self) -> float | None:
        """Return how long MLflow may be waited for until it has the nets' runs, so that evaluation
        and export follow in time.
        """
        end_s = self._clock.end_s()
        return None if end_s is None else max(1.0, end_s - self._following.after_s * self._slower)

    def begin(self, net: str) -> Spec:
        """Return the spec of a net that begins now, or went on from an earlier run."""
        with self._lock:
            course = self._courses[net]
            if net in self._ends.nets:
                course.spec = self._ends.of(net, course.asked)
                return course.spec
            course.since = (self._clock.used_s, 0)
            spec = ending_at(course.asked, 0, self._last(course, self.share()))
            self._decide(net, course, spec, "")
            return spec

    def advanced(self, net: str, training: Training) -> int | None:
        """Take a net's last epoch into account; return with which step it ends if that moves."""
        with self._lock:
            course, spec = self._courses[net], training.job.spec
            course.spec, known = spec, course.advance(training.epoch, self._clock.used_s)
            self._clock.save()
            if not known:
                return None
            self._paced(course)
            return None if training.epoch >= spec.train.epochs else self._moved(net, course)

    def ended(self, net: str) -> None:
        """Forget a net that is trained."""
        with self._lock:
            self._courses[net].ended = True

    def note(self, text: str, reason: str = "") -> None:
        """Note a plan or an outcome in the study's files."""
        minutes = self._config.final.minutes or 0.0
        entry = TimePlanned(
            stage="final", minutes=minutes, used_s=self._clock.used_s, text=text, reason=reason
        )
        note_time(self._config.paths, entry)

    def _moved(self, net: str, course: Course) -> int | None:
        assert course.spec is not None
        epoch, share, planned = course.epochs, self.share(), planned_steps(course.spec)
        last = max(self._last(course, share), epoch * whole_epoch(course.spec) + 1)
        if last > planned and 2 * epoch * whole_epoch(course.spec) > planned:
            return None  # a schedule that is half through is not stretched
        missed_s = abs(last - planned) * course.step_s
        if missed_s < max(MISSED_S, MISSED * 60 * (self._config.final.minutes or 0.0)):
            return None
        reason = f"a step takes {course.step_s * 1000:.0f} ms, {self.left_s:.0f} s are left"
        self._decide(net, course, ending_at(course.spec, epoch, last), reason)
        return last

    def _decide(self, net: str, course: Course, spec: Spec, reason: str) -> None:
        course.spec = spec
        self._ends.decide(net, spec)
        steps = planned_steps(spec)
        passes = steps / whole_epoch(spec)
        self.note(f"{net} ends after {passes:.1f} epochs, step {steps}", reason)

    def share(self) -> float:
        """Return the share of the steps asked for with which all nets end in time."""
        nets = [course.time for course in self._courses.values() if not course.ended]
        return fitting_share(nets, self._slots, self.left_s)

    @staticmethod
    def _last(course: Course, share: float) -> int:
        steps = planned_steps(course.asked)
        least = max(1, round(LEAST_STEPS * whole_epoch(course.asked)))
        return min(steps, max(least, round(share * steps)))

    def _paced(self, course: Course) -> None:
        """Let what has not begun be as slow as this net has become."""
        course.usual = course.usual or course.step_s / self._slower
        self._slower = course.step_s / course.usual
        self._measured_slower = course.step_s / course.probed_s
        for other in self._courses.values():
            if other.spec is None:
                other.step_s = other.probed_s * self._measured_slower


def measured(
    config: Config,
    slots: Sequence[Slot],
    kept: tuple[StudyClock, Ends],
    members: Sequence[Member],
    nets: Sequence[FinalNet],
) -> FinalTime:
    """Measure batches of the `nets` that are not trained; return what plans their time. The last
    `members` are left out where nets would have too few epochs.
    """
    (clock, ends), limit_s = kept, PROBED * 60 * (config.final.minutes or 0.0)
    finishing = FINISHING * config.final.statistics_batches
    kinds = {net.member.name: net.spec for net in nets}
    paces = {
        name: step_seconds(spec, min(PROBE_STEPS, whole_epoch(spec)), slots, limit_s)
        for name, spec in kinds.items()
    }
    slower = python_pace()
    while True:
        names = {member.name for member in members}
        inside = [net for net in nets if net.member.name in names]
        courses = {}
        for net in inside:
            pace = paces[net.member.name]
            courses[net.key] = Course(net.spec, pace, pace, finishing)
        following = Following.of(config, members, len(slots), slower)
        time = FinalTime(config, clock, ends, len(slots), courses, following)
        train = inside[0].spec.train
        time.epochs = time.share() * train.epochs
        if ends.kept or len(members) == 1 or time.epochs >= min(FEWEST, train.epochs):
            break
        left_out, members = members[-1].name, members[:-1]
        time.note(f"{left_out} is left out", f"{time.epochs:.1f} epochs a net would fit")
    time.plan = (
        f"{len(inside)} nets of {len(members)} members, {time.epochs:.1f} of {train.epochs} epochs "
        f"for the first; {following.seconds:.0f} s for what follows"
    )
    if time.left_s <= 0:
        time.plan += ", for which there is no time: nets get a tenth of an epoch; give more minutes"
    time.note(time.plan)
    ends.members = len(members)
    ends.save()
    return time
