"""Coarse to fine: an answer off the tiles is that of the whole image, or there is none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import placewise
from conftest import write_signals
from placewise.backbones import Backbone
from placewise.backbones.unet import UNet
from placewise.errors import SettingsError
from placewise.heads.heatmap import Heatmap
from placewise.heads.spots import Spots
from placewise.model import CoarseToFine, InputSettings
from placewise.prediction.glance import Glance
from placewise.prediction.journal import Journal
from placewise.tasks.keypoints.model import KeypointModel
from placewise.tasks.masks.demo import write_images
from placewise.tasks.spots.model import SpotModel

VIEW = InputSettings(scale=1.0, size=(64, 64), channels=1, mean=(0.5,), std=(0.5,))
Image = NDArray[np.float32]


class Averages(Backbone):
    """Means of the image within a window, at half its size: what is bright and what is dark."""

    in_channels, out_channels, stride, multiple, receptive_field = 1, 2, 2, 2, 20

    def __init__(self, reach: int = 8) -> None:
        super().__init__()
        self.blur = nn.AvgPool2d(2 * reach + 1, 1, reach, count_include_pad=False)
        self.pool = nn.AvgPool2d(2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        small = self.pool(self.blur(images))
        return torch.cat([small, -small], 1)


def finder() -> KeypointModel:
    """Finds the bright and the dark blob of an image."""
    head = Heatmap(2, 2, finer=1, stride=2)
    with torch.no_grad():
        head.maps.values.weight.copy_(150 * torch.eye(2)[..., None, None])
        nn.init.constant_(head.maps.values.bias, -20.0)  # type: ignore[arg-type]
    return KeypointModel(Averages(), head, input=VIEW).eval()


def blobs(size: tuple[int, int], bright: tuple[float, float], dark: tuple[float, float]) -> Image:
    """An image with a bright and a dark blob at (y, x)."""
    rows, columns = np.arange(size[0])[:, None], np.arange(size[1])
    image = 0.5 + 0.02 * np.random.default_rng(0).standard_normal(size)
    for sign, (y, x) in ((0.5, bright), (-0.5, dark)):
        image += sign * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 300)
    return np.float32(image.clip(0, 1))[..., None]


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_an_answer_off_the_tiles_is_that_of_the_whole_image(factor: int) -> None:
    model, draw = finder(), np.random.default_rng(factor)
    looker = CoarseToFine(model, factor, 24)
    for _ in range(2):
        size = (int(draw.integers(180, 230)), int(draw.integers(200, 260)))
        whole = [size[0] - 1, size[1] - 1]
        near = draw.uniform(0, np.array(whole) - 45)
        places = [(near, near + 40), (draw.uniform(0, whole), draw.uniform(0, whole))]
        places.append(([0, 0], whole))  # two tiles, at the ends of the image
        shown = np.stack([blobs(size, tuple(a), tuple(b)) for a, b in places])
        found = looker.looked(shown, [size] * 3, ["a", "b", "c"])
        expected = model.predict_scaled(shown, [size] * 3)
        assert found[0] is not None and found[2] is not None and found[0].image == "a"
        for one, other in zip(found, expected, strict=True):
            if one is not None:
                np.testing.assert_allclose(one.keypoints, other.keypoints, atol=1e-3)
                np.testing.assert_allclose(one.scores, other.scores, atol=1e-3)
        answered = looker.predict_scaled(shown, [size] * 3)
        for one, other in zip(answered, expected, strict=True):
            np.testing.assert_allclose(one.keypoints, other.keypoints, atol=1e-3)


def test_an_image_is_scaled_to_its_own_pixels() -> None:
    model = finder()
    shown, of = blobs((280, 340), (100.0, 120.0), (90.0, 190.0))[None], [(560, 680)]
    (one,) = CoarseToFine(model, 2, 24).looked(shown, of, ["a"])
    (other,) = model.predict_scaled(shown, of)
    np.testing.assert_allclose(one.keypoints, other.keypoints, atol=1e-3)
    np.testing.assert_allclose(one.keypoints[0], (240.5, 200.5), atol=2)


def test_what_is_not_there_or_lies_beyond_the_slack_is_no_answer() -> None:
    model, size = finder(), (200, 240)
    grey = np.full((*size, 1), 0.5, np.float32)
    shown = np.stack([grey, blobs(size, (100.0, 100.0), (110.0, 120.0))])
    assert CoarseToFine(model, 2, 24).looked(shown, [size] * 2, ["", ""])[0] is None
    looker = CoarseToFine(model, 2, 24)
    given = looker._likely
    looker._likely = lambda one: (given(one)[0] + 60, given(one)[1])  # type: ignore[method-assign]
    assert looker.looked(shown, [size] * 2, ["", ""]) == [None, None]


def test_it_is_off_where_it_changes_an_answer_and_where_a_tile_is_the_image() -> None:
    model, size = finder(), (200, 240)
    draw = np.random.default_rng(0)
    near = [draw.uniform(30, 120, 2) for _ in range(4)]
    shown = np.stack([blobs(size, tuple(at), tuple(at + 30)) for at in near])
    glance = Glance.of(model, shown, size)
    assert len(glance.tried) > 2 and not any(one.changed for one in glance.tried)

    image = shown[0].copy()  # stripes about grey, which a small image does not show
    image[160:190, 200:230, 0] = np.where(np.arange(30) % 2, 1.0, 0.0)[:, None]
    stripes = finder()
    stripes.backbone.blur = nn.Sequential(_Contrast(), stripes.backbone.blur)  # type: ignore
    some = np.concatenate([shown, shown, shown[:3], image[None]])
    changed = Glance.of(stripes, some, size)
    assert changed.looker is None and "changes the answer on 1" in changed.why

    net = UNet(1, width=16, depth=2)
    deep = KeypointModel(net, Heatmap(net.out_channels, 2), input=VIEW).eval()
    large = Glance.of(deep, shown, size)
    assert large.looker is None and "looks 160 pixels far" in large.why


class _Contrast(nn.Module):
    """Makes stripes of one pixel bright."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        padded = nn.functional.pad(images, (0, 0, 0, 1), mode="replicate")
        return images + 2 * (padded[:, :, 1:] - images).abs().clamp_min(0.7) - 1.4


def test_other_answers_are_refused_by_name() -> None:
    model = SpotModel(nn.Conv2d(1, 4, 4, stride=4), Spots(4, 1), input=VIEW).eval()
    with pytest.raises(SettingsError, match=r"Spots does not answer .*--coarse-to-fine"):
        Glance.of(model, np.zeros((2, 64, 64, 1), np.float32), (64, 64))
    certain = Heatmap(4, 1, loss="softmax")
    always = KeypointModel(nn.Conv2d(1, 4, 4, stride=4), certain, input=VIEW).eval()
    with pytest.raises(SettingsError, match=r"says of every keypoint .*--coarse-to-fine"):
        Glance.of(always, np.zeros((2, 64, 64, 1), np.float32), (64, 64))


def test_other_answers_are_refused_whatever_the_number_of_images(tmp_path: Path) -> None:
    """They were said to need more images, where there were few."""
    data = write_images(tmp_path / "data", images=10)
    run = placewise.train(placewise.read_dataset(data), tmp_path / "run", max_steps=1, quiet=True)
    with pytest.raises(SettingsError, match=r"Masks does not answer .*leave --coarse-to-fine out"):
        placewise.predict(run, data, tmp_path / "found", coarse_to_fine=True)


def test_what_is_not_of_two_axes_is_refused_whatever_the_number_of_recordings(
    tmp_path: Path,
) -> None:
    write_signals(tmp_path)
    settings = {"max_steps": 1, "backbone_settings": {"width": 16}}
    dataset = placewise.read_dataset(tmp_path)
    run = placewise.train(dataset, tmp_path / "run", quiet=True, **settings)
    with pytest.raises(SettingsError, match=r"is for images, and the model reads recordings"):
        placewise.predict(run, tmp_path, tmp_path.with_name("found"), coarse_to_fine=True)


def test_what_was_chosen_is_kept_for_the_rest_of_a_prediction(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "out", "order", resume=False)
    journal.note("engine", "torch", "float32")
    journal.note("look", 4, 62)
    again = Journal.open(tmp_path / "out", "order", resume=True)
    assert again.look == (4, 62) and again.engine == ("torch", "float32")
    lines = (tmp_path / "out/progress.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[-1]) == {"look": [4, 62]}
