"""What every format of keypoints promises; those of classes are in test_class_formats.py."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from placewise.errors import ImageError, LabelError, SettingsError
from placewise.formats import FORMATS, read_dataset, write_dataset
from placewise.formats._format import KeypointFormat, Written
from placewise.formats._roi import encoded, packed
from placewise.images import image_size
from placewise.labels import SPLITS, KeypointDataset, KeypointSample, Visibility, guess_symmetry

NAMES = [
    name
    for name in FORMATS.names()
    if issubclass(FORMATS[name], Written) and "keypoints" in FORMATS[name].tasks
]
READ = [name for name in FORMATS.names() if issubclass(FORMATS[name], KeypointFormat)]
IMAGES = {"a.png": (30, 40), "sub/b c.png": (24, 24), 'ü, "q".png': (20, 50), "語'.png": (9, 9)}

HIDDEN, ABSENT = Visibility.HIDDEN, Visibility.ABSENT


@dataclass(frozen=True)
class Holds:
    """What a format holds beside an object of visible and unlabelled keypoints.

    Attributes:
        states: further states of a keypoint.
        instances: several objects on an image.
        pairs: a symmetry of its own, and a skeleton.
        skeleton: the latter alone.
        splits: of each image.
        names: which names of keypoints: any, those that XML or a table can hold, those of
            keypoints that lie on some image, or none: keypoints are numbered.
        placed: every keypoint must lie on every image.
        outside: keypoints outside of their image.
        tolerance: largest difference of a place that is read back, in pixels.
        path: name of the file; empty of a format that is a folder.
        ordered: whether images come back in their order.
    """

    states: tuple[Visibility, ...] = ()
    instances: bool = False
    pairs: bool = False
    skeleton: bool = False
    splits: bool = True
    names: Literal["any", "xml", "placed", "none"] = "any"
    placed: bool = False
    outside: bool = True
    tolerance: float = 0.0
    path: str = "written"
    ordered: bool = True


HOLDS = {
    "coco": Holds((ABSENT, HIDDEN), instances=True, pairs=True),
    "cvat": Holds((ABSENT, HIDDEN), True, skeleton=True, names="xml", tolerance=1e-12),
    "deeplabcut": Holds(splits=False),
    "deeplabcut_h5": Holds((), instances=True, splits=False, names="xml"),
    "imagej": Holds((), True, splits=False, names="placed", tolerance=1e-5, path=""),
    "label_studio": Holds((HIDDEN,), instances=True, tolerance=1e-11),
    "labelme": Holds((HIDDEN,), instances=True, tolerance=1e-12, path=""),
    "long_csv": Holds((ABSENT, HIDDEN), instances=True),
    "nwb": Holds(
        (HIDDEN,), instances=True, splits=False, skeleton=True, names="xml", ordered=False
    ),
    "napari": Holds((), splits=False, names="none", placed=True),
    "slp": Holds((), instances=True, pairs=True, splits=False, names="xml"),
    "tps": Holds((), True, splits=False, names="none", outside=False, tolerance=1e-12),
    "wide_csv": Holds((ABSENT, HIDDEN)),
    "yolo": Holds((HIDDEN,), True, True, outside=False, tolerance=1e-11, path=""),
}
"""A new format of keypoints needs a line here."""

QUICK = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
    ],
)


def test_there_are_formats() -> None:
    assert set(NAMES) == set(HOLDS), "a new format of keypoints needs a line in HOLDS"
    others = {name: FORMATS[name].tasks for name in FORMATS.names() if name not in NAMES}
    of_classes = {name for name, tasks in others.items() if "classes" in tasks}
    assert of_classes == {"class_csv", "class_folders", "idx", "npz", "spoken_digits"}, (
        "a new format of classes needs its tests in test_class_formats.py"
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    for name, (height, width) in IMAGES.items():
        (root / name).parent.mkdir(exist_ok=True)
        Image.new("L", (width, height)).save(root / name)
    return root


def fresh(folder: Path) -> Path:
    """A new folder with the same images and nothing else."""
    home = Path(tempfile.mkdtemp(dir=folder.parent)) / "home"
    for name in IMAGES:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).hardlink_to(folder / name)
    return home


# Round trips


def point_names(kind: str) -> st.SearchStrategy[tuple[str, ...]]:
    if kind == "none":
        return st.integers(2, 4).map(lambda count: tuple(str(k) for k in range(1, 1 + count)))
    unfit = "\ufffe\uffff" if kind == "xml" else ""
    letters = st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters=unfit)
    text = st.text(letters, min_size=1, max_size=8).map(str.strip).filter(bool)
    words = st.sampled_from(["left ear", "right ear", "x", "nose_x", "nose", "set", "a.state", "l"])
    return st.lists(text | words, min_size=1, max_size=4, unique=True).map(tuple)


@st.composite
def samples(draw: st.DrawFn, image: str, count: int, holds: Holds) -> KeypointSample:
    height, width = IMAGES[image]
    instances = draw(st.integers(1, 3)) if holds.instances else 1
    kinds = [Visibility.UNLABELLED, Visibility.VISIBLE, *holds.states]
    kinds = [Visibility.VISIBLE] if holds.placed else kinds
    size = instances * count
    drawn = draw(st.lists(st.sampled_from(kinds), min_size=size, max_size=size))
    visibility = np.array(drawn, dtype=np.int8).reshape(instances, count)
    far = 0.09 * np.hypot(height, width) if holds.outside else 0.5
    points = np.full((instances, count, 2), np.nan)
    for place in zip(*np.nonzero(visibility >= Visibility.HIDDEN), strict=True):
        points[place] = [draw(st.floats(-far, side + far)) for side in (width - 1, height - 1)]
    if holds.names == "placed":  # kept as 32-bit floats
        points = points.astype(np.float32).astype(float)
    split = draw(st.sampled_from([None, *SPLITS])) if holds.splits else None
    return KeypointSample(image, (height, width), points, visibility, split)


@st.composite
def all_labels(draw: st.DrawFn, root: Path, holds: Holds) -> KeypointDataset:
    names = draw(point_names(holds.names))
    least = 2 if holds.placed else 1
    images = draw(st.lists(st.sampled_from(sorted(IMAGES)), min_size=least, unique=True))
    found = tuple(draw(samples(image, len(names), holds)) for image in images)
    skeleton = tuple(pairwise(names)) if holds.pairs or holds.skeleton else ()
    if not holds.pairs:
        return KeypointDataset(root, names, found, guess_symmetry(names), skeleton)
    mixed = draw(st.permutations(names))
    symmetry = tuple(zip(mixed[::2], mixed[1::2], strict=False))
    return KeypointDataset(root, names, found, symmetry, skeleton)


def by_image(labels: KeypointDataset) -> list[KeypointSample]:
    return sorted(labels.samples, key=lambda sample: sample.image)


def paired(pairs: Iterable[tuple[str, str]]) -> set[frozenset[str]]:
    return {frozenset(pair) for pair in pairs}


def assert_same(one: KeypointDataset, two: KeypointDataset, tolerance: float = 0.0) -> None:
    assert (one.names, one.skeleton) == (two.names, two.skeleton)
    assert paired(one.symmetry) == paired(two.symmetry)
    assert len(one.samples) == len(two.samples)
    for a, b in zip(by_image(one), by_image(two), strict=True):
        assert (a.image, a.size, a.split) == (b.image, b.size, b.split)
        assert a.points.dtype == b.points.dtype == np.float64
        assert a.visibility.dtype == b.visibility.dtype == np.int8
        np.testing.assert_array_equal(a.visibility, b.visibility)
        np.testing.assert_allclose(a.points, b.points, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@QUICK
def test_what_is_written_reads_back_the_same(folder: Path, name: str, data: st.DataObject) -> None:
    holds, home = HOLDS[name], fresh(folder)
    labels = data.draw(all_labels(home, holds))
    assume(FORMATS[name]().losses(labels) == [])
    path = home / holds.path
    write_dataset(labels, path, name)
    read = read_dataset(path, root=home)
    assert_same(labels, read, holds.tolerance)
    if holds.path and holds.ordered:
        assert [s.image for s in read.samples] == [s.image for s in labels.samples]
        assert read.source == path
    assert read_dataset(path).root == home


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@QUICK
def test_only_its_own_files_are_recognised(folder: Path, name: str, data: st.DataObject) -> None:
    labels = data.draw(all_labels(folder, HOLDS[name]))
    home = fresh(folder)
    content = FORMATS[name]().content(labels)
    files = content if isinstance(content, Mapping) else {HOLDS[name].path: content}
    known: set[str] = set()
    for file, written in files.items():
        (home / file).parent.mkdir(parents=True, exist_ok=True)
        (home / file).write_bytes(written)
        head = written[: 1 << 16].decode("utf-8-sig", errors="replace")
        able = {n for n in FORMATS.names() if FORMATS[n]().recognises(home / file, head)}
        assert able <= {name}
        known |= able
    assert known == {name} or not any(sample.located.any() for sample in labels.samples)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@QUICK
def test_what_cannot_be_held_is_refused(folder: Path, name: str, data: st.DataObject) -> None:
    holds, home = HOLDS[name], fresh(folder)
    everything = Holds((ABSENT, HIDDEN), True, True, names="xml")
    labels = data.draw(all_labels(home, everything))
    losses = FORMATS[name]().losses(labels)
    path = home / holds.path
    if losses:
        with pytest.raises(SettingsError, match="cannot hold"):
            write_dataset(labels, path, name)
        assert not holds.path or not path.exists()
    if holds.path == "" or any(sample.located.any() for sample in labels.samples):
        write_dataset(labels, path, name, lossy=True)
        check_what_is_left(labels, path, name, bool(losses))


def check_what_is_left(labels: KeypointDataset, path: Path, name: str, lossy: bool) -> None:
    """What is left is held, every place is one that was written, and names are kept."""
    holds = HOLDS[name]
    if not any(sample.located.any() for sample in labels.samples) and holds.names == "placed":
        return  # then nothing is left
    read = read_dataset(path, root=labels.root)
    assert FORMATS[name]().losses(read) == []
    assert lossy or read.instances == labels.instances
    again = fresh(labels.root)
    moved = replace(read, root=again, source=None)
    write_dataset(moved, again / holds.path, name)
    assert_same(read, read_dataset(again / holds.path, root=again), holds.tolerance)
    if holds.names in ("any", "xml"):
        assert read.names == labels.names
    were = {sample.image: sample for sample in labels.samples}
    for kept in read.samples:
        sample = were[kept.image]
        assert (kept.size, kept.split) == (sample.size, sample.split if holds.splits else None)
        first = slice(None) if holds.instances or name in ("deeplabcut", "napari") else slice(1)
        places = sample.points[first][sample.located[first]]
        if not holds.outside:
            height, width = sample.size
            inside = (places >= -0.5) & (places <= [width - 0.5, height - 0.5])
            places = places[inside.all(-1)]
        found, tolerance = kept.points[kept.located], max(holds.tolerance, 1e-12)
        away = np.abs(found[:, None] - places[None]).max(-1)
        assert len(found) == len(places)
        assert not len(found) or max(away.min(0).max(), away.min(1).max()) <= tolerance


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_there_is_kept(folder: Path, tmp_path: Path, name: str) -> None:
    points = np.array([[[1.0, 2.0]]])
    sample = KeypointSample("a.png", (30, 40), points, np.array([[3]], dtype=np.int8))
    named = {"napari": "point", "tps": "1"}.get(name, "nose")
    labels, path = KeypointDataset(folder, (named,), (sample,)), tmp_path / "mine"
    content = FORMATS[name]().content(labels)
    file = path if isinstance(content, bytes) else path / next(iter(content))
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    with pytest.raises(SettingsError, match="exists"):
        write_dataset(labels, path, name)
    if isinstance(content, Mapping):
        with pytest.raises(SettingsError, match="is a file; this format is a folder"):
            write_dataset(labels, file, name)
    (tmp_path / "link").symlink_to("nowhere")
    if isinstance(content, bytes):
        with pytest.raises(SettingsError, match="exists"):
            write_dataset(labels, tmp_path / "link", name)
    assert file.read_text() == "mine"
    write_dataset(labels, path, name, overwrite=True)
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["link", "mine"]
    read = read_dataset(path, root=folder)
    assert_same(labels, read, HOLDS[name].tolerance)
    with pytest.raises(SettingsError, match=r"read from|exists"):
        write_dataset(read, path, name)


# Faults

GOOD: dict[str, str | dict[str, str | bytes]] = {
    "cvat": """\
<annotations><version>1.1</version>
<image id="0" name="a.png" subset="Train" width="40" height="30"><skeleton label="mouse">
<points label="nose" outside="0" occluded="0" points="10.5,11.5"/>
<points label="tail" outside="0" occluded="1" points="12.5,13.5"/></skeleton></image>
<image id="1" name="b.png" subset="Validation" width="40" height="30"><skeleton label="mouse">
<points label="nose" outside="0" occluded="0" points="14.5,15.5"/>
<points label="tail" outside="1" occluded="0" points="0,0"/></skeleton></image></annotations>
""",
    "imagej": {
        "a_RoiSet.zip": packed(
            {"1.roi": encoded("nose", 10, 11), "2.roi": encoded("tail", 12, 13)}
        ),
        "b_RoiSet.zip": packed({"1.roi": encoded("nose", 14, 15)}),
    },
    "label_studio": """\
[{"data": {"image": "/data/upload/2/0a1b2c3d-a.png"}, "meta": {"split": "train"},
"annotations": [{"result": [
{"id": "1", "type": "keypointlabels", "original_width": 40, "original_height": 30,
"value": {"x": 26.25, "y": 38.333333333333336, "keypointlabels": ["nose"]}},
{"id": "2", "type": "keypointlabels", "meta": {"text": ["hidden"]},
"value": {"x": 31.25, "y": 45, "keypointlabels": ["tail"]}}]}]},
{"data": {"image": "b.png"}, "meta": {"split": "val"}, "annotations": [{"result": [
{"id": "1", "type": "keypointlabels",
"value": {"x": 36.25, "y": 51.666666666666664, "keypointlabels": ["nose"]}}]}]}]
""",
    "labelme": {
        "a.json": """\
{"version": "5.5.0", "flags": {"train": true}, "shapes": [
{"label": "nose", "shape_type": "point", "points": [[10.5, 11.5]], "group_id": null},
{"label": "tail", "shape_type": "point", "points": [[12.5, 13.5]], "flags": {"hidden": true}}],
"imagePath": "a.png", "imageData": null, "imageWidth": 40, "imageHeight": 30}
""",
        "b.json": """\
{"version": "5.5.0", "flags": {"val": true}, "shapes": [
{"label": "nose", "shape_type": "point", "points": [[14.5, 15.5]], "group_id": null}],
"imagePath": "b.png", "imageData": null, "imageWidth": 40, "imageHeight": 30}
""",
    },
    "stereomorph": {
        "a.txt": "<landmarks.pixel type=matrix >\n\tnose\t10.5\t11.5\n\ttail\t12.5\t13.5\n",
        "b.txt": "<landmarks.pixel type=matrix >\n\tnose\t14.5\t15.5\n\ttail\tNA\tNA\n",
    },
    "tps": """\
LM=2
10.5 18.5
12.5 16.5
IMAGE=a.png
LM=2
14.5 14.5
-1 -1
IMAGE=b.png
""",
    "via": """\
filename,file_size,region_shape_attributes,region_attributes
a.png,9,"{""name"":""point"",""cx"":10.5,""cy"":11.5}","{""keypoint"":""nose""}"
a.png,9,"{""name"":""point"",""cx"":12.5,""cy"":13.5}","{""keypoint"":""tail""}"
b.png,9,"{""name"":""point"",""cx"":14.5,""cy"":15.5}","{""keypoint"":""nose""}"
""",
    "napari": """\
index,axis-0,axis-1,axis-2
0.0,0.0,11,10
1.0,0.0,13,12
2.0,1.0,15,14
3.0,1.0,17,16
""",
    "yolo": {
        "data.yaml": """\
train: train.txt
val: val.txt
kpt_shape: [2, 3]
kpt_names: {0: [nose, tail]}
""",
        "train.txt": "a.png\n",
        "val.txt": "b.png\n",
        "a.txt": "0 .5 .5 1 1 0.2625 0.38333333333333336 2 0.3125 0.45 1\n",
        "b.txt": "0 .5 .5 1 1 0.3625 0.5166666666666667 2 0 0 0\n",
    },
    "long_csv": """\
image,split,point,x,y,state
a.png,train,nose,10,11,visible
a.png,train,tail,12,13,hidden
b.png,val,nose,14,15,visible
b.png,val,tail,,,absent
""",
    "wide_csv": """\
image,split,nose_x,nose_y,nose_state,tail_x,tail_y,tail_state
a.png,train,10,11,visible,12,13,hidden
b.png,val,14,15,visible,,,absent
""",
    "deeplabcut": """\
scorer,me,me,me,me,set
bodyparts,nose,nose,tail,tail,
coords,x,y,x,y,
a.png,10,11,12,13,train
b.png,14,15,,,val
""",
    "coco": """\
{"images": [
{"id": 1, "file_name": "a.png", "width": 40, "height": 30, "split": "train"},
{"id": 2, "file_name": "b.png", "width": 40, "height": 30, "split": "val"}],
"annotations": [
{"id": 1, "image_id": 1, "category_id": 1, "keypoints": [10, 11, 2, 12, 13, 1]},
{"id": 2, "image_id": 2, "category_id": 1, "keypoints": [14, 15, 2, 0, 0, 0], "absent": ["tail"]}],
"categories": [{"id": 1, "keypoints": ["nose", "tail"], "skeleton": [[1, 2]]}]}
""",
}

PLACE = "write the path of an image below the folder, e.g. images/a.png"
THERE = "put the image there, or name the folder of the images with --root (root=)"
NUMBER = "write a finite number with a point, or nothing for a keypoint that is not labelled"
MOVE = "correct it (0-based pixels, x right, y down), or label the keypoint as absent"
LENGTH = "write as many cells as the header has (a name with a comma needs quotation marks)"
TWICE = "keep one entry for each image"
BOTH = "write both coordinates, or neither for a keypoint that is not labelled"
STATES = "write visible, hidden, absent, unlabelled or nothing"
SPLIT = "write train, val, test or nothing"
ONE_SPLIT = "write one split for all labels of an image"
NO_PLACE = "write its x and y, or the state absent or unlabelled"
EMPTIED = "empty its x and y, or write the state visible or hidden"
QUOTES = "look for a quotation mark that is not closed"
UTF8 = "save the file as UTF-8"
COLUMN = "add it or rename the column that holds it"
MEND = "export it again, or mend it with an editor"
XYV = "write x, y, v; 0, 0, 0 for a keypoint that is not labelled"
LONG_FIELD = '"' + "a" * 140_000 + '"'

# name of the case, format, what is replaced, by what, the lines that must come
FAULTS = [
    ("unknown image", "long_csv", "b.png,val,nose", "x.png,val,nose", [
        f", row 4, image: there is no image 'x.png'; {THERE}"]),
    ("unreadable", "long_csv", "b.png", "cut.png", [
        ", row 4, image: 'cut.png' cannot be read ({cut.png}); replace the image or take it "
        "out of the labels"]),
    ("not an image", "long_csv", "b.png", "text.png", [
        ", row 4, image: 'text.png' cannot be read ({text.png}); replace the image or take it "
        "out of the labels"]),
    ("bomb", "long_csv", "b.png", "bomb.png", [
        ", row 4, image: 'bomb.png' cannot be read ({bomb.png}); replace the image or take it "
        "out of the labels"]),
    ("not a number", "long_csv", "10,11", "ten,1_1", [
        f", row 2, x: 'ten' is not a finite number; {NUMBER}",
        f", row 2, y: '1_1' is not a finite number; {NUMBER}"]),
    ("infinite", "long_csv", "10,11", "inf,-inf", [
        f", row 2, x: 'inf' is not a finite number; {NUMBER}",
        f", row 2, y: '-inf' is not a finite number; {NUMBER}"]),
    ("too large for a float", "long_csv", "10,11", "1e999,11", [
        f", row 2, x: '1e999' is not a finite number; {NUMBER}"]),
    ("far outside", "long_csv", "10,11", "-6,11", [
        f", row 2, x,y: (-6, 11) lies 6 px outside the image of 40×30; {MOVE}"]),
    ("duplicate", "long_csv", "b.png,val,nose,14,15,visible", "a.png,train,nose,14,15,visible", [
        ", row 4, point: 'nose' of this image is in row 2 already; keep one; several objects "
        "on an image need a column instance"]),
    ("same row", "long_csv", "b.png,val,nose,14,15,visible", "./a.png,train,nose,10.0,11,", [
        ", row 4, point: the row says the same as row 2; delete one of them"]),
    ("short row", "long_csv", "a.png,train,nose,10,11,visible", "a.png,train,nose,10,11", [
        f", row 2, row: 5 cells instead of 6; {LENGTH}"]),
    ("long row", "long_csv", "10,11", "10,11,5", [
        f", row 2, row: 7 cells instead of 6; {LENGTH}"]),
    ("state", "long_csv", "visible\na", "Visble\na", [
        f", row 2, state: 'Visble' is not a state; {STATES}"]),
    ("located without a place", "long_csv", "10,11", ",", [
        f", row 2, state: a keypoint that is visible has no place; {NO_PLACE}"]),
    ("absent with a place", "long_csv", ",,,absent", ",1,2,absent", [
        f", row 5, state: a keypoint that is absent has a place; {EMPTIED}"]),
    ("half a place", "long_csv", "10,11", "10,", [
        f", row 2, y: it is empty while the other coordinate is not; {BOTH}"]),
    ("split", "long_csv", "a.png,train,nose", "a.png,trian,nose", [
        f", row 2, split: 'trian' is not a split; {SPLIT}"]),
    ("two splits", "long_csv", "a.png,train,tail", "a.png,test,tail", [
        f", row 3, split: 'a.png' is in 'test' here and in 'train' before; {ONE_SPLIT}"]),
    ("column", "long_csv", "x,y", "x,why", [
        f", row 1, y: there is no column 'y'; the header is 'image,split,point,x,why,state'; "
        f"{COLUMN}"]),
    ("two columns", "long_csv", "split", "x", [
        ", row 1, x: 2 columns have this name; keep one of them"]),
    ("nameless point", "long_csv", "tail,,", ",,", [
        ", row 5, point: '' is empty; write the point's name"]),
    ("control character", "long_csv", "tail,,", "t\0l,,", [
        ", row 5, point: 't\\x00l' holds a character that no name may hold; write the point's name"
    ]),
    ("not UTF-8", "long_csv", "b.png,val,nose", "b\udcfc.png,val,nose", [
        f", row 4, text: byte 0xfc at offset 90 is not UTF-8; {UTF8}"]),
    ("leaves the folder", "long_csv", "b.png", "sub/../../b.png", [
        f", row 4, image: 'sub/../../b.png' leaves the folder; {PLACE}"]),
    ("absolute", "long_csv", "b.png", "/z.png", [
        f", row 4, image: '/z.png' is an absolute path; {PLACE}"]),
    ("drive", "long_csv", "b.png", "c:b.png", [
        f", row 4, image: 'c:b.png' begins with a drive letter; {PLACE}"]),
    ("symlink", "long_csv", "b.png", "link.png", [
        ", row 4, image: 'link.png' is a symlink out of the folder; put the image itself into "
        "the folder"]),
    ("circle of symlinks", "long_csv", "b.png", "circle.png", [
        f", row 4, image: there is no image 'circle.png'; {THERE}"]),
    ("field over the limit", "long_csv", "b.png,val,nose", LONG_FIELD + ",val,nose", [
        f", row 4, row: this is not CSV (field larger than field limit (131072)); {QUOTES}"]),
    ("open quotation", "long_csv", "b.png,val,tail", '"b.png,val,tail', [
        f", row 5, row: this is not CSV (unexpected end of data); {QUOTES}"]),
    ("no rows", "long_csv", GOOD["long_csv"][27:], "\n", [
        ", row 1, file: there is no label in it; label at least one image"]),
    ("unknown image", "cvat", 'name="b.png"', 'name="x.png"', [
        f", image 1: name: there is no image 'x.png'; {THERE}"]),
    ("not a place", "cvat", "10.5,11.5", "ten,11.5", [
        ", image 0, skeleton 0: 'ten,11.5' is not a place x,y; write two numbers with a comma "
        "between"]),
    ("size", "cvat", 'width="40" height="30"><skeleton label="mouse">\n<points label="nose" '
     'outside="0" occluded="0" points="14', 'width="4" height="30"><skeleton label="mouse">\n'
     '<points label="nose" outside="0" occluded="0" points="14', [
        ", image 1: the width is said to be 4, and that of the image is 40; use the image that "
        "was labelled, turned and scaled as it was then"]),
    ("entities", "cvat", "<annotations>", '<!DOCTYPE a [<!ENTITY b "c">]><annotations>', [
        ", file: it defines a document type; export the labels as CVAT 1.1 again"]),
    ("unknown image", "label_studio", "b.png", "x.png", [
        f", [1].data.image: there is no image 'x.png'; {THERE}"]),
    ("not a number", "label_studio", '"y": 45', '"y": "45"', [
        ", [0].result[1].value: x and y are 31.25 and '45'; write two finite numbers, in percent"]),
    ("broken", "label_studio", "}]}]}]", "}]}]", [
        f", file: the JSON is broken at line 10: Expecting ',' delimiter; {MEND}"]),
    ("nameless", "label_studio", '["tail"]', "[]", [
        ", [0].result[1].value.keypointlabels: '' is empty; write the [0].result[1].value."
        "keypointlabels's name"]),
    ("two points", "labelme", '"tail"', '"nose"', [
        ", a.json: shapes[1]: 'nose' is on this object of the image already (a.json: shapes[0]); "
        "give each object a group_id of its own, or delete one of the points"]),
    ("nameless", "labelme", '"nose", "shape_type": "point", "points": [[14', '"", "shape_type": '
     '"point", "points": [[14', [
        ", b.json: shapes[0].label: '' is empty; write the b.json: shapes[0].label's name"]),
    ("no place", "labelme", "[[12.5, 13.5]]", "[[12.5]]", [
        ", a.json: shapes[1].points: [[12.5]] is not one point of two finite numbers; write "
        "[[x, y]]"]),
    ("too deep", "labelme", "[[12.5, 13.5]]", "[" * 100_000, [
        f", a.json: the JSON is nested too deeply; {MEND}"]),
    ("not numbers", "stereomorph", "10.5\t", "ten\t", [
        ", a.txt, row 2: 'nose ten 11.5' is not a name and two finite numbers; write NAME, x and "
        "y between tabs, NA where it is missing"]),
    ("far outside", "stereomorph", "12.5\t13.5", "12.5\t135.2", [
        f", a.txt, row 3: (12.5, 135.2) lies 106 px outside the image of 40×30; {MOVE}"]),
    ("unknown image", "tps", "b.png", "x.png", [
        f", row 8, IMAGE: there is no image 'x.png'; {THERE}"]),
    ("not numbers", "tps", "12.5 16.5", "12.5", [
        ", row 3, LM: '12.5' are not two finite numbers; write x and y with a blank between them, "
        "-1 -1 where missing"]),
    ("no image", "tps", "IMAGE=a.png\n", "", [
        ", row 1, IMAGE: the specimen names no image; add a line IMAGE= after its landmarks"]),
    ("other landmarks", "tps", "LM=2\n14.5 14.5\n", "LM=1\n", [
        ", row 1, LM: specimens have 1, 2 landmarks; place the same landmarks on each"]),
    ("unknown image", "via", "b.png", "x.png", [
        f", row 4, filename: there is no image 'x.png'; {THERE}"]),
    ("no number", "via", '""cx"":10.5,', "", [
        ", row 2, region_shape_attributes: cx and cy are None and 11.5; write two finite numbers, "
        "in pixels"]),
    ("broken", "via", '""cx"":10.5,', '""cx"":', [
        ", row 2, region_shape_attributes: the JSON is broken at line 1: Expecting ',' delimiter; "
        f"{MEND}"]),
    ("no such image", "napari", "3.0,1.0", "3.0,77", [
        ", row 5, axis-0: '77' is no number of an image: there are 2 in the folder; put the file "
        "beside the images of the stack, or name their folder with --root"]),
    ("not a number", "napari", ",15,", ",up,", [
        f", row 4, axis-1: 'up' is not a finite number; {NUMBER}"]),
    ("numbers", "yolo", "0 .5 .5 1 1 0.2625", "0 .5 .5 1 1 .1 0.2625", [
        ", a.txt, line 1: '0 .5 .5 1 1 .1 0.2625 0.38333333333333336 2 0.3125 0.45 1' is not "
        "a class, a box and 2 × 3 numbers; export the labels as YOLO-pose again"]),
    ("visibility", "yolo", "0.45 1", "0.45 3", [
        ", a.txt, line 1: the visibility 3 is unknown; write 0, 1 or 2"]),
    ("flip", "yolo", "kpt_names", "flip_idx: [1, 1]\nkpt_names", [
        ", flip_idx: [1, 1] does not exchange 2 keypoints in pairs; write the number of each "
        "keypoint's partner, from 0"]),
    ("shape", "yolo", "[2, 3]", "[2, 4]", [
        ", kpt_shape: it is [2, 4]; write the number of keypoints, and 2 or 3"]),
    ("unknown image", "wide_csv", "b.png", "x.png", [
        f", row 3, image: there is no image 'x.png'; {THERE}"]),
    ("nan", "wide_csv", "12,13", "NaN,13", [
        f", row 2, tail_x: it is empty while the other coordinate is not; {BOTH}"]),
    ("far outside", "wide_csv", "12,13", "12,35", [
        f", row 2, tail_x,tail_y: (12, 35) lies 6 px outside the image of 40×30; {MOVE}"]),
    ("duplicate", "wide_csv", "b.png", "./a.png", [
        f", row 3, image: 'a.png' is named a second time; {TWICE}",
        f", row 3, split: 'a.png' is in 'val' here and in 'train' before; {ONE_SPLIT}"]),
    ("short row", "wide_csv", "14,15,visible", "14,15", [
        f", row 3, row: 7 cells instead of 8; {LENGTH}"]),
    ("state", "wide_csv", "hidden", "2", [
        f", row 2, tail_state: '2' is not a state; {STATES}"]),
    ("split", "wide_csv", "val", "dev", [
        f", row 3, split: 'dev' is not a split; {SPLIT}"]),
    ("column", "wide_csv", "nose_y", "nosey", [
        ", row 1, nose_y: there is no column 'nose_y' to go with 'nose_x'; add it, or rename the "
        "other if it is not a coordinate"]),
    ("two columns", "wide_csv", "tail_x", "nose.X", [
        ", row 1, nose.X: this is the second x of 'nose'; keep one of them",
        ", row 1, tail_x: there is no column 'tail_x' to go with 'tail_y'; add it, or rename the "
        "other if it is not a coordinate"]),
    ("not UTF-8", "wide_csv", "b.png", "\udce9.png", [
        f", row 3, text: byte 0xe9 at offset 101 is not UTF-8; {UTF8}"]),
    ("absolute", "wide_csv", "b.png", "\\\\host\\z.png", [
        f", row 3, image: '\\\\host\\z.png' is an absolute path; {PLACE}"]),
    ("unknown image", "deeplabcut", "b.png", "x.png", [
        f", row 5, image: there is no image 'x.png'; {THERE}"]),
    ("nan", "deeplabcut", "12,13", "12,nan", [
        f", row 4, tail y: it is empty while the other coordinate is not; {BOTH}"]),
    ("half a place", "deeplabcut", "14,15", "14,", [
        f", row 5, nose y: it is empty while the other coordinate is not; {BOTH}"]),
    ("far outside", "deeplabcut", "12,13", "45.5,13", [
        f", row 4, tail x,tail y: (45.5, 13) lies 6 px outside the image of 40×30; {MOVE}"]),
    ("duplicate", "deeplabcut", "b.png,14,15,,,val", "a.png,14,15,,,train", [
        f", row 5, image: 'a.png' is named a second time; {TWICE}"]),
    ("short row", "deeplabcut", "b.png,14,15,,,val", "b.png,14,15,,val", [
        f", row 5, row: 5 cells instead of 6; {LENGTH}"]),
    ("split", "deeplabcut", "val", "unused", [
        f", row 5, set: 'unused' is not a split; {SPLIT}"]),
    ("column", "deeplabcut", "coords,x,y,x,y", "coords,x,y,x,z", [
        ", row 3, column 5: 'z' of 'tail' is unknown or is there twice; keep x, y and "
        "likelihood once",
        ", row 3, tail: 'tail' has x only; add its columns x and y"]),
    ("header row", "deeplabcut", "bodyparts", "parts", [
        ", row 2, header: 'parts' begins the row, 'bodyparts' should; write the rows scorer, "
        "bodyparts, coords first"]),
    ("several animals", "deeplabcut", "bodyparts", "individuals,a,a,b,b,\nbody", [
        ", row 3, header: 'body' begins the row, 'bodyparts' should; write the rows scorer, "
        "individuals, bodyparts, coords first"]),
    ("not UTF-8", "deeplabcut", "b.png", "\udcff.png", [
        f", row 5, text: byte 0xff at offset 94 is not UTF-8; {UTF8}"]),
    ("leaves the folder", "deeplabcut", "b.png", "..\\b.png", [
        f", row 5, image: '..\\b.png' leaves the folder; {PLACE}"]),
    ("unknown image", "coco", "b.png", "x.png", [
        f", images[1].file_name: there is no image 'x.png'; {THERE}"]),
    ("leaves the folder", "coco", "b.png", "../b.png", [
        f", images[1].file_name: '../b.png' leaves the folder; {PLACE}"]),
    ("half a character", "coco", "b.png", "\\ud800.png", [
        f", images[1].file_name: '\\ud800.png' holds a character that no name may hold; {PLACE}"]),
    ("duplicate", "coco", '2, "file_name": "b.png"', '2, "file_name": "a.png"', [
        f", images[1].file_name: 'a.png' is named a second time; {TWICE}",
        f", images[1].split: 'a.png' is in 'val' here and in 'train' before; {ONE_SPLIT}"]),
    ("same id", "coco", '"id": 2, "file_name"', '"id": 1, "file_name"', [
        ", images[1].id: 1 is the id of two images; number them anew",
        ", annotations[1].image_id: there is no image with the id 2; add the image or delete the "
        "annotation"]),
    ("size", "coco", '"width": 40, "height": 30, "split": "val"', '"width": 30, "split": "val"', [
        ", images[1].width: it is 30, the image's width is 40; use the image that was "
        "labelled, turned and scaled as it was then"]),
    ("split", "coco", '"val"', '"dev"', [f", images[1].split: 'dev' is not a split; {SPLIT}"]),
    ("nan", "coco", "12, 13, 1", "NaN, 13, 1", [
        f", annotations[0].keypoints[3]: [nan, 13, 1] are not three finite numbers; {XYV}"]),
    ("not a number", "coco", "12, 13, 1", '"12", true, 1', [
        f", annotations[0].keypoints[3]: ['12', True, 1] are not three finite numbers; {XYV}"]),
    ("too large for a float", "coco", "12, 13, 1", f"12, 1{'0' * 400}, 1", [
        f", annotations[0].keypoints[3]: [12, 100000000000000000...0000000000000000000, 1] are not "
        f"three finite numbers; {XYV}"]),
    ("far outside", "coco", "12, 13, 1", "12, 130, 1", [
        f", annotations[0].keypoints[3]: (12, 130) lies 100 px outside the image of 40×30; {MOVE}"
    ]),
    ("visibility", "coco", "12, 13, 1", "12, 13, 3", [
        ", annotations[0].keypoints[3]: the visibility 3 is unknown; write 0 (not labelled), 1 "
        "(hidden) or 2 (visible)"]),
    ("length", "coco", "12, 13, 1", "12, 13", [
        ", annotations[0].keypoints: 5 numbers instead of 3 × 2; write x, y, v for each keypoint "
        "of the category"]),
    ("absent with a place", "coco", '["tail"]}]', '["nose"]}]', [
        ", annotations[1].absent: 'nose' is absent and has a place; take it out, or set its v to 0"
    ]),
    ("absent stranger", "coco", '["tail"]}]', '["wing", []]}]', [
        ", annotations[1].absent[0]: 'wing' is not a keypoint of the category; write names of "
        "keypoints",
        ", annotations[1].absent[1]: [] is not a keypoint of the category; write names of keypoints"
    ]),
    ("wrong types", "coco", '"id": 2, "file_name": "b.png"', '"id": [2], "file_name": 7', [
        ", images[1].id: [2] is not a whole number; write a whole number",
        ", images[1].file_name: 7 is not a text; write a text",
        ", annotations[1].image_id: there is no image with the id 2; add the image or delete the "
        "annotation"]),
    ("column", "coco", '"annotations"', '"annotation"', [
        ", annotations: it is missing; write a list"]),
    ("not pairs", "coco", '"skeleton": [[1, 2]]', '"symmetry": [["nose", "wing"], "ab"]', [
        ", categories[0].symmetry[0]: ['nose', 'wing'] is not a pair of keypoints; write two names "
        "of keypoints",
        ", categories[0].symmetry[1]: 'ab' is not a pair of keypoints; write two names of "
        "keypoints"]),
    ("symmetry", "coco", '"skeleton": [[1, 2]]', '"symmetry": [["nose", "tail"], ["tail", "nose"]]',
     [", categories[0].symmetry: 'nose' is in two pairs; give a keypoint one partner",
      ", categories[0].symmetry: 'tail' is in two pairs; give a keypoint one partner"]),
    ("two points of one name", "coco", '["nose", "tail"], "sk', '["nose", "nose"], "sk', [
        ", categories[0].keypoints[1]: 'nose' is there twice; rename one"]),
    ("no keypoints", "coco", '"keypoints": ["nose", "tail"], "sk', '"sk', [
        ", categories: no category has a list 'keypoints'; export the labels as keypoints"]),
    ("unknown category", "coco", '"image_id": 1, "category_id": 1',
     '"image_id": 1, "category_id": 0', [
        ", annotations[0].category_id: there is no category with the id 0; correct it: "
      "the ids of the categories are 1"]),
    ("strange category", "coco", '"image_id": 1, "category_id": 1',
     '"image_id": 1, "category_id": null', [
        ", annotations[0].category_id: None is not a whole number; write a whole number"]),
    ("two categories of one id", "coco", '[{"id": 1, "k', '[{"id": "1"}, {"id": 1, "k', [
        ", categories[1].id: '1' is the id of two categories; number them"]),
    ("list of results", "coco", GOOD["coco"], '[{"image_id": 1, "keypoints": [1, 2, 2]}]', [
        ", file: it is a list of results, not a data set: it names no images and no keypoints; "
        "give the file with images, annotations and categories"]),
    ("convention", "coco", '{"images"', '{"info": {"pixel_convention": "corners"}, "images"', [
        ", info.pixel_convention: 'corners' is not our convention; convert to 'x right, y down, "
        "0-based, integer = pixel centre'"]),
    ("broken", "coco", "]}]}", "]}]", [
        f", file: the JSON is broken at line 8: Expecting ',' delimiter; {MEND}"]),
    ("too deep", "coco", "12, 13, 1", "[" * 100_000, [
        f", file: the JSON is nested too deeply; {MEND}"]),
    ("too many digits", "coco", "12, 13, 1", "1" * 5000, [
        ", file: Exceeds the limit (4300 digits) for integer string conversion: value has 5000 "
        f"digits; {MEND}"]),
    ("same key", "coco", '"width": 40,', '"id": 3,', [
        f", file: the key 'id' is there twice in one object; {MEND}"]),
    ("not UTF-8", "coco", "b.png", "\udcff.png", [
        f", row 3, text: byte 0xff at offset 115 is not UTF-8; {UTF8}"]),
]  # fmt: skip


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images a.png and b.png, and some that must be refused."""
    outside = tmp_path_factory.mktemp("outside")
    folder = outside / "data"
    (folder / "sub").mkdir(parents=True)
    for file in (outside / "b.png", folder / "a.png", folder / "b.png"):
        Image.new("L", (40, 30)).save(file)
    good = (folder / "a.png").read_bytes()
    (folder / "cut.png").write_bytes(good[:20])
    (folder / "text.png").write_text("not an image")
    (folder / "bomb.png").write_bytes(good[:16] + b"\x7f\xff\xff\xff" * 2 + good[24:])
    (folder / "link.png").symlink_to(outside / "b.png")
    (folder / "circle.png").symlink_to("circle.png")
    return folder


Good = str | Mapping[str, str | bytes]


def put(folder: Path, name: str, good: Good) -> Path:
    """A file of this text, or a folder of files with images a.png and b.png."""
    if isinstance(good, str):
        path = folder / f"{name}.txt"
        if name == "napari":  # numbers the images of its folder
            path = put(folder, name, {"labels.csv": ""}) / "labels.csv"
        path.write_bytes(good.encode("utf-8", errors="surrogateescape"))
        return path
    home = folder / f"of_{name}"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    for image in ("a.png", "b.png"):
        (home / image).hardlink_to(folder / image)
    for file, content in good.items():
        (home / file).write_bytes(content.encode() if isinstance(content, str) else content)
    return home


def replaced(good: Good, old: str, new: str) -> Good:
    """The same with other words."""
    if isinstance(good, str):
        return good.replace(old, new)
    return {f: t.replace(old, new) if isinstance(t, str) else t for f, t in good.items()}


def told(folder: Path, good: Good, name: str) -> list[str]:
    """The faults of a file or folder, without its name."""
    path = put(folder, name, good)
    with pytest.raises(LabelError) as caught:
        read_dataset(path, format=name)
    files = {fault.file for fault in caught.value.faults}
    assert len(files) == 1
    lines = [str(fault) for fault in caught.value.faults]
    assert str(caught.value) == "\n".join(lines)
    return [line.removeprefix(next(iter(files))) for line in lines]


def test_the_good_files_are_good(faulty: Path) -> None:
    others = {"beats", "deeplabcut_project", "matlab", "sleap_analysis"}  # test_formats_hdf5.py
    others |= {"deeplabcut_h5", "nwb", "slp"}
    assert set(GOOD) == set(READ) - others, "a new format needs a good file and faults here"
    for name, good in GOOD.items():
        holds = HOLDS.get(name, Holds(splits=False))
        labels = read_dataset(put(faulty, name, good))
        first = labels.samples[0]
        if name == "napari":
            assert labels.samples[1].points.tolist() == [[[14, 15], [16, 17]]]
        np.testing.assert_allclose(first.points, [[[10, 11], [12, 13]]], rtol=0, atol=1e-12)
        read_only = name == "deeplabcut"  # Lightning Pose writes splits that it cannot read
        splits = ["train", "val"] if holds.splits or read_only else [None, None]
        assert [sample.split for sample in labels.samples] == splits
        hidden = HIDDEN if HIDDEN in holds.states else Visibility.VISIBLE
        assert first.visibility.tolist() == [[Visibility.VISIBLE, hidden]]
        absent = ABSENT if ABSENT in holds.states else Visibility.UNLABELLED
        second = Visibility.VISIBLE if name == "napari" else absent
        assert labels.samples[1].visibility.tolist() == [[Visibility.VISIBLE, second]]


@pytest.mark.parametrize(
    ("name", "old", "new", "lines"),
    [case[1:] for case in FAULTS],
    ids=[f"{case[1]}-{case[0]}" for case in FAULTS],
)
def test_a_fault_is_one_line(faulty: Path, name: str, old: str, new: str, lines: list[str]) -> None:
    good = replaced(GOOD[name], old, new)
    assert good != GOOD[name]
    for image in ("cut.png", "text.png", "bomb.png"):
        with pytest.raises(ImageError) as caught:
            image_size((faulty / image).resolve())
        lines = [line.replace(f"{{{image}}}", str(caught.value)) for line in lines]
    assert told(faulty, good, name) == lines


TOGETHER = {
    "cvat": ["unknown image", "not a place"],
    "label_studio": ["unknown image", "not a number", "nameless"],
    "labelme": ["nameless", "no place"],
    "stereomorph": ["not numbers", "far outside"],
    "tps": ["unknown image", "not numbers"],
    "via": ["unknown image", "no number"],
    "napari": ["no such image", "not a number"],
    "yolo": ["visibility", "flip"],
    "long_csv": ["unknown image", "far outside", "two splits", "nameless point"],
    "wide_csv": ["nan", "split"],
    "deeplabcut": ["nan", "unknown image", "split"],
    "coco": ["leaves the folder", "visibility", "absent stranger", "not pairs"],
}
"""Faults of a format of text that can be in one file."""

TEXTS = [name for name, good in GOOD.items() if isinstance(good, str)]


@pytest.mark.parametrize("name", TOGETHER)
def test_all_faults_come_at_once(faulty: Path, name: str) -> None:
    good, lines = GOOD[name], []
    for kind, member, old, new, said in FAULTS:
        if member == name and kind in TOGETHER[name]:
            assert replaced(good, old, new) != good
            good = replaced(good, old, new)
            lines += said
    assert len(lines) >= 2
    assert sorted(told(faulty, good, name)) == sorted(lines)


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff"])
def test_an_empty_file_is_said_to_be_empty(faulty: Path, name: str, text: str) -> None:
    (line,) = told(faulty, text, name)
    assert any(word in line for word in ("empty", "broken at line", "no XML", "no label in it"))
    path = faulty / "empty"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(
        LabelError, match=r"empty, row 1, header: the file is empty; write a header"
    ):
        read_dataset(path)


@pytest.mark.parametrize("name", TEXTS)
def test_byte_order_mark_and_line_ends_do_not_matter(faulty: Path, name: str) -> None:
    plain = read_dataset(put(faulty, name, GOOD[name]))
    text = "\ufeff" + str(GOOD[name]).replace("\n", "\r\n\r\n")
    assert_same(plain, read_dataset(put(faulty, name, text)))


def test_coco_is_json_with_its_convention(folder: Path) -> None:
    sample = KeypointSample(
        "a.png", (30, 40), np.array([[[1.0, 2.0]]]), np.array([[3]], dtype=np.int8)
    )
    content = json.loads(FORMATS["coco"]().text(KeypointDataset(folder, ("nose",), (sample,))))
    assert content["info"]["pixel_convention"] == (
        "x right, y down, 0-based, integer = pixel centre"
    )
