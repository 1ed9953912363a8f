"""A folder has one writer: whoever writes into it holds a lock, which ends with its process.

The lock is the system's own (`flock`; on Windows a locked byte) on a small file in the folder,
which says who holds it. A process that is killed loses it at once, and nothing stale is left to be
judged by its age. The writer keeps the file open, and so it also knows when its folder was removed,
or another was put in its place.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

from placewise.errors import PlacewiseError, SettingsError
from placewise.files import lock, make_folder, remove

_LOG = logging.getLogger("placewise")

_UNABLE = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
"""What a file system says that has no locks."""

TRIES = 100
"""How often a folder is entered anew that another process removes at the same moment."""

PAUSE = 0.1
"""Seconds after which it is tried again whether a file is free."""


class Writer:
    """The one that writes into a folder.

    Args:
        folder: the folder.
        file: the locked file in it.
        handle: the same, open.
    """

    def __init__(self, folder: Path, file: Path, handle: int) -> None:
        self.folder, self._file, self._handle = folder, file, handle

    @property
    def there(self) -> bool:
        """Whether the folder is still the one that was locked."""
        return _same(self._file, self._handle)

    def check(self) -> None:
        """Go on only where the folder is still there.

        Raises:
            SettingsError: it was removed, or another is in its place.
        """
        if not self.there:
            raise SettingsError(
                f"{self.folder} was removed or replaced while this command was writing into it; "
                "nothing more is written: give the command again, and leave the folder alone "
                "until it ends"
            )


@contextlib.contextmanager
def writing(folder: Path, result: str, what: str = "a training") -> Iterator[Writer]:
    """Be the one writer of a folder, which is made where it is not there yet.

    Args:
        folder: the folder.
        result: name of the file that marks the folder; the lock is named after it, and
            `claim_folder` knows both.
        what: what a second writer is told is going on.

    Yields:
        The writer, which says whether the folder is still there. If it is not, any error within is
        told as that.

    Raises:
        SettingsError: another process writes into it, or it was removed in the meantime.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as place:
        ...     with writing(Path(place, "run"), "run.json") as writer:
        ...         with writing(Path(place, "run"), "run.json"):
        ...             pass
        Traceback (most recent call last):
        placewise.errors.SettingsError: a training is writing into ... already: process ...
    """
    made = not folder.exists()
    file = folder / f".{result}.lock"
    handle = _enter(folder, file, what)
    writer = Writer(folder, file, handle)
    try:
        yield writer
    except (OSError, PlacewiseError):
        writer.check()
        raise
    finally:
        if writer.there:  # the file of another may lie there by now
            remove(file)
        os.close(handle)
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()  # nothing was written: it leaves as it was found


@contextlib.contextmanager
def alone(file: Path) -> Iterator[None]:
    """Wait until no other process is within this for the same file, which is made and stays.

    Args:
        file: what the processes meet at; its folder must exist.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as place, alone(Path(place, ".lock")):
        ...     print("nobody else")
        nobody else
    """
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        while not _locked(handle):
            time.sleep(PAUSE)
        yield
    finally:
        os.close(handle)


def _enter(folder: Path, file: Path, what: str) -> int:
    """The locked file, open, with a line in it that says by whom."""
    for _ in range(TRIES):
        make_folder(folder)
        try:
            handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # the folder was removed since
            continue
        except OSError as error:
            why = error.strerror or error
            raise SettingsError(f"{folder} may not be written to ({why}); name another") from error
        if not _locked(handle):
            holder = os.read(handle, 200).decode("utf-8", "replace").strip()
            os.close(handle)
            raise SettingsError(
                f"{what} is writing into {folder} already: {holder or 'another process'}; wait for "
                "it, stop it, or name another folder"
            )
        if _same(file, handle):
            os.ftruncate(handle, 0)
            os.write(handle, f"process {os.getpid()} on {platform.node()}\n".encode())
            return handle
        os.close(handle)  # its holder has just removed it
    raise SettingsError(f"{folder} is being removed again and again; name another folder")


def _same(file: Path, handle: int) -> bool:
    """Whether a path still leads to an open file."""
    try:
        return os.path.samestat(file.stat(), os.fstat(handle))
    except OSError:
        return False


def _locked(handle: int) -> bool:
    """Lock an open file; False where another has it."""
    try:
        lock(handle)
    except OSError as error:
        if error.errno not in _UNABLE:
            return False
        _LOG.warning("this file system has no locks: see to it that nothing else writes there")
    return True
