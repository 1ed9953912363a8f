"""Text of other tools that is not read: which tool, and the way out, in one line each."""

from __future__ import annotations

import re

from placewise.formats._tools import Tool

COCO = "export the labels as COCO keypoints"


TEXT_TOOLS = (
    Tool(
        "a file of AlphaTracker, whose points have no names",
        f"{COCO}, or write a table image,instance,keypoint,x,y",
        pattern=r'^\[.*"annotations"\s*:\s*\[\s*\{[^{}]*"class"\s*:',
    ),
    Tool(
        "a project of VIA 3",
        "label points with VIA 2 and save its project, or export COCO keypoints",
        pattern=r'^\{.*"(file_src|loc_prefix)"|^\{.*"project"\s*:.*"(view|metadata)"\s*:',
    ),
    Tool(
        "a list of predictions of OpenPose, without names of images",
        COCO,
        pattern=r'^\{.*"pose_keypoints(_2d)?"',
    ),
    Tool(
        "a data file of YOLO without kpt_shape, so its objects have boxes or outlines alone",
        "export the labels as YOLO-pose",
        pattern=r"(^|\n)(nc|kpt_names|train|val)\s*:",
    ),
    Tool(
        "a labelling interface of Label Studio, not its labels",
        "export the project as JSON",
        pattern=r"^<View[\s>]",
    ),
    Tool(
        "a file of Supervisely",
        COCO,
        pattern=r'^\{.*"(classTitle|objectClassId)"',
    ),
)
"""Known kinds, the most special first."""


def text_tool(head: str) -> Tool | None:
    """Which other tool's a text is; None where it is of none that is known.

    Args:
        head: its beginning.

    Example:
        >>> text_tool("<View> <Image/> </View>").what
        'a labelling interface of Label Studio, not its labels'
    """
    start = head[:5000]
    return next((tool for tool in TEXT_TOOLS if re.search(tool.pattern, start, re.DOTALL)), None)
