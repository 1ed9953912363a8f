"""Each line of the table against the operation itself: what really changes what.

An operation is run again and again with one number of an operand changed. Which numbers of the
result change then is the truth. A rule must claim all of it, and where it calls itself exact, no
more; told apart element by element, as many ways as there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import ops_cases_chosen  # noqa: F401  (it enters more cases)
from ops_cases import CASES, NOT_CALLED, Case, ImageArray
from placewise.ops import (
    COUNTS,
    EXISTS,
    FLOATS,
    TABLE,
    Call,
    Edge,
    Layout,
    Operand,
    Outcome,
    Status,
)

Matrix = NDArray[Any]
"""A row for each place that is read, a column for each that is written."""

NORMS = """
_batch_norm_impl_index _batch_norm_no_update _batch_norm_with_update _fused_rms_norm
_native_batch_norm_legit _native_batch_norm_legit_no_training batch_norm group_norm instance_norm
layer_norm native_batch_norm native_group_norm native_layer_norm rms_norm
""".split()
"""Taken for the identity: of what they read through mean and variance they tell in words alone."""

TRIED = (10.0, -0.7)
HARDER = (0.5, -1.0, 1.0, -0.2, -10.0, -3.0, math.inf, -math.inf, math.nan)
"""Changes of a number, and more for what hides from them; the last would show weights of zero."""

SEEDS = 8

ALL = [
    pytest.param(one, id=f"{one.op}-{n}") for found in CASES.values() for n, one in enumerate(found)
]


def test_every_line_of_the_table_is_called_or_says_why_not():
    assert len(TABLE) > 500
    assert set(CASES) | set(NOT_CALLED) == set(TABLE)
    assert not set(CASES) & set(NOT_CALLED)
    assert all(CASES.values())
    assert all(one.name == op for op, found in CASES.items() for one in found)


def test_what_is_not_called_goes_by_a_rule_that_is():
    called = {TABLE[op].rule for op in CASES}
    alone = [op for op in NOT_CALLED if TABLE[op].rule not in called and "quantized::" not in op]
    assert set(alone) <= {"_native_multi_head_attention", "_transformer_encoder_layer_fwd"}


@pytest.mark.parametrize("one", ALL)
def test_a_rule_claims_what_the_operation_reads(one: Case):
    truth = Truth(one)
    assert truth.shapes
    for elements in (True, False):
        for output, shape in enumerate(truth.shapes):
            found, layouts = claimed(one, shape, output, elements=elements)
            assert found.layout.shape == shape
            for number, layout in enumerate(layouts):
                edges = [edge for edge in found.edges if edge.source == number]
                ways = matrix(edges, layout, found.layout)
                if elements and found.status is Status.EXACT:
                    truth.look_for(number, output, ways > 0)
                real = collapsed(truth.of(number, output), layout, found.layout)
                if output == 0 and one.name in NORMS and found.status is not Status.EXACT:
                    assert elements or found.global_statistics
                    assert not ((ways > 0) & ~real).any()
                else:
                    compare(found, ways, real, elements=elements)


def compare(found: Outcome, ways: Matrix, real: Matrix, *, elements: bool) -> None:
    """Claim and truth of one operand and one output."""
    assert not (real & (ways == 0)).any(), "more is read than claimed"
    if found.status is Status.EXACT:
        assert ((ways > 0) == real).all(), "less is read than claimed"
        if elements:
            assert (ways == real).all(), "a way is counted more than once"


# --- the truth ------------------------------------------------------------------------------------


def function_of(one: Case) -> Any:
    packet = getattr(torch.ops.aten, one.name)
    wanted = one.op.partition(".")[2]
    if wanted:
        return getattr(packet, wanted)
    if "default" in packet.overloads():
        return packet.default
    return getattr(packet, "Tensor" if "Tensor" in packet.overloads() else packet.overloads()[0])


def images(one: Case) -> list[ImageArray]:
    """All operands in the order in which the rules see them."""
    found: list[ImageArray] = []
    for value in (*one.args, *one.kwargs.values()):
        several = value if isinstance(value, list) else [value]
        found += [v for v in several if isinstance(v, ImageArray)]
    return found


def filled(one: Case, tensors: list[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments with tensors in the stead of images."""
    rest = iter(tensors)

    def put(value: Any) -> Any:
        if isinstance(value, ImageArray):
            return next(rest)
        return [put(v) for v in value] if isinstance(value, list) else value

    args = tuple(put(value) for value in one.args)
    return args, {name: put(value) for name, value in one.kwargs.items()}


def run(one: Case, tensors: list[torch.Tensor]) -> list[torch.Tensor] | None:
    """What the operation gives; None where it refuses these numbers."""
    args, kwargs = filled(one, [t.clone() for t in tensors])
    args = tuple(a.clone() if isinstance(a, torch.Tensor) else a for a in args)
    torch.default_generator.manual_seed(0)
    try:
        result = function_of(one)(*args, **kwargs)
    except (RuntimeError, IndexError):
        return None
    several = result if isinstance(result, list | tuple) else [result]
    return [tensor.detach().clone() for tensor in several if isinstance(tensor, torch.Tensor)]


class Truth:
    """Which element of each operand changes which element of each output."""

    def __init__(self, one: Case) -> None:
        self.one = one
        self.starts = [self._start(seed) for seed in range(SEEDS)]
        before = [run(one, tensors) for tensors in self.starts]
        assert None not in before
        self.before = [found for found in before if found is not None]
        self.shapes = [tuple(tensor.shape) for tensor in self.before[0]]
        self._found = [
            [np.zeros((t.numel(), old.numel()), bool) for old in self.before[0]]
            for t in self.starts[0]
        ]
        for number, tensor in enumerate(self.starts[0]):
            for element in range(tensor.numel()):
                for by in TRIED:
                    self._change(0, number, element, by)

    def of(self, number: int, output: int) -> Matrix:
        """What changes are known of an operand and an output."""
        return self._found[number][output]

    def look_for(self, number: int, output: int, wanted: Matrix) -> None:
        """Try harder where less has changed than is claimed."""
        real = self.of(number, output)
        for seed, by in [(seed, by) for seed in range(SEEDS) for by in HARDER]:
            for element in np.flatnonzero((wanted & ~real).any(1)):
                self._change(seed, number, int(element), by)

    def _start(self, seed: int) -> list[torch.Tensor]:
        tensors = [image.draw(seed + n) for n, image in enumerate(images(self.one))]
        single = (
            "mkldnn" in self.one.name or "quantize" in self.one.name or "_obs_" in self.one.name
        )
        return [tensor.float() if single else tensor for tensor in tensors]

    def _change(self, seed: int, number: int, element: int, by: float) -> None:
        """Run with one number changed, and note what is not as before."""
        tensors = list(self.starts[seed])
        tensor = tensors[number].clone().reshape(-1)
        if tensor.dtype == torch.bool:
            tensor[element] = ~tensor[element]
        elif tensor.is_complex():
            tensor[element] += complex(by, by)
        elif tensor.is_floating_point():
            tensor[element] += by
        else:
            tensor[element] += 1 if by > 0 else -1
        tensors[number] = tensor.reshape(tensors[number].shape)
        after = run(self.one, tensors)
        if after is None or [tuple(t.shape) for t in after] != self.shapes:
            return
        for output, (old, new) in enumerate(zip(self.before[seed], after, strict=True)):
            self._found[number][output][element] |= differ(old, new)


def differ(old: torch.Tensor, new: torch.Tensor) -> Matrix:
    """Which numbers changed by more than rounding."""
    if old.is_floating_point() or old.is_complex():
        same = torch.isclose(old, new, rtol=1e-9, atol=1e-9, equal_nan=True)
    else:
        same = old == new
    return (~same).reshape(-1).numpy()


# --- the claim ------------------------------------------------------------------------------------


def claimed(
    one: Case, shape: tuple[int, ...], output: int, *, elements: bool
) -> tuple[Outcome, list[Layout]]:
    """What the table says of the call, and the layouts of its operands."""
    layouts = [image.layout(elements=elements) for image in images(one)]
    args, kwargs = filled(one, [Operand(n, layout) for n, layout in enumerate(layouts)])
    given = {}
    for position, argument in enumerate(function_of(one)._schema.arguments):
        if position < len(args):
            given[argument.name] = args[position]
        else:
            given[argument.name] = kwargs.get(argument.name, argument.default_value)
    call = Call(one.name, given, shape, output, elements)
    return TABLE[one.name].rule(call), layouts


def matrix(edges: Sequence[Edge], read: Layout, written: Layout) -> Matrix:
    """Ways from each place that is read to each that is written, forwards and backwards."""
    inside, outside = math.prod(read.grid), math.prod(written.grid)
    ways, back = np.zeros((inside, outside)), np.zeros((inside, outside))
    some = np.random.default_rng(0).random(inside) < 0.5
    exists = np.zeros(outside, bool)
    for edge in edges:
        for place in range(inside):
            start = np.eye(1, inside, place).reshape(read.grid)
            ways[place] += edge.operator.forward(start, FLOATS).reshape(-1)
        for place in range(outside):
            start = np.array([int(n == place) for n in range(outside)], dtype=object)
            back[:, place] += (
                edge.operator.adjoint(start.reshape(written.grid), COUNTS).reshape(-1).astype(float)
            )
        exists |= edge.operator.forward(some.reshape(read.grid), EXISTS).reshape(-1)
    assert (ways == back).all(), "forward and adjoint are not the same relation"
    assert (exists == (some @ ways > 0)).all(), "two algebras differ"
    return ways


def collapsed(truth: Matrix, read: Layout, written: Layout) -> Matrix:
    """The truth between places, from the truth between elements."""
    result = np.zeros((math.prod(read.grid), math.prod(written.grid)), bool)
    ins, outs = places_of(read), places_of(written)
    for element, place in enumerate(ins):
        np.logical_or.at(result[place], outs, truth[element])
    return result


def places_of(layout: Layout) -> NDArray[np.int64]:
    """The number on the grid of each element of a tensor."""
    dims = [[(a.size, a.place) for a in dim] for dim in layout.dims]
    flat = [pair for dim in dims for pair in dim]
    grid = np.arange(math.prod(layout.grid)).reshape([s if place else 1 for s, place in flat])
    return np.broadcast_to(grid, [size for size, _ in flat]).reshape(-1)
