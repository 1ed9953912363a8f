"""Formats of labelling tools: one truth in all of them, files of the tools, and hostile files."""

from __future__ import annotations

import csv
import json
import logging
import math
import shutil
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from placewise.cli import main
from placewise.errors import DataError, LabelError, PlacewiseError
from placewise.formats import FORMATS, convert, read_dataset, write_dataset
from placewise.formats._roi import encoded, packed
from placewise.labels import KeypointDataset, KeypointSample, Visibility

NAMES = ("nose", "left_ear", "right_ear")
SEEN = {state.name.lower(): state for state in Visibility}

# The same truth in every format


class Kit(NamedTuple):
    """A file of the kit: its format, the largest error in pixels, and what it holds.

    Attributes:
        path: below the kit.
        format: its name.
        error: of a place that is read.
        states: which of hidden and absent it holds.
        names: whether names are kept.
        instances: whether it holds all objects, or the first of an image alone.
    """

    path: str
    format: str
    error: float = 1e-6
    states: str = ""
    names: bool = True
    instances: bool = True


KIT = [
    Kit("label_studio", "label_studio"),
    Kit("cvat", "cvat", 0.005, "hidden absent"),
    Kit("cvat/points", "cvat", 0.005, "hidden"),
    Kit("cvat/video", "cvat", 0.005, "hidden absent"),
    Kit("labelme", "labelme", states="hidden"),
    Kit("via/via_export_csv.csv", "via", 0.5),
    Kit("via/via_project.json", "via", 0.5),
    Kit("via/via_region_data.json", "via", 0.5),
    Kit("yolo_pose", "yolo", 1e-4, "hidden"),
    Kit("roboflow_coco", "coco", states="hidden"),
    Kit("tps", "tps", names=False, instances=False),
    Kit("stereomorph", "stereomorph", instances=False),
    Kit("napari", "napari", names=False),
    Kit("imagej", "imagej"),
    Kit("imagej/Results.csv", "imagej"),
]

WRITTEN = ("coco", "cvat", "imagej", "label_studio", "labelme", "napari", "tps", "yolo")


def truth(folder: Path) -> dict[str, list[list[tuple[str, float, float]]]]:
    """For each image its objects: visibility, x and y of each keypoint."""
    found: dict[str, list[list[tuple[str, float, float]]]] = {}
    with (folder / "truth.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            objects = found.setdefault(row["image"], [])
            if int(row["instance"]) == len(objects):
                objects.append([])
            x, y = (float(row[axis] or "nan") for axis in "xy")
            objects[-1].append((row["state"], x, y))
    return found


@pytest.fixture
def kit(real_data: Path) -> Path:
    folder = real_data / "formats" / "same_truth"
    if not folder.is_dir():
        pytest.skip(f"there is no {folder}")
    return folder


def assert_true(labels: KeypointDataset, kit: Path, one: Kit) -> None:
    """The labels say what is true, as far as the format holds it."""
    said = truth(kit)
    assert {sample.image.rpartition("/")[2] for sample in labels.samples} == set(said)
    for sample in labels.samples:
        objects = said[sample.image.rpartition("/")[2]]
        places = np.array([[(x, y) for _, x, y in each] for each in objects])
        if one.format == "napari":
            places = places[np.isfinite(places).all(-1)]
            np.testing.assert_allclose(sample.points[:, 0], places, rtol=0, atol=one.error)
            continue
        assert labels.names == (NAMES if one.names else ("1", "2", "3"))
        kept = slice(None) if one.instances else slice(1)
        np.testing.assert_allclose(sample.points, places[kept], rtol=0, atol=one.error)
        for seen, each in zip(sample.visibility, objects[kept], strict=True):
            for state, (word, x, _) in zip(seen, each, strict=True):
                other = "unlabelled" if math.isnan(x) else "visible"
                assert state == SEEN[word if word in one.states.split() else other]


@pytest.mark.parametrize("one", KIT, ids=lambda one: one.path)
def test_each_tool_tells_the_truth(kit: Path, one: Kit, tmp_path: Path) -> None:
    """Read, written in the same format, and read again; the half pixel is said."""
    labels = read_dataset(kit / one.path, format=one.format if one.path == "imagej" else None)
    assert_true(labels, kit, one)
    assert labels.pixels == ("center" if one.format in ("napari", "imagej") else "corner")
    if one.format in WRITTEN:
        folder = tmp_path / "again"
        shutil.copytree(labels.root, folder, ignore=shutil.ignore_patterns("*.[!p]*"))
        path = folder if one.format in ("labelme", "yolo", "imagej") else folder / "labels.txt"
        moved = KeypointDataset(
            folder, labels.names, labels.samples, labels.symmetry, labels.skeleton
        ).for_task(labels.task)
        write_dataset(moved, path, one.format, lossy=True)
        again = read_dataset(path, format=one.format)
        assert_true(again, kit, one)
        for a, b in zip(moved.samples, again.samples, strict=True):
            np.testing.assert_allclose(a.points, b.points, rtol=0, atol=1e-6)


def test_the_other_half_pixel_is_told(kit: Path) -> None:
    found = read_dataset(kit / "cvat", pixels="center").samples[0].points[0, 0]
    np.testing.assert_allclose(found, [10.75, 21], atol=1e-6)


def test_convert_moves_between_all_of_them(kit: Path, tmp_path: Path) -> None:
    """From each format that is read to each that is written, and what is left is true."""
    ring = [one for one in KIT if one.names and one.instances and one.error < 0.01]
    for number, one in enumerate(ring):
        name = WRITTEN[number % len(WRITTEN)]
        folder = tmp_path / str(number)
        given = {"format": "imagej"} if one.path == "imagej" else {}
        root = read_dataset(kit / one.path, **given).root
        shutil.copytree(root, folder, ignore=shutil.ignore_patterns("*.[!p]*"))
        path = folder if name in ("labelme", "yolo", "imagej") else folder / "new.txt"
        said = convert(kit / one.path, path, to_format=name, root=folder, lossy=True, **given)
        assert f"written as {name}" in said
        read = read_dataset(path, format=name)
        for a, b in zip(read.samples, read_dataset(kit / one.path, **given).samples, strict=True):
            at, other = a.points[a.located], b.points[b.located]
            if name == "tps":
                assert read.names == ("1", "2", "3")
            np.testing.assert_allclose(np.sort(at, 0), np.sort(other, 0), rtol=0, atol=1e-6)


def test_check_finds_each_layout(kit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for one in KIT:
        if "." not in one.path:
            main(["check", str(kit / one.path), "--quiet"])
            assert "2 images" in capsys.readouterr().out


# Files of the tools


def images(folder: Path, **sizes: tuple[int, int]) -> None:
    """Images of these (width, height); the names are without ending."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, size in sizes.items():
        Image.new("L", size).save(folder / f"{name}.png")
        (folder / f"{name}.png").rename(folder / f"{name}.jpg")


def copied(real_data: Path, tmp_path: Path, what: str) -> Path:
    shutil.copytree(real_data / "formats" / what, tmp_path / what)
    for file in (tmp_path / what, *(tmp_path / what).rglob("*")):
        file.chmod(0o755)
    return tmp_path / what


def test_files_of_the_tools_are_read(real_data: Path, tmp_path: Path) -> None:
    folder = copied(real_data, tmp_path, "label_studio")
    images(folder, image1=(216, 174))
    labels = read_dataset(folder / "data_keypoints.json")
    assert labels.names == ("nose", "left_eye", "right_eye")
    np.testing.assert_allclose(labels.samples[0].points[0, 0], [138.7, 67.866], atol=1e-3)

    folder = copied(real_data, tmp_path, "labelme")
    labels = read_dataset(folder)
    assert (labels.names, labels.samples[0].points.tolist()) == (("point",), [[[344.5, 173.5]]])

    folder = copied(real_data, tmp_path, "stereomorph")
    images(folder, mug_001=(2200, 1500), mug_002=(2200, 1500), mug_003=(2200, 1500))
    (folder / "lm_landmarks_a2_v1.txt").rename(folder / "old.txt")
    images(folder, old=(4000, 3000))
    assert len(read_dataset(folder / "old.txt").names) == 28
    (folder / "old.txt").unlink()
    labels = read_dataset(folder)
    assert len(labels.names) == 8
    assert labels.samples[0].points[0, 0].tolist() == [1040.5, 323.5]

    folder = copied(real_data, tmp_path, "tps")
    text = (folder / "tps-example.tps").read_text()
    count = text.count("IMAGE=")
    images(folder, **{line[6:-4]: (650, 500) for line in text.split() if "IMAGE" in line})
    labels = read_dataset(folder)
    assert (len(labels.samples), labels.names[-1]) == (count, "12")
    assert labels.samples[0].points[0, 0].tolist() == [289.5, 391.5]

    folder = copied(real_data, tmp_path, "imagej")
    images(folder, point=(100, 100), multipoint=(250, 250))
    assert read_dataset(folder / "point.roi").samples[0].points.tolist() == [[[68, 77.25]]]
    labels = read_dataset(folder / "multipoint.roi")
    assert labels.instances == 14
    np.testing.assert_allclose(labels.samples[0].points[0, 0], [149.6667, 36], atol=1e-4)


REFUSED = {
    "alphatracker/at_testdata.json": "AlphaTracker",
    "label_studio/label_config_keypoints.xml": "Label Studio",
    "imagej/polygon.roi": "point tool of ImageJ",
    "coco_dialects/person_keypoints_val.json": "no category has a list 'keypoints'",
    "cvat/video/annotations.xml": "t.mp4",
}


@pytest.mark.parametrize("file", REFUSED)
def test_other_files_of_the_tools_are_refused_in_one_line(real_data: Path, file: str) -> None:
    with pytest.raises(PlacewiseError) as caught:
        read_dataset(real_data / "formats" / file)
    lines = [line for line in str(caught.value).split("\n") if "there is no image" not in line]
    assert REFUSED[file] in str(caught.value)
    assert len(lines) <= 1
    assert "UTF-8" not in str(caught.value)


OTHERS = {
    "VIA 3": '{"project":{"pid":"1"},"config":{},"attribute":{},"file":{},"view":{}}',
    "OpenPose": '{"version":1.3,"people":[{"person_id":[-1],"pose_keypoints_2d":[1,2,0.9]}]}',
    "Supervisely": '{"description":"","tags":[],"objects":[{"classTitle":"mouse"}]}',
    "YOLO": "path: .\ntrain: images\nval: images\nnc: 1\nnames: [mouse]\n",
    "Label Studio": '<View>\n<Image name="image" value="$image"/>\n</View>',
    "AlphaTracker": '[{"annotations": [{"class": "Face", "x": 1}], "filename": "a.png"}]',
}


@pytest.mark.parametrize("tool", OTHERS)
def test_text_of_another_tool_is_refused_by_its_name(tmp_path: Path, tool: str) -> None:
    (tmp_path / "file").write_text(OTHERS[tool])
    with pytest.raises(LabelError, match=rf"file: it is .*{tool}.*; .+") as caught:
        read_dataset(tmp_path / "file")
    assert len(caught.value.faults) == 1


def test_coco_of_x_anylabeling_is_read_as_it_is(real_data: Path, tmp_path: Path) -> None:
    folder = copied(real_data, tmp_path, "coco_dialects")
    content = json.loads((folder / "coco_keypoints.json").read_text())
    images(folder, **{i["file_name"][:-4]: (i["width"], i["height"]) for i in content["images"]})
    labels = read_dataset(folder / "coco_keypoints.json")
    assert (len(labels.names), labels.pixels) == (17, "center")
    assert labels.samples[0].points[0, 0].tolist() == [250, 244]


# Small files with what the tools do


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png"):
        Image.new("L", (40, 30)).save(tmp_path / name)
    return tmp_path


def keypoint(name: str, x: float, y: float, **more: Any) -> dict[str, Any]:
    """A keypoint of Label Studio at a place in pixels from the corner of an image of 40 × 30."""
    value = {"x": x / 0.4, "y": y / 0.3, "keypointlabels": [name]}
    sides = {"original_width": 40, "original_height": 30}
    return {"id": f"{name}{x}", "type": "keypointlabels", "value": value, **sides, **more}


def task(*results: dict[str, Any], image: str = "/data/upload/1/0a1b2c3d-a.png") -> dict[str, Any]:
    return {"data": {"image": image}, "annotations": [{"result": list(results)}]}


def read_json(folder: Path, content: Any, **more: Any) -> KeypointDataset:
    (folder / "labels.json").write_text(json.dumps(content))
    read = read_dataset(folder / "labels.json", **more)
    assert isinstance(read, KeypointDataset)
    return read


def test_label_studio_knows_objects_by_relations(folder: Path) -> None:
    """To a rectangle, or among keypoints; two rectangles are never one object."""
    links = [("r1", "nose10"), ("tail12", "nose10"), ("r1", "r2"), ("r2", "nose20")]
    relations = [{"type": "relation", "from_id": a, "to_id": b} for a, b in links]
    boxes = [{"id": name, "type": "rectanglelabels"} for name in ("r1", "r2")]
    points = [keypoint("nose", 10, 5), keypoint("nose", 20, 5), keypoint("tail", 12, 8)]
    labels = read_json(folder, [task(*points, *boxes, *relations)])
    np.testing.assert_allclose(labels.samples[0].points[:, 0], [[9.5, 4.5], [19.5, 4.5]])
    assert labels.samples[0].located.tolist() == [[True, True], [True, False]]


def test_label_studio_takes_the_annotation_that_counts(folder: Path) -> None:
    made = task()
    made["annotations"] = [
        {"result": [keypoint("nose", 1, 1)], "ground_truth": True},
        {"result": [keypoint("nose", 2, 2)]},
        {"result": [keypoint("nose", 3, 3)], "was_cancelled": True},
    ]
    skipped = task(keypoint("nose", 4, 4), image="b.png")
    skipped["annotations"][0]["was_cancelled"] = True
    labels = read_json(folder, [made, skipped])
    assert [sample.image for sample in labels.samples] == ["a.png"]
    np.testing.assert_allclose(labels.samples[0].points, [[[0.5, 0.5]]])
    made["annotations"][0]["ground_truth"] = False
    np.testing.assert_allclose(read_json(folder, [made]).samples[0].points, [[[1.5, 1.5]]])


@pytest.mark.parametrize("turned", [0, 90, 180, 270])
def test_label_studio_turned_the_image(folder: Path, turned: int) -> None:
    """The twin turns an image with one bright pixel; its middle is what was clicked."""
    image = np.zeros((30, 40))
    image[7, 31] = 1
    shown = np.rot90(image, -turned // 90)
    y, x = (float(place) for place in np.argwhere(shown)[0])
    value = {"x": (x + 0.5) / shown.shape[1] * 100, "y": (y + 0.5) / shown.shape[0] * 100}
    point = keypoint("nose", 0, 0, image_rotation=turned)
    point["value"] |= value
    found = read_json(folder, [task(point)]).samples[0].points
    np.testing.assert_allclose(found, [[[31, 7]]], atol=1e-9)


def test_label_studio_serves_files_of_a_folder(folder: Path) -> None:
    (folder / "mice").mkdir()
    Image.new("L", (40, 30)).save(folder / "mice" / "a b.png")
    made = task(keypoint("nose", 1, 1), image="/data/local-files/?d=all/mice/a%20b.png")
    assert read_json(folder, [made]).samples[0].image == "mice/a b.png"
    (folder / "sub").mkdir()
    assert read_json(folder / "sub", [made]).root == folder


def test_images_of_one_name_are_asked_for(folder: Path) -> None:
    for name in ("one", "two"):
        (folder / name).mkdir()
        Image.new("L", (40, 30)).save(folder / name / "c.png")
    with pytest.raises(LabelError, match=r"2 images have the name 'c\.png': one/c\.png, …"):
        read_json(folder, [task(keypoint("nose", 1, 1), image="s3://bucket/c.png")])
    made = [task(keypoint("nose", 1, 1), image="s3://bucket/two/c.png")]
    assert read_json(folder, made).samples[0].image == "two/c.png"


def test_cvat_key_frames_of_a_track_alone_count(folder: Path) -> None:
    (folder / "labels.xml").write_text(
        "<annotations><version>1.1</version>"
        '<track id="0" label="nose"><points frame="0" outside="0" occluded="0" keyframe="1" '
        'points="5.50,6.50"/><points frame="1" outside="0" occluded="0" keyframe="0" '
        'points="7.00,8.00"/></track><track id="1" label="tail"><points frame="1" outside="0" '
        'occluded="1" keyframe="1" points="9.5,9.5"/></track></annotations>'
    )
    labels = read_dataset(folder / "labels.xml")
    assert [sample.visibility.tolist() for sample in labels.samples] == [[[3, 0]], [[0, 2]]]
    assert labels.samples[0].points[0, 0].tolist() == [5, 6]


def test_cvat_points_without_names_are_numbered_or_many(folder: Path) -> None:
    text = (
        "<annotations><version>1.1</version>"
        '<image id="0" name="a.png" width="40" height="30"><points label="wing" points="1,1;2,2"/>'
        '</image><image id="1" name="b.png"><points label="wing" points="3,3;4,4"/>'
        '<box label="wing" xtl="0"/></image></annotations>'
    )
    (folder / "labels.xml").write_text(text)
    labels = read_dataset(folder / "labels.xml")
    assert (labels.task, labels.names) == ("keypoints", ("wing 1", "wing 2"))
    (folder / "labels.xml").write_text(text.replace("3,3;", ""))
    labels = read_dataset(folder / "labels.xml")
    assert (labels.task, labels.names) == ("spots", ("wing",))


def test_labelme_hidden_is_difficult_in_x_anylabeling(folder: Path) -> None:
    shape = {"label": "nose", "shape_type": "point", "points": [[1, 1]], "difficult": True}
    content = {"version": "2", "flags": {"test": True}, "shapes": [shape], "imageData": "AAAA"}
    (folder / "a.json").write_text(json.dumps({**content, "imagePath": r"..\pictures\a.png"}))
    labels = read_dataset(folder)
    assert labels.samples[0].visibility.tolist() == [[Visibility.HIDDEN]]
    assert (labels.samples[0].image, labels.samples[0].split) == ("a.png", "test")


def test_via_asks_which_attribute_is_the_name(folder: Path) -> None:
    shape = {"name": "point", "cx": 3, "cy": 4}
    region = {"shape_attributes": shape, "region_attributes": {"where": "nose", "sure": "yes"}}
    content = {"a.png-1": {"filename": "a.png", "size": -1, "regions": [region]}}
    with pytest.raises(LabelError, match="attributes 'where', 'sure'; call the one that is"):
        read_json(folder, content)
    region["region_attributes"] = {"where": {"nose": True, "tail": False}}
    assert read_json(folder, content).names == ("nose",)


def test_yolo_of_roboflow_and_without_a_data_file(folder: Path) -> None:
    """`../train/images` means the folder beside the file; lines may have comments and no v."""
    for split in ("train", "valid"):
        (folder / split / "images").mkdir(parents=True)
        (folder / split / "labels").mkdir()
        Image.new("L", (40, 30)).save(folder / split / "images" / f"{split}.png")
        line = "0 0.5 0.5 0.6 0.6 0.25 0.5 0 0  # seen\n\n"
        (folder / split / "labels" / f"{split}.txt").write_text(line)
    for file in folder.glob("*.png"):
        file.unlink()
    data = folder / "data.yaml"
    data.write_text("train: ../train/images\nval: ../valid/images\nkpt_shape: [2, 2]\n")
    for found in (read_dataset(folder), read_dataset(folder, format="yolo")):
        assert [sample.split for sample in found.samples] == ["train", "val"]
        assert found.samples[0].points[0, 0].tolist() == [9.5, 14.5]
        assert found.samples[0].visibility.tolist() == [[3, 0]]
    data.unlink()
    assert [s.split for s in read_dataset(folder).samples] == ["train", "val"]


def test_yolo_is_found_from_wherever_ultralytics_is_started(folder: Path) -> None:
    """It takes the folder of data.yaml unless `path` is there, which counts from its own start."""
    (folder / "points.csv").write_text("image,point,x,y\na.png,nose,3,4\n")
    convert(folder / "points.csv", folder, to_format="yolo")
    keys = [line.partition(":")[0] for line in (folder / "data.yaml").read_text().splitlines()]
    assert "train" in keys
    assert "path" not in keys


def test_yolo_without_pyyaml_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    (folder / "data.yaml").write_text("kpt_shape: [1, 3]\ntrain: .\n")
    with pytest.raises(DataError, match=r'pip install "placewise\[yaml\]"$'):
        read_dataset(folder)


def test_tps_as_it_is_written(folder: Path) -> None:
    """Decimal commas, capitals, curves, and two specimens on one image."""
    text = "lm=2\n1,5 28,5\n-1 -1\nCURVES=1\nPOINTS=2\n1 1\n2 2\nIMAGE=C:\\wings\\a.png\n"
    (folder / "l.tps").write_text(text + text.replace("1,5", "11,5"))
    labels = read_dataset(folder / "l.tps")
    assert labels.samples[0].points[:, 0].tolist() == [[1, 1], [11, 1]]
    assert labels.samples[0].visibility.tolist() == [[3, 0], [3, 0]]
    (folder / "l.tps").write_text("LM3=1\n1 2 3\nIMAGE=a.png\n")
    with pytest.raises(LabelError, match="it is of three dimensions"):
        read_dataset(folder / "l.tps")


def test_imagej_rows_that_say_the_same_are_refused_before_a_million_are_kept(folder: Path) -> None:
    table = folder / "Results.csv"
    rows = [f"{k},a.png:nose,{5 + k},7\n" for k in range(3)]
    table.write_text(" ,Label,X,Y\n" + "".join(rows))
    assert read_dataset(table).samples[0].points.shape[:2] == (3, 1)
    table.write_text(" ,Label,X,Y\n" + "".join(rows) + rows[1])
    with pytest.raises(LabelError, match=r"row 5, X,Y: the row says the same as row 3; delete one"):
        read_dataset(table)


def test_imagej_slices_groups_and_its_own_names(folder: Path) -> None:
    """A set for a stack; groups are objects; 0012-0034 is no name."""
    roi = bytearray(encoded("0012-0034", 3.5, 4.5, group=2))
    struct.pack_into(">i", roi, 56, 2)
    other = bytearray(encoded("0013-0034", 5.5, 6.5, group=2))
    struct.pack_into(">i", other, 56, 1)
    (folder / "RoiSet.zip").write_bytes(packed({"1.roi": bytes(roi), "2.roi": bytes(other)}))
    labels = read_dataset(folder / "RoiSet.zip")
    found = {sample.image: sample.points.tolist() for sample in labels.samples}
    assert (labels.names, found) == (("point",), {"b.png": [[[3.5, 4.5]]], "a.png": [[[5.5, 6.5]]]})
    whole = bytearray(encoded("nose", 3.5, 4.5))
    struct.pack_into(">H", whole, 50, 0)  # no subpixel coordinates
    (folder / "a.roi").write_bytes(bytes(whole))
    assert read_dataset(folder / "a.roi").samples[0].points.tolist() == [[[3, 4]]]


def test_half_pixels_of_coco_are_decided_by_who_wrote_it(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content: dict[str, Any] = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [{"image_id": 1, "category_id": 1, "keypoints": [3, 4, 2]}],
        "categories": [{"id": 0, "name": "all"}, {"id": 1, "keypoints": ["nose"]}],
    }
    empty = dict.fromkeys("contributor date_created description url version year".split(), "")
    for info, tool in [
        ({}, None),
        (empty, "CVAT"),
        ({"contributor": "Label Studio"}, "Label Studio"),
        ({"description": "Exported from roboflow.com"}, "Roboflow"),
        ({"contributor": "CVHub", "url": "github.com/CVHub520/X-AnyLabeling"}, None),
    ]:
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            labels = read_json(folder, {**content, "info": info})
        assert labels.samples[0].points.tolist() == [[[2.5, 3.5] if tool else [3, 4]]]
        assert caplog.text.count("corner") == caplog.text.count(f"as {tool} writes") == bool(tool)
        assert read_json(folder, {**content, "info": info}, pixels="center").samples[0].points[
            0, 0
        ].tolist() == [3, 4]


def test_categories_of_coco_are_read_together(folder: Path) -> None:
    """Keypoints of one name are one; each annotation is an object of its category."""
    labels = read_json(
        folder,
        {
            "images": [{"id": 1, "file_name": "a.png"}],
            "annotations": [
                {"image_id": 1, "category_id": 1, "keypoints": [3, 4, 2, 5, 6, 2]},
                {"image_id": 1, "category_id": 2, "keypoints": [7, 8, 2, 9, 9, 1]},
            ],
            "categories": [
                {"id": 1, "keypoints": ["nose", "tail"], "skeleton": [[1, 2]]},
                {"id": 2, "keypoints": ["wing", "nose"], "skeleton": [[1, 2]]},
            ],
        },
    )
    assert labels.names == ("nose", "tail", "wing")
    assert labels.skeleton == (("nose", "tail"), ("wing", "nose"))
    assert labels.samples[0].visibility.tolist() == [[3, 3, 0], [2, 0, 3]]


# Hostile files

BOMB = (
    '<?xml version="1.0"?><!DOCTYPE annotations [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'
    "<annotations><version>&b;</version></annotations>"
)
DEEP = "[" * 100_000
MERGED = "kpt_shape: [1, 3]\na: &a {x: 1}\nb: {<<: [*a, *a]}\n"
SHAPE = '{"label": "n", "shape_type": "point", "points": [[1e999, 1]]}'
LABELME = '{"version": "1", "shapes": [%s], "imagePath": "%s"}'
TASK = '[{"data": {"image": "%s"}, "annotations": [{"result": [%s]}]}]'
HOSTILE: dict[str, tuple[str, str | bytes, str]] = {
    "entities": ("l.xml", BOMB, "it defines a document type"),
    "entities in UTF-16": ("l.xml", BOMB.encode("utf-16"), "it defines a document type"),
    "deep xml": ("l.xml", "<annotations><meta>" + "<a>" * 100_000, "this is no XML"),
    "deep list": ("l.json", '[{"annotations": 1, "data": ' + DEEP, "nested too deeply"),
    "deep labelme": ("l.json", LABELME % (DEEP, "a.png"), "nested too deeply"),
    "digits": ("l.json", TASK % ("a.png", "1" * 5000), "Exceeds the limit"),
    "huge": ("l.json", LABELME % (SHAPE, "a.png"), "not one point of two finite numbers"),
    "leaves": ("l.json", LABELME % ("", "../../../etc/passwd"), "there is no image 'passwd'"),
    "leaves too": ("l.json", TASK % ("/data/upload/../../x.png", ""), "there is no image 'x.png'"),
    "merged": ("l.yaml", MERGED, "merges values"),
    "tag": ("l.yaml", "kpt_shape: !!python/object/apply:os.system [ls]", "YAML is broken"),
    "list away": ("l.yaml", "kpt_shape: [1, 3]\ntrain: ../../../etc", "there is no folder"),
    "not a number": ("l.tps", "LM=1\nnan 1\nIMAGE=a.png\n", "not two finite numbers"),
    "image away": ("l.tps", "LM=1\n1 1\nIMAGE=/etc/passwd\n", "there is no image 'passwd'"),
    "no zip": ("a_RoiSet.zip", b"PK\3\4" + b"x" * 99, "the archive cannot be read"),
    "no roi": ("a.roi", b"Iout" + b"\0" * 30, "no ROI file of ImageJ"),
    "short roi": ("a.roi", encoded("nose", 1, 1)[:70], "it is cut short"),
    "nan": ("a.roi", encoded("nose", 1, 1)[:68] + b"\x7f\xc0" * 9, "finite"),
    "number": ("l.csv", "index,axis-0,axis-1,axis-2\n0,1e999,1,1\n", "no number of an image"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(folder: Path, name: str) -> None:
    file, content, says = HOSTILE[name]
    data = content if isinstance(content, bytes) else content.encode()
    (folder / file).write_bytes(data)
    with pytest.raises(LabelError) as caught:
        read_dataset(folder / file)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 500


def test_names_in_a_roi_set_are_no_paths(folder: Path) -> None:
    """Nothing is unpacked: what stands before the name in the archive is left out."""
    roi = bytearray(encoded("", 3, 4))
    with zipfile.ZipFile(folder / "a_RoiSet.zip", "w") as archive:
        archive.writestr("../../nose.roi", bytes(roi))
        archive.writestr("/etc/tail.roi", bytes(roi))
        archive.writestr("../../readme.txt", b"no")
    before = sorted(folder.parent.rglob("*"))
    assert read_dataset(folder / "a_RoiSet.zip").names == ("nose", "tail")
    assert sorted(folder.parent.rglob("*")) == before


def test_a_roi_set_that_would_fill_the_memory_is_refused(folder: Path) -> None:
    with zipfile.ZipFile(folder / "a_RoiSet.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("nose.roi", bytes(1 << 24))
    with pytest.raises(LabelError, match="has more than"):
        read_dataset(folder / "a_RoiSet.zip")


def test_links_out_of_the_folder_are_not_read(folder: Path, tmp_path_factory: Any) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "a.json").write_text(LABELME % ("", "a.png"))
    (folder / "b.json").write_text(LABELME % ("", "b.png"))
    (folder / "a.json").symlink_to(outside / "a.json")
    with pytest.raises(LabelError, match="there is no label in it"):
        read_dataset(folder)
    Image.new("L", (4, 4)).save(outside / "c.png")
    (folder / "c.png").symlink_to(outside / "c.png")
    (folder / "b.json").write_text(LABELME % ("", "c.png"))
    with pytest.raises(LabelError, match="is a symlink out of the folder"):
        read_dataset(folder / "b.json")


def one(name: str, root: Path, image: str = "a.png") -> KeypointDataset:
    sample = KeypointSample(image, (30, 40), np.array([[[1.0, 2.0]]]), np.array([[3]], np.int8))
    return KeypointDataset(root, (name,), (sample,))


def test_what_would_be_lost_by_names_of_files_is_refused(folder: Path) -> None:
    Image.new("L", (40, 30)).save(folder / "a.jpg")
    two = one("nose", folder)
    two = KeypointDataset(folder, ("nose",), (*two.samples, *one("nose", folder, "a.jpg").samples))
    for name in ("labelme", "yolo", "imagej"):
        with pytest.raises(PlacewiseError, match="would both have the file"):
            write_dataset(two, folder / "out", name)
    with pytest.raises(PlacewiseError, match="XML cannot hold"):
        write_dataset(one("\ufffe", folder), folder / "l.xml", "cvat")


def members() -> Iterator[str]:
    yield from (one.format for one in KIT)


def test_every_format_here_is_in_the_kit() -> None:
    assert set(members()) <= set(FORMATS.names())
    assert set(WRITTEN) <= set(members())
