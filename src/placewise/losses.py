"""Losses on heatmaps: each with what it draws a map towards, and how its maps are read.

A loss, its encoding and its reading belong together: a map that was trained as a sigmoid of each
pixel is not read as a softmax over pixels. Each final class here is a member of the family, and
`placewise.heads.Heatmap` takes any of them, also one of your own.

| loss | what is compared | can say "absent" |
|---|---|---|
| `cross_entropy` | sigmoid of each pixel with G, cross-entropy summed over the map | yes |
| `mse` | each pixel with G, squared error summed over the map | yes |
| `softmax` | one softmax over the pixels of a map with G / ΣG | no |
| `joint` | one softmax over the pixels *and* one more answer, "absent" | yes |

G = exp(−d² / 2σ²) is a Gaussian about the keypoint, sampled at the centres of the map's pixels. It
is handed over as its logarithm, cut off at −80, so that nothing is lost far from the keypoint.

Where a map may have any number of points, from none to hundreds, it is a member of `PEAK_LOSSES`:

| loss | what is compared |
|---|---|
| `focal` | sigmoid of each pixel with the highest G there; what is right already does not count |
| `poisson` | exp z with the sum of G / ΣG: the points are drawn from a Poisson process |
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import reduce
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from placewise.errors import SettingsError
from placewise.family import Family
from placewise.geometry import Each, Size, to_map
from placewise.labels import Visibility

FAR = -80.0
"""Logarithm of a Gaussian that is as good as nothing."""

CERTAIN = 10.0
"""Logit by which an ideal map says that its keypoint is on the image."""

RARE = -4.0
"""Logit that maps of `CrossEntropy` begin with: nearly every pixel of every map is cold."""


def log_gaussians(
    keypoints: Tensor, visibility: Tensor, size: Size, stride: Each, sigma: float
) -> Tensor:
    """Logarithm of G = exp(−d² / 2σ²) about each located keypoint, at least −80.

    Args:
        keypoints: (..., axes) of (x, y, …) in pixels of the image; anything where not located.
        visibility: (...) of `Visibility`; the map of a keypoint that is not located is −80.
        size: of the map.
        stride: image pixels for one pixel of the map; one number or (x, y, …).
        sigma: standard deviation in pixels of the map.

    Returns:
        (..., *size); 0 where the keypoint is on a pixel's centre.

    Example:
        >>> visibility = torch.tensor([Visibility.HIDDEN, Visibility.ABSENT])
        >>> log_gaussians(torch.full((2, 2), 1.5), visibility, (1, 2), 2, 1.0).tolist()
        [[[-0.25, -0.25]], [[-80.0, -80.0]]]
    """
    located = torch.where((visibility >= Visibility.HIDDEN)[..., None], keypoints, torch.nan)
    centres = to_map(located, stride).flip(-1).unbind(-1)
    along = [
        -0.5 * ((torch.arange(n, device=at.device, dtype=at.dtype) - at[..., None]) / sigma) ** 2
        for n, at in zip(size, centres, strict=True)
    ]
    squares = reduce(_outer_sum, along)
    return squares.nan_to_num(nan=FAR).clamp_min(FAR)


def _outer_sum(first: Tensor, along: Tensor) -> Tensor:
    """(..., *size, n) sums of (..., *size) and (..., n)."""
    axes = first.ndim - along.ndim + 1
    return first[..., None] + along.reshape(*along.shape[:-1], *[1] * axes, along.shape[-1])


def gaussians(logs: Tensor) -> Tensor:
    """The Gaussians of `log_gaussians`, exactly 0 where they are cut off.

    Example:
        >>> gaussians(torch.tensor([0.0, -80.0]))
        tensor([1., 0.])
    """
    return torch.where(logs > FAR, logs.exp(), 0.0)


def normalised(maps: Tensor) -> Tensor:
    """Maps divided by their sum over the pixels, so that each is a distribution.

    Args:
        maps: (batch, keypoints, *size), 0 or more.

    Example:
        >>> normalised(torch.tensor([[[1.0, 3.0]]]))
        tensor([[[0.2500, 0.7500]]])
    """
    axes = tuple(range(2, maps.ndim))
    return maps / maps.sum(axes, keepdim=True).clamp_min(1e-12)


def softmax(logits: Tensor) -> Tensor:
    """Softmax over the pixels of each map (batch, keypoints, *size)."""
    return torch.softmax(logits.flatten(2), -1).view_as(logits)


def presence(logits: Tensor) -> Tensor:
    """(batch, keypoints) logsumexp over the pixels of each map, which a softmax leaves free."""
    return torch.logsumexp(logits.flatten(2), -1)


def presence_loss(logits: Tensor, visibility: Tensor) -> Tensor:
    """Binary cross-entropy of "the keypoint is on the image"; 0 where it is not labelled.

    Args:
        logits: (batch, keypoints).
        visibility: (batch, keypoints) of `Visibility`.
    """
    target = (visibility >= Visibility.HIDDEN).to(logits.dtype)
    loss = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return loss * labelled(visibility)


def labelled(visibility: Tensor) -> Tensor:
    """Which keypoints are labelled: as absent, hidden or visible."""
    return visibility != Visibility.UNLABELLED


def certain(logs: Tensor, visibility: Tensor) -> Tensor:
    """Log-Gaussians, raised by `CERTAIN` where the keypoint is on the image."""
    located = visibility >= Visibility.HIDDEN
    return logs + CERTAIN * located.view(*located.shape, *[1] * (logs.ndim - located.ndim))


class Loss(ABC):
    """How maps of logits are compared with Gaussians, drawn by them, and read again.

    Attributes:
        can_say_absent: whether the score tells keypoints that are on the image from those that
            are not.
    """

    can_say_absent: ClassVar[bool] = True

    @abstractmethod
    def __call__(self, logits: Tensor, logs: Tensor, visibility: Tensor) -> Tensor:
        """Loss of each map.

        Args:
            logits: (batch, keypoints, *size), the head's output.
            logs: (batch, keypoints, *size), what `log_gaussians` gave.
            visibility: (batch, keypoints) of `Visibility`.

        Returns:
            (batch, keypoints), exactly 0 for a keypoint that is not labelled.
        """

    @abstractmethod
    def encode(self, logs: Tensor, visibility: Tensor) -> Tensor:
        """Logits of a network that knows the truth: what the loss draws maps towards.

        Args:
            logs: (batch, keypoints, *size), what `log_gaussians` gave.
            visibility: (batch, keypoints) of `Visibility`.
        """

    @abstractmethod
    def read(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Heat and score.

        Args:
            logits: (batch, keypoints, *size).

        Returns:
            (batch, keypoints, *size) heat, 0 or more and shaped as the Gaussian, and
            (batch, keypoints) probability that the keypoint is on the image.
        """

    def heat_of(self, logits: Tensor, total: Tensor) -> Tensor:
        """Heat of pixels from their logits and the logsumexp over the map; may refuse to."""
        raise SettingsError(
            f"the loss '{type(self).__name__}' reads maps as a whole, not in parts; shrink the "
            "image, or train with another loss"
        )

    def score_of(self, top: Tensor, total: Tensor) -> Tensor:
        """Probability that the keypoint is on the image, from the largest logit and the sum."""
        return torch.ones_like(top)

    def first_logit(self, pixels: float) -> float:
        """What every pixel of every map says before training; a map has so many pixels."""
        return 0.0


class CrossEntropy(Loss):
    """Cross-entropy of the sigmoid of each pixel with G, summed over the map.

    −Σ_p G(p) log s(p) + (1 − G(p)) log(1 − s(p)) with s = sigmoid(z). The heat is s, the score its
    maximum.

    Example:
        >>> heat, score = CrossEntropy().read(torch.tensor([[[0.0, -100.0]]]))
        >>> heat.tolist(), score.item()
        ([[[0.5, 0.0]]], 0.5)
    """

    def __call__(self, logits: Tensor, logs: Tensor, visibility: Tensor) -> Tensor:
        """(batch, keypoints) losses; see `Loss`."""
        pixels = functional.binary_cross_entropy_with_logits(
            logits, gaussians(logs), reduction="none"
        )
        return pixels.sum(tuple(range(2, logits.ndim))) * labelled(visibility)

    def encode(self, logs: Tensor, visibility: Tensor) -> Tensor:
        """Log G − log(1 − G); see `Loss.encode`."""
        return logs - torch.log1p(-logs.exp().clamp_max(1 - 1e-6))

    def read(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Sigmoid and its maximum; see `Loss.read`."""
        heat = torch.sigmoid(logits)
        return heat, heat.amax(tuple(range(2, heat.ndim)))

    def heat_of(self, logits: Tensor, total: Tensor) -> Tensor:
        """Sigmoid; see `Loss.heat_of`."""
        return torch.sigmoid(logits)

    def score_of(self, top: Tensor, total: Tensor) -> Tensor:
        """Its maximum; see `Loss.score_of`."""
        return torch.sigmoid(top)

    def first_logit(self, pixels: float) -> float:
        """`RARE`, whatever the size."""
        return RARE


class MSE(Loss):
    """Squared error of each pixel with G, summed over the map.

    Σ_p (z(p) − G(p))². The heat is z, the score its maximum, at most 1.

    Example:
        >>> MSE()(torch.ones(1, 1, 3), torch.zeros(1, 1, 3), torch.tensor([[3]]))
        tensor([[0.]])
    """

    def __call__(self, logits: Tensor, logs: Tensor, visibility: Tensor) -> Tensor:
        """(batch, keypoints) losses; see `Loss`."""
        squares = (logits - gaussians(logs)).square()
        return squares.sum(tuple(range(2, logits.ndim))) * labelled(visibility)

    def encode(self, logs: Tensor, visibility: Tensor) -> Tensor:
        """G itself; see `Loss.encode`."""
        return logs.exp()

    def read(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """What is above 0, and the maximum; see `Loss.read`."""
        heat = logits.clamp_min(1e-6)
        return heat, heat.amax(tuple(range(2, heat.ndim))).clamp_max(1.0)

    def heat_of(self, logits: Tensor, total: Tensor) -> Tensor:
        """What is above 0; see `Loss.heat_of`."""
        return logits.clamp_min(1e-6)

    def score_of(self, top: Tensor, total: Tensor) -> Tensor:
        """The maximum; see `Loss.score_of`."""
        return top.clamp(1e-6, 1.0)


class Softmax(Loss):
    """Cross-entropy of one softmax over the pixels of a map with G / ΣG.

    log Σ_p exp z(p) − Σ_p G(p) z(p) / ΣG. Every map says that its keypoint is somewhere, so the
    score is 1, and a keypoint that is absent counts as not labelled.

    Example:
        >>> Softmax().read(torch.zeros(1, 1, 4))
        (tensor([[[0.2500, 0.2500, 0.2500, 0.2500]]]), tensor([[1.]]))
    """

    can_say_absent = False

    def __call__(self, logits: Tensor, logs: Tensor, visibility: Tensor) -> Tensor:
        """(batch, keypoints) losses; see `Loss`."""
        located = visibility >= Visibility.HIDDEN
        flat = logits.flatten(2)
        there = _expected(flat, logs)
        return (presence(flat) - there) * located

    def encode(self, logs: Tensor, visibility: Tensor) -> Tensor:
        """Log G and a constant; see `Loss.encode`."""
        return certain(logs, visibility)

    def read(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Softmax, and 1; see `Loss.read`."""
        heat = softmax(logits)
        return heat, torch.ones_like(heat.flatten(2)[..., 0])

    def heat_of(self, logits: Tensor, total: Tensor) -> Tensor:
        """Share of the whole map; see `Loss.heat_of`."""
        return (logits - total).exp()


class Joint(Loss):
    """Cross-entropy of one softmax over the pixels of a map and one more answer, "absent".

    "Absent" has the fixed logit 0, so P(absent) = 1 / (1 + Σ_p exp z(p)): one distribution says
    where the keypoint is, and whether it is on the image at all. The loss is
    log(1 + Σ_p exp z(p)) − Σ_p G(p) z(p) / ΣG, without the last term where it is absent.

    Its gradient would raise P(present) wherever the map is hot; what is missing of it is asked for
    where the keypoint is instead (docs/decisions/0042-where-presence-is-learnt.md).

    Example:
        >>> heat, score = Joint().read(torch.zeros(1, 1, 4))
        >>> score.item()  # 4 pixels against one "absent"
        0.800000011920929
    """

    def __call__(self, logits: Tensor, logs: Tensor, visibility: Tensor) -> Tensor:
        """(batch, keypoints) losses; see `Loss`."""
        flat = logits.flatten(2)
        there = _expected(flat, logs)  # first: the gradient keeps the memory layout of the logits
        total, located = presence(flat), visibility >= Visibility.HIDDEN
        asked = torch.where(located, there + (total - there).detach(), total)
        return (total - there) * located + presence_loss(asked, visibility)

    def encode(self, logs: Tensor, visibility: Tensor) -> Tensor:
        """Log G, far above "absent" where the keypoint is on the image; see `Loss.encode`."""
        return certain(logs, visibility)

    def read(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Softmax over the pixels, and 1 − P(absent); see `Loss.read`."""
        return softmax(logits), torch.sigmoid(presence(logits))

    def heat_of(self, logits: Tensor, total: Tensor) -> Tensor:
        """Share of the whole map; see `Loss.heat_of`."""
        return (logits - total).exp()

    def score_of(self, top: Tensor, total: Tensor) -> Tensor:
        """1 − P(absent); see `Loss.score_of`."""
        return torch.sigmoid(total)

    def first_logit(self, pixels: float) -> float:
        """As likely absent as present."""
        return -math.log(pixels)


def _expected(logits: Tensor, logs: Tensor) -> Tensor:
    """(batch, keypoints) mean of the logits over the pixels, weighted with the Gaussian."""
    return (normalised(gaussians(logs)).flatten(2) * logits.flatten(2)).sum(-1)


LOSSES = Family("loss", Loss, "placewise.losses")


# --- any number of points on one map --------------------------------------------------------------

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


PEAK_LOSSES = Family("loss of peaks", PeakLoss, "placewise.losses")
