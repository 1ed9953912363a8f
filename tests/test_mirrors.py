"""Predictions over mirrored images: maps that are mirrored back, and the mean of them all."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import placewise
from conftest import draw_squares
from placewise.augment import Augmentation, generator
from placewise.errors import SettingsError
from placewise.formats import read_dataset
from placewise.heads import HEADS, Head
from placewise.model import InputSettings, ModelSettings
from placewise.run import Run
from placewise.tasks import build
from placewise.tasks.masks.demo import write_images
from placewise.training import TrainingSettings

SIZE = (32, 64)
ALL = ((-1,), (-2,), (-2, -1))
ABLE = [name for name in HEADS.names() if HEADS[name].mirrors]


def truth(head: Head, axes: tuple[int, ...]) -> Tensor:
    """What a head would say that knows the truth of an image, mirrored along axes."""
    labels = torch.zeros(SIZE, dtype=torch.long)
    labels[2:9, 4:16], labels[2:9, 16:20], labels[20:31, 33:47] = 1, 2, 3
    labels = labels.flip(axes)[None] if axes else labels[None]
    if head.task == "instances":
        return head.encode(labels, torch.zeros(1))  # type: ignore[operator]
    return torch.nn.functional.one_hot(labels, 4).movedim(-1, 1).float()


def test_two_heads_can_mirror_their_maps_back() -> None:
    assert ABLE == ["instances", "masks"]


@pytest.mark.parametrize(("name", "axes"), list(itertools.product(ABLE, ALL)))
def test_what_is_said_of_a_mirrored_image_mirrored_back_is_said_of_the_image(
    name: str, axes: tuple[int, ...]
) -> None:
    head = HEADS[name](8, 3 if name == "masks" else 1, 4)
    back = head.unmirrored(truth(head, axes), axes)
    nothing = -12.0  # a logit: what is below is never anything, but depends on where a hill ends
    assert torch.allclose(back.clamp(nothing), truth(head, ()).clamp(nothing), atol=1e-4)
    assert not torch.allclose(truth(head, axes), truth(head, ()), atol=1e-2)


def network(name: str, mirrors: tuple[tuple[int, ...], ...]) -> placewise.model.Network:
    """A small network with weights that make every place count."""
    view = InputSettings(scale=1.0, size=SIZE, channels=1, mean=(0.5,), std=(0.2,))
    settings = ModelSettings(
        names=("cell",),
        input=view,
        head=name,
        backbone_settings={"width": 16, "depth": 2},
        mirrors=mirrors,
    )
    torch.manual_seed(3)
    model = build(settings)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model.eval()


@pytest.mark.parametrize("name", ABLE)
def test_a_mirrored_image_gets_the_mirrored_answer(name: str) -> None:
    """The mean over all four is the same set of maps whichever of the four is the image."""
    shown = np.random.default_rng(1).random((1, *SIZE, 1), np.float32)
    model, once = network(name, ALL), network(name, ())
    whole = model.raw(shown)
    for axes in ALL:
        mirrored = np.flip(shown, [axis - 1 for axis in axes]).copy()  # channels are last
        assert torch.allclose(
            model.head.unmirrored(model.raw(mirrored), axes), whole, rtol=1e-4, atol=1e-4
        )
        assert not torch.allclose(
            once.head.unmirrored(once.raw(mirrored), axes), once.raw(shown), rtol=1e-2, atol=1e-2
        )


def test_mirrored_images_go_through_the_engine_too() -> None:
    shown = np.random.default_rng(1).random((1, *SIZE, 1), np.float32)
    model, plain = network("masks", ALL), network("masks", ALL)
    seen = []

    def engine(images: Tensor) -> Tensor:
        seen.append(images)
        return model.head(model.features(images)).float()

    model.engine = engine  # type: ignore[assignment]
    assert torch.equal(model.raw(shown), plain.raw(shown)) and len(seen) == 4


def test_settings_refuse_what_cannot_be_mirrored_back() -> None:
    view = InputSettings(scale=1.0, size=SIZE, channels=1, mean=(0.5,), std=(0.2,))
    for head, mirrors in (("heatmap", ((-1,),)), ("masks", ((-3,),)), ("masks", ((-1, -1),))):
        with pytest.raises(ValueError, match="can mirror back"):
            ModelSettings(names=("cell",), input=view, head=head, mirrors=mirrors)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("turns", [False, True])
def test_the_mirrors_are_those_that_training_draws(flip: bool, turns: bool) -> None:
    """Of all changes without a quarter turn, those of the corners' signs are drawn and no more."""
    bare = Augmentation.none().as_dict()
    augmentation = Augmentation.of(**bare | {"flip": flip, "turns": turns})
    drawn = set()
    for number in range(60):
        warp = augmentation.draw(generator(0, number, "a"), (9, 9), (9, 9))
        ends = warp.forward(np.array([[0.0, 0.0], [8.0, 0.0]]))
        if abs(ends[1, 1] - ends[0, 1]) < 1e-6:  # a row is still a row
            along_x = ends[1, 0] < ends[0, 0]
            along_y = warp.forward(np.array([[0.0, 8.0]]))[0, 1] < ends[0, 1]
            drawn.add(tuple(a for a, turned in ((-2, along_y), (-1, along_x)) if turned))
    assert drawn == {(), *augmentation.mirrors(2)}


def test_a_run_mirrors_where_it_was_asked_to(tmp_path: Path) -> None:
    dataset = read_dataset(write_images(tmp_path / "data", images=10))
    placewise.train(dataset, tmp_path / "run", max_steps=2, mirrors=True, quiet=True)
    run = Run.open(tmp_path / "run")
    assert run.facts.model.mirrors == run.model().mirrors == ALL
    assert not TrainingSettings().mirrors


def test_mirrors_are_refused_where_they_would_do_nothing(tmp_path: Path) -> None:
    masks = read_dataset(write_images(tmp_path / "masks", images=10))
    keypoints = read_dataset(draw_squares(tmp_path / "keypoints", 10))
    asked = {"max_steps": 2, "mirrors": True, "quiet": True}
    with pytest.raises(
        SettingsError, match=r"'heatmap' cannot .* leave mirrors out, .*instances an"
    ):
        placewise.train(keypoints, tmp_path / "run", **asked)
    upright = {"flip": False, "rotate": 10.0, "turns": False}
    with pytest.raises(SettingsError, match=r"mirrors no image .* set flip=true"):
        placewise.train(masks, tmp_path / "run", augmentation=upright, **asked)
    assert not (tmp_path / "run" / "run.json").exists()
