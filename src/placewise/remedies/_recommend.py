"""The cheapest remedies that keep given bounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from placewise import __version__
from placewise.auditing import Audit, Budget, audit
from placewise.errors import SettingsError, ShapeError
from placewise.remedies._exchange import Plan
from placewise.remedies._mend import Mended, mended_from
from placewise.report.text import table

PADDINGS_TRIED = ("symmetric", "replicate", "circular", "partial")
"""Rules in the order in which they are tried: nearest to an image that goes on comes first."""


@dataclass(frozen=True, eq=False)
class Tried:
    """One set of remedies, and what came of it.

    Attributes:
        remedies: in words.
        missed: bounds that it does not keep, with the numbers, or why it cannot be done.
        mended: the copy; None where it cannot be done.
    """

    remedies: str
    missed: tuple[str, ...]
    mended: Mended | None

    @property
    def works(self) -> bool:
        """Whether it keeps all bounds."""
        return self.mended is not None and not self.missed


@dataclass(frozen=True, eq=False)
class Recommendation:
    """Which remedies keep the bounds.

    Attributes:
        bounds: as they were given.
        tried: sets of remedies in the order of their cost, up to the first that works.
    """

    bounds: tuple[str, ...]
    tried: tuple[Tried, ...]

    @property
    def best(self) -> Mended | None:
        """The cheapest that works; None where none does."""
        return self.tried[-1].mended if self.tried[-1].works else None

    def table(self) -> str:
        """What was tried, and what it lacked."""
        rows = [[one.remedies, "; ".join(one.missed) or "keeps all bounds"] for one in self.tried]
        found = f"{self.tried[-1].remedies} keeps" if self.best else "none of these keeps"
        return f"{table(['remedies', 'misses'], rows)}\n\n{found} {', '.join(self.bounds)}"

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON can hold it."""
        tried = [{"remedies": one.remedies, "missed": list(one.missed)} for one in self.tried]
        best = self.tried[-1].remedies if self.best else None
        return {"placewise": __version__, "bounds": list(self.bounds), "tried": tried, "best": best}


def recommend(
    model: nn.Module, shape: Sequence[int], bounds: Sequence[str], *, name: str = ""
) -> Recommendation:
    """Try sets of remedies, the cheapest first, until one keeps all bounds.

    In the order of what they cost: nothing; an even size (a few pixels); another padding rule (no
    time, but the weights were trained with the old one), alone and at an even size; blur (a filter
    before each stride, and finer places are lost); blur with a padding rule.

    Args:
        model: any network that takes one batch of images; left as found.
        shape: (channels, *space) of an image.
        bounds: what has to hold, e.g. "max_over_corner<2" or "even==true"; numbers that are
            counted, see `placewise.auditing.SCALARS`.
        name: of the network.

    Raises:
        CaptureError: the network cannot be followed.
        SettingsError: a bound cannot be read, or is on a number that is measured.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 7, stride=2, padding=3), nn.Conv2d(4, 4, 3))
        >>> recommend(net, (3, 32, 32), ["even==true"]).tried[-1].remedies
        'even size'
    """
    limits = [Budget.parse(bound) for bound in bounds]
    if not limits:
        raise SettingsError('no bound was given; say what has to hold, e.g. "max_over_corner<2"')
    before = audit(model, shape, measure=False, name=name)
    tried: list[Tried] = []
    for plan, even in _sets():
        if even and tried[-1].mended and tried[-1].mended.after.scalars()["even"]:
            continue
        words = ", ".join([str(plan)] * (plan != Plan()) + ["even size"] * even) or "nothing"
        tried.append(_tried(model, before, plan, even, words, limits))
        if tried[-1].works:
            break
    return Recommendation(tuple(map(str, limits)), tuple(tried))


def _sets() -> Iterator[tuple[Plan, bool]]:
    """Sets of remedies, the cheapest first."""
    for blur in (False, True):
        for padding in (None, *PADDINGS_TRIED):
            for even in (False, True):
                yield Plan(padding, blur), even


def _tried(
    model: nn.Module,
    before: Audit,
    plan: Plan,
    even: bool,
    words: str,
    limits: Sequence[Budget],
) -> Tried:
    try:
        mended = mended_from(model, before, plan, even=even)
    except (SettingsError, ShapeError) as error:
        return Tried(words, (str(error),), None)
    scalars = mended.after.scalars()
    # A budget says what must not be, a bound what has to be: it is kept where a budget would break.
    missed = [limit.name for limit in limits if limit.broken(scalars) is None]
    return Tried(words, tuple(f"{name} is {_said(scalars[name])}" for name in missed), mended)


def _said(value: float | bool | None) -> str:
    return str(value).lower() if isinstance(value, bool) or value is None else f"{value:.4g}"
