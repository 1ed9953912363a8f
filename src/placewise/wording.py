"""Numbers and names as people read them: one way to write each, for tables, pages and messages."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any

PIXELS_OF = {1: "samples", 2: "px", 3: "voxels"}
"""What the pixels of a signal, an image and a volume are called."""

IMAGES_OF = {1: "recordings", 2: "images", 3: "volumes"}
"""What signals, images and volumes are called, by their number of axes."""


def number(value: float | None, digits: int = 3) -> str:
    """A number with a few digits, whole from 100 on; a count in full; a dash for none.

    Example:
        >>> number(7), number(7.0)
        ('7', '7.0')
        >>> number(1.9384), number(143.52), number(12345.6), number(0.0), number(None)
        ('1.94', '144', '12,346', '0', '–')
        >>> number(0.000012)
        '< 0.001'
    """
    if value is None or value != value:
        return "–"
    if isinstance(value, Integral):
        return f"{value:,}"
    if value == 0 or abs(value) == float("inf"):
        return f"{value:.0f}"
    if abs(value) < 1e-3:
        return "< 0.001"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{float(f'{value:.{digits}g}')}"


def sides_of(size: Sequence[int]) -> str:
    """A size as one says it: the width first.

    Example:
        >>> sides_of((240, 320)), sides_of((4096,)), sides_of((36, 50, 35))
        ('320×240 px', '4,096 samples', '35×50×36 voxels')
    """
    return (
        f"{'×'.join(f'{side:,}' if len(size) == 1 else str(side) for side in size[::-1])} "
        + (PIXELS_OF[len(size)])
    )


def counted(count: int, what: str) -> str:
    """A number of things, which are named in the plural.

    Example:
        >>> counted(1, "kinds of spots"), counted(1, "classes"), counted(3, "keypoints")
        ('1 kind of spots', '1 class', '3 keypoints')
    """
    first, *rest = what.split(" ")
    if count == 1:
        first = first.removesuffix("es" if first.endswith("sses") else "s")
    return " ".join([f"{count:,}", first, *rest])


def begun(sentence: str) -> str:
    """A sentence with its first letter large.

    Example:
        >>> begun("a layer, A and B")
        'A layer, A and B'
    """
    return sentence[:1].upper() + sentence[1:]


def share(value: float | None) -> str:
    """A share of 1 as percent.

    Example:
        >>> share(0.9871), share(1.0), share(None)
        ('98.7 %', '100 %', '–')
    """
    if value is None or value != value:
        return "–"
    return f"{100 * value:.3g} %"


def span(band: Mapping[str, Any]) -> str:
    """A band of distances from the border, as shares of the way to the middle.

    Args:
        band: of `by_border_distance` in `metrics.json`.

    Example:
        >>> span({"from_share": 0.05, "to_share": 0.1})
        '5–10 %'
    """
    return f"{100 * band['from_share']:.3g}–{100 * band['to_share']:.3g} %"


def percent(probability: float) -> str:
    """A probability to a tenth of a percent.

    Example:
        >>> percent(0.9996), percent(0.5123), percent(0.0001)
        ('> 99.9 %', '51.2 %', '< 0.1 %')
    """
    if 0.999 < probability < 1:
        return "> 99.9 %"
    return "< 0.1 %" if probability < 0.001 else share(round(probability, 3))


def printable(words: str) -> str:
    r"""Words without anything that steers a terminal or turns the direction of writing.

    Example:
        >>> printable("nose\x1b[31m \u202egnp")
        'nose\\x1b[31m \\u202egnp'
    """
    if words.isprintable():
        return words
    hidden = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    return "".join(
        letter.encode("unicode_escape").decode()
        if unicodedata.category(letter) in hidden
        else letter
        for letter in words
    )


def enumerated(names: Sequence[str]) -> str:
    """Names in a sentence.

    Example:
        >>> enumerated(["nose"]), enumerated(["nose", "tail", "paw"])
        ('nose', 'nose, tail and paw')
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def natural(name: str) -> tuple[list[str | int], str]:
    """Key of the order in which people count: 2 before 10.

    Example:
        >>> sorted(["frame10.png", "frame9.png", "Frame1.png"], key=natural)
        ['Frame1.png', 'frame9.png', 'frame10.png']
    """
    parts = re.split(r"([0-9]+)", name.casefold())
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


def did_you_mean(name: str, names: Iterable[str], most: int = 1) -> str:
    """A question after a message about an unknown name: the nearest names; empty if none is near.

    Example:
        >>> did_you_mean("reflekt", ["zeros", "reflect"])
        " Did you mean 'reflect'?"
        >>> did_you_mean("qqq", ["zeros", "reflect"])
        ''
    """
    close = difflib.get_close_matches(name, list(names), n=most)
    return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
