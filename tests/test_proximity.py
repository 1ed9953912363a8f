"""Places, drawing by nearness, and the layer of fixed fan-in with its kernel."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from placewise.errors import SettingsError, ShapeError
from placewise.layers.proximity import Nearness, Places, Proximity, _sparse, draw, wiring_cost
from proximity_figures import connections_figure, lengths_figure

GRIDS = [
    Places((7,)),
    Places((7,), channels=2, torus=True),
    Places((4, 5)),
    Places((3, 5), channels=3, extent=(6, 5), torus=True),
    Places((2, 3, 4)),
    Places((3, 2, 4), channels=2, extent=(3.0, 1.0, 8.0), torus=True),
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- places --------------------------------------------------------------------------------------


def slow_coordinates(places: Places) -> list[tuple[float, ...]]:
    grid = itertools.product(*(range(n) for n in places.shape))
    one = [
        tuple(
            (i + 0.5) * length / n - 0.5
            for i, n, length in zip(at, places.shape, places.extent, strict=True)
        )
        for at in grid
    ]
    return one * places.channels


def slow_distance(a: tuple[float, ...], b: tuple[float, ...], places: Places) -> float:
    """Over all copies of the plane where the places are a torus."""
    copies = itertools.product((-1, 0, 1) if places.torus else (0,), repeat=len(a))
    return min(
        math.dist(a, [y + k * length for y, k, length in zip(b, copy, places.extent, strict=True)])
        for copy in copies
    )


@pytest.mark.parametrize("places", GRIDS, ids=str)
def test_coordinates_and_distances_are_those_of_the_slow_twin(places: Places):
    other = places.resized([n + 1 for n in places.shape], channels=2)
    mine, theirs = slow_coordinates(places), slow_coordinates(other)
    assert torch.allclose(places.coordinates(), torch.tensor(mine, dtype=torch.float64))
    slow = torch.tensor([[slow_distance(a, b, places) for b in theirs] for a in mine]).double()
    assert torch.allclose(places.distances(other), slow, atol=1e-6)
    assert torch.equal(
        places.squared_distances(other, slice(2, 5)).sqrt(), places.distances(other)[2:5]
    )


@pytest.mark.parametrize("places", GRIDS, ids=str)
def test_distance_is_a_metric_and_symmetric(places: Places):
    there = places.distances(places)
    assert torch.equal(there, there.t())
    assert (there.diagonal() == 0).all()
    assert (there[:, :, None] <= there[:, None] + there.t()[None] + 1e-9).all()


def test_a_torus_looks_alike_from_everywhere():
    ring = Places((5, 6), torus=True)
    rows = ring.distances(ring).sort(1).values
    assert torch.allclose(rows, rows[0].expand_as(rows))
    sheet = Places((5, 6))
    assert not torch.allclose(sheet.distances(sheet).sum(1), torch.tensor(90.0).double())


def test_coordinates_follow_the_convention_of_the_package():
    """A grid of stride s lies where `to_image` puts the pixels of a map of that stride."""
    from placewise.geometry import to_image

    coarse = Places((12, 12)).resized((3, 3)).coordinates()
    fine = torch.tensor(slow_coordinates(Places((3, 3)))).double()
    assert torch.allclose(coarse, to_image(fine, 4))


@pytest.mark.parametrize("places", GRIDS, ids=str)
def test_no_two_units_are_drawn_on_each_other(places: Places):
    points = places.drawn()
    assert points.shape == (places.units, 2)
    assert len(points.unique(dim=0)) == places.units


def test_wiring_cost_is_the_slow_sum_and_differentiable():
    inputs, outputs = GRIDS[3], GRIDS[3].resized((2, 2), 2)
    weight = torch.randn(outputs.units, inputs.units, dtype=torch.float64, requires_grad=True)
    slow = sum(
        abs(weight[m, n].item()) * slow_distance(a, b, inputs)
        for m, a in enumerate(slow_coordinates(outputs))
        for n, b in enumerate(slow_coordinates(inputs))
    )
    assert wiring_cost(weight, inputs, outputs).item() == pytest.approx(slow, abs=1e-9)
    assert torch.autograd.gradcheck(lambda w: wiring_cost(w, inputs, outputs), weight)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Places(()), "needed are 1, 2"),
        (lambda: Places((1, 2, 3, 4)), "needed are 1, 2"),
        (lambda: Places((3, 0)), "at least one place"),
        (lambda: Places((3, 3), channels=0), "at least one channel"),
        (lambda: Places((3, 3), extent=(3,)), "one positive length for each axis"),
        (lambda: Places((3,), extent=(-1.0,)), "one positive length for each axis"),
        (lambda: Places((3,)).distances(Places((4,))), "make one from the other by `resized`"),
        (lambda: Places((3,)).distances(Places((3,), torus=True)), "a torus"),
        (lambda: Nearness(0), "needed are reach 1e-06 or more"),
        (lambda: Nearness(math.nan), "needed are reach"),
        (lambda: Nearness(1, power=0), "power above 0"),
        (lambda: Nearness(1, far=1.5), "far from 0 to 1"),
        (lambda: draw(Places((3,)), Places((3,)), 4, Nearness(1)), "from 1 to 3"),
        (lambda: draw(Places((3,)), Places((3,)), 0, Nearness(1)), "from 1 to 3"),
        (lambda: Proximity(Places((3,)), Places((2,)), 1, Nearness(1)), "`resized`"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(make, says: str):
    with pytest.raises(SettingsError, match=says):
        make()


# --- drawing -------------------------------------------------------------------------------------


def inclusion(weights: list[float], count: int) -> torch.Tensor:
    """Probability of each *set* when drawing one after the other in proportion to the weights."""
    sets: dict[frozenset[int], float] = {}
    for order in itertools.permutations(range(len(weights)), count):
        left, chance = sum(weights), 1.0
        for one in order:
            chance *= weights[one] / left
            left -= weights[one]
        sets[frozenset(order)] = sets.get(frozenset(order), 0.0) + chance
    return torch.tensor(
        [sets[frozenset(s)] for s in itertools.combinations(range(len(weights)), count)]
    )


def frequencies(chosen: torch.Tensor, inputs: int, count: int) -> torch.Tensor:
    codes = (2**chosen).sum(1)
    return torch.tensor(
        [
            float((codes == sum(2**i for i in s)).double().mean())
            for s in itertools.combinations(range(inputs), count)
        ]
    )


@pytest.mark.parametrize("nearness", [Nearness(1.3), Nearness(2.0, power=1.0), Nearness(math.inf)])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_drawing_is_sequential_drawing_without_replacement(nearness: Nearness, count: int):
    """Frequencies of every set of inputs against their exact probabilities, to 5 deviations."""
    inputs, many = Places((5,)), 20_000
    outputs = Places((1,), channels=many, extent=(5,))
    weights = [
        math.exp(-((abs(i - 2.0) / nearness.reach) ** nearness.power)) for i in range(inputs.units)
    ]
    exact = inclusion(weights, count)
    assert exact.sum().item() == pytest.approx(1)
    found = frequencies(draw(inputs, outputs, count, nearness, generator()), 5, count)
    assert ((found - exact).abs() <= 5 * (exact * (1 - exact) / many).sqrt() + 1e-9).all()


@pytest.mark.parametrize("places", GRIDS, ids=str)
def test_a_short_reach_leaves_the_nearest(places: Places):
    index = draw(places, places, 4, Nearness(1e-3), generator())
    far = places.distances(places)
    assert torch.allclose(far.gather(1, index).sort(1).values, far.sort(1).values[:, :4])


def test_a_short_reach_draws_among_equally_near_ones():
    """Ties are broken by chance, not by number."""
    line = Places((5,))
    outputs = Places((1,), channels=4000, extent=(5,))
    index = draw(line, outputs, 2, Nearness(1e-3), generator())
    assert (index == 2).any(1).all()
    assert (index == 1).any(1).double().mean().item() == pytest.approx(0.5, abs=0.05)


def test_a_share_is_drawn_from_anywhere():
    """With windows for the near ones, what lies outside of the window came from afar."""
    line = Places((400,))
    index = draw(line, line, 5, Nearness(1e-3, far=0.3), generator())
    home = torch.arange(400)[:, None]
    outside = (index - home).abs().gt(4).double().mean().item()
    assert outside == pytest.approx(0.3, abs=0.03)
    everywhere = draw(line, line, 5, Nearness(1e-3, far=1.0), generator())
    assert (everywhere - home).abs().double().mean().item() == pytest.approx(133, rel=0.1)


@settings(max_examples=25, deadline=None)
@given(
    units=st.integers(1, 12),
    inputs=st.integers(1, 12),
    data=st.data(),
    far=st.floats(0, 1),
    reach=st.sampled_from([1e-6, 1e-3, 1.0, 50.0, math.inf]),
    power=st.sampled_from([0.5, 1.0, 2.0, 60.0]),
)
def test_always_as_many_different_inputs_as_asked(units, inputs, data, far, reach, power):
    count = data.draw(st.integers(1, inputs))
    there = Places((inputs,))
    index = draw(there, there.resized((units,)), count, Nearness(reach, power, far))
    assert index.shape == (units, count)
    assert all(len(set(row)) == count for row in index.tolist())
    assert index.min() >= 0
    assert index.max() < inputs


def test_the_same_generator_draws_the_same_and_blocks_do_not_show(monkeypatch):
    line = Places((30,))
    whole = draw(line, line, 4, Nearness(3.0, far=0.2), generator(7))
    assert torch.equal(whole, draw(line, line, 4, Nearness(3.0, far=0.2), generator(7)))
    assert not torch.equal(whole, draw(line, line, 4, Nearness(3.0, far=0.2), generator(8)))
    monkeypatch.setattr("placewise.layers.proximity.nearness.BLOCK", 70)
    small = draw(line, line, 4, Nearness(1e-3), generator(7))
    assert (line.distances(line).gather(1, small) <= 3).all()


# --- the layer -----------------------------------------------------------------------------------


def a_layer(places: Places, fan_in: int = 4, **settings) -> Proximity:
    outputs = places.resized([max(1, n - 1) for n in places.shape], channels=2)
    layer = Proximity(
        places, outputs, fan_in, Nearness(2.0, far=0.2), generator=generator(), **settings
    )
    if layer.bias is not None:
        torch.nn.init.normal_(layer.bias)
    return layer


def some_maps(places: Places, batch: int = 3, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(batch, places.channels, *places.shape, dtype=dtype)


def slow_forward(layer: Proximity, maps: torch.Tensor) -> torch.Tensor:
    flat = maps.flatten(1)
    out = torch.zeros(len(maps), layer.outputs.units, dtype=maps.dtype)
    for unit in range(layer.outputs.units):
        if layer.bias is not None:
            out[:, unit] = layer.bias[unit]
        for slot in range(layer.fan_in):
            out[:, unit] += layer.weight[unit, slot] * flat[:, layer.index[unit, slot]]
    return out.view(len(maps), layer.outputs.channels, *layer.outputs.shape)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("places", GRIDS, ids=str)
def test_forward_is_the_slow_sum_in_1_2_and_3_dimensions(places: Places, bias: bool):
    layer = a_layer(places, bias=bias).double()
    maps = some_maps(places)
    expected = slow_forward(layer, maps)
    assert torch.allclose(layer(maps), expected, atol=1e-12)
    with torch.no_grad():
        assert torch.allclose(layer(maps), expected, atol=1e-12)
    flat = maps.flatten(1) @ layer.dense().t()
    biased = flat if layer.bias is None else flat + layer.bias
    assert torch.allclose(biased.view_as(expected), expected, atol=1e-12)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("places", GRIDS[1::2], ids=str)
def test_gradients_are_exact(places: Places, fast: bool, monkeypatch):
    monkeypatch.setattr(_sparse, "fast_row_products_work", lambda *_: fast)
    layer = a_layer(places).double()
    maps = some_maps(places, 2).requires_grad_()

    def run(maps, weight, bias):
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (maps,))

    assert torch.autograd.gradcheck(run, (maps, layer.weight, layer.bias))
    assert torch.autograd.gradgradcheck(run, (maps, layer.weight, layer.bias))


def test_gradients_are_those_of_the_masked_dense_layer_in_single_precision():
    places = Places((16, 16))
    layer = Proximity(places, places, 20, Nearness(3.0))
    dense = torch.nn.Linear(256, 256)
    with torch.no_grad():
        dense.weight.copy_(layer.dense())
        dense.bias.copy_(layer.bias)
    maps = torch.randn(32, 1, 16, 16, requires_grad=True)
    back = torch.randn(32, 256)
    ours = torch.autograd.grad(layer(maps).flatten(1), (maps, layer.weight, layer.bias), back)
    theirs = torch.autograd.grad(dense(maps.flatten(1)), (maps, dense.weight, dense.bias), back)
    picked = theirs[1].gather(1, layer.index)
    for mine, other in zip(ours, (theirs[0], picked, theirs[2]), strict=True):
        assert (mine - other).abs().max() <= 1e-5 * max(1.0, float(other.abs().max()))


def test_an_input_that_nobody_reads_has_no_gradient():
    layer = Proximity(Places((6,)), Places((2,), extent=(6,)), 2, Nearness(1.0)).double()
    layer.wire(torch.tensor([[0, 5], [5, 1]]))
    maps = some_maps(Places((6,))).requires_grad_()
    (gradient,) = torch.autograd.grad(layer(maps).sum(), maps)
    assert (gradient[..., 2:5] == 0).all()
    assert (gradient[..., [0, 1, 5]] != 0).all()


def test_the_fast_gradient_is_tried_out_before_it_is_trusted(monkeypatch):
    assert _sparse.fast_row_products_work("cpu", torch.float64)
    right = _sparse._fast_row_products
    _sparse.fast_row_products_work.cache_clear()
    monkeypatch.setattr(_sparse, "_fast_row_products", lambda *args: right(*args) * 2)
    assert not _sparse.fast_row_products_work("cpu", torch.float64)

    def missing(*args):
        raise AttributeError("no such operator")

    _sparse.fast_row_products_work.cache_clear()
    monkeypatch.setattr(_sparse, "_fast_row_products", missing)
    assert not _sparse.fast_row_products_work("cpu", torch.float64)
    layer = a_layer(GRIDS[2]).double()
    layer(some_maps(GRIDS[2])).sum().backward()
    assert layer.weight.grad is not None
    _sparse.fast_row_products_work.cache_clear()


def test_the_plain_gradient_does_not_depend_on_how_much_it_gathers(monkeypatch):
    layer = a_layer(GRIDS[2]).double()
    gradient, x = torch.randn(layer.outputs.units, 3).double(), torch.randn(20, 3).double()
    whole = _sparse.plain_row_products(gradient, x, layer.index)
    monkeypatch.setattr(_sparse, "CHUNK", 25)
    assert torch.equal(_sparse.plain_row_products(gradient, x, layer.index), whole)


def test_begins_with_the_variance_of_the_true_fan_in():
    """Signals that are rectified between layers keep their mean square."""
    sheet = Places((40, 40))
    maps = torch.randn(64, 1, 40, 40)
    for _ in range(3):
        maps = Proximity(sheet, sheet, 16, Nearness(2.0))(torch.relu(maps))
    layer = Proximity(sheet, sheet, 16, Nearness(2.0))
    assert layer.weight.var().item() == pytest.approx(2 / 16, rel=0.05)
    assert maps.square().mean().item() == pytest.approx(1, rel=0.25)


def test_a_stack_keeps_the_batch_last_and_copies_nothing():
    sheet = Places((6, 6), channels=2)
    layer = Proximity(sheet, sheet, 5, Nearness(2.0))
    after = torch.relu(layer(torch.randn(4, 2, 6, 6)))
    assert after.flatten(1).t().is_contiguous()
    assert after.flatten(1).t().contiguous().data_ptr() == after.data_ptr()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_calculates_in_the_type_of_its_weights(dtype: torch.dtype):
    layer = a_layer(GRIDS[2])
    maps = some_maps(GRIDS[2], dtype=torch.float32)
    exact = layer(maps)
    out = layer.to(dtype)(maps.to(dtype))
    assert out.dtype == dtype
    assert torch.allclose(out.float(), exact, atol=0.1)
    out.float().square().sum().backward()
    assert layer.weight.grad.dtype == dtype
    with torch.autocast("cpu", torch.bfloat16):
        assert a_layer(GRIDS[2])(maps.bfloat16()).dtype == torch.float32


def test_saved_and_loaded_it_is_the_same(tmp_path):
    layer, other = a_layer(GRIDS[3]), a_layer(GRIDS[3])
    other.wire(draw(other.inputs, other.outputs, 4, Nearness(math.inf), generator(5)))
    assert not torch.equal(layer.index, other.index)
    assert set(layer.state_dict()) == {"weight", "bias", "index"}
    torch.save(layer.state_dict(), tmp_path / "a.pt")
    other.load_state_dict(torch.load(tmp_path / "a.pt", weights_only=True))
    maps = some_maps(GRIDS[3], dtype=torch.float32).requires_grad_()
    assert torch.equal(layer(maps), other(maps))
    assert torch.equal(layer.lengths, other.lengths)
    a, b = (
        torch.autograd.grad(one(maps).square().sum(), (maps, one.weight)) for one in (layer, other)
    )
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("assign", [True, False])
def test_connections_that_cannot_be_are_not_loaded(assign: bool):
    layer = a_layer(GRIDS[2])
    for spoil, says in (
        (lambda i: i + 100, "numbered from 0 to 19"),
        (lambda i: i * 0, "connects to an input twice"),
        (lambda i: i[:, :2], "needed is int64"),
        (lambda i: i.int(), "needed is int64"),
    ):
        state = layer.state_dict()
        state["index"] = spoil(state["index"])
        with pytest.raises(SettingsError, match=says):
            layer.load_state_dict(state, assign=assign)
        with pytest.raises(SettingsError, match=says):
            layer.wire(state["index"])
    layer.load_state_dict(layer.state_dict(), assign=assign)


@pytest.mark.parametrize("strict", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_exports_for_any_batch(strict: bool):
    layer = a_layer(GRIDS[3])
    shapes = ({0: torch.export.Dim.DYNAMIC},)
    maps = some_maps(GRIDS[3], 2, torch.float32)
    program = torch.export.export(layer, (maps,), dynamic_shapes=shapes, strict=strict)
    for batch in (1, 5):
        maps = some_maps(GRIDS[3], batch, torch.float32)
        assert torch.allclose(program.module()(maps), layer(maps), atol=1e-6)


def test_lengths_and_wiring_cost_are_those_of_the_dense_matrix():
    for places in GRIDS:
        layer = a_layer(places).double()
        far = layer.outputs.distances(layer.inputs)
        assert torch.allclose(layer.lengths.double(), far.gather(1, layer.index), atol=1e-5)
        dense = wiring_cost(layer.dense(), layer.inputs, layer.outputs)
        assert torch.allclose(layer.wiring_cost(), dense, rtol=1e-5)
    layer.wiring_cost().backward()
    assert torch.allclose(layer.weight.grad, layer.weight.sign() * layer.lengths)


def test_maps_of_another_shape_are_refused():
    layer = a_layer(GRIDS[3])
    for shape in ((2, 3, 5, 3), (2, 1, 3, 5), (2, 45), (3, 3, 5)):
        with pytest.raises(ShapeError, match="needs"):
            layer(torch.zeros(shape))
    assert layer.size_after((3, 5)) == (2, 4)
    with pytest.raises(ShapeError, match="each of its weights belongs to one input"):
        layer.size_after((6, 6))


# --- images ------------------------------------------------------------------------------------


def test_images_are_drawn():
    layer = a_layer(Places((5, 5)))
    far = layer.outputs.distances(layer.inputs)
    assert lengths_figure({"a": layer.lengths, "b": far}, far)[1:4] == b"PNG"
    assert connections_figure({"λ = 2": layer, "again": layer}, [0, 3])[1:4] == b"PNG"
