"""What the heads of instances and of poses share: a map of centres, and offsets.

An object is found where the map of centres is hot. For masks each pixel of an object then points at
its centre; for poses each pixel about a centre points at the keypoints. Both are offsets
place − pixel, learnt where a pixel has an `owner`: the object that it belongs to, or whose centre
is the nearest.

Offsets are encoded from labels that were warped before, so a flip negates nothing here.

Each part of a loss is divided by what a network that knows nothing has: it is about 1 at the start,
so no part is drowned by another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from placewise.geometry import Each, Size, to_map
from placewise.peak_losses import PeakLoss

NOBODY = -1
"""Owner of a pixel that no object has."""

LITTLE = 0.25
"""Pixels of the map that offsets of an image are long at least on average, where a loss is divided
by their length: objects of one pixel must not weigh infinitely much."""


@dataclass(frozen=True)
class Objects:
    """The objects on the images of a batch, one after the other.

    Attributes:
        centres: (n, axes) of (x, y, …) in pixels of the map.
        of: (n,) number of each object's image.
        owner: (batch, *size) the object of each pixel of the map; `NOBODY` where there is none.
    """

    centres: Tensor
    of: Tensor
    owner: Tensor

    @property
    def size(self) -> Size:
        """Of the map."""
        return tuple(self.owner.shape[1:])


def labelled_objects(labels: Tensor, stride: Size) -> Objects:
    """The objects of label maps: the centre of each is the mean place of its pixels.

    Args:
        labels: (batch, *size) whole numbers: above 0 an object, with numbers of its own on each
            image; sizes are multiples of the stride.
        stride: image pixels for one pixel of the map, for each axis. A pixel of the map belongs to
            an object if most of its image pixels are foreground.

    Example:
        >>> found = labelled_objects(torch.tensor([[0, 4, 4, 4, 7, 0]]), (1,))
        >>> found.centres.tolist(), found.owner.tolist()
        ([[2.0], [4.0]], [[-1, 0, 0, 0, 1, -1]])
    """
    batch, size = len(labels), tuple(labels.shape[1:])
    most = max(0, int(labels.max())) + 1
    image = torch.arange(batch, device=labels.device).view(-1, *[1] * len(size))
    keys = labels.clamp_min(0).long() + most * image
    counts = torch.bincount(keys.flatten(), minlength=most * batch)
    there = (counts > 0) & (torch.arange(len(counts), device=counts.device) % most > 0)
    places = torch.stack(torch.meshgrid(*[torch.arange(n) for n in size], indexing="ij")[::-1], -1)
    flat, weights = keys.flatten(), places.to(labels.device).reshape(-1, len(size)).double()
    sums = weights.new_zeros(len(counts), len(size))
    sums.index_add_(0, flat, weights.repeat(batch, 1))
    number = torch.where(there, there.cumsum(0) - 1, NOBODY)
    owner = _coarse(number[keys], stride)
    centres = to_map((sums[there] / counts[there, None]).float(), tuple(map(float, stride[::-1])))
    return Objects(centres, torch.nonzero(there)[:, 0] // most, owner)


def _coarse(owner: Tensor, stride: Size) -> Tensor:
    """Owners of cells of pixels: the last of a cell's owners, where most of its pixels have one."""
    if set(stride) == {1}:
        return owner
    for axis, step in enumerate(stride, 1):
        owner = torch.unflatten(owner, axis, (-1, step)).movedim(axis + 1, -1)
    cells = owner.flatten(owner.ndim - len(stride))
    full = (cells != NOBODY).double().mean(-1) > 0.5
    return torch.where(full, cells.amax(-1), NOBODY)


def objects_about(
    centres: Tensor, of: Tensor, count: int, size: Size, reach: float | Tensor
) -> Objects:
    """Objects of which only the centres are known: each owns the pixels about its centre.

    Of several centres within reach of a pixel the nearest owns it.

    Args:
        centres: (n, axes) of (x, y, …) in pixels of the map.
        of: (n,) number of each object's image.
        count: images of the batch.
        size: of the map.
        reach: pixels of the map about a centre that it owns; one number or (n,).

    Example:
        >>> centres = torch.tensor([[1.0], [3.2]])
        >>> objects_about(centres, torch.tensor([0, 0]), 1, (6,), 1.0).owner.tolist()
        [[0, 0, 0, 1, 1, -1]]
    """
    owner = torch.full((count, *size), NOBODY, device=centres.device)
    nearest = torch.full((count, *size), math.inf, device=centres.device)
    limits = torch.as_tensor(reach, device=centres.device).expand(len(centres))
    for number, (image, centre, limit) in enumerate(
        zip(of.tolist(), centres, limits.tolist(), strict=True)
    ):
        window, squares = _about(centre, limit, size)
        part = (image, *window)
        wins = (squares <= limit**2) & (squares < nearest[part])
        nearest[part] = torch.where(wins, squares, nearest[part])
        owner[part] = torch.where(wins, number, owner[part])
    return Objects(centres, of, owner)


def _about(centre: Tensor, reach: float, size: Size) -> tuple[tuple[slice, ...], Tensor]:
    """Slices of a map about a place, and the squared distances of their pixels from it."""
    window, squares = [], centre.new_zeros(())
    for at, side in zip(centre.flip(0), size, strict=True):
        first = min(max(0, math.ceil(float(at) - reach)), side)
        last = min(max(first, math.floor(float(at) + reach) + 1), side)
        window.append(slice(first, last))
        along = torch.arange(first, last, device=centre.device) - at
        squares = squares[..., None] + along**2
    return tuple(window), squares


def offsets_to(places: Tensor, owner: Tensor) -> Tensor:
    """From each pixel that has an owner to a place of its owner.

    Args:
        places: (n, axes) of (x, y, …) in pixels of the map, e.g. the centres.
        owner: (batch, *size) the object of each pixel.

    Returns:
        (batch, axes, *size) of (x, y, …) in pixels of the map; 0 where nobody owns a pixel.

    Example:
        >>> offsets_to(torch.tensor([[1.5]]), torch.tensor([[0, 0, -1]]))
        tensor([[[1.5000, 0.5000, 0.0000]]])
    """
    owned = owner != NOBODY
    offsets = places.new_zeros(len(owner), places.shape[-1], *owner.shape[1:])
    if not len(places):
        return offsets
    pixels = torch.nonzero(owned)
    found = places[owner[owned]] - pixels[:, 1:].flip(-1).to(places.dtype)
    return offsets.movedim(1, -1).index_put((owned,), found).movedim(-1, 1)


def centre_loss(
    loss: PeakLoss, logits: Tensor, objects: Objects, sigma: Each, known: Tensor, first: float
) -> Tensor:
    """Loss of a map of centres, 1 for an image with objects whose map is `first` everywhere.

    Args:
        loss: member of `PEAK_LOSSES`.
        logits: (batch, *size).
        objects: what is on the images.
        sigma: standard deviation about a centre in pixels of the map.
        known: (batch, *size) 1, or 0 for pixels of which nothing is known.
        first: the logits before training.

    Returns:
        (batch,). An image without objects is divided by what one with one object has.
    """
    logits, known = logits[:, None], known[:, None].to(logits.dtype)
    target = loss.target(objects.centres, objects.of, len(logits), objects.size, sigma)[:, None]
    with torch.no_grad():
        blank = torch.full_like(logits, first)
        middle = logits.new_tensor([[(side - 1) / 2 for side in reversed(objects.size)]])
        lone = loss.target(middle, objects.of.new_zeros(1), 1, objects.size, sigma)[None]
        least = loss(blank[:1], lone, torch.ones_like(lone))
        start = torch.maximum(loss(blank, target, known), least)
    return (loss(logits, target, known) / start)[:, 0]


def offset_loss(offsets: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute error of offsets over that of offsets which are 0: 1 at the start.

    Σ w |o − t| / Σ w |t|. Images of large and of small objects weigh alike.

    Args:
        offsets: (batch, n, *size) in pixels of the map.
        target: (batch, n, *size) in pixels of the map.
        weight: broadcasts to (batch, n, *size); 0 where there is nothing to learn.

    Returns:
        (batch,); 0 for an image with nothing to learn.

    Example:
        >>> target = torch.tensor([[[2.0, 1.0, 9.0]]])
        >>> offset_loss(torch.zeros(1, 1, 3), target, torch.tensor([1.0, 1.0, 0.0]))
        tensor([1.])
    """
    weight = weight.expand_as(target).to(target.dtype)
    off, start, total = (
        (part * weight).flatten(1).sum(1)
        for part in ((offsets - target).abs(), target.abs(), torch.ones_like(target))
    )
    return off / start.maximum(LITTLE * total).clamp_min(1e-9)
