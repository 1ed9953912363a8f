"""Figures: points more than the reference; an image with what is right, missed and invented."""

from __future__ import annotations

from collections.abc import Sequence

from placewise.report.canvas import png
from placewise.report.drawing import as_rgb
from placewise.report.outlines import error_map
from studies._figures import INK, MUTED, measured_rows, panels, title
from studies.vessels.read import MEASURES, example
from studies.vessels.runs import REFERENCE, WAYS
from studies.vessels.told import Found

WIDTH, LEFT = 2.4, 2.4
"""Inches of a panel, and of the names of the arms beside the first."""

SHOWN = (REFERENCE, "cldice", "maps_4", "no_skips")
"""Arms whose masks are drawn."""

SIDE = 2.6
"""Inches of an image."""


def differences(found: Found) -> bytes:
    """Each arm minus the reference, a panel for each measure."""
    figure, frames = panels(
        LEFT + WIDTH * len(MEASURES), 1.2 + 0.3 * len(found.others), columns=len(MEASURES)
    )
    for axes, (name, said) in zip(frames, MEASURES.items(), strict=True):
        measured_rows(axes, {WAYS[arm].said: found.more(arm, name) for arm in found.others})
        axes.axvline(0, color=MUTED, linewidth=1.2)
        if axes is not frames[0]:
            axes.set_yticklabels([])
        title(axes, said)
    figure.supxlabel(f"points more than {WAYS[REFERENCE].said}", fontsize=9.5, color=INK)
    return png(figure)


def examples(found: Sequence[Found]) -> bytes:
    """One test image of each set: as it is, and what the first seed of some arms finds in it."""
    columns = 1 + len(SHOWN)
    figure, frames = panels(SIDE * columns, 2.9 * len(found), columns=columns * len(found))
    for axes in frames:
        axes.remove()
    grid = figure.add_gridspec(len(found), columns)
    for row, one in enumerate(found):
        for column, arm in enumerate((None, *SHOWN)):
            axes = figure.add_subplot(grid[row, column])
            axes.set_axis_off()
            run = one.trained.run(arm or REFERENCE, 0)
            pixels, truth, mask = example(run, one.trained.data)
            shown = as_rgb(pixels)
            if arm is not None:
                shown = error_map(shown, truth > 0, mask > 0, truth >= 0)
            axes.imshow(shown, interpolation="nearest")
            title(axes, one.name if arm is None else WAYS[arm].said)
    return png(figure)
