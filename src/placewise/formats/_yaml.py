"""YAML of other tools: plain values alone, and no merged ones, which may explode."""

from __future__ import annotations

from typing import Any

from placewise.errors import DataError

MAX_TEXT = 1 << 20
"""Most characters of a file of settings."""


def parsed(text: str, what: str) -> Any:
    """The content of a text of YAML.

    Args:
        text: the text.
        what: the file, for the message where PyYAML is missing.

    Raises:
        ValueError: why it cannot be read, in words.
        DataError: PyYAML is not installed.

    Example:
        >>> parsed("kpt_shape: [3, 2]", "data.yaml")
        {'kpt_shape': [3, 2]}
    """
    try:
        import yaml
    except ImportError as error:
        raise DataError(
            f'{what} is YAML, which needs PyYAML; install it with: pip install "placewise[yaml]"'
        ) from error
    if len(text) > MAX_TEXT:
        raise ValueError(f"the YAML has more than {MAX_TEXT:,} characters")
    if "<<" in text:
        raise ValueError("the YAML merges values (<<), which is not read")
    try:
        return yaml.safe_load(text)
    except RecursionError:
        raise ValueError("the YAML is nested too deeply") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark is not None else ""
        why = getattr(error, "problem", None) or "it cannot be read"
        raise ValueError(f"the YAML is broken{line}: {why}") from None
