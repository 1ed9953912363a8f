"""The lines of a text one after the other, so that no text is in memory as a whole."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CHUNK = 1 << 18
"""Bytes that are read at a time."""

UTF8 = "utf-8-sig"

_END = re.compile(r"\r\n?|\n")
_ESCAPED = re.compile("[\udc80-\udcff]")
"""Bytes that are not UTF-8, as they are decoded here."""


class Line(NamedTuple):
    """A line with its end.

    Attributes:
        text: what it says.
        bad: the first byte in it that is not UTF-8, and its offset in the file; None: all are.
    """

    text: str
    bad: tuple[int, int] | None = None


def lines_of(path: Path, longest: int) -> Iterator[Line]:
    r"""Lines of a text in UTF-8 or UTF-16, which end with \n, \r or \r\n.

    Args:
        path: the file.
        longest: most characters of a line; of a longer one the first, and one more, are a line.

    Raises:
        UnicodeDecodeError: text in UTF-16 is damaged.
    """
    with path.open("rb") as file:
        start = file.read(1000)
        coding = coding_of(start)
        at = 3 if coding == UTF8 and start.startswith(codecs.BOM_UTF8) else 0
        file.seek(0)
        errors = "surrogateescape" if coding == UTF8 else "strict"
        decoder = codecs.getincrementaldecoder(coding)(errors)
        chunks = iter(lambda: file.read(CHUNK), b"")
        for text in _cut(_decoded(decoder, chunks), longest):
            if text.isascii():
                yield Line(text)
                at += len(text)
                continue
            data = text.encode("utf-8", "surrogateescape")
            bad = _ESCAPED.search(text)
            if bad is None:
                yield Line(text)
            else:
                before = len(text[: bad.start()].encode("utf-8", "surrogateescape"))
                byte = ord(bad[0]) - 0xDC00
                yield Line(data.decode("utf-8", "replace"), (byte, at + before))
            at += len(data)


def _decoded(decoder: codecs.IncrementalDecoder, chunks: Iterator[bytes]) -> Iterator[str]:
    for chunk in chunks:
        yield decoder.decode(chunk)
    yield decoder.decode(b"", final=True)


def _cut(texts: Iterator[str], longest: int) -> Iterator[str]:
    """Lines of a text that comes in parts, wherever these end."""
    rest, skipping, held = "", False, ""
    for text in texts:
        rest += held + text
        held = "\r" if rest.endswith("\r") else ""  # a \n may follow
        rest = rest[: len(rest) - len(held)]
        start = 0
        for match in _END.finditer(rest):
            if not skipping:
                yield rest[start : min(match.end(), start + longest + 1)]
            start, skipping = match.end(), False
        rest = rest[start:]
        if len(rest) > longest:
            if not skipping:
                yield rest[: longest + 1]
            rest, skipping = "", True
    if (rest or held) and not skipping:
        yield rest + held


def coding_of(data: bytes) -> str:
    """How a text is coded: UTF-8, or UTF-16 by its mark or by the zeros of its letters."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    head = data[:1000]
    for start, coding in ((0, "utf-16-be"), (1, "utf-16-le")):
        if head[start::2].count(0) > 0.4 * len(head) > head[1 - start :: 2].count(0) * 8:
            return coding
    return UTF8
