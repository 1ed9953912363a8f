"""What every head promises, over all heads and all ways of setting them."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from placewise.decoders import Taylor
from placewise.errors import SettingsError, ShapeError
from placewise.heads import HEADS, ClassHead, KeypointHead
from placewise.heads.heatmap import Heatmap
from placewise.labels import NOT_LABELLED, Visibility
from placewise.losses import LOSSES, MSE, Joint

SETTINGS: dict[str, list[dict]] = {
    "heatmap": [{"loss": loss} for loss in LOSSES.names()],
    "integral": [{}],
    "coordinates": [{"gather": "flatten"}, {"gather": "pool"}],
    "convolutional": [{}, {"layers": 0}],
    "flatten": [{}, {"layers": 2, "hidden": 20}, {"layers": 0}],
    "sheet": [{}, {"layers": 2, "window": 2}, {"volume": True, "hidden": 4}],
    "proximity": [{}, {"layers": 2, "fan_in": 9}, {"reach": math.inf}],
    "palm_tree": [{"hidden": 4}],
    "low_rank": [{"kind": "tucker"}, {"kind": "cp", "rank": 9}],
}
ALL = [(name, settings) for name in HEADS.names() for settings in SETTINGS.get(name, [{}])]
CASES = [case for case in ALL if HEADS[case[0]].task == "keypoints"]
CLASS_CASES = [case for case in ALL if HEADS[case[0]].task == "classes"]


def test_every_member_is_covered() -> None:
    assert len(CASES) >= 7
    assert len({name for name, _ in CLASS_CASES}) >= 6
    for name, _ in CASES + CLASS_CASES:
        assert issubclass(
            HEADS[name], KeypointHead if HEADS[name].task == "keypoints" else ClassHead
        )


def case_id(case: tuple[str, dict]) -> str:
    return "-".join([case[0], *(f"{key}={value}" for key, value in case[1].items())])


# --- heads that give keypoints --------------------------------------------------------------------

INPUTS = {1: (64,), 2: (48, 64), 3: (32, 40, 36)}
"""Size of the images in 1, 2 and 3 dimensions."""

STRIDE = 4

KEYPOINT_CASES = [(*case, axes) for case in CASES for axes in INPUTS]
ON_MAPS = ["heatmap", "integral"]


def keypoint_id(case: tuple[str, dict, int]) -> str:
    return f"{case_id(case[:2])}-{case[2]}d"


def build(name: str, settings: dict, axes: int = 2) -> KeypointHead:
    return HEADS[name](6, 3, STRIDE, INPUTS[axes], **settings).double()


@pytest.fixture(params=KEYPOINT_CASES, ids=keypoint_id)
def head(request: pytest.FixtureRequest) -> KeypointHead:
    return build(*request.param)


@pytest.fixture
def size(head: KeypointHead) -> tuple[int, ...]:
    return INPUTS[head.spatial_dims]


def features(size: tuple[int, ...] = INPUTS[2], batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, 6, *(side // STRIDE for side in size), dtype=torch.float64)


def points(size: tuple[int, ...] = INPUTS[2], batch: int = 2) -> torch.Tensor:
    """Keypoints (batch, 3, axes) that are not on the outermost pixels."""
    room = torch.tensor(size[::-1]) - 5.0
    return torch.rand(batch, 3, len(size), dtype=torch.float64) * room + 2


def at_the_border(size: tuple[int, ...], batch: int = 60) -> torch.Tensor:
    """Keypoints (batch, 3, axes) in all corners, on their very edges, and on outermost pixels."""
    axes, last = len(size), torch.tensor(size[::-1], dtype=torch.float64) - 1
    low = torch.tensor(list(itertools.product((0.0, 1.0), repeat=axes)), dtype=torch.float64)
    corners = torch.cat((low * last, low * (last + 1) - 0.5))
    spread = torch.rand(3 * batch - len(corners), axes, dtype=torch.float64) * (last + 1) - 0.5
    number = torch.arange(len(spread))
    off = torch.rand(len(spread), dtype=torch.float64) - 0.5  # of the outermost pixel's centre
    spread[number, number % axes] = torch.where(number % 2 == 0, off, last[number % axes] + off)
    return torch.cat((corners, spread)).view(batch, 3, axes)


VISIBLE = torch.full((2, 3), int(Visibility.VISIBLE), dtype=torch.int8)


def visible(batch: int) -> torch.Tensor:
    return VISIBLE[:1].expand(batch, 3)


def test_shapes_and_ranges(head: KeypointHead, size) -> None:
    decoded = head.decode(head(features(size)), size)
    assert decoded.keypoints.shape == (2, 3, len(size))
    assert decoded.scores.shape == decoded.uncertainty.shape == (2, 3)
    assert (decoded.scores >= 0).all() and (decoded.scores <= 1).all()
    assert (decoded.uncertainty >= 0).all()
    assert (decoded.keypoints >= -0.5).all()
    assert (decoded.keypoints <= torch.tensor(size[::-1]) - 0.5).all()


def test_ideal_output_is_read_as_the_truth(head: KeypointHead, size) -> None:
    """The decode floor: what the loss draws towards is read back to a hundredth of a pixel."""
    least = min(size) - 12.0  # a mean over the map needs the whole Gaussian on it
    truth = points(size, 64).clamp(12, least)
    read = head.decode(head.encode(truth, visible(64), size), size)
    assert (read.keypoints - truth).norm(dim=-1).max() < 0.05
    assert (read.scores > 0.9).all()


def test_corners_and_outermost_pixels_are_read_as_the_truth(head: KeypointHead, size) -> None:
    truth = at_the_border(size)
    read = head.decode(head.encode(truth, visible(60), size), size)
    off = (read.keypoints - truth).norm(dim=-1)
    inwards = ((read.keypoints - truth) * (truth - (torch.tensor(size[::-1]) - 1) / 2)).sum(-1)
    if head.exact_at_border:
        assert off.max() < 0.05
    else:
        assert 0.5 < off.max() < 0.82 * head.sigma * max(head.map_stride) * len(size) ** 0.5
        assert (inwards < 0).all()
    assert (read.scores > 0.8).all()  # some read the hottest pixel, which a corner lies between


def test_ideal_output_says_absent(head: KeypointHead, size) -> None:
    if not head.can_say_absent:
        pytest.skip("this loss cannot say absent")
    visibility = VISIBLE.clone()
    visibility[:, 1] = Visibility.ABSENT
    scores = head.decode(head.encode(points(size), visibility, size), size).scores
    assert (scores[:, 1] < 0.1).all()
    assert (scores[:, [0, 2]] > 0.9).all()


def test_what_cannot_say_absent_says_always_there(head: KeypointHead, size) -> None:
    decoded = head.decode(head(features(size)), size)
    assert head.can_say_absent != bool((decoded.scores == 1).all())


@pytest.mark.parametrize("axes", INPUTS)
@pytest.mark.parametrize("name", ["heatmap", "integral", "coordinates"])
def test_ideal_output_is_certain_wherever_the_keypoint_lies(name: str, axes: int) -> None:
    """Presence is an answer of its own: where pixels lie about the keypoint does not change it."""
    head, size = build(name, {}, axes), INPUTS[axes]
    output = head.encode(points(size, 64), visible(64), size)
    assert (head.decode(output, size).scores > 0.999).all()


def test_the_loss_is_least_at_the_truth(head: KeypointHead, size) -> None:
    """Moving the ideal output to another place costs more, for every keypoint of the batch."""
    truth = points(size, 32)
    right = head.loss(head.encode(truth, visible(32), size), truth, visible(32))
    moved = truth + torch.where(truth < min(size) / 2, 6.0, -6.0)
    wrong = head.loss(head.encode(moved, visible(32), size), truth, visible(32))
    assert right.shape == (32, 3)
    assert (right < wrong).all()


def test_unlabelled_keypoints_have_no_loss_and_no_gradient(head: KeypointHead, size) -> None:
    visibility = VISIBLE.clone()
    visibility[:, 1] = Visibility.UNLABELLED
    truth = points(size)
    truth[:, 1] = torch.nan
    output = head(features(size)).detach().requires_grad_()
    loss = head.loss(output, truth, visibility)
    assert (loss[:, 1] == 0).all()
    assert (loss[:, [0, 2]] > 0).all()
    (gradient,) = torch.autograd.grad(loss.sum(), output)
    assert torch.isfinite(gradient).all()
    assert (gradient[:, 1] == 0).all()
    assert (gradient[:, [0, 2]].flatten(2) != 0).any(-1).all()


def test_absent_is_not_unlabelled(head: KeypointHead, size) -> None:
    visibility = VISIBLE.clone()
    visibility[:, 1] = Visibility.ABSENT
    truth = points(size)
    truth[:, 1] = torch.nan
    loss = head.loss(head(features(size)), truth, visibility)
    assert torch.isfinite(loss).all()
    assert ((loss[:, 1] > 0) == head.can_say_absent).all()


def test_the_loss_is_differentiable(head: KeypointHead, size) -> None:
    output = head(features(size, 1)).detach().requires_grad_()
    truth, visibility = points(size, 1), VISIBLE[:1].clone()
    visibility[0, 2] = Visibility.ABSENT
    at = output
    if isinstance(getattr(head, "criterion", None), Joint):  # else its gradient is another one
        at = torch.zeros(1, 3, *[1] * len(size), dtype=output.dtype, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda out: head.loss(out if at is output else output.detach() + out, truth, visibility),
        at,
        fast_mode=len(size) == 3,
    )


def test_other_sizes(head: KeypointHead, size) -> None:
    other = torch.rand(1, 6, *(10, 9, 8)[: len(size)], dtype=torch.float64)
    if head.any_size:
        images = tuple(STRIDE * side for side in other.shape[2:])
        assert head.decode(head(other), images).keypoints.shape == (1, 3, len(size))
    else:
        with pytest.raises(ShapeError, match="flattens"):
            head(other)


def test_features_of_another_shape_are_refused(head: KeypointHead, size) -> None:
    shown = features(size)
    for wrong in (shown[:, :5], shown[0], shown[..., None]):
        with pytest.raises(ShapeError, match=r"got features of shape .* reads \(batch, 6 channels"):
            head(wrong)


@pytest.mark.parametrize("axes", INPUTS)
@pytest.mark.parametrize("name", ON_MAPS)
def test_maps_move_with_the_keypoints(name: str, axes: int) -> None:
    """Equivariance: one feature cell further is exactly one stride further."""
    head, size = build(name, {}, axes), INPUTS[axes]
    truth = points(size).clamp(12, 20)
    output = head.encode(truth, VISIBLE, size)
    shifted = head.encode(truth + STRIDE, VISIBLE, size)
    assert head.map_stride == (STRIDE // head.finer,) * axes
    cells = head.finer
    inner, outer = (slice(cells, None),) * axes, (slice(None, -cells),) * axes
    assert torch.allclose(shifted[..., *inner], output[..., *outer], atol=1e-9)


@pytest.mark.parametrize("name", sorted({name for name, _ in CASES}))
@pytest.mark.parametrize("strides", [(4, 2), (2, 4)])
def test_strides_may_differ_between_axes(name: str, strides: tuple[int, int]) -> None:
    head = HEADS[name](6, 3, strides, (32, 48)).double()
    truth = points((32, 48), 40).clamp(12, 20)
    read = head.decode(head.encode(truth, visible(40), (32, 48)), (32, 48))
    assert (read.keypoints - truth).norm(dim=-1).max() < 0.05
    shown = torch.rand(2, 6, 32 // strides[0], 48 // strides[1], dtype=torch.float64)
    assert head.decode(head(shown), (32, 48)).keypoints.shape == (2, 3, 2)


# --- heads that give classes ---------------------------------------------------------------------

CHANNELS, CLASSES = 4, 3
SIZES = [(5,), (6,), (1,), (5, 7), (6, 4), (1, 2), (3, 4, 5), (2, 6, 4)]

each_class_head = pytest.mark.parametrize("case", CLASS_CASES, ids=case_id)
each_size = pytest.mark.parametrize("size", SIZES, ids=str)
each_dimension = pytest.mark.parametrize("size", [(5,), (5, 4), (3, 4, 5)], ids=str)


def classifier(case: tuple[str, dict], size: tuple[int, ...], seed: int = 0) -> ClassHead:
    name, settings = case
    if settings.get("volume") and len(size) == 3:
        with pytest.raises(SettingsError, match="3 already"):
            HEADS[name](CHANNELS, CLASSES, size, **settings)
        pytest.skip("a volume of volumes is refused")
    torch.manual_seed(seed)
    return HEADS[name](CHANNELS, CLASSES, size, **settings).eval()


def maps(size: tuple[int, ...], batch: int = 2, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    seeded = torch.Generator().manual_seed(7)
    return torch.randn(batch, CHANNELS, *size, generator=seeded).to(dtype)


@each_size
@each_class_head
def test_a_logit_for_each_class(case, size) -> None:
    head = classifier(case, size)
    assert head(maps(size)).shape == (2, CLASSES)
    assert torch.allclose(head(maps(size)[:1]), head(maps(size))[:1], atol=1e-5)


@each_dimension
@each_class_head
def test_another_size_is_answered_or_refused(case, size) -> None:
    head, other = classifier(case, size), maps(tuple(side + 1 for side in size))
    if head.any_size:
        assert head(other).shape == (2, CLASSES)
        return
    with pytest.raises(ShapeError, match=r"it got 4 channels .* which takes any size"):
        head(other)


@each_dimension
@each_class_head
def test_features_of_another_shape_are_refused_by_class_heads(case, size) -> None:
    head, shown = classifier(case, size), maps(size)
    for wrong in (shown[:, :3], shown[0], shown[..., None]):
        with pytest.raises(ShapeError, match=r"got features of shape .* reads \(batch, 4 channels"):
            head(wrong)


@pytest.mark.parametrize("case", CLASS_CASES, ids=case_id)
def test_half_the_digits_are_enough_as_in_training(case) -> None:
    """Under autocast features are bfloat16 and weights float32; training takes either."""
    head, features = classifier(case, (6, 6)), maps((6, 6))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rough = head(features.bfloat16()).float()
    with torch.no_grad():
        torch.testing.assert_close(rough, head(features), rtol=0.05, atol=0.05)


@each_dimension
@each_class_head
def test_gradient_reaches_every_parameter_and_every_feature(case, size) -> None:
    head = classifier(case, size).train()
    features = maps(size, batch=16).requires_grad_()
    head.loss(head(features), torch.arange(16) % CLASSES).sum().backward()
    parameters = dict(head.named_parameters())
    assert parameters
    assert [name for name, p in parameters.items() if p.grad is None or not p.grad.any()] == []
    if case != ("proximity", {"layers": 2, "fan_in": 9}):  # its few connections may leave one out
        assert (features.grad.abs().sum(0) > 0).all()


@each_dimension
@each_class_head
def test_weights_are_saved_and_loaded(case, size, tmp_path: Path) -> None:
    mine, other = classifier(case, size, seed=1), classifier(case, size, seed=2)
    save_file(mine.state_dict(), tmp_path / "head.safetensors")
    assert not torch.equal(mine(maps(size)), other(maps(size)))
    other.load_state_dict(load_file(tmp_path / "head.safetensors"))
    assert torch.equal(mine(maps(size)), other(maps(size)))


@each_class_head
def test_the_seed_says_all(case) -> None:
    first, second = (classifier(case, (5, 4), seed=3)(maps((5, 4))) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@each_dimension
@each_class_head
def test_any_dtype(case, size, dtype) -> None:
    head, features = classifier(case, size), maps(size)
    exact = head.double()(features.double())
    logits = head.to(dtype)(features.to(dtype))
    assert logits.dtype == dtype
    assert torch.allclose(logits.double(), exact, atol=1e-5 if dtype != torch.bfloat16 else 0.15)


@each_class_head
def test_export_with_any_batch(case) -> None:
    head, features = classifier(case, (5, 4)), maps((5, 4), batch=3)
    batch = {0: torch.export.Dim("batch", min=1, max=64)}
    program = torch.export.export(head, (features[:2],), dynamic_shapes=(batch,))
    assert torch.allclose(program.module()(features), head(features), atol=1e-6)


@each_dimension
@each_class_head
def test_logits_begin_with_a_variance_of_about_one(case, size) -> None:
    """Features of mean square 1 give logits neither drowned nor saturated: the true fan-in."""
    classifier(case, size)
    heads = [HEADS[case[0]](CHANNELS, 40, size, **case[1]).eval() for _ in range(5)]
    logits = torch.stack([head(maps(size, batch=200)) for head in heads])
    averages_the_features = case == ("convolutional", {"layers": 0})
    expected = 1 / math.prod(size) if averages_the_features else 1
    assert expected / 4 < logits.square().mean() < 2 * expected


@each_class_head
def test_cross_entropy_and_nothing_where_no_class_is_known(case) -> None:
    head = classifier(case, (5, 4))
    logits = head(maps((5, 4), batch=3)).detach().requires_grad_()
    loss = head.loss(logits, torch.tensor([2, NOT_LABELLED, 0]))
    wanted = [-torch.log(logits[n].exp()[c] / logits[n].exp().sum()) for n, c in ((0, 2), (2, 0))]
    assert torch.allclose(loss[[0, 2]], torch.stack(wanted))
    loss.sum().backward()
    assert loss[1] == 0 and not logits.grad[1].any() and logits.grad[[0, 2]].all()


@pytest.mark.parametrize("name", sorted({name for name, _ in CLASS_CASES}))
@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((0, 3, (5, 5)), "in_channels is 0; it must be 1 or more"),
        ((4, 0, (5, 5)), "classes is 0; it must be 1 or more"),
        ((4, 3, ()), r"size of the map is \(\)"),
        ((4, 3, (5, 0)), r"size of the map is \(5, 0\)"),
        ((4, 3, (5, 5, 5, 5)), "1, 2 or 3 axes"),
    ],
)
def test_what_cannot_be_built_is_refused(name, given, says) -> None:
    with pytest.raises(SettingsError, match=says):
        HEADS[name](*given)


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("flatten", {"hidden": 0}, "hidden is 0"),
        ("flatten", {"layers": -1}, "layers is -1; it must be 0 or more"),
        ("flatten", {"dropout": 1.0}, "dropout is 1.0; it must be 0 or more and less than 1"),
        ("convolutional", {"hidden": 0}, "hidden is 0"),
        ("convolutional", {"dropout": -0.1}, "dropout is -0.1"),
        ("sheet", {"window": 0}, "window is 0"),
        ("sheet", {"layers": 0}, "layers is 0"),
        ("proximity", {"fan_in": 0}, "fan_in is 0"),
        ("proximity", {"reach": 0.0}, "got reach 0"),
        ("palm_tree", {"window": 1}, "window is 1; it must be 2 or more"),
        ("low_rank", {"rank": 0}, "rank is 0"),
        ("low_rank", {"kind": "tt"}, "kind is 'tt'; it must be one of tucker, cp"),
    ],
)
def test_settings_that_cannot_be_are_refused(name, settings, says) -> None:
    with pytest.raises(SettingsError, match=says):
        HEADS[name](4, 3, (5, 5), **settings)


# --- what a keypoint head knows of the features that it reads -------------------------------------


@pytest.mark.parametrize("axes", INPUTS)
@pytest.mark.parametrize("name", ON_MAPS)
def test_a_head_on_maps_learns_its_stride_from_the_model(name: str, axes: int) -> None:
    """Told later or at once, it reads the same, and no weight changes."""
    late, early = HEADS[name](6, keypoints=3, spatial_dims=axes).double(), build(name, {}, axes)
    size, shown = INPUTS[axes], features(INPUTS[axes])
    weights = {key: value.clone() for key, value in late.state_dict().items()}
    with pytest.raises(SettingsError, match="does not know the stride"):
        late.decode(late(shown), size)
    late.attach(STRIDE, size)
    assert (late.stride, late.input_size) == ((STRIDE,) * axes, size)
    assert all(torch.equal(late.state_dict()[key], value) for key, value in weights.items())
    early.load_state_dict(weights)
    mine, its = late.decode(late(shown), size), early.decode(early(shown), size)
    assert torch.equal(mine.keypoints, its.keypoints)
    assert torch.equal(mine.scores, its.scores)
    assert torch.equal(mine.uncertainty, its.uncertainty)


def test_a_head_is_not_attached_to_something_else(head: KeypointHead, size) -> None:
    head.attach(STRIDE, size)
    head.attach(STRIDE)
    assert (head.stride, head.input_size) == ((STRIDE,) * len(size), size)
    with pytest.raises(SettingsError, match=r"was built with stride \(4,.* its model has \(8,"):
        head.attach(8, size)
    with pytest.raises(SettingsError, match=r"was built with input_size .* leave input_size out"):
        head.attach(STRIDE, (20,) * len(size))
    with pytest.raises(SettingsError, match="one for each axis"):
        head.attach((STRIDE,) * (len(size) + 1))


@pytest.mark.parametrize("name", ["simcc", "coordinates"])
def test_a_head_that_flattens_must_know_the_size_when_it_is_built(name: str) -> None:
    with pytest.raises(SettingsError, match="got stride None and input size None"):
        HEADS[name](6, keypoints=3)


@pytest.mark.parametrize("name", sorted({name for name, _ in CASES}))
@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((0, 3), "in_channels is 0 and keypoints is 3; both must be 1 or more"),
        ((6, 0), "keypoints is 0; both must be 1 or more"),
        ((6, 3, 4, (8, 8, 8, 8)), "it must be 1, 2 or 3"),
        ((6, 3, (4, 4, 4), (32, 32)), r"stride is \(4, 4, 4\); it must have 2 numbers"),
        ((6, 3, 0, (32, 32)), "stride is 0; it must have 2 numbers, one for each axis, of 1"),
    ],
)
def test_what_no_keypoint_head_can_be_built_with(name: str, given, says: str) -> None:
    arguments = given if len(given) == 4 else (*given, 4, (32, 32))
    with pytest.raises(SettingsError, match=says):
        HEADS[name](*arguments)


def test_a_loss_and_a_decoder_may_be_given_as_they_are() -> None:
    named = Heatmap(6, 3, STRIDE, loss="mse", decoder="taylor").double()
    given = Heatmap(6, 3, STRIDE, loss=MSE(), decoder=Taylor()).double()
    given.load_state_dict(named.state_dict())
    shown = features()
    mine, its = named.decode(named(shown), INPUTS[2]), given.decode(given(shown), INPUTS[2])
    assert torch.equal(mine.keypoints, its.keypoints)
    assert torch.equal(mine.scores, its.scores)
