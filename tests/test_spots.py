"""Spots: labels, formats, targets, the head, and what a run says of them."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from placewise.augment import Augmentation, generator, homographies
from placewise.demo import demo_of
from placewise.errors import DataError, LabelError, SettingsError
from placewise.formats import read_dataset, write_dataset
from placewise.heads.spots import Spots
from placewise.labels import Ignored, KeypointSample, SpotDataset, Visibility
from placewise.peak_losses import PEAK_LOSSES
from placewise.task import Scored
from placewise.tasks import task_named
from placewise.tasks.spots import SpotTarget
from placewise.tasks.spots.export import as_sample, export
from placewise.tasks.spots.model import SpotModel
from placewise.tasks.spots.prediction import SpotPrediction, read_rows

TASK = task_named("spots")
NAMES = ("cell", "bead")
SEEN, ABSENT, NOTHING = Visibility.VISIBLE, Visibility.ABSENT, Visibility.UNLABELLED


def sample(
    spots: list[tuple[int, float, float]], image: str = "a.png", absent: tuple[int, ...] = ()
) -> KeypointSample:
    """An image of 60×40 with (kind, x, y) spots, and kinds that are known not to be there."""
    count = max(1, len(spots))
    points, seen = np.full((count, 2, 2), np.nan), np.full((count, 2), NOTHING, np.int8)
    for kind in absent:
        seen[0, kind] = ABSENT
    for row, (kind, x, y) in enumerate(spots):
        points[row, kind], seen[row, kind] = (x, y), SEEN
    return KeypointSample(image, (40, 60), points, seen, "test")


def labels(*samples: KeypointSample, root: Path = Path()) -> SpotDataset:
    return SpotDataset(root, NAMES, samples)


def found(spots: list[tuple[int, float, float, float]], threshold: float = 0.5) -> SpotPrediction:
    """A prediction of (kind, x, y, score)."""
    values = np.array(spots, float).reshape(-1, 4)
    kinds = values[:, 0].astype(np.intp)
    limits = np.full(2, threshold)
    return SpotPrediction(NAMES, "a.png", (40, 60), values[:, 1:3], kinds, values[:, 3], limits)


# --- labels and formats ---------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b", "c"):
        Image.new("L", (60, 40), 90).save(tmp_path / f"{name}.png")
    return tmp_path


def test_the_tolerance_follows_a_rule_that_is_said() -> None:
    """2.5 % of the diagonal, but never more than half way to the usual neighbour."""
    alone = labels(sample([(0, 5, 5)]))
    assert alone.near is None and alone.tolerance == 1.8  # 0.025 · 72.1
    crowd = labels(sample([(0, 5, 5), (0, 7, 5), (1, 6, 5)]))
    assert crowd.near == 2.0 and crowd.tolerance == 1.0


def test_a_table_of_many_of_a_kind_is_one_of_spots(folder: Path) -> None:
    """Each row is a spot, a kind without a row is absent, and an empty place says nothing."""
    rows = ["image,keypoint,x,y"]
    rows += [f"a.png,cell,{x},5" for x in (5, 15, 25, 35)] + ["a.png,bead,9,9"]
    rows += ["b.png,bead,3,3", "c.png,cell,,", "c.png,bead,1,2"]
    (folder / "points.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    read = read_dataset(folder)
    assert isinstance(read, SpotDataset)
    a, b, c = read.samples
    assert [len(read.kinds(one)[0]) for one in (a, b, c)] == [5, 1, 1]
    assert [read.known(one).tolist() for one in (a, b, c)] == [
        [True, True], [True, True], [False, True],
    ]  # fmt: skip
    assert (b.visibility[:, 0] == ABSENT).any()


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_spots_are_written_and_read_back_the_same(folder: Path, ending: str) -> None:
    held = labels(
        sample([(1, 3.25, 4), (0, 5, 5), (0, 9, 7)]),
        sample([(0, 8, 8)], "b.png", absent=(1,)),
        sample([], "c.png", absent=(0, 1)),
        root=folder,
    )
    path = folder / f"spots.{ending}"
    write_dataset(held, path)
    read = read_dataset(path, task="spots")
    assert isinstance(read, SpotDataset) and read.names == NAMES
    for one, two in zip(held.samples, read.samples, strict=True):
        assert np.array_equal(held.kinds(one)[0], read.kinds(two)[0])
        assert np.array_equal(held.kinds(one)[1], read.kinds(two)[1])
        assert np.array_equal(held.known(one), read.known(two))
    if ending == "csv":
        assert len(path.read_text(encoding="utf-8").splitlines()) < 12


def test_crowds_of_coco_are_regions_that_are_ignored(folder: Path) -> None:
    """They are written and read back; corners of COCO are edges of pixels; no table holds them."""
    box = Ignored("bead", (9.5, 9.5), (19.5, 14.5))
    held = labels(replace(sample([(0, 5, 5), (1, 3, 3)]), ignored=(box,)), root=folder)
    write_dataset(held, folder / "spots.json")
    assert '"bbox": [10.0, 10.0, 10.0, 5.0]' in (folder / "spots.json").read_text(encoding="utf-8")
    assert read_dataset(folder / "spots.json").samples[0].ignored == (box,)
    with pytest.raises(SettingsError, match="1 regions that are ignored"):
        write_dataset(held, folder / "spots.csv")


BOX = """<object><name>{}</name><difficult>{}</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin>
<xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"""


def voc(folder: Path, name: str, *boxes: tuple[object, ...]) -> None:
    (folder / "Annotations").mkdir(exist_ok=True)
    inside = "".join(BOX.format(*box) for box in boxes)
    text = f"<annotation><filename>{name}.png</filename>{inside}</annotation>"
    (folder / "Annotations" / f"{name}.xml").write_text(text, encoding="utf-8")


def test_voc_lies_in_folders_of_splits(folder: Path) -> None:
    for split, (name, x) in {"train": ("a", 4), "valid": ("b", 8)}.items():
        voc(folder, name, ("cell", 0, x, 4, x + 4, 8))
        (folder / split).mkdir()
        (folder / "Annotations" / f"{name}.xml").rename(folder / split / f"{name}.xml")
        (folder / f"{name}.png").rename(folder / split / f"{name}.png")
    (folder / "Annotations").rmdir()
    read = read_dataset(folder)
    assert [(s.image, s.split) for s in read.samples] == [
        ("train/a.png", "train"),
        ("valid/b.png", "val"),
    ]
    assert [s.points.tolist() for s in read.samples] == [[[[5.0, 5.0]]], [[[9.0, 5.0]]]]


def test_middles_of_voc_boxes_are_spots(folder: Path) -> None:
    """A box of the first pixel alone, (1, 1, 2, 2) in their words, has its middle at ½, ½."""
    voc(folder, "a", ("cell", 0, 1, 1, 2, 2), ("bead", 0, 11, 5, 15, 9), ("cell", 1, 5, 5, 9, 9))
    voc(folder, "b", ("cell", 0, 3, 3, 3, 9))
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\n", encoding="utf-8")
    (lists / "val.txt").write_text("b\n", encoding="utf-8")
    read = read_dataset(folder)
    assert isinstance(read, SpotDataset) and read.names == ("cell", "bead")
    a, b = read.samples
    assert (a.image, a.split, b.split) == ("a.png", "train", "val")
    assert read.kinds(a)[0].tolist() == [[0.5, 0.5], [12.0, 6.0]]
    assert a.ignored == (Ignored("cell", (3.5, 3.5), (8.5, 8.5)),)
    assert not b.located.any() and read.known(b).all(), "no area: left out; the rest is absent"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<annotation>", "this is no XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', "defines a document type"),
        (f"<annotation><filename>a.png</filename>{BOX.format('x', 0, 9, 1, 2, 2)}</annotation>",
         "the box of 'x'"),
        ("<annotation><filename>z.png</filename></annotation>", "no image 'z.png'"),
    ],
)  # fmt: skip
def test_faults_of_voc_are_told(folder: Path, text: str, says: str) -> None:
    voc(folder, "b", ("cell", 0, 1, 1, 2, 2))
    (folder / "Annotations" / "z.xml").write_text(text, encoding="utf-8")
    with pytest.raises(LabelError, match=says):
        read_dataset(folder, format="voc")


def test_a_table_wins_over_boxes_beside_it_and_the_log_says_so(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    voc(folder, "a", ("cell", 0, 1, 1, 2, 2))
    (folder / "points.csv").write_text("image,keypoint,x,y\na.png,nose,3,4\n", encoding="utf-8")
    assert read_dataset(folder).names == ("nose",)
    assert "points.csv is read; --format voc takes the other labels" in caplog.text


@pytest.mark.parametrize("beside", [True, False])
def test_dots_are_spots_and_their_colours_kinds(tmp_path: Path, beside: bool) -> None:
    image, dots = np.zeros((2, 40, 60, 3), np.uint8)
    dots[3:6, 10:13, 0] = 255
    dots[20, 30, 1] = 250
    place = (tmp_path, tmp_path) if beside else (tmp_path / "images", tmp_path / "dots")
    names = ("1cell.png", "1dots.png") if beside else ("1.png", "1.png")
    for folder, name, pixels in zip(place, names, (image, dots), strict=True):
        folder.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / name)
    read = read_dataset(tmp_path)
    assert isinstance(read, SpotDataset) and read.names == ("green", "red")
    points, kinds = read.kinds(read.samples[0])
    assert dict(zip(kinds.tolist(), points.tolist(), strict=True)) == {0: [30, 20], 1: [11, 4]}


def test_bccd_is_the_same_from_its_table_and_from_its_boxes(real_data: Path) -> None:
    table, boxes = (read_dataset(real_data / "bccd", format=f) for f in (None, "voc"))
    assert isinstance(table, SpotDataset) and isinstance(boxes, SpotDataset)
    assert table.tolerance == 20.0
    by_image = {one.image: one for one in boxes.ordered(table.names).samples}
    for one in table.samples:
        other = by_image[one.image]
        places = [sorted(map(tuple, s.points[s.located].tolist())) for s in (one, other)]
        assert places[0] == places[1] and one.split == other.split


# --- targets and the head -------------------------------------------------------------------------


def test_spots_move_with_the_image_and_those_that_leave_are_gone() -> None:
    held = labels(sample([(0, 5, 5), (1, 50, 30), (0, 20, 10)]))
    target = TASK.target(held, held.samples[0])
    places, kinds, known = target.encode(homographies.translate((40, 60), 15, 0))
    assert places.tolist() == [[20, 5], [35, 10]] and kinds.tolist() == [0, 0]
    assert known.shape == (2, 1, 1)
    halved = target.scaled((0.5, 0.5))
    assert isinstance(halved, SpotTarget) and halved.points[0].tolist() == [2.25, 2.25]


def test_ignored_boxes_move_with_the_image() -> None:
    spots = sample([(0, 5, 5)], absent=(1,))
    one = replace(spots, ignored=(Ignored("bead", (10.0, 10.0), (19.0, 14.0)),))
    held = labels(one, sample([(0, 3, 3)], "b.png", absent=(1,)))
    _, _, known = TASK.target(held, one).encode(homographies.flip((40, 60)))
    assert known.shape == (2, 40, 60)
    hidden = np.argwhere(~known[1].numpy())
    assert hidden.min(0).tolist() == [10, 40] and hidden.max(0).tolist() == [14, 49]
    assert known[0].all(), "the box is of beads alone"


def test_a_kind_of_which_nothing_is_said_takes_no_part() -> None:
    head, points = Spots(4, 2, stride=4), torch.tensor([[[9.0, 9.0]]])
    output = torch.randn(1, 2, 8, 8, requires_grad=True)
    known = torch.tensor([True, False]).view(1, 2, 1, 1)
    losses = head.loss(output, points, torch.tensor([[0]]), known)
    losses.sum().backward()
    assert losses[0, 0] > 0 and losses[0, 1] == 0 and not output.grad[0, 1].any()


@pytest.mark.parametrize("loss", PEAK_LOSSES.names())
@pytest.mark.parametrize("size", [(64,), (48, 64), (24, 32, 40)], ids=["1d", "2d", "3d"])
def test_what_the_head_encodes_it_reads_back(loss: str, size: tuple[int, ...]) -> None:
    """Any number of spots of a kind, also at the border; a kind without a spot has none."""
    axes = len(size)
    head = Spots(4, 3, stride=4, spatial_dims=axes, loss=loss, radius=2)
    top = torch.tensor(size[::-1]).float()
    points = torch.stack([0.2 * top, 0.8 * top, torch.full((axes,), -0.5)])[None]
    output = head.encode(points, torch.tensor([[0, 0, 1]]), size)
    assert output.shape == (1, 3, *(side // 2 for side in size))
    (kinds,) = head.decode(output, size)
    read = [[p for p, s in zip(k.points, k.heat, strict=True) if s > 0.3] for k in kinds]
    assert [len(one) for one in read] == [2, 1, 0]
    again = [*sorted(read[0], key=lambda place: place[0]), read[1][0]]
    for place, one in zip(points[0].numpy(), again, strict=True):
        assert np.abs(place - one).max() < 0.05


def test_batches_are_filled_up_and_what_fills_them_counts_nothing() -> None:
    items = [
        (torch.zeros(1, 8, 8), torch.rand(n, 2), torch.zeros(n).long(), torch.ones(2, 1, 1), n)
        for n in (3, 0)
    ]
    _, points, kinds, _, index = TASK.collate(items)
    assert points.shape == (2, 3, 2) and kinds.tolist() == [[0, 0, 0], [-1, -1, -1]]
    assert index.tolist() == [3, 0]
    assert not Spots(4, 2, stride=2).target(points, kinds, (8, 8))[1].any()


@pytest.mark.parametrize("wrong", [{"sigma": 0}, {"radius": -1}, {"finer": 3}, {"most": 0}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match=r"must|divisor"):
        Spots(4, 2, stride=4, **wrong)


# --- predictions and scores -----------------------------------------------------------------------


def test_rows_hold_the_sure_spots_and_are_read_back() -> None:
    one = found([(0, 5, 6.5, 0.9), (1, 2, 3, 0.4), (0, 7, 7, 0.5)])
    assert one.rows() == [["a.png", "cell", 5.0, 6.5, 0.9], ["a.png", "cell", 7.0, 7.0, 0.5]]
    assert one.counts == {"cell": 2, "bead": 0}
    rows = [[str(cell) for cell in row] for row in one.rows()]
    again = read_rows(NAMES, "a.png", (40, 60), rows)
    assert (
        again.rows() == one.rows() and read_rows(NAMES, "a.png", (40, 60), []).counts["cell"] == 0
    )


def test_exports_are_labels_again_also_of_an_image_without_spots(folder: Path) -> None:
    class Settings:
        names = NAMES

    none = replace(found([]), image="b.png")
    export(folder, Settings(), [found([(1, 5, 6.5, 0.9)]), none], folder)
    for name in ("predictions.points.csv", "predictions.coco.json"):
        read = read_dataset(folder / name, task="spots")
        assert isinstance(read, SpotDataset)
        assert [len(read.kinds(one)[0]) for one in read.samples] == [1, 0]
        assert all(read.known(one).all() for one in read.samples)
    with (folder / "counts.csv").open(encoding="utf-8", newline="") as file:
        assert [row["count"] for row in csv.DictReader(file)] == ["0", "1", "0", "0"]
    assert as_sample(none).visibility.tolist() == [[ABSENT, ABSENT]]


@pytest.mark.parametrize("axes", [1, 3])
def test_exports_of_recordings_and_volumes_are_labels_again(axes: int, tmp_path: Path) -> None:
    """COCO holds images alone, and is not written."""

    class Settings:
        names = NAMES

    size = (40,) * axes
    np.savez(tmp_path / "a.npz", **{"signal" if axes == 1 else "image": np.zeros(size, np.uint8)})
    places = np.arange(2.0 * axes).reshape(2, axes) + 5.25
    kinds, sure, limits = np.array([0, 1]), np.ones(2), np.full(2, 0.5)
    one = SpotPrediction(NAMES, "a.npz", size, places, kinds, sure, limits)
    export(tmp_path, Settings(), [one], tmp_path)
    assert not (tmp_path / "predictions.coco.json").exists()
    read = read_dataset(tmp_path / "predictions.points.csv", task="spots")
    np.testing.assert_allclose(read.kinds(read.samples[0])[0], places)


def test_scores_by_kind_and_what_is_not_labelled_does_not_count() -> None:
    held = labels(
        sample([(0, 5, 5), (0, 20, 20)], absent=(1,)),
        sample([(1, 9, 9)], "b.png"),  # of cells nothing is said
    )
    one = found([(0, 5, 6, 0.9), (1, 30, 30, 0.8), (0, 20, 21, 0.1)])
    two = replace(found([(0, 40, 20, 0.9), (1, 9, 9, 0.9)]), image="b.png")
    model = SpotModel(torch.nn.Conv2d(3, 4, 4, stride=4), Spots(4, 2), names=NAMES)
    scores = TASK.score(Scored(model, held, held.samples, [one, two], {"tolerance": 3.0}))
    cell, bead = (scores["by_keypoint"][name] for name in NAMES)
    assert scores["tolerance_px"] == 3.0
    assert (cell["precision"], cell["recall"], cell["images"]) == (1.0, 0.5, 1)
    assert (bead["precision"], bead["recall"], bead["counting_mae"]) == (0.5, 1.0, 0.5)
    assert cell["ap"] == 1.0, "the average precision knows the candidates below the threshold too"
    assert scores["f1"] == pytest.approx((2 / 3 + 2 / 3) / 2)


def test_events_near_the_ends_of_recordings_are_scored_by_themselves(tmp_path: Path) -> None:
    """At 100 samples in a second, 0.3 s are 30 samples: one of two events there is missed."""
    (tmp_path / "recordings").mkdir()
    np.savez(tmp_path / "recordings" / "a.npz", signal=np.zeros(400, np.float32), fs=100)
    rows = [f"recordings/a.npz,test,beat,{at}" for at in (10, 45, 200, 372, 390)]
    text = "\n".join(["recording,split,keypoint,x", *rows, "recordings/a.npz,test,pause,300"])
    (tmp_path / "points.csv").write_text(text)
    held = read_dataset(tmp_path, task="spots")
    places = np.array([[45.0], [200.0], [372.0], [390.0], [300.0]])
    kinds = np.array([0, 0, 0, 0, 1])
    limits = np.full(2, 0.5)
    one = SpotPrediction(held.names, "a", (400,), places, kinds, np.ones(5), limits)
    head = Spots(4, 2, spatial_dims=1)
    model = SpotModel(torch.nn.Conv1d(1, 4, 4, stride=4), head, names=held.names)
    scores = TASK.score(Scored(model, held, held.samples, [one]))
    near = scores["near_ends"]
    assert (near["seconds"], near["labelled"], near["missed"], near["lost"]) == (0.3, 3, 1, 1)
    assert (near["with_neighbour"], near["neighbour_found"]) == (3, 3)
    said = " ".join(TASK.report(scores | {"split": "test"}).text().split())
    assert "Within 0.3 s of the ends of the recordings, 2 of 3 labelled spots are found" in said
    assert "1 spot near an end is missed although" in said


def test_thresholds_are_chosen_on_validation_images_and_used() -> None:
    held = labels(sample([(0, 5, 5), (0, 20, 20), (1, 9, 9)]))
    one = found([(0, 5, 5, 0.9), (0, 20, 20, 0.3), (0, 50, 9, 0.2), (1, 9, 9, 0.05)])
    chosen = TASK.calibrate(held, held.samples * 200, [one] * 200)  # so that each point is sure
    TASK.calibration(**chosen)
    assert 0.2 < chosen["thresholds"]["cell"] <= 0.3 and chosen["thresholds"]["bead"] <= 0.05
    validation = TASK.validate(held, held.samples * 200, [one] * 200)
    assert validation.score == -1.0 and validation.log == {"val_f1": 1.0}
    network = SpotModel(torch.nn.Conv2d(3, 4, 4, stride=4), Spots(4, 2), names=NAMES)
    predicted = network.calibrated(chosen).predict(np.zeros((40, 60, 3), np.uint8))
    assert predicted.thresholds.tolist() == list(chosen["thresholds"].values())


def test_events_of_recordings_keep_the_least_distance_that_nearly_all_have() -> None:
    task = task_named("spots")
    times = np.cumsum([90.0] * 299 + [6.0, *[120.0] * 100])
    states = np.full((len(times), 1), 3, np.int8)
    one = KeypointSample("a.wav", (40_000,), times[:, None, None], states)
    known = SpotDataset(Path(), ("beat",), (one,))
    needs = task.needs(known, (one,), "spots")
    assert needs.apart == 90 and needs.extent == 90, "two in 400 are nearer"
    assert task.head_defaults({}, needs)["radius"] == 30
    assert task.head_defaults({}, needs.scaled(0.5))["radius"] == 15
    assert task.head_defaults({}, replace(needs, apart=None))["radius"] == 11.2
    flat = labels(sample([(0, 5.0, 5.0), (0, 25.0, 5.0), (0, 25.0, 26.0)]))
    assert task.needs(flat, flat.samples, "spots").apart is None, "images differ in density"


def test_labels_without_a_spot_are_refused() -> None:
    with pytest.raises(DataError, match="no spot is labelled"):
        TASK.usable(labels(sample([], absent=(0, 1))))
    with pytest.raises(DataError, match="nothing to choose"):
        split = {"train": [sample([(0, 1, 1)])], "val": [sample([], absent=(0,))]}
        TASK.check_splits(labels(), split)


def test_drawings_tell_missed_and_false_spots() -> None:
    held = labels(sample([(0, 10, 10), (0, 40, 20)]))
    plain = np.full((40, 60, 3), 128, np.uint8)
    right = found([(0, 10, 10, 0.9), (0, 40, 20, 0.9)])
    wrong = found([(0, 10, 10, 0.9), (0, 25, 30, 0.9)])
    red = (255, 64, 64)
    drawn = [
        TASK.draw(None, plain, one, dataset=held, sample=held.samples[0]) for one in (right, wrong)
    ]
    assert not (drawn[0] == red).all(-1).any() and (drawn[1] == red).all(-1).any()


def test_the_demo_makes_the_same_images_for_the_same_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cells are where its table says: a ring is dark about its middle, a grain in it."""
    made = demo_of("spots").made[2]
    one, two = (made.write(tmp_path / name, images=4, seed=1) for name in "ab")
    assert one.read_bytes() == two.read_bytes()
    held = read_dataset(tmp_path / "a", task="spots")
    assert isinstance(held, SpotDataset)
    for image in held.samples:
        pixels = held.image(image.image)[..., 0].astype(float)
        for place, kind in zip(*held.kinds(image), strict=True):
            x, y = place.round().astype(int).clip(1, np.array(pixels.shape[::-1]) - 2)
            if held.names[kind] == "grain" and (place > 4).all():
                assert pixels[y - 1 : y + 2, x - 1 : x + 2].mean() < np.median(pixels) - 30
    monkeypatch.setattr(type(TASK), "demo", None)
    with pytest.raises(SettingsError, match="'spots' has no demo; there are: "):
        demo_of("spots")


def test_augmented_targets_lie_on_what_they_mark() -> None:
    """A white pixel at each spot is under the spot after any warp that training draws."""
    from placewise.augment import warp_image

    held = labels(sample([(0, 15, 12), (0, 40, 25), (0, 30, 18)]))
    image = np.zeros((40, 60, 1), np.float32)
    for x, y in held.kinds(held.samples[0])[0].astype(int):
        image[y - 1 : y + 2, x - 1 : x + 2] = 1
    augmentation = Augmentation.of(**TASK.augmentation(held, held.samples))
    target, hits = TASK.target(held, held.samples[0]), 0
    for epoch in range(20):
        warp = augmentation.draw(generator(0, epoch, "a"), (40, 60), (40, 60))
        shown = warp_image(image, warp)
        for x, y in target.encode(warp)[0].round().long().tolist():
            assert shown[y, x, 0] > 0.5
            hits += 1
    assert hits > 30


@pytest.mark.parametrize("head", ["", "time;lead\n"])
def test_recordings_in_tables_have_decimal_commas(tmp_path: Path, head: str) -> None:
    """As spreadsheets of many countries write them, with semicolons between cells."""
    rows = [f"{k / 4:.2f};{-k / 8:.3f}\n".replace(".", ",") for k in range(40)]
    (tmp_path / "a.csv").write_text(head + "".join(rows), encoding="utf-8")
    spots = "".join(f"a.csv,beat,{x}\n" for x in (4, 14, 24, 34))
    (tmp_path / "points.csv").write_text("recording,keypoint,x\n" + spots, encoding="utf-8")
    read = read_dataset(tmp_path / "points.csv")
    signal = read.image("a.csv")
    assert signal.shape == (40, 1 if head else 2)
    assert signal[8, -1] == -1.0
    assert read.images.spacing("a.csv") == ((0.25,) if head else None)
