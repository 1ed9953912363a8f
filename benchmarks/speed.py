"""Training speed beside a plain U-Net, in turns in one process.

    python benchmarks/speed.py --data FOLDER/openfield_mouse

Ours is the default network with its augmentation, images included; the plain U-Net (widths 24, 48,
96, 192, two 3×3 convolutions a level, concatenated skips, maps of stride 2, cross-entropy) gets ready
batches of the same size. Each round times some steps of each; a ratio is taken within a round, so
that a slow moment of the machine falls on all alike.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import torch
from torch import nn
from torch.nn import functional

from placewise import read_dataset
from placewise.augment import Augmentation
from placewise.devices import fast_memory
from placewise.labels import of_split, split_images
from placewise.tasks import build, choose_model, task_named
from placewise.training import TrainingSettings
from placewise.training.dataset import TrainingSet
from placewise.training.order import Order, Stream
from placewise.training.step import Objective, optimiser

RESULTS = Path(__file__).parent / "results" / "speed.json"
BATCH, ROUNDS, STEPS = 8, 7, 6


def double(before: int, after: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)]
        layers += [nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class PlainUNet(nn.Module):
    def __init__(self, points: int, widths: tuple[int, ...] = (24, 48, 96, 192)) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            double(a, b) for a, b in zip((1, *widths[:-1]), widths, strict=True)
        )
        pairs = list(pairwise(widths[1:]))[::-1]
        self.up = nn.ModuleList(double(skip + deep, skip) for skip, deep in pairs)
        self.out = nn.Conv2d(widths[1], points, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = []
        for level, stage in enumerate(self.down):
            x = stage(functional.max_pool2d(x, 2) if level else x)
            kept.append(x)
        x = kept.pop()
        for stage in self.up:
            x = functional.interpolate(x, scale_factor=2.0, mode="bilinear")
            x = stage(torch.cat((x, kept.pop()), 1))
        return self.out(x)


def plain(points: int, size: tuple[int, int], precision: str) -> Callable[[], None]:
    net = PlainUNet(points)
    half = precision == "bfloat16"
    if half:
        net = net.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    images = torch.rand(BATCH, 1, *size)
    target = torch.rand(BATCH, points, size[0] // 2, size[1] // 2)

    def step() -> None:
        shown = images.contiguous(memory_format=torch.channels_last) if half else images
        with torch.autocast("cpu", torch.bfloat16) if half else contextlib.nullcontext():
            maps = net(shown)
        functional.binary_cross_entropy_with_logits(maps.float(), target).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def ours(data: Path, precision: str) -> tuple[Callable[[], None], tuple[int, int], int]:
    labels = read_dataset(data)
    samples = of_split(labels, split_images(labels, 0), "train")
    model = build(choose_model(labels, samples))
    settings = TrainingSettings()
    augmentation = Augmentation(flip=bool(labels.symmetry))
    shown = TrainingSet(
        task_named(labels.task), labels, samples, model.input, model.input_size, augmentation, 0
    )
    total = 3 + (1 + ROUNDS) * STEPS + -(-len(samples) // BATCH)
    stream = Stream(shown, Order(len(samples), BATCH, 0, start=0, stop=total), 0)
    for _ in range(-(-len(samples) // BATCH)):
        next(stream)  # every image is read once
    objective = Objective(model, precision)
    optimizer = optimiser(objective, settings)

    def step() -> None:
        objective(*next(stream)[:3]).backward()
        nn.utils.clip_grad_norm_(objective.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step, model.input_size, sum(p.numel() for p in model.parameters())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    fast_memory()
    half, frame, parameters = ours(data, "bfloat16")
    full, _, _ = ours(data, "float32")
    steps = {
        "placewise bfloat16": half,
        "placewise float32": full,
        "plain U-Net bfloat16": plain(4, (240, 320), "bfloat16"),
        "plain U-Net float32": plain(4, (240, 320), "float32"),
    }
    speeds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(1 + ROUNDS):
        for name, step in steps.items():
            begun = time.monotonic()
            for _ in range(STEPS):
                step()
            if number:  # the first round warms up
                speeds[name].append(STEPS * BATCH / (time.monotonic() - begun))
    base = speeds["plain U-Net float32"]
    content = {
        "command": "python benchmarks/speed.py --data openfield_mouse",
        "frame": frame,
        "parameters": parameters,
        "plain_parameters": sum(p.numel() for p in PlainUNet(4).parameters()),
        "images_per_second": {name: [round(s, 2) for s in each] for name, each in speeds.items()},
        "median": {name: round(statistics.median(each), 1) for name, each in speeds.items()},
        "ratio_to_plain_float32": {
            name: round(statistics.median([a / b for a, b in zip(each, base, strict=True)]), 2)
            for name, each in speeds.items()
        },
        "processors": os.cpu_count(),
        "torch": torch.__version__,
    }
    RESULTS.write_text(json.dumps(content, indent=2) + "\n")
    print(json.dumps(content, indent=2))


if __name__ == "__main__":
    main()
