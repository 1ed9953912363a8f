"""Training from Python: own loggers and metrics, and the training set in a loop of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from placewise.errors import SettingsError
from placewise.formats import read_dataset
from placewise.labels import KeypointSample, Visibility
from placewise.tasks.keypoints.prediction import KeypointPrediction
from placewise.training import TrainingSet, TrainingSettings, train

QUICK: dict[str, Any] = {
    "precision": "float32",
    "backbone_settings": {"width": 16, "depth": 1},
    "batch_size": 4,
    "max_steps": 20,
    "val_interval": 10,
}


def test_a_callback_is_told_every_line_of_the_log(squares: Path, tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    second: list[int] = []
    run = train(
        read_dataset(squares),
        tmp_path / "run",
        quiet=True,
        callbacks=[lambda line: told.append(dict(line)), lambda line: second.append(line["step"])],
        **QUICK,
    )
    assert all(line.pop("steps") == 20 for line in told)
    assert told == run.log()
    assert second == [line["step"] for line in told] == [10, 10, 20, 20]
    assert {"loss", "images_per_second"} <= told[0].keys() and "val_error_px" in told[1]


def test_a_metric_is_a_function_and_its_numbers_are_logged(squares: Path, tmp_path: Path) -> None:
    seen: list[int] = []

    def worst(
        samples: Sequence[KeypointSample], found: Sequence[KeypointPrediction]
    ) -> Mapping[str, float]:
        off = [
            np.linalg.norm(one.keypoints - sample.points[0], axis=-1)
            for sample, one in zip(samples, found, strict=True)
        ]
        seen.append(len(samples))
        return {"worst_px": np.nanmax(off), "mean_px": np.nanmean(off)}

    told: list[Mapping[str, Any]] = []
    run = train(
        read_dataset(squares),
        tmp_path / "run",
        quiet=True,
        callbacks=[told.append],
        metrics=[worst, lambda samples, found: {"found": len(found)}],
        **QUICK,
    )
    assert seen == [8, 8]
    lines = [line for line in run.log() if "val_error_px" in line]
    assert len(lines) == 2
    for line in lines:
        assert line["mean_px"] == pytest.approx(line["val_error_px"])
        assert line["worst_px"] >= line["mean_px"] and line["found"] == 8
    assert [line["worst_px"] for line in told if "worst_px" in line] == [
        line["worst_px"] for line in lines
    ]


def test_callbacks_and_metrics_change_nothing(squares: Path, tmp_path: Path) -> None:
    def curve(name: str, **more: Any) -> list[Any]:
        run = train(read_dataset(squares), tmp_path / name, quiet=True, **QUICK, **more)
        return [(line["step"], line.get("loss"), line.get("val_error_px")) for line in run.log()]

    noisy = {"callbacks": [lambda line: torch.rand(3)], "metrics": [lambda s, f: {"a": 1.0}]}
    assert curve("plain") == curve("noisy", **noisy)


def test_settings_are_given_once(squares: Path, tmp_path: Path) -> None:
    dataset = read_dataset(squares)
    with pytest.raises(SettingsError, match="got settings and max_steps"):
        train(dataset, tmp_path / "run", TrainingSettings(max_steps=2), max_steps=3)
    with pytest.raises(SettingsError, match="max_stepz"):
        train(dataset, tmp_path / "run", max_stepz=3)
    assert not (tmp_path / "run").exists()


# --- the training set in a loop of one's own -----------------------------------------------------


def test_it_is_a_dataset_of_torch(squares: Path) -> None:
    training = TrainingSet.of(read_dataset(squares))
    assert isinstance(training, Dataset) and len(training) == 24
    image, keypoints, visibility, index = training[5]
    assert image.shape == (1, 64, 64) and image.dtype == torch.float32
    assert image.min() >= 0 and image.max() <= 1
    assert keypoints.shape == (2, 2) and visibility.shape == (2,) and index == 5
    for split in ("val", "test"):
        assert len(TrainingSet.of(read_dataset(squares), split)) == 8


def test_in_a_mirrored_image_left_is_still_on_the_left(tmp_path: Path) -> None:
    """Counterparts change places on the way from labels to a batch; what is on them does not."""
    rows = ["image,point,x,y,split"]
    for number in range(12):
        image = np.full((40, 64), 110, np.uint8)
        for name, x, value in (("left", 14, 230), ("right", 48, 20)):
            image[16:25, x - 4 : x + 5] = value
            rows.append(f"{number}.png,{name},{x},20,{'train' if number < 10 else 'val'}")
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    (tmp_path / "points.csv").write_text("\n".join(rows), encoding="utf-8")
    training, mirrored, upright = TrainingSet.of(read_dataset(tmp_path)), 0, 0
    for epoch in range(4):
        training.set_epoch(epoch)
        for image, (left, right), _, _ in (training[i] for i in range(len(training))):
            assert left[0] < right[0]
            light, dark = (image[0, round(y), round(x)] for x, y in (left.tolist(), right.tolist()))
            mirrored, upright = mirrored + bool(light < dark), upright + bool(light > dark)
    assert mirrored > 10 and upright > 10 and mirrored + upright == 40


def test_keypoints_move_with_their_image(squares: Path) -> None:
    """The light square's middle is where the item says that it is."""
    training = TrainingSet.of(read_dataset(squares))
    checked = 0
    for epoch in range(3):
        training.set_epoch(epoch)
        for image, keypoints, visibility, _ in (training[i] for i in range(len(training))):
            x, y = keypoints[0].tolist()
            inner = 3 < x < image.shape[2] - 4 and 3 < y < image.shape[1] - 4
            if visibility[0] == Visibility.VISIBLE and inner:
                at = image[0, round(y), round(x)]
                assert at > image.mean() + image.std(), (epoch, x, y)
                checked += 1
    assert checked > 30


def batches_of(training: TrainingSet, workers: int) -> list[tuple[torch.Tensor, ...]]:
    loader = DataLoader(
        training,
        batch_size=8,
        shuffle=True,
        num_workers=workers,
        generator=torch.Generator().manual_seed(3),
        collate_fn=training.collate,
    )
    return [tuple(batch) for batch in loader]


def test_workers_of_a_plain_loader_change_nothing(squares: Path) -> None:
    training = TrainingSet.of(read_dataset(squares))
    training.set_epoch(2)
    alone, shared = batches_of(training, 0), batches_of(training, 2)
    assert len(alone) == len(shared) == 3
    for one, other in zip(alone, shared, strict=True):
        assert one[0].shape == (8, 1, 64, 64) and one[1].shape == (8, 2, 2)
        for first, second in zip(one, other, strict=True):
            assert torch.equal(first.nan_to_num(-1), second.nan_to_num(-1))
    indices = torch.cat([batch[-1] for batch in alone]).tolist()
    assert sorted(indices) == list(range(24)) != indices


def test_an_epoch_is_drawn_anew_and_again(squares: Path) -> None:
    training, again = (TrainingSet.of(read_dataset(squares)) for _ in range(2))
    first = training[3][0]
    training.set_epoch(1)
    second = training[3][0]
    assert not torch.equal(first, second)
    assert torch.equal(again[3][0], first) and torch.equal(again[(1, 3)][0], second)
    other = TrainingSet.of(read_dataset(squares), seed=1)
    assert not torch.equal(other[3][0], first)


def test_the_default_collate_of_torch_does_too(squares: Path) -> None:
    image, keypoints, visibility, index = next(
        iter(DataLoader(TrainingSet.of(read_dataset(squares)), 4))
    )
    assert image.shape == (4, 1, 64, 64) and keypoints.shape == (4, 2, 2)
    assert visibility.shape == (4, 2) and index.tolist() == [0, 1, 2, 3]
