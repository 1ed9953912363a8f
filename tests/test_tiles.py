"""Tiles: what is computed tile by tile is what the whole image gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from placewise.backbones.unet import UNet
from placewise.heads.instances import Instances
from placewise.model import InputSettings, network
from placewise.model.tiles import tiled
from placewise.tasks.instances.model import InstanceModel

SIZES = {1: (1024,), 2: (480, 400), 3: (128, 144, 136)}


@pytest.mark.parametrize("axes", SIZES)
def test_tiles_give_the_features_of_the_whole_image(axes: int) -> None:
    net = UNet(1, axes, width=16, depth=1).eval()
    image = torch.randn(1, 1, *SIZES[axes])
    with torch.no_grad():
        whole = net(image)
        settings = {"multiple": net.multiple, "stride": net.stride, "core": 60}
        found = tiled(net, image, field=net.receptive_field, **settings)
        torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-5)
        thin = tiled(net, image, field=8, **settings)
        assert (thin - whole).abs().max() > 1e-3, "without its halo a tile shows a seam"


def test_a_large_image_has_the_objects_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    net = UNet(1, width=16, depth=1)
    view = InputSettings(scale=1.0, size=(64, 64), channels=1, mean=(0.5,), std=(0.2,))
    head = Instances(net.out_channels, 1)
    model = InstanceModel(net, head, names=("cell",), input=view).eval()
    torch.nn.init.normal_(model.head.maps.values.weight, std=0.5)
    model.calibration = {"images": 1, "foreground": 0.5, "centre": 0.3, "agreement": 0.0}
    image = np.random.default_rng(0).integers(0, 255, (330, 410), np.uint8)
    whole = model.predict(image).labels
    asked = []
    monkeypatch.setattr(network, "LARGE", 1 << 14)

    def small(*args: object, **given: object) -> torch.Tensor:
        asked.append(args)
        return tiled(*args, **given, core=128)  # type: ignore[arg-type]

    monkeypatch.setattr(network, "tiled", small)
    found = model.predict(image).labels
    assert asked and whole.max() > 20
    assert (found == whole).mean() > 0.999
