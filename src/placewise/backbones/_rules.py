"""Which padding rules a backbone can use."""

from __future__ import annotations

from placewise.errors import SettingsError
from placewise.paddings import PADDINGS


def check_keeps_size(padding: str) -> None:
    """Refuse a padding rule that changes the size of the maps.

    A residual block adds a map to what convolutions make of it, place by place, and a skip adds
    the way down to the way up: both need maps of one size.

    Raises:
        SettingsError: names the rules that can be used.

    Example:
        >>> check_keeps_size("symmetric")
    """
    if not PADDINGS[padding].keeps_size:
        usable = ", ".join(name for name in PADDINGS.names() if PADDINGS[name].keeps_size)
        raise SettingsError(
            f"the padding rule '{padding}' changes the size of the maps, and this backbone adds "
            f"maps of different layers to each other place by place; use one of: {usable}"
        )
