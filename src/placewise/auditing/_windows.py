"""Images as a network takes them, and windows cut out of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from placewise.errors import SettingsError


def as_input(model: nn.Module, images: Tensor, least: int = 1) -> Tensor:
    """Images (N, C, *space) on the device and in the type of a network.

    Args:
        model: any network.
        images: floating-point tensor.
        least: how many are needed.

    Raises:
        SettingsError: that is no stack of at least so many signals, images or volumes.

    Example:
        >>> import torch
        >>> as_input(nn.Conv1d(1, 1, 1).double(), torch.zeros(1, 1, 5)).dtype
        torch.float64
    """
    shape = tuple(images.shape)
    if not images.is_floating_point() or images.ndim not in (3, 4, 5) or 0 in shape:
        raise SettingsError(
            f"the images are a tensor of {images.dtype} and shape {shape}; needed is a "
            "floating-point one of shape (images, channels, *space) with 1 to 3 axes of space"
        )
    if len(images) < least:
        raise SettingsError(f"{len(images)} images are too few; give at least {least}")
    tensors = itertools.chain(model.parameters(), model.buffers())
    like = next((tensor for tensor in tensors if tensor.is_floating_point()), images)
    return images.detach().to(like.device, like.dtype)


def window(offset: Sequence[int], size: Sequence[int]) -> tuple[Any, ...]:
    """Index of a window in images (..., *space).

    Example:
        >>> window((1,), (2,))
        (Ellipsis, slice(1, 3, None))
    """
    return (..., *(slice(low, low + n) for low, n in zip(offset, size, strict=True)))


def room(
    images: Tensor, size: Sequence[int], least: Sequence[int] | None = None
) -> tuple[int, ...]:
    """Greatest offset per axis of a window in images (N, C, *space).

    Raises:
        SettingsError: along some axis it is below `least`, which is 0 by default.

    Example:
        >>> import torch
        >>> room(torch.zeros(1, 1, 10), (8,), (1,))
        (2,)
    """
    space = tuple(images.shape[2:])
    least = (0,) * len(size) if least is None else least
    if len(size) != len(space) or len(least) != len(space) or min(size) < 1:
        raise SettingsError(
            f"windows of {tuple(size)} that move by {tuple(least)} in images of {space}: give "
            "one whole number of pixels above 0 per axis"
        )
    needed = tuple(map(sum, zip(size, least, strict=True)))
    if any(n < need for n, need in zip(space, needed, strict=True)):
        raise SettingsError(
            f"the images are {space} pixels; windows of {tuple(size)} that move by "
            f"{tuple(least)} need {needed} at least: give larger images or a smaller size"
        )
    return tuple(n - side for n, side in zip(space, size, strict=True))
