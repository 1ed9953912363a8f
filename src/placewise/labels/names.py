"""Names of images: which may be opened and written again, and what is written beside them."""

from __future__ import annotations

import re
import reprlib
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from placewise.images import is_image_name

_DRIVE = re.compile(r"[A-Za-z]:")
_DEVICE = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\..*)?", re.IGNORECASE
)


def normal(name: str) -> str:
    r"""An image's name with forward slashes and without empty and `.` parts.

    Example:
        >>> normal(r".\left\a.png")
        'left/a.png'
    """
    return "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))


def is_absolute(name: str) -> bool:
    r"""Whether a path begins at a root or with a drive, on any system.

    Example:
        >>> is_absolute("/home/me/a.png"), is_absolute(r"D:\mice\a.png"), is_absolute("left/a.png")
        (True, True, False)
    """
    return name.replace("\\", "/").startswith("/") or bool(_DRIVE.match(name))


def why_unsafe(name: str) -> str:
    r"""Why an image's name may not be opened below the folder of its labels; empty if it may.

    Only the name is judged; where a symlink leads is for the caller to see. The rules are the same
    on every system, so that a data set that loads on one loads on all.

    Example:
        >>> why_unsafe("../secret.png")
        'leaves the folder'
        >>> why_unsafe(r"\\server\share\a.png")
        'is an absolute path'
        >>> why_unsafe("left/a.png")
        ''
    """
    flat = name.replace("\\", "/")
    parts = normal(name).split("/")
    if has_control(name):
        return "holds a character that no name may hold"
    if flat.startswith("/"):
        return "is an absolute path"
    if _DRIVE.match(flat):
        return "begins with a drive letter"
    if parts == [""]:
        return "names no image"
    if any(not part.strip(" .") for part in parts):
        return "leaves the folder"
    device = next((part for part in parts if _DEVICE.fullmatch(part)), None)
    return f"holds '{device}', which Windows keeps for a device" if device else ""


@lru_cache(maxsize=4096)
def why_unfit(name: str) -> str:
    """Why this cannot be the name of a point; empty if it can.

    Example:
        >>> why_unfit(" nose")
        'begins or ends with a blank'
        >>> why_unfit("nose")
        ''
    """
    if not name:
        return "is empty"
    if len(name) > 255:
        return "is longer than 255 characters"
    if name != name.strip():
        return "begins or ends with a blank"
    return "holds a character that no name may hold" if has_control(name) else ""


def has_control(text: str) -> bool:
    """Whether a text holds control characters (NUL, line breaks ...) or half a character."""
    return any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text)


def shown(value: object) -> str:
    r"""What a user wrote, on one line, quoted and not too long.

    Example:
        >>> shown("a" * 100)[-6:], shown("a\nb")
        ("aa...'", "'a\\nb'")
    """
    text = value if isinstance(value, str) else reprlib.repr(value)  # which is not deep
    short = text if len(text) <= 60 else text[:57] + "..."
    quoted = ascii(short) if has_control(short) else f"'{short}'"
    return quoted if isinstance(value, str) else quoted[1:-1]


def repeated(values: Iterable[str]) -> str | None:
    """The first value that comes a second time.

    Example:
        >>> repeated(["a", "b", "a"]), repeated(["a", "b"])
        ('a', None)
    """
    seen: set[str] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None


def name_beside(image: str, ending: str = "png") -> str:
    """Name of what is drawn or written of an image, in a folder of its own.

    No two images share one, `b.tif` and `b.tif.png` neither.

    Args:
        image: its name.
        ending: of the file, without the dot.

    Example:
        >>> name_beside("a.png"), name_beside("b.tif"), name_beside("b.tif.png")
        ('a.png', 'b.tif.png', 'b.tif.png.png')
    """
    stem = image.removesuffix(".png")
    return f"{image if is_image_name(stem) else stem}.{ending}"
