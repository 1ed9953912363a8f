"""Draw what each layer and each padding rule does: docs/figures/layers_NAME.png, paddings.png.

    PYTHONPATH=. python benchmarks/layer_figures.py

Nothing is trained; every image is what the layer itself answers, on one made image.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from torch import nn

from placewise.layers.blur import BlurPool
from placewise.layers.convolution import Convolution
from placewise.layers.coordinates import Coordinates
from placewise.layers.local import LocallyConnected
from placewise.layers.multi_scale import MultiScale
from placewise.layers.on_off import OnOff
from placewise.layers.polyphase import Polyphase
from placewise.layers.pooling import Pooling
from placewise.layers.proximity import Places
from placewise.paddings import PADDINGS
from placewise.report.style import LIGHT
from studies._wiring.focus import Focus

FIGURES = Path(__file__).parents[1] / "docs" / "figures"
SIDE = 24
ONE_SIGN = LinearSegmentedColormap.from_list("one", [LIGHT.paper, LIGHT.first, "#06263c"])
TWO_SIGNS = LinearSegmentedColormap.from_list("two", [LIGHT.second, LIGHT.paper, LIGHT.first])
Panel = tuple[str, torch.Tensor]
"""Caption and map (height, width)."""


def image() -> torch.Tensor:
    """(1, 1, 24, 24): a disc, a bar that leaves the image, thin stripes, on a slope of light."""
    down, across = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    map_ = 0.15 + 0.35 * across / SIDE
    map_[((down - 8.0) ** 2 + (across - 8.0) ** 2) < 18] = 1.0
    map_[17:20, 12:] = 1.0
    map_[4:12, 15:22:2] = 0.9
    return map_[None, None].float()


def draw(name: str, panels: Sequence[Panel], *, columns: int = 6, alike: bool = True) -> None:
    """Maps side by side, in one scale if they are alike; below 0 in another colour."""
    rows = -(-len(panels) // columns)
    figure = Figure(
        figsize=(1.75 * min(len(panels), columns), 2.0 * rows),
        dpi=110,
        layout="constrained",
        facecolor=LIGHT.paper,
    )
    maps = [panel.detach().numpy() for _, panel in panels]
    low, high = min(m.min() for m in maps), max(m.max() for m in maps)
    high = high if low < 0 else max(high, 1.0)
    for number, ((caption, _), shown) in enumerate(zip(panels, maps, strict=True)):
        axes = figure.add_subplot(rows, min(len(panels), columns), number + 1)
        limits = (low, high) if alike else (shown.min(), shown.max())
        if low < 0:
            most = max(-limits[0], limits[1], 1e-9)
            axes.imshow(shown, cmap=TWO_SIGNS, vmin=-most, vmax=most)
        else:
            axes.imshow(shown, cmap=ONE_SIGN, vmin=min(0, limits[0]), vmax=limits[1])
        axes.set_title(caption, fontsize=8.5, color=LIGHT.ink)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_color(LIGHT.line)
        if shown.shape[-1] > SIDE and name == "paddings":
            margin = (shown.shape[-1] - SIDE) / 2 - 0.5
            axes.plot(*frame(margin), color=LIGHT.second, linewidth=1.2)
    figure.savefig(FIGURES / f"{name}.png")


def frame(margin: float) -> tuple[list[float], list[float]]:
    """The border of the image within a padded one."""
    far = margin + SIDE
    return [margin, far, far, margin, margin], [margin, margin, far, far, margin]


def first(maps: torch.Tensor, channel: int = 0) -> torch.Tensor:
    return maps[0, channel].detach()


def filled(layer: Any) -> Any:
    """Averages over the window instead of random weights."""
    for module in layer.modules():
        if isinstance(module, Convolution):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return layer


def convolution() -> list[Panel]:
    given = torch.full((1, 1, SIDE, SIDE), 0.5)
    rules = ("zeros", "reflect", "symmetric", "partial")
    found = []
    for rule in rules:
        net = nn.Sequential(*(filled(Convolution(1, 1, 5, padding_mode=rule)) for _ in range(2)))
        found.append((rule, first(net(given))))
    return [("an even map", first(given)), *found]


def pooling() -> list[Panel]:
    given = image()
    return [
        ("image", first(given)),
        ("maximum of 2×2", first(Pooling(1, 2)(given))),
        ("average of 2×2", first(Pooling(1, 2, kind="average")(given))),
    ]


def mosaic(kernels: torch.Tensor, sides: tuple[int, int]) -> torch.Tensor:
    """Filters (places, k, k) at their places, two empty lines between them."""
    size = kernels.shape[-1] + 2
    wide = torch.zeros(sides[0] * size - 2, sides[1] * size - 2)
    for number, kernel in enumerate(kernels):
        row, column = (n * size for n in divmod(number, sides[1]))
        wide[row : row + size - 2, column : column + size - 2] = kernel
    return wide


def local() -> list[Panel]:
    torch.manual_seed(0)
    filters = LocallyConnected(1, 1, (5, 5), 3).weight.detach().view(25, 3, 3)
    return [
        ("convolution", mosaic(filters[12].expand(25, 3, 3), (5, 5))),
        ("local", mosaic(filters, (5, 5))),
    ]


def on_off() -> list[Panel]:
    given = image()
    found = OnOff(1, radius=2)(given)
    return [("image", first(given)), ("ON", first(found)), ("OFF", first(found, 1))]


def blur() -> list[Panel]:
    given, moved = image(), image().roll(1, 3)
    sharp, soft = Pooling(1, 2), BlurPool(1, 4, maximum=2)
    return [
        ("image", first(given)),
        ("maximum", first(sharp(given))),
        ("… moved by 1 px", first(sharp(moved))),
        ("blurred", first(soft(given))),
        ("… moved by 1 px", first(soft(moved))),
    ]


def polyphase() -> list[Panel]:
    layer = Polyphase(1, padding_mode="circular")
    given, moved = image(), image().roll(1, 3)
    plain = [
        ("each second place", given[0, 0, ::2, ::2]),
        ("… moved by 1 px", moved[0, 0, ::2, ::2]),
    ]
    chosen = [("largest phase", first(layer(given))), ("… moved by 1 px", first(layer(moved)))]
    return [("image", first(given)), *plain, *chosen]


def coordinates() -> list[Panel]:
    found = Coordinates(1, radius=True)(image())
    names = ("image", "x", "y", "radius")
    return [(name, first(found, number)) for number, name in enumerate(names)]


def multi_scale() -> list[Panel]:
    given = image()
    found = filled(MultiScale(1, 3, kernel_sizes=(1, 3, 5), padding_mode="symmetric"))(given)
    captions = [f"averages of {k}×{k}" for k in (1, 3, 5)]
    return [("image", first(given)), *((c, first(found, n)) for n, c in enumerate(captions))]


def focus() -> list[Panel]:
    sheet, panels = Places((15, 15)), []
    layer = Focus(sheet, sheet.resized((3, 3)), 21, width=2.2)
    for hardness in (0.0, 0.5, 0.9, 1.0):
        layer.anneal(hardness)
        panels.append((f"annealed to {hardness:g}", layer.profile()[4].view(15, 15)))
    return panels


def paddings() -> list[Panel]:
    given, panels = image(), []
    for name in PADDINGS.names():
        if name == "valid":
            continue
        rule = PADDINGS[name]()
        panels.append((name, first(rule.pad(given, [(8, 8), (8, 8)]))))
    return panels


LAYERS: dict[str, Callable[[], list[Panel]]] = {
    each.__name__: each
    for each in (
        convolution, pooling, local, on_off, blur, polyphase, coordinates, multi_scale, focus,
    )
}  # fmt: skip


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    FIGURES.mkdir(exist_ok=True)
    for name, panels in LAYERS.items():
        draw(f"layers_{name}", panels(), alike=name not in ("coordinates", "on_off"))
    draw("paddings", paddings(), columns=5)


if __name__ == "__main__":
    main()
