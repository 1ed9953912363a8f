"""An audit as one self-contained HTML page."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from placewise.auditing._counted import Counted
from placewise.auditing._words import (
    COMPARED_HEADER,
    LAYER_HEADER,
    SIDES,
    against_said,
    aligned_sizes,
    arises_said,
    layer_rows,
    missing_said,
    sides_of,
    unknown_names,
)
from placewise.auditing.receptive_field import GLOBAL
from placewise.report.parts import (
    Figure,
    Paragraph,
    Part,
    Report,
    Section,
    Table,
    settings_table,
)
from placewise.report.spoken import spoken
from placewise.wording import PIXELS_OF, begun, number

if TYPE_CHECKING:
    from placewise.auditing import Audit

ROWS = 60
"""Layers in the table of the page."""

TILES = {
    "best-served pixel over corner": ("max_over_corner", ""),
    "best corner over worst": ("corner_ratio", ""),
    "receptive field": ("receptive_field", " px"),
    "misaligned layers": ("uneven_layers", ""),
    "unseen pixels": ("unseen_pixels", ""),
    "middle over corner, measured": ("sensitivity_ratio", ""),
}

MEASURED = {
    "What the output depends on": ("sensitivity", "effective_field"),
    "How a shift changes the output": ("phases", "places"),
    "Features near the border": ("equivariance", "border_swap", "position"),
}
"""Sections of measured figures, with the names of their figures."""

AUDIT_WORDS = (
    (
        "path",
        "A route from a pixel through the layers to the output; in each layer it passes one "
        "position of one window. A pixel with few paths has little influence before training; "
        "training can make up for some of that.",
    ),
    (
        "spatial, per channel",
        "Two ways to count paths: spatial takes all channels of a layer as one, per "
        "channel counts each of them separately.",
    ),
    (
        "padding",
        "Values added around an image or a feature map so that windows fit at the border; mostly "
        "zeros.",
    ),
    (
        "stride-aligned size",
        "A size at which every layer that strides or resizes treats both ends of an axis alike. At "
        "other sizes a layer drops padding at one end, or repeats places unequally, and the "
        "network treats the two sides differently.",
    ),
    (
        "receptive field",
        "The pixels that can influence a position of a layer at all. It is concentric if all "
        "paths agree on its stride and centre.",
    ),
    (
        "effective receptive field",
        "The pixels that do influence a position, measured by how much a change of a pixel "
        "changes the value there (Luo et al. 2016). It is usually much smaller.",
    ),
    ("stride", "Pixels of the image from one position of a feature map to the next."),
    (
        "exact, at least, at most, one run, guessed",
        "Exact: counted, for any weights. At least: a normalisation also reads the mean and the "
        "variance of all pixels, which is not counted. Masks ignored: a mask lets attention read "
        "less. At most: perhaps fewer. One run: what one image made the network do, which chooses "
        "by values. Guessed: the path contains an operation that the audit does not know; the "
        "audit assumes that it reads everything. Reads all: a place reads the whole image at once, "
        "by attention, pooling or a normalisation.",
    ),
    (
        "noise",
        "Generated images of smooth noise that are alike everywhere. Differences between "
        "positions then come from the network and not from what the images show.",
    ),
    (
        "sensitivity",
        "How much the output changes when one place of the image is changed a little or covered.",
    ),
    (
        "phase",
        "The position of the image on the sampling grid of a strided network. A shift by a whole "
        "stride restores the phase.",
    ),
    (
        "equivariance",
        "When the image moves, the features move with it. Padding breaks this near the border.",
    ),
    (
        "position that can be read",
        "A linear probe predicts the position of a feature from that feature alone. What it knows "
        "beyond the hints in the image itself was added by the network.",
    ),
)
"""(word, explanation) for the reader of an audit."""


def audit_page(audit: Audit) -> str:
    """The page of an audit."""
    counted, scalars = audit.counted, audit.scalars()
    sections = []
    if counted is not None:
        figures: list[Part] = [*_figures(audit, "paths", "paths_by_layer", "ratio_by_layer")]
        if arises := arises_said(counted):
            figures.insert(0, Paragraph(arises))
        sections = [
            Section("How many paths each pixel has", figures),
            Section("Which sizes are stride-aligned", [*_sizes(audit, counted)]),
            Section("What the last map depends on", [*_padding(audit)]),
            Section("How far each layer reads", [*_layers(counted)]),
        ]
    sections += [Section(title, _figures(audit, *names)) for title, names in MEASURED.items()]
    if (old := audit.against) is not None:
        said = Paragraph(f"Then: {against_said(old)}. {old.verdict}")
        rows = Table(COMPARED_HEADER, old.rows(scalars), [1, 2], "Numbers of both audits.")
        sections.append(Section("Compared with an earlier audit", [said, rows]))
    sections.append(Section("How it was found", [settings_table(audit.settings())]))
    facts = [(name, _said(scalars[key], unit)) for name, (key, unit) in TILES.items()]
    tiles = [(name, shown) for name, shown in facts if shown]
    report = Report(
        audit.name, audit.verdict, sections, tiles=tiles, notes=_notes(audit), words=AUDIT_WORDS
    )
    return spoken(report, PIXELS_OF[len(audit.shape) - 1]).html()


def _said(value: float | None, unit: str) -> str:
    """A number in words, in full if it is whole; empty for None."""
    if value is None:
        return ""
    if math.isinf(value):
        return "∞"
    return f"{value:,}{unit}" if isinstance(value, int) else f"{number(value)}{unit}"


def _notes(audit: Audit) -> list[str]:
    """What the reader has to know before trusting a number."""
    said = list(audit.notes)
    if audit.counted is None:
        said.append(f"Why the network could not be followed: {audit.why}")
    elif audit.counted.graph.unknown:
        said.append(
            "The audit assumes that operations which it does not know read everything: "
            f"{unknown_names(audit.counted.graph.unknown)}. You can add a rule for them: see "
            "docs/audit.md."
        )
    if audit.measured is not None:
        said += map(begun, missing_said(audit.measured))
    return said


def _sizes(audit: Audit, counted: Counted) -> Iterable[Part]:
    found = counted.alignment
    yield Paragraph(f"{begun(aligned_sizes(counted))}.")
    yield from _tried(counted)
    if found.stopped:
        yield Paragraph(
            f"Other sizes can be followed only as far as {found.stopped}; layers beyond it are "
            "not considered in the figure.",
            muted=True,
        )
    yield from _figures(audit, "sizes")
    yield from _misaligned(counted)


def _tried(counted: Counted) -> Iterable[Part]:
    """The sizes that were tried on the network."""
    rows = [
        [
            sides_of(trial.size),
            "no" if trial.refused else "yes",
            str(trial.misaligned) if trial.paths else "",
            number(trial.paths.corner_ratio) if trial.paths else "",
            number(trial.paths.max_over_corner) if trial.paths else "",
        ]
        for trial in counted.advice.trials
    ]
    if rows:
        header = [
            "size",
            "accepted",
            "misaligned layers",
            "best over worst corner",
            "best over corner",
        ]
        yield Table(header, rows, range(2, 5), "Other sizes, tried on the network itself.")
    for trial in counted.advice.trials:
        if trial.refused:
            yield Paragraph(f"{sides_of(trial.size)}: {trial.refused}", muted=True)


def _misaligned(counted: Counted) -> Iterable[Part]:
    found = counted.alignment
    names = SIDES[len(found.size)]
    left = [
        [
            one.layer,
            "/".join(names[one.axis]),
            f"{one.length:,}",
            str(one.kernel),
            str(one.stride),
            str(one.before),
            str(one.after),
        ]
        for one in found.layers
        if not one.aligned
    ]
    if left:
        header = ["layer", "axis", "length", "window", "stride", "before", "after"]
        caption = (
            "Layers whose windows reach further beyond one end of an axis than beyond the other: "
            "places of padding that they read before the first feature and after the last. A "
            "negative number means that they read none, and leave out so many features."
        )
        yield Table(header, left, range(2, 7), caption)
    resized = [
        [one.layer, "/".join(names[one.axis]), f"{one.length:,}", f"{one.written:,}"]
        for one in found.resizes
        if not one.aligned
    ]
    if resized:
        caption = "Resizes, or crops and paddings after them, that treat both ends differently."
        yield Table(["layer", "axis", "from", "to"], resized, range(2, 4), caption)


def _padding(audit: Audit) -> Iterable[Part]:
    if "padding" not in audit.drawings:
        yield Paragraph("No path begins in padding: nothing is padded with zeros.")
    yield from _figures(audit, "support", "padding")


def _layers(counted: Counted) -> Iterable[Part]:
    field = counted.field
    place = f"A place of the last feature map ({counted.name(field.node)}) can read"
    size = f"{sides_of(field.size)} px"
    if field.status != GLOBAL:
        yield Paragraph(
            f"{place} {size} of the image. What is larger than that is read in parts only."
        )
    else:
        windows = f": {size} through windows, and the rest at once" if min(field.size) else ""
        yield Paragraph(f"{place} the whole image{windows}.")
    if outputs := layer_rows(counted, counted.outputs, ROWS):
        yield Table(["output", *LAYER_HEADER[1:]], outputs, [5], "Each output of the network.")
    rows = layer_rows(counted, counted.layers, ROWS)
    caption = "Best over corner: paths of the best-served pixel over those of the best corner."
    yield Table(LAYER_HEADER, rows, [5], caption, folded=f"Table of {len(rows)} layers")
    unread = [
        [one.layer, one.op, f"{one.unread:,}", f"{one.places:,}"] for one in counted.unseen.layers
    ]
    if unread:
        header = ["layer", "operation", "unread", "of places"]
        caption = "Features that no output reads: they are computed for nothing."
        folded = f"Features that nothing reads, of {len(unread)} operations"
        yield Table(header, unread, [2, 3], caption, folded=folded)


def _figures(audit: Audit, *names: str) -> list[Figure]:
    """Those of these figures that the audit has."""
    shown = [audit.drawings[name] for name in names if name in audit.drawings]
    return [Figure(one.draw, one.caption, one.alt) for one in shown]
