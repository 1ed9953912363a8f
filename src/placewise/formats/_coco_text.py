"""Labels of keypoints as the text of a COCO file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from placewise.geometry import PIXEL_CONVENTION, FloatArray
from placewise.labels import Ignored, KeypointDataset, KeypointSample, Visibility

VISIBILITY = (Visibility.UNLABELLED, Visibility.HIDDEN, Visibility.VISIBLE)
"""The states that COCO numbers 0, 1, 2."""

Json = dict[str, Any]
"""An object of a JSON file; each value's type is checked before it is used."""


def text_of(labels: KeypointDataset) -> str:
    """One line for each image and annotation.

    Args:
        labels: the labels.
    """
    index = {name: i + 1 for i, name in enumerate(labels.names)}
    category = {
        "id": 1,
        "name": "object",
        "keypoints": list(labels.names),
        "skeleton": [[index[a], index[b]] for a, b in labels.skeleton],
        "symmetry": [list(pair) for pair in labels.symmetry],
    }
    info = {"description": "written by placewise", "pixel_convention": PIXEL_CONVENTION}
    images: list[Json] = []
    annotations: list[Json] = []
    for i, sample in enumerate(labels.samples, 1):
        images.append(_image(i, sample))
        for instance in range(len(sample.points)):
            if len(sample.points) > 1 or sample.visibility.any():
                ids = {"id": len(annotations) + 1, "image_id": i, "category_id": 1}
                annotations.append({**ids, **_annotation(sample, instance, labels.names)})
        for box in sample.ignored:
            ids = {"id": len(annotations) + 1, "image_id": i, "category_id": 1}
            annotations.append({**ids, **_ignored(box, len(labels.names))})
    parts = [
        f'"info": {_dump(info)}',
        f'"categories": {_lines([category])}',
        f'"images": {_lines(images)}',
        f'"annotations": {_lines(annotations)}',
    ]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _lines(values: Iterable[object]) -> str:
    return "[\n" + ",\n".join(_dump(value) for value in values) + "\n]"


def _image(number: int, sample: KeypointSample) -> Json:
    height, width = sample.size
    image: Json = {"id": number, "file_name": sample.image, "width": width, "height": height}
    return {**image, "split": sample.split} if sample.split else image


def _annotation(sample: KeypointSample, instance: int, names: tuple[str, ...]) -> Json:
    points, visibility = sample.points[instance], sample.visibility[instance]
    keypoints: list[float] = []
    for (x, y), seen in zip(points.tolist(), visibility.tolist(), strict=True):
        keypoints += (
            [x, y, VISIBILITY.index(Visibility(seen))] if seen >= Visibility.HIDDEN else [0, 0, 0]
        )
    located = points[sample.located[instance]]
    annotation: Json = {
        "keypoints": keypoints,
        "num_keypoints": len(located),
        "iscrowd": 0,
        **_box(located),
    }
    if sample.areas is not None and np.isfinite(sample.areas[instance]):
        annotation["area"] = float(sample.areas[instance])
    if sample.tracks is not None and sample.tracks[instance] >= 0:
        annotation["track_id"] = int(sample.tracks[instance])
    absent = [
        name for name, seen in zip(names, visibility, strict=True) if seen == Visibility.ABSENT
    ]
    if absent or not len(located):
        annotation["absent"] = absent
    if sample.scores is None:
        return annotation
    return {**annotation, **_scored(sample.scores[instance])}


def _ignored(box: Ignored, count: int) -> Json:
    """A region that is ignored, as a crowd; `ignored` names whose it is."""
    low, high = np.array(box.low), np.array(box.high)
    sides = high - low
    return {
        "keypoints": [0, 0, 0] * count,
        "num_keypoints": 0,
        "iscrowd": 1,
        "bbox": [*(low + 0.5).tolist(), *sides.tolist()],
        "area": float(sides.prod()),
        "ignored": [box.name],
    }


def _box(located: FloatArray) -> Json:
    """Box and area about the keypoints, which tools that score COCO files ask for."""
    if not len(located):
        return {"bbox": [0, 0, 0, 0], "area": 0}
    corner = located.min(0)
    width, height = (located.max(0) - corner).tolist()
    return {"bbox": [*corner.tolist(), width, height], "area": width * height}


def _scored(scores: FloatArray) -> Json:
    """Scores of the keypoints and their mean; null where a score is not a number."""
    listed = [value if np.isfinite(value) else None for value in scores.tolist()]
    known = [value for value in listed if value is not None]
    return {"scores": listed, "score": float(np.mean(known)) if known else None}
