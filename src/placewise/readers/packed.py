"""Arrays of numpy: one signal or one volume in a `.npz` or `.npy`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise import archives
from placewise.archives import Header, opened
from placewise.errors import ImageError
from placewise.readers import CHANNELS, Facts, Reader

SIGNALS, VOLUMES = ("signal", "signal_adc", "samples", "data"), ("image", "volume")
"""Names of the array in a `.npz`."""

RATES, SPACINGS = ("fs", "rate", "sampling_rate"), ("spacing_mm",)
"""Names of what says how far its places are apart: samples in a second, or mm (z, y, x)."""

UNCLEAR = ("spacing", "voxel_size", "voxelsize", "pixdim", "zooms")
"""Names of distances whose unit and order are not known."""


class Packed(Reader):
    """A signal (L or L×C) or a volume (D×H×W or D×H×W×C) as an array of numpy.

    In a `.npz` the array is named `signal`, `signal_adc`, `samples` or `data`, and `fs` is the
    number of samples in a second; or it is named `image` or `volume`, and `spacing_mm` has the
    distance of voxels along its axes. A `.npy` with one or two axes is a signal.
    """

    endings = (".npz", ".npy")
    axes = (1, 3)
    what = "an array of numbers, L, L×C, D×H×W or D×H×W×C, named signal or image"

    def look(self, path: Path) -> Facts:
        """See `Reader.look`."""
        name, names = _names(path)
        header = _header(path, name)
        axes = _axes(path, name, header)
        size, channels = header.shape[:axes], (*header.shape[axes:], 1)[0]
        return Facts(size, channels, _spacing(path, names, axes))

    def values(self, path: Path) -> NDArray[Any]:
        """See `Reader.values`."""
        name, _ = _names(path)
        return _array(path, name)


def _names(path: Path) -> tuple[str, tuple[str, ...]]:
    """The array that is read, and all; empty for a `.npy`."""
    if path.suffix.lower() == ".npy":
        return "", ()
    with opened(path) as archive:
        names = archive.arrays
    found = [name for name in (*SIGNALS, *VOLUMES) if name in names]
    if len(found) != 1:
        got = (
            f"the arrays {', '.join(found)}" if found else f"{', '.join(names)[:200] or 'nothing'}"
        )
        raise ImageError(
            f"{path}: holds {got}; needed one array that is named {', '.join(SIGNALS)} or "
            f"{', '.join(VOLUMES)}"
        )
    return found[0], names


def _header(path: Path, name: str) -> Header:
    """Shape and type of an array, without the numbers."""
    if name:
        with opened(path) as archive:
            found = archive.header(name)
    else:
        with path.open("rb") as file:
            found = archives.header(file)
    if found.dtype.kind not in "biuf":
        raise ValueError(f"its numbers are of type {found.dtype}, needed whole numbers or floats")
    return found


def _array(path: Path, name: str) -> NDArray[Any]:
    """The numbers of an array."""
    if name:
        with opened(path) as archive:
            return archive.array(name)
    with path.open("rb") as file:
        return archives.array(file)


def _axes(path: Path, name: str, header: Header) -> int:
    """Axes of what is held, without that of the channels."""
    count = len(header.shape)
    able = {1: (1, 2), 3: (3, 4)}
    wanted = 1 if name in SIGNALS else 3 if name in VOLUMES else 1 if count < 3 else 3
    channels = header.shape[wanted:] or (1,)
    if count not in able[wanted] or channels[0] > min(CHANNELS, header.shape[0]):
        raise ImageError(
            f"{path}: its array {name} has the shape {header.shape}; needed is "
            f"{'L or L×C' if wanted == 1 else 'D×H×W or D×H×W×C'}: channels go to the end"
        )
    return wanted


def _spacing(path: Path, names: tuple[str, ...], axes: int) -> tuple[float, ...] | None:
    """What the file says of the distance of its places."""
    told = next((name for name in (RATES if axes == 1 else SPACINGS) if name in names), None)
    if told is None:
        unclear = [name for name in names if axes == 3 and name.lower() in UNCLEAR]
        if unclear:
            raise ImageError(
                f"{path}: unit and order of its array {unclear[0]} are not known; name it "
                f"{SPACINGS[0]} if it holds the mm between voxels along z, y and x, or leave it out"
            )
        return None
    header = _header(path, told)
    if math.prod(header.shape) != axes:
        raise ImageError(f"{path}: {told} has the shape {header.shape}; needed {axes} numbers")
    numbers = _array(path, told).astype(np.float64).ravel()
    if not (np.isfinite(numbers) & (numbers > 0)).all():
        raise ImageError(f"{path}: {told} is {numbers.tolist()}; needed are numbers above 0")
    if axes == 1:
        numbers = 1 / numbers
    return tuple(numbers.tolist())
