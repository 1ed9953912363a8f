"""Checkpoints: one standard safetensors file each, checksummed, never executed.

Any reader of the safetensors format opens them. They carry a SHA-256 of ours, since the format
would not notice a flipped bit; `placewise.files` writes them whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as format_tensors
from torch import Tensor

from placewise.errors import CheckpointError
from placewise.files import (
    JSON,
    Notice,
    canonical,
    damaged,
    plain_json,
    read_bytes,
    remove,
    unwritten,
    write_bytes,
)

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

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


Kind = tuple[str, tuple[int, ...]]
"""Type and shape of a tensor, the type as safetensors writes it, e.g. "F32"."""


@dataclass(frozen=True)
class Header:
    """What a checkpoint says of itself before any tensor is read.

    Attributes:
        path: the file.
        tensors: kind of each by name.
        facts: as in `Checkpoint`.
    """

    path: Path
    tensors: dict[str, Kind]
    facts: dict[str, Any]


Check = Callable[[Header], None]
"""Raises a CheckpointError where a checkpoint is not wanted."""


def save(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, JSON]) -> None:
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
    if bad := _not_finite(tensors):
        why = f"not finite: {bad}; older checkpoints are kept; try a lower learning rate"
        raise unwritten(path, why)
    own = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    stamp = canonical({"facts": plain_json(path, facts), "sha256": _NO_HASH})
    data = bytearray(format_tensors(own, {"placewise": stamp}))
    place = _hash_place(path, data)
    data[place] = _file_digest(data, place).encode()
    write_bytes(path, bytes(data))


def load(path: Path, device: str | torch.device = "cpu", check: Check | None = None) -> Checkpoint:
    """Read a checkpoint that `save` wrote onto a device, and verify it.

    Args:
        path: the file.
        device: where its tensors are wanted.
        check: looks at the header before anything large is read.

    Raises:
        CheckpointError: the file is missing, damaged or of another kind.

    Example:
        >>> load(Path("nowhere.safetensors"))
        Traceback (most recent call last):
        placewise.errors.CheckpointError: nowhere.safetensors cannot be read: No such file or ...
    """
    header = _header(path)
    if check:
        check(header)
    data = read_bytes(path)
    place = _hash_place(path, data)
    stated, found = data[place].decode(), _file_digest(data, place)
    if stated != found:
        raise damaged(path, f"its SHA-256 should be {stated}, but is {found}")
    try:
        tensors = parse_tensors(data)
    except (SafetensorError, ValueError, LookupError, TypeError, RuntimeError) as error:
        raise damaged(path, f"it is not a checkpoint of placewise ({error!r})") from error
    if bad := _not_finite(tensors):
        raise damaged(path, f"not finite: {bad}")
    return Checkpoint({name: t.to(device) for name, t in tensors.items()}, header.facts)


def _header(path: Path) -> Header:
    """The header of a checkpoint; its checksum is not looked at."""
    try:
        with path.open("rb") as file:
            start = file.read(8)
            length = int.from_bytes(start, "little")
            data = start + file.read(min(length, _LONGEST_HEADER + 1))
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}; check the path") from error
    _hash_place(path, data)
    try:
        content = json.loads(data[8:])
        facts = plain_json(path, json.loads(content.pop("__metadata__")["placewise"])["facts"])
        tensors = {
            name: (str(one["dtype"]), tuple(map(int, one["shape"])))
            for name, one in content.items()
        }
        end = max((int(one["data_offsets"][1]) for one in content.values()), default=0)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(path, f"it is not a checkpoint of placewise ({error!r:.200})") from error
    if size != 8 + length + end:
        raise damaged(path, f"it should have {8 + length + end} bytes, and has {size}")
    return Header(path, tensors, facts)


class Checkpoints:
    """The checkpoints of a run: `best.safetensors` and the last two `step-00001234.safetensors`.

    One process at a time may save into a folder; any number may read.

    Args:
        folder: where they lie; made by the first save, within a folder that is there.

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
        self, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, JSON]
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
            remove(other)

    def save_best(self, tensors: Mapping[str, Tensor], facts: Mapping[str, JSON]) -> None:
        """Save the best so far in place of the former best."""
        self._save(self.folder / "best.safetensors", tensors, facts)

    def latest(self, notice: Notice, check: Check | None = None) -> Checkpoint | None:
        """The newest step that is whole, or None where no step was saved.

        `notice` gets one line for each damaged checkpoint that was passed over; if none is whole,
        that is a CheckpointError.
        """
        steps = self.steps()
        return self._first_whole(steps[::-1], notice, check) if steps else None

    def best(self, notice: Notice, check: Check | None = None) -> Checkpoint:
        """The best checkpoint; where it is missing or damaged, the newest step that is whole.

        `notice` gets one line for each that was missing or damaged; if none is whole, that is a
        CheckpointError.
        """
        paths = [self.folder / "best.safetensors", *self.steps()[::-1]]
        return self._first_whole(paths, notice, check)

    def _first_whole(
        self, paths: Sequence[Path], notice: Notice, check: Check | None
    ) -> Checkpoint:
        failures = []
        for path in paths:
            try:
                checkpoint = load(path, check=check)
            except CheckpointError as error:
                failures.append(str(error))
                continue
            for failure in failures:
                notice(f"{failure}. Going back to {path.name}.")
            return checkpoint
        raise CheckpointError(f"no checkpoint is left to go back to: {'. '.join(failures)}")

    def _save(self, path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, JSON]) -> None:
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise unwritten(path, f"no folder for it ({error}); choose another") from error
        save(path, tensors, facts)
        for pattern in (".step-*.safetensors.*.tmp", ".best.safetensors.*.tmp"):
            for stray in self.folder.glob(pattern):
                remove(stray)


def _hash_place(path: Path, data: bytes | bytearray) -> slice:
    """Where the hash stands in a checkpoint."""
    length = int.from_bytes(data[:8], "little")
    if length > _LONGEST_HEADER:
        raise damaged(path, f"its header would have {length} bytes, {_LONGEST_HEADER} are allowed")
    if length + 8 > len(data):
        raise damaged(path, f"it ends after {len(data)} bytes, before the end of its header")
    found = list(_HASH_IN_HEADER.finditer(data, 8, 8 + length))
    if len(found) != 1:
        raise damaged(path, f"its header has {len(found)} checksums of placewise instead of 1")
    return slice(*found[0].span(1))


def _file_digest(data: bytes | bytearray, place: slice) -> str:
    """SHA-256 of a checkpoint with zeros in the place of the hash."""
    view = memoryview(data)
    digest = hashlib.sha256(view[: place.start])
    digest.update(_NO_HASH.encode())
    digest.update(view[place.stop :])
    return digest.hexdigest()


def _not_finite(tensors: Mapping[str, Tensor]) -> str:
    """Names of tensors that hold NaN or infinity; empty where none does."""
    bad = [
        name
        for name, tensor in tensors.items()
        if (tensor.is_floating_point() or tensor.is_complex())
        and not bool(torch.isfinite(tensor).all())
    ]
    return ", ".join(bad[:5]) + (f" and {len(bad) - 5} more" if len(bad) > 5 else "")
