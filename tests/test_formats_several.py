"""Labels of several objects with identities and areas, in every format that holds them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from placewise.errors import LabelError
from placewise.formats import read_dataset, write_dataset
from placewise.labels import KeypointSample, PoseDataset, Visibility

NAMES = ("head", "neck", "tail")


@pytest.fixture
def labels(tmp_path: Path) -> PoseDataset:
    """Two images: two animals, and one of them alone with a keypoint that is not labelled."""
    for name in ("a.png", "b.png"):
        Image.new("L", (60, 50)).save(tmp_path / name)
    two = np.array([[[1.5, 2], [5, 6], [9, 12]], [[40, 40], [44, 41], [50, 45]]], float)
    one = two[1:] + np.array([-3, 2])
    one[0, 1] = np.nan
    seen = np.full((2, 3), Visibility.VISIBLE, np.int8)
    alone = np.array([[3, 0, 3]], np.int8)
    samples = (
        KeypointSample("a.png", (50, 60), two, seen, "train", None, tracks=np.array([4, 1])),
        KeypointSample("b.png", (50, 60), one, alone, "test", None, tracks=np.array([1])),
    )
    return PoseDataset(tmp_path, NAMES, samples)


@pytest.mark.parametrize("name", ["coco", "long_csv", "deeplabcut"])
def test_several_objects_read_back_the_same(labels: PoseDataset, name: str) -> None:
    file = labels.root / "labels.txt"
    write_dataset(labels, file, name, lossy=True)
    read = read_dataset(file, format=name)
    assert read.task == "poses"
    for one, other in zip(labels.samples, read.samples, strict=True):
        assert (one.image, None if name == "deeplabcut" else one.split) == (
            other.image,
            other.split,
        )
        np.testing.assert_array_equal(one.points, other.points)
        np.testing.assert_array_equal(one.visibility, other.visibility)
        if name != "deeplabcut":
            np.testing.assert_array_equal(one.tracks, other.tracks)
        else:
            assert other.tracks is None
        assert other.areas is None


def test_the_areas_of_coco_are_kept_unless_they_are_those_of_the_box(labels: PoseDataset) -> None:
    file = labels.root / "coco.json"
    write_dataset(labels, file)
    content = json.loads(file.read_text())
    assert [one["area"] for one in content["annotations"]] == [75, 50, 50]
    content["annotations"][1]["area"] = 33.5
    crowd = {"image_id": 1, "category_id": 1, "iscrowd": 1, "bbox": [0, 0, 9, 9], "area": 81}
    content["annotations"].append({**crowd, "keypoints": [0] * 9, "num_keypoints": 0})
    file.write_text(json.dumps(content))
    read = read_dataset(file)
    assert len(read.samples[0].points) == 2
    np.testing.assert_array_equal(read.samples[0].areas, [np.nan, 33.5])
    assert read.samples[1].areas is None
    write_dataset(read, labels.root / "again.json")
    again = read_dataset(labels.root / "again.json")
    np.testing.assert_array_equal(again.samples[0].areas, [np.nan, 33.5])


def test_identities_are_numbers_or_names(labels: PoseDataset) -> None:
    file = labels.root / "points.csv"
    rows = ["image,instance,track,keypoint,x,y"]
    for image in ("a.png", "b.png"):
        rows += [
            f"{image},{i},{who},{k},{i + 1},3" for i, who in ((0, "fox"), (1, "")) for k in NAMES
        ]
    file.write_text("\n".join(rows) + "\n")
    read = read_dataset(file)
    assert [sample.tracks.tolist() for sample in read.samples] == [[0, -1], [0, -1]]
    file.write_text("\n".join(rows).replace("b.png,0,fox,neck", "b.png,0,hen,neck") + "\n")
    with pytest.raises(LabelError, match="'hen' is not what row"):
        read_dataset(file)


def test_an_individual_without_a_place_is_not_on_the_image(labels: PoseDataset) -> None:
    file = labels.root / "CollectedData_me.csv"
    file.write_text(
        "scorer,me,me,me,me,me,me\nindividuals,a,a,b,b,single,single\n"
        "bodyparts,head,head,head,head,food,food\ncoords,x,y,x,y,x,y\n"
        "a.png,1,2,3,4,,\nb.png,,,7,8,9,10\n"
    )
    read = read_dataset(file, task="poses")
    assert read.names == ("head", "food")
    first, second = (sample.points.tolist() for sample in read.samples)
    assert np.array_equal(first, [[[1, 2], [np.nan] * 2], [[3, 4], [np.nan] * 2]], equal_nan=True)
    assert np.array_equal(second, [[[7, 8], [np.nan] * 2], [[np.nan] * 2, [9, 10]]], equal_nan=True)


def test_a_table_takes_the_skeleton_of_a_coco_file_beside_it(labels: PoseDataset) -> None:
    """Of the same keypoints only; and what cannot be read is left alone."""
    write_dataset(labels, labels.root / "points.csv")
    assert read_dataset(labels.root).skeleton == ()
    pairs = (("head", "neck"), ("neck", "tail"))
    joined = replace(labels, skeleton=pairs, symmetry=(("head", "tail"),))
    write_dataset(joined, labels.root / "coco.json")
    read = read_dataset(labels.root)
    assert read.source == labels.root / "points.csv"
    assert (read.skeleton, read.symmetry) == (pairs, joined.symmetry)
    assert read_dataset(labels.root / "points.csv").skeleton == ()
    other = replace(joined, names=("head", "neck", "foot"), skeleton=pairs[:1], symmetry=())
    write_dataset(other, labels.root / "coco.json", overwrite=True)
    assert read_dataset(labels.root).skeleton == ()
    (labels.root / "coco.json").write_text('{"categories": [')
    assert read_dataset(labels.root).skeleton == ()


def test_files_with_one_and_with_several_objects_are_poses_together(labels: PoseDataset) -> None:
    for split, sample in (("train", labels.samples[1]), ("valid", labels.samples[0])):
        (labels.root / split).mkdir()
        (labels.root / sample.image).rename(labels.root / split / sample.image)
        part = replace(labels, root=labels.root / split, samples=(sample,))
        write_dataset(part, labels.root / split / "labels.json")
    read = read_dataset(labels.root)
    assert isinstance(read, PoseDataset)
    assert [len(sample.points) for sample in read.samples] == [1, 2]
