"""Formats that are binary: SLEAP, DeepLabCut's HDF5 and projects, MATLAB, NWB."""

from __future__ import annotations

import csv
import io
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from placewise.errors import ImageError, LabelError, SettingsError
from placewise.formats import FORMATS, convert, read_dataset, write_dataset
from placewise.formats._format import KeypointText, WrittenKeypoints
from placewise.formats._pandas import Frame, written_frame
from placewise.frames.package import Package, parts
from placewise.labels import Files, KeypointDataset, KeypointSample, PoseDataset, Visibility

h5py = pytest.importorskip("h5py")

WRITTEN = [
    name
    for name in FORMATS.names()
    if issubclass(FORMATS[name], WrittenKeypoints) and not issubclass(FORMATS[name], KeypointText)
]
BINARY = ("slp", "deeplabcut_h5", "nwb")
ENDINGS = {"slp": ".slp", "deeplabcut_h5": ".h5", "nwb": ".nwb"}
NAMES = ("nose", "left_ear", "right_ear")
UNLABELLED, ABSENT, HIDDEN, VISIBLE = map(int, Visibility)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(("a.png", "b.png", "sub/c.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        pixels = np.full((48, 64, 3), (10 * number, 20, 200), np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    return tmp_path


def a_sample(
    image: str, rng: np.random.Generator, count: int, states: list[int], scored: bool
) -> KeypointSample:
    visibility = rng.choice(states, (count, 3)).astype(np.int8)
    visibility[:, 0] = VISIBLE  # an instance has a place
    points = rng.uniform(-0.5, 47, (count, 3, 2))
    points[visibility < HIDDEN] = np.nan
    scores = rng.uniform(0, 1, (count, 3)) if scored else None
    if scores is not None:
        scores[visibility < HIDDEN] = np.nan
    return KeypointSample(image, (48, 64), points, visibility, scores=scores)


def some_labels(folder: Path, seed: int, *, count: int = 2, scored: bool = False) -> PoseDataset:
    rng = np.random.default_rng(seed)
    states = [UNLABELLED, VISIBLE]
    images = ("a.png", "b.png", "sub/c.png")
    found = tuple(a_sample(i, rng, 1 + n % count, states, scored) for n, i in enumerate(images))
    pairs = (("left_ear", "right_ear"),)
    return PoseDataset(folder, NAMES, found, pairs, (("nose", "left_ear"),))


def assert_same(one: KeypointDataset, two: KeypointDataset, most: float = 0) -> None:
    assert one.names == two.names
    assert [s.image for s in one.samples] == [s.image for s in two.samples]
    for a, b in zip(one.samples, two.samples, strict=True):
        assert a.size == b.size
        np.testing.assert_array_equal(a.visibility, b.visibility)
        np.testing.assert_allclose(a.points, b.points, atol=most, rtol=0)
        assert (a.scores is None) == (b.scores is None)
        if a.scores is not None and b.scores is not None:
            np.testing.assert_array_equal(a.scores, b.scores)


def told(path: Path, **how: object) -> str:
    """The one line by which a file is refused."""
    with pytest.raises(LabelError) as caught:
        read_dataset(path, **how)  # type: ignore[arg-type]
    assert len(caught.value.faults) == 1, [str(fault) for fault in caught.value.faults]
    return str(caught.value).removeprefix(str(path))


# --- written and read -----------------------------------------------------------------------------


def test_these_are_the_binary_formats() -> None:
    assert set(BINARY) <= set(WRITTEN)


@pytest.mark.parametrize("scored", [False, True])
@pytest.mark.parametrize("name", BINARY)
def test_what_is_written_reads_back_the_same(folder: Path, name: str, scored: bool) -> None:
    for seed in range(2):
        labels = some_labels(folder, seed, scored=scored)
        path = folder / f"x{ENDINGS[name]}"
        write_dataset(labels, path, name, overwrite=True, lossy=name == "deeplabcut_h5")
        read = read_dataset(path)
        assert_same(labels, read)
        assert_same(labels, read_dataset(folder))  # it is found in its folder
        assert read.root == folder
        if name != "deeplabcut_h5":
            assert read.skeleton == labels.skeleton
        assert FORMATS[name]().content(labels) == FORMATS[name]().content(labels)


@pytest.mark.parametrize("target", [*BINARY, "deeplabcut", "coco", "long_csv"])
@pytest.mark.parametrize("source", BINARY)
def test_labels_move_between_formats(folder: Path, source: str, target: str) -> None:
    labels = some_labels(folder, 7)
    one, two = folder / f"one{ENDINGS[source]}", folder / f"two{ENDINGS.get(target, '.txt')}"
    write_dataset(labels, one, source, lossy=True)
    assert convert(one, two, to_format=target, lossy=True).startswith(f"{two}: 3 images")
    assert_same(labels, read_dataset(two))


@pytest.mark.parametrize("name", BINARY)
def test_what_cannot_be_held_is_said(folder: Path, name: str) -> None:
    sample = some_labels(folder, 0).samples[1]
    states = np.array([[VISIBLE, HIDDEN, ABSENT], [VISIBLE, VISIBLE, UNLABELLED]], np.int8)
    points = np.where((states >= HIDDEN)[..., None], [5.0, 6.0], np.nan)
    sample = replace(sample, points=points, visibility=states, split="train", areas=np.ones(2))
    sample = replace(sample, tracks=np.array([3, 1]))
    labels = replace(some_labels(folder, 0), samples=(sample,))
    losses = " ".join(FORMATS[name]().losses(labels))
    assert "absent (1)" in losses
    assert "split" in losses
    assert "areas" in losses
    assert ("hidden (1)" in losses) == (name != "nwb")
    assert ("identities" in losses) == (name != "slp")
    assert ("skeleton" in losses) == (name == "deeplabcut_h5")
    path = folder / f"x{ENDINGS[name]}"
    with pytest.raises(SettingsError, match="cannot hold"):
        write_dataset(labels, path, name)
    write_dataset(labels, path, name, lossy=True)
    (read,) = read_dataset(path).samples
    seen = HIDDEN if name == "nwb" else VISIBLE
    assert read.visibility.tolist() == [[VISIBLE, seen, UNLABELLED], [VISIBLE, VISIBLE, UNLABELLED]]
    np.testing.assert_array_equal(read.points, points)
    assert read.tracks is None if name != "slp" else read.tracks.tolist() == [1, 0]


def test_names_that_nwb_cannot_hold_are_said(folder: Path) -> None:
    labels = some_labels(folder, 0, scored=True)
    for names in (("a/b", "a_b", "c"), ("skeleton", "b", "c")):
        changed = PoseDataset(folder, names, labels.samples)
        with pytest.raises(SettingsError, match="rename keypoints"):
            write_dataset(changed, folder / "x.nwb")
    good = PoseDataset(folder, ("a/b", "c:d", "e"), labels.samples)
    write_dataset(good, folder / "x.nwb")
    assert_same(good, read_dataset(folder / "x.nwb"))


# --- SLEAP ----------------------------------------------------------------------------------------


def write_slp(folder: Path, **changed: object) -> Path:
    path = folder / "labels.slp"
    write_dataset(some_labels(folder, 3), path)
    with h5py.File(path, "a") as file:
        if "format_id" in changed:
            file["metadata"].attrs["format_id"] = changed["format_id"]
        for name, change in changed.items():
            if callable(change):
                table = file[name][()]
                del file[name]
                file[name] = change(table)
    return path


def test_places_of_old_files_count_from_the_corner(folder: Path, caplog) -> None:
    new = read_dataset(write_slp(folder))
    (folder / "labels.slp").unlink()
    path = write_slp(folder, format_id=1.0)
    old = read_dataset(path)
    assert old.pixels == "corner"
    assert "count from the image's corner, as SLEAP before 1.1" in caplog.text
    for a, b in zip(old.samples, new.samples, strict=True):
        np.testing.assert_array_equal(a.points, b.points - 0.5)
    centred = read_dataset(path, pixels="center")
    assert "places count from the centre of the first pixel, as --pixels says" in caplog.text
    assert_same(centred, new)


def test_predictions_are_read_where_nobody_labelled(folder: Path, caplog) -> None:
    labels = some_labels(folder, 3, scored=True)
    path = folder / "labels.slp"
    write_dataset(labels, path)
    assert_same(read_dataset(path), labels)
    assert "predictions, since nobody labelled an instance" in caplog.text
    with h5py.File(path, "a") as file:  # the first instance becomes a person's
        table = file["instances"][()]
        table["instance_type"][0] = 0
        file["instances"][...] = table
        points = file["pred_points"][:3]
        del file["points"]
        file["points"] = points[["x", "y", "visible", "complete"]]
    read = read_dataset(path)
    assert [sample.image for sample in read.samples] == ["a.png"]
    assert not read.scored


def test_points_that_are_not_visible_are_not_labelled(folder: Path) -> None:
    def hide(table):
        table["visible"] = False
        return table

    labels = read_dataset(write_slp(folder, points=hide))
    assert not any(sample.located.any() for sample in labels.samples)


def package(path: Path, images: list[np.ndarray], **attributes: object) -> Path:
    """A package of SLEAP with one video, whose frames 5, 6, … are embedded, padded with zeros."""
    packed = []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "png")
        packed.append(np.frombuffer(buffer.getvalue(), np.int8))
    rows = np.zeros((len(packed), max(map(len, packed)) + 9), np.int8)
    for row, data in zip(rows, packed, strict=True):
        row[: len(data)] = data
    labels = some_labels(path.parent, 0)
    write_dataset(replace(labels, samples=labels.samples[: len(images)]), path)
    backend = {"filename": ".", "dataset": "video0/video"}
    with h5py.File(path, "a") as file:
        del file["videos_json"]
        file["videos_json"] = [json.dumps({"filename": "x", "backend": backend})]
        file["video0/video"] = rows
        file["video0/frame_numbers"] = 5 + np.arange(len(rows))
        frames = file["frames"][()]
        frames["frame_idx"] = 5 + np.arange(len(rows))
        file["frames"][...] = frames
        for name, value in attributes.items():
            file["video0/video"].attrs[name] = value
    return path


@pytest.mark.parametrize(
    ("attributes", "version", "swapped"),
    [
        ({"channel_order": "RGB"}, 1.4, False),
        ({"channel_order": "BGR"}, 1.4, True),
        ({}, 1.2, True),
    ],
)
def test_images_of_a_package_are_read(folder: Path, attributes, version, swapped) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(2)]
    path = package(folder / "labels.pkg.slp", images, **attributes)
    with h5py.File(path, "a") as file:
        file["metadata"].attrs["format_id"] = version
    labels = read_dataset(path)
    assert [sample.image for sample in labels.samples] == [f"labels.pkg.slp[{i}]" for i in (0, 1)]
    for sample, image in zip(labels.samples, images, strict=True):
        read = Files(labels.root).read(sample.image)
        np.testing.assert_array_equal(read, image[..., ::-1] if swapped else image)
    assert Package().count(path) == 2
    with pytest.raises(ImageError, match="none with the number 2"):
        Package().read(path, 2)
    target = folder / "new.slp"  # names the package as the video, and its frames by their numbers
    convert(path, target)
    assert_same(read_dataset(target), labels)


def test_arrays_of_images_are_read(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (3, 4, 5, 1), dtype=np.uint8)
    with h5py.File(tmp_path / "movie.h5", "w") as file:
        file["movie"] = images
    with h5py.File(tmp_path / "leap.h5", "w") as file:
        file["box"] = images.transpose(0, 3, 2, 1)
    for name in ("movie.h5", "leap.h5"):
        assert Package().size(tmp_path / name, 1) == (4, 5)
        np.testing.assert_array_equal(Package().read(tmp_path / name, 1), images[1])
    with h5py.File(tmp_path / "bad.h5", "w") as file:
        file["movie"] = images - 300.5
    with pytest.raises(ImageError, match="needed whole numbers"):
        Package().read(tmp_path / "bad.h5", 0)
    assert parts(tmp_path / "bad.h5")[0].frames == (0, 1, 2)


def test_a_video_that_is_missing_is_one_line(folder: Path) -> None:
    path = write_slp(folder)
    with h5py.File(path, "a") as file:
        del file["videos_json"]
        backend = {"filename": "D:\\mice\\clip.mp4"}
        file["videos_json"] = [json.dumps({"backend": backend})]
    line = told(path)
    assert "3 frames of 'clip.mp4': there is no video 'clip.mp4' in" in line
    assert "name its folder with --root" in line


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format_id": 3.0}, "format 3 of SLEAP is newer"),
        ({"points": lambda table: table[:2]}, "instances[0]: it has 3 points"),
        ({"instances": lambda table: table[:1]}, "frames[1]: it has instances that do not exist"),
        ({"frames": lambda table: table[["frame_id"]]}, "the table has no columns video"),
    ],
)
def test_a_broken_slp_is_a_fault(folder: Path, change, says: str) -> None:
    with pytest.raises(LabelError) as caught:
        read_dataset(write_slp(folder, **change))
    assert says in str(caught.value)


def test_an_analysis_file_is_read(folder: Path) -> None:
    tracks = np.full((2, 2, 3, 3), np.nan)  # track, xy, node, frame
    tracks[0, :, :, 0] = [[1, 2, 3], [4, 5, 6]]
    tracks[1, :, 0, 2] = 7, 8
    with h5py.File(folder / "x.analysis.h5", "w") as file:
        file["tracks"], file["track_occupancy"] = tracks, np.ones((3, 2), np.uint8)
        file["node_names"] = np.array(NAMES, "S")
        file["track_names"] = np.array(["one", "two"], "S")
        file["edge_inds"] = [[0, 1], [0, 9]]
        file["video_path"] = ["/elsewhere/a.png", "/elsewhere/b.png", "C:\\no\\sub\\c.png"]
    labels = read_dataset(folder / "x.analysis.h5")
    assert [sample.image for sample in labels.samples] == ["a.png", "sub/c.png"]
    assert labels.samples[0].points.tolist() == [[[1, 4], [2, 5], [3, 6]]]
    assert labels.samples[1].visibility.tolist() == [[VISIBLE, UNLABELLED, UNLABELLED]]
    assert [sample.tracks.tolist() for sample in labels.samples] == [[0], [1]]
    assert labels.skeleton == (("nose", "left_ear"),)
    with h5py.File(folder / "x.analysis.h5", "a") as file:  # axes in another order
        del file["tracks"]
        file["tracks"] = tracks.transpose(3, 0, 2, 1)
        file["tracks"].attrs["dims"] = json.dumps(["frame", "track", "node", "xy"])
    assert_same(read_dataset(folder / "x.analysis.h5"), labels)


# --- DeepLabCut -----------------------------------------------------------------------------------


def columns(*names: str, coords: str = "x y") -> list[tuple[str, ...]]:
    return [("me", name, coord) for name in names for coord in coords.split()]


def table_h5(path: Path, frame: Frame, axes: bytes | None = None) -> None:
    """A table of pandas in its layout `table`, as DeepLabCut writes predictions."""
    named = b"".join(
        b"(" + b"".join(b"V%s\n" % word.encode() for word in name) + b"ta" for name in frame.columns
    )
    kind = np.dtype([("index", "S40"), ("values_block_0", "f8", (len(frame.columns),))])
    records = np.zeros(len(frame.rows), kind)
    records["index"] = [name[0].encode() for name in frame.rows]
    records["values_block_0"] = frame.values
    with h5py.File(path, "w") as file:
        group = file.create_group("df_with_missing")
        group.attrs["pandas_type"] = np.bytes_("frame_table")
        default = b"(lp0\n(L1L\n(lp1\n" + named + b"tp2\na."
        group.attrs["non_index_axes"] = np.bytes_(default if axes is None else axes)
        group["table"] = records
        group["table"].attrs["values_block_0_kind"] = np.bytes_(b"(lp0\n" + named + b".")


def a_frame(images: list[str]) -> Frame:
    values = np.array([[1.5, 2.5, 3.5, 4.5], [5.0, 6.0, np.nan, np.nan]])[: len(images)]
    return Frame(tuple(columns("nose", "tail")), tuple((i,) for i in images), values)


@pytest.mark.parametrize("layout", ["fixed", "table"])
def test_both_layouts_of_pandas_are_read(folder: Path, layout: str) -> None:
    frame, path = a_frame(["a.png", "b.png"]), folder / "labels.h5"
    if layout == "table":
        table_h5(path, frame)
    else:
        path.write_bytes(written_frame(frame, ("scorer", "bodyparts", "coords")))
    labels = read_dataset(path)
    assert [sample.points.tolist()[0][0] for sample in labels.samples] == [[1.5, 2.5], [5.0, 6.0]]
    assert labels.samples[1].visibility.tolist() == [[VISIBLE, UNLABELLED]]


@pytest.mark.parametrize(
    "axes",
    [
        b"cos\nsystem\n(S'touch pwned'\ntR.",
        b"(lp0\n(I1\n(lp1\ncposix\nsystem\np2\n(S'touch pwned'\ntR.",
        b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x0btouch pwned\x94\x85\x94R\x94.",
        b"(i__builtin__\neval\n.",
        b"(lp0\n(I1\nVno end\n",
        b"g7\n.",
        b"",
    ],
)
def test_a_pickle_is_walked_and_never_run(folder: Path, axes: bytes, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    path = folder / "labels.h5"
    table_h5(path, a_frame(["a.png"]), axes)
    line = told(path)
    assert "pickle in it" in line or "names columns" in line
    assert not (folder / "pwned").exists()


def project(folder: Path, *, skeleton: str = "- [nose, tail]") -> Path:
    """A project of two videos, with labels in both kinds of file."""
    for video in ("one", "two"):
        home = folder / "labeled-data" / video
        home.mkdir(parents=True)
        names = []
        for number in range(2):
            Image.new("L", (64, 48)).save(home / f"img{number}.png")
            names.append(f"labeled-data/{video}/img{number}.png")
        frame = a_frame(names)
        data = written_frame(frame, ("scorer", "bodyparts", "coords"))
        (home / "CollectedData_me.h5").write_bytes(data)
        rows = [["scorer", *["me"] * 4], ["bodyparts", "nose", "nose", "tail", "tail"]]
        rows += [["coords", *"xyxy"]]
        for name, values in zip(names, frame.values.tolist(), strict=True):
            rows.append([name, *("" if v != v else v for v in values)])
        with (home / "CollectedData_me.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    (folder / "config.yaml").write_text(
        f"Task: t\nscorer: me\nbodyparts:\n- nose\n- tail\nvideo_sets:\n  D:\\a\\one.mp4:\n"
        f"    crop: 0, 64, 0, 48\nskeleton:\n  {skeleton}\n"
    )
    return folder


def test_a_project_is_read(tmp_path: Path, caplog) -> None:
    pytest.importorskip("yaml")
    labels = read_dataset(project(tmp_path))
    assert len(labels.samples) == 4
    assert labels.root == tmp_path
    assert labels.skeleton == (("nose", "tail"),)
    assert "the .h5 counts" not in caplog.text
    assert_same(labels, read_dataset(tmp_path / "config.yaml"))
    one = read_dataset(tmp_path / "labeled-data" / "one")
    assert [s.image for s in one.samples] == [f"labeled-data/one/img{i}.png" for i in (0, 1)]
    stale = tmp_path / "labeled-data" / "one" / "CollectedData_me.csv"
    stale.write_text(stale.read_text().replace("1.5", "9.5"))
    assert_same(labels, read_dataset(tmp_path))
    assert "other labels on 1 images; the .h5 counts, as in DeepLabCut" in caplog.text


def test_a_project_without_the_extras_is_read_from_csv(tmp_path: Path, caplog, monkeypatch) -> None:
    project(tmp_path)
    full = read_dataset(tmp_path)
    hidden = ("h5py", "yaml")
    find = __import__("importlib.util").util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *a: None if name in hidden else find(name, *a)
    )
    labels = read_dataset(tmp_path)
    assert_same(full, labels)
    assert labels.skeleton == ()
    assert 'pip install "placewise[h5]"' in caplog.text
    assert 'pip install "placewise[yaml]"' in caplog.text
    alone = tmp_path / "labeled-data" / "one" / "CollectedData_me.h5"
    with pytest.raises(SettingsError, match=r'pip install "placewise\[h5\]"'):
        read_dataset(alone)


@pytest.mark.parametrize(
    "skeleton",
    ["!!python/object/apply:os.system ['touch pwned']", "[" * 3000, "a: &a [*a, *b]", "\t- x"],
)
def test_a_hostile_config_makes_nothing(tmp_path: Path, skeleton: str, monkeypatch) -> None:
    pytest.importorskip("yaml")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"config\.yaml is no YAML"):
        read_dataset(project(tmp_path, skeleton=skeleton))
    assert not (tmp_path / "pwned").exists()


def test_predictions_of_a_video_find_it_by_name(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "clip.h5", "w") as file:
        file["movie"] = np.zeros((4, 48, 64, 1), np.uint8)
    rng = np.random.default_rng(0)
    samples = [a_sample(f"clip.h5[{i}]", rng, 1, [VISIBLE], True) for i in (0, 1, 3)]
    labels = KeypointDataset(tmp_path, NAMES, tuple(samples), (("left_ear", "right_ear"),))
    path = tmp_path / "clipplacewise.h5"
    write_dataset(labels, path)  # by its ending
    assert_same(read_dataset(path), labels)
    write_dataset(labels, path.with_suffix(".csv"), "deeplabcut")
    assert path.with_suffix(".csv").read_text().splitlines()[-1].startswith("3,")
    assert_same(read_dataset(path.with_suffix(".csv")), labels)
    text = "scorer,net,net,net\nbodyparts,nose,nose,nose\ncoords,x,y,likelihood\n2,1.5,2.5,0.25\n"
    (tmp_path / "clipnet.csv").write_text(text)
    (sample,) = read_dataset(tmp_path / "clipnet.csv").samples
    assert sample.image == "clip.h5[2]"
    assert sample.scores is not None and sample.scores.tolist() == [[0.25]]
    (tmp_path / "othernet.csv").write_text(text)
    assert "frames of a video 'other', which is not there" in told(tmp_path / "othernet.csv")


def test_visibility_of_lightning_pose(folder: Path) -> None:
    path = folder / "CollectedData.csv"
    head = "scorer,me,me,me,me,me,me\nbodyparts,nose,nose,nose,tail,tail,tail\n"
    head += "coords,x,y,visible,x,y,visible\n"
    path.write_text(head + "a.png,1,2,2,3,4,1\nb.png,1,2,0,3,4,2.0\n")
    labels = read_dataset(path)
    assert [s.visibility.tolist() for s in labels.samples] == [
        [[VISIBLE, ABSENT]],
        [[UNLABELLED, VISIBLE]],
    ]
    path.write_text(head + "a.png,1,2,3,3,4,1\n")
    assert "'3' is no visibility of Lightning Pose; write 0, 1 or 2" in told(path)


def test_a_row_of_nothing_may_be_short(folder: Path) -> None:
    path = folder / "x.csv"
    text = "scorer,me,me,me,me\nbodyparts,a,a,b,b\ncoords,x,y,x,y\n"
    path.write_text(text + "a.png,1,2,3,4\nb.png,,\n")
    assert [sample.located.any() for sample in read_dataset(path).samples] == [True, False]
    path.write_text(text + "a.png,1,2\n")
    assert "3 cells instead of 5" in told(path)


# --- MATLAB ---------------------------------------------------------------------------------------


def test_matlab_counts_from_one(folder: Path) -> None:
    from scipy.io import savemat

    points = np.array([[[1.0, 1.0], [11.25, 20.5]], [[np.nan, np.nan], [64.0, 48.0]]])
    cells = {
        "names": np.array(["nose", "tail"], object),
        "images": np.array(["a.png", "sub/c.png"], object),
    }
    savemat(folder / "five.mat", {"points": points, **cells}, do_compression=True)
    with h5py.File(folder / "seven.mat", "w", userblock_size=512) as file:
        file["points"] = points.T
        for name, words in cells.items():
            refs = []
            for i, word in enumerate(words):
                file[f"#refs#/{name}{i}"] = np.array([[ord(c)] for c in word], np.uint16)
                refs.append(file[f"#refs#/{name}{i}"].ref)
            file.create_dataset(name, data=refs, dtype=h5py.ref_dtype)
    for name in ("five.mat", "seven.mat"):
        labels = read_dataset(folder / name)
        assert labels.names == ("nose", "tail")
        assert [sample.image for sample in labels.samples] == ["a.png", "sub/c.png"]
        assert labels.samples[0].points.tolist() == [[[0, 0], [10.25, 19.5]]]
        assert labels.samples[1].visibility.tolist() == [[UNLABELLED, VISIBLE]]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"points": np.zeros((2, 2, 3))}, "its places have the shape 2 × 2 × 3; save them as"),
        ({"points": np.ones((2, 4))}, "its places have the shape 2 × 4; save them as images ×"),
        ({"images": np.array(["a.png"], object)}, "it names 1 images, and has places of 2; save"),
    ],
)
def test_matlab_arrays_that_do_not_fit_are_named(
    folder: Path, changed: dict[str, Any], says: str
) -> None:
    from scipy.io import savemat

    images = np.array(["a.png", "sub/c.png"], object)
    savemat(folder / "x.mat", {"points": np.ones((2, 2, 2)), "images": images} | changed)
    assert says in told(folder / "x.mat")


def test_positions_of_leap_are_of_frames(tmp_path: Path) -> None:
    from scipy.io import savemat

    with h5py.File(tmp_path / "box.h5", "w") as file:
        file["box"] = np.zeros((3, 1, 64, 48), np.uint8)
    positions = np.full((2, 2, 3), np.nan)
    positions[:, :, 1] = [[2, 3], [4, 5]]
    skeleton = {"nodes": np.array(["head", "tail"], object), "edges": np.array([[1, 2], [2, 9]])}
    savemat(
        tmp_path / "x.mat",
        {"positions": positions, "skeleton": skeleton, "boxPath": "D:\\leap\\box.h5"},
    )
    labels = read_dataset(tmp_path / "x.mat")
    (sample,) = labels.samples
    assert (sample.image, sample.size) == ("box.h5[1]", (48, 64))
    assert sample.points.tolist() == [[[1, 2], [3, 4]]]
    assert labels.skeleton == (("head", "tail"),)


# --- hostile files --------------------------------------------------------------------------------


def _external_link(file, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as other:
        other["points"] = file["points"][()]
    del file["points"]
    file["points"] = h5py.ExternalLink(str(folder / "other.h5"), "points")


def _external_data(file, folder: Path) -> None:
    table = file["points"][()]
    (folder / "raw.bin").write_bytes(table.tobytes())
    del file["points"]
    outside = [(str(folder / "raw.bin"), 0, h5py.h5f.UNLIMITED)]
    file.create_dataset("points", table.shape, table.dtype, external=outside)


def _virtual(file, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as other:
        other["frames"] = file["frames"][()]
        layout = h5py.VirtualLayout(file["frames"].shape, file["frames"].dtype)
        layout[:] = h5py.VirtualSource(other["frames"])
    del file["frames"]
    file.create_virtual_dataset("frames", layout)


def _circle(file, folder: Path) -> None:
    del file["points"]
    file["points"], file["back"] = h5py.SoftLink("/back"), h5py.SoftLink("/points")


def _huge(file, folder: Path) -> None:
    kind = file["points"].dtype
    del file["points"]
    file.create_dataset("points", (1 << 40,), kind, chunks=(1 << 10,), compression="gzip")


def _huge_chunk(file, folder: Path) -> None:
    kind = file["points"].dtype
    del file["points"]
    file.create_dataset("points", (2,), kind, maxshape=(None,), chunks=(1 << 27,))


def _itself(file, folder: Path) -> None:
    del file["points"]
    file["points"] = file["/"]


def _deep(file, folder: Path) -> None:
    file["metadata"].attrs["json"] = np.bytes_("[" * 50_000)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_external_link, "link to another file, which is not followed"),
        (_external_data, "lies in another file, which is not opened"),
        (_virtual, "lies in another file, which is not opened"),
        (_circle, "lead in circles"),
        (_huge, "the most is 1,024"),
        (_huge_chunk, "the most is 1,024"),
        (_itself, "there is no dataset 'points'"),
        (_deep, "cannot be read"),
    ],
)
def test_a_hostile_file_is_one_line(folder: Path, spoil, says: str) -> None:
    path = write_slp(folder)
    with h5py.File(path, "a") as file:
        spoil(file, folder)
    assert says in told(path)


@pytest.mark.parametrize("layout", [{}, {"chunks": (1,)}], ids=["in one piece", "in chunks"])
def test_a_text_that_says_it_is_longer_than_its_file_takes_no_memory(
    folder: Path, layout: dict[str, Any]
) -> None:
    """HDF5 takes the memory for a value before it looks for its bytes."""
    path = write_slp(folder)
    with h5py.File(path, "a") as file:
        texts = file["videos_json"][()]
        del file["videos_json"]
        data = file.create_dataset("videos_json", data=texts, dtype=h5py.string_dtype(), **layout)
        file.flush()
        at = data.id.get_chunk_info(0).byte_offset if layout else data.id.get_offset()
    assert len(read_dataset(path).samples) > 0, "the layout itself is no reason to refuse"
    with path.open("r+b") as raw:
        raw.seek(at)
        assert int.from_bytes(raw.read(4), "little") == len(texts[0])
        raw.seek(at)
        raw.write((0xF0000000).to_bytes(4, "little"))
    assert "'videos_json' says it is longer than the file" in told(path)


def test_links_inside_of_a_file_are_followed(folder: Path) -> None:
    path = write_slp(folder)
    labels = read_dataset(path)
    with h5py.File(path, "a") as file:
        file.move("points", "far/away")
        file["points"] = h5py.SoftLink("/far/away")
    assert_same(read_dataset(path), labels)


@pytest.mark.parametrize("name", BINARY)
def test_a_file_that_is_cut_off_is_refused(folder: Path, name: str) -> None:
    path = folder / f"x{ENDINGS[name]}"
    write_dataset(some_labels(folder, 0), path, name, lossy=True)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for stop in [len(data) // 3, len(data) - 100]:
        path.write_bytes(data[:stop])
        with pytest.raises(ValueError, match=f"{path.name}.*damaged"):
            read_dataset(path)
        with pytest.raises(ValueError, match=f"{path.name}.*damaged"):
            read_dataset(folder)
    for _ in range(6):  # bytes that are wrong: labels or an error of ours
        damaged = bytearray(data)
        for at in rng.integers(0, len(data), 8):
            damaged[at] ^= 0xFF
        path.write_bytes(bytes(damaged))
        try:
            read_dataset(path)
        except ValueError as error:
            assert path.name in str(error) or "points" in str(error)


# --- the same truth in each format ----------------------------------------------------------------

KIT = {
    "sleap/labels.slp": {"hidden": None, "absent": None},
    "sleap/labels.pkg.slp": {"hidden": None, "absent": None},
    "sleap/labels.analysis.h5": {"hidden": None, "absent": None},
    "dlc": {"hidden": VISIBLE, "absent": None},
    "dlc/labeled-data/video/CollectedData_me.h5": {"hidden": VISIBLE, "absent": None},
    "dlc/labeled-data/video/CollectedData_me.csv": {"hidden": VISIBLE, "absent": None},
    "dlc/table_format.h5": {"hidden": VISIBLE, "absent": None},
    "lightning_pose/CollectedData.csv": {"hidden": ABSENT, "absent": ABSENT},
    "matlab/points.mat": {"hidden": VISIBLE, "absent": None},
    "matlab/points_v73.mat": {"hidden": VISIBLE, "absent": None},
    "nwb/labels.nwb": {"hidden": None, "absent": None},
}
"""What becomes of hidden and absent keypoints; None: not labelled."""

ONE_ANIMAL = ("lightning_pose", "matlab")


def truth(real_data: Path, name: str) -> dict[tuple[str, int, str], tuple[int, float, float]]:
    """State and place of each keypoint as a format has it."""
    found = {}
    states = {"visible": VISIBLE, "unlabelled": UNLABELLED}
    path = real_data / "formats" / "same_truth" / "truth.csv"
    for row in csv.DictReader(path.read_text().splitlines()):
        said = KIT[name].get(row["state"], states.get(row["state"]))
        state = UNLABELLED if said is None else said
        place = float(row["x"] or "nan"), float(row["y"] or "nan")
        place = place if state >= HIDDEN else (np.nan, np.nan)
        if not (int(row["instance"]) and name.startswith(ONE_ANIMAL)):
            found[row["image"], int(row["instance"]), row["point"]] = (state, *place)
    return found


def held(labels: KeypointDataset) -> dict[tuple[str, int, str], tuple[int, float, float]]:
    order = {f"point{i + 1}": name for i, name in enumerate(NAMES)}
    images = {"labels.pkg.slp[0]": "a.png", "labels.pkg.slp[1]": "b.png"}
    return {
        (
            images.get(Path(s.image).name, Path(s.image).name),
            i,
            order.get(name, name),
        ): (int(s.visibility[i, k]), *s.points[i, k].tolist())
        for s in labels.samples
        for i in range(len(s.points))
        for k, name in enumerate(labels.names)
    }


def assert_held(labels: KeypointDataset, wanted: dict) -> None:
    found = held(labels)
    assert set(found) == set(wanted)
    assert {key: value[0] for key, value in found.items()} == {
        key: value[0] for key, value in wanted.items()
    }
    places = [
        np.array([value[1:] for _, value in sorted(part.items())]) for part in (found, wanted)
    ]
    np.testing.assert_allclose(*places, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", KIT)
def test_the_kit_is_read_written_and_read_again(real_data: Path, tmp_path: Path, name: str) -> None:
    path = real_data / "formats" / "same_truth" / name
    labels, wanted = read_dataset(path), truth(real_data, name)
    assert_held(labels, wanted)
    gone = {
        key: (max(v[0], 0) if v[0] != ABSENT else UNLABELLED, *v[1:]) for key, v in wanted.items()
    }
    for target in BINARY:
        written = tmp_path / f"x{ENDINGS[target]}"
        write_dataset(labels, written, target, lossy=True)
        assert_held(read_dataset(written, root=labels.root), gone)


SAMPLES = {
    "sleap/minimal_instance.pkg.slp": "",
    "sleap/grid/test_grid_labels.legacy.h5": "",
    "sleap/grid/test_grid_labels.midpoint.h5": "",
    "sleap/minimal_instance.slp": "there is no video 'centered_pair_low_quality.mp4'",
    "sleap/small_robot_minimal.slp": "there is no video 'small_robot.mp4'",
    "sleap/clip.2node.slp": "there is no video 'clip.mp4'",
    "sleap/small_robot_siv_caching.slp": "none of the 3 images is in",
    "sleap/grid/grid_2x2.h5": "an HDF5 file of a tool that is not known",
    "matlab/labels.mat": "there is no video 'catnect_labeling.h5'",
    "matlab/skeleton_legs.mat": "a MATLAB file without 'positions'",
    "nwb_ndx_pose/0.1.1_poseestimation_nodes_edges.nwb": "(frames, 2) is read",
    "nwb_ndx_pose/0.3.0_poseestimation_two_cameras.nwb": "places are of 2 videos",
    "dlc_multi/labeled-data/video/dlc_testdata.csv": "",
    "dlc_multi/labeled-data/video/dlc_testdata_v2.csv": "",
    "dlc_multi/labeled-data/video/madlc_testdata.csv": "",
    "dlc_multi/labeled-data/video/madlc_testdata_v2.csv": "",
    "dlc_multi/labeled-data/video/maudlc_testdata.csv": "(34, 35) lies 6 px outside",
    "dlc_multi/labeled-data/video/maudlc_testdata_v2.csv": "(34, 35) lies 6 px outside",
    "lightning_pose/CollectedData.csv": "none of the 90 images is in",
}
"""Files of the tools themselves, and how one that is refused is told."""


@pytest.mark.parametrize("name", SAMPLES)
def test_files_of_the_tools_are_read_or_told_in_a_line(real_data: Path, name: str) -> None:
    path = real_data / "formats" / name
    if SAMPLES[name]:
        assert SAMPLES[name] in told(path)
    else:
        assert any(sample.located.any() for sample in read_dataset(path).samples)


def test_the_half_pixel_of_sleap_is_that_of_its_own_files(real_data: Path) -> None:
    grid = real_data / "formats" / "sleap" / "grid"
    old, new = (
        read_dataset(grid / f"test_grid_labels.{kind}.h5") for kind in ("legacy", "midpoint")
    )
    np.testing.assert_array_equal(old.samples[0].points, new.samples[0].points - 0.5)


def test_the_log_names_what_was_assumed(folder: Path, caplog) -> None:
    caplog.set_level(logging.WARNING)
    from scipy.io import savemat

    savemat(folder / "x.mat", {"points": np.ones((2, 2, 2))})
    (folder / "sub" / "c.png").unlink()
    read_dataset(folder / "x.mat")
    assert "images of its folder in natural order" in caplog.text
