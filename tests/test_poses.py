"""Several objects on an image: the head, the grouping, files, and every verb."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from placewise.augment import Augmentation, Homography, generator, move_points
from placewise.checking import check
from placewise.errors import SettingsError
from placewise.evaluation import evaluate
from placewise.formats import read_dataset
from placewise.heads.poses import Candidates, Poses
from placewise.items import Change
from placewise.labels import Ignored, KeypointSample, PoseDataset, Visibility, mirror_order
from placewise.peak_losses import PEAK_LOSSES
from placewise.prediction import predict
from placewise.run import load_model
from placewise.tasks import task_named
from placewise.tasks.poses import PoseTarget, turning
from placewise.tasks.poses.demo import said, write_images
from placewise.tasks.poses.model import PoseModel
from placewise.tasks.poses.prediction import COLUMNS, PosePrediction, read_rows
from placewise.tasks.poses.scoring import judged, thresholds
from placewise.training import train

NAMES = ("head", "left", "right")
SIZES = {1: (96,), 2: (64, 80), 3: (32, 40, 48)}


def animals(axes: int, seed: int = 0) -> torch.Tensor:
    """(2 images, 2 objects, 3 keypoints, axes): the objects lie apart, on the image."""
    rng = np.random.default_rng(seed)
    size = np.array(SIZES[axes][::-1], float)
    middles = np.stack([size / 4, 3 * size / 4])
    points = middles[None, :, None] + rng.uniform(-7, 7, (2, 2, 3, axes))
    return torch.tensor(points.clip(0, size - 1))


def seen(points: torch.Tensor) -> torch.Tensor:
    located = torch.isfinite(points).all(-1)
    return torch.where(located, int(Visibility.VISIBLE), int(Visibility.ABSENT)).to(torch.int8)


def everywhere(axes: int) -> torch.Tensor:
    return torch.ones(2, 1, *[1] * axes, dtype=torch.bool)


def head_of(axes: int, loss: str = "focal") -> Poses:
    torch.manual_seed(0)
    return Poses(4, 3, 4, SIZES[axes], loss=loss, sigma=1.0, extent=16.0).double()


def grouped(head: Poses, one: Candidates, axes: int) -> PosePrediction:
    model = PoseModel.__new__(PoseModel)
    torch.nn.Module.__init__(model)
    model.head, model.names, model.calibration = head, NAMES, {}
    return model._grouped(one, SIZES[axes], SIZES[axes], "a.png")


# --- the head -------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("loss", ["focal", "poisson"])
def test_the_truth_is_read_back(axes: int, loss: str) -> None:
    """Objects with all keypoints, in any number of dimensions; another order changes nothing."""
    head, points = head_of(axes, loss), animals(axes)
    ideal = head.encode(points, seen(points), SIZES[axes])
    swapped = head.encode(points.flip(1), seen(points).flip(1), SIZES[axes])
    assert torch.equal(ideal, swapped)
    for one, truth in zip(head.decode(ideal, SIZES[axes]), points.numpy(), strict=True):
        found = grouped(head, one, axes)
        assert len(found.places) == 2 and found.peaks.all()
        order = np.argsort(found.places[:, 0, 0])
        expected = truth[np.argsort(truth[:, 0, 0])]
        assert np.abs(found.places[order] - expected).max() < 0.1
        assert np.abs(one.expected[order] - expected).max() < 0.1 or len(order) == 2


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_missing_keypoint_has_no_peak_and_a_low_score(axes: int) -> None:
    """It is known to be absent: its place is inferred, and is not told."""
    head, points = head_of(axes), animals(axes)
    points[:, 1, 2] = torch.nan
    ideal = head.encode(points, seen(points), SIZES[axes])
    found = grouped(head, head.decode(ideal, SIZES[axes])[0], axes)
    missing = np.argwhere(~found.peaks)
    assert len(missing) == 1 and missing[0, 1] == 2
    assert np.isnan(found.keypoints[~found.peaks]).all() and found.scores[~found.peaks] < 0.1
    assert np.isfinite(found.places).all()


def test_a_flip_of_the_maps_is_a_flip_of_the_animals() -> None:
    """Equivariance: offsets are mirrored with the maps."""
    head, points = head_of(2), animals(2)
    width = SIZES[2][1]
    mirrored = points.clone()
    mirrored[..., 0] = width - 1 - mirrored[..., 0]
    one = head.encode(points, seen(points), SIZES[2])
    two = head.encode(mirrored, seen(points), SIZES[2]).flip(-1)
    assert torch.allclose(one[:, :4], two[:, :4], atol=1e-6)
    across = torch.tensor([-1.0, 1.0]).double().repeat(3)[None, :, None, None]
    assert torch.allclose(one[:, 4:], two[:, 4:] * across, atol=1e-9)


@pytest.mark.parametrize("loss", PEAK_LOSSES.names())
def test_each_part_of_the_loss_is_one_at_the_start_and_falls_to_the_truth(loss: str) -> None:
    head, points = head_of(2, loss), animals(2)
    blank = torch.zeros(2, 10, 32, 40).double()
    blank[:, :4] = head.first
    start = head.loss(blank, points, seen(points), everywhere(2))
    assert torch.allclose(start, torch.full((2,), 3.0).double(), atol=1e-6)
    ideal = head.encode(points, seen(points), SIZES[2])
    assert (head.loss(ideal, points, seen(points), everywhere(2)) < 0.5 * start).all()
    ideal.requires_grad_()
    head.loss(ideal, points, seen(points), everywhere(2)).sum().backward()
    assert ideal.grad.abs().max() < 1e-4 or loss == "focal"


def test_nothing_is_learnt_where_a_keypoint_may_be_unlabelled() -> None:
    """In the box about its animal, in its map alone; and nowhere of an image without labels."""
    head, points = head_of(2), animals(2)
    points[0, 0, 1] = torch.nan
    known = seen(points)
    known[0, 0, 1], known[1] = Visibility.UNLABELLED, Visibility.UNLABELLED
    points[1] = torch.nan
    output = torch.randn(2, 10, 32, 40).double().requires_grad_()
    losses = head.loss(output, points, known, everywhere(2))
    assert losses[1] == 0
    losses.sum().backward()
    still = (output.grad[0, :4] == 0).numpy()
    down, across = np.indices((32, 40)) * 2.0 + 0.5
    box = points[0, 0][[0, 2]].numpy()
    more = 0.25 * np.ptp(box, axis=0).max()
    low, high = box.min(0) - more, box.max(0) + more
    inside = (across >= low[0]) & (across <= high[0]) & (down >= low[1]) & (down <= high[1])
    assert (still[1] == inside).all() and inside.any()
    assert not still[[0, 2, 3]].any()


def test_offsets_are_learnt_beyond_the_image_too() -> None:
    """A keypoint that a crop cuts off is absent from its map, and its animal still points at it."""
    head, points = head_of(2), animals(2)
    points[0, 0] = torch.tensor([[3.0, 5.0], [-4.0, 6.0], [8.0, 2.0]])
    known = seen(points)
    known[0, 0, 1] = Visibility.ABSENT
    ideal = head.encode(points, known, SIZES[2])
    one = head.decode(ideal, SIZES[2])[0]
    nearest = np.linalg.norm(one.centres - [7 / 3, 13 / 3], axis=-1).argmin()
    assert np.abs(one.expected[nearest, 1] - [-4.0, 6.0]).max() < 1e-6
    assert one.heat[nearest, 1] < 0.01


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(SettingsError, match="extent is 0"):
        Poses(4, 3, 4, extent=0)
    with pytest.raises(SettingsError, match="--track"):
        task_named("classes").follower(None)


# --- targets, grouping, thresholds ----------------------------------------------------------------


def test_targets_move_as_points_do() -> None:
    """On the image as `move_points` has it, also in a mirror; beyond it places are kept."""
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 60, (3, 3, 2))
    points[0, 1] = np.nan
    known = np.where(np.isnan(points[..., 0]), 0, 3).astype(np.int8)
    swap = mirror_order(NAMES, [("left", "right")])
    mirrored = 0
    for epoch in range(12):
        augmentation = Augmentation.of(flip=True, rotate=180.0)
        warp = augmentation.draw(generator(0, epoch, "a"), (60, 60), (32, 40), (30.0, 30.0))
        mirrored += warp.mirrors
        found, states, labelled = PoseTarget(points, known, swap).encode(warp)
        assert labelled.shape == (1, 1, 1) and labelled.all()
        moved, left = move_points(points, known, warp, swap)
        assert np.array_equal(states.numpy(), left)
        on = left >= Visibility.HIDDEN
        assert np.allclose(found.numpy()[on], moved[on], atol=1e-4)
        assert np.isfinite(found.numpy()).all(-1).sum() == 8
    assert 0 < mirrored < 12


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_nothing_is_learnt_within_a_crowd(axes: int) -> None:
    """Maps of keypoints and of centres: any output there is the same, elsewhere it is not."""
    head, points = head_of(axes), animals(axes)
    low, high = np.zeros(axes), np.full(axes, 15.0)
    still = Homography(np.eye(axes + 1), SIZES[axes])
    swap = np.arange(3)
    target = PoseTarget(points[0].numpy(), seen(points)[0].numpy(), swap, ((low, high),), True)
    labelled = torch.stack([target.encode(still)[2], torch.ones(1, *SIZES[axes], dtype=bool)])
    corner = (..., *[slice(0, 4)] * axes)
    assert not labelled[0][(..., *[slice(0, 16)] * axes)].any()
    assert (~labelled).sum() == 16**axes
    shape = head.encode(points, seen(points), SIZES[axes]).shape
    output = torch.randn(shape, generator=torch.Generator().manual_seed(0)).double()
    for maps in (slice(0, 3), slice(3, 4)):
        changed = output.clone()
        changed[:, maps][corner] += 3
        one, other = (head.loss(o, points, seen(points), labelled) for o in (output, changed))
        assert one[0] == other[0] and one[1] != other[1]


def test_objects_in_a_crowd_are_neither_right_nor_wrong() -> None:
    """Only those that are no labelled object are left out."""
    points = np.array([[[10.0, 10.0], [20.0, 10.0]]])
    box = Ignored("head", (0.0, 0.0), (40.0, 40.0))
    sample = KeypointSample("a", (90, 90), points, np.full((1, 2), 3, np.int8), ignored=(box,))
    places = np.stack([points[0], points[0] + 15.0, points[0] + 60.0])
    full = np.ones((3, 2))
    names = ("head", "tail")
    one = PosePrediction(names, "a", (90, 90), places, full, full > 0, np.ones(3), 0.5, 0.5)
    (left,) = judged([sample], [one]).found
    assert left.places.tolist() == places[[0, 2]].tolist()
    (whole,) = judged([replace(sample, ignored=())], [one]).found
    assert len(whole.places) == 3


def candidates(**more: np.ndarray) -> Candidates:
    """Two animals at 10 and 40 along x that expect their keypoints 5 to the left and right."""
    centres = np.array([[10.0, 10.0], [40.0, 10.0]])
    steps = np.array([[0.0, 0.0], [-5.0, 0.0], [5.0, 0.0]])
    given = {
        "centres": centres,
        "scores": np.array([0.9, 0.8]),
        "expected": centres[:, None] + steps,
        "heat": np.full((2, 3), 0.01),
        "peaks": np.array([[10.5, 10.0], [39.0, 10.0], [6.0, 10.0], [14.0, 10.0], [24.0, 10.0]]),
        "kinds": np.array([0, 0, 1, 2, 1]),
        "peak_scores": np.array([0.9, 0.9, 0.9, 0.9, 0.6]),
    }
    return Candidates(**{**given, **more})


def test_peaks_go_to_the_animal_that_expects_them() -> None:
    """One that no animal expects is left; the nearest centre would take it."""
    head = Poses(4, 3, 4, extent=20.0)
    found = grouped(head, candidates(), 2)
    assert found.peaks.tolist() == [[True, True, True], [True, False, False]]
    assert found.keypoints[0].tolist() == [[10.5, 10], [6, 10], [14, 10]]
    assert np.isnan(found.keypoints[1, 1:]).all()
    assert found.nearest[0, 1].tolist() == [6, 10]
    one = grouped(head, candidates(peaks=np.empty((0, 2)), kinds=np.empty(0, int),
                                   peak_scores=np.empty(0)), 2)  # fmt: skip
    assert not one.peaks.any() and not one.kept.places.size
    nobody = np.empty((0, 2))
    empty = candidates(centres=nobody, scores=np.empty(0), expected=np.empty((0, 3, 2)),
                       heat=np.empty((0, 3)))  # fmt: skip
    assert grouped(head, empty, 2).rows() == []


def prediction(places: np.ndarray, scores: np.ndarray, sure: np.ndarray) -> PosePrediction:
    peaks = scores > 0.5
    return PosePrediction(NAMES, "a.png", (60, 60), places, scores, peaks, sure, 0.3, 0.3)


def test_thresholds_have_the_best_f1() -> None:
    """Against every pair of thresholds on made predictions, counted one by one."""
    rng = np.random.default_rng(0)
    samples, found = [], []
    for n in range(12):
        truth = rng.uniform(0, 60, (2, 1, 2)) + rng.uniform(-9, 9, (2, 3, 2))
        states = np.full((2, 3), Visibility.VISIBLE, np.int8)
        samples.append(KeypointSample(f"{n}.png", (60, 60), truth, states))
        places = np.concatenate([truth + rng.normal(0, 0.5, truth.shape), truth[:1] + 7])
        wrong = rng.random((3, 3)) < 0.3
        places[wrong] += 30
        scores = np.where(wrong, rng.uniform(0.1, 0.6, wrong.shape), rng.uniform(0.4, 1, (3, 3)))
        found.append(prediction(places, scores, np.array([0.9, 0.6, 0.3])))
    held = judged(samples, found)
    keypoint, instance = thresholds(held)

    def f1(keypoint: float, instance: float) -> float:
        right = predicted = 0
        for i, one in enumerate(found):
            kept = one.only(one.instance_scores >= instance)
            image = held.images([(o.places, o.instance_scores) for o in found])[i]
            own = type(image)(image.truth, image.areas, image.lengths, kept.places,
                              kept.instance_scores).own().tolist()  # fmt: skip
            for f, t in enumerate(own):
                apart = np.linalg.norm(kept.places[f] - image.truth[t], axis=-1)
                near = (apart <= 0.05 * image.lengths[t]) & (own.index(t) == f) & (t >= 0)
                there = kept.scores[f] >= keypoint
                right, predicted = right + (near & there).sum(), predicted + there.sum()
        return round(2 * right / (predicted + 72), 6)

    steps = np.linspace(0.05, 0.95, 19).round(2)
    assert f1(keypoint, instance) == max(f1(k, i) for k in steps[::3] for i in steps[::3]) or all(
        f1(keypoint, instance) >= f1(k, i) for k in steps[::3] for i in steps[::3]
    )
    assert 0.2 < keypoint < 0.7 and instance > 0.3


def test_turns_follow_the_animals() -> None:
    rng = np.random.default_rng(0)
    shape = np.array([[0.0, 0.0], [9.0, 0.0], [5.0, 3.0]])

    def turned(angles: np.ndarray) -> np.ndarray:
        cos, sin = np.cos(angles), np.sin(angles)
        return np.einsum(
            "kx,nxy->nky", shape, np.array([[cos, sin], [-sin, cos]]).transpose(2, 0, 1)
        )

    assert turning(turned(np.radians(rng.normal(0, 3, 200)))) == 15
    assert 35 < turning(turned(np.radians(rng.normal(170, 20, 300)))) < 45
    assert turning(turned(rng.uniform(-np.pi, np.pi, 200))) == 180


def test_rows_are_read_back() -> None:
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 60, (2, 3, 2)).round(3)
    scores = np.array([[0.9, 0.4, 0.1], [0.8, 0.7, 0.6]])
    one = prediction(places, scores, np.array([0.9, 0.5]))
    rows = [[str(cell) for cell in row] for row in one.rows()]
    assert [row[6] for row in rows[:3]] == ["peak", "inferred", "missing"] and len(rows[0]) == 8
    again = read_rows(NAMES, "a.png", (60, 60), rows)
    assert np.array_equal(again.keypoints, one.keypoints, equal_nan=True)
    assert again.rows() == one.rows()


# --- every verb -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fish(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("poses") / "fish"
    write_images(folder, images=20)
    return folder


def test_the_demo_counts_what_is_near(fish: Path, tmp_path: Path) -> None:
    """Labels as predictions are all near; moved by four pixels none is."""
    labels, file = read_dataset(fish), tmp_path / "predictions.csv"
    for step, share in ((0.0, 1.0), (4.0, 0.0)):
        rows = [",".join(COLUMNS)]
        for one in labels.samples:
            for i, points in enumerate(one.points + step):
                places = [f"{x},{y}".replace("nan", "") for x, y in points]
                cells = zip(labels.names, places, strict=True)
                rows += [f"{one.image},{i},{name},{place},1,peak,1" for name, place in cells]
        file.write_text("\n".join(rows) + "\n")
        sentence, numbers = said(file, labels)
        assert numbers["near"] == share and "keypoints of the fish" in sentence


@pytest.fixture(scope="module")
def run(fish: Path) -> Path:
    out = fish.parent / "run"
    train(read_dataset(fish), out, max_steps=3, batch_size=2, quiet=True, precision="float32",
          backbone_settings={"width": 16, "depth": 2})  # fmt: skip
    return out


def test_a_run_is_trained_calibrated_and_scored(fish: Path, run: Path) -> None:
    assert set(json.loads((run / "calibration.json").read_text())) - {"sha256"} == {
        "keypoint", "instance", "images"}  # fmt: skip
    scores = evaluate(run, read_dataset(fish), out=run / "evaluation")
    assert {"oks_map", "wrong_animal_rate", "pck", "by_keypoint", "nearest_centre"} <= set(scores)
    assert scores["images"] == 4 and "tracks" not in scores
    assert "in the wrong" in (run / "evaluation" / "report.html").read_text()
    with pytest.raises(SettingsError, match="name two different"):
        evaluate(run, read_dataset(fish), pck_pair=("mouth", "ear"))


@pytest.fixture
def free(run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that has learnt nothing, and lets everything through."""

    def everything(model: PoseModel, calibration: object) -> PoseModel:
        model.calibration = {"keypoint": 0.0, "instance": 0.0}
        return model

    monkeypatch.setattr(PoseModel, "calibrated", everything)
    monkeypatch.setattr("placewise.heads.poses.LEAST", 0.0)
    monkeypatch.setattr("placewise.heads.poses.MOST", 3)
    return run


def test_predictions_are_followed_and_written_for_others(
    fish: Path, free: Path, tmp_path: Path
) -> None:
    """Identities go on behind an interruption; COCO and DeepLabCut hold the same animals."""
    out = tmp_path / "found"
    predict(free, fish / "images", out, track=True, overlays=2)
    with (out / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [*COLUMNS, "track"] and len({row["image"] for row in rows}) == 20
    coco = read_dataset(out / "predictions.coco.json", root=fish / "images", task="poses")
    table = read_dataset(out / "predictions.deeplabcut.csv", root=fish / "images", task="poses")
    for one, other in zip(coco.samples, table.samples, strict=True):
        mine = [row for row in rows if row["image"] == one.image]
        assert len(one.points) == len(other.points) == len(mine) / 5
        assert np.allclose(one.points, other.points, equal_nan=True)
        assert one.tracks.tolist() == [int(row["track"]) for row in mine[::5]]
    stopped = tmp_path / "stopped"

    def stop(done: int, total: int) -> None:
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(free, fish / "images", stopped, track=True, overlays=0, progress=stop)
    predict(free, fish / "images", stopped, track=True, overlays=0, resume=True)
    names = ("predictions.csv", "predictions.coco.json", "predictions.deeplabcut.csv")
    assert all((stopped / name).read_bytes() == (out / name).read_bytes() for name in names)


def test_items_of_a_comparison_move_with_the_image(fish: Path, free: Path) -> None:
    """A shift by whole strides moves what is found; keypoints that leave the image do not count."""
    labels, model = read_dataset(fish), load_model(free)
    samples = [one for one in labels.samples if one.split == "test"][:2]
    items = task_named("poses").items(model, labels, samples)
    assert len(items.names) == sum(int(one.located.sum()) for one in samples)
    plain = items.score()
    assert set(plain) <= {0.0, 1.0} and len(plain) == len(items.names)
    step = Change(lambda image: np.roll(image, 16, 1), (16.0, 0.0))
    moved = items.score(step)
    truth = np.concatenate([one.points[one.located] for one in samples])
    sizes = np.concatenate([np.full(int(one.located.sum()), one.size[1]) for one in samples])
    assert np.array_equal(np.isnan(moved), truth[:, 0] + 16 > sizes - 0.5)


def test_identities_are_scored_where_labels_hold_them(fish: Path, run: Path) -> None:
    labels = read_dataset(fish)
    samples = tuple(
        KeypointSample(s.image, s.size, s.points, s.visibility, s.split,
                       tracks=np.arange(len(s.points)))
        for s in labels.samples
    )  # fmt: skip
    followed = PoseDataset(labels.root, labels.names, samples, labels.symmetry)
    tracks = evaluate(run, followed, split="train")["tracks"]
    assert tracks["frames"] == 14 and tracks["objects"] == sum(
        len(s.points) for s in samples if s.split == "train"
    )


def test_check_sees_what_is_wrong_with_labels(fish: Path, tmp_path: Path) -> None:
    labels = read_dataset(fish)
    first, second, *others = labels.samples
    lone = first.visibility.copy()
    lone[0, 1:] = Visibility.ABSENT
    points = np.where((lone >= Visibility.HIDDEN)[..., None], first.points, np.nan)
    near = np.where(second.located[..., None], second.points[0, 3] + [[3.0, 2.0]], np.nan)
    samples = (
        KeypointSample(first.image, first.size, points, lone, first.split),
        KeypointSample(second.image, second.size, near, second.visibility, second.split),
        *others,
    )
    wrong = PoseDataset(labels.root, labels.names, samples, labels.symmetry)
    findings = check(wrong, out=tmp_path / "findings")
    said = " ".join(findings.warnings)
    assert f"one located keypoint alone are on 1 image: {first.image}" in said
    assert findings.facts.overlapping[:1] == (second.image,) or second.image in said
    assert findings.facts.by_keypoint["tail"]["absent"] > 0
    swapped = np.where(np.arange(20)[:, None] == 4, [0, 2, 1, 3, 4], [0, 1, 2, 3, 4])
    mixed = tuple(
        KeypointSample(s.image, s.size, s.points[:, order], s.visibility[:, order], s.split)
        for s, order in zip(labels.samples, swapped, strict=True)
    )
    turned = check(PoseDataset(labels.root, labels.names, mixed, labels.symmetry))
    assert {image for image, *_ in turned.facts.swaps} == {labels.samples[4].image}
