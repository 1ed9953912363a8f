"""Relations between axes: each against a slow twin, transposed, resized, in every algebra."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from placewise.errors import SettingsError
from placewise.ops import ALGEBRAS, COUNTS, EXISTS, FLOATS, HIGHEST, LOWEST, AxisMap
from placewise.ops.axes import (
    adaptive,
    flip,
    gather,
    pad,
    part,
    place,
    prefix,
    repeat,
    roll,
    spread,
    taps,
    total,
    unfold,
    window,
)
from placewise.ops.rules.resizes import antialiased, interpolated, nearest

Matrix = NDArray[np.int64]


def dense(relation: AxisMap) -> Matrix:
    matrix = np.zeros((relation.written, relation.read), np.int64)
    for out, read in relation.pairs():
        matrix[out, read] += 1
    return matrix


def windows_slowly(read: int, size: int, stride: int, dilation: int) -> Matrix:
    rows = []
    start = 0
    while start + dilation * (size - 1) < read:
        rows.append([sum(start + t * dilation == i for t in range(size)) for i in range(read)])
        start += stride
    return np.array(rows)


WINDOWS = [
    (read, size, stride, dilation)
    for read in (1, 5, 8)
    for size in (1, 2, 3)
    for stride in (1, 2, 4)
    for dilation in (1, 2)
    if dilation * (size - 1) < read
]


@pytest.mark.parametrize(("read", "size", "stride", "dilation"), WINDOWS)
def test_windows(read: int, size: int, stride: int, dilation: int):
    found = window(read, size, stride=stride, dilation=dilation)
    slow = windows_slowly(read, size, stride, dilation)
    assert (dense(found) == slow).all()
    last = (len(slow) - 1) * stride + dilation * (size - 1)
    assert found.unused == read - 1 - last
    assert found.affine is not None
    assert found.affine.stride == stride and found.affine.extent == dilation * (size - 1) + 1
    back = spread(len(slow), size, stride=stride, dilation=dilation)
    assert back.written == last + 1
    assert (dense(back) == slow[:, : last + 1].T).all()
    columns = dense(unfold(read, size, stride=stride, dilation=dilation))
    assert (columns.reshape(size, len(slow), read).sum(0) == slow).all()
    assert (columns.sum(1) == 1).all()


def test_a_window_that_does_not_fit_says_so():
    with pytest.raises(SettingsError, match="reaches over 5 places, but the axis has 4"):
        window(4, 3, dilation=2)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("margin", [0, 1])
def test_windows_that_hang_over_the_end(size: int, stride: int, margin: int):
    for read in range(3, 9):
        ones = torch.ones(1, 1, read)
        pooled = functional.max_pool1d(ones, size, stride, margin, ceil_mode=True)
        found = window(read + 2 * margin, size, stride=stride, ceil=True, after=margin)
        assert found.written == pooled.shape[-1]
        for out, seen in found.pairs():
            assert out * stride <= seen < min(out * stride + size, read + 2 * margin)


NUMPY = {"reflect": "reflect", "symmetric": "symmetric", "replicate": "edge", "circular": "wrap"}


@pytest.mark.parametrize("mode", NUMPY)
@pytest.mark.parametrize(("before", "after"), [(0, 2), (1, 0), (3, 4), (4, 4)])
def test_pads_are_numpys(mode: str, before: int, after: int):
    expected = np.pad(np.arange(5), (before, after), mode=NUMPY[mode])
    found = pad(5, before, after, mode)
    assert [read for _, read in found.pairs()] == expected.tolist()
    assert found.covers and not found.fills


@pytest.mark.parametrize("mode", ["zeros", "ignored"])
def test_pads_of_nothing(mode: str):
    found = pad(3, 2, -1, mode)
    assert found.pairs() == [(2, 0), (3, 1)]
    assert found.written == 4 and not found.covers
    ones = COUNTS.filled((3,), 1)
    expected = [7, 7, 1, 1] if mode == "zeros" else [0, 0, 1, 1]
    assert found.forward(ones, 0, COUNTS, 7).tolist() == expected
    assert pad(3, -1, -1, mode).name == "crop"


def test_an_unknown_padding_says_what_there_is():
    with pytest.raises(SettingsError, match="'edges'; use zeros"):
        pad(3, 1, 1, "edges")


@pytest.mark.parametrize("read", [1, 5, 12])
@pytest.mark.parametrize("written", [1, 3, 5, 7])
def test_adaptive_windows_are_torchs(read: int, written: int):
    eye = torch.eye(read, dtype=torch.float64)[:, None]
    expected = functional.adaptive_avg_pool1d(eye, written)[:, 0].T.numpy() > 0
    assert (dense(adaptive(read, written)) == expected).all()


@pytest.mark.parametrize("read", [1, 2, 5, 8])
@pytest.mark.parametrize("written", [1, 2, 3, 5, 8, 16, 19])
def test_resizes_are_torchs(read: int, written: int):
    eye = torch.eye(read, dtype=torch.float64)[:, None]

    def torchs(**settings: object) -> NDArray[np.bool_]:
        result = functional.interpolate(eye, size=written, **settings)
        return np.abs(result[:, 0].T.numpy()) > 1e-9

    assert (dense(nearest(read, written)) == torchs(mode="nearest")).all()
    exact = nearest(read, written, centred=True)
    assert (dense(exact) == torchs(mode="nearest-exact")).all()
    for aligned in (True, False):
        expected = torchs(mode="linear", align_corners=aligned)
        assert (dense(interpolated(read, written, aligned=aligned)) == expected).all()
        cubic = np.abs(along_width(eye, written, "bicubic", aligned)) > 1e-9
        assert (dense(interpolated(read, written, cubic=True, aligned=aligned)) == cubic).all()


@pytest.mark.parametrize("read", [3, 8, 9])
@pytest.mark.parametrize("written", [2, 3, 4, 7, 12])
@pytest.mark.parametrize("cubic", [True, False])
def test_antialiased_resizes_are_torchs(read: int, written: int, cubic: bool):
    eye = torch.eye(read, dtype=torch.float64)[:, None]
    for aligned in (True, False):
        mode = "bicubic" if cubic else "bilinear"
        expected = along_width(eye, written, mode, aligned, antialias=True)
        found = antialiased(read, written, cubic=cubic, aligned=aligned)
        assert (dense(found) == (np.abs(expected) > 1e-9)).all()


def along_width(
    eye: torch.Tensor, written: int, mode: str, aligned: bool, *, antialias: bool = False
) -> NDArray[np.float64]:
    maps = functional.interpolate(
        eye[:, :, None],
        size=(1, written),
        mode=mode,
        align_corners=aligned,
        antialias=antialias,
    )
    return maps[:, 0, 0].T.numpy()


@pytest.mark.parametrize("scale", [0.3, 0.5, 1.7, 2.0, 3.25])
@pytest.mark.parametrize("read", [5, 8])
def test_resizes_by_a_factor_are_torchs_and_go_on_at_other_sizes(scale: float, read: int):
    for length in (read, read + 4):
        eye = torch.eye(length, dtype=torch.float64)[:, None]
        nearby = functional.interpolate(eye, scale_factor=scale, mode="nearest")
        linear = functional.interpolate(eye, scale_factor=scale, mode="linear")
        written = nearby.shape[-1]
        first = int(read * scale)
        for make, expected in ((nearest, nearby), (interpolated, linear)):
            found = make(read, first, scale)
            assert found.resized is not None and make(read, first).resized is None
            there = found.resized(length)
            assert there.written == written
            assert (dense(there) == (expected[:, 0].T.numpy() > 1e-9)).all()


def test_gathers_slices_and_the_rest():
    places = np.arange(7)
    assert dense(flip(7)).argmax(1).tolist() == places[::-1].tolist()
    for shift in (-9, -1, 0, 3, 8):
        assert dense(roll(7, shift)).argmax(1).tolist() == np.roll(places, shift).tolist()
    for start, stop, step in ((0, 7, 1), (2, 5, 1), (1, 7, 3), (6, 6, 1)):
        expected = [(n, int(i)) for n, i in enumerate(places[start:stop:step])]
        assert part(7, start, stop, step).pairs() == expected
    assert place(2, 3, 1).pairs() == [(3, 0), (4, 1)] and place(2, 3, 1).written == 6
    assert gather(3, [2, -1, 2]).pairs() == [(0, 2), (2, 2)]
    assert (dense(prefix(4)) == np.tri(4)).all()
    assert (dense(total(4)) == 1).all() and total(4).dense
    assert (dense(repeat(4)) == 1).all() and not repeat(4).dense
    assert dense(taps(np.array([[0, 2.5], [1e-30, 0]]), "two")).tolist() == [[0, 1], [1, 0]]


MAPS: dict[str, Callable[[int], AxisMap]] = {
    "window": lambda n: window(n, 3, stride=2),
    "dilated": lambda n: window(n, 2, dilation=3),
    "ceil": lambda n: window(n, 2, stride=2, ceil=True),
    "spread": lambda n: spread(n, 3, stride=2),
    "adaptive": lambda n: adaptive(n, 4),
    "reflect": lambda n: pad(n, 2, 1, "reflect"),
    "zeros": lambda n: pad(n, 2, 1),
    "crop": lambda n: pad(n, -1, -2),
    "roll": lambda n: roll(n, 2),
    "flip": flip,
    "slice": lambda n: part(n, 1, n - 2, 2),
    "total": total,
    "prefix": prefix,
}
FIXED: dict[str, Callable[[int], AxisMap]] = {
    "gather": lambda n: gather(n, [n - 1, -1, 0, 0]),
    "place": lambda n: place(n, 2, 3),
    "unfold": lambda n: unfold(n, 3, stride=2),
    "interpolated": lambda n: interpolated(n, 2 * n),
    "nothing": lambda n: gather(n, [-1, -1]),
    "transposed": lambda n: window(9, 3, stride=9 // n).transposed("back"),
}


@pytest.mark.parametrize("name", MAPS)
def test_a_map_goes_on_at_another_length(name: str):
    first = MAPS[name](8)
    assert first.resized is not None
    for length in (7, 9, 12):
        there, expected = first.resized(length), MAPS[name](length)
        assert there.pairs() == expected.pairs()
        assert (there.read, there.written) == (expected.read, expected.written)
        assert (there.affine, there.unused) == (expected.affine, expected.unused)


@pytest.mark.parametrize("name", [*MAPS, *FIXED])
def test_affine_maps_read_where_they_say(name: str):
    found = {**MAPS, **FIXED}[name](3 if name == "transposed" else 9)
    if found.affine is None or name == "dilated":
        return
    where, reads = found.affine, dense(found)
    for out in range(found.written):
        first = where.start + out * where.stride
        inside = range(max(first, 0), min(first + where.extent, found.read))
        expected = [read in inside for read in range(found.read)]
        beyond = first < 0 or first + where.extent > found.read
        assert reads[out].astype(bool).tolist() == expected or (beyond and name == "reflect")


def test_some_maps_are_affine():
    affine = [name for name, make in MAPS.items() if make(9).affine]
    assert {"window", "zeros", "crop", "slice"} <= set(affine)
    assert not {"roll", "flip", "spread", "total"} & set(affine)


@pytest.mark.parametrize("name", [*MAPS, *FIXED])
def test_forward_and_adjoint_are_the_matrix_and_its_transpose(name: str):
    numbers = np.random.default_rng(1)
    found = {**MAPS, **FIXED}[name](3 if name == "transposed" else 9)
    matrix = dense(found)
    for axis in range(3):
        sides = [2, 3, 2]
        sides[axis] = found.read
        x = numbers.normal(size=sides)
        sides[axis] = found.written
        y = numbers.normal(size=sides)
        ahead, back = found.forward(x, axis, FLOATS), found.adjoint(y, axis, FLOATS)
        expected = np.moveaxis(np.tensordot(matrix, x, (1, axis)), 0, axis)
        assert np.allclose(ahead, expected)
        assert np.isclose((ahead * y).sum(), (x * back).sum())
        whole = numbers.integers(0, 10**6, size=sides).astype(object) * 10**30
        ways = found.adjoint(whole, axis, COUNTS)
        slow = np.moveaxis(np.tensordot(matrix.T.astype(object), whole, (1, axis)), 0, axis)
        assert (ways == slow).all() and ways.dtype == object


@pytest.mark.parametrize("name", [*MAPS, *FIXED])
@pytest.mark.parametrize("algebra", ALGEBRAS.values(), ids=list(ALGEBRAS))
def test_every_algebra_joins_the_same_pairs(name: str, algebra):
    found = {**MAPS, **FIXED}[name](3 if name == "transposed" else 9)
    numbers = np.random.default_rng(2).integers(0, 9, found.read)
    grid = numbers.astype(algebra.dtype)
    expected = algebra.filled((found.written,))
    for out, read in found.pairs():
        expected[out] = algebra.join(expected[out], grid[read])
    result = found.forward(grid, 0, algebra)
    assert result.dtype == algebra.dtype
    assert (result == expected).all()
    back = algebra.filled((found.read,))
    seeds = np.arange(1, found.written + 1).astype(algebra.dtype)
    for out, read in found.pairs():
        back[read] = algebra.join(back[read], seeds[out])
    assert (found.adjoint(seeds, 0, algebra) == back).all()


def test_zeros_are_neutral():
    for algebra in (COUNTS, FLOATS, EXISTS, LOWEST, HIGHEST):
        some = np.array([3, 0, 5]).astype(algebra.dtype)
        assert (algebra.join(some, algebra.filled((3,))) == some).all()
    assert not EXISTS.counts and COUNTS.counts
