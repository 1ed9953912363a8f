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

Maps with any number of points, from none to hundreds, have losses of their own:
`placewise.peak_losses`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
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
