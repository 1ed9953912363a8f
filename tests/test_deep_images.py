"""Images of 8, 10, 12, 14 and 16 bits: the same scene is the same input and the same training.

Cameras write 10, 12 or 14 bits into files of 16. As shares of 65535 such images are nearly black,
and noise and γ that suit an image of 8 bits drown them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from placewise.augment import Augmentation, generator
from placewise.labels import KeypointDataset, KeypointSample, Visibility
from placewise.model import InputSettings, as_input, choose_input, unlike

WHITE = {8: 255, 10: 1023, 12: 4095, 14: 16383, 16: 65535}
SIZE = (24, 32)


def scenes(count: int = 6) -> np.ndarray:
    """(count, *SIZE) in 0..0.8: a bright blob on a grained ground, as a microscope shows it."""
    rng = np.random.default_rng(3)
    down, across = np.mgrid[: SIZE[0], : SIZE[1]]
    made = rng.normal(0.15, 0.02, (count, *SIZE))
    for scene, (x, y) in zip(made, rng.uniform(8, 16, (count, 2)), strict=True):
        scene += 0.6 * np.exp(-((across - x) ** 2 + (down - y) ** 2) / 18)
    return made.clip(0, 1)


def written(folder: Path, bits: int) -> KeypointDataset:
    """The scenes in files of so many bits; from 10 on in 16."""
    kind = np.uint8 if bits == 8 else np.uint16
    folder.mkdir()
    samples = []
    for number, scene in enumerate(scenes()):
        pixels = np.rint(scene * WHITE[bits]).astype(kind)
        Image.fromarray(pixels).save(folder / f"{number}.tif")
        points, seen = np.array([[[9.0, 9.0]]]), np.array([[Visibility.VISIBLE]], np.int8)
        samples.append(KeypointSample(f"{number}.tif", SIZE, points, seen))
    return KeypointDataset(folder, ("nose",), tuple(samples))


def chosen(dataset: KeypointDataset) -> InputSettings:
    return choose_input(dataset, dataset.samples, None, 0)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_the_same_scenes_are_the_same_input(tmp_path: Path, bits: int) -> None:
    shallow, deep = written(tmp_path / "8", 8), written(tmp_path / "deep", bits)
    first, second = chosen(shallow), chosen(deep)
    assert second.white == WHITE[bits]
    assert second.mean == pytest.approx(first.mean, abs=1e-3)
    assert second.std == pytest.approx(first.std, abs=1e-3)
    for sample in shallow.samples:
        mine = as_input(shallow.image(sample.image), first)
        its = as_input(deep.image(sample.image), second)
        assert np.abs(mine - its).max() < 1 / 255
        assert its.std() > 0.05


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_the_same_scenes_are_changed_alike(tmp_path: Path, bits: int) -> None:
    """Brightness, contrast, γ, blur and noise are shares of what the camera can say."""
    shallow, deep = written(tmp_path / "8", 8), written(tmp_path / "deep", bits)
    first, second = chosen(shallow), chosen(deep)
    change = Augmentation.of(blur=1.0, noise=0.05, gamma=0.5)
    points, seen = np.array([[9.0, 9.0]]), np.array([Visibility.VISIBLE], np.int8)
    for epoch, sample in enumerate(shallow.samples):
        shown = [
            change.apply(
                as_input(dataset.image(sample.image), view),
                points,
                seen,
                generator(0, epoch, sample.image),
                SIZE,
            )
            for dataset, view in ((shallow, first), (deep, second))
        ]
        assert np.abs(shown[0][0] - shown[1][0]).max() < 0.02
        assert np.array_equal(shown[0][1], shown[1][1])


def test_eight_bits_are_shares_of_255_whatever_white_is() -> None:
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    view = InputSettings(scale=1.0, size=(16, 16), channels=1, mean=(0.5,), std=(0.2,))
    plain = as_input(image, view)
    assert np.array_equal(plain, as_input(image, view.model_copy(update={"white": 1023})))
    assert np.array_equal(plain[..., 0].ravel(), np.arange(256, dtype=np.float32) / np.float32(255))


def test_full_16_bits_are_what_they_were() -> None:
    image = np.array([[[0], [1000], [65535]]], np.uint16)
    view = InputSettings(scale=1.0, size=(1, 3), channels=1, mean=(0.5,), std=(0.2,))
    assert view.white == 65535
    found = as_input(image, view)[0, :, 0]
    assert np.array_equal(found, np.array([0, 1000, 65535], np.float32) / np.float32(65535))


def test_what_is_brighter_than_the_training_images_is_white() -> None:
    image = np.array([[[0], [1023], [4000]]], np.uint16)
    view = InputSettings(scale=1.0, size=(1, 3), channels=1, mean=(0.5,), std=(0.2,), white=1023)
    assert as_input(image, view)[0, :, 0].tolist() == [0.0, 1.0, 1.0]


@pytest.mark.parametrize("white", [0, -1, 65536])
def test_a_white_that_cannot_be_is_refused(white: int) -> None:
    with pytest.raises(ValueError, match="white"):
        InputSettings(scale=1.0, size=(8, 8), channels=1, mean=(0.5,), std=(0.2,), white=white)


@pytest.mark.parametrize("shown", WHITE)
@pytest.mark.parametrize("trained", WHITE)
def test_images_of_another_depth_are_told_where_they_are_another_input(
    tmp_path: Path, trained: int, shown: int
) -> None:
    """Whoever hands 12 bits to a run of 8 hears of it; whoever hands the same scenes does not."""
    view = chosen(written(tmp_path / "a", trained))
    dataset = written(tmp_path / "b", shown)
    images = [dataset.image(sample.image) for sample in dataset.samples]
    off = max(
        np.abs(as_input(i, view) - s[..., None]).max()
        for i, s in zip(images, scenes(), strict=True)
    )
    notes = unlike(images, view)
    assert bool(notes) == (off > 0.1)
    assert any("cut off" in note for note in notes) == (shown > 8 and WHITE[shown] > view.white)


def test_flat_recordings_are_told_in_their_own_words() -> None:
    """Those of a training on flat recordings are like them; no image, no bits are spoken of."""
    rng, flat = np.random.default_rng(0), np.ones((50, 1), np.float32)
    kind = {"scale": 1.0, "size": (50,), "channels": 1, "mean": (0.5,), "normalise": "each"}
    assert not unlike([flat], InputSettings(**kind, std=(0.02,)))
    view = InputSettings(**kind, std=(0.2,))
    assert not unlike([rng.standard_normal((50, 1)).astype(np.float32)], view)
    (note,) = unlike([flat], view)
    assert "recordings" in note and "image" not in note and "bits" not in note
