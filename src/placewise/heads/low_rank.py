"""A linear answer whose weights are a product of one small factor for each axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from placewise.errors import SettingsError
from placewise.heads._tied import TiedHead, check_counts

Kind = Literal["tucker", "cp"]


class LowRank(TiedHead):
    """Tensor regression: y = ⟨X, W⟩ + b with weights W of low rank along each axis.

    | kind | weights of class k |
    |---|---|
    | `tucker` | W_k(c, p, q) = Σ_(r,s,t) G_k(r, s, t) · A(c, r) · B(p, s) · C(q, t) |
    | `cp` | W_k(c, p, q) = Σ_r D(k, r) · A(c, r) · B(p, r) · C(q, r) |

    The axes of the map are projected one after the other and never joined: "Tensor Regression
    Networks" (Kossaifi et al., 2020). The factors are the same for all places, so this keeps axes
    apart but knows no neighbours.

    Args:
        in_channels: channels of the features.
        classes: number of classes.
        size: of the features' map, 1 to 3 axes.
        kind: see the table.
        rank: of each factor; with `tucker` at most the length of its axis.

    Example:
        >>> head = LowRank(6, 10, (5, 5), rank=3)
        >>> head(torch.zeros(1, 6, 5, 5)).shape, sum(p.numel() for p in head.parameters())
        (torch.Size([1, 10]), 328)
    """

    does = "has factors for the axes of"

    def __init__(
        self,
        in_channels: int,
        classes: int,
        size: Sequence[int],
        *,
        kind: Kind = "tucker",
        rank: int = 4,
    ) -> None:
        super().__init__(in_channels, classes, size)
        check_counts(rank=rank)
        if kind not in get_args(Kind):
            raise SettingsError(f"kind is '{kind}'; it must be one of {', '.join(get_args(Kind))}")
        self.kind = kind
        lengths = (in_channels, *size)
        ranks = [min(rank, n) if kind == "tucker" else rank for n in lengths]
        self.factors = nn.ParameterList(
            torch.randn(n, r) / math.sqrt(n) for n, r in zip(lengths, ranks, strict=True)
        )
        if kind == "tucker":
            for factor in self.factors:
                nn.init.orthogonal_(factor)
        self.out = nn.Linear(math.prod(ranks) if kind == "tucker" else rank, classes)
        nn.init.normal_(self.out.weight, std=self.out.in_features**-0.5)
        nn.init.zeros_(self.out.bias)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, classes) logits of features (batch, channels, *size)."""
        self.check(features)
        projected = self._tucker(features) if self.kind == "tucker" else self._cp(features)
        logits: Tensor = self.out(projected)
        return logits

    def _tucker(self, features: Tensor) -> Tensor:
        """(batch, ∏ ranks): each axis projected by its factor."""
        for factor in self.factors:
            features = features.movedim(1, -1) @ factor
        return features.flatten(1)

    def _cp(self, features: Tensor) -> Tensor:
        """(batch, rank): ⟨features, a_r ⊗ b_r ⊗ c_r⟩ for each r."""
        first, *others = self.factors
        projected: Tensor = features.movedim(1, -1) @ first
        for factor in others:
            projected = torch.einsum("bn...r,nr->b...r", projected, factor)
        return projected
