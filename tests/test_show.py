"""Show: shapes and costs of networks, against the thread's figures, torch and plain sums."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from placewise.cli import main
from placewise.display import Shown, show
from placewise.display._drawing import volumes
from placewise.display.named import show_target
from placewise.errors import SettingsError
from placewise.heads import HEADS
from placewise.layers.convolution import Convolution
from placewise.layers.local import LocallyConnected


@pytest.fixture(scope="module")
def exact() -> Shown:
    return show_target("lenet+flatten", size="32", in_channels=1, classes=10)


def test_the_exact_net_is_that_of_the_thread(exact: Shown) -> None:
    """32×32 → 3@28×28 → 3@14×14 → 6@10×10 → 6@5×5 → 150 → 100 → 10."""
    shapes = [(3, 28, 28), (3, 14, 14), (6, 10, 10), (6, 5, 5), (150,), (100,), (10,)]
    assert [row.shape for row in exact.rows] == shapes
    filters = ["3 of 5×5×1", "2×2", "6 of 5×5×3", "2×2", "", "100 of 150", "10 of 100"]
    assert [row.filters for row in exact.rows] == filters
    assert [row.parameters for row in exact.rows] == [78, 0, 456, 0, 0, 15_100, 1_010]
    assert [row.multiply_adds for row in exact.rows] == [58_800, 0, 45_000, 0, 0, 15_000, 1_000]
    assert (exact.parameters, exact.multiply_adds) == (16_644, 119_800)


def test_fully_connected_layers_have_most_parameters_and_few_multiply_adds(exact: Shown) -> None:
    parameters, multiply_adds = exact.shares("fully connected")
    assert (round(100 * parameters), round(100 * multiply_adds)) == (97, 13)
    assert "have 97 % of the parameters and 13 % of the multiply-adds." in exact.table()


def test_the_exact_nets_fields_and_paths(exact: Shown) -> None:
    """A corner pixel is in 1 of 25 windows of the first layer, and in 1 of 625 ways after two."""
    assert [row.field.size[0] for row in exact.rows[:4]] == [5, 6, 14, 16]
    assert [int(row.field.stride[0]) for row in exact.rows[:4]] == [1, 2, 2, 4]
    first, second = exact.rows[0].paths, exact.rows[2].paths
    assert (first.centre, first.edges[0][0], first.corners[0]) == (25, 5, 1)
    assert (second.centre, second.edges[0][0], second.corners[0]) == (625, 25, 1)


def test_an_image_of_three_channels() -> None:
    shown = show_target("lenet+flatten", in_channels=3, paths=False)
    assert shown.rows[0].filters == "3 of 5×5×3"
    assert shown.parameters == 16_794
    assert round(100 * shown.shares("fully connected")[1]) == 7


@pytest.mark.parametrize("name", [n for n in HEADS.names() if HEADS[n].task == "classes"])
def test_every_class_head_is_shown_with_all_its_parameters(name: str) -> None:
    shown = show_target(f"lenet+{name}", in_channels=1, paths=False)
    head = HEADS[name](6, 10, (5, 5))
    own = sum(p.numel() for p in head.parameters())
    rows = [row for row in shown.rows if row.layer.startswith("head")]
    assert sum(row.parameters for row in rows) == own > 0
    assert shown.rows[-1].shape == (10,)
    if name in ("flatten", "sheet", "proximity"):
        assert sum(row.multiply_adds for row in rows) == 16_000


def test_the_fair_twin_costs_what_flattening_costs() -> None:
    """6@5×5 → windows of 3×3 → 10@5×5 → linear: 16,260 parameters, 16,000 multiply-adds."""
    shown = show_target("lenet+sheet", in_channels=1, paths=False)
    sheet = next(row for row in shown.rows if row.type == "locally connected")
    assert (sheet.shape, sheet.filters) == ((10, 5, 5), "250 of 3×3×6")
    assert (sheet.parameters, sheet.multiply_adds) == (13_750, 13_500)
    assert shown.parameters - 78 - 456 == 16_260


class Tower(nn.Module):
    """Functional operations, a shared layer, a parameter of its own, a layer that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4, 1, 1))
        self.stem = nn.Conv2d(2, 4, 3, padding=1, groups=2)
        self.body = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1))
        self.up = nn.ConvTranspose2d(4, 6, 2, stride=2)
        self.idle = nn.Linear(3, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.stem(images) * self.scale
        maps = self.body(nn.functional.interpolate(self.body(maps[..., ::2, ::2]), size=8)) + maps
        maps = nn.functional.avg_pool2d(torch.tanh(self.up(maps)), 4)
        return nn.functional.linear(maps.flatten(1), torch.ones(5, 6 * 4 * 4))


def test_the_rows_add_up_whatever_the_network_is_made_of() -> None:
    """The sums are torch's own."""
    net = Tower().eval()
    shown = show(net, (2, 8, 8))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(1, 2, 8, 8))
    assert shown.multiply_adds == counter.get_total_flops() // 2 > 0
    assert shown.parameters == sum(p.numel() for p in net.parameters())
    by_layer = {row.layer: row for row in shown.rows}
    assert by_layer["stem"].filters == "4 of 3×3×1"
    assert by_layer["up"].filters == "6 of 2×2×4"
    assert [row.multiply_adds for row in shown.rows if row.layer == "body.2"] == [256, 1024]
    pools = [row.filters for row in shown.rows if row.type == "pooling"]
    assert pools == ["4×4"]


@pytest.mark.parametrize("sides", [(9,), (8, 6), (5, 6, 4)], ids=str)
def test_costs_in_every_dimension_are_those_of_plain_sums(sides: tuple[int, ...]) -> None:
    places = torch.tensor(sides).prod().item()
    shared = Convolution(3, 4, 3, spatial_dims=len(sides))
    own = LocallyConnected(4, 2, sides, 3, bias=False)
    shown = show(nn.Sequential(shared, own), (3, *sides), paths=False)
    taps = 3 ** len(sides)
    assert [row.multiply_adds for row in shown.rows] == [places * taps * 12, places * taps * 8]
    assert [row.parameters for row in shown.rows] == [taps * 12 + 4, places * taps * 8]


def test_an_exported_program_is_shown_as_the_network_it_was_made_of() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 36, 4)).eval()
    program = torch.export.export(net, (torch.zeros(1, 1, 8, 8),))
    one, other = show(net, (1, 8, 8)), show(program, (1, 8, 8))
    for name in ("shape", "parameters", "multiply_adds", "filters", "type"):
        assert [getattr(row, name) for row in one.rows] == [getattr(r, name) for r in other.rows]


def test_a_network_of_double_precision() -> None:
    assert show(nn.Conv1d(1, 2, 3).double(), (1, 8)).multiply_adds == 36


def test_one_module_that_multiplies_often_is_more_than_one_row() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.rand(3, 3, 1, 1))

        def forward(self, maps: torch.Tensor) -> torch.Tensor:
            maps = nn.functional.conv2d(maps, self.weight).relu()
            return nn.functional.conv2d(maps, self.weight)

    shown = show(nn.Sequential(Twice(), nn.Flatten()), (3, 2, 2))
    assert [row.what for row in shown.rows] == ["conv2d, relu", "conv2d", "Flatten"]
    assert [row.multiply_adds for row in shown.rows] == [36, 36, 0]
    assert [row.parameters for row in shown.rows] == [9, 0, 0]


def test_the_network_stays_as_found() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout()).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    random = torch.get_rng_state()
    show(net, (1, 8, 8))
    assert all(part.training for part in net.modules())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in net.modules())
    assert torch.equal(torch.get_rng_state(), random)


def test_what_is_written_is_read_again(exact: Shown, tmp_path: Path) -> None:
    exact.save(tmp_path / "out")
    found = json.loads((tmp_path / "out" / "show.json").read_text(encoding="utf-8"))
    assert {**found, **json.loads(json.dumps(exact.to_dict()))} == found
    assert found["parameters"] == sum(layer["parameters"] for layer in found["layers"]) == 16_644
    assert found["layers"][2]["paths"]["centre"] == "625"
    with Image.open(tmp_path / "out" / "volumes.png") as image:
        assert image.width > image.height > 200
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(SettingsError, match="not empty"):
        exact.save(tmp_path / "used")


def test_like_layers_are_drawn_as_one_volume(exact: Shown) -> None:
    types = [volume.type.split()[0] for volume in volumes(exact.shape, exact.rows)]
    assert types == [
        "image",
        "convolution",
        "pooling",
        "convolution",
        "pooling",
        "fully",
        "fully",
    ]
    deep = nn.Sequential(*(nn.Conv2d(2, 2, 3, padding=1) for _ in range(5)))
    shown = show(deep, (2, 8, 8), paths=False)
    assert [volume.times for volume in volumes(shown.shape, shown.rows)] == [1, 5]


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    words = "show lenet+flatten --size 32 --in-channels 1 --classes 10 --head-set hidden=84"
    main([*words.split(), "--no-paths"])
    told = capsys.readouterr().out
    assert "backbone.second  Convolution, relu  6@10×10  6 of 5×5×3" in told
    assert "head.hidden.0    Linear, relu       84" in told
    assert "centre" not in told


def test_a_network_of_ones_own_and_a_backbone_alone() -> None:
    assert show_target("torch.nn:Identity", size="8").parameters == 0
    shown = show_target("resnet", size="16x32", backbone={"blocks": 1}, paths=False)
    assert shown.rows[-1].shape == (64, 4, 8)
    keypoints = show_target(
        "unet+heatmap", in_channels=1, classes=2, backbone={"width": 16, "depth": 1}
    )
    assert keypoints.rows[-1].shape == (2, 16, 16)


@pytest.mark.parametrize(
    ("text", "settings", "says"),
    [
        ("lenet+flaten", {}, "Did you mean 'flatten'"),
        ("lenett+flatten", {}, "Did you mean 'lenet'"),
        ("lenet+flatten", {"size": "33"}, "multiples of 4"),
        ("lenet+flatten", {"size": "8x8x8"}, "needs two sides"),
        ("lenet+flatten", {"head": {"hiden": 3}}, "Did you mean 'hidden'"),
        ("lenet", {"head": {"hidden": 3}}, "give BACKBONE\\+HEAD"),
        ("torch.nn:Identity", {"backbone": {"width": 3}}, "takes no settings"),
        ("nothing", {}, "neither a folder nor a network"),
    ],
)
def test_what_cannot_be_shown_is_told(text: str, settings: dict, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        show_target(text, **settings)


def test_a_network_that_does_not_run_is_told() -> None:
    with pytest.raises(ValueError, match=r"cannot be followed on an image of shape \(3, 8, 8\)"):
        show(nn.Conv2d(1, 2, 3), (3, 8, 8))


class After(nn.Module):
    """A convolution, and a function of its map."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.function = nn.Conv2d(3, 4, 3, padding=1), function

    def forward(self, x: Tensor) -> Any:
        return self.function(self.conv(x))


class Often(nn.Module):
    """One module that runs several times, and one that never does."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(3, 3, 3, padding=1)] * 3)
        self.unused, self.own = nn.Linear(4, 4), nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> list[Any]:
        for layer in self.layers:
            x = layer(x)
        return [x, {"mean": x.mean()}]


def block() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU()).eval()


AWKWARD: dict[str, tuple[Callable[[], nn.Module], list[tuple[int, ...]]]] = {
    "divided by one number": (
        lambda: After(lambda maps: maps / maps.abs().mean()),
        [(4, 8, 8), (), (4, 8, 8)],
    ),
    "times one number": (
        lambda: After(lambda maps: maps * maps.sum()),
        [(4, 8, 8), (), (4, 8, 8)],
    ),
    "one number each": (lambda: After(lambda maps: maps.mean((1, 2, 3))), [(4, 8, 8), ()]),
    "one number": (lambda: After(torch.mean), [(4, 8, 8), ()]),
    "integers": (lambda: After(lambda maps: maps.argmax(1)), [(4, 8, 8), (8, 8)]),
    "numbers in a dictionary": (
        lambda: After(lambda maps: {"mean": maps.mean(), "most": maps.amax()}),
        [(4, 8, 8), (), ()],
    ),
    "compiled": (lambda: torch.compile(block(), backend="eager"), [(8, 4, 4), (8, 4, 4)]),
    "compiled in part": (
        lambda: nn.Sequential(block(), torch.compile(nn.Conv2d(8, 2, 1), backend="eager")),
        [(8, 4, 4), (8, 4, 4), (2, 4, 4)],
    ),
    "scripted": (lambda: torch.jit.script(block()), [(8, 4, 4)]),
    "traced": (lambda: torch.jit.trace(block(), torch.zeros(1, 3, 8, 8)), [(8, 4, 4)]),
    "run several times": (Often, [(3, 8, 8), (3, 8, 8), (3, 8, 8), ()]),
    "without parameters": (nn.Flatten, [(192,)]),
    "without anything": (nn.Identity, []),
    "half precision": (lambda: block().half(), [(8, 4, 4), (8, 4, 4)]),
    "a pool to one vector without a batch": (
        lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(0)),
        [(3, 1, 1), ()],
    ),
}


@pytest.mark.filterwarnings("ignore")  # torch's own, of scripts
@pytest.mark.parametrize("name", AWKWARD)
def test_an_awkward_network_has_a_table_and_a_drawing(name: str) -> None:
    build, shapes = AWKWARD[name]
    shown = show(build(), (3, 8, 8), name=name)
    assert [row.shape for row in shown.rows] == shapes
    lines = shown.table().splitlines()
    assert lines[0] == f"{name} at 3@8×8" and len(lines) == len(shapes) + 6
    assert shown.parameters == sum(parameter.numel() for parameter in build().parameters())
    assert shown.figure().startswith(b"\x89PNG")
    assert show(build(), (3, 8, 8), paths=False).multiply_adds == shown.multiply_adds
