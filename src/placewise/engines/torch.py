"""The modules of the network themselves, with folded batch norms; needs nothing else."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from placewise.engines import Engine, Plain
from placewise.engines._folding import fold
from placewise.model import Network

TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Torch(Engine):
    """A copy of backbone and head, faster than they are.

    Batch norms that follow a convolution are folded into it. In bfloat16 maps of two axes lie in
    memory with their channels together, which convolutions are fastest at then, and the head stays
    in float32: what is read off its maps is a matter of small differences.

    How many threads it uses is torch's own setting.
    """

    precisions = ("float32", "bfloat16")

    def __init__(
        self, network: Network[Any], file: Path | None, precision: str, threads: int, calls: int
    ) -> None:
        self._plain = copy.deepcopy(Plain(network)).eval()
        shape = (1, network.input.channels, *network.input_size)
        fold(self._plain, torch.zeros(shape, device=network.mean.device))
        self._kind, self._layout = TYPES[precision], torch.preserve_format
        self._plain.backbone.to(self._kind)
        if precision == "bfloat16" and network.input.axes == 2:
            self._layout = torch.channels_last
            self._plain.backbone.to(memory_format=self._layout)  # type: ignore[call-overload]

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Raw output of the head; see `Engine`."""
        plain = self._plain
        seen = ((images - plain.mean) / plain.std).to(self._kind, memory_format=self._layout)
        output: Tensor = plain.head(plain.backbone(seen).float())
        return output.float()
