"""Outlines and runs of COCO files: what they cover, against slow twins and the COCO tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from placewise.errors import LabelError
from placewise.formats import read_dataset
from placewise.labels import InstanceDataset
from placewise.labels.shapes import filled, from_runs, unpacked

SIZE = (13, 17)
RNG = np.random.default_rng(11)


def inside(ring: np.ndarray, x: float, y: float) -> bool:
    """Even-odd rule for one point, corner by corner."""
    found = False
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, 0), strict=True):
        if (y0 <= y) != (y1 <= y) and x >= x0 + (y - y0) / (y1 - y0) * (x1 - x0):
            found = not found
    return found


def test_outlines_cover_the_pixels_whose_centre_they_hold() -> None:
    for _ in range(200):
        ring = RNG.uniform(-6, 22, (RNG.integers(3, 9), 2))
        if RNG.random() < 0.5:
            ring = np.round(ring * 2) / 2
        slow = [[inside(ring, x, y) for x in range(SIZE[1])] for y in range(SIZE[0])]
        np.testing.assert_array_equal(filled(ring, SIZE), slow)


def test_outlines_that_share_an_edge_share_no_pixel() -> None:
    middle = np.array([7.0, 5.0])
    corners = [np.array(c, float) for c in ((-0.5, -0.5), (16.5, -0.5), (16.5, 12.5), (-0.5, 12.5))]
    parts = [
        filled(np.stack([a, b, middle]), SIZE)
        for a, b in zip(corners, corners[1:] + corners[:1], strict=True)
    ]
    assert (sum(part.astype(int) for part in parts) == 1).all()


def runs_of(mask: np.ndarray) -> list[int]:
    """Runs down the columns, the first outside, one pixel after the other."""
    runs, value = [0], False
    for pixel in mask.T.ravel():
        if pixel != value:
            runs, value = [*runs, 0], bool(pixel)
        runs[-1] += 1
    return runs


def test_runs_go_down_the_columns_and_begin_outside() -> None:
    for _ in range(200):
        mask = RNG.random(SIZE) < RNG.uniform(0, 1)
        np.testing.assert_array_equal(from_runs(runs_of(mask), SIZE), mask)


def test_packed_runs_are_those_of_the_coco_tools() -> None:
    tools = pytest.importorskip(
        "faster_coco_eval.core.mask", reason="faster-coco-eval is not installed"
    )
    for case in range(200):
        size = (int(RNG.integers(1, 300)), int(RNG.integers(1, 300)))
        mask = RNG.random(size) < RNG.choice([0.0, 0.001, 0.3, 0.9, 1.0])
        packed = tools.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
        text = packed.decode() if isinstance(packed, bytes) else packed
        np.testing.assert_array_equal(from_runs(unpacked(text), size), mask, err_msg=str(case))


@pytest.mark.parametrize("text", ["z!", "\x00", "P", "é"])
def test_a_text_that_packs_no_runs_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="text"):
        unpacked(text)


def labels(folder: Path, annotations: list[dict[str, Any]], **more: Any) -> Path:
    Image.new("L", SIZE[::-1]).save(folder / "a.png")
    content = {
        "images": [{"id": 5, "file_name": "a.png", "height": SIZE[0], "width": SIZE[1]}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 9, "name": "ant"}, {"id": 3, "name": "no"}],
        "annotations": [{"id": i, "image_id": 5, **one} for i, one in enumerate(annotations)],
        **more,
    }
    path = folder / "labels.json"
    path.write_text(json.dumps(content))
    return path


SQUARE = [1, 1, 5, 1, 5, 3, 1, 3]


def test_a_square_has_the_pixels_of_its_geometry(tmp_path: Path) -> None:
    path = labels(tmp_path, [{"category_id": 1, "segmentation": [SQUARE], "iscrowd": 0}])
    found = read_dataset(path)
    assert isinstance(found, InstanceDataset)
    assert found.names == ("cat",)
    expected = np.zeros(SIZE, int)
    expected[1:3, 1:5] = 1
    np.testing.assert_array_equal(found.instances(found.samples[0])[0], expected)


def test_objects_overlap_crowds_are_ignored_and_kinds_are_told_apart(tmp_path: Path) -> None:
    mask = np.zeros(SIZE, bool)
    mask[:, 10:] = True
    big = [[0, 0, 8, 0, 8, 13, 0, 13]]
    path = labels(
        tmp_path,
        [
            {"category_id": 1, "segmentation": [SQUARE]},
            {"category_id": 9, "segmentation": big},
            {"category_id": 9, "bbox": [1, 2, 3, 4], "segmentation": []},
            {
                "category_id": 9,
                "iscrowd": 1,
                "segmentation": {"size": list(SIZE), "counts": runs_of(mask)},
            },
        ],
    )
    found = read_dataset(tmp_path)
    assert found.names == ("ant", "cat")
    numbers, kinds = found.instances(found.samples[0])
    assert kinds.tolist() == [1, 0]
    assert (numbers[1:3, 1:5] == 1).all()
    assert (numbers[4:, :8] == 2).all()
    assert (numbers[mask] == -1).all()
    classes = read_dataset(path, task="masks")
    table = np.array([0, 2, 1, -1])
    np.testing.assert_array_equal(classes.mask(classes.samples[0]), table[numbers])


@pytest.mark.parametrize(
    ("annotation", "says"),
    [
        ({"category_id": 1, "segmentation": [[1, 2, 3]]}, "no outline"),
        ({"category_id": 1, "segmentation": [[1, 2, 3, 4, None, 6]]}, "no outline"),
        ({"category_id": 7, "segmentation": [SQUARE]}, "no category with the id '7'"),
        ({"category_id": 1, "segmentation": {"counts": [4, 4]}}, "add up to 8 pixels"),
        ({"category_id": 1, "segmentation": {"counts": "oo"}}, "ends within"),
        ({"category_id": 1, "segmentation": {"counts": None}}, "neither a list"),
        ({"category_id": 1, "segmentation": {"size": [1, 1], "counts": [1]}}, "the image is"),
        ({"category_id": 1, "bbox": [0, 0, 1, 1], "segmentation": []}, "no annotation has an"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, annotation: dict[str, Any], says: str) -> None:
    with pytest.raises(LabelError, match=says):
        read_dataset(labels(tmp_path, [annotation]))


def test_keypoints_stay_keypoints_unless_outlines_are_asked_for(tmp_path: Path) -> None:
    category = {"id": 1, "name": "cat", "keypoints": ["nose"]}
    one = {"category_id": 1, "segmentation": [SQUARE], "keypoints": [3, 3, 2]}
    path = labels(tmp_path, [one], categories=[category])
    assert read_dataset(path).task == "keypoints"
    assert read_dataset(path, format="coco_masks").task == "instances"


def test_folders_of_splits_are_read_together(tmp_path: Path) -> None:
    ant = [{"id": 4, "name": "ant"}]
    for split, more in (("train", {}), ("valid", {"categories": ant})):
        (tmp_path / split).mkdir()
        kind = 4 if more else 1
        labels(tmp_path / split, [{"category_id": kind, "segmentation": [SQUARE]}], **more)
    read = read_dataset(tmp_path)
    assert isinstance(read, InstanceDataset)
    assert read.names == ("ant", "cat")
    found = {sample.split: read.instances(sample) for sample in read.samples}
    assert {split: kinds.tolist() for split, (_, kinds) in found.items()} == {
        "train": [1],
        "val": [0],
    }
    assert [int((numbers == 1).sum()) for numbers, _ in found.values()] == [8, 8]
