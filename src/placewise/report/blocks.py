"""Blocks of a page that stands alone.

HTML is made of elements only; whatever is not an element is text and is escaped, so no name, path
or message can become markup. A page has no script, asks for nothing and forbids both itself.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

from placewise.report.drawing import to_jpeg
from placewise.report.marks import Overlay
from placewise.report.style import DARK, LIGHT, STYLE_SHEET, Theme, mark
from placewise.wording import number, printable

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'"
)
"""Content security policy: images from the page itself, its own style, and nothing else."""

IMAGE_BYTES = 1_600_000
"""Bytes that the photographs of a page may take together; 3 MB is the whole page."""

STEPS = ((900, 88), (720, 85), (560, 80), (420, 75), (300, 65))
"""(longer side, JPEG quality) that are tried until the photographs fit."""

ROWS, LETTERS, NAMED = 300, 600, 84
"""Rows of a table, letters of a cell, and points of a legend that are shown at most."""


class Html(str):
    """Markup that is finished; any other text is escaped where it enters an element."""


def element(tag: str, *content: str, **attributes: str) -> Html:
    """An element; text in it is escaped, `Html` is not.

    Args:
        tag: name of the element.
        content: text or elements.
        attributes: a trailing underscore is dropped (`class_`), others become hyphens.

    Example:
        >>> element("p", "a < b", element("br"), class_="note")
        '<p class="note">a &lt; b<br></p>'
    """
    words = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_text(value)}"'
        for name, value in attributes.items()
    )
    if tag in {"br", "img", "link", "meta", "source"}:
        return Html(f"<{tag}{words}>")
    return Html(f"<{tag}{words}>{joined(content)}</{tag}>")


def joined(content: Iterable[str]) -> Html:
    """Elements and text one after the other, the text escaped.

    Example:
        >>> joined(["a & b", element("br")])
        'a &amp; b<br>'
    """
    return Html("".join(part if isinstance(part, Html) else _text(part) for part in content))


def page(title: str, verdict: str, content: Iterable[Html]) -> str:
    """A whole page that begins with its verdict.

    Args:
        title: name of what is reported on.
        verdict: the finding in a sentence or two.
        content: the blocks below it.

    Example:
        >>> page("run 1", "All is well.", [])[:15]
        '<!doctype html>'
    """
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("link", rel="icon", href="data:,"),
        element("title", f"{title} · placewise"),
        element("style", Html(STYLE_SHEET)),
    )
    main = element(
        "main",
        element("h1", verdict),
        element("p", title, class_="title"),
        *content,
    )
    return f"<!doctype html>\n{element('html', head, element('body', main), lang='en')}\n"


def section(title: str, *content: str) -> Html:
    """A part of a page under its heading.

    Example:
        >>> section("Notes", "none")
        '<section><h2>Notes</h2>none</section>'
    """
    return element("section", element("h2", title), *content)


def tiles(facts: Sequence[tuple[str, str]]) -> Html:
    """The few numbers that matter most, large.

    Args:
        facts: (name, number with unit) of each.

    Example:
        >>> tiles([("mean error", "2 px")])
        '<dl class="tiles"><div><dt>mean error</dt><dd>2 px</dd></div></dl>'
    """
    return element(
        "dl",
        *(element("div", element("dt", name), element("dd", value)) for name, value in facts),
        class_="tiles",
    )


def listed(sentences: Sequence[str]) -> Html:
    """Sentences as a list.

    Example:
        >>> listed(["One."])
        '<ul><li>One.</li></ul>'
    """
    return element("ul", *(element("li", sentence) for sentence in sentences))


def words(entries: Sequence[tuple[str, str]]) -> Html:
    """Words with their explanations.

    Example:
        >>> words([("px", "Pixels.")])
        '<dl class="words"><dt>px</dt><dd>Pixels.</dd></dl>'
    """
    parts = [(element("dt", word), element("dd", meaning)) for word, meaning in entries]
    return element("dl", *(part for pair in parts for part in pair), class_="words")


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    numbers: Sequence[int] = (),
    caption: str = "",
) -> Html:
    """A table whose first cell of each row is its heading.

    Args:
        header: a word for each column.
        rows: as many cells each; the first 300 rows are shown.
        numbers: columns that stand to the right.
        caption: what the table shows.

    Example:
        >>> '<td class="number">1.5</td>' in table(["point", "px"], [["nose", "1.5"]], numbers=[1])
        True
    """
    kinds = ["number" if column in numbers else "" for column in range(len(header))]
    left_out = f" ({len(rows) - ROWS:,} more rows are left out)" if len(rows) > ROWS else ""
    body = [
        element("tr", *(_cell("th" if i == 0 else "td", row[i], kinds[i]) for i in range(len(row))))
        for row in rows[:ROWS]
    ]
    head = element("tr", *(_cell("th", *pair) for pair in zip(header, kinds, strict=True)))
    return element(
        "div",
        element(
            "table",
            element("caption", caption + left_out) if caption or left_out else Html(),
            element("thead", head) if any(header) else Html(),
            element("tbody", *body),
        ),
        class_="scroll",
    )


def settings_table(settings: Mapping[str, Any], caption: str = "") -> Html:
    """A nested mapping as rows of dotted names and values.

    Example:
        >>> "<th>a.b</th><td>yes</td>" in settings_table({"a": {"b": True}})
        True
    """
    return table(["", ""], list(_flat(settings)), caption=caption)


def plot(draw: Callable[[Theme], bytes], caption: str, alt: str) -> Html:
    """A figure in two versions, for light and for dark pages.

    Args:
        draw: figure of a theme, as the bytes of a PNG.
        caption: what to see in it.
        alt: the same for who cannot see it.

    Example:
        >>> plot(lambda theme: b"png", "Falls.", "a falling curve")[:16]
        '<figure><picture'
    """
    dark = element("source", srcset=_uri(draw(DARK), "png"), media="(prefers-color-scheme: dark)")
    light = element("img", src=_uri(draw(LIGHT), "png"), alt=alt)
    return element("figure", element("picture", dark, light), element("figcaption", caption))


def legend(names: Sequence[str]) -> Html:
    """Which mark is which point; of many points the first 84.

    Args:
        names: the points' names.

    Example:
        >>> legend(["nose"]).count("<svg")
        1
    """
    more = [f"and {len(names) - NAMED:,} more"] if len(names) > NAMED else []
    parts = [element("li", _swatch(i), f" {name}") for i, name in enumerate(names[:NAMED])]
    return element("ul", *parts, *(element("li", text) for text in more), class_="legend")


def _swatch(index: int) -> Html:
    """The mark of a point as a drawing."""
    colour, shape = mark(index)
    form = {
        "disc": "M-5 0A5 5 0 0 1 5 0A5 5 0 0 1-5 0Z",
        "square": "M-5-5H5V5H-5Z",
        "diamond": "M0-6L6 0L0 6L-6 0Z",
    }[shape]
    rims = ((5.0, "#101010"), (2.5, "#fff"))
    paths = [element("path", d=form, stroke=ink, stroke_width=str(width)) for width, ink in rims]
    fill = element("path", d=form, fill=f"rgb{colour}")
    return element("svg", *paths, fill, viewBox="-9 -9 18 18", aria_hidden="true")


def photographs(groups: Sequence[Sequence[tuple[str, Overlay]]], alt: str) -> list[Html]:
    """Images with captions in grids, so small that all of them fit into the page.

    Args:
        groups: (caption, image) of each image of each grid.
        alt: what the images show.

    Returns:
        A grid for each group; images that do not fit even when small are left out, and said so.

    Example:
        >>> import numpy as np
        >>> grids = photographs([[("a.png", np.zeros((4, 4, 3), np.uint8))]], "An image")
        >>> grids[0].count("<img")
        1
    """
    coded = _coded([image for group in groups for _, image in group])
    grids = []
    for group in groups:
        uris, coded = coded[: len(group)], coded[len(group) :]
        cards = [
            _card(caption, uri, alt) for (caption, _), uri in zip(group, uris, strict=True) if uri
        ]
        missing = len(group) - len(cards)
        note = f"{missing} more images are left out to keep this page small."
        words = element("p", note, class_="muted") if missing else Html()
        grids.append(joined([element("div", *cards, class_="grid"), words]))
    return grids


def wide(pixels: Overlay, caption: str, alt: str) -> Html:
    """One image across the page, such as a contact sheet.

    Args:
        pixels: (height, width, 3) uint8.
        caption: what to see in it.
        alt: the same for who cannot see it.

    Example:
        >>> import numpy as np
        >>> wide(np.zeros((4, 4, 3), np.uint8), "Cats.", "Four cats")[:12]
        '<figure><img'
    """
    (uri,) = _coded([pixels])
    image = element("img", src=uri, alt=alt[:LETTERS])
    return element("figure", image, element("figcaption", caption))


def _card(caption: str, uri: str, alt: str) -> Html:
    image = element("img", src=uri, alt=f"{alt}: {caption}"[:LETTERS])
    return element("figure", image, element("figcaption", caption[:LETTERS]))


def _coded(images: Sequence[Overlay]) -> list[str]:
    """Data URIs that take `IMAGE_BYTES` at most; empty for those that do not fit."""
    found: list[str] = []
    for longest, quality in STEPS:
        found, room = [], IMAGE_BYTES
        for image in images:
            found.append(_uri(to_jpeg(image, longest, quality), "jpeg"))
            room -= len(found[-1])
            if room < 0:
                break
        else:
            return found
    return found[:-1] + [""] * (len(images) - len(found) + 1)


def _uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{b64encode(data).decode()}"


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
    """A setting as words."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, float):
        return number(value, 5)
    if isinstance(value, list | tuple):
        return ", ".join(
            f"({_plain(part)})" if isinstance(part, list | tuple) else _plain(part)
            for part in value
        )
    return str(value)


def _text(words: str) -> str:
    """Words as they may stand in an element or an attribute."""
    return words if isinstance(words, Html) else escape(printable(words), quote=True)


FOOTER = element(
    "footer", "Made by placewise. This page holds everything it shows.", class_="muted"
)
"""The last block of a report."""
