"""What the wiring alone says: sections of numbers in which no weight is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np
from torch import nn

from placewise.auditing.paths import count_paths
from placewise.geometry import FloatArray
from placewise.graph import capture
from placewise.ops import COUNTS, EXISTS
from placewise.ops.axes import window
from studies._findings import significant
from studies.edges.nets import small_classic, stack
from studies.edges.paths import (
    Layer,
    backward,
    chain,
    limit,
    padded,
    spots,
)

RULES = ("valid", "zeros", "reflect", "symmetric", "replicate", "circular", "full")

IMAGE, LAYERS = 32, 10
"""Pixels on a side and layers of the net that most sections look at."""

POOLED = 128
"""Pixels on a side where layers are pooled, so that something is left to pool."""


def pascal(layers: int = 7) -> dict[str, Any]:
    """Paths to one unit of the deepest layer, layer by layer, for windows of two and three."""
    return {"layers": layers, "two": _triangle(2, layers), "three": _triangle(3, layers)}


def _triangle(size: int, layers: int) -> dict[str, Any]:
    net = nn.Sequential(*(nn.Conv1d(1, 1, size) for _ in range(layers)))
    graph = capture(net, (1, layers * (size - 1) + 1))
    last = graph.outputs[0]
    found = [grid for _, grid in graph.backward({last: graph.ones(last, COUNTS)}, COUNTS)]
    rows = [[int(paths) for paths in grid.whole().ravel()] for grid in found if grid is not None]
    sums = [np.convolve(row, np.ones(size, int)).tolist() for row in rows]
    words = [list(map(str, row)) for row in rows]
    return {
        "window": size,
        "rows": words,
        "last_row": " · ".join(words[-1]),
        "middle": words[-1][len(rows[-1]) // 2],
        "agrees": rows == [[1], *sums[:-1]],
    }


def wide_windows(deepest: int = 3) -> dict[str, Any]:
    """The window of the thread: 64 pixels wide, in steps of four, nothing beyond the border."""
    size, step, said, side = 64, 4, 265, 256
    found = count_paths(capture(nn.Conv2d(1, 1, size, step), (1, side, side)))
    per_axis = size // step
    rows = [_wide_row(size, step, layers) for layers in range(1, deepest + 1)]
    field = 1 + (size - 1) * (step**LAYERS - 1) // (step - 1)
    return {
        "size": size,
        "step": step,
        "side": side,
        "said": said,
        "per_axis": per_axis,
        "middle": str(found.maximum),
        "corner": str(found.corners[0]),
        "edge": str(found.edges[0][0]),
        "outer": size - step,
        "along": [str(paths) for paths in backward([window(side, size, stride=step)])],
        "layers": LAYERS,
        "paths_after_all": str(int(found.maximum) ** LAYERS),
        "field_after_all": str(field),
        "table": {
            "header": [
                "layers",
                "paths from the middle",
                "paths from the corner",
                "units they reach",
                "smallest image side (pixels)",
            ],
            "rows": rows,
        },
    }


def _wide_row(size: int, step: int, layers: int) -> list[Any]:
    """Paths of a whole image (the square of those along an axis), on the least that has all."""
    for last in count(1):
        side = last
        for _ in range(layers):
            side = (side - 1) * step + size
        maps = chain(side, lambda n: [window(n, size, stride=step)], layers)
        paths = backward(maps)
        if paths.max() == (size // step) ** layers:
            break
    reached = EXISTS.filled((side,))
    reached[paths.argmax()] = True
    for relation in maps:
        reached = relation.forward(reached, 0, EXISTS)
    units = int(reached.sum())
    return [layers, str(paths.max() ** 2), str(paths[0] ** 2), str(units**2), str(side)]


def growth(deep: Sequence[int] = (20, 30, 50, 70, 100, 150, 200, 300, 500, 1000)) -> dict[str, Any]:
    """How many times more paths the middle has than the edge, by depth and by rule."""
    found: dict[str, Any] = {"layers": LAYERS, "side": IMAGE, "window": 3, "deepest": deep[-1]}
    for rule in RULES:
        found[rule] = _grown(padded(rule, 3), deep)
    wider = {rule: _grown(padded(rule, 5), ()) for rule in RULES if rule != "valid"}
    found["large"] = _on_a_large_image()
    found["wider"] = {"window": 5, **wider}
    found["table"] = {
        "header": [
            "padding",
            "paths from the middle",
            "from the edge",
            "middle / edge",
            "middle / corner",
            "one more layer",
            "limit for any depth",
        ],
        "rows": [_growth_row(rule, found[rule]) for rule in RULES],
    }
    found["fits_table"] = {
        "header": [
            "padding",
            "best factor per layer",
            "explains (%)",
            "best power of depth",
            "explains (%)",
        ],
        "rows": [[rule, *found[rule]["fits"].values()] for rule in ("valid", "zeros", "reflect")],
    }
    found["wider_table"] = {
        "header": ["padding", "middle / edge", "limit for any depth"],
        "rows": [[rule, wider[rule]["over_edge"], wider[rule]["limit"]] for rule in wider],
    }
    return found


def _grown(layer: Layer, deep: Sequence[int]) -> dict[str, Any]:
    """Counts after ten layers, the ratio by depth, its growth by one more layer, its limit."""
    lasting = chain(IMAGE, layer, 1)[-1].written >= IMAGE
    ends = [(IMAGE - 1) // 2, 0]
    depths = [*range(1, 16), *(deep if lasting else ())]
    paths = {depth: backward(chain(IMAGE, layer, depth))[ends] for depth in depths}
    after = paths[LAYERS]
    ratios = {depth: int(middle) / int(edge) for depth, (middle, edge) in paths.items()}
    first = np.array([ratios[depth] for depth in range(1, LAYERS + 1)])
    kept = chain(IMAGE, layer, 1)[-1].written == IMAGE
    return {
        "middle": str(after[0]),
        "edge": str(after[1]),
        "over_edge": significant(ratios[LAYERS]),
        "over_corner": significant(ratios[LAYERS] ** 2),
        "factor": significant(ratios[LAYERS + 1] / ratios[LAYERS]),
        "fits": fits(first),
        "limit": significant(1 / limit(layer, IMAGE)[0]) if kept else (1.0 if lasting else None),
        "by_depth": [[depth, significant(ratios[depth])] for depth in depths],
    }


def fits(ratios: FloatArray) -> dict[str, float]:
    """Least squares through the logarithms of ratios after one layer, two, three and so on.

    Returns:
        `factor` per layer of the best exponential and `power` of depth of the best power law, each
        with the percent of the variance that it explains.

    Example:
        >>> fits(np.array([3.0, 9.0, 27.0]))["factor"], fits(np.array([1.0, 2.0, 3.0]))["power"]
        (3.0, 1.0)
    """
    depth, height = np.arange(1, len(ratios) + 1), np.log(ratios)
    found = {}
    for name, along in (("factor", depth), ("power", np.log(depth))):
        slope, start = np.polyfit(along, height, 1)
        left = height - slope * along - start
        whole = height.var()
        found[name] = significant(float(np.exp(slope) if name == "factor" else slope))
        found[f"{name}_explains"] = significant(100 * (1 - left.var() / whole) if whole else 0.0)
    return found


def _on_a_large_image(side: int = 224) -> dict[str, Any]:
    """Zeros where the far border is far away: the root of depth, and the limit."""
    layer = padded("zeros", 3)
    near, far = 10, 100
    paths = {depth: backward(chain(side, layer, depth)) for depth in (near, far)}
    ratios = {depth: int(w[side // 2]) / int(w[0]) for depth, w in paths.items()}
    return {
        "side": side,
        "near": near,
        "far": far,
        "near_ratio": significant(ratios[near]),
        "far_ratio": significant(ratios[far]),
        "power": significant(float(np.log10(ratios[far] / ratios[near]))),
        "limit": significant(1 / limit(layer, side)[0]),
    }


def _growth_row(rule: str, found: dict[str, Any]) -> list[Any]:
    keys = ("middle", "edge", "over_edge", "over_corner", "factor", "limit")
    return [rule, *(found[key] for key in keys)]


# --- pooling and the end of the net --------------------------------------------------------------


def pooling(blocks: int = 5) -> dict[str, Any]:
    """Blocks of a convolution with zeros and max pooling, beside the convolutions alone."""
    pooled, plain = (
        _by_block(stack(*(1,) * blocks, pooled=flag), 2 if flag else 1) for flag in (True, False)
    )
    rows = [
        [number, *(found[key] for key in ("over_edge", "over_corner") for found in both)]
        for number, both in enumerate(zip(pooled, plain, strict=True), 1)
    ]
    vgg, flat = (
        spots(count_paths(capture(net, (1, 224, 224))))
        for net in (stack(2, 2, 3, 3, 3), stack(13, pooled=False))
    )
    return {
        "side": POOLED,
        "blocks": blocks,
        "halvings": POOLED.bit_length() - 1,
        "factor": significant(pooled[-1]["over_edge"] / pooled[-2]["over_edge"]),
        "plain_factor": significant(plain[-1]["over_edge"] / plain[-2]["over_edge"]),
        "vgg": {"name": "VGG-16", "side": 224, "convolutions": 13, "poolings": 5, **vgg},
        "plain": flat,
        "table": {
            "header": [
                "blocks",
                "middle / edge, pooled",
                "not pooled",
                "middle / corner, pooled",
                "not pooled",
            ],
            "rows": rows,
        },
    }


def _by_block(net: nn.Sequential, modules: int) -> list[dict[str, Any]]:
    """Paths to the end of each block of so many modules."""
    graph = capture(net, (1, POOLED, POOLED))
    ends = range(modules - 1, len(net), modules)
    return [spots(count_paths(graph, str(end))) for end in ends]


def endings() -> dict[str, Any]:
    """The same ten layers with different ends, a net without layers, and a small classic."""
    body = stack(LAYERS, pooled=False)
    flat = nn.Flatten()
    nets = {
        "one unit in the middle of the last map": (body, (IMAGE // 2,) * 2),
        "global average pooling": (nn.Sequential(body, nn.AdaptiveAvgPool2d(1)), None),
        "a full connection": (nn.Sequential(body, flat, nn.Linear(IMAGE**2, 10)), None),
        "a full connection and no layer before it": (
            nn.Sequential(flat, nn.Linear(IMAGE**2, 10)),
            None,
        ),
        "the small network, flattened": (small_classic(), None),
    }
    found = {
        end: spots(count_paths(capture(net, (1, IMAGE, IMAGE)), "output", place=place))
        for end, (net, place) in nets.items()
    }
    keys = ("middle", "edge", "corner", "over_edge", "over_corner")
    return {
        "classic": "LeNet-5",
        "ends": found,
        "table": {
            "header": [
                "end of the network",
                "paths from the middle",
                "from the edge",
                "from the corner",
                "middle / edge",
                "middle / corner",
            ],
            "rows": [[end, *(row[key] for key in keys)] for end, row in found.items()],
        },
    }
