"""A network that is named on the command line, mended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from placewise.errors import SettingsError
from placewise.files import claim_folder
from placewise.remedies import RESULT, Mended, mend, recommend
from placewise.target import find_target, parse_size


def remedy_target(
    text: str,
    *,
    size: str | None = None,
    channels: int | None = None,
    padding: str | None = None,
    blur: bool = False,
    even: bool = False,
    bounds: Sequence[str] = (),
    out: Path | None = None,
    quiet: bool = False,
) -> Mended | None:
    """Mend a network that is named on the command line, as `placewise remedy` does.

    Args:
        text: the network, see `placewise.target.find_target`.
        size: sides of the image, see `placewise.target.parse_size`.
        channels: of the image.
        padding: member of `placewise.paddings.PADDINGS`.
        blur: whether to blur before each stride.
        even: whether to go to the nearest even size.
        bounds: what has to hold; then the cheapest remedies that do it are looked for.
        out: folder for remedy.json and the weights; nothing is written without it.
        quiet: print nothing.

    Returns:
        The mended copy; None where no remedies keep the bounds.

    Raises:
        SettingsError: see `placewise.remedies.mend`; or bounds and remedies are given both.

    Example:
        >>> made = remedy_target("torch.nn:Identity", size="8", even=True, quiet=True)
        >>> made.changes
        ()
    """
    if bounds and (padding or blur or even):
        raise SettingsError(
            "--recommend finds the remedies itself; give either bounds, or --padding, --blur and "
            "--even"
        )
    if out is not None:
        claim_folder(out, RESULT)
    tell = (lambda words: None) if quiet else print
    target = find_target(
        text, size=parse_size(size) if size else (), channels=channels, notice=tell
    )
    model = target.model
    if not isinstance(model, nn.Module):
        raise SettingsError(
            f"{text} is an exported program, whose layers are no longer there to be exchanged; "
            "give the network itself, e.g. as file.py:function"
        )
    made: Mended | None
    if bounds:
        found = recommend(model, target.shape, bounds, name=target.name)
        tell(f"{found.table()}\n")
        made = found.best
    else:
        chosen = {"padding": padding, "blur": blur, "even": even}
        if not any(chosen.values()):
            raise SettingsError(
                "no remedy was chosen; give --padding RULE, --blur or --even, or bounds with "
                '--recommend, e.g. --recommend "max_over_corner<2"'
            )
        made = mend(model, target.shape, padding=padding, blur=blur, even=even, name=target.name)
    if made is not None:
        tell(made.table())
        if out is not None:
            tell(f"\nremedy: {made.save(out)}")
    return made
