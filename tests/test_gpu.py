"""What a GPU must not change: training runs on it, and predictions are those of the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from placewise import KeypointModel, heads, load_model, read_dataset, read_image, train
from placewise.devices import device_of


@pytest.mark.gpu
def test_training_and_prediction_use_the_gpu_and_agree_with_the_cpu(
    squares: Path, tmp_path: Path
) -> None:
    assert device_of("auto").type == "cuda"
    settings = {"max_steps": 20, "precision": "float32", "backbone_settings": {"width": 16}}
    run = train(read_dataset(squares), tmp_path / "run", quiet=True, **settings)
    image = read_image(squares / "images" / "000.png")
    here, there = load_model(run, "cpu"), load_model(run)
    assert next(there.parameters()).device.type == "cuda"
    found, expected = there.predict(image), here.predict(image)
    assert np.abs(found.keypoints - expected.keypoints).max() < 0.1
    assert np.abs(found.scores - expected.scores).max() < 0.01


@pytest.mark.gpu
def test_a_tensor_on_the_gpu_is_an_image_too() -> None:
    image = torch.zeros(3, 48, 56, device="cuda")
    model = KeypointModel(torch.nn.Conv2d(3, 8, 4, stride=4), heads.Heatmap(8, keypoints=2))
    assert model.eval().to("cuda").predict(image).keypoints.shape == (2, 2)
