"""Label Studio: JSON with a list of tasks, in which places are percent of the image's sides.

```
[{"data": {"image": "/data/upload/1/0a1b2c3d-a.png"}, "annotations": [{"result": [
   {"id": "k1", "type": "keypointlabels", "parentID": "r1", "original_width": 64,
    "original_height": 48, "value": {"x": 16.8, "y": 43.75, "keypointlabels": ["nose"]}}, …]}]}]
```

A percentage counts from the image's corner. Which keypoints are of one object is said by
`parentID` or by a relation, to a rectangle or among each other. Of several annotations of a task
the one that is marked as ground truth counts, else the last; cancelled ones do not. Where an image
was turned while it was labelled (`image_rotation`), places are percent of the turned image's sides
(`rotatePoint` in the source of Label Studio's page). An uploaded file has a mark of eight
characters before its name. What we add: `meta` of a task, which Label Studio keeps, with the names
in their order and the split; and `hidden` as the text of a keypoint's `meta`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from placewise.formats._collect import Collector
from placewise.formats._format import KeypointText
from placewise.formats._holds import Holds, lost
from placewise.formats._json import MEND, entries, entry, finite, parsed, word
from placewise.formats._located import Located, check_size, names_of, quoted
from placewise.formats._objects import Objects
from placewise.images import is_image_name
from placewise.labels import KeypointDataset, KeypointSample, Visibility
from placewise.labels.names import shown

HOLDS = Holds(hidden=True, splits=True)

_MARKED = re.compile(r"[0-9a-f]{8}-(.+)")
_TASKS = re.compile(r'"(annotations|completions)"\s*:')
_OURS = re.compile(r'"(data|was_cancelled|original_width|keypointlabels)"\s*:')
_SHORT = re.compile(r'"(annotation_id|annotator)"\s*:')
_WAY_OUT = "give each object a rectangle, and make it the parent of its keypoints; or delete one"


class LabelStudio(KeypointText):
    """Label Studio: a JSON list of tasks with annotations; the export that is called JSON."""

    patterns = ("*.json",)

    def recognises(self, path: Path, head: str) -> bool:
        """A list of objects with the words of a task."""
        begins = re.match(r"[\ufeff\s]*\[\s*\{", head)
        known = _TASKS.search(head) and _OURS.search(head)
        return bool(begins and (known or _SHORT.search(head)))

    def read(self, path: Path, root: Path | None = None) -> KeypointDataset:
        """Read labels; see `Format.read`."""
        collector = Collector(path, root)
        collector.from_corner("Label Studio")
        tasks = list(_tasks(collector))
        named = [_names(task) for _, task in tasks]
        located = Located(collector, named, find_root=root is None)
        objects = Objects(collector, _WAY_OUT)
        for (number, task), names in zip(tasks, named, strict=True):
            _read_task(collector, objects, located, task, names, f"[{number}]")
        return collector.labels(objects.settle())

    def losses(self, labels: KeypointDataset) -> list[str]:
        """Absent keypoints, scores, identities, a skeleton, a symmetry that names do not tell."""
        return lost(labels, HOLDS)

    def text(self, labels: KeypointDataset) -> str:
        """A task in each line; images are named for Label Studio's local storage."""
        tasks = [_task(number, s, labels.names) for number, s in enumerate(labels.samples, 1)]
        lines = (json.dumps(task, ensure_ascii=False, allow_nan=False) for task in tasks)
        return "[\n" + ",\n".join(lines) + "\n]\n"


def _tasks(collector: Collector) -> Iterator[tuple[int, dict[str, Any]]]:
    """The tasks of a file with their places in it; those that were skipped are left out."""
    text = collector.text()
    if collector.faults:
        collector.stop()
    try:
        content = parsed(text)
    except ValueError as error:
        collector.fault(0, "file", str(error), MEND)
        collector.stop()
    listed = entries(content)
    if listed and not any("annotations" in task or "completions" in task for task in listed):
        got = "this is Label Studio's JSON-MIN, which does not say which object a keypoint is of"
        collector.fault(0, "file", got, "export the project as JSON")
        collector.stop()
    skipped = 0
    if any(entries(task.get("predictions")) for task in listed):
        collector.assume("predictions left out")
    for number, task in enumerate(listed):
        made = entries(task.get("annotations")) or entries(task.get("completions"))
        good = [one for one in made if one.get("was_cancelled") is not True]
        if made and not good:
            skipped += 1
            continue
        truth = [one for one in good if one.get("ground_truth") is True] or good[-1:]
        if len(good) > 1:
            collector.assume("of several annotations of a task the ground truth or the last one")
        yield number, {**task, "result": truth[-1].get("result") if truth else []}
    if skipped:
        collector.assume(f"{skipped} tasks that were skipped left out")


def _names(task: Mapping[str, Any]) -> list[str]:
    """Names that the image of a task may have."""
    data = entry(task.get("data"))
    texts = [value for value in data.values() if isinstance(value, str)]
    path = data.get("image")
    if not isinstance(path, str) or not path:
        path = next((t for t in texts if is_image_name(names_of(t)[0])), "")
    found = names_of(path) if path else []
    last = found[0].rpartition("/")[2] if found else ""
    marked = _MARKED.fullmatch(last)
    upload = word(task.get("file_upload"))
    return [*found, *([marked[1]] if marked else []), *([upload] if upload else [])]


def _read_task(
    collector: Collector,
    objects: Objects,
    located: Located,
    task: Mapping[str, Any],
    names: Sequence[str],
    where: str,
) -> None:
    image = located.image(names, 0, f"{where}.data.image")
    meta = entry(task.get("meta"))
    collector.split(image, word(meta.get("split")), 0, f"{where}.meta.split")
    listed = meta.get("keypoints")
    objects.name(*filter(None, map(word, listed if isinstance(listed, list) else ())))
    results = entries(task.get("result"))
    groups = _groups(results)
    for i, result in enumerate(results):
        if result.get("type") not in ("keypointlabels", "rectanglelabels", "relation"):
            collector.assume("regions that are no keypoints left out")
        if result.get("type") == "keypointlabels":
            group = groups.get(word(result.get("id")))
            _read_result(collector, objects, image, result, group, f"{where}.result[{i}]")


def _groups(results: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Of each keypoint that belongs to something, what stands for its object.

    Regions are joined by parents and relations; those that are no keypoints never to each other.
    """
    kinds = {word(one.get("id")): one.get("type") for one in results if "id" in one}
    head = {region: region for region in kinds}

    def top(region: str) -> str:
        while head[region] != region:
            head[region] = head[head[region]]
            region = head[region]
        return region

    for one in results:
        ends = word(one.get("id")), word(one.get("parentID"))
        if one.get("type") == "relation":
            ends = word(one.get("from_id")), word(one.get("to_id"))
        known = [end for end in ends if end in kinds]
        if len(known) == 2 and "keypointlabels" in (kinds[known[0]], kinds[known[1]]):
            head[top(known[0])] = top(known[1])
    members: dict[str, list[str]] = {}
    for region in kinds:
        members.setdefault(top(region), []).append(region)
    return {one: group for group, held in members.items() if len(held) > 1 for one in held}


def _read_result(
    collector: Collector,
    objects: Objects,
    image: str | None,
    result: Mapping[str, Any],
    group: str | None,
    field: str,
) -> None:
    """Add a keypoint."""
    value = entry(result.get("value"))
    x, y = finite(value.get("x")), finite(value.get("y"))
    listed = value.get("keypointlabels")
    label = word(listed[0]) if isinstance(listed, list) and listed else ""
    name = collector.name(label, 0, f"{field}.value.keypointlabels")
    if x is None or y is None:
        got = f"x and y are {shown(value.get('x'))} and {shown(value.get('y'))}"
        collector.fault(0, f"{field}.value", got, "write two finite numbers, in percent")
        return
    check_size(collector, image, result.get("original_width"), result.get("original_height"), field)
    size = collector.images[image].size if image is not None else None
    if size is None:
        return
    height, width = size
    x, y = _turned_back(x / 100, y / 100, result.get("image_rotation"))
    collector.near(image, x * width, y * height, 0, f"{field}.value")
    said = entry(result.get("meta")).get("text")
    hidden = "hidden" in said if isinstance(said, list) else False
    seen = Visibility.HIDDEN if hidden else Visibility.VISIBLE
    objects.add(image, name, (seen, x * width, y * height), group=group, field=field)


def _turned_back(x: float, y: float, turned: object) -> tuple[float, float]:
    """The place on the image of a place on the turned one, both as shares of its sides."""
    degrees = round(finite(turned) or 0) % 360
    return {90: (y, 1 - x), 180: (1 - x, 1 - y), 270: (1 - y, x)}.get(degrees, (x, y))


def _task(number: int, sample: KeypointSample, names: tuple[str, ...]) -> dict[str, Any]:
    """A task with one annotation; keypoints of several objects have rectangles as parents."""
    height, width = sample.size
    common = {
        "to_name": "image",
        "origin": "manual",
        "image_rotation": 0,
        "original_width": width,
        "original_height": height,
    }
    results: list[dict[str, Any]] = []
    for instance, points in enumerate(sample.points):
        located = sample.located[instance]
        if not located.any():
            continue
        box = f"object{number}_{instance}"
        if len(sample.points) > 1:
            low, high = points[located].min(0) + 0.5, points[located].max(0) + 0.5
            corner, sides = low / [width, height], (high - low) / [width, height]
            value = dict(zip(("x", "y"), (100 * corner).tolist(), strict=True))
            value |= dict(zip(("width", "height"), (100 * sides).tolist(), strict=True))
            value |= {"rotation": 0, "rectanglelabels": ["object"]}
            named = {"id": box, "type": "rectanglelabels", "from_name": "box", "value": value}
            results.append({**named, **common})
        for k in located.nonzero()[0].tolist():
            x, y = ((points[k] + 0.5) / [width, height] * 100).tolist()
            value = {"x": x, "y": y, "width": 0.5, "keypointlabels": [names[k]]}
            named = {"id": f"{box}_{k}", "type": "keypointlabels", "from_name": "keypoints"}
            result = {**named, "value": value, **common}
            if len(sample.points) > 1:
                result["parentID"] = box
            if sample.visibility[instance, k] == Visibility.HIDDEN:
                result["meta"] = {"text": ["hidden"]}
            results.append(result)
    meta = {"keypoints": list(names), **({"split": sample.split} if sample.split else {})}
    return {
        "id": number,
        "data": {"image": f"/data/local-files/?d={quoted(sample.image)}"},
        "annotations": [{"id": number, "was_cancelled": False, "result": results}],
        "meta": meta,
    }
