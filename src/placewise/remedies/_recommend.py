"""Which remedy to use: the one that meets given conditions and changes the output least."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from placewise import __version__
from placewise.auditing import Audit, Condition, audit
from placewise.errors import SettingsError, ShapeError
from placewise.graph import feed
from placewise.remedies._effect import effect_of, probes
from placewise.remedies._exchange import Remedy
from placewise.remedies._mend import TRAIN, Mended, changed, mended
from placewise.report.text import table
from placewise.wording import share

PADDINGS_TRIED = ("symmetric", "replicate", "circular", "partial")
"""Padding rules that are tried; of those that change the output equally, the first comes first."""


@dataclass(frozen=True, eq=False)
class Tried:
    """One remedy that was tried.

    Attributes:
        remedy: in words.
        missed: conditions that do not hold, with the numbers, or why it is impossible.
        mended: the copy, and how much it changes the output; None if it is impossible.
    """

    remedy: str
    missed: tuple[str, ...]
    mended: Mended | None

    @property
    def works(self) -> bool:
        """Whether all conditions hold."""
        return self.mended is not None and not self.missed


@dataclass(frozen=True, eq=False)
class Recommendation:
    """Which remedy meets the conditions.

    Attributes:
        conditions: as they were given.
        tried: remedies, those that change the output least first, up to the first that works.
    """

    conditions: tuple[str, ...]
    tried: tuple[Tried, ...]

    @property
    def best(self) -> Mended | None:
        """The one that works and changes the output least; None if none does."""
        return self.tried[-1].mended if self.tried[-1].works else None

    def table(self) -> str:
        """What was tried, how much it changes the output, and which conditions it missed."""
        rows = [
            [one.remedy, *_changes(one), "; ".join(one.missed) or "meets all conditions"]
            for one in self.tried
        ]
        header = ["remedy", "output changes by", "same class", "misses"]
        found = f"{self.tried[-1].remedy} meets" if self.best else "none of these meets"
        parts = [table(header, rows), f"{found} {', '.join(self.conditions)}"]
        return "\n\n".join([*parts, TRAIN] if self.best and self.best.exchanged else parts)

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON can hold it."""
        return {
            "placewise": __version__,
            "conditions": list(self.conditions),
            "tried": [
                {
                    "remedy": one.remedy,
                    "missed": list(one.missed),
                    "effect": None if one.mended is None else one.mended.effect.to_dict(),
                }
                for one in self.tried
            ],
            "best": self.tried[-1].remedy if self.best else None,
        }


def recommend(
    model: nn.Module,
    shape: Sequence[int] | None,
    conditions: Sequence[str],
    *,
    in_channels: int | None = None,
    example: object = None,
    name: str = "",
    images: Tensor | None = None,
) -> Recommendation:
    """Try remedies until one meets all conditions, those that change the output least first.

    Padding rules and blur, alone and together, change what trained layers read, some much more than
    others: each copy is run on the images, and its output is compared with the network's. Each is
    then audited, first at the size that was given and then at an aligned size.

    Args:
        model: any network; it is left unchanged.
        shape: (channels, *space) of one image; or only (*space), if `in_channels` is given; None:
            that of the example.
        conditions: what must hold, e.g. "max_over_corner<2" or "even==true", for numbers that
            are counted; see `placewise.auditing.SCALARS`.
        in_channels: channels of the image.
        example: of what the network takes, if that is no batch of images; as in `audit`.
        name: of the network.
        images: (N, channels, *space) on which outputs are compared; None: noise.

    Raises:
        CaptureError: the network cannot be followed.
        SettingsError: a condition cannot be read, or is about a number that is measured.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 7, stride=2, padding=3), nn.Conv2d(4, 4, 3))
        >>> recommend(net, (3, 32, 32), ["even==true"]).tried[-1].remedy
        'aligned size'
    """
    wanted = [Condition.parse(condition) for condition in conditions]
    if not wanted:
        raise SettingsError('no condition was given; say what must hold, e.g. "max_over_corner<2"')
    before = audit(model, shape, in_channels=in_channels, example=example, measure=False, name=name)
    tried: list[Tried] = []
    for one in _by_change(model, before, images):
        for align in (False, True):
            aligned = tried and tried[-1].mended and tried[-1].mended.after.scalars()["even"]
            if align and aligned:
                continue
            tried.append(_tried(model, before, replace(one, align=align), wanted, images))
            if tried[-1].works:
                return Recommendation(tuple(map(str, wanted)), tuple(tried))
    return Recommendation(tuple(map(str, wanted)), tuple(tried))


def _by_change(model: nn.Module, before: Audit, images: Tensor | None) -> list[Remedy]:
    """Remedies, those after which most images keep their class first, then by the change.

    Those that are impossible come last.
    """
    shape = before.shape
    tried, source = probes(model, shape, images)
    own = feed(model, before.inputs)
    found: list[tuple[float, float, Remedy]] = []
    for blur in (False, True):
        for padding in (None, *PADDINGS_TRIED):
            remedy = Remedy(padding, blur)
            made = feed(changed(model, remedy)[0], before.inputs)
            effect = effect_of(own, made, tried, source, shape[1:])
            change = math.inf if effect.change is None else effect.change
            lost = 0.0 if effect.agreement is None else 1 - effect.agreement
            found.append((math.inf if effect.change is None else lost, change, remedy))
    return [remedy for _, _, remedy in sorted(found, key=lambda one: one[:2])]


def _tried(
    model: nn.Module,
    before: Audit,
    remedy: Remedy,
    wanted: Sequence[Condition],
    images: Tensor | None,
) -> Tried:
    try:
        made = mended(model, before, remedy, images)
    except (SettingsError, ShapeError) as error:
        return Tried(str(remedy), (str(error),), None)
    scalars = made.after.scalars()
    missed = [condition.said(scalars) for condition in wanted if not condition.holds(scalars)]
    return Tried(str(remedy), tuple(missed), made)


def _changes(one: Tried) -> list[str]:
    """Change of the output and share of images that keep their class."""
    if one.mended is None:
        return ["", ""]
    effect = one.mended.effect
    return [share(effect.change), "" if effect.agreement is None else share(effect.agreement)]
