"""An audit as one self-contained HTML page."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from placewise.auditing._count import Counted, layer_name
from placewise.auditing._words import (
    LAYER_HEADER,
    SIDES,
    even_sizes,
    layer_rows,
    missing_said,
    sides_of,
    unknown_names,
)
from placewise.report.parts import (
    Figure,
    Paragraph,
    Part,
    Report,
    Section,
    Table,
    settings_table,
)
from placewise.wording import number

if TYPE_CHECKING:
    from placewise.auditing import Audit

ROWS = 60
"""Layers in the table of the page."""


AUDIT_WORDS = (
    (
        "path",
        "A way from a pixel through the layers to the output: in each layer through one place of "
        "one window. A pixel with few paths weighs little before anything is learnt; training can "
        "make up for some of that.",
    ),
    (
        "spatial, channel-aware",
        "Two ways to count: with all channels of a layer as one, or each told apart.",
    ),
    (
        "padding",
        "What stands beyond the border of an image or a map so that windows fit there, mostly "
        "zeros.",
    ),
    (
        "even size",
        "A size at which no layer drops a padded row or column. At other sizes padding is used at "
        "one side only, and the network leans to that side.",
    ),
    (
        "receptive field",
        "The pixels that a place of a layer can read at all. It is aligned if all ways agree on "
        "where it lies.",
    ),
    (
        "effective receptive field",
        "The pixels that it does listen to, by how much a change of them changes it (Luo et al. "
        "2016); as a rule far fewer.",
    ),
    ("stride", "Pixels of the image from one place of a map to the next."),
    (
        "exact, bound, unknown",
        "Exact: counted, whatever the weights. Bound: no more than that, perhaps less. Unknown: an "
        "operation that the audit does not know is on the way, and is taken to read everything.",
    ),
    (
        "noise",
        "Made images of smooth noise that look alike everywhere: what differs from place to "
        "place is the network’s doing, not that of what images show.",
    ),
    (
        "sensitivity",
        "How much the answer changes when one place of the image is changed a little, or is "
        "painted over.",
    ),
    (
        "phase",
        "Where the image lies on the grid that a strided network samples at. Moving it by a "
        "whole stride brings the phase back.",
    ),
    (
        "equivariance",
        "If the image moves, the features move with it. Padding breaks that near the border.",
    ),
    (
        "place that can be read",
        "A linear probe is asked for the place of features that it sees alone. What it knows "
        "beyond the image’s own hints, the network has put there.",
    ),
)
"""(word, explanation) for the reader of an audit."""


def audit_page(audit: Audit) -> str:
    """The page of an audit."""
    counted = audit.counted
    sections = []
    if counted is not None:
        figures = _figures(audit, "paths", "paths_by_layer", "ratio_by_layer")
        sections = [
            Section("What the network reads of each pixel", figures),
            Section("Which sizes are even", [*_sizes(audit, counted)]),
            Section("What the last map rests on", [*_padding(audit)]),
            Section("How far each layer sees", [*_layers(counted)]),
        ]
    made = Section("How it was found", [settings_table(audit.settings())])
    return Report(
        audit.name,
        audit.verdict,
        [*sections, *_measured(audit), made],
        tiles=_tiles(audit),
        notes=_notes(audit),
        words=AUDIT_WORDS,
    ).html()


def _tiles(audit: Audit) -> list[tuple[str, str]]:
    scalars = audit.scalars()
    facts = [
        ("best-served pixel over corner", _said(scalars["max_over_corner"])),
        ("best corner over worst", _said(scalars["corner_ratio"])),
        ("receptive field", _said(scalars["receptive_field"], " px")),
        ("uneven layers", _said(scalars["uneven_layers"])),
        ("unseen pixels", _said(scalars["unseen_pixels"])),
        ("middle over corner, measured", _said(scalars["sensitivity_ratio"])),
    ]
    return [(name, shown) for name, shown in facts if shown]


def _said(value: float | None, unit: str = "") -> str:
    """A number as it is, if it is whole; nothing for none."""
    if value is None:
        return ""
    if math.isinf(value):
        return "∞"
    return f"{value:,}{unit}" if isinstance(value, int) else f"{number(value)}{unit}"


def _notes(audit: Audit) -> list[str]:
    """What the reader has to know before believing a number."""
    said = list(audit.notes)
    if audit.counted is None:
        said.append(f"Why it could not be followed: {audit.why}")
    if audit.counted is not None and audit.counted.graph.unknown:
        said.append(
            "Operations that the audit does not know are taken to read everything: "
            f"{unknown_names(audit.counted.graph.unknown)}. A rule of your own makes them known: "
            "see docs/audit.md."
        )
    if audit.measured is not None:
        said += [f"{line[0].upper()}{line[1:]}" for line in missing_said(audit.measured)]
    return said


def _sizes(audit: Audit, counted: Counted) -> Iterable[Part]:
    words = even_sizes(counted)
    yield Paragraph(f"{words[0].upper()}{words[1:]}.")
    if counted.evenness.stopped:
        yield Paragraph(
            f"Other sizes can be followed as far as {counted.evenness.stopped}; what lies beyond "
            "has no say in this.",
            muted=True,
        )
    yield from _figures(audit, "sizes")
    if counted.uneven:
        rows = [
            [
                left.layer,
                "/".join(SIDES[len(counted.evenness.size)][left.axis]),
                f"{left.length:,}",
                str(left.kernel),
                str(left.stride),
                str(left.unused),
                "features" if left.real else "padding",
            ]
            for left in counted.uneven
        ]
        header = ["layer", "axis", "length", "window", "stride", "dropped", "of"]
        caption = "Layers whose windows leave something at the end of an axis, padding included."
        yield Table(header, rows, range(2, 6), caption)


def _padding(audit: Audit) -> Iterable[Part]:
    if "padding" not in audit.drawings:
        yield Paragraph("No path begins in padding: nothing is padded with zeros.")
    yield from _figures(audit, "support", "padding")


def _layers(counted: Counted) -> Iterable[Part]:
    field = counted.field
    yield Paragraph(
        f"A place of the last feature map ({layer_name(counted.graph, field.node)}) can read "
        f"{sides_of(field.size)} px of the image. Objects that are larger are seen in parts.",
    )
    rows = layer_rows(counted, ROWS)
    caption = "Best/corner: paths of the best-served pixel over those of the best corner."
    folded = f"Table of {len(rows)} layers"
    yield Table(LAYER_HEADER, rows, [5], caption, folded=folded)
    unread = [
        [one.layer, one.op, f"{one.unread:,}", f"{one.places:,}"] for one in counted.unseen.layers
    ]
    if unread:
        header = ["layer", "operation", "unread", "of places"]
        caption = "Features that no output reads: work that is thrown away."
        folded = f"Features that nothing reads, of {len(unread)} operations"
        yield Table(header, unread, [2, 3], caption, folded=folded)


def _measured(audit: Audit) -> list[Section]:
    sections = {
        "What the output depends on": ("sensitivity", "effective_field"),
        "What a shift does to the output": ("phases", "places"),
        "What the border does to the features": ("equivariance", "border_swap", "position"),
    }
    return [Section(title, _figures(audit, *names)) for title, names in sections.items()]


def _figures(audit: Audit, *names: str) -> list[Figure]:
    """Those of these figures that there are."""
    shown = [audit.drawings[name] for name in names if name in audit.drawings]
    return [Figure(one.draw, one.caption, one.alt) for one in shown]
