"""The head that classifies columns and rows, beside the same thing written plainly."""

from __future__ import annotations

import math

import pytest
import torch

from placewise.errors import SettingsError
from placewise.heads.simcc import SimCC
from placewise.labels import Visibility

INPUT, STRIDE, FINER = (12, 20), 4, 2
COLUMNS, ROWS = INPUT[1] * FINER, INPUT[0] * FINER
VISIBLE = torch.full((3, 2), int(Visibility.VISIBLE), dtype=torch.int8)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def build(**settings) -> SimCC:
    return SimCC(5, 2, STRIDE, INPUT, **{"finer": FINER, **settings}).double()


def features(batch: int = 3) -> torch.Tensor:
    return torch.randn(batch, 5, INPUT[0] // STRIDE, INPUT[1] // STRIDE, dtype=torch.float64)


def points(batch: int = 3) -> torch.Tensor:
    sides = torch.tensor([INPUT[1], INPUT[0]], dtype=torch.float64)
    return torch.rand(batch, 2, 2, dtype=torch.float64) * sides - 0.5


# --- slow twins ----------------------------------------------------------------------------------


def test_logits_are_those_of_loops_over_places_and_bins() -> None:
    head, shown = build(), features(1)
    found = head(shown)
    weight, bias = head.maps.weight[:, :, 0, 0], head.maps.bias
    for point in range(2):
        for start, layer in zip((0, COLUMNS), head.axes, strict=True):
            for bin_ in range(layer.out_features):
                total = layer.bias[bin_].item()
                for row in range(3):
                    for column in range(5):
                        heat = bias[point] + weight[point] @ shown[0, :, row, column]
                        total += (layer.weight[bin_, row * 5 + column] * heat).item()
                assert found[0, point, start + bin_].item() == pytest.approx(total)


def slow_axis(logits: list[float], place: float, sigma: float) -> float:
    """Cross-entropy of a softmax with a Gaussian at the middles of the bins, in pixels."""
    middles = [(number + 0.5) / FINER - 0.5 for number in range(len(logits))]
    heat = [math.exp(-((middle - place) ** 2) / (2 * sigma**2)) for middle in middles]
    total = sum(math.exp(logit) for logit in logits)
    shares = [math.exp(logit) / total for logit in logits]
    return -sum(h / sum(heat) * math.log(s) for h, s in zip(heat, shares, strict=True))


def test_the_loss_is_that_of_sums_over_bins() -> None:
    head, truth = build(sigma=2.0), points()
    visibility = VISIBLE.clone()
    visibility[1, 0], visibility[2, 1] = Visibility.ABSENT, Visibility.UNLABELLED
    output = torch.randn(3, 2, COLUMNS + ROWS, dtype=torch.float64)
    found = head.loss(output, truth, visibility)
    for image in range(3):
        for point in range(2):
            columns = output[image, point, :COLUMNS].tolist()
            rows = output[image, point, COLUMNS:].tolist()
            sums = [math.log(sum(math.exp(z) for z in axis)) for axis in (columns, rows)]
            there = 1 / (1 + math.exp(-sum(sums) / 2))
            x, y = truth[image, point].tolist()
            wanted = {
                Visibility.VISIBLE: slow_axis(columns, x, 2.0)
                + slow_axis(rows, y, 2.0)
                - math.log(there),
                Visibility.ABSENT: -math.log(1 - there),
                Visibility.UNLABELLED: 0.0,
            }[Visibility(int(visibility[image, point]))]
            assert found[image, point].item() == pytest.approx(wanted)


# --- laws ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("finer", [1, 2, 3])
def test_the_papers_reading_is_half_a_bin_off_at_most(finer: int) -> None:
    head, truth = build(finer=finer, decoder="argmax"), points(400)
    visibility = VISIBLE[:1].expand(400, 2)
    off = (head.decode(head.encode(truth, visibility, INPUT), INPUT).keypoints - truth).abs()
    assert off.max() <= 0.5 / finer + 1e-5
    assert off.max() > 0.4 / finer


def test_the_usual_reading_is_exact_everywhere_on_the_image() -> None:
    head, truth = build(), points(400)
    visibility = VISIBLE[:1].expand(400, 2)
    off = (head.decode(head.encode(truth, visibility, INPUT), INPUT).keypoints - truth).abs()
    assert off.max() < 0.01


def test_no_keypoint_lies_beyond_an_image_that_is_smaller_than_the_frame() -> None:
    head = build()
    truth = torch.tensor([[[18.0, 3.0], [2.0, 11.0]]], dtype=torch.float64)
    output = head.encode(truth, VISIBLE[:1], INPUT)
    assert torch.allclose(head.decode(output, INPUT).keypoints.double(), truth, atol=0.01)
    cut = head.decode(output, (9, 13)).keypoints
    assert (cut <= torch.tensor([12.5, 8.5])).all() and (cut >= -0.5).all()


def test_a_point_is_as_likely_absent_as_present_to_begin_with() -> None:
    scores = build().decode(build()(0.1 * features()), INPUT).scores
    assert (scores - 0.5).abs().max() < 0.05


def test_it_learns_where_a_place_is_lit() -> None:
    head = SimCC(1, 1, STRIDE, INPUT)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.03)
    places = torch.arange(15)
    shown = torch.nn.functional.one_hot(places, 15).float().reshape(15, 1, 3, 5)
    truth = torch.stack((places % 5, places // 5), -1)[:, None] * float(STRIDE) + 1.5
    visibility = torch.full((15, 1), int(Visibility.VISIBLE), dtype=torch.int8)
    for _ in range(150):
        optimizer.zero_grad()
        head.loss(head(shown), truth, visibility).mean().backward()
        optimizer.step()
    off = (head.decode(head(shown), INPUT).keypoints - truth).norm(dim=-1)
    assert off.max() < 0.5


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"finer": 0}, "finer is 0; it must be 1 or more"),
        ({"sigma": 0.1}, r"sigma is 0.2 bins \(0.1 px\); it must be between 0.3 and 20"),
        ({"sigma": 11.0}, "sigma is 22 bins"),
        ({"decoder": "mode"}, "no decoder is named 'mode'"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, says) -> None:
    with pytest.raises(SettingsError, match=says):
        build(**settings)
