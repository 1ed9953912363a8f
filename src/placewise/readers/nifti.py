"""Volumes of medicine in NIfTI files; needs the package nibabel."""

from __future__ import annotations

import gzip
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.errors import ImageError, SettingsError
from placewise.readers import Facts, Reader

UNITS = {"mm": 1.0, "meter": 1000.0, "micron": 0.001, "unknown": 1.0}
"""Millimetres of a unit of length as nibabel names it."""


class Nifti(Reader):
    """NIfTI (`.nii`, `.nii.gz`): its axes x, y, z become width, height, depth, as they are stored.

    A fourth axis is that of the channels. Distances are those of the header, in mm.
    """

    endings = (".nii", ".nii.gz")
    axes = (3,)
    what = "a NIfTI file of one volume"

    def look(self, path: Path) -> Facts:
        """See `Reader.look`."""
        image = _loaded(path)
        shape = tuple(int(side) for side in image.shape)
        while len(shape) > 3 and shape[-1] == 1:
            shape = shape[:-1]
        if len(shape) not in (3, 4):
            raise ImageError(f"{path}: has {len(shape)} axes; needed 3, or 4 with channels last")
        length = UNITS.get(image.header.get_xyzt_units()[0], 1.0)
        steps = tuple(float(step) * length for step in image.header.get_zooms()[:3])
        return Facts(shape[2::-1], (*shape[3:], 1)[0], steps[::-1])

    def values(self, path: Path) -> NDArray[Any]:
        """See `Reader.values`."""
        values: NDArray[Any] = np.asanyarray(_loaded(path).dataobj)
        return values.reshape(*values.shape[:3], -1).transpose(2, 1, 0, 3)

    def frame(self, path: Path) -> NDArray[np.float64]:
        """The affine; see `Reader.frame`."""
        return np.asarray(_loaded(path).affine, np.float64)

    def alike(self, path: Path, labels: NDArray[np.integer]) -> bytes | None:
        """Whole numbers with the affine and the units of the file; see `Reader.alike`."""
        source = _loaded(path)
        kind = np.uint8 if labels.max(initial=0) < 256 else np.int32
        values = np.ascontiguousarray(labels.transpose(2, 1, 0), kind)
        library: Any = import_module("nibabel")
        made = library.Nifti1Image(values, source.affine)
        made.header.set_xyzt_units(*source.header.get_xyzt_units())
        data: bytes = made.to_bytes()
        return gzip.compress(data, mtime=0) if path.name.lower().endswith(".gz") else data


def _loaded(path: Path) -> Any:
    """The file with its header read."""
    try:
        library: Any = import_module("nibabel")
    except ImportError as error:
        raise SettingsError(
            f"{path} is a NIfTI file, which needs the package nibabel; run: pip install "
            '"placewise[volumes]"'
        ) from error
    return library.load(path, mmap=False)
