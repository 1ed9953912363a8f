"""Files that survive: atomic and checksummed.

A file is written next to its place, flushed and renamed over it, and its folder is flushed: after a
crash at any moment either the older or the newer file is there, whole. JSON carries a SHA-256 of
ours, since the format would not notice a flipped bit.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import reprlib
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from placewise.errors import CheckpointError, SettingsError

JSON: TypeAlias = "Mapping[str, JSON] | Sequence[JSON] | str | int | float | bool | None"
Notice: TypeAlias = Callable[[str], None]
"""Takes one line of news for the user, e.g. `print` or a logger's `warning`."""

LONGEST = 32 * 2**20
"""Bytes of a file of JSON, at most."""

MOST = 1_000_000
"""Values in a file of JSON, at most: as many images as a run may have."""

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)

_FAR = 1 << 30
"""The byte that Windows locks: far behind what others may want to read."""


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that at every moment the older or the newer one stands there, whole.

    Args:
        path: the file to write or replace; its folder must exist.
        data: the new content.

    Raises:
        CheckpointError: the system refused, e.g. because the disk is full; an older file is kept
            and nothing half-written is left.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     write_bytes(Path(folder, "a.bin"), b"whole")
        ...     Path(folder, "a.bin").read_bytes()
        b'whole'
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    kept = "the older file is kept" if path.exists() else "nothing was left behind"
    try:
        try:
            _write_through(temporary, _NEW_FILE, data)
            temporary.replace(path)
        except BaseException:
            remove(temporary)
            raise
        kept = "the new file is in its place, but may not survive a power failure"
        if os.name == "posix":  # elsewhere a folder cannot be opened
            _write_through(path.parent, os.O_RDONLY)
    except OSError as error:
        raise CheckpointError(
            f"{path} could not be written: {error.strerror or error}; {kept}; make sure that its "
            "folder exists, is writable and has free space, then try again"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with the same care as `write_bytes`.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     write_text(Path(folder, "a.txt"), "12 px")
        ...     Path(folder, "a.txt").read_text(encoding="utf-8")
        '12 px'
    """
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, content: Mapping[str, JSON]) -> None:
    """Write JSON with a field `sha256` over the rest, so that `read_json` notices any change.

    The hash is that of the rest as ASCII JSON with sorted keys and without blanks.

    Args:
        path: the file to write or replace.
        content: plain JSON without a field `sha256`; numbers must be finite.

    Raises:
        CheckpointError: the content is not plain finite JSON, or the system refused.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     write_json(Path(folder, "run.json"), {"sigma": 1.5})
        ...     read_json(Path(folder, "run.json"))
        {'sigma': 1.5}
    """
    plain = plain_json(path, content)
    if "sha256" in plain:
        raise unwritten(path, "its field 'sha256' is reserved for the checksum; rename the field")
    data = (json.dumps({**plain, "sha256": digest_of(plain)}, indent=2) + "\n").encode()
    if why := _too_large(len(data), data):
        raise unwritten(path, why)
    write_bytes(path, data)


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote, without the field `sha256`.

    Raises:
        CheckpointError: the file is missing, too large, is no JSON of ours, or was changed since.

    Example:
        >>> read_json(Path("nowhere.json"))
        Traceback (most recent call last):
        placewise.errors.CheckpointError: nowhere.json cannot be read: No such file or directory...
    """
    data = read_bytes(path, LONGEST + 1)
    if why := _too_large(len(data), data):
        raise damaged(path, why)
    try:
        content = dict(json.loads(data))
        stated = content.pop("sha256")
        found = digest_of(content)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise damaged(path, f"it is not JSON of placewise ({error!r})") from error
    if stated != found:
        raise damaged(path, f"its SHA-256 should be {reprlib.repr(stated)}, but is {found}")
    return content


def _too_large(size: int, data: bytes) -> str:
    """Why a text of JSON is not read; empty where it is."""
    if size > LONGEST:
        return f"it has more than {LONGEST} bytes"
    if data.count(b",") + data.count(b"[") + data.count(b"{") > MOST:
        return f"it has more than {MOST} values"
    return ""


def claim_folder(out: Path, result: str, *, resume: bool | None = None) -> None:
    """Refuse a folder that holds something else; nothing is written.

    Args:
        out: where something is to be written: a new or empty folder, or that of a former result.
        result: name of the file that marks the folder of a former result of this kind; empty: the
            folder must be new or empty.
        resume: whether a former result is continued; None: it is replaced.

    Raises:
        SettingsError: something else is there, or a former result and `resume` is False.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     claim_folder(Path(folder), "check.json")  # it is empty
        ...     _ = Path(folder, "mine.txt").write_text("mine")
        ...     claim_folder(Path(folder), "check.json")
        Traceback (most recent call last):
        placewise.errors.SettingsError: ... is not empty and holds no check.json; name a new or ...
    """
    if not folder_exists(out):
        return
    used = any(not is_leftover(path, result) for path in out.iterdir())
    former = bool(result) and (out / result).is_file()
    if former and resume is False:
        raise SettingsError(
            f"{out} holds a former {result}; add --resume to continue it, or name a new folder"
        )
    if used and not former:
        what = f" and holds no {result}" if result else ""
        raise SettingsError(f"{out} is not empty{what}; name a new or empty folder")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    r"""A file that is written bit by bit and takes its place once it is whole.

    Args:
        path: the file to write or replace; its folder must exist.

    Yields:
        Where to write it.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with replacing(Path(folder, "a.csv")) as part:
        ...         _ = part.write_text("frame\n0\n")
        ...     [file.name for file in Path(folder).iterdir()]
        ['a.csv']
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        _write_through(temporary, os.O_RDWR)
        temporary.replace(path)
        if os.name == "posix":
            _write_through(path.parent, os.O_RDONLY)
    except OSError as error:
        raise CheckpointError(
            f"{path} could not be written: {error.strerror or error}; make sure that its folder is "
            "writable and has free space, then try again"
        ) from error
    finally:
        remove(temporary)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where they are not there yet.

    Raises:
        SettingsError: the system refused.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     make_folder(Path(folder, "runs", "mouse"))
        ...     Path(folder, "runs", "mouse").is_dir()
        True
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"the folder {path} cannot be made: {error.strerror or error}; name another folder"
        ) from error


def lock(handle: int) -> None:
    """Lock an open file, until it is closed or this process ends, however that ends.

    Args:
        handle: of the file.

    Raises:
        OSError: another process has locked it, or the file system has no locks.
    """
    if os.name == "posix":
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    import msvcrt

    place = os.lseek(handle, 0, os.SEEK_CUR)
    os.lseek(handle, _FAR, os.SEEK_SET)
    try:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    finally:
        os.lseek(handle, place, os.SEEK_SET)


def folder_exists(path: Path) -> bool:
    """Whether a folder is there already.

    Raises:
        SettingsError: none can be there: a file is in the way, or nothing may be written.

    Example:
        >>> folder_exists(Path("new", "folder"))
        False
    """
    try:
        if path.exists():
            above = path
        else:
            above = next(folder for folder in path.absolute().parents if folder.exists())
    except OSError as error:  # e.g. a name that is too long
        raise SettingsError(f"no folder can be {path}: {error.strerror}; name another") from error
    if not above.is_dir():
        raise SettingsError(f"{above} is a file, and a folder is needed; name a new folder")
    if not os.access(above, os.W_OK):
        raise SettingsError(f"{above} may not be written to; name another folder")
    return above == path


def is_leftover(path: Path, result: str) -> bool:
    """Whether this is what is left where the first file of a result was not written to its end.

    Or the lock of who is about to write it.
    """
    return path.name.startswith(f".{result}.") and path.suffix in (".tmp", ".lock")


def _write_through(path: Path, flags: int, data: bytes = b"") -> None:
    """Write to a file or folder and wait until the disk has it."""
    handle = os.open(path, flags, 0o666)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(handle, left) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def file_stamp(path: Path) -> tuple[Path, int, int]:
    """The file, its size and its time: a file that has changed is another one.

    Raises:
        OSError: there is no such file, or the system refuses.
    """
    facts = path.stat()
    return path, facts.st_size, facts.st_mtime_ns


def remove(path: Path) -> None:
    """Remove a file that is no longer needed; where that fails, the next save tries again."""
    with contextlib.suppress(OSError):
        path.unlink()


def read_bytes(path: Path, most: int = -1) -> bytes:
    """Content of a file, up to a number of bytes; our error where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}; check the path") from error


def unwritten(path: Path, why: str) -> CheckpointError:
    """The error for a file that was not written."""
    return CheckpointError(f"{path} was not written: {why}")


def damaged(path: Path, why: str) -> CheckpointError:
    """The error for a file that is not what was once written."""
    return CheckpointError(
        f"{path} is damaged or of another kind: {why}; use another checkpoint or train again"
    )


def canonical(content: JSON) -> str:
    """JSON as ASCII with sorted keys and without blanks."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest_of(content: JSON) -> str:
    """SHA-256 of plain JSON: the field `sha256` of a file that holds it.

    Example:
        >>> digest_of({"a": 1}) == digest_of({"a": 2})
        False
    """
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def plain_json(path: Path, content: Mapping[str, JSON]) -> dict[str, Any]:
    """Content as it will be read back."""
    try:
        where = _first_non_finite(content)
        if where is None:
            return dict(json.loads(json.dumps(content)))
    except (TypeError, ValueError, RecursionError) as error:
        raise unwritten(path, f"it must be plain JSON: numbers, strings, ... ({error})") from error
    raise unwritten(path, f"{where} is not a finite number; use null where nothing is known")


def _first_non_finite(content: JSON, where: str = "") -> str | None:
    """Path of the first NaN or infinity, e.g. "curve[3].loss"."""
    if isinstance(content, float):
        return None if math.isfinite(content) else where
    if isinstance(content, Mapping):
        parts = ((f"{where}.{key}" if where else str(key), v) for key, v in content.items())
    elif isinstance(content, list | tuple):
        parts = ((f"{where}[{index}]", v) for index, v in enumerate(content))
    else:
        return None
    return next((found for at, v in parts if (found := _first_non_finite(v, at))), None)
