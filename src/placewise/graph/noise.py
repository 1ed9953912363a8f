"""Images of noise that a network can be run on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def like_weights(model: nn.Module, tensor: Tensor) -> Tensor:
    """A tensor in the type and on the device of a network's weights; float32 if it has none.

    Args:
        model: its first floating-point parameter counts.
        tensor: any.

    Example:
        >>> like_weights(nn.Linear(1, 1).double(), torch.ones(2)).dtype
        torch.float64
    """
    weights = next((t for t in model.parameters() if t.is_floating_point()), torch.empty(0))
    return tensor.to(weights.device, weights.dtype)


def noise(model: nn.Module, shape: Sequence[int], count: int = 1) -> Tensor:
    """The same images of uniform noise in 0..1 each time: (count, *shape), as the weights are.

    Args:
        model: see `like_weights`.
        shape: of one image.
        count: of images.

    Example:
        >>> noise(nn.Linear(1, 1), (3, 8, 8), 2).shape
        torch.Size([2, 3, 8, 8])
    """
    generator = torch.Generator().manual_seed(0)
    return like_weights(model, torch.rand((count, *shape), generator=generator))
