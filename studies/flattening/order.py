"""In which order a map is flattened: two nets trained side by side."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from placewise.heads.flatten import Flatten
from studies import Options
from studies._findings import Measured
from studies._material import Labelled
from studies._training import accuracy, drawing, drawn_from, fit

STEPS, BATCH, RATE = 50, 32, 1e-2
"""Of the training in which nothing may differ."""

SAME = 1e-9
"""Up to which difference two nets count as the same: rounding in another order of a sum."""


def orders(places: int, seed: int) -> dict[str, Tensor]:
    """Three orders of the places of a square map.

    Example:
        >>> orders(4, 0)["columns first"].tolist()
        [0, 2, 1, 3]
    """
    side = round(places**0.5)
    drawn = torch.randperm(places, generator=torch.Generator().manual_seed(seed))
    rows_first = torch.arange(places)
    return {
        "columns first": rows_first.reshape(side, side).T.flatten(),
        "backwards": rows_first.flip(0),
        "at random": drawn,
    }


def order(digits: Labelled, options: Options, seeds: int, steps: int) -> dict[str, Any]:
    """The same net with the map in other orders, and with an order that is not kept."""
    options.tell("the order of flattening")
    found = {
        name: difference(digits, taken, options.seed)
        for name, taken in orders(digits.train[0].numel(), options.seed).items()
    }
    kept, anew = [], []
    for seed in range(options.seed, options.seed + seeds):
        kept.append(_right(digits, seed, steps, kept=True))
        anew.append(_right(digits, seed, steps, kept=False))
    return {
        "steps": STEPS,
        "same": f"{SAME:.0e}",
        "found": {name: f"{value:.0e}" for name, value in found.items()},
        "equal": {name: value <= SAME for name, value in found.items()},
        "table": {
            "header": ["order", "largest difference of any weight or output"],
            "rows": [[name, f"{value:.0e}"] for name, value in found.items()],
        },
        "kept": Measured.of(kept).numbers(),
        "anew": Measured.of(anew).numbers(),
        "lost": Measured.of(kept, minus=anew).numbers(),
    }


def difference(digits: Labelled, taken: Tensor, seed: int) -> float:
    """Largest difference of two nets after training, one of which flattens in another order.

    W′ = W[:, order] and x′ = x[order] give W′x′ = Wx, and the same steps of Adam, which treats each
    weight by itself. So W′ = W[:, order] after training too, up to rounding.

    Args:
        digits: images to learn from.
        taken: (places,) order in which the second net reads the places.
        seed: of the first weights and of the batches.
    """
    with drawing(seed) as generator:
        sides = (digits.train.shape[-2], digits.train.shape[-1])
        first, second = (Flatten(1, 10, sides).double() for _ in range(2))
        second.load_state_dict(first.state_dict())
        _change_order(second, taken)
        optimisers = [torch.optim.Adam(net.parameters(), RATE) for net in (first, second)]
        draw = drawn_from(digits.train.double(), digits.train_classes)
        for _ in range(STEPS):
            images, classes = draw(BATCH, generator)
            for net, optimiser, shown in zip(
                (first, second), optimisers, (images, reordered(images, taken)), strict=True
            ):
                loss = nn.functional.cross_entropy(net(shown), classes)
                optimiser.zero_grad()
                torch.autograd.backward(loss)
                optimiser.step()
    with torch.no_grad():
        test = digits.test.double()
        answers = first(test) - second(reordered(test, taken))
        _change_order(second, taken.argsort())
        weights = [a - b for a, b in zip(first.parameters(), second.parameters(), strict=True)]
    return max(float(each.abs().max()) for each in (answers, *weights))


def _change_order(net: Flatten, taken: Tensor) -> None:
    """Put the weights of the places in another order, as `reordered` does with the images."""
    weight = next(net.hidden.parameters())
    with torch.no_grad():
        weight.copy_(weight[:, taken])


def reordered(images: Tensor, taken: Tensor) -> Tensor:
    """Images (n, channels, *space) whose places stand in another order."""
    return images.flatten(2)[:, :, taken].view_as(images)


def mixed(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images whose places stand in an order of its own for each.

    Example:
        >>> mixed(torch.eye(2)[None, None], torch.Generator().manual_seed(0)).sum().item()
        2.0
    """
    flat = images.flatten(2)
    taken = torch.rand(len(flat), 1, flat.shape[2], generator=generator).argsort(2)
    return flat.gather(2, taken.expand_as(flat)).view_as(images)


def _right(digits: Labelled, seed: int, steps: int, *, kept: bool) -> float:
    """Percent right of the flattened head on pixels, with one order for all images or not."""
    draw = drawn_from(digits.train, digits.train_classes, None if kept else mixed)
    with drawing(seed) as generator:
        net = Flatten(1, 10, (digits.train.shape[-2], digits.train.shape[-1]))
        fit(net, draw, steps, generator)
        test = digits.test if kept else mixed(digits.test, generator)
        return accuracy(net, test, digits.test_classes)
