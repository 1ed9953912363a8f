"""An audit in words: the verdict, and tables that can be read in a minute."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, TypeVar

from placewise.auditing._counted import Counted, some_of
from placewise.auditing._measured import Measured
from placewise.auditing.arising import ALIKE, RATIOS, Arising
from placewise.auditing.baseline import Baseline
from placewise.auditing.padding_only import PaddingOnly
from placewise.auditing.paths import LayerPaths, Paths
from placewise.auditing.receptive_field import GLOBAL, ReceptiveField
from placewise.ops import Status
from placewise.report import text
from placewise.report.maps import fraction
from placewise.report.spoken import said
from placewise.wording import PIXELS_OF, begun, number, share

if TYPE_CHECKING:
    from placewise.auditing import Audit

T = TypeVar("T")

Row = tuple[str, str, str]
"""A finding: its name, its number, and what the number means."""

SHOWN = 12
"""Layers in the table on the console."""

LAYER_HEADER = ["layer", "map", "receptive field px", "stride", "status", "best over corner"]

CAPTURED = {
    "export": "followed by torch.export",
    "recorded": "recorded while it ran on shapes",
    "run": "recorded while it ran on one image of noise",
}

SIDES = {
    1: (("first", "last"),),
    2: (("top", "bottom"), ("left", "right")),
    3: (("front", "back"), ("top", "bottom"), ("left", "right")),
}
"""Both ends of each axis, by the number of axes."""


def corner_names(axes: int) -> list[str]:
    """Names of the corners in the order of `Paths.corners`.

    Example:
        >>> corner_names(2)
        ['top-left', 'top-right', 'bottom-left', 'bottom-right']
    """
    return ["-".join(names) for names in itertools.product(*SIDES[axes])]


def sides_of(shape: Sequence[object]) -> str:
    """A size as people write it.

    Example:
        >>> sides_of((224, 320))
        '224 × 320'
    """
    return " × ".join(map(str, shape))


def squared(sides: Sequence[object]) -> str:
    """A size as people write it, as one number if all sides are equal.

    Example:
        >>> squared((224, 224)), squared((None, 2))
        ('224', '– × 2')
    """
    shown = ["–" if side is None else side for side in sides]
    return sides_of(shown[:1] if len(set(shown)) == 1 else shown)


def times(ratio: float) -> str:
    """A ratio in words.

    Example:
        >>> times(24.18), times(1.2345), times(float("inf"))
        ('24 times', '1.2 times', 'infinitely many times')
    """
    return "infinitely many times" if math.isinf(ratio) else f"{number(ratio, 2)} times"


def ranges(numbers: Sequence[int], most: int = 6) -> str:
    """Whole numbers, with neighbours joined.

    Example:
        >>> ranges([3, 5, 6, 7])
        '3, 5–7'
    """
    runs: list[list[int]] = []
    for one in numbers:
        if runs and one == runs[-1][-1] + 1:
            runs[-1].append(one)
        else:
            runs.append([one])
    parts = [f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    return ", ".join(parts[:most]) + (" and more" if len(parts) > most else "")


def unknown_names(unknown: Mapping[str, int]) -> str:
    """Operations with how often they occur, the most frequent first.

    Example:
        >>> unknown_names({"roi_align": 2, "nms": 1})
        'roi_align × 2, nms'
    """
    ordered = sorted(unknown.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{name} × {n}" if n > 1 else name for name, n in ordered)


# --- the verdict ---------------------------------------------------------------------------------


def verdict(counted: Counted) -> str:
    """The finding in one or a few sentences: how sure it is, of which map, and what was found."""
    of = ", ".join([*(CAVEATS[one] for one in counted.graph.caveats), target_said(counted)])
    found = "; ".join(part for part in (_paths_said(counted), _size_said(counted)) if part)
    sentences = [
        f"{begun(of)}: {found}.",
        _advice_said(counted),
        _unseen_said(counted),
        *map(padding_only_said, counted.padding_only),
        _unknown_said(counted),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def target_said(counted: Counted) -> str:
    """The map to which paths are counted, with its true sides.

    Where the output is no map, it is the last one that the output reads.
    """
    last, outputs = counted.graph.last_map, counted.graph.outputs
    sides = sides_of(counted.sides(last))
    if not last and last not in outputs:
        return "to the image itself, as no layer gives a map"
    if last not in outputs:
        return f"to {_layer(counted.name(last))} ({sides}), the last feature map"
    if len(outputs) == 1:
        return f"to the output ({sides})"
    place = outputs.index(last)
    which = f"the first of {len(outputs)} outputs"
    if place:
        which = f"output {place + 1} of {len(outputs)}"
    return f"to {which} ({sides})"


def verdict_without(measured: Measured | None) -> str:
    """The finding for a network that could not be followed."""
    first = "The network could not be followed, so that nothing is counted"
    if measured is None or measured.sensitivity is None:
        return f"{first}."
    ratio = measured.sensitivity.places.centre_over_corner
    return (
        f"{first}; measured on {measured.source}, the middle of the image changes the output "
        f"{times(ratio)} as much as its corners."
    )


CAVEATS = {
    Status.AT_LEAST: "at least (a normalisation reads all pixels, besides)",
    Status.MASKED: "masks ignored (attention may read less)",
    Status.AT_MOST: "at most (some layers may read less)",
    Status.ONE_RUN: "in one run (for another image the network may choose otherwise)",
    Status.GUESSED: "a guess (the network has unknown operations)",
}
"""How sure the counts are, for the start of a sentence."""


def _paths_said(counted: Counted) -> str:
    paths = counted.paths
    names = corner_names(len(paths.sides))
    best, worst = max(paths.corners), min(paths.corners)
    what = "corner" if len(paths.sides) > 1 else "pixel"
    if not paths.maximum:
        return f"no pixel has a path to {_end(counted)}"
    if paths.maximum == paths.minimum:
        return "every pixel has equally many paths"
    at = names[paths.corners.index(worst)]
    if not worst:
        blind = paths.corners.count(worst)
        if blind > 1:
            ends = "corners" if len(paths.sides) > 1 else "ends"
            return f"{blind} of {len(names)} {ends} have no path to {_end(counted)}"
        return f"the {at} {what} has no path to {_end(counted)}"
    if paths.corner_ratio >= ALIKE:
        ratio = times(paths.corner_ratio)
        return f"the {names[paths.corners.index(best)]} {what} has {ratio} the paths of the {at}"
    if paths.max_over_corner >= ALIKE:
        return f"the best-served pixel has {times(paths.max_over_corner)} the paths of a corner"
    over = float(best / paths.centre) if paths.centre else math.inf
    if over >= ALIKE:
        return f"the corners have {times(over)} the paths of the middle"
    return "the middle and the corners have about equally many paths"


def _end(counted: Counted) -> str:
    """Where the paths end: the output, or a map that is not all that the output reads."""
    if counted.graph.last_map in counted.graph.outputs:
        return "it"
    read = min(counted.output_paths.corners) > 0
    return "it, but the output reads them elsewhere" if read else "it"


def _size_said(counted: Counted) -> str:
    """Whether the size is stride-aligned, and which would be; empty if no layer strides."""
    found, advised = counted.alignment, counted.advice.size
    if not found.strides:
        return ""
    if found.aligned:
        return f"{squared(found.size)} is stride-aligned"
    if advised is None:
        return f"{squared(found.size)} is not stride-aligned"
    return f"{squared(advised)} would be stride-aligned"


def _advice_said(counted: Counted) -> str:
    """What remains uneven at the size that is recommended, or why none is; empty if aligned."""
    advice = counted.advice
    if counted.alignment.aligned:
        return ""
    if advice.best is not None and advice.best.paths is not None:
        return f"At {squared(advice.best.size)} {_remains_said(advice.best.paths)}."
    if not advice.trials:
        return "No size near it was found to be stride-aligned."
    tried = ", ".join(squared(trial.size) for trial in advice.trials)
    if all(trial.refused for trial in advice.trials):
        return f"The network refuses the sizes near it that might be ({tried})."
    return f"No size near it was found to be stride-aligned (tried: {tried})."


def _remains_said(paths: Paths) -> str:
    """What is uneven in paths at a size at which no layer is misaligned."""
    names = corner_names(len(paths.sides))
    ends, every = ("corners", "all corners") if len(paths.sides) > 1 else ("ends", "both ends")
    best, worst = max(paths.corners), min(paths.corners)
    if paths.maximum == paths.minimum:
        return "every pixel has equally many paths"
    if not worst:
        return f"{paths.corners.count(worst)} of {len(names)} {ends} have no path to the last map"
    if paths.corner_ratio >= ALIKE:
        first, last = names[paths.corners.index(best)], names[paths.corners.index(worst)]
        return f"the {first} still has {times(paths.corner_ratio)} the paths of the {last}"
    if paths.max_over_corner < ALIKE:
        return f"{every} have about as many paths as the best-served pixel"
    more = times(paths.max_over_corner)
    return f"{every} are equal; the best-served pixel still has {more} their paths"


def _unseen_said(counted: Counted) -> str:
    found = counted.unseen
    if not found.pixels:
        return ""
    at = _lines_said(found.whole, {1: "pixel"}.get(found.mask.ndim, "column"))
    are = "pixel is" if found.pixels == 1 else "pixels are"
    return f"{found.pixels:,} {are} never seen{at}."


def _lines_said(whole: Sequence[Sequence[int]], last: str) -> str:
    """Whole rows, columns and slices in brackets; empty if there are none."""
    names = ["slice", "row", last][-len(whole) :]
    lines = [
        f"{name}{'s' if len(found) > 1 else ''} {ranges(found)}"
        for name, found in zip(names, whole, strict=True)
        if found
    ]
    return f" ({' and '.join(lines)})" if lines else ""


def padding_only_said(found: PaddingOnly) -> str:
    """That places of a map read nothing but padding; empty if none does."""
    if not found.count:
        return ""
    last = "place" if len(found.whole) == 1 else "column"
    at = _lines_said(found.whole, last)
    places = "place reads" if found.count == 1 else "places read"
    part = share(found.count / found.places)
    return f"{found.count:,} {places} nothing but padding: {part} of {_layer(found.layer)}{at}."


def arises_said(counted: Counted) -> str:
    """The layer that adds most to the ratio of the best-served pixel to a corner, or of corners."""
    sentences = []
    for ratio, name in RATIOS.items():
        found = counted.arises(ratio)
        if found is not None:
            what, where, span = _arises(counted, found)
            sentences.append(f"{begun(what)} of {name} arises {where}: {span}.")
    return " ".join(sentences)


def _arises(counted: Counted, found: Arising) -> tuple[str, str, str]:
    """How much of a ratio arises, where, and from which ratio to which."""
    name = counted.name(found.node)
    where = f"in {_layer(name)}"
    if found.after is not None:
        where = f"between {counted.name(found.after)} and {name}"
    if found.share is None:
        return "all", where, f"from {number(found.before)} to infinite"
    what = "most" if found.share > 0.5 else "the largest part"
    return what, where, f"from {number(found.before)} to {number(found.reached)}"


def _arises_rows(counted: Counted) -> Iterator[Row]:
    for ratio, name in RATIOS.items():
        found = counted.arises(ratio)
        if found is not None:
            what, where, span = _arises(counted, found)
            yield "arises", span.removeprefix("from "), f"{where}: {what} of {name}"


def _unknown_said(counted: Counted) -> str:
    unknown = counted.graph.unknown
    return f"Unknown: {unknown_names(unknown)}." if unknown else ""


# --- tables --------------------------------------------------------------------------------------


def counted_rows(counted: Counted) -> list[Row]:
    """The structural findings, one per row."""
    paths, graph, padding = counted.paths, counted.graph, counted.padding
    axes = len(paths.sides)
    corners = _of_best(counted, paths.corners, corner_names(axes))
    edges = [edge for pair in paths.edges for edge in pair]
    sides = "edges" if axes == 2 else "faces"
    ends = [f"middle {name}" for pair in SIDES[axes] for name in pair]
    captured = (
        f"{CAPTURED[graph.capture]}, {len(graph.nodes) - 1} operations, "
        f"{sum(graph.unknown.values())} unknown"
    )
    most = share(float(padding.share.max()))
    status = ", ".join(graph.caveats) or str(graph.status)
    return [
        ("followed", status, captured),
        ("paths: corners" if axes > 1 else "paths: ends", *corners),
        *([(f"paths: {sides}", *_of_best(counted, edges, ends))] if axes > 1 else []),
        *_arises_rows(counted),
        ("receptive field", *_field_said(counted)),
        (
            "misaligned layers",
            str(len({left.node for left in counted.alignment.misaligned})),
            aligned_sizes(counted),
        ),
        ("unseen pixels", f"{counted.unseen.pixels:,}", "that no output reads"),
        (
            "padding",
            share(float(padding.overall)),
            f"of all paths begin in padding; at one place of the last map, up to {most}",
        ),
    ]


def _of_best(
    counted: Counted, counts: Sequence[int | Fraction], names: Sequence[str]
) -> tuple[str, str]:
    """Counts as shares of the largest; one number if all are the same."""
    most = counted.paths.maximum or 1
    shares = [fraction(float(Fraction(count) / most)) for count in counts]
    if len(set(shares)) == 1:
        return shares[0], "of the best-served pixel's, at all of them"
    said = ", ".join(names) if len(names) <= 4 else f"{names[0]}, …, {names[-1]}"
    return "  ".join(shares), f"of the best-served pixel's: {said}"


def aligned_sizes(counted: Counted) -> str:
    """Whether this size is stride-aligned, and which one next to it is, in words."""
    found, advice = counted.alignment, counted.advice
    if not found.strides and _thinned(counted):
        return "no layer of windows strides; what views leave out is not checked"
    if not found.strides:
        return "no layer strides, so that every size is stride-aligned"
    own = f"{squared(found.size)} is {'' if found.aligned else 'not '}stride-aligned"
    if advice.size is not None:
        return f"{own}; {squared(advice.size)} was tried on the network, and is"
    if not found.aligned:
        refused = [trial for trial in advice.trials if trial.refused]
        tried = ", ".join(squared(trial.size) for trial in advice.trials)
        why = f": {len(refused)} of them are refused" if refused else ""
        return f"{own}; no other was found (tried: {tried}{why})" if tried else own
    if found.missed:
        return f"{own}; other sizes cannot be followed beyond {found.stopped}"
    if set(found.step) == {1}:
        return f"{own}; by the strides, every size near it may be"
    every = squared([step or "–" for step in found.step])
    return f"{own}; by the strides, every {every} px may be" if any(found.step) else own


def _thinned(counted: Counted) -> bool:
    """Whether places of some layer lie further apart than pixels."""
    strides = (stride for field in counted.fields for stride in field.stride)
    return any(stride is not None and abs(stride) > 1 for stride in strides)


def _field_said(counted: Counted) -> tuple[str, str]:
    field = counted.field
    of = f"of {_layer(counted.name(field.node))}"
    if field.clipped and field.size == counted.paths.sides:
        of += ", the whole image"
    concentric = "concentric" if field.concentric else "not concentric"
    about = f"stride {squared(field.stride)}, {concentric}"
    if field.status != GLOBAL:
        return f"{squared(field.size)} px", f"{of}; {about}, {field.status}"
    return "the whole image", f"{of}; {windows_said(field)}{about}"


def windows_said(field: ReceptiveField) -> str:
    """What a place reads through windows, besides all that it reads at once.

    Example:
        >>> windows_said(ReceptiveField(1, "", "", (5,), (1,), (2,), (0,), True, False, "global"))
        '5 px of it through windows; '
    """
    return f"{squared(field.size)} px of it through windows; " if min(field.size) else ""


def layer_rows(
    counted: Counted, layers: Sequence[LayerPaths], most: int = SHOWN
) -> list[list[str]]:
    """Layers with their maps, receptive fields and paths: see `LAYER_HEADER`."""
    return [
        [
            counted.name(layer.node),
            sides_of(counted.sides(layer.node)),
            squared(field.size),
            squared(field.stride),
            "reads all" if field.status == GLOBAL else field.status,
            number(layer.paths.max_over_corner),
        ]
        for layer in some_of(layers, most)
        for field in [counted.fields[layer.node]]
    ]


def measured_rows(measured: Measured) -> Iterator[Row]:
    """The measured findings, one per row."""
    yield from _sensitivity_rows(measured)
    if (crops := measured.consistency) is not None:
        only = "; it is always the same one" if crops.classes == 1 else ""
        error = number(crops.standard_error, 2)
        of = f"of pairs of shifted crops have one class, or strongest map (± {error}){only}"
        yield "consistency", f"{number(crops.percent)} %", of
    if (phases := measured.phases) is not None:
        of = (
            "of the output's variance is made by a shift below a stride, at most, beyond the "
            f"{share(phases.beyond)} that a whole stride makes"
        )
        yield "phase", share(phases.largest), of
    if measured.equivariance:
        last = measured.equivariance[-1]
        of = f"of {_layer(last.layer)} when the image moves, in spreads of its features"
        yield "equivariance error", number(last.overall), of
    if measured.border_swap:
        swap = measured.border_swap[-1]
        of = f"on the outermost places of {_layer(swap.layer)}, in spreads of its features"
        yield "effect of padding", number(float(swap.relative[0])), of
    if measured.position:
        best = max(measured.position, key=lambda one: max(one.r2))
        image = share(max(0.0, *best.raw_r2))
        of = f"of it can be read off {_layer(best.layer)}, and {image} off the image itself"
        yield "position", share(max(0.0, *best.r2)), of


def _sensitivity_rows(measured: Measured) -> Iterator[Row]:
    if (field := measured.effective_field) is not None:
        of = "" if field.ratio is None else f"; {share(field.ratio)} of the receptive field's"
        yield "effective field", f"{number(field.size)} px", f"side of its square{of}"
    if (found := measured.sensitivity) is not None:
        of = "of the middle over that of the corners, to small noise"
        if found.method == "perturbation":
            of += f" on each of {sides_of(found.map.shape)} cells: it has no gradients"
        yield "sensitivity", number(found.places.centre_over_corner), of
    if (against := measured.comparison) is not None:
        predicted = number(against.predicted.centre_over_corner)
        of = f"rank correlation with the path counts, which predict {predicted}"
        yield "sensitivity, paths", number(against.spearman), of
    if (painted := measured.occlusion) is not None:
        of = "of the middle over that of the corners, to cells that are covered"
        if (cells := measured.occlusion_comparison) is not None:
            predicted = number(cells.predicted.centre_over_corner)
            of += f"; the path counts predict {predicted}"
        yield "occlusion", number(painted.places.centre_over_corner), of


def _layer(name: str) -> str:
    """A layer in a sentence; names that begin with a digit would be read as numbers."""
    return f"layer {name}" if name[:1].isdigit() else name or "the output"


def table(audit: Audit) -> str:
    """The console's text: the verdict, what was counted, the layers, what was measured."""
    unit = PIXELS_OF[len(audit.shape) - 1]
    parts = [audit.verdict, f"{audit.name} at {sides_of(audit.shape)}"]
    if audit.counted is not None:
        parts.append(text.table(["", "", ""], said(list(counted_rows(audit.counted)), unit)))
        for first, layers in (("output", audit.counted.outputs), ("layer", audit.counted.layers)):
            rows = layer_rows(audit.counted, layers)
            header = [first, *LAYER_HEADER[1:]]
            parts += [text.table(said(header, unit), rows, [5])] if rows else []
    if audit.measured is not None:
        parts.append(measured_table(audit.measured, unit))
    if audit.counted is None:
        parts.append(f"Not followed: {audit.why}")
    if audit.against is not None:
        parts.append(compared_table(audit))
    return "\n\n".join([*parts, *said(list(audit.notes), unit)])


COMPARED_HEADER = ["number", "then", "now", "change"]


def compared_table(audit: Audit) -> str:
    """The numbers of this audit and of the earlier one; empty without an earlier one."""
    old = audit.against
    if old is None:
        return ""
    rows = text.table(COMPARED_HEADER, old.rows(audit.scalars()), [1, 2])
    return f"Compared with {old.file}: {against_said(old)}\n{rows}"


def against_said(old: Baseline) -> str:
    """What an earlier audit was of.

    Example:
        >>> against_said(Baseline("old.json", "net", (3, 8, 8), "0.1.0", "", {}))
        'net at 3 × 8 × 8, audited by placewise 0.1.0'
    """
    return f"{old.network} at {sides_of(old.shape)}, audited by placewise {old.placewise}"


def measured_table(measured: Measured, unit: str = "px") -> str:
    """What was measured, for the console.

    Args:
        measured: the numbers.
        unit: what pixels are called.
    """
    rows = said(list(measured_rows(measured)), unit)
    if not rows:
        return "\n".join(said(missing_said(measured), unit))
    of = " of noise" if measured.source == "noise" else ""
    head = said(f"Measured on {measured.images} images{of}:", unit)
    return "\n".join([head, text.table(["", "", ""], rows), *said(missing_said(measured), unit)])


def missing_said(measured: Measured) -> list[str]:
    """What could not be measured, one sentence for each reason."""
    reasons: dict[str, list[str]] = {}
    for name, why in measured.missing.items():
        reasons.setdefault(why, []).append(name.replace("_", " "))
    if len(reasons) == 1 and not any(measured_rows(measured)):
        return [f"not measured: {why}" for why in reasons]
    return [f"not measured: {', '.join(names)}: {why}" for why, names in reasons.items()]
