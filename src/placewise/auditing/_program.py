"""Exported programs as modules."""

from __future__ import annotations

import torch
from torch import nn
from torch.export import ExportedProgram


class Program(nn.Module):
    """An exported program of one image and one tensor, for any number of images.

    Args:
        program: what `torch.export` gave.

    Example:
        >>> program = torch.export.export(nn.Conv1d(1, 1, 3), (torch.zeros(1, 1, 8),))
        >>> Program(program)(torch.zeros(5, 1, 8)).shape
        torch.Size([5, 1, 6])
    """

    def __init__(self, program: ExportedProgram) -> None:
        super().__init__()
        self.module = program.module(check_guards=False)
        inputs: tuple[torch.Tensor, ...] = (program.example_inputs or ((),))[0]
        self.batch = len(inputs[0]) if inputs else 1

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """What the program gives for so many images at a time, the last time filled up."""
        found = []
        for part in torch.split(images, self.batch):
            missing = self.batch - len(part)
            full = torch.cat([part, part[-1:].expand(missing, *part.shape[1:])])
            found.append(self.module(full)[: len(part)])
        return torch.cat(found)
