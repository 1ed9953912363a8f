"""Layouts and routes: what becomes of places and channels, against numpy on whole tensors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from placewise.ops import COUNTS, EXISTS, Atom, Layout, Route, Unplaced
from placewise.ops.axes import window
from placewise.ops.layout import joined, refined, size_of

Array = NDArray[np.float64]

atoms = st.builds(
    Atom, st.sampled_from([2, 3, 4]), st.booleans(), st.sampled_from([None, 0, 1]), st.just(False)
)
dims = st.lists(atoms, max_size=3).map(tuple)
layouts = st.lists(dims, min_size=1, max_size=3).map(lambda d: Layout(tuple(d)))


def whole(layout: Layout, grid: Array) -> Array:
    """A tensor that holds at each element the number of its place."""
    flat = [atom for dim in layout.dims for atom in dim]
    apart = grid.reshape([atom.size if atom.place else 1 for atom in flat])
    return np.broadcast_to(apart, [atom.size for atom in flat]).reshape(layout.shape)


def numbers(layout: Layout) -> Array:
    return np.random.default_rng(0).normal(size=layout.grid)


def shapes(size: int) -> st.SearchStrategy[list[int]]:
    def factors(draw: st.DrawFn) -> list[int]:
        found, left = [], size
        while left > 1:
            factor = draw(st.sampled_from([n for n in range(2, left + 1) if left % n == 0]))
            found.append(factor)
            left //= factor
        return found

    return st.composite(factors)()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_views_and_permutations_move_elements_as_numpy_does(data):
    layout = data.draw(layouts)
    shape = data.draw(shapes(math.prod(layout.shape)))
    order = data.draw(st.permutations(range(len(shape))))
    route = Route(layout).view(shape).permute(order)
    grid = numbers(layout)
    expected = whole(layout, grid).reshape(shape).transpose(order)
    assert route.layout.shape == expected.shape
    found = route.operator().forward(grid, COUNTS)
    assert found.shape == route.layout.grid
    assert (whole(route.layout, found) == expected).all()


@settings(max_examples=60, deadline=None)
@given(layouts, st.data())
def test_places_of_a_dimension_keep_its_elements(layout: Layout, data):
    dim = data.draw(st.integers(0, len(layout.dims) - 1))
    route = Route(layout).places(dim)
    grid = numbers(layout)
    assert route.layout.grid[dim] == layout.shape[dim]
    found = route.operator().forward(grid, COUNTS)
    assert (whole(route.layout, found) == whole(layout, grid)).all()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_joined_layout_tells_apart_what_either_does(data):
    first = data.draw(dims)
    sizes = data.draw(shapes(size_of(first)))
    second = tuple(Atom(size, data.draw(st.booleans())) for size in sizes)
    both = joined(first, second)
    assert size_of(both) == size_of(first)
    for own in (first, second):
        route = Route(Layout((own,)))
        grid = numbers(route.layout)
        found = route.like(Layout((both,))).operator().forward(grid, COUNTS)
        assert (whole(Layout((both,)), found) == whole(Layout((own,)), grid)).all()


def test_a_factoring_that_does_not_fit_is_none():
    assert refined((Atom(4, True), Atom(6, True)), (Atom(3, True), Atom(8, True))) is None
    assert refined((Atom(4, True),), (Atom(6, True),)) is None


def test_a_view_that_tears_makes_places_of_what_it_tears_alone():
    layout = Layout.image((1, 5, 4, 6)).permuted((1, 0, 2, 3)).viewed((5, 4, 6))
    route = Route(layout.viewed((5, 24))).view((5, 3, 8))
    assert route.layout.grid == (1, 3, 8) and not route.bound
    mixed = Route(Layout.image((1, 3, 4))).view((1, 4, 3))
    assert mixed.layout.grid == (1, 4, 3)


def test_what_is_too_large_to_tear_says_so():
    with pytest.raises(Unplaced, match="cannot be separated"):
        Route(Layout.image((1, 3000, 2048))).view((1, 2048, 3000))
    with pytest.raises(Unplaced, match="cannot be viewed as"):
        Route(Layout.image((1, 3, 4))).view((1, 5))


def test_blurred_channels_that_are_told_apart_make_a_bound():
    blurred = Layout(((Atom(2, False, None, True), Atom(3, False)), (Atom(4, True),)))
    assert Route(blurred).places(0).bound
    assert not Route(blurred).reduce(0).spread(0, 6, place=True).bound
    clear = Layout(((Atom(2, False), Atom(3, False)), (Atom(4, True),)))
    assert not Route(clear).places(0).bound


def test_reduce_dense_spread_and_everywhere():
    layout = Layout.image((2, 3, 4, 5))
    ones = COUNTS.filled(layout.grid, 1)
    assert Route(layout).reduce(2).operator().forward(ones, COUNTS).tolist() == [[[[4] * 5]]]
    dense = Route(layout).dense(3)
    assert dense.layout == layout
    assert (dense.operator().forward(ones, COUNTS) == 5).all()
    far = Route(layout).everywhere(Layout.image((1, 1, 2)))
    assert far.operator().forward(ones, COUNTS).ravel().tolist() == [20, 20]
    apart = Route(layout, per_channel=True).reduce(1).spread(1, 7)
    assert apart.layout.grid == (1, 7, 4, 5)
    assert (apart.operator().adjoint(COUNTS.filled((1, 7, 4, 5), 1), COUNTS) == 7).all()


def test_channels_stay_channels_whatever_is_done_along_them():
    layout = Layout.image((1, 6, 4))
    route = Route(layout).along(1, window(6, 3))
    assert route.layout.grid == (1, 1, 4) and route.layout.shape == (1, 4, 4)
    assert route.operator().steps == ()
    seen = route.operator().adjoint(EXISTS.filled((1, 1, 4), True), EXISTS)
    assert seen.all()
