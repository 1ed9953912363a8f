"""Losses of maps with any number of points, from none to hundreds.

| loss | what is compared |
|---|---|
| `focal` | sigmoid of each pixel with the highest G there; what is right already does not count |
| `poisson` | exp z with the sum of G / ΣG: the points are drawn from a Poisson process |

G = exp(−d² / 2σ²) is a Gaussian about a point, sampled at the centres of the map's pixels.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from placewise.errors import SettingsError
from placewise.family import Family
from placewise.geometry import Each, Size
from placewise.losses import FAR, RARE

REACH = 5.0
"""Standard deviations from a point beyond which its Gaussian is as good as nothing."""


def peak_maps(
    points: Tensor, of: Tensor, count: int, size: Size, sigma: Each, *, summed: bool = False
) -> Tensor:
    """Maps with a Gaussian about each of any number of points.

    Only the pixels within `REACH` standard deviations of a point are looked at, so 400 points on a
    map cost 400 small windows.

    Args:
        points: (n, axes) of (x, y, …) in pixels of the maps, on the map.
        of: (n,) number of the map on which each point lies.
        count: number of maps.
        size: of a map.
        sigma: standard deviation in pixels of the map; one number or (x, y, …).
        summed: each Gaussian has the mass 1 on its map, and the Gaussians are added; otherwise
            each has the height 1 at its point, and a pixel has the value of the highest.

    Returns:
        (count, *size).

    Example:
        >>> two = torch.tensor([[0.0], [2.0]])
        >>> peak_maps(two, torch.tensor([0, 0]), 1, (3,), 0.5).round(decimals=2)
        tensor([[1.0000, 0.1400, 1.0000]])
        >>> peak_maps(two, torch.tensor([0, 0]), 1, (3,), 0.5, summed=True).sum().round(decimals=4)
        tensor(2.)
    """
    axes, flat = len(size), points.new_zeros(count * math.prod(size))
    if not len(points):
        return flat.view(count, *size)
    widths = [float(one) for one in sigma] if isinstance(sigma, Sequence) else [float(sigma)] * axes
    index, squares = of, points.new_zeros(len(points))
    there = torch.ones_like(of, dtype=torch.bool)
    sides = zip(size, points.flip(-1).unbind(-1), widths[::-1], strict=True)
    for axis, (side, at, width) in enumerate(sides):
        reach = math.ceil(REACH * width)
        steps = torch.arange(-reach, reach + 1, device=points.device)
        pixel = at.detach().round().long()[:, None] + steps
        shape = (len(points), *[1] * axis, len(steps))
        away = ((pixel - at[:, None]) / width).view(shape)
        inside, pixel = ((pixel >= 0) & (pixel < side)).view(shape), pixel.clamp(0, side - 1)
        index = index[..., None] * side + pixel.view(shape)
        squares, there = squares[..., None] + away**2, there[..., None] & inside
    values = torch.where(there, torch.exp(-0.5 * squares), 0.0).flatten(1)
    if summed:
        values = values / values.sum(1, keepdim=True).clamp_min(1e-12)
        return flat.index_add(0, index.flatten(), values.flatten()).view(count, *size)
    return flat.scatter_reduce(0, index.flatten(), values.flatten(), "amax").view(count, *size)


class PeakLoss(ABC):
    """How maps of logits learn to be hot at any number of points each.

    It says what a map is compared with (`target`), how (`__call__`), and how a map is read
    (`read`); `placewise.peaks` finds the points on what was read. It knows nothing of heads: spots,
    and the centres of objects, are trained with it alike.
    """

    @abstractmethod
    def target(self, points: Tensor, of: Tensor, count: int, size: Size, sigma: Each) -> Tensor:
        """(count, *size) what maps are compared with; for the arguments see `peak_maps`."""

    @abstractmethod
    def __call__(self, logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
        """Loss of each map, summed over its pixels.

        Args:
            logits: (batch, kinds, *size).
            target: (batch, kinds, *size), what `target` gave.
            known: broadcasts to (batch, kinds, *size); 1, or 0 for a pixel that is ignored: it
                counts neither as a place with points nor as one without.

        Returns:
            (batch, kinds), exactly 0 where every pixel is ignored.
        """

    @abstractmethod
    def ideal(self, target: Tensor) -> Tensor:
        """Logits for which the loss is least: those of a network that knows the truth."""

    @abstractmethod
    def read(self, logits: Tensor, sigma: Each) -> tuple[Tensor, Tensor]:
        """Scores and shapes.

        Args:
            logits: (batch, kinds, *size).
            sigma: standard deviation of the Gaussians in pixels of the map.

        Returns:
            (batch, kinds, *size) scores in 0..1, whose maxima are the points, and
            (batch, kinds, *size) heat that is shaped as the Gaussian about each point.
        """

    def reach(self, sigma: Each) -> int:
        """Pixels about a place that `read` looks at; raises SettingsError where not known."""
        raise SettingsError(
            f"the loss '{type(self).__name__}' does not say how far it looks, so maps cannot be "
            "read in parts; shrink the image, or train with another loss"
        )

    @abstractmethod
    def first_logit(self, pixels: float) -> float:
        """What every pixel of every map says before training.

        Args:
            pixels: of a map.
        """


class Poisson(PeakLoss):
    """The points of a map are drawn from a Poisson process of intensity exp z.

    Λ − Σ_p y(p) z(p) with Λ = Σ_p exp z(p), and y the sum of Gaussians of mass 1 on the map: the
    negative log-likelihood but for a constant. It is least where exp z = y, so that Λ is the number
    of points. It equals a cross-entropy of one softmax over the pixels, times the number of points,
    plus a loss of their number: `Joint` for any number of points.

    The score of a pixel is the probability 1 − exp(−m) that a point is about it, with m the
    intensity under a Gaussian window of the same σ, brought to 1 for a single point that the
    network is sure of: its score is 0.63.

    Example:
        >>> one = torch.tensor([[[0.0, 1.0, 0.0]]])
        >>> Poisson()(torch.zeros(1, 1, 3), one, torch.ones(1))
        tensor([[3.]])
    """

    def target(self, points: Tensor, of: Tensor, count: int, size: Size, sigma: Each) -> Tensor:
        """Sum of Gaussians of mass 1; see `PeakLoss.target`."""
        return peak_maps(points, of, count, size, sigma, summed=True)

    def __call__(self, logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
        """(batch, kinds) losses; see `PeakLoss`."""
        return ((logits.exp() - target * logits) * known).flatten(2).sum(-1)

    def ideal(self, target: Tensor) -> Tensor:
        """Log y; see `PeakLoss.ideal`."""
        return target.clamp_min(math.exp(FAR)).log()

    def read(self, logits: Tensor, sigma: Each) -> tuple[Tensor, Tensor]:
        """Probability of a point about each pixel, and intensity; see `PeakLoss.read`."""
        heat = logits.clamp_max(-FAR).exp()
        return -torch.expm1(-_gathered(heat, sigma)), heat

    def reach(self, sigma: Each) -> int:
        """As far as the Gaussian window; see `PeakLoss.reach`."""
        return math.ceil(3 * (max(sigma) if isinstance(sigma, Sequence) else sigma))

    def first_logit(self, pixels: float) -> float:
        """One point is expected on each map."""
        return -math.log(pixels)


class Focal(PeakLoss):
    """Cross-entropy that leaves out the pixels which are right already, for rare points.

    −Σ_p G⁴ (1 − s)² log s + (1 − G)⁴ s² log(1 − s) with s = sigmoid(z), and G the highest of the
    Gaussians at a pixel. It is the focal loss of CenterNet (Zhou et al. 2019, arXiv 1904.07850)
    with G⁴ where that has 1 at the one pixel in which the point lies and 0 elsewhere: so the target
    moves with the point between pixels too. Both weights are equal where G = ½, and s = ½ there.

    The loss is least where (G / (1 − G))⁴ = R(s), with R the ratio of the slopes of s² log(1 − s)
    and (1 − s)² log s. That gives G for any s, which is the score, and exactly the Gaussian where a
    network knows the truth.

    Example:
        >>> score, _ = Focal().read(torch.tensor([[[0.0, -4.0, 4.0]]]), 1.5)
        >>> score.round(decimals=2)
        tensor([[[0.5000, 0.0600, 0.9400]]])
    """

    def target(self, points: Tensor, of: Tensor, count: int, size: Size, sigma: Each) -> Tensor:
        """Maximum of Gaussians of height 1; see `PeakLoss.target`."""
        return peak_maps(points, of, count, size, sigma)

    def __call__(self, logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
        """(batch, kinds) losses; see `PeakLoss`."""
        there = target**4 * torch.sigmoid(-logits) ** 2 * functional.softplus(-logits)
        not_there = (1 - target) ** 4 * torch.sigmoid(logits) ** 2 * functional.softplus(logits)
        return ((there + not_there) * known).flatten(2).sum(-1)

    def ideal(self, target: Tensor) -> Tensor:
        """Logits whose score is the target, found by bisection; see `PeakLoss.ideal`."""
        wanted = torch.logit(target, math.exp(FAR / 4))
        low, high = torch.full_like(target, FAR / 2), torch.full_like(target, -FAR / 2)
        for _ in range(60):
            middle = (low + high) / 2
            below = _balance(middle) < wanted
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2

    def read(self, logits: Tensor, sigma: Each) -> tuple[Tensor, Tensor]:
        """G, twice; see `PeakLoss.read`."""
        heat = torch.sigmoid(_balance(logits))
        return heat, heat

    def reach(self, sigma: Each) -> int:
        """Each pixel is read alone; see `PeakLoss.reach`."""
        return 0

    def first_logit(self, pixels: float) -> float:
        """`RARE`, whatever the size."""
        return RARE


def _balance(logits: Tensor) -> Tensor:
    """Logit of the G for which the focal loss is least at these logits: ¼ log R."""
    z = logits.clamp(FAR / 2, -FAR / 2)
    over = (2 * functional.softplus(z) + z.exp()).log()
    under = (2 * functional.softplus(-z) + (-z).exp()).log()
    return (z + over - under) / 4


def _gathered(heat: Tensor, sigma: Each) -> Tensor:
    """Heat under a Gaussian window of width σ about each pixel; 1 for a Gaussian of mass 1."""
    axes = heat.ndim - 2
    widths = [float(one) for one in sigma] if isinstance(sigma, Sequence) else [float(sigma)] * axes
    for axis, width in enumerate(widths[::-1], 2):
        reach = math.ceil(3 * width)
        steps = torch.arange(-reach, reach + 1, device=heat.device, dtype=heat.dtype)
        window = math.sqrt(2) * torch.exp(-0.5 * (steps / width) ** 2)
        lines = heat.movedim(axis, -1)
        flat = lines.reshape(-1, 1, lines.shape[-1])
        flat = functional.conv1d(flat, window.view(1, 1, -1), padding=reach)
        heat = flat.view(lines.shape).movedim(-1, axis)
    return heat


PEAK_LOSSES = Family("loss of peaks", PeakLoss, "placewise.peak_losses")
