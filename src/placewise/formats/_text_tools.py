"""Text of other tools that is not read: which tool, and the way out, in one line each."""

from __future__ import annotations

import re
from typing import NamedTuple

COCO = "export the labels as COCO keypoints"


class TextTool(NamedTuple):
    """A kind of text.

    Attributes:
        what: the file is, in words.
        way: what to do instead.
        pattern: what its beginning holds.
    """

    what: str
    way: str
    pattern: str


TEXT_TOOLS = (
    TextTool(
        "a file of AlphaTracker, whose points have no names",
        f"{COCO}, or write a table image,instance,keypoint,x,y",
        r'^\[.*"annotations"\s*:\s*\[\s*\{[^{}]*"class"\s*:',
    ),
    TextTool(
        "a project of VIA 3",
        "label points with VIA 2 and save its project, or export COCO keypoints",
        r'^\{.*"(file_src|loc_prefix)"|^\{.*"project"\s*:.*"(view|metadata)"\s*:',
    ),
    TextTool(
        "a list of predictions of OpenPose, without names of images",
        COCO,
        r'^\{.*"pose_keypoints(_2d)?"',
    ),
    TextTool(
        "a data file of YOLO without kpt_shape, so its objects have boxes or outlines alone",
        "export the labels as YOLO-pose",
        r"(^|\n)(nc|kpt_names|train|val)\s*:",
    ),
    TextTool(
        "a labelling interface of Label Studio, not its labels",
        "export the project as JSON",
        r"^<View[\s>]",
    ),
    TextTool(
        "a file of Supervisely",
        COCO,
        r'^\{.*"(classTitle|objectClassId)"',
    ),
)
"""Known kinds, the most special first."""


def text_tool(head: str) -> TextTool | None:
    """Which other tool's a text is; None where it is of none that is known.

    Args:
        head: its beginning.

    Example:
        >>> text_tool("<View> <Image/> </View>").what
        'a labelling interface of Label Studio, not its labels'
    """
    start = head[:5000]
    return next((tool for tool in TEXT_TOOLS if re.search(tool.pattern, start, re.DOTALL)), None)
