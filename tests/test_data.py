"""Splits, scales and orders are pure functions of the seed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from placewise.augment import Augmentation
from placewise.checking import check
from placewise.errors import LabelError, PlacewiseError, SettingsError
from placewise.evaluation import evaluate
from placewise.formats import read_dataset
from placewise.labels import (
    KeypointDataset,
    KeypointSample,
    Visibility,
    mirror_order,
    of_split,
    single,
    split_images,
)
from placewise.model.inputs import (
    DETAIL,
    FINER,
    OBJECT,
    PIXELS,
    SMALLEST,
    InputSettings,
    as_input,
    choose_input,
    object_extent,
    scaled_size,
)
from placewise.tasks import task_named
from placewise.training import train
from placewise.training.dataset import TrainingSet
from placewise.training.order import Order, Stream


def sample(name: str, split: str | None = None, size: tuple[int, int] = (40, 60)) -> KeypointSample:
    visibility = np.full((1, 2), Visibility.VISIBLE, np.int8)
    return KeypointSample(name, size, np.array([[[3.0, 4.0], [33.0, 24.0]]]), visibility, split)


def labels(splits: list[str | None]) -> KeypointDataset:
    samples = tuple(sample(f"{i}.png", split) for i, split in enumerate(splits))
    return KeypointDataset(Path(), ("a", "b"), samples)


@given(st.integers(2, 200), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_a_drawn_split_has_the_asked_shares(count: int, seed: int) -> None:
    splits = split_images(labels([None] * count), seed)
    assert set(splits) >= {"train", "val"}
    if count >= 20:
        assert splits.count("val") == pytest.approx(0.1 * count, abs=1)
        assert splits.count("test") == pytest.approx(0.15 * 0.9 * count, abs=1)


def test_the_order_of_samples_does_not_matter() -> None:
    forth = labels([None] * 30)
    back = KeypointDataset(forth.root, forth.names, forth.samples[::-1])
    assert split_images(forth, 1) == split_images(back, 1)[::-1]
    assert split_images(forth, 1) != split_images(forth, 2)


def test_what_the_labels_say_is_honoured() -> None:
    given_splits = ["train", "val", "test", "train", "val"]
    assert split_images(labels(given_splits), 0) == given_splits


def test_validation_is_taken_from_training_never_from_test() -> None:
    splits = split_images(labels(["train"] * 20 + ["test"] * 5), 0)
    assert splits[20:] == ["test"] * 5
    assert splits.count("val") == 2


def test_too_few_images_are_refused() -> None:
    with pytest.raises(SettingsError, match="label more images"):
        split_images(labels(["train"]), 0)


def test_several_instances_are_refused() -> None:
    one = sample("a.png")
    two = KeypointSample(
        one.image, one.size, np.tile(one.points, (2, 1, 1)), np.tile(one.visibility, (2, 1))
    )
    with pytest.raises(LabelError, match="2 instances"):
        single(two, None)


@given(st.integers(1, 17), st.integers(1, 4), st.integers(1, 3), st.integers(0, 20))
@settings(max_examples=60, deadline=None)
def test_orders_of_any_number_of_ranks_are_one_order(
    count: int, share: int, world: int, start: int
) -> None:
    batch, stop = share * world, start + 7

    def keys(**where: int) -> list[list[tuple[int, int]]]:
        return list(Order(count, batch, 5, start=start, stop=stop, **where))

    whole = keys()
    parts = [keys(rank=rank, world=world) for rank in range(world)]
    assert len(whole) == 7
    for step, together in enumerate(whole):
        mixed = [
            key for place in zip(*(part[step] for part in parts), strict=True) for key in place
        ]
        assert mixed == together
    resumed = list(Order(count, batch, 5, start=start + 3, stop=stop))
    assert resumed == whole[3:]


def test_an_epoch_shows_every_sample_once() -> None:
    keys = [key for part in Order(13, 4, 0, start=0, stop=13) for key in part]
    assert len(keys) == 52
    for epoch in range(4):
        assert sorted(i for e, i in keys if e == epoch) == list(range(13))


def test_mirror_order_is_its_own_inverse() -> None:
    order = mirror_order(("a", "l", "b", "r"), (("r", "l"),))
    assert order.tolist() == [0, 3, 2, 1]
    assert (order[order] == np.arange(4)).all()


def test_input_is_chosen_from_the_data(squares: Path) -> None:
    found = read_dataset(squares)
    train = of_split(found, split_images(found, 0), "train")
    view = choose_input(found, train, object_extent(train), 0)
    assert view.scale == 1.0
    assert view.size == (48, 56)
    assert view.channels == 1
    assert view.mean[0] == pytest.approx(110 / 255, abs=0.03)


@pytest.mark.parametrize("size", [(480, 640), (481, 633), (3000, 4000)])
@pytest.mark.parametrize("share", [None, 0.6])
def test_large_images_are_shrunk_to_the_budget(
    size: tuple[int, int], share: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the object is unknown or large, the pixels decide."""
    monkeypatch.setattr(
        "placewise.labels.sources.read_image", lambda path: np.zeros((8, 8, 3), np.uint8)
    )
    samples = [sample(f"{i}.png", size=size) for i in range(3)]
    found = KeypointDataset(Path(), ("a", "b"), tuple(samples))
    view = choose_input(found, samples, share and share * size[0], 0)
    high, wide = scaled_size(size, view.scale)
    assert high * wide == pytest.approx(min(DETAIL * PIXELS, math.prod(size)), rel=0.02)
    assert math.prod(view.size) == pytest.approx(PIXELS, rel=0.02)


@given(st.floats(1, 400), st.sampled_from([(480, 640), (3000, 4000), (20, 30)]))
@settings(max_examples=30, deadline=None)
def test_the_object_keeps_its_pixels(extent: float, size: tuple[int, int]) -> None:
    """Small objects are kept large as far as that is cheap; nothing is enlarged."""
    samples = [sample(f"{i}.png", size=size) for i in range(3)]
    found = KeypointDataset(Path(), ("a", "b"), tuple(samples))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "placewise.labels.sources.read_image", lambda path: np.zeros((8, 8, 3), np.uint8)
        )
        scale = choose_input(found, samples, extent, 0).scale
        free = choose_input(found, samples, None, 0).scale
    assert free <= scale <= 1
    bounds = (free, 1.0, OBJECT / extent, FINER * free / math.sqrt(DETAIL), SMALLEST / extent)
    assert any(scale == pytest.approx(bound) for bound in bounds)
    assert scale * extent >= min(SMALLEST, extent) * (1 - 1e-9)
    assert scale * extent <= OBJECT * (1 + 1e-9) or scale == free
    assert scale <= FINER * free / math.sqrt(DETAIL) * (1 + 1e-9) or scale * extent <= SMALLEST * (
        1 + 1e-9
    )


def test_small_objects_are_learnt_from_crops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images are shown at a scale that keeps the object large, through crops of the budget."""
    monkeypatch.setattr(
        "placewise.labels.sources.read_image", lambda path: np.zeros((8, 8, 3), np.uint8)
    )
    samples = [sample(f"{i}.png", size=(960, 1280)) for i in range(3)]
    found = KeypointDataset(Path(), ("a", "b"), tuple(samples))
    view = choose_input(found, samples, 2 * OBJECT, 0)
    assert view.scale == 0.5
    assert scaled_size((960, 1280), view.scale) == (480, 640)
    assert view.size == (240, 320)
    whole = choose_input(found, samples, 2 * OBJECT, 0, whole=True)
    assert whole.size == scaled_size((960, 1280), whole.scale) == (240, 320)


def test_as_input_keeps_place() -> None:
    """A bright square's centroid moves as the geometry says when the image is scaled."""
    image = np.zeros((90, 120, 3), np.uint8)
    image[30:39, 60:75] = 255
    view = choose_view(scale=0.5)
    shown = as_input(image, view)[..., 0].astype(np.float64)
    rows, columns = np.indices(shown.shape)
    found = (shown * columns).sum() / shown.sum(), (shown * rows).sum() / shown.sum()
    assert found == pytest.approx(((67 + 0.5) / 2 - 0.5, (34 + 0.5) / 2 - 0.5), abs=0.02)


def choose_view(scale: float) -> InputSettings:
    return InputSettings(scale=scale, size=(48, 64), channels=1, mean=(0.5,), std=(0.2,))


def training_images(squares: Path) -> TrainingSet:
    found = read_dataset(squares)
    train = of_split(found, split_images(found, 0), "train")
    view = choose_input(found, train, object_extent(train), 0)
    task, turning = task_named("keypoints"), Augmentation.of(rotate=20)
    return TrainingSet(task, found, train, view, (48, 64), turning, 7)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(squares: Path, workers: int) -> None:
    order = Order(24, 4, 7, start=2, stop=8)
    alone = list(Stream(training_images(squares), order, 0))
    shared = list(Stream(training_images(squares), order, workers))
    assert len(alone) == len(shared) == 6
    for one, other in zip(alone, shared, strict=True):
        for first, second in zip(one, other, strict=True):
            assert torch.equal(first.nan_to_num(-1), second.nan_to_num(-1))


@pytest.mark.parametrize("kind", [int, np.int64, np.uint8, torch.tensor])
def test_a_training_set_takes_every_kind_of_index(squares: Path, kind) -> None:
    shown = training_images(squares)
    assert torch.equal(shown[kind(5)][0], shown[5][0])
    assert torch.equal(shown[(2, kind(5))][0], shown[(2, 5)][0])


def test_a_training_set_of_no_split_is_refused(squares: Path) -> None:
    with pytest.raises(SettingsError, match="no split 'tset'"):
        TrainingSet.of(read_dataset(squares), "tset")


@pytest.mark.parametrize("labels", [None, "a_folder", Path("a_folder"), 3])
@pytest.mark.parametrize(
    "use",
    [lambda one: train(one, "out"), lambda one: evaluate("run", one), check, TrainingSet.of],
    ids=["train", "evaluate", "check", "TrainingSet"],
)
def test_what_is_no_dataset_is_refused(use, labels) -> None:
    with pytest.raises(PlacewiseError, match=r"give what read_dataset returned|is not a run"):
        use(labels)


def test_a_cache_changes_nothing_and_epochs_differ(squares: Path) -> None:
    kept, fresh = training_images(squares), training_images(squares)
    assert torch.equal(kept[(0, 5)][0], fresh[(0, 5)][0])
    assert torch.equal(kept[(3, 5)][0], fresh[(3, 5)][0])
    assert not torch.equal(kept[(3, 5)][0], kept[(4, 5)][0])
    assert torch.equal(kept[(3, 5)][0], kept[(3, 5)][0])
