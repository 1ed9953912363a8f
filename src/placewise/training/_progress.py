"""What the user sees of a training run: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType

from rich.console import Console as RichConsole
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

HEARTBEAT = 10.0
"""Seconds between lines where there is no terminal."""


class Interrupted(SystemExit):
    """A signal ended the run after a checkpoint was written; exits with 128 + its number."""


class Console:
    """Tells the user, unless it is to be quiet.

    Args:
        quiet: say nothing.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self._rich = RichConsole(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """One line."""
        self._rich.print(text, markup=False)

    @contextmanager
    def training(self, step: int, steps: int) -> Iterator[Bar]:
        """A bar for the steps."""
        if self.quiet or not sys.stderr.isatty():
            yield Lines(self, steps)
            return
        columns = (
            TextColumn("step {task.completed:.0f}/{task.total:.0f}"),
            BarColumn(bar_width=None),
            TextColumn("{task.description}"),
            TimeRemainingColumn(compact=True),
        )
        with Progress(*columns, console=self._rich) as progress:
            task = progress.add_task("", total=steps, completed=step)
            yield Live(progress, int(task))


class Pace:
    """Images a second, validations and pauses left out.

    Args:
        batch: images in a step.

    Example:
        >>> pace = Pace(8)
        >>> pace.step(0.5), pace.step(0.3), pace.speed()
        (None, None, 20.0)
    """

    def __init__(self, batch: int) -> None:
        self.batch, self.steps, self.seconds = batch, 0, 0.0

    def step(self, seconds: float) -> None:
        """A step took this long."""
        self.steps += 1
        self.seconds += seconds

    def speed(self) -> float:
        """Images a second since the last call."""
        speed = self.steps * self.batch / max(self.seconds, 1e-9)
        self.steps, self.seconds = 0, 0.0
        return speed


class Bar:
    """Where a training run stands."""

    def __init__(self) -> None:
        self.loss = self.speed = float("nan")
        self.validation = ""

    def step(self, step: int, *, loss: float, speed: float) -> None:
        """After some steps."""
        self.loss, self.speed = loss, speed
        self.show(step)

    def validated(self, said: str) -> None:
        """After a validation, with its score in words."""
        self.validation = said

    def show(self, step: int) -> None:
        """Bring the display up to date."""

    def words(self) -> str:
        """Loss, score on validation images and speed."""
        score = f"{self.validation}  " if self.validation else ""
        return f"loss {self.loss:.4g}  {score}{self.speed:.1f} images/s"


class Live(Bar):
    """A bar on a terminal."""

    def __init__(self, progress: Progress, task: int) -> None:
        super().__init__()
        self._progress, self._task = progress, task

    def show(self, step: int) -> None:
        """Move the bar."""
        from rich.progress import TaskID

        self._progress.update(TaskID(self._task), completed=step, description=self.words())


class Lines(Bar):
    """A line now and then."""

    def __init__(self, console: Console, steps: int) -> None:
        super().__init__()
        self._console, self._steps = console, steps
        self._started = self._last = time.monotonic()
        self._first: int | None = None

    def show(self, step: int) -> None:
        """Say a line if the last is long ago."""
        now = time.monotonic()
        first_line = self._first is None
        self._first = step if self._first is None else self._first
        if first_line or now - self._last >= HEARTBEAT or step == self._steps:
            self._last = now
            done = max(1, step - self._first)
            left = (now - self._started) / done * (self._steps - step)
            remaining = "" if first_line else f", {left / 60:.1f} min left"
            self._console.say(f"step {step}/{self._steps}  {self.words()}{remaining}")


class Stop:
    """Turns SIGTERM, SIGINT and SIGUSR1 into a flag; the second one leaves at once."""

    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

    def __init__(self) -> None:
        self.asked = False
        self.number = 0

    def __enter__(self) -> Stop:
        try:
            self._before = {s: signal.signal(s, self._note) for s in self.signals}
        except ValueError:  # not the main thread: whoever is may stop us otherwise
            self._before = {}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            os._exit(128 + number)
        self.asked, self.number = True, number

    def leave(self, run: Path, step: int) -> None:
        """End the program with the documented exit code."""
        number = self.number or signal.SIGTERM
        print(
            f"stopped by {signal.Signals(number).name} at step {step}; continue with "
            f"'placewise train DATA --out {run} --resume'",
            file=sys.stderr,
        )
        raise Interrupted(128 + number)
