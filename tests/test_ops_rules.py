"""What the rules say of whole blocks: attention, windows of tokens, shuffles, users' rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from placewise.ops import (
    COUNTS,
    TABLE,
    Call,
    Layout,
    Operand,
    Operator,
    Outcome,
    Status,
    entry,
    everything,
    pointwise,
    rule,
)

BACKWARD = "native_dropout_backward gelu_backward logit_backward sigmoid_backward silu_backward"
NOT_IN_TABLE = {
    *BACKWARD.split(),
    "equal",
    "tanh_backward",
    "threshold_backward",
}
"""Pointwise operations of torch that no network runs on its way forward, or that give no tensor."""


class Walk:
    """Calls one after the other, from one image, with the ways of the last result."""

    def __init__(self, layout: Layout, *, per_channel: bool = False) -> None:
        self.per_channel = per_channel
        self.status = Status.EXACT
        self._ways: list[list[tuple[Operator, ...]]] = [[()]]
        self.image = Operand(0, layout)

    def __call__(this, op: str, shape: tuple[int, ...], /, **given: Any) -> Operand:
        line = entry(op)
        assert line is not None
        found = line.rule(Call(op, given, shape, 0, this.per_channel))
        assert found.layout.shape == shape
        if found.status is not Status.EXACT:
            this.status = found.status
        this._ways.append(
            [(*way, edge.operator) for edge in found.edges for way in this._ways[edge.source]]
        )
        return Operand(len(this._ways) - 1, found.layout)

    def counts(self, operand: Operand) -> np.ndarray:
        """Ways from each place of the image to all of a result."""
        total = COUNTS.filled(self.image.layout.grid)
        for way in self._ways[operand.node]:
            grid = COUNTS.filled(operand.layout.grid, 1)
            for operator in reversed(way):
                grid = operator.adjoint(grid, COUNTS)
            total = total + grid
        return total


def test_attention_written_out_counts_as_attention_in_one_call():
    tokens = Layout.image((1, 8, 3, 4)).viewed((1, 8, 12)).permuted((0, 2, 1))
    one = Walk(tokens)
    x = one.image
    fused = one("scaled_dot_product_attention", (1, 12, 8), query=x, key=x, value=x)
    two = Walk(tokens)
    y = two.image
    turned = two("transpose", (1, 8, 12), self=y, dim0=1, dim1=2)
    scores = two("matmul", (1, 12, 12), self=y, other=turned)
    assert scores.layout.grid == (1, 12, 1)
    weights = two("softmax", (1, 12, 12), self=scores, dim=-1)
    written = two("matmul", (1, 12, 8), self=weights, other=y)
    assert written.layout.grid == fused.layout.grid == (1, 12, 1)
    assert one.status is two.status is Status.EXACT
    assert (one.counts(fused) == two.counts(written)).all()
    assert (one.counts(fused) == 1 + 12 + 12).all()


def test_attention_read_by_its_columns_is_a_bound_and_keeps_its_map():
    walk = Walk(Layout.image((1, 4, 10)))
    x = walk.image
    turned = walk("transpose", (1, 10, 4), self=x, dim0=1, dim1=2)
    scores = walk("bmm", (1, 10, 10), self=turned, mat2=x)
    back = walk("transpose", (1, 10, 10), self=scores, dim0=1, dim1=2)
    rows = walk("bmm", (1, 4, 10), self=x, mat2=back)
    assert rows.layout.grid == (1, 1, 10) and walk.status is Status.EXACT
    columns = walk("bmm", (1, 4, 10), self=x, mat2=scores)
    assert columns.layout.grid == (1, 1, 10) and walk.status is Status.AT_MOST


@pytest.mark.parametrize("channels", [False, True])
def test_windows_of_tokens_and_back_are_the_identity(channels: bool):
    walk = Walk(Layout.image((2, 6, 8, 12), per_channel=channels), per_channel=channels)
    x = walk("permute", (2, 8, 12, 6), self=walk.image, dims=[0, 2, 3, 1])
    x = walk("roll", (2, 8, 12, 6), self=x, shifts=[-2, -1], dims=[1, 2])
    x = walk("view", (2, 2, 4, 3, 4, 6), self=x)
    x = walk("permute", (2, 2, 3, 4, 4, 6), self=x, dims=[0, 1, 3, 2, 4, 5])
    x = walk("reshape", (12, 16, 6), self=x)
    x = walk("view", (2, 2, 3, 4, 4, 6), self=x)
    x = walk("permute", (2, 2, 4, 3, 4, 6), self=x, dims=[0, 1, 3, 2, 4, 5])
    x = walk("reshape", (2, 8, 12, 6), self=x)
    x = walk("roll", (2, 8, 12, 6), self=x, shifts=[2, 1], dims=[1, 2])
    x = walk("permute", (2, 6, 8, 12), self=x, dims=[0, 3, 1, 2])
    assert x.layout.grid == walk.image.layout.grid and walk.status is Status.EXACT
    numbers = np.random.default_rng(0).integers(1, 99, x.layout.grid).astype(object)
    grid = numbers
    for operator in walk._ways[x.node][0]:
        grid = operator.forward(grid, COUNTS)
    assert (grid == numbers).all()


def test_a_shuffle_after_a_concatenation_leaves_clear_halves():
    walk = Walk(Layout.image((1, 8, 4, 4)))
    x = walk.image
    wide = walk("cat", (1, 16, 4, 4), tensors=[x, x], dim=1)
    mixed = walk("channel_shuffle", (1, 16, 4, 4), self=wide, groups=2)
    walk("chunk", (1, 8, 4, 4), self=mixed, chunks=2, dim=1)
    assert walk.status is Status.EXACT
    walk("chunk", (1, 8, 4, 4), self=wide, chunks=2, dim=1)
    assert walk.status is Status.AT_MOST


def test_grouped_convolutions_with_more_channels_out_than_in():
    walk = Walk(Layout.image((1, 4, 5), per_channel=True), per_channel=True)
    weight = torch.ones(12, 2, 3)
    settings = {"stride": 1, "padding": 1, "dilation": 1, "groups": 2}
    found = walk("conv1d", (1, 12, 5), input=walk.image, weight=weight, **settings)
    expected = torch.ones(1, 12, 5)
    image = torch.zeros(1, 4, 5, requires_grad=True)
    result = torch.nn.functional.conv1d(image, weight, padding=1, groups=2)
    result.backward(expected)
    assert image.grad is not None
    assert (walk.counts(found) == image.grad.numpy().astype(int)).all()


def test_a_gate_adds_its_ways():
    walk = Walk(Layout.image((1, 3, 4, 4)))
    pooled = walk("adaptive_avg_pool2d", (1, 3, 1, 1), self=walk.image, output_size=[1, 1])
    gated = walk("mul", (1, 3, 4, 4), self=walk.image, other=pooled)
    assert (walk.counts(gated) == 1 + 16).all()


def test_a_partial_convolution_counts_in_fractions():
    walk = Walk(Layout.image((1, 2, 6)))
    settings = {"stride": 1, "padding": 1, "dilation": 1, "groups": 1}
    weight = torch.ones(2, 2, 3)
    maps = walk("conv1d", (1, 2, 6), input=walk.image, weight=weight, **settings)
    inside = torch.tensor([1.5, 1, 1, 1, 1, 1.5])
    shared = walk("mul", (1, 2, 6), self=maps, other=inside)
    learned = walk("mul", (1, 2, 6), self=maps, other=torch.tensor([0.3, 2, 1, 5, 1.1, 1]))
    assert [str(n) for n in walk.counts(shared).ravel()[:3]] == ["5/2", "7/2", "3"]
    assert walk.counts(learned).ravel().tolist() == [2, 3, 3, 3, 3, 2]


def test_normalisations_over_places_are_told():
    image = Operand(0, Layout.image((1, 4, 3, 3)))
    given = {"input": image, "num_groups": 2}
    found = TABLE["group_norm"].rule(Call("group_norm", given, (1, 4, 3, 3), 0, False))
    assert found.global_statistics and found.status is Status.AT_LEAST
    vector = Operand(0, Layout.image((1, 4, 1, 1)))
    given = {"input": vector, "num_groups": 2}
    found = TABLE["group_norm"].rule(Call("group_norm", given, (1, 4, 1, 1), 0, False))
    assert not found.global_statistics and found.status is Status.EXACT


def test_an_unknown_operation_reads_everything():
    image = Operand(0, Layout.image((1, 3, 4, 5)))
    found = everything(Call("odd", {"x": [image]}, (1, 7, 2, 5), 0, False), Status.GUESSED)
    assert found.layout.grid == (1, 1, 2, 5) and found.status is Status.GUESSED
    ways = found.edges[0].operator.adjoint(COUNTS.filled((1, 1, 2, 5), 1), COUNTS)
    assert (ways == 10).all()
    empty = everything(Call("odd", {}, (2, 2), 0, False))
    assert empty.edges == () and empty.layout.grid == (1, 1)


def test_a_users_rule_is_entered_and_goes_for_both_forms():
    @rule("pointwise", "my_library::double")
    def mine(call: Call) -> Outcome:
        return pointwise(call)

    try:
        line = entry("my_library::double_")
        assert line is not None and line.rule is mine and line.role == "pointwise"
    finally:
        del TABLE["my_library::double"]
    assert entry("my_library::double") is None


def test_every_pointwise_operation_of_torch_is_in_the_table():
    names = {s.name.removeprefix("aten::") for s in torch._C._jit_get_all_schemas()}
    found = set()
    for name in names:
        packet = getattr(torch.ops.aten, name, None) if "::" not in name else None
        if packet is None or name.startswith("__"):
            continue
        tags = [getattr(packet, overload).tags for overload in packet.overloads()]
        if any(torch.Tag.pointwise in several for several in tags):
            found.add(name)
    assert len(found) > 200
    assert {name for name in found if entry(name) is None} - NOT_IN_TABLE == set()
