"""Left and right, guessed from the names of points."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_SIDE = re.compile(r"left|right|(?<![a-z])[lr]|[lr](?![a-z])", re.IGNORECASE)
_WORD = re.compile(
    r"(?i:(?<![a-z])(?:left|right)|(?:left|right)(?![a-z]))|(?<![A-Za-z])[LRlr](?![A-Za-z])"
    r"|(?<=[a-z])[LR](?![A-Za-z])|(?<![A-Za-z])[LR](?=[A-Z][a-z])"
)
"""A mark of a side that stands apart in a name: `left_eye`, `eyeLeft`, `l.wrist`, `earR`."""

_LEFT = {"right": "left", "r": "l"}
_RIGHT = {left: right for right, left in _LEFT.items()}


def guess_symmetry(names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Pairs of names that change places when an image is mirrored.

    Two names are a pair if they differ in one mark of a side: `left` and `right` anywhere, or `l`
    and `r` at the beginning or end of a run of letters, in any case. A name that could be paired
    with several is not paired, and nor are they.

    Args:
        names: the points' names.

    Returns:
        (left, right) pairs, in the order of the left names.

    Example:
        >>> guess_symmetry(["nose", "leftear", "rightear", "eye_R", "eye_L"])
        (('leftear', 'rightear'), ('eye_L', 'eye_R'))
        >>> guess_symmetry(["left_l", "left_r", "right_l", "right_r"])
        ()
    """
    partners = {name: _mirrored(name, _LEFT | _RIGHT) & set(names) for name in names}
    return tuple(
        (name, right)
        for name in names
        for right in _mirrored(name, _RIGHT) & partners[name]
        if partners[name] == {right} and partners[right] == {name}
    )


def unpaired(names: Sequence[str], symmetry: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Names that carry a side and have no partner: a mirror would make them wrong.

    Where nothing is paired at all, a name that looks like a side may be a word (`right_now`), and
    nothing is mirrored anyway. Where a pair has its letter without a break (`Lhand`, `Rhand`),
    every name with such a letter at the same end may be a side.

    Args:
        names: of the keypoints.
        symmetry: pairs of names that change places in a mirror.

    Example:
        >>> unpaired(["nose", "left_eye", "right_eye", "left_wrist"], [("left_eye", "right_eye")])
        ('left_wrist',)
        >>> unpaired(["Nose", "Lhand", "Rhand", "Lfoot"], [("Lhand", "Rhand")])
        ('Lfoot',)
    """
    paired = {name for pair in symmetry for name in pair}
    glued = {
        (end, letters)
        for left, right in symmetry
        for end in (0, -1)
        for letters in ("lr", "LR")
        if left[end] != right[end] and {left[end], right[end]} == set(letters)
        if not _WORD.search(left)
    }
    return tuple(
        name
        for name in names
        if name not in paired
        and (_WORD.search(name) or any(name[end] in letters for end, letters in glued))
    )


def mirror_order(names: Sequence[str], symmetry: Sequence[tuple[str, str]]) -> NDArray[np.intp]:
    """Which keypoint each one becomes when the image is mirrored.

    Example:
        >>> mirror_order(["tail", "left", "right"], [("left", "right")]).tolist()
        [0, 2, 1]
    """
    order = np.arange(len(names))
    for first, second in symmetry:
        a, b = list(names).index(first), list(names).index(second)
        order[a], order[b] = b, a
    return order


def _mirrored(name: str, sides: dict[str, str]) -> set[str]:
    """The names that differ from this one in one mark of a side."""
    found = set()
    for match in _SIDE.finditer(name):
        side = sides.get(match[0].lower())
        if side:
            found.add(name[: match.start()] + _like(match[0], side) + name[match.end() :])
    return found


def _like(model: str, word: str) -> str:
    """The word in the case of the model: left, Left or LEFT."""
    if model.isupper():
        return word.upper()
    return word.capitalize() if model[0].isupper() else word
