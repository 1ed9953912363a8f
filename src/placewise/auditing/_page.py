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
        "A route from a pixel through the layers to the output; in each layer it passes one "
        "position of one window. A pixel with few paths has little influence before training; "
        "training can make up for some of that.",
    ),
    (
        "spatial, channel-aware",
        "Two ways to count paths: spatial takes all channels of a layer as one, channel-aware "
        "counts each channel separately.",
    ),
    (
        "padding",
        "Values added around an image or a feature map so that windows fit at the border; mostly "
        "zeros.",
    ),
    (
        "stride-aligned (even) size",
        "A size at which no layer drops a padded row or column. At other sizes "
        "padding is used on one side only, and the network treats the two sides differently.",
    ),
    (
        "receptive field",
        "The pixels that can influence a position of a layer at all. It is aligned if all paths "
        "agree on where it is.",
    ),
    (
        "effective receptive field",
        "The pixels that do influence a position, measured by how much a change of a pixel "
        "changes the value there (Luo et al. 2016). It is usually much smaller.",
    ),
    ("stride", "Pixels of the image from one position of a feature map to the next."),
    (
        "exact, bound, unknown",
        "Exact: counted, for any weights. Bound: at most this number, perhaps fewer. Unknown: the "
        "path contains an operation that the audit does not know; the audit assumes that it reads "
        "everything.",
    ),
    (
        "noise",
        "Generated images of smooth noise that look alike everywhere. Differences between "
        "positions then come from the network and not from what the images show.",
    ),
    (
        "sensitivity",
        "How much the output changes when one place of the image is changed a little or painted "
        "over.",
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
