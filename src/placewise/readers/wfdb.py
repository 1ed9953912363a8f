"""Records of PhysioNet: a header `.hea`, signals `.dat` in formats 212, 16 and 80, marks `.atr`.

After "WFDB Applications Guide", the manual pages header(5), signal(5) and annot(5). Nothing beside
the folder of the header is opened.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.errors import ImageError
from placewise.geometry import FloatArray
from placewise.readers import Facts, Reader

RATE, GAIN = 250.0, 200.0
"""Samples in a second, and steps of the converter for a unit, where a header does not say them."""

BYTES = {16: 2.0, 80: 1.0, 212: 1.5}
"""Bytes of a sample in each format that is read."""

SYMBOLS = dict(enumerate('-NLRaVFJASEj/Q~-|-sT*D"=pB^t+u?![]en@xf()r'))
"""Symbol of each code of an annotation; a hyphen stands where there is none."""

OF_BEATS = frozenset("NLRaVFJASEj/QenBrf?")
"""Symbols that mark a beat."""

SKIP, NUM, SUB, CHN, AUX = 59, 60, 61, 62, 63
"""Codes of an annotation file that are no annotations."""


@dataclass(frozen=True)
class _Lead:
    """A signal of a record."""

    file: str
    format: int
    gain: float
    baseline: float


@dataclass(frozen=True)
class _Record:
    """What a header says."""

    rate: float
    length: int
    leads: tuple[_Lead, ...]


class Wfdb(Reader):
    """A record of PhysioNet (`.hea` with its `.dat`), in the unit of its header, mostly mV."""

    endings = (".hea",)
    axes = (1,)
    what = "a record of PhysioNet with signals in format 212, 16 or 80"

    def files(self, path: Path) -> list[Path]:
        """The header and its files of signals."""
        names = dict.fromkeys(lead.file for lead in _record(path).leads)
        return [path, *(path.parent / name for name in names)]

    def look(self, path: Path) -> Facts:
        """See `Reader.look`."""
        record = _record(path)
        return Facts((record.length,), len(record.leads), (1 / record.rate,))

    def values(self, path: Path) -> NDArray[Any]:
        """See `Reader.values`."""
        record = _record(path)
        found = np.empty((record.length, len(record.leads)), np.float32)
        for name in dict.fromkeys(lead.file for lead in record.leads):
            of_file = [k for k, lead in enumerate(record.leads) if lead.file == name]
            samples = _samples(path.parent / name, record, of_file)
            for column, k in enumerate(of_file):
                lead = record.leads[k]
                found[:, k] = (samples[:, column] - lead.baseline) / lead.gain
        return found


def _record(path: Path) -> _Record:
    text = path.read_bytes()[: 1 << 20].decode("utf-8", errors="replace")
    lines = [line.split() for line in text.splitlines() if line.strip() and line[0] != "#"]
    name, count, *rest = lines[0]
    if "/" in name:
        raise ImageError(f"{path}: is a record of several segments; give the records of these")
    rate = float(re.split(r"[/(]", rest[0])[0]) if rest else RATE
    leads = tuple(_lead(path, line) for line in lines[1 : 1 + int(count)])
    if len(leads) != int(count) or not leads or not rate > 0:
        raise ImageError(f"{path}: names {count} signals and describes {len(leads)}; correct it")
    length = int(rest[1]) if len(rest) > 1 else 0
    if not length:
        first = [lead for lead in leads if lead.file == leads[0].file]
        size = (path.parent / first[0].file).stat().st_size
        length = int(size / BYTES[first[0].format] / len(first))
    return _Record(rate, length, leads)


def _lead(path: Path, line: list[str]) -> _Lead:
    file, form, *rest = line
    match = re.fullmatch(r"(\d+)(x1)?", form)
    if match is None or int(match[1]) not in BYTES:
        raise ImageError(f"{path}: has signals in the format {form}; needed 212, 16 or 80")
    if Path(file).name != file or file in (".", ".."):
        raise ImageError(
            f"{path}: names the file {file!r:.80} outside of its folder; move it there"
        )
    scaled = re.fullmatch(r"([-+.\de]+)(?:\(([-+\d]+)\))?(?:/.*)?", rest[0] if rest else f"{GAIN}")
    zero = float(rest[2]) if len(rest) > 2 else 0.0
    if scaled is None:
        raise ImageError(f"{path}: has the gain {rest[0]!r:.80}; needed a number; correct it")
    gain = float(scaled[1]) or GAIN
    return _Lead(file, int(match[1]), gain, float(scaled[2]) if scaled[2] else zero)


def _samples(path: Path, record: _Record, of_file: list[int]) -> NDArray[Any]:
    """(length, signals of this file) whole numbers."""
    form = record.leads[of_file[0]].format
    count = record.length * len(of_file)
    needed = int(np.ceil(count * BYTES[form]))
    with path.open("rb") as file:
        data = np.frombuffer(file.read(needed), np.uint8)
    if len(data) < needed:
        raise ImageError(
            f"{path}: is cut short: {len(data):,} of {needed:,} bytes are there; fetch it again"
        )
    if form == 16:
        values = data.view("<i2").astype(np.int32)
    elif form == 80:
        values = data.astype(np.int32) - 128
    else:
        values = _twelve_bits(data)[:count]
    return values.reshape(record.length, len(of_file))


def _twelve_bits(data: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Format 212: two samples of 12 bits with sign in three bytes, low bytes first."""
    wide = np.zeros(-(-len(data) // 3) * 3, np.int32)
    wide[: len(data)] = data
    low, middle, high = wide.reshape(-1, 3).T
    first, second = low | (middle & 15) << 8, high | (middle >> 4) << 8
    values = np.stack([first, second], 1).ravel()
    return np.where(values > 2047, values - 4096, values).astype(np.int32)


def read_marks(path: Path) -> tuple[FloatArray, list[str]]:
    """Samples and symbols of the annotations of a record (`.atr`).

    Args:
        path: the file of annotations.

    Raises:
        ImageError: it is damaged.
    """
    data = path.read_bytes()
    times: list[float] = []
    symbols: list[str] = []
    at, now = 0, 0
    while at + 2 <= len(data):
        word = int.from_bytes(data[at : at + 2], "little")
        code, step = word >> 10, word & 0x3FF
        at += 2
        if not word:
            return np.array(times, np.float64), symbols
        if code == SKIP:  # a long of which the high half comes first
            high, low = data[at : at + 2], data[at + 2 : at + 4]
            now += int.from_bytes(low + high, "little", signed=True)
            at += 4
        elif code == AUX:
            at += step + step % 2
        elif code not in (NUM, SUB, CHN):
            now += step
            times.append(float(now))
            symbols.append(SYMBOLS.get(code, "-"))
    raise ImageError(f"{path}: its annotations are cut short; fetch it again, whole")
