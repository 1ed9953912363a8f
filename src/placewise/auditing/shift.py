"""How the output changes when the image is shifted: as one percentage, by phase, and by place.

The output is (N, classes); an output with places (N, classes, *map) is averaged over the places.
For feature maps and dense outputs, place by place, see `placewise.auditing.borders`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from placewise.auditing._draws import generator
from placewise.auditing._numbers import Finding
from placewise.auditing._run import as_input, common_shift, crop, find_layers, outputs, room
from placewise.errors import SettingsError
from placewise.geometry import FloatArray
from placewise.graph import undisturbed

MANY = 81
"""Up to so many phases, all are measured; of more, only those that are powers of two."""


@dataclass(frozen=True)
class Consistency(Finding):
    """How often two crops of one image get the same class.

    Attributes:
        percent: of pairs with equal argmax.
        standard_error: of `percent`, from the spread of the images' own percentages; NaN for one
            image.
        images: number of images.
        pairs: number of pairs in all.
        classes: number of different classes in the predictions. With 1, `percent` means nothing.
        share: share of the output's variance that comes from the shift, 0 to 1: see
            `shift_share`.
        offsets: greatest offset of a crop in pixels, per axis.

    Example:
        >>> consistency(nn.Flatten(), torch.eye(3)[:, None], size=(3,), pairs=2).percent
        100.0
    """

    percent: float
    standard_error: float
    images: int
    pairs: int
    classes: int
    share: float
    offsets: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class PhaseMap(Finding):
    """How the output changes when the image moves by less than the network's stride.

    Attributes:
        stride: pixels per axis after which the phases repeat.
        offsets: of the crops in pixels, per axis; the last one is a whole stride.
        changed: (*offsets) share of the images whose class is not that of offset 0.
        moved: (*offsets) share of the output's variance that comes from the shift, 0 to 1: see
            `shift_share`.
        share: (*offsets) the part of it that comes from the phase, 0 to `moved`: what the shift
            changes beyond what a whole stride changes along the same axes.
        control: `moved` at a whole stride along each axis. There the phase is 0 again, so this is
            the effect of new content at the borders.

    Example:
        >>> found = phase_map(nn.Flatten(), torch.rand(2, 1, 6), size=(4,), stride=(2,))
        >>> found.offsets
        ((0, 1, 2),)
    """

    stride: tuple[int, ...]
    offsets: tuple[tuple[int, ...], ...]
    changed: FloatArray
    moved: FloatArray
    share: FloatArray
    control: float

    @property
    def largest(self) -> float:
        """Largest share of the phase, of the shifts below a stride along all axes."""
        return float(self.share[self._at])

    @property
    def beyond(self) -> float:
        """Share that a whole stride makes along the axes of the largest one; 1 is most for both.

        Where no phase makes any, this is the control.
        """
        return float(self.moved[self._at]) - self.largest if self.largest else self.control

    @property
    def _at(self) -> tuple[int, ...]:
        """Where the largest share is, of the shifts below a stride along all axes."""
        below = self.share[(slice(0, -1),) * self.share.ndim]
        return tuple(int(n) for n in np.unravel_index(int(below.argmax()), below.shape))


@dataclass(frozen=True, eq=False)
class PlaceMap(Finding):
    """How the output depends on the place of an object.

    Attributes:
        object: sides of the object in pixels, per axis.
        offsets: of the object's first pixel, per axis.
        response: (*offsets) change of the whole output when the object appears there, 1 on average.
        agreement: (*offsets) share of the objects whose class is that of the middle place; None
            if the output has places.
        share: share of the output's variance that comes from the place and not from the object;
            None if the output has places.

    Example:
        >>> net = nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten())
        >>> place_map(net, torch.rand(2, 1, 8), stride=(2,)).response.round(4).tolist()
        [1.0, 1.0, 1.0, 1.0]
    """

    object: tuple[int, ...]
    offsets: tuple[tuple[int, ...], ...]
    response: FloatArray
    agreement: FloatArray | None
    share: float | None


def consistency(
    model: nn.Module,
    images: Tensor,
    *,
    size: Sequence[int],
    pairs: int = 8,
    seed: int = 0,
    batch_size: int = 16,
) -> Consistency:
    """Share of pairs of shifted crops that get the same class (Zhang 2019).

    Two crops of an image, at offsets drawn uniformly from all that fit, are consistent if argmax f
    is equal. As in the paper, 224 of 256 pixels means offsets 0 … 32; here each pair of each image
    has its own offsets.

    Args:
        model: a classifier.
        images: (N, C, *space), larger than `size`; e.g. 256 pixels where `size` is 224.
        size: of the crops, in pixels per axis.
        pairs: number for each image.
        seed: for the offsets.
        batch_size: crops at a time.

    Raises:
        SettingsError: the images are smaller than the crops, or `pairs` is below 1.

    Example:
        >>> net = nn.Sequential(nn.AdaptiveMaxPool1d(1), nn.Flatten())
        >>> consistency(net, torch.rand(4, 2, 9), size=(8,), pairs=3).pairs
        12
    """
    first, second = crop_pairs(images, size, pairs=pairs, seed=seed)
    with undisturbed(model):
        found = [outputs(model, as_input(model, a), batch_size=batch_size) for a in (first, second)]
    return compared(*found, images=len(images), offsets=room(images, size))


def crop_pairs(
    images: Tensor, size: Sequence[int], *, pairs: int = 1, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Pairs of crops of images at random offsets: the first and the second of each pair.

    Args:
        images: (N, C, *space).
        size: of the crops, in pixels per axis.
        pairs: number for each image.
        seed: for the offsets.

    Raises:
        SettingsError: the images are smaller than the crops, or `pairs` is below 1.

    Example:
        >>> crop_pairs(torch.rand(4, 2, 9), (8,), pairs=3)[0].shape
        torch.Size([12, 2, 8])
    """
    if pairs < 1:
        raise SettingsError(f"pairs={pairs}: give at least 1")
    free = room(images, size)
    crops = []
    for number, image in enumerate(images):
        draws = generator(seed, number)
        drawn = [torch.randint(0, most + 1, (2 * pairs,), generator=draws) for most in free]
        crops += [image[crop(offset, size)] for offset in torch.stack(drawn, 1).tolist()]
    return torch.stack(crops[::2]), torch.stack(crops[1::2])


def compared(
    first: Tensor, second: Tensor, *, images: int, offsets: tuple[int, ...]
) -> Consistency:
    """The consistency of outputs for pairs of crops.

    Args:
        first: (images · pairs, ...) outputs for the first crops.
        second: the same for the second crops.
        images: number of images.
        offsets: greatest offset of a crop in pixels, per axis.

    Example:
        >>> outputs = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> compared(outputs, outputs, images=2, offsets=(1,)).percent
        100.0
    """
    logits = [_by_class(output) for output in (first, second)]
    classes = [one.argmax(1) for one in logits]
    same = (classes[0] == classes[1]).double().reshape(images, -1).mean(1).numpy()
    error = 100 * float(same.std(ddof=1) / len(same) ** 0.5) if len(same) > 1 else math.nan
    return Consistency(
        percent=100 * float(same.mean()),
        standard_error=error,
        images=images,
        pairs=len(first),
        classes=len(set(torch.cat(classes).tolist())),
        share=float(shift_share(*logits)),
        offsets=offsets,
    )


def phase_map(
    model: nn.Module,
    images: Tensor,
    *,
    size: Sequence[int],
    stride: Sequence[int] | None = None,
    offsets: Sequence[Sequence[int]] | None = None,
    batch_size: int = 16,
    known: Mapping[tuple[int, ...], Tensor] | None = None,
    others: Tensor | None = None,
) -> PhaseMap:
    """Compare outputs of crops at offsets within the stride with those at offset 0.

    A layer of stride s samples one of s phases of the image. With S(o) and C(o) of `shift_share`
    for the pair of offsets 0 and o, and c(o) the offset of whole strides along the axes along
    which o moves at all, share(o) = max(0, S(o) − S(c(o))) / (S(o) + max(0, C(o))): at c(o) the
    phase is 0 again, so that only new content at the borders changes the output. A shift below a
    stride brings in less new content than a whole stride, so that the share is rather too small
    than too large.

    Args:
        model: a classifier.
        images: (N, C, *space), larger than `size` by a stride at least.
        size: of the crops, in pixels per axis.
        stride: after which phases repeat, per axis; measured by default.
        offsets: for each axis, ascending from 0 to the stride; by default all of them if these
            are at most 81 in all, else 0, powers of two (each affects the layers of the strides
            above it) and the stride.
        batch_size: crops at a time.
        known: offset → outputs for the crops there, where the network has run on them before.
        others: (N, ...) outputs for N ≥ 2 other images. Their variance V then takes the place of
            S + max(0, C) where it is above S: of a few images alone C is hardly known.

    Raises:
        SettingsError: the images are too small or there are fewer than 2, or no stride can be
            measured.

    Example:
        >>> net = nn.Sequential(nn.MaxPool1d(2), nn.AdaptiveAvgPool1d(1), nn.Flatten())
        >>> found = phase_map(net, torch.rand(9, 3, 10), size=(8,))
        >>> found.stride, float(found.share[0])
        ((2,), 0.0)
    """
    room(images, size)
    if len(images) < 2:
        raise SettingsError(f"{len(images)} image is too few to compare with; give at least 2")
    with undisturbed(model):
        if stride is None:
            stride = common_shift(find_layers(model, (images.shape[1], *size)))
        room(images, size, stride)
        offsets = _phases(stride) if offsets is None else offsets
        places, found = list(itertools.product(*offsets)), dict(known or {})
        new = [place for place in places if place not in found]
        crops = torch.cat([images[crop(place, size)] for place in new])
        logits = outputs(model, as_input(model, crops), batch_size=batch_size)
        found |= dict(zip(new, torch.split(logits, len(images)), strict=True))
    shape = [len(axis) for axis in offsets]
    logits = torch.stack([_by_class(found[place]) for place in places])
    by_place = logits.reshape(*shape, len(images), -1)
    still = by_place[(0,) * len(shape)].expand_as(by_place)
    changed = (by_place.argmax(-1) != still.argmax(-1)).double().mean(-1).numpy()
    made, kept = _variances(still, by_place)
    whole = made + kept
    if others is not None:
        whole = np.maximum(made, float(_by_class(others).var(0, correction=1).mean()))
    moved = _ratios(made, whole)
    ends = np.ix_(*[[0, *[length - 1] * (length - 1)] for length in shape])
    share = _ratios(np.maximum(made - made[ends], 0), whole)
    return PhaseMap(
        stride=tuple(stride),
        offsets=tuple(map(tuple, offsets)),
        changed=changed,
        moved=moved,
        share=share,
        control=float(moved.flat[-1]),
    )


def place_map(
    model: nn.Module,
    images: Tensor,
    *,
    object_size: Sequence[int] | None = None,
    stride: Sequence[int] | None = None,
    places: int = 8,
    batch_size: int = 16,
) -> PlaceMap:
    """Move an object over a uniform ground and measure how the output depends on its place.

    The objects are the middles of the images; the ground is the mean of all images, channel by
    channel. Places are whole strides apart, so that the phase is the same everywhere and only the
    place differs. response(p) = √(mean over objects and outputs of (f(object at p) − f(ground))²),
    over its mean; the share is that of places in the variance of the output.

    Args:
        model: any network.
        images: (N, C, *space) of the network's size.
        object_size: in pixels per axis; a quarter of the image by default.
        stride: in pixels per axis; measured by default.
        places: largest number per axis.
        batch_size: images at a time.

    Raises:
        SettingsError: the object does not fit, or the output never changes.

    Example:
        >>> net = nn.Sequential(nn.MaxPool1d(2), nn.Flatten())
        >>> place_map(net, torch.rand(2, 1, 8), stride=(2,)).offsets
        ((0, 2, 4, 6),)
    """
    space = tuple(images.shape[2:])
    sides = tuple(object_size) if object_size is not None else tuple(n // 4 or 1 for n in space)
    free = room(images, sides)
    with undisturbed(model):
        if stride is None:
            stride = common_shift(find_layers(model, tuple(images.shape[1:])))
        offsets = tuple(map(_whole_strides, free, stride, [places] * len(space)))
        middle = [(n - side) // 2 for n, side in zip(space, sides, strict=True)]
        mean = images.mean((0, *range(2, images.ndim)), keepdim=True)
        ground = mean.expand(1, *images.shape[1:])
        scenes = [ground]
        for place in itertools.product(*offsets):
            scene = ground.repeat(len(images), *[1] * (images.ndim - 1))
            scene[crop(place, sides)] = images[crop(middle, sides)]
            scenes.append(scene)
        logits = outputs(model, as_input(model, torch.cat(scenes)), batch_size=batch_size)
    return _place_findings(logits, sides, offsets)


def _place_findings(
    logits: Tensor, sides: tuple[int, ...], offsets: tuple[tuple[int, ...], ...]
) -> PlaceMap:
    """Findings from the outputs for the bare ground and then for each object at each place."""
    shape = [len(axis) for axis in offsets]
    by_place = logits[1:].reshape(math.prod(shape), -1, *logits.shape[1:])
    response = (by_place - logits[:1]).square().flatten(1).mean(1).sqrt().numpy().reshape(shape)
    if not response.mean() > 0:
        raise SettingsError(
            "the output is the same with and without an object; give images with more content, "
            "or a larger object_size"
        )
    agreement, share = None, None
    if logits.ndim == 2:
        middle = int(np.ravel_multi_index([n // 2 for n in shape], shape))
        classes = by_place.argmax(2)
        agreement = (classes == classes[middle]).double().mean(1).numpy().reshape(shape)
        within = by_place.var(0, correction=0).mean()
        whole = by_place.flatten(0, 1).var(0, correction=0).mean()
        share = float(_ratios(*_above_rounding(by_place.square().mean(), within, whole)))
    return PlaceMap(sides, offsets, response / response.mean(), agreement, share)


def _by_class(output: Tensor) -> Tensor:
    """(N, classes): outputs with places are averaged over the places."""
    return output.reshape(len(output), -1) if output.ndim <= 2 else output.flatten(2).mean(2)


def shift_share(first: Tensor, second: Tensor) -> FloatArray:
    """Share of the output's variance that comes from a shift, 0 to 1.

    For pairs (a, b) of outputs of one image at two places, S = mean (a − b)² / 2 is the variance
    that the shift makes, and the covariance of a and b over images, C = Σ (a − ā)(b − b̄) / (n − 1),
    is the variance that the images make. The share is S / (S + max(0, C)), which is one minus the
    correlation of the pairs (the intraclass correlation of Fisher).

    0: the shift changes nothing. 1: two crops of one image differ as much as crops of two images,
    or the output depends on the shift alone.

    Args:
        first: (..., pairs, classes), at least 2 pairs.
        second: the same.

    Returns:
        (...); S and C are averaged over classes.

    Example:
        >>> images = torch.tensor([[0.0], [2.0]])
        >>> [float(shift_share(images, images + shift)) for shift in (0, 2)]
        [0.0, 0.5]
    """
    made, kept = _variances(first, second)
    return _ratios(made, made + kept)


def _variances(first: Tensor, second: Tensor) -> tuple[FloatArray, FloatArray]:
    """S and max(0, C) of `shift_share`."""
    apart = [one - one.mean(-2, keepdim=True) for one in (first, second)]
    kept = (apart[0] * apart[1]).sum(-2).mean(-1) / (first.shape[-2] - 1)
    made = ((first - second).square() / 2).mean((-2, -1))
    square = (first.square() + second.square()).mean((-2, -1)) / 2
    above, between = _above_rounding(square, made, kept)
    return above, between


def _above_rounding(square: Tensor, *variances: Tensor) -> list[FloatArray]:
    """Variances of outputs of this mean square; 0 where rounding errors may have made them."""
    least = (8 * torch.finfo(torch.float32).eps) ** 2 * square
    return [torch.where(one > least, one, 0.0).numpy() for one in variances]


def _ratios(part: FloatArray, whole: FloatArray) -> FloatArray:
    """Shares of a whole; 0 where it is 0, and at most 1 in spite of rounding."""
    found = np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)
    return np.minimum(found, 1.0)


def _phases(stride: Sequence[int]) -> list[list[int]]:
    if math.prod(step + 1 for step in stride) <= MANY:
        return [list(range(step + 1)) for step in stride]
    return [[0, *(2**n for n in range(step.bit_length()) if 2**n < step), step] for step in stride]


def _whole_strides(free: int, stride: int, places: int) -> tuple[int, ...]:
    """At most so many offsets, whole strides apart, from one border to the other."""
    last = free // stride
    count = min(places, last + 1)
    return tuple(stride * round(number) for number in np.linspace(0, last, count))
