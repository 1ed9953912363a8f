"""What long work says while it runs: one display of progress, and one console for messages.

Library functions know neither. They call `progress(done, total)` where the caller gave such a
function, and log with `logging.getLogger("placewise")`. The command line passes a `Display` and
opens the console; any other function or handler does as well.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from placewise.wording import number, printable

if TYPE_CHECKING:
    from rich.progress import Progress

HEARTBEAT = 10.0
"""Seconds between lines where there is no terminal."""


class Display(AbstractContextManager["Display"]):
    """Shows progress on standard error: a bar on a terminal, elsewhere a line every ten seconds.

    It is called with what is done and how much there is, and after that with named values if there
    are any; so it serves as `progress` of any function and as a callback of a training.

    Args:
        what: what is counted, e.g. "images".
        quiet: show nothing.

    Example:
        >>> with Display("images", quiet=True) as progress:
        ...     progress(1, 2)
        ...     progress.line(2, 2, {"loss": 0.12345})
        '2 of 2 images  loss 0.1235'
    """

    def __init__(self, what: str, quiet: bool = False) -> None:
        self.what, self.quiet = what, quiet
        self._bar: Progress | None = None
        self._origin: tuple[float, float] | None = None
        self._last = time.monotonic()

    def __enter__(self) -> Display:
        if not self.quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            columns = (BarColumn(bar_width=24), TextColumn("{task.description}", markup=False))
            console = Console(stderr=True, highlight=False)
            self._bar = Progress(*columns, console=console, transient=True)
            self._bar.add_task("", total=None)
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(
        self, done: float, total: float, values: Mapping[str, float | str] | None = None
    ) -> None:
        """Bring the display up to date.

        Args:
            done: how much is done.
            total: how much there is.
            values: numbers or words to show with it, e.g. {"loss": 0.1}; with values the first and
                the last call always give a line.
        """
        if self.quiet:
            return
        now = time.monotonic()
        first = self._origin is None
        self._origin = self._origin or (done, now)
        if self._bar is not None:
            line = self.line(done, total, values)
            self._bar.update(self._bar.task_ids[0], completed=done, total=total, description=line)
        elif now - self._last >= HEARTBEAT or (values and (first or done >= total)):
            self._last = now
            print(self.line(done, total, values), file=sys.stderr, flush=True)

    def line(
        self, done: float, total: float, values: Mapping[str, float | str] | None = None
    ) -> str:
        """What is done, the values, and the time that remains, in one line."""
        parts = [f"{_count(done)} of {_count(total)} {self.what}"]
        for name, value in (values or {}).items():
            parts.append(f"{name} {value if isinstance(value, str) else number(value, 4)}")
        left = self._left(done, total)
        return printable("  ".join(parts)) + (f", {duration(left)} left" if left else "")

    def _left(self, done: float, total: float) -> float | None:
        """Seconds that remain at the pace since the first call; None before there is a pace."""
        begun, since = self._origin or (done, 0.0)
        if done <= begun:
            return None
        return (time.monotonic() - since) / (done - begun) * (total - done)


def duration(seconds: float) -> str:
    """A length of time in the unit that people would use.

    Example:
        >>> duration(42.3), duration(600), duration(20_000)
        ('42 s', '10 min', '5.6 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


class _Console(logging.Handler):
    """Writes messages to what is standard error at the time: a bar may have taken its place."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message; a closed standard error is no reason to stop."""
        try:
            lines = (printable(line) for line in self.format(record).split("\n"))
            print("\n".join(lines), file=sys.stderr, flush=True)
        except (OSError, ValueError):
            self.handleError(record)


@contextmanager
def console(quiet: bool = False) -> Iterator[None]:
    """Let the package's messages appear on standard error, as the command line does.

    Args:
        quiet: warnings and errors only.

    Example:
        >>> with console(quiet=True):
        ...     logging.getLogger("placewise").isEnabledFor(logging.INFO)
        False
    """
    logger, handler = logging.getLogger("placewise"), _Console()
    level = logger.level
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _count(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"
