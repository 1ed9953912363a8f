"""Backbone and head joined: any size, exact place, and what a run keeps of it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from placewise.errors import CheckpointError, PlacewiseError, SettingsError, ShapeError
from placewise.files import write_json
from placewise.heads import HEADS, Heatmap
from placewise.labels import KeypointDataset, KeypointSample, Visibility
from placewise.model import InputSettings, ModelSettings
from placewise.run import Run, RunFacts, prefixed, versions
from placewise.tasks import choose_model
from placewise.tasks.keypoints.model import KeypointModel, decode_floor

VIEW = InputSettings(scale=1.0, size=(48, 64), channels=1, mean=(0.5,), std=(0.2,))


KEYPOINT_HEADS = [name for name in HEADS.names() if HEADS[name].task == "keypoints"]
FLATTENING = ("coordinates", "simcc")


def build(head: str = "heatmap", scale: float = 1.0, **settings: object) -> KeypointModel:
    model = ModelSettings(
        names=("a", "b", "c"),
        input=VIEW.model_copy(update={"scale": scale}),
        backbone_settings={"width": 16, "depth": 2},
        head=head,
        head_settings=settings,
    )
    return KeypointModel.build(model).eval()


@pytest.mark.parametrize("size", [(1, 1), (7, 90), (48, 64), (131, 40)])
@pytest.mark.parametrize("head", [n for n in KEYPOINT_HEADS if n not in FLATTENING])
def test_any_size_and_no_keypoint_beyond_the_image(head: str, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (*size, 3)).astype(np.uint8)
    for scale in (1.0, 0.6):
        found = build(head, scale).predict(image)
        assert found.keypoints.shape == (3, 2)
        assert (found.keypoints >= -0.5 - 1e-4).all()
        assert (found.keypoints <= [size[1] - 0.5 + 1e-4, size[0] - 0.5 + 1e-4]).all()


@pytest.mark.parametrize("head", FLATTENING)
def test_a_flattening_head_says_why_it_cannot(head: str) -> None:
    model = build(head)
    assert model.predict(np.zeros((40, 64, 1), np.uint8)).keypoints.shape == (3, 2)
    with pytest.raises(SettingsError, match=r"flattens .*'heatmap', which takes any size"):
        model.predict(np.zeros((49, 64, 1), np.uint8))


def test_padding_to_a_multiple_moves_no_keypoint() -> None:
    """An image and the same image with its own replicated margin get the same keypoints."""
    model = build()
    with torch.no_grad():
        model.head.maps.values.weight.normal_(0, 1)
    image = np.random.default_rng(1).random((45, 61, 1)).astype(np.float32)
    padded = np.pad(image, ((0, 3), (0, 3), (0, 0)), mode="edge")
    shown = torch.from_numpy(padded).permute(2, 0, 1)[None]
    with torch.inference_mode():
        direct = model.head.decode(model(shown).float(), (45, 61))
    assert model.predict(image).keypoints == pytest.approx(direct.keypoints[0].numpy(), abs=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(48, 64), (45, 61)])
def test_one_image_has_the_same_bits_however_it_is_handed_over(
    channels: int, size: tuple[int, int]
) -> None:
    """Training, evaluation and prediction in memory say exactly the same of an image."""
    view = VIEW.model_copy(
        update={"channels": channels, "mean": (0.5,) * channels, "std": (0.2,) * channels}
    )
    settings = build().settings.model_copy(update={"input": view})
    model = KeypointModel.build(settings).eval()
    image = np.random.default_rng(0).integers(0, 255, (*size, channels)).astype(np.uint8)
    shown = model.prepared(image)
    one = model.predict(image)
    for batch in (shown[None], np.stack([shown]), np.asfortranarray(shown)[None]):
        (other,) = model.predict_scaled(batch, [size])
        assert np.array_equal(one.keypoints, other.keypoints)
        assert np.array_equal(one.uncertainty, other.uncertainty)


@pytest.mark.parametrize("scale", [1.0, 0.51])
@pytest.mark.parametrize("head", KEYPOINT_HEADS)
def test_the_decode_floor_is_low(head: str, scale: float) -> None:
    """What is written down is read off again, in the image's pixels, at any scale."""
    size = (48, 64) if scale == 1 else (94, 125)
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.3, 0.7, (8, 3, 2)) * [size[1], size[0]]
    visibility = np.full((8, 3), Visibility.VISIBLE, np.int8)

    class Shape:
        def __init__(self) -> None:
            self.size = size

    floor = decode_floor(build(head, scale), [Shape()] * 8, truth, visibility)
    assert floor is not None
    assert floor < 0.05
    nothing = np.full((8, 3), Visibility.UNLABELLED, np.int8)
    assert decode_floor(build(head, scale), [Shape()] * 8, truth, nothing) is None


@pytest.mark.parametrize(
    ("size", "extent", "scale", "sigma"),
    [
        ((240, 320), 200.0, 1.0, 1.5),
        ((240, 320), 50.0, 1.0, 1.25),
        ((240, 320), 9.0, 1.0, 1.0),
        ((240, 320), 0.0, 1.0, 1.5),
        ((2400, 3200), 800.0, 0.16, 1.5),
        ((2400, 3200), 1600.0, 0.1 * math.sqrt(2), 1.5),
        ((2400, 3200), 200.0, 0.4, 1.5),
        ((2400, 3200), 100.0, 0.48, 1.2),
    ],
)
def test_scale_and_sigma_follow_the_object(
    size: tuple[int, int],
    extent: float,
    scale: float,
    sigma: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """σ is 0.025 of the object's extent *after* scaling, from 1 to 1.5 px of the map."""
    monkeypatch.setattr(
        "placewise.labels.sources.read_image", lambda path: np.zeros((8, 8, 3), np.uint8)
    )
    points = np.array([[[10.0, 10.0], [10 + 0.6 * extent, 10 + 0.8 * extent]]])
    sample = KeypointSample("a.png", size, points, np.full((1, 2), Visibility.VISIBLE, np.int8))
    chosen = choose_model(KeypointDataset(Path(), ("a", "b"), (sample,)), [sample])
    assert chosen.input.scale == pytest.approx(scale)
    assert chosen.head_settings["sigma"] == pytest.approx(sigma)


def test_settings_refuse_unknown_keys() -> None:
    with pytest.raises(ValidationError):
        ModelSettings.model_validate({**build().settings.model_dump(), "colour": 1})
    with pytest.raises(SettingsError, match="no setting 'sgima'"):
        build(sgima=2)


HALF = nn.Conv2d(3, 8, 2, stride=2)


@pytest.mark.parametrize(
    ("backbone", "head", "more", "says"),
    [
        (nn.Conv2d(3, 8, (2, 4), stride=(2, 4)), Heatmap(8, keypoints=3), {}, "along both axes"),
        (HALF, Heatmap(8, keypoints=3), {"names": ["a"]}, "1 names, and the head answers 3"),
        (HALF, None, {}, "None as the head"),
        (HALF, Heatmap, {}, "as the head"),
        (HALF, nn.Conv2d(8, 3, 1), {}, "as the head"),
    ],
)
def test_parts_that_do_not_fit_are_refused(backbone, head, more, says: str) -> None:
    with pytest.raises(PlacewiseError, match=says):
        KeypointModel(backbone, head, **more)


@pytest.mark.parametrize(
    "wrong", [None, np.zeros((1, 3, 32, 32), np.float32), torch.zeros(1, 3, 32, 32).byte()]
)
def test_a_model_takes_batches_of_floats_alone(wrong) -> None:
    """Whole numbers would be taken for 0..1 and answered without a word."""
    with pytest.raises(ShapeError, match="a tensor of floats"):
        KeypointModel(HALF, Heatmap(8, keypoints=3))(wrong)


IMAGES = {"a.png": bytes(range(32))}


def facts(**changes: object) -> RunFacts:
    content = {
        "versions": versions(),
        "data": "points.csv",
        "fingerprint": "0" * 64,
        "split": {"train": ("a.png",), "val": (), "test": ()},
        "model": build().settings,
        "training": {"max_steps": 3},
    }
    return RunFacts(**{**content, **changes})


def test_a_run_is_what_was_written(tmp_path: Path) -> None:
    Run.create(tmp_path / "run", facts(), IMAGES)
    opened = Run.open(tmp_path / "run")
    assert opened.facts == facts()
    assert opened.log() == []
    assert opened.calibration() == {}
    assert opened.images() == {"a.png": "0001020304050607"}


def test_a_run_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no run\.json"):
        Run.open(tmp_path)
    run = Run.create(tmp_path / "run", facts(), IMAGES)
    content = facts().model_dump(mode="json")
    (run.path / "run.json").unlink()
    write_json(run.path / "run.json", {**content, "colour": 1})
    with pytest.raises(CheckpointError, match="colour"):
        Run.open(run.path)
    text = (run.path / "run.json").read_text()
    (run.path / "run.json").write_text(text.replace("a.png", "b.png"))
    with pytest.raises(CheckpointError, match="SHA-256"):
        Run.open(run.path)


def test_a_log_that_was_cut_short_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", facts(), IMAGES)
    lines = [json.dumps({"step": step, "loss": 1.0}) for step in (10, 20)]
    (run.path / "log.jsonl").write_text("\n".join(lines) + '\n{"step": 30, "lo')
    assert [line["step"] for line in run.log()] == [10, 20]


def test_prefixes() -> None:
    tensors = {"model.a": torch.zeros(1), "average.a": torch.ones(1)}
    assert prefixed(tensors, "average.")["a"].item() == 1
    assert prefixed(tensors, "optimizer.") == {}
