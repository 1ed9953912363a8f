"""JSON of other tools: read with care, since nothing in it can be trusted."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

from placewise.labels.names import shown

MAX_LISTS = 2_000_000
"""Most lists and objects in a file of a tool; more would fill the memory."""

MEND = "export it again, or mend it with an editor"


def parsed(text: str, most: int = MAX_LISTS) -> Any:
    """The content of a text of JSON.

    Args:
        text: the text.
        most: lists and objects that it may hold.

    Raises:
        ValueError: why it cannot be read, in words.

    Example:
        >>> parsed('{"x": [1, 2.5]}')
        {'x': [1, 2.5]}
        >>> parsed('{"x": 1, "x": 2}')
        Traceback (most recent call last):
        ValueError: the key 'x' is there twice in one object
    """
    if text.count("[") + text.count("{") > most:
        raise ValueError(f"the JSON holds more than {most:,} lists and objects")
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"the JSON is broken at line {error.lineno}: {error.msg}") from None
    except ValueError as error:  # a number of thousands of digits, or a key that is there twice
        raise ValueError(str(error).partition(";")[0]) from None


def finite(value: object) -> float | None:
    """A number of a JSON file, None if it is anything else.

    Example:
        >>> finite(3), finite("3"), finite(True), finite(float("nan"))
        (3.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def entries(value: object) -> list[dict[str, Any]]:
    """The objects of a list; everything else is left out.

    Example:
        >>> entries([{"a": 1}, 2]), entries(None)
        ([{'a': 1}], [])
    """
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def entry(value: object) -> dict[str, Any]:
    """An object, an empty one where it is anything else.

    Example:
        >>> entry({"a": 1}), entry([1])
        ({'a': 1}, {})
    """
    return value if isinstance(value, dict) else {}


def word(value: object) -> str:
    """A text, or a whole number as one; empty where it is anything else.

    Example:
        >>> word("nose"), word(3), word(None)
        ('nose', '3', '')
    """
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63:
        return str(value)
    return value if isinstance(value, str) else ""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are there once."""
    found = dict(pairs)
    if len(found) != len(pairs):
        key = next(key for key, count in Counter(k for k, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {shown(key)} is there twice in one object")
    return found
