"""The demo's images: honest, the same for the same seed, and the points where the ink is."""

import csv
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from placewise.demo import demo_of, run_demo
from placewise.errors import SettingsError
from placewise.formats import read_dataset
from placewise.geometry import border_distance, inside
from placewise.labels import Visibility
from placewise.progress import console
from placewise.tasks import TASKS
from placewise.tasks.keypoints import demo
from placewise.tasks.keypoints.demo import LEAST_INK, NAMES, SIZES, split_of, write_images
from placewise.wording import IMAGES_OF

IMAGES = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "new" / "digits"
    assert write_images(folder, images=IMAGES) == folder / "points.csv"
    return folder


@pytest.fixture(scope="module")
def stocks() -> dict[str, demo._Stock]:
    return demo._stocks()


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "points.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# --- the folder ----------------------------------------------------------------------------------


def test_the_folder_holds_images_points_and_a_readme(folder: Path):
    images = [f"images/{number:04d}.png" for number in range(IMAGES)]
    assert set(files_of(folder)) == {"README.txt", "points.csv", *images}
    rows = rows_of(folder)
    assert [(row["image"], row["keypoint"]) for row in rows] == [
        (image, name) for image in images for name in NAMES
    ]
    readme = (folder / "README.txt").read_text(encoding="utf-8")
    assert all(column in readme for column in rows[0]), "the README explains every column"


def test_our_own_reader_reads_it(folder: Path):
    labels = read_dataset(folder)
    assert labels.names == NAMES
    assert len(labels.samples) == IMAGES
    assert {sample.size for sample in labels.samples} <= set(SIZES)
    assert len({sample.size for sample in labels.samples}) >= 4
    shares = Counter(sample.split for sample in labels.samples)
    assert shares == {"train": 28, "val": 6, "test": 6}
    for sample in labels.samples:
        assert set(sample.visibility.ravel().tolist()) == {Visibility.ABSENT, Visibility.VISIBLE}
        assert 3 <= sample.located.sum() <= 6
        assert inside(sample.points[sample.located], sample.size).all()


def test_some_points_are_near_the_border_and_every_name_occurs(folder: Path):
    labels = read_dataset(folder)
    near = [
        border_distance(sample.points[sample.located], sample.size) < 10
        for sample in labels.samples
    ]
    assert 0.1 < np.concatenate(near).mean() < 0.5
    assert sum(sample.located.any(0) for sample in labels.samples).min() >= 5


def test_the_same_seed_is_the_same_bytes(folder: Path, tmp_path: Path):
    write_images(tmp_path / "again", images=IMAGES)
    assert files_of(tmp_path / "again") == files_of(folder)


def test_an_image_does_not_depend_on_how_many_there_are(folder: Path, tmp_path: Path):
    write_images(tmp_path / "few", images=3)
    for number in range(3):
        image = f"images/{number:04d}.png"
        assert (tmp_path / "few" / image).read_bytes() == (folder / image).read_bytes()
    assert rows_of(tmp_path / "few") == rows_of(folder)[:30]


def test_another_seed_is_other_images(folder: Path, tmp_path: Path):
    write_images(tmp_path, images=2, seed=1)
    other = files_of(tmp_path)
    assert other.keys() == {"README.txt", "points.csv", "images/0000.png", "images/0001.png"}
    assert all(other[name] != files_of(folder)[name] for name in other if name != "README.txt")


@pytest.mark.parametrize("make", [Path.touch, lambda path: (path.mkdir(), (path / "x").touch())])
def test_what_is_there_is_not_touched(tmp_path: Path, make):
    make(tmp_path / "mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SettingsError, match="name a new"):
        write_images(tmp_path / "mine", images=1)
    assert sorted(tmp_path.rglob("*")) == before


def test_no_images_are_not_written(tmp_path: Path):
    with pytest.raises(SettingsError, match="cannot write 0 images"):
        write_images(tmp_path / "a", images=0)
    assert not (tmp_path / "a").exists()


def test_without_scikit_learn_the_way_to_get_it_is_told(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(SettingsError, match=r'pip install "placewise\[demo\]"'):
        write_images(tmp_path / "a", images=1)
    assert not (tmp_path / "a").exists()


# --- honesty -------------------------------------------------------------------------------------


def test_no_digit_stands_in_two_splits(stocks: dict[str, demo._Stock]):
    digits = {
        split: Counter(digit.tobytes() for kind in stock.digits for digit in kind)
        for split, stock in stocks.items()
    }
    assert sum(digits.values(), Counter()) == Counter(
        (image / 16).tobytes() for image in load_digits().images
    )
    for one, other in combinations(digits.values(), 2):
        assert not one & other


def test_every_split_has_plenty_of_each_digit(stocks: dict[str, demo._Stock]):
    for split, least in (("train", 110), ("val", 15), ("test", 15)):
        assert min(len(kind) for kind in stocks[split].digits) >= least
    target = load_digits()
    for kind in range(10):
        known = {(image / 16).tobytes() for image in target.images[target.target == kind]}
        assert all(digit.tobytes() in known for digit in stocks["test"].digits[kind])


def test_no_part_of_a_photograph_stands_in_two_splits(stocks: dict[str, demo._Stock]):
    for photo in range(2):
        columns = {
            split: {column.tobytes() for column in stock.photos[photo].swapaxes(0, 1)}
            for split, stock in stocks.items()
        }
        assert sum(map(len, columns.values())) == 640
        for one, other in combinations(columns.values(), 2):
            assert not one & other


def test_the_splits_of_twenty_images():
    assert Counter(map(split_of, range(40, 60))) == {"train": 14, "val": 3, "test": 3}


# --- the demos of all tasks -----------------------------------------------------------------------

MADE = [(name, axes) for name in TASKS.names() for axes in getattr(TASKS[name].demo, "made", ())]


def test_every_task_has_a_demo_and_spots_and_masks_one_of_signals_and_volumes():
    assert {name for name, axes in MADE if axes == 2} == set(TASKS.names())
    assert {("spots", 1), ("spots", 3), ("masks", 1), ("masks", 3)} <= set(MADE)
    with pytest.raises(SettingsError, match="'poses' makes images; volumes are made for: masks, s"):
        demo_of("poses", 3)


@pytest.mark.parametrize(("task", "axes"), MADE)
def test_what_a_demo_makes_is_read_as_its_own_task(task: str, axes: int, tmp_path: Path):
    """It is of the wanted axes, the same for the same seed, and the README names all that is there.

    The task is found from what lies there, as for a folder of the user's.
    """
    made = demo_of(task, axes).made[axes]
    path = made.write(tmp_path / "a", images=10, seed=3)
    held = read_dataset(path if task == "spots" else tmp_path / "a", task=task)
    assert held.task == task and len(held.samples) == 10
    assert held.samples[0].split == "train"
    assert {len(sample.size) for sample in held.samples} == {axes}
    assert held.image(held.samples[9].image).shape[:-1] == held.samples[9].size
    assert (held.images.spacing(held.samples[0].image) is None) == (axes == 2)
    assert made.what.startswith(IMAGES_OF[axes]) and (tmp_path / "a" / IMAGES_OF[axes]).is_dir()
    made.write(tmp_path / "b", images=3, seed=3)
    first, again = files_of(tmp_path / "a"), files_of(tmp_path / "b")
    drawn = [name for name in again if name.endswith((".png", ".npz"))]
    assert len(drawn) >= 3 and all(again[name] == first[name] for name in drawn)
    readme = (tmp_path / "a" / "README.txt").read_text(encoding="utf-8")
    for table in (tmp_path / "a").glob("*.csv"):
        columns = table.read_text(encoding="utf-8").split("\n")[0].split(",")
        assert all(column in readme for column in columns), table
    assert all(
        file.name in readme for file in (tmp_path / "a").iterdir() if file.name != "README.txt"
    )


@pytest.mark.parametrize("axes", [1, 3])
def test_made_spots_and_masks_lie_where_the_labels_say(axes: int, tmp_path: Path):
    """Full spots and masks are dark; what is around them is lighter."""
    spots = read_dataset(
        demo_of("spots", axes).made[axes].write(tmp_path / "s", images=6, seed=0), task="spots"
    )
    full = spots.names.index("dip" if axes == 1 else "grain")
    seen = 0
    for sample in spots.samples:
        pixels = spots.image(sample.image)[..., 0].astype(float)
        for place in sample.points[sample.located[:, full], full].round().astype(int):
            if (place > 2).all() and (place < np.array(pixels.shape[::-1]) - 3).all():
                box = tuple(slice(at - 1, at + 2) for at in place[::-1])
                assert pixels[box].mean() < np.median(pixels) - 0.1 * np.ptp(pixels)
                seen += 1
    assert seen > 5
    masks = read_dataset(
        demo_of("masks", axes).made[axes].write(tmp_path / "m", images=6, seed=0), task="masks"
    )
    assert masks.names == ({1: "stretch", 3: "thread"}[axes],)
    for sample in masks.samples:
        mask, pixels = masks.mask(sample) > 0, masks.image(sample.image)[..., 0].astype(float)
        assert 0.01 < mask.mean() < 0.6
        assert pixels[~mask].mean() - pixels[mask].mean() > 0.05 * np.ptp(pixels)


# --- the points ----------------------------------------------------------------------------------


class Fixed:
    """Draws what it is told to draw."""

    def __init__(self, *values: object) -> None:
        self.values = list(values)

    def uniform(self, *_: object) -> object:
        return self.values.pop(0)


def gravity(ink: np.ndarray) -> np.ndarray:
    """Slow twin: (x, y) centre of gravity, one pixel after another."""
    total = np.zeros(2)
    for y, row in enumerate(ink.tolist()):
        for x, weight in enumerate(row):
            total += np.array([x, y]) * weight
    return total / ink.sum()


def test_the_point_is_the_centre_of_gravity(stocks: dict[str, demo._Stock]):
    rng = np.random.default_rng(0)
    for kind in stocks["train"].digits:
        for digit in kind[:5]:
            glyph = demo._glyph(digit, rng)
            np.testing.assert_allclose(glyph.centre, gravity(glyph.ink), atol=1e-9)
            assert not glyph.ink[[0, 1, 2, -3, -2, -1]].any(), "the patch holds the whole digit"
            assert not glyph.ink[:, [0, 1, 2, -3, -2, -1]].any()


def test_the_point_moves_with_the_digit_by_parts_of_a_pixel(stocks: dict[str, demo._Stock]):
    for kind in stocks["train"].digits:
        here = demo._glyph(kind[0], Fixed(3.0, 0.0, np.zeros(2))).centre
        for shift in ([0.25, 0.0], [0.0, -0.4], [0.3, 0.3]):
            there = demo._glyph(kind[0], Fixed(3.0, 0.0, np.array(shift))).centre
            np.testing.assert_allclose(there - here, shift, atol=0.08)


def test_the_point_turns_and_grows_with_the_digit(stocks: dict[str, demo._Stock]):
    """So it stays the right point under the warps of the augmentation."""
    middle = np.full(2, demo._PATCH / 2 - 0.5)  # of the 8 × 8, when it is not shifted
    turn = np.array([[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]])
    for kind in stocks["train"].digits:
        here = demo._glyph(kind[1], Fixed(3.0, 0.0, np.zeros(2))).centre - middle
        there = demo._glyph(kind[1], Fixed(3.3, np.degrees(0.1), np.zeros(2))).centre - middle
        np.testing.assert_allclose(there, turn @ here * 1.1, atol=0.1)


def test_the_ink_is_at_the_points_and_nowhere_else(stocks: dict[str, demo._Stock]):
    """On a plain dark ground all that is light is a digit, and each digit has its point."""
    plain = demo._Stock([np.full((200, 200, 3), 40.0)], stocks["train"].digits)
    alone = 0
    for seed in range(60):
        image, points = demo._scene(plain, np.random.default_rng(seed))
        grid = np.stack(np.meshgrid(*map(np.arange, image.shape[1::-1])), -1)
        light = image.max(-1) > 60
        assert points
        reach = [abs(grid - point).max(-1) <= 20 for point in points.values()]
        assert not (light & ~np.any(reach, 0)).any()
        for point, near in zip(points.values(), reach, strict=True):
            assert (light & near).any()
            clear = sum((window & near).any() for window in reach) == 1
            if clear and border_distance(point, light.shape) > 20:
                alone += 1
                centre = gravity(near * (image.max(-1) > 128))
                assert abs(centre - point).max() <= 0.4
    assert alone >= 15


def test_most_of_the_ink_is_on_the_image(stocks: dict[str, demo._Stock]):
    rng, size = np.random.default_rng(0), (60, 80)
    margin = demo._PATCH
    shown = np.pad(np.ones(size, bool), margin)
    shares = []
    for number in range(200):
        glyph = demo._glyph(stocks["test"].digits[number % 10][0], rng)
        corner = demo._place(glyph, shown, np.zeros(shown.shape, bool), rng)
        assert corner is not None
        assert inside(corner - margin + glyph.centre, size)
        window = np.s_[corner[1] : corner[1] + margin, corner[0] : corner[0] + margin]
        shares.append((glyph.ink * shown[window]).sum() / glyph.ink.sum())
    assert LEAST_INK <= min(shares) < 0.9, "some are cut"


def test_the_point_of_a_lopsided_digit_is_on_the_image():
    ink = np.zeros((demo._PATCH, demo._PATCH))
    ink[24, 10:40] = ink[18:31, 26:40] = 1
    glyph = demo._Glyph(ink, np.array([24.2, 24.0]))
    rng, shown = np.random.default_rng(0), np.pad(np.ones((60, 30), bool), demo._PATCH)
    for _ in range(1000):
        corner = demo._place(glyph, shown, np.zeros(shown.shape, bool), rng)
        assert corner is not None
        assert inside(corner - demo._PATCH + glyph.centre, (60, 30))


def test_a_full_image_takes_no_more(stocks: dict[str, demo._Stock]):
    rng = np.random.default_rng(0)
    glyph = demo._glyph(stocks["test"].digits[0][0], rng)
    shown = np.pad(np.ones((60, 80), bool), demo._PATCH)
    assert demo._place(glyph, shown, np.ones(shown.shape, bool), rng) is None


@pytest.mark.parametrize("grey", [0, 60, 127, 128, 200, 255])
def test_strokes_stand_out_from_any_ground(stocks: dict[str, demo._Stock], grey: int):
    rng = np.random.default_rng(grey)
    for _ in range(20):
        glyph = demo._glyph(stocks["test"].digits[8][0], rng)
        canvas = np.full((*glyph.ink.shape, 3), float(grey))
        demo._draw(canvas, glyph.ink, rng)
        assert canvas.min() >= 0
        assert canvas.max() <= 255
        stroke = canvas[glyph.ink == 1].mean()
        assert abs(stroke - grey) > 70
        assert abs(stroke - canvas[(glyph.ink > 0) & (glyph.ink < 0.2)].mean()) > 70


def test_the_images_are_ordinary_colour_images(folder: Path):
    images = sorted((folder / "images").iterdir())
    assert len(images) == IMAGES
    for path in images:
        with Image.open(path) as image:
            assert (image.mode, image.format) == ("RGB", "PNG")


def test_the_whole_demo_in_small(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Images, training, scores and keypoints; far too short to be good at it."""
    out = tmp_path / "demo"
    with console():
        scores = run_demo(out, minutes=0.05, seed=0, images=20)
    told = capsys.readouterr().err
    assert (scores["split"], scores["images"]) == ("test", 3)
    assert 0 <= scores["within_3_px_and_said"] <= scores["within_3_px"] <= 1
    report = out / "run" / "evaluation" / "report.html"
    assert report.is_file() and f"report: {report}" in told
    assert len(list((out / "keypoints" / "overlays").glob("*.png"))) == 20
    assert (out / "keypoints" / "predictions.csv").is_file()


def test_near_is_a_distance_and_said_needs_a_score(folder: Path, tmp_path: Path):
    labels = read_dataset(folder)
    sample = labels.samples[0]
    there = np.flatnonzero(sample.located[0])
    rows = ["image,keypoint,x,y,score,radius_90"]
    for number, (step, score) in enumerate([(0.0, 0.9), (2.9, 0.1), (3.1, 0.9)]):
        x, y = sample.points[0, there[number]]
        rows.append(f"{sample.image},{NAMES[there[number]]},{x + step},{y},{score},")
    (tmp_path / "predictions.csv").write_text("\n".join(rows))
    assert demo.within(tmp_path / "predictions.csv", labels) == pytest.approx((2 / 3, 1 / 3))
