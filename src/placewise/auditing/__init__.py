"""Audit: any network to its blind places.

```
paths            how many ways lead from each pixel to the output, exactly
receptive_field  which pixels a place can read at all
unseen           pixels that no output reads, features that nothing reads
evenness         layers that drop padded rows or columns, and the sizes at which none does
provenance       how much of what an output reads is padding
effective        which pixels a place listens to              (measured, as all below)
sensitivity      how much the answer hangs on each place
shift            what a shift does to the answer
equivariance     what it does to the feature maps
position         whether features tell where they are
```
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.export import ExportedProgram

from placewise import __version__
from placewise.auditing._budgets import SCALARS, Budget, scalars_of
from placewise.auditing._count import Counted, count, shares
from placewise.auditing._drawings import NAMES, Drawing, all_drawings
from placewise.auditing._measure import ROOM, Hints, Measured
from placewise.auditing._measure import measure as run_measurements
from placewise.auditing._page import audit_page
from placewise.auditing._program import Program
from placewise.auditing._structure import rounded
from placewise.auditing._words import measured_table, sides_of, table, verdict, verdict_without
from placewise.auditing.evenness import SizeEvenness, evenness_over
from placewise.errors import CaptureError, SettingsError
from placewise.files import claim_folder, write_bytes, write_json, write_text
from placewise.geometry import PIXEL_CONVENTION
from placewise.graph import capture, capture_program
from placewise.report.style import LIGHT

__all__ = ["RESULT", "ROOM", "SCALARS", "Audit", "Budget", "audit"]

RESULT = "audit.json"

NEAR, FAR = 16, 256
"""Sizes on both sides of the audited one that are looked at unless told: these, or one
and a half periods, but not more than so many."""


@dataclass(frozen=True, eq=False, repr=False)
class Audit:
    """What was found out about a network.

    Attributes:
        name: of the network.
        shape: (channels, *space) of the image that it was audited with.
        counted: what was counted; None where the network could not be followed.
        measured: what was measured; None where nothing was.
        sizes: evenness of sizes near this one.
        notes: sentences that the reader has to know.
        why: why the network could not be followed, or not in the best way.
        seed: of what was drawn.

    Example:
        >>> found = audit(nn.Conv2d(3, 4, 3, padding=1), (3, 16, 16), measure=False)
        >>> found.verdict
        'The best-served pixel has 2.2 times the paths of a corner.'
    """

    name: str
    shape: tuple[int, ...]
    counted: Counted | None
    measured: Measured | None = None
    sizes: tuple[SizeEvenness, ...] = ()
    notes: tuple[str, ...] = ()
    why: str = ""
    seed: int = 0

    @property
    def verdict(self) -> str:
        """The finding in a sentence or a few."""
        if self.counted is None:
            return verdict_without(self.measured)
        return verdict(self.counted)

    @property
    def status(self) -> str:
        """How far the counts can be trusted: exact, bound or unknown; empirical without counts."""
        return "empirical" if self.counted is None else self.counted.status

    def __repr__(self) -> str:
        return f"Audit of {self.name} at {sides_of(self.shape)}: {self.verdict}"

    def __str__(self) -> str:
        return self.table()

    def table(self) -> str:
        """What a person can read in a minute, the verdict first."""
        return table(self)

    def figure(self) -> bytes:
        """The map of paths as the bytes of a PNG; where none were counted, that of sensitivity."""
        return next(iter(self.drawings.values())).draw(LIGHT)

    @cached_property
    def drawings(self) -> dict[str, Drawing]:
        """All figures by name, the most telling first."""
        found = all_drawings(self.counted, self.measured, self.sizes)
        return {drawing.name: drawing for drawing in found}

    def scalars(self) -> dict[str, float | bool | None]:
        """The numbers that a budget may be set on; None where this audit has none."""
        return scalars_of(self.counted, self.measured)

    def settings(self) -> dict[str, Any]:
        """How it was found."""
        found: dict[str, Any] = {"network": self.name, "image": sides_of(self.shape)}
        if (counted := self.counted) is not None:
            found |= {
                "capture": counted.graph.capture,
                "operations": len(counted.graph.nodes) - 1,
                "status": counted.status,
                "paths counted": f"{counted.paths.convention}, to {counted.paths.target}",
            }
        if self.why:
            found["what stood in the way"] = self.why
        if self.measured is not None:
            found["measured on"] = f"{self.measured.source}, {self.measured.images} images"
            found["seed"] = self.seed
        return {**found, "placewise": __version__}

    def to_dict(self) -> dict[str, Any]:
        """What `audit.json` holds: plain values with sorted keys; integers of any size are text."""
        counted = self.counted
        scalars = self.scalars().items()
        found = {
            "placewise": __version__,
            "network": self.name,
            "input_shape": list(self.shape),
            "pixel_convention": PIXEL_CONVENTION,
            "verdict": self.verdict,
            "notes": list(self.notes),
            "capture": "empirical" if counted is None else counted.graph.capture,
            "why": self.why,
            "status": self.status,
            "unknown": {} if counted is None else dict(counted.graph.unknown),
            **(dict.fromkeys(COUNTED) if counted is None else counted.to_dict()),
            "sizes": [size.to_dict() for size in self.sizes],
            "measured": None if self.measured is None else self.measured.to_dict(),
            "scalars": {key: rounded(v) if type(v) is float else v for key, v in scalars},
        }
        made: dict[str, Any] = _sorted(found)
        return made

    def save(self, folder: Path | str) -> Path:
        """Write audit.json, figures/*.png and report.html.

        Args:
            folder: new, empty, or that of a former audit, whose files are replaced.

        Returns:
            Path of the report.

        Raises:
            SettingsError: the folder holds something else.
        """
        folder = Path(folder)
        claim_folder(folder, RESULT)
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        write_json(folder / RESULT, self.to_dict())
        for name in NAMES:
            file = folder / "figures" / f"{name}.png"
            if name in self.drawings:
                write_bytes(file, self.drawings[name].draw(LIGHT))
            else:
                file.unlink(missing_ok=True)
        write_text(folder / "report.html", audit_page(self))
        return folder / "report.html"


COUNTED = (
    "receptive_field paths paths_to_output paths_to_unit unseen evenness padding layers"
).split()
"""What `audit.json` holds of what was counted."""


def audit(
    model: nn.Module | ExportedProgram,
    shape: Sequence[int],
    *,
    images: Tensor | None = None,
    channels: bool = False,
    measure: bool = True,
    sizes: Sequence[int] = (),
    seed: int = 0,
    name: str = "",
    notes: Sequence[str] = (),
    tell: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """Audit a network: count paths, fields and padding, and measure what it does with images.

    The network stays as found: modes, buffers, hooks, gradients, device.

    Args:
        model: any network that takes one batch of images (signals, volumes); or what
            `torch.export` made of one.
        shape: (channels, *space) of the image, with one to three axes of space.
        images: (N, channels, *space) as the network wants them, to measure with; of larger ones
            it gets the middle, and twice the size is a good choice. None: noise.
        channels: whether channels are told apart when paths are counted.
        measure: whether to run the network; without it a second or two are enough.
        sizes: sides of images whose evenness is told; near the audited one by default.
        seed: everything that is drawn follows from it.
        name: of the network; that of its class by default.
        notes: sentences that the reader has to know.
        tell: told the table, what was counted before anything is measured.
        progress: told (done, total) runs of the network, about.

    Raises:
        CaptureError: the network cannot be followed, and nothing is or can be measured.
        SettingsError: a shape, a size or images that cannot be.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 7, stride=2, padding=3), nn.ReLU())
        >>> audit(net, (3, 64, 64), measure=False).verdict
        'The best-served pixel has 4.0 times the paths of a corner; 65 would be even.'
    """
    found = _counted(model, tuple(shape), channels, sizes)
    found = replace(found, name=name or found.name, notes=tuple(notes), seed=seed)
    if found.counted is None and not measure:
        raise CaptureError(found.why)
    if tell and found.counted is not None:
        tell(found.table())
    if not measure:
        return found
    module = Program(model) if isinstance(model, ExportedProgram) else model
    hints = _hints(found.counted)
    try:
        measured = run_measurements(module, shape, images, hints, seed=seed, progress=progress)
    except SettingsError as error:
        raise error if found.counted else CaptureError(f"{found.why}; {error}") from error
    whole = replace(found, measured=measured)
    if tell:
        tell(f"\n{measured_table(measured)}" if found.counted else whole.table())
    return whole


def _counted(
    model: nn.Module | ExportedProgram, shape: tuple[int, ...], channels: bool, sizes: Sequence[int]
) -> Audit:
    """All that can be found without running the network on images."""
    name = type(model).__name__
    try:
        if isinstance(model, ExportedProgram):
            graph = capture_program(model, shape, channels=channels)
        else:
            graph = capture(model, shape, channels=channels)
    except CaptureError as error:
        return Audit(name, shape, None, why=str(error))
    found = count(graph)
    near = evenness_over(graph, sizes or _near(found))
    return Audit(name, shape, found, sizes=near, why=graph.why)


def _near(counted: Counted) -> range:
    """Sizes about the audited one."""
    side = counted.evenness.size[-1]
    step = max(step or 0 for step in counted.evenness.step)
    reach = min(max(NEAR, 3 * step // 2), FAR)
    return range(max(1, side - reach), side + reach + 1)


def _hints(counted: Counted | None) -> Hints:
    """What counting tells measuring."""
    if counted is None:
        return Hints()
    stride = [step for step in counted.field.stride if step is not None]
    return Hints(
        theoretical=counted.field.size,
        prediction=shares(counted.paths.counts),
        stride=[math.ceil(step) for step in stride]
        if len(stride) == len(counted.field.size)
        else None,
    )


def _sorted(value: Any) -> Any:
    """The same with the keys of all mappings in order."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(part) for part in value] if isinstance(value, list) else value
