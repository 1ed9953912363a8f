"""The layer that learns where to look, and what becomes of it when it hardens."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from placewise.errors import SettingsError, ShapeError
from placewise.layers.proximity import Places, Proximity
from studies._wiring.focus import Focus

GRIDS = [
    Places((9,)),
    Places((8,), channels=2, torus=True),
    Places((4, 5), channels=2),
    Places((5, 4), extent=(10, 4), torus=True),
    Places((2, 3, 4)),
]


def a_layer(places: Places, fan_in: int = 4, progress: float = 0.0, **settings) -> Focus:
    """A layer that has looked about: no centre lies where it began, no width is like another."""
    outputs = places.resized([max(1, n - 1) for n in places.shape], channels=2)
    layer = Focus(places, outputs, fan_in, width=1.3, **settings).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in (layer.centre, layer.log_width):
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter += 0.3 * noise
    layer.anneal(progress)
    return layer


def some_maps(places: Places, batch: int = 3) -> torch.Tensor:
    return torch.randn(batch, places.channels, *places.shape, dtype=torch.float64)


def slow_profile(layer: Focus) -> torch.Tensor:
    """Number by number, and normalised only at the end."""
    at = layer.inputs.coordinates().tolist()
    profile = torch.zeros(layer.outputs.units, layer.inputs.units, dtype=torch.float64)
    for unit in range(layer.outputs.units):
        squares = []
        for place in at:
            total = 0.0
            for axis, x in enumerate(place):
                apart = abs(x - layer.centre[unit, axis].item())
                if layer.inputs.torus:
                    length = layer.inputs.extent[axis]
                    apart = min(abs(apart + k * length) for k in range(-3, 4))
                total += (apart / math.exp(layer.log_width[unit, axis].item())) ** 2
            squares.append(total)
        ordered = sorted(squares)
        edge = (ordered[layer.fan_in - 1] + ordered[layer.fan_in]) / 2
        for number, square in enumerate(squares):
            if layer.hardness == 1:
                gate = float(square < edge)
            else:
                steepness = layer.hardness / (1 - layer.hardness)
                gate = 1 / (1 + math.exp(-(1 - square / edge) * steepness))
            profile[unit, number] = math.exp(-square / 2) * gate
    return profile * (layer.inputs.units / profile.square().sum(1, keepdim=True)).sqrt()


@pytest.mark.parametrize("progress", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("places", GRIDS, ids=str)
def test_profile_and_forward_are_those_of_the_slow_twin(places: Places, progress: float):
    fan_in = 4 * places.channels
    layer = a_layer(places, fan_in, progress)
    slow = slow_profile(layer)
    assert torch.allclose(layer.profile(), slow, atol=1e-9)
    maps = some_maps(places)
    expected = maps.flatten(1) @ (slow * layer.weight).t() + layer.bias
    assert torch.allclose(layer(maps).flatten(1), expected, atol=1e-8)


@pytest.mark.parametrize("progress", [0.0, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("width", [0.01, 1.0, 100.0])
def test_the_variance_is_kept_whatever_the_profile(width: float, progress: float):
    """Σ φ² = N in every row, so He's variance 2/N becomes that of the inputs let through."""
    places = Places((6, 6))
    layer = Focus(places, places, 7, width=width).double()
    layer.anneal(progress)
    profile = layer.profile()
    assert torch.allclose(profile.square().sum(1), torch.tensor(36.0).double())
    many = torch.randn(4000, 36, 36, dtype=torch.float64) * (2 / 36) ** 0.5
    sums = (many * profile * torch.randn(4000, 1, 36, dtype=torch.float64)).sum(-1)
    assert sums.square().mean().item() == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize("progress", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("places", [Places((6,), channels=2), Places((3, 4), torus=True)], ids=str)
def test_gradients_are_exact(places: Places, progress: float):
    """Through the weights, and through where and how widely a unit looks."""
    layer = a_layer(places, 2 * places.channels, progress)
    names = [name for name, _ in layer.named_parameters()]
    maps = some_maps(places, 2).requires_grad_()

    def run(maps, *parameters):
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (maps,))

    assert names == ["weight", "bias", "centre", "log_width"]
    assert torch.autograd.gradcheck(run, (maps, *layer.parameters()), atol=1e-4)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("places", GRIDS, ids=str)
def test_hardened_it_is_the_same_function(places: Places, bias: bool):
    """To rounding, cut-off channels of a place and ties included."""
    for fan_in in (1, 4, places.units):
        layer = a_layer(places, fan_in, 1.0, bias=bias)
        nn.init.normal_(layer.weight)
        hard, maps = layer.harden(), some_maps(places)
        assert isinstance(hard, Proximity)
        assert hard.weight.shape == (layer.outputs.units, fan_in)
        assert torch.allclose(hard.dense(), layer.dense(), atol=1e-12)
        assert torch.allclose(hard(maps), layer(maps), atol=1e-10)
        single = layer.float()
        assert torch.allclose(single.harden()(maps.float()), single(maps.float()), atol=1e-4)


def test_ties_are_cut_alike_by_the_gate_and_by_hardening():
    places = Places((5, 5), channels=3)
    layer = Focus(places, places, 7).double()
    layer.anneal(1.0)
    maps = some_maps(places)
    assert torch.allclose(layer.harden()(maps), layer(maps), atol=1e-12)


def test_hardening_approaches_as_the_gate_shuts():
    """The error and the spill fall together, and the spill bounds the error of the profile."""
    places = Places((7, 7))
    maps, errors, spills = some_maps(places, 64), [], []
    for progress in (0.0, 0.5, 0.9, 0.99, 0.999, 1.0):
        layer = a_layer(places, 9, progress)
        hard = layer.harden()
        errors.append((layer(maps) - hard(maps)).abs().max().item())
        spills.append(layer.spill())
    assert spills == sorted(spills, reverse=True)
    assert spills[0] > 0.05
    assert spills[-1] == 0
    assert errors[0] > 0.1
    assert errors[-1] < 1e-12
    assert all(later < earlier for earlier, later in pairwise(errors))


def test_it_finds_where_to_look():
    """One place decides the target, far from where the unit looks; only centre and width learn."""
    places = Places((9, 9))
    layer = Focus(places, places.resized((1, 1)), 1, width=3.0)
    nn.init.constant_(layer.weight.requires_grad_(False), 1 / 9)
    optimiser = torch.optim.Adam([layer.centre, layer.log_width], lr=0.1)
    for step in range(120):
        layer.anneal(max(0.0, (step - 80) / 39))
        maps = torch.randn(64, 1, 9, 9)
        loss = (layer(maps).flatten() - maps[:, 0, 2, 6]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert layer.hardness == 1
    assert layer.harden().index.item() == 2 * 9 + 6
    assert loss < 1e-6


def test_saved_and_loaded_it_is_as_hard(tmp_path):
    layer = a_layer(GRIDS[2], progress=0.75)
    other = a_layer(GRIDS[2])
    torch.save(layer.state_dict(), tmp_path / "a.pt")
    other.load_state_dict(torch.load(tmp_path / "a.pt", weights_only=True))
    maps = some_maps(GRIDS[2])
    assert other.hardness == 0.75
    assert torch.equal(layer(maps), other(maps))


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_exports_and_calculates_in_any_type(progress: float):
    layer = a_layer(GRIDS[2], progress=progress)
    shapes = ({0: torch.export.Dim.DYNAMIC},)
    program = torch.export.export(layer, (some_maps(GRIDS[2]),), dynamic_shapes=shapes)
    maps = some_maps(GRIDS[2], 5)
    assert torch.allclose(program.module()(maps), layer(maps))
    for dtype in (torch.float32, torch.bfloat16):
        out = layer.to(dtype)(maps.to(dtype))
        assert out.dtype == dtype
        assert out.isfinite().all()


def test_a_crowd_of_channels_at_one_place_has_finite_gradients():
    """All inputs of a unit at its very centre: r² is 0 up to beyond the edge of the gate."""
    places = Places((3, 3), channels=8)
    layer = Focus(places, places, 4)
    layer.anneal(0.9)
    layer(torch.randn(2, 8, 3, 3)).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Focus(Places((3,)), Places((3,)), 4), "from 1 to 3"),
        (lambda: Focus(Places((3,)), Places((3,)), 0), "from 1 to 3"),
        (lambda: Focus(Places((3,)), Places((3,)), 1, width=0.0), "width above 0"),
        (lambda: Focus(Places((3,)), Places((4,)), 1), "`resized`"),
        (lambda: Focus(Places((3,)), Places((3,)), 1).anneal(1.1), "from 0 to 1"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(make, says: str):
    with pytest.raises(SettingsError, match=says):
        make()


def test_maps_of_another_shape_are_refused():
    with pytest.raises(ShapeError, match="so it needs"):
        Focus(Places((3,)), Places((3,)), 1)(torch.zeros(1, 1, 4))
