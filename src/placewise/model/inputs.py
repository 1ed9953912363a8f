"""How images are brought to the network: scale, size, channels, normalisation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from placewise.errors import SettingsError, ShapeError
from placewise.family import validated
from placewise.geometry import FloatArray, Size
from placewise.images import (
    LARGE,
    PIXEL_LIMIT,
    ImageArray,
    as_float,
    is_grey,
    resize,
)
from placewise.labels import Dataset, KeypointSample, Sample
from placewise.model.kinds import axes_of, check_channels, check_kind
from placewise.model.spectrogram import Spectrogram
from placewise.resizing import Cut, resized_part
from placewise.windows import Windows
from placewise.wording import IMAGES_OF

PIXELS = 320 * 240
"""Pixels of a training image, or of a window on it: trains in minutes on two cores."""

BUDGET = {1: 4096, 2: PIXELS, 3: 64**3}
"""The same by number of axes: samples of a signal, pixels of an image, voxels of a volume."""

WHOLE = 16384
"""Samples of a signal that is shown whole."""

DETAIL = 2.0
"""Pixels of an image after scaling, in those that training shows of it."""

OBJECT = 128.0
"""Pixels that the object (diagonal of the box about its points) keeps after scaling, where that
makes an image's sides at most `FINER` times as long as the budget alone would."""

FINER = 4.0
"""See `OBJECT`: 16 times the pixels is what a small object may cost when predicting."""

SMALLEST = 48.0
"""Pixels that the object keeps whatever that costs."""

FLAT = 0.02
"""Standard deviation that images are divided by where their own is less."""

PALE = 0.3
"""Contrast, as a share of that of the training images, below which images are of another kind."""

PEEK = 48
"""Images looked at to learn whether the set is grey, its mean, its contrast and its depth."""

WHITES = tuple(2**bits - 1 for bits in (8, 10, 12, 14, 16))
"""Largest values of cameras, which write 10, 12 or 14 bits into files of 16."""


SPREAD = 4.0
"""Ratio of the images' contrasts, of the 95th to the 5th percentile, from which each image is
brought to one contrast."""

LOW, HIGH = 0.5, 99.8
"""Percentiles of an image that become `FLOOR` and `CEILING` where each image is normalised."""

FLOOR, CEILING = 0.2, 0.8
"""What lies further out than the percentiles has room up to 0 and 1."""

MUCH = 1.5
"""Pixels of a training image, in those of the budget, from which the median size is shown."""

Side = Annotated[int, Field(ge=1, le=PIXEL_LIMIT)]
Normalise = Literal["set", "each"]
Spacing = tuple[float, ...]
"""Distance of neighbouring pixels along each axis, in the order of an array's axes."""


class InputSettings(BaseModel):
    """How images, signals or volumes are brought to the network.

    Attributes:
        scale: network pixels for one image pixel, along its finest axis; at most 1.
        size: of training images, or of windows on them, after scaling: (length), (height, width)
            or (depth, height, width).
        channels: 1 (grey) or 3 (RGB) of images; as many as signals and volumes have.
        mean: of each channel of the training images, in 0..1.
        std: of each channel of the training images, in 0..1.
        fit: images that would be larger than the size are shrunk until they fit into it.
        white: value of a 16-bit image that counts as 1, so that brightness, contrast and noise are
            shares of what the camera can say; 8-bit images count 255 as 1.
        normalise: "set": all images by the same numbers; "each": percentiles of each image are
            brought to fixed values, because images differ in exposure, loudness or unit.
        pitch: distance of neighbouring pixels along the finest axis of the training images, in mm
            (volumes) or s (signals). The network sees pixels that are as far apart along every
            axis. None: no distances are known, and pixels are taken as they are.
        spectrogram: signals are shown to the network as such maps; None: as they are.

    Example:
        >>> InputSettings(scale=0.5, size=(240, 320), channels=1, mean=(0.5,), std=(0.2,)).white
        65535
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scale: Annotated[float, Field(ge=1e-4, le=1)]
    size: Annotated[tuple[Side, ...], Field(min_length=1, max_length=3)]
    channels: Annotated[int, Field(ge=1, le=1024)]
    mean: tuple[Annotated[float, Field(ge=0, le=1)], ...]
    std: tuple[Annotated[float, Field(ge=1e-3, le=1)], ...]
    fit: bool = False
    white: Annotated[int, Field(ge=1, le=WHITES[-1])] = WHITES[-1]
    normalise: Normalise = "set"
    pitch: Annotated[float, Field(gt=1e-12, le=1e6)] | None = None
    spectrogram: Spectrogram | None = None

    @property
    def axes(self) -> int:
        """Axes of what the network sees: 1 for signals, 2 for images, 3 for volumes."""
        return len(self.size)

    @property
    def image_axes(self) -> int:
        """Axes of what is in the files: those of a spectrogram's signal are one."""
        return 1 if self.spectrogram else self.axes

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Refuse sides that make too large an image, and colours that no channel has."""
        if math.prod(self.size) > PIXEL_LIMIT:
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
    pixels: int | None = None,
    *,
    whole: bool = False,
    fit: bool = False,
    full: bool = False,
    spectrogram: bool = False,
) -> InputSettings:
    """Scale, size, channels and normalisation for the training images.

    The scale brings the median image to `DETAIL` times `pixels` pixels, but keeps small objects
    larger (see `OBJECT`), and never enlarges. Signals keep their samples unless they must be shown
    whole. Images of more than `pixels` pixels are shown in training through windows of that many.
    White is the least of `WHITES` that no 16-bit image exceeds, of those looked at. Each image is
    normalised on its own where they differ `SPREAD` times in contrast; signals and volumes always.

    Args:
        dataset: the labels, which read the images.
        samples: the training samples.
        extent: of the object in image pixels, as `object_extent` found it.
        seed: which images are looked at for mean and contrast.
        pixels: that training shows of the median image; None: `BUDGET`.
        whole: it must show the whole image, which then has that many pixels.
        fit: where images differ in size, those larger than the size are shrunk to fit into it.
        full: images are not scaled.
        spectrogram: signals become maps of frequency and time.

    Raises:
        DataError: images of several numbers of axes, or signals or volumes of several numbers of
            channels.
        SettingsError: spectrograms of what is no signal.
    """
    axes = axes_of(samples)
    check_channels(dataset, axes)
    steps, pitch = _steps(dataset, samples)
    sizes = np.array([sample.size for sample in samples], dtype=float) * steps
    view = Spectrogram.of_pitch(pitch) if spectrogram else None
    if view:
        if axes != 1:
            raise SettingsError(f"spectrograms are of signals, and these have {axes} axes")
        sizes, axes = np.array([view.size(round(length)) for (length,) in sizes], dtype=float), 2
    if pixels is None:
        pixels = WHOLE if axes == 1 and whole else BUDGET[axes]
    base = _root(float(pixels / np.median(sizes.prod(1))), axes)
    scale = base if whole else _scale(base, axes, extent)
    scale = 1.0 if full or (axes == 1 and not whole) else min(1.0, scale)
    sides = _window(sizes * min(scale, base), pixels)
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(samples))[:PEEK]
    peek = [dataset.image(samples[i].image) for i in chosen]
    if view:
        count = _channels_of(peek, 1)
        peek = [view.map(_channels(signal, count)) for signal in peek]
    found = {
        "scale": scale,
        "size": tuple(np.ceil(sides).astype(int).tolist()),
        "fit": fit and bool((sizes != sizes[0]).any()),
        "pitch": pitch,
        "spectrogram": view,
        **_values_of(peek, axes, maps=view is not None),
    }
    return validated(InputSettings, found)


def _window(sizes: FloatArray, pixels: float) -> FloatArray:
    """Sides of what training shows of the scaled images.

    Nine in ten images fit into it along each axis. Where that would be much more than the budget,
    because some images are far larger than others, it has the median size: small images would be
    mostly padding.
    """
    sides: FloatArray = np.percentile(sizes, 90, axis=0)
    return sides if sides.prod() <= MUCH * pixels else np.median(sizes, axis=0)


def _scale(base: float, axes: int, extent: float | None) -> float:
    """What shows more than the budget, and keeps small objects large.

    Args:
        base: what shows the median image within the budget.
        axes: of the images.
        extent: of the object in image pixels; None where it is not known.
    """
    scale = base * _root(DETAIL, axes)
    if extent:
        scale = max(scale, min(OBJECT / extent, FINER ** (2 / axes) * base), SMALLEST / extent)
    return scale


def _steps(dataset: Dataset[Any], samples: Sequence[Sample]) -> tuple[FloatArray, float | None]:
    """Pixels of the finest axis for one of each axis, image by image; and the finest distance."""
    spacings = [dataset.images.spacing(sample.image) for sample in samples]
    if None in spacings:
        return np.ones((len(samples), 1)), None
    steps = np.array(spacings, dtype=float)
    pitch = float(np.median(steps.min(1)))
    return steps / pitch, pitch


def _root(value: float, axes: int) -> float:
    """The side of a square, or cube, of this many pixels."""
    return float(np.sqrt(value)) if axes == 2 else float(value ** (1 / axes))


def _values_of(images: Sequence[NDArray[np.generic]], axes: int, *, maps: bool) -> dict[str, Any]:
    """Channels, normalisation, and mean and contrast of normalised images.

    Args:
        images: some of the training images.
        axes: of each.
        maps: they are spectrograms, each of which is normalised already.
    """
    channels = _channels_of(images, 1 if maps else axes)
    white = _white(images)
    unit = [image.astype(np.float32) if axes != 2 else _unit(image, white) for image in images]
    normalise = "each" if axes != 2 or (not maps and _differ(unit)) else "set"
    if normalise == "each":
        unit = [normalised(image) for image in unit]
    few = (slice(None, None, 4),) * axes
    seen = [_channels(image, channels)[few].reshape(-1, channels) for image in unit]
    values = np.concatenate(seen).astype(np.float64)
    return {
        "channels": channels,
        "mean": tuple(values.mean(0).round(5).tolist()),
        "std": tuple(values.std(0).clip(FLAT).round(5).tolist()),
        "white": white,
        "normalise": normalise,
    }


def _channels_of(images: Sequence[NDArray[np.generic]], axes: int) -> int:
    """1 or 3 of images; of signals and volumes as many as they have."""
    if axes == 2:
        return 1 if all(is_grey(image) for image in images) else 3
    count: int = images[0].shape[-1]
    return count


def _differ(images: Sequence[NDArray[np.float32]]) -> bool:
    """Whether images differ so much in contrast that each has to be normalised."""
    contrasts = [float(np.ptp(np.percentile(image, (LOW, HIGH)))) for image in images]
    low, high = np.percentile(contrasts, (5, 95))
    return bool(high > SPREAD * max(low, 1e-3))


def normalised(image: NDArray[np.generic]) -> NDArray[np.float32]:
    """An image in 0..1 whose own percentiles `LOW` and `HIGH` are `FLOOR` and `CEILING`.

    Colours of an image are brought there together, the channels of signals and volumes each on its
    own. An image without contrast becomes `FLOOR` everywhere.

    Args:
        image: (*size, channels) of any numbers.

    Example:
        >>> normalised(np.linspace(-500, 500, 1001)[:, None])[[0, 5, 998, 1000], 0].round(3)
        array([0.197, 0.2  , 0.8  , 0.801], dtype=float32)
    """
    axes = tuple(range(image.ndim if image.ndim == 3 else image.ndim - 1))
    values = np.asarray(image, np.float32)
    low, high = np.percentile(values, (LOW, HIGH), axis=axes, keepdims=True)
    return _brought(values, low, high)


def _brought(values: NDArray[np.float32], low: Any, high: Any) -> NDArray[np.float32]:
    """Numbers brought to where `low` and `high` are `FLOOR` and `CEILING`."""
    span = np.where(high > low, high - low, np.inf)
    shown = (values - low) / span * (CEILING - FLOOR) + FLOOR
    return np.asarray(shown.clip(0, 1), np.float32)


def cut_of_input(image: Windows, view: InputSettings) -> tuple[Size, Cut]:
    """Size of an image as the network sees it, and what gives parts of that.

    The numbers are those of `as_input`, of which only what a part needs is read.

    Args:
        image: of two axes.
        view: the model's input settings.

    Example:
        >>> from placewise.windows import Whole
        >>> view = InputSettings(scale=0.5, size=(4, 4), channels=1, mean=(0.5,), std=(0.2,))
        >>> size, cut = cut_of_input(Whole(np.zeros((9, 6, 3), np.uint8)), view)
        >>> size, cut(slice(1, 4), slice(0, 3)).shape
        ((4, 3), (3, 3, 1))
    """
    size = shown_size(image.size, view)
    if math.prod(image.size) <= LARGE:
        whole = as_input(image.cut(*(slice(0, side) for side in image.size)), view)
        return size, lambda rows, columns: whole[rows, columns]
    levels = _levels(image) if view.normalise == "each" else None

    def given(rows: slice, columns: slice) -> ImageArray:
        pixels = image.cut(rows, columns)
        if levels is None:
            return pixels
        return _channels(_brought(pixels.astype(np.float32), *levels), view.channels)

    def cut(rows: slice, columns: slice) -> NDArray[np.float32]:
        if size == image.size:
            shown = given(rows, columns)
        else:
            shown = resized_part(given, image.size, size, (rows, columns))
        return shown if levels is not None else _channels(_unit(shown, view.white), view.channels)

    return size, cut


def _levels(image: Windows) -> tuple[np.float32, np.float32]:
    """Percentiles `LOW` and `HIGH` of all numbers of an image, from how often each occurs."""
    counts = np.zeros(np.iinfo(image.dtype).max + 1, np.int64)
    tall, wide = image.size
    step = max(1, LARGE // wide)
    for top in range(0, tall, step):
        pixels = image.cut(slice(top, min(top + step, tall)), slice(0, wide))
        counts += np.bincount(pixels.ravel(), minlength=len(counts))
    below = counts.cumsum()
    found = []
    for percent in (LOW, HIGH):
        at = percent / 100 * (int(below[-1]) - 1)
        first, second = np.searchsorted(below, [math.floor(at), math.ceil(at)], "right")
        found.append(np.float32(first + (second - first) * (at - math.floor(at))))
    return found[0], found[1]


def _white(images: Sequence[NDArray[np.generic]]) -> int:
    """The least of `WHITES` that no 16-bit image exceeds; the largest where there is none."""
    largest = [int(image.max()) for image in images if image.dtype == np.uint16]
    return next(white for white in WHITES if white >= max(largest, default=WHITES[-1]))


def unlike(images: Iterable[NDArray[np.generic]], view: InputSettings) -> list[str]:
    """What sets images apart from those that a model was trained on, a sentence each.

    Images that the model does not read at all are left to who predicts them.

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
        try:
            seen.append(as_input(image, view).std(axis=tuple(range(view.axes))).mean())
        except ShapeError:
            continue
        if image.dtype == np.uint16:
            largest = max(largest, int(image.max()))
    notes = []
    share = float(np.median(seen)) / float(np.mean(view.std)) if seen else 1.0
    if share < PALE and max(view.std) > FLAT:  # else the training images were flat themselves
        what = IMAGES_OF[view.axes]
        like = "e.g. 12 bits stretched to 16, or 8 bits"
        notes.append(
            f"the {what} have {share:.2g} times the contrast of the training {what}, so the "
            f"predictions are not to be trusted: give {what} of the same kind, "
            + (like if view.axes == 2 else "whose values vary as much between their extremes")
        )
    if largest > view.white and view.normalise == "set":
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
    """As many channels as the network wants: their mean for 1, the same several times for grey.

    Raises:
        ShapeError: the image has another number.
    """
    if image.shape[-1] == channels:
        return image
    if channels == 1:
        return _mean(image)
    if image.shape[-1] != 1:
        raise ShapeError(
            f"got {image.shape[-1]} channels; the model was trained on {channels}: give as many"
        )
    return np.repeat(image, channels, axis=-1)


def _mean(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """(*size, 1) mean of the channels: the bits of `image.mean(-1)`, which takes ten times longer.

    Example:
        >>> image = np.random.default_rng(0).random((5, 4, 3), np.float32)
        >>> bool((_mean(image)[..., 0] == image.mean(-1, dtype=np.float32)).all())
        True
    """
    if image.shape[-1] != 3:
        return np.asarray(image.mean(-1, keepdims=True, dtype=np.float32))
    total = image[..., 0] + image[..., 1]
    total += image[..., 2]
    total /= np.float32(3)
    return total[..., None]


def as_input(
    image: NDArray[np.generic],
    view: InputSettings,
    spacing: Spacing | None = None,
    name: str = "",
) -> NDArray[np.float32]:
    """An image as the network sees it: (*size, channels) in 0..1, scaled.

    Args:
        image: (*size, channels): uint8, uint16 or float in 0..1; any numbers where `view` says that
            each image is normalised.
        view: the model's input settings.
        spacing: distance of its pixels along each axis; None: that of the training images.
        name: of the image, for messages.

    Raises:
        ShapeError: it is not of the kind that the model reads.

    Example:
        >>> view = InputSettings(scale=0.5, size=(4, 4), channels=1, mean=(0.5,), std=(0.2,))
        >>> as_input(np.zeros((9, 6, 3), np.uint8), view).shape
        (4, 3, 1)
    """
    check_kind(image, view.image_axes, view.channels - bool(view.spectrogram), name)
    size = shown_size(image.shape[:-1], view, spacing)
    if view.spectrogram:
        length = (_length(len(image), view, spacing),)
        signal = _channels(image.astype(np.float32, copy=False), view.channels - 1)
        signal = signal if length[0] == len(image) else resize(signal, length)
        seen = view.spectrogram.map(signal)
        return _channels(seen if seen.shape[:-1] == size else resize(seen, size), view.channels)
    if view.normalise == "each":
        values = _channels(normalised(image), view.channels)
        return values if image.shape[:-1] == size else resize(values, size)
    shown = image if image.shape[:-1] == size else resize(image, size)
    return _channels(_unit(shown, view.white), view.channels)


def scaled_size(size: Size, scale: float) -> Size:
    """Size after scaling, at least one pixel along each axis.

    Example:
        >>> scaled_size((480, 641), 0.5)
        (240, 320)
    """
    return tuple(max(1, round(side * scale)) for side in size)


def shown_size(size: Size, view: InputSettings, spacing: Spacing | None = None) -> Size:
    """Size at which the network sees an image.

    Args:
        size: of the image.
        view: the model's input settings.
        spacing: distance of its pixels along each axis; None: that of the training images.

    Example:
        >>> view = InputSettings(scale=0.5, size=(4, 4), channels=1, mean=(0.5,), std=(0.2,))
        >>> shown_size((9, 16), view), shown_size((9, 16), view.model_copy(update={"fit": True}))
        ((4, 8), (2, 4))
        >>> thick = view.model_copy(update={"size": (4, 4, 4), "scale": 1.0, "pitch": 0.5})
        >>> shown_size((10, 30, 30), thick, (1.5, 0.5, 0.5))
        (30, 30, 30)
    """
    if view.spectrogram:
        size, spacing = view.spectrogram.size(_length(size[0], view, spacing)), None
    scale, steps = view.scale, (1.0,) * len(size)
    if spacing is not None and view.pitch is not None:
        steps = tuple(step / view.pitch for step in spacing)
    if view.fit:
        sides = zip(view.size, size, steps, strict=True)
        scale = min(scale, *(most / (side * step) for most, side, step in sides))
    return tuple(max(1, round(side * step * scale)) for side, step in zip(size, steps, strict=True))


def _length(length: int, view: InputSettings, spacing: Spacing | None) -> int:
    """Samples of a signal at the rate of the training signals."""
    if spacing is None or view.pitch is None:
        return length
    return max(1, round(length * spacing[0] / view.pitch))
