"""Stacks of slices in TIFF files; needs the package tifffile."""

from __future__ import annotations

import re
from fractions import Fraction
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import TiffImagePlugin

from placewise.errors import ImageError, SettingsError
from placewise.readers import Facts, Reader

DESCRIPTION = 270
"""The tag in which ImageJ, OME and tifffile say what the pages are."""

DEEP = 65_535
"""Largest number in a stack for ImageJ."""

MM = {"mm": 1.0, "cm": 10.0, "micron": 1e-3, "um": 1e-3, "µm": 1e-3, "μm": 1e-3, "nm": 1e-6}
"""Millimetres of a unit of length."""

_DEEP = re.compile(r"slices=[1-9]|SizeZ=\"(?!1\")|\"axes\": *\"[A-Z]*Z")


class TiffStack(Reader):
    """A TIFF whose pages are slices of a volume, and which says so (ImageJ, OME, tifffile).

    Its axes and distances are those that the file names; they are never guessed. A TIFF that names
    no axis Z is an image, and its first page is read.
    """

    endings = (".tif", ".tiff")
    axes = (3,)
    what = "a TIFF stack that names its axes, e.g. ZYX"

    def takes(self, path: Path) -> bool:
        """A TIFF whose description says that it has slices."""
        return super().takes(path) and bool(_DEEP.search(_description(path)))

    def look(self, path: Path) -> Facts:
        """See `Reader.look`."""
        with _opened(path) as file:
            series = file.series[0]
            axes, shape = _axes(path, series)
            named = dict(zip(axes, shape, strict=True))
            size = named["Z"], named["Y"], named["X"]
            return Facts(size, named.get("C", 1) * named.get("S", 1), _spacing(file))

    def values(self, path: Path) -> NDArray[Any]:
        """See `Reader.values`."""
        with _opened(path) as file:
            series = file.series[0]
            axes, shape = _axes(path, series)
            values = np.asarray(series.asarray()).reshape(shape)
        order = [axes.index(axis) for axis in "ZYXCS" if axis in axes]
        return values.transpose(order)

    def alike(self, path: Path, labels: NDArray[np.integer]) -> bytes | None:
        """A stack for ImageJ with the distances of the file; see `Reader.alike`."""
        if labels.max(initial=0) > DEEP:
            return None
        with _opened(path) as file:
            spacing = _spacing(file)
        facts: dict[str, Any] = {"axes": "ZYX"}
        resolution = None
        if spacing is not None:
            facts |= {"spacing": spacing[0], "unit": "mm"}
            resolution = (1 / spacing[2], 1 / spacing[1])
        library: Any = import_module("tifffile")
        held = BytesIO()
        values = labels.astype(np.uint16)
        library.imwrite(held, values, imagej=True, resolution=resolution, metadata=facts)
        return held.getvalue()


def _description(path: Path) -> str:
    """What the first page says of itself; empty where it says nothing."""
    try:
        with path.open("rb") as file:
            image = TiffImagePlugin.TiffImageFile(file)
            return str(image.tag_v2.get(DESCRIPTION, ""))[:100_000]
    except Exception:  # not a TIFF that Pillow reads: `images` says why
        return ""


def _opened(path: Path) -> Any:
    try:
        library: Any = import_module("tifffile")
    except ImportError as error:
        raise SettingsError(
            f"{path} is a stack of slices, which needs the package tifffile; run: pip install "
            '"placewise[volumes]"'
        ) from error
    return library.TiffFile(path)


def _axes(path: Path, series: Any) -> tuple[str, tuple[int, ...]]:
    """Axes and lengths without those of length 1 that are no Z, Y or X."""
    pairs = [
        (axis, int(side))
        for axis, side in zip(series.axes, series.shape, strict=True)
        if side > 1 or axis in "ZYX"
    ]
    axes = "".join(axis for axis, _ in pairs)
    if not set("ZYX") <= set(axes) or set(axes) - set("ZYXCS") or len(set(axes)) < len(axes):
        raise ImageError(
            f"{path}: has the axes {series.axes} of {series.shape}; needed Z, Y and X, and C for "
            "channels: save one volume, with its axes named"
        )
    return axes, tuple(side for _, side in pairs)


def _spacing(file: Any) -> tuple[float, ...] | None:
    """(z, y, x) in mm, where the file says them."""
    held = file.imagej_metadata or {}
    if not held:
        return _ome_spacing(file.ome_metadata or "")
    tags = file.pages[0].tags
    unit = MM.get(str(held.get("unit", "")).replace("\\u00B5", "µ").strip().lower())
    if unit is None or "XResolution" not in tags or "spacing" not in held:
        return None
    across, down = (Fraction(*tags[name].value) for name in ("XResolution", "YResolution"))
    if not (across and down):
        return None
    return (float(held["spacing"]) * unit, unit / float(down), unit / float(across))


def _ome_spacing(text: str) -> tuple[float, ...] | None:
    """(z, y, x) in mm from the attributes of OME-XML, which are in µm where no unit is named."""
    found = []
    for axis in "ZYX":
        value = re.search(rf'PhysicalSize{axis}="([^"]+)"', text)
        unit = re.search(rf'PhysicalSize{axis}Unit="([^"]+)"', text)
        length = MM.get(unit[1].lower()) if unit else MM["um"]
        if value is None or length is None:
            return None
        found.append(float(value[1]) * length)
    return tuple(found)
