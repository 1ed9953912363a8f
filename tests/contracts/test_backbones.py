"""What every backbone promises."""

from __future__ import annotations

import inspect
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from placewise.backbones import BACKBONES, Backbone
from placewise.errors import SettingsError, ShapeError
from placewise.layers.convolution import Convolution
from placewise.paddings import PADDINGS

SMALL: dict[str, list[dict]] = {
    "lenet": [{}, {"padding_mode": "symmetric", "pool": "average"}, {"padding_mode": "full"}],
    "resnet": [{"blocks": 1, "width": 8}, {"blocks": 2, "width": 4}],
    "timm": [{"model": "test_resnet", "level": 1}, {"model": "test_convnext", "level": 1}],
    "unet": [{"width": 32, "depth": 2}, {"width": 16, "depth": 2, "stem": 2}],
}
CASES = [(name, s) for name in BACKBONES.names() for s in SMALL.get(name, [{}])]
ONE_SIDED = {"timm"}
"""Written by others, who halve maps by windows of odd size."""

needs_timm = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")


def case_id(case: tuple[str, dict]) -> str:
    return "-".join([case[0], *map(str, case[1].values())])


def built(case: tuple[str, dict], seed: int = 0) -> Backbone:
    name, settings = case
    if name == "timm":
        pytest.importorskip("timm")
    torch.manual_seed(seed)
    net = BACKBONES[name](2, **settings).double().eval()
    with torch.no_grad():
        for part in net.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.weight.fill_(0.7)
                part.bias.fill_(0.1)
    return net


each_backbone = pytest.mark.parametrize("case", CASES, ids=case_id)


def image(height: int, width: int, channels: int = 2, seed: int = 0) -> torch.Tensor:
    seeded = torch.Generator().manual_seed(seed)
    return torch.rand(1, channels, height, width, dtype=torch.float64, generator=seeded)


def test_every_member_is_covered() -> None:
    assert set(SMALL) == {name for name, _ in CASES} == set(BACKBONES.names())
    assert {"unet", "lenet", "resnet", "timm"} <= set(BACKBONES.names())


@each_backbone
def test_shapes(case) -> None:
    backbone = built(case)
    step = -(-16 // backbone.multiple) * backbone.multiple
    for high, wide in ((1, 1), (2, 3), (5, 4)):
        size = (high * step, wide * step)
        expected = (1, backbone.out_channels, *backbone.size(size))
        assert backbone(image(*size)).shape == expected
        if backbone.aligned:
            assert expected[2:] == (size[0] // backbone.stride, size[1] // backbone.stride)


@each_backbone
def test_a_shift_by_the_multiple_shifts_the_features(case) -> None:
    """Far from the border the network keeps place exactly."""
    backbone = built(case)
    step, cells = backbone.multiple, backbone.multiple // backbone.stride
    side = 2 * backbone.receptive_field // step * step + 4 * step
    shown = image(side, side)
    moved = torch.roll(shown, (step, step), (2, 3))
    far = backbone.receptive_field // backbone.stride
    here = backbone(shown)[..., far:-far, far:-far]
    there = torch.roll(backbone(moved), (-cells, -cells), (2, 3))[..., far:-far, far:-far]
    assert here.numel() > 0
    assert torch.allclose(here, there, atol=1e-9)


def tries(backbone: Backbone) -> int:
    """Images to look at: a maximum reads one place of its window at a time."""
    return 12 if any(isinstance(p, torch.nn.MaxPool2d) for p in backbone.modules()) else 1


def columns_seen(backbone: Backbone, side: int) -> tuple[int, int, int]:
    """First and last column that the middle block of the features reads, and its first cell."""
    reads = torch.zeros(side, dtype=torch.bool)
    middle = backbone.size((side, side))[0] // 2
    for seed in range(tries(backbone)):
        shown = image(side, side, seed=seed).requires_grad_()
        features = backbone(shown).sum(1)
        for cell in range(middle, middle + backbone.multiple // backbone.stride):
            (slope,) = torch.autograd.grad(features[0, cell, cell], shown, retain_graph=True)
            reads |= slope[0].abs().sum(0).amax(0) > 0
    columns = reads.nonzero()
    return int(columns.min()), int(columns.max()), middle


@each_backbone
def test_the_receptive_field_and_the_place_are_what_is_stated(case) -> None:
    """The measured field of a block of outputs is as wide as stated, and lies about its middle."""
    backbone = built(case)
    side = -(-2 * backbone.receptive_field // backbone.multiple) * backbone.multiple
    first, last, middle = columns_seen(backbone, side)
    assert last - first + 1 == backbone.receptive_field
    expected = middle * backbone.stride + (backbone.multiple - 1) / 2
    assert ((first + last) / 2 == expected) == backbone.aligned


@each_backbone
def test_no_pixel_is_dropped(case) -> None:
    backbone = built(case)
    side = -(-24 // backbone.multiple) * backbone.multiple
    slopes = torch.zeros(side, side, dtype=torch.float64)
    for seed in range(tries(backbone)):
        shown = image(side, side, seed=seed).requires_grad_()
        slopes += torch.autograd.grad(backbone(shown).square().sum(), shown)[0][0].abs().sum(0)
    assert (slopes > 0).all()


def symmetrise(backbone: Backbone) -> None:
    """Mirror every kernel onto itself, so that only geometry is left."""
    with torch.no_grad():
        for part in backbone.modules():
            if isinstance(part, torch.nn.Conv2d | Convolution):
                part.weight.copy_((part.weight + part.weight.flip(-1)) / 2)
        if hasattr(backbone, "ups"):  # its image comes in cells, which are mirrored too
            first, cell = backbone.stem[0], backbone.stride
            weight = first.weight.unflatten(1, (-1, cell, cell))
            first.weight.copy_(((weight + weight.flip((3, 5))) / 2).flatten(1, 3))


@pytest.mark.parametrize("case", [c for c in CASES if c[0] not in ONE_SIDED], ids=case_id)
def test_left_and_right_are_treated_alike(case) -> None:
    """With mirrored kernels, a mirrored image gives mirrored features: nothing is one-sided."""
    backbone = built(case)
    symmetrise(backbone)
    step = -(-16 // backbone.multiple) * backbone.multiple
    shown = image(3 * step, 4 * step)
    features = backbone(shown)
    assert features.std() > 0
    assert torch.allclose(features, backbone(shown.flip(-1)).flip(-1), atol=1e-9)


@each_backbone
def test_gradient_reaches_every_parameter(case) -> None:
    backbone = built(case).train()
    step = -(-32 // backbone.multiple) * backbone.multiple
    shown = torch.cat([image(step, step, seed=seed) for seed in range(4)])
    features = backbone(shown)
    (features * torch.randn_like(features)).sum().backward()
    parameters = dict(backbone.named_parameters())
    assert parameters
    assert [name for name, p in parameters.items() if p.grad is None or not p.grad.any()] == []


@each_backbone
def test_weights_are_saved_and_loaded(case, tmp_path: Path) -> None:
    mine, other = built(case, seed=1), built(case, seed=2)
    save_file(mine.state_dict(), tmp_path / "net.safetensors")
    step = -(-16 // mine.multiple) * mine.multiple
    shown = image(step, 2 * step)
    assert not torch.equal(mine(shown), other(shown))
    other.load_state_dict(load_file(tmp_path / "net.safetensors"))
    assert torch.equal(mine(shown), other(shown))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@each_backbone
def test_any_dtype(case, dtype) -> None:
    backbone = built(case)
    step = -(-16 // backbone.multiple) * backbone.multiple
    exact = backbone(image(step, step))
    features = backbone.to(dtype)(image(step, step).to(dtype))
    assert features.dtype == dtype
    scale = exact.abs().max()
    assert (features.double() - exact).abs().max() < scale * (1e-4 if dtype.itemsize > 2 else 0.1)


@each_backbone
def test_export(case) -> None:
    backbone = built(case).float()
    step = -(-16 // backbone.multiple) * backbone.multiple
    shown = image(step, 2 * step).float()
    program = torch.export.export(backbone, (shown,))
    assert torch.allclose(program.module()(shown), backbone(shown), atol=1e-5)


# --- one and three dimensions --------------------------------------------------------------------

SPATIAL = [name for name in BACKBONES.names() if name != "timm"]
"""Members for signals, images and volumes; the networks of timm are of images alone."""

LONG = {1: (2,), 3: (1, 2, 1)}
"""Size of a signal and of a volume in multiples of a backbone's."""


def of_dimension(name: str, axes: int) -> Backbone:
    torch.manual_seed(0)
    return BACKBONES[name](2, axes, **SMALL[name][0]).double().eval()


def cuboid(backbone: Backbone) -> torch.Tensor:
    """An image of a size that the backbone takes, in its dimension."""
    step = -(-16 // backbone.multiple) * backbone.multiple
    size = [step * n for n in LONG[backbone.spatial_dims]]
    seeded = torch.Generator().manual_seed(1)
    return torch.rand(1, 2, *size, dtype=torch.float64, generator=seeded)


def test_timm_alone_is_of_images_alone() -> None:
    reads = {name: inspect.signature(BACKBONES[name]).parameters for name in BACKBONES.names()}
    assert {name for name, given in reads.items() if "spatial_dims" not in given} == {"timm"}


@pytest.mark.parametrize("axes", LONG)
@pytest.mark.parametrize("name", SPATIAL)
def test_signals_and_volumes(name: str, axes: int) -> None:
    backbone = of_dimension(name, axes)
    shown = cuboid(backbone).requires_grad_()
    features = backbone(shown)
    assert features.shape == (1, backbone.out_channels, *backbone.size(tuple(shown.shape[2:])))
    slope = torch.autograd.grad(features.square().sum(), shown)[0].abs().amax((0, 1))
    assert slope.ndim == axes
    assert slope.count_nonzero() > 0
    if name != "lenet":  # a maximum reads one place of its window
        assert (slope > 0).all()


@pytest.mark.parametrize("name", SPATIAL)
def test_axes_are_treated_alike(name: str) -> None:
    """A volume whose axes change places gives features whose axes do, if the filters do too."""
    backbone = of_dimension(name, 3)
    shown = cuboid(backbone)
    features = backbone(shown)
    with torch.no_grad():
        for part in backbone.modules():
            if isinstance(part, torch.nn.Conv3d | Convolution):
                part.weight.copy_(part.weight.transpose(2, 3).clone())
        if name == "unet":  # its image comes in cells, whose axes change places too
            first, cell = backbone.stem[0], backbone.stride
            cells = first.weight.unflatten(1, (-1, cell, cell, cell)).transpose(2, 3)
            first.weight.copy_(cells.flatten(1, 4).clone())
    turned = backbone(shown.transpose(2, 3)).transpose(2, 3)
    assert features.std() > 0
    assert torch.allclose(turned, features, atol=1e-9)


@pytest.mark.parametrize("name", SPATIAL)
@pytest.mark.parametrize("axes", [0, 4])
def test_other_numbers_of_axes_are_refused(name: str, axes: int) -> None:
    with pytest.raises(SettingsError, match=f"spatial_dims is {axes}; it must be 1, 2 or 3"):
        BACKBONES[name](2, axes)


@each_backbone
def test_images_of_another_shape_are_refused(case) -> None:
    backbone = built(case)
    shown = image(4 * backbone.multiple, 4 * backbone.multiple)
    for wrong in (shown[:, :1], shown[0], shown[..., None]):
        with pytest.raises(ShapeError, match=r"got images of shape .* reads \(batch, 2 channels"):
            backbone(wrong)
    with pytest.raises(ShapeError, match=f"must be a multiple of {backbone.multiple}"):
        backbone(shown[..., 1:])


# --- padding rules -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["unet", "resnet"])
@pytest.mark.parametrize("padding", PADDINGS.names())
def test_every_padding_rule_works_or_is_refused(name: str, padding: str) -> None:
    settings = dict(SMALL[name][0], padding_mode=padding)
    if not PADDINGS[padding].keeps_size:
        with pytest.raises(SettingsError, match=f"'{padding}' changes the size .* symmetric"):
            BACKBONES[name](1, **settings)
        return
    net = BACKBONES[name](1, **settings).eval()
    windows = [m.windows for m in net.modules() if isinstance(m, Convolution)]
    rules = {each.padding_mode for each in windows if each.kernel_size == (3, 3)}
    assert rules == {padding}
    side = 16 * net.multiple
    features = net(image(side, side // 2, channels=1).float())
    assert features.shape == (1, net.out_channels, side // net.stride, side // 2 // net.stride)


@pytest.mark.parametrize("padding", PADDINGS.names())
def test_lenet_takes_every_padding_rule(padding: str) -> None:
    net = BACKBONES["lenet"](1, padding_mode=padding).eval()
    assert net(image(32, 48, channels=1).float()).shape == (1, 6, *net.size((32, 48)))
    assert net.aligned == PADDINGS[padding].keeps_size


@pytest.mark.parametrize("name", ["unet", "resnet"])
def test_the_padding_rule_is_felt_at_the_border_alone(name: str) -> None:
    nets = {
        p: BACKBONES[name](1, **dict(SMALL[name][0], padding_mode=p))
        for p in ("zeros", "symmetric")
    }
    nets["zeros"].load_state_dict(nets["symmetric"].state_dict())
    side = 4 * nets["zeros"].receptive_field // nets["zeros"].multiple * nets["zeros"].multiple
    shown = image(side, side, channels=1).float()
    off = (nets["zeros"].eval()(shown) - nets["symmetric"].eval()(shown)).abs().amax((0, 1))
    middle = off.shape[0] // 2
    assert off[0].max() > 1e-3
    assert off[middle, middle] == 0


class Twin(torch.nn.Module):
    """Torch's own convolution in place of ours, with the same weights."""

    def __init__(self, ours: Convolution) -> None:
        super().__init__()
        mode = ours.windows.padding_mode
        self.own = torch.nn.Conv2d(
            ours.in_channels, ours.out_channels, 3, padding=1, bias=False, padding_mode=mode
        ).double()
        self.own.load_state_dict(ours.state_dict())

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return self.own(maps)


@pytest.mark.parametrize("padding", ["zeros", "reflect", "replicate", "circular"])
def test_the_unet_is_to_the_bit_what_it_was_with_torchs_convolutions(padding: str) -> None:
    """Runs of old still load: names and shapes of the weights, and every output."""
    net = BACKBONES["unet"](2, width=32, depth=2, padding_mode=padding).double().eval()
    shown = image(64, 48)
    before = net(shown)
    found = [(n, part) for n, part in net.named_modules() if isinstance(part, Convolution)]
    assert len(found) == 13
    assert {part.windows.padding_mode for _, part in found} == {padding}
    assert all([n for n, _ in part.named_parameters()] == ["weight"] for _, part in found)
    for name, part in found:
        parent, _, last = name.rpartition(".")
        setattr(net.get_submodule(parent), last, Twin(part))
    assert torch.equal(net(shown), before)


# --- members of their own ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "least", "most"), [(48, 0.2e6, 0.4e6), (128, 1.5e6, 2.2e6), (192, 3.5e6, 5e6)]
)
def test_width_sets_the_size(width: int, least: float, most: float) -> None:
    net = BACKBONES["unet"](1, width=width)
    assert least < sum(p.numel() for p in net.parameters()) < most


@pytest.mark.parametrize(("channels", "parameters"), [(1, 78 + 456), (3, 228 + 456)])
def test_lenet_is_the_net_of_the_thread(channels: int, parameters: int) -> None:
    """32×32 → 3@28×28 → 3@14×14 → 6@10×10 → 6@5×5."""
    net = BACKBONES["lenet"](channels)
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert net.size((32, 32)) == (5, 5)
    sizes = []
    for part in (net.first, net.second, net.pool):
        part.register_forward_hook(lambda *call: sizes.append(tuple(call[2].shape[1:])))
    net(torch.zeros(1, channels, 32, 32))
    assert sizes == [(3, 28, 28), (3, 14, 14), (6, 10, 10), (6, 5, 5)]


def test_images_that_are_too_small_for_lenet_are_refused() -> None:
    with pytest.raises(ShapeError, match="a window reaches over 5×5 places"):
        BACKBONES["lenet"](1).size((12, 12))
    assert BACKBONES["lenet"](1).size((16, 32)) == (1, 5)


@pytest.mark.parametrize(("blocks", "parameters"), [(3, 0.27e6), (9, 0.86e6)])
def test_resnet_has_the_size_of_its_model(blocks: int, parameters: int) -> None:
    """ResNet-20 and -56 of He et al. (2016), table 6, less the windows of stride 2 (4, not 9)."""
    net = BACKBONES["resnet"](3, blocks=blocks)
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(parameters, rel=0.05)
    layers = [
        m for m in net.modules() if isinstance(m, Convolution) and m.windows.kernel_size != (1, 1)
    ]
    assert len(layers) == 6 * blocks + 1  # and the answer


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("lenet", {"width": 0}, "width is 0"),
        ("lenet", {"pool": "mean"}, "pool is 'mean'; it must be one of max, average"),
        ("lenet", {"padding_mode": "zero"}, "Did you mean 'zeros'"),
        ("resnet", {"blocks": 0}, "blocks is 0"),
        ("unet", {"width": 8}, "width is 8"),
        ("unet", {"depth": 9}, "depth is 9"),
        ("unet", {"stem": 3}, "stem is 3"),
    ],
)
def test_settings_that_cannot_be_are_refused(name: str, settings: dict, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        BACKBONES[name](1, **settings)


def test_without_timm_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(SettingsError, match=r"needs the package timm.*pip install timm"):
        BACKBONES["timm"](3)


@needs_timm
@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"model": "resnet81"}, "no network named 'resnet81'.*Did you mean 'resnet18'"),
        ({"weights": "no.bin"}, "no file of safetensors.*Fetch model.safetensors of timm/resnet18"),
        ({"weights": "no.safetensors"}, "there is no file 'no.safetensors'.*Fetch model.safetens"),
        ({"level": 9}, "cannot build 'resnet18'"),
        ({"model": "vit_tiny_patch16_224"}, "does not take images of any size"),
    ],
)
def test_what_timm_cannot_do_is_told(settings: dict, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        BACKBONES["timm"](3, **settings)


@needs_timm
def test_timm_loads_weights_from_a_file_and_no_others(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    full = timm.create_model("test_resnet", pretrained=False).eval()
    path = tmp_path / "weights.safetensors"
    save_file(full.state_dict(), path)
    net = BACKBONES["timm"](3, model="test_resnet", weights=str(path)).eval()
    shown = image(64, 96, channels=3).float()
    assert torch.allclose(net(shown), full.forward_features(shown), atol=1e-6)
    with pytest.raises(SettingsError, match="cannot build 'test_convnext'"):
        BACKBONES["timm"](3, model="test_convnext", weights=str(path))
