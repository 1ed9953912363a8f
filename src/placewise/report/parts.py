"""What every report is made of: a verdict, tiles, notes, and sections of parts.

A report is written once and becomes both a page that stands alone and a text for the console.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from placewise import __version__
from placewise.report import text
from placewise.report.html import Html, element, joined, page, photograph_uris, png_uri, swatch
from placewise.report.marks import Overlay
from placewise.report.style import DARK, LIGHT, Theme
from placewise.wording import number, printable

ROWS, LETTERS, NAMED = 300, 600, 84
"""Rows of a table, letters of a cell, and keypoints of a legend that a page shows at most."""

PAIR, TRACE = 1.6, 3.5
"""Width by height from which images are shown two to a row, and one to a row."""

Card = tuple[str, Overlay]
"""(caption, image)."""

FOOTER = f"Made by placewise {__version__}. This page holds everything it shows."
"""The last line of every page."""


class Part(ABC):
    """A part of a section."""

    @property
    def photographs(self) -> Sequence[Overlay]:
        """The images that it shows; those of a whole page share its room."""
        return ()

    @abstractmethod
    def html(self, uris: Iterator[str]) -> Html:
        """The part on a page.

        Args:
            uris: the addresses of its photographs come next; empty where one does not fit.
        """

    def text(self) -> str:
        """The part on the console; empty where it has no place there."""
        return ""


@dataclass(frozen=True)
class Paragraph(Part):
    """A paragraph.

    Attributes:
        words: its sentences.
        muted: whether it is secondary.

    Example:
        >>> Paragraph("a < b").html(iter(()))
        '<p>a &lt; b</p>'
    """

    words: str
    muted: bool = False

    def html(self, uris: Iterator[str]) -> Html:
        """See `Part`."""
        return element("p", self.words, **({"class_": "muted"} if self.muted else {}))

    def text(self) -> str:
        """See `Part`."""
        return printable(self.words)


@dataclass(frozen=True)
class Bullets(Part):
    """Sentences as a list; numbered on the console.

    Example:
        >>> Bullets(["One."]).html(iter(())), Bullets(["One."]).text()
        ('<ul><li>One.</li></ul>', '1. One.')
    """

    sentences: Sequence[str]

    def html(self, uris: Iterator[str]) -> Html:
        """See `Part`."""
        return element("ul", *(element("li", sentence) for sentence in self.sentences))

    def text(self) -> str:
        """See `Part`."""
        return "\n\n".join(f"{i}. {printable(said)}" for i, said in enumerate(self.sentences, 1))


@dataclass(frozen=True)
class Table(Part):
    """A table whose first cell of each row is the heading of the row.

    Attributes:
        header: a word for each column; empty words need no line.
        rows: as many cells each; a page shows the first 300.
        numbers: columns that are aligned to the right.
        caption: what the table shows.
        title: a heading above it.
        folded: a page shows only these words until the reader opens the table.

    Example:
        >>> found = Table(["keypoint", "px"], [["nose", "1.5"]], numbers=[1])
        >>> '<td class="number">1.5</td>' in found.html(iter(()))
        True
        >>> print(found.text())
        keypoint   px
        ─────────────
        nose      1.5
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Sequence[int] = ()
    caption: str = ""
    title: str = ""
    folded: str = ""

    def html(self, uris: Iterator[str]) -> Html:
        """See `Part`."""
        kinds = ["number" if i in self.numbers else "" for i in range(len(self.header))]
        more = len(self.rows) - ROWS
        caption = self.caption + (f" ({more:,} more rows are not shown)" if more > 0 else "")
        head = element("tr", *(_cell("th", *pair) for pair in zip(self.header, kinds, strict=True)))
        body = [
            element("tr", *(_cell("td" if i else "th", row[i], kinds[i]) for i in range(len(row))))
            for row in self.rows[:ROWS]
        ]
        whole = element(
            "table",
            element("caption", caption) if caption else Html(),
            element("thead", head) if any(self.header) else Html(),
            element("tbody", *body),
        )
        shown = element("div", whole, class_="scroll")
        if self.folded:
            shown = element("details", element("summary", self.folded), shown)
        return joined([element("h3", self.title), shown]) if self.title else shown

    def text(self) -> str:
        """See `Part`."""
        if not self.rows:
            return ""
        shown = text.table(self.header, self.rows, self.numbers)
        return f"{shown}\n{printable(self.caption)}" if self.caption else shown


def settings_table(
    settings: Mapping[str, Any], caption: str = "", title: str = "", folded: str = ""
) -> Table:
    """A nested mapping as rows of dotted names and values.

    Example:
        >>> settings_table({"a": {"b": True}}).rows
        [('a.b', 'yes')]
    """
    return Table(["", ""], list(_flat(settings)), caption=caption, title=title, folded=folded)


@dataclass(frozen=True)
class Figure(Part):
    """A figure in two versions, for light and for dark pages.

    Attributes:
        draw: the figure in a theme, as the bytes of a PNG file.
        caption: what to see in it.
        alt: the same for a reader who cannot see it.
        numbers: the numbers that it shows: folded on a page, in its place on the console.

    Example:
        >>> Figure(lambda theme: b"png", "It falls.", "A falling curve").html(iter(()))[:16]
        '<figure><picture'
    """

    draw: Callable[[Theme], bytes]
    caption: str
    alt: str
    numbers: Table | None = None

    def html(self, uris: Iterator[str]) -> Html:
        """See `Part`."""
        dark = png_uri(self.draw(DARK))
        source = element("source", srcset=dark, media="(prefers-color-scheme: dark)")
        image = element("img", src=png_uri(self.draw(LIGHT)), alt=self.alt[:LETTERS])
        parts = [element("picture", source, image), element("figcaption", self.caption)]
        if self.numbers is not None:
            parts.append(self.numbers.html(uris))
        return element("figure", *parts)

    def text(self) -> str:
        """See `Part`."""
        return "" if self.numbers is None else self.numbers.text()


@dataclass(frozen=True)
class Legend(Part):
    """Which mark is which keypoint; of many keypoints the first 84.

    Attributes:
        names: of the keypoints.
        by_shape: the shape of a mark says which one it is, its colour whose it is.

    Example:
        >>> Legend(["nose"]).html(iter(())).count("<svg")
        1
    """

    names: Sequence[str]
    by_shape: bool = False

    def html(self, uris: Iterator[str]) -> Html:
        """See `Part`."""
        items = [
            element("li", swatch(i, self.by_shape), f" {name}")
            for i, name in enumerate(self.names[:NAMED])
        ]
        if len(self.names) > NAMED:
            items.append(element("li", f"and {len(self.names) - NAMED:,} more"))
        return element("ul", *items, class_="legend")


@dataclass(frozen=True)
class Photographs(Part):
    """Images with captions in a grid.

    Attributes:
        cards: (caption, image) of each.
        alt: what the images show.
        title: a heading above them.

    Example:
        >>> import numpy as np
        >>> shown = Photographs([("a.png", np.zeros((4, 4, 3), np.uint8))], "An image")
        >>> shown.html(iter(["data:"])).count("<img")
        1
    """

    cards: Sequence[Card]
    alt: str
    title: str = ""

    @property
    def photographs(self) -> Sequence[Overlay]:
        """See `Part`."""
        return [image for _, image in self.cards]

    def html(self, uris: Iterator[str]) -> Html:
        """See `Part`."""
        shown = [
            _captioned(uri, f"{self.alt}: {caption}", caption)
            for (caption, _), uri in zip(self.cards, uris, strict=False)
            if uri
        ]
        missing = len(self.cards) - len(shown)
        note = f"{missing} more images are not shown, to keep this page small."
        return joined(
            [
                element("h3", self.title) if self.title else Html(),
                element("div", *shown, class_=self._columns()),
                element("p", note, class_="muted") if missing else Html(),
            ]
        )

    def _columns(self) -> str:
        """Three images to a row, two where they are wide, one where they are traces."""
        wide = np.median([image.shape[1] / image.shape[0] for _, image in self.cards])
        return "grid" if wide < PAIR else "grid wide" if wide < TRACE else "grid widest"


@dataclass(frozen=True)
class Wide(Part):
    """One image across the page, such as a contact sheet.

    Attributes:
        pixels: (height, width, 3) uint8.
        caption: what to see in it.
        alt: the same for a reader who cannot see it.

    Example:
        >>> import numpy as np
        >>> Wide(np.zeros((4, 4, 3), np.uint8), "Cats.", "Four cats").html(iter(["data:"]))[:12]
        '<figure><img'
    """

    pixels: Overlay
    caption: str
    alt: str

    @property
    def photographs(self) -> Sequence[Overlay]:
        """See `Part`."""
        return [self.pixels]

    def html(self, uris: Iterator[str]) -> Html:
        """See `Part`."""
        return _captioned(next(uris), self.alt, self.caption)


@dataclass(frozen=True)
class Section:
    """A part of a report under its heading; it is left out where it has no parts.

    Attributes:
        title: the heading.
        parts: what it holds; figures that follow each other stand side by side.
        console: whether the console shows it too.

    Example:
        >>> Section("Notes", [Paragraph("None.")]).html(iter(()))
        '<section><h2>Notes</h2><p>None.</p></section>'
    """

    title: str
    parts: Sequence[Part]
    console: bool = True

    def html(self, uris: Iterator[str]) -> Html:
        """The section on a page."""
        blocks: list[Html] = []
        for figures, parts in groupby(self.parts, lambda part: isinstance(part, Figure)):
            shown = [part.html(uris) for part in parts]
            blocks += [element("div", *shown, class_="plots")] if figures else shown
        return element("section", element("h2", self.title), *blocks) if blocks else Html()


@dataclass(frozen=True)
class Report:
    """A report: what was found, in a sentence, in numbers, and in detail.

    Attributes:
        title: name of what is reported on.
        verdict: the finding in a sentence or two.
        sections: the details.
        tiles: (name, number with unit) of the few numbers that matter most.
        notes: sentences that the reader has to know.
        words: (word, meaning) for a reader who sees such a report for the first time.

    Example:
        >>> found = Report("run 1", "All is well.", [Section("Scores", [Paragraph("2 px")])])
        >>> print(found.text())
        All is well.
        <BLANKLINE>
        2 px
        >>> "<h1>All is well.</h1>" in found.html(), "<script" in found.html()
        (True, False)
    """

    title: str
    verdict: str
    sections: Sequence[Section]
    tiles: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    words: Sequence[tuple[str, str]] = ()

    def html(self) -> str:
        """One page that stands alone: no script, no request, at most 3 MB."""
        sections = [
            *([Section("Notes", [Bullets(self.notes)])] if self.notes else []),
            *self.sections,
        ]
        photographs = [
            image for section in sections for part in section.parts for image in part.photographs
        ]
        uris = iter(photograph_uris(photographs))
        tiles = [element("div", element("dt", n), element("dd", v)) for n, v in self.tiles]
        content = [
            element("h1", self.verdict),
            element("p", self.title, class_="title"),
            element("dl", *tiles, class_="tiles") if tiles else Html(),
            *(section.html(uris) for section in sections),
            _words(self.words),
            element("footer", FOOTER, class_="muted"),
        ]
        return page(self.title, content)

    def text(self) -> str:
        """The report for the console: the verdict, the notes, and what sections show there."""
        sections = [section for section in self.sections if section.console]
        parts = [part.text() for section in sections for part in section.parts]
        return "\n\n".join(
            filter(None, [printable(self.verdict), Bullets(self.notes).text(), *parts])
        )


def _words(entries: Sequence[tuple[str, str]]) -> Html:
    pairs = [joined([element("dt", word), element("dd", meaning)]) for word, meaning in entries]
    listed = element("dl", *pairs, class_="words")
    return element("section", element("h2", "Words"), listed) if pairs else Html()


def _captioned(uri: str, alt: str, caption: str) -> Html:
    image = element("img", src=uri, alt=alt[:LETTERS])
    return element("figure", image, element("figcaption", caption[:LETTERS]))


def _cell(tag: str, words: str, kind: str) -> Html:
    short = words if len(words) <= LETTERS else f"{words[:LETTERS]}…"
    return element(tag, short, class_=kind) if kind else element(tag, short)


def _flat(values: Mapping[str, Any], before: str = "") -> Iterable[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", _plain(value)


def _plain(value: Any) -> str:
    """A setting in words."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, list | tuple | Mapping) and not value:
        return "–"
    if isinstance(value, float):
        return number(value, 5)
    if isinstance(value, list | tuple):
        return ", ".join(
            f"({_plain(part)})" if isinstance(part, list | tuple) else _plain(part)
            for part in value
        )
    return str(value)
