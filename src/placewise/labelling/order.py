"""Which image is labelled next.

First images that differ: k-means on thumbnails, of each cluster the image that is nearest to its
centre. Once a run predicts, the images of which it is least sure, no two in a row of one cluster,
and every fifth at random: what a model is sure of may be wrong too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from placewise.geometry import FloatArray
from placewise.images import ImageArray, as_float, resize

Order = Literal["kmeans", "worst", "name", "random"]

SIDE = 32
"""Pixels along each side of a thumbnail."""

FIRST = 20
"""Clusters to begin with; then twice as many, and so on."""

MOST = 1000
"""Images that are compared; of more, as many spread evenly, and the others come after them."""

STEPS = 30
"""Rounds of k-means at most."""

RANDOM = 5
"""Every so many images one is drawn at random."""


def thumbnail(image: ImageArray) -> NDArray[np.float32]:
    """(1024,) grey values of an image at 32 × 32 pixels, 0..1.

    Example:
        >>> thumbnail(np.full((64, 48, 3), 255, np.uint8)).max()
        np.float32(1.0)
    """
    step = max(1, min(image.shape[:2]) // (4 * SIDE))
    small = resize(as_float(image[::step, ::step]), (SIDE, SIDE))
    return np.asarray(small.mean(-1).ravel(), np.float32)


def spread(count: int, most: int = MOST) -> list[int]:
    """Numbers of images that are looked at, spread evenly over all.

    Example:
        >>> spread(5, 3)
        [0, 2, 4]
    """
    return [int(i) for i in np.unique(np.linspace(0, count - 1, min(count, most)).round())]


def clusters(
    thumbnails: NDArray[np.floating[Any]], count: int, seed: int
) -> tuple[NDArray[np.intp], FloatArray]:
    """The cluster of each thumbnail, and its squared distance from the centre: Lloyd's k-means.

    Args:
        thumbnails: (n, values).
        count: of clusters, at most.
        seed: of the first centres, which k-means++ draws.
    """
    data, rng = np.asarray(thumbnails, float), np.random.default_rng(seed)
    centres = data[[rng.integers(len(data))]]
    near = ((data - centres[0]) ** 2).sum(1)
    while len(centres) < count and near.sum() > 0:
        drawn = data[rng.choice(len(data), p=near / near.sum())]
        centres = np.concatenate([centres, drawn[None]])
        near = np.minimum(near, ((data - drawn) ** 2).sum(1))
    of = np.zeros(len(data), np.intp)
    for _ in range(STEPS):
        away = (data**2).sum(1)[:, None] - 2 * data @ centres.T + (centres**2).sum(1)
        of, before = away.argmin(1), of
        if (of == before).all():
            break
        held = np.bincount(of, minlength=len(centres))[:, None]
        sums = np.zeros_like(centres)
        np.add.at(sums, of, data)
        centres = np.where(held > 0, sums / np.maximum(held, 1), centres)
    return of, ((data - centres[of]) ** 2).sum(1)


def diverse(thumbnails: NDArray[np.floating[Any]], seed: int = 0) -> list[int]:
    """All images, the first of which differ most.

    Of 20 clusters the image nearest to each centre, then of 40 clusters those that hold none yet,
    and so on; the larger clusters first.

    Args:
        thumbnails: (n, values).
        seed: of the clustering.

    Example:
        >>> sorted(diverse(np.arange(30.0)[:, None])) == list(range(30))
        True
    """
    chosen: list[int] = []
    count = FIRST
    while count < len(thumbnails):
        of, away = clusters(thumbnails, count, seed)
        sizes = np.bincount(of)
        taken = set(of[chosen].tolist()) if chosen else set()
        for cluster in np.argsort(-sizes, kind="stable").tolist():
            if sizes[cluster] and cluster not in taken:
                members = np.flatnonzero(of == cluster)
                chosen.append(int(members[away[members].argmin()]))
        count *= 2
    rest = sorted(set(range(len(thumbnails))) - set(chosen))
    return [*chosen, *np.random.default_rng(seed).permutation(rest).astype(int).tolist()]


def worst(
    unsure: Mapping[int, float], of: Sequence[int], labelled: Sequence[int], seed: int = 0
) -> list[int]:
    """Images in the order in which a run wants them labelled.

    In rounds: of each cluster its least sure image, clusters with few labelled images first.
    Every fifth is drawn at random from all that are left.

    Args:
        unsure: how unsure the run is of each image that is not labelled.
        of: the cluster of each image.
        labelled: images that are labelled.
        seed: of what is drawn.

    Example:
        >>> worst({0: 0.1, 1: 0.9, 2: 0.8, 3: 0.2}, [0, 0, 0, 1], [])
        [1, 3, 2, 0]
    """
    held = np.bincount([of[i] for i in labelled], minlength=max(of, default=0) + 1)
    queues: dict[int, list[int]] = {}
    for image in sorted(unsure, key=lambda i: -unsure[i]):
        queues.setdefault(of[image], []).append(image)
    ranked = []
    while queues:
        heads = sorted(queues, key=lambda c: (held[c], -unsure[queues[c][0]]))
        ranked += [queues[c].pop(0) for c in heads]
        queues = {c: queue for c, queue in queues.items() if queue}
    rng = np.random.default_rng(seed)
    order: list[int] = []
    while ranked:
        at = int(rng.integers(len(ranked))) if len(order) % RANDOM == RANDOM - 1 else 0
        order.append(ranked.pop(at))
    return order
