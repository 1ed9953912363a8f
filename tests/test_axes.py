"""One code path for signals, images and volumes: scale, spacing, normalisation, augmentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

import placewise
from conftest import blob, write_signals, write_volumes
from placewise.augment import Augmentation, generator, homographies, move_points, warp_image
from placewise.errors import DataError, ImageError, SettingsError, ShapeError
from placewise.geometry import ratio_of, rescale
from placewise.images import resize
from placewise.labels import (
    Arrays,
    ClassDataset,
    ClassSample,
    Files,
    KeypointDataset,
    KeypointSample,
    SpotDataset,
)
from placewise.model import InputSettings, as_input, choose_input, shown_size
from placewise.model.inputs import CEILING, FLOOR, HIGH, LOW, normalised
from placewise.model.spectrogram import RANGE, Spectrogram
from placewise.readers import reader_of
from placewise.report.drawing import planes_of
from placewise.tasks import build, choose_model

SIZES = [(90,), (40, 50), (24, 30, 28)]
DIMS = [f"{len(size)}d" for size in SIZES]

FULL = Augmentation(flip=True, rotate=40, scale=(0.8, 1.3), shear=12, translate=0.1)


def centre(image: np.ndarray) -> np.ndarray:
    """(x, y, …) of the middle of an image's brightness."""
    return np.array(ndimage.center_of_mass(image[..., 0].astype(float)))[::-1]


# Size and spacing


@pytest.mark.parametrize("size", SIZES, ids=DIMS)
def test_resizing_goes_axis_by_axis(size: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).random((*size, 2)).astype(np.float32)
    target = tuple(max(1, round(0.6 * side)) for side in size)
    slow = image.astype(np.float64)
    for axis, (side, wanted) in enumerate(zip(size, target, strict=True)):
        ratio = side / wanted
        middles = (np.arange(wanted) + 0.5) * ratio
        weights = np.maximum(0, 1 - np.abs(np.arange(side) + 0.5 - middles[:, None]) / ratio)
        weights /= weights.sum(1, keepdims=True)
        slow = np.moveaxis(np.tensordot(weights, slow, (1, axis)), 0, axis)
    assert np.abs(resize(image, target) - slow).max() < 1e-5


@pytest.mark.parametrize("size", SIZES, ids=DIMS)
def test_points_follow_the_resized_image(size: tuple[int, ...]) -> None:
    place = np.array(size[::-1]) * 0.4
    target = tuple(round(side * f) for side, f in zip(size, (0.7, 0.5, 0.6), strict=False))
    shown = resize(blob(size, place, 3.0), target)
    assert np.abs(centre(shown) - rescale(place, ratio_of(size, target))).max() < 0.05


def view_of(size: tuple[int, ...], **more: object) -> InputSettings:
    given = {"scale": 1.0, "size": size, "channels": 1, "mean": (0.5,), "std": (0.2,), **more}
    return InputSettings.model_validate(given)


def test_voxels_of_the_network_are_as_far_apart_along_every_axis() -> None:
    view = view_of((32, 32, 32), pitch=0.5, normalise="each")
    assert shown_size((10, 40, 60), view, (2.0, 0.5, 0.25)) == (40, 40, 30)
    assert shown_size((10, 40, 60), view) == (10, 40, 60)
    ball = blob((30, 30, 30), np.array([15.0, 14.0, 12.0]), 3.0)[::3]
    shown = as_input(ball, view, (1.5, 0.5, 0.5))
    assert shown.shape == (30, 30, 30, 1)
    seen = shown[..., 0] > 0.6
    spans = [np.ptp(axis) for axis in np.nonzero(seen)]
    assert max(spans) - min(spans) <= 2


def test_signals_of_two_rates_are_brought_to_one() -> None:
    view = view_of((100,), pitch=1 / 250, normalise="each")
    assert shown_size((360,), view, (1 / 360,)) == (250,)


@pytest.mark.parametrize("size", [(5000,), (40, 50), (24, 30, 28)], ids=DIMS)
def test_the_input_is_chosen_for_any_number_of_axes(size: tuple[int, ...]) -> None:
    arrays = np.random.default_rng(0).random((4, *size, 1)).astype(np.float32)
    samples = tuple(
        KeypointSample(f"a/{k:05d}", size, np.full((1, 1, len(size)), 3.0), np.array([[3]], "i1"))
        for k in range(4)
    )
    dataset = Held.of(arrays, samples)
    model = build(choose_model(dataset, samples, backbone_settings={"width": 16}))
    view = model.input
    assert view.axes == len(size) and view.size == ((4096,) if len(size) == 1 else size)
    assert view.scale == 1.0 and view.normalise == ("set" if len(size) == 2 else "each")
    found = model.eval().predict(arrays[0] if len(size) == 2 else 900 * arrays[0] - 7)
    assert found.keypoints.shape == (1, len(size)) and found.size == size
    with pytest.raises(ShapeError):
        model.predict(np.zeros((2, 2, 2, 2, 2, 2)))


class Held(KeypointDataset):
    """Keypoints on arrays."""

    arrays: np.ndarray

    @classmethod
    def of(cls, arrays: np.ndarray, samples: tuple[KeypointSample, ...]) -> Held:
        made = cls(Path(), ("one",), samples)
        object.__setattr__(made, "arrays", arrays)
        return made

    @property
    def images(self) -> Arrays:
        return Arrays({"a": self.arrays})


def test_images_of_several_numbers_of_axes_are_refused() -> None:
    samples = (ClassSample("a", (9, 9), 0), ClassSample("b", (9,), 1))
    with pytest.raises(DataError, match=r"'a' has 2 axes, and 'b' 1"):
        choose_input(ClassDataset(Path(), ("c", "d"), samples), samples, None, 0)


# Normalisation


@pytest.mark.parametrize("size", SIZES, ids=DIMS)
def test_a_normalised_image_is_the_same_at_every_gain_and_offset(size: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).gamma(2.0, size=(*size, 1)).astype(np.float32)
    first = normalised(image)
    assert np.abs(normalised(1e4 * image - 3e3) - first).max() < 1e-3
    low, high = np.percentile(first, (LOW, HIGH))
    assert (low, high) == pytest.approx((FLOOR, CEILING), abs=1e-3)
    assert np.all(normalised(np.full((*size, 1), 7.0)) == np.float32(FLOOR))


@pytest.mark.parametrize(("gains", "chosen"), [((1, 1, 0.8), "set"), ((1, 0.1, 0.05), "each")])
def test_images_are_normalised_one_by_one_where_they_differ(
    gains: tuple[float, ...], chosen: str
) -> None:
    rng = np.random.default_rng(0)
    arrays = np.stack([gain * rng.random((20, 30, 1)) for gain in gains]).astype(np.float32)
    samples = tuple(
        KeypointSample(f"a/{k:05d}", (20, 30), np.full((1, 1, 2), 3.0), np.array([[3]], "i1"))
        for k in range(3)
    )
    assert choose_input(Held.of(arrays, samples), samples, None, 0).normalise == chosen


# Augmentation


@pytest.mark.parametrize("size", SIZES, ids=DIMS)
def test_points_move_as_the_pixels_under_them(size: tuple[int, ...]) -> None:
    place = np.array(size[::-1]) * 0.5 + 1.5
    image = blob(size, place)
    seen = np.array([3], np.int8)
    for number in range(12):
        warp = FULL.draw(generator(0, number, "a"), size, size, place.tolist())
        moved, _ = move_points(place[None], seen, warp)
        shown = warp_image(image, warp, "zeros")
        assert np.abs(centre(shown) - moved[0]).max() < 0.25, number


def test_a_volume_is_turned_in_each_of_its_planes() -> None:
    size = (21, 21, 21)
    middle = np.array([10.0, 10.0, 10.0])
    for plane, (one, other) in enumerate(homographies.planes(3)):
        angles = [0.0, 0.0, 0.0]
        angles[plane] = 90.0
        arm = np.zeros(3)
        arm[one] = 4.0
        moved = homographies.rotate(size, angles).forward(middle + arm) - middle
        expected = np.zeros(3)
        expected[other] = -4.0
        assert moved == pytest.approx(expected)
    turn = homographies.rotate(size, (20.0, -35.0, 50.0)).matrix[:3, :3]
    assert turn @ turn.T == pytest.approx(np.eye(3))
    assert np.linalg.det(turn) == pytest.approx(1.0)


@pytest.mark.parametrize("size", SIZES, ids=DIMS)
def test_a_mirrored_image_changes_left_and_right(size: tuple[int, ...]) -> None:
    warps = [FULL.draw(generator(0, n, "a"), size, size) for n in range(30)]
    assert {warp.mirrors for warp in warps} == {False, True}


@pytest.mark.parametrize("what", ["perspective", "elastic"])
@pytest.mark.parametrize("size", [SIZES[0], SIZES[2]], ids=["1d", "3d"])
def test_what_is_of_images_is_refused_for_others(what: str, size: tuple[int, ...]) -> None:
    ranges = Augmentation.of(**{what: 0.05})
    with pytest.raises(SettingsError, match="images of two axes"):
        ranges.draw(generator(0, 0, "a"), size, size)


@pytest.mark.parametrize("size", SIZES, ids=DIMS)
def test_brightness_noise_and_blur_are_of_any_number_of_axes(size: tuple[int, ...]) -> None:
    image = blob(size, np.array(size[::-1]) / 2)
    ranges = Augmentation(blur=2.0)
    shown = ranges.photometric(image, generator(0, 1, "a"))
    assert shown.shape == image.shape and shown.min() >= 0 and shown.max() <= 1
    assert not np.array_equal(shown, image)


# Spectrograms


def test_a_spectrogram_is_its_slow_twin() -> None:
    view = Spectrogram(window=32, hop=8)
    signal = np.random.default_rng(0).normal(size=(200, 2))
    padded = np.concatenate([np.zeros((16, 2)), signal, np.zeros((32, 2))])
    times = np.arange(32)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * (times + 0.5) / 32)
    slow = np.zeros((16, 26, 2))
    for column in range(26):
        part = padded[8 * column : 8 * column + 32] * hann[:, None]
        for k in range(1, 17):
            wave = np.exp(-2j * np.pi * k * times / 32)
            slow[16 - k, column] = np.abs((part * wave[:, None]).sum(0)) ** 2
    slow = (1 + 10 * np.log10(slow / slow.max()) / RANGE).clip(0, 1)
    assert view.size(200) == (16, 26)
    found = view.map(signal)
    assert np.abs(found[..., :2] - slow).max() < 1e-5
    assert found[:, 0, 2].tolist() == pytest.approx(np.linspace(1, 0, 16).tolist())
    assert np.abs(view.map(300 * signal) - found).max() < 1e-5


def test_silence_has_a_spectrogram_without_a_number_that_is_none() -> None:
    assert np.isfinite(Spectrogram(window=16, hop=4).map(np.zeros((50, 1)))).all()


# From files to reports


@pytest.mark.parametrize(
    ("write", "unit", "columns", "measured"),
    [
        (write_signals, "samples", ["x"], "mean_error_ms"),
        (write_volumes, "voxels", ["x", "y", "z"], "mean_error_mm"),
    ],
    ids=["signals", "volumes"],
)
def test_signals_and_volumes_go_through_every_verb(
    write, unit: str, columns: list[str], measured: str, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    write(data)
    dataset = placewise.read_dataset(data)
    said = str(placewise.check(dataset, out=tmp_path / "check"))
    assert f"< 0.001 {unit}" in said and "image" not in said and " px" not in said
    settings = {"max_steps": 4, "precision": "float32", "backbone_settings": {"width": 16}}
    run = placewise.train(dataset, tmp_path / "run", quiet=True, **settings)
    scores = placewise.evaluate(run, dataset, out=tmp_path / "scores")
    assert scores["unit"] == unit and scores[measured] > 0
    page = (tmp_path / "scores" / "report.html").read_text()
    assert f"error in {unit}" in page and " px<" not in page
    assert (" 2 test recordings " if unit == "samples" else " 2 test volumes ") in page
    about = placewise.predict(run, data, tmp_path / "found")
    assert about["images"] == 10 and not about["skipped"]
    head = (tmp_path / "found" / "predictions.csv").read_text().splitlines()[0]
    assert head == ",".join(["image", "keypoint", *columns, "score", "radius_90"])
    assert len(list((tmp_path / "found" / "overlays").iterdir())) == 10
    again = placewise.load_model(run.path).predict(data / dataset.samples[0].image)
    assert again.keypoints.shape == (1, len(columns))
    placewise.formats.write_dataset(dataset, data / "again.csv")
    read = placewise.read_dataset(data / "again.csv")
    assert all(
        np.array_equal(a.points, b.points)
        for a, b in zip(read.samples, dataset.samples, strict=True)
    )


# Parts of recordings


@pytest.mark.parametrize("name", ["spacing", "voxel_size", "zooms"])
def test_distances_of_an_unknown_unit_are_refused(name: str, tmp_path: Path) -> None:
    path, volume = tmp_path / "a.npz", np.zeros((4, 5, 6), np.float32)
    np.savez(path, volume=volume, **{name: (2.0, 1.0, 1.0)})
    with pytest.raises(ImageError, match=f"array {name} are not known; name it spacing_mm"):
        reader_of(path).facts(path)
    np.savez(path, volume=volume, spacing_mm=(2.0, 1.0, 1.0), **{name: (1.0, 1.0, 2.0)})
    assert reader_of(path).facts(path).spacing == (2.0, 1.0, 1.0)
    np.savez(path, signal=np.zeros(40, np.float32), **{name: 2.0})
    assert reader_of(path).facts(path).spacing is None


def test_a_part_of_a_recording_is_read_as_a_sample_of_its_own(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(100))
    files = Files(tmp_path)
    assert files.read("a.npy[40:60]")[:, 0].tolist() == list(range(40, 60))
    assert files.size("a.npy[40:60]") == (20,)
    assert files.digest("a.npy[40:60]") != files.digest("a.npy")
    with pytest.raises(placewise.errors.ImageError, match="has 100 samples"):
        files.read("a.npy[40:160]")


def test_one_recording_is_split_by_time_and_a_table_says_it_otherwise(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    beats = np.array([10, 55, 61, 95])
    np.savez(tmp_path / "a.npz", signal=np.arange(100.0), fs=10, beats=beats)
    labels = placewise.read_dataset(tmp_path)
    assert isinstance(labels, SpotDataset) and "only recording" in caplog.text
    found = {s.split: s.points[:, 0, 0].tolist() for s in labels.samples}
    assert found == {"train": [10.0, 55.0], "val": [1.0], "test": [28.0]}
    np.savez(tmp_path / "b.npz", signal=np.arange(100.0), fs=10, beats=beats)
    rows = ["image,split,start,stop", "a.npz,train,0,50", "a.npz,test,50,100", "b*,val,,"]
    (tmp_path / "splits.csv").write_text("\n".join(rows) + "\n")
    labels = placewise.read_dataset(tmp_path, splits=tmp_path / "splits.csv")
    assert [(s.image, s.split) for s in labels.samples] == [
        ("a.npz[0:50]", "train"),
        ("a.npz[50:100]", "test"),
        ("b.npz", "val"),
    ]
    assert labels.samples[1].points[:, 0, 0].tolist() == [5.0, 11.0, 45.0]
    assert labels.image("a.npz[50:100]").shape == (50, 1)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (["image,split", "a.npz,never"], "is not a split"),
        (["image,split,start,stop", "a.npz,train,9,3"], "the smaller one first"),
        (["image,split", "z.npz,train"], "names none"),
        (["image,split,start,stop", "a.npz,train,0,300"], "within its samples"),
    ],
)
def test_splits_that_cannot_be_are_refused(rows: list[str], says: str, tmp_path: Path) -> None:
    for name in "ab":
        np.savez(tmp_path / f"{name}.npz", signal=np.arange(100.0), fs=10, beats=np.array([5]))
    (tmp_path / "splits.csv").write_text("\n".join(rows) + "\n")
    with pytest.raises(DataError, match=says):
        placewise.read_dataset(tmp_path, splits=tmp_path / "splits.csv")


def test_a_spectrogram_is_for_classes_of_signals(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    from scipy.io import wavfile

    folder = tmp_path / "recordings"
    folder.mkdir()
    for digit, pitch in (("0", 3.0), ("1", 9.0)):
        for number in range(12):
            tone = np.sin(2 * np.pi * np.arange(int(rng.integers(900, 1400))) / pitch)
            loud = rng.uniform(0.002, 1.0) * 32_000
            wavfile.write(folder / f"{digit}_ann_{number}.wav", 8000, (loud * tone).astype("<i2"))
    dataset = placewise.read_dataset(tmp_path)
    assert [s.split for s in dataset.samples].count("test") == 10
    settings = {
        "max_steps": 30,
        "ema_decay": 0.8,
        "precision": "float32",
        "backbone_settings": {"width": 16},
    }
    run = placewise.train(dataset, tmp_path / "run", quiet=True, spectrogram=True, **settings)
    view = run.facts.model.input
    assert view.axes == 2 and view.image_axes == 1 and view.size[0] == 128
    assert placewise.evaluate(run, dataset, out=tmp_path / "scores")["accuracy"] > 0.7
    placewise.predict(run, folder, tmp_path / "found", overlays=2)
    write_signals(tmp_path)
    points = placewise.read_dataset(tmp_path / "points.csv")
    with pytest.raises(SettingsError, match="leave out --spectrogram"):
        choose_model(points, points.samples, spectrogram=True)


def test_a_plain_module_of_one_or_three_axes_is_a_backbone() -> None:
    from placewise.heads import Heatmap

    for axes, layer in ((1, torch.nn.Conv1d), (3, torch.nn.Conv3d)):
        head = Heatmap(4, keypoints=2, spatial_dims=axes)
        model = placewise.KeypointModel(layer(1, 4, 4, stride=4), head).eval()
        assert model.input.axes == axes
        assert model.predict(np.zeros((21,) * axes)).keypoints.shape == (2, axes)


# --------------------------------------------------------------------------------------------------
# Pictures


def test_slices_of_a_volume_with_uneven_distances_are_true_to_scale() -> None:
    """A ball is as wide as it is high on each, and a place is drawn on the voxel that it names."""
    spacing, middle, radius = (3.0, 1.0, 1.5), (5, 22, 15), 12.0
    axes = np.meshgrid(*map(np.arange, (12, 44, 32)), indexing="ij")
    away = [(a - m) * step for a, m, step in zip(axes, middle, spacing, strict=True)]
    ball = sum(one**2 for one in away) <= radius**2
    volume = np.where(ball, 200, 20).astype(np.uint8)[..., None]
    planes = planes_of(volume, np.array([middle[::-1]], float), spacing=spacing)
    assert len(planes) == 3
    for plane in planes:
        bright = plane.canvas[..., 0] > 128
        high, wide = (np.ptp(np.flatnonzero(bright.any(axis))) + 1 for axis in (1, 0))
        assert high == pytest.approx(wide, rel=0.15)
        for z, y, x in np.argwhere(ball)[::5]:
            place = np.array([[x, y, z]], float)
            if plane.off is not None and plane.off(place)[0] == 0:
                column, row = np.rint(plane.at(place)[0]).astype(int)
                assert bright[row, column]
