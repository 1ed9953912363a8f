"""XML of other tools: without document types, which may define entities that explode."""

from __future__ import annotations

import re
from xml.etree import ElementTree

MAX_ELEMENTS = 600_000
"""Most elements in a file; more would fill the memory."""

_UNFIT = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def parsed(data: bytes) -> ElementTree.Element:
    """The first element.

    Raises:
        ValueError: why it is refused, in words.

    Example:
        >>> parsed(b"<a><b/></a>").tag
        'a'
        >>> parsed(b"<!DOCTYPE a><a/>")
        Traceback (most recent call last):
        ValueError: it defines a document type
    """
    if data.count(b"<") - data.count(b"</") > MAX_ELEMENTS:
        raise ValueError(f"it holds more than {MAX_ELEMENTS:,} elements; split the file")
    marks = (mark.encode(coding) for mark in ("<!ENTITY", "<!DOCTYPE") for coding in _CODINGS)
    if any(mark in data for mark in marks):
        raise ValueError("it defines a document type")
    try:
        return ElementTree.fromstring(data)
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise ValueError(f"this is no XML ({error})") from None


def is_fit(text: str) -> bool:
    """Whether a text can be in XML.

    Example:
        >>> is_fit("nose"), is_fit(chr(0xFFFF))
        (True, False)
    """
    return not _UNFIT.search(text)


_CODINGS = ("utf-8", "utf-16-le", "utf-16-be")
