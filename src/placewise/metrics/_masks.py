"""How well masks of pixels fit: overlap, skeletons, surfaces, pieces; in 1, 2 and 3 dimensions.

Everything that can be counted is counted, apart by the distance from the border, so that numbers
of several images are made of sums and not of means of shares. Masks are arrays of bool; what is
ignored is in neither of two masks and gives no edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.errors import SettingsError
from placewise.geometry import FloatArray, Size
from placewise.metrics._distances import BORDER_EDGES

Mask = NDArray[np.bool_]

THIN = (2, 3)
"""Widths in pixels up to which a part counts as thin."""

KINDS = (
    "truth",
    "found",
    "both",
    "line_truth",
    "line_truth_hit",
    "line_found",
    "line_found_hit",
    "edge_truth",
    "edge_truth_near",
    "edge_found",
    "edge_found_near",
    *(f"thin_{width}{hit}" for width in THIN for hit in ("", "_hit")),
)
"""What is counted: pixels of the masks, of their skeletons, of their edges, of thin parts."""

HD_SHARE = 95.0
"""Percentile of the distances between surfaces."""


def skeleton(mask: NDArray[Any]) -> Mask:
    """The middle line of a mask, one pixel wide.

    Of images and volumes by scikit-image (Zhang and Suen 1984; Lee et al. 1994); of a signal the
    middle of each run.

    Args:
        mask: (*size,) of 1, 2 or 3 axes; what is not 0 is in it.

    Raises:
        SettingsError: scikit-image is not installed.

    Example:
        >>> skeleton(np.array([0, 1, 1, 1, 0])).tolist()
        [False, False, True, False, False]
    """
    there = np.ascontiguousarray(mask != 0)
    if there.ndim == 1:
        steps = np.flatnonzero(np.diff(np.pad(there, 1).astype(np.int8)))
        found = np.zeros_like(there)
        found[(steps[::2] + steps[1::2] - 1) // 2] = True
        return found
    try:
        from skimage.morphology import skeletonize
    except ImportError as error:
        raise SettingsError(
            'scikit-image is not installed; run: pip install "placewise[masks]"'
        ) from error
    return np.asarray(skeletonize(there)) > 0  # type: ignore[no-untyped-call]


def pieces(mask: NDArray[Any]) -> int:
    """Connected pieces of a mask; pixels that touch at a corner are connected.

    Example:
        >>> pieces(np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 0, 0]]))
        2
    """
    from scipy import ndimage

    _, count = ndimage.label(mask != 0, np.ones((3,) * mask.ndim))
    return int(count)


def edge(mask: Mask, known: Mask | None = None) -> Mask:
    """Pixels of a mask with a neighbour along an axis that is not in it.

    What lies beyond the image is not in it; what is not known counts as if it were.

    Example:
        >>> edge(np.array([1, 1, 1, 0], bool)).tolist()
        [True, False, True, False]
    """
    from scipy import ndimage

    whole = mask if known is None else mask | ~known
    return np.asarray(mask & ~ndimage.binary_erosion(whole))


def _away(edges: Mask, spacing: Sequence[float] | None) -> FloatArray:
    """(*size,) distance of each pixel from the nearest of these."""
    from scipy import ndimage

    found: FloatArray = np.asarray(ndimage.distance_transform_edt(~edges, sampling=spacing))
    return found


def surface_distances(
    truth: Mask, found: Mask, spacing: Sequence[float] | None = None
) -> tuple[FloatArray, FloatArray]:
    """Distances from each edge pixel of one mask to the nearest edge pixel of the other.

    Args:
        truth: a mask.
        found: another of the same size.
        spacing: length of a pixel along each axis, in the order of the axes; None: 1.

    Returns:
        From the truth's edge, and from the other's; of infinite distances where the other is empty.

    Example:
        >>> one, two = np.array([1, 0, 0, 0], bool), np.array([0, 0, 1, 0], bool)
        >>> [part.tolist() for part in surface_distances(one, two)]
        [[2.0], [2.0]]
    """
    edges = edge(truth), edge(found)
    return _distances(edges[0], edges[1], spacing), _distances(edges[1], edges[0], spacing)


def _distances(start: Mask, end: Mask, spacing: Sequence[float] | None) -> FloatArray:
    if not end.any():
        return np.full(int(start.sum()), np.inf)
    return _away(end, spacing)[start]


def hd95(truth: Mask, found: Mask, spacing: Sequence[float] | None = None) -> float | None:
    """The larger of the two directed 95th percentiles of surface distances.

    Args:
        truth: a mask.
        found: another of the same size.
        spacing: length of a pixel along each axis; None: 1.

    Returns:
        None where one of them is empty: there is no distance then.

    Example:
        >>> hd95(np.array([1, 0, 0, 0], bool), np.array([0, 0, 1, 0], bool))
        2.0
    """
    there, back = surface_distances(truth, found, spacing)
    return _hd95(there, back)


def _hd95(there: FloatArray, back: FloatArray) -> float | None:
    if not (len(there) and len(back)):
        return None
    return float(max(np.percentile(there, HD_SHARE), np.percentile(back, HD_SHARE)))


@dataclass(frozen=True)
class MaskCounts:
    """What was counted of a class on an image, or on several together.

    Attributes:
        counts: (kinds, bands) of `KINDS`, by distance from the border.
        hd95: distance between the surfaces in pixels for each image where both masks are there.
        missed: images where the class is and nothing is found.
        invented: images where the class is not and something is found.
        empty: images where it is neither.
        pieces_off: for each image, difference of the numbers of connected pieces.
    """

    counts: NDArray[np.int64]
    hd95: tuple[float, ...] = ()
    missed: int = 0
    invented: int = 0
    empty: int = 0
    pieces_off: tuple[int, ...] = ()

    def __add__(self, other: MaskCounts) -> MaskCounts:
        return MaskCounts(
            self.counts + other.counts,
            self.hd95 + other.hd95,
            self.missed + other.missed,
            self.invented + other.invented,
            self.empty + other.empty,
            self.pieces_off + other.pieces_off,
        )

    def of(self, kind: str, bin: int | None = None) -> int:
        """A count, in one bin of distances or in all."""
        row = self.counts[KINDS.index(kind)]
        return int(row.sum() if bin is None else row[bin])


def counted(
    truth: Mask,
    found: Mask,
    known: Mask | None = None,
    *,
    spacing: Sequence[float] | None = None,
    tolerance: float = 2.0,
    lines: bool = True,
) -> MaskCounts:
    """Count how a mask fits the truth.

    Args:
        truth: (*size,) pixels of the class.
        found: (*size,) pixels that are predicted as it.
        known: (*size,) pixels that the labels do not ignore; None: all.
        spacing: length of a pixel along each axis; None: 1.
        tolerance: distance up to which an edge pixel is near, in the unit of the spacing.
        lines: whether to look at skeletons, which needs scikit-image.

    Example:
        >>> one, two = np.array([1, 1, 0, 0], bool), np.array([0, 1, 1, 0], bool)
        >>> fit = counted(one, two)
        >>> fit.of("both"), fit.of("truth"), dice(fit), fit.hd95
        (1, 2, 0.5, (0.95,))
    """
    if known is not None:
        truth, found = truth & known, found & known
    place = border_bins(truth.shape)
    bins = len(BORDER_EDGES) - 1
    parts: dict[str, Mask] = {"truth": truth, "found": found, "both": truth & found}
    parts |= _lines(truth, found) if lines else {}
    edges = edge(truth, known), edge(found, known)
    there, back = (_distances(a, b, spacing) for a, b in (edges, edges[::-1]))
    for name, own, away in (("truth", edges[0], there), ("found", edges[1], back)):
        near = np.zeros_like(own)
        near[own] = away <= tolerance
        parts |= {f"edge_{name}": own, f"edge_{name}_near": near}
    counts = np.zeros((len(KINDS), bins), np.int64)
    for row, kind in enumerate(KINDS):
        if kind in parts:
            counts[row] = np.bincount(place[parts[kind]], minlength=bins)
    far = _hd95(there, back)
    is_there, is_found = bool(truth.any()), bool(found.any())
    return MaskCounts(
        counts,
        () if far is None else (far,),
        missed=int(is_there and not is_found),
        invented=int(is_found and not is_there),
        empty=int(not is_there and not is_found),
        pieces_off=(abs(pieces(truth) - pieces(found)),),
    )


def _lines(truth: Mask, found: Mask) -> dict[str, Mask]:
    """Skeletons of both masks, and the truth's where it is thin."""
    from scipy import ndimage

    own, other = _line(truth), _line(found)
    parts = {
        "line_truth": own,
        "line_truth_hit": own & found,
        "line_found": other,
        "line_found_hit": other & truth,
    }
    width = 2 * np.asarray(ndimage.distance_transform_edt(np.pad(truth, 1))) - 1
    inner = width[(slice(1, -1),) * truth.ndim]
    for most in THIN:
        thin = own & (inner <= most)
        parts |= {f"thin_{most}": thin, f"thin_{most}_hit": thin & found}
    return parts


def _line(mask: Mask) -> Mask:
    """The skeleton; of a mask that is worn away altogether, as a cube is, its middle."""
    from scipy import ndimage

    found = skeleton(mask)
    if mask.any() and not found.any():
        inner = ndimage.distance_transform_edt(np.pad(mask, 1))[(slice(1, -1),) * mask.ndim]
        found[np.unravel_index(inner.argmax(), mask.shape)] = True
    return found


def border_bins(size: Size) -> NDArray[np.int64]:
    """(*size,) number of the band of `BORDER_EDGES` that each pixel lies in.

    Example:
        >>> border_bins((5, 40))[:, 20].tolist()
        [3, 4, 4, 4, 3]
    """
    axes = np.meshgrid(*(np.arange(side) for side in size), indexing="ij", sparse=True)
    least = np.full((1,) * len(size), np.inf)
    for place, side in zip(axes, size, strict=True):
        least = np.minimum(least, np.minimum(place, side - 1 - place) + 0.5)
    shares = np.broadcast_to(least / (min(size) / 2), size)
    bands = np.searchsorted(np.asarray(BORDER_EDGES[1:-1]), shares, side="right")
    return np.asarray(bands.astype(np.int64))


def _ratio(above: float, below: float) -> float | None:
    return above / below if below else None


def _harmonic(first: float | None, second: float | None) -> float | None:
    """2ab / (a + b); 0 where only one is defined, None where neither is."""
    if first is None and second is None:
        return None
    if not first or not second:
        return 0.0
    return 2 * first * second / (first + second)


def dice(fit: MaskCounts, bin: int | None = None) -> float | None:
    """2·|A∩B| / (|A| + |B|); None where both are empty.

    Example:
        >>> dice(counted(np.array([1, 1], bool), np.array([0, 1], bool)))
        0.6666666666666666
    """
    both, truth, found = (fit.of(kind, bin) for kind in ("both", "truth", "found"))
    return _ratio(2 * both, truth + found)


def iou(fit: MaskCounts, bin: int | None = None) -> float | None:
    """|A∩B| / |A∪B|; None where both are empty.

    Example:
        >>> iou(counted(np.array([1, 1], bool), np.array([0, 1], bool)))
        0.5
    """
    both, truth, found = (fit.of(kind, bin) for kind in ("both", "truth", "found"))
    return _ratio(both, truth + found - both)


def cldice(fit: MaskCounts, bin: int | None = None) -> float | None:
    """Harmonic mean of the shares of each skeleton that lie in the other mask (Shit et al. 2021).

    0 where one mask is empty. None where both are, and in a band through which a mask runs, but
    not its skeleton: nothing is known there.

    Example:
        >>> cldice(counted(np.array([1, 1, 1, 0], bool), np.array([0, 1, 0, 0], bool)))
        1.0
    """
    if _unknown(fit, "line", bin):
        return None
    precision = _ratio(fit.of("line_found_hit", bin), fit.of("line_found", bin))
    recall = _ratio(fit.of("line_truth_hit", bin), fit.of("line_truth", bin))
    return _harmonic(precision, recall)


def _unknown(fit: MaskCounts, part: str, bin: int | None) -> bool:
    """Whether a band holds pixels of a mask, but not the part of it that is compared."""
    return bin is not None and any(
        fit.of(one, bin) and not fit.of(f"{part}_{one}", bin) for one in ("truth", "found")
    )


def nsd(fit: MaskCounts, bin: int | None = None) -> float | None:
    """Normalised surface Dice: share of both edges within the tolerance of the other.

    Example:
        >>> nsd(counted(np.array([1, 0, 0, 0], bool), np.array([0, 0, 0, 1], bool)))
        0.0
    """
    near = fit.of("edge_truth_near", bin) + fit.of("edge_found_near", bin)
    return _ratio(near, fit.of("edge_truth", bin) + fit.of("edge_found", bin))


def boundary_f1(fit: MaskCounts, bin: int | None = None) -> float | None:
    """Harmonic mean of the shares of each edge within the tolerance of the other.

    0 where one mask is empty. None where both are, and in a band that holds a mask, but no edge of
    it: nothing is known there.

    Example:
        >>> boundary_f1(counted(np.array([1, 0, 0], bool), np.array([0, 0, 1], bool)))
        1.0
    """
    if _unknown(fit, "edge", bin):
        return None
    precision = _ratio(fit.of("edge_found_near", bin), fit.of("edge_found", bin))
    recall = _ratio(fit.of("edge_truth_near", bin), fit.of("edge_truth", bin))
    return _harmonic(precision, recall)


def thin_recall(fit: MaskCounts, width: int, bin: int | None = None) -> float | None:
    """Share of the truth's middle line that is found, where the truth is at most so wide.

    The width at a pixel of the middle line is 2·d − 1 with the distance d to the nearest pixel
    outside, so that a line of an even width reads one pixel less.

    Args:
        fit: what was counted.
        width: one of `THIN`.
        bin: of distances from the border; None: all.

    Example:
        >>> thin_recall(counted(np.array([0, 1, 0, 1], bool), np.array([0, 1, 0, 0], bool)), 2)
        0.5
    """
    return _ratio(fit.of(f"thin_{width}_hit", bin), fit.of(f"thin_{width}", bin))


def best_threshold(
    chances: Sequence[NDArray[Any]], truths: Sequence[NDArray[Any]], steps: int = 200
) -> tuple[float, float | None]:
    """The threshold of probabilities with the greatest Dice over all pixels together.

    Args:
        chances: probabilities of each image.
        truths: of each image: above 0 the class, 0 not, below 0 ignored.
        steps: thresholds k / steps that are tried; in the middle of those that are equally good.

    Returns:
        (threshold, Dice there); ½ and None where the class is nowhere.

    Example:
        >>> best_threshold([np.array([0.1, 0.4, 0.8])], [np.array([0, 1, 1])])
        (0.2475, 1.0)
    """
    counts, bins = np.zeros((2, steps + 1), np.int64), 2 * (steps + 1)
    for chance, truth in zip(chances, truths, strict=True):
        known = truth >= 0
        over = np.ceil(chance[known].astype(np.float64) * steps - 1e-9).astype(np.int64)
        place = (truth[known] > 0) * (steps + 1) + over.clip(0, steps)
        counts += np.bincount(place, minlength=bins).reshape(2, -1)
    above = counts[:, ::-1].cumsum(1)[:, -2::-1]  # [k]: pixels above k / steps
    total = counts[1].sum()
    if not total:
        return 0.5, None
    scores = 2 * above[1] / (above[1] + above[0] + total)
    good = np.flatnonzero(scores == scores.max())
    return float(np.mean((good[0], good[-1])) / steps), float(scores.max())
