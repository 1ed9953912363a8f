"""Labels that would silently teach something else: each is one error, or one line that says so."""

from __future__ import annotations

import json
import logging
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from placewise.augment import Augmentation
from placewise.checking import check
from placewise.errors import DataError, ImageError, LabelError, SettingsError
from placewise.formats import label_maps_in, read_dataset
from placewise.readers import reader_of
from placewise.report.drawing import planes_of
from placewise.report.letters import font_of, lines_of
from placewise.report.marks import draw_keypoint
from placewise.report.style import object_shape
from placewise.report.traces import WIDTH, parts, rows_of
from placewise.task import Scored
from placewise.tasks import task_named
from placewise.tasks.masks import scoring
from placewise.tasks.masks.drawing import compared, outlined
from placewise.tasks.masks.prediction import MaskPrediction
from placewise.training import TrainingSettings, train

TINY = TrainingSettings.of(max_steps=1, backbone_settings={"width": 16})


def image(path: Path, size: tuple[int, int] = (60, 40), value: int = 90) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)


def voc(folder: Path, *boxes: str, size: tuple[int, int] = (60, 40)) -> Path:
    image(folder / "images" / "a.png")
    (folder / "Annotations").mkdir()
    sides = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    text = f"<annotation><filename>a.png</filename>{sides}{''.join(boxes)}</annotation>"
    (folder / "Annotations" / "a.xml").write_text(text)
    return folder


def box(name: str, *corners: int) -> str:
    sides = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    inner = "".join(f"<{side}>{at}</{side}>" for side, at in sides)
    return f"<object><name>{name}</name><bndbox>{inner}</bndbox></object>"


def test_boxes_of_another_size_of_the_image_are_refused(tmp_path: Path) -> None:
    assert len(read_dataset(voc(tmp_path / "a", box("cell", 3, 3, 9, 9))).samples) == 1
    with pytest.raises(LabelError, match=r"it says 600×400 px, and 'images/a\.png' is of 60×40 px"):
        read_dataset(voc(tmp_path / "b", box("cell", 30, 30, 90, 90), size=(600, 400)))
    unknown = voc(tmp_path / "c", box("cell", 3, 3, 9, 9), size=(0, 0))
    assert read_dataset(unknown).names == ("cell",)


def test_boxes_that_are_no_boxes_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(LabelError, match="xmin is larger than xmax"):
        read_dataset(voc(tmp_path / "a", box("cell", 24, 3, 20, 9)))
    with caplog.at_level(logging.WARNING, "placewise"):
        read_dataset(voc(tmp_path / "b", box("cell", 3, 3, 9, 9), box("bead", 5, 5, 5, 5)))
    assert "one row or column left out: bead (1)" in caplog.text


def coco(folder: Path, *polygons: list[float]) -> Path:
    image(folder / "a.png")
    annotations = [
        {"id": i, "image_id": 1, "category_id": 1, "segmentation": [polygon]}
        for i, polygon in enumerate(polygons)
    ]
    images = [{"id": 1, "file_name": "a.png", "width": 60, "height": 40}]
    held = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cell"}]}
    (folder / "coco.json").write_text(json.dumps(held))
    return folder / "coco.json"


def test_outlines_that_cover_nothing_do_not_vanish_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good, tiny = [5, 5, 20, 5, 20, 20], [10.6, 10.6, 10.9, 10.6, 10.9, 10.9]
    with caplog.at_level(logging.WARNING, "placewise"):
        read_dataset(coco(tmp_path / "a", good, tiny), task="instances")
    assert "1 outlines that cover no pixel's centre" in caplog.text
    with pytest.raises(LabelError, match="lies outside the image of 60×40 px"):
        read_dataset(coco(tmp_path / "b", good, [100, 100, 120, 100, 120, 120]), task="instances")
    beyond = read_dataset(coco(tmp_path / "c", [-5, 5, 20, 5, 20, 20]), task="instances")
    assert beyond.instances(beyond.samples[0])[0].max() == 1, "an outline may be cut by the border"


@pytest.mark.parametrize("tolerance", [0.0, -1.0, float("nan")])
def test_a_tolerance_that_is_none_is_refused(tolerance: float, tmp_path: Path) -> None:
    held = read_dataset(voc(tmp_path / "a", box("cell", 3, 3, 9, 9)))
    with pytest.raises(SettingsError, match="got a tolerance of"):
        task_named("spots").score(Scored(None, held, held.samples, [], {"tolerance": tolerance}))


def test_outlines_of_recordings_are_compared_in_samples() -> None:
    """A rate is a time: 2 of it are no millimetres, and would hide every error of an edge."""
    truth, chances = np.zeros(400, int), np.zeros(400, np.float16)
    truth[100:120], chances[108:128] = 1, 1
    one = MaskPrediction(("burst",), "a.npz", (400,), np.ones(400, np.uint8), chances)
    scores = scoring.score(("burst",), [truth], [one], [(0.01,)])
    assert scores["tolerance_px"] == 2.0 and "hd95_mm" not in scores
    assert scores["boundary_f1"] == 0.0 and scores["hd95_px"] == 8.0


def masks(folder: Path, ignore: int) -> Path:
    for name in "abcdef":
        image(folder / "images" / f"{name}.png")
        image(folder / "masks" / f"{name}.png", value=0)
        Image.fromarray(np.pad(np.full((9, 9), 255, np.uint8), ((5, 26), (5, 46)))).save(
            folder / "masks" / f"{name}.png"
        )
        image(folder / "ignore" / f"{name}.png", value=ignore)
    return folder


def test_masks_of_which_all_is_ignored_are_no_labels(tmp_path: Path) -> None:
    held = read_dataset(masks(tmp_path / "a", ignore=255), task="masks")
    findings = check(held)
    assert findings.verdict.startswith("Not ready to train")
    with pytest.raises(DataError, match="nothing is labelled on any image of the split 'train'"):
        train(held, tmp_path / "run", TINY, quiet=True)
    fine = check(read_dataset(masks(tmp_path / "b", ignore=0), task="masks"))
    assert not fine.verdict.startswith("Not ready")


def test_masks_beside_images_are_not_images(tmp_path: Path) -> None:
    folder = masks(tmp_path / "a", ignore=0)
    assert label_maps_in(folder) == {f"{k}/{n}.png" for k in ("masks", "ignore") for n in "abcdef"}
    assert label_maps_in(folder / "images") == label_maps_in(tmp_path / "gone") == frozenset()


def test_a_split_that_the_user_named_is_not_drawn_anew(tmp_path: Path) -> None:
    rows = ["image,split,keypoint,x,y,visibility"]
    for number, name in enumerate("abcdef"):
        image(tmp_path / f"{name}.png")
        split = "val" if name == "f" else "train"
        cells = "cell,,," if split == "val" else f"cell,{5 + number},9,visible"
        rows.append(f"{name}.png,{split},{cells}")
        rows.append(f"{name}.png,{split},{cells if split == 'val' else 'cell,30,20,visible'}")
    (tmp_path / "points.csv").write_text("\n".join(dict.fromkeys(rows)))
    held = read_dataset(tmp_path, task="spots")
    with pytest.raises(DataError, match="none of the 1 images of the split 'val' has a label"):
        train(held, tmp_path / "run", TINY, quiet=True)


def test_names_of_the_user_stay_on_the_console(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    rows = ["recording,split,keypoint,x"]
    for number in range(6):
        np.savez(tmp_path / "d" / f"{number}.npz", signal=np.zeros(300, np.float32), fs=100)
        rows += [f"{number}.npz,,{kind},{at}" for kind, at in (("image", 50), ("px", 150))]
    (tmp_path / "d" / "points.csv").write_text("\n".join(rows))
    said = str(check(read_dataset(tmp_path / "d", task="spots")))
    assert "\nimage " in said and "\npx " in said and "6 recordings" in said


def test_a_mask_of_other_places_than_its_volume_is_refused(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    values = np.zeros((8, 10, 12), np.uint8)
    values[2:5, 3:6, 4:8] = 1
    for name, side in (("a", 1.0), ("b", -1.0)):
        for part, affine in (("images", np.eye(4)), ("masks", np.diag([side, 1, 1, 1.0]))):
            (tmp_path / name / part).mkdir(parents=True)
            path = tmp_path / name / part / "v.nii.gz"
            nibabel.save(nibabel.Nifti1Image(values, affine), path)
    assert len(read_dataset(tmp_path / "a", task="masks").samples) == 1
    with pytest.raises(LabelError, match=r"lie elsewhere than those of 'images/v\.nii\.gz'"):
        read_dataset(tmp_path / "b", task="masks")


def test_identities_come_from_the_file_that_has_them(tmp_path: Path) -> None:
    """A table without a column `track` beside a COCO file of the same keypoints at their places."""
    image(tmp_path / "a.png")
    places = [[(5, 6), (9, 6)], [(30, 20), (36, 22)]]
    rows = ["image,instance,keypoint,x,y"]
    rows += [
        f"a.png,{i},{name},{x},{y}"
        for i, animal in enumerate(places)
        for name, (x, y) in zip(("head", "tail"), animal, strict=True)
    ]
    (tmp_path / "points.csv").write_text("\n".join(rows))
    annotations = [
        {
            "id": i + 1,
            "image_id": 1,
            "category_id": 1,
            "track_id": 7 - i,
            "keypoints": [n for x, y in animal for n in (x, y, 2)],
            "num_keypoints": 2,
        }
        for i, animal in enumerate(places)
    ]
    category = {"id": 1, "name": "fish", "keypoints": ["head", "tail"], "skeleton": [[1, 2]]}
    images = [{"id": 1, "file_name": "a.png", "width": 60, "height": 40}]
    held = {"images": images, "annotations": annotations, "categories": [category]}
    (tmp_path / "coco.json").write_text(json.dumps(held))
    read = read_dataset(tmp_path, task="poses")
    assert read.source == tmp_path / "points.csv"
    tracks = read.samples[0].tracks
    assert tracks is not None and len(set(tracks.tolist())) == 2


def test_animals_overlap_where_their_boxes_do(tmp_path: Path) -> None:
    rows = ["image,instance,keypoint,x,y"]
    for name, shift in (("a", 3), ("b", 30)):
        image(tmp_path / f"{name}.png")
        for i in (0, 1):
            rows += [
                f"{name}.png,{i},head,{5 + i * shift},5",
                f"{name}.png,{i},tail,{15 + i * shift},9",
            ]
    (tmp_path / "points.csv").write_text("\n".join(rows))
    facts = check(read_dataset(tmp_path, task="poses")).facts
    assert facts.overlapping == ("a.png",)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("task", ["masks", "instances"])
def test_label_maps_of_any_number_of_axes_are_augmented(task: str, axes: int) -> None:
    """Quarter turns are of images alone, and time is not mirrored; each range can be drawn."""

    class Sample:
        size = (12,) * axes

    chosen = task_named(task).augmentation(None, [Sample()])
    assert (chosen["flip"], chosen["turns"]) == (axes > 1, axes == 2)
    drawn = Augmentation(**chosen).draw(np.random.default_rng(0), Sample.size, Sample.size)
    assert drawn.forward(np.full((1, axes), 5.0)).shape == (1, axes)


@pytest.mark.parametrize("rate", [0.0, float("nan")])
def test_a_rate_that_is_none_is_one_error(rate: float, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", signal=np.zeros(50), fs=rate)
    with pytest.raises(ImageError, match=r"fs is .*; needed are numbers above 0"):
        reader_of(tmp_path / "a.npz").facts(tmp_path / "a.npz")


def test_a_recording_without_a_beat_says_that_there_is_none(tmp_path: Path) -> None:
    for name, beats in (("a", [20, 60]), ("b", [])):
        held = {"signal": np.zeros(100), "fs": 100, "beats": np.array(beats, int)}
        np.savez(tmp_path / f"{name}.npz", **held)
    read = read_dataset(tmp_path, task="spots")
    assert [read.known(one).tolist() for one in read.samples] == [[True], [True]]
    assert [len(read.kinds(one)[0]) for one in read.samples] == [2, 0]


def test_voxels_are_drawn_as_long_as_they_are() -> None:
    """Slices of 3 mm: the two slices that have them are three times as high as by voxels."""
    volume = np.zeros((10, 30, 30, 1), np.uint8)
    even = [plane.canvas.shape[:2] for plane in planes_of(volume, np.empty((0, 3)))]
    long = planes_of(volume, np.empty((0, 3)), spacing=(3.0, 1.0, 1.0))
    assert even[0] == long[0].canvas.shape[:2]
    high, wide = long[1].canvas.shape[:2]
    assert high / wide == pytest.approx(1, abs=0.05) and even[1][0] / wide < 0.4
    (place,) = long[1].at(np.array([[29.0, 0.0, 9.0]]))
    assert place[1] > 0.9 * high and place[0] > 0.9 * wide
    mask = np.zeros((10, 30, 30), int)
    mask[3:6, 9:21, 9:21] = 1
    drawn = compared(volume.astype(np.float32), mask, mask, (3.0, 1.0, 1.0))
    assert drawn.shape[0] > 2 * high


def test_a_short_recording_is_drawn_once() -> None:
    for length in (10, 2313, 4001, 9999, 400_000):
        shown = parts(length)
        assert len(shown) <= 5 and shown[0][0] == 0 and shown[-1][1] == length
        if length < 10_000:
            assert all(stop == start for (_, stop), (start, _) in pairwise(shown))
    assert len(parts(2313)) == 1
    row = rows_of(np.sin(np.arange(500.0))[:, None], seconds=0.01)[0]
    assert row.canvas.shape[1] == WIDTH and np.isfinite(row.place(499.0)).all()


def test_a_caption_keeps_the_end_of_a_name_and_the_note() -> None:
    name = "JPEGImages/of_a_very_long_folder/BloodImage_00123.jpg"
    first, second = lines_of(f"{name} (two spots in one place?)", 260, font_of(13))
    assert first.endswith("BloodImage_00123.jpg") and second == "(two spots in one place?)"
    assert lines_of("a.png: F1 90 %", 260, font_of(13)) == ["a.png: F1 90 %"]


def test_shapes_tell_the_keypoints_of_several_animals() -> None:
    """Two keypoints of one animal differ by their shape, two animals by their colour."""
    marks = []
    for index in range(6):
        canvas = np.zeros((41, 41, 3), np.uint8)
        shape = object_shape(index)
        draw_keypoint(canvas, np.full(2, 20.0), index, 9.0, colour=(200, 0, 0), shape=shape)
        marks.append(canvas)
        assert canvas[20, 20].tolist() == [200, 0, 0]
    assert len({mark.tobytes() for mark in marks}) == 6


def test_dots_of_two_colours_that_touch_are_two_spots(tmp_path: Path) -> None:
    image(tmp_path / "images" / "a.png")
    dots = np.zeros((40, 60, 3), np.uint8)
    dots[10, 20], dots[10, 21] = (255, 0, 0), (0, 255, 0)  # side by side
    dots[30, 40:42], dots[20, 5] = (255, 255, 0), (0, 255, 0)  # one yellow dot, and a green one
    (tmp_path / "dots").mkdir()
    Image.fromarray(dots).save(tmp_path / "dots" / "a.png")
    read = read_dataset(tmp_path, task="spots")
    points, kinds = read.kinds(read.samples[0])
    found = {(read.names[kind], *at) for at, kind in zip(points.tolist(), kinds, strict=True)}
    assert found == {
        ("red", 20.0, 10.0),
        ("green", 21.0, 10.0),
        ("yellow", 40.5, 30.0),
        ("green", 5.0, 20.0),
    }


@pytest.mark.parametrize("size", [(24, 40, 44), (3, 9, 60), (40, 8, 8)])
@pytest.mark.parametrize("spacing", [None, (3.0, 1.0, 1.0)])
def test_volumes_of_any_shape_are_compared(
    size: tuple[int, ...], spacing: tuple[float, ...] | None
) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.random((*size, 1)).astype(np.float32)
    truth, found = (rng.random(size) > 0.8 for _ in range(2))
    drawn = compared(pixels, found.astype(int), truth.astype(int), spacing)
    alone = outlined(pixels, found.astype(int), None, spacing)
    assert drawn.shape[0] > 1.9 * alone.shape[0] and abs(drawn.shape[1] - alone.shape[1]) < 30
