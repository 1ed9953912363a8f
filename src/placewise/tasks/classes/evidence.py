"""Images with the evidence for an answer on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from placewise.geometry import FloatArray
from placewise.report.drawing import SIDE, as_rgb, at_size, stacked
from placewise.report.letters import font_of, shortened
from placewise.report.marks import Overlay
from placewise.report.sheets import GAP
from placewise.report.slices import grey_volume
from placewise.report.style import LIGHT, Theme
from placewise.report.traces import WIDTH, Row, rows_of
from placewise.wording import percent

FOR, AGAINST = (255, 140, 0), (40, 120, 255)
"""Colours of evidence for an answer (orange) and against it (blue)."""

STRONGEST = 0.8
"""Share of the image's pixel that the strongest evidence covers."""

HALF = (240, 480)
"""Least and most pixels of the longer side of each half of a card."""

ROW = 24
"""Pixels from line to line on a card."""


@dataclass(frozen=True)
class Line:
    """A class on a card.

    Attributes:
        name: its name.
        probability: what it was given.
    """

    name: str
    probability: float


def card(
    image: NDArray[np.generic],
    evidence: FloatArray,
    lines: Sequence[Line],
    theme: Theme = LIGHT,
    spacing: Sequence[float] | None = None,
    axes: str = "",
) -> Overlay:
    """An image, the same with the evidence on it, and the likeliest classes below.

    A signal or a volume is shown once, with the evidence on it, which hides nothing there.

    Args:
        image: (height, width, channels) uint8, uint16 or float in 0..1; a signal or a volume.
        evidence: (*size), as in `answered`.
        lines: classes, the likeliest first.
        theme: colours.
        spacing: of a signal the seconds between two samples; None: not known.
        axes: what runs up and to the right, where that is not the image's height and width.

    Returns:
        (height, width, 3) uint8.

    Example:
        >>> card(np.zeros((24, 24, 1), np.uint8), np.ones((24, 24)), [Line("cat", 0.9)]).shape
        (272, 492, 3)
    """
    halves = [answered(image, evidence, HALF, spacing)]
    if image.ndim == 3:
        halves.insert(0, answered(image, side=HALF))
    height, width = halves[0].shape[:2]
    wide = len(halves) * (width + GAP) - GAP
    below = height + (ROW if axes else 0)
    page = Image.new("RGB", (wide, below + ROW * len(lines) + 8), theme.paper)
    for number, half in enumerate(halves):
        page.paste(Image.fromarray(half), (number * (width + GAP), 0))
    draw, font = ImageDraw.Draw(page), font_of(14)
    draw.text((4, height + ROW // 2 + 2), axes, theme.muted, font, anchor="lm")
    start = (wide + GAP) // 2
    for number, line in enumerate(lines):
        middle = below + ROW * number + ROW // 2 + 6
        words = percent(line.probability)
        name = shortened(line.name, start - GAP - 8, font)
        draw.text((4, middle), name, theme.ink, font, anchor="lm")
        room = page.width - start - int(font.getlength(words)) - 10
        long = max(2, round(line.probability * room))
        colour = theme.first if number == 0 else theme.line
        draw.rectangle((start, middle - 6, start + long, middle + 6), fill=colour)
        draw.text((start + long + 8, middle), words, theme.ink, font, anchor="lm")
    return np.array(page)


def answered(
    image: NDArray[np.generic],
    evidence: FloatArray | None = None,
    side: tuple[int, int] = SIDE,
    spacing: Sequence[float] | None = None,
) -> Overlay:
    """An image as it is shown, with the evidence for an answer laid over it.

    Where there is evidence the image is drawn in grey, so that its own colours are not taken for
    evidence. Small images are enlarged by a whole number.

    Args:
        image: (height, width, channels) uint8, uint16 or float in 0..1; a signal or a volume of any
            numbers.
        evidence: (*size); positive speaks for the answer, negative against it. The strongest
            place is drawn as strongly as can be, whatever its number.
        side: least and most pixels of the longer side of the drawing.
        spacing: of a signal the seconds between two samples; None: not known.

    Returns:
        (height, width, 3) uint8.

    Example:
        >>> answered(np.zeros((4, 8, 1), np.uint8), np.ones((4, 8)), side=(16, 16)).shape
        (8, 16, 3)
    """
    if image.ndim == 2:
        rows = rows_of(image, seconds=spacing[0] if spacing else None)
        for one in rows if evidence is not None else ():
            _tint(one, evidence if evidence is not None else np.zeros(len(image)))
        return at_size(stacked([one.canvas for one in rows]), (1, max(side[1], WIDTH)))
    if evidence is None:
        return at_size(as_rgb(image), side)
    if image.ndim == 4:
        grey = np.repeat(grey_volume(image).mean(-1, keepdims=True), 3, axis=-1)
        return as_rgb(_laid_over(grey.astype(np.uint8), evidence))
    return at_size(_laid_over(as_rgb(image), evidence), side)


def _tint(one: Row, evidence: FloatArray) -> None:
    """Colour the ground of a part of a signal by what speaks for the answer or against it."""
    width = one.canvas.shape[1]
    at = one.start + (np.arange(width) + 0.5) * (one.stop - one.start) / width - 0.5
    values = np.interp(at, np.arange(len(evidence)), evidence)
    strongest = float(np.abs(evidence).max()) or 1.0
    share = STRONGEST / 2 * np.abs(values)[None, :, None] / strongest
    colour = np.where(values[:, None] > 0, np.array(FOR), np.array(AGAINST))[None]
    one.canvas[:] = np.rint(one.canvas * (1 - share) + colour * share)


def _laid_over(shown: Overlay, evidence: FloatArray) -> Overlay:
    """Grey mixed with the colour of what speaks for the answer or against it."""
    strongest = float(np.abs(evidence).max()) or 1.0
    share = STRONGEST * np.abs(evidence)[..., None] / strongest
    colour = np.where(evidence[..., None] > 0, np.array(FOR), np.array(AGAINST))
    grey = shown.mean(-1, keepdims=True)
    mixed: Overlay = np.rint(grey * (1 - share) + colour * share).astype(np.uint8)
    return mixed
