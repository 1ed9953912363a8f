"""Masks from labels to files: targets that move with their pixels, models, runs, drawings."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torch import nn

from placewise.augment import (
    Augmentation,
    Chain,
    Homography,
    flip,
    generator,
    translate,
    warp_labels,
)
from placewise.errors import DataError
from placewise.evaluation import evaluate
from placewise.formats import read_dataset
from placewise.heads.masks import Masks
from placewise.items import Change
from placewise.labels import IGNORED, MaskDataset, MaskSample
from placewise.labels.masks import Coded, Held
from placewise.prediction import predict
from placewise.report.outlines import draw_outline, signed_distance
from placewise.run import load_model
from placewise.tasks import task_named, task_of
from placewise.tasks.masks.demo import write_images
from placewise.tasks.masks.drawing import compared, outlined
from placewise.tasks.masks.model import MaskModel
from placewise.tasks.masks.target import MaskTarget, Store, thickened
from placewise.training import train

SIZES = {1: (11,), 2: (9, 12), 3: (5, 7, 6)}
RNG = np.random.default_rng(2)


def labels_of(size: tuple[int, ...]) -> np.ndarray:
    return RNG.integers(-1, 4, size).astype(np.int16)


# --- labels move with their pixels ----------------------------------------------------------------


@pytest.mark.parametrize("axes", SIZES)
def test_labels_are_those_of_the_nearest_pixel(axes: int) -> None:
    size, out = SIZES[axes], tuple(side + 2 for side in SIZES[axes])
    labels = labels_of(size)
    rng = np.random.default_rng(axes)
    for _ in range(20):
        matrix = np.eye(axes + 1)
        matrix[:axes] += rng.uniform(-0.4, 0.4, (axes, axes + 1))
        warp = Homography(matrix, out)
        found = warp_labels(labels, warp)
        assert found.dtype == labels.dtype
        for place in np.ndindex(out):
            source = warp.backward(np.array(place[::-1], float))[::-1]
            near = np.floor(source + 0.5).astype(int)
            there = all(0 <= n < side for n, side in zip(near, size, strict=True))
            assert found[place] == (labels[tuple(near)] if there else IGNORED)


@pytest.mark.parametrize("axes", SIZES)
def test_a_mirrored_image_has_mirrored_labels(axes: int) -> None:
    labels = labels_of(SIZES[axes])
    np.testing.assert_array_equal(warp_labels(labels, flip(SIZES[axes])), labels[..., ::-1])


@pytest.mark.parametrize("size", [(8,), (8, 8), (3, 8, 8)])
def test_quarter_turns_move_every_pixel_onto_another(size: tuple[int, ...]) -> None:
    """Volumes are turned in the plane of x and y; a signal cannot be turned, but mirrored."""
    labels = labels_of(size)
    augmentation = Augmentation.of(**Augmentation.none().as_dict() | {"turns": True, "flip": True})
    quarters = range(4) if len(size) > 1 else (0,)
    seen = set()
    for epoch in range(60):
        warp = augmentation.draw(generator(0, epoch, "a"), size, size)
        found = warp_labels(labels, warp)
        both = itertools.product((labels, labels[..., ::-1]), quarters)
        turned = [np.rot90(m, k, (-2, -1)) if k else m for m, k in both]
        (which,) = [k for k, other in enumerate(turned) if (other == found).all()]
        seen.add(which)
    assert seen == set(range(2 * len(quarters)))


def test_turns_change_no_other_draw() -> None:
    plain = Augmentation()
    turned = Augmentation(turns=True)
    for epoch in range(20):
        rngs = [generator(0, epoch, "a") for _ in range(2)]
        plain.draw(rngs[0], (30, 40), (32, 32))
        turned.draw(rngs[1], (30, 40), (32, 32))
        assert rngs[0].random() == rngs[1].random()


@pytest.mark.parametrize("axes", SIZES)
def test_a_target_is_scaled_and_moved_at_once(axes: int) -> None:
    size = tuple(2 * side for side in SIZES[axes])
    mask = np.kron(labels_of(SIZES[axes]), np.ones((2,) * axes, np.int16))
    dataset, sample = held(mask)
    target = MaskTarget(lambda: Store().truth(dataset, sample), size)
    small = target.scaled((0.5,) * axes)
    same = translate(SIZES[axes], *[0.0] * axes)
    truth, _ = small.encode(same)
    np.testing.assert_array_equal(truth.numpy(), mask[(slice(None, None, 2),) * axes])
    moved, _ = small.encode(Chain(same, translate(SIZES[axes], *[1.0] * axes)))
    assert (moved.numpy()[0] == IGNORED).all(), "what lies beyond the image is ignored"
    inner = moved.numpy()[(slice(1, None),) * axes]
    np.testing.assert_array_equal(inner, truth.numpy()[(slice(None, -1),) * axes])


def held(mask: np.ndarray, names: tuple[str, ...] = ("a", "b", "c")) -> tuple:
    truth = Coded(Held(mask), codes=tuple(range(1, len(names) + 1)))
    sample = MaskSample("a.png", mask.shape, truth)
    return MaskDataset(Path(), names, (sample,)), sample


def test_a_skeleton_is_thickened_within_its_class() -> None:
    mask = np.zeros((20, 30), np.int16)
    mask[4:13, 2:28] = 2
    mask[15, 2:28] = 1
    dataset, sample = held(mask)
    truth = Store(skeletons=True).truth(dataset, sample)
    assert truth.line is not None
    thick = thickened(truth.line, truth.mask)
    assert (thick[15] == mask[15]).all(), "a line of one pixel is its own skeleton"
    middle = thick[:13, 10:20]
    assert (np.unique(middle[middle > 0]) == 2).all()
    assert ((middle > 0).sum(0) == 5).all()


# --- the model ------------------------------------------------------------------------------------


class Given(nn.Module):
    """A backbone that gives its image, so that a head reads known logits."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.avg_pool2d(images.mean(1, keepdim=True), 2)


def model_of(classes: int) -> MaskModel:
    head = Masks(1, classes, stride=2, map_stride=2)
    with torch.no_grad():
        weight = torch.tensor([20.0] if classes == 1 else [0.0, 20.0, -20.0])
        head.maps.values.weight.copy_(weight.view(-1, 1, 1, 1))
        head.maps.values.bias.copy_(torch.tensor([-10.0] if classes == 1 else [0.0, -10.0, 4.0]))
    return MaskModel(Given(), head, names=("x", "y")[:classes]).eval()


def test_one_class_is_compared_with_its_threshold() -> None:
    image = np.zeros((7, 9), np.float32)
    image[:4, :4] = 1
    model = model_of(1)
    found = model.predict(image)
    assert found.mask.shape == (7, 9)
    assert found.mask[:3, :3].all()
    assert not found.mask[5:].any()
    chance = float(found.chances[3, 3])
    for threshold in (chance - 0.05, chance + 0.05):
        one = model.calibrated({"threshold": threshold}).predict(image)
        assert one.mask[3, 3] == (chance > threshold)


def test_several_classes_take_the_likeliest() -> None:
    image = np.full((8, 8), 0.4, np.float32)
    image[:4] = 1.0
    image[4:, 4:] = 0.0
    found = model_of(2).predict(image)
    assert (found.mask[:3] == 1).all()
    assert (found.mask[6:, 6:] == 2).all()
    assert (found.mask[6:, :2] == 0).all()
    rows = {row[1]: row for row in found.rows()}
    assert rows["x"][2] == (found.mask == 1).sum()
    assert rows["y"][4] == 1


# --- a run ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright discs on a dark ground, with an ignored corner."""
    root = tmp_path_factory.mktemp("discs")
    y, x = np.mgrid[:48, :56]
    for name in ("images", "masks", "ignore"):
        (root / name).mkdir()
    for number in range(10):
        rng = np.random.default_rng(number)
        middle, radius = rng.uniform(14, 34, 2), rng.uniform(7, 12)
        disc = (x - middle[0]) ** 2 + (y - middle[1]) ** 2 < radius**2
        if number == 9:
            disc &= False
        image = (60 + 120 * disc + rng.normal(0, 8, disc.shape)).clip(0, 255).astype(np.uint8)
        field = ((y > 40) & (x > 48)).astype(np.uint8)
        for part, pixels in (
            ("images", image),
            ("masks", disc.astype(np.uint8) * 255),
            ("ignore", field),
        ):
            Image.fromarray(pixels).save(root / part / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    train(read_dataset(folder), out, max_steps=60, backbone_settings={"width": 16, "depth": 1})
    return out


def test_discs_are_learnt_and_scored(folder: Path, run: Path, tmp_path: Path) -> None:
    scores = evaluate(run, read_dataset(folder), split="train", out=tmp_path / "scores")
    assert scores["dice"] > 0.8
    assert scores["by_class"]["object"]["dice"] == scores["dice"]
    assert {"iou", "cldice", "nsd", "hd95_px", "thin_recall"} <= set(scores)
    assert 0 < scores["threshold"] < 1
    assert len(scores["by_border_distance"]) == 5
    page = (tmp_path / "scores" / "report.html").read_text(encoding="utf-8")
    assert "clDice" in page
    assert len(list((tmp_path / "scores" / "masks").rglob("*.png"))) == scores["images"]


def test_masks_are_written_as_they_are_read(folder: Path, run: Path, tmp_path: Path) -> None:
    predict(run, folder / "images", tmp_path / "out", overlays=1)
    mask = Image.open(tmp_path / "out" / "masks" / "0.png")
    assert mask.mode == "P"
    numbers = np.asarray(mask)
    assert set(np.unique(numbers)) <= {0, 1}
    lines = (tmp_path / "out" / "predictions.csv").read_text().splitlines()
    assert lines[0] == "image,class,area,share,components"
    row = next(line for line in lines if line.startswith("0.png")).split(",")
    assert int(row[2]) == numbers.sum()


def test_check_finds_what_is_ignored_and_what_is_empty(folder: Path) -> None:
    dataset = read_dataset(folder)
    found = task_of(dataset).check(dataset)
    assert found.facts.empty == ("images/9.png",)
    assert found.facts.ignored == pytest.approx(7 * 7 / 48 / 56)
    assert "ignored" in str(found)
    assert found.cards(dataset)


def test_check_asks_whether_numbers_are_objects(tmp_path: Path) -> None:
    """Few numbers in a folder that is not called instances are read as classes."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for number in range(6):
        mask = np.zeros((40, 60), np.uint8)
        for k in range(3):
            mask[10 + number : 20 + number, 4 + 20 * k : 14 + 20 * k] = k + 1
        Image.fromarray(mask * 60).save(tmp_path / "images" / f"{number}.png")
        Image.fromarray(mask).save(tmp_path / "masks" / f"{number}.png")
    dataset = read_dataset(tmp_path)
    assert "--task instances" in str(task_of(dataset).check(dataset))
    (tmp_path / "classes.txt").write_text("left\nmiddle\nright\n", encoding="utf-8")
    dataset = read_dataset(tmp_path)
    assert dataset.names == ("left", "middle", "right")
    assert "--task instances" not in str(task_of(dataset).check(dataset))


def test_items_move_with_what_a_comparison_does(folder: Path, run: Path) -> None:
    dataset, model = read_dataset(folder), load_model(run)
    items = task_of(dataset).items(model, dataset, dataset.samples[:3])
    assert items.names == [f"images/{k}.png#object" for k in range(3)]
    plain = items.score()
    assert (plain > 0.5).all()
    shifted = items.score(Change(lambda image: np.roll(image, 4, 1), (4.0, 0.0)))
    np.testing.assert_allclose(shifted, plain, atol=0.1)
    apart = items.score(Change(lambda image: np.roll(image, 4, 1)))
    assert (apart < plain).all()


def test_labels_of_another_task_are_refused() -> None:
    from placewise.labels import ClassDataset

    labels = ClassDataset(Path(), ("a", "b"), ())
    with pytest.raises(DataError, match="needed are masks"):
        task_named("masks").needs(labels, (), "masks")


# --- drawings -------------------------------------------------------------------------------------


def test_an_outline_runs_outside_of_its_mask_and_turns_with_it() -> None:
    mask = np.zeros((40, 50), bool)
    mask[10:20, 10:30] = True
    canvas = np.full((40, 50, 3), 128, np.uint8)
    draw_outline(canvas, mask, (255, 255, 255), 1.0)
    assert (canvas[12:18, 12:28] == 128).all(), "what is outlined stays visible"
    assert (canvas[9, 12:28] > 200).all()
    turned = np.full((40, 50, 3), 128, np.uint8)
    draw_outline(turned, mask[::-1, ::-1], (255, 255, 255), 1.0)
    np.testing.assert_array_equal(canvas, turned[::-1, ::-1])
    assert signed_distance(mask)[15, 5] == 4.5


@pytest.mark.parametrize("axes", SIZES)
def test_signals_images_and_volumes_are_drawn(axes: int) -> None:
    mask = labels_of(SIZES[axes]).clip(0)
    pixels = RNG.random((*SIZES[axes], 1)).astype(np.float32)
    for drawn in (outlined(pixels, mask), compared(pixels, mask, mask)):
        assert drawn.ndim == 3
        assert drawn.dtype == np.uint8


def test_a_card_shows_what_is_right_missed_and_invented() -> None:
    truth = np.zeros((480, 480), int)
    mask = truth.copy()
    truth[:, :100], mask[:, :50], mask[:, 300:350] = 1, 1, 1
    panel = compared(np.zeros((480, 480, 1), np.uint8), mask, truth)[:, -480:]
    assert len({tuple(panel[200, x]) for x in (20, 70, 200, 320)}) == 4


# --- the demo -------------------------------------------------------------------------------------


def test_the_demo_draws_threads_where_their_masks_say(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "threads", images=10)
    dataset = read_dataset(folder)
    assert [s.split for s in dataset.samples].count("test") == 2
    for sample in dataset.samples:
        mask, image = dataset.mask(sample) > 0, dataset.image(sample.image)[..., 0].astype(float)
        wide, close = (ndimage.binary_dilation(mask, iterations=k) for k in (6, 2))
        assert image[wide & ~close].mean() - image[mask].mean() > 15
    again = write_images(tmp_path / "again", images=3)
    for part in ("images", "masks"):
        assert (again / part / "002.png").read_bytes() == (folder / part / "002.png").read_bytes()
