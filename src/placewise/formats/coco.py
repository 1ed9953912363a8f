"""COCO key points: JSON with images, annotations and one category that names the points.

Read and written are `keypoints` as x, y, v with v = 0 not labelled, 1 hidden, 2 visible, the
category's `skeleton` (1-based), and beside the standard: the category's `symmetry` (pairs of
names), an annotation's `absent` (names) and an image's `split`. Several annotations of an image
are its instances. Coordinates are taken as they stand: 0-based, an integer is a pixel's centre.

Source: the data format page of cocodataset.org.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from placewise.formats._coco import VISIBILITY, Json, Reader
from placewise.formats._collect import Collector
from placewise.formats._format import PointFormat, fit_scores, write_new
from placewise.geometry import PIXEL_CONVENTION, FloatArray
from placewise.labels import KeypointDataset, KeypointSample, Visibility

_HEAD = re.compile(r'"(images|annotations|categories)"\s*:')


class Coco(PointFormat):
    """COCO key points: JSON with the lists images, annotations and categories.

    Boxes and masks are not needed and not looked at. Holds everything that labels are.
    """

    task = "keypoints"

    def recognises(self, path: Path, head: str) -> bool:
        """An object with one of the three lists."""
        return head.lstrip().startswith("{") and bool(_HEAD.search(head))

    def read(self, path: Path, root: Path) -> KeypointDataset:
        """Read labels of images under `root`; raises LabelError with all faults at once."""
        return Reader(Collector(path, root)).labels()

    def losses(self, labels: KeypointDataset) -> list[str]:
        """Nothing."""
        return []

    def text(self, labels: KeypointDataset) -> str:
        """One line for each image and annotation."""
        return _text(labels, None)


def write_predictions(
    labels: KeypointDataset, scores: Sequence[FloatArray], path: Path, *, overwrite: bool = False
) -> None:
    """Write predicted points as a COCO file whose annotations have scores.

    Each annotation has the list `scores`, one for each point, and their mean as `score`.

    Args:
        labels: the predicted points.
        scores: for each sample (instances, points), or (points,) where it has one instance; 0..1.
        path: the file.
        overwrite: replace a file that is there.

    Raises:
        SettingsError: the file is there, or the scores do not fit.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from placewise.labels import KeypointSample
        >>> visibility = np.full((1, 1), Visibility.VISIBLE, dtype=np.int8)
        >>> sample = KeypointSample("a.png", (9, 9), np.array([[[3.0, 4.5]]]), visibility)
        >>> with TemporaryDirectory() as folder:
        ...     path, labels = Path(folder, "a.json"), KeypointDataset(Path(), ("nose",), (sample,))
        ...     write_predictions(labels, [np.array([0.5])], path)
        ...     annotation = json.loads(path.read_text(encoding="utf-8"))["annotations"][0]
        >>> annotation["keypoints"], annotation["scores"]
        ([3.0, 4.5, 2], [0.5])
    """
    write_new(path, _text(labels, fit_scores(labels, scores)), overwrite=overwrite)


def _text(labels: KeypointDataset, scores: Sequence[FloatArray] | None) -> str:
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
    for i, sample in enumerate(labels.samples):
        images.append(_image(i + 1, sample))
        for k in range(len(sample.points)):
            ids = {"id": len(annotations) + 1, "image_id": i + 1, "category_id": 1}
            rest = {} if scores is None else _scored(scores[i][k])
            annotations.append({**ids, **_annotation(sample, k, labels.names), **rest})
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
    for (x, y), state in zip(points.tolist(), visibility.tolist(), strict=True):
        keypoints += (
            [x, y, VISIBILITY.index(Visibility(state))] if state >= Visibility.HIDDEN else [0, 0, 0]
        )
    located = points[sample.located[instance]]
    annotation: Json = {
        "keypoints": keypoints,
        "num_keypoints": len(located),
        "iscrowd": 0,
        **_box(located),
    }
    absent = [
        name for name, state in zip(names, visibility, strict=True) if state == Visibility.ABSENT
    ]
    return {**annotation, "absent": absent} if absent else annotation


def _box(located: FloatArray) -> Json:
    """Box and area about the points, which tools that score COCO files ask for."""
    if not len(located):
        return {"bbox": [0, 0, 0, 0], "area": 0}
    corner = located.min(0)
    width, height = (located.max(0) - corner).tolist()
    return {"bbox": [*corner.tolist(), width, height], "area": width * height}


def _scored(scores: FloatArray) -> Json:
    """Scores of the points and their mean; null where a score is not a number."""
    listed = [value if np.isfinite(value) else None for value in scores.tolist()]
    known = [value for value in listed if value is not None]
    return {"scores": listed, "score": float(np.mean(known)) if known else None}
