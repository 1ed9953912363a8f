"""How studies build and train their small nets: in seconds, the same for each, the same again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from placewise.layers.convolution import Convolution

Draw = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]
"""(how many, generator) to pictures and their classes."""

BATCH, RATE = 32, 1e-2


@contextmanager
def drawing(seed: int) -> Iterator[torch.Generator]:
    """Torch's own randomness from a seed, put back afterwards, and a generator beside it."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield torch.Generator().manual_seed(seed)


def body(read: int, width: int, *, layers: int = 2, padding: str = "zeros") -> nn.Sequential:
    """Convolutions with windows of three that keep the size of the picture, each with a relu.

    Args:
        read: channels of the picture.
        width: channels of each convolution.
        layers: convolutions.
        padding: member of `PADDINGS`.

    Example:
        >>> body(1, 8)(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 8, 8, 8])
    """
    found: list[nn.Module] = []
    for channels in [read, *[width] * (layers - 1)]:
        layer = Convolution(channels, width, 3, padding=padding)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        found += [layer, nn.ReLU()]
    return nn.Sequential(*found)


def drawn_from(pictures: Tensor, classes: Tensor) -> Draw:
    """Pictures drawn at random, with replacement.

    Example:
        >>> draw = drawn_from(torch.zeros(5, 1, 8, 8), torch.arange(5))
        >>> draw(3, torch.Generator().manual_seed(0))[0].shape
        torch.Size([3, 1, 8, 8])
    """

    def draw(number: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        chosen = torch.randint(0, len(pictures), (number,), generator=generator)
        return pictures[chosen], classes[chosen]

    return draw


def fit(
    net: nn.Module, draw: Draw, steps: int, generator: torch.Generator, *, rate: float = RATE
) -> None:
    """Train with Adam at a learning rate that rises and falls (one cycle)."""
    net.train()
    optimiser = torch.optim.Adam(net.parameters())
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, max(steps, 2))
    for _ in range(steps):
        pictures, classes = draw(BATCH, generator)
        loss = functional.cross_entropy(net(pictures), classes)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        cycle.step()
    net.eval()


def accuracy(net: nn.Module, pictures: Tensor, classes: Tensor) -> float:
    """Percent of the pictures whose class is answered."""
    with torch.no_grad():
        answers = torch.cat([net(part).argmax(1) for part in torch.split(pictures, 100)])
    return 100 * float((answers == classes).double().mean())
