"""Random changes within set ranges, as a pure function of (seed, epoch, sample)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.augment import homographies
from placewise.augment.sampling import Fill, move_points, warp_image
from placewise.augment.warps import Chain, Warp, control_shape, elastic
from placewise.errors import SettingsError
from placewise.geometry import FloatArray, Size
from placewise.wording import did_you_mean

_TOP = {
    "rotate": 180.0,
    "shear": 60.0,
    "translate": 1.0,
    "perspective": 0.3,
    "elastic": 0.1,
    "brightness": 0.95,
    "contrast": 0.95,
    "gamma": 3.0,
    "noise": 1.0,
    "blur": 10.0,
    "colour": 0.95,
    "drift": 3.0,
}
"""Largest value of each range; the smallest is 0."""

_SWITCHES = ("flip", "turns", "invert")

WAVES, LEAST_PERIOD = 3, 1 / 32
"""Waves of a drift, and the shortest period as a share of the frame's longest side."""

ANYWHERE = 0.1
"""Share of the windows on large images that look anywhere, so that background is seen too."""


def generator(seed: int, epoch: int, sample_id: str) -> np.random.Generator:
    """The random numbers of one sample in one epoch, the same wherever they are drawn.

    Philox (Salmon et al. 2011) with the first half of SHA-256 of the three as its key.

    Args:
        seed: the run's seed.
        epoch: how often the data were gone through before.
        sample_id: what names the sample, e.g. its path.

    Example:
        >>> bool(generator(0, 1, "a.png").random() == generator(0, 1, "a.png").random())
        True
    """
    digest = hashlib.sha256(f"{seed:d}\0{epoch:d}\0{sample_id}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


@dataclass(frozen=True)
class Augmentation:
    """Ranges that random changes of images are drawn from, evenly and independently.

    Signals are shifted and scaled in time; volumes are turned and sheared in all three planes.

    Attributes:
        flip: whether every second image is mirrored, x to W − 1 − x; needs the points' symmetry.
        rotate: most degrees, either way; of a volume in each plane of two axes.
        scale: (least, most) factor, drawn evenly in its logarithm.
        shear: most degrees, either way.
        translate: largest shift as a share of the image's sides, either way.
        perspective: largest share by which an edge goes away from the viewer or comes nearer; of
            images alone.
        elastic: largest push as a share of the frame's longer side, in five cells along it; of
            images alone.
        brightness: largest change of a factor on all pixels.
        contrast: largest change of a factor on the distance from the image's mean.
        gamma: largest γ: the exponent is between 1 / (1 + γ) and 1 + γ.
        noise: largest standard deviation of normal noise, where white is 1.
        blur: largest standard deviation of a Gaussian blur in pixels.
        colour: largest change of a factor on each channel by itself, where there are several.
        drift: largest height of each of three slow waves that are added, in standard deviations of
            the image: the wandering baseline of a signal, the uneven light of an image.
        turns: whether images are also turned by 0, 90, 180 or 270 degrees, which blends nothing;
            volumes in the plane of x and y, signals not at all.
        invert: whether every second image is its negative, x to 1 − x: a signal upside down.

    Raises:
        SettingsError: a range that cannot be.

    Example:
        >>> augmentation = Augmentation(flip=True, rotate=30)
        >>> rng = generator(0, 0, "a.png")
        >>> augmentation.draw(rng, (40, 60), (32, 32)).size
        (32, 32)
    """

    flip: bool = False
    rotate: float = 15.0
    scale: tuple[float, float] = (0.8, 1.25)
    shear: float = 5.0
    translate: float = 0.06
    perspective: float = 0.0
    elastic: float = 0.0
    brightness: float = 0.2
    contrast: float = 0.2
    gamma: float = 0.2
    noise: float = 0.02
    blur: float = 0.0
    colour: float = 0.0
    drift: float = 0.0
    turns: bool = False
    invert: bool = False

    def __post_init__(self) -> None:
        for name, top in _TOP.items():
            if not 0 <= getattr(self, name) <= top:
                raise SettingsError(
                    f"augmentation {name} = {getattr(self, name)}; needed 0 to {top}; "
                    "0 switches it off"
                )
        least, most = self.scale
        if not 0.1 <= least <= most <= 10:
            raise SettingsError(
                f"augmentation scale = {self.scale}; needed (least, most) within 0.1 to 10; "
                "(1, 1) switches it off"
            )

    @classmethod
    def of(cls, **values: Any) -> Augmentation:
        """Ranges from loose values, e.g. of a file of settings.

        Raises:
            SettingsError: an unknown name, or a value that is no such number.

        Example:
            >>> Augmentation.of(rotate=10, scale=[0.9, 1.1]).scale
            (0.9, 1.1)
        """
        names = [field.name for field in fields(cls)]
        for name, value in values.items():
            if name not in names:
                raise SettingsError(
                    f"no augmentation is named '{name}'; there are: {', '.join(names)}."
                    f"{did_you_mean(name, names)}"
                )
            values[name] = _loose(name, value)
        return cls(**values)

    @classmethod
    def none(cls) -> Augmentation:
        """Nothing is changed: images are laid into the frame as they are.

        Example:
            >>> Augmentation.none().rotate
            0.0
        """
        return cls.of(**dict.fromkeys(_TOP, 0.0), scale=(1.0, 1.0))

    def as_dict(self) -> dict[str, bool | float | list[float]]:
        """The ranges as JSON holds them; `Augmentation.of(**…)` reads them back.

        Example:
            >>> Augmentation.of(**Augmentation().as_dict()) == Augmentation()
            True
        """
        return {**asdict(self), "scale": list(self.scale)}

    def draw(
        self,
        rng: np.random.Generator,
        size_in: Size,
        size_out: Size,
        focus: Sequence[float] | None = None,
    ) -> Warp:
        """Draw one geometric change.

        As many numbers are drawn whatever the ranges, so one range does not change what the
        others give.

        Args:
            rng: where the numbers come from.
            size_in: of the image in pixels.
            size_out: of the frame that it is laid into, middle on middle; where the image is
                larger, the frame is a window on it.
            focus: (x, y, …) that most windows show, somewhere in them; the others look anywhere.

        Returns:
            The warp; its `mirrors` says whether left and right change places.

        Raises:
            SettingsError: a perspective or an elastic field of a signal or a volume.
        """
        axes, lengths = len(size_in), size_in[::-1]
        mirrored = rng.random() < 0.5
        turns, leans = (rng.uniform(-1, 1, len(homographies.planes(axes))) for _ in range(2))
        shifts, tilts = rng.uniform(-1, 1, axes).tolist(), rng.uniform(-1, 1, axes).tolist()
        factor = float(np.exp(rng.uniform(*np.log(self.scale))))
        away, *at = rng.random(1 + axes).tolist()
        shares = rng.random(axes).tolist()
        if focus is None or away < ANYWHERE:
            focus = [place * length for place, length in zip(at, lengths, strict=True)]
        moves = zip(shifts, lengths, strict=True)
        changes = [homographies.frame(size_in, size_out, focus, shares)]
        if factor != 1:
            changes.append(homographies.scale(size_out, factor))
        if self.shear:
            changes.append(homographies.shear(size_out, (leans * self.shear).tolist()))
        if self.rotate:
            changes.append(homographies.rotate(size_out, (turns * self.rotate).tolist()))
        shift = [s * self.translate * side for s, side in moves]
        changes.append(homographies.translate(size_out, *shift))
        if self.perspective:
            tilted = [tilt * self.perspective for tilt in (*tilts, 0.0)[:2]]
            changes.append(homographies.perspective(size_out, *tilted))
        if self.flip and mirrored:
            changes.insert(1, homographies.flip(size_out))
        if self.turns:
            quarter = int(away * 2**50) % 4  # digits that nothing else uses: no more is drawn
            quarters = [90.0 * quarter, 0.0, 0.0][: len(homographies.planes(axes))]
            changes.insert(1, homographies.rotate(size_out, quarters))
        if self.elastic:
            return Chain(*changes, elastic(size_out, rng, self.elastic * max(size_out)))
        if axes == 2:
            rng.random(control_shape(size_out))  # as many as an elastic field would have drawn
        return Chain(*changes)

    def mirrors(self, axes: int) -> tuple[tuple[int, ...], ...]:
        """Axes along which an image may be mirrored so that training draws its like as often.

        A turn by 180° mirrors along both axes of its plane.

        Args:
            axes: of an image.

        Returns:
            Axes of each mirrored image, counted from the end: −1 is x.

        Example:
            >>> Augmentation(flip=True, turns=True).mirrors(2)
            ((-1,), (-2,), (-2, -1))
            >>> Augmentation(turns=True).mirrors(2), Augmentation(flip=True).mirrors(3)
            (((-2, -1),), ((-1,),))
        """
        turned = axes > 1 and (self.turns or self.rotate >= 180)
        over = ((-1,),) if self.flip else ()
        if not turned:
            return over
        return (*over, (-2,), (-2, -1)) if self.flip else ((-2, -1),)

    def photometric(
        self, image: NDArray[np.float32], rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Change blur, γ, contrast, brightness, noise, colours, drift and sign, in this order.

        Args:
            image: (*size, channels) float32 in 0..1.
            rng: where the numbers come from.

        Returns:
            A new image in 0..1.

        Example:
            >>> grey = np.full((2, 2, 1), 0.5, np.float32)
            >>> Augmentation.none().photometric(grey, generator(0, 0, ""))[0, 0].tolist()
            [0.5]
        """
        brightness, contrast, gamma = rng.uniform(-1, 1, 3).tolist()
        blur, noise = rng.random(2).tolist()
        shown = _blurred(image, blur * self.blur).clip(0, 1)
        if self.gamma:
            shown **= np.float32((1 + self.gamma) ** gamma)
        mean = shown.mean(dtype=np.float64)
        factor = (1 + contrast * self.contrast) * (1 + brightness * self.brightness)
        shift = mean * (1 + brightness * self.brightness) - mean * factor
        shown *= np.float32(factor)
        shown += np.float32(shift)
        if self.noise:
            grain = rng.standard_normal(shown.shape, dtype=np.float32)
            grain *= np.float32(noise * self.noise)
            shown += grain
        if self.colour and shown.shape[-1] > 1:  # from here on drawn last: only what is asked for
            changes = np.asarray(rng.uniform(-1, 1, shown.shape[-1]), np.float32)
            shown *= 1 + np.float32(self.colour) * changes
        if self.drift:
            height = self.drift * shown.std(dtype=np.float64)
            shown += (height * _waves(shown.shape[:-1], rng)[..., None]).astype(np.float32)
        if self.invert and rng.random() < 0.5:
            np.subtract(np.float32(1), shown, out=shown)
        return shown.clip(0, 1, out=shown)

    def apply(
        self,
        image: NDArray[Any],
        points: FloatArray,
        visibility: NDArray[np.int8],
        rng: np.random.Generator,
        size_out: Size,
        swap: NDArray[np.intp] | None = None,
        fill: Fill = "replicate",
    ) -> tuple[NDArray[np.float32], FloatArray, NDArray[np.int8]]:
        """Draw a change, and make it of the image and of its points.

        Args:
            image: (*size, channels) uint8, uint16, or float32 in 0..1.
            points: (..., points, axes) of (x, y, …) in pixels of the image, NaN where not located.
            visibility: (..., points) of `Visibility`.
            rng: where the numbers come from; see `generator`.
            size_out: of the result in pixels.
            swap: (points,) permutation: which point each one becomes in the mirror.
            fill: what stands beyond the image.

        Returns:
            image float32 in 0..1, points in its pixels, and states; see `move_points`.

        Example:
            >>> image, points = np.zeros((8, 8, 1), np.uint8), np.array([[3.0, 3.0]])
            >>> visibility, rng = np.array([3], np.int8), generator(0, 0, "a.png")
            >>> Augmentation.none().apply(image, points, visibility, rng, (10, 10))[1]
            array([[4., 4.]])
        """
        located = points[np.isfinite(points).all(-1)]
        warp = self.draw(rng, image.shape[:-1], size_out, middle_of(located))
        shown = self.photometric(warp_image(image, warp, fill), rng)
        return shown, *move_points(points, visibility, warp, swap)


def _waves(size: Size, rng: np.random.Generator) -> FloatArray:
    """(*size,) sum of `WAVES` waves of heights 0..1, in any direction, begun anywhere.

    Periods are drawn evenly in their logarithm, up to the longest side.
    """
    total: FloatArray = np.zeros(size)
    for _ in range(WAVES):
        height, begun, share = rng.random(3).tolist()
        direction = rng.standard_normal(len(size))
        direction /= np.linalg.norm(direction)
        period = max(size) * LEAST_PERIOD**share
        grid = np.meshgrid(*map(np.arange, size), indexing="ij", sparse=True)
        place = sum(along * at for along, at in zip(direction, grid, strict=True))
        total += height * np.sin(2 * np.pi * (place / period + begun))
    return total


def middle_of(points: FloatArray) -> tuple[float, ...] | None:
    """The mean (x, y, …) of the points (count, axes) that are located; None where none is.

    Example:
        >>> middle_of(np.array([[1.0, 2.0], [3.0, 4.0], [np.nan, np.nan]]))
        (2.0, 3.0)
    """
    located = points[np.isfinite(points).all(-1)]
    if not len(located):
        return None
    return tuple(float(located[:, axis].mean()) for axis in range(located.shape[1]))


def _loose(name: str, value: Any) -> Any:
    """The value as its field has it, or our error."""
    number = (int, float)
    if name in _SWITCHES and isinstance(value, bool):
        return value
    if name == "scale" and isinstance(value, list | tuple) and len(value) == 2:
        if all(isinstance(end, number) for end in value):
            return tuple(float(end) for end in value)
    elif name not in (*_SWITCHES, "scale") and isinstance(value, number) and value is not True:
        return float(value)
    said = dict.fromkeys(_SWITCHES, "true or false") | {"scale": "two numbers [least, most]"}
    wanted = said.get(name, "a number")
    raise SettingsError(f"augmentation {name} = {value!r}; needed {wanted}; write that")


def _blurred(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Gaussian blur, axis after axis, the outermost pixel standing beyond the border."""
    radius = int(np.ceil(3 * sigma))
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-(offsets**2) / 2 / max(sigma, 1e-3) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    for axis in range(image.ndim - 1 if sigma > 0.1 else 0):
        along = image.swapaxes(0, axis)
        beyond = ((radius, radius), *[(0, 0)] * (image.ndim - 1))
        padded = np.pad(along, beyond, mode="edge")
        blurred = np.zeros_like(along)
        for k, weight in enumerate(weights):
            blurred += weight * padded[k : k + len(along)]
        image = np.ascontiguousarray(blurred.swapaxes(0, axis))
    return image
