"""Audit: find the blind places of any network.

```
paths            how many paths lead from each pixel, and from padding, to the output, exactly
receptive_field  which pixels a place can read
unseen           pixels that no output reads, features that nothing reads
alignment        layers that treat both ends of an axis differently, and sizes at which none may
advice           which size to use instead, tried on the network
effective        which pixels really change a place           (measured, as all below)
sensitivity      how much the output changes with each place
shift            how a shift changes the output
borders          how the border changes the feature maps
position         how well features tell where they are
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
from placewise.auditing._counted import COUNTED, Counted, count
from placewise.auditing._drawings import NAMES, Drawing, counted_drawings, measured_drawings
from placewise.auditing._draws import noise_images
from placewise.auditing._measured import MANY, ROOM, Hints, Measured
from placewise.auditing._measured import measure as run_measurements
from placewise.auditing._numbers import plain, relative_of
from placewise.auditing._page import audit_page
from placewise.auditing._run import MapOf, Program
from placewise.auditing._walks import AllWalks
from placewise.auditing._words import (
    compared_table,
    measured_rows,
    measured_table,
    missing_said,
    sides_of,
    table,
    verdict,
    verdict_without,
)
from placewise.auditing.advice import check_runs, sizes_near
from placewise.auditing.alignment import SizeAlignment
from placewise.auditing.baseline import RESULT, SCHEMA, Baseline, written
from placewise.auditing.conditions import SCALARS, Condition, scalars_of
from placewise.auditing.memory import LIMIT, bytes_to_measure, check_memory
from placewise.auditing.receptive_field import ReceptiveField
from placewise.errors import CaptureError
from placewise.files import claim_folder, write_bytes, write_json, write_text
from placewise.geometry import PIXEL_CONVENTION
from placewise.graph import Graph, Inputs, capture, capture_program, fed, feed, taken
from placewise.graph.capture import How
from placewise.report.spoken import said
from placewise.report.style import LIGHT
from placewise.wording import PIXELS_OF

__all__ = [
    "RESULT",
    "ROOM",
    "SCALARS",
    "SCHEMA",
    "Audit",
    "Baseline",
    "Condition",
    "audit",
    "noise_images",
]

NEAR, FAR = 16, 256
"""By default, sizes up to this far from the audited one are checked for alignment: `NEAR` pixels
or one and a half periods, whichever is more, but at most `FAR` pixels."""


@dataclass(frozen=True, eq=False, repr=False)
class Audit:
    """The findings on a network.

    Attributes:
        name: of the network.
        shape: (channels, *space) of the image for which it was audited.
        counted: the structural findings; None if the network could not be followed.
        measured: the measured findings; None if nothing was measured.
        sizes: alignment of sizes near this one.
        notes: sentences that the reader has to know.
        why: why the network could not be followed, or not in the best way.
        seed: for all that was drawn at random.
        against: an earlier audit that this one is compared with.
        unmeasured: why nothing was measured though it was asked for.
        before: the same audit before anything was measured, whose figures are not drawn again.
        inputs: how images are given to the network; None: as one batch (N, channels, *space).

    Example:
        >>> found = audit(nn.Conv2d(3, 4, 3, padding=1), (3, 16, 16), measure=False)
        >>> found.verdict
        'To the output (16 × 16): the best-served pixel has 2.2 times the paths of a corner.'
    """

    name: str
    shape: tuple[int, ...]
    counted: Counted | None
    measured: Measured | None = None
    sizes: tuple[SizeAlignment, ...] = ()
    notes: tuple[str, ...] = ()
    why: str = ""
    seed: int = 0
    against: Baseline | None = None
    unmeasured: str = ""
    before: Audit | None = None
    inputs: Inputs | None = None

    @property
    def missing(self) -> list[str]:
        """What this audit lacks of what was asked for, and why; empty if it is complete."""
        lacking = [] if self.counted is not None else [f"not counted: {self.why}"]
        lacking += [self.unmeasured] if self.unmeasured else []
        return [*lacking, *(missing_said(self.measured) if self.measured else [])]

    @property
    def verdict(self) -> str:
        """The finding in one or a few sentences."""
        found = verdict_without(self.measured) if self.counted is None else verdict(self.counted)
        return said(found, PIXELS_OF[len(self.shape) - 1])

    @property
    def status(self) -> str:
        """How far to trust the counts, see `placewise.ops.Status`; empirical if there are none."""
        return "empirical" if self.counted is None else str(self.counted.graph.status)

    def __repr__(self) -> str:
        return f"Audit of {self.name} at {sides_of(self.shape)}: {self.verdict}"

    def __str__(self) -> str:
        return self.table()

    def table(self) -> str:
        """Text that can be read in a minute, starting with the verdict."""
        return table(self)

    def figure(self) -> bytes:
        """The map of paths as the bytes of a PNG; if none were counted, that of sensitivity."""
        return next(iter(self.drawings.values())).draw(LIGHT)

    @cached_property
    def drawings(self) -> dict[str, Drawing]:
        """All figures by name, the most important first."""
        unit = PIXELS_OF[len(self.shape) - 1]
        if self.before is not None:
            found = list(self.before.drawings.values())
        else:
            found = list(counted_drawings(self.counted, self.sizes, unit)) if self.counted else []
        if self.measured is not None:
            found += measured_drawings(self.measured, self.counted, unit)
        return {drawing.name: drawing for drawing in found}

    def scalars(self) -> dict[str, float | bool | None]:
        """The numbers on which conditions can be set; None for those that this audit lacks."""
        return scalars_of(self.counted, self.measured)

    def settings(self) -> dict[str, Any]:
        """How it was found."""
        found: dict[str, Any] = {"network": self.name, "image": sides_of(self.shape)}
        if (counted := self.counted) is not None:
            found |= {
                "capture": counted.graph.capture,
                "operations": len(counted.graph.nodes) - 1,
                "status": self.status,
                "paths counted": f"{counted.paths.convention}, to {counted.paths.target}",
            }
        if self.why:
            found["failed ways of capture"] = self.why
        if self.measured is not None:
            found["measured on"] = f"{self.measured.source}, {self.measured.images} images"
            found["seed"] = self.seed
        return {**found, "placewise": __version__}

    def to_dict(self) -> dict[str, Any]:
        """The content of `audit.json`: plain values with sorted keys; large integers are text."""
        counted, unit = self.counted, PIXELS_OF[len(self.shape) - 1]
        measured = plain(self.measured)
        if measured is not None:
            measured["missing"] = {n: said(why, unit) for n, why in measured["missing"].items()}
        found = {
            "schema": SCHEMA,
            "placewise": __version__,
            "network": self.name,
            "input_shape": list(self.shape),
            "pixel_convention": _convention(len(self.shape) - 1),
            "verdict": self.verdict,
            "notes": said(list(self.notes), unit),
            "capture": "empirical" if counted is None else counted.graph.capture,
            "why": said(self.why, unit),
            "status": self.status,
            "unknown": {} if counted is None else dict(counted.graph.unknown),
            **(dict.fromkeys(COUNTED) if counted is None else counted.to_dict()),
            "sizes": plain(self.sizes),
            "measured": measured,
            "scalars": written(self.scalars()),
            "against": None if self.against is None else self.against.to_dict(),
        }
        made: dict[str, Any] = _sorted(found)
        return made

    def save(self, folder: str | Path) -> Path:
        """Write audit.json, figures/*.png and report.html.

        Args:
            folder: a new or empty folder, or that of an earlier audit, whose files are replaced.

        Returns:
            Path of the report.

        Raises:
            SettingsError: the folder contains something else.
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


def audit(
    model: nn.Module | ExportedProgram,
    shape: Sequence[int] | None = None,
    *,
    in_channels: int | None = None,
    example: object = None,
    per_channel: bool = False,
    images: Tensor | None = None,
    measure: bool = True,
    sizes: Sequence[int] = (),
    seed: int = 0,
    name: str = "",
    notes: Sequence[str] = (),
    against: str | Path | Baseline | None = None,
    out: str | Path | None = None,
    say: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """Audit a network: count paths and receptive fields, and measure how it treats images.

    The network is left unchanged: modes, buffers, hooks, gradients, device.

    Args:
        model: any network that takes one batch of images, signals or volumes; or a program from
            `torch.export`.
        shape: (channels, *space) of one image, with one to three axes of space; or only (*space),
            if `in_channels` is given; may be left out if there is an example.
        in_channels: channels of the image.
        example: of what the network takes if that is not one batch (N, channels, *space): a tensor
            in another order or of whole numbers, a tuple of inputs, or a dictionary of inputs by
            name. The first tensor of this shape is the image, the others are constants; see
            `placewise.graph.Inputs`. A network that takes (N, *space) or (N, *space, channels), and
            fails otherwise, needs none.
        per_channel: whether to count the channels of a layer apart; by default they count as one.
        images: (N, channels, *space) to measure with, normalised as the network expects. The
            network gets the middle of larger ones; twice the size is a good choice. None: noise.
        measure: whether to run the network; without that, an audit takes a second or two.
        sizes: sides of images to check for stride alignment; by default those near this one.
        seed: for all random draws.
        name: of the network; by default its class.
        notes: sentences that the reader has to know.
        against: the audit.json of an earlier audit, or its folder, to compare with.
        out: folder to save the findings in, see `Audit.save`: what was counted before anything is
            measured, so that no failure loses it, and everything at the end.
        say: called with the table of what was counted before anything is measured, and with the
            rest of the table at the end.
        progress: called with (done, total) runs of the network, approximately.

    Raises:
        CaptureError: the network cannot be followed, and nothing is or can be measured.
        SettingsError: a shape, a size or the images are not valid.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 7, stride=2, padding=3), nn.ReLU())
        >>> audit(net, (64, 64), in_channels=3, measure=False).verdict.partition("; ")[0]
        'To the output (32 × 32): the best-served pixel has 4.0 times the paths of a corner'
    """
    if isinstance(against, str | Path):
        against = Baseline.read(against)
    model, shape, inputs = fed(model, shape, in_channels, example)
    found = _counted(model, shape, per_channel, sizes)
    if found.counted is None and isinstance(model, nn.Module) and inputs is None:
        inputs = taken(model, shape)
        if inputs is not None:
            model = feed(model, inputs)
            found = _counted(model, shape, per_channel, sizes)
    unmeasured = _unmeasured(shape, inputs, images) if measure else ""
    notes = (*notes, *filter(None, (inputs.said if inputs else "", unmeasured)))
    measure = measure and not unmeasured
    found = replace(
        found,
        name=name or found.name,
        notes=tuple(notes),
        seed=seed,
        against=against,
        unmeasured=unmeasured,
        inputs=inputs,
    )
    if found.counted is None and not measure:
        raise CaptureError(found.why)
    if found.counted is not None:
        if say:
            say((replace(found, against=None) if measure else found).table())
        if out is not None:
            found.save(out)
    if measure:
        found = _with_measurements(found, model, images, say, progress)
        if out is not None:
            found.save(out)
    return found


def _with_measurements(
    found: Audit,
    model: nn.Module | ExportedProgram,
    images: Tensor | None,
    say: Callable[[str], None] | None,
    progress: Callable[[int, int], None] | None,
) -> Audit:
    """The audit with what can be measured."""
    module = Program(model) if isinstance(model, ExportedProgram) else model
    hints = _hints(found.counted)
    measured = run_measurements(
        module, found.shape, images, hints, seed=found.seed, progress=progress
    )
    unit = PIXELS_OF[len(found.shape) - 1]
    if found.counted is None and not any(measured_rows(measured)):
        raise CaptureError(f"{found.why}; {'; '.join(said(missing_said(measured), unit))}")
    whole = replace(found, measured=measured, before=found)
    if say:
        say(f"\n{measured_table(measured, unit)}" if found.counted else whole.table())
        if found.counted and found.against:
            say(f"\n{compared_table(whole)}")
    return whole


def _convention(axes: int) -> str:
    """How coordinates are counted, in the words of what was audited."""
    found = said(PIXEL_CONVENTION, PIXELS_OF[axes])
    return found if axes > 1 else found.removeprefix("x right, y down, ")


def _unmeasured(shape: tuple[int, ...], inputs: Inputs | None, images: Tensor | None) -> str:
    """Why nothing is measured, in a sentence; empty if all can be."""
    if inputs is not None and inputs.whole_numbers:
        return (
            "Nothing is measured: the image consists of whole numbers (classes or tokens), which "
            "cannot be changed a little."
        )
    needed = bytes_to_measure(shape, MANY, ROOM)
    if images is None and needed > LIMIT:
        return (
            f"Nothing is measured: {MANY} images of {ROOM} times this size would take about "
            f"{needed / 1e9:.0f} GB of memory, more than {LIMIT / 1e9:.0f} GB; audit a smaller "
            "size to measure."
        )
    return ""


def _counted(
    model: nn.Module | ExportedProgram,
    shape: tuple[int, ...],
    per_channel: bool,
    sizes: Sequence[int],
) -> Audit:
    """Everything that can be found without running the network on images."""
    name = type(model).__name__

    def captured(sides: Sequence[int], how: How = "auto") -> Graph:
        image = (shape[0], *sides)
        if isinstance(model, ExportedProgram):
            return capture_program(model, image, per_channel=per_channel)
        return capture(model, image, per_channel=per_channel, how=how)

    def tried(sides: tuple[int, ...]) -> Graph:
        try:
            graph = captured(sides, "recorded")  # a quarter of the time of an export
        except CaptureError:
            graph = captured(sides)
        if isinstance(model, nn.Module):
            check_runs(model, graph, (shape[0], *sides))
        return graph

    try:
        graph = captured(shape[1:])
    except CaptureError as error:
        return Audit(name, shape, None, why=str(error))
    check_memory(graph)
    walks = AllWalks(graph)
    found = count(walks, tried)
    near = sizes_near(walks, sizes or _near(found), found.advice)
    return Audit(name, shape, found, sizes=near, why=graph.why)


def _near(counted: Counted) -> range:
    """Sizes around the audited one."""
    side = counted.alignment.size[-1]
    step = max(step or 0 for step in counted.alignment.step)
    reach = min(max(NEAR, 3 * step // 2), FAR)
    return range(max(1, side - reach), side + reach + 1)


def _hints(counted: Counted | None) -> Hints:
    """What is known from counting and helps measuring."""
    if counted is None:
        return Hints()
    known = [math.ceil(step) for step in counted.field.stride if step is not None]
    return Hints(
        fields=_fields_of_maps(counted),
        prediction=relative_of(counted.paths.packed),
        stride=known if len(known) == len(counted.field.size) else None,
    )


def _fields_of_maps(counted: Counted) -> dict[MapOf, ReceptiveField]:
    """Receptive fields of maps by the submodule that returns them and their sides.

    Of the maps of one size that are made in a submodule or in those inside it, the last counts.
    """
    graph = counted.graph
    found: dict[MapOf, ReceptiveField] = {}
    for number in sorted(graph.maps):
        parts = graph.nodes[number].module.split(".")
        sides = tuple(counted.sides(number))
        for length in range(1, len(parts) + 1):
            found[".".join(parts[:length]), sides] = counted.fields[number]
    for number in reversed(graph.outputs):
        if number in graph.maps:
            found["", tuple(counted.sides(number))] = counted.fields[number]
    return found


def _sorted(value: Any) -> Any:
    """The same value with the keys of all mappings sorted."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(part) for part in value] if isinstance(value, list) else value
