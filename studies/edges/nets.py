"""Small nets of the study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from studies._training import accuracy, drawing, fit

__all__ = [
    "Arm",
    "accuracy",
    "drawing",
    "fit",
    "moved",
    "settle",
    "small_classic",
    "sound_net",
    "stack",
]

Mode = Literal["zeros", "circular"]

WIDTH = 12


@dataclass(frozen=True)
class Arm:
    """One of the small nets.

    Attributes:
        padding: "valid", "zeros" or "circular".
        end: "average" over all places, or "flatten" and a full connection.
    """

    padding: str
    end: str

    def net(self, side: int, layers: int) -> nn.Sequential:
        """Convolutions with windows of three, and a full connection to ten classes.

        Example:
            >>> Arm("valid", "flatten").net(8, 2)(torch.zeros(2, 1, 8, 8)).shape
            torch.Size([2, 10])
        """
        margin = 0 if self.padding == "valid" else 1
        mode: Mode = "circular" if self.padding == "circular" else "zeros"
        body: list[nn.Module] = []
        for layer in range(layers):
            read = WIDTH if layer else 1
            convolution = nn.Conv2d(read, WIDTH, 3, padding=margin, padding_mode=mode, bias=False)
            body += [convolution, nn.BatchNorm2d(WIDTH), nn.ReLU()]
        left = side - (2 - 2 * margin) * layers
        if self.end == "average":
            return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, 10))
        return nn.Sequential(*body, nn.Flatten(), nn.Linear(WIDTH * left**2, 10))


def sound_net() -> nn.Sequential:
    """Five convolutions along time with windows of nine, each of which leaves a fourth.

    Example:
        >>> sound_net()(torch.zeros(2, 1, 4096)).shape
        torch.Size([2, 10])
    """
    layers: list[nn.Module] = [nn.Conv1d(1, 16, 9, 4, padding=4, bias=False), nn.BatchNorm1d(16)]
    layers.append(nn.ReLU())
    for _ in range(4):
        layers += [nn.Conv1d(16, 16, 9, padding=4, bias=False), nn.BatchNorm1d(16)]
        layers += [nn.ReLU(), nn.MaxPool1d(4)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(16, 10))


def stack(*blocks: int, pooled: bool = True, padding: int = 1) -> nn.Sequential:
    """Blocks of convolutions with windows of three, each followed by max pooling or not.

    Example:
        >>> len(stack(2, 2)), len(stack(2, 2, pooled=False))
        (6, 4)
    """
    layers: list[nn.Module] = []
    for convolutions in blocks:
        layers += [nn.Conv2d(1, 1, 3, padding=padding) for _ in range(convolutions)]
        layers += [nn.MaxPool2d(2)] if pooled else []
    return nn.Sequential(*layers)


def small_classic() -> nn.Sequential:
    """LeNet-5 (LeCun et al. 1998) with as many channels: windows of five, pooling, flattening."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 25, 120),
        nn.Tanh(),
        nn.Linear(120, 84),
        nn.Tanh(),
        nn.Linear(84, 10),
    )


def moved(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image shifted by a random amount; what leaves on one side comes in on the other.

    So no place of the images is special on average, the border neither.

    Example:
        >>> moved(torch.eye(3)[None, None], torch.Generator().manual_seed(0)).sum().item()
        3.0
    """
    shifts = [torch.randint(0, n, (len(images),), generator=generator) for n in images.shape[2:]]
    axes = tuple(range(1, images.ndim - 1))
    rolled = [
        torch.roll(image, tuple(int(s) for s in shift), axes)
        for image, *shift in zip(images, *shifts, strict=True)
    ]
    return torch.stack(rolled)


def settle(net: nn.Module, images: Tensor) -> None:
    """Let a new net's normalisations know these images, as they would after training."""
    norms = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0
    net.train()
    with torch.no_grad():
        net(images)
    for norm in norms:
        norm.momentum = 0.1
    net.eval()
