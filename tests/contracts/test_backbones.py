"""What every backbone promises."""

from __future__ import annotations

import pytest
import torch

from placewise.backbones import BACKBONES, Backbone
from placewise.errors import SettingsError
from placewise.paddings import PADDINGS

SMALL = {"unet": {"width": 32, "depth": 2}}


@pytest.fixture(params=BACKBONES.names())
def backbone(request: pytest.FixtureRequest) -> Backbone:
    net = BACKBONES[request.param](2, **SMALL[request.param]).double().eval()
    with torch.no_grad():
        for part in net.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.weight.fill_(0.7)
                part.bias.fill_(0.1)
    return net


def picture(height: int, width: int, channels: int = 2) -> torch.Tensor:
    return torch.rand(1, channels, height, width, dtype=torch.float64)


def test_shapes(backbone: Backbone) -> None:
    step = backbone.multiple
    for high, wide in ((1, 1), (2, 3), (5, 4)):
        features = backbone(picture(high * step, wide * step))
        expected = (1, backbone.channels, high * step // backbone.stride)
        assert features.shape == (*expected, wide * step // backbone.stride)


def test_a_shift_by_the_multiple_shifts_the_features(backbone: Backbone) -> None:
    """Far from the border the network keeps place exactly."""
    step, cells = backbone.multiple, backbone.multiple // backbone.stride
    side = 2 * backbone.receptive_field // step * step + 4 * step
    shown = picture(side, side)
    moved = torch.roll(shown, (step, step), (2, 3))
    far = backbone.receptive_field // backbone.stride
    here = backbone(shown)[..., far:-far, far:-far]
    there = torch.roll(backbone(moved), (-cells, -cells), (2, 3))[..., far:-far, far:-far]
    assert here.numel() > 0
    assert torch.allclose(here, there, atol=1e-9)


def test_no_pixel_is_dropped_and_none_beyond_the_receptive_field_is_seen(
    backbone: Backbone,
) -> None:
    """The measured field of every output lies within what is stated, and the widest equals it."""
    side = -(-2 * backbone.receptive_field // backbone.multiple) * backbone.multiple
    shown = picture(side, side).requires_grad_()
    features = backbone(shown).sum(1)
    middle = features.shape[-1] // 2
    widest = 0
    for cell in range(middle, middle + backbone.multiple // backbone.stride):
        (gradient,) = torch.autograd.grad(features[0, cell, cell], shown, retain_graph=True)
        seen = gradient[0].abs().sum(0).amax(0).nonzero()
        widest = max(widest, int(seen.max() - seen.min()) + 1)
    assert widest == backbone.receptive_field
    (everywhere,) = torch.autograd.grad(features.square().sum(), shown)
    assert (everywhere[0].abs().sum(0) > 0).all()


def symmetrise(backbone: Backbone) -> None:
    """Mirror every kernel onto itself and average over cells, so that only geometry is left."""
    with torch.no_grad():
        for part in backbone.modules():
            if isinstance(part, torch.nn.Conv2d):
                part.weight.copy_((part.weight + part.weight.flip(-1)) / 2)


def test_left_and_right_are_treated_alike(backbone: Backbone) -> None:
    """With mirrored kernels, a mirrored picture gives mirrored features: nothing is one-sided."""
    symmetrise(backbone)
    first = backbone.stem[0] if hasattr(backbone, "stem") else None
    if first is not None:
        cell = backbone.stride
        weight = first.weight.data.unflatten(1, (-1, cell, cell))
        first.weight.data.copy_(((weight + weight.flip((3, 5))) / 2).flatten(1, 3))
    shown = picture(3 * backbone.multiple, 4 * backbone.multiple)
    features = backbone(shown)
    mirrored = backbone(shown.flip(-1)).flip(-1)
    assert torch.allclose(features, mirrored, atol=1e-9)


@pytest.mark.parametrize("padding", PADDINGS.names())
def test_every_padding_rule_works_or_is_refused(padding: str) -> None:
    if PADDINGS[padding].torch_mode is None:
        with pytest.raises(SettingsError, match=padding):
            BACKBONES["unet"](1, width=32, depth=2, padding=padding)
        return
    net = BACKBONES["unet"](1, width=32, depth=2, padding=padding).eval()
    assert net(torch.rand(1, 1, 64, 48)).shape == (1, 16, 16, 12)


def test_the_usual_padding_rules_are_among_those_that_work() -> None:
    usual = {"zeros", "reflect", "replicate", "circular"}
    assert usual == {name for name in PADDINGS.names() if PADDINGS[name].torch_mode}


@pytest.mark.parametrize(
    ("width", "least", "most"), [(48, 0.2e6, 0.4e6), (128, 1.5e6, 2.2e6), (192, 3.5e6, 5e6)]
)
def test_width_sets_the_size(width: int, least: float, most: float) -> None:
    net = BACKBONES["unet"](1, width=width)
    assert least < sum(p.numel() for p in net.parameters()) < most
