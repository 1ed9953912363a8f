"""What every decoder promises, over all decoders."""

from __future__ import annotations

import itertools

import pytest
import torch

from placewise.decoders import DECODERS, Decoder
from placewise.errors import SettingsError, ShapeError

SIZES = {1: (14,), 2: (11, 14), 3: (7, 9, 8)}
"""Size of the maps in 1, 2 and 3 dimensions."""

CASES = [(name, axes) for name in DECODERS.names() for axes in SIZES]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}d")
def decoder(request: pytest.FixtureRequest) -> Decoder:
    name, axes = request.param
    return DECODERS[name](axes)


@pytest.fixture
def size(decoder: Decoder) -> tuple[int, ...]:
    return SIZES[decoder.spatial_dims]


def blobs(points: torch.Tensor, sigma: float, size: tuple[int, ...] = SIZES[2]) -> torch.Tensor:
    """Gaussians about (M, axes) points (x, y, …), (M, *size) float64."""
    maps = torch.ones(len(points), *[1] * len(size), dtype=torch.float64)
    for axis, side in enumerate(size):
        places = torch.arange(side, dtype=torch.float64).view(-1, *[1] * (len(size) - 1 - axis))
        centres = points[:, len(size) - 1 - axis].view(-1, *[1] * len(size))
        maps = maps * torch.exp(-((places - centres) ** 2) / (2 * sigma**2))
    return maps


def anywhere(count: int, size: tuple[int, ...] = SIZES[2], seed: int = 0) -> torch.Tensor:
    """Points spread evenly over −½ … W−½, all corners of the image among them."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.tensor(list(itertools.product((0.0, 1.0), repeat=len(size)))).double()
    spread = torch.rand(count - len(corners), len(size), generator=generator, dtype=torch.float64)
    return torch.cat((spread, corners)) * torch.tensor(size[::-1]) - 0.5


def rough_maps(count: int = 200, size: tuple[int, ...] = SIZES[2]) -> torch.Tensor:
    """Blobs under noise, and noise alone: peaks anywhere, no two pixels equal."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.rand(count, *size, generator=generator, dtype=torch.float64)
    maps = blobs(anywhere(count, size), 1.5, size) + 0.3 * noise
    maps[: count // 2] = noise[: count // 2]
    return maps


def last(size: tuple[int, ...]) -> torch.Tensor:
    """The last pixel along x, y, …."""
    return torch.tensor(size[::-1]) - 1


def test_family_has_the_members_the_docs_name():
    assert DECODERS.names() == ("argmax", "integral", "taylor")


@pytest.mark.parametrize("leading", [(), (5,), (2, 3), (2, 1, 3), (0,), (2, 0)])
@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_any_leading_dimensions_and_floating_types(decoder, size, leading, kind):
    points = decoder(torch.rand(*leading, *size).to(kind))
    assert points.shape == (*leading, len(size))
    assert points.dtype == (torch.float64 if kind == torch.float64 else torch.float32)
    assert points.isfinite().all()


def test_each_map_by_itself(decoder, size):
    maps = rough_maps(size=size)
    alone = torch.stack([decoder(one) for one in maps])
    assert torch.allclose(decoder(maps), alone, rtol=0, atol=1e-9)


def test_no_keypoint_is_lost(decoder, size):
    """A blob is found within a pixel of its centre, wherever on the image that is."""
    for sigma in (1.0, 1.5, 2.5):
        points = anywhere(500, size)
        assert (decoder(blobs(points, sigma, size)) - points).norm(dim=-1).max() < 1


def test_answers_lie_on_the_image(decoder, size):
    points = decoder(rough_maps(size=size))
    assert (points >= -0.5).all()
    assert (points <= last(size) + 0.5).all()


@pytest.mark.parametrize("factor", [1e-30, 0.37, 1e30])
def test_scale_of_the_heat_does_not_matter(decoder, size, factor):
    maps = rough_maps(size=size)
    assert torch.allclose(decoder(factor * maps), decoder(maps), atol=1e-9, rtol=0)


def test_mirrored_maps_give_mirrored_points(decoder, size):
    maps = rough_maps(size=size)
    for axis in range(len(size)):
        expected = decoder(maps)
        expected[:, axis] = last(size)[axis] - expected[:, axis]
        assert torch.allclose(decoder(maps.flip(-1 - axis)), expected, atol=1e-8, rtol=0)


def test_transposed_maps_give_transposed_points(decoder, size):
    maps = rough_maps(size=size)
    turned = maps.permute(0, *range(len(size), 0, -1))
    assert torch.allclose(decoder(turned), decoder(maps).flip(-1), atol=1e-8, rtol=0)


@pytest.mark.parametrize("shift", [(3, 0, 0), (0, 2, 1), (5, 4, 3)])
def test_shifted_maps_give_shifted_points(decoder, size, shift):
    shift = shift[: len(size)]
    maps = torch.zeros(200, *(side + 12 for side in size), dtype=torch.float64)
    maps[(..., *(slice(4, side + 4) for side in size))] = rough_maps(size=size)
    moved = decoder(maps.roll(shift, tuple(range(-1, -1 - len(size), -1))))
    expected = decoder(maps) + torch.tensor(shift)
    assert torch.allclose(moved, expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("value", [0.0, 1.0, 1e-6])
@pytest.mark.parametrize("sides", [(1, 1, 1), (4, 7, 5), (11, 14, 6)])
def test_flat_map_is_answered_with_its_middle(decoder, value, sides):
    size = sides[: decoder.spatial_dims]
    middle = last(size) / 2
    assert torch.equal(decoder(torch.full((3, *size), value)), middle.expand(3, -1))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_unreadable_map_is_nan_and_spoils_no_other(decoder, size, value):
    maps = rough_maps(8, size=size)
    maps[(2, *(side // 2 for side in size))] = value
    points = decoder(maps)
    assert points[2].isnan().all()
    others = [0, 1, 3, 4, 5, 6, 7]
    assert torch.equal(points[others], decoder(maps[others]))


def test_logits_are_not_taken_for_heat(decoder, size):
    assert decoder(-1 - torch.rand(size)).isnan().all()


@pytest.mark.parametrize(
    "sides",
    [(1, 9, 5), (2, 9, 1), (9, 1, 2), (9, 2, 9), (1, 1, 1), (2, 2, 2), (1, 2, 9), (3, 3, 3)],
)
def test_narrow_maps(decoder, sides):
    """An axis of 1 or 2 pixels cannot tell more than the pixel, and does not spoil the others."""
    size = sides[: decoder.spatial_dims]
    points = anywhere(60, size)
    off = (decoder(blobs(points, 1.0, size)) - points).abs()
    assert (off <= 1).all()
    plain = DECODERS["argmax"](len(size))(blobs(points, 1.0, size))
    for axis, side in enumerate(size[::-1]):
        if side > 2 and not isinstance(decoder, DECODERS["argmax"]):
            assert off[:, axis].max() < 1e-6
        elif side == 1:
            assert torch.equal(decoder(blobs(points, 1.0, size))[:, axis], plain[:, axis])


def test_one_hot_pixel_is_left_by_less_than_a_pixel(decoder):
    """A lone pixel is no Gaussian, and says no more than that the keypoint is on it."""
    size = (4, 6, 7)[-decoder.spatial_dims :]
    grids = torch.meshgrid(*(torch.arange(float(side)) for side in size), indexing="ij")
    places = torch.stack(grids[::-1], -1).view(-1, len(size))
    maps = torch.eye(len(places)).view(-1, *size)
    off = (decoder(maps) - places).abs().max()
    if isinstance(decoder, DECODERS["taylor"]) and len(size) == 3:
        assert off <= 1.5  # next to the border most of the cube about it is empty on one side
    else:
        assert off < 1


def test_answer_leaves_no_trace(decoder, size):
    """No gradient, no change of the input, the same bits again."""
    maps = rough_maps(20, size=size).requires_grad_()
    before = maps.detach().clone()
    points = decoder(maps)
    assert not points.requires_grad
    assert torch.equal(maps, before)
    assert torch.equal(points, decoder(maps))


def test_autocast_and_strides_change_nothing(decoder, size):
    maps = rough_maps(24, size=size).float()
    expected = decoder(maps)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(decoder(maps), expected)
    channels_last = maps.view(4, 6, *size).movedim(1, -1).contiguous().movedim(-1, 1)
    assert torch.equal(decoder(channels_last).view(24, -1), expected)


@pytest.mark.parametrize("kind", ["too few axes", "no pixels", "integers"])
def test_what_is_no_map_is_refused(decoder, size, kind):
    given = {
        "too few axes": torch.rand(size[1:]),
        "no pixels": torch.rand(2, *size[1:], 0),
        "integers": torch.ones(size, dtype=torch.int64),
    }
    with pytest.raises(ShapeError, match=r"a decoder needs floating heatmaps \(\.\.\., . axes"):
        decoder(given[kind])


@pytest.mark.parametrize("name", DECODERS.names())
@pytest.mark.parametrize("axes", [0, 4])
def test_maps_have_one_to_three_axes(name: str, axes: int):
    with pytest.raises(SettingsError, match=f"spatial_dims is {axes}; it must be 1, 2 or 3"):
        DECODERS[name](axes)
