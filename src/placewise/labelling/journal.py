"""A file that only grows: a line for each thing that was done, on the disk before it counts."""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from placewise.errors import CheckpointError, PlacewiseError, SettingsError
from placewise.files import lock, write_bytes


class Journal:
    """Lines of JSON, each with its CRC-32, in a file that one process holds.

    A line counts when `append` returns: then it is on the disk. What a crash cut short was never
    acknowledged, and is taken off when the file is opened again.

    Args:
        path: the file; it is made where it is not there.

    Attributes:
        lines: what the file held when it was opened.

    Raises:
        SettingsError: another process holds the file, or it cannot be written.
        CheckpointError: a line in its middle is damaged.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with Journal(Path(folder, "a.jsonl")) as journal:
        ...         journal.append({"edit": 1})
        ...     with Journal(Path(folder, "a.jsonl")) as journal:
        ...         journal.lines
        [{'edit': 1}]
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                write_bytes(path, b"")
            self._file = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
        except (OSError, PlacewiseError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SettingsError(
                f"{path} cannot be written: {reason}. Labels are kept beside the images; to keep "
                "them elsewhere, name a folder with --out FOLDER"
            ) from error
        try:
            _hold(self._file, path)
            self.lines, self._end = _read(path)
            os.ftruncate(self._file, self._end)
            os.lseek(self._file, self._end, os.SEEK_SET)
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def append(self, line: Mapping[str, Any]) -> None:
        """Add a line and wait until the disk has it.

        Raises:
            CheckpointError: the system refused, e.g. because the disk is full; nothing was added.
        """
        text = json.dumps(line, separators=(",", ":"), allow_nan=False).encode()
        data = b"%08x %s\n" % (zlib.crc32(text), text)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._file, rest) :]
            os.fsync(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._end)
                os.lseek(self._file, self._end, os.SEEK_SET)
            raise CheckpointError(
                f"{self.path} could not be written: {error.strerror or error}; free some space on "
                "the disk, then do the last step again"
            ) from error
        self._end += len(data)

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Whole lines of a journal that another process may hold.

    Raises:
        CheckpointError: a line in its middle is damaged.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The lines, and where the last whole one ends."""
    data, found, end = path.read_bytes(), [], 0
    lines = data.split(b"\n")[:-1]
    for number, line in enumerate(lines, 1):
        crc, _, text = line.partition(b" ")
        if crc != b"%08x" % zlib.crc32(text):
            if number == len(lines):
                break
            raise CheckpointError(
                f"line {number} of {path} is damaged; put back a copy of the file, or rename it to "
                "begin again from the labels beside the images"
            )
        found.append(json.loads(text))
        end += len(line) + 1
    return found, end


def _hold(file: int, path: Path) -> None:
    """Keep other processes from writing to a file as long as this one has it open."""
    try:
        lock(file)
    except OSError as error:
        raise SettingsError(
            f"{path} is in use: another 'placewise label' works on these images; go on there, or "
            "stop it with Ctrl+C"
        ) from error
