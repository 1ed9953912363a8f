"""Operations that torch composes of others, and those of constants: followed as what they read.

Each function is run again and again with one pixel changed; what changes then is the truth. A graph
must claim all of it, and where it is exact no more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._pytree import tree_leaves

from placewise import audit
from placewise.errors import CaptureError
from placewise.graph import Graph, capture
from placewise.ops import EXISTS, TABLE, Packed, Status, entry

CHANGES = (10.0, -0.7, 0.5, -3.0)
SHAPE = (2, 4, 6)


def rows(x: Tensor) -> Tensor:
    """(rows, columns) of the first channel."""
    return x[0, 0]


def anchors(x: Tensor) -> Tensor:
    """Places of a grid of constants in the type of the features, as detectors have them."""
    high, wide = x.shape[2:]
    across, down = (torch.arange(n).type_as(x) + 0.5 for n in (wide, high))
    down, across = torch.meshgrid(down, across, indexing="ij")
    return x.flatten(2) + torch.stack((across, down), -1).view(-1, 2).sum(1)


def warped(x: Tensor) -> Tensor:
    """A spatial transformer: where it looks depends on the first row."""
    turn = torch.eye(2, 3, dtype=x.dtype)[None] + 0.3 * x[:, :1, 0, 0].sum().sin()
    return functional.grid_sample(
        x, functional.affine_grid(turn, list(x.shape), align_corners=False), align_corners=False
    )


def strided(x: Tensor) -> Tensor:
    """Overlapping pieces of a tensor whose dimensions are turned around in memory."""
    return x[:, 0].transpose(1, 2).contiguous().transpose(1, 2).as_strided((1, 5, 4), (24, 3, 1))


WINDOW = torch.hann_window(8).double() * torch.linspace(0.5, 1, 8).double()
"""Not symmetric, so that what is reflected at the ends does not cancel."""


def spectrogram(x: Tensor) -> Tensor:
    return torch.stft(x.flatten(2)[:, 0], 8, 3, window=WINDOW, return_complex=True).abs()


def and_back(x: Tensor) -> Tensor:
    plain = torch.ones(6, dtype=x.dtype)
    found = torch.stft(x.flatten(2)[:, 0], 6, 3, window=plain, return_complex=True)
    return torch.istft(found * found.abs(), 6, 3, window=plain)


INDEX = torch.tensor([3, 0, 3, 5])

EXACT: dict[str, Callable[[Tensor], Any]] = {
    "anchors": anchors,
    "meshgrid": lambda x: sum(torch.meshgrid(x[0, 0, 0], x[0, 1, 1], indexing="ij")),
    "and or": lambda x: (x > 0) & (x < 1) | (x > 1.5),
    "xor not": lambda x: ~(x > 0) ^ (x.flip(3) > 1),
    "in place": lambda x: (x > 0).__ior__(x.flip(2) < -0.5).__iand__(x < 9),
    "shift": lambda x: x.round().int() << 1,
    "rot90": lambda x: torch.rot90(x, 1, (2, 3)),
    "one_hot": lambda x: functional.one_hot((x > 0).long(), 2),
    "fftshift": lambda x: torch.fft.ifftshift(torch.fft.fftshift(x, dim=(2, 3)), dim=3),
    "cosine_similarity": lambda x: functional.cosine_similarity(x, x.flip(3)),
    "pairwise_distance": lambda x: functional.pairwise_distance(x, x.flip(2) + 5),
    "cdist": lambda x: torch.cdist(x, 2 * x.flip(2) + 9),
    "diff": lambda x: torch.diff(x, dim=2),
    "take_along_dim": lambda x: torch.take_along_dim(x, INDEX.view(1, 1, 1, 4), 3),
    "normalize": functional.normalize,
    "linalg.norm": lambda x: torch.linalg.norm(x, dim=(1, 2)),
    "matrix_norm": lambda x: torch.linalg.matrix_norm(x),
    "vector_norm": lambda x: torch.linalg.vector_norm(x, 3, dim=3),
    "block_diag": lambda x: torch.block_diag(x[0, 0], x[0, 1, :2]),
    "isin": lambda x: torch.isin(x.round().int(), torch.tensor([0, 2])),
    "cartesian_prod": lambda x: torch.cartesian_prod(x[0, 0, 0], x[0, 1, 1]),
    "trapezoid": lambda x: torch.trapezoid(x, dim=2),
    "gradient": lambda x: torch.gradient(x, dim=3)[0],
    "kron": lambda x: torch.kron(x[0, 0], torch.ones(1, 2, dtype=x.dtype)),
    "outer": lambda x: torch.outer(x[0, 0, 0], x[0, 1, 0]),
    "cross": lambda x: torch.linalg.cross(x[:, :, :3], x[:, :, 1:] + 3, dim=2),
    "cov": lambda x: torch.cov(x[0, 0, :2]),
    "multi_dot": lambda x: torch.linalg.multi_dot([x[0, 0], torch.eye(6).double() + 1, x[0, 1].T]),
    "tensordot": lambda x: torch.tensordot(x, torch.ones(4, 3).double(), ([2], [0])),
    "hstack dstack": lambda x: torch.dstack([torch.hstack([x, x]), x.repeat(1, 2, 1, 1)]),
    "pad_sequence": lambda x: nn.utils.rnn.pad_sequence([x[0, 0], x[0, 1, :2]]),
    "to another": lambda x: x + torch.arange(6).to(x) + torch.ones(1).expand_as(x),
    "as_strided": strided,
    "roll": lambda x: x.roll((1, -2), (2, 3)),
    "stft": spectrogram,
    "istft": and_back,
    "bucketize": lambda x: torch.bucketize(x, torch.arange(-2.0, 3).double()),
    "searchsorted": lambda x: torch.searchsorted(torch.arange(-2.0, 3).double(), x),
    "scatter": lambda x: (
        torch.zeros(1, 2, 4, 7).double().scatter(3, torch.arange(6).expand(x.shape), x)
    ),
    "index_add": lambda x: torch.zeros(1, 2, 4, 7).double().index_add(3, INDEX, x[..., :4]),
    "masked_select": lambda x: x.masked_select(torch.arange(6) > 2),
    "combinations": lambda x: torch.combinations(x[0, 0, 0]),
    "pdist": lambda x: functional.pdist(x[0, 0]),
    "no dimension": lambda x: x[0, 1].sum(),
    "a dictionary": lambda x: {"loss": x[:, :, 1:].mean(), "map": x},
    "fold unfold": lambda x: functional.fold(functional.unfold(x, 3), (4, 6), 3),
    "pixel shuffle": lambda x: functional.pixel_shuffle(functional.pixel_unshuffle(x, 2), 2),
    "huber_loss": lambda x: functional.huber_loss(x, x.flip(3), reduction="none"),
    "diag": lambda x: torch.diag(torch.diag(x[0, 0])),
}
BOUND: dict[str, Callable[[Tensor], Any]] = {
    "affine_grid": warped,
    "gather": lambda x: torch.take_along_dim(x, x.argsort(3)[..., :2], 3),
    "scatter by numbers": lambda x: torch.zeros_like(x).scatter_add(2, (x > 0).long(), x),
    "corrcoef": lambda x: torch.corrcoef(x[0, 0]),
    "index_select": lambda x: x[:, :, (x[0, 0, :, 0] > 0).long()],
}
"""What they read depends on numbers."""


class Net(nn.Module):
    """A function as a network."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


def followed(function: Callable[[Tensor], Any], how: str = "recorded") -> Graph:
    example = torch.zeros(1, *SHAPE, dtype=torch.float64)
    return capture(Net(function), example, per_channel=True, how=how)


def claimed(graph: Graph) -> list[np.ndarray]:
    """For each output: (pixels, elements), which pixel reaches which element."""
    found: list[list[np.ndarray]] = [[] for _ in graph.outputs]
    for pixel in range(np.prod(SHAPE)):
        start = EXISTS.filled((1, *SHAPE))
        start.flat[pixel] = True
        grids = graph.forward(Packed.of(start), EXISTS)
        for n, number in enumerate(graph.outputs):
            layout = graph.nodes[number].layout
            assert layout.grid == layout.shape
            found[n].append(grids[number].whole().reshape(-1))
    return [np.array(one) for one in found]


def true(function: Callable[[Tensor], Any]) -> list[np.ndarray]:
    """The same, by changing pixels."""
    found: list[np.ndarray] = []
    for seed in range(4):
        image = (
            2 * torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(seed)).double() - 1
        )
        before = tree_leaves(function(image))
        found = found or [np.zeros((image.numel(), b.numel()), bool) for b in before]
        for pixel in range(image.numel()):
            for change in CHANGES:
                other = image.clone()
                other.view(-1)[pixel] += change
                for n, (old, new) in enumerate(
                    zip(before, tree_leaves(function(other)), strict=True)
                ):
                    same = torch.isclose(old, new) if old.is_floating_point() else old == new
                    found[n][pixel] |= (~same).reshape(-1).numpy()
    return found


@pytest.mark.parametrize("name", EXACT)
def test_what_torch_composes_is_read_exactly(name: str):
    graph = followed(EXACT[name])
    assert not graph.unknown
    assert {node.status for node in graph.nodes} == {Status.EXACT}
    for real, said in zip(true(EXACT[name]), claimed(graph), strict=True):
        assert real.any()
        assert (real == said).all()


@pytest.mark.parametrize("name", BOUND)
def test_what_depends_on_numbers_is_a_bound(name: str):
    graph = followed(BOUND[name])
    assert not graph.unknown and graph.status in (Status.AT_MOST, Status.ONE_RUN)
    for real, said in zip(true(BOUND[name]), claimed(graph), strict=True):
        assert real.any()
        assert (said | ~real).all()


@pytest.mark.parametrize("name", ["anchors", "and or", "stft", "to another", "as_strided"])
def test_an_exported_program_is_taken_apart_as_well(name: str):
    graph = followed(EXACT[name], "export")
    assert graph.status is Status.EXACT and not graph.unknown
    assert (claimed(graph)[0] == claimed(followed(EXACT[name]))[0]).all()


def test_places_of_a_grid_are_constants_and_no_nodes():
    assert [node.op for node in followed(anchors).nodes] == ["image", "flatten", "add"]


def test_what_is_in_the_table_stays_whole():
    assert entry("stft") is not None and entry("meshgrid") is None
    assert [node.op for node in followed(spectrogram).nodes][-2:] == ["stft", "abs"]
    assert TABLE["linear"].role == "contraction"


def test_a_frame_of_a_spectrogram_keeps_its_place_in_the_sound():
    net = Net(lambda x: torch.stft(x[:, 0], 8, 4, return_complex=True, window=WINDOW).abs())
    graph = capture(net, (1, 64))
    assert graph.map_dims(graph.outputs[0]) == (2,)
    assert graph.nodes[graph.outputs[0]].layout.grid == (1, 1, 17)


class Strided(nn.Module):
    """Asks for a value that it holds itself, as detectors do for their strides."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("strides", torch.tensor([2.0, 4.0, 8.0]))

    def forward(self, x: Tensor) -> Tensor:
        places = torch.full(tuple(x.shape[2:]), self.strides[1])
        return x * places if self.strides[2].item() > 5 else x.mean((2, 3))


class Asking(nn.Module):
    """Asks for a value that the image has changed."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("largest", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.largest.copy_(x.max())
        return x if self.largest.item() > 0 else x.mean((2, 3))


def test_values_that_the_network_holds_may_be_asked_for():
    net = Strided()
    graph = capture(net, (1, 4, 4))
    assert graph.capture == "recorded" and graph.status is Status.EXACT
    assert graph.nodes[graph.outputs[0]].layout.grid == (1, 1, 4, 4)
    assert net.strides.tolist() == [2, 4, 8]
    assert capture(Asking(), (1, 4, 4)).status is Status.ONE_RUN


def test_an_operation_that_nothing_explains_is_unknown():
    name = "placewise_tests::odd"

    @torch.library.custom_op(name, mutates_args=())
    def odd(x: Tensor) -> Tensor:
        return x.clone()

    @odd.register_fake
    def _(x: Tensor) -> Tensor:
        return torch.empty_like(x)

    graph = followed(lambda x: odd(x) + 1)
    assert dict(graph.unknown) == {name: 1} and graph.status is Status.GUESSED


@pytest.mark.parametrize("first", [True, False])
def test_an_output_without_dimensions_is_counted(first: bool):
    def both(x: Tensor) -> Any:
        loss = x[..., 1:].mean()
        return (loss, x) if first else loss

    found = audit(Net(both), (1, 4, 6), measure=False)
    assert found.counted is not None
    assert found.counted.graph.nodes[found.counted.graph.outputs[0]].layout.shape == ()
    assert found.counted.output_paths.counts.reshape(4, 6)[:, 0].tolist() == [int(first)] * 4
    assert found.counted.output_paths.counts.reshape(4, 6)[:, 1].tolist() == [1 + int(first)] * 4


def test_a_detector_that_finds_nothing_is_told_so():
    with pytest.raises(CaptureError, match="found nothing"):
        capture(Net(lambda x: x.flatten()[x.flatten() > 9]), (1, 4, 6))
