"""The capture: two ways that agree, writes through views, what cannot be followed."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn import functional

from audit_nets import NETS, Net, conv
from placewise.errors import CaptureError, SettingsError
from placewise.graph import Graph, capture, capture_program
from placewise.graph.build import Builder, Part
from placewise.ops import COUNTS, EXISTS, TABLE, Operand, Operator, Status, rule
from plain_walks import backward

SHAPE = (2, 9, 8)


def ways(graph: Graph) -> np.ndarray:
    """From each value of the image to all outputs."""
    seeds = {n: COUNTS.filled(graph.nodes[n].layout.grid, 1) for n in graph.outputs}
    found = backward(graph, seeds, COUNTS)[0]
    return COUNTS.filled(graph.nodes[0].layout.grid) if found is None else found


def lines(graph: Graph) -> list[Any]:
    """What each node is, reads, and comes from."""
    return [
        (n.name, n.op, n.role, n.module, n.layout, [e.source for e in n.edges], n.status, n.note)
        for n in graph.nodes
    ]


def function(forward: Callable[[Tensor], Any]) -> nn.Module:
    return Net(lambda _, x: forward(x))


# --- two ways ------------------------------------------------------------------------------------


def agree(name: str) -> None:
    constructor, shape = NETS[name]
    net = constructor()
    exported, recorded = (capture(net, shape, how=how) for how in ("export", "recorded"))
    assert (exported.capture, recorded.capture) == ("export", "recorded")
    assert exported.why == recorded.why == ""
    assert lines(exported) == lines(recorded)
    assert exported.outputs == recorded.outputs
    assert (ways(exported) == ways(recorded)).all()


FEW = """
plain|in place|sliced|shifted by writing|written through views|attention of torch|indexed|
dropped branch|pyramid with many heads|up transposed|volume
""".replace("\n", "").split("|")


@pytest.mark.parametrize("name", FEW)
def test_export_and_recording_find_the_same(name: str):
    agree(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NETS.keys() - set(FEW)))
def test_export_and_recording_find_the_same_for_all(name: str):
    agree(name)


@pytest.mark.parametrize("name", ["strided", "attention of torch", "written through views"])
def test_a_run_on_numbers_finds_the_same_as_one_on_shapes(name: str):
    """All that differs is a way that depends on a value."""
    constructor, shape = NETS[name]
    net = Net(lambda m, x: m.a(x) if x.sum() < 1e9 else x, a=constructor())
    graph, straight = capture(net, shape), capture(net.a, shape)
    assert graph.capture == "run" and Status.ONE_RUN in graph.caveats
    assert "torch.export: " in graph.why
    assert "recording on shapes: " in graph.why
    by_the_way = ("sum", "lt", "dropout")  # on numbers, dropout gives its operand itself back
    found, expected = ([n.op for n in g.nodes if n.op not in by_the_way] for g in (graph, straight))
    assert found == expected
    assert (ways(graph) == ways(straight)).all()


def test_a_failed_way_says_nothing_by_itself(capfd: pytest.CaptureFixture[str]):
    net = Net(lambda m, x: m.a(x) if x.mean() > 0 else x.flip(2), a=nn.ReLU())
    assert capture(net, SHAPE).why
    assert capfd.readouterr() == ("", "")


def test_the_submodule_of_each_node_is_told_by_both():
    block = nn.Sequential(conv(2, 2), nn.Sequential(nn.ReLU()))
    for how in ("export", "recorded"):
        graph = capture(Net(lambda m, x: m.block(x) + 1, block=block), SHAPE, how=how)
        assert [(n.op, n.module) for n in graph.nodes] == [
            ("image", ""),
            ("conv2d", "block.0.0"),
            ("batch_norm", "block.0.1"),
            ("relu", "block.0.2"),
            ("relu", "block.1.0"),
            ("add", ""),
        ]


def test_submodules_are_told_although_one_of_them_fails_and_is_caught():
    def forward(m: Any, x: Tensor) -> Tensor:
        try:
            m.broken(x)
        except KeyError:
            x = m.a(x) + 1
        return x

    def fail(_: Any, x: Tensor) -> Tensor:
        raise KeyError("broken")

    net = Net(forward, broken=Net(fail), a=nn.ReLU())
    graph = capture(net, SHAPE, how="recorded")
    assert [(n.op, n.module) for n in graph.nodes[1:]] == [("relu", "a"), ("add", "")]


def test_a_dropped_branch_is_kept_and_read_by_none():
    net = Net(lambda m, x: (m.dropped(x), m.a(x))[1], dropped=nn.Conv2d(2, 2, 3), a=nn.ReLU())
    for how in ("export", "recorded"):
        graph = capture(net, SHAPE, how=how)
        assert [n.op for n in graph.nodes] == ["image", "conv2d", "relu"]
        assert graph.outputs == (2,)


# --- outputs and inputs --------------------------------------------------------------------------


@dataclass
class Found:
    maps: Tensor
    more: dict[str, Any]


def test_outputs_are_found_in_their_order_however_nested():
    def forward(x: Tensor) -> Any:
        a, b, c = x + 1, x * 2, x.mean((2, 3))
        return Found(b, {"first": [a, None], "const": torch.ones(2), "again": (c, b)})

    graph = capture(function(forward), SHAPE)
    assert [graph.nodes[n].op for n in graph.outputs] == ["mul", "add", "mean"]


def test_results_that_nobody_reads_are_no_nodes_unless_they_are_views():
    def forward(x: Tensor) -> Tensor:
        x, _ = functional.max_pool2d(x, 2, return_indices=True)
        top, _ = x.chunk(2, 2)
        return top

    graph = capture(function(forward), (2, 8, 8))
    assert [n.op for n in graph.nodes] == ["image", "max_pool2d_with_indices", "chunk", "chunk"]
    assert graph.outputs == (2,)


def test_an_image_is_of_one_to_three_axes():
    for shape in [(3,), (1, 2, 2, 2, 2), (3, 0, 4)]:
        with pytest.raises(SettingsError, match=r"give \(channels, length\)"):
            capture(nn.Identity(), shape)


def test_an_example_is_shown_as_it_is():
    net = Net(lambda m, x: m.a(x.float() / 255).flatten(1), a=nn.Conv2d(2, 2, 3))
    graph = capture(net, torch.zeros(4, 2, 5, 5, dtype=torch.uint8))
    assert graph.nodes[0].layout.shape == (4, 2, 5, 5)
    assert [n.op for n in graph.nodes] == ["image", "to", "div", "conv2d", "flatten"]


def test_images_have_the_type_of_the_parameters():
    assert capture(nn.Conv2d(2, 2, 3).half(), SHAPE).outputs == (1,)


def test_a_network_on_the_meta_device_is_followed():
    net = NETS["residual"][0]()
    expected = capture(net, SHAPE)
    assert lines(capture(net.to("meta"), SHAPE)) == lines(expected)


@pytest.mark.parametrize("parameters", ["x, y", "x, *, y"])
def test_a_network_of_two_inputs_is_refused(parameters: str):
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x + y

    class Named(nn.Module):
        def forward(self, x: Tensor, *, y: Tensor) -> Tensor:
            return x + y

    with pytest.raises(CaptureError, match="needs x, y, but an audit gives it one image; give an"):
        capture(Named() if "*" in parameters else Two(), SHAPE)


def test_what_cannot_run_at_all_says_what_failed_in_each_way():
    with pytest.raises(CaptureError) as error:
        capture(nn.Conv2d(3, 3, 3), SHAPE)
    said = str(error.value)
    for way in ("torch.export: RuntimeError", "recording on shapes: ", "recording on numbers: "):
        assert way in said
    assert "can only be measured from outside" in said


@pytest.mark.parametrize(
    "forward",
    [
        lambda x: torch.ones(3),
        lambda x: None,
        lambda x: x.shape[0],
        torch.zeros_like,
        lambda x: x[:0],
    ],
)
def test_a_network_that_gives_nothing_of_the_image_is_refused(forward: Any):
    with pytest.raises(CaptureError, match=r"made from the image|tensors without elements"):
        capture(function(forward), SHAPE)


def test_an_unknown_way_is_refused():
    with pytest.raises(SettingsError, match="use auto, export or recorded"):
        capture(nn.Identity(), SHAPE, how="magic")  # type: ignore[arg-type]


# --- views and writes ----------------------------------------------------------------------------


class Writes(nn.Module):
    """Random views of a few tensors and writes to them, the same at each run."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def forward(self, x: Tensor) -> list[Tensor]:
        rng = random.Random(self.seed)
        live = [x + x.flip(3), torch.zeros_like(x), torch.zeros(1, 2, 3, 4, dtype=x.dtype)]
        for _ in range(9):
            live.append(self.viewed(rng, rng.choice(live)))
            self.write(rng, rng.choice(live), rng.choice(live))
        return list({id(t): t for t in rng.sample(live, 3)}.values())

    def viewed(self, rng: random.Random, t: Tensor) -> Tensor:
        if t.dim() < 2:
            return t
        dim = rng.randrange(t.dim())
        at = rng.randrange(t.shape[dim])
        ways = [
            lambda: t.select(dim, at), lambda: t.narrow(dim, at, t.shape[dim] - at),
            lambda: t.transpose(dim, 0), lambda: t.unsqueeze(dim), lambda: t.flatten(0, 1),
            lambda: t.squeeze(), lambda: t[..., ::2], lambda: t + 0, lambda: t.reshape(-1),
            lambda: t.diagonal(0, 0, t.dim() - 1),
        ]  # fmt: skip
        return rng.choice(ways)()

    def write(self, rng: random.Random, t: Tensor, source: Tensor) -> None:
        value = source.clone().flatten()[: t.numel()]
        value = value.view(t.shape) if value.numel() == t.numel() else source.sum()
        kind = rng.choice(["copy", "add", "zero", "part"])
        if kind == "copy":
            t.copy_(value)
        elif kind == "add":
            t += value
        elif kind == "zero":
            t.zero_()
        else:
            t[..., 0] = value.sum()


def gradient(net: nn.Module) -> np.ndarray | None:
    """Of the summed outputs; None where autograd does not take such a program."""
    x = torch.zeros(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    try:
        total = torch.stack([y.sum() for y in net(x)]).sum()
    except RuntimeError as error:
        assert "leaf Variable" in str(error)
        return None
    return torch.autograd.grad(total, x)[0].numpy() if total.requires_grad else None


@pytest.mark.parametrize("first", [0, 20, 40, 60])
def test_writes_through_views_reach_all_that_share_the_memory(first: int):
    """Programs of sums alone: their gradient is the number of ways."""
    held = exact = 0
    for seed in range(first, first + 12):
        expected = gradient(Writes(seed))
        if expected is not None:
            graph = capture(Writes(seed), (2, 3, 4), per_channel=True, how="recorded")
            assert (ways(graph) >= expected).all()
            in_space = ways(capture(Writes(seed), (2, 3, 4), how="recorded"))
            assert (in_space.astype(bool) | ~expected.any(0)).all()
            held += 1
            if all(n.status is Status.EXACT for n in graph.nodes):
                assert (ways(graph) == expected).all()
                exact += 1
    assert held >= 5
    assert exact >= held - 2


def test_a_view_of_several_is_written_to():
    def forward(x: Tensor) -> Tensor:
        x = x + 0
        for part in x.split(2, dim=3):
            part[:, :, 0] = 0
        left, _ = x.unbind(1)
        left.add_(1)
        return x

    graph = capture(function(forward), (2, 4, 4), per_channel=True)
    expected = np.ones((1, 2, 4, 4), int)
    expected[:, :, 0] = 0
    assert (ways(graph) == expected).all()


def test_the_image_itself_is_written_to():
    def forward(x: Tensor) -> Tensor:
        x.sub_(0.5)
        x[..., 0] = torch.ones(3)
        return x + x.flip(3)

    example = torch.zeros(1, 1, 3, 4)
    for how in ("export", "recorded"):
        graph = capture(function(forward), example, how=how)
        assert (ways(graph)[..., 0] == 0).all()
        assert (ways(graph)[..., 1:] == 2).all()
        assert not example.any()


def test_in_place_changes_of_the_shape_alone_are_views():
    def forward(x: Tensor) -> Tensor:
        y = (x + 0).squeeze(0)
        y.transpose_(1, 2).unsqueeze_(0)
        y[:, :, 1:] = 0
        return y

    graph = capture(function(forward), (1, 3, 4), how="recorded")
    assert graph.nodes[graph.outputs[0]].layout.shape == (1, 1, 4, 3)
    expected = np.zeros((1, 1, 3, 4), int)
    expected[..., 0] = 1
    assert (ways(graph) == expected).all()


def test_results_written_into_a_tensor_that_is_given():
    def forward(x: Tensor) -> Tensor:
        out = torch.empty_like(x)
        torch.add(x, x.flip(3), out=out)
        return out

    with torch.no_grad():
        graph = capture(function(forward), SHAPE, how="recorded")
    assert (ways(graph) == 2).all()


def test_a_part_of_the_channels_is_written_and_the_rest_stays():
    def forward(x: Tensor) -> Tensor:
        out = x * 1
        out[:, :1, :, 1:] = x[:, :1, :, :-1]
        return out

    apart = ways(capture(function(forward), (2, 2, 3), per_channel=True))
    assert apart[0].tolist() == [[[2, 1, 0]] * 2, [[1, 1, 1]] * 2]
    together = ways(capture(function(forward), (2, 2, 3)))
    assert together[0].tolist() == [[[2, 2, 1]] * 2]


def test_constants_written_to_by_the_network_stay_as_they_are():
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("order", torch.tensor([3, 2, 1, 0]))

        def forward(self, x: Tensor) -> Tensor:
            self.order[:2].add_(-1)
            return x[..., self.order]

    for how in ("export", "recorded"):
        net = Table()
        graph = capture(net, (1, 2, 4), how=how)
        assert net.order.tolist() == [3, 2, 1, 0]
        assert ways(graph)[0, 0, 0].tolist() == [1, 2, 1, 0]


def test_parts_without_elements_are_constants():
    def forward(x: Tensor) -> Tensor:
        y = x + 0
        y[:, :, :0] = 1
        y[:, :, 9:].add_(x[:, :, 9:])
        return torch.cat([x[:, :, :0] * 2, y, x.new_zeros(1, 2, 0, 8)], 2)

    graph = capture(function(forward), SHAPE)
    assert [n.op for n in graph.nodes] == ["image", "add", "cat"]
    assert (ways(graph) == 1).all()


def test_what_is_made_in_the_likeness_of_a_map_is_a_constant():
    def forward(x: Tensor) -> Tensor:
        order = x.new_zeros(8, dtype=torch.int64) + torch.arange(7, -1, -1)
        mask = torch.ones_like(x)
        mask[..., 1:] = 0
        return x[..., order] * mask

    graph = capture(function(forward), SHAPE)
    assert [n.op for n in graph.nodes] == ["image", "index", "mul"]
    assert (ways(graph) == 1).all()


def test_indices_are_calculated_and_random_numbers_are_not():
    def forward(x: Tensor) -> Tensor:
        at = torch.arange(x.shape[3] // 2) * 2 + (torch.tensor([5]) == 4)
        return x[..., at] * torch.rand(4)

    state = torch.get_rng_state()
    graph = capture(function(forward), (1, 2, 8))
    assert ways(graph)[0, 0, 0].tolist() == [1, 0] * 4
    assert torch.equal(state, torch.get_rng_state())


# --- what the table does not hold ----------------------------------------------------------------


@pytest.fixture
def unknown_operation() -> Any:
    library = torch.library.Library("placewise_tests", "DEF")
    library.define("mystery(Tensor x) -> Tensor")
    library.impl("mystery", lambda x: x.flip(2), "CompositeExplicitAutograd")
    torch.library.register_fake("placewise_tests::mystery", torch.empty_like, lib=library)
    yield torch.ops.placewise_tests.mystery
    library._destroy()


def test_an_unknown_operation_is_counted_and_reads_everything(unknown_operation: Any):
    net = function(lambda x: unknown_operation(unknown_operation(x)) + x)
    for how in ("export", "recorded"):
        graph = capture(net, SHAPE, how=how)
        assert graph.unknown == {"placewise_tests::mystery": 2}
        assert [n.status for n in graph.nodes] == ["exact", "guessed", "guessed", "exact"]
        seed = EXISTS.filled(graph.nodes[1].layout.grid)
        seed.flat[0] = True
        seen = backward(graph, {1: seed}, EXISTS)[0]
        assert seen is not None
        assert seen.all()


def test_a_rule_of_the_user_makes_it_known(unknown_operation: Any):
    rule("pointwise", "placewise_tests::mystery")(TABLE["relu"].rule)
    try:
        graph = capture(function(unknown_operation), SHAPE)
    finally:
        del TABLE["placewise_tests::mystery"]
    assert graph.unknown == {}
    assert graph.nodes[1].role == "pointwise"
    assert (ways(graph) == 1).all()


@pytest.mark.parametrize("fault", ["raises", "gives another shape"])
def test_a_rule_that_fails_is_noted_and_its_operation_unknown(
    monkeypatch: pytest.MonkeyPatch, fault: str
):
    def broken(call: Any) -> Any:
        if fault == "raises":
            raise ZeroDivisionError("no such thing")
        return TABLE["mean"].rule(type(call)("mean", {"self": call["self"]}, (), 0, False))

    monkeypatch.setitem(TABLE, "relu", type(TABLE["relu"])("pointwise", broken))
    graph = capture(nn.ReLU(), SHAPE)
    node = graph.nodes[1]
    assert node.layout.shape == (1, *SHAPE)
    assert node.role == "everything"
    if fault == "raises":
        assert node.status is Status.GUESSED
        assert node.note == "ZeroDivisionError: no such thing"
        assert graph.unknown == {"relu": 1}
    else:
        assert node.status is Status.AT_MOST
        assert "instead of (1, 2, 9, 8)" in node.note


def test_a_write_that_cannot_be_followed_is_unknown():
    builder = Builder((1, 1, 4))
    whole = builder.add("mean", "", {"self": builder.image, "dim": [2], "keepdim": True}, (1, 1, 1))
    written = builder.write("", whole, Part(Operator(), whole.layout, True), builder.image)
    graph = builder.graph([written.node], "recorded")
    assert graph.unknown == {"write": 1}
    assert graph.nodes[written.node].status is Status.GUESSED
    assert isinstance(written, Operand)


# --- modes that networks switch ------------------------------------------------------------------


def test_switches_of_grad_mode_and_autocast_are_walked_into():
    def forward(m: Any, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = m.a(x)
            with torch.enable_grad():
                x = m.a(x).relu_()
        with torch.autocast("cpu", torch.bfloat16):
            x = m.a(x)
        return x.float()

    net = Net(forward, a=nn.Conv2d(2, 2, 3))
    exported, recorded = (capture(net, SHAPE, how=how) for how in ("export", "recorded"))
    assert [n.op for n in exported.nodes].count("conv2d") == 3
    assert (ways(exported) == ways(recorded)).all()
    assert [n.module for n in exported.nodes if n.op == "conv2d"] == ["a"] * 3


def test_a_compiled_network_is_followed_as_the_one_that_it_wraps():
    net = nn.Conv2d(2, 2, 3)
    assert lines(capture(torch.compile(net, backend="eager"), SHAPE)) == lines(capture(net, SHAPE))


# --- exported programs ---------------------------------------------------------------------------


def test_a_saved_program_is_followed(tmp_path: Any):
    constructor, shape = NETS["shifted windows"]
    net = constructor().eval()
    program = torch.export.export(net, (torch.zeros(1, *shape),))
    torch.export.save(program, tmp_path / "net.pt2")
    graph = capture_program(torch.export.load(tmp_path / "net.pt2"))
    assert graph.capture == "export"
    assert lines(graph) == lines(capture(net, shape))


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's own
def test_a_decomposed_program_is_followed():
    net = NETS["residual"][0]().eval()
    program = torch.export.export(net, (torch.zeros(1, *SHAPE),)).run_decompositions()
    graph = capture_program(program)
    assert "convolution" in {n.op for n in graph.nodes}
    assert graph.unknown == {}
    assert (ways(graph) == ways(capture(net, SHAPE))).all()


def test_a_program_of_any_size_is_audited_for_one():
    net = nn.Sequential(nn.Conv2d(2, 2, 3, 2, 1), nn.Upsample(scale_factor=2), nn.Flatten(2))
    sizes = {0: Dim("batch"), 2: Dim("height", min=4, max=64), 3: Dim("width", min=4, max=64)}
    program = torch.export.export(net, (torch.zeros(2, 2, 16, 16),), dynamic_shapes=(sizes,))
    with pytest.raises(SettingsError, match="several sizes"):
        capture_program(program)
    assert (ways(capture_program(program, SHAPE)) == ways(capture(net, SHAPE))).all()
    with pytest.raises(SettingsError, match="exported for images of shape"):
        capture_program(program, (3, 9, 8))


def test_programs_that_cannot_be_followed_are_refused():
    def two(x: Tensor, y: Tensor) -> Tensor:
        return x + y

    class Two(nn.Module):
        forward = staticmethod(two)

    class Branches(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cond(x.sum() > 0, lambda x: x.cos(), lambda x: x.sin(), (x,))

    x = torch.zeros(1, 2, 3)
    with pytest.raises(CaptureError, match="takes 2 tensors; it must take one image only"):
        capture_program(torch.export.export(Two(), (x, x)))
    with pytest.raises(CaptureError, match="cond"):
        capture_program(torch.export.export(Branches(), (x,)))


# --- the network stays as found ------------------------------------------------------------------


class Nasty(nn.Module):
    """Does to itself what a forward should not."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 2, 3))
        self.norm = nn.BatchNorm2d(2)
        self.frozen = nn.Conv2d(2, 2, 1).requires_grad_(False)
        self.drop = nn.Dropout()
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", torch.zeros(2))
        self.seen: list[Tensor] = []
        self.names = {"a": 1}
        self.cache: Tensor | None = None
        self.fault: BaseException | None = None
        self.branch = False
        self.hooked = 0
        self.conv.register_forward_hook(self.count)
        self.conv.weight.sum().backward()

    def count(self, *_: Any) -> None:
        self.hooked += 1

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.last = x.mean((0, 2, 3))
        self.seen.append(x)
        self.names["b"] = 2
        self.cache = torch.arange(3)
        self.norm.running_mean.mul_(0.5)
        self.frozen.train()
        torch.rand(3)
        if self.branch and x.sum() > 1e9:
            return x
        if self.fault is not None:
            raise self.fault
        return self.drop(self.frozen(self.norm(self.conv(x))))


def state(net: nn.Module) -> Any:
    tensors = dict(net.named_parameters()) | dict(net.named_buffers())
    return (
        {
            name: (id(t), t.detach().clone(), t.requires_grad, t.grad_fn)
            for name, t in tensors.items()
        },
        {name: (id(t.grad), copy.deepcopy(t.grad)) for name, t in tensors.items()},
        {name: module.training for name, module in net.named_modules()},
        {name: list(module._forward_hooks.items()) for name, module in net.named_modules()},
        torch.get_rng_state(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.deterministic,
        torch.backends.mha.get_fastpath_enabled(),
        len(nn.modules.module._global_forward_hooks),
        len(nn.modules.module._global_forward_pre_hooks),
        random.getstate(),
    )


def same(first: Any, second: Any) -> bool:
    if isinstance(first, Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(v, second[k]) for k, v in first.items())
    if isinstance(first, tuple | list):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second)


@pytest.mark.parametrize("how", ["auto", "export", "recorded"])
@pytest.mark.parametrize("fault", [None, ZeroDivisionError(), KeyboardInterrupt(), "branch"])
def test_a_nasty_network_stays_as_found(how: Any, fault: Any):
    net = Nasty()
    net.frozen.eval()
    net.fault, net.branch = (None, True) if fault == "branch" else (fault, False)
    before = state(net)
    attributes = {k: v for k, v in vars(net).items() if not isinstance(v, dict | list)}
    if isinstance(fault, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            capture(net, SHAPE, how=how)
    elif isinstance(fault, ZeroDivisionError) or (fault and how == "export"):
        with pytest.raises(CaptureError):
            capture(net, SHAPE, how=how)
    else:
        graph = capture(net, SHAPE, how=how)
        assert {"conv2d", "batch_norm"} <= {n.op for n in graph.nodes}
        assert all(n.status is Status.EXACT for n in graph.nodes if n.op == "batch_norm")
    assert same(state(net), before)
    assert {k: v for k, v in vars(net).items() if not isinstance(v, dict | list)} == attributes
    assert (net.seen, net.names, net.cache) == ([], {"a": 1}, None)
    net.fault, net.branch = None, False
    assert net(torch.zeros(1, *SHAPE)).requires_grad


def test_a_network_that_waits_for_its_first_image_is_refused():
    with pytest.raises(SettingsError, match="lazy parameters"):
        capture(nn.LazyConv2d(2, 3), SHAPE)


def test_capture_works_in_inference_mode_and_without_gradients():
    expected = lines(capture(NETS["attention of torch"][0](), (2, 6, 4)))
    for mode in (torch.inference_mode, torch.no_grad):
        net = NETS["attention of torch"][0]()
        with mode():
            assert lines(capture(net, (2, 6, 4))) == expected
