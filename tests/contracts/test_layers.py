"""What every layer promises, over all layers, in 1, 2 and 3 dimensions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from placewise.errors import SettingsError, ShapeError
from placewise.layers import LAYERS, Layer
from placewise.layers.proximity import Nearness, Places
from placewise.paddings import PADDINGS
from placewise.tasks._permuted import PermutedPlaces
from studies._wiring.focus import Focus

CHANNELS = 4
EVEN, ODD = (8, 6, 4), (7, 5, 3)

Build = Callable[[tuple[int, ...]], Layer]


def member(name: str, *given: int, tied: bool = False, **settings: object) -> Build:
    """How to build a member for maps of some sides."""

    def build(sides: tuple[int, ...]) -> Layer:
        if tied:
            return LAYERS[name](CHANNELS, given[0], sides, *given[1:], **settings)
        return LAYERS[name](CHANNELS, *given, **settings, spatial_dims=len(sides))

    return build


def placed(sides: tuple[int, ...]) -> tuple[Places, Places]:
    return Places(sides, CHANNELS), Places(sides, 2)


BUILD: dict[str, Build] = {
    "convolution": member("convolution", 6, 3, padding_mode="symmetric"),
    "convolution partial": member("convolution", 6, 3, stride=2, groups=2, padding_mode="partial"),
    "convolution learned": member(
        "convolution", 6, 2, dilation=2, bias=False, padding_mode="learned"
    ),
    "pooling": member("pooling", 2),
    "pooling average": member("pooling", 3, stride=2, kind="average", padding_mode="partial"),
    "blur": member("blur"),
    "blur maximum": member("blur", 3, maximum=2, padding_mode="partial"),
    "polyphase": member("polyphase"),
    "on_off": member("on_off"),
    "on_off learnable": member("on_off", radius=1.0, learnable=True, stride=2),
    "coordinates": member("coordinates"),
    "coordinates radius": member("coordinates", radius=True),
    "multi_scale": member("multi_scale", 7, kernel_sizes=(1, 3, 5), padding_mode="replicate"),
    "local": member("local", 6, 3, tied=True),
    "local strided": member("local", 6, 2, tied=True, stride=2, groups=2, padding_mode="partial"),
    "local learned": member("local", 2, 3, tied=True, bias=False, padding_mode="learned"),
    "proximity": lambda sides: LAYERS["proximity"](*placed(sides), 9, Nearness(1.5)),
}
"""A way to build each member for maps of `CHANNELS` channels; names begin with the member's."""

OTHERS: dict[str, Build] = {
    "focus": lambda sides: Focus(*placed(sides), 9),
    "permuted places": lambda sides: PermutedPlaces(CHANNELS, sides),
}
"""Layers that are no members of the family, and keep the same contract."""

DIMENSIONS = (1, 2, 3)


@pytest.fixture(params=[*BUILD, *OTHERS])
def build(request: pytest.FixtureRequest) -> Build:
    return (BUILD | OTHERS)[request.param]


def maps(sides: tuple[int, ...], batch: int = 2, dtype: torch.dtype = torch.float32):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, CHANNELS, *sides, generator=generator).to(dtype)


def seeded(build: Build, sides: tuple[int, ...], seed: int = 0) -> Layer:
    torch.manual_seed(seed)
    return build(sides)


def test_every_member_is_covered():
    assert {name.split()[0] for name in BUILD} == set(LAYERS.names())
    for name in BUILD:
        assert type(BUILD[name]((8,))) is LAYERS[name.split()[0]]


@pytest.mark.parametrize("dimensions", DIMENSIONS)
@pytest.mark.parametrize("sides", [EVEN, ODD], ids=["even", "odd"])
@pytest.mark.parametrize("batch", [1, 3])
def test_shapes(build, dimensions, sides, batch):
    sides = sides[:dimensions]
    layer = build(sides)
    assert layer.in_channels == CHANNELS
    assert layer.spatial_dims == dimensions
    result = layer(maps(sides, batch))
    assert result.shape == (batch, layer.out_channels, *layer.size_after(sides))
    assert result.isfinite().all()


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_other_sizes(build, dimensions):
    layer = build(EVEN[:dimensions])
    if layer.any_size:
        assert layer(maps(ODD[:dimensions])).shape[2:] == layer.size_after(ODD[:dimensions])
    else:
        with pytest.raises(ShapeError, match=r"got .*\b7\b"):
            layer(maps(ODD[:dimensions]))


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_other_channels_or_axes_are_refused(build, dimensions):
    layer = build(EVEN[:dimensions])
    for wrong in ((2, CHANNELS + 1, *EVEN[:dimensions]), (CHANNELS, *EVEN[:dimensions])):
        with pytest.raises(ShapeError, match="it needs \\(batch, 4 channels"):
            layer(torch.zeros(wrong))


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_gradient_reaches_every_parameter_and_the_input(build, dimensions):
    layer = seeded(build, EVEN[:dimensions])
    given = maps(EVEN[:dimensions]).requires_grad_()
    layer(given).square().sum().backward()
    for name, value in [("the maps", given), *layer.named_parameters()]:
        assert value.grad is not None, name
        assert value.grad.isfinite().all(), name
        assert value.grad.abs().sum() > 0, name


@pytest.mark.parametrize("sides", [(5,), (4, 3), (3, 3, 3)], ids=str)
def test_gradients_are_exact(build, sides):
    layer = seeded(build, sides).double()
    given = maps(sides, 1, torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, *_: layer(x), (given, *layer.parameters()), fast_mode=len(sides) > 1
    )


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_weights_are_saved_and_loaded(build, dimensions, tmp_path: Path):
    layer, other = (seeded(build, EVEN[:dimensions], seed) for seed in (0, 1))
    save_file(layer.state_dict(), tmp_path / "layer.safetensors")
    other.load_state_dict(load_file(tmp_path / "layer.safetensors"), strict=True)
    given = maps(EVEN[:dimensions])
    assert torch.equal(layer(given), other(given))


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_the_seed_says_all(build, dimensions):
    layer, same = (seeded(build, EVEN[:dimensions]) for _ in range(2))
    given = maps(EVEN[:dimensions])
    for name, value in layer.state_dict().items():
        assert torch.equal(value, same.state_dict()[name]), name
    result = layer(given)
    assert torch.equal(result, same(given))
    assert torch.equal(result, layer(given))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_any_dtype(build, dimensions, dtype):
    layer = seeded(build, EVEN[:dimensions])
    given = maps(EVEN[:dimensions]).bfloat16().float()
    expected = layer(given)
    result = layer.to(dtype)(given.to(dtype))
    assert result.dtype == dtype
    near = 0.1 if dtype == torch.bfloat16 else 1e-5
    assert torch.allclose(result.float(), expected, atol=near, rtol=near)


def test_autocast(build):
    layer = seeded(build, EVEN[:2])
    given = maps(EVEN[:2]).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        result = layer(given)
    assert torch.allclose(result.float(), layer(given), atol=0.1, rtol=0.1)
    result.float().square().sum().backward()
    assert given.grad.dtype == torch.float32
    assert all(p.grad.dtype == torch.float32 for p in layer.parameters())


def test_maps_of_a_batch_do_not_meet(build):
    layer = seeded(build, ODD[:2]).double()
    given = maps(ODD[:2], 3, torch.float64)
    alone = torch.cat([layer(one[None]) for one in given])
    assert torch.allclose(layer(given), alone, atol=1e-12)


def test_memory_may_lie_in_any_order(build):
    layer = seeded(build, ODD[:2]).double()
    given = maps(ODD[:2], 3, torch.float64)
    other = given.permute(3, 0, 2, 1).contiguous().permute(1, 3, 2, 0)
    assert not other.is_contiguous()
    assert torch.allclose(layer(given), layer(other), atol=1e-12)


@pytest.mark.parametrize(
    "dimensions", [2, *(pytest.param(d, marks=pytest.mark.slow) for d in (1, 3))]
)
def test_export(build, dimensions):
    """One exported program for any batch, and for any size unless the layer is tied to one."""
    sides = EVEN[:dimensions]
    layer = seeded(build, sides).eval()
    auto, axes = torch.export.Dim.AUTO, range(2, 2 + dimensions)
    free = {0: auto} | {axis: auto for axis in axes if layer.any_size}
    program = torch.export.export(layer, (maps(sides),), dynamic_shapes=(free,))
    others = [n + 2 for n in sides] if layer.any_size else sides
    for given in (maps(sides), maps(tuple(others), 3)):
        assert torch.allclose(program.module()(given), layer(given), atol=1e-5)


RULED = [
    ("convolution", (6, 3)),
    ("pooling", (3,)),
    ("blur", (4,)),
    ("on_off", ()),
    ("multi_scale", (6,)),
    ("polyphase", (2,)),
]


@pytest.mark.parametrize("rule", PADDINGS.names())
@pytest.mark.parametrize("name, given", [*RULED, ("local", (6, 3))], ids=lambda v: str(v))
def test_every_padding_rule_in_every_layer(name, given, rule):
    if name == "multi_scale" and not PADDINGS[rule].keeps_size:
        with pytest.raises(SettingsError, match=f"the padding rule '{rule}' windows of several"):
            member(name, *given, padding_mode=rule)((8, 8))
        return
    layer = member(name, *given, tied=name == "local", padding_mode=rule)((8, 8))
    assert layer(maps((8, 8))).shape[2:] == layer.size_after((8, 8))


@pytest.mark.parametrize("name, given", [*RULED, ("local", (6, 3))], ids=lambda v: str(v))
def test_unknown_padding_is_refused(name, given):
    with pytest.raises(SettingsError, match="Did you mean 'symmetric'"):
        member(name, *given, tied=name == "local", padding_mode="symetric")((8, 8))
