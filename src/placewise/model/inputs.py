"""How images are brought to the network: scale, size, channels, normalisation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from placewise.family import validated
from placewise.geometry import Size
from placewise.images import PIXEL_LIMIT, as_float, is_grey, resize
from placewise.labels import Dataset, KeypointSample, Sample

PIXELS = 320 * 240
"""Pixels of a training image, or of a window on it: trains in minutes on two cores."""

DETAIL = 2.0
"""Pixels of an image after scaling, in those that training shows of it."""

OBJECT = 128.0
"""Pixels that the object (diagonal of the box about its points) keeps after scaling, where that
makes an image's sides at most `FINER` times as long as the budget alone would."""

FINER = 4.0
"""See `OBJECT`: 16 times the pixels is what a small object may cost when predicting."""

SMALLEST = 48.0
"""Pixels that the object keeps whatever that costs."""

PALE = 0.3
"""Contrast, as a share of that of the training images, below which images are of another kind."""

PEEK = 48
"""Images looked at to learn whether the set is grey, its mean, its contrast and its depth."""

WHITES = tuple(2**bits - 1 for bits in (8, 10, 12, 14, 16))
"""Largest values of cameras, which write 10, 12 or 14 bits into files of 16."""


Side = Annotated[int, Field(ge=1, le=PIXEL_LIMIT)]


class InputSettings(BaseModel):
    """How images are brought to the network.

    Attributes:
        scale: network pixels for one image pixel, at most 1.
        size: (height, width) of training images, or of crops of them, after scaling.
        channels: 1 (grey) or 3 (RGB).
        mean: of each channel of the training images, in 0..1.
        std: of each channel of the training images, in 0..1.
        fit: images that would be larger than the size are shrunk until they fit into it.
        white: value of a 16-bit image that counts as 1, so that brightness, contrast and noise are
            shares of what the camera can say; 8-bit images count 255 as 1.

    Example:
        >>> InputSettings(scale=0.5, size=(240, 320), channels=1, mean=(0.5,), std=(0.2,)).white
        65535
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scale: Annotated[float, Field(ge=1e-4, le=1)]
    size: tuple[Side, Side]
    channels: Annotated[int, Field(ge=1, le=1024)]
    mean: tuple[Annotated[float, Field(ge=0, le=1)], ...]
    std: tuple[Annotated[float, Field(ge=1e-3, le=1)], ...]
    fit: bool = False
    white: Annotated[int, Field(ge=1, le=WHITES[-1])] = WHITES[-1]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Refuse sides that make too large an image, and colours that no channel has."""
        if self.size[0] * self.size[1] > PIXEL_LIMIT:
            raise ValueError(
                f"size is {list(self.size)}; that must be {PIXEL_LIMIT:,} pixels or fewer"
            )
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != self.channels:
                raise ValueError(
                    f"{name} has {len(values)} numbers; it must have one for each of "
                    f"{self.channels} channels"
                )
        return self


def choose_input(
    dataset: Dataset[Any],
    samples: Sequence[Sample],
    extent: float | None,
    seed: int,
    pixels: int = PIXELS,
    *,
    whole: bool = False,
    fit: bool = False,
    full: bool = False,
) -> InputSettings:
    """Scale, size, channels and normalisation for the training images.

    The scale brings the median image to `DETAIL` times `pixels` pixels, but keeps small objects
    larger (see `OBJECT`), and never enlarges. Images of more than `pixels` pixels are shown in
    training through windows of that many. White is the least of `WHITES` that no 16-bit image
    exceeds, of those looked at.

    Args:
        dataset: the labels, which read the images.
        samples: the training samples.
        extent: of the object in image pixels, as `object_extent` found it.
        seed: which images are looked at for mean and contrast.
        pixels: that training shows of the median image.
        whole: it must show the whole image, which then has that many pixels.
        fit: where images differ in size, those larger than the size are shrunk to fit into it.
        full: images are not scaled.
    """
    sizes = np.array([sample.size for sample in samples], dtype=float)
    base = float(np.sqrt(pixels / np.median(sizes.prod(1))))
    scale = base
    if not whole:
        scale *= float(np.sqrt(DETAIL))
        if extent:
            scale = max(scale, min(OBJECT / extent, FINER * base), SMALLEST / extent)
    scale = 1.0 if full else min(1.0, scale)
    sides = np.percentile(sizes, 90, axis=0) * min(scale, base)
    high, wide = np.ceil(sides).astype(int).tolist()
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(samples))[:PEEK]
    peek = [dataset.image(samples[i].image) for i in chosen]
    channels = 1 if all(is_grey(image) for image in peek) else 3
    white = _white(peek)
    seen = [_channels(_unit(p, white), channels)[::4, ::4].reshape(-1, channels) for p in peek]
    values = np.concatenate(seen).astype(np.float64)
    found = {
        "scale": scale,
        "size": (high, wide),
        "channels": channels,
        "mean": tuple(values.mean(0).round(5).tolist()),
        "std": tuple(values.std(0).clip(0.02).round(5).tolist()),
        "fit": fit and bool((sizes != sizes[0]).any()),
        "white": white,
    }
    return validated(InputSettings, found)


def _white(images: Sequence[NDArray[np.generic]]) -> int:
    """The least of `WHITES` that no 16-bit image exceeds; the largest where there is none."""
    largest = [int(image.max()) for image in images if image.dtype == np.uint16]
    return next(white for white in WHITES if white >= max(largest, default=WHITES[-1]))


def unlike(images: Iterable[NDArray[np.generic]], view: InputSettings) -> list[str]:
    """What sets images apart from those that a model was trained on, a sentence each.

    Args:
        images: some of them, as `as_input` takes them.
        view: the model's input settings.

    Example:
        >>> view = InputSettings(scale=1.0, size=(4, 4), channels=1, mean=(0.5,), std=(0.2,))
        >>> dark = np.arange(16, dtype=np.uint16).reshape(4, 4, 1)
        >>> unlike([dark], view)[0][:66]
        'the images have 0.00035 times the contrast of the training images,'
    """
    seen, largest = [], 0
    for image in images:
        seen.append(as_input(image, view).std(axis=(0, 1)).mean())
        if image.dtype == np.uint16:
            largest = max(largest, int(image.max()))
    notes = []
    share = float(np.median(seen)) / float(np.mean(view.std)) if seen else 1.0
    if share < PALE:
        notes.append(
            f"the images have {share:.2g} times the contrast of the training images, so the "
            "predictions are not to be trusted: give images of the same kind, e.g. 12 bits "
            "stretched to 16, or 8 bits"
        )
    if largest > view.white:
        notes.append(
            f"the images have values up to {largest}, and those of the training at most "
            f"{view.white}: what is brighter is cut off; give images of the same camera and "
            "exposure, or train on some of these"
        )
    return notes


def _unit(image: NDArray[np.generic], white: int) -> NDArray[np.float32]:
    """Pixels as float32 in 0..1; what is brighter than white is white."""
    if image.dtype != np.uint16 or white == WHITES[-1]:
        return as_float(image)
    pixels: NDArray[np.float32] = np.divide(image, np.float32(white), dtype=np.float32)
    return pixels.clip(max=1)


def object_extent(samples: Sequence[KeypointSample]) -> float | None:
    """Median diagonal in pixels of the box about an object's located points; None if unknown."""
    boxes = [
        np.ptp(points[located], axis=0)
        for sample in samples
        for points, located in zip(sample.points, sample.located, strict=True)
        if located.sum() >= 2
    ]
    return float(np.median(np.linalg.norm(boxes, axis=1))) if boxes else None


def _channels(image: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """Grey or RGB, whichever the network wants."""
    if image.shape[2] == channels:
        return image
    if channels == 1:
        return np.asarray(image.mean(2, keepdims=True, dtype=np.float32))
    return np.repeat(image, 3, axis=2)


def as_input(image: NDArray[np.generic], view: InputSettings) -> NDArray[np.float32]:
    """An image as the network sees it: (h, w, channels) in 0..1, scaled.

    Args:
        image: (height, width, 1 or 3) uint8, uint16 or float in 0..1.
        view: the model's input settings.

    Example:
        >>> view = InputSettings(scale=0.5, size=(4, 4), channels=1, mean=(0.5,), std=(0.2,))
        >>> as_input(np.zeros((9, 6, 3), np.uint8), view).shape
        (4, 3, 1)
    """
    size = shown_size((image.shape[0], image.shape[1]), view)
    shown = image if image.shape[:2] == size else resize(image, size)
    return _channels(_unit(shown, view.white), view.channels)


def scaled_size(size: Size, scale: float) -> Size:
    """(height, width) after scaling, at least one pixel.

    Example:
        >>> scaled_size((480, 641), 0.5)
        (240, 320)
    """
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def shown_size(size: Size, view: InputSettings) -> Size:
    """(height, width) at which the network sees an image.

    Example:
        >>> view = InputSettings(scale=0.5, size=(4, 4), channels=1, mean=(0.5,), std=(0.2,))
        >>> shown_size((9, 16), view), shown_size((9, 16), view.model_copy(update={"fit": True}))
        ((4, 8), (2, 4))
    """
    scale = view.scale
    if view.fit:
        scale = min(scale, view.size[0] / size[0], view.size[1] / size[1])
    return scaled_size(size, scale)
