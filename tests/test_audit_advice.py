"""Sizes that are recommended: accepted by the network, aligned there, and never worse."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from audit_nets import Net
from placewise.auditing import Audit, audit
from placewise.auditing._walks import Walks, same_padding
from placewise.auditing.alignment import alignment
from placewise.errors import SettingsError
from placewise.graph import Graph, capture
from placewise.remedies import mend

Forward = Callable[[Any, Tensor], Tensor]


def conv(size: int = 3, stride: int = 1, padding: int = 1, **settings: Any) -> nn.Conv2d:
    return nn.Conv2d(1, 1, size, stride, padding, **settings)


def downs(count: int) -> list[nn.Module]:
    return [conv(stride=2) for _ in range(count)]


def pyramid(mode: str) -> nn.Module:
    """Every coarser map is resized to the size of the finer one."""

    def forward(net: Any, x: Tensor) -> Tensor:
        maps = []
        for down in net.downs:
            x = down(x)
            maps.append(x)
        for finer in maps[-2::-1]:
            x = finer + functional.interpolate(x, size=finer.shape[2:], mode=mode)
        return net.last(x)

    return Net(forward, downs=nn.ModuleList(downs(3)), last=conv())


def u_to_size(net: Any, x: Tensor) -> Tensor:
    deep = net.deep(functional.max_pool2d(net.first(x), 2))
    up = functional.interpolate(deep, size=x.shape[2:], mode="bilinear", align_corners=False)
    return net.last(torch.cat([x, up], 1))


def u_cropped(net: Any, x: Tensor) -> Tensor:
    """The enlarged map is cropped to the size of the skip."""
    up = net.up(net.down(x))[:, :, : x.shape[2], : x.shape[3]]
    return net.last(torch.cat([x, up], 1))


def u_padded(net: Any, x: Tensor) -> Tensor:
    """The enlarged map is padded to the size of the skip."""
    up = net.up(net.down(x))
    high, wide = x.shape[2] - up.shape[2], x.shape[3] - up.shape[3]
    up = functional.pad(up, (wide // 2, wide - wide // 2, high // 2, high - high // 2))
    return net.last(torch.cat([x, up], 1))


def same(net: Any, x: Tensor) -> Tensor:
    """TensorFlow's padding, twice."""
    for layer in (net.first, net.second):
        rows, columns = (same_padding(side, 3, 2) for side in x.shape[2:])
        x = layer(functional.pad(x, (*columns, *rows)))
    return x


def patches(net: Any, x: Tensor) -> Tensor:
    tokens = net.embed(x).flatten(2).transpose(1, 2) + net.place.weight
    return net.mix(tokens)


def pooled(net: Any, x: Tensor) -> Tensor:
    """Pools of given sizes, enlarged to the map again."""
    x = net.down(x)
    pools = [functional.adaptive_avg_pool2d(x, size) for size in (1, 2, 3)]
    wide = [functional.interpolate(one, size=x.shape[2:], mode="bilinear") for one in pools]
    return net.last(torch.cat([x, *wide], 1))


def picky(net: Any, x: Tensor) -> Tensor:
    if x.shape[2] % 8 or x.shape[3] % 8:
        raise RuntimeError("sides must be multiples of 8")
    return net.down(x)


def to_multiple(net: Any, x: Tensor) -> Tensor:
    return net.down(functional.pad(x, (0, -x.shape[3] % 8, 0, -x.shape[2] % 8)))


def focus(net: Any, x: Tensor) -> Tensor:
    parts = [x[:, :, row::2, column::2] for row in (0, 1) for column in (0, 1)]
    return net.last(torch.cat(parts, 1))


def checks_when_it_runs(net: Any, x: Tensor) -> Tensor:
    """It takes multiples of 8 only, but does not look while it is exported."""
    if not torch.compiler.is_compiling() and x.shape[-1] % 8:
        raise RuntimeError(f"{x.shape[-1]} is no multiple of 8")
    return net.down(x)


def seq(*layers: nn.Module) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(*layers)


ZOO: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "strided": (seq(*downs(3)), (1, 32, 30)),
    "wide windows": (seq(conv(7, 2, 3), nn.MaxPool2d(3, 2, 1)), (1, 32, 32)),
    "pools": (seq(conv(), nn.MaxPool2d(2), nn.AvgPool2d(2)), (1, 30, 31)),
    "pools rounded up": (seq(nn.MaxPool2d(3, 2, ceil_mode=True), *downs(1)), (1, 22, 22)),
    "nearest pyramid": (lambda: pyramid("nearest"), (1, 32, 32)),
    "bilinear pyramid": (lambda: pyramid("bilinear"), (1, 32, 32)),
    "U, resized": (
        lambda: Net(u_to_size, first=conv(), deep=conv(), last=nn.Conv2d(2, 1, 3, 1, 1)),
        (1, 21, 21),
    ),
    "U, cropped": (
        lambda: Net(
            u_cropped,
            down=conv(2, 2, 0),
            up=nn.ConvTranspose2d(1, 1, 3, 2),
            last=nn.Conv2d(2, 1, 3, 1, 1),
        ),
        (1, 20, 21),
    ),
    "U, padded": (
        lambda: Net(
            u_padded,
            down=conv(2, 2, 0),
            up=nn.ConvTranspose2d(1, 1, 2, 2),
            last=nn.Conv2d(2, 1, 3, 1, 1),
        ),
        (1, 20, 21),
    ),
    "flattened": (seq(conv(stride=2), nn.Flatten(), nn.Linear(256, 3)), (1, 32, 32)),
    "of one size": (seq(nn.LayerNorm((32, 32)), conv(stride=2)), (1, 32, 32)),
    "same": (lambda: Net(same, first=conv(3, 2, 0), second=conv(3, 2, 0)), (1, 32, 32)),
    "dilated": (seq(conv(3, 2, 2, dilation=2), conv(3, 1, 4, dilation=4)), (1, 30, 30)),
    "patches": (
        lambda: Net(patches, embed=conv(4, 4, 0), place=nn.Embedding(49, 1), mix=nn.Linear(1, 1)),
        (1, 30, 30),
    ),
    "pools of given sizes": (
        lambda: Net(pooled, down=conv(stride=2), last=nn.Conv2d(4, 1, 3, 1, 1)),
        (1, 24, 24),
    ),
    "pixel shuffle": (
        seq(*downs(2), nn.Conv2d(1, 4, 3, 1, 1), nn.PixelShuffle(2), conv()),
        (1, 30, 30),
    ),
    "signal": (seq(nn.Conv1d(1, 1, 5, 2, 2), nn.Conv1d(1, 1, 3, 2, 1)), (1, 50)),
    "volume": (seq(nn.Conv3d(1, 1, 3, 2, 1), nn.MaxPool3d(2)), (1, 12, 13, 14)),
    "padded at one end": (
        seq(nn.ZeroPad2d((0, 1, 0, 1)), conv(3, 2, 0), nn.ZeroPad2d((0, 1, 0, 1)), conv(3, 2, 0)),
        (1, 32, 32),
    ),
    "picky": (lambda: Net(picky, down=conv(stride=2)), (1, 32, 32)),
    "checks when it runs": (lambda: Net(checks_when_it_runs, down=conv(stride=2)), (1, 32, 32)),
    "padded to a multiple": (lambda: Net(to_multiple, down=conv(2, 2, 0)), (1, 30, 30)),
    "enlarged": (seq(conv(stride=2), nn.ConvTranspose2d(1, 1, 3, 2, 1)), (1, 30, 30)),
    "enlarged, uneven": (seq(conv(stride=2), nn.ConvTranspose2d(1, 1, 3, 2, 1, 1)), (1, 30, 30)),
    "scaled": (seq(conv(stride=2), nn.Upsample(scale_factor=1.5), conv()), (1, 30, 30)),
    "slices": (lambda: Net(focus, last=nn.Conv2d(4, 1, 3, 2, 1)), (1, 32, 32)),
    "global": (seq(*downs(2), nn.AdaptiveAvgPool2d(1), nn.Flatten()), (1, 30, 30)),
    "aligned": (seq(conv(stride=2)), (1, 33, 33)),
}

NONE = {
    *("nearest pyramid", "of one size", "picky", "checks when it runs", "enlarged, uneven"),
    *("scaled", "U, cropped"),
}
"""Networks for which no size near is better."""


@pytest.mark.parametrize("name", ZOO)
def test_a_recommended_size_is_accepted_aligned_and_no_worse(name: str):
    build, shape = ZOO[name]
    net = build().eval()
    if name in NONE:
        with pytest.raises(SettingsError, match="no size near"):
            mend(net, shape, align=True)
        found = audit(net, shape, measure=False)
        assert "would be" not in found.table() and found.to_dict()["evenness"]["advised"] is None
        assert "is not stride-aligned" in found.verdict
        return
    mended = mend(net, shape, align=True)
    assert mended.before.counted is not None and mended.after.counted is not None
    if mended.before.counted.alignment.aligned:
        assert name == "aligned" and not mended.changes
        return
    size = mended.before.counted.advice.size
    assert size is not None and mended.after.shape == (shape[0], *size) != shape
    with torch.no_grad():
        net(torch.zeros(1, shape[0], *size))
    assert alignment(capture(net, (shape[0], *size))).aligned
    old, new = (one.scalars()["corner_ratio"] for one in (mended.before, mended.after))
    assert isinstance(old, float) and isinstance(new, float) and new <= old * (1 + 1e-9)
    assert "would be stride-aligned" in mended.before.verdict


def test_the_verdict_says_what_remains_uneven():
    found = audit(nn.Sequential(conv(7, 2, 3), conv(stride=2)), (1, 32, 32), measure=False)
    assert found.counted is not None and found.counted.advice.best is not None
    there = audit(nn.Sequential(conv(7, 2, 3), conv(stride=2)), (1, 33, 33), measure=False)
    most = there.scalars()["max_over_corner"]
    said = re.search(
        r"At 33 all corners are equal; .* has ([\d.]+) times their paths", found.verdict
    )
    assert said and float(said[1]) == pytest.approx(most, rel=0.06)
    assert found.to_dict()["evenness"]["tried"][-1]["max_over_corner"] == pytest.approx(most, 1e-5)


def test_a_signal_has_two_ends():
    net = nn.Sequential(nn.Conv1d(1, 1, 9, 2, 4), nn.Conv1d(1, 1, 9, 2, 4))
    verdict = audit(net, (1, 250), measure=False).verdict
    assert "At 249 both ends are equal; the best-served sample still has" in verdict


def test_the_chart_of_sizes_speaks_of_what_it_shows():
    captions = [
        next(
            one.caption
            for name, one in audit(net, shape, measure=False).drawings.items()
            if name == "sizes"
        )
        for net, shape in ((pyramid("nearest"), (1, 32, 32)), (conv(stride=2), (1, 32, 34)))
    ]
    assert ["Green lines" in one for one in captions] == [False, True]
    assert ["is highlighted" in one for one in captions] == [True, False]


def test_a_network_that_would_take_too_much_memory_is_not_run(monkeypatch: pytest.MonkeyPatch):
    """Then the graph of the size alone speaks for it."""
    build, shape = ZOO["checks when it runs"]
    monkeypatch.setattr("placewise.auditing.advice.LIMIT", 4 * 33 * 33)
    assert "33 would be stride-aligned" in audit(build(), shape, measure=False).verdict
    monkeypatch.setattr("placewise.auditing.advice.LIMIT", 4 * (35 * 35 + 18 * 18))
    assert "would be" not in audit(build(), shape, measure=False).verdict


def test_an_audit_walks_each_axis_once(monkeypatch: pytest.MonkeyPatch):
    made: list[tuple[int, int, bool]] = []
    start = Walks.__init__

    def counted(walks: Walks, graph: Graph, axis: int, *, computed: bool = False) -> None:
        made.append((id(graph), axis, computed))
        kept.append(graph)
        start(walks, graph, axis, computed=computed)

    kept: list[Graph] = []
    monkeypatch.setattr(Walks, "__init__", counted)
    assert audit(ZOO["same"][0](), (1, 32, 32), measure=False).sizes
    assert len(made) >= 4 and len(set(made)) == len(made)


def said_of(name: str) -> Audit:
    build, shape = ZOO[name]
    return audit(build(), shape, measure=False)


def test_refused_sizes_are_told():
    found = said_of("picky")
    assert "The network refuses the sizes near it that might be (33, 31, 35)." in found.verdict
    assert "33 × 33: " in str(found.to_dict()) or "multiples of 8" in str(found.to_dict())


def test_a_program_of_one_size_is_not_recommended_another():
    net = nn.Sequential(*downs(2)).eval()
    program = torch.export.export(net, (torch.zeros(1, 1, 32, 32),))
    found = audit(program, (1, 32, 32), measure=False)
    assert "would be" not in found.verdict and "32 is not stride-aligned" in found.verdict


def test_the_table_of_sizes_follows_computed_padding():
    """The walk that agrees with the size that was tried is taken."""
    build, shape = ZOO["same"]
    net = build().eval()
    found = audit(net, shape, sizes=range(26, 42), measure=False)
    assert found.sizes
    for one in found.sizes:
        real = alignment(capture(net, (1, one.size, one.size)))
        assert one.aligned == real.aligned, one.size
