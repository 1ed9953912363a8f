"""Objects made whole: each is one connected piece."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int32]

SHARE = 0.25
"""A piece that touches no other object is one itself if it has this share of the usual area."""


def made_whole(labels: Labels) -> tuple[Labels, NDArray[np.intp]]:
    """Objects of which each is one connected piece, corners count as connected.

    Pixels point at a centre from wherever they are, so an object may consist of several pieces. Its
    largest piece is kept. Another piece

    1. joins the object that it shares the longest rim with;
    2. becomes an object of its own if it touches none, and is not much smaller than they are
       (`SHARE` of the median): its centre was not found;
    3. else becomes background.

    Args:
        labels: (*size,) 0 background, above 0 objects.

    Returns:
        (*size,) with new numbers behind the old ones, and for each new number the old one that its
        pixels had.

    Example:
        >>> made_whole(np.array([1, 1, 1, 0, 2, 2, 1, 0, 0, 2], np.int32))[0].tolist()
        [1, 1, 1, 0, 2, 2, 2, 0, 0, 3]
    """
    from scipy import ndimage

    found, touching = labels.copy(), np.ones((3,) * labels.ndim, bool)
    others: list[tuple[tuple[slice, ...], NDArray[np.bool_]]] = []
    usual: list[int] = []
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        if box is None:
            continue
        pieces, count = ndimage.label(labels[box] == number, touching)
        areas = np.bincount(pieces.ravel())[1:]
        usual.append(int(areas.max()))
        for piece in np.delete(np.arange(count), areas.argmax()):
            mask = pieces == piece + 1
            found[box][mask] = 0
            others.append((box, mask))
    new: list[int] = []
    least = SHARE * float(np.median(usual)) if usual else 0.0
    top = int(labels.max(initial=0))
    for box, mask in sorted(others, key=lambda one: -int(one[1].sum())):
        number = beside(found, box, mask, touching)
        if not number and mask.sum() >= least:
            new.append(int(labels[box][mask][0]))
            number = top + len(new)
        found[box][mask] = number
    return found, np.array(new, np.intp)


def beside(
    labels: Labels, box: tuple[slice, ...], mask: NDArray[np.bool_], touching: NDArray[Any]
) -> int:
    """The number of most pixels beside a piece; 0 where all of them are background.

    Args:
        labels: (*size,) objects; 0 or less is none.
        box: about the piece.
        mask: (*box,) its pixels.
        touching: which neighbours count.
    """
    from scipy import ndimage

    wide = tuple(slice(max(0, part.start - 1), part.stop + 1) for part in box)
    around = labels[wide]
    own = np.zeros(around.shape, bool)
    own[
        tuple(
            slice(part.start - out.start, part.start - out.start + side)
            for part, out, side in zip(box, wide, mask.shape, strict=True)
        )
    ] = mask
    ring = around[ndimage.binary_dilation(own, touching) & ~own]
    ring = ring[ring > 0]
    return int(np.bincount(ring).argmax()) if len(ring) else 0
