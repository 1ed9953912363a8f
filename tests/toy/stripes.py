"""A task from outside: the angle of a stripe. All of it, from the labels to the drawing.

placewise train DATA --plugin stripes --format stripes:AngleCsv --out RUN
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from placewise.augment import Warp, move_points
from placewise.formats import Format
from placewise.heads import Head
from placewise.images import image_size
from placewise.labels import Dataset
from placewise.metrics import Metric
from placewise.model import Network
from placewise.report.drawing import keypoints
from placewise.task import Target, Task


@dataclass(frozen=True)
class Stripe:
    """An image with a stripe through its middle."""

    image: str
    size: tuple[int, int]
    angle: float
    split: str | None = None


@dataclass(frozen=True)
class Stripes(Dataset[Stripe]):
    """Angles of stripes."""

    task = "stripes:Angles"
    what = "angles"

    root: Path
    samples: tuple[Stripe, ...]
    source: Path | None = None
    names: tuple[str, ...] = ("angle",)


class AngleCsv(Format):
    """CSV with one row for each image: image,angle,split."""

    tasks = ("stripes:Angles",)

    def recognises(self, path: Path, head: str) -> bool:
        return head.startswith("image,angle")

    def read(self, path: Path, root: Path | None = None) -> Stripes:
        root = root or path.parent
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        read = [(r["image"], image_size(root / r["image"]), r["angle"], r["split"]) for r in rows]
        return Stripes(root, tuple(Stripe(i, s, float(a), p) for i, s, a, p in read), path)


@dataclass(frozen=True)
class StripeTarget(Target):
    """Two points of the stripe, which say its angle after any warp."""

    points: np.ndarray

    def encode(self, warp: Warp) -> tuple[torch.Tensor]:
        ends, _ = move_points(self.points, np.full(2, 3, np.int8), warp)
        square = complex(*(ends[1] - ends[0])) ** 2
        return (torch.tensor([square.real, square.imag], dtype=torch.float32) / abs(square),)


class AngleHead(Head):
    """Mean features to (cos 2θ, sin 2θ): a stripe that is turned by 180° is the same one."""

    task = "stripes:Angles"

    def __init__(self, in_channels: int, count: int) -> None:
        super().__init__()
        self.out = nn.Linear(in_channels, 2)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.out(features.mean((-2, -1)))

    def loss(self, output: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        return (output - truth).square().sum(-1)


@dataclass(frozen=True)
class AnglePrediction:
    """The angle of a stripe in degrees, 0 to 180."""

    image: str
    size: tuple[int, int]
    angle: float

    def rows(self) -> list[list[Any]]:
        return [[self.image, round(self.angle, 2)]]


class AngleModel(Network[AnglePrediction]):
    """Images to angles."""

    def decode(
        self, output: torch.Tensor, shown: Any, sizes: Sequence[Any], images: Sequence[str]
    ) -> list[AnglePrediction]:
        angles = (torch.rad2deg(torch.atan2(output[:, 1], output[:, 0])) / 2 % 180).tolist()
        return [AnglePrediction(*one) for one in zip(images, sizes, angles, strict=True)]


class Angles(Task[Stripe, AnglePrediction]):
    """The angle of a stripe."""

    noun = "angles"
    head = "stripes:AngleHead"
    network = AngleModel
    metric = Metric("mean_error_deg", "mean error", "°", "angle to the true one", equal=1.0)

    def target(self, dataset: Dataset[Stripe], sample: Stripe) -> StripeTarget:
        return StripeTarget(ends_of(sample.angle, sample.size))

    def measures(
        self, dataset: Dataset[Stripe], sample: Stripe, one: AnglePrediction
    ) -> np.ndarray:
        off = abs(one.angle - sample.angle) % 180
        return np.array([min(off, 180 - off)])

    def draw(self, model: Any, pixels: Any, one: AnglePrediction, **more: Any) -> Any:
        ends = ends_of(one.angle, one.size)
        return keypoints(pixels, ends, ("one", "other"), skeleton=[("one", "other")])

    def columns(self, names: Sequence[str]) -> list[str]:
        return ["image", "angle"]

    def truth_cells(self, dataset: Dataset[Stripe], sample: Stripe) -> tuple[list[str], list[Any]]:
        return ["truth"], [sample.angle]


def ends_of(angle: float, size: tuple[int, int]) -> np.ndarray:
    """(2, 2) two points of a stripe through the middle of an image."""
    middle, along = np.array(size[::-1]) / 2 - 0.5, np.radians(angle)
    step = min(size) / 4 * np.array([np.cos(along), np.sin(along)])
    return np.stack([middle - step, middle + step])
