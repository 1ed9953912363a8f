"""Every head, backbone and padding rule can be written as ONNX, and the file says what torch says.

A member that is added later is tried here by itself.
"""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from _pytest.mark import ParameterSet
from torch import nn

from placewise.backbones import BACKBONES
from placewise.engines import write_network
from placewise.exporting import whole_as_onnx
from placewise.heads import HEADS
from placewise.model import InputSettings, ModelSettings, Network
from placewise.onnx_files import able, metadata_in
from placewise.paddings import PADDINGS
from placewise.tasks import build

runtime = pytest.importorskip("onnxruntime")
pytestmark = [
    pytest.mark.skipif(not able(), reason='onnx is missing: pip install "placewise[onnx]"'),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:onnx.*"),
]

SIZES = {1: (48,), 2: (24, 32), 3: (16, 24, 20)}
"""Size of the training images in 1, 2 and 3 dimensions."""

PLACES, SHARE = 1e-3, 1e-3
"""Pixels, and share of the largest value, by which a file may differ from torch in float32."""


def cases(all_of: list[tuple], short: Callable[..., bool]) -> list[ParameterSet]:
    """Each takes seconds: those that are not of the short form are slow."""
    slow = pytest.mark.slow
    return [pytest.param(*one, marks=() if short(*one) else slow) for one in all_of]


TINY: dict[str, dict] = {"unet": {"width": 16, "depth": 1}, "resnet": {"width": 4, "blocks": 1}}
HEAD_CASES = cases(
    [(name, axes) for name in HEADS.names() for axes in SIZES], lambda _, axes: axes == 3
)
MORE_HEADS = [("coordinates", {"gather": "pool"})]
BACKBONE_CASES = cases(
    [(name, axes) for name in BACKBONES.names() if name != "timm" for axes in SIZES],
    lambda name, axes: name == "lenet" and axes == 2,
)
RULES = cases(
    [(name,) for name in PADDINGS.names() if PADDINGS[name].keeps_size],
    lambda name: name == "circular",
)


def network_of(
    backbone: str, head: str, axes: int = 2, settings: dict | None = None, **more: object
) -> Network:
    """With weights that say something, and the quickest decoder where there is a choice."""
    chosen = dict(settings or {})
    if "decoder" in inspect.signature(HEADS[head]).parameters:
        chosen["decoder"] = "argmax"
    look = InputSettings(scale=1, size=SIZES[axes], channels=1, mean=(0.4,), std=(0.3,))
    torch.manual_seed(0)
    network = build(
        ModelSettings(
            names=("a", "b"),
            input=look,
            backbone=backbone,
            backbone_settings={**TINY.get(backbone, {}), **more},
            head=head,
            head_settings=chosen,
        )
    )
    for part in network.head.modules():
        if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            nn.init.normal_(part.weight, std=0.3)
    return network.eval()


def sizes_of(network: Network, smallest: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The smallest, and others that the network has not been followed with."""
    if not network.head.any_size:
        return [network.input_size]
    larger = tuple(side + 3 + 5 * axis for axis, side in enumerate(network.input_size))
    return [smallest, larger, tuple(max(pair) for pair in zip(smallest, larger[::-1], strict=True))]


@torch.inference_mode()
def check_whole(network: Network, folder: Path) -> None:
    """The file of `placewise export` answers what the network does, whatever batch and size."""
    written, file = whole_as_onnx(network), folder / "whole.onnx"
    written.save(file, {})
    session = runtime.InferenceSession(str(file))
    for batch, size in enumerate(sizes_of(network, written.smallest), 1):
        images = torch.rand(batch, 1, *size)
        padded = network.padding.pad(images, network.margins(size))
        expected = network.read(network.head(network.features(padded)).float(), size)
        found = session.run(list(network.answers), {"images": images.numpy()})
        for name, answer in zip(network.answers, found, strict=True):
            check_near(answer, expected[name].numpy(), PLACES if name == "keypoints" else None)


@torch.inference_mode()
def check_engine(network: Network, folder: Path) -> None:
    """So does the file that engines run."""
    file = folder / "network.onnx"
    write_network(network, file)
    session = runtime.InferenceSession(str(file))
    step, least = network.multiple, tuple(json.loads(metadata_in(file)["smallest"]))
    for batch, size in enumerate(sizes_of(network, least), 1):
        images = torch.rand(batch, 1, *(-(-side // step) * step for side in size))
        expected = network.head(network.features(images)).float()
        (found,) = session.run(None, {"images": images.numpy()})
        check_near(found, expected.numpy(), None)


def check_near(found: np.ndarray, expected: np.ndarray, near: float | None) -> None:
    assert found.shape == expected.shape
    known = np.isfinite(expected)
    assert (known == np.isfinite(found)).all()
    if known.any():
        off = np.abs(found[known] - expected[known]).max()
        assert off <= (near or SHARE * np.abs(expected[known]).max())


@pytest.mark.parametrize(("head", "axes"), HEAD_CASES, ids=str)
def test_a_head(head: str, axes: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    check_whole(network_of("lenet", head, axes, padding_mode="zeros"), tmp_path)
    said = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert not said, "what libraries try is not for users"


@pytest.mark.parametrize(("head", "settings"), MORE_HEADS, ids=str)
def test_a_head_set_otherwise(head: str, settings: dict, tmp_path: Path) -> None:
    network = network_of("lenet", head, 2, settings, padding_mode="zeros")
    check_whole(network, tmp_path)
    check_engine(network, tmp_path)


@pytest.mark.parametrize(("backbone", "axes"), BACKBONE_CASES, ids=str)
def test_a_backbone(backbone: str, axes: int, tmp_path: Path) -> None:
    network = network_of(backbone, "heatmap", axes)
    check_whole(network, tmp_path)
    check_engine(network, tmp_path)


@pytest.mark.parametrize("rule", RULES)
def test_a_padding_rule(rule: str, tmp_path: Path) -> None:
    check_whole(network_of("unet", "heatmap", padding_mode=rule), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_a_padding_rule_of_an_engine(rule: str, tmp_path: Path) -> None:
    check_engine(network_of("unet", "heatmap", padding_mode=rule), tmp_path)
