"""What is said of a file of labels that cannot be read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from placewise.errors import DataError, PlacewiseError, first_line, own_line
from placewise.formats._collect import Collector
from placewise.formats._tables import header_of
from placewise.formats._text_tools import text_tool
from placewise.formats._tools import tool_of
from placewise.labels.names import shown

UNFORESEEN = "its reader met what it does not know"
"""Words of the error that stands for what no reader foresees."""


@contextlib.contextmanager
def in_words(path: Path) -> Iterator[None]:
    """Turn what the system refuses, and what no reader expects of a file, into an error of ours.

    The readers say themselves what is wrong in a file; what they did not foresee is still one
    error that names the file, with the cause behind it.
    """
    try:
        yield
    except PlacewiseError:
        raise
    except OSError as error:
        reason = error.strerror or error
        raise DataError(
            f"{path} cannot be read: {reason}; check the path and its rights"
        ) from error
    except Exception as error:
        where = own_line(error)
        raise DataError(
            f"{path} cannot be read: {UNFORESEEN} ({first_line(error)}"
            f"{', in ' + where if where else ''}); it may be damaged: write it again, or export "
            "the labels as COCO keypoints or CSV"
        ) from error


def unrecognised(file: Path, head: str) -> NoReturn:
    """Say what is wrong with a file that no format recognises."""
    collector = Collector(file)
    if not head:
        collector.fault(1, "header", "the file is empty", "write a header and a row for each label")
    elif tool := tool_of(file) or text_tool(head):
        collector.fault(0, "file", f"it is {tool.what}", tool.way.format(file=file))
    elif head.startswith("[") and '"image_id"' in head:
        got = "it is a list of results, not a data set: it names no images and no keypoints"
        collector.fault(0, "file", got, "give the file with images, annotations and categories")
    elif head[0] in "{[":
        got = "the JSON has no images, annotations and categories"
        collector.fault(0, "file", got, "export the labels as COCO keypoints")
    else:
        for _ in collector.lines():  # finds bytes that are no text
            pass
        if not collector.faults:
            got = f"the columns are {shown(', '.join(header_of(head)))}"
            todo = (
                "a table of labels has the columns image, keypoint, x, y (a row for each "
                "keypoint), or image, NAME_x, NAME_y, … (a row for each image), or image, class; "
                "see docs/formats.md"
            )
            collector.fault(1, "header", got, todo)
    collector.stop()
