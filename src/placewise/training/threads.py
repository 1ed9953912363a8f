"""How many threads a step takes, when other processes want the processor too.

Threads that share one convolution wait for each other many hundred times in a step. Where another
process has a core for a while, all wait for the one that stands in its queue: on two cores with
eight processes, steps with two threads took thirteen times as long as those with one. So with fewer
threads a training comes to its fair share, and with all of them it is fastest where it is alone.

Whether it is alone is seen from the calling thread: the share of the time in which the processor
works for it. Where that says that another number may be better, it is tried for two steps, and the
better one is kept.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from pathlib import Path

from placewise.training.progress import LOG_EVERY

CROWDED, ALONE = 0.8, 0.93
"""Shares of the time in which the processor works for the calling thread: below the first, fewer
threads are tried, and above the second more."""

TRIED = 2
"""Steps of a trial; the last one counts, since the first one prepares itself for the new number."""

BETTER = 0.9
"""What a step of another number of threads may take of the time at most to be preferred."""

LONGEST_WAIT = 64
"""Blocks between trials at most; each that fails doubles them."""

SLICE = 100_000
"""Nanoseconds; the shortest that Linux grants."""

_CALLS = {"x86_64": 314, "aarch64": 274}
"""Number of the system call sched_setattr."""


class Threads:
    """Chooses between one thread and all.

    Args:
        every: how many there are.
        crowded: whether others seem to want the processor at the start.

    Attributes:
        changed: whether the last choice was another than the one before it.

    Example:
        >>> threads = Threads(2)
        >>> threads.chosen(), threads.stepped(1.0, 0.5), threads.chosen()
        ((2, 10), None, (1, 2))
    """

    def __init__(self, every: int, crowded: bool = False) -> None:
        self.every, self.now = every, 1 if crowded else every
        self.changed = False
        self._trial = False
        self._before = self._last = (0.0, 0.0)  # seconds of a step, share of the processor
        self._taken: list[tuple[float, float]] = []
        self._wait = self._rest = 1

    def stepped(self, seconds: float, busy: float) -> None:
        """A step was taken.

        Args:
            seconds: that it took.
            busy: seconds of it in which the processor worked for the calling thread.
        """
        self._taken.append((seconds, busy / max(seconds, 1e-9)))

    def chosen(self) -> tuple[int, int]:
        """(threads of the next block, steps that it may have at most)."""
        self.changed = False
        if self.every == 1 or not self._taken:
            return self.now, TRIED if self._trial else LOG_EVERY
        if self._trial:
            self._judge()
        else:
            seconds, shares = zip(*self._taken, strict=True)
            self._last = (sum(seconds) / len(seconds), sum(shares) / len(shares))
            self._rest -= 1
            self._trial = self._rest <= 0 and self._doubtful(self._last[1])
            if self._trial:
                self._before = self._last
                self._switch()
        self._taken = []
        return self.now, TRIED if self._trial else LOG_EVERY

    def _doubtful(self, share: float) -> bool:
        return share < CROWDED if self.now == self.every else share > ALONE

    def _judge(self) -> None:
        """Keep what was tried, or go back."""
        self._trial = False
        if self._taken[-1][0] < BETTER * self._before[0]:
            self._wait = self._rest = 1
            return
        self._switch()
        self._wait = self._rest = min(LONGEST_WAIT, 2 * self._wait)

    def _switch(self) -> None:
        self.now, self.changed = self.every if self.now == 1 else 1, True


def crowded(cores: int) -> bool:
    """Whether other processes have wanted much of the processor in the last minute.

    Args:
        cores: that this process may use.
    """
    try:
        return os.getloadavg()[0] > 0.75 * cores
    except (OSError, AttributeError):
        return False


def short_slices() -> None:
    """Ask Linux (6.12 and later) to let the threads of this process run for short times, but soon.

    A process gets no more of the processor by this. But a thread for which the others wait does not
    wait for the end of a long slice of somebody else.
    """
    number = _CALLS.get(platform.machine())
    if sys.platform != "linux" or number is None:
        return
    call = ctypes.CDLL(None).syscall
    for entry in Path("/proc/self/task").iterdir():
        thread = int(entry.name)
        try:
            if os.sched_getscheduler(thread) != os.SCHED_OTHER:
                continue
            kind = os.getpriority(os.PRIO_PROCESS, thread)
        except OSError:  # it has just ended
            continue
        # size, policy, flags, nice, priority, slice, deadline, period
        asked = struct.pack("=IIQiIQQQ", 48, os.SCHED_OTHER, 0, kind, 0, SLICE, 0, 0)
        call(number, thread, ctypes.create_string_buffer(asked, 48), 0)  # a refusal changes nothing
