"""Tables as spreadsheets write them, COCO as other tools write it, scores, and hostile bytes."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import math
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from placewise.cli import main
from placewise.errors import DataError, LabelError, PlacewiseError, SettingsError
from placewise.formats import convert, read_dataset, write_dataset
from placewise.labels import KeypointDataset, KeypointSample


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "c.png"):
        Image.new("L", (40, 30)).save(tmp_path / name)
    return tmp_path


def faults_of(path: Path) -> list[str]:
    with pytest.raises(LabelError) as caught:
        read_dataset(path)
    return [str(fault).removeprefix(str(path)) for fault in caught.value.faults]


def same(one: Any, two: Any) -> None:
    assert one.names == two.names
    assert [s.image for s in one.samples] == [s.image for s in two.samples]
    assert [s.split for s in one.samples] == [s.split for s in two.samples]
    for a, b in zip(one.samples, two.samples, strict=True):
        np.testing.assert_array_equal(a.points, b.points)
        np.testing.assert_array_equal(a.visibility, b.visibility)


# Tables


@pytest.mark.parametrize("nothing", ["NaN", "nan", "NA", "#N/A", "null", "None", " "])
def test_what_tools_write_for_no_number_is_no_label(folder: Path, nothing: str) -> None:
    text = f"image,keypoint,x,y\na.png,nose,1,2\nb.png,nose,{nothing},{nothing}\n"
    (folder / "points.csv").write_text(text)
    dataset = read_dataset(folder)
    assert isinstance(dataset, KeypointDataset)
    assert [sample.located.tolist() for sample in dataset.samples] == [[[True]], [[False]]]
    (folder / "points.csv").write_text(text.replace(f"{nothing}\n", "3\n"))
    assert any("the other coordinate" in fault for fault in faults_of(folder / "points.csv"))


TABLES = {
    "long": [
        ["image", "keypoint", "x", "y", "visibility", "split"],
        ["a.png", "Nose", "1.5", "2.25", "visible", "train"],
        ["a.png", "tail", "", "", "absent", "train"],
        ["b.png", "Nose", "10", ".5", "hidden", "val"],
    ],
    "wide": [
        ["image", "split", "Nose_x", "Nose_y", "tail_x", "tail_y"],
        ["a.png", "train", "1.5", "2.25", "", ""],
        ["b.png", "val", "10", "-.5", "1e1", "0.125"],
    ],
    "deeplabcut": [
        ["scorer", "me", "me", "me", "me"],
        ["bodyparts", "Nose", "Nose", "tail", "tail"],
        ["coords", "x", "y", "x", "y"],
        ["a.png", "1.5", "2.25", "", ""],
        ["b.png", "10", "-.5", "1e1", "0.125"],
    ],
}

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}
CODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"]


def as_text(
    rows: list[list[str]], mark: str, *, decimal: str, capitals: bool, padded: bool, said: bool
) -> str:
    """A table as a spreadsheet of some country writes it."""
    head = 3 if rows[0][0] == "scorer" else 1
    lines = [f"sep={mark}"] if said else []
    for k, row in enumerate(rows):
        cells = [cell.upper() if k == 0 and capitals and head == 1 else cell for cell in row]
        if decimal != "." and k >= head:
            cells = [cells[0], *(cell.replace(".", decimal) for cell in cells[1:])]
            cells = [f'"{cell}"' if mark == decimal and decimal in cell else cell for cell in cells]
        lines += [mark.join(cells + [""] * (2 * padded)), *[mark * 3] * padded]
    return "\r\n".join([*lines, ""])


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("mark", DELIMITERS.values(), ids=DELIMITERS)
@pytest.mark.parametrize("kind", TABLES)
def test_a_table_reads_the_same_however_a_spreadsheet_writes_it(
    folder: Path, kind: str, mark: str, coding: str, caplog: pytest.LogCaptureFixture
) -> None:
    plain = folder / "plain.csv"
    plain.write_text("\n".join(",".join(row) for row in TABLES[kind]) + "\n")
    wanted = read_dataset(plain)
    path = folder / "points.csv"
    bools = (False, True)
    for decimal, capitals, padded, said in itertools.product(".,", bools, bools, bools):
        text = as_text(
            TABLES[kind], mark, decimal=decimal, capitals=capitals, padded=padded, said=said
        )
        path.write_bytes(text.encode(coding))
        caplog.clear()
        found = read_dataset(path)
        if capitals and kind == "wide":
            assert found.names == ("NOSE", "TAIL")
        else:
            same(found, wanted)
        assumed = mark != "," or decimal != "." or coding.startswith("utf-16")
        if assumed or (capitals and kind != "deeplabcut"):
            (line,) = caplog.messages
            assert line.startswith(f"{path} is read with ")
            assert ("decimal commas" in line) == (decimal == ",")
            assert ("UTF-16" in line) == coding.startswith("utf-16")
        else:
            assert caplog.messages == []


def test_classes_in_a_table_of_a_spreadsheet(folder: Path) -> None:
    path = folder / "labels.csv"
    path.write_bytes("sep=;\r\nImage;Class\r\na.png;cat\r\nb.png;dog\r\n;\r\n".encode("utf-16"))
    assert [(s.image, s.label) for s in read_dataset(folder).samples] == [
        ("a.png", 0),
        ("b.png", 1),
    ]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("a.png;nose;1,5;2\nb.png;nose;1.5;2\n",
         ", row 3, x: '1.5' has a decimal point, numbers above have decimal commas"),
        ("a.png;nose;1.5;2\nb.png;nose;1,5;2\n",
         ", row 3, x: '1,5' has a decimal comma, numbers above have decimal points"),
        ("a.png;nose;1,234;2\nb.png;nose;512;2\n",
         ", row 1, numbers: numbers such as 1,234 may mean 1.234 or 1234"),
        ("a.png;nose;1,234.5;2\n", ", row 2, x: '1,234.5' is not a finite number"),
        ("a.png;nose;1,2,3;2\n", ", row 2, x: '1,2,3' is not a finite number"),
    ],
)  # fmt: skip
def test_numbers_that_can_mean_two_things_are_a_fault(folder: Path, rows: str, said: str) -> None:
    path = folder / "points.csv"
    path.write_text("image;keypoint;x;y\n" + rows)
    Image.new("L", (2000, 30)).save(folder / "a.png")
    Image.new("L", (2000, 30)).save(folder / "b.png")
    assert any(line.startswith(said) for line in faults_of(path))


def test_three_decimals_are_no_thousands_where_others_have_fewer(folder: Path) -> None:
    path = folder / "points.csv"
    path.write_text("image;keypoint;x;y\na.png;nose;1,234;2,5\n")
    assert read_dataset(path).samples[0].points.tolist() == [[[1.234, 2.5]]]


def test_what_is_no_label_is_told_in_one_line(folder: Path) -> None:
    path = folder / "some.csv"
    for text, said in [
        ("time;speed\n1;2\n", "the columns are 'time, speed'; a table of labels has the columns"),
        ('{"shapes": []}', "the JSON has no images, annotations and categories; export the"),
        ('[{"image_id": 1}]', "it is a list of results, not a data set"),
        ("", "the file is empty"),
        ("PK\3\4\0\1\2", "it is an archive; unpack it"),
        ("\x89HDF\0\1", "it is no text, and of a tool that is not known; export the labels"),
    ]:
        path.write_text(text)
        (line,) = faults_of(path)
        assert said in line
        assert len(line) < 300


def test_columns_and_words_of_former_files_are_read(folder: Path) -> None:
    """`point` and `state` are `keypoint` and `visibility`; `not_labelled` is `unlabelled`."""
    path, other = folder / "old.csv", folder / "new.csv"
    path.write_text("image,point,x,y,state\na.png,nose,1,2,hidden\na.png,tail,,,unlabelled\n")
    other.write_text(
        "image,keypoint,x,y,visibility\na.png,nose,1,2,Hidden\na.png,tail,,,not labelled\n"
    )
    same(read_dataset(path), read_dataset(other))
    path.write_text("image,nose_x,nose_y,nose_state,tail_x,tail_y\na.png,1,2,hidden,,\n")
    same(read_dataset(path), read_dataset(other))
    path.write_text("image,keypoint,point,x,y\na.png,nose,nose,1,2\n")
    (line,) = faults_of(path)
    assert "the columns keypoint and point mean the same; keep one of them" in line


def test_a_large_letter_beside_the_small_one_is_another_column(folder: Path) -> None:
    path = folder / "points.csv"
    path.write_text("image,keypoint,x,y,X\na.png,nose,1,2,30\n")
    assert read_dataset(path).samples[0].points.tolist() == [[[1, 2]]]


# COCO of other tools


def content() -> dict[str, Any]:
    """Two images with one object each, a third with none."""
    return {
        "categories": [
            {"id": 1, "name": "mouse", "keypoints": ["nose", "tail", "paw"], "skeleton": [[1, 2]]}
        ],
        "images": [{"id": k, "file_name": f"{'abc'[k - 1]}.png"} for k in (1, 2, 3)],
        "annotations": [
            {"id": 7, "image_id": 1, "category_id": 1, "keypoints": [1, 2, 2, 3, 4, 1, 0, 0, 0]},
            {"id": 8, "image_id": 2, "category_id": 1, "keypoints": [5, 6, 2, 0, 0, 0, 7, 8.5, 2]},
        ],
    }


def ids_as(kind: Callable[[int], Any], *where: str) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        for group, key in (name.split(".") for name in where):
            for item in data[group]:
                item[key] = kind(item[key])

    return change


def add(**annotation: Any) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        data["annotations"].append({"id": 9, "image_id": 1, "category_id": 1, **annotation})

    return change


def where_not_labelled(x: Any) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        data["annotations"][0]["keypoints"][6:8] = [x, x]
        data["annotations"][1]["keypoints"][3:5] = [x, x]

    return change


def a_category_each(data: dict[str, Any]) -> None:
    names = data["categories"][0]["keypoints"]
    data["categories"] = [{"id": k, "name": n, "keypoints": [n]} for k, n in enumerate(names, 1)]
    data["annotations"] = [
        {
            "image_id": one["image_id"],
            "category_id": k + 1,
            "keypoints": one["keypoints"][3 * k :][:3],
        }
        for one in data["annotations"]
        for k in range(3)
    ]


def two_alike(data: dict[str, Any]) -> None:
    data["categories"].append({**data["categories"][0], "id": 2, "name": "rat"})
    data["annotations"][1]["category_id"] = 2


def no_category(data: dict[str, Any]) -> None:
    for annotation in data["annotations"]:
        del annotation["category_id"]


def a_cage(data: dict[str, Any]) -> None:
    data["categories"].append({"id": 5, "name": "cage"})
    add(category_id=5, bbox=[1, 1, 2, 2])(data)


def with_category(category: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    return lambda data: data["categories"].append(category)


def set_skeleton(pairs: Any) -> Callable[[dict[str, Any]], None]:
    return lambda data: data["categories"][0].update(skeleton=pairs)


DIALECTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "image ids as text in annotations": ids_as(str, "annotations.image_id"),
    "image ids as text in images": ids_as(str, "images.id"),
    "category ids as text": ids_as(str, "annotations.category_id"),
    "category ids as text in categories": ids_as(str, "categories.id"),
    "ids as floats": ids_as(float, "images.id", "annotations.category_id"),
    "sizes as floats": lambda data: [i.update(width=40.0, height=30.0) for i in data["images"]],
    "ids as words": ids_as(lambda k: f"i{k}", "images.id", "annotations.image_id"),
    "no category id": no_category,
    "empty list": add(keypoints=[], num_keypoints=0, bbox=[0, 0, 0, 0]),
    "null": add(keypoints=None, bbox=[0, 0, 0, 0]),
    "far person": add(keypoints=[0] * 9, num_keypoints=0, bbox=[1, 1, 2, 2]),
    "crowd": add(keypoints=[0] * 9, iscrowd=1, segmentation={"counts": [1], "size": [30, 40]}),
    "box alone": add(bbox=[1, 1, 2, 2]),
    "box of another category": a_cage,
    "other category without keypoints": with_category({"id": 5, "keypoints": [], "skeleton": []}),
    "other category without an id": with_category({"name": "cage"}),
    "NaN where v is 0": where_not_labelled(math.nan),
    "null where v is 0": where_not_labelled(None),
    "-1 where v is 0": where_not_labelled(-1),
    "text where v is 0": where_not_labelled(""),
    "far away where v is 0": where_not_labelled(1e9),
    "a category for each keypoint": a_category_each,
    "two categories alike": two_alike,
    "skeleton from 0": set_skeleton([[0, 1]]),
    "skeleton by names": set_skeleton([["nose", "tail"]]),
    "skeleton of more keypoints": set_skeleton([[1, 2], [2, 17]]),
    "no skeleton": set_skeleton(None),
    "skeleton of nonsense": set_skeleton("none"),
}  # fmt: skip


@pytest.mark.parametrize("dialect", DIALECTS)
def test_dialects_that_mean_the_same_read_the_same(folder: Path, dialect: str) -> None:
    (folder / "plain.json").write_text(json.dumps(content()))
    wanted = read_dataset(folder / "plain.json")
    assert [int(sample.located.sum()) for sample in wanted.samples] == [2, 2, 0]
    data = content()
    DIALECTS[dialect](data)
    assert json.dumps(data) != json.dumps(content())
    (folder / "other.json").write_text(json.dumps(data))
    found = read_dataset(folder / "other.json")
    same(found, wanted)
    assert found.instances == 1
    if "skeleton" in dialect:
        assert found.skeleton in ((), (("nose", "tail"),))
        assert bool(found.skeleton) == (dialect not in ("no skeleton", "skeleton of nonsense"))


@pytest.mark.parametrize("strange", [0, 2, "0", "mouse", None, True, 1.5, [1], "missing"])
@pytest.mark.parametrize("which", [[0], [1], [0, 1]])
def test_an_annotation_of_an_unknown_category_never_vanishes(
    folder: Path, strange: Any, which: list[int]
) -> None:
    data = content()
    data["categories"].append({"id": 5, "name": "cage", "keypoints": ["nose", "tail", "paw"]})
    for k in which:
        data["annotations"][k]["category_id"] = strange
        if strange == "missing":
            del data["annotations"][k]["category_id"]
    path = folder / "labels.json"
    path.write_text(json.dumps(data))
    lines = faults_of(path)
    assert [line.split(":")[0] for line in lines] == [
        f", annotations[{k}].category_id" for k in which
    ]


def test_instances_with_keypoints_stay(folder: Path) -> None:
    """Whatever `num_keypoints` and `iscrowd` say, a labelled keypoint is a label."""
    data = content()
    add(keypoints=[9, 9, 1, 0, 0, 0, 0, 0, 0], num_keypoints=0, iscrowd=1)(data)
    add(keypoints=[0] * 9, absent=["nose"])(data)
    (folder / "labels.json").write_text(json.dumps(data))
    first = read_dataset(folder).samples[0]
    assert first.visibility.tolist() == [[3, 2, 0], [2, 0, 0], [1, 0, 0]]


def test_one_category_for_each_kind_of_cell_makes_instances(folder: Path) -> None:
    data = content()
    data["categories"] = [{"id": k, "keypoints": [n]} for k, n in enumerate(["red", "white"])]
    places = [(1, 0), (1, 0), (1, 1), (2, 0)]
    data["annotations"] = [
        {"image_id": i, "category_id": c, "keypoints": [k, k, 2]}
        for k, (i, c) in enumerate(places, 1)
    ]
    (folder / "labels.json").write_text(json.dumps(data))
    one, two, _ = read_dataset(folder).samples
    assert one.visibility.tolist() == [[3, 3], [3, 0]]
    assert one.points[:, 0].tolist() == [[1, 1], [2, 2]]
    assert two.points[0, 0].tolist() == [4, 4]


# Scores


def predicted(folder: Path) -> KeypointDataset:
    points = np.array([[[1.0, 2.0], [3.0, 4.0], [np.nan, np.nan]]])
    seen = np.array([[3, 3, 1]], dtype=np.int8)
    scores = np.array([[0.9, 0.25, 0.5]])
    samples = tuple(KeypointSample(f"{n}.png", (30, 40), points, seen, None, scores) for n in "ab")
    return KeypointDataset(folder, ("nose", "tail", "paw"), samples)


@pytest.mark.parametrize(("name", "ending"), [("coco", "json"), ("long_csv", "csv")])
def test_scores_and_absent_keypoints_survive(folder: Path, name: str, ending: str) -> None:
    path = folder / f"predictions.{ending}"
    write_dataset(predicted(folder), path, name)
    read = read_dataset(path)
    same(read, predicted(folder))
    for sample in read.samples:
        np.testing.assert_array_equal(sample.scores, predicted(folder).samples[0].scores)
    again = folder / f"again.{'csv' if ending == 'json' else 'json'}"
    convert(path, again)
    np.testing.assert_array_equal(read_dataset(again).samples[0].scores, read.samples[0].scores)


def test_likelihood_is_a_score(folder: Path) -> None:
    path = folder / "predictions.csv"
    write_dataset(predicted(folder), path, "deeplabcut", lossy=True)
    read = read_dataset(path)
    assert read.samples[0].scores.tolist() == [[0.9, 0.25, 0.5]]
    convert(path, folder / "a.json")
    np.testing.assert_array_equal(
        read_dataset(folder / "a.json").samples[0].scores, read.samples[0].scores
    )


def test_scores_that_a_format_cannot_hold_are_said(folder: Path) -> None:
    path = folder / "predictions.csv"
    write_dataset(predicted(folder), path)
    with pytest.raises(SettingsError, match="wide_csv cannot hold scores; write coco, or"):
        convert(path, folder / "w.csv", to_format="wide_csv")
    said = convert(path, folder / "w.csv", to_format="wide_csv", lossy=True)
    assert said.endswith("left out: scores")
    said = convert(path, folder / "labels.csv", threshold=0.5)
    assert "left out" not in said
    labels = read_dataset(folder / "labels.csv")
    assert not labels.scored
    assert labels.samples[0].visibility.tolist() == [[3, 1, 1]]
    with pytest.raises(SettingsError, match="holds no scores of keypoints"):
        convert(folder / "labels.csv", folder / "x.csv", threshold=0.5)


def test_the_command_line_takes_a_threshold(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset(predicted(folder), folder / "predictions.csv")
    main(["convert", str(folder / "predictions.csv"), str(folder / "l.csv"), "--threshold", "0.5"])
    assert "written as long_csv" in capsys.readouterr().out
    assert read_dataset(folder / "l.csv").samples[0].visibility.tolist() == [[3, 1, 1]]


def test_a_column_score_of_something_else_is_ignored(folder: Path) -> None:
    path = folder / "points.csv"
    for cell in ("good", "7", "", "-0.5"):
        path.write_text(f"image,keypoint,x,y,score\na.png,nose,1,2,{cell}\n")
        assert not read_dataset(path).scored


def test_predictions_below_the_threshold_are_absent(folder: Path) -> None:
    path = folder / "out.json"
    write_dataset(predicted(folder).above(0.5), path)
    read = read_dataset(path)
    assert read.samples[0].scores.tolist() == [[0.9, 0.25, 0.5]], "the scores stay"
    assert read.samples[0].visibility.tolist() == [[3, 1, 1]]
    annotation = json.loads(path.read_text())["annotations"][0]
    assert annotation["keypoints"] == [1, 2, 2, 0, 0, 0, 0, 0, 0]
    assert (annotation["num_keypoints"], annotation["bbox"]) == (1, [1, 2, 0, 0])
    assert annotation["absent"] == ["tail", "paw"]


# Hostile bytes


def npz_bytes() -> bytes:
    buffer = io.BytesIO()
    images = np.arange(6 * 30, dtype=np.uint8).reshape(6, 5, 6)
    labels = np.array(["cat", "dog", "cat", "dog", "emu", "emu"])
    np.savez_compressed(buffer, x_train=images, y_train=labels)
    return buffer.getvalue()


def zip_with(**parts: Any) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", parts.pop("method", zipfile.ZIP_STORED)) as packed:
        for name, data in parts.items():
            packed.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def listed(offset: int, value: int) -> bytes:
    """An archive with another number in its list of parts: 6 version, 8 flags, 10 method."""
    data = bytearray(npz_bytes())
    struct.pack_into("<H", data, data.index(b"PK\1\2") + offset, value)
    return bytes(data)


def bent(data: bytes) -> bytes:
    """An archive whose first part ends in other bytes."""
    end = data.index(b"PK\3\4", 4) - 9
    return data[: end - 9] + bytes(255 - byte for byte in data[end - 9 : end]) + data[end:]


X, Y = npy(np.zeros((2, 4, 4), np.uint8)), npy(np.array([0, 1]))
HOSTILE = {
    "method": listed(10, 99),
    "version": listed(6, 109),
    "encrypted": listed(8, 1),
    "letters beyond Unicode": zip_with(x=X, y=npy(np.array(["a", "b"])).replace(
        b"a\0\0\0b\0\0\0", b"\xff\xff\xff\x7fb\0\0\0")),
    "bytes as names": zip_with(x=X, y=Y, names=npy(np.array([b"\xff", b"a"]))),
    "infinite labels": zip_with(x=X, y=npy(np.array([0, np.inf]))),
    "complex": zip_with(x=npy(np.zeros((2, 4, 4), complex)), y=Y),
    "records": zip_with(x=X, y=npy(np.zeros(2, [("a", "i4")]))),
    "huge shape": zip_with(x=X.replace(b"(2, 4, 4)", b"(9999999, 9999, 9999)"), y=Y),
    "negative shape": zip_with(x=X.replace(b"(2, 4, 4)", b"(-2, 4,4)"), y=Y),
    "deep header": zip_with(x=X.replace(b"(2, 4, 4)", b"(" * 9), y=Y),
    "deflate": bent(npz_bytes()),
    "bzip2": bent(zip_with(x=X, y=Y, method=zipfile.ZIP_BZIP2)),
    "lzma": bent(zip_with(x=X, y=Y, method=zipfile.ZIP_LZMA)),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_archives_are_one_error_of_ours(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "set.npz"
    path.write_bytes(HOSTILE[kind])
    with pytest.raises(DataError) as caught:
        read_dataset(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 3


def idx_bytes(*shape: int) -> bytes:
    values = np.arange(math.prod(shape)) % 3
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape) + bytes(values.tolist())


def mutated(rng: np.random.Generator, content: bytes) -> bytes:
    """A few edits of bytes."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(0, len(data)))
        kind = rng.integers(0, 4)
        if kind == 0:
            data[place] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            data[place] = int(rng.choice([0, 1, 99, 127, 255]))
        elif kind == 2:
            del data[place : place + int(rng.integers(1, 30))]
        else:
            data[place:place] = rng.bytes(int(rng.integers(1, 9)))
        if not data:
            break
    return bytes(data)


BINARY: dict[str, tuple[str, Callable[[], bytes]]] = {
    "npz": ("set.npz", npz_bytes),
    "npz stored": ("set.npz", lambda: zip_with(images=X, labels=npy(np.array([0, 1])))),
    "idx": ("train-images-idx3-ubyte", lambda: idx_bytes(6, 5, 6)),
    "idx packed": ("train-images-idx3-ubyte", lambda: gzip.compress(idx_bytes(6, 5, 6))),
    "class_csv": ("labels.csv", lambda: b"image,class,split\na.png,cat,train\nb.png,dog,val\n"),
}


def check_mutated(folder: Path, kind: str, count: int) -> None:
    name, make = BINARY[kind]
    rng = np.random.default_rng(sum(kind.encode()))
    (folder / "train-labels-idx1-ubyte").write_bytes(idx_bytes(6))
    refused = 0
    for _ in range(count):
        (folder / name).write_bytes(mutated(rng, make()))
        try:
            read_dataset(folder / name)
        except PlacewiseError as error:
            refused += 1
            assert name in str(error)
            assert isinstance(error, DataError | SettingsError)
    assert refused > count / 20


@pytest.mark.parametrize("kind", BINARY)
def test_mutated_files_are_read_or_refused(folder: Path, kind: str) -> None:
    check_mutated(folder, kind, 150)


@pytest.mark.slow
@pytest.mark.parametrize("kind", BINARY)
def test_many_mutated_files_are_read_or_refused(folder: Path, kind: str) -> None:
    check_mutated(folder, kind, 4000)


# Files without end

ENDLESS = {
    "a header without end": ("image,keypoint,x,y,", "a,", "a row of more than 4,194,304"),
    "a row without end": ("image,keypoint,x,y\n", "a,", "a row of more than 4,194,304"),
    "a cell without end": ("image,keypoint,x,y\n", "a", "a row of more than 4,194,304"),
    "an open quotation": ("image,keypoint,x,y\n", '"\n",', "there are 1000 faults or more"),
    "equal rows": ("image,keypoint,x,y\n", "a.png,nose,1,2\n", "there are 1000 faults or more"),
    "bad rows": ("image,keypoint,x,y\n", "b.png,nose,1,q\n", "there are 1000 faults or more"),
    "rows of one image": ("image,nose_x,nose_y\n", "a.png,1,2\n", "there are 1000 faults or more"),
    "lists": ('{"images": [', "[],", "more than 5,000,000 lists"),
}


def read_endless(folder: Path, kind: str, size: int) -> None:
    """Read a file of this size in a process of its own, and hold what it took."""
    start, part, said = ENDLESS[kind]
    path = folder / "points.csv"
    with path.open("w") as file:
        file.write(start)
        for _ in range(size // (len(part) * 100_000)):
            file.write(part * 100_000)
    program = (
        "import resource, sys\n"
        "from placewise.errors import LabelError\n"
        "from placewise.formats import read_dataset\n"
        "kind = resource.RUSAGE_SELF\n"
        "before = resource.getrusage(kind)\n"
        "try:\n"
        "    read_dataset(sys.argv[1])\n"
        "except LabelError as error:\n"
        "    print(len(error.faults), error.faults[-1].got)\n"
        "after = resource.getrusage(kind)\n"
        "print(after.ru_maxrss - before.ru_maxrss, after.ru_utime - before.ru_utime)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    faults, numbers = found.stdout.strip().splitlines()
    grown, seconds = numbers.split()
    assert said in faults
    assert int(faults.split()[0]) <= 1001
    assert int(grown) * 1024 < 6 * size + 300e6
    assert float(seconds) < 60


@pytest.mark.parametrize("kind", [kind for kind in ENDLESS if kind != "lists"])
def test_files_without_end_are_refused_in_bounded_memory(folder: Path, kind: str) -> None:
    read_endless(folder, kind, 10_000_000)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ENDLESS)
def test_large_files_without_end_are_refused_in_bounded_memory(folder: Path, kind: str) -> None:
    read_endless(folder, kind, 100_000_000)


# More that tools and spreadsheets leave in tables


@pytest.mark.parametrize("more", ["", ",frame"])
def test_the_index_that_pandas_writes_is_no_table_of_imagej(folder: Path, more: str) -> None:
    text = f"{more},image,keypoint,x,y\n0{',4' * bool(more)},a.png,nose,1.25,2\n"
    (folder / "points.csv").write_text(text)
    assert read_dataset(folder).samples[0].points.tolist() == [[[1.25, 2.0]]]


@pytest.mark.parametrize(
    ("text", "column"),
    [
        (",image,keypoint,x,y,visible,radius_90\n0,a.png,nose,1,2,0,3\n", "visible"),
        ("image,nose_x,nose_y,nose_likelihood\na.png,1,2,0.1\n", "nose_likelihood"),
        ("image,class,patient\na.png,cat,7\nb.png,dog,7\n", "patient"),
    ],
)
def test_columns_that_are_not_used_are_named(
    folder: Path, caplog: pytest.LogCaptureFixture, text: str, column: str
) -> None:
    """A hidden keypoint, or a patient in two splits, would else be read without a word."""
    (folder / "points.csv").write_text(text)
    read_dataset(folder)
    assert f"is read with columns '{column}' left out" in caplog.text


def test_what_was_left_out_is_said_where_nothing_is_left(folder: Path) -> None:
    circle = {"shape_attributes": {"name": "circle", "cx": 3, "cy": 4, "r": 2}}
    image = {"filename": "a.png", "size": 9, "regions": [{**circle, "region_attributes": {}}]}
    (folder / "via.json").write_text(json.dumps({"a.png9": image}))
    got = "/via.json, row 1, file: there is no label in it: 1 regions that are no points left out"
    assert faults_of(folder) == [f"{got}; label at least one image"]


def test_a_project_of_predictions_alone_says_so(folder: Path) -> None:
    value = {"x": 10, "y": 20, "keypointlabels": ["nose"]}
    made = [{"result": [{"id": "k", "type": "keypointlabels", "value": value}]}]
    task = {"data": {"image": "a.png"}, "annotations": [], "predictions": made}
    (folder / "project.json").write_text(json.dumps([task]))
    assert "there is no label in it: predictions left out" in faults_of(folder)[0]


def test_points_of_napari_with_four_axes_are_refused(folder: Path) -> None:
    """The last two would be y and x, and which of the others is the image is not said."""
    text = "index,axis-0,axis-1,axis-2,axis-3\n0,0,1,20.5,10.25\n"
    (folder / "points.csv").write_text(text)
    assert "the points have more than 3 axes" in faults_of(folder)[0]


def test_a_place_between_two_images_of_a_stack_is_refused(folder: Path) -> None:
    """Rounded to even, ½ would be the first image and 1½ the third one."""
    (folder / "points.csv").write_text("index,axis-0,axis-1,axis-2\n0,1.0,5,6\n1,1.5,5,6\n")
    assert "row 3, axis-0: '1.5' is no number of an image" in faults_of(folder)[0]
