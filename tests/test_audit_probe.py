"""A network is lent and comes back as it was; taps, layers, noise and plain findings."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections import OrderedDict
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from placewise.auditing._draws import generator, noise_images
from placewise.auditing._numbers import Finding, block_means, spearman
from placewise.auditing._run import (
    as_input,
    batches,
    common_shift,
    find_layers,
    first_tensor,
    outputs,
    room,
    run,
    tapped,
)
from placewise.auditing.borders import (
    Differences,
    border_distances,
    border_swap,
    equivariance,
)
from placewise.auditing.effective import effective_field
from placewise.auditing.position import position_probe
from placewise.auditing.sensitivity import gradient_sensitivity, occlusion, perturbation
from placewise.auditing.shift import consistency, phase_map, place_map
from placewise.errors import PlacewiseError, SettingsError
from placewise.graph import undisturbed

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class Meddler(nn.Module):
    """Does to itself whatever a forward pass can do."""

    def __init__(self, *, fails_at: int | None = None) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(inplace=True)
        )
        self.stride = nn.MaxPool2d(2)
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)
        self.register_buffer("calls", torch.tensor([0.0, -0.0, math.nan]))
        self.register_buffer("replaced", torch.zeros(1))
        self.log: list[int] = []
        self.cache: dict[str, object] = {}
        self.fails_at = fails_at
        self.body.requires_grad_(True)
        self.body[1].eval()

    def forward(self, x: torch.Tensor) -> dict[str, object]:
        self.calls += 1
        self.replaced = torch.ones(2)
        self.log.append(1)
        self.cache["last"] = x
        self.hidden = x
        with torch.no_grad():
            self.body[0].weight += 1e-3
            self.body[0].bias.data = self.body[0].bias.data.double().float().clone()
            if self.body[0].weight.grad is not None:
                self.body[0].weight.grad += 1
        self.frozen.requires_grad_(True)
        self.frozen.grad = torch.ones(3)
        torch.rand(1)
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = True
        self.register_forward_hook(lambda *_: None)
        self.train()
        self.eval()
        if self.fails_at is not None and len(self.log) >= self.fails_at:
            raise RuntimeError("as planned")
        x = self.stride(self.body(x)) * self.frozen[:, None, None]
        return {"nothing": None, "maps": x + 0 * torch.rand(())}


def state_of(net: Meddler) -> dict[str, object]:
    """All that must not change; tensors by identity and by bits."""

    def bits(tensor: torch.Tensor | None) -> object:
        if tensor is None:
            return None
        return id(tensor), tensor.data_ptr(), tensor.detach().numpy().tobytes()

    return {
        "training": [module.training for module in net.modules()],
        "tensors": {
            name: (bits(tensor), tensor.requires_grad, bits(tensor.grad), tensor.dtype)
            for name, tensor in (*net.named_parameters(), *net.named_buffers())
        },
        "hooks": [
            (list(module._forward_hooks.values()), list(module._backward_hooks.values()))
            for module in net.modules()
        ],
        "own": (list(net.log), dict(net.cache), sorted(vars(net))),
        "random": torch.get_rng_state().tolist(),
        "grad": torch.is_grad_enabled(),
        "exact": torch.are_deterministic_algorithms_enabled(),
        "cudnn": (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark),
    }


def meddler(**settings: int) -> Meddler:
    net = Meddler(**settings)
    net.body[0].register_forward_hook(lambda *_: None)
    net.body[0].weight.grad = torch.full_like(net.body[0].weight, 0.5)
    return net


MEASUREMENTS = {
    "effective": lambda net, p: effective_field(net, p[..., :8, :8]),
    "perturbation": lambda net, p: perturbation(net, p[..., :8, :8], grid=2),
    "occlusion": lambda net, p: occlusion(net, p[..., :8, :8], grid=2),
    "gradient": lambda net, p: gradient_sensitivity(net, p[..., :8, :8]),
    "consistency": lambda net, p: consistency(net, p, size=(8, 8), pairs=2),
    "phase_map": lambda net, p: phase_map(net, p, size=(8, 8)),
    "place_map": lambda net, p: place_map(net, p[..., :8, :8]),
    "equivariance": lambda net, p: equivariance(net, p, size=(8, 8)),
    "border_swap": lambda net, p: border_swap(net, p, size=(8, 8)),
    "position_probe": lambda net, p: position_probe(net, p[..., :8, :8]),
}


@pytest.mark.parametrize("fails_at", [None, 1, 2])
@pytest.mark.parametrize("name", MEASUREMENTS)
def test_a_network_is_left_as_found(name: str, fails_at: int | None):
    net = meddler() if fails_at is None else meddler(fails_at=fails_at)
    images = noise_images((2, 16, 16), 4)
    kept = images.clone()
    before = state_of(net)
    planned = contextlib.nullcontext() if fails_at is None else contextlib.suppress(SettingsError)
    with pytest.raises(SettingsError, match="as planned") if fails_at == 1 else planned:
        MEASUREMENTS[name](net, images)
    assert state_of(net) == before
    assert torch.equal(images, kept)


@pytest.mark.parametrize("training", [True, False])
def test_flags_of_every_submodule_come_back(training: bool):
    net = meddler().train(training)
    net.body[1].train(not training)
    before = state_of(net)
    with undisturbed(net):
        assert not any(module.training for module in net.modules())
    assert state_of(net) == before


def test_grad_mode_and_inference_mode_come_back():
    net = nn.Conv1d(1, 1, 3)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            images = torch.rand(1, 1, 7)
            assert effective_field(net, images).energy.sum() > 0
            assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()


def test_what_has_not_changed_is_not_written():
    """Else a graph that the user holds could not be walked back any more."""
    net = nn.Sequential(nn.Conv1d(1, 1, 3), nn.BatchNorm1d(1), nn.Conv1d(1, 1, 3))
    loss = net(torch.rand(2, 1, 9)).sum()
    effective_field(net, torch.rand(1, 1, 9))
    loss.backward()
    assert net[0].weight.grad is not None


def test_a_network_that_draws_in_eval_mode_is_measured_alike_twice():
    class Draws(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x * torch.rand_like(x)).flatten(1)

    images = noise_images((1, 8), 3)
    first = gradient_sensitivity(Draws(), images)
    torch.rand(7)
    assert np.array_equal(first.map, gradient_sensitivity(Draws(), images).map)


def test_lazy_parameters_are_refused():
    with pytest.raises(SettingsError, match="run it once"), undisturbed(nn.LazyLinear(1)):
        pass


# --- output, taps, running -----------------------------------------------------------------------


@dataclasses.dataclass
class Output:
    loss: torch.Tensor | None
    number: int
    maps: tuple[torch.Tensor, ...]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda t: t,
        lambda t: (None, t, torch.zeros(1)),
        lambda t: [3, [torch.tensor([1, 2]), t]],
        lambda t: OrderedDict(a="text", b={"c": t}),
        lambda t: Output(None, 3, (t,)),
    ],
)
def test_the_first_floating_tensor_is_found(wrap):
    tensor = torch.rand(2)
    assert first_tensor(wrap(tensor)) is tensor


@pytest.mark.parametrize("output", [None, 3, [], {"a": torch.tensor([1])}, Output(None, 3, ())])
def test_an_output_without_one_is_refused(output):
    with pytest.raises(SettingsError, match=type(output).__name__):
        first_tensor(output)


def test_taps_are_safe_from_what_works_in_place():
    net = nn.Sequential(nn.Conv1d(1, 1, 1, bias=False), nn.ReLU(inplace=True))
    nn.init.constant_(net[0].weight, -1.0)
    seen = run(net, torch.ones(1, 1, 3), ("0", "1", ""))
    assert seen["0"].flatten().tolist() == [-1, -1, -1]
    assert seen["1"].flatten().tolist() == seen[""].flatten().tolist() == [0, 0, 0]


def test_of_a_layer_that_runs_twice_the_last_time_counts():
    double = nn.Conv1d(1, 1, 1, bias=False)
    nn.init.constant_(double.weight, 2.0)
    seen = run(nn.Sequential(double, double), torch.ones(1, 1, 1), ("0", "1"))
    assert seen["0"].item() == seen["1"].item() == 4


def test_taps_are_gone_after_an_exception():
    net = nn.Sequential(nn.Linear(1, 1))
    with pytest.raises(RuntimeError, match="mine"), tapped(net, ["", "0"], torch.Tensor.clone):
        raise RuntimeError("mine")
    with pytest.raises(SettingsError), tapped(net, ["0", "1"], torch.Tensor.clone):
        pass
    assert not any(module._forward_hooks for module in net.modules())


def test_what_a_network_cannot_do_is_said():
    net = nn.Sequential(nn.Conv2d(3, 1, 3), nn.Flatten())
    with pytest.raises(SettingsError, match=r"no layer 'conv'.*named_modules"):
        run(net, torch.rand(1, 3, 5, 5), ("conv",))
    with pytest.raises(SettingsError, match=r"fails on images of shape \(1, 1, 5, 5\)"):
        run(net, torch.rand(1, 1, 5, 5))
    net.unused = nn.ReLU()
    net.forward = lambda x: net[0](x)
    with pytest.raises(SettingsError, match="'unused' returned no tensor"):
        run(net, torch.rand(1, 3, 5, 5), ("unused",))
    for wrong in (
        torch.rand(3, 5),
        torch.zeros(1, 3, 5, 5, dtype=torch.uint8),
        torch.rand(0, 1, 5),
    ):
        with pytest.raises(SettingsError, match="give a floating-point"):
            as_input(net, wrong)
    with pytest.raises(SettingsError, match="at least 4"):
        as_input(net, torch.rand(3, 1, 5), least=4)


def test_the_size_of_batches_changes_nothing():
    net, images = nn.Conv1d(2, 3, 3).double(), torch.rand(7, 2, 9).double()
    whole = outputs(net, images, batch_size=7)
    assert whole.shape == (7, 3, 7)
    for batch in (1, 2, 3, 100):
        assert torch.allclose(outputs(net, images, batch_size=batch), whole, atol=1e-14)
        assert sum(len(seen[""]) for seen in batches(net, images, batch_size=batch)) == 7


@pytest.mark.parametrize(("size", "least"), [((9,), (2,)), ((0,), (1,)), ((3, 3), (1, 1))])
def test_windows_that_do_not_fit_are_refused(size, least):
    assert room(torch.zeros(1, 1, 10), (8,), (2,)) == (2,)
    with pytest.raises(SettingsError):
        room(torch.zeros(1, 1, 10), size, least)


# --- layers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_strides_are_measured_not_guessed(dims: int):
    """Without padding 40 pixels become 6 cells at the end, a ratio of 6.7; the stride is 4."""
    conv = CONVOLUTIONS[dims - 1]
    net = nn.Sequential(
        conv(1, 1, 3), conv(1, 1, 3, stride=2), conv(1, 1, 5), conv(1, 1, 3, stride=2)
    )
    found = find_layers(net, (1, *[40] * dims), ["0", "1", "2", "3"])
    assert [set(strides) for strides in found.values()] == [{1}, {2}, {2}, {4}]
    anisotropic = conv(1, 1, 3, stride=(3, 2, 1)[:dims])
    assert find_layers(anisotropic, (1, *[31] * dims), [""])[""] == (3, 2, 1)[:dims]


def test_a_finer_map_has_a_stride_below_one():
    net = nn.Sequential(nn.MaxPool1d(4), nn.Upsample(scale_factor=8))
    found = find_layers(net, (1, 64), ["0", "1"])
    assert found == {"0": (Fraction(4),), "1": (Fraction(1, 2),)}
    assert common_shift(found) == (4,)


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter, self.down = nn.Conv2d(1, 2, 3, padding=1), nn.MaxPool2d(2)
        self.deep = nn.Conv2d(2, 2, 3, padding=1)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(2, 2, 1))
        self.last_first = nn.Flatten()
        self.up, self.leave = nn.Upsample(scale_factor=2), nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fine = self.enter(x)
        deep = self.deep(self.down(fine))
        deep = deep * self.gate(deep)
        self.last_first(deep)
        return self.leave(torch.cat([fine, self.up(deep)], 1))


def test_layers_are_found_at_changes_of_size():
    """One per run of a size; gates and vectors are no maps."""
    assert find_layers(UNet(), (1, 32, 32)) == {"enter": (1, 1), "deep": (2, 2), "": (1, 1)}


class OneSize(nn.Module):
    """Takes 32 pixels and nothing else; its middle is channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 12, 3, 4, padding=1), nn.LayerNorm(12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[-1] != 32:
            raise ValueError("32 pixels")
        return self.norm(self.conv(x).permute(0, 2, 3, 1))


def test_channels_that_stand_last_are_no_space():
    class ChannelsLast(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.permute(0, 2, 3, 1)

    net = nn.Sequential(nn.Conv2d(1, 12, 3, 4, padding=1), ChannelsLast())
    assert find_layers(net, (1, 32, 32)) == {"0": (4, 4)}


def test_where_larger_images_are_refused_sizes_are_compared():
    assert find_layers(OneSize(), (1, 32, 32)) == {"conv": (4, 4)}


def test_given_strides_are_taken_and_wrong_layers_refused():
    net = nn.Sequential(nn.Conv1d(1, 1, 3), nn.Flatten())
    assert find_layers(net, (1, 8), {"0": (2,)}) == {"0": (Fraction(2),)}
    with pytest.raises(SettingsError, match="layer '1' gives a map"):
        find_layers(net, (1, 8), ["0", "1"])
    with pytest.raises(SettingsError, match="no layer gives a map"):
        find_layers(nn.Flatten(), (1, 8))


# --- noise ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [(64,), (24, 31), (9, 10, 11)])
def test_noise_is_seeded_normal_and_smooth(space):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    images = noise_images((2, *space), 4, seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    assert images.shape == (4, 2, *space)
    assert torch.equal(images[:2], noise_images((2, *space), 2, seed=5))
    assert not torch.equal(images, noise_images((2, *space), 4, seed=6))
    flat = images.flatten(2)
    assert torch.allclose(flat.mean(2), torch.zeros(4, 2), atol=1e-5)
    assert torch.allclose(flat.std(2, correction=0), torch.ones(4, 2), atol=1e-4)
    steps = images.diff(dim=-1).square().mean()
    seam = (images[..., 0] - images[..., -1]).square().mean()
    assert steps < 1.5, "white noise has 2"
    assert seam > 1.2 * steps, "the borders do not fit together"


def test_noise_does_not_tell_places_apart():
    """The mean square is the same everywhere, to the accuracy of 400 images."""
    power = noise_images((1, 16), 400).square().mean((0, 1))
    assert (power - 1).abs().max() < 5 * math.sqrt(2 / 400)


def test_generators_differ_by_every_number():
    draws = {
        torch.rand(1, generator=generator(*s)).item() for s in [(0,), (1,), (0, 0), (0, 1), (1, 0)]
    }
    assert len(draws) == 5


# --- findings ------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class Example(Finding):
    map: np.ndarray
    inner: Finding | None = None
    share: float = math.inf
    sides: dict[float, Fraction] = dataclasses.field(default_factory=lambda: {0.5: Fraction(1, 3)})


def test_the_plain_form_is_json_and_says_what_it_averaged():
    map_ = np.arange(130.0 * 3).reshape(130, 3)
    plain = Example(map_, Example(np.array([1 / 3, np.nan]))).to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["map_averaged_over"] == [3, 1]
    assert len(plain["map"]) == 44 <= 64
    for row, values in enumerate(plain["map"]):
        part = map_[3 * row : 3 * row + 3]
        assert values == pytest.approx(part.mean(0), rel=1e-5)
    assert plain["inner"]["map"] == [0.333333, None]
    assert plain["share"] is None
    assert plain["sides"] == {"0.5": 0.333333}


def test_every_finding_has_a_plain_form():
    net, images = UNet().requires_grad_(False), noise_images((1, 16, 16), 4)
    for name, measure in MEASUREMENTS.items():
        found = measure(net, images)
        for each in found if isinstance(found, tuple) else (found,):
            plain = each.to_dict()
            assert json.loads(json.dumps(plain, allow_nan=False)) == plain, name
            names = {field.name for field in dataclasses.fields(each)}
            assert names <= set(plain), name


def test_block_means_of_all_is_the_mean():
    array = np.random.default_rng(0).random((5, 7))
    assert block_means(array, [np.array([0]), np.array([0])]) == pytest.approx(array.mean())
    assert np.allclose(block_means(array, [np.arange(5), np.arange(7)]), array)


def slow_spearman(first: list[float], second: list[float]) -> float:
    def rank(values: list[float], value: float) -> float:
        below = sum(other < value for other in values)
        same = sum(other == value for other in values)
        return below + (same + 1) / 2

    a, b = ([rank(values, value) for value in values] for values in (first, second))
    mean = (len(a) + 1) / 2
    top = sum((x - mean) * (y - mean) for x, y in zip(a, b, strict=True))
    return top / math.sqrt(sum((x - mean) ** 2 for x in a) * sum((y - mean) ** 2 for y in b))


def test_spearman_like_its_slow_twin():
    rng = np.random.default_rng(0)
    for ties in (3, 10, 1000):
        first, second = rng.integers(0, ties, (2, 40)).astype(float)
        assert spearman(first, second) == pytest.approx(slow_spearman([*first], [*second]))
        assert spearman(first**3, 3 * second - 1) == pytest.approx(spearman(first, second))
        assert spearman(first, -first) == pytest.approx(-1)
    assert math.isnan(spearman(np.ones(3), np.arange(3)))


@pytest.mark.parametrize("size", [(1,), (6,), (4, 5), (3, 4, 5)])
def test_border_distances_one_by_one(size):
    found = border_distances(size)
    assert found.shape == size
    for place in np.ndindex(*size):
        assert found[place] == min(min(i, n - 1 - i) for i, n in zip(place, size, strict=True))


def test_differences_like_their_slow_twin():
    rng = np.random.default_rng(0)
    truth, other = rng.random((2, 5, 3, 4, 6))
    distance = border_distances((4, 6))
    found = Differences()
    found.add(torch.tensor(truth[:2]), torch.tensor(other[:2]), distance)
    found.add(torch.tensor(truth[2:]), torch.tensor(other[2:]), distance)
    spread = np.sqrt(np.mean([truth[:, channel].var() for channel in range(3)]))
    for d in range(2):
        error = np.sqrt(np.mean((truth - other)[..., distance == d] ** 2))
        assert found.relative()[d] == pytest.approx(error / spread)
        peak = truth.max() - truth.min()
        assert found.psnr()[d] == pytest.approx(20 * math.log10(peak / error))
    assert found.overall() == pytest.approx(np.sqrt(np.mean((truth - other) ** 2)) / spread)


def test_no_difference_is_none_even_where_nothing_varies():
    found = Differences()
    found.add(torch.ones(1, 2, 3), torch.ones(1, 2, 3), border_distances((3,)))
    assert found.relative().tolist() == [0, 0]
    assert found.overall() == 0
    changed = Differences()
    changed.add(torch.ones(1, 2, 3), torch.zeros(1, 2, 3), border_distances((3,)))
    assert changed.overall() == math.inf


def test_errors_are_of_ours():
    assert issubclass(SettingsError, PlacewiseError)
