"""Heads for classes beside the same thing written as plainly as possible."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import nn

from placewise.heads import HEADS
from placewise.layers.local import LocallyConnected
from placewise.layers.proximity import Places

EACH_SIZE = pytest.mark.parametrize("size", [(6,), (5, 4), (3, 4, 3)], ids=str)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def build(name: str, *given: Any, **settings: Any) -> Any:
    """A head with biases that matter."""
    head = HEADS[name](*given, **settings).double().eval()
    for parameter in head.parameters():
        if not parameter.any():
            nn.init.normal_(parameter)
    return head


def features(channels: int, size: tuple[int, ...], batch: int = 3) -> torch.Tensor:
    return torch.randn(batch, channels, *size, dtype=torch.float64)


# --- slow twins ----------------------------------------------------------------------------------


@EACH_SIZE
def test_flatten_is_weighted_sums_of_all(size) -> None:
    head, maps = build("flatten", 2, 4, size, hidden=5), features(2, size)
    for one, logits in zip(maps, head(maps), strict=True):
        numbers = one.reshape(-1).tolist()
        hidden = [
            max(0.0, sum(w * x for w, x in zip(weights, numbers, strict=True)) + b)
            for weights, b in zip(
                head.hidden[0].weight.tolist(), head.hidden[0].bias.tolist(), strict=True
            )
        ]
        assert torch.allclose(logits, head.out(torch.tensor(hidden, dtype=torch.float64)))


@EACH_SIZE
def test_convolutional_is_the_mean_vote_of_the_places(size) -> None:
    """Each place is answered as if it were the whole image; the logit is the mean answer."""
    head, maps = build("convolutional", 3, 4, size, hidden=7), features(3, size)
    votes = [
        head(maps[(..., *(slice(i, i + 1) for i in place))])
        for place in itertools.product(*map(range, size))
    ]
    hidden, out = head.hidden[0], head.out
    vote = out(torch.relu(maps.flatten(2)[..., 0] @ hidden.weight.flatten(1).T + hidden.bias))
    assert torch.allclose(votes[0], vote)
    assert torch.allclose(head(maps), torch.stack(votes).mean(0))


def window_of(place: tuple[int, ...], size: tuple[int, ...], window: int) -> list[tuple[int, ...]]:
    """Places of a window about a place, moved inside where it would hang over the border."""
    axes = []
    for at, length in zip(place, size, strict=True):
        side = min(window, length)
        start = min(max(0, at - (side - 1) // 2), length - side)
        axes.append(range(start, start + side))
    return list(itertools.product(*axes))


@pytest.mark.parametrize("layers", [1, 2])
@EACH_SIZE
def test_sheet_is_a_sum_over_each_units_own_window(size, layers) -> None:
    head = build("sheet", 2, 3, size, hidden=2, layers=layers)
    maps = features(2, size, batch=1)
    places = list(itertools.product(*map(range, size)))
    values = {(c, *place): maps[(0, c, *place)] for c in range(2) for place in places}
    for sheet in head.sheets:
        after = {}
        for n, place in enumerate(places):
            reads = [(c, *p) for p in window_of(place, size, 3) for c in range(2)]
            for unit in range(2):
                total = sum(
                    w * values[read] for w, read in zip(sheet.weight[n, unit], reads, strict=True)
                )
                after[(unit, *place)] = torch.relu(total + sheet.bias[(unit, *place)])
        values = after
    vector = torch.stack([values[key] for key in sorted(values)])
    assert torch.allclose(head(maps)[0], head.out.weight @ vector + head.out.bias)


def test_a_volume_reads_its_neighbours_along_the_channels_too() -> None:
    """A hidden layer of a map of two axes has three, and a far channel is out of reach."""
    head = build("sheet", 7, 3, (5, 4), hidden=2, volume=True)
    (sheet,) = head.sheets
    assert sheet.input_size == (7, 5, 4)
    maps = features(7, (5, 4), batch=1).requires_grad_()
    hidden = sheet(maps[:, None])
    (slope,) = torch.autograd.grad(hidden[0, :, 0, 2, 2].sum(), maps)
    assert slope[0].abs().sum((1, 2)).bool().tolist() == [True] * 3 + [False] * 4
    by_hand = head.out(torch.relu(hidden).flatten(1))
    assert torch.equal(head(maps), by_hand)


@pytest.mark.parametrize("layers", [1, 2])
@EACH_SIZE
def test_proximity_is_a_sum_over_the_inputs_of_each_unit(size, layers) -> None:
    head = build("proximity", 2, 3, size, hidden=2, layers=layers, fan_in=4)
    maps = features(2, size)
    values = maps.flatten(1)
    for sheet in head.sheets:
        sums = (values[:, sheet.index] * sheet.weight).sum(-1) + sheet.bias
        values = torch.relu(sums)
    assert torch.allclose(head(maps), head.out(values))


@EACH_SIZE
@pytest.mark.parametrize("kind", ["tucker", "cp"])
def test_low_rank_is_one_product_with_the_whole_tensor_of_weights(size, kind) -> None:
    """y = ⟨X, W⟩ + b, with W written out from its factors."""
    head, maps = build("low_rank", 4, 3, size, kind=kind, rank=3), features(4, size)
    axes, ranks = "chwd"[: len(size) + 1], "rstu"[: len(size) + 1]
    factors = list(head.factors)
    if kind == "tucker":
        core = head.out.weight.reshape(3, *(f.shape[1] for f in factors))
        pairs = ",".join(axis + rank for axis, rank in zip(axes, ranks, strict=True))
        whole = torch.einsum(f"k{ranks},{pairs}->k{axes}", core, *factors)
    else:
        pairs = ",".join(f"{axis}r" for axis in axes)
        whole = torch.einsum(f"kr,{pairs}->k{axes}", head.out.weight, *factors)
    expected = torch.einsum(f"n{axes},k{axes}->nk", maps, whole) + head.out.bias
    assert torch.allclose(head(maps), expected)


def branch_of(head: Any, k: int, classes: int) -> nn.Sequential:
    """The branch of one class alone, as a network with copies of its weights."""
    parts: list[nn.Module] = []
    for sheet in [*head.sheets, head.out]:
        own = sheet.out_channels // classes
        mine = slice(k * own, (k + 1) * own)
        one = LocallyConnected(
            sheet.in_channels // sheet.groups,
            own,
            sheet.input_size,
            sheet.windows.kernel_size,
            stride=sheet.windows.stride,
            padding_mode="clamped" if sheet.clamped else "valid",
        ).double()
        one.weight.data.copy_(sheet.weight[:, mine])
        one.bias.data.copy_(sheet.bias[mine])
        parts += [one, nn.ReLU()]
    return nn.Sequential(*parts[:-1], nn.Flatten())


@pytest.mark.parametrize("hidden", [1, 4])
@pytest.mark.parametrize("size", [(1,), (6,), (5, 5), (11, 8), (7, 2), (5, 4, 6)], ids=str)
def test_the_palm_tree_is_a_loop_over_its_branches(size, hidden) -> None:
    head, maps = build("palm_tree", 3, 4, size, hidden=hidden), features(3, size)
    loop = torch.cat([branch_of(head, k, 4)(maps) for k in range(4)], 1)
    assert loop.std() > 0
    assert (head(maps) - loop).abs().max() < 1e-12
    single = HEADS["palm_tree"](3, 4, size, hidden=hidden)
    single.load_state_dict(head.state_dict())
    assert (single(maps.float()) - loop).abs().max() < 1e-5


# --- what each is for ----------------------------------------------------------------------------


def test_a_branch_is_of_one_class_alone() -> None:
    """The slope of a class's logit is 0 in every weight of the other branches."""
    head, maps = build("palm_tree", 3, 4, (9, 9), hidden=2), features(3, (9, 9))
    assert len(head.sheets) == 2
    head(maps)[:, 1].sum().backward()
    for sheet, own in [*((sheet, 2) for sheet in head.sheets), (head.out, 1)]:
        moved = sheet.weight.grad.abs().sum((0, 2)).view(4, own).bool().any(1)
        assert moved.tolist() == [False, True, False, False]


@pytest.mark.parametrize(
    ("size", "after"),
    [
        ((5, 5), [(3, 3)]),
        ((3, 3), [(2, 2)]),
        ((28, 12), [(14, 6), (7, 3), (4, 2), (2, 1)]),
        ((1,), [(1,)]),
    ],
)
def test_branches_narrow_until_a_window_holds_them(size, after) -> None:
    head = HEADS["palm_tree"](2, 3, size)
    assert [sheet.size_after(sheet.input_size) for sheet in head.sheets] == after
    assert head.out.windows.kernel_size == after[-1]


@pytest.mark.parametrize(
    ("name", "settings", "parameters"),
    [
        ("flatten", {}, 16_110),
        ("sheet", {}, 16_260),
        ("proximity", {}, 16_260),
        ("palm_tree", {}, 15_130),
        ("convolutional", {}, 1_710),
        ("low_rank", {}, 5 * 4 * 2 + 6 * 4 + 64 * 10 + 10),
    ],
)
def test_what_heads_cost_on_the_maps_of_the_exact_net(name, settings, parameters) -> None:
    """On 6@5×5 and 10 classes; sheets and proximity cost what flattening costs, within 1 %."""
    head = HEADS[name](6, 10, (5, 5), **settings)
    assert sum(p.numel() for p in head.parameters()) == parameters
    if name in ("sheet", "proximity"):
        (sheet,) = head.sheets
        assert sheet.weight.numel() + head.out.weight.numel() == 16_000


def test_the_convolutional_head_has_as_many_channels_as_the_other_has_units() -> None:
    flat, free = HEADS["flatten"](6, 10, (5, 5)), HEADS["convolutional"](6, 10, (5, 5))
    assert flat.hidden[0].out_features == free.hidden[0].out_channels == 100


def test_only_the_convolutional_head_does_not_mind_where_things_are() -> None:
    maps = features(4, (6, 6), batch=8)
    moved = maps.roll((2, 3), (2, 3))
    minds = {}
    for name in HEADS.names():
        if HEADS[name].task == "classes":
            head = build(name, 4, 3, (6, 6))
            minds[name] = not torch.allclose(head(maps), head(moved), atol=1e-9)
    assert len(minds) >= 6
    assert [name for name, does in minds.items() if not does] == ["convolutional"]


def near_share(head: Any) -> float:
    """Share of the connections that span less than 1.5 places."""
    return (head.sheets[0].lengths < 1.5).double().mean().item()


def test_reach_says_how_near_the_inputs_lie() -> None:
    """λ → 0 is windows; λ = ∞ and far = 1 are the random control, at the same cost."""
    shares, costs = [], set()
    for settings in ({"reach": 0.01}, {"reach": 1.5}, {"reach": math.inf}, {"far": 1.0}):
        head = HEADS["proximity"](6, 10, (9, 9), fan_in=24, **settings)
        shares.append(near_share(head))
        costs.add(sum(p.numel() for p in head.parameters()))
    assert shares[0] == 1
    assert shares[0] > shares[1] > 2 * shares[2]
    assert shares[2] == pytest.approx(shares[3], abs=0.02)
    at_random = (Places((9, 9)).distances(Places((9, 9))) < 1.5).double().mean().item()
    assert shares[2] == pytest.approx(at_random, abs=0.02)
    assert len(costs) == 1


def test_a_window_that_holds_the_whole_map_is_fully_connected() -> None:
    """The corner of the family: with such a window the sheet is a fully connected layer."""
    sheet, maps = build("sheet", 2, 3, (3, 4), hidden=2, window=9), features(2, (3, 4))
    (layer,) = sheet.sheets
    rows = layer.weight.view(12, 2, 12, 2).permute(1, 0, 3, 2).reshape(24, 24)
    hidden = torch.relu(maps.flatten(1) @ rows.T + layer.bias.flatten())
    assert torch.allclose(sheet(maps), sheet.out(hidden))


def test_dropout_is_of_training_alone() -> None:
    for name in ("flatten", "convolutional", "sheet"):
        head, maps = build(name, 3, 4, (5, 5), dropout=0.5), features(3, (5, 5))
        assert torch.equal(head(maps), head(maps))
        head.train()
        assert not torch.equal(head(maps), head(maps))
