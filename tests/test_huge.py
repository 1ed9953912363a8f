"""Huge images: windows of files, and tiles that give what the whole image gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from placewise import images
from placewise.auditing.locality import Locality, locality
from placewise.backbones.unet import UNet
from placewise.decoders import DECODERS
from placewise.errors import ImageError, SettingsError
from placewise.gathering import Gathering, Tile
from placewise.heads.convolutional import Convolutional
from placewise.heads.heatmap import Heatmap
from placewise.heads.instances import Instances
from placewise.heads.integral import Integral
from placewise.heads.masks import Masks
from placewise.heads.poses import Poses
from placewise.heads.spots import Spots
from placewise.losses import LOSSES
from placewise.model import InputSettings, in_tiles, is_huge, parts
from placewise.model.inputs import as_input, cut_of_input
from placewise.model.parts import SAFE, Tiled, check_tiles, counted_bytes, is_local
from placewise.paddings import PADDINGS
from placewise.peak_losses import PEAK_LOSSES
from placewise.resizing import resized_part
from placewise.tasks.classes.model import ClassModel
from placewise.tasks.instances import huge as instances_huge
from placewise.tasks.instances.huge_pieces import PieceFinder, make_whole
from placewise.tasks.instances.model import InstanceModel
from placewise.tasks.instances.pieces import made_whole
from placewise.tasks.keypoints.model import KeypointModel
from placewise.tasks.masks.huge import BLOCK
from placewise.tasks.masks.model import MaskModel
from placewise.tasks.poses.model import PoseModel
from placewise.tasks.spots.model import SpotModel
from placewise.windows import Whole, windows_of

# --- files and sizes ------------------------------------------------------------------------------


def _tiff(path: Path, values: np.ndarray, **options: Any) -> None:
    pytest.importorskip("tifffile").imwrite(path, values, **options)


DEEP, BYTE = np.uint16, np.uint8
KINDS: dict[str, tuple[Any, tuple[int, ...], dict[str, Any]]] = {
    "rows": (BYTE, (3,), {}),
    "tiles": (BYTE, (3,), {"tile": (32, 48), "compression": "zlib", "predictor": True}),
    "strips": (DEEP, (), {"rowsperstrip": 16, "compression": "zlib", "byteorder": ">"}),
    "deep rows": (DEEP, (), {"byteorder": ">"}),
    "white is zero": (DEEP, (), {"tile": (32, 32), "photometric": "miniswhite"}),
    "deep colours": (DEEP, (3,), {"photometric": "rgb", "rowsperstrip": 8}),
    "alpha": (BYTE, (4,), {"photometric": "rgb", "extrasamples": ["unassalpha"], "tile": (32, 32)}),
    "big": (BYTE, (), {"bigtiff": True, "tile": (64, 32), "compression": "zlib"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_windows_of_a_tiff_are_those_of_the_whole_image(kind: str, tmp_path: Path) -> None:
    dtype, channels, options = KINDS[kind]
    rng = np.random.default_rng(0)
    path = tmp_path / "image.tif"
    _tiff(path, rng.integers(0, np.iinfo(dtype).max, (90, 110, *channels), dtype), **options)
    whole = images.read_image(path)
    with windows_of(path, 1 << 17) as found:
        assert not isinstance(found, Whole)
        assert (*found.size, found.channels) == whole.shape and found.dtype == whole.dtype
        for rows, columns in ((slice(0, 90), slice(0, 110)), (slice(31, 33), slice(95, 110))):
            part = found.cut(rows, columns)
            assert part.dtype == whole.dtype and (part == whole[rows, columns]).all()


def test_a_file_that_cannot_be_read_in_parts_says_what_to_do(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((90, 110), np.uint8)).save(tmp_path / "a.png")
    with windows_of(tmp_path / "a.png", 1 << 20) as found:
        assert isinstance(found, Whole)
    try:
        import pyvips  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        with (
            pytest.raises(ImageError, match=r"pip install .*huge"),
            windows_of(tmp_path / "a.png", 1000),
        ):
            pass
    turned = Image.new("L", (20, 10))
    exif = turned.getexif()
    exif[274] = 6
    turned.save(tmp_path / "b.jpg", exif=exif)
    with pytest.raises(ImageError, match="upright"), windows_of(tmp_path / "b.jpg", 1 << 20):
        pass


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("size", [(37, 41), (90, 55), (100, 130)])
def test_parts_of_a_resized_image_have_the_bits_of_the_whole(
    dtype: Any, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(0).random((90, 110, 2))
    image = values.astype(dtype) if dtype == np.float32 else (values * 255).astype(dtype)
    expected = images.resize(image, size).astype(float)
    monkeypatch.setattr(images, "LARGE", 1)
    whole = images.resize(image, size)
    assert np.abs(whole - expected).max() <= (1e-4 if dtype == np.float32 else 1)  # ties round
    read: list[int] = []

    def cut(rows: slice, columns: slice) -> np.ndarray:
        read.append((rows.stop - rows.start) * (columns.stop - columns.start))
        return image[rows, columns]

    part = slice(11, 24), slice(20, 33)
    found = resized_part(cut, (90, 110), size, part)
    assert (found == whole[part]).all() and sum(read) < 90 * 110 / 2


@pytest.mark.parametrize("normalise", ["set", "each"])
def test_the_network_sees_a_part_as_it_sees_the_whole(
    normalise: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (images, parts, __import__("placewise.model.inputs", fromlist=["LARGE"])):
        monkeypatch.setattr(module, "LARGE", 1, raising=False)
    image = np.random.default_rng(0).integers(0, 3000, (90, 110, 3), np.uint16)
    view = InputSettings(
        scale=0.6, size=(32, 32), channels=1, mean=(0.5,), std=(0.2,), white=4095
    ).model_copy(update={"normalise": normalise})
    whole = as_input(image, view)
    size, cut = cut_of_input(Whole(image), view)
    found = cut(slice(5, 40), slice(20, 66))
    assert whole.shape[:2] == size and np.abs(found - whole[5:40, 20:66]).max() < 1e-6


# --- how far a network looks ----------------------------------------------------------------------


class Gate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.maps, self.gate = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.maps(images)
        return maps * torch.sigmoid(self.gate(maps.mean((2, 3), keepdim=True)))


class Placed(nn.Module):
    """Adds the place of a pixel, in shares of the image."""

    def forward(self, images: Tensor) -> Tensor:
        return images + torch.linspace(0, 1, images.shape[-1], dtype=images.dtype)


GLOBAL: dict[str, tuple[nn.Module, str]] = {
    "pool": (nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1)), "'1'"),
    "norm": (nn.Sequential(nn.Conv2d(1, 2, 3), nn.InstanceNorm2d(2)), "'1'.*mean and variance"),
    "border": (nn.Sequential(nn.Conv2d(1, 2, 3, 1, 1, padding_mode="circular")), "'0'"),
    "gate": (Gate(), "mean"),
}


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "name", ["pool", "norm", pytest.param("border", marks=SLOW), pytest.param("gate", marks=SLOW)]
)
def test_a_layer_that_reads_the_whole_image_is_named(name: str) -> None:
    network, said = GLOBAL[name]
    with pytest.raises(SettingsError, match=rf"the layer {said}|the layer .*{said}"):
        locality(network.eval(), 1)


def test_what_depends_on_the_place_is_found_by_trying() -> None:
    network = nn.Sequential(Placed(), nn.Conv2d(1, 1, 3, padding=1))
    image, looks = torch.rand(1, 1, 24, 24), Locality(1, 1, 1, 1)
    with torch.no_grad():
        check_tiles(network[1], image, looks)
        with pytest.raises(SettingsError, match="depends on the place"):
            check_tiles(network, image, looks)
    assert [n for n in PADDINGS.names() if not is_local(PADDINGS[n]())] >= ["circular"]


def _random_net(seed: int) -> tuple[nn.Module, int]:
    """Convolutions, pooling and a skip of random windows, strides and paddings."""
    draw = np.random.default_rng(seed)
    mode = ("zeros", "reflect", "replicate")[seed % 3]
    layers: list[nn.Module] = []
    channels, stride = 1, 1
    for _ in range(4):
        kernel, dilation = int(draw.choice([1, 3, 5])), int(draw.choice([1, 2]))
        pad = dilation * (kernel - 1) // 2
        layers += [nn.Conv2d(channels, 3, kernel, 1, pad, dilation, padding_mode=mode), nn.ReLU()]
        channels = 3
        if stride < 4 and draw.random() < 0.6:
            layers.append(nn.MaxPool2d(2) if draw.random() < 0.5 else nn.AvgPool2d(2))
            stride *= 2
    if stride > 1 and draw.random() < 0.7:
        layers += [nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(3, 2, 3, padding=1)]
    return nn.Sequential(*layers).double().eval(), stride


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=SLOW) for n in range(1, 6))])
def test_tiles_give_the_maps_of_the_whole_image(seed: int) -> None:
    network, multiple = _random_net(seed)
    looks = locality(network, 1, 2, multiple)
    image = np.random.default_rng(seed).random((97 + 7 * seed, 150, 1))
    padding = PADDINGS["replicate"]()

    class Nothing(Gathering[None]):
        margin = 2

        def add(self, tile: Tile) -> None:
            raise AssertionError

        def result(self) -> None:
            raise AssertionError

    tiled = Tiled(lambda one: network(one.double()), looks, padding, multiple, 100.0)
    sides = [(0, -side % multiple) for side in image.shape[:2]]
    shown = np.float32(image)
    with torch.no_grad():
        padded = padding.pad(torch.from_numpy(shown).movedim(-1, 0)[None], sides)
        whole = network(padded.double())[0]
        smallest = (2 * tiled.margin(Nothing()) + 3 * looks.period) ** 2
        memory = int(1.01 * SAFE * tiled.bytes_per_pixel * smallest)
        seen = torch.zeros(whole.shape[1:])
        for tile in tiled.tiles(image.shape[:2], lambda r, c: shown[r, c], Nothing(), memory):
            at = (slice(None), *tile.core)
            torch.testing.assert_close(tile.own(), whole[at].float(), rtol=0, atol=1e-6)
            seen[tile.core] += 1
    own = tuple(slice(0, -(-side // looks.stride)) for side in image.shape[:2])
    assert (seen[own] == 1).all() and seen.sum() == seen[own].sum()
    assert min(len(one) for one in tiled.cuts(image.shape[:2], 2, memory)) > 2


# --- what tiles say together ----------------------------------------------------------------------

Maps = Tensor


def tiles_of(maps: Maps, margin: int, whole: tuple[int, int], step: int = 23) -> Iterator[Tile]:
    """Maps cut into tiles."""
    sides = maps.shape[1:]
    edges = [[*range(0, side, step), side] for side in whole]
    for (top, bottom), (left, right) in product(*(pairwise(one) for one in edges)):
        first = max(0, top - margin), max(0, left - margin)
        last = min(bottom + margin, sides[0]), min(right + margin, sides[1])
        part = maps[:, first[0] : last[0], first[1] : last[1]]
        yield Tile(part, first, (slice(top, bottom), slice(left, right)), whole)


def gathered(gathering: Gathering[Any], maps: Maps, whole: tuple[int, int]) -> Any:
    for tile in tiles_of(maps, gathering.margin, whole):
        gathering.add(tile)
    return gathering.result()


def blobs(count: int, size: tuple[int, int]) -> Maps:
    """Logits with a blob each, on seams and corners too, and on the last a level."""
    draw = torch.Generator().manual_seed(0)
    rows, columns = torch.arange(size[0])[:, None], torch.arange(size[1])
    maps = 0.3 * torch.rand(count, *size, generator=draw)
    places = torch.rand(count, 2, generator=draw) * torch.tensor(size)
    seams = torch.tensor([[23.2, 45.7], [0.0, 0.3], [22.6, 10.0], [68.8, 69.1]])
    places[:4] = seams[:count]
    for one, (y, x) in zip(maps, places, strict=True):
        one += 6 * torch.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 5) - 4
    maps[-1] = -1.0
    return maps


HEADS: dict[str, Callable[[], Any]] = {
    **{
        f"{loss} {decoder}": lambda loss=loss, decoder=decoder: Heatmap(
            4, 12, stride=4, loss=loss, decoder=decoder
        )
        for loss in LOSSES.names()
        for decoder in DECODERS.names()
    },
    "integral head": lambda: Integral(4, 12, stride=4),
}


@pytest.mark.parametrize("name", HEADS)
def test_keypoints_of_tiles_are_those_of_the_whole_map(name: str) -> None:
    head, size = HEADS[name](), (150, 187)
    maps = blobs(12, (76, 96))
    expected = head.decode(maps[None], size)
    found = gathered(head.gathering(size), maps, (75, 94))
    for part in ("keypoints", "scores", "uncertainty"):
        torch.testing.assert_close(
            getattr(found, part).float(), getattr(expected, part).float(), rtol=1e-4, atol=1e-3
        )


def test_a_map_with_a_hole_has_no_keypoint_in_tiles_either() -> None:
    maps = blobs(3, (76, 96))
    maps[1, 40, 40] = torch.nan
    found = gathered(Heatmap(4, 3, stride=2, finer=1).gathering((152, 192)), maps, (76, 96))
    assert found.keypoints[0, 1].isnan().all() and found.keypoints[0, 0].isfinite().all()


@pytest.mark.parametrize("loss", PEAK_LOSSES.names())
def test_spots_of_tiles_are_those_of_the_whole_map(loss: str) -> None:
    head, size = Spots(4, 2, stride=4, loss=loss, radius=4.0), (150, 187)
    draw = torch.Generator().manual_seed(0)
    noise = torch.rand(1, 2, 80, 100, generator=draw)
    maps = 60 * (nn.functional.avg_pool2d(noise, 5, 1)[0] - 0.5) - 8
    (expected,) = head.decode(maps[None], size)
    found = gathered(head.gathering(size), maps, (75, 94))
    assert len(expected[0].heat) > 30
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.heat, other.heat, atol=1e-6)
        np.testing.assert_allclose(one.points, other.points, atol=1e-3)


@pytest.mark.parametrize("loss", PEAK_LOSSES.names())
def test_poses_of_tiles_are_those_of_the_whole_map(loss: str) -> None:
    head, size = Poses(4, 3, stride=4, loss=loss, sigma=1.0, extent=60.0), (150, 187)
    draw = torch.Generator().manual_seed(0)
    noise = torch.rand(1, 4, 80, 100, generator=draw)
    faint = -2 if loss == "focal" else -8  # else scores are 1 over wide plateaus
    maps = 60 * (nn.functional.avg_pool2d(noise, 5, 1)[0] - 0.5) + faint
    arrows = 4 * torch.randn(6, *maps.shape[1:], generator=draw)  # across several tiles
    maps = torch.cat([maps, arrows])
    (expected,) = head.decode(maps[None], size)
    found = gathered(head.gathering(size), maps, (75, 94))
    assert len(expected.centres) > 15 and len(expected.peaks) > 60 and expected.heat.max() > 0.5
    for part in ("centres", "scores", "expected", "heat", "peaks", "kinds", "peak_scores"):
        np.testing.assert_allclose(getattr(found, part), getattr(expected, part), atol=1e-5)


VIEW = InputSettings(scale=0.7, size=(64, 64), channels=1, mean=(0.5,), std=(0.2,))


@pytest.mark.parametrize(("classes", "stride"), [(1, 1), (3, 2)])
def test_masks_of_tiles_are_those_of_the_whole_map(
    classes: int, stride: int, tmp_path: Path
) -> None:
    head = Masks(4, classes, map_stride=stride)
    model = MaskModel(nn.Conv2d(1, 4, 4, stride=4), head, names="abc"[:classes], input=VIEW)
    shown, size = (300 - stride, 187), (2 * BLOCK - 80, 267)
    smooth = nn.functional.avg_pool2d(torch.rand(1, classes + (classes > 1), 304, 196), 5, 1)
    maps = (30 * (smooth - smooth.mean()))[0, :, : 300 // stride, : 188 // stride]
    (expected,) = model.decode(maps[None], shown, [size], ["a.png"])
    whole = tuple(-(-side // stride) for side in shown)
    found = gathered(model.gathering(shown, size, "a.png"), maps, whole)
    assert (found.mask(0, size[0]) == expected.mask).all() and expected.mask.any()
    assert found.rows() == expected.rows() and expected.rows()[0][-1] > 20
    found.save(tmp_path / "huge")
    expected.save(tmp_path / "whole")
    read = [np.asarray(Image.open(tmp_path / one / "masks/a.png")) for one in ("huge", "whole")]
    assert (read[0] == read[1]).all()


def _objects(kinds: int, map_stride: int) -> tuple[InstanceModel, Maps]:
    """A model, and maps of objects in pieces that point at each other's centres too."""
    head = Instances(4, kinds, map_stride=map_stride, sigma=1.5 * map_stride, unit=4.0)
    model = InstanceModel(nn.Conv2d(1, 4, 4, stride=4), head, names="abc"[:kinds], input=VIEW)
    model.calibration = {"images": 1, "foreground": 0.5, "centre": 0.2, "agreement": 0.5}
    draw = torch.Generator().manual_seed(kinds)
    noise = torch.rand(1, 4 + (kinds if kinds > 1 else 0), 190, 140, generator=draw)
    maps = nn.functional.avg_pool2d(noise, 9, 1)[0] - 0.5
    return model, torch.cat([60 * maps[:1], 60 * maps[1:2] - 1, 60 * maps[2:]])


@pytest.mark.parametrize(
    ("kinds", "stride", "scaled"), [(1, 1, False), (3, 2, False), (1, 1, True)]
)
def test_instances_of_tiles_are_those_of_the_whole_map(
    kinds: int, stride: int, scaled: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model, maps = _objects(kinds, stride)
    shown = (180 - stride // 2, 127)
    maps = maps[:, : -(-shown[0] // stride), : 128 // stride]
    size = (257, 181) if scaled else shown
    monkeypatch.setattr(instances_huge, "STRIP", 20 * size[1])
    (expected,) = model.decode(maps[None], shown, [size], ["a.png"])
    whole = tuple(-(-side // stride) for side in shown)
    found = gathered(model.gathering(shown, size, "a.png"), maps, whole)
    assert len(expected) > 12
    if scaled:
        assert (found.labels > 0).mean() == pytest.approx((expected.labels > 0).mean(), abs=1e-4)
        assert abs(len(found) - len(expected)) <= 1
        return
    assert (found.labels == expected.labels).all()
    assert found.rows() == expected.rows()
    found.save(tmp_path / "huge")
    expected.save(tmp_path / "whole")
    read = [np.asarray(Image.open(tmp_path / one / "instances/a.png")) for one in ("huge", "whole")]
    assert read[0].dtype == read[1].dtype and (read[0] == read[1]).all()


def test_labels_in_a_file_are_made_whole_as_in_memory() -> None:
    draw = np.random.default_rng(0)
    small = draw.integers(0, 6, (20, 14)) * (draw.random((20, 14)) < 0.7)
    labels = np.kron(small, np.ones((3, 4))).astype(np.int32)
    labels[draw.random(labels.shape) < 0.1] = 0
    expected, new = made_whole(labels)
    for tall in (1, 7, 60):
        finder, found = PieceFinder(labels.shape[1]), labels.copy()
        for top in range(0, len(labels), tall):
            finder.add(labels[top : top + tall], top)
        assert make_whole(found, finder.pieces()).tolist() == new.tolist()
        assert (found == expected).all() and len(new) and (expected == 0).any()


# --- models ---------------------------------------------------------------------------------------


def _keypoints() -> KeypointModel:
    net = UNet(1, width=16, depth=1)
    model = KeypointModel(net, Heatmap(net.out_channels, 3), input=VIEW).eval()
    nn.init.normal_(model.head.maps.values.weight, std=0.5)  # type: ignore[attr-defined]
    return model


def test_predict_takes_tiles_by_itself_and_stays_within_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, memory = _keypoints(), 1_500_000
    image = np.random.default_rng(0).integers(0, 255, (700, 520), np.uint8)
    whole = model.predict(image)
    counted: list[int] = []
    given = type(model).maps

    def watched(self: KeypointModel, shown: Tensor) -> Tensor:
        counted.append(counted_bytes(lambda one: given(self, one), shown))
        return given(self, shown)

    assert is_huge(model, (700, 520), memory) and not is_huge(model, (700, 520), 10**9)
    monkeypatch.setattr(type(model), "maps", watched)
    found = model.predict(image, memory=memory)
    assert len(counted) > 6 and max(counted) <= memory
    np.testing.assert_allclose(found.keypoints, whole.keypoints, atol=1e-3)
    np.testing.assert_allclose(found.scores, whole.scores, atol=1e-5)
    with pytest.raises(SettingsError, match=r"raise --memory"):
        model.predict(image, memory=100_000)


def test_too_little_memory_is_said_of_a_file_too(tmp_path: Path) -> None:
    """And not that the file is damaged."""
    _tiff(tmp_path / "a.tif", np.zeros((700, 520), np.uint8), tile=(64, 64))
    with pytest.raises(SettingsError, match=r"raise --memory$"):
        _keypoints().predict(tmp_path / "a.tif", memory=100_000)


def test_an_image_that_is_predicted_as_a_whole_is_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = KeypointModel(Gate(), Heatmap(4, 1, finer=1), input=VIEW).eval()
    for side in (300, 310, 305, 320):
        assert not is_huge(model, (side, side), 10_000)
    (told,) = [one.getMessage() for one in caplog.records if one.name == "placewise"]
    assert "300 × 300 pixels is predicted as a whole" in told and "about 0.0 GB" not in told


def test_spots_of_a_network_that_is_not_ours_are_found_in_tiles() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 5, padding=2), nn.ReLU(), nn.Conv2d(4, 4, 2, stride=2))
    model = SpotModel(net, Spots(4, 1, finer=1), input=VIEW).eval()
    nn.init.normal_(model.head.maps.values.weight, std=3.0)  # type: ignore[attr-defined]
    image = np.random.default_rng(0).integers(0, 255, (300, 260), np.uint8)
    whole = model.predict(image)
    found = in_tiles(model, Whole(image[..., None]), "", 2_000_000)
    assert len(whole.candidates) > 30
    np.testing.assert_allclose(found.candidates, whole.candidates, atol=1e-3)


def test_objects_with_keypoints_are_grouped_across_tiles() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 5, padding=2), nn.ReLU(), nn.Conv2d(4, 4, 2, stride=2))
    model = PoseModel(net, Poses(4, 2, finer=1, extent=40.0), input=VIEW).eval()
    draw = torch.Generator().manual_seed(0)
    nn.init.normal_(model.head.maps.values.weight, std=3.0, generator=draw)
    image = np.random.default_rng(0).integers(0, 255, (300, 260), np.uint8)
    whole = model.predict(image)
    found = in_tiles(model, Whole(image[..., None]), "", 2_000_000)
    assert len(whole.places) > 20 and whole.peaks.any()
    assert (found.peaks == whole.peaks).all()
    for part in ("places", "scores", "instance_scores", "nearest"):
        np.testing.assert_allclose(getattr(found, part), getattr(whole, part), atol=1e-3)


def test_what_cannot_be_predicted_in_tiles_is_refused_by_name() -> None:
    image = Whole(np.zeros((100, 100, 1), np.uint8))
    model = ClassModel(
        nn.Conv2d(1, 4, 4, stride=4), Convolutional(4, 2, (16, 16)), input=VIEW
    ).eval()
    with pytest.raises(SettingsError, match="needs the maps of the whole image"):
        in_tiles(model, image, "", 10**6)
    gated = KeypointModel(Gate(), Heatmap(4, 1, finer=1), input=VIEW).eval()
    with pytest.raises(SettingsError, match="reads the whole image"):
        in_tiles(gated, image, "slide.tif", 10**6)
