"""The map of which an audit speaks, and how sure it is of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from audit_nets import Net, conv
from placewise.auditing import Audit, audit
from placewise.auditing.paths import count_paths
from placewise.graph import capture

SEEN = "the best-served pixel has 3.2 times the paths of a corner; 32 is stride-aligned."


def counted(net: nn.Module, shape: tuple[int, ...]) -> Audit:
    return audit(net, shape, measure=False)


class Tokens(nn.Module):
    """Patches as tokens, with others beside them that are dropped again; then a padded head."""

    def __init__(self, before: int, after: int, drop: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.patches, self.mix = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 8)
        self.first = nn.Parameter(torch.zeros(1, before, 8))
        self.last = nn.Parameter(torch.zeros(1, after, 8))
        self.drop = drop
        self.head = nn.Sequential(conv(8, 8, 3, padding=1), nn.ReLU(), conv(8, 1, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        maps = self.patches(x)
        tokens = maps.flatten(2).transpose(1, 2)
        others = (self.first, self.last)
        if sum(part.shape[1] for part in others):
            tokens = self.drop(torch.cat([self.first, self.mix(tokens), self.last], 1) + 1)
        return self.head(tokens.transpose(1, 2).reshape(maps.shape))


@pytest.mark.parametrize(
    ("before", "after", "drop"),
    [
        (0, 0, lambda t: t),
        (1, 0, lambda t: t[:, 1:]),
        (1, 4, lambda t: t[:, 1:-4]),
        (0, 2, lambda t: t[:, :-2]),
        (5, 0, lambda t: t.split([5, 64], 1)[1]),
        (1, 0, lambda t: t.index_select(1, torch.arange(1, 65))),
        (2, 0, lambda t: t.narrow(1, 2, 64)),
    ],
)
def test_a_token_that_is_dropped_again_changes_nothing(
    before: int, after: int, drop: Callable[[Tensor], Tensor]
) -> None:
    found = counted(Tokens(before, after, drop), (3, 32, 32))
    assert found.verdict == f"To the output (8 × 8): {SEEN}"
    field = found.counted.field  # type: ignore[union-attr]
    assert (field.size, field.stride, field.padding) == ((20, 20), (4, 4), (8, 8))
    assert (field.concentric, field.status) == (True, "exact")


class Written(Tokens):
    """Tokens that are written into a longer tensor, beside a class token."""

    def forward(self, x: Tensor) -> Tensor:
        maps = self.patches(x)
        tokens = maps.flatten(2).transpose(1, 2)
        longer = tokens.new_zeros(len(x), 65, 8)
        longer[:, 1:] = tokens
        longer[:, :1] = self.first
        tokens = self.mix(longer)[:, 1:]
        return self.head(tokens.transpose(1, 2).reshape(maps.shape))


def test_tokens_that_are_written_beside_a_token_keep_their_axes() -> None:
    found = counted(Written(1, 0, lambda t: t), (3, 32, 32))
    assert found.verdict == f"To the output (8 × 8): {SEEN}"


def test_a_token_of_a_signal_leaves_its_fields_as_they_are() -> None:
    """A window of 3 over patches of 4 reads 12 samples around the patch in its middle."""

    def forward(net: Net, x: Tensor) -> Tensor:
        tokens = net.patches(x).transpose(1, 2)
        tokens = torch.cat([torch.zeros(len(x), 1, 2), tokens], 1)[:, 1:]
        return net.last(tokens.transpose(1, 2))

    parts = {"patches": nn.Conv1d(1, 2, 4, 4), "last": nn.Conv1d(2, 1, 3, padding=1)}
    field = counted(Net(forward, **parts), (1, 64)).counted.field  # type: ignore[union-attr]
    assert (field.size, field.stride, field.padding) == ((12,), (4,), (4,))
    assert (field.concentric, field.status) == (True, "exact")


def test_zeros_around_a_map_that_is_written_into_them_are_padding() -> None:
    """Written into zeros or padded by the convolution: the same paths and the same aligned size."""

    def forward(net: Net, x: Tensor) -> Tensor:
        wide = x.new_zeros(len(x), 3, x.shape[2] + 2, x.shape[3] + 2)
        wide[:, :, 1:-1, 1:-1] = x
        return net.a(wide)

    written = counted(Net(forward, a=nn.Conv2d(3, 4, 3, 2)), (3, 32, 32))
    padded = counted(nn.Conv2d(3, 4, 3, 2, 1), (3, 32, 32))
    assert written.verdict == padded.verdict
    field = written.counted.field  # type: ignore[union-attr]
    assert (field.padding, field.concentric) == ((1, 1), True)


def test_rows_that_become_channels_are_no_rows_any_more() -> None:
    """As in a recogniser of lines: (W, C · H) is a sequence of columns, the last map is before."""

    def forward(net: Net, x: Tensor) -> Tensor:
        columns = net.a(x).permute(0, 3, 1, 2)
        return net.b(columns.flatten(2))

    net = Net(forward, a=nn.Conv2d(3, 4, 3, 2, 1), b=nn.Linear(64, 5))
    found = counted(net, (3, 32, 48))
    assert found.verdict.startswith("To permute (16 × 24), the last feature map: ")
    assert found.counted.field.stride == (2, 2)  # type: ignore[union-attr]


def test_places_that_a_mask_chooses_are_no_map() -> None:
    """`nonzero` gives a table (places, 2), which has neither the image's rows nor its columns."""
    net = Net(
        lambda m, x: m.a(x).flatten(2)[:, :, x[0, 0].gt(-1).nonzero()[:, 0]].mean(2),
        a=conv(1, 2, 3, padding=1),
    )
    verdict = counted(net, (1, 9, 9)).verdict
    assert "nonzero" not in verdict and "(9 × 9), the last feature map" in verdict


def test_attention_between_tokens_keeps_their_axes() -> None:
    """A transformer with a class token: each place reads the whole image, the map is 8 × 8."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    net = Tokens(1, 0, lambda t: layer(t)[:, 1:])
    found = counted(net, (3, 32, 32))
    assert found.verdict.startswith("To the output (8 × 8): ")
    field = found.counted.field  # type: ignore[union-attr]
    assert (field.status, found.scalars()["receptive_field"]) == ("global", 32)
    assert field.size == (20, 20) == (found.scalars()["window_field"],) * 2


SIDES = {
    "channels last": (Net(lambda m, x: m.a(x).movedim(1, 3), a=nn.Conv2d(3, 8, 4, 4)), 8, 4),
    "channels last, then linear": (
        Net(lambda m, x: m.b(m.a(x).movedim(1, 3)), a=nn.Conv2d(3, 8, 4, 4), b=nn.Linear(8, 2)),
        *(8, 4),
    ),
    "shuffled": (nn.Sequential(conv(3, 9, 3, padding=1), nn.PixelShuffle(3)), 96, Fraction(1, 3)),
    "shuffled twice": (
        nn.Sequential(conv(3, 16, 2, stride=2), nn.PixelShuffle(2), nn.PixelShuffle(2)),
        *(64, Fraction(1, 2)),
    ),
    "shuffled, then a window": (
        nn.Sequential(conv(3, 4, 3, padding=1), nn.PixelShuffle(2), conv(1, 1, 3, padding=1)),
        *(64, Fraction(1, 2)),
    ),
    "slice by slice": (
        Net(
            lambda m, x: torch.stack([m.a(x[:, :, i]) for i in range(32)], 2),
            a=nn.Conv1d(3, 2, 1),
        ),
        *(32, 1),
    ),
    "columns from the last": (
        Net(
            lambda m, x: torch.cat([m.a(x[..., i : i + 1]) for i in range(31, -1, -1)], 3),
            a=nn.Conv2d(3, 2, 1),
        ),
        *(32, 1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SIDES)
def test_the_sides_and_the_stride_are_those_of_the_image(name: str) -> None:
    net, side, stride = SIDES[name]
    found = counted(net, (3, 32, 32))
    assert found.verdict.startswith(f"To the output ({side} × {side}): "), found.verdict
    assert found.to_dict()["layers"][-1]["map"] == [side, side]
    assert found.counted.field.stride == (stride, stride)  # type: ignore[union-attr]


def test_a_shuffled_map_has_its_sides_where_channels_count_apart() -> None:
    net = nn.Sequential(conv(1, 9, 3, padding=1), nn.PixelShuffle(3))
    found = audit(net, (1, 8, 8), per_channel=True, measure=False)
    assert found.verdict.startswith("To the output (24 × 24): ")
    assert found.counted.field.stride == (Fraction(1, 3),) * 2  # type: ignore[union-attr]


class Scan(nn.Module):
    """Row by row, each with what is known of those before it."""

    def __init__(self, order: Callable[[int], list[int]]) -> None:
        super().__init__()
        self.order, self.mix = order, nn.Conv1d(2, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        order, state, rows = self.order(x.shape[2]), torch.zeros_like(x[:, :, 0]), {}
        for row in order:
            state = self.mix(state) + x[:, :, row]
            rows[row] = state
        return torch.stack([rows[row] for row in sorted(rows)], 2)


@pytest.mark.parametrize("order", [lambda n: list(range(n)), lambda n: list(range(n))[::-1]])
def test_rows_that_are_read_in_turn_are_an_axis_again(order: Callable[[int], list[int]]) -> None:
    found = counted(Scan(order), (2, 6, 5))
    assert found.verdict.startswith("To the output (6 × 5): ")
    paths = found.counted.paths.counts[:, 0].tolist()  # type: ignore[union-attr]
    assert sorted(paths, reverse=order(6)[0] == 0)[-6:] == paths[-6:]
    assert sorted(paths) == sorted(set(paths))


def test_heads_that_are_stacked_are_no_axis() -> None:
    """Two answers of one vector are channels, though no axis of the image is left in them."""
    net = Net(lambda m, x: torch.stack([m.a(x).amax((2, 3)), m.a(x).mean((2, 3))], 2), a=conv(1, 2))
    assert counted(net, (1, 8, 8)).counted.graph.last_map not in (0,)  # type: ignore[union-attr]
    assert counted(net, (1, 8, 8)).verdict.startswith("To a.2 (relu) (6 × 6)")


# --- how sure ----------------------------------------------------------------------------------


class Branching(nn.Module):
    def __init__(self, choose: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.choose = conv(1, 2, 3, padding=1), choose

    def forward(self, x: Tensor) -> Tensor:
        return self.choose(self.a(x))


@pytest.mark.parametrize(
    "choose",
    [
        lambda y: y[:, :, int(y.mean((0, 1, 3)).argmax()) :],
        lambda y: y if y.max() > 0.5 else y.flip(2),
        lambda y: y * float(y.mean().item()),
        lambda y: y[:, :, :4] if bool((y > 0).all()) else y[:, :, 2:],
        lambda y: y[:, :, : 1 + len(torch.nonzero(y[0, 0, 0] > 9))],
        lambda y: y + torch.from_numpy(y.detach().numpy().copy()),
    ],
)
def test_what_a_network_chooses_by_values_is_never_called_exact(
    choose: Callable[[Tensor], Tensor],
) -> None:
    found = counted(Branching(choose), (1, 16, 16))
    assert found.status == "one run"
    assert found.verdict.startswith("In one run (for another image the network may choose other")
    assert found.counted.field.status == "one run"  # type: ignore[union-attr]
    assert "one run" in found.table().split("followed")[1].splitlines()[0]


@pytest.mark.parametrize(
    "norm", [nn.GroupNorm(2, 8), nn.InstanceNorm2d(8), nn.LayerNorm([8, 33, 33])]
)
def test_pixels_that_a_normalisation_reads_are_seen(norm: nn.Module) -> None:
    """A change of row 32, which no window reads, changes the output by the statistics."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 1), norm, nn.ReLU(), nn.Conv2d(8, 4, 2, stride=2))
    found = counted(net, (3, 33, 33))
    assert found.status == "at least" and found.scalars()["unseen_pixels"] == 0
    assert found.verdict.startswith("At least (a normalisation reads all pixels, besides), to")
    assert "never seen" not in found.verdict
    image = torch.rand(1, 3, 33, 33)
    changed = image.clone()
    changed[:, :, 32] += 1
    assert (net(image) - net(changed)).abs().max() > 0.01


def test_a_norm_that_nothing_reads_makes_nothing_seen() -> None:
    net = Net(lambda m, x: (m.n(x), m.a(x))[1], n=nn.InstanceNorm2d(1), a=conv(1, 1, 2, stride=2))
    found = counted(net, (1, 5, 5))
    assert (found.status, found.scalars()["unseen_pixels"]) == ("exact", 9)


WINDOWS = torch.zeros(64, 64)
WINDOWS[:32, 32:] = WINDOWS[32:, :32] = -torch.inf


@pytest.mark.parametrize(
    "attend",
    [
        lambda t: functional.scaled_dot_product_attention(t, t, t, attn_mask=WINDOWS),
        lambda t: functional.scaled_dot_product_attention(t, t, t, attn_mask=WINDOWS == 0),
        lambda t: (t @ t.transpose(1, 2) + WINDOWS).softmax(-1) @ t,
        lambda t: (t @ t.transpose(1, 2)).masked_fill(WINDOWS < 0, -1e9).softmax(-1) @ t,
    ],
)
def test_a_mask_of_attention_is_said_to_be_ignored(attend: Callable[[Tensor], Tensor]) -> None:
    net = Net(lambda m, x: attend(m.a(x).flatten(2).transpose(1, 2)), a=conv(1, 4, 1))
    found = counted(net, (1, 8, 8))
    assert found.status == "masks ignored"
    assert found.verdict.startswith("Masks ignored (attention may read less), to ")


@pytest.mark.parametrize(
    "cut", [torch.tril, lambda y: y.triu(1), lambda y: y * torch.ones(8, 8).triu().bool()]
)
def test_a_half_that_is_cut_out_is_a_mask(cut: Callable[[Tensor], Tensor]) -> None:
    """The other half is not read, and a count of it is not exact."""
    net = Net(lambda m, x: cut(m.a(x)), a=nn.Conv2d(1, 1, 1))
    image = torch.ones(1, 1, 8, 8, requires_grad=True)
    net(image).sum().backward()
    assert image.grad is not None and (image.grad == 0).any()
    assert counted(net, (1, 8, 8)).status == "masks ignored"


def test_a_bias_of_attention_hides_nothing() -> None:
    bias = torch.randn(64, 64)
    net = Net(
        lambda m, x: m.a(x).flatten(2).transpose(1, 2) @ torch.ones(4, 64) + bias, a=conv(1, 4, 1)
    )
    assert counted(net, (1, 8, 8)).status == "exact"


# --- where the paths end -----------------------------------------------------------------------


def test_corners_that_only_the_output_reads_are_not_called_blind() -> None:
    net = Net(
        lambda m, x: torch.cat([m.a(x[:, :, 8:24, 8:24]).mean((2, 3)), x.mean((2, 3))], 1),
        a=nn.Conv2d(3, 8, 3),
    )
    found = counted(net, (3, 32, 32))
    assert found.verdict == (
        "To a (14 × 14), the last feature map: 4 of 4 corners have no path to it, but the output "
        "reads them elsewhere."
    )
    assert found.scalars()["unseen_pixels"] == 0


def test_a_signal_whose_ends_are_cut_off_has_blind_ends() -> None:
    net = Net(lambda m, x: m.a(x[..., 20:40]), a=nn.Conv1d(1, 3, 3))
    assert "2 of 2 ends have no path to it" in counted(net, (1, 64)).table()


class Pyramid(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv(3, 8, 3, 2, 1), conv(8, 8, 3, 2, 1)
        self.c = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor | list[Tensor]]:
        fine = self.a(x)
        coarse = self.b(fine)
        return {"maps": [fine, coarse], "scores": self.c(coarse.mean((2, 3)))}


def test_each_of_several_outputs_has_a_row() -> None:
    found = counted(Pyramid(), (3, 33, 33))
    assert found.verdict.startswith("To the first of 3 outputs (17 × 17): ")
    rows = found.to_dict()["outputs"]
    assert [(row["map"], row["receptive_field"]["size"]) for row in rows] == [
        ([17, 17], [3, 3]), ([9, 9], [7, 7]), ([3], [33, 33]),
    ]  # fmt: skip
    shown = found.table().split("\noutput ")[1].split("\n\n")[0]
    assert re.findall(r"^([abc])\b", shown, re.M) == ["a", "b", "c"]
    graph = capture(Pyramid(), (3, 33, 33))
    totals = [int(row["total"]) for row in rows]
    assert sum(totals) == int(found.to_dict()["paths_to_output"]["total"])
    assert len(graph.outputs) == 3 and np.all(np.array(totals) > 0)


def test_an_axis_of_one_pixel_that_padding_makes_longer_counts() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 1, 3, padding=(2, 1)))
    found = counted(net, (1, 1, 64))
    assert found.verdict.startswith("To the output (3 × 64): ")
    assert found.counted.padding.share.shape == (3, 64)  # type: ignore[union-attr]


def test_a_map_behind_another_output_is_counted_as_what_it_is() -> None:
    """A loss first, then the map."""
    net = Net(lambda m, x: (m.a(x).mean(), m.a(x)), a=conv(1, 2, 3, padding=1))
    assert counted(net, (1, 8, 8)).verdict.startswith("To output 2 of 2 (8 × 8): ")


class Apart(nn.Module):
    """Patches as tokens, which are taken apart and put together, and a head on their map."""

    def __init__(self, again: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.patches, self.again = nn.Conv2d(1, 2, 2, 2), again
        self.head = nn.Sequential(conv(2, 2, 3, padding=1), conv(2, 2, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.again(self.patches(x).flatten(2).transpose(1, 2))
        return self.head(tokens.transpose(1, 2).reshape(len(x), 2, x.shape[2] // 2, -1))


def _summed(tokens: Tensor) -> Tensor:
    """Each token with all before it."""
    found = [tokens[:, 0]]
    for one in tokens.unbind(1)[1:]:
        found.append(found[-1] + one)
    return torch.stack(found, 1)


def _with_class(tokens: Tensor) -> Tensor:
    whole = torch.cat([torch.zeros(len(tokens), 1, 2), tokens], 1)
    return torch.stack(whole.unbind(1), 1)[:, 1:]


@pytest.mark.parametrize(
    ("again", "plain"),
    [
        (lambda t: torch.stack(t.unbind(1), 1), lambda t: t),
        (lambda t: torch.cat([t[:, k : k + 1].relu() for k in range(24)], 1), lambda t: t),
        (lambda t: torch.stack(t.unbind(1)[::-1], 1), lambda t: t.flip(1)),
        (_with_class, lambda t: t),
        (_summed, lambda t: t.cumsum(1)),
    ],
)
def test_tokens_that_are_read_in_turn_are_a_map_again(again, plain) -> None:
    found, truth = (audit(Apart(how), (1, 8, 12), measure=False) for how in (again, plain))
    assert found.verdict.startswith("To the output (4 × 6): ") and found.status == "exact"
    graphs = found.counted.graph, truth.counted.graph
    own, twin = (count_paths(graph, "output").counts for graph in graphs)
    assert (own == twin).all()


def test_tokens_in_another_order_are_no_map() -> None:
    order = [0, 2, 1, *range(3, 24)]
    net = Apart(lambda t: torch.stack([t[:, k] for k in order], 1))
    assert "the last feature map" in counted(net, (1, 8, 12)).verdict
