"""Models put together from plain modules: stride and channels are found by trying."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from placewise.errors import SettingsError, ShapeError
from placewise.heads import HEADS
from placewise.heads.convolutional import Convolutional
from placewise.heads.heatmap import Heatmap
from placewise.heads.integral import Integral
from placewise.labels import Visibility
from placewise.model import InputSettings
from placewise.model.plain import facts_of
from placewise.tasks.classes.model import ClassModel
from placewise.tasks.keypoints.model import KeypointModel

SIZES = [(48, 64), (45, 61), (33, 90), (8, 8)]


def halving(times: int, channels: int = 3) -> nn.Sequential:
    """Convolutions that halve an image so many times, with six features."""
    layers: list[nn.Module] = [nn.Conv2d(channels, 6, 3, padding=1)]
    for _ in range(times):
        layers += [nn.ReLU(), nn.Conv2d(6, 6, 3, stride=2, padding=1)]
    return nn.Sequential(*layers)


class Joining(nn.Module):
    """Half the size, then a look at a quarter of it that is joined again: needs multiples of 8."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.deep = nn.Sequential(nn.MaxPool2d(4), nn.Conv2d(4, 2, 1), nn.Upsample(scale_factor=4))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.first(images)
        return torch.cat([maps, self.deep(maps)], 1)


BACKBONES = {
    "stride 1": (lambda: halving(0), 1, 1),
    "stride 2": (lambda: halving(1), 2, 2),
    "stride 4": (lambda: halving(2), 4, 4),
    "stride 8": (lambda: halving(3), 8, 8),
    "pooling": (lambda: nn.Sequential(halving(1), nn.AvgPool2d(2)), 4, 4),
    "joining": (Joining, 2, 8),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_stride_and_multiple_are_found(name: str) -> None:
    make, stride, multiple = BACKBONES[name]
    backbone = make().train()
    facts = facts_of(backbone)
    assert (facts.stride, facts.multiple) == (stride, multiple)
    assert facts.input.channels == 3
    assert backbone.training, "the backbone is left as found"
    for sides in ((facts.multiple * 3, facts.multiple * 7), (facts.multiple * 5, facts.multiple)):
        features = backbone(torch.zeros(1, 3, *sides))
        assert tuple(features.shape[2:]) == tuple(side // stride for side in sides)


@pytest.mark.parametrize("head", [Heatmap, Integral])
@pytest.mark.parametrize("name", BACKBONES)
def test_places_survive_the_stride_that_was_found(name: str, head: type) -> None:
    """Encoded and decoded again, keypoints lie where they lay."""
    finer = min(2, BACKBONES[name][1])
    model = KeypointModel(BACKBONES[name][0](), head(6, keypoints=4, finer=finer)).eval()
    known = np.full(4, Visibility.VISIBLE, np.int8)
    rng = np.random.default_rng(0)
    for size in ((96, 128), (93, 125), (99, 180)):
        inner = rng.uniform(0.3, 0.7, (4, 2)) * [size[1], size[0]]
        found = model.encode_and_decode(inner, known, size)
        assert np.linalg.norm(found - inner, axis=1).max() < 0.1
    assert model.names == ("0", "1", "2", "3")


@pytest.mark.parametrize("name", BACKBONES)
def test_a_batch_of_any_size_is_taken(name: str) -> None:
    """An image is padded to the next multiple, by the padding rule, and to no more."""
    finer = min(2, BACKBONES[name][1])
    model = KeypointModel(BACKBONES[name][0](), Heatmap(6, keypoints=2, finer=finer)).eval()
    for size in SIZES:
        images = torch.rand(2, 3, *size)
        spare = [-side % model.multiple for side in size]
        padded = nn.functional.pad(images, (0, spare[1], 0, spare[0]), mode="replicate")
        with torch.no_grad():
            torch.testing.assert_close(model(images), model(padded))
        one = model.predict(images[0])
        assert one.keypoints.shape == (2, 2) and one.size == size


def test_what_is_tried_is_left_as_found() -> None:
    """Modes of every module, running statistics, and the random numbers that come next."""
    backbone = nn.Sequential(halving(1), nn.BatchNorm2d(6), nn.Dropout2d(0.5))
    head = Heatmap(6, keypoints=2)
    backbone[1].eval()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    state = torch.get_rng_state()
    model = KeypointModel(backbone, head)
    assert torch.equal(torch.get_rng_state(), state)
    assert (backbone.training, backbone[1].training, backbone[2].training) == (True, False, True)
    assert head.training and model.names == ("0", "1")
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_channels_come_from_the_first_convolution_or_from_the_input() -> None:
    assert facts_of(halving(1, channels=1)).input.channels == 1
    assert facts_of(nn.Sequential(nn.AvgPool2d(2))).input.channels == 3
    view = InputSettings(scale=0.5, size=(32, 32), channels=1, mean=(0.5,), std=(0.2,))
    model = KeypointModel(halving(1, channels=1), Heatmap(6, keypoints=1), input=view).eval()
    image = np.zeros((64, 80, 1), np.uint8)
    assert model.input == view and model.prepared(image).shape == (32, 40, 1)
    assert model.predict(image).size == (64, 80)


REFUSED = {
    "flattening": (nn.Sequential(halving(1), nn.Flatten()), "must give features"),
    "pooling all": (nn.Sequential(halving(1), nn.AdaptiveAvgPool2d(1)), "must grow with the image"),
    "valid": (nn.Sequential(nn.Conv2d(3, 6, 5), nn.Conv2d(6, 6, 5)), "pad its convolutions"),
    "tied to a size": (nn.Sequential(nn.Flatten(), nn.Linear(7, 7)), "images of several sizes"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_backbone_without_one_stride_is_refused(what: str) -> None:
    backbone, says = REFUSED[what]
    with pytest.raises(ShapeError, match=says):
        KeypointModel(backbone, Heatmap(6, keypoints=1))


def test_a_plain_model_learns_in_a_plain_loop() -> None:
    """The loss of the head, an optimiser of torch, and nothing else of ours."""
    torch.manual_seed(0)
    model = KeypointModel(halving(1, channels=1), Heatmap(6, keypoints=1))
    places = torch.tensor([[[9.0, 5.0]], [[20.0, 17.0]], [[12.0, 26.0]], [[27.0, 8.0]]])
    images = torch.zeros(4, 1, 32, 32)
    for image, ((x, y),) in zip(images, places.int().tolist(), strict=True):
        image[0, y - 2 : y + 3, x - 2 : x + 3] = 1
    visible = torch.full((4, 1), int(Visibility.VISIBLE))
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    losses = []
    for _ in range(150):
        loss = model.head.loss(model(images), places, visible).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    found = np.stack([one.keypoints for one in model.eval().predict(images)])
    assert np.linalg.norm(found - places.numpy(), axis=-1).max() < 1.5


def test_classes_from_plain_modules() -> None:
    model = ClassModel(halving(2), Convolutional(6, 3, (12, 16)), names=("a", "b", "c")).eval()
    assert model.predict(np.zeros((45, 61, 3), np.uint8)).probabilities.sum() == pytest.approx(1)
    assert model(torch.zeros(2, 3, 50, 70)).shape == (2, 3)


def test_a_stride_that_the_head_cannot_refine_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"finer is 2; it must divide the stride .* 1"):
        KeypointModel(halving(0), Heatmap(6, keypoints=1))


@pytest.mark.parametrize("name", [n for n in HEADS.names() if HEADS[n].task == "keypoints"])
def test_every_keypoint_head_joins_a_plain_backbone(name: str) -> None:
    model = KeypointModel(halving(2), HEADS[name](6, 3, 4, (64, 64))).eval()
    found = model.predict(np.zeros((64, 64, 3), np.uint8))
    assert found.keypoints.shape == (3, 2) and found.names == ("0", "1", "2")
