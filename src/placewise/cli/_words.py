"""What the verbs share: how words of the command line are read."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TextIO

from placewise.errors import PlacewiseError

Pairs = tuple[str, ...]
"""Settings as KEY=VALUE."""

BEGUN: ContextVar[float] = ContextVar("BEGUN")
"""When the command began, as `time.monotonic` counts."""

_LOADED = time.monotonic()


def age() -> float:
    """Seconds since this process began; where the system does not say, since this was loaded."""
    try:
        fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        began = int(fields[19]) / os.sysconf("SC_CLK_TCK")  # the 22nd field, after the boot
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - began)
    except (OSError, AttributeError, ValueError, IndexError):
        return time.monotonic() - _LOADED


def import_all(modules: Sequence[str]) -> None:
    """Load the plugins that the user named, from the working folder too."""
    from placewise.family import load_plugin

    if modules and "" not in sys.path:
        sys.path.insert(0, "")
    for name in modules:
        load_plugin(name)


def parse_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """KEY=VALUE pairs; a value is JSON where it parses as such, else text."""
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise PlacewiseError(f"'{pair}' is not KEY=VALUE, e.g. sigma=2")
        try:
            settings[key.replace("-", "_")] = json.loads(value)
        except json.JSONDecodeError:
            settings[key.replace("-", "_")] = value
    return settings


def parse_bytes(text: str) -> int:
    """A number of bytes with its unit; GB and GiB are told apart.

    Example:
        >>> parse_bytes("1.5GB"), parse_bytes("512 MiB"), parse_bytes("4096")
        (1500000000, 536870912, 4096)
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) *(?:([kmgt])(i?)b?|b)?", text.strip().lower())
    if not found:
        raise PlacewiseError(f"'{text}' is no number of bytes; write e.g. 800MB, 2GB or 2GiB")
    power = " kmgt".index(found[2] or " ")
    return int(float(found[1]) * (1024 if found[3] else 1000) ** power)


def teller(quiet: bool) -> Callable[[str], None]:
    """What prints, or does not."""
    return (lambda text: None) if quiet else tell


def tell(text: str) -> None:
    """Print; a reader that has left, e.g. `head`, is no reason to stop."""
    _print(text, sys.stdout)


def complain(text: str) -> None:
    """The same on standard error."""
    _print(text, sys.stderr)


def _print(text: str, stream: TextIO) -> None:
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        silence(stream)


def silence(stream: TextIO) -> None:
    """Send whatever a stream still holds, and all that is written to it later, nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
