"""One step: loss, gradient, weights and their average."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from placewise.model import Network

if TYPE_CHECKING:
    from placewise.training.settings import TrainingSettings

MAX_GRADIENT = 1.0
"""Gradients longer than this are shortened to it."""


FUSED = ("cpu", "cuda")
"""Devices on which torch moves all weights in one call."""

LAYOUTS = {1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d}
"""How training lays out signals, images and volumes: what convolutions are fastest with."""


class Objective(nn.Module):
    """Images and labels to one number to make small.

    The mean is over all points or images of the batch, labelled or not, so that it is the same
    number however a batch is shared between processes.

    Args:
        model: the network.
        precision: "float32", or "bfloat16" for convolutions in bfloat16 and the rest in float32.
    """

    def __init__(self, model: Network[Any], precision: str) -> None:
        super().__init__()
        self.layout: torch.memory_format = LAYOUTS[model.input.axes]
        self.model: Any = model
        if self.layout != torch.contiguous_format:
            self.model = model.to(memory_format=self.layout)  # type: ignore[call-overload]
        self.precision = precision

    def forward(self, images: Tensor, *targets: Tensor) -> Tensor:
        """Loss of (B, C, *size) images with what the head's loss wants to know of each."""
        lower = torch.autocast(images.device.type, torch.bfloat16)
        with lower if self.precision == "bfloat16" else contextlib.nullcontext():
            output = self.model(images.contiguous(memory_format=self.layout))
        loss: Tensor = self.model.head.loss(output.float(), *targets)
        return loss.mean()


def optimiser(objective: nn.Module, settings: TrainingSettings) -> torch.optim.AdamW:
    """AdamW, one call for all weights where torch has that; biases and norms do not decay."""
    weights = [p for p in objective.parameters() if p.ndim > 1]
    others = [p for p in objective.parameters() if p.ndim <= 1]
    groups = [
        {"params": weights, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    fused = all(p.device.type in FUSED for p in objective.parameters())
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.99), fused=fused)


def shorten_gradient(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Shorten a gradient that is longer than `MAX_GRADIENT` to that; one that is not is left alone.

    Returns:
        The length that it had.
    """
    held = [parameter for parameter in parameters if parameter.grad is not None]
    length = torch.nn.utils.get_total_norm([p.grad for p in held if p.grad is not None])
    if not length + 1e-6 <= MAX_GRADIENT:  # the small number is torch's own
        torch.nn.utils.clip_grads_with_norm_(held, MAX_GRADIENT, length)
    return length


@torch.no_grad()
def move_average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average of weights and statistics, quicker at the beginning.

    avg ← d · avg + (1 − d) · now, d = min(decay, (1 + step) / (10 + step)).
    """
    share = 1 - min(decay, (1 + step) / (10 + step))
    kept, now = average.state_dict(), model.state_dict()
    floating = [name for name, value in kept.items() if value.is_floating_point()]
    torch._foreach_lerp_([kept[n] for n in floating], [now[n] for n in floating], share)
    for name in kept.keys() - set(floating):
        kept[name].copy_(now[name])
