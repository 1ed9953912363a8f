"""Files that survive: atomic, checksummed, never executable.

A file is written beside its place, flushed and renamed over it, and its folder is flushed: after a
crash at any moment the older or the newer file stands there, whole. JSON and checkpoints carry a
SHA-256 of ours, since neither format would notice a flipped bit. A checkpoint is one standard
safetensors file, which any reader of that format opens; nothing in it is ever executed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as format_tensors

from placewise.errors import CheckpointError

JSON: TypeAlias = "Mapping[str, JSON] | Sequence[JSON] | str | int | float | bool | None"
Notice: TypeAlias = Callable[[str], None]
"""Takes one line of news for the user, e.g. `print` or a logger's `warning`."""

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_LONGEST_HEADER = 16 * 2**20
_NO_HASH = "0" * 64
_HASH_IN_HEADER = re.compile(rb'\\"sha256\\":\\"([0-9a-f]{64})\\"\}"')


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        tensors: name -> tensor; each owns its memory.
        facts: settings, step, scores and the like: plain JSON.

    Example:
        >>> Checkpoint({"w": torch.zeros(2)}, {"step": 7}).facts["step"]
        7
    """

    tensors: dict[str, torch.Tensor]
    facts: dict[str, Any]


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
            _remove(temporary)
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
    plain = _plain(path, content)
    if "sha256" in plain:
        raise _unwritten(path, "its field 'sha256' is reserved for the checksum; rename the field")
    write_text(path, json.dumps({**plain, "sha256": _digest(plain)}, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote, without the field `sha256`.

    Raises:
        CheckpointError: the file is missing, is no JSON of ours, or was changed since.

    Example:
        >>> read_json(Path("nowhere.json"))
        Traceback (most recent call last):
        placewise.errors.CheckpointError: nowhere.json cannot be read: No such file or directory...
    """
    data = _read(path)
    try:
        content = dict(json.loads(data))
        stated = content.pop("sha256")
        found = _digest(content)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise _damaged(path, f"it is not JSON of placewise ({error!r})") from error
    if stated != found:
        raise _damaged(path, f"its SHA-256 should be {stated}, but is {found}")
    return content


def save(path: Path, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, JSON]) -> None:
    """Write a checkpoint: one safetensors file with a SHA-256 over every byte of it.

    The metadata has one field, `placewise`: the JSON `{"facts": ..., "sha256": "..."}`, where the
    hash is that of the whole file with 64 zeros in the place of the hash. So the same content is
    always the same bytes.

    Args:
        path: the file to write or replace.
        tensors: dense tensors on any device; floating ones must be finite.
        facts: plain JSON; numbers must be finite.

    Raises:
        CheckpointError: a number is not finite, or the system refused.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     save(Path(folder, "a.safetensors"), {"w": torch.ones(2)}, {"step": 7})
        ...     load(Path(folder, "a.safetensors"))
        Checkpoint(tensors={'w': tensor([1., 1.])}, facts={'step': 7})
    """
    _refuse_non_finite(path, tensors)
    own = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    stamp = _canonical({"facts": _plain(path, facts), "sha256": _NO_HASH})
    data = bytearray(format_tensors(own, {"placewise": stamp}))
    place = _hash_place(path, data)
    data[place] = _file_digest(data, place).encode()
    write_bytes(path, bytes(data))


def load(path: Path, device: str | torch.device = "cpu") -> Checkpoint:
    """Read a checkpoint that `save` wrote onto a device, and verify it.

    Raises:
        CheckpointError: the file is missing, damaged or of another kind.

    Example:
        >>> load(Path("nowhere.safetensors"))
        Traceback (most recent call last):
        placewise.errors.CheckpointError: nowhere.safetensors cannot be read: No such file or ...
    """
    data = _read(path)
    place = _hash_place(path, data)
    stated, found = data[place].decode(), _file_digest(data, place)
    if stated != found:
        raise _damaged(path, f"its SHA-256 should be {stated}, but is {found}")
    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        facts = _plain(path, json.loads(header["__metadata__"]["placewise"])["facts"])
        tensors = parse_tensors(data)
    except (SafetensorError, ValueError, LookupError, TypeError, RuntimeError) as error:
        raise _damaged(path, f"it is not a checkpoint of placewise ({error!r})") from error
    return Checkpoint({name: t.to(device) for name, t in tensors.items()}, facts)


class Checkpoints:
    """The checkpoints of a run: `best.safetensors` and the last two `step-00001234.safetensors`.

    One process at a time may save into a folder; any number may read.

    Args:
        folder: where they lie; made by the first save.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     checkpoints = Checkpoints(Path(folder))
        ...     for step in (10, 20, 30):
        ...         checkpoints.save_step(step, {"w": torch.ones(1)}, {"step": step})
        ...     [path.name for path in checkpoints.steps()], checkpoints.latest(print).facts
        (['step-00000020.safetensors', 'step-00000030.safetensors'], {'step': 30})
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def steps(self) -> list[Path]:
        """Checkpoints of steps that are there, oldest first."""
        return sorted(self.folder.glob(f"step-{'[0-9]' * 8}.safetensors"))

    def save_step(
        self, step: int, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, JSON]
    ) -> None:
        """Save a step; once it is safely there, all others but the one before it are removed.

        Those of later steps are removed too: where a run was resumed from an older checkpoint, they
        are the damaged ones that it could not be resumed from.
        """
        path = self.folder / f"step-{step:08d}.safetensors"
        self._save(path, tensors, facts)
        steps = self.steps()
        here = steps.index(path)
        for other in (*steps[: max(0, here - 1)], *steps[here + 1 :]):
            _remove(other)

    def save_best(self, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, JSON]) -> None:
        """Save the best so far in place of the former best."""
        self._save(self.folder / "best.safetensors", tensors, facts)

    def latest(self, notice: Notice) -> Checkpoint | None:
        """The newest step that is whole, or None where no step was saved.

        `notice` gets one line for each damaged checkpoint that was passed over; if none is whole,
        that is a CheckpointError.
        """
        steps = self.steps()
        return self._first_whole(steps[::-1], notice) if steps else None

    def best(self, notice: Notice) -> Checkpoint:
        """The best checkpoint; where it is missing or damaged, the newest step that is whole.

        `notice` gets one line for each that was missing or damaged; if none is whole, that is a
        CheckpointError.
        """
        return self._first_whole([self.folder / "best.safetensors", *self.steps()[::-1]], notice)

    def _first_whole(self, paths: Sequence[Path], notice: Notice) -> Checkpoint:
        failures = []
        for path in paths:
            try:
                checkpoint = load(path)
            except CheckpointError as error:
                failures.append(str(error))
                continue
            for failure in failures:
                notice(f"{failure}. Going back to {path.name}.")
            return checkpoint
        raise CheckpointError(f"no checkpoint is left to go back to: {'. '.join(failures)}")

    def _save(
        self, path: Path, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, JSON]
    ) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritten(path, f"no folder for it ({error}); choose another") from error
        save(path, tensors, facts)
        for pattern in (".step-*.safetensors.*.tmp", ".best.safetensors.*.tmp"):
            for stray in self.folder.glob(pattern):
                _remove(stray)


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


def _remove(path: Path) -> None:
    """Remove a file that is no longer needed; where that fails, the next save tries again."""
    with contextlib.suppress(OSError):
        path.unlink()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}; check the path") from error


def _unwritten(path: Path, why: str) -> CheckpointError:
    return CheckpointError(f"{path} was not written: {why}")


def _damaged(path: Path, why: str) -> CheckpointError:
    return CheckpointError(
        f"{path} is damaged or of another kind: {why}; use another checkpoint or train again"
    )


def _hash_place(path: Path, data: bytes | bytearray) -> slice:
    """Where the hash stands in a checkpoint."""
    length = int.from_bytes(data[:8], "little")
    if length > _LONGEST_HEADER:
        raise _damaged(path, f"its header would have {length} bytes, {_LONGEST_HEADER} are allowed")
    if length + 8 > len(data):
        raise _damaged(path, f"it ends after {len(data)} bytes, before the end of its header")
    found = list(_HASH_IN_HEADER.finditer(data, 8, 8 + length))
    if len(found) != 1:
        raise _damaged(path, f"its header has {len(found)} checksums of placewise instead of 1")
    return slice(*found[0].span(1))


def _file_digest(data: bytes | bytearray, place: slice) -> str:
    """SHA-256 of a checkpoint with zeros in the place of the hash."""
    view = memoryview(data)
    digest = hashlib.sha256(view[: place.start])
    digest.update(_NO_HASH.encode())
    digest.update(view[place.stop :])
    return digest.hexdigest()


def _canonical(content: JSON) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(content: JSON) -> str:
    return hashlib.sha256(_canonical(content).encode()).hexdigest()


def _plain(path: Path, content: Mapping[str, JSON]) -> dict[str, Any]:
    """Content as it will be read back."""
    try:
        where = _first_non_finite(content)
        if where is None:
            return dict(json.loads(json.dumps(content)))
    except (TypeError, ValueError, RecursionError) as error:
        raise _unwritten(path, f"it must be plain JSON: numbers, strings, ... ({error})") from error
    raise _unwritten(path, f"{where} is not a finite number; use null where nothing is known")


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


def _refuse_non_finite(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    bad = [
        name
        for name, tensor in tensors.items()
        if (tensor.is_floating_point() or tensor.is_complex())
        and not bool(torch.isfinite(tensor).all())
    ]
    if bad:
        names = ", ".join(bad[:5]) + (f" and {len(bad) - 5} more" if len(bad) > 5 else "")
        why = f"not finite: {names}; older checkpoints are kept; try a lower learning rate"
        raise _unwritten(path, why)
