"""What a JSON in the form of COCO holds, before all of it is read."""

from __future__ import annotations

import re
from pathlib import Path

_CHUNK = 1 << 20
_HEAD = re.compile(r'"(images|annotations|categories)"\s*:\s*[\[{]')


def is_coco(head: str) -> bool:
    """Whether a text begins like an object with one of the three lists.

    Example:
        >>> is_coco('{"images": []}'), is_coco('{"images": 16}')
        (True, False)
    """
    return head.lstrip().startswith("{") and bool(_HEAD.search(head))


def only_outlines(path: Path) -> bool:
    """Whether a file holds outlines or masks of objects and no keypoints."""
    return _holds(path, b'"segmentation"') and not _holds(path, b'"keypoints"')


def _holds(path: Path, words: bytes) -> bool:
    try:
        with path.open("rb") as file:
            kept = b""
            while chunk := file.read(_CHUNK):
                if words in kept + chunk:
                    return True
                kept = chunk[-len(words) :]
    except OSError:
        return False
    return False
