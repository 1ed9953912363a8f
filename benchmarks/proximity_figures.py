"""Images of connections: plain numbers in, bytes of a PNG out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import torch

from placewise.layers.proximity import Proximity
from placewise.report.style import LIGHT, Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 110


def lengths_figure(
    lengths: Mapping[str, torch.Tensor], pairs: torch.Tensor, theme: Theme = LIGHT
) -> bytes:
    """How many connections span which distance, beside what chance alone would give.

    Args:
        lengths: name of a state (e.g. "before") to the lengths of its connections.
        pairs: distances of all pairs of units, of any shape.
        theme: colours.

    Example:
        >>> lengths_figure({"before": torch.rand(50)}, torch.rand(50, 50))[1:4]
        b'PNG'
    """
    figure, (axes,) = _figure(1, (5.0, 3.4), theme)
    edges = np.linspace(0, float(pairs.max()), 31)
    chance, _ = np.histogram(pairs.flatten().cpu().numpy(), edges)
    axes.stairs(chance / chance.sum(), edges, fill=True, color=theme.line, label="any two units")
    for colour, (name, found) in zip(
        (theme.first, theme.second, theme.third), lengths.items(), strict=False
    ):
        counts, _ = np.histogram(found.detach().flatten().cpu().numpy(), edges)
        axes.stairs(counts / counts.sum(), edges, color=colour, linewidth=1.8, label=name)
    axes.set_xlabel("length of a connection")
    axes.set_ylabel("share of connections")
    axes.set_xlim(0, edges[-1])
    axes.set_ylim(bottom=0)
    figure.legend(
        frameon=False, labelcolor=theme.ink, fontsize=8, loc="outside upper left", ncols=2
    )
    return _png(figure)


def connections_figure(
    layers: Mapping[str, Proximity], units: Sequence[int], theme: Theme = LIGHT
) -> bytes:
    """Which inputs some units read: keypoints at the inputs, lines to where each unit lies.

    Args:
        layers: caption to layer.
        units: numbers of the units that are drawn.
        theme: colours.

    Example:
        >>> from placewise.layers.proximity import Nearness, Places
        >>> layer = Proximity(Places((4, 4)), Places((4, 4)), 3, Nearness(1.0))
        >>> connections_figure({"λ = 1": layer}, [5])[1:4]
        b'PNG'
    """
    figure, panels = _figure(len(layers), (2.6 * len(layers), 2.9), theme)
    colours = (theme.first, theme.second, theme.third)
    for axes, (caption, layer) in zip(panels, layers.items(), strict=True):
        sheet, homes = layer.inputs.drawn().numpy(), layer.outputs.drawn().numpy()
        axes.plot(*sheet.T, ".", color=theme.line, markersize=3)
        for number, unit in enumerate(units):
            colour = colours[number % len(colours)]
            read = sheet[layer.index[unit].cpu().numpy()]
            for x, y in read:
                axes.plot([homes[unit][0], x], [homes[unit][1], y], color=colour, linewidth=0.7)
            axes.plot(*read.T, "o", color=colour, markersize=3)
            axes.plot(*homes[unit], "s", color=theme.ink, markersize=4)
        axes.set_title(caption, color=theme.ink, fontsize=10)
        axes.set_aspect("equal")
        axes.invert_yaxis()
        axes.set_axis_off()
    return _png(figure)


def _figure(panels: int, size: tuple[float, float], theme: Theme) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=DPI, layout="constrained", facecolor=theme.paper)
    row = [figure.add_subplot(1, panels, number + 1) for number in range(panels)]
    for axes in row:
        axes.set_facecolor(theme.paper)
        axes.tick_params(colors=theme.muted, labelsize=8)
        axes.xaxis.label.set_color(theme.muted)
        axes.yaxis.label.set_color(theme.muted)
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(theme.line)
    return figure, row


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
