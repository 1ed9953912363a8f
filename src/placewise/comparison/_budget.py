"""Parameters and multiply-adds of each arm, and whether the arms are matched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from placewise.display.costs import products
from placewise.errors import SettingsError

ALLOWED = 0.02
"""The largest budget may exceed the smallest by this share."""


@dataclass(frozen=True)
class Budget:
    """What a network costs.

    Attributes:
        parameters: numbers that are learnt.
        multiply_adds: of one image of the training's size, forwards.

    Example:
        >>> Budget(16260, 119_800)
        Budget(parameters=16260, multiply_adds=119800)
    """

    parameters: int
    multiply_adds: int


def budget_of(network: nn.Module, image: Sequence[int]) -> Budget:
    """Budget of a network.

    Multiply-adds are counted by `placewise.display.costs.products`.

    Args:
        network: is run once, in eval mode, and left unchanged.
        image: (channels, *space) of its input.

    Example:
        >>> budget_of(nn.Conv2d(1, 3, 5), (1, 32, 32))
        Budget(parameters=78, multiply_adds=58800)
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    device = parameters[0].device if parameters else torch.device("cpu")
    found = products(network, torch.zeros(1, *image, device=device))
    return Budget(sum(p.numel() for p in parameters), sum(one.multiply_adds for one in found))


def check_matched(budgets: Mapping[str, Budget], *, unmatched: bool = False) -> str:
    """Refuse arms whose budgets differ by more than 2 %.

    Args:
        budgets: of each arm.
        unmatched: only note the difference.

    Returns:
        A note for every table; empty if the arms are matched.

    Raises:
        SettingsError: names the smallest and the largest budget and what to do.

    Example:
        >>> check_matched({"a": Budget(100, 5000), "b": Budget(101, 5000)})
        ''
    """
    said = []
    for what in ("parameters", "multiply_adds"):
        spent = {name: getattr(budget, what) for name, budget in budgets.items()}
        least, most = (pick(spent, key=spent.__getitem__) for pick in (min, max))
        if spent[most] > spent[least] * (1 + ALLOWED):
            more = f" ({100 * (spent[most] / spent[least] - 1):,.1f} % more)" * bool(spent[least])
            said.append(
                f"{what.replace('_', '-')}: {least} has {spent[least]:,}, {most} has "
                f"{spent[most]:,}{more}"
            )
    if not said:
        return ""
    if unmatched:
        return f"The arms are NOT matched: {'; '.join(said)}."
    raise SettingsError(
        f"the arms' budgets differ by more than {100 * ALLOWED:g} %, so the heads would not be the "
        f"only difference. {'; '.join(said)}. Change widths until they match, or continue with "
        "--unmatched (in a plan: unmatched = true); every table will then say so"
    )
