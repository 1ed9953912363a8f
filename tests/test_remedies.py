"""A mended copy: the same weights and sizes, and the numbers that the audit then promises."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from audit_backbones import resnet
from placewise.auditing.paths import count_paths
from placewise.backbones import BACKBONES
from placewise.checkpoint import load
from placewise.cli import main
from placewise.errors import CheckpointError, SettingsError
from placewise.graph import capture
from placewise.layers.blur import BlurPool
from placewise.layers.convolution import Convolution
from placewise.paddings import PADDINGS
from placewise.remedies import Mended, Remedy, loading_said, mend, recommend
from placewise.remedies._effect import effect_of
from placewise.remedies._exchange import Exchange, exchanged
from placewise.remedies._layers import blur_sizes
from placewise.remedies._meeting import Meet
from placewise.target._program import read_program

KEEPING = [name for name in PADDINGS.names() if PADDINGS[name].keeps_size]
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
MAXIMA = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
AVERAGES = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)


def small(axes: int = 2) -> nn.Sequential:
    """Strides of a convolution, a maximum and an average; one pooling at two places."""
    torch.manual_seed(1)
    conv, pool = CONVOLUTIONS[axes - 1], MAXIMA[axes - 1](3, 2, 1)
    return nn.Sequential(
        conv(1, 3, 7, stride=2, padding=3),
        pool,
        conv(3, 4, 3, padding=1, bias=False),
        nn.ReLU(),
        pool,
        AVERAGES[axes - 1](3, 1, 1),
    )


def ratio(net: nn.Module, *shape: int) -> float:
    """Most paths of a pixel over the fewest."""
    graph = capture(net, shape)
    counts = count_paths(graph, graph.last_map).counts
    return float(counts.max() / counts.min())


def swapped(module: nn.Module, **remedy: object) -> nn.Module:
    found = exchanged(copy.deepcopy(module), Remedy(**remedy))  # type: ignore[arg-type]
    assert isinstance(found, Exchange)
    return found.module


# --- the laws of every remedy --------------------------------------------------------------------


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("blur", [False, True])
@pytest.mark.parametrize("padding", [None, *KEEPING])
def test_maps_keep_their_sizes(axes: int, blur: bool, padding: str | None):
    for size in (3, 2, 5):
        for stride in (1, 2, 3):
            for side in (6, 7, 8, 11):
                maps = torch.rand(2, 2, *[side] * axes)
                margin = size // 2
                conv = CONVOLUTIONS[axes - 1](2, 3, size, stride, margin)
                pool = MAXIMA[axes - 1](size, stride, margin)
                for layer in (conv, pool):
                    made = exchanged(copy.deepcopy(layer), Remedy(padding, blur))
                    new = made.module if isinstance(made, Exchange) else layer
                    assert not isinstance(made, str)
                    assert new(maps).shape == layer(maps).shape, (size, stride, side, layer)


@pytest.mark.parametrize("blur", [False, True])
@pytest.mark.parametrize("padding", ["circular", "partial"])
def test_weights_are_kept_and_the_network_stays_as_found(blur: bool, padding: str):
    net = small().train()
    before = copy.deepcopy(net)
    state = torch.random.get_rng_state()
    mended = mend(net, (1, 32, 32), padding=padding, blur=blur)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert str(net) == str(before)
    old, new = before.state_dict(), mended.model.state_dict()
    assert old.keys() == new.keys() == net.state_dict().keys()
    assert all(torch.equal(old[key], new[key]) for key in old)
    assert all(module.training for module in mended.model.modules())
    with torch.no_grad():
        for value in mended.model.parameters():
            value.add_(1)
    assert all(torch.equal(old[key], net.state_dict()[key]) for key in old)


def test_nothing_asked_for_is_nothing_changed():
    net = small()
    mended = mend(net, (1, 32, 32))
    x = torch.rand(1, 1, 32, 32)
    assert mended.changes == () and mended.unchanged == ()
    assert torch.equal(mended.model(x), net(x))
    assert mended.before.scalars() == mended.after.scalars()


def test_far_from_the_border_a_rule_changes_nothing():
    net = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 2, 3, padding=1)).double()
    x = torch.rand(1, 1, 12, 12, dtype=torch.float64)
    for padding in KEEPING:
        made = mend(net, (1, 12, 12), padding=padding).model
        inside = (..., slice(2, -2), slice(2, -2))
        torch.testing.assert_close(made(x)[inside], net(x)[inside], rtol=0, atol=1e-12)
        if padding != "zeros":
            assert not torch.allclose(made(x), net(x))


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_a_rule_that_torch_knows_is_torchs_own(mode: str):
    """Margins other than half a window are kept too."""
    conv = nn.Conv2d(2, 3, 5, stride=2, padding=(1, 2), padding_mode="zeros")
    twin = nn.Conv2d(2, 3, 5, stride=2, padding=(1, 2), padding_mode=mode)
    twin.load_state_dict(conv.state_dict())
    x = torch.rand(2, 2, 9, 10)
    torch.testing.assert_close(swapped(conv, padding=mode)(x), twin(x))


# --- what is promised ----------------------------------------------------------------------------


@pytest.mark.parametrize("axes, side", [(1, 48), (2, 32)])
@pytest.mark.parametrize("padding", ["circular", "symmetric"])
def test_every_pixel_has_equally_many_paths(axes: int, side: int, padding: str):
    net = small(axes)[:5]
    shape = (1, *[side] * axes)
    mended = mend(net, shape, padding=padding, blur=True)
    assert ratio(net, *shape) > 2
    assert ratio(mended.model, *shape) == 1
    assert mended.after.scalars()["corner_ratio"] == mended.after.scalars()["max_over_corner"] == 1
    assert mended.after.scalars()["even"] is True


@pytest.mark.parametrize("padding", ["circular", "symmetric"])
def test_every_pixel_of_a_residual_network_too(padding: str):
    net = resnet([1, 1], bottleneck=False)
    shape = (1, 24, 24)
    assert ratio(net, *shape) > 10
    mended = mend(net, shape, padding=padding, blur=True)
    assert not mended.unchanged
    assert ratio(mended.model, *shape) == 1


def test_blur_alone_makes_left_and_right_alike():
    mended = mend(small(), (1, 32, 32), blur=True)
    assert mended.before.scalars()["corner_ratio"] > 1.5
    assert mended.after.scalars()["corner_ratio"] == 1


def test_a_blur_before_a_stride_is_one_after_a_convolution_that_does_not_stride():
    """The slow twin: convolve everywhere on a torus, blur, and take every second place."""
    conv = nn.Conv2d(2, 3, 3, stride=2, padding=1).double()
    slow = Convolution.of(conv, "circular")
    slow.windows.stride = (1, 1)
    blur = BlurPool(3, 4, padding_mode="circular")
    x = torch.rand(1, 2, 8, 10, dtype=torch.float64)
    fast = swapped(conv, padding="circular", blur=True)
    torch.testing.assert_close(fast(x), blur(slow(x)), rtol=0, atol=1e-12)


def test_a_blurred_maximum_is_the_maximum_of_all_windows_blurred():
    pool = nn.MaxPool2d(3, 2, 1)
    x = torch.rand(1, 2, 8, 10, dtype=torch.float64)
    blur = BlurPool(2, 4, padding_mode="circular")
    ring = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="circular")
    twin = blur(torch.nn.functional.max_pool2d(ring, 3, 1))
    found = swapped(pool, padding="circular", blur=True)(x)
    torch.testing.assert_close(found, twin, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", range(1, 8))
@pytest.mark.parametrize("stride", [2, 3, 4])
def test_blurred_windows_read_every_place_equally_often(size: int, stride: int):
    """Path counts of a blur and a window after it, by the phase of the place."""
    blur = blur_sizes((size,), (stride,))[0]
    kernel = torch.nn.functional.conv1d(
        torch.ones(1, 1, size), torch.ones(1, 1, blur), padding=blur - 1
    )[0, 0]
    phases = [float(kernel[phase::stride].sum()) for phase in range(stride)]
    assert len(set(phases)) == 1


def test_an_even_size_changes_no_layer():
    mended = mend(small(), (1, 32, 32), align=True)
    assert [change.name for change in mended.changes] == ["image"]
    assert mended.after.shape == (1, 33, 33)
    assert mended.after.scalars()["even"] is True
    assert mended.after.scalars()["corner_ratio"] == 1


def test_full_gives_every_place_all_its_windows():
    net = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 5, padding=2))
    mended = mend(net, (1, 10, 10), padding="full")
    assert mended.model(torch.rand(1, 1, 10, 10)).shape[2:] == (16, 16)
    assert ratio(net, 1, 10, 10) > 2
    assert ratio(mended.model, 1, 10, 10) == 1


@pytest.mark.parametrize("blur", [False, True])
def test_branches_meet_in_the_middle_of_zeros(blur: bool):
    """A residual network grows by `full`, and every place is in all its windows."""
    net = resnet([1, 1], bottleneck=False).double()
    mended = mend(net, (1, 33, 33), padding="full", blur=blur)
    assert [c.name for c in mended.changes if c.after == "zeros around the smaller map"]
    assert not mended.unchanged
    counted = mended.after.scalars()
    assert counted["corner_ratio"] == pytest.approx(1, abs=1e-3)
    assert counted["max_over_corner"] < 1.02 < mended.before.scalars()["max_over_corner"]
    assert mended.model.state_dict().keys() == net.state_dict().keys()


@pytest.mark.parametrize("grows", [True, False])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_maps_meet_with_their_middles_on_each_other(grows: bool, axes: int):
    """Slow twin: each place of the smaller map finds its place of the larger one."""
    wide, narrow = torch.rand(1, 2, *(7, 8, 4)[:axes]), torch.rand(1, 2, *(3, 5, 4)[:axes])
    first, second = Meet(grows)(wide, narrow)
    assert first.shape == second.shape == (wide if grows else narrow).shape
    small, large = (second, wide) if grows else (narrow, wide)
    for place in product(*(range(n) for n in narrow.shape[2:])):
        moved = tuple(
            p + (w - n) // 2
            for p, w, n in zip(place, wide.shape[2:], narrow.shape[2:], strict=True)
        )
        if grows:
            assert torch.equal(small[(..., *moved)], narrow[(..., *place)])
        else:
            assert torch.equal(first[(..., *place)], large[(..., *moved)])
    if grows:
        assert float(second.sum()) == pytest.approx(float(narrow.sum()))


def test_numbers_of_channels_are_not_made_to_meet():
    maps, gate = torch.rand(1, 2, 5, 5), torch.rand(1, 2, 1, 1)
    assert Meet(True)(maps, gate)[1] is gate


def test_valid_cuts_a_skip():
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([self.conv(x), x], 1)

    net = Skip()
    mended = mend(net, (1, 8, 8), padding="valid")
    x = torch.rand(1, 1, 8, 8)
    found = mended.model(x)
    assert torch.equal(found[:, 1:], x[:, :, 1:-1, 1:-1])
    assert torch.allclose(found[:, :1], net(x)[:, :1, 1:-1, 1:-1], atol=1e-6)


def test_a_backbone_of_ours_grows_and_its_branches_meet():
    mended = mend(BACKBONES["unet"](3), (3, 64, 64), padding="full")
    met = [one.name for one in mended.changes if one.before == "maps of one size"]
    assert len(met) > 5 and all("meet_" in name for name in met)
    assert mended.model(torch.zeros(1, 3, 64, 64)).shape[2] > 16


def test_full_is_refused_where_branches_cannot_be_followed():
    class Choosy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x) + x if x.shape[0] > 0 else x

    with pytest.raises(SettingsError, match="'symmetric' and 'circular'"):
        mend(Choosy(), (1, 16, 16), padding="full")


# --- layers of all kinds -------------------------------------------------------------------------


def test_tied_and_shared_layers_stay_so():
    shared = nn.Conv2d(1, 1, 3, padding=1)
    other = nn.Conv2d(1, 1, 3, padding=1)
    other.weight = shared.weight
    made = mend(nn.Sequential(shared, shared, other), (1, 8, 8), padding="circular").model
    assert made[0] is made[1]
    assert made[2].weight is made[0].weight is not shared.weight


class Own(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Functional(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.max_pool2d(torch.nn.functional.pad(x, (1, 1, 1, 1)), 2)


def test_what_is_not_changed_is_named():
    hooked = nn.Conv2d(1, 1, 3, padding=1)
    hooked.register_forward_hook(lambda *_: None)
    net = nn.Sequential(
        Own(1, 1, 3, padding=1),
        hooked,
        nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 1, 3, padding=1)),
        Functional(),
        nn.MaxPool2d(3, 2, 1, ceil_mode=True),
        nn.Conv2d(1, 1, 3, padding=1),
    )
    mended = mend(net, (1, 16, 16), padding="reflect", blur=True)
    assert [change.name for change in mended.changes] == ["5"]
    assert sorted({left.name for left in mended.unchanged}) == ["0", "1", "2", "3", "4"]


def test_averages_pads_and_layers_of_ours():
    net = nn.Sequential(
        nn.ZeroPad2d((1, 2, 3, 4)),
        nn.AvgPool2d(3, 1, 1),
        Convolution(1, 1, 3, padding_mode="zeros"),
    )
    mended = mend(net, (1, 8, 9), padding="circular")
    x = torch.rand(1, 1, 8, 9)
    assert mended.model(x).shape == net(x).shape
    assert [change.name for change in mended.changes] == ["0", "1", "2"]
    assert not mended.unchanged
    pads = torch.nn.functional.pad(x, (1, 2, 3, 4), mode="circular")
    torch.testing.assert_close(mended.model[0](x), pads)
    assert net[2].windows.padding_mode == "zeros"


def test_an_unknown_rule_is_refused():
    with pytest.raises(SettingsError, match="symmetric"):
        mend(small(), (1, 32, 32), padding="symetric")


def test_a_mended_network_learns_and_is_saved(tmp_path: Path):
    mended = mend(small(), (1, 32, 32), padding="learned", blur=True)
    mended.model(torch.rand(1, 1, 32, 32)).sum().backward()
    grads = [p.grad is not None for p in mended.model.parameters()]
    assert grads and all(grads)
    path = mended.save(tmp_path / "out")
    facts = json.loads(path.read_text())
    assert facts["after"]["scalars"] == pytest.approx(facts["after"]["scalars"])
    assert len(facts["changes"]) == len(mended.changes) > 0
    kept = load(path.parent / "mended.safetensors").tensors
    assert all(torch.equal(kept[k], v) for k, v in mended.model.state_dict().items())
    assert mended.save(tmp_path / "out") == path
    with pytest.raises((SettingsError, CheckpointError)):
        mended.save(Path(__file__).parent)


# --- the files of a copy -------------------------------------------------------------------------

FRESH = """
import sys, torch
assert not any(name.startswith("placewise") for name in sys.modules)
images, expected = torch.load(sys.argv[2], weights_only=True)
network = torch.export.load(sys.argv[1]).module()
for given in (images, images[:1]):
    found = network(given)
    torch.testing.assert_close(found, expected[: len(given)], rtol=0, atol=1e-6)
assert not any(name.startswith("placewise") for name in sys.modules)
"""

COPIES: dict[str, tuple[Callable[[], nn.Module], dict[str, Any]]] = {
    "blurred": (small, {"padding": "symmetric", "blur": True}),
    "grown residual": (lambda: resnet([1, 1], bottleneck=False), {"padding": "full"}),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_program_runs_in_a_fresh_process_without_our_classes(name: str, tmp_path: Path):
    build, settings = COPIES[name]
    mended = mend(build(), (1, 32, 32), **settings)
    folder = mended.save(tmp_path / "out").parent
    images = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(2))
    mended.model.eval()
    with torch.no_grad():
        torch.save((images, mended.model(images)), tmp_path / "pair.pt")
    where = [str(folder / "mended.pt2"), str(tmp_path / "pair.pt")]
    command = [sys.executable, "-I", "-c", FRESH, *where]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    program, shape = read_program(folder / "mended.pt2")  # nothing in it would be executed
    assert shape == (1, 32, 32) and program is not None


def test_weights_of_a_copy_are_refused_by_the_network_as_it_was(tmp_path: Path):
    mended = mend(small(), (1, 32, 32), padding="symmetric", blur=True)
    folder = mended.save(tmp_path / "out").parent
    tensors = load_file(folder / "mended.safetensors")
    with pytest.raises(RuntimeError, match=r"of a mended copy: placewise.mend\(network, \(1, 32"):
        small().load_state_dict(tensors)
    with safe_open(folder / "mended.safetensors", "pt") as file:
        metadata = file.metadata()["placewise"]
    assert '"symmetric"' in metadata and '"blur":true' in metadata and "Sequential" in metadata


def test_the_lines_that_load_a_copy_do_so(tmp_path: Path):
    """As they stand in mend.json, on a network whose weights are others."""
    mended = mend(small(), (1, 32, 32), padding="circular")
    mended.model.eval()
    with torch.no_grad():
        for value in mended.model.parameters():
            value.mul_(1.5)
    folder = mended.save(tmp_path / "out").parent
    lines = json.loads((folder / "mend.json").read_text())["load"]
    assert lines["program"][1] == 'network = torch.export.load("mended.pt2").module()'
    call = re.fullmatch(r"mended = placewise.mend\((.*)\)  # .*", lines["weights"][1])
    assert call and call[1] == "network, (1, 32, 32), padding='circular'"
    again = mend(small(), (1, 32, 32), padding="circular")
    again.load(folder / "mended.safetensors")
    x = torch.rand(1, 1, 32, 32)
    assert torch.equal(again.model.eval()(x), mended.model(x))
    for other in ({"padding": "symmetric"}, {"padding": "circular", "blur": True}):
        with pytest.raises(CheckpointError, match="another copy"):
            mend(small(), (1, 32, 32), **other).load(folder / "mended.safetensors")
    wider = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1))
    with pytest.raises(CheckpointError, match="do not fit"):
        mend(wider, (1, 32, 32), padding="circular").load(folder / "mended.safetensors")


def test_weights_of_an_aligned_network_are_its_own(tmp_path: Path):
    """No layer is changed: the network as it was takes them."""
    folder = mend(small(), (1, 32, 32), align=True).save(tmp_path / "out").parent
    small().load_state_dict(load_file(folder / "mended.safetensors"))


def test_a_copy_that_cannot_be_exported_says_why(tmp_path: Path):
    class Choosy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x) if x.sum().item() > 0 else x

    path = mend(Choosy(), (1, 8, 8), padding="circular").save(tmp_path / "out")
    found = json.loads(path.read_text())["load"]
    assert found["program"] == [] and "torch.export: " in found["no_program"]
    assert not (path.parent / "mended.pt2").exists()
    assert "could not be written as a program" in loading_said(path)
    assert "mended.load" in loading_said(path)


def dynamic() -> nn.Module:
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Flatten(), nn.Linear(128, 3)).eval()
    return torch.ao.quantization.quantize_dynamic(net, {nn.Linear})


def without_values() -> nn.Module:
    with torch.device("meta"):
        return nn.Conv2d(1, 2, 3, padding=1)


@pytest.mark.parametrize(
    ("build", "why"), [(dynamic, "is no plain tensor"), (without_values, "meta device")]
)
@pytest.mark.filterwarnings("ignore")
def test_weights_that_cannot_be_written_are_named(
    build: Callable[[], nn.Module], why: str, tmp_path: Path
):
    (tmp_path / "out").mkdir()
    mended = mend(build(), (1, 8, 8), padding="circular")
    assert (mended.effect.change is None) == (build is without_values)
    path = mended.save(tmp_path / "out")
    found = json.loads(path.read_text())["load"]
    assert found["weights"] == [] and why in found["no_weights"]
    assert not (path.parent / "mended.safetensors").exists()
    assert f"The weights could not be written: {found['no_weights']}" in loading_said(path)


def test_the_effect_looks_into_a_dataclass():
    @dataclass
    class Answer:
        maps: Tensor

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = small()

        def forward(self, x: Tensor) -> Answer:
            return Answer(self.net(x))

    images = torch.rand(3, 1, 32, 32)
    plain = mend(small(), (1, 32, 32), padding="symmetric", images=images).effect
    assert mend(Wrapped(), (1, 32, 32), padding="symmetric", images=images).effect == plain


# --- what a remedy does to the output ------------------------------------------------------------


def test_the_effect_is_the_difference_of_both_outputs():
    net, images = small(), torch.rand(3, 1, 32, 32)
    mended = mend(net, (1, 32, 32), padding="symmetric", images=images)
    with torch.no_grad():
        old, new = net.eval()(images).double(), mended.model.eval()(images).double()
    effect = mended.effect
    assert effect.change == pytest.approx(float((new - old).norm() / old.norm()))
    assert effect.agreement == float((new.argmax(1) == old.argmax(1)).double().mean())
    assert (effect.images, effect.source) == (3, "images")
    assert mend(net, (1, 32, 32)).effect.change == 0
    moved = mend(net, (1, 32, 32), align=True).effect
    assert moved.change is not None and moved.source == "noise"


def test_a_network_that_does_not_run_on_images_has_no_effect():
    class Blind(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            if x.sum() != 0:
                raise RuntimeError("only black images")
            return super().forward(x)

    found = effect_of(Blind(1, 1, 3), nn.Identity(), torch.ones(1, 1, 4, 4), "noise", (4, 4))
    assert found.change is None and found.said().endswith("RuntimeError: only black images")


# --- what is recommended -------------------------------------------------------------------------


def test_what_works_and_changes_the_output_least_is_recommended():
    easy = recommend(small(), (1, 32, 32), ["corner_ratio<1.01"])
    assert [one.remedy for one in easy.tried] == ["nothing", "aligned size"]
    assert easy.best is not None and not easy.best.exchanged
    wanted = ["corner_ratio<1.01", "max_over_corner<1.01", "gini<.01"]
    hard = recommend(small()[:5], (1, 32, 32), wanted)
    assert hard.best is not None and all(one.missed for one in hard.tried[:-1])
    given = [one.mended for one in hard.tried if one.mended and not one.mended.remedy.align]
    changes = [(1 - (one.effect.agreement or 0), one.effect.change or 0) for one in given]
    assert len(changes) > 3 and changes == sorted(changes)
    assert "gini" in hard.table() and "train the copy further" in hard.table()
    assert all("change" in one["effect"] for one in hard.to_dict()["tried"] if one["effect"])


def test_conditions_that_nothing_meets():
    found = recommend(nn.Sequential(nn.Conv1d(1, 1, 3)), (1, 9), ["max_over_corner<1.5"])
    assert found.best is None
    assert "none of these" in found.table()
    assert found.to_dict()["best"] is None


@pytest.mark.parametrize("conditions", [[], ["nonsense<2"], ["consistency>90"]])
def test_conditions_that_cannot_be(conditions: list[str]):
    with pytest.raises(SettingsError):
        recommend(small(), (1, 16, 16), conditions)


# --- the command line ----------------------------------------------------------------------------

NET = """
from torch import nn

def net():
    return nn.Sequential(nn.Conv2d(1, 2, 3, stride=2, padding=1), nn.Conv2d(2, 2, 3, padding=1))
"""


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "mine.py"
    file.write_text(NET)
    out = tmp_path / "out"
    target = ["mend", f"{file}:net", "--size", "16"]
    main([*target, "--padding", "circular", "--blur", "--out", str(out)])
    told = capsys.readouterr().out
    assert "window 3, circular 1, blur 4, stride 2" in told
    assert {file.name for file in out.iterdir()} == {
        "mend.json",
        "mended.pt2",
        "mended.safetensors",
    }
    assert 'torch.export.load("mended.pt2")' in told and "mended.load(" in told
    main([*target, "--recommend", "corner_ratio<1.01", "--quiet"])
    assert capsys.readouterr().out == ""
    for wrong, code in ([], 2), (["--recommend", "gini<0", "--quiet"], 1):
        with pytest.raises(SystemExit) as stopped:
            main([*target, *wrong])
        assert stopped.value.code == code


WAVES = """
import torch
from torch import nn

class Waves(nn.Module):  # takes (batch, samples)
    def __init__(self):
        super().__init__()
        self.c = nn.Conv1d(1, 2, 5, stride=2, padding=2)

    def forward(self, waves, gain=None):
        return self.c(waves[:, None]) * (1.0 if gain is None else gain[:, None, None])

class Last(nn.Sequential):  # takes (batch, height, width, channels)
    def forward(self, images):
        return super().forward(images.permute(0, 3, 1, 2))

net, last = Waves(), Last(nn.Conv2d(3, 2, 3, padding=1))
both, wide = (torch.rand(1, 401), torch.ones(1)), torch.rand(1, 12, 20, 3)
gains = torch.rand(2, 401), torch.ones(2)
"""


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("net --axes 1 --size 401 --in-channels 1", "network(images)  # images: (batch, 401)"),
        ("net --axes 1 --input both", "network(*args, **kwargs)  # as in the example; the images"),
        ("net --axes 1 --input gains", "the images: (batch, 401)"),
        ("last --input wide", "network(images)  # images: (batch, 12, 20, 3)"),
    ],
)
def test_networks_are_fed_as_the_audit_feeds_them(tmp_path: Path, capsys, given: str, line: str):
    file = tmp_path / "mine.py"
    file.write_text(WAVES)
    name, *options = [f"{file}:{x}" if x in ("both", "gains", "wide") else x for x in given.split()]
    target, out = [f"{file}:{name}", *options], str(tmp_path / "out")
    main(["mend", *target, "--padding", "symmetric", "--out", out])
    told = capsys.readouterr().out
    assert "the output changes by" in told and "not measured" not in told and line in told
    assert ("example=example" in told) == ("--input" in options)
    main(["mend", *target, "--recommend", "max_over_corner<1.1"])
    assert "the output changes by" in capsys.readouterr().out
    program = torch.export.load(tmp_path / "out" / "mended.pt2").module()
    shape = (3, 12, 20, 3) if name == "last" else (3, 401)
    if "both" not in given and "gains" not in given:
        assert len(program(torch.rand(shape))) == 3


def test_both_audits_stand_side_by_side():
    mended = mend(small(), (1, 32, 32), padding="symmetric", blur=True)
    assert isinstance(mended, Mended)
    words = str(mended)
    assert "corner_ratio" in words and "before: To the output" in words and "after: " in words
    assert "the output changes by" in words and "train the copy further" in words
