"""Objects from labels to files: targets, maps and back, rules, thresholds, runs, pictures."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from placewise.augment import Augmentation, Chain, Homography, crop, flip, generator, rotate
from placewise.checking import check
from placewise.errors import DataError, SettingsError, ShapeError
from placewise.evaluation import evaluate
from placewise.formats import read_dataset
from placewise.heads.instances import Instances, beside_others
from placewise.items import Change
from placewise.labels import InstanceDataset, InstanceSample, split_images
from placewise.labels.masks import Coded, Held
from placewise.metrics import image_ap, overlap
from placewise.peak_losses import PEAK_LOSSES
from placewise.prediction import predict
from placewise.report.objects import COLOURS, neighbours, outlined, rims
from placewise.run import load_model
from placewise.tasks import task_named
from placewise.tasks.instances.choosing import best_limits
from placewise.tasks.instances.demo import write_images
from placewise.tasks.instances.evidence import NOWHERE, Evidence, Found, Limits, spreads
from placewise.tasks.instances.model import InstanceModel
from placewise.tasks.instances.pieces import made_whole
from placewise.tasks.instances.prediction import InstancePrediction
from placewise.tasks.instances.target import InstanceTarget, parts_apart
from placewise.training import train

SIZES = {1: (48,), 2: (32, 40), 3: (16, 20, 24)}
LOW = Limits(centre=0.2)


def blocks(size: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Boxes beside each other in a grid, some left out: many touch, none overlap."""
    rng = np.random.default_rng(seed)
    labels, number = np.zeros(size, np.int32), 0
    for corner in np.ndindex(*(side // 8 for side in size)):
        if rng.random() < 0.7:
            number += 1
            ends = rng.integers(6, 9, len(size))
            box = tuple(slice(8 * c, 8 * c + e) for c, e in zip(corner, ends, strict=True))
            labels[box] = number
    return labels


# --- targets --------------------------------------------------------------------------------------


def target_of(labels: np.ndarray, kinds: np.ndarray | None = None) -> InstanceTarget:
    told = np.zeros(labels.max(), np.int32) if kinds is None else kinds
    return InstanceTarget(lambda: (labels, told), labels.shape, several=kinds is not None)


@pytest.mark.parametrize("axes", SIZES)
def test_objects_move_with_their_pixels_and_cut_ones_are_parts(axes: int) -> None:
    labels = blocks(SIZES[axes])
    kinds = np.arange(labels.max(), dtype=np.int32) % 3
    shown, told = target_of(labels, kinds).encode(flip(labels.shape))
    assert (overlap(np.flip(labels, -1), shown.numpy()).iou == 1).all()
    there = shown > 0
    assert (told.numpy()[there] == kinds[np.flip(labels, -1)[there] - 1]).all()


def test_each_part_that_a_crop_leaves_is_an_object_with_its_own_centre() -> None:
    arch = np.zeros((20, 20), np.int32)
    arch[2:18, 2:18], arch[8:18, 6:14] = 5, 0
    whole, _ = target_of(arch).encode(crop((20, 20), 0, 0, (20, 20)))
    assert whole.unique().tolist() == [0, 5]
    legs, _ = target_of(arch).encode(crop((20, 20), 10, 0, (10, 20)))
    assert legs.unique().tolist() == [0, 5, 6]
    assert legs[3, 3] != legs[3, 15]
    inner = np.zeros((9, 9), np.int32)
    inner[2, 2] = inner[6, 6] = 1
    assert (parts_apart(inner) == inner).all(), "what the border does not cut is left as it is"


def test_what_lies_beyond_the_image_is_not_known() -> None:
    labels = blocks((16, 16))
    shown, told = target_of(labels).encode(crop((16, 16), 0, -4, (16, 16)))
    assert (shown[:, :4] == -1).all() and (shown[:, 4:] >= 0).all() and told.shape == ()


def test_a_scaled_target_is_sampled_once() -> None:
    labels = np.kron(blocks((16, 16)), np.ones((2, 2), np.int32))
    half = target_of(labels).scaled((0.5, 0.5))
    shown, _ = half.encode(rotate((16, 16), 90.0))
    assert (overlap(np.rot90(labels[::2, ::2], -1), shown.numpy()).iou == 1).all()


@pytest.mark.parametrize("axes", SIZES)
def test_images_are_turned_and_signals_keep_their_direction(axes: int) -> None:
    labels = blocks(SIZES[axes])
    sample = InstanceSample("a.npz", labels.shape, Coded(Held(labels)))
    held = InstanceDataset(Path(), ("object",), (sample,))
    ranges = task_named("instances").augmentation(held, [sample])
    augmentation = Augmentation.of(**Augmentation.none().as_dict() | ranges)
    warps = [augmentation.draw(generator(0, k, "a"), labels.shape, labels.shape) for k in range(8)]
    assert any(warp.mirrors for warp in warps) == (axes > 1)


def test_objects_of_a_recording_are_coloured_stretches_of_it() -> None:
    """Each has a colour, the white one too, and a line of ground is between two that touch."""
    labels = np.zeros(400, np.int32)
    for number in range(1, 9):
        labels[40 * number : 40 * number + 20] = number
    labels[60:70] = 9  # touches the first
    drawn = outlined(np.zeros((400, 1)), [(labels, None)])
    ground = drawn[30]
    colour = ground[((np.arange(400) + 0.5) * ground.shape[0] / 400).astype(int)]
    assert ((colour < 220).any(-1) == (labels > 0)).all()  # lines of the axis are lighter
    touching = ground[: round(70 * ground.shape[0] / 400)]
    assert (np.diff((touching < 220).any(-1).astype(int)) == 1).sum() == 2


# --- the head, and back to objects ----------------------------------------------------------------


def ideal(labels: np.ndarray, stride: int = 4, **settings: object) -> list[Evidence]:
    """What a network that knows the truth says of an image."""
    axes = labels.ndim
    head = Instances(8, settings.pop("kinds", 1), stride, axes, **settings)  # type: ignore[arg-type]
    output = head.encode(torch.from_numpy(labels)[None], torch.zeros(1))
    read = head.read(output)
    return Evidence.of(read, head.sigma, head.map_stride, labels.shape, [labels.shape])


@pytest.mark.parametrize("axes", SIZES)
@pytest.mark.parametrize("loss", PEAK_LOSSES.names())
def test_ideal_maps_are_read_back_as_the_objects(axes: int, loss: str) -> None:
    labels = blocks(SIZES[axes])
    (evidence,) = ideal(labels, loss=loss, sigma=1.0)
    found = evidence.found(LOW)
    pairs = overlap(labels, found.labels)
    assert pairs.counts == (labels.max(), labels.max())
    assert (pairs.iou[pairs.matched()] == 1).all() and len(pairs.matched()) == labels.max()
    assert len(found.scores) == len(found.kinds) == labels.max()


def test_coarse_maps_give_the_objects_at_the_size_of_the_image() -> None:
    labels = np.kron(blocks((32, 40)), np.ones((2, 2), np.int32))
    (evidence,) = ideal(labels, map_stride=2, sigma=2.0)
    assert evidence.foreground.shape == (32, 40)
    found = evidence.found(LOW).labels
    assert found.shape == labels.shape and image_ap(labels, found) == 1
    assert overlap(labels, found).matched(0.85).size == labels.max()


def test_every_part_of_the_loss_is_one_at_first_and_zero_for_the_truth() -> None:
    labels = torch.from_numpy(blocks((32, 40)))[None]
    for kinds, parts in ((1, 3), (2, 4)):
        head = Instances(8, kinds, 4)
        told = labels % 2 if kinds > 1 else torch.zeros(1)
        blank = torch.zeros(1, 4 + (kinds if kinds > 1 else 0), 32, 40)
        blank[:, 1] = head.first
        assert head.loss(blank, labels, told).item() == pytest.approx(parts, abs=0.01)
        truth = head.loss(head.encode(labels, told), labels, told).item()
        assert truth < 0.2 * parts
        assert head.loss(blank, torch.full_like(labels, -1), told).item() == 0, "nothing is known"


def test_the_loss_does_not_see_what_is_not_known() -> None:
    labels = torch.from_numpy(blocks((32, 40)))[None]
    labels[:, 16:] = -1
    head = Instances(8, 1, 4, rim=2.0)
    output = torch.randn(1, 4, 32, 40)
    other = output.clone()
    other[:, :, 16:] = torch.randn(1, 4, 16, 40)
    told = torch.zeros(1)
    assert head.loss(output, labels, told).item() == pytest.approx(
        head.loss(other, labels, told).item(), rel=1e-6
    )


@pytest.mark.parametrize("axis", [1, 2])
def test_the_loss_of_a_flip_is_the_same(axis: int) -> None:
    labels = torch.from_numpy(blocks((32, 40)))[None]
    head = Instances(8, 1, 4, rim=1.0)
    output = torch.randn(1, 4, 32, 40)
    mirrored = output.flip(1 + axis)
    mirrored[:, 4 - axis] *= -1  # offsets are (x, y)
    told = torch.zeros(1)
    loss = head.loss(output, labels, told).item()
    assert head.loss(mirrored, labels.flip(axis), told).item() == pytest.approx(loss, rel=1e-5)


def test_rims_of_labels_are_where_a_neighbour_differs() -> None:
    labels = torch.from_numpy(blocks((12, 14)))[None]
    padded = np.pad(labels[0].numpy(), 1, mode="edge")
    for y, x in np.ndindex(12, 14):
        around = padded[y : y + 3, x : x + 3]
        assert beside_others(labels)[0, y, x] == float((around != labels[0, y, x].item()).any())


def test_settings_that_cannot_be_are_refused() -> None:
    for wrong in ({"map_stride": 3}, {"sigma": 0.0}, {"unit": 0.0}, {"rim": -1.0}):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            Instances(8, 1, 4, **wrong)
    with pytest.raises(SettingsError, match="kinds is 0"):
        Instances(8, 0)


# --- the rules of grouping ------------------------------------------------------------------------


def test_objects_are_made_whole() -> None:
    labels = np.zeros((12, 30), np.int32)
    labels[1:7, 1:7], labels[1:7, 7:13] = 1, 2
    labels[2, 8] = 1  # an island within the other object
    labels[8:12, 20:26] = 1  # far away and large: its centre was missed
    labels[11, 0] = 2  # far away and small: noise
    found, new = made_whole(labels)
    assert found[2, 8] == 2 and (found[8:12, 20:26] == 3).all() and found[11, 0] == 0
    assert new.tolist() == [1]
    assert (found[1:7, 1:7] == 1).all()
    empty = np.zeros((4, 4), np.int32)
    assert made_whole(empty)[0].sum() == 0


def test_centres_without_foreground_and_foreground_without_centres_are_no_objects() -> None:
    labels = blocks((32, 40))
    (evidence,) = ideal(labels, sigma=1.0)
    assert evidence.found(LOW._replace(centre=1.1)).labels.max() == 0, "no centre counts"
    evidence.foreground[:] = 0
    assert evidence.found(LOW).labels.max() == 0, "no pixel is foreground"


@pytest.mark.parametrize("axes", SIZES)
def test_spreads_are_mean_distances_over_diameters(axes: int, monkeypatch) -> None:
    rng = np.random.default_rng(axes)
    size = SIZES[axes]
    foreground, offsets = rng.random(size), rng.normal(0, 3, (axes, *size))
    points = rng.random((5, axes)) * size[::-1]
    unit = (1.0, np.pi / 4, np.pi / 6)[axes - 1]
    held: list[list[float]] = [[] for _ in points]
    for place in np.argwhere(foreground > 0.5):
        aim = place[::-1] + offsets[(slice(None), *place)]
        apart = np.linalg.norm(points - aim, axis=1)
        held[apart.argmin()].append(apart.min())
    slow = [np.mean(one) / (len(one) / unit) ** (1 / axes) if one else NOWHERE for one in held]
    np.testing.assert_allclose(spreads(foreground, offsets, points), slow, rtol=1e-12)
    monkeypatch.setattr("placewise.tasks.instances.evidence.STRIP", 40)
    np.testing.assert_allclose(spreads(foreground, offsets, points), slow, rtol=1e-12)
    assert (spreads(np.zeros(size), offsets, points) == NOWHERE).all()
    with pytest.raises(ShapeError, match="diverged"):
        spreads(foreground, np.full_like(offsets, np.nan), points)


def test_a_hill_that_no_pixel_points_at_is_no_centre() -> None:
    labels = np.zeros((24, 40), np.int32)
    labels[4:20, 4:20], labels[4:20, 20:36] = 1, 2
    (evidence,) = ideal(labels, sigma=1.0)
    assert evidence.spreads.max() < 0.01
    between = np.concatenate([evidence.centres, [[19.5, 11.5]]])
    maps = evidence.foreground, evidence.offsets
    evidence = replace(
        evidence,
        centres=between,
        heat=np.array([0.5, 0.5, 0.9]),
        spreads=spreads(*maps, between),
    )
    np.testing.assert_array_equal(evidence.found(Limits()).labels, labels)
    assert evidence.found(Limits(agreement=0)).scores.shape == (2,)
    assert len(evidence.centres_for(Limits(agreement=0))[0]) == 3
    assert len(evidence.centres_for(Limits())[0]) == 2


def test_a_run_from_before_agreement_keeps_its_scores() -> None:
    model = InstanceModel(torch.nn.Conv2d(1, 8, 4, stride=4), Instances(8, 1)).eval()
    assert model._limits == Limits()
    model.calibration = {"images": 3, "foreground": 0.6, "centre": 0.4}
    assert model._limits == Limits(0.6, 0.4, 0.0)


def test_thresholds_are_those_with_the_best_ap() -> None:
    truth = blocks((32, 40), seed=1)
    (evidence,) = ideal(truth, sigma=1.0)
    false = rims(np.pad(truth, 1))[1:-1, 1:-1] & (truth == 0)
    evidence.foreground[truth == 0] = 0.35  # a low threshold joins everything
    evidence.heat[:] = 0.45
    one = InstancePrediction(("cell",), "a", truth.shape, evidence.found(Limits()), evidence)
    limits, value = best_limits([one], [truth])
    assert value == 1 and limits.foreground >= 0.4 and limits.centre <= 0.4, false.sum()
    empty = np.zeros((8, 8), np.int32)
    nothing = InstancePrediction(
        ("cell",), "a", (8, 8), Found(empty, np.empty(0), np.empty(0, int))
    )
    assert best_limits([nothing], [empty]) == (Limits(), None)


# --- predictions and their files ------------------------------------------------------------------


def one_prediction(labels: np.ndarray) -> InstancePrediction:
    count = int(labels.max(initial=0))
    found = Found(labels, np.full(count, 0.75), np.zeros(count, np.int32))
    return InstancePrediction(("cell",), "folder/a.png", labels.shape, found)


def test_rows_and_files_say_the_same(tmp_path: Path) -> None:
    labels = blocks((32, 40))
    one = one_prediction(labels)
    rows = one.rows()
    one.save(tmp_path)
    written = np.array(Image.open(tmp_path / "instances/folder/a.png"))
    assert written.dtype == np.uint16 and (written == labels).all()
    for _, number, kind, x, y, area, score, cut in rows:
        places = np.argwhere(written == number)
        assert area == len(places) and kind == "cell" and score == 0.75
        np.testing.assert_allclose((x, y), places.mean(0)[::-1], atol=0.005)
        edge = (places == 0).any() or (places == np.array(labels.shape) - 1).any()
        assert cut == ("yes" if edge else "no")


def test_more_objects_than_16_bits_can_number(tmp_path: Path) -> None:
    labels = np.arange(1, 70_001, dtype=np.int32).reshape(200, 350)
    one_prediction(labels).save(tmp_path)
    assert (np.array(Image.open(tmp_path / "instances/folder/a.tif")) == labels).all()
    volume = np.ones((2, 3, 4), np.int32)
    one_prediction(volume).save(tmp_path)
    with np.load(tmp_path / "instances/folder/a.png.npz") as arrays:
        assert (arrays["instances"] == volume).all()


def test_a_model_put_together_by_hand_answers_at_the_size_of_the_image() -> None:
    model = InstanceModel(nn.Conv2d(1, 8, 4, stride=4), Instances(8, 2)).eval()
    assert model.names == ("0", "1")
    found = model.predict(np.zeros((30, 41), np.uint8))
    assert found.labels.shape == (30, 41) and found.evidence is not None
    assert (
        model.calibrated({"foreground": 0.5, "centre": 0.4})
        .predict(np.zeros((30, 41), np.uint8))
        .evidence
        is None
    )


# --- pictures -------------------------------------------------------------------------------------


def test_neighbours_have_different_colours_and_outlines_hide_nothing_inside() -> None:
    labels = blocks((64, 64), seed=2)
    drawn = outlined(np.zeros((64, 64, 1), np.uint8), [(labels, None)], side=(64, 64))
    edge = rims(labels)
    assert (drawn[~edge] == 0).all() and drawn[edge].any(-1).all()
    seen = {n: tuple(drawn[edge & (labels == n)][0]) for n in np.unique(labels[edge])}
    assert set(seen.values()) <= set(COLOURS)
    pairs = [(a, b) for a, b in neighbours(labels).tolist() if a in seen and b in seen]
    assert len(pairs) > 10 and all(seen[a] != seen[b] for a, b in pairs)
    volume = outlined(np.zeros((5, 20, 24, 1)), [(np.ones((5, 20, 24), int), None)], side=(96, 200))
    assert volume.ndim == 3
    with pytest.raises(SettingsError, match="one size"):
        outlined(np.zeros((5, 5, 1)), [(np.zeros((4, 5), int), None)])


# --- groups ---------------------------------------------------------------------------------------


def test_images_of_a_group_are_in_one_split() -> None:
    truth = Coded(Held(np.ones((4, 4), int)))
    samples = tuple(
        InstanceSample(f"{i}.png", (4, 4), truth, None if i % 3 else "test", f"field {i // 4}")
        for i in range(120)
    )
    labels = InstanceDataset(Path(), ("cell",), samples)
    for seed in range(5):
        splits = split_images(labels, seed)
        of = [
            {s.group for s, name in zip(samples, splits, strict=True) if name == k}
            for k in ("train", "val")
        ]
        assert not of[0] & of[1] and len(of[1]) >= 2
        assert 6 <= splits.count("val") <= 12
        again = InstanceDataset(Path(), ("cell",), samples[::-1])
        assert split_images(again, seed) == splits[::-1]


# --- all of it ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("cells") / "data", images=20)


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run"
    settings = {"width": 32, "depth": 2}
    train(read_dataset(folder), out, max_steps=60, batch_size=4, backbone_settings=settings)
    return out


def test_a_run_finds_objects_and_writes_them(run: Path, folder: Path, tmp_path: Path) -> None:
    limits = json.loads((run / "calibration.json").read_text())
    assert {"foreground", "centre", "images"} <= set(limits)
    scores = evaluate(run, read_dataset(folder), split="test", out=tmp_path / "scores")
    assert scores["ap_at_iou"]["0.50"] > 0.05 and scores["pq"] > 0.05
    written = json.loads((tmp_path / "scores/metrics.json").read_text())
    assert {"0.50", "0.70"} <= set(written["ap_at_iou"]) and "counting_mae" in written
    page = (tmp_path / "scores/report.html").read_text()
    assert "AP at IoU 0.5" in page and "touching pairs" in page

    predict(run, folder / "images", tmp_path / "found", overlays=2)
    rows, counts = (
        list(csv.DictReader((tmp_path / "found" / name).read_text().splitlines()))
        for name in ("predictions.csv", "counts.csv")
    )
    assert len(counts) == 20 and sum(int(one["count"]) for one in counts) == len(rows)
    labels = np.array(Image.open(tmp_path / "found/instances/000.png"))
    assert labels.max() == sum(row["image"] == "000.png" for row in rows)


def test_a_comparison_moves_the_truth_with_the_image(run: Path, folder: Path) -> None:
    dataset = read_dataset(folder)
    samples = [s for s in dataset.samples if s.split == "test"]
    items = task_named("instances").items(load_model(run), dataset, samples)
    plain = items.score()
    assert len(plain) == len(items.names) == len(samples)
    moved = items.score(Change(lambda image: np.roll(image, 8, 1), (8.0, 0.0)))
    assert abs(moved.mean() - plain.mean()) < 0.15


def test_a_check_names_what_is_wrong(folder: Path) -> None:
    dataset = read_dataset(folder)
    labels = np.zeros((64, 64), int)
    for number in range(1, 9):
        labels[8 * number - 8 : 8 * number - 1, 2:12] = number
    labels[3, 6], labels[10, 30] = 0, 2
    labels[60, 60] = 99
    samples = tuple(
        InstanceSample(dataset.samples[i].image, (64, 64), Coded(Held(labels)), split)
        for i, split in enumerate(("train", "val"))
    )
    held = InstanceDataset(dataset.root, ("cell",), samples)
    said = " ".join(check(held).warnings)
    for word in ("in several parts", "median area", "with a hole", "learns them by heart"):
        assert word in said


def test_labels_without_objects_cannot_be_learnt(tmp_path: Path) -> None:
    truth = Coded(Held(np.zeros((8, 8), int)))
    samples = tuple(
        InstanceSample(f"{i}.png", (8, 8), truth, s) for i, s in enumerate(("train", "val"))
    )
    labels = InstanceDataset(tmp_path, ("cell",), samples)
    with pytest.raises(DataError, match="no object is labelled"):
        task_named("instances").check_splits(labels, {"train": samples[:1], "val": samples[1:]})


def test_a_whole_chain_of_warps_can_be_undone() -> None:
    """A turn and back: every object that stays on the image is itself again."""
    labels = blocks((32, 32))
    there = Chain(rotate((32, 32), 90.0), rotate((32, 32), -90.0), Homography(np.eye(3), (32, 32)))
    shown, _ = target_of(labels).encode(there)
    assert (shown.numpy() == labels).all()
