"""Names, symmetry, instances, folders, and what hostile or damaged files of labels do."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from placewise.errors import LabelError, PlacewiseError, SettingsError
from placewise.formats import FORMATS, convert, read_dataset, write_dataset
from placewise.labels import KeypointDataset, KeypointSample, Visibility, guess_symmetry
from placewise.labels.names import normal, why_unsafe

NAMES = ("coco", "deeplabcut", "long_csv", "wide_csv")
"""Formats whose files name images by their paths; those of other tools: test_formats_tools.py."""


def write_image(path: Path, width: int = 40, height: int = 30) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (width, height)).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "c.png"):
        write_image(tmp_path / name)
    return tmp_path


def long_csv(folder: Path, *rows: str, header: str = "image,point,x,y") -> Path:
    path = folder / "points.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def faults_of(path: Path, **how: str) -> list[str]:
    with pytest.raises(LabelError) as caught:
        read_dataset(path, **how)
    return [str(fault).removeprefix(str(path)) for fault in caught.value.faults]


def one_sample(image: str = "a.png", visibility: int = 3) -> KeypointSample:
    points = np.array([[[1.0, 2.0]]]) if visibility >= 2 else np.full((1, 1, 2), np.nan)
    return KeypointSample(image, (30, 40), points, np.array([[visibility]], dtype=np.int8))


# Symmetry


def slow_pairs(names: list[str]) -> set[frozenset[str]]:
    """Pairs by comparing every name with every other, letter by letter."""
    marks = [("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT"), ("l", "r"), ("L", "R")]
    marks += [(right, left) for left, right in marks]

    def differ(one: str, two: str) -> bool:
        for a, b in marks:
            for start in range(len(one) - len(a) + 1):
                end = start + len(a)
                if one[start:end] != a or one[:start] + b + one[end:] != two:
                    continue
                before, after = one[start - 1 : start], one[end : end + 1]
                if len(a) > 1 or not before.isalpha() or not after.isalpha():
                    return True
        return False

    partners = {a: {b for b in names if a != b and (differ(a, b) or differ(b, a))} for a in names}
    return {
        frozenset((a, b))
        for a in names
        for b in partners[a]
        if partners[a] == {b} and partners[b] == {a}
    }


PARTS = ["left", "Right", "L", "r", "l", "R", "eye", "_", "1", "Top", "LEFT", "RIGHT", "right"]


@given(names=st.lists(st.lists(st.sampled_from(PARTS), min_size=1, max_size=3).map("".join),
                      min_size=1, max_size=12, unique=True), data=st.data())  # fmt: skip
@settings(max_examples=300, deadline=None, derandomize=True)
def test_symmetry_is_what_comparing_all_names_finds(names: list[str], data: st.DataObject) -> None:
    pairs = guess_symmetry(names)
    members = [name for pair in pairs for name in pair]
    assert len(members) == len(set(members))
    assert set(members) <= set(names)
    mixed = data.draw(st.permutations(names))
    assert set(guess_symmetry(mixed)) == set(pairs)
    assert {frozenset(pair) for pair in pairs} <= slow_pairs(names)
    if not any(name.lower().count("l") + name.lower().count("r") > 1 for name in names):
        assert {frozenset(pair) for pair in pairs} == slow_pairs(names)


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        ("snout leftear rightear tailbase", "leftear:rightear"),
        ("eye_r eye_l", "eye_l:eye_r"),
        ("L1 R1 R2", "L1:R1"),
        ("LEye REye nose", "LEye:REye"),
        ("Right_Ear Left_Ear", "Left_Ear:Right_Ear"),
        ("left right", "left:right"),
        ("left_ear right_ear ear_left", "left_ear:right_ear"),
        ("left_left left_right right_left right_right", ""),
        ("bleed breed cold cord", ""),
        ("tail_l tail_r tair_l", ""),
        ("l_r r_r r_l", ""),
        ("paw1LH_top paw4RH_top paw1LH_bot", ""),
        ("leftear RIGHTEAR", ""),
        ("nose", ""),
    ],
)
def test_symmetry_of_names_that_people_write(names: str, pairs: str) -> None:
    wanted = [tuple(pair.split(":")) for pair in pairs.split()]
    assert guess_symmetry(names.split()) == tuple(wanted)


# Samples and labels say what does not fit


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"points": np.zeros((1, 2))}, "needed are"),
        ({"points": np.zeros((0, 1, 2))}, "needed are"),
        ({"visibility": np.array([[3, 3]])}, "needed are"),
        ({"visibility": np.array([[4]])}, "states other than"),
        ({"visibility": np.array([[1]])}, "write NaN"),
        ({"points": np.array([[[np.nan, 1.0]]])}, "finite"),
        ({"split": "dev"}, "split 'dev'"),
    ],
)
def test_a_sample_whose_parts_do_not_fit_is_refused(change: dict, said: str) -> None:
    parts = {"image": "a.png", "size": (30, 40), "points": np.ones((1, 1, 2))}
    with pytest.raises(SettingsError, match=said):
        KeypointSample(**{**parts, "visibility": np.array([[3]]), **change})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"names": ()}, "at least one"),
        ({"names": ("a", "a")}, "two points"),
        ({"names": (" a",)}, "blank"),
        ({"names": ("a\n",)}, "blank"),
        ({"names": ("a\nb",)}, "character"),
        ({"names": ("a", "b")}, "1 points"),
        ({"samples": (one_sample(), one_sample())}, "two samples"),
        ({"symmetry": (("nose", "nose"),)}, "symmetry"),
        ({"skeleton": (("nose", "tail"),)}, "skeleton"),
    ],
)
def test_labels_whose_parts_do_not_fit_are_refused(change: dict, said: str) -> None:
    parts = {"root": Path(), "names": ("nose",), "samples": (one_sample(),)}
    with pytest.raises(SettingsError, match=said):
        KeypointDataset(**{**parts, **change})
    with pytest.raises(SettingsError, match="twice"):
        KeypointDataset(Path(), ("a", "b", "c"), (), symmetry=(("a", "b"), ("c", "a")))


@pytest.mark.parametrize("image", ["../a.png", "/a.png", "a//b.png", "./a.png", "a\\b.png", "con"])
def test_names_that_no_reader_takes_are_not_written(tmp_path: Path, image: str) -> None:
    with pytest.raises(SettingsError, match="relative to"):
        write_dataset(
            KeypointDataset(tmp_path, ("nose",), (one_sample(image),)), tmp_path / "points.csv"
        )
    assert not list(tmp_path.iterdir())


def test_labels_without_an_image_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="without an image"):
        write_dataset(KeypointDataset(tmp_path, ("nose",), ()), tmp_path / "points.csv")


# Long CSV: columns and instances


def test_columns_come_in_any_order_and_more_of_them(folder: Path) -> None:
    rows = ["3.5,nose,me,b.png,1e1,Test", "-1,nose,me,a.png,.5,"]
    labels = read_dataset(long_csv(folder, *rows, header="y, point,who,image,x,split"))
    assert [sample.image for sample in labels.samples] == ["b.png", "a.png"]
    assert [sample.points.tolist() for sample in labels.samples] == [[[[10, 3.5]]], [[[0.5, -1]]]]
    assert [sample.split for sample in labels.samples] == ["test", None]


def test_what_is_not_mentioned_is_not_labelled(folder: Path) -> None:
    labels = read_dataset(long_csv(folder, "a.png,nose,1,2", "b.png,tail,3,4", "c.png,nose,,"))
    assert labels.names == ("nose", "tail")
    assert [sample.visibility.tolist() for sample in labels.samples] == [
        [[3, 0]],
        [[0, 3]],
        [[0, 0]],
    ]


def test_a_point_a_little_outside_is_cut_by_the_border_and_good(folder: Path) -> None:
    limit = 0.1 * np.hypot(30, 40)
    labels = read_dataset(long_csv(folder, f"a.png,nose,{39.5 + limit},{-0.5 - limit}"))
    assert labels.samples[0].points.tolist() == [[[44.5, -5.5]]]
    assert len(faults_of(long_csv(folder, f"a.png,nose,{39.5 + limit + 0.01},0"))) == 1


def test_the_size_is_that_of_the_image_as_it_is_shown(folder: Path) -> None:
    image, exif = Image.new("L", (40, 30)), Image.Exif()
    exif[0x0112] = 6
    image.save(folder / "turned.jpg", exif=exif)
    labels = read_dataset(long_csv(folder, "turned.jpg,nose,20,41"))
    assert labels.samples[0].size == (40, 30)


def test_the_column_instance_numbers_the_objects_of_an_image(folder: Path) -> None:
    header = "image,point,x,y,instance"
    rows = ["a.png,nose,1,2,7", "a.png,nose,1,2,3", "a.png,tail,3,4,7", "b.png,tail,5,6,1"]
    labels = read_dataset(long_csv(folder, *rows, header=header))
    assert labels.samples[0].visibility.tolist() == [[3, 0], [3, 3]]
    assert labels.samples[1].visibility.tolist() == [[0, 3]]
    rows += ["a.png,tail,8,8,7", "b.png,nose,1,1,-1"]
    lines = faults_of(long_csv(folder, *rows, header=header))
    assert lines == [
        ", row 6, point: 'tail' of this instance is in row 4 already; keep one, or give it "
        "another instance",
        ", row 7, instance: '-1' is not a whole number; number the objects on an image from 0",
    ]


def many(folder: Path, images: int, repeats: list[int]) -> list[str]:
    """Rows of `cell` and `nucleus` on images; the first have several cells."""
    rows = []
    for i in range(images):
        write_image(folder / f"{i}.png")
        count = 1 + (repeats[i] if i < len(repeats) else 0)
        rows += [f"{i}.png,cell,{n},{i % 30}" for n in range(count)]
        rows.append(f"{i}.png,nucleus,5,5")
    return rows


@pytest.mark.parametrize(
    ("images", "repeats", "instances"),
    [
        (1, [3], 5),
        (4, [1, 1, 1], 3),
        (20, [2, 1], 4),
        (1, [2], None),
        (10, [1, 1], None),
        (21, [9, 9], None),
    ],
)
def test_many_of_a_kind_are_instances_and_slips_are_faults(
    tmp_path: Path, images: int, repeats: list[int], instances: int | None
) -> None:
    path = long_csv(tmp_path, *many(tmp_path, images, repeats))
    if instances is None:
        assert len(faults_of(path)) == sum(repeats)
    else:
        labels = read_dataset(path)
        assert labels.instances == instances
        first = labels.samples[0]
        places, kinds = labels.kinds(first)
        assert places[kinds == 0, 0].tolist() == list(range(1 + repeats[0]))
        assert places[kinds == 1].tolist() == [[5, 5]]


def test_the_same_row_twice_is_a_fault_even_among_many(tmp_path: Path) -> None:
    rows = many(tmp_path, 4, [4, 4])
    (line,) = faults_of(long_csv(tmp_path, *rows, rows[2]))
    assert line == (
        f", row {len(rows) + 2}, point: the row says the same as row 4; delete one of them"
    )


# Other tables


def test_wide_csv_takes_points_and_other_columns(folder: Path) -> None:
    path = folder / "labels.csv"
    path.write_text("who,a_x.y,a_x.x,image,b_Y,b_X,n\nme,2,1,a.png,,,7\n")
    labels = read_dataset(path)
    assert labels.names == ("a_x", "b")
    assert labels.samples[0].points[0, 0].tolist() == [1, 2]
    assert labels.samples[0].visibility.tolist() == [[3, 0]]


def project(folder: Path, text: str, *, levels: int = 2) -> Path:
    """A project with an image, and a file of labels some levels below it."""
    write_image(folder / "labeled-data" / "m1" / "img1.png")
    path = folder.joinpath(*["labeled-data", "m1", "x", "y"][:levels], "CollectedData_me.csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


DLC = """\
scorer,me,me
bodyparts,nose,nose
coords,x,y
labeled-data/m1/img1.png,1.5,2.5
"""


@pytest.mark.parametrize("levels", [0, 1, 2, 3])
def test_images_of_a_project_are_found_above_the_file(tmp_path: Path, levels: int) -> None:
    labels = read_dataset(project(tmp_path, DLC, levels=levels))
    assert labels.root == tmp_path
    assert labels.samples[0].points.tolist() == [[[1.5, 2.5]]]


def test_images_are_sought_three_levels_up_and_no_further(tmp_path: Path) -> None:
    path = project(tmp_path, DLC, levels=4)
    assert "there is no image" in faults_of(path)[0]
    assert read_dataset(path, root=tmp_path).root == tmp_path


def test_a_project_folder_has_its_file_in_labeled_data(tmp_path: Path) -> None:
    path = project(tmp_path, DLC)
    assert read_dataset(tmp_path).source == path


def test_a_path_in_three_columns_and_a_likelihood(tmp_path: Path) -> None:
    text = (
        "scorer,,,me,me,me\nbodyparts,,,nose,nose,nose\ncoords,,,x,y,likelihood\n"
        "labeled-data,m1,img1.png,1.5,2.5,0.75\n"
    )
    labels = read_dataset(project(tmp_path, text))
    assert labels.samples[0].image == "labeled-data/m1/img1.png"
    assert labels.samples[0].points.tolist() == [[[1.5, 2.5]]]


def test_predictions_for_pose_tools(folder: Path) -> None:
    path = folder / "out.csv"
    points = np.array([[[1.0, 2.0], [np.nan, np.nan]]])
    seen, scores = np.array([[3, 1]], dtype=np.int8), np.array([[0.5, 0.125]])
    sample = KeypointSample("a.png", (30, 40), points, seen, None, scores)
    labels = KeypointDataset(folder, ("nose", "tail"), (sample,))
    write_dataset(labels, path, "deeplabcut", lossy=True)
    assert path.read_text().splitlines() == [
        "scorer,placewise,placewise,placewise,placewise,placewise,placewise",
        "bodyparts,nose,nose,nose,tail,tail,tail",
        "coords,x,y,likelihood,x,y,likelihood",
        "a.png,1.0,2.0,0.5,,,0.125",
    ]
    np.testing.assert_array_equal(read_dataset(path).samples[0].points, points)
    with pytest.raises(SettingsError, match="has scores of shape"):
        KeypointSample("a.png", (30, 40), points, seen, None, scores[:, :1])


def test_predictions_as_coco_read_back(folder: Path) -> None:
    points = np.array([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [np.nan, np.nan]]])
    visibility = np.array([[3, 3], [3, 0]], dtype=np.int8)
    scores = np.array([[0.5, 0.25], [1.0, np.nan]])
    sample = KeypointSample("a.png", (30, 40), points, visibility, None, scores)
    labels = KeypointDataset(folder, ("nose", "tail"), (sample,))
    write_dataset(labels, folder / "out.json")
    content = json.loads((folder / "out.json").read_text())
    assert [a["score"] for a in content["annotations"]] == [0.375, 1.0]
    assert content["annotations"][1]["scores"] == [1.0, None]
    np.testing.assert_array_equal(read_dataset(folder / "out.json").samples[0].points, points)
    with pytest.raises(SettingsError, match="several instances"):
        write_dataset(labels, folder / "out.csv", "wide_csv")


# COCO


def test_coco_of_other_tools_loads(folder: Path) -> None:
    person = {"id": 1, "name": "person", "keypoints": ["nose", "l_eye", "r_eye"]}
    content = {
        "info": {"year": 2017},
        "images": [{"id": 9, "file_name": "b.png"}, {"id": "k", "file_name": "a.png"}],
        "annotations": [
            {"image_id": 9, "category_id": 1, "bbox": [0, 0, 2, 2], "iscrowd": 0},
            {"image_id": 9, "category_id": 2, "keypoints": []},
            {"image_id": 9, "category_id": 1, "keypoints": [5, 6.5, 2, 0, 0, 0, 7, 8, 1]},
            {"image_id": 9, "category_id": 1, "keypoints": [0] * 9},
            {"image_id": 9, "category_id": 1, "keypoints": [1, 1, 2.0, 0, 0, 0, 0, 0, 0]},
        ],
        "categories": [{"id": 2, "name": "car"}, {**person, "skeleton": [[2, 1], [1, 3]]}],
    }
    path = folder / "person_keypoints.json"
    path.write_text(json.dumps(content))
    labels = read_dataset(path)
    assert labels.skeleton == (("l_eye", "nose"), ("nose", "r_eye"))
    assert labels.symmetry == (("l_eye", "r_eye"),)
    assert [len(sample.points) for sample in labels.samples] == [2, 1]
    assert labels.samples[0].visibility.tolist() == [[3, 0, 2], [3, 0, 0]]
    assert labels.samples[0].points[0, 0].tolist() == [5, 6.5]
    assert labels.samples[1].visibility.tolist() == [[0, 0, 0]]


def test_what_coco_says_of_symmetry_is_not_guessed_over(folder: Path) -> None:
    labels = KeypointDataset(folder, ("l", "r"), (KeypointSample(
        "a.png", (30, 40), np.ones((1, 2, 2)), np.full((1, 2), 3, np.int8)),))  # fmt: skip
    write_dataset(labels, folder / "a.json")
    assert read_dataset(folder / "a.json").symmetry == ()


def test_coco_has_what_scoring_tools_ask_for(folder: Path) -> None:
    points = np.array([[[1.0, 2.0], [4.0, 8.0]], [[np.nan] * 2] * 2])
    sample = KeypointSample("a.png", (30, 40), points, np.array([[3, 2], [0, 1]], dtype=np.int8))
    text = FORMATS["coco"]().text(
        KeypointDataset(folder, ("a", "b"), (sample,), skeleton=(("b", "a"),))
    )
    first, second = json.loads(text)["annotations"]
    assert first["bbox"] == [1, 2, 3, 6]
    assert (first["area"], first["num_keypoints"], first["iscrowd"]) == (18, 2, 0)
    assert (second["bbox"], second["num_keypoints"], second["absent"]) == ([0] * 4, 0, ["b"])
    assert first["keypoints"] == [1, 2, 2, 4, 8, 1]
    assert json.loads(text)["categories"][0]["skeleton"] == [[2, 1]]
    assert json.loads(text)["images"][0] == {
        "id": 1, "file_name": "a.png", "width": 40, "height": 30}  # fmt: skip


# Files and folders


def test_the_file_of_a_folder(folder: Path) -> None:
    with pytest.raises(SettingsError, match="no file of labels"):
        read_dataset(folder)
    for name in ("config.json", "times.csv", "x.csv"):
        (folder / name).write_text('{"a": 1}' if name.endswith("json") else "time,acc_x,acc_y\n")
    (folder / "mine.csv").write_text("image,nose_x,nose_y\na.png,1,2\n")
    assert read_dataset(folder).source == folder / "mine.csv"
    convert(folder, folder / "other.json")
    with pytest.raises(SettingsError, match=r"mine\.csv, other\.json; name one of them"):
        read_dataset(folder)
    convert(folder / "mine.csv", folder / "labels.json")
    assert read_dataset(folder).source == folder / "labels.json"
    convert(folder / "mine.csv", folder / "points.csv")
    assert read_dataset(folder).source == folder / "points.csv"


def test_a_file_that_is_not_there_or_not_known(folder: Path) -> None:
    with pytest.raises(SettingsError, match="no file or folder"):
        read_dataset(folder / "none.csv")
    path = folder / "times.csv"
    path.write_text("file;time\na.png;7\n")
    (line,) = faults_of(path)
    assert line == (
        ", row 1, header: the columns are 'file, time'; a table of labels has the columns image, "
        "keypoint, x, y (a row for each keypoint), or image, NAME_x, NAME_y, … (a row for each "
        "image), or image, class; see docs/formats.md"
    )
    with pytest.raises(SettingsError, match="Did you mean 'long_csv'"):
        read_dataset(path, format="longcsv")
    assert "there is no column 'image'" in faults_of(path, format="long_csv")[0]


def test_a_symlink_out_of_the_folder_is_not_looked_at(tmp_path: Path) -> None:
    write_image(tmp_path / "data" / "a.png")
    long_csv(tmp_path, "a.png,nose,1,2")
    (tmp_path / "data" / "link.csv").symlink_to(tmp_path / "points.csv")
    with pytest.raises(SettingsError, match="no file of labels"):
        read_dataset(tmp_path / "data")


def test_convert_says_what_it_wrote_and_left_out(folder: Path) -> None:
    source = long_csv(folder, "a.png,nose,1,2,hidden", header="image,point,x,y,state")
    said = convert(source, folder / "a.json")
    assert said == f"{folder / 'a.json'}: 1 images, 1 keypoints, written as coco"
    target = folder / "dlc.csv"
    with pytest.raises(
        SettingsError, match=r"deeplabcut cannot hold that keypoints are hidden \(1\)"
    ):
        convert(source, target, to_format="deeplabcut")
    said = convert(source, target, to_format="deeplabcut", lossy=True)
    assert said.endswith("written as deeplabcut; left out: that keypoints are hidden (1)")
    with pytest.raises(SettingsError, match="does not tell its format"):
        convert(source, folder / "labels.txt")
    with pytest.raises(SettingsError, match="read from"):
        convert(source, source, overwrite=True)


def test_the_folder_of_the_images_can_be_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    path = long_csv(tmp_path / "elsewhere", "a.png,nose,1,2")
    assert "name the folder of the images" in faults_of(path)[0]
    assert read_dataset(path, root=folder).samples[0].image == "a.png"


def test_real_data_loads_as_it_is(real_data: Path) -> None:
    mouse = read_dataset(real_data / "openfield_mouse")
    assert mouse.names == ("snout", "leftear", "rightear", "tailbase")
    assert mouse.symmetry == (("leftear", "rightear"),)
    assert [s.split for s in mouse.samples].count("test") == 23
    theirs = read_dataset(
        real_data / "openfield_mouse" / "labeled-data" / "m4s1" / "CollectedData_Pranav.csv"
    )
    assert theirs.root == mouse.root
    for one, two in zip(mouse.samples, theirs.samples, strict=True):
        assert one.image == two.image
        np.testing.assert_allclose(one.points, two.points, atol=1e-3)
    mirror = read_dataset(real_data / "mirror_mouse")
    assert (len(mirror.samples), len(mirror.names), mirror.symmetry) == (90, 17, ())
    assert sum(int((~s.located).sum()) for s in mirror.samples) == 134
    theirs = read_dataset(real_data / "mirror_mouse" / "CollectedData.csv")
    for one, two in zip(mirror.samples, theirs.samples, strict=True):
        np.testing.assert_array_equal(one.visibility, two.visibility)
    cells = read_dataset(real_data / "bccd")
    assert (len(cells.samples), cells.instances) == (364, 30)
    assert sum(int(s.located.sum()) for s in cells.samples) == 4886


# Hostile names

HOSTILE = [
    "..", "../secret.png", "../../secret.png", "sub/../../secret.png", "./../secret.png",
    "..\\secret.png", "sub\\..\\..\\secret.png", "sub/..\\../secret.png", "sub/.. /../secret.png",
    ".../secret.png", ".. /secret.png", "..", ".", "./", "", " ", "/", "//", "\\", "\\\\",
    "/secret.png", "{outside}/secret.png", "//{outside}/secret.png", "/etc/passwd", "/dev/zero",
    "/dev/stdin", "/proc/self/environ", "\\etc\\passwd", "C:\\secret.png", "c:secret.png",
    "C:/secret.png", "\\\\host\\share\\secret.png", "//host/share/secret.png",
    "\\\\?\\C:\\secret.png", "\\\\.\\COM1", "secret.png\0", "\0", "a.png\0../secret.png",
    "../secret.png\n", "a\r.png", "NUL", "nul.png", "CON", "con.txt.png", "sub/aux.png", "PRN ",
    "COM1", "com9.png", "lpt1.png", "COM².png", "CONIN$", "link.png", "dirlink/secret.png",
    "linkchain.png", "dirlink", "sub/up/secret.png", "circle.png", "sub", "pipe.png",
    "~/secret.png", "~root/secret.png", "$HOME/secret.png", "%2e%2e/secret.png",
    "file:///etc/passwd", "http://host/secret.png", "data:image/png;base64,AAAA",
    "﹒﹒/secret.png", "．．/secret.png", "a" * 300 + ".png", "a/" * 3000 + "a.png",
    "a.png/../../secret.png", "*.png", "{0}.png", "|ls", "-rf",
]  # fmt: skip

opened: list[str] | None = None


def _note_opened(event: str, arguments: tuple[object, ...]) -> None:
    if opened is not None and event == "open":
        opened.append(str(arguments[0]))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of images beside which others lie that must not be opened."""
    outside = tmp_path_factory.mktemp("hostile")
    root = outside / "data"
    (root / "sub").mkdir(parents=True)
    for path in (
        outside / "secret.png",
        outside / "dir" / "secret.png",
        root / "a.png",
        root / "b.png",
    ):
        write_image(path)
    (root / "link.png").symlink_to(outside / "secret.png")
    (root / "linkchain.png").symlink_to("link.png")
    (root / "dirlink").symlink_to(outside / "dir")
    (root / "sub" / "up").symlink_to("../..")
    (root / "circle.png").symlink_to("circle.png")
    if hasattr(os, "mkfifo"):
        os.mkfifo(root / "pipe.png")
    sys.addaudithook(_note_opened)
    yield root


def hostile_file(root: Path, name: str, image: str) -> Path:
    """A file of labels of this format that names this image, then a good one."""
    path = root / f"{name}.labels"
    if name == "coco":
        images = [{"id": i, "file_name": n} for i, n in enumerate([image, "a.png"])]
        category = {"id": 1, "keypoints": ["nose"]}
        text = json.dumps({"images": images, "annotations": [], "categories": [category]})
    else:
        rows = {
            "long_csv": [["image", "point", "x", "y"], [image, "nose", 1, 2]],
            "wide_csv": [["image", "nose_x", "nose_y"], [image, 1, 2]],
            "deeplabcut": [["scorer", "me", "me"], ["bodyparts", "nose", "nose"],
                           ["coords", "x", "y"], [image, 1, 2]],
        }[name]  # fmt: skip
        buffer = io.StringIO(newline="")
        csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows(rows)
        text = buffer.getvalue()
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("name", NAMES)
def test_hostile_names_open_nothing_outside_the_folder(hostile: Path, name: str) -> None:
    global opened
    assert len(set(HOSTILE)) >= 40
    read_dataset(hostile_file(hostile, name, "b.png"))  # so that every module is loaded
    for image in HOSTILE:
        path = hostile_file(hostile, name, image.replace("{outside}", str(hostile.parent)))
        try:
            opened = []
            with pytest.raises(LabelError) as caught:
                read_dataset(path)
        finally:
            seen, opened = opened, None
        assert path.as_posix() in seen, "the audit hook sees nothing"
        outside = [file for file in seen if not Path(file).is_relative_to(hostile)]
        assert not outside, f"{image!r} opened {outside}"
        assert len(caught.value.faults) == 1, image
        assert "\n" not in str(caught.value), image


@pytest.mark.parametrize(
    "image", ["./a.png", "sub//a.png", ".\\sub\\a.png", "sub/./a.png", "a.png/"]
)
def test_harmless_ways_to_write_a_path_are_made_plain(tmp_path: Path, image: str) -> None:
    write_image(tmp_path / "a.png")
    write_image(tmp_path / "sub" / "a.png")
    labels = read_dataset(long_csv(tmp_path, f"{image},nose,1,2"))
    assert labels.samples[0].image == ("sub/a.png" if "sub" in image else "a.png")


@given(name=st.text(st.sampled_from("ab./\\ :\0ncoul~")) | st.text())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_a_safe_name_stays_below_the_folder(name: str) -> None:
    if not why_unsafe(name):
        joined = (Path("/root/data") / normal(name)).parts
        assert joined[:3] == ("/", "root", "data")
        assert len(joined) > 3
        assert ".." not in joined
        assert why_unsafe(normal(name)) == ""
        assert normal(normal(name)) == normal(name)


# Damaged files

TOKENS = [
    b"\xff", b"\x00", b'"', b",", b"\n", b"\r", b"NaN", b"1e999", b"-", b"../", b"[" * 2000,
    b"{", b"}", b"]", b":", b"null", b"true", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\\u0000",
    b"9" * 5000, b"a" * 140_000, b"0.5,", b"absent", b"hidden", b"\xf0\x9f\x90\xad", b"\x1b[31m",
]  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images with a file of labels in every format."""
    folder = tmp_path_factory.mktemp("written")
    rng = np.random.default_rng(0)
    samples = []
    for i in range(4):
        write_image(folder / f"{i}.png")
        visibility = rng.integers(0, 4, (1 + i % 2, 3)).astype(np.int8)
        points = rng.uniform(0, 29, (*visibility.shape, 2)).round(2)
        points[visibility < Visibility.HIDDEN] = np.nan
        samples.append(
            KeypointSample(f"{i}.png", (30, 40), points, visibility, ("train", "val")[i % 2])
        )
    labels = KeypointDataset(
        folder, ("nose", "left", "right"), tuple(samples), (("left", "right"),)
    )
    for name in NAMES:
        write_dataset(labels, folder / f"{name}.good", name, lossy=True)
    return folder


def mutate(data: st.DataObject, content: bytes) -> bytes:
    """A few edits: cut, double, move, flip a bit, put something in."""
    for _ in range(data.draw(st.integers(1, 4))):
        place = st.integers(0, len(content))
        start, end = sorted((data.draw(place), data.draw(place)))
        kind = data.draw(st.sampled_from(["cut", "double", "end", "bit", "token", "line"]))
        if kind == "cut":
            content = content[:start] + content[min(end, start + 30) :]
        elif kind == "double":
            content = content[:end] + content[start:end] + content[end:]
        elif kind == "end":
            content = content[:end]
        elif kind == "bit" and start < len(content):
            flipped = content[start] ^ (1 << data.draw(st.integers(0, 7)))
            content = content[:start] + bytes([flipped]) + content[start + 1 :]
        elif kind == "token":
            content = content[:start] + data.draw(st.sampled_from(TOKENS)) + content[start:]
        elif kind == "line":
            content = b"\n".join(data.draw(st.permutations(content.split(b"\n"))))
    return content


def check_mutated(folder: Path, name: str, data: st.DataObject) -> None:
    """A damaged file either is read as something whole, or gives one of our errors."""
    content = mutate(data, (folder / f"{name}.good").read_bytes())
    path = folder / "mutated"
    path.write_bytes(content)
    for forced in (None, name):
        try:
            labels = read_dataset(path, format=forced)
        except PlacewiseError as error:
            assert str(error)
            assert not isinstance(error, LabelError) or error.faults
            assert "\n" not in str(error) or isinstance(error, LabelError)
            continue
        for sample in labels.samples:
            assert (folder / sample.image).is_file()
            assert sample.size == (30, 40)
        write_dataset(labels, folder / "again.json", overwrite=True)
        again = read_dataset(folder / "again.json")
        assert [s.image for s in again.samples] == [s.image for s in labels.samples]
        for one, two in zip(again.samples, labels.samples, strict=True):
            np.testing.assert_array_equal(one.points, two.points)
            np.testing.assert_array_equal(one.visibility, two.visibility)


FUZZ = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    max_examples=50,
)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@FUZZ
def test_damaged_files(written: Path, name: str, data: st.DataObject) -> None:
    check_mutated(written, name, data)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@settings(FUZZ, max_examples=1300)
def test_many_damaged_files(written: Path, name: str, data: st.DataObject) -> None:
    check_mutated(written, name, data)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_cut_anywhere_loses_whole_images_or_is_refused(written: Path, name: str) -> None:
    content = (written / f"{name}.good").read_bytes()
    whole = read_dataset(written / f"{name}.good")
    path, refused = written / "cut", 0
    for end in range(0, len(content.rstrip()), 7):
        path.write_bytes(content[:end])
        try:
            labels = read_dataset(path)
        except PlacewiseError:
            refused += 1
            continue
        assert name != "coco", "a cut JSON file must never load"
        for one, two in zip(labels.samples, whole.samples, strict=False):
            located = np.nonzero(one.located)
            np.testing.assert_array_equal(one.points[located], two.points[located])
    assert refused
