"""Conditions on the numbers of an audit, such as `max_over_corner>150`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from placewise.auditing._counted import Counted
from placewise.auditing._measured import Measured
from placewise.auditing.receptive_field import GLOBAL
from placewise.errors import SettingsError
from placewise.wording import did_you_mean

SCALARS = {
    "max_over_corner": "paths of the best-served pixel over those of the best-served corner",
    "max_over_edge": "paths of the best-served pixel over those of the worst-served edge's middle",
    "corner_ratio": "paths of the best-served corner over those of the worst-served",
    "gini": "inequality of the paths: 0 if all pixels have equally many, near 1 if few have all",
    "unseen_pixels": "pixels that no output reads",
    "even": "whether the size is stride-aligned: every layer treats both ends of an axis alike",
    "uneven_layers": "layers that treat both ends of an axis differently",
    "receptive_field": "longest side of the receptive field of the last map, in pixels",
    "window_field": "the same through windows alone, without attention, pooling and gates",
    "stride": "largest stride of the last map, in pixels",
    "padding_share": "largest share of the paths to a place of the last map that begin in padding",
    "padding_only_places": "places of the outputs that read nothing but padding",
    "unknown": "operations that the audit does not know",
    "effective_field": "side of the effective receptive field, in pixels (measured)",
    "sensitivity_ratio": "sensitivity of the middle over that of the corners (measured)",
    "consistency": "percent of shifted crops that get the same class (measured)",
    "phase_share": "largest share of the output's variance by a shift below a stride (measured)",
    "position": "largest share of the place's variance that a layer's features tell (measured)",
}
"""Numbers on which conditions can be set, with their meaning."""

Scalar = float | bool | None
"""One of these numbers for one network; None if it has none."""


def scalars_of(counted: Counted | None, measured: Measured | None) -> dict[str, Scalar]:
    """The numbers of `SCALARS` for the findings on a network.

    Args:
        counted: the structural findings, if any.
        measured: the measured findings, if any.
    """
    found: dict[str, Scalar] = dict.fromkeys(SCALARS)
    if counted is not None:
        found |= _of_counts(counted)
    if measured is not None:
        found |= _of_measurements(measured)
    return found


def _of_counts(counted: Counted) -> dict[str, Scalar]:
    paths, field = counted.paths, counted.field
    read = paths.sides if field.status == GLOBAL else field.size
    return {
        "max_over_corner": paths.max_over_corner,
        "max_over_edge": max(side for pair in paths.max_over_edge for side in pair),
        "corner_ratio": paths.corner_ratio,
        "gini": paths.gini,
        "unseen_pixels": counted.unseen.pixels,
        "even": counted.alignment.aligned,
        "uneven_layers": len({left.node for left in counted.alignment.misaligned}),
        "receptive_field": max(read),
        "window_field": max(field.size),
        "stride": max((float(step) for step in field.stride if step is not None), default=None),
        "padding_share": float(counted.padding.share.max()),
        "padding_only_places": sum(one.count for one in counted.padding_only),
        "unknown": sum(counted.graph.unknown.values()),
    }


def _of_measurements(measured: Measured) -> dict[str, Scalar]:
    field, sensitivity, phases = measured.effective_field, measured.sensitivity, measured.phases
    return {
        "effective_field": None if field is None else field.size,
        "sensitivity_ratio": None if sensitivity is None else sensitivity.places.centre_over_corner,
        "consistency": None if measured.consistency is None else measured.consistency.percent,
        "phase_share": None if phases is None else phases.largest,
        "position": max((r2 for one in measured.position or () for r2 in one.r2), default=None),
    }


_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}
_FORM = re.compile(r"\s*(\w+)\s*(>=|<=|==|!=|>|<)\s*(\S+)\s*")
_BASELINE = re.compile(r"(?:([^*]+)\*)?baseline")


@dataclass(frozen=True)
class Condition:
    """A condition on one number of an audit.

    Attributes:
        name: one of `SCALARS`.
        sign: ">", ">=", "<", "<=", "==" or "!=".
        value: a number, or true or false.
        relative: whether the value is a factor of what an earlier audit has.

    Example:
        >>> condition = Condition.parse("max_over_corner>150")
        >>> condition.holds({"max_over_corner": 190.96})
        True
        >>> condition.said({"max_over_corner": 190.96})
        'max_over_corner is 190.96'
        >>> worse = Condition.parse("max_over_corner>1.05*baseline")
        >>> worse.holds({"max_over_corner": 110.0}, {"max_over_corner": 100.0})
        True
    """

    name: str
    sign: str
    value: float | bool
    relative: bool = False

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read a name, a sign, and a number, true or false, `baseline` or `FACTOR*baseline`.

        Raises:
            SettingsError: the text has another form.
        """
        found = _FORM.fullmatch(text)
        if not found:
            raise SettingsError(
                f"'{text}' is not a condition; give a name, one of > >= < <= == != and a number, "
                'true or false, or FACTOR*baseline, e.g. "max_over_corner>150" or '
                '"max_over_corner>1.05*baseline"'
            )
        name, sign, value = found.groups()
        if name not in SCALARS:
            raise SettingsError(
                f"an audit has no number '{name}'; choose one of {', '.join(SCALARS)}."
                f"{did_you_mean(name, SCALARS)}"
            )
        if value.lower() in ("true", "false"):
            return cls(name, sign, value.lower() == "true")
        factor = _BASELINE.fullmatch(value)
        try:
            number = float((factor[1] or 1) if factor else value)
        except ValueError:
            raise SettingsError(
                f"'{value}' in the condition '{text}' is neither a number nor true or false, nor "
                "FACTOR*baseline"
            ) from None
        return cls(name, sign, number, factor is not None)

    def holds(
        self, scalars: Mapping[str, Scalar], baseline: Mapping[str, Scalar] | None = None
    ) -> bool:
        """Whether the condition holds for an audit.

        Args:
            scalars: see `placewise.auditing.Audit.scalars`.
            baseline: those of the earlier audit, for a condition that is relative to it.

        Raises:
            SettingsError: an audit has no such number, or there is no earlier one.
        """
        value = self._known(scalars, "this audit")
        if not self.relative:
            return _SIGNS[self.sign](value, self.value)
        if baseline is None:
            raise SettingsError(
                f"the condition {self} needs an earlier audit; give it with --against audit.json"
            )
        was = self._known(baseline, "the earlier audit")
        limit = was if self.value == 1 else was * self.value
        return _SIGNS[self.sign](value, limit)

    def _known(self, scalars: Mapping[str, Scalar], whose: str) -> float | bool:
        value = scalars.get(self.name)
        if value is None:
            raise SettingsError(
                f"the condition {self} cannot be checked: {whose} has no '{self.name}' "
                f"({SCALARS[self.name]}); leave the condition out, or measure what it needs"
            )
        return value

    def said(
        self, scalars: Mapping[str, Scalar], baseline: Mapping[str, Scalar] | None = None
    ) -> str:
        """The number that it is about, in words."""
        was = f", and was {_said((baseline or {}).get(self.name))}" if self.relative else ""
        return f"{self.name} is {_said(scalars.get(self.name))}{was}"

    def __str__(self) -> str:
        value = _said(self.value)
        if self.relative:
            value = "baseline" if self.value == 1 else f"{value}*baseline"
        return f"{self.name}{self.sign}{value}"


def _said(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) or value is None else f"{value:.7g}"
