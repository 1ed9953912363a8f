"""The figures of the study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from placewise.geometry import FloatArray
from placewise.report.canvas import png
from studies._figures import COLOURS, INK, MUTED, logarithmic, name_lines, panels, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Numbers = Mapping[str, Any]


def triangles(pascal: Numbers) -> bytes:
    """The paths to one unit, drawn as triangles: the unit above, the image below."""
    figure, frames = panels(10, 4.2, columns=2, ratios=(1, 1.8))
    for axes, size in zip(frames, ("two", "three"), strict=True):
        found = pascal[size]
        title(axes, f"windows of {found['window']}")
        axes.set_axis_off()
        for depth, row in enumerate(found["rows"]):
            places = np.arange(len(row)) - (len(row) - 1) / 2
            shades = np.log([int(paths) + 1 for paths in row]) / np.log(int(found["middle"]) + 1)
            axes.scatter(places, [-depth] * len(row), s=560, c=[_blue(shade) for shade in shades])
            for place, paths, shade in zip(places, row, shades, strict=True):
                colour = "white" if shade > 0.6 else INK
                axes.text(place, -depth, paths, ha="center", va="center", fontsize=9, color=colour)
        wide, high = len(found["rows"][-1]) / 2, len(found["rows"])
        axes.set(xlim=(-wide - 0.1, wide + 0.1), ylim=(0.5 - high, 0.5))
    return png(figure)


def _blue(shade: float) -> tuple[float, float, float]:
    light, dark = np.array([0.87, 0.93, 0.97]), np.array([0.0, 0.35, 0.6])
    red, green, blue = light + (dark - light) * shade
    return float(red), float(green), float(blue)


def windows(wide: Numbers) -> bytes:
    """How many windows hold a pixel, along one axis."""
    figure, (axes,) = panels(6.5, 2.6)
    axes.step(
        np.arange(wide["side"]), [int(w) for w in wide["along"]], where="mid", color=COLOURS[0]
    )
    axes.set(xlabel="pixel", ylabel="windows that contain it", xlim=(0, wide["side"] - 1))
    axes.set_ylim(0, wide["per_axis"] + 1)
    axes.set_yticks(range(0, wide["per_axis"] + 1, wide["per_axis"] // 4))
    axes.set_xticks([*range(0, wide["side"], wide["side"] // 4), wide["side"] - 1])
    return png(figure)


def growth(found: Numbers, rules: Sequence[str]) -> bytes:
    """Middle over edge by depth: all rules over some layers, those that last over many."""
    figure, (near, far) = panels(10, 3.8, columns=2)
    flat = [rule for rule in rules if found[rule]["over_edge"] == 1]
    steep = [rule for rule in rules if rule not in flat]
    for axes, last, shown in ((near, 15, steep), (far, found["deepest"], steep[1:])):
        logarithmic(axes)
        axes.axhline(1, color=COLOURS[3], linewidth=1.8)
        ends = [(last, 1.0, "the others", COLOURS[3])]
        for rule in shown:
            colour = COLOURS[steep.index(rule)]
            points = np.array([point for point in found[rule]["by_depth"] if point[0] <= last])
            axes.plot(*points.T, color=colour, linewidth=1.8)
            ends.append((*points[-1], rule, colour))
        axes.set_xlim(1, last)
        name_lines(axes, ends, 0.07)
        axes.set(xlabel="layers", ylabel="paths from the middle / from the edge")
    logarithmic(far, "x")
    far.set_yticks([1, 2, 5, 10], labels=["1", "2", "5", "10"])
    for rule in ("zeros", "reflect"):
        far.axhline(found[rule]["limit"], color=MUTED, linestyle=":", linewidth=1.2)
    title(near, "a few layers")
    title(far, "many layers; dotted: the limits")
    return png(figure)


LINES = (
    ("roots", "expected: roots of the path counts", INK),
    ("untrained", "random weights", COLOURS[3]),
    ("trained", "trained", COLOURS[0]),
    ("moved", "trained, images moved", COLOURS[1]),
)


def trained(first: Numbers, maps: Mapping[str, FloatArray]) -> bytes:
    """Maps of the first residual net, and their rings from the border inwards."""
    from matplotlib.colors import LogNorm

    figure, frames = panels(10, 3.4, columns=4, ratios=(1, 1, 1, 1.6))
    shown = (("paths", "expected"), ("untrained", "random weights"), ("moved", "trained"))
    for axes, (key, name) in zip(frames, shown, strict=False):
        values = maps[key] / np.median(maps[key])
        image = axes.imshow(values, cmap="cividis", norm=LogNorm(0.1, 2.0))
        axes.grid(visible=False)
        axes.set(xticks=[], yticks=[])
        axes.spines["bottom"].set_visible(False)
        title(axes, name)
    bar = figure.colorbar(image, ax=frames[:3], location="bottom", shrink=0.6, aspect=40, pad=0.04)
    bar.set_ticks([0.1, 0.2, 0.5, 1, 2], labels=["0.1", "0.2", "0.5", "1", "2"])
    bar.ax.minorticks_off()
    bar.set_label("relative to the median", color=INK, fontsize=9)
    _rings(frames[3], first)
    return png(figure)


def _rings(axes: Axes, first: Numbers) -> None:
    for key, name, colour in LINES:
        axes.plot(
            first[key]["rings"],
            color=colour,
            label=name,
            linewidth=1.8,
            linestyle="--" if key == "roots" else "-",
        )
    axes.set(xlabel="pixels from the border", ylabel="relative to the middle", ylim=(0, 1.2))
    axes.set_xticks(range(0, len(first["roots"]["rings"]), 5))
    axes.legend(frameon=False, fontsize=8, loc="lower right", labelcolor=INK)


def digits(arms: Sequence[Numbers]) -> bytes:
    """Middle over edge of the small nets: expected, before and after training."""
    figure, (axes,) = panels(7, 2.9)
    logarithmic(axes, "x")
    for row, arm in enumerate(reversed(arms)):
        expected = arm["roots"]["over_edge"]
        axes.plot(
            [expected] * 2,
            [row - 0.3, row + 0.3],
            color=INK,
            linewidth=2,
            label="expected: roots of the path counts" if not row else None,
        )
        for key, marker, colour, name in (
            ("before", "o", COLOURS[3], "random weights"),
            ("after", "D", COLOURS[0], "trained"),
        ):
            axes.plot(
                arm[key]["over_edge"],
                row,
                marker,
                color=colour,
                markersize=7,
                linestyle="none",
                label=None if row else name,
            )
    names = [f"{arm['padding']}, {arm['end']}" for arm in reversed(arms)]
    axes.set_yticks(range(len(arms)), names)
    axes.grid(axis="y", visible=False)
    axes.set(xlabel="sensitivity in the middle / at the edge")
    axes.set_xticks([1, 2, 5, 10, 20, 50], labels=["1", "2", "5", "10", "20", "50"])
    axes.set_ylim(-0.6, len(arms) - 0.4)
    axes.legend(frameon=False, fontsize=9, loc="upper right", labelcolor=INK)
    return png(figure)


def sound(found: Numbers) -> bytes:
    """Sensitivity along time: a word at the start, and a word anywhere."""
    figure, frames = panels(10, 3.0, columns=2)
    places = (np.arange(found["parts"]) + 0.5) * found["samples"] / found["parts"] / found["hertz"]
    names = {"start": "the word is at the start", "anywhere": "the word is anywhere"}
    for axes, (where, name) in zip(frames, names.items(), strict=True):
        net = found["nets"][where]
        if where == "start":
            axes.fill_between(
                places, 0, found["loudness"], color=MUTED, alpha=0.25, linewidth=0, label="loudness"
            )
        axes.plot(
            places,
            found["roots"]["parts"],
            "--",
            color=INK,
            label="expected: roots of the path counts",
        )
        axes.plot(places, net["before"]["parts"], color=COLOURS[3], label="random weights")
        axes.plot(places, net["after"]["parts"], color=COLOURS[0], label="trained")
        axes.set(xlabel="seconds", ylabel="relative to the mean")
        axes.set_ylim(0)
        title(axes, name)
    frames[0].legend(frameon=False, fontsize=9, labelcolor=INK)
    return png(figure)
