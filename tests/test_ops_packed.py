"""Packed grids against plain ones: the same numbers, with equal rows and columns kept once."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from torch import nn

from audit_nets import NETS
from placewise.auditing import audit
from placewise.auditing._numbers import logarithms
from placewise.auditing.memory import LIMIT, bytes_to_count, bytes_to_measure, check_memory
from placewise.auditing.paths import Paths, count_paths, padding_paths
from placewise.errors import SettingsError
from placewise.graph import capture
from placewise.ops import COUNTS, EXISTS, Packed, refined, together
from plain_walks import backward, forward


@pytest.mark.parametrize("name", sorted(NETS)[::4])
def test_both_walks_are_those_of_plain_grids(name: str) -> None:
    make, shape = NETS[name]
    graph = capture(make(), shape)
    image, unit = graph.nodes[0].layout.grid, graph.unit
    for number in {graph.last_map, *graph.outputs}:
        ones = COUNTS.filled(graph.nodes[number].layout.grid, unit)
        plain = backward(graph, {number: ones}, COUNTS)
        seeds = {number: graph.ones(number, COUNTS, None, unit)}
        for node, found in graph.backward(seeds, COUNTS):
            assert (found is None) == (plain[node] is None)
            assert found is None or np.array_equal(found.whole(), plain[node]), node
        start = COUNTS.filled(image, unit)
        truth = forward(graph, start, COUNTS, unit)
        all_nodes = graph.forward(Packed.filled(image, COUNTS, unit), COUNTS, unit)
        assert len(all_nodes) == len(truth)
        assert all(np.array_equal(all_nodes[n].whole(), truth[n]) for n in all_nodes)
        one = graph.forward(Packed.filled(image, COUNTS, unit), COUNTS, unit, to=number)
        assert np.array_equal(one[number].whole(), truth[number])
        assert len(one) < len(all_nodes) or len(all_nodes) < 3


def deep() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 1, 3, 2, 1), nn.Conv2d(1, 1, 3, 1, 1), nn.Conv2d(1, 1, 3, 2, 1),
        nn.ConvTranspose2d(1, 1, 4, 2, 1), nn.Conv2d(1, 1, 5, 1, 2),
    )  # fmt: skip


def test_a_large_image_is_counted_from_few_numbers() -> None:
    graph = capture(deep(), (1, 400, 90))
    paths = count_paths(graph)
    number = graph.last_map
    plain = backward(graph, {number: COUNTS.filled(graph.nodes[number].layout.grid, 1)}, COUNTS)[0]
    assert np.array_equal(paths.counts, plain[0, 0])
    assert paths.packed.core.size < plain.size / 20
    truth = Paths("spatial", "plain", Packed.of(plain[0, 0]))
    for key, value in paths.to_dict().items():
        assert key == "target" or value == truth.to_dict()[key], key
    assert 0.01 < paths.gini < 1 and paths.total > 10**6


def test_figures_are_those_of_the_plain_counts() -> None:
    """Slow twins of what is computed from kinds and how often they occur."""
    draws = np.random.default_rng(0)
    core = draws.integers(0, 5, (3, 4)).astype(object) * 10**30
    index = (draws.integers(0, 3, 150), draws.integers(0, 4, 70))
    packed = Packed(core, index)
    whole = core[np.ix_(*index)]
    found, values = Paths("spatial", "", packed), np.sort((whole / whole.max()).astype(float), None)
    assert np.array_equal(packed.whole(), whole) and packed.shape == whole.shape
    assert (found.total, found.maximum, found.minimum) == (whole.sum(), whole.max(), whole.min())
    assert found.zeros == (whole == 0).sum() > 0
    assert found.corners == tuple(whole[end] for end in itertools.product((0, -1), repeat=2))
    n = whole.size
    gini = sum((2 * i - n - 1) * x for i, x in enumerate(values, 1)) / (n * values.sum())
    assert found.gini == pytest.approx(gini, rel=1e-9)
    first, last = whole[:75].sum(), whole[75:].sum()
    assert found.asymmetry[0] == pytest.approx(float((first - last) / (first + last)))
    assert np.array_equal(packed.summed([0]).whole(), whole.sum(axis=0))
    assert np.array_equal(packed.permuted((1, 0)).whole(), whole.T)
    assert logarithms(packed) == logarithms(Packed.of(whole))


def test_grids_are_joined_where_kinds_differ() -> None:
    draws = np.random.default_rng(1)
    for sides in ((60, 50), (4, 60), (1, 9)):
        pair = []
        for _ in range(2):
            core = draws.integers(0, 9, [min(3, side) for side in sides]).astype(object)
            index = tuple(draws.integers(0, min(3, side), side) for side in sides)
            pair.append(Packed(core, index))
        both = together(*pair, COUNTS)
        assert np.array_equal(both.whole(), pair[0].whole() + pair[1].whole())
        cores, kinds = refined(*pair)
        assert np.array_equal(Packed(cores[1], kinds).whole(), pair[1].whole())
        with_plain = together(pair[0], Packed.of(pair[1].whole()), COUNTS)
        assert np.array_equal(with_plain.whole(), both.whole())


def test_shapes_that_come_and_go_keep_kinds_and_others_are_unpacked() -> None:
    grid = Packed.filled((1, 40, 30), COUNTS, 5, (None, 3, None))
    whole = grid.whole()
    moved = grid.moved((40, 1, 30), (2, 1, 0), (30, 40, 1))
    assert np.array_equal(moved.whole()[..., 0], whole[0].T)
    assert moved.core.size == 2
    merged = grid.moved((40, 30), (1, 0), (1200,))
    assert np.array_equal(merged.whole(), whole.reshape(40, 30).T.reshape(-1))
    assert whole.sum() == 150 == grid.total


def test_shares_of_padding_are_exact_in_a_large_image() -> None:
    graph = capture(deep(), (1, 200, 64))
    found = padding_paths(graph)
    image = graph.nodes[0].layout.grid
    padded = forward(graph, COUNTS.filled(image), COUNTS, 1)[graph.last_map][0, 0]
    assert np.array_equal(found.padded, padded) and found.padded.max() > 0
    assert found.parts[0].core.size < padded.size / 4


# --- memory --------------------------------------------------------------------------------------


class Torn(nn.Module):
    """A network whose places cannot be kept once: they are torn apart and merged."""

    def forward(self, x):
        return x.reshape(1, 64, -1, 8).transpose(1, 2).reshape(1, 1, 64, -1).cumsum(-1)


def test_what_would_take_too_much_is_refused_with_an_estimate(monkeypatch) -> None:
    graph = capture(deep(), (1, 4096, 4096))
    assert bytes_to_count(graph) < LIMIT / 100
    torn = capture(Torn(), (1, 512, 512))
    assert bytes_to_count(torn) > 512 * 512 * 50
    monkeypatch.setattr("placewise.auditing.memory.LIMIT", 10**6)
    with pytest.raises(SettingsError, match=r"512 × 512 would take about .* GB .* 256 × 256"):
        check_memory(torn)
    with pytest.raises(SettingsError, match="would take about"):
        audit(Torn(), (1, 512, 512), measure=False)


def test_nothing_is_measured_where_images_would_fill_the_memory() -> None:
    assert bytes_to_measure((3, 224, 224), 32, 2) < LIMIT < bytes_to_measure((3, 2048, 2048), 32, 2)
    found = audit(nn.Conv2d(3, 1, 3), (3, 2048, 2048))
    assert found.measured is None and "Nothing is measured" in found.table()
    assert "GB of memory" in found.table()


def test_whether_something_is_read_is_packed_too() -> None:
    graph = capture(nn.Conv2d(1, 1, 1, stride=2), (1, 300, 300))
    seed = {graph.last_map: graph.ones(graph.last_map, EXISTS)}
    read = graph.to_image(seed, EXISTS)
    assert read.core.size == 4 and read.total == 150 * 150
