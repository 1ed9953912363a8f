"""Markup of a page that stands alone.

HTML is made of elements only; whatever is not an element is text and is escaped, so no name, path
or message can become markup. A page has no script, asks for nothing and forbids both itself.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape

from placewise.report.drawing import to_jpeg
from placewise.report.marks import Overlay
from placewise.report.style import STYLE_SHEET, mark, object_shape
from placewise.wording import printable

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'"
)
"""Content security policy: images from the page itself, its own style, and nothing else."""

IMAGE_BYTES = 1_600_000
"""Bytes that the photographs of a page may take together; 3 MB is the whole page."""

STEPS = ((900, 88), (720, 85), (560, 80), (420, 75), (300, 65))
"""(longer side, JPEG quality) that are tried until the photographs fit."""


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


def page(title: str, content: Iterable[Html]) -> str:
    """A whole page.

    Args:
        title: what the browser's tab shows.
        content: the elements of the page.

    Example:
        >>> page("run 1", [])[:15]
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
    body = element("body", element("main", *content))
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def swatch(index: int, by_shape: bool = False) -> Html:
    """The mark of a keypoint as a drawing.

    Args:
        index: number of the keypoint.
        by_shape: whether its shape alone says which one it is, see `style.object_shape`.

    Example:
        >>> swatch(0)[:4]
        '<svg'
    """
    colour, shape = ((140, 140, 140), object_shape(index)) if by_shape else mark(index)
    form = {
        "disc": "M-5 0A5 5 0 0 1 5 0A5 5 0 0 1-5 0Z",
        "square": "M-5-5H5V5H-5Z",
        "diamond": "M0-6L6 0L0 6L-6 0Z",
        "triangle": "M0-7L6 4H-6Z",
        "wedge": "M0 7L6-4H-6Z",
        "plus": "M-2-6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z",
    }[shape]
    rims = ((5.0, "#101010"), (2.5, "#fff"))
    paths = [element("path", d=form, stroke=ink, stroke_width=str(width)) for width, ink in rims]
    fill = element("path", d=form, fill=f"rgb{colour}")
    return element("svg", *paths, fill, viewBox="-9 -9 18 18", aria_hidden="true")


def png_uri(data: bytes) -> str:
    """The bytes of a PNG file as an address that holds them.

    Example:
        >>> png_uri(b"png")
        'data:image/png;base64,cG5n'
    """
    return f"data:image/png;base64,{b64encode(data).decode()}"


def photograph_uris(images: Sequence[Overlay]) -> list[str]:
    """Images as addresses that hold them, `IMAGE_BYTES` together at most.

    Args:
        images: (height, width, 3) uint8 each; all of them become smaller until they fit.

    Returns:
        An address for each image; empty for those that do not fit even when they are small.

    Example:
        >>> import numpy as np
        >>> photograph_uris([np.zeros((4, 4, 3), np.uint8)])[0][:16]
        'data:image/jpeg;'
    """
    found: list[str] = []
    for longest, quality in STEPS:
        found, room = [], IMAGE_BYTES
        for image in images:
            coded = b64encode(to_jpeg(image, longest, quality)).decode()
            found.append(f"data:image/jpeg;base64,{coded}")
            room -= len(found[-1])
            if room < 0:
                break
        else:
            return found
    return found[:-1] + [""] * (len(images) - len(found) + 1)


def _text(words: str) -> str:
    """Words as an element or an attribute may hold them."""
    return words if isinstance(words, Html) else escape(printable(words), quote=True)
