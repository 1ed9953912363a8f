"""What is audited: a network that is named on the command line, and images for it.

```
torchvision:resnet18   timm:NAME            with the weights that a new network has
module:callable        file.py:callable     your own code; imported because you ask
program.pt2                                 what torch.export.save wrote
RUN                                         a folder that placewise train wrote
```
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from placewise.auditing import RESULT, ROOM, Audit, Budget, audit
from placewise.files import claim_folder
from placewise.progress import Display
from placewise.target._find import Target, find_target, parse_size, parse_sizes
from placewise.target._images import read_images

__all__ = [
    "Target",
    "audit_target",
    "find_target",
    "parse_size",
    "parse_sizes",
    "read_images",
]


def audit_target(
    text: str,
    *,
    size: str | None = None,
    channels: int | None = None,
    data: Path | None = None,
    normalise: str = "auto",
    out: Path | None = None,
    budgets: Sequence[str] = (),
    sizes: str | None = None,
    channel_aware: bool = False,
    measure: bool = True,
    seed: int = 0,
    device: str = "cpu",
    quiet: bool = False,
) -> list[str]:
    """Audit a network that is named on the command line, as `placewise audit` does.

    Args:
        text: the network, see `find_target`.
        size: sides of the image, see `parse_size`.
        channels: of the image.
        data: images to measure with; noise without.
        normalise: "auto", "imagenet" or "none", see `Target.normalised`.
        out: folder for audit.json, figures and report.html; nothing is written without it.
        budgets: limits, see `placewise.auditing.Budget`.
        sizes: range of sides whose evenness is told, e.g. "192:256".
        channel_aware: whether channels are told apart when paths are counted.
        measure: whether to run the network.
        seed: everything that is drawn follows from it.
        device: where the network runs.
        quiet: print nothing but broken budgets.

    Returns:
        A line for each budget that is broken.

    Raises:
        SettingsError: see `find_target`, `parse_size` and `Budget.parse`.

    Example:
        >>> audit_target("torch.nn:Identity", size="8", budgets=["gini>0"], measure=False)
        Every pixel has equally many paths.
        ...
        []
    """
    limits = [Budget.parse(budget) for budget in budgets]
    if out is not None:
        claim_folder(out, RESULT)
    tell = (lambda words: None) if quiet else print
    target = find_target(
        text, size=parse_size(size) if size else (), channels=channels, notice=tell
    )
    found = _audited(
        target.normalised(normalise).on(device),
        data if measure else None,
        channels=channel_aware,
        measure=measure,
        sizes=parse_sizes(sizes) if sizes else (),
        seed=seed,
        tell=tell,
        quiet=quiet,
    )
    if out is not None:
        tell(f"\nreport: {found.save(out)}")
    scalars = found.scalars()
    return [broken for limit in limits if (broken := limit.broken(scalars))]


def _audited(target: Target, data: Path | None, *, quiet: bool, **settings: Any) -> Audit:
    """The audit of a target, with progress on the terminal."""
    images = None
    notes = [target.note] if target.note and settings["measure"] else []
    if data is not None:
        wide = (target.shape[0], *(ROOM * side for side in target.shape[1:]))
        with Display("images", quiet) as progress:
            images = read_images(data, wide, target.mean, target.std, progress=progress)
        notes.append(f"Measured on images of {data}, {target.said}.")
    with Display("runs of the network", quiet) as progress:
        return audit(
            target.model,
            target.shape,
            images=images,
            name=target.name,
            notes=notes,
            progress=progress,
            **settings,
        )
