"""The pace of a training run, and what a signal does to it."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path
from types import FrameType, TracebackType

_log = logging.getLogger(__name__)

LOG_EVERY = 10
"""Steps between lines of the log, at most."""


class Interrupted(SystemExit):
    """A signal ended the run after a checkpoint was written; exits with 128 + its number."""


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
        _log.warning(
            f"stopped by {signal.Signals(number).name} at step {step}; continue with "
            f"'placewise train DATA --out {run} --resume'"
        )
        raise Interrupted(128 + number)
