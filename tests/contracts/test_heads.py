"""What every head promises, over all heads and all ways of setting them."""

from __future__ import annotations

import pytest
import torch

from placewise.formats import State
from placewise.heads import HEADS, DotHead

FRAME = (48, 64)
STRIDE = 4
SETTINGS = {
    "heatmap": [{"loss": loss} for loss in ("cross_entropy", "mse", "softmax", "joint")],
    "integral": [{}],
    "coordinates": [{"gather": "flatten"}, {"gather": "pool"}],
}
CASES = [(name, s) for name in HEADS.names() for s in SETTINGS.get(name, [{}])]


def build(name: str, settings: dict) -> DotHead:
    return HEADS[name](6, 3, STRIDE, FRAME, **settings).double()


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{'-'.join(case[1].values())}")
def head(request: pytest.FixtureRequest) -> DotHead:
    return build(*request.param)


def features(batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, 6, FRAME[0] // STRIDE, FRAME[1] // STRIDE, dtype=torch.float64)


def points(batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, 3, 2, dtype=torch.float64) * torch.tensor([59.0, 43.0]) + 2


VISIBLE = torch.full((2, 3), int(State.VISIBLE), dtype=torch.int8)


def test_every_member_is_covered() -> None:
    assert {name for name, _ in CASES} == set(HEADS.names())
    assert len(CASES) >= 7


def test_shapes_and_ranges(head: DotHead) -> None:
    dots = head.dots(head(features()), FRAME)
    assert dots.points.shape == (2, 3, 2)
    assert dots.scores.shape == dots.spreads.shape == (2, 3)
    assert (dots.scores >= 0).all() and (dots.scores <= 1).all()
    assert (dots.spreads >= 0).all()
    assert (dots.points >= -0.5).all()
    assert (dots.points <= torch.tensor([FRAME[1] - 0.5, FRAME[0] - 0.5])).all()


def test_ideal_output_is_read_as_the_truth(head: DotHead) -> None:
    """The decode floor: what the loss draws towards is read back to a hundredth of a pixel."""
    truth = points(64).clamp(12, 36)  # a mean over the map needs the whole Gaussian on it
    states = VISIBLE[:1].expand(64, 3)
    read = head.dots(head.ideal(truth, states, FRAME), FRAME)
    off = (read.points - truth).norm(dim=-1)
    assert off.max() < 0.05
    assert (read.scores > 0.9).all()


def test_ideal_output_says_absent(head: DotHead) -> None:
    if getattr(head, "kind", "") == "softmax":
        pytest.skip("a softmax over places alone cannot say absent")
    states = VISIBLE.clone()
    states[:, 1] = State.ABSENT
    scores = head.dots(head.ideal(points(), states, FRAME), FRAME).scores
    assert (scores[:, 1] < 0.1).all()
    assert (scores[:, [0, 2]] > 0.9).all()


@pytest.mark.parametrize("name", ["heatmap", "integral", "coordinates"])
def test_ideal_output_is_certain_wherever_the_point_lies(name: str) -> None:
    """Presence is an answer of its own: it does not hang on how the pixels lie about the point."""
    head = build(name, {})
    scores = head.dots(head.ideal(points(64), VISIBLE[:1].expand(64, 3), FRAME), FRAME).scores
    assert (scores > 0.9999).all()


def test_the_loss_is_least_at_the_truth(head: DotHead) -> None:
    """Moving the ideal output to another place costs more, for every point of the batch."""
    truth = points(32)
    states = VISIBLE[:1].expand(32, 3)
    right = head.loss(head.ideal(truth, states, FRAME), truth, states)
    moved = truth + torch.where(truth < 30, 6.0, -6.0)
    wrong = head.loss(head.ideal(moved, states, FRAME), truth, states)
    assert right.shape == (32, 3)
    assert (right < wrong).all()


def test_unlabelled_points_have_no_loss_and_no_gradient(head: DotHead) -> None:
    states = VISIBLE.clone()
    states[:, 1] = State.UNLABELLED
    truth = points()
    truth[:, 1] = torch.nan
    output = head(features()).requires_grad_()
    loss = head.loss(output, truth, states)
    assert (loss[:, 1] == 0).all()
    assert (loss[:, [0, 2]] > 0).all()
    (gradient,) = torch.autograd.grad(loss.sum(), output)
    assert torch.isfinite(gradient).all()
    per_point = gradient if gradient.ndim == 4 else gradient[..., None]
    assert (per_point[:, 1] == 0).all()


def test_absent_is_not_unlabelled(head: DotHead) -> None:
    if getattr(head, "kind", "") == "softmax":
        pytest.skip("a softmax over places alone takes absent for unlabelled")
    states = VISIBLE.clone()
    states[:, 1] = State.ABSENT
    truth = points()
    truth[:, 1] = torch.nan
    loss = head.loss(head(features()), truth, states)
    assert torch.isfinite(loss).all()
    assert (loss[:, 1] > 0).all()


def test_the_loss_is_differentiable(head: DotHead) -> None:
    output = head(features(1)).detach().requires_grad_()
    truth, states = points(1), VISIBLE[:1].clone()
    states[0, 2] = State.ABSENT
    assert torch.autograd.gradcheck(lambda out: head.loss(out, truth, states), output)


def test_other_sizes(head: DotHead) -> None:
    other = torch.rand(1, 6, 10, 9, dtype=torch.float64)
    if head.any_size:
        assert head.dots(head(other), (40, 36)).points.shape == (1, 3, 2)
    else:
        with pytest.raises(ValueError, match="flattens"):
            head(other)


@pytest.mark.parametrize("name", ["heatmap", "integral"])
def test_maps_move_with_the_points(name: str) -> None:
    """Equivariance: one feature cell further is exactly one stride further."""
    head = build(name, {})
    truth = points().clamp(12, 30)
    output = head.ideal(truth, VISIBLE, FRAME)
    shifted = head.ideal(truth + STRIDE, VISIBLE, FRAME)
    cells = STRIDE // head.stride
    assert torch.allclose(shifted[..., cells:, cells:], output[..., :-cells, :-cells], atol=1e-9)
