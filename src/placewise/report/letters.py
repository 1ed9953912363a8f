"""Letters on drawings: their font, and words that fit into a width."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

from placewise.wording import printable


@lru_cache(maxsize=4)
def font_of(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and knows many alphabets.

    It is looked for without importing matplotlib, which takes longer than a drawing of one image.
    """
    spec = find_spec("matplotlib")
    data = Path(spec.origin).with_name("mpl-data") if spec and spec.origin else None
    if data is None or not data.is_dir():
        import matplotlib

        data = Path(matplotlib.get_data_path())
    return ImageFont.truetype(str(data / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


def shortened(words: str, width: float, font: ImageFont.FreeTypeFont) -> str:
    """Words that fit into a width; what is left out of their middle is an ellipsis."""
    words = printable(words)[:500]
    if font.getlength(words) <= width:
        return words
    keep = len(words) // 2
    while keep > 1 and font.getlength(f"{words[:keep]}…{words[-keep:]}") > width:
        keep -= 1
    return f"{words[:keep]}…{words[-keep:]}"


def lines_of(caption: str, width: float, font: ImageFont.FreeTypeFont) -> list[str]:
    """A caption in one line, or in two: the name of an image, and what is said of it.

    A name that is too long loses its start, because the last letters of a path tell files apart.

    Args:
        caption: a name, or "NAME: note", or "NAME (note)".
        width: of a line in pixels.
        font: of the letters.

    Example:
        >>> name, note = lines_of("cells/a_long_name_7.png (two spots?)", 150, font_of(13))
        >>> name[0], name.endswith("name_7.png"), note
        ('…', True, '(two spots?)')
    """
    words = printable(caption)[:500]
    if font.getlength(words) <= width:
        return [words]
    cuts = [words.find(mark) + shift for mark, shift in ((": ", 2), (" (", 1)) if mark in words]
    name, note = (words[: min(cuts)], words[min(cuts) :]) if cuts else (words, "")
    name, kept = name.strip(), len(name.strip())
    while kept > 1 and font.getlength(f"…{name[-kept:]}") > width:
        kept -= 1
    short = name if font.getlength(name) <= width else f"…{name[-kept:]}"
    return [short, shortened(note, width, font)] if note else [short]
