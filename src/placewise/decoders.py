"""Decoders: from heatmaps to points.

Every member looks for the hottest pixel and then, but for `Argmax`, for the place between pixels
that the heat about it points to. A map says nothing about what lies beyond its border, so nothing
is made up there: pixels beyond the border weigh nothing, and what is left is fitted one-sidedly.
That is exact for a sampled Gaussian wherever its centre is on the image, also in a corner.

What all members share:

- A flat map (all values equal) has no hottest pixel; its keypoint is the middle of the map, the one
  place that no flip moves. The score, not the keypoint, says that there is nothing.
- A map that holds NaN or an infinity, or that varies but is nowhere above 0 (so it is logits and
  not heat), has no answer: its keypoint is NaN. Other maps of the batch are not touched by it.
- Heat below 0 counts as none. Of several equally hot pixels the first in reading order counts.
- The fit sees some dozen numbers of each map and is done in float64 on the CPU, whatever the type
  and the device of the maps and whether autocast is on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch

from placewise.errors import SettingsError
from placewise.family import Family

FAINT = 1e-6
"""Share of the peak's heat below which `Taylor` sees no difference; keeps its logs finite."""

FAR = 1.5
"""Pixels along each axis that `Taylor` goes from the hottest pixel at most."""

NEWTON_STEPS = 12
"""Steps of `Integral`'s moment matching; more change nothing for 0.4 ≤ σ in map pixels."""


class Decoder(ABC):
    """Maps to points."""

    @abstractmethod
    def __call__(self, maps: torch.Tensor) -> torch.Tensor:
        """Find the point on each map.

        Args:
            maps: (..., height, width), heat ≥ 0 (not logits), any floating type.

        Returns:
            (..., 2) float32 or float64 points (x, y) in pixels of the map, within −½ … W−½; NaN
            for a map that cannot be read.

        Raises:
            SettingsError: the tensor is no stack of maps.
        """


class Argmax(Decoder):
    """Centre of the hottest pixel: no finer than a pixel, 0.38 px off on average.

    Example:
        >>> Argmax()(torch.tensor([[0.1, 0.2, 0.9]]))
        tensor([2., 0.])
    """

    def __call__(self, maps: torch.Tensor) -> torch.Tensor:
        """Hottest pixel of each map; see `Decoder`."""
        return _decode(maps, 0, lambda windows, inside: windows.new_zeros(len(windows), 2))


class Taylor(Decoder):
    """Top of the quadratic surface that fits the log of the heat best about the hottest pixel.

    The log of a Gaussian *is* a quadratic, ln h = c + b·p + pᵀA p, and its top −½A⁻¹b is the
    centre (DARK, Zhang et al. 2020, arXiv 1910.06278, takes b and A from central differences, for
    which a border pixel has no neighbour). Here c, b and A are the least-squares fit to the pixels
    within 3 of the hottest one that are on the map, weighted with their heat h. A window as wide
    as the blob matters: the maps of a trained network are lopsided, and what lies about the very
    top says less of where the truth is than the blob as a whole (measured: docs/decoders.md).

    Where the surface has no top, each axis is tried alone, and an axis without a top keeps the
    hottest pixel; so does an axis of 1 or 2 pixels. The answer is within 1.5 px of the hottest
    pixel along each axis.

    Example:
        >>> columns = torch.arange(8.0)
        >>> Taylor()(torch.exp(-((columns - 7.4) ** 2) / 4).expand(3, 8))[0]
        tensor(7.4000)
    """

    def __call__(self, maps: torch.Tensor) -> torch.Tensor:
        """Top of the log map's fit; see `Decoder`."""
        return _decode(maps, 3, _top_of_log)


class Integral(Decoder):
    """Mean place of the heat within 3 px of the hottest pixel, mended for what the window cuts.

    A mean alone is pulled inwards wherever a window or the border cuts the blob: of a keypoint on
    the
    very edge one sees half a Gaussian, whose mean is 0.8 σ inside. Mean and mean square together
    tell both centre and σ: of all Gaussians h ∝ exp(βx + γx²) cut at the same pixels, the one with
    the same two moments is taken, and its centre is −β / 2γ. It is the most likely Gaussian
    (moment matching in an exponential family, e.g. Wainwright & Jordan 2008, §3) and is found by
    Newton's method, for each axis on the window's sums over the other.

    Where the fit is no peak (σ above 6 px, or an axis of 1 or 2 pixels) the plain mean is given.

    Example:
        >>> columns = torch.arange(8.0)
        >>> Integral()(torch.exp(-((columns - 7.4) ** 2) / 4).expand(3, 8))[0]
        tensor(7.4000)
    """

    def __call__(self, maps: torch.Tensor) -> torch.Tensor:
        """Mended mean place; see `Decoder`."""
        return _decode(maps, 3, _mended_mean)


Offsets = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(windows, inside) → (M, 2) offsets (x, y) of the points from the hottest pixels."""


def _decode(maps: torch.Tensor, reach: int, offsets: Offsets) -> torch.Tensor:
    """Hottest pixel of each map plus an offset that is read off the window about it.

    Args:
        maps: (..., height, width).
        reach: pixels of the window on each side of the hottest pixel.
        offsets: reads the offset off the windows.

    Returns:
        (..., 2) points; see `Decoder`.
    """
    if maps.ndim < 2 or 0 in maps.shape[-2:] or not maps.is_floating_point():
        raise SettingsError(
            f"got a {maps.dtype} tensor of shape {tuple(maps.shape)}; a decoder needs floating "
            "heatmaps (..., height, width) of at least one pixel; pass the head's heat"
        )
    flat = maps.detach().flatten(0, -3) if maps.ndim > 2 else maps.detach()[None]
    height, width = flat.shape[-2:]
    peak, index = flat.flatten(1).max(1)
    lowest = flat.flatten(1).amin(1)
    place = torch.stack((index % width, index // width), -1)
    windows, inside = _windows(flat, place, reach)
    windows = (windows / peak.cpu().double()[:, None, None]).nan_to_num(0.0, 0.0, 0.0).clamp(0, 1)
    points = place.cpu() + offsets(windows * inside[:, 1, :, None] * inside[:, 0, None, :], inside)

    last = points.new_tensor([width - 1, height - 1])
    points = points.clamp(points.new_tensor(-0.5), last + 0.5)
    level = (peak == lowest).cpu()
    readable = (peak.isfinite() & lowest.isfinite() & (peak > 0)).cpu() | level
    points = torch.where(level[:, None], last / 2, points)
    points = points.masked_fill(~readable[:, None], torch.nan)
    kind = torch.promote_types(maps.dtype, torch.float32)
    return points.to(kind).to(maps.device).view(*maps.shape[:-2], 2)


def _windows(
    flat: torch.Tensor, place: torch.Tensor, reach: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut a square about each place.

    Args:
        flat: (M, height, width) maps.
        place: (M, 2) pixels (x, y).
        reach: pixels on each side.

    Returns:
        (M, n, n) float64 windows with n = 2·reach + 1, and (M, 2, n) which of their columns
        [:, 0] and rows [:, 1] are on the map; values at places that are not mean nothing.
    """
    steps = torch.arange(-reach, reach + 1, device=flat.device)
    last = torch.tensor([flat.shape[2] - 1, flat.shape[1] - 1], device=flat.device)[:, None]
    at = place[:, :, None] + steps
    nearest = at.clamp_min(0).minimum(last)
    each = torch.arange(len(flat), device=flat.device)[:, None, None]
    windows = flat[each, nearest[:, 1, :, None], nearest[:, 0, None, :]]
    return windows.cpu().double(), (at == nearest).cpu()


def _top_of_log(windows: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Top of the weighted least-squares quadratic of ln h; see `Taylor`."""
    steps = _steps(windows)
    y, x = (grid.flatten() for grid in torch.meshgrid(steps, steps, indexing="ij"))
    terms = torch.stack((torch.ones_like(x), x, y, x * x, x * y, y * y), -1)
    across, down = (inside.sum(-1) >= 3).double().unbind(-1)
    known = torch.stack((torch.ones_like(across), across, down, across, across * down, down), -1)

    heat = windows.clamp_min(FAINT)
    weights = (heat * inside[:, 1, :, None] * inside[:, 0, None, :]).flatten(1)
    normal = (weights @ (terms[:, :, None] * terms[:, None, :]).flatten(1)).view(-1, 6, 6)
    normal = normal * known[:, :, None] * known[:, None, :] + torch.diag_embed(1 - known)
    right = (weights * heat.log().flatten(1)) @ terms * known
    _, bx, by, axx, axy, ayy = torch.linalg.solve(normal, right).unbind(-1)

    determinant = 4 * axx * ayy - axy * axy
    joint = torch.stack((axy * by - 2 * ayy * bx, axy * bx - 2 * axx * by), -1)
    slopes, bends = torch.stack((bx, by), -1), torch.stack((axx, ayy), -1)
    single = torch.where(bends < 0, -slopes / (2 * bends), 0.0)
    has_top = (determinant > 0) & (axx < 0)
    return torch.where(has_top[:, None], joint / determinant[:, None], single).clamp(-FAR, FAR)


def _mended_mean(windows: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Centre of the cut Gaussian with the window's first two moments; see `Integral`."""
    steps = _steps(windows)
    profiles = torch.stack((windows.sum(1), windows.sum(2)), 1)
    shares = profiles / profiles.sum(-1, keepdim=True).clamp_min(1.0)
    mean, square = (shares * steps).sum(-1), (shares * steps**2).sum(-1)
    variance = square - mean**2 + 0.25
    slope, bend = mean / variance, -0.5 / variance
    for _ in range(NEWTON_STEPS):
        logits = slope[..., None] * steps + bend[..., None] * steps**2
        model = torch.softmax(logits.masked_fill(~inside, -torch.inf), -1)
        m1, m2, m3, m4 = ((model * steps**power).sum(-1) for power in (1, 2, 3, 4))
        v1, v12, v2 = m2 - m1**2, m3 - m1 * m2, m4 - m2**2
        determinant = (v1 * v2 - v12**2).clamp_min(1e-12)
        slope = slope + (v2 * (mean - m1) - v12 * (square - m2)) / determinant
        bend = bend + (v1 * (square - m2) - v12 * (mean - m1)) / determinant
    reach = float(steps[-1])
    is_peak = (bend < -0.5 / (2 * reach) ** 2) & (inside.sum(-1) >= 3)
    return torch.where(is_peak, -slope / (2 * bend), mean).clamp(-reach, reach)


def _steps(windows: torch.Tensor) -> torch.Tensor:
    """(n,) float64 offsets −reach … reach of a window's pixels from its middle."""
    reach = windows.shape[-1] // 2
    return torch.arange(-reach, reach + 1, dtype=torch.float64)


DECODERS = Family("decoder", Decoder, "placewise.decoders")
