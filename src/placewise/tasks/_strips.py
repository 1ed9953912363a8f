"""What masks and objects of huge images share: maps resized part by part, and PNG row by row."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from placewise.geometry import Size


def resized(
    maps: Tensor, origin: Sequence[int], part: Sequence[slice], shown: Size, size: Size
) -> Tensor:
    """(maps, *part) at pixels of an image, linearly between pixels, as torch resizes the whole.

    Args:
        maps: (maps, height, width) a part of the maps at the network's scale.
        origin: place of its first pixel on the whole.
        part: rows and columns of the image that are wanted.
        shown: size of the whole at the network's scale.
        size: of the image.

    Example:
        >>> whole = torch.arange(4.0).expand(1, 1, 4)
        >>> resized(whole, (0, 0), (slice(0, 1), slice(2, 6)), (1, 4), (1, 8))
        tensor([[[0.7500, 1.2500, 1.7500, 2.2500]]])
    """
    for axis, (at, wanted) in enumerate(zip(origin, part, strict=True)):
        maps = maps.narrow(axis + 1, 0, min(maps.shape[axis + 1], shown[axis] - at))
        places = torch.arange(wanted.start, wanted.stop, dtype=torch.float32)
        if shown[axis] == size[axis]:
            maps = maps.narrow(axis + 1, wanted.start - at, len(places))
            continue
        ratio = torch.tensor(shown[axis] / size[axis], dtype=torch.float32)
        source = ((places + 0.5) * ratio - 0.5).clamp(0)
        low = source.long().clamp(max=shown[axis] - 1)
        share = (source - low).view(-1, *[1] * (1 - axis)).to(maps.device)
        lower, upper = low - at, (low + 1).clamp(max=shown[axis] - 1) - at
        maps = maps.index_select(axis + 1, lower.to(maps.device)) * (1 - share) + (
            maps.index_select(axis + 1, upper.to(maps.device)) * share
        )
    return maps


def write_png(
    file: BinaryIO, size: Size, rows: Iterable[NDArray[np.unsignedinteger]], palette: bytes = b""
) -> None:
    """Write an image of one channel, some rows after the other.

    Args:
        file: where to.
        size: (height, width).
        rows: (n, width) each, all of uint8 or all of uint16.
        palette: colours of the numbers of 8 bits; none: grey.
    """
    file.write(b"\x89PNG\r\n\x1a\n")
    packer, header = zlib.compressobj(6), False
    for some in rows:
        if not header:
            depth, kind = 8 * some.dtype.itemsize, 3 if palette else 0
            head = struct.pack(">IIBBBBB", size[1], size[0], depth, kind, 0, 0, 0)
            _chunk(file, b"IHDR", head)
            if palette:
                _chunk(file, b"PLTE", palette)
            header = True
        data = some.astype(some.dtype.newbyteorder(">")).view(np.uint8).reshape(len(some), -1)
        filtered = np.pad(data, ((0, 0), (1, 0)))  # each row begins with "no filter"
        if packed := packer.compress(filtered.tobytes()):
            _chunk(file, b"IDAT", packed)
    _chunk(file, b"IDAT", packer.flush())
    _chunk(file, b"IEND", b"")


def _chunk(file: BinaryIO, kind: bytes, data: bytes) -> None:
    """A part of a PNG with its checksum."""
    file.write(struct.pack(">I", len(data)) + kind + data)
    file.write(struct.pack(">I", zlib.crc32(kind + data)))
