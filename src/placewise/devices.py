"""Where networks run: a device by its name, its threads, and the memory of the process."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

from placewise.errors import SettingsError


def device_of(name: str | torch.device = "auto") -> torch.device:
    """The device of this name.

    Args:
        name: "auto" (cuda where there is one, else mps, else cpu), "cpu", "cuda", "cuda:1", "mps",
            or a device.

    Raises:
        SettingsError: torch knows no such device, or this machine has none.

    Example:
        >>> device_of("cpu")
        device(type='cpu')
    """
    if name == "auto":
        able = (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available()))
        return torch.device(next((kind for kind, there in able if there), "cpu"))
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ImportError) as error:
        raise SettingsError(
            f"device '{name}' cannot be used on this machine; use --device auto, cpu, cuda, "
            "cuda:1 or mps"
        ) from error
    return device


@contextmanager
def threads(count: int | None = None) -> Iterator[None]:
    """Torch's threads within, and as many as before behind.

    Args:
        count: of threads; None: as many as there are, until they are changed within.

    Example:
        >>> with threads(1):
        ...     torch.get_num_threads()
        1
    """
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fast_memory() -> None:
    """Let glibc keep freed memory for this process: networks take and free the same blocks.

    Else every large map is given back to the system, and its pages are cleared once more when the
    next one is taken, which takes half the time of a large image. Threads that begin later share
    one heap, since blocks of more than 64 MB are kept in no other.
    """
    trim_threshold, mmap_threshold, arena_max = -1, -3, -8
    _ask_glibc("mallopt", mmap_threshold, 1 << 30)
    _ask_glibc("mallopt", trim_threshold, (1 << 31) - 1)
    _ask_glibc("mallopt", arena_max, 1)


def give_back_memory() -> None:
    """Give what `fast_memory` keeps back to the system: not every freed block fits the next map."""
    _ask_glibc("malloc_trim", 0)


def _ask_glibc(function: str, *numbers: int) -> None:
    """Call a function of Linux's C library; where there is another one, nothing is done."""
    with suppress(OSError, AttributeError):
        getattr(ctypes.CDLL("libc.so.6"), function)(*numbers)
