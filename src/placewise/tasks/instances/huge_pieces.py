"""Objects of huge images made whole: the rules of `made_whole`, on labels that are in a file.

The pieces of all objects are found strip by strip, and joined where one goes on in the next strip.
What is then decided of a piece needs no more than the labels in the box about it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from placewise.tasks.instances.pieces import SHARE, beside

Numbers = NDArray[np.int64]
TOUCHING = np.ones((3, 3), bool)


@dataclass(frozen=True)
class Pieces:
    """Connected pieces of objects, in the order of their first pixels.

    Attributes:
        label: (n,) of the object.
        area: (n,) pixels.
        first: (n, 2) first pixel (y, x) in reading order.
        low: (n, 2) first row and column of the box about it.
        high: (n, 2) row and column behind the last.
    """

    label: Numbers
    area: Numbers
    first: Numbers
    low: Numbers
    high: Numbers

    def box(self, number: int) -> tuple[slice, slice]:
        """Rows and columns of a piece."""
        (top, left), (bottom, right) = self.low[number].tolist(), self.high[number].tolist()
        return slice(top, bottom), slice(left, right)


class PieceFinder:
    """Finds the pieces of labels that come strip by strip.

    Args:
        width: of the image.
    """

    def __init__(self, width: int) -> None:
        self.above, self.owners = np.zeros(width, np.int32), np.zeros(width, np.int64)
        self.count = 0
        self.found: list[Numbers] = [np.empty((0, 8), np.int64)]
        self.links: list[Numbers] = [np.empty((2, 0), np.int64)]

    def add(self, labels: NDArray[np.int32], top: int) -> None:
        """Take the next strip.

        Args:
            labels: (rows, width) 0 background, above 0 objects.
            top: its first row.
        """
        from scipy import ndimage

        there = labels > 0
        numbers, index = np.unique(labels[there], return_inverse=True)
        compact = np.zeros(labels.shape, np.int32)
        compact[there] = index + 1
        first, last = np.zeros((2, labels.shape[1]), np.int64)
        for number, (rows, columns) in enumerate(ndimage.find_objects(compact)):
            pieces, _ = ndimage.label(compact[rows, columns] == number + 1, TOUCHING)
            place = top + rows.start, columns.start
            if rows.start == 0:
                first[columns] += np.where(pieces[0] > 0, pieces[0] + self.count, 0)
            if rows.stop == len(labels):
                last[columns] += np.where(pieces[-1] > 0, pieces[-1] + self.count, 0)
            self._keep(pieces, int(numbers[number]), place)
        self._link(labels[0], first)
        self.above, self.owners = labels[-1].copy(), last

    def _keep(self, pieces: NDArray[np.int32], label: int, place: tuple[int, int]) -> None:
        """Keep the pieces of one object in a strip."""
        from scipy import ndimage

        areas = np.bincount(pieces.ravel())[1:]
        rows = []
        for number, (down, across) in enumerate(ndimage.find_objects(pieces)):
            y = down.start
            x = across.start + int((pieces[y, across] == number + 1).argmax())
            first, low = (y, x), (y, across.start)
            rows.append([label, areas[number], *first, *low, down.stop, across.stop])
        moved = np.array([0, 0, *3 * place], np.int64)
        self.found.append(np.array(rows, np.int64) + moved)
        self.count += len(rows)

    def _link(self, labels: NDArray[np.int32], owners: Numbers) -> None:
        """Note which pieces of this strip go on from the one above."""
        width = len(labels)
        for step in (-1, 0, 1):
            upper = slice(max(0, step), width + min(0, step))
            lower = slice(max(0, -step), width + min(0, -step))
            same = (self.above[upper] == labels[lower]) & (labels[lower] > 0)
            pairs = np.stack([self.owners[upper][same], owners[lower][same]]) - 1
            self.links.append(np.unique(pairs, axis=1))

    def pieces(self) -> Pieces:
        """All pieces, after the last strip."""
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        found, (one, other) = np.concatenate(self.found), np.concatenate(self.links, 1)
        if not len(found):
            nothing = np.empty((0, 2), np.int64)
            return Pieces(nothing[:, 0], nothing[:, 0], nothing, nothing, nothing)
        links = coo_matrix((np.ones(len(one)), (one, other)), (len(found), len(found)))
        _, group = connected_components(links, directed=False)
        order = np.lexsort((found[:, 3], found[:, 2], group))  # by the first pixel
        found, group = found[order], group[order]
        begin = np.flatnonzero(np.diff(group, prepend=-1))
        joined = Pieces(
            found[begin, 0],
            np.add.reduceat(found[:, 1], begin),
            found[begin, 2:4],
            np.minimum.reduceat(found[:, 4:6], begin),
            np.maximum.reduceat(found[:, 6:8], begin),
        )
        turn = np.lexsort(joined.first.T[::-1])
        return Pieces(
            joined.label[turn],
            joined.area[turn],
            joined.first[turn],
            joined.low[turn],
            joined.high[turn],
        )


def make_whole(labels: NDArray[np.int32], pieces: Pieces) -> NDArray[np.intp]:
    """Change labels so that each object is one piece; see `made_whole`.

    Args:
        labels: (height, width), which may be in a file.
        pieces: of these labels.

    Returns:
        For each new number, behind the largest label, the label that its pixels had.
    """
    order = np.lexsort((-pieces.area, pieces.label))
    kept = order[np.flatnonzero(np.diff(pieces.label[order], prepend=-1))]
    least = SHARE * float(np.median(pieces.area[kept])) if len(kept) else 0.0
    others = np.setdiff1d(np.arange(len(pieces.label)), kept)
    others = others[np.lexsort((others, pieces.label[others], -pieces.area[others]))]
    for number in others.tolist():  # what waits is below 0
        label = int(pieces.label[number])
        mask = _mask(labels, pieces, number, label)
        labels[pieces.box(number)][mask] = -label
    new: list[int] = []
    top = int(pieces.label.max(initial=0))
    for number in others.tolist():
        label, box = int(pieces.label[number]), pieces.box(number)
        mask = _mask(labels, pieces, number, -label)
        owner = beside(labels, box, mask, TOUCHING)
        if not owner and pieces.area[number] >= least:
            new.append(label)
            owner = top + len(new)
        labels[box][mask] = owner
    return np.array(new, np.intp)


def _mask(labels: NDArray[np.int32], pieces: Pieces, number: int, value: int) -> NDArray[np.bool_]:
    """Which pixels of the box about a piece are its own."""
    from scipy import ndimage

    box = pieces.box(number)
    parts, _ = ndimage.label(labels[box] == value, TOUCHING)
    y, x = (pieces.first[number] - pieces.low[number]).tolist()
    return np.asarray(parts == parts[y, x])
