"""What every decoder promises, over all decoders."""

from __future__ import annotations

import pytest
import torch

from placewise.decoders import DECODERS, Decoder
from placewise.errors import SettingsError

HEIGHT, WIDTH = 11, 14


@pytest.fixture(params=DECODERS.names())
def decoder(request: pytest.FixtureRequest) -> Decoder:
    return DECODERS[request.param]()


def blobs(points: torch.Tensor, sigma: float, size: tuple[int, int] = (HEIGHT, WIDTH)):
    """Gaussians about (M, 2) points, (M, height, width) float64."""
    rows, columns = (torch.arange(side, dtype=torch.float64) for side in size)
    down = torch.exp(-((rows - points[:, 1:]) ** 2) / (2 * sigma**2))
    across = torch.exp(-((columns - points[:, :1]) ** 2) / (2 * sigma**2))
    return down[:, :, None] * across[:, None, :]


def anywhere(count: int, size: tuple[int, int] = (HEIGHT, WIDTH), seed: int = 0) -> torch.Tensor:
    """Points spread evenly over −½ … W−½, the four corners of the image among them."""
    generator = torch.Generator().manual_seed(seed)
    spread = torch.rand(count - 4, 2, generator=generator, dtype=torch.float64)
    corners = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]], dtype=torch.float64)
    return torch.cat((spread, corners)) * torch.tensor([size[1], size[0]]) - 0.5


def rough_maps(count: int = 200) -> torch.Tensor:
    """Blobs under noise, and noise alone: peaks anywhere, no two pixels equal."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.rand(count, HEIGHT, WIDTH, generator=generator, dtype=torch.float64)
    maps = blobs(anywhere(count), 1.5) + 0.3 * noise
    maps[: count // 2] = noise[: count // 2]
    return maps


def test_family_has_the_members_the_docs_name():
    assert DECODERS.names() == ("argmax", "integral", "taylor")


@pytest.mark.parametrize("leading", [(), (5,), (2, 3), (2, 1, 3), (0,), (2, 0)])
@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_any_leading_dimensions_and_floating_types(decoder, leading, kind):
    points = decoder(torch.rand(*leading, HEIGHT, WIDTH).to(kind))
    assert points.shape == (*leading, 2)
    assert points.dtype == (torch.float64 if kind == torch.float64 else torch.float32)
    assert points.isfinite().all()


def test_each_map_by_itself(decoder):
    maps = rough_maps()
    alone = torch.stack([decoder(one) for one in maps])
    assert torch.allclose(decoder(maps), alone, rtol=0, atol=1e-9)


def test_no_keypoint_is_lost(decoder):
    """A blob is found within a pixel of its centre, wherever on the image that is."""
    for sigma in (1.0, 1.5, 2.5):
        points = anywhere(500)
        assert (decoder(blobs(points, sigma)) - points).norm(dim=-1).max() < 1


def test_answers_lie_on_the_image(decoder):
    points = decoder(rough_maps())
    assert (points >= -0.5).all()
    assert (points <= torch.tensor([WIDTH - 0.5, HEIGHT - 0.5])).all()


@pytest.mark.parametrize("factor", [1e-30, 0.37, 1e30])
def test_scale_of_the_heat_does_not_matter(decoder, factor):
    maps = rough_maps()
    assert torch.allclose(decoder(factor * maps), decoder(maps), atol=1e-9, rtol=0)


def test_mirrored_maps_give_mirrored_points(decoder):
    maps = rough_maps()
    expected = decoder(maps) * torch.tensor([-1.0, 1.0]) + torch.tensor([WIDTH - 1, 0])
    assert torch.allclose(decoder(maps.flip(-1)), expected, atol=1e-8, rtol=0)
    expected = decoder(maps) * torch.tensor([1.0, -1.0]) + torch.tensor([0, HEIGHT - 1])
    assert torch.allclose(decoder(maps.flip(-2)), expected, atol=1e-8, rtol=0)


def test_transposed_maps_give_transposed_points(decoder):
    maps = rough_maps()
    assert torch.allclose(decoder(maps.mT), decoder(maps).flip(-1), atol=1e-8, rtol=0)


@pytest.mark.parametrize("right, down", [(3, 0), (0, 2), (5, 4)])
def test_shifted_maps_give_shifted_points(decoder, right, down):
    maps = torch.zeros(200, HEIGHT + 12, WIDTH + 12, dtype=torch.float64)
    maps[:, 4 : HEIGHT + 4, 4 : WIDTH + 4] = rough_maps()
    moved = decoder(maps.roll((down, right), (-2, -1)))
    expected = decoder(maps) + torch.tensor([right, down])
    assert torch.allclose(moved, expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("value", [0.0, 1.0, 1e-6])
@pytest.mark.parametrize("size", [(1, 1), (4, 7), (HEIGHT, WIDTH)])
def test_flat_map_is_answered_with_its_middle(decoder, value, size):
    middle = torch.tensor([(size[1] - 1) / 2, (size[0] - 1) / 2])
    assert torch.equal(decoder(torch.full((3, *size), value)), middle.expand(3, 2))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_unreadable_map_is_nan_and_spoils_no_other(decoder, value):
    maps = rough_maps(8)
    maps[2, 5, 6] = value
    points = decoder(maps)
    assert points[2].isnan().all()
    others = [0, 1, 3, 4, 5, 6, 7]
    assert torch.equal(points[others], decoder(maps[others]))


def test_logits_are_not_taken_for_heat(decoder):
    assert decoder(-1 - torch.rand(HEIGHT, WIDTH)).isnan().all()


@pytest.mark.parametrize("size", [(1, 9), (2, 9), (9, 1), (9, 2), (1, 1), (2, 2), (1, 2), (3, 3)])
def test_narrow_maps(decoder, size):
    """An axis of 1 or 2 pixels cannot tell more than the pixel, and does not spoil the other."""
    points = anywhere(60, size)
    off = (decoder(blobs(points, 1.0, size)) - points).abs()
    assert (off <= 1).all()
    plain = DECODERS["argmax"]()(blobs(points, 1.0, size))
    for axis in (0, 1):
        if size[1 - axis] > 2 and not isinstance(decoder, DECODERS["argmax"]):
            assert off[:, axis].max() < 1e-6
        elif size[1 - axis] == 1:
            assert torch.equal(decoder(blobs(points, 1.0, size))[:, axis], plain[:, axis])


def test_one_hot_pixel_is_left_by_less_than_a_pixel(decoder):
    """A lone pixel is no Gaussian, and says no more than that the keypoint is on it."""
    rows, columns = torch.meshgrid(torch.arange(6.0), torch.arange(7.0), indexing="ij")
    places = torch.stack((columns, rows), -1).view(-1, 2)
    maps = torch.eye(42).view(42, 6, 7)
    assert (decoder(maps) - places).abs().max() < 1


def test_answer_leaves_no_trace(decoder):
    """No gradient, no change of the input, the same bits again."""
    maps = rough_maps(20).requires_grad_()
    before = maps.detach().clone()
    points = decoder(maps)
    assert not points.requires_grad
    assert torch.equal(maps, before)
    assert torch.equal(points, decoder(maps))


def test_autocast_and_strides_change_nothing(decoder):
    maps = rough_maps(24).float()
    expected = decoder(maps)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(decoder(maps), expected)
    channels_last = maps.view(4, 6, HEIGHT, WIDTH).to(memory_format=torch.channels_last)
    assert torch.equal(decoder(channels_last).view(24, 2), expected)


@pytest.mark.parametrize(
    "maps",
    [torch.rand(5), torch.rand(2, 0, 5), torch.rand(2, 5, 0), torch.ones(4, 4, dtype=torch.int64)],
    ids=["vector", "no rows", "no columns", "integers"],
)
def test_what_is_no_map_is_refused(decoder, maps):
    with pytest.raises(SettingsError, match=r"needs floating heatmaps \(\.\.\., height, width\)"):
        decoder(maps)
