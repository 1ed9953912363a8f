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
from placewise.report.blocks import (
    FOOTER,
    Html,
    element,
    joined,
    listed,
    page,
    plot,
    section,
    settings_table,
    table,
    tiles,
    words,
)
from placewise.report.glossary import AUDIT_WORDS
from placewise.wording import number

if TYPE_CHECKING:
    from placewise.auditing import Audit

ROWS = 60
"""Layers in the table of the page."""


def audit_page(audit: Audit) -> str:
    """The page of an audit."""
    counted = audit.counted
    parts = [tiles(_tiles(audit)), _notes(audit)]
    if counted is not None:
        parts += [
            section(
                "What the network reads of each pixel",
                _plots(audit, "paths", "paths_by_layer", "ratio_by_layer"),
            ),
            section("Which sizes are even", *_sizes(audit, counted)),
            section("What the last map rests on", *_padding(audit)),
            section("How far each layer sees", *_layers(counted)),
        ]
    parts += _measured(audit)
    parts += [
        section("How it was found", settings_table(audit.settings())),
        section("Words", words(AUDIT_WORDS)),
        FOOTER,
    ]
    return page(audit.name, audit.verdict, parts)


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


def _notes(audit: Audit) -> Html:
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
    return section("Notes", listed(said)) if said else Html()


def _sizes(audit: Audit, counted: Counted) -> Iterable[Html]:
    words = even_sizes(counted)
    yield element("p", f"{words[0].upper()}{words[1:]}.")
    if counted.evenness.stopped:
        yield element(
            "p",
            f"Other sizes can be followed as far as {counted.evenness.stopped}; what lies beyond "
            "has no say in this.",
            class_="muted",
        )
    yield _plots(audit, "sizes")
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
        yield table(header, rows, range(2, 6), caption)


def _padding(audit: Audit) -> Iterable[Html]:
    if "padding" not in audit.drawings:
        yield element("p", "No path begins in padding: nothing is padded with zeros.")
    yield _plots(audit, "support", "padding")


def _layers(counted: Counted) -> Iterable[Html]:
    field = counted.field
    yield element(
        "p",
        f"A place of the last feature map ({layer_name(counted.graph, field.node)}) can read "
        f"{sides_of(field.size)} px of the image. Objects that are larger are seen in parts.",
    )
    rows = layer_rows(counted, ROWS)
    caption = "Best/corner: paths of the best-served pixel over those of the best corner."
    yield _folded(f"Table of {len(rows)} layers", table(LAYER_HEADER, rows, [5], caption))
    unread = [
        [one.layer, one.op, f"{one.unread:,}", f"{one.places:,}"] for one in counted.unseen.layers
    ]
    if unread:
        header = ["layer", "operation", "unread", "of places"]
        caption = "Features that no output reads: work that is thrown away."
        yield _folded(
            f"Features that nothing reads, of {len(unread)} operations",
            table(header, unread, [2, 3], caption),
        )


def _measured(audit: Audit) -> list[Html]:
    sections = {
        "What the answer hangs on": ("sensitivity", "effective_field"),
        "What a shift does to the answer": ("phases", "places"),
        "What the border does to the features": ("equivariance", "border_swap", "position"),
    }
    found = [(title, _plots(audit, *names)) for title, names in sections.items()]
    return [section(title, plots) for title, plots in found if plots]


def _plots(audit: Audit, *names: str) -> Html:
    """Those of these figures that there are."""
    shown = [audit.drawings[name] for name in names if name in audit.drawings]
    figures = [plot(one.draw, one.caption, one.alt) for one in shown]
    return element("div", *figures, class_="plots") if figures else Html()


def _folded(title: str, content: str) -> Html:
    return element("details", element("summary", title), joined([content]))
