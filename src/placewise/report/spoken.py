"""Reports in the words of what was looked at: recordings have samples and ends, volumes voxels."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Any, TypeVar

from placewise.report.parts import Legend, Report

P = TypeVar("P")

WORDS = {
    "samples": {
        "image": "recording",
        "pixel": "sample",
        "px": "samples",
        "border": "ends",
        "shorter side": "length",
        "side of its square": "length",
        "a corner": "an end",
        "corner": "end",
    },
    "voxels": {
        "image": "volume",
        "pixel": "voxel",
        "px": "voxels",
        "side of its square": "side of its cube",
    },
}
"""What is said instead, by what the pixels are called."""


def spoken(report: Report, unit: str, names: Iterable[str] = ()) -> Report:
    """The report with words that suit signals or volumes.

    Args:
        report: in words that suit images.
        unit: what its pixels are called: "px", "samples" or "voxels".
        names: what the user calls things (keypoints, classes): they stay as they are, and so do
            names of files. One that is itself such a word is known in a cell of its own, in
            quotation marks, and before a colon or a number in brackets.

    Example:
        >>> spoken(Report("", "On 2 images the error is 3 px.", []), "voxels").verdict
        'On 2 volumes the error is 3 voxels.'
        >>> report = Report("", "The border of 'left border' in image.npz.", [])
        >>> spoken(report, "samples", ["left border"]).verdict
        "The ends of 'left border' in image.npz."
        >>> said(["px", "px: 3 px", "the tolerance is 3 px of 'px'"], "samples", ["px"])
        ['px', 'px: 3 samples', "the tolerance is 3 samples of 'px'"]
    """
    return replace(said(report, unit, names), title=report.title)


def said(part: P, unit: str, names: Iterable[str] = ()) -> P:
    """A sentence, rows of a table, or a part of a report in such words; see `spoken`.

    Example:
        >>> said([["field", "12 px of the image"]], "samples")
        [['field', '12 samples of the recording']]
        >>> said("the middle has twice the paths of a corner; side of its square", "samples")
        'the middle has twice the paths of an end; length'
    """
    if unit not in WORDS:
        return part
    words = "|".join(WORDS[unit])
    given = sorted(filter(None, names), key=len, reverse=True)
    alike = [name for name in given if re.fullmatch(f"(?i:{words})s?", name)]
    kept = "|".join(re.escape(name) for name in given if name not in alike) or "(?!)"
    same = "|".join(map(re.escape, alike)) or "(?!)"
    pattern = re.compile(
        rf"(?P<name>\b(?:{kept})\b|^(?:{same})$|'(?:{same})'|\b(?:{same})(?=: | \(\d))"
        rf"|(?<![\w./\\-])(?P<article>an )?(?P<word>(?i:{words}))(?P<plural>s?)(?![\w/\\-]|\.\w)"
    )
    changed: P = _changed(part, pattern, WORDS[unit])
    return changed


def _changed(part: Any, pattern: re.Pattern[str], words: dict[str, str]) -> Any:
    """A part with every sentence in other words; names in a legend, and pictures, stay."""
    if isinstance(part, str):
        return pattern.sub(partial(_word, words), part)
    if isinstance(part, list | tuple):
        return type(part)(_changed(one, pattern, words) for one in part)
    if is_dataclass(part) and not isinstance(part, type | Legend):
        held = {field.name: getattr(part, field.name) for field in fields(part)}
        return replace(part, **{name: _changed(one, pattern, words) for name, one in held.items()})
    return part


def _word(words: dict[str, str], match: re.Match[str]) -> str:
    """The other word, with article, capital and plural like the word that it replaces."""
    if match["name"]:
        return match["name"]
    article, word, plural = match["article"] or "", match["word"], match["plural"]
    found = words[word.lower()]
    found += "" if found.endswith("s") else plural
    return article.replace("n ", " ") + (found.capitalize() if word[0].isupper() else found)
