"""Contact sheets of drawings, and the strips that say which mark is which name."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from placewise.errors import SettingsError
from placewise.report.letters import font_of, lines_of, shortened
from placewise.report.marks import Overlay, draw_keypoint
from placewise.report.style import DARK, LIGHT, RGB, Theme, object_shape

NAMED = 42
"""Points that a legend names."""

GREY: RGB = (140, 140, 140)
"""Colour of a mark in a legend of shapes."""

GAP = 12
"""Pixels between the tiles of a sheet."""


def sheet(
    images: Sequence[Overlay],
    captions: Sequence[str],
    *,
    columns: int | None = None,
    tile: int = 360,
    names: Sequence[str] = (),
    axes: int = 2,
    by_shape: bool = False,
    theme: Theme = LIGHT,
) -> Overlay:
    """A contact sheet: images in rows, each with its caption.

    Args:
        images: (height, width, 3) uint8 each, of any sizes.
        captions: one for each image.
        columns: images in a row; None chooses, at most 4, of signals and volumes 2.
        tile: width in pixels that each image gets, twice that for signals and volumes, whose
            drawings hold words.
        names: points' names for a legend at the bottom.
        axes: of what is drawn: 1 for signals, 2 for images, 3 for volumes.
        by_shape: the shape of a mark says which point it is, its colour whose it is.
        theme: colours.

    Raises:
        SettingsError: no images, or another number of captions.

    Example:
        >>> sheet([np.zeros((30, 60, 3), np.uint8)] * 3, ["a", "b", "c"], columns=2, tile=100).shape
        (188, 236, 3)
    """
    if not images or len(images) != len(captions):
        raise SettingsError(
            f"got {len(images)} images and {len(captions)} captions; needed is at least one "
            "image, and a caption for each"
        )
    columns = columns or min(4 if axes == 2 else 2, int(np.ceil(np.sqrt(len(images)))))
    tile = tile if axes == 2 else 2 * tile
    tiles = [_tile(*pair, tile, theme) for pair in zip(images, captions, strict=True)]
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    width = columns * (tile + GAP) + GAP
    height = sum(max(image.height for image in row) + GAP for row in rows) + GAP
    page, top = Image.new("RGB", (width, height), theme.paper), GAP
    for row in rows:
        for column, image in enumerate(row):
            page.paste(image, (GAP + column * (tile + GAP), top))
        top += max(image.height for image in row) + GAP
    found = np.array(page)
    return np.concatenate([found, legend_of(names, width, theme, by_shape)]) if names else found


def legend_of(
    names: Sequence[str], width: int, theme: Theme = DARK, by_shape: bool = False
) -> Overlay:
    """A strip that says which mark is which point; of many points the first 42.

    Args:
        names: of the points.
        width: of the strip in pixels.
        theme: colours.
        by_shape: the shape of a mark says which point it is, its colour whose it is.

    Example:
        >>> legend_of(["nose", "tail"], 200).shape
        (34, 200, 3)
    """
    return _legend(tuple(names), width, theme, by_shape)


def _tile(pixels: Overlay, caption: str, width: int, theme: Theme) -> Image.Image:
    """An image as wide as its tile and at most one and a half times as high, with its caption."""
    image, font = Image.fromarray(pixels), font_of(13)
    ratio = min(width / image.width, 1.5 * width / image.height)
    size = max(1, round(image.width * ratio)), max(1, round(image.height * ratio))
    lines = lines_of(caption, width, font)
    tile = Image.new("RGB", (width, size[1] + 9 + 17 * len(lines)), theme.paper)
    tile.paste(image.resize(size, Image.Resampling.LANCZOS), (0, 0))
    for number, words in enumerate(lines):
        ImageDraw.Draw(tile).text((0, size[1] + 5 + 17 * number), words, theme.muted, font)
    return tile


@lru_cache(maxsize=8)
def _legend(names: tuple[str, ...], width: int, theme: Theme, by_shape: bool) -> Overlay:
    font, high = font_of(14), 26
    more = [f"and {len(names) - NAMED} more"] if len(names) > NAMED else []
    words = [shortened(name, width - 52, font) for name in [*names[:NAMED], *more]]
    places: list[tuple[int, int]] = []
    x, row = 10, 0
    for word in words:
        end = x + 22 + int(font.getlength(word))
        if x > 10 and end > width - 10:
            end, x, row = end - x + 10, 10, row + 1
        places.append((x, row * high + high // 2 + 4))
        x = end + 18
    strip = Image.new("RGB", (width, (row + 1) * high + 8), theme.paper)
    draw = ImageDraw.Draw(strip)
    for word, (left, middle) in zip(words, places, strict=True):
        draw.text((left + 22, middle), word, theme.ink, font, anchor="lm")
    canvas = np.array(strip)
    for index, (left, middle) in enumerate(places[:NAMED]):
        place, own = np.array([left + 8.0, middle]), object_shape(index) if by_shape else None
        draw_keypoint(canvas, place, index, 5.0, colour=GREY if by_shape else None, shape=own)
    return canvas
