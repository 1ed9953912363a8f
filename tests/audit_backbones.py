"""Backbones one channel wide, as layer lists: paths and fields do not depend on the width.

`TORCH[name]` and `SLIM[name]` make a network as torchvision and as TensorFlow-Slim define it, and
`graph_of(network name, *space)` captures one once for all tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from placewise.graph import Graph, capture


def conv(
    size: int, stride: int = 1, padding: int = 0, before: int = 1, **settings: Any
) -> nn.Module:
    return nn.Conv2d(before, 1, size, stride, padding, **settings)


class Residual(nn.Module):
    """x -> body(x) + shortcut(x)."""

    def __init__(self, body: Sequence[nn.Module], shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)
        self.shortcut = nn.Identity() if shortcut is None else shortcut

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class Branches(nn.Module):
    """x -> the branches' results, one channel after the other, brought back to one channel."""

    def __init__(self, *branches: Sequence[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList([nn.Sequential(*layers) for layers in branches])
        self.mix = conv(1, before=len(branches))

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(torch.cat([branch(x) for branch in self.branches], 1))


# --- as torchvision defines them -----------------------------------------------------------------


def resnet(blocks: Sequence[int], *, bottleneck: bool) -> nn.Sequential:
    """ResNet v1.5: the 3×3 of a bottleneck has the stride."""
    layers: list[nn.Module] = [conv(7, 2, 3), nn.MaxPool2d(3, 2, 1)]
    for stage, count in enumerate(blocks):
        for block in range(count):
            stride = 2 if stage and not block else 1
            body = (
                [conv(1), conv(3, stride, 1), conv(1)]
                if bottleneck
                else [conv(3, stride, 1), conv(3, 1, 1)]
            )
            first = not block and (stage or bottleneck)
            layers.append(Residual(body, conv(1, stride) if first else None))
    return nn.Sequential(*layers)


def vgg(*stages: int) -> nn.Sequential:
    return nn.Sequential(
        *[layer for n in stages for layer in [*[conv(3, 1, 1)] * n, nn.MaxPool2d(2)]]
    )


def alexnet(first_padding: int) -> nn.Sequential:
    pool = nn.MaxPool2d(3, 2)
    start = [conv(11, 4, first_padding), pool, conv(5, 1, 2), pool]
    return nn.Sequential(*start, *[conv(3, 1, 1)] * 3, pool)


INVERTED = [(3, 1, 1), (3, 2, 2), (3, 2, 3), (3, 2, 4), (3, 1, 3), (3, 2, 3), (3, 1, 1)]
EFFICIENT = [(3, 1, 1), (3, 2, 2), (5, 2, 2), (3, 2, 3), (5, 1, 3), (5, 2, 4), (3, 1, 1)]


def mobile(stages: Sequence[tuple[int, int, int]]) -> nn.Sequential:
    """Inverted residuals: (kernel, stride of the first, how many) of each stage."""
    layers: list[nn.Module] = [conv(3, 2, 1)]
    for size, stride, count in stages:
        layers += [conv(1), conv(size, stride, size // 2), conv(1)]
        layers += [Residual([conv(1), conv(size, 1, size // 2), conv(1)])] * (count - 1)
    return nn.Sequential(*layers, conv(1))


def densenet(*blocks: int) -> nn.Sequential:
    class Grown(nn.Module):
        def __init__(self, before: int) -> None:
            super().__init__()
            self.new = nn.Sequential(conv(1, before=before), conv(3, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x, self.new(x)], 1)

    layers: list[nn.Module] = [conv(7, 2, 3), nn.MaxPool2d(3, 2, 1)]
    for number, count in enumerate(blocks):
        layers += [Grown(1 + n) for n in range(count)]
        layers += [conv(1, before=1 + count)]
        layers += [nn.AvgPool2d(2)] if number < len(blocks) - 1 else []
    return nn.Sequential(*layers)


def convnext(*blocks: int) -> nn.Sequential:
    stages = [
        [conv(2, 2)] * bool(n) + [Residual([conv(7, 1, 3)])] * c for n, c in enumerate(blocks)
    ]
    return nn.Sequential(conv(4, 4), *[layer for stage in stages for layer in stage])


def mobilenet_v1() -> nn.Sequential:
    strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
    return nn.Sequential(conv(3, 2, 1), *[conv(3, stride, 1) for stride in strides])


TORCH: dict[str, Callable[[], nn.Module]] = {
    "alexnet": lambda: alexnet(2),
    "alexnet_valid": lambda: alexnet(0),
    "vgg11": lambda: vgg(1, 1, 2, 2, 2),
    "vgg16": lambda: vgg(2, 2, 3, 3, 3),
    "vgg19": lambda: vgg(2, 2, 4, 4, 4),
    "resnet18": lambda: resnet([2, 2, 2, 2], bottleneck=False),
    "resnet34": lambda: resnet([3, 4, 6, 3], bottleneck=False),
    "resnet50": lambda: resnet([3, 4, 6, 3], bottleneck=True),
    "resnet101": lambda: resnet([3, 4, 23, 3], bottleneck=True),
    "resnet152": lambda: resnet([3, 8, 36, 3], bottleneck=True),
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": lambda: mobile(INVERTED),
    "efficientnet_b0": lambda: mobile(EFFICIENT),
    "densenet121": lambda: densenet(6, 12, 24, 16),
    "convnext_tiny": lambda: convnext(3, 3, 9, 3),
}


# --- as TensorFlow-Slim defines them, for images of 224 × 224 ----------------------------------


def same(layer: nn.Module, size: int) -> nn.Sequential:
    """A layer of stride 2 with "same" padding on a map of even sides: the odd place behind."""
    before = (size - 2) // 2
    after = size - 2 - before
    return nn.Sequential(nn.ZeroPad2d((before, after, before, after)), layer)


def slim_resnet(blocks: Sequence[int]) -> nn.Sequential:
    """ResNet v1: the last unit of a block has the stride, its shortcut takes every other place."""
    layers: list[nn.Module] = [conv(7, 2, 3), same(nn.MaxPool2d(3, 2), 3)]
    for stage, count in enumerate(blocks):
        for unit in range(count):
            stride = 2 if unit == count - 1 and stage < 3 else 1
            body = [conv(1), conv(3, stride, 1), conv(1)]
            shortcut = conv(1, stride) if not unit else nn.MaxPool2d(1, stride)
            layers.append(Residual(body, shortcut))
    return nn.Sequential(*layers)


def slim_mobilenet() -> nn.Sequential:
    strides = [2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
    return nn.Sequential(*[same(conv(3, 2), 3) if s == 2 else conv(3, 1, 1) for s in strides])


def slim_inception_v2() -> nn.Sequential:
    def keep() -> nn.Module:
        pool = nn.AvgPool2d(3, 1, 1)
        twice = [conv(1), conv(3, 1, 1), conv(3, 1, 1)]
        return Branches([conv(1)], [conv(1), conv(3, 1, 1)], twice, [pool, conv(1)])

    def halve() -> nn.Module:
        twice = [conv(1), conv(3, 1, 1), same(conv(3, 2), 3)]
        return Branches([conv(1), same(conv(3, 2), 3)], twice, [same(nn.MaxPool2d(3, 2), 3)])

    pool = same(nn.MaxPool2d(3, 2), 3)
    stem = [same(conv(7, 2), 7), pool, conv(1), conv(3, 1, 1), pool]
    mixed = [keep(), keep(), halve(), keep(), keep(), keep(), keep(), halve(), keep(), keep()]
    return nn.Sequential(*stem, *mixed)


SLIM: dict[str, Callable[[], nn.Module]] = {
    "alexnet_v2": lambda: alexnet(0),
    "vgg_16": lambda: vgg(2, 2, 3, 3, 3),
    "mobilenet_v1": slim_mobilenet,
    "inception_v2": slim_inception_v2,
    "resnet_v1_50": lambda: slim_resnet([3, 4, 6, 3]),
    "resnet_v1_101": lambda: slim_resnet([3, 4, 23, 3]),
    "resnet_v1_152": lambda: slim_resnet([3, 8, 36, 3]),
    "resnet_v1_200": lambda: slim_resnet([3, 24, 36, 3]),
}


@lru_cache(maxsize=64)
def graph_of(name: str, *space: int) -> Graph:
    """A network of `TORCH`, or of `SLIM` as "slim NAME", captured by a recorded run: quick."""
    slim = name.startswith("slim ")
    made = SLIM[name.removeprefix("slim ")]() if slim else TORCH[name]()
    return capture(made, (1, *space), how="recorded")


def graph(model: nn.Module, *shape: int) -> Graph:
    """Any network captured by a recorded run."""
    return capture(model, shape, how="recorded")
