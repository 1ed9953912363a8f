"""How studies build and train their small nets: in seconds, the same for each, the same again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from placewise.layers.convolution import Convolution
from studies._wiring.rewiring import Growth, Rewiring, Schedule

Draw = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]
"""(how many, generator) to images and their classes."""

Change = Callable[[Tensor, torch.Generator], Tensor]
"""(images, generator) to the images as a step sees them."""

BATCH, RATE = 32, 1e-2


@contextmanager
def drawing(seed: int) -> Iterator[torch.Generator]:
    """Torch's own randomness from a seed, put back afterwards, and a generator beside it."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield torch.Generator().manual_seed(seed)


def body(read: int, width: int, *, layers: int = 2, padding: str = "zeros") -> nn.Sequential:
    """Convolutions with windows of three that keep the size of the image, each with a relu.

    Args:
        read: channels of the image.
        width: channels of each convolution.
        layers: convolutions.
        padding: member of `PADDINGS`.

    Example:
        >>> body(1, 8)(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 8, 8, 8])
    """
    found: list[nn.Module] = []
    for channels in [read, *[width] * (layers - 1)]:
        layer = Convolution(channels, width, 3, padding_mode=padding)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        found += [layer, nn.ReLU()]
    return nn.Sequential(*found)


def drawn_from(images: Tensor, classes: Tensor, change: Change | None = None) -> Draw:
    """Images drawn at random, with replacement.

    Args:
        images: (n, channels, *space) to draw from.
        classes: (n,) theirs.
        change: what is done with those that were drawn; None: nothing.

    Example:
        >>> draw = drawn_from(torch.zeros(5, 1, 8, 8), torch.arange(5))
        >>> draw(3, torch.Generator().manual_seed(0))[0].shape
        torch.Size([3, 1, 8, 8])
    """

    def draw(number: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        chosen = torch.randint(0, len(images), (number,), generator=generator)
        shown = images[chosen] if change is None else change(images[chosen], generator)
        return shown, classes[chosen]

    return draw


def fit(
    net: nn.Module,
    draw: Draw,
    steps: int,
    generator: torch.Generator,
    *,
    rate: float = RATE,
    batch: int = BATCH,
    rewired: tuple[Growth, Schedule] | None = None,
) -> None:
    """Train with Adam at a learning rate that rises and falls (one cycle).

    Args:
        net: is trained, and left ready to answer.
        draw: images and classes of a step.
        steps: of the optimiser.
        generator: what `draw` draws with.
        rate: highest learning rate.
        batch: images in a step.
        rewired: by which rule and when the `Proximity` layers change their connections; such a step
            takes the place of the optimiser's.
    """
    net.train()
    optimiser = torch.optim.Adam(net.parameters())
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, max(steps, 2))
    rewiring = Rewiring(net, optimiser, *rewired) if rewired else None
    for _ in range(steps):
        images, classes = draw(batch, generator)
        loss = functional.cross_entropy(net(images), classes)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        if rewiring is None or not rewiring.step():
            optimiser.step()
        cycle.step()
    net.eval()


def accuracy(net: nn.Module, images: Tensor, classes: Tensor) -> float:
    """Percent of the images whose class is answered."""
    return 100 * float(right(net, images, classes).double().mean())


def right(net: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """(n,) bool: which images' class is answered."""
    with torch.no_grad():
        answers = torch.cat([net(part).argmax(1) for part in torch.split(images, 100)])
    return answers == classes
