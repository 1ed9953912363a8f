"""Shifts of the image: networks of which it is known what a shift does to them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from placewise.auditing._draws import noise_images
from placewise.auditing._run import find_layers
from placewise.auditing.borders import equivariance
from placewise.auditing.shift import PhaseMap, consistency, phase_map, place_map, shift_share
from placewise.errors import SettingsError

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
POOLS = (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)


def classifier(dims: int, stride: int = 1, mode: str = "zeros") -> nn.Sequential:
    conv = CONVOLUTIONS[dims - 1]
    return nn.Sequential(
        conv(1, 6, 3, padding=1, padding_mode=mode),
        nn.Tanh(),
        conv(6, 6, 3, stride=stride, padding=1, padding_mode=mode),
        nn.Tanh(),
        POOLS[dims - 1](1),
        nn.Flatten(),
    ).double()


def objects(dims: int, count: int = 12, size: int = 24) -> torch.Tensor:
    """Different noise in the middle, and nothing about it."""
    images = torch.zeros(count, 1, *[size] * dims, dtype=torch.float64)
    middle = (..., *(slice(size // 2 - 2, size // 2 + 2) for _ in range(dims)))
    images[middle] = 3 * torch.randn(
        images[middle].shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64
    )
    return images


class FirstPixels(nn.Module):
    """Answers how bright the first pixel is, as one of so many classes."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.one_hot(x.flatten(1)[:, 0].long(), self.classes).to(x)


# --- consistency ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_an_invariant_network_is_always_consistent(dims: int):
    """The object is in every crop and far from its border."""
    size = (18,) * dims
    net = classifier(dims)
    found = consistency(net, objects(dims), size=size)
    assert found.percent == 100
    assert found.standard_error == 0
    assert found.share < 1e-20
    assert found.classes > 1, "else it says nothing"
    assert found.offsets == (6,) * dims
    assert (found.images, found.pairs) == (12, 96)
    broken = consistency(classifier(dims, stride=3), objects(dims), size=size)
    assert broken.share > 1e-3
    assert broken.percent < 100


def test_offsets_are_drawn_evenly_and_anew_for_each_image():
    """Two of r + 1 offsets agree once in r + 1 pairs."""
    ramp = torch.arange(12.0).expand(40, 1, 12)
    found = consistency(FirstPixels(5), ramp, size=(8,), pairs=100)
    assert found.classes == 5
    assert found.percent == pytest.approx(100 / 5, abs=4 * 100 * math.sqrt(0.16 / 4000))
    assert found.standard_error == pytest.approx(100 * math.sqrt(0.16 / 4000), rel=0.4)
    assert consistency(FirstPixels(5), ramp, size=(8,), pairs=100) == found
    assert consistency(FirstPixels(5), ramp, size=(8,), pairs=100, seed=1) != found
    alone = consistency(FirstPixels(5), ramp[:1], size=(8,), pairs=100)
    assert math.isnan(alone.standard_error)


def test_the_share_of_variance_is_one_where_only_the_shift_counts():
    ramp = torch.arange(12.0).expand(40, 1, 12)
    moved = consistency(FirstPixels(5), ramp, size=(8,), pairs=100)
    assert moved.share == pytest.approx(1, abs=0.05)
    levels = torch.arange(40.0)[:, None, None].expand(40, 1, 12)
    even = consistency(FirstPixels(40), levels, size=(8,), pairs=2)
    assert (even.share, even.percent, even.classes) == (0, 100, 40)


def test_an_output_with_places_is_averaged_over_them():
    dense = classifier(2)[:4]
    mean = nn.Sequential(dense, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    found = consistency(dense, objects(2), size=(18, 18))
    truth = consistency(mean, objects(2), size=(18, 18))
    assert found.share < 1e-20
    assert (found.percent, found.classes) == (truth.percent, truth.classes)


@pytest.mark.parametrize(
    "settings", [{"size": (25,)}, {"size": (8, 8)}, {"size": (0,)}, {"size": (8,), "pairs": 0}]
)
def test_settings_that_cannot_be(settings: dict):
    with pytest.raises(SettingsError):
        consistency(classifier(1), objects(1), **settings)


# --- phases --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_only_the_phases_of_the_stride_differ(dims: int):
    found = phase_map(classifier(dims, stride=3), objects(dims, size=21), size=(18,) * dims)
    assert found.stride == (3,) * dims
    assert found.offsets == ((0, 1, 2, 3),) * dims
    same = np.zeros((4,) * dims, bool)
    same[np.ix_(*[[0, 3]] * dims)] = True
    assert (found.share[same] < 1e-20).all()
    assert (found.changed[same] == 0).all()
    assert (found.share[~same] > 1e-3).all()
    assert found.changed[~same].max() > 0
    assert found.control < 1e-20


def test_what_an_offset_changes_is_counted():
    ramp = torch.tensor([0.0, 0, 1, 1, 2, 0]).expand(3, 1, 6)
    found = phase_map(FirstPixels(3), ramp, size=(2,), stride=(4,))
    assert found.offsets == ((0, 1, 2, 3, 4),)
    assert found.changed.tolist() == [0, 0, 1, 1, 1]
    assert found.moved.tolist() == [0, 0, 1, 1, 1], "the images are alike: only the shift counts"
    assert found.control == 1
    assert found.share.tolist() == [0, 0, 0, 0, 0], "a whole stride changes as much"


def test_many_phases_are_thinned_to_powers_of_two():
    net, images = classifier(2), objects(2, count=2, size=40)
    found = phase_map(net, images, size=(16, 16), stride=(12, 8))
    assert found.offsets == ((0, 1, 2, 4, 8, 12), (0, 1, 2, 4, 8))
    chosen = phase_map(net, images, size=(16, 16), stride=(12, 8), offsets=((0, 12), (0, 3, 8)))
    assert chosen.share.shape == (2, 3)
    assert chosen.changed[1, 2] == found.changed[-1, -1]
    with pytest.raises(SettingsError, match="larger images"):
        phase_map(net, images, size=(30, 16), stride=(12, 8))


def shares_slowly(still: np.ndarray, moved: np.ndarray, whole: np.ndarray) -> tuple[float, float]:
    """(share of the shift, share of the phase) of outputs (images, classes), number by number."""
    images, classes = still.shape
    made = control = kept = 0.0
    for c in range(classes):
        middles = [float(np.mean(one[:, c])) for one in (still, moved)]
        for i in range(images):
            made += (still[i, c] - moved[i, c]) ** 2 / 2 / images / classes
            control += (still[i, c] - whole[i, c]) ** 2 / 2 / images / classes
            apart = (still[i, c] - middles[0]) * (moved[i, c] - middles[1])
            kept += apart / (images - 1) / classes
    total = made + max(kept, 0.0)
    return made / total, max(made - control, 0.0) / total


def test_shares_of_phases_like_their_slow_twin() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 5, 3, (2, 3), 1), nn.Tanh(), nn.Flatten(), nn.Linear(120, 4))
    net, images = net.double(), noise_images((1, 14, 15), 5).double()
    found = phase_map(net, images, size=(12, 12), stride=(2, 3))
    with torch.no_grad():
        outputs = {
            (y, x): net(images[..., y : y + 12, x : x + 12]).numpy()
            for y in range(3)
            for x in range(4)
        }
    for (y, x), moved in list(outputs.items())[1:]:
        whole = outputs[2 * (y > 0), 3 * (x > 0)]
        shift, phase = shares_slowly(outputs[0, 0], moved, whole)
        assert found.moved[y, x] == pytest.approx(shift, abs=1e-12)
        assert found.share[y, x] == pytest.approx(phase, abs=1e-12)
    assert found.share.max() > 0 and found.control == found.moved[-1, -1] > 0
    assert found.largest == found.share[:2, :3].max()


class Phase(nn.Module):
    """Answers the phase of a grid of 4 pixels and nothing else."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.one_hot(x.flatten(1)[:, 0].long() % 4, 4).to(x)


def test_the_share_of_the_phase_is_none_or_all_where_it_must_be() -> None:
    """The image is a ramp, so that its first pixel tells the offset of a crop."""
    ramp = torch.arange(12.0).expand(6, 1, 12)
    only = phase_map(Phase(), ramp, size=(8,), stride=(4,))
    assert only.share.tolist() == [0, 1, 1, 1, 0] and (only.control, only.largest) == (0, 1)
    content = phase_map(FirstPixels(12), ramp, size=(8,), stride=(4,))
    assert content.control == 1 and content.largest == 0, "a whole stride does the same"
    same = phase_map(classifier(2), objects(2, size=21), size=(18, 18), stride=(3, 3))
    assert same.largest < 1e-20 and same.moved.max() < 1e-20


def test_the_whole_stride_that_is_named_is_the_one_that_was_subtracted() -> None:
    """A shift along one axis is compared with a whole stride along that axis, not along both."""
    moved = np.array([[0.0, 0.3, 0.4], [0.9, 0.95, 0.97], [0.6, 0.7, 0.99]])
    share = np.array([[0.0, 0.0, 0.0], [0.3, 0.0, 0.0], [0.0, 0.0, 0.0]])
    found = PhaseMap((2, 2), ((0, 1, 2),) * 2, moved, moved, share, control=0.99)
    assert (found.largest, found.beyond) == (0.3, pytest.approx(0.6))
    assert found.largest + found.beyond <= 1
    none = PhaseMap((2, 2), ((0, 1, 2),) * 2, moved, moved, 0 * share, control=0.99)
    assert (none.largest, none.beyond) == (0, 0.99)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("images", [2, 3, 8])
def test_no_share_is_above_one(seed: int, images: int) -> None:
    """The image of another seed is the shifted one, so that shares of 1 and more are expected."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(2, 6, 5, 4), nn.ReLU(), nn.Flatten(), nn.Linear(54, 3))
    noisy = torch.randn(images, 2, 20, 20, generator=torch.Generator().manual_seed(seed))
    phases = phase_map(net, noisy, size=(16, 16), stride=(4, 4))
    for shares in (phases.share, phases.moved):
        assert shares.min() >= 0 and shares.max() <= 1
    assert (phases.share <= phases.moved).all() and phases.share.max() > 0
    pairs = consistency(net, noisy, size=(16, 16), pairs=1, seed=seed)
    assert 0 < pairs.share <= 1
    places = place_map(net, noisy[..., :16, :16], stride=(4, 4))
    assert places.share is not None and 0 < places.share <= 1


def test_the_share_of_a_shift_is_that_of_its_variance() -> None:
    """Outputs made of a part for the image and one for the shift, of known variances."""
    draws = torch.Generator().manual_seed(0)
    image, *shifts = torch.randn(3, 20_000, 2, generator=draws, dtype=torch.float64)
    for part in (0.0, 0.5, 1.0, 2.0):
        made = [image + part * shift for shift in shifts]
        assert float(shift_share(*made)) == pytest.approx(part**2 / (1 + part**2), abs=0.01)
    assert float(shift_share(shifts[0], shifts[1])) == pytest.approx(1, abs=0.02)
    tiny = 1 + 1e-9 * image
    assert float(shift_share(tiny, tiny.flip(0))) == 0, "rounding errors are no variance"


def test_the_variance_between_images_may_be_that_of_others() -> None:
    net, images = nn.Flatten().double(), noise_images((1, 12), 40).double()
    given = {"size": (8,), "stride": (4,)}
    others = images[:, :, 2:10].flatten(1)
    many = phase_map(net, images, **given)
    few = phase_map(net, images[:2], **given, others=others)
    slow = np.array(
        [float(((images[:2, 0, o : o + 8] - images[:2, 0, :8]) ** 2 / 2).mean()) for o in range(5)]
    )
    variance = float(others.numpy().var(0, ddof=1).mean())
    assert np.allclose(few.moved, slow / np.maximum(slow, variance))
    assert np.allclose(few.share, np.maximum(slow - slow[4], 0) / np.maximum(slow, variance))
    assert many.moved.max() <= 1 and few.moved.max() <= 1 and (few.share <= few.moved).all()


def test_one_image_is_too_few_for_phases() -> None:
    with pytest.raises(SettingsError, match="at least 2"):
        phase_map(classifier(1), objects(1, count=1), size=(18,), stride=(3,))


# --- places --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_to_an_invariant_network_all_places_are_alike(dims: int):
    images = noise_images((1, *[12] * dims), 5).double()
    found = place_map(classifier(dims, mode="circular"), images, places=4)
    assert found.object == (3,) * dims
    assert found.offsets == ((0, 3, 6, 9),) * dims
    assert np.allclose(found.response, 1, atol=1e-10)
    assert (found.agreement == 1).all()
    assert found.share == pytest.approx(0, abs=1e-20)


def test_a_border_that_loses_paths_answers_less():
    torch.manual_seed(0)
    net = nn.Sequential(*(nn.Conv1d(1, 1, 3) for _ in range(4)), nn.AdaptiveAvgPool1d(1)).double()
    found = place_map(net, noise_images((1, 32), 4).double(), object_size=(2,), stride=(2,))
    assert found.response[0] < 0.5 * found.response.max() > found.response[-1]
    assert found.response.mean() == pytest.approx(1)


def test_to_a_fully_connected_network_the_place_matters():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Tanh()).double()
    found = place_map(net, noise_images((1, 8, 8), 6).double(), stride=(1, 1))
    assert found.share > 0.3
    assert found.agreement.min() < 1
    assert found.agreement[found.agreement.shape[0] // 2, found.agreement.shape[1] // 2] == 1


def test_places_keep_the_phase_of_the_stride():
    """A stride of 2 and one phase: nothing differs but for the border, which pads circularly."""
    net = classifier(1, stride=2, mode="circular")
    images = noise_images((1, 18), 4).double()
    found = place_map(net, images, object_size=(4,), places=5)
    assert found.offsets == ((0, 4, 8, 10, 14),)
    assert all(offset % 2 == 0 for offset in found.offsets[0])
    assert np.allclose(found.response, 1)
    odd = place_map(net, images, object_size=(4,), stride=(1,), places=5)
    assert not np.allclose(odd.response, 1)


def test_of_a_dense_output_the_size_of_the_response_is_told():
    net = classifier(2, mode="circular")[:4]
    found = place_map(net, noise_images((1, 12, 12), 3).double())
    assert found.agreement is None
    assert found.share is None
    assert np.allclose(found.response, 1)
    with pytest.raises(SettingsError, match="with and without"):
        place_map(net, torch.ones(2, 1, 12, 12))
    with pytest.raises(SettingsError, match="larger images"):
        place_map(net, torch.rand(2, 1, 12, 12), object_size=(13, 1))


# --- equivariance --------------------------------------------------------------------------------


def stack(dims: int, layers: int, **settings: object) -> nn.Sequential:
    conv = CONVOLUTIONS[dims - 1]
    return nn.Sequential(
        conv(1, 2, 3, **settings), *(conv(2, 2, 3, **settings) for _ in range(layers - 1))
    ).double()


def noise(dims: int, size: int) -> torch.Tensor:
    return noise_images((1, *[size] * dims), 2).double()


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_without_padding_maps_move_with_the_image(dims: int):
    net = stack(dims, 3, stride=2)
    found = equivariance(net, noise(dims, 39), size=(31,) * dims, layers=["0", "1", "2"])
    assert [each.stride for each in found] == [(2,) * dims, (4,) * dims, (8,) * dims]
    for each in found:
        assert each.shift == (8,) * dims
        assert len(each.relative) > 0
        assert each.relative.max() < 1e-12
        assert each.overall < 1e-12
        assert each.psnr.min() > 200


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_padding_is_felt_as_far_as_it_reaches(dims: int):
    """n layers of 3 taps carry it n cells: there it is 0, before it is not."""
    size = 13 if dims == 3 else 21
    net = stack(dims, 4, padding=1)
    found = equivariance(net, noise(dims, size), size=(size - 1,) * dims, layers=["0", "3"])
    for each, reach in zip(found, (1, 4), strict=True):
        assert len(each.relative) > reach + 1
        assert (each.relative[:reach] > 1e-6).all()
        assert (each.relative[reach:] < 1e-12).all()
        assert each.relative.argmax() == 0
        assert each.psnr[0] == each.psnr.min() < 60


def test_distances_and_errors_like_their_slow_twin():
    """One image, one axis, one channel; everything by hand."""
    net = nn.Conv1d(1, 1, 5, padding=2, stride=2, bias=False).double()
    images = noise_images((1, 18), 1).double()
    (found,) = equivariance(net, images, size=(16,))
    here, moved = images[..., :16], images[..., 2:]
    with torch.no_grad():
        still, other = net(here)[0, 0].numpy(), net(moved)[0, 0].numpy()
    cells = len(still)
    pairs = []
    for cell in range(cells - 1):
        source = cell + 1
        near = min(cell, cells - 1 - cell, source, cells - 1 - source)
        pairs.append((near, still[source], other[cell]))
    truth = np.array([value for _, value, _ in pairs])
    for distance in range(cells // 2):
        errors = [(a - b) ** 2 for near, a, b in pairs if near == distance]
        if not errors:
            assert distance >= len(found.relative)
            continue
        error = math.sqrt(np.mean(errors))
        assert found.relative[distance] == pytest.approx(error / truth.std(), abs=1e-12)
        if error > 1e-9:
            peak = 20 * math.log10(truth.max() - truth.min())
            assert found.psnr[distance] == pytest.approx(peak - 20 * math.log10(error))
    assert found.relative[0] > 1e-3


def test_each_axis_moves_by_its_own_stride():
    net = nn.Conv3d(1, 1, 3, stride=(1, 2, 3), padding=0).double()
    (found,) = equivariance(net, noise(3, 15), size=(12, 12, 12))
    assert found.stride == found.shift == (1, 2, 3)
    assert found.overall < 1e-12


class UpAndDown(nn.Module):
    """Dense output whose inside has a stride of 4."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv1d(1, 2, 4, stride=4)
        self.up = nn.ConvTranspose1d(2, 1, 4, stride=4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.up(torch.tanh(self.down(x)))


def test_a_dense_output_moves_with_the_whole_stride_only():
    net, images = UpAndDown().double(), noise(1, 48)
    whole = equivariance(net, images, size=(40,))
    assert [(each.layer, each.shift) for each in whole] == [("down", (4,)), ("", (4,))]
    assert all(each.overall < 1e-12 for each in whole)
    (alone,) = equivariance(net, images, size=(40,), layers=[""])
    assert alone.shift == (1,)
    assert (alone.relative > 1e-3).all(), "one pixel breaks it everywhere"


def test_exact_maps_have_no_finite_psnr():
    (found,) = equivariance(nn.Conv1d(1, 1, 1), torch.rand(2, 1, 9), size=(8,))
    assert (found.relative == 0).all()
    assert np.isinf(found.psnr).all()
    assert set(found.to_dict()["psnr"]) == {None}


def test_windows_without_room_are_refused():
    net = stack(1, 3, stride=2, padding=1)
    with pytest.raises(SettingsError, match="larger images"):
        equivariance(net, noise(1, 20), size=(16,))
    with pytest.raises(SettingsError, match="larger size"):
        equivariance(net, noise(1, 24), size=(8,), layers={"2": (8,)})
    with pytest.raises(SettingsError, match="one whole number"):
        equivariance(net, noise(1, 24), size=(8, 8), layers=["2"])
    assert set(find_layers(net, (1, 16))) == {"0", "1", ""}
