"""Sound in WAV files: RIFF with PCM of 8 to 64 bits, or floats."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from placewise.errors import ImageError
from placewise.readers import Facts, Reader

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
"""Format tags of Microsoft's "Multiple channel audio data and WAVE files"."""

OPEN = 0xFFFFFFFF
"""Length of data that a program wrote before it knew it."""


@dataclass(frozen=True)
class _Sound:
    """Where the samples of a file lie, and how they are written."""

    tag: int
    channels: int
    rate: int
    bytes: int
    start: int
    frames: int


class Wav(Reader):
    """WAV with whole numbers of 8, 16, 24, 32 or 64 bits, or floats of 32 or 64, of any channels.

    Whole numbers become −1 … 1; those of 8 bits have their zero at 128. Floats stay as they are.
    """

    endings = (".wav", ".wave")
    axes = (1,)
    what = "a WAV file with PCM or float samples"

    def look(self, path: Path) -> Facts:
        """See `Reader.look`."""
        with path.open("rb") as file:
            sound = _sound(file, path)
        return Facts((sound.frames,), sound.channels, (1 / sound.rate,))

    def values(self, path: Path) -> NDArray[Any]:
        """See `Reader.values`."""
        with path.open("rb") as file:
            sound = _sound(file, path)
            file.seek(sound.start)
            data = file.read(sound.frames * sound.channels * sound.bytes)
        return _numbers(data, sound).reshape(-1, sound.channels)


def _sound(file: BinaryIO, path: Path) -> _Sound:
    """Read the chunks up to the samples."""
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        raise ImageError(f"{path}: begins with {head[:4]!r}, needed RIFF … WAVE; convert it to WAV")
    form = b""
    while len(chunk := file.read(8)) == 8:
        name, length = chunk[:4], int.from_bytes(chunk[4:], "little")
        if name == b"fmt ":
            form = file.read(min(length, 64))
            file.seek(length + length % 2 - len(form), 1)
        elif name == b"data":
            return _described(form, file, length, path)
        else:
            file.seek(length + length % 2, 1)
    raise ImageError(f"{path}: has no samples; write it again, whole")


def _described(form: bytes, file: BinaryIO, length: int, path: Path) -> _Sound:
    """What the format chunk says of samples that begin here."""
    tag, channels, rate, _, block, bits = struct.unpack("<HHIIHH", form[:16])
    if tag == EXTENSIBLE:
        tag = int.from_bytes(form[24:26], "little")
    start, end = file.tell(), file.seek(0, 2)
    width = block // max(1, channels)
    known = {PCM: (1, 2, 3, 4, 8), FLOAT: (4, 8)}.get(tag, ())
    if width not in known or bits > 8 * width or not rate or block != width * channels:
        raise ImageError(
            f"{path}: holds {bits}-bit samples of format {tag} at {rate} Hz; needed PCM of 8, 16, "
            "24, 32 or 64 bits or floats of 32 or 64; convert it"
        )
    if length != OPEN and start + length > end:
        raise ImageError(
            f"{path}: is cut short: {end - start:,} bytes of {length:,} bytes of samples are "
            "there; fetch it again, whole"
        )
    count = min(length, end - start) // block
    return _Sound(tag, channels, rate, width, start, count)


def _numbers(data: bytes, sound: _Sound) -> NDArray[Any]:
    """Samples as numbers."""
    if sound.tag == FLOAT:
        return np.frombuffer(data, f"<f{sound.bytes}")
    if sound.bytes == 1:
        return (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128
    if sound.bytes == 3:
        parts = np.frombuffer(data, np.uint8).reshape(-1, 3)
        wide = np.zeros((len(parts), 4), np.uint8)
        wide[:, 1:] = parts  # the lowest byte is 0, so the sign stays
        return wide.view("<i4")[:, 0] / 2.0**31
    values = np.frombuffer(data, f"<i{sound.bytes}")
    return np.asarray(values / 2.0 ** (8 * sound.bytes - 1))
