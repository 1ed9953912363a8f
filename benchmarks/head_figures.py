"""Draw what each head reads and what each backbone is made of: docs/figures/heads_*, backbones_*.

    python benchmarks/head_figures.py

Heads are new ones, not trained: what is drawn is the size of the slope of a unit, or of a logit, in
each place of the features, summed over the channels; for heads that give keypoints, what they are drawn
towards. The image of the backbone `timm` is left as it is where timm is not installed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch

from layer_figures import Panel, draw
from placewise.display.named import show_target
from placewise.heads import HEADS
from placewise.labels import Visibility

FIGURES = Path(__file__).parents[1] / "docs" / "figures"
CHANNELS, CLASSES, SIDE = 6, 3, 9
MIDDLE, CORNER = (SIDE // 2, SIDE // 2), (0, 0)


def built(name: str, **settings: object) -> torch.nn.Module:
    torch.manual_seed(1)
    return HEADS[name](CHANNELS, CLASSES, (SIDE, SIDE), **settings).eval()


def reads(of: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """(side, side) size of the slope of a number in the features, 1 at most."""
    maps = torch.rand(1, CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    maps.requires_grad_()
    (slope,) = torch.autograd.grad(of(maps), maps)
    size = slope[0].abs().sum(0)
    return size / size.max()


def flatten() -> list[Panel]:
    head = built("flatten")
    first = head.hidden[0]
    units = [reads(lambda maps, k=k: first(maps.flatten(1))[0, k]) for k in range(2)]
    return [
        ("a hidden unit", units[0]),
        ("another", units[1]),
        ("a logit", reads(lambda maps: head(maps)[0, 0])),
    ]


def convolutional() -> list[Panel]:
    head = built("convolutional")
    return [
        ("a unit in the middle", reads(lambda maps: head.hidden[0](maps)[(0, 0, *MIDDLE)])),
        ("a unit in a corner", reads(lambda maps: head.hidden[0](maps)[(0, 0, *CORNER)])),
        ("a logit", reads(lambda maps: head(maps)[0, 0])),
    ]


def sheet() -> list[Panel]:
    head, deep = built("sheet"), built("sheet", layers=2)
    first = head.sheets[0]
    second = deep.sheets[1]
    return [
        ("a unit in the middle", reads(lambda maps: first(maps)[(0, 0, *MIDDLE)])),
        ("a unit in a corner", reads(lambda maps: first(maps)[(0, 0, *CORNER)])),
        ("of a second sheet", reads(lambda maps: second(deep.sheets[0](maps))[(0, 0, *MIDDLE)])),
        ("a logit", reads(lambda maps: head(maps)[0, 0])),
    ]


def proximity() -> list[Panel]:
    heads = {
        f"reach {reach:g}": built("proximity", reach=reach, fan_in=30) for reach in (0.1, 1.5, 3)
    }
    heads["at random (reach ∞)"] = built("proximity", reach=float("inf"), fan_in=30)
    return [
        (name, reads(lambda maps, head=head: head.sheets[0](maps)[(0, 0, *MIDDLE)]))
        for name, head in heads.items()
    ]


def palm_tree() -> list[Panel]:
    head = built("palm_tree", hidden=2)
    first, second = head.sheets
    return [
        ("9×9 → 5×5", reads(lambda maps: first(maps)[0, 0, 2, 2])),
        ("→ 3×3", reads(lambda maps: second(first(maps))[0, 0, 1, 1])),
        ("→ a class's node", reads(lambda maps: head(maps)[0, 0])),
        ("another's", reads(lambda maps: head(maps)[0, 1])),
    ]


def low_rank() -> list[Panel]:
    found = []
    for rank in (1, 2, 4):
        head = built("low_rank", kind="cp", rank=rank)
        maps = torch.zeros(1, CHANNELS, SIDE, SIDE, requires_grad=True)
        (slope,) = torch.autograd.grad(head(maps)[0, 0], maps)
        found.append((f"rank {rank}", slope[0, 0] / slope[0, 0].abs().max()))
    return found


def keypoints() -> dict[str, list[Panel]]:
    """What heads that give keypoints are drawn towards, for a point at (41, 21) of 64×48 pixels."""
    point, size = torch.tensor([[[41.0, 21.0]]]), (48, 64)
    visibility = torch.full((1, 1), int(Visibility.VISIBLE), dtype=torch.int8)
    found: dict[str, list[Panel]] = {}
    maps = HEADS["heatmap"](8, 1, 4, size).encode(point, visibility, size)[0, 0].float()
    heat = torch.softmax(maps.flatten(), 0).view_as(maps)
    found["heatmap"] = [("drawn towards", heat / heat.max())]
    across = heat.sum(0, keepdim=True).expand_as(heat)
    down = heat.sum(1, keepdim=True).expand_as(heat)
    found["integral"] = [("x = Σ column · share", across), ("y = Σ row · share", down)]
    found["coordinates"] = []
    for gather in ("flatten", "pool"):
        head = HEADS["coordinates"](8, 1, 4, size, gather=gather, cell=1)
        maps = torch.rand(1, 8, 12, 16, requires_grad=True)
        (slope,) = torch.autograd.grad(head(maps)[0, 0, 0], maps)
        read = slope[0].abs().sum(0)
        found["coordinates"].append((f"x reads, {gather}", read / read.max()))
    return found


BACKBONES = {
    "lenet": ("lenet", "32", {}),
    "resnet": ("resnet", "32", {}),
    "unet": ("unet", "128", {"depth": 2}),
    "timm": ("timm", "224", {"model": "resnet18"}),
}


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    for member in (flatten, convolutional, sheet, proximity, palm_tree, low_rank):
        draw(f"heads_{member.__name__}", member())
    for name, panels in keypoints().items():
        draw(f"heads_{name}", panels)
    for name, (text, size, settings) in BACKBONES.items():
        if name != "timm" or find_spec("timm"):
            shown = show_target(text, size=size, backbone=settings, paths=False)
            (FIGURES / f"backbones_{name}.png").write_bytes(shown.figure())
    exact = show_target("lenet+flatten", in_channels=1, paths=False)
    (FIGURES / "show.png").write_bytes(exact.figure())


if __name__ == "__main__":
    main()
