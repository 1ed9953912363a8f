"""How far a training is: by its steps, by the clock, or as another run was.

Steps are decided in *blocks*: how many are taken next, between which places of the schedule they
lie, and whether a line of the log and a validation follow. The learning rate is a function of the
place alone, so whoever knows the places can repeat the training.

By the clock, the place is the share of the time that has passed when a block ends, as the last
blocks predict it. So the learning rate reaches 0 when the time is over, whatever else the machine
does meanwhile. The number of threads is decided too (see `placewise.training.threads`), since it
changes the last bits. Places and threads are random as the clock is; hence they are numbers in
`log.jsonl`, and `Recorded` takes them from there.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from placewise.errors import SettingsError
from placewise.family import from_file
from placewise.files import read_json, write_json
from placewise.run import Run
from placewise.training.progress import LOG_EVERY
from placewise.training.threads import Threads

WARM_UP = 0.05
"""Share of the schedule in which the learning rate rises."""

GRAIN = 0.01
"""Share of the time that a block takes, at most."""

FIRST_IMAGE = 25.0
"""Seconds of training before the first validation, which draws the first image."""

LEAST_REST = 8.0
"""Seconds of training between validations at least."""

VALIDATING = 0.04
"""Share of the time that validations may take."""

VALIDATIONS = 24
"""Validations in a run that is long enough."""

LEAST_SHARE = 0.1
"""Share of the processor that drawing at the end is thought to get at least."""

SCHEDULE = "schedule.json"
"""File of a run that repeats another: its places."""


class Block(BaseModel):
    """Steps that are decided together.

    Attributes:
        start: steps that are taken before it.
        stop: steps that are taken after it.
        begins: place at its start, in the unit of its schedule.
        ends: place at its end.
        threads: of the processor; 0: as many as there are.
        reports: whether a line of the log follows.
        validates: whether a validation follows.
        last: whether the training ends with it.

    Example:
        >>> block = Block(start=4, stop=6, begins=0.5, ends=1.0, reports=True)
        >>> block.place(4), block.place(5)
        (0.75, 1.0)
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: int = Field(ge=0, le=10**9)
    stop: int = Field(ge=1, le=10**9)
    begins: float = Field(ge=0, le=1e9, allow_inf_nan=False)
    ends: float = Field(ge=0, le=1e9, allow_inf_nan=False)
    threads: int = Field(default=0, ge=0, le=2**16)
    reports: bool = False
    validates: bool = False
    last: bool = False

    @classmethod
    def of(cls, values: Sequence[float]) -> Block:
        """A block from its fields as numbers, as processes send it to each other.

        Args:
            values: in the order of the fields.
        """
        start, stop, begins, ends, threads, *flags = values
        reports, validates, last = map(bool, flags)
        return cls(
            start=int(start),
            stop=int(stop),
            begins=begins,
            ends=ends,
            threads=int(threads),
            reports=reports,
            validates=validates,
            last=last,
        )

    def place(self, step: int) -> float:
        """Where the schedule is once this step is taken, the first of a training being 0."""
        share = (self.ends - self.begins) * (step + 1 - self.start)
        return self.begins + share / (self.stop - self.start)


class Schedule(ABC):
    """Which block comes next.

    Attributes:
        whole: place at the end.
        warm: place up to which the learning rate rises.
        by_clock: whether places are shares of time, which the log keeps.
    """

    whole: float
    warm: float
    by_clock: ClassVar[bool]

    @abstractmethod
    def block(self, step: int) -> Block:
        """The block that the next step belongs to.

        Args:
            step: steps that are taken.
        """

    @abstractmethod
    def finished(self, step: int) -> bool:
        """Whether no step follows.

        Args:
            step: steps that are taken.
        """

    @abstractmethod
    def total(self, step: int) -> int:
        """Steps of the whole training, as far as they are known.

        Args:
            step: steps that are taken.
        """

    def stepped(self, seconds: float, busy: float) -> None:  # noqa: B027
        """A step was taken; who does not follow the clock does not ask how long it took.

        Args:
            seconds: that it took.
            busy: seconds of it in which the processor worked for the calling thread.
        """

    def validated(self, seconds: float) -> None:  # noqa: B027
        """A validation was made.

        Args:
            seconds: that it took.
        """

    def kept(self) -> TimedState | None:
        """What a checkpoint keeps of the clock; None where the schedule does not follow it."""
        return None


@final
class Counted(Schedule):
    """A number of steps: an exact function of the settings.

    Args:
        steps: all of them.
        every: steps between validations.

    Example:
        >>> Counted(25, every=12).block(10).stop, Counted(25, every=12).block(20).stop
        (12, 24)
    """

    by_clock = False

    def __init__(self, steps: int, every: int) -> None:
        self.whole, self.steps, self.every = float(steps), steps, every
        self.warm = float(max(1, round(WARM_UP * steps)))

    def block(self, step: int) -> Block:
        """To the next line of the log or validation."""
        ends = [step + size - step % size for size in (LOG_EVERY, self.every)]
        stop = min(*ends, self.steps)
        last = stop == self.steps
        return Block(
            start=step,
            stop=stop,
            begins=step,
            ends=stop,
            reports=last or stop % LOG_EVERY == 0,
            validates=last or stop % self.every == 0,
            last=last,
        )

    def finished(self, step: int) -> bool:
        """Whether all steps are taken."""
        return step >= self.steps

    def total(self, step: int) -> int:
        """The steps that were asked for."""
        return self.steps


@dataclass
class Clock:
    """When the minutes of a training began, and what they must suffice for.

    Attributes:
        begun: reading of `now` at which they began.
        report: whether the validation images are scored and drawn once more within them, after
            the training, as the command line does.
        now: seconds.
    """

    begun: float = field(default_factory=time.monotonic)
    report: bool = False
    now: Callable[[], float] = time.monotonic


Seconds = Annotated[float, Field(ge=0, le=1e10, allow_inf_nan=False)]
"""A length of time, or a share of one."""


class TimedState(BaseModel):
    """What a checkpoint keeps of the clock: a resumed run goes on as if nothing had happened.

    Attributes:
        seconds: that were spent until then; those in which the training stood still do not count.
        origin: seconds that were spent before the first step.
        validated: seconds at the end of the last validation.
        pace: seconds of a step, of late.
        share: of the time in which the processor worked for the training, of late.
        cost: seconds of the last validation.
        taken: (seconds, those in which the processor worked for it) of each of its steps so far.
        block: the last that was begun.
    """

    model_config = ConfigDict(extra="forbid")

    seconds: Seconds = 0.0
    origin: Seconds | None = None
    validated: Seconds = 0.0
    pace: Seconds | None = None
    share: Seconds = 1.0
    cost: Seconds = 0.0
    taken: list[tuple[Seconds, Seconds]] = Field(default=[], max_length=LOG_EVERY)
    block: Block | None = None


@final
class Timed(Schedule):
    """The schedule follows the clock.

    With e seconds spent, e₀ of them before the first step, and E at which the last step must end,
    the place is (e − e₀) / (E − e₀). A block ends where the pace of the last ones says that its
    time is over; the last block has as many steps as still fit. What follows the last step is
    taken off the time before: a validation, the calibration, and the report.

    Args:
        seconds: length of the whole.
        clock: when it began.
        every: steps between validations; None: by the time that they take.
        after: (validations' worth of what follows the last step, seconds of drawing where the
            processor works for nobody else).
        state: of the run that is continued.
        threads: decides how many the processor takes; None: as many as there are.
    """

    by_clock, whole, warm = True, 1.0, WARM_UP

    def __init__(
        self,
        seconds: float,
        clock: Clock,
        every: int | None = None,
        after: tuple[float, float] = (1.0, 0.0),
        state: TimedState | None = None,
        threads: Threads | None = None,
    ) -> None:
        self.threads = threads
        self.seconds, self.clock, self.every, self.after = seconds, clock, every, after
        self.state = state or TimedState()
        self._before = self.state.seconds
        self._paces: dict[int, float] = {}  # by the number of threads

    def spent(self) -> float:
        """Seconds that are spent."""
        return self._before + self.clock.now() - self.clock.begun

    def kept(self) -> TimedState:
        """What a checkpoint keeps."""
        return self.state.model_copy(update={"seconds": self.spent()})

    def block(self, step: int) -> Block:
        """The block that the clock allows; one that was begun is taken to its end."""
        state, spent = self.state, self.spent()
        if state.origin is None:
            state.origin = state.validated = spent
        if state.block is None or step >= state.block.stop:
            state.block = self._decided(step, spent)
        return state.block

    def stepped(self, seconds: float, busy: float) -> None:
        """A step was taken; those of a block give the pace of the next.

        Args:
            seconds: that it took.
            busy: seconds of it in which the processor worked for the calling thread.
        """
        self.state.taken.append((seconds, busy))
        if self.threads is not None:
            self.threads.stepped(seconds, busy)

    def _settle(self) -> None:
        """Take the pace from the last block; that of other threads tells nothing of these."""
        state = self.state
        if not state.taken:
            return
        seconds, busy = (sum(values) for values in zip(*state.taken, strict=True))
        pace, state.taken = seconds / len(state.taken), []
        changed = self.threads is not None and self.threads.changed
        state.pace = pace if state.pace is None or changed else (state.pace + pace) / 2
        if state.block:
            self._paces[state.block.threads] = state.pace
        state.share = (state.share + min(1.0, busy / max(seconds, 1e-9))) / 2

    def validated(self, seconds: float) -> None:
        """A validation was made.

        Args:
            seconds: that it took.
        """
        self.state.cost, self.state.validated = seconds, self.spent()

    def finished(self, step: int) -> bool:
        """Whether the last block is taken."""
        block = self.state.block
        return block is not None and block.last and step >= block.stop

    def total(self, step: int) -> int:
        """The steps that there will be at the pace of now."""
        block, pace = self.state.block, self.state.pace
        if pace is None and self.state.taken:
            pace = self.state.taken[-1][0]
        if not pace or (block and block.last):
            return block.stop if block else step
        return step + max(1, round((self._end() - self.spent()) / pace))

    def _end(self) -> float:
        """Seconds at which the last step must end."""
        state, (validations, drawing) = self.state, self.after
        return self.seconds - validations * state.cost - drawing / max(LEAST_SHARE, state.share)

    def _decided(self, step: int, spent: float) -> Block:
        self._settle()
        state, end = self.state, self._end()
        threads, most = self.threads.chosen() if self.threads is not None else (0, LOG_EVERY)
        if state.block and threads != state.block.threads:
            state.pace = self._paces.get(threads, state.pace)
        begins, pace = (state.block.ends if state.block else 0.0), state.pace or 0.0
        origin = state.origin or 0.0
        count = min(most, max(1, int(GRAIN * self.seconds / pace))) if pace else 1
        if self.every:
            count = min(count, self.every - step % self.every)
        fits = (end - spent) / pace if pace else float(end > spent) * 2
        if last := fits < count + 0.5:
            count = max(1, min(count, round(fits)))
        ends = 1.0 if last else (spent + count * pace - origin) / max(end - origin, 1e-9)
        return Block(
            start=step,
            stop=step + count,
            begins=begins,
            ends=min(1.0, max(begins, ends)),
            threads=threads,
            reports=True,
            validates=last or self._due(step + count, spent + count * pace),
            last=last,
        )

    def _due(self, step: int, spent: float) -> bool:
        """Whether a validation follows the block that ends with this step, at this second."""
        if self.every:
            return step % self.every == 0
        usual = min(FIRST_IMAGE, self.seconds / VALIDATIONS)
        rest = max(LEAST_REST, usual, self.state.cost / VALIDATING)
        return spent - self.state.validated >= rest and self._end() - spent > rest / 2


class Places(BaseModel):
    """What `schedule.json` holds: the places of another run.

    Attributes:
        steps: steps that were taken at the end of each block.
        places: place of the schedule there.
        threads: of the processor in each block; 0: as many as there are.
        validated: those of the steps after which a validation followed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: tuple[int, ...] = Field(min_length=1)
    places: tuple[float, ...]
    threads: tuple[Annotated[int, Field(ge=0, le=2**16)], ...]
    validated: tuple[int, ...]

    @model_validator(mode="after")
    def _in_order(self) -> Places:
        known = [0, *self.steps]
        there = [0.0, *self.places]
        if not len(self.steps) == len(self.places) == len(self.threads):
            raise ValueError("it must have a place and threads for each of the steps")
        if any(a >= b for a, b in pairwise(known)) or known[-1] > 10**9:
            raise ValueError("its steps must rise")
        if not all(0 <= a <= b <= 1 for a, b in pairwise(there)):
            raise ValueError("its places must rise from 0 to 1")
        return self


@final
class Recorded(Schedule):
    """The places of a run by the clock, taken once more.

    Args:
        places: of that run.

    Example:
        >>> places = Places(steps=(1, 5), places=(0.1, 1.0), threads=(2, 1), validated=(5,))
        >>> Recorded(places).block(3).place(2)
        0.55
    """

    by_clock, whole, warm = True, 1.0, WARM_UP

    def __init__(self, places: Places) -> None:
        self.places = places

    def block(self, step: int) -> Block:
        """The block that this step was in."""
        steps, places = self.places.steps, self.places.places
        at = bisect_right(steps, step)
        return Block(
            start=steps[at - 1] if at else 0,
            stop=steps[at],
            begins=places[at - 1] if at else 0.0,
            ends=places[at],
            threads=self.places.threads[at],
            reports=True,
            validates=steps[at] in self.places.validated,
            last=at == len(steps) - 1,
        )

    def finished(self, step: int) -> bool:
        """Whether the run was that long."""
        return step >= self.places.steps[-1]

    def total(self, step: int) -> int:
        """The steps of the run."""
        return self.places.steps[-1]


def places_of(run: Run) -> Places | None:
    """The places that a finished run has gone through; None where it only counted steps.

    Args:
        run: the run.

    Raises:
        SettingsError: it is not finished.
    """
    lines = run.log()
    blocks = [line for line in lines if line.get("place") is not None]
    steps = run.facts.training.get("max_steps")
    ends = blocks[-1]["place"] >= 1 if blocks else bool(lines) and lines[-1]["step"] == steps
    if not ends:
        raise SettingsError(
            f"{run.path} is not finished, so it cannot be repeated; continue it with --resume"
        )
    if not blocks:
        return None
    content: Mapping[str, Sequence[Any]] = {
        "steps": [line["step"] for line in blocks],
        "places": [line["place"] for line in blocks],
        "threads": [line.get("threads") or 0 for line in blocks],
        "validated": [line["step"] for line in lines if "loss" not in line],
    }
    return from_file(Places, run.path / "log.jsonl", dict(content))


def keep_places(places: Places, folder: Path) -> None:
    """Write the places that a run is to repeat into its folder."""
    write_json(folder / SCHEDULE, places.model_dump(mode="json"))


def kept_places(folder: Path) -> Places | None:
    """The places that a run repeats; None for a run that repeats none."""
    file = folder / SCHEDULE
    return from_file(Places, file, read_json(file)) if file.is_file() else None


def learning_rate(place: float, schedule: Schedule, peak: float) -> float:
    """Linear warm-up in the first part of a schedule, then half a cosine to 0.

    Args:
        place: after the step that is taken.
        schedule: says where the warm-up and the whole end.
        peak: the largest.

    Example:
        >>> [round(learning_rate(s + 1, Counted(101, 10), 1.0), 3) for s in (0, 4, 52, 100)]
        [0.2, 1.0, 0.5, 0.0]
    """
    if place <= schedule.warm:
        return peak * place / schedule.warm
    share = (place - schedule.warm) / (schedule.whole - schedule.warm)
    return peak * 0.5 * (1 + math.cos(math.pi * share))
