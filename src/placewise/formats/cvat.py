"""CVAT XML 1.1: images or tracks with skeletons, or with plain points.

```
<image name="a.png" width="64" height="48"> <skeleton label="mouse">
  <points label="nose" outside="0" occluded="0" points="10.75,21.00"/> …
<track label="mouse"> <skeleton frame="17" keyframe="1"> <points … />
<points label="nose" points="10.75,21.00" group_id="1"/>
```

Places count from the image's corner and have two decimals. A keypoint that is outside is absent,
one that is occluded is hidden. Of tracks only key frames count: the places between them were not
labelled but computed. A frame is an image of this number in the folder or, of a video, a frame of
it. Plain points are keypoints of one object where they have one group; one element may hold many
places. Boxes and outlines are left out. Files that define a document type are refused.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape, quoteattr

from placewise.errors import SettingsError
from placewise.formats._collect import Collector, read_bytes
from placewise.formats._format import KeypointText
from placewise.formats._holds import Holds, lost
from placewise.formats._located import Located, check_size, images_below
from placewise.formats._objects import Objects, Placed
from placewise.formats._xml import is_fit, parsed
from placewise.frames import frame_named
from placewise.labels import KeypointDataset, KeypointSample, Visibility
from placewise.labels.names import shown

HOLDS = Holds(hidden=True, absent=True, skeleton=True, splits=True)

SUBSETS = {"train": "Train", "val": "Validation", "test": "Test"}

_ROOT = re.compile(r"<annotations[\s>]")
_KNOWN = re.compile(r"<(version|meta|image|track)[\s>]")
_PLACE = re.compile(r"\s*([-+]?[\d.]+(?:e[-+]?\d+)?)\s*,\s*([-+]?[\d.]+(?:e[-+]?\d+)?)\s*", re.I)
_LINE = re.compile(r"<line\b[^>]*>")
_NODE = re.compile(r"<circle\b[^>]*>")
_VALUE = re.compile(r'data-(node-from|node-to|node-id|label-name)="([^"]*)"')
_NUMBERED = re.compile(r"frame_(\d+)\.\w+", re.IGNORECASE)
_QUOTE = {'"': "&quot;"}
_WAY_OUT = "give each object a skeleton or a group of its own, or delete one of the points"


class _At(NamedTuple):
    """Where an element is, and which object it is of."""

    image: str | None
    group: tuple[str, int | str] | None
    field: str


class Cvat(KeypointText):
    """CVAT XML 1.1, for images and for videos: skeletons and points; boxes are left out.

    Written for images, with a skeleton for each object.
    """

    patterns = ("*.xml",)
    endings = (".xml",)

    def recognises(self, path: Path, head: str) -> bool:
        """XML whose first element is a list of annotations."""
        return bool(_ROOT.search(head[:4000]) and _KNOWN.search(head))

    def read(self, path: Path, root: Path | None = None) -> KeypointDataset:
        """Read labels; see `Format.read`.

        Without a root the images are sought below the file's folder and below the one above.
        """
        collector = Collector(path, root)
        collector.from_corner("CVAT")
        try:
            tree = parsed(read_bytes(path))
        except ValueError as error:
            collector.fault(0, "file", str(error), "export the labels as CVAT 1.1 again")
            collector.stop()
        reader = _Reader(collector, tree, find_root=root is None)
        return reader.labels()

    def losses(self, labels: KeypointDataset) -> list[str]:
        """Scores, identities, and a symmetry that the names do not tell."""
        return lost(labels, HOLDS)

    def text(self, labels: KeypointDataset) -> str:
        """An element for each image, as CVAT exports images."""
        unfit = next((name for name in labels.names if not is_fit(name)), None)
        if unfit is not None:
            raise SettingsError(f"XML cannot hold the name {shown(unfit)}; rename the keypoint")
        images = (_image(number, s, labels.names) for number, s in enumerate(labels.samples))
        begin = '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
        return f"{begin}{_meta(labels)}{''.join(images)}</annotations>\n"


class _Reader:
    """Walks through the elements of a file.

    Args:
        collector: takes images, marks and faults.
        tree: the first element.
        find_root: whether the folder of the images is to be found.
    """

    def __init__(self, collector: Collector, tree: Element, *, find_root: bool) -> None:
        self.collector, self.tree = collector, tree
        self.objects = Objects(collector, _WAY_OUT)
        named = [_image_names(image) for image in tree.iter("image")]
        self.located = Located(collector, named, find_root=find_root)
        self.frames = _Frames(collector, tree, find_root=find_root)
        for track in tree.iter("track"):
            for shape in track.iter("points"):
                shape.set("label", shape.get("label") or track.get("label") or "")
        points = [one for one in tree.iter("points") if ";" in one.get("points", "")]
        self.many = {one.get("label", "") for one in points}
        self.others = 0
        self.tracks: dict[tuple[str, tuple[str, int | str]], int] = {}

    def labels(self) -> KeypointDataset:
        """Read everything."""
        skeleton = self._template()
        for number, image in enumerate(self.tree.iter("image")):
            self._image(image, number)
        for number, track in enumerate(self.tree.iter("track")):
            self._track(track, number)
        if self.others:
            self.collector.assume(f"{self.others} boxes and outlines left out")
        names = self.objects.settle()
        for (name, group), track_id in self.tracks.items():
            instance = self.objects.numbers.get((name, group))
            if instance is not None:
                self.collector.track(name, instance, track_id)
        joined = tuple(pair for pair in skeleton if set(pair) <= set(names))
        return self.collector.labels(names, skeleton=joined)

    def _template(self) -> list[tuple[str, str]]:
        """Note the names that the file lists; returns the lines of its skeleton."""
        pairs: list[tuple[str, str]] = []
        labels = [label for label in self.tree.iter("label") if label.find("name") is not None]
        for label in labels:
            own = (label.findtext("name") or "").strip()
            parts = [
                (part.findtext("name") or "").strip()
                for part in labels
                if (part.findtext("parent") or "").strip() == own and own
            ]
            self.objects.name(*filter(None, parts))
            pairs += _lines(label.findtext("svg") or "", parts)
        return list(dict.fromkeys(pairs))

    def _image(self, element: Element, number: int) -> None:
        field = f"image {number}"
        image = self.located.image(_image_names(element), 0, f"{field}: name")
        width, height = (_number(element.get(side, "")) for side in ("width", "height"))
        check_size(self.collector, image, width, height, field)
        self.collector.split(image, element.get("subset", ""), 0, f"{field}: subset")
        for i, shape in enumerate(element):
            at = _At(image, None, f"{field}, {shape.tag} {i}")
            if shape.tag == "skeleton":
                self._skeleton(shape, at._replace(group=("skeleton", i)), keyed=True)
            elif shape.tag == "points":
                group = shape.get("group_id", "")
                at = at._replace(group=("group", group) if group else None)
                self._points(shape, at, ("points", i))
            elif shape.tag != "tag":
                self.others += 1

    def _track(self, element: Element, number: int) -> None:
        for i, shape in enumerate(element):
            if shape.tag not in ("skeleton", "points"):
                self.others += shape.tag != "attribute"
                continue
            keyed = shape.get("keyframe", "1") == "1"
            if not keyed and not any(part.get("keyframe") == "1" for part in shape):
                continue
            if shape.get("outside") == "1":
                continue
            field = f"track {number}, {shape.tag} {i}"
            image = self.frames.image(shape.get("frame", ""), f"{field}: frame")
            group = element.get("group_id", "") if shape.tag == "points" else ""
            of: tuple[str, int | str] = ("group", group) if group else ("track", number)
            if shape.tag == "skeleton":
                self._skeleton(shape, _At(image, of, field), keyed=keyed)
            else:
                at = _At(image, of if group or ";" in shape.get("points", "") else None, field)
                self._points(shape, at, of)
            if image is not None:
                self.tracks[image, of] = number

    def _skeleton(self, element: Element, at: _At, *, keyed: bool) -> None:
        """Add the keypoints of one object."""
        if element.get("outside") == "1":
            return
        for part in element.iter("points"):
            if part.get("keyframe", "1" if keyed else "0") != "1":
                continue
            name = self.collector.name(part.get("label", ""), 0, at.field)
            for placed in self._places(part, at)[:1]:
                self.objects.add(at.image, name, placed, group=at.group, field=at.field)

    def _points(self, element: Element, at: _At, own: tuple[str, int | str]) -> None:
        """Add plain points: one keypoint of this name, or many without a name."""
        label = element.get("label", "")
        name = self.collector.name(label, 0, at.field)
        if element.get("outside") == "1" and label in self.many:
            return
        for placed in self._places(element, at):
            if name is not None and label in self.many:
                group = at.group or own
                self.objects.add(at.image, None, placed, group=group, field=at.field, kind=name)
            else:
                self.objects.add(at.image, name, placed, group=at.group, field=at.field)

    def _places(self, element: Element, at: _At) -> list[Placed]:
        """Visibility and place of the points of an element."""
        if element.get("outside") == "1":
            return [(Visibility.ABSENT, float("nan"), float("nan"))]
        seen = Visibility.HIDDEN if element.get("occluded") == "1" else Visibility.VISIBLE
        found: list[Placed] = []
        for text in element.get("points", "").split(";"):
            match = _PLACE.fullmatch(text)
            x, y = (_number(match[1]), _number(match[2])) if match else (None, None)
            if x is None or y is None:
                got = f"{shown(text)} is not a place x,y"
                self.collector.fault(0, at.field, got, "write two numbers with a comma between")
                continue
            self.collector.near(at.image, x, y, 0, at.field)
            found.append((seen, x, y))
        return found


class _Frames:
    """The images of the frames of a task, which tracks name by numbers alone."""

    def __init__(self, collector: Collector, tree: Element, *, find_root: bool) -> None:
        self.collector = collector
        self.video = (tree.findtext("meta/source") or "").strip()
        self.start = int(_number(tree.findtext("meta/task/start_frame") or "") or 0)
        step = re.search(r"step=(\d+)", tree.findtext("meta/task/frame_filter") or "")
        self.step = max(1, int(step[1])) if step else 1
        self.listed: list[str] | None = None
        self.numbered: dict[int, str] = {}
        self.find_root = find_root

    def image(self, frame: str, field: str) -> str | None:
        """The image of a frame."""
        if not re.fullmatch("[0-9]{1,9}", frame):
            self.collector.fault(0, field, f"{shown(frame)} is not a number", "export it again")
            return None
        number = int(frame)
        if self.listed is None:
            self._list()
        listed = self.listed or []
        place = (number - self.start) // self.step
        if self.numbered:
            name = self.numbered.get(number, f"frame_{number:06d}.png")
        elif self.video and not listed:
            name = frame_named(self.video, number)
        elif 0 <= place < len(listed):
            self.collector.assume("frames as the images of the folder in their order")
            name = listed[place]
        else:
            name = f"frame_{number:06d}.png"
        return self.collector.image(name, 0, field, once=False)

    def _list(self) -> None:
        """The images of the folder, or of the one above it, without those of videos."""
        root = self.collector.root
        if self.video and (root / self.video).is_file():
            self.listed = []
            return
        self.listed = images_below(root)
        if not self.listed and self.find_root:
            above = root.resolve().parent
            self.listed = [name for name in images_below(above) if "/" not in name]
            if self.listed:
                self.collector.root = above
                self.collector.assume(f"images in {above}")
        found = ((_NUMBERED.search(name), name) for name in self.listed)
        self.numbered = {int(match[1]): name for match, name in found if match}


def _image_names(element: Element) -> list[str]:
    """Names that an image may have: exports lay images of subsets into folders."""
    name, subset = element.get("name", ""), element.get("subset", "")
    folders = [f"images/{subset}/", f"{subset}/"] if subset else []
    return [f"{folder}{name}" for folder in (*folders, "images/", "")]


def _lines(svg: str, parts: list[str]) -> Iterator[tuple[str, str]]:
    """The lines of a skeleton's drawing, as pairs of its parts."""
    named = {str(k): part for k, part in enumerate(parts, 1)}
    for circle in _NODE.findall(svg):
        said = dict(_VALUE.findall(circle))
        name = html.unescape(said.get("label-name", ""))
        if name in parts and "node-id" in said:
            named[said["node-id"]] = name
    for line in _LINE.findall(svg):
        said = dict(_VALUE.findall(line))
        ends = named.get(said.get("node-from", "")), named.get(said.get("node-to", ""))
        if ends[0] and ends[1] and ends[0] != ends[1]:
            yield ends[0], ends[1]


def _number(text: str) -> float | None:
    """A finite number, None for anything else."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def _meta(labels: KeypointDataset) -> str:
    """The labels of the task: a skeleton with its parts and lines."""
    number = {name: k for k, name in enumerate(labels.names, 1)}
    nodes = "".join(
        f'<circle r="1.5" cx="{10 + 80 * k / len(labels.names):.1f}" cy="50" '
        f'data-type="element node" data-element-id="{k}" data-node-id="{k}" '
        f'data-label-name="{escape(name, _QUOTE)}"></circle>'
        for name, k in number.items()
    )
    lines = "".join(
        f'<line data-type="edge" data-node-from="{number[a]}" data-node-to="{number[b]}"></line>'
        for a, b in labels.skeleton
    )
    parts = "".join(
        f"<label><name>{escape(name)}</name><type>points</type><attributes></attributes>"
        "<parent>object</parent></label>\n"
        for name in labels.names
    )
    return (
        f"<meta><task><size>{len(labels.samples)}</size><mode>annotation</mode><labels>\n"
        "<label><name>object</name><type>skeleton</type><attributes></attributes>"
        f"<svg>{escape(lines + nodes)}</svg></label>\n{parts}</labels></task></meta>\n"
    )


def _image(number: int, sample: KeypointSample, names: tuple[str, ...]) -> str:
    """The element of an image with a skeleton for each object."""
    height, width = sample.size
    said: Mapping[str, str] = {"id": str(number), "name": sample.image}
    subset = f' subset="{SUBSETS[sample.split]}"' if sample.split else ""
    heads = "".join(f" {key}={quoteattr(value)}" for key, value in said.items())
    lines = [f'<image{heads}{subset} width="{width}" height="{height}">\n']
    for points, seen in zip(sample.points, sample.visibility, strict=True):
        if (seen == Visibility.UNLABELLED).all():
            continue
        lines.append('<skeleton label="object" source="manual" z_order="0">\n')
        for name, (x, y), state in zip(names, points.tolist(), seen.tolist(), strict=True):
            if state == Visibility.UNLABELLED:
                continue
            absent = state == Visibility.ABSENT
            place = "0,0" if absent else f"{x + 0.5!r},{y + 0.5!r}"
            lines.append(
                f'<points label={quoteattr(name)} source="manual" outside="{int(absent)}" '
                f'occluded="{int(state == Visibility.HIDDEN)}" points="{place}"></points>\n'
            )
        lines.append("</skeleton>\n")
    return "".join([*lines, "</image>\n"])
