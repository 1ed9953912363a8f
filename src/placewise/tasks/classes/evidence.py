"""Images with the evidence for an answer on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from placewise.geometry import FloatArray
from placewise.report.drawing import GAP, SIDE, as_rgb, at_size, font_of, shortened
from placewise.report.marks import Overlay
from placewise.report.style import LIGHT, Theme
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
    image: NDArray[np.generic], evidence: FloatArray, lines: Sequence[Line], theme: Theme = LIGHT
) -> Overlay:
    """An image, the same with the evidence on it, and the likeliest classes below.

    Args:
        image: (height, width, channels) uint8, uint16 or float in 0..1.
        evidence: (height, width), as in `answered`.
        lines: classes, the likeliest first.
        theme: colours.

    Returns:
        (height, width, 3) uint8.

    Example:
        >>> card(np.zeros((24, 24, 1), np.uint8), np.ones((24, 24)), [Line("cat", 0.9)]).shape
        (272, 492, 3)
    """
    halves = [answered(image, side=HALF), answered(image, evidence, side=HALF)]
    height, width = halves[0].shape[:2]
    page = Image.new("RGB", (2 * width + GAP, height + ROW * len(lines) + 8), theme.paper)
    for half, left in zip(halves, (0, width + GAP), strict=True):
        page.paste(Image.fromarray(half), (left, 0))
    draw, font = ImageDraw.Draw(page), font_of(14)
    for number, line in enumerate(lines):
        middle = height + ROW * number + ROW // 2 + 6
        words = percent(line.probability)
        draw.text((4, middle), shortened(line.name, width - 8, font), theme.ink, font, anchor="lm")
        start = width + GAP
        room = page.width - start - int(font.getlength(words)) - 10
        long = max(2, round(line.probability * room))
        colour = theme.first if number == 0 else theme.line
        draw.rectangle((start, middle - 6, start + long, middle + 6), fill=colour)
        draw.text((start + long + 8, middle), words, theme.ink, font, anchor="lm")
    return np.array(page)


def answered(
    image: NDArray[np.generic], evidence: FloatArray | None = None, side: tuple[int, int] = SIDE
) -> Overlay:
    """An image as it is shown, with the evidence for an answer laid over it.

    Where there is evidence the image is drawn in grey, so that its own colours are not taken for
    evidence. Small images are enlarged by a whole number.

    Args:
        image: (height, width, channels) uint8, uint16 or float in 0..1.
        evidence: (height, width); positive speaks for the answer, negative against it. The
            strongest place is drawn as strongly as can be, whatever its number.
        side: least and most pixels of the longer side of the drawing.

    Returns:
        (height, width, 3) uint8.

    Example:
        >>> answered(np.zeros((4, 8, 1), np.uint8), np.ones((4, 8)), side=(16, 16)).shape
        (8, 16, 3)
    """
    shown = as_rgb(image)
    if evidence is not None:
        shown = _laid_over(shown, evidence)
    return at_size(shown, side)


def _laid_over(shown: Overlay, evidence: FloatArray) -> Overlay:
    """Grey mixed with the colour of what speaks for the answer or against it."""
    strongest = float(np.abs(evidence).max()) or 1.0
    share = STRONGEST * np.abs(evidence)[..., None] / strongest
    colour = np.where(evidence[..., None] > 0, np.array(FOR), np.array(AGAINST))
    grey = shown.mean(2, keepdims=True)
    mixed: Overlay = np.rint(grey * (1 - share) + colour * share).astype(np.uint8)
    return mixed
