"""Budgets that an audit is held against, such as `max_over_corner>150`."""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from placewise.auditing._count import Counted
from placewise.auditing._measure import Measured
from placewise.errors import SettingsError

SCALARS = {
    "max_over_corner": "paths of the best-served pixel over those of the best-served corner",
    "max_over_edge": "paths of the best-served pixel over those of the worst-served edge's middle",
    "corner_ratio": "paths of the best-served corner over those of the worst-served",
    "gini": "inequality of the paths: 0 all alike, near 1 a few pixels have all",
    "unseen_pixels": "pixels that no output reads",
    "even": "whether no layer drops a padded row or column",
    "uneven_layers": "layers that drop one",
    "receptive_field": "longest side of the receptive field of the last map, in pixels",
    "stride": "largest stride of the last map, in pixels",
    "padding_share": "most paths to one place of the last map that begin in padding, 0 to 1",
    "unknown": "operations that the audit does not know",
    "effective_field": "side of the effective receptive field, in pixels (measured)",
    "sensitivity_ratio": "sensitivity of the middle over that of the corners (measured)",
    "consistency": "percent of shifted crops that get the same class (measured)",
    "phase_share": "most of the answer's variance that a shift below the stride makes (measured)",
    "position": "most of the place's variance that can be read off a layer (measured)",
}
"""Numbers that a budget may be set on, and what they are."""

Scalar = float | bool | None
"""One of these numbers for one network; None where it has none."""


def scalars_of(counted: Counted | None, measured: Measured | None) -> dict[str, Scalar]:
    """The numbers of `SCALARS` for what was found.

    Args:
        counted: what was counted, if anything.
        measured: what was measured, if anything.
    """
    found: dict[str, Scalar] = dict.fromkeys(SCALARS)
    if counted is not None:
        found |= _of_counts(counted)
    if measured is not None:
        found |= _of_measurements(measured)
    return found


def _of_counts(counted: Counted) -> dict[str, Scalar]:
    paths, field = counted.paths, counted.field
    return {
        "max_over_corner": paths.max_over_corner,
        "max_over_edge": max(side for pair in paths.max_over_edge for side in pair),
        "corner_ratio": counted.corner_ratio,
        "gini": paths.gini,
        "unseen_pixels": counted.unseen.pixels,
        "even": counted.evenness.even,
        "uneven_layers": len({left.node for left in counted.uneven}),
        "receptive_field": max(field.size),
        "stride": max((float(step) for step in field.stride if step is not None), default=None),
        "padding_share": float(counted.padding.share.max()),
        "unknown": sum(counted.graph.unknown.values()),
    }


def _of_measurements(measured: Measured) -> dict[str, Scalar]:
    field, sensitivity, phases = measured.effective_field, measured.sensitivity, measured.phases
    return {
        "effective_field": None if field is None else field.size,
        "sensitivity_ratio": None if sensitivity is None else sensitivity.places.centre_over_corner,
        "consistency": None if measured.consistency is None else measured.consistency.percent,
        "phase_share": None if phases is None else float(phases.share.max()),
        "position": max((r2 for one in measured.position or () for r2 in one.r2), default=None),
    }


_TELL: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}
_FORM = re.compile(r"\s*(\w+)\s*(>=|<=|==|!=|>|<)\s*(\S+)\s*")


@dataclass(frozen=True)
class Budget:
    """A limit, and how it is broken.

    Attributes:
        name: one of `SCALARS`.
        sign: ">", ">=", "<", "<=", "==" or "!=".
        limit: a number, or true or false.

    Example:
        >>> budget = Budget.parse("max_over_corner>150")
        >>> budget.broken({"max_over_corner": 190.96})
        'max_over_corner is 190.96, over the budget: max_over_corner>150'
        >>> budget.broken({"max_over_corner": 12.0}) is None
        True
    """

    name: str
    sign: str
    limit: float | bool

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read NAME, a sign, and a number or true or false.

        Raises:
            SettingsError: the text is none of that.
        """
        found = _FORM.fullmatch(text)
        if not found:
            raise SettingsError(
                f"'{text}' is not a budget; needed is a name, one of > >= < <= == != and a number "
                'or true or false, e.g. --fail-if "max_over_corner>150"'
            )
        name, sign, limit = found.groups()
        if name not in SCALARS:
            close = difflib.get_close_matches(name, SCALARS, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            raise SettingsError(
                f"no budget can be set on '{name}'; there are: {', '.join(SCALARS)}.{hint}"
            )
        return cls(name, sign, _limit(text, limit))

    def broken(self, scalars: Mapping[str, Scalar]) -> str | None:
        """What is wrong, in a line; None if the budget is kept.

        Args:
            scalars: of the audit.

        Raises:
            SettingsError: this network has no such number.
        """
        value = scalars.get(self.name)
        if value is None:
            raise SettingsError(
                f"the budget {self} cannot be held: this audit has no '{self.name}' "
                f"({SCALARS[self.name]}); leave the budget out, or measure what it needs"
            )
        if not _TELL[self.sign](value, self.limit):
            return None
        return f"{self.name} is {_said(value)}, over the budget: {self}"

    def __str__(self) -> str:
        return f"{self.name}{self.sign}{_said(self.limit)}"


def _limit(text: str, limit: str) -> float | bool:
    if limit.lower() in ("true", "false"):
        return limit.lower() == "true"
    try:
        return float(limit)
    except ValueError:
        raise SettingsError(
            f"'{limit}' in the budget '{text}' is neither a number nor true or false"
        ) from None


def _said(value: float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:.7g}"
