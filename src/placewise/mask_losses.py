"""Losses of maps of classes: what the logits of pixels are compared with, and how.

| loss | what it is | good for |
|---|---|---|
| `bce` | cross-entropy of each pixel | probabilities that mean what they say |
| `bce_dice` | the same, plus 1 − Dice of the probabilities | classes that cover little |
| `focal` | cross-entropy weighted with (1 − p)^2 | few hard pixels among many easy ones |
| `skeleton_recall` | `bce_dice` plus 1 − recall of the thick skeleton | thin things, unbroken |
| `cldice` | `bce_dice` plus 1 − soft clDice | the same; a step takes twice as long |

One class is answered by a sigmoid, several by a softmax over background and classes; the
probabilities p below are those of the classes without the background. What the truth ignores takes
no part in any of them. Each loss is a mean or a share, so images of any size weigh alike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from placewise.errors import SettingsError
from placewise.family import Family
from placewise.labels import IGNORED

SMOOTH = 1.0
"""Pixels that are added above and below a share, so that an empty class gives no division by 0."""

_POOLS = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)


class MaskLoss(ABC):
    """How logits of pixels are compared with classes.

    A member is a class with keywords of its own.
    """

    skeletons: ClassVar[bool] = False
    """Whether it needs the thickened skeleton of the truth, which is made with the crops."""

    @abstractmethod
    def __call__(self, logits: Tensor, truth: Tensor, skeleton: Tensor) -> Tensor:
        """Loss of each image.

        Args:
            logits: (batch, 1 or classes + 1, *size).
            truth: (batch, *size) int64: 0 background, k the class k − 1, `IGNORED`.
            skeleton: (batch, *size) int64: the same on the thickened skeletons of the classes and 0
                elsewhere; anything where `skeletons` is false.

        Returns:
            (batch,) losses.
        """


def probabilities(logits: Tensor) -> Tensor:
    """(batch, classes, *size) probabilities of the classes without the background.

    Args:
        logits: (batch, 1, *size) for one class, (batch, classes + 1, *size) for several.

    Example:
        >>> probabilities(torch.zeros(1, 3, 1))[0, :, 0].tolist()
        [0.3333333432674408, 0.3333333432674408]
    """
    if logits.shape[1] == 1:
        return torch.sigmoid(logits)
    return torch.softmax(logits, 1)[:, 1:]


def pixel_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """(batch, *size) cross-entropy of each pixel; exactly 0 where the truth is ignored."""
    if logits.shape[1] == 1:
        target = (truth > 0).to(logits.dtype)
        loss = functional.binary_cross_entropy_with_logits(logits[:, 0], target, reduction="none")
        return loss * (truth != IGNORED)
    return functional.cross_entropy(logits, truth, ignore_index=IGNORED, reduction="none")


def mean_of_known(values: Tensor, truth: Tensor) -> Tensor:
    """(batch,) mean of values (batch, *size) over the pixels that the truth does not ignore."""
    known = (truth != IGNORED).flatten(1)
    return (values.flatten(1) * known).sum(1) / known.sum(1).clamp_min(1)


def classes_of(truth: Tensor, count: int, dtype: torch.dtype) -> Tensor:
    """(batch, count, *size) 1 where a pixel is of a class, in the order of the classes."""
    numbers = torch.arange(1, count + 1, device=truth.device).view(-1, *[1] * (truth.ndim - 1))
    return (truth[:, None] == numbers).to(dtype)


def dice_loss(chances: Tensor, truth: Tensor) -> Tensor:
    """(batch,) 1 − (2 Σ p·y + 1) / (Σ p + Σ y + 1), mean over the classes (Milletari et al. 2016).

    Args:
        chances: (batch, classes, *size) probabilities.
        truth: (batch, *size); see `MaskLoss`.

    Example:
        >>> dice_loss(torch.ones(1, 1, 4), torch.tensor([[1, 1, 1, -1]])).tolist()
        [0.0]
    """
    known = (truth != IGNORED)[:, None]
    target = classes_of(truth, chances.shape[1], chances.dtype).flatten(2)
    seen = (chances * known).flatten(2)
    both, all_ = (seen * target).sum(2), seen.sum(2) + target.sum(2)
    return 1 - ((2 * both + SMOOTH) / (all_ + SMOOTH)).mean(1)


class Bce(MaskLoss):
    """Cross-entropy of each pixel, mean over the pixels.

    Example:
        >>> truth = torch.tensor([[0, 1]])
        >>> Bce()(torch.zeros(1, 1, 2), truth, truth).tolist()
        [0.6931471824645996]
    """

    def __call__(self, logits: Tensor, truth: Tensor, skeleton: Tensor) -> Tensor:
        """(batch,) losses; see `MaskLoss`."""
        return mean_of_known(pixel_loss(logits, truth), truth)


class BceDice(MaskLoss):
    """Cross-entropy of each pixel plus 1 − Dice of the probabilities.

    Args:
        dice: weight of the second.

    Example:
        >>> truth = torch.tensor([[0, 1]])
        >>> BceDice()(torch.tensor([[[-20.0, 20.0]]]), truth, truth).item() < 1e-6
        True
    """

    def __init__(self, dice: float = 1.0) -> None:
        if not 0 <= dice <= 100:
            raise SettingsError(f"the weight of Dice is {dice}; it must be 0 to 100")
        self.dice = dice

    def __call__(self, logits: Tensor, truth: Tensor, skeleton: Tensor) -> Tensor:
        """(batch,) losses; see `MaskLoss`."""
        pixels = mean_of_known(pixel_loss(logits, truth), truth)
        return pixels + self.dice * dice_loss(probabilities(logits), truth)


class Focal(MaskLoss):
    """Cross-entropy weighted with (1 − p)^γ of the true class's probability p (Lin et al. 2017).

    Args:
        gamma: γ; 0 is plain cross-entropy.

    Example:
        >>> truth = torch.tensor([[0, 1]])
        >>> round(Focal()(torch.zeros(1, 1, 2), truth, truth).item(), 4)  # (1 − ½)² · ln 2
        0.1733
    """

    def __init__(self, gamma: float = 2.0) -> None:
        if not 0 <= gamma <= 10:
            raise SettingsError(f"gamma is {gamma}; it must be 0 to 10")
        self.gamma = gamma

    def __call__(self, logits: Tensor, truth: Tensor, skeleton: Tensor) -> Tensor:
        """(batch,) losses; see `MaskLoss`."""
        loss = pixel_loss(logits, truth)
        return mean_of_known(loss * (-torch.expm1(-loss)) ** self.gamma, truth)


class SkeletonRecall(BceDice):
    """`BceDice` plus 1 − the share of the thickened skeleton that the probabilities cover.

    1 − (Σ p·t + 1) / (Σ t + 1), where t is the truth's skeleton, dilated twice and cut to the truth
    (Kirchhoff et al. 2024, arXiv 2404.03010). It costs nothing at a step; the skeletons are made
    once. It draws probabilities up, so the threshold has to be chosen anew.

    Args:
        dice: weight of Dice.
        recall: weight of the share.

    Example:
        >>> truth = torch.tensor([[0, 1]])
        >>> SkeletonRecall()(torch.tensor([[[-20.0, 20.0]]]), truth, truth).item() < 1e-6
        True
    """

    skeletons = True

    def __init__(self, dice: float = 1.0, recall: float = 1.0) -> None:
        super().__init__(dice)
        if not 0 <= recall <= 100:
            raise SettingsError(f"the weight of recall is {recall}; it must be 0 to 100")
        self.recall = recall

    def __call__(self, logits: Tensor, truth: Tensor, skeleton: Tensor) -> Tensor:
        """(batch,) losses; see `MaskLoss`."""
        chances = probabilities(logits).flatten(2)
        line = classes_of(skeleton, chances.shape[1], chances.dtype).flatten(2)
        share = ((chances * line).sum(2) + SMOOTH) / (line.sum(2) + SMOOTH)
        return super().__call__(logits, truth, skeleton) + self.recall * (1 - share.mean(1))


class Cldice(BceDice):
    """`BceDice` plus 1 − soft clDice (Shit et al. 2021).

    clDice = 2 · P · R / (P + R) with P = Σ s(p)·y / Σ s(p) and R = Σ s(y)·p / Σ s(y), where s is
    the soft skeleton of `soft_skeleton`.

    Args:
        dice: weight of Dice.
        weight: of clDice.
        rounds: of the soft skeleton, at least half the greatest width in pixels of the map.

    Example:
        >>> truth = torch.tensor([[0, 1, 0]])
        >>> Cldice()(torch.tensor([[[-20.0, 20.0, -20.0]]]), truth, truth).item() < 1e-6
        True
    """

    def __init__(self, dice: float = 1.0, weight: float = 0.5, rounds: int = 5) -> None:
        super().__init__(dice)
        if not (0 <= weight <= 100 and 1 <= rounds <= 100):
            raise SettingsError(
                f"weight is {weight} and rounds is {rounds}; they must be 0 to 100 and 1 to 100"
            )
        self.weight, self.rounds = weight, rounds

    def __call__(self, logits: Tensor, truth: Tensor, skeleton: Tensor) -> Tensor:
        """(batch,) losses; see `MaskLoss`."""
        known = (truth != IGNORED)[:, None]
        chances = probabilities(logits) * known
        target = classes_of(truth, chances.shape[1], chances.dtype)
        own, true = (soft_skeleton(maps, self.rounds) for maps in (chances, target))
        precision = _share(own, target)
        recall = _share(true, chances)
        both = 2 * precision * recall / (precision + recall)
        return super().__call__(logits, truth, skeleton) + self.weight * (1 - both.mean(1))


def _share(line: Tensor, maps: Tensor) -> Tensor:
    """(batch, classes) share of a line that maps cover."""
    on, whole = (line * maps).flatten(2).sum(2), line.flatten(2).sum(2)
    return (on + SMOOTH) / (whole + SMOOTH)


def soft_skeleton(maps: Tensor, rounds: int) -> Tensor:
    """What is left of maps in 0..1 when they are worn away from their edges.

    At each round what an opening takes away is kept, and the maps are eroded: with the erosion e
    (least of the neighbours along each axis) and the dilation d (greatest of the 3^axes cube),
    s ← s + (1 − s) · relu(m − d(e(m))), m ← e(m).

    Args:
        maps: (batch, channels, *size).
        rounds: at least half the greatest width in pixels.

    Example:
        >>> line = torch.tensor([[[0.0, 1.0, 1.0, 1.0, 0.0]]])
        >>> soft_skeleton(line, 2)[0, 0].tolist()
        [0.0, 0.0, 1.0, 0.0, 0.0]
    """
    found = functional.relu(maps - _dilated(_eroded(maps)))
    for _ in range(rounds):
        maps = _eroded(maps)
        found = found + (1 - found) * functional.relu(maps - _dilated(_eroded(maps)))
    return found


def _eroded(maps: Tensor) -> Tensor:
    """Least of each pixel and its neighbours along the axes; nothing lies beyond the edge."""
    axes = maps.ndim - 2
    pool, found = _POOLS[axes - 1], maps
    for axis in range(axes):
        kernel = [3 if k == axis else 1 for k in range(axes)]
        worn = -pool(-maps, kernel, 1, [side // 2 for side in kernel])
        found = torch.minimum(found, worn)
    return found


def _dilated(maps: Tensor) -> Tensor:
    """Greatest of each pixel's cube of 3 along each axis."""
    grown: Tensor = _POOLS[maps.ndim - 3](maps, 3, 1, 1)
    return grown


MASK_LOSSES = Family("mask loss", MaskLoss, "placewise.mask_losses")
