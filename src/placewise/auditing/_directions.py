"""How much an output changes in small steps, from its gradients along random directions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from placewise.auditing._finding import block_sums
from placewise.auditing._probe import generator
from placewise.errors import SettingsError
from placewise.geometry import FloatArray

DRAWS = 4
"""Draws of signs for each gradient; they cost no run of the network."""


def projected_changes(
    output: Tensor,
    leaf: Tensor,
    numbers: Sequence[int],
    starts: Sequence[NDArray[np.int64]],
    projections: int,
    seed: int,
) -> FloatArray:
    """Mean over directions and signs of |J·δ| by cell, summed over images.

    J is the Jacobian of one image's O outputs, δ is ±1 at each value of the cell, and |J·δ| the
    length over √O. See `placewise.auditing.sensitivity.gradient_sensitivity` for the formula.

    Args:
        output: (N, ...) of a network.
        leaf: (N, C, *space) that it was made from.
        numbers: of the images, on which the draws depend.
        starts: where the cells begin, for each axis of space.
        projections: directions for each image.
        seed: of the draws.

    Returns:
        (*cells).

    Raises:
        SettingsError: the output cannot be differentiated.

    Example:
        >>> leaf = torch.tensor([[[1.0, 1.0]]], requires_grad=True)
        >>> output = (leaf * torch.tensor([1.0, -3.0])).sum(2)
        >>> projected_changes(output, leaf, [0], [np.array([0, 1])], 1, 0).round(6)
        array([1., 3.])
    """
    if not output.requires_grad:
        raise SettingsError(
            "the output does not depend smoothly on the image; use perturbation() instead, or "
            "choose a layer before the detach or argmax"
        )
    count = output[0].numel()
    total: FloatArray = np.zeros([len(start) for start in starts])
    for turn in range(projections):
        draws = [generator(seed, number, turn) for number in numbers]
        drawn = [torch.randn(count, generator=draw, dtype=torch.float64) for draw in draws]
        weights = torch.stack([one / one.norm() for one in drawn]).reshape(output.shape)
        (gradients,) = torch.autograd.grad(
            (output * weights.to(output)).sum(), leaf, retain_graph=True, allow_unused=True
        )
        for gradient, draw in zip(() if gradients is None else gradients, draws, strict=False):
            total += _signed(gradient.double().cpu(), starts, draw)
    return total / (projections * mean_cosine(count) * math.sqrt(count))


def mean_cosine(axes: int) -> float:
    """Mean of |v·u| over all directions of unit vectors v: Γ(O/2) / (√π Γ((O+1)/2)).

    Example:
        >>> round(mean_cosine(1), 9), round(mean_cosine(3), 9)
        (1.0, 0.5)
    """
    return math.exp(math.lgamma(axes / 2) - math.lgamma((axes + 1) / 2)) / math.sqrt(math.pi)


def _signed(
    gradient: Tensor, starts: Sequence[NDArray[np.int64]], draws: torch.Generator
) -> FloatArray:
    """(*cells) mean over draws of |Σ ± gradient| over each cell and the channels (C, *space)."""
    total: FloatArray = np.zeros([len(start) for start in starts])
    for _ in range(DRAWS):
        signs = 2 * torch.randint(0, 2, gradient.shape, generator=draws) - 1
        total += np.abs(block_sums((gradient * signs).sum(0).numpy(), starts))
    return total / DRAWS
