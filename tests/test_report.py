"""Drawings, figures, tables and pages: right to a part of a pixel, legible, and harmless."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from shutil import which
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from placewise import report
from placewise.errors import ImageError, SettingsError
from placewise.geometry import ratio_of, rescale
from placewise.metrics import KEYPOINT_METRICS, Metric, score_table
from placewise.report import parts, run
from placewise.report.drawing import (
    as_rgb,
    keypoints,
    save_image,
    to_jpeg,
    to_png,
)
from placewise.report.marks import draw_keypoint
from placewise.report.parts import Report
from placewise.report.run import making_section, training_section
from placewise.report.sheets import legend_of, sheet
from placewise.report.style import DARK, LIGHT, POINT_COLOURS, mark
from placewise.report.text import table
from placewise.tasks.classes import report as classes
from placewise.tasks.keypoints import report as keypoint_report
from placewise.tasks.keypoints.report import KEYPOINT_WORDS, keypoint_sections, keypoint_tiles
from placewise.wording import number, printable, share

SIZES = [(5, 9), (28, 28), (60, 41), (120, 160), (480, 640), (1300, 700)]
NATIVE = (1, 100_000)


def changed(image: np.ndarray, points: Any, **more: Any) -> np.ndarray:
    """How much drawing the points changed each pixel of the drawing.

    On black every ink is a gain, so the sum is linear in what a mark covers of a pixel.
    """
    names = [str(i) for i in range(np.shape(points)[-2])]
    kept = {key: value for key, value in more.items() if key == "side"}
    blank = keypoints(image, np.full(np.shape(points), np.nan), names, **kept)
    return np.abs(keypoints(image, points, names, **more).astype(float) - blank).sum(2)


def centroid(weight: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[: weight.shape[0], : weight.shape[1]]
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


# --- drawing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("hollow", [False, True])
def test_a_keypoint_stands_where_its_numbers_say(size: tuple[int, int], hollow: bool) -> None:
    image = np.zeros((*size, 1), np.uint8)
    rng = np.random.default_rng(0)
    for index in range(0, 21, 5):  # discs, squares and diamonds
        point = rng.uniform(0.2, 0.8, 2) * (size[1] - 1, size[0] - 1)
        points = np.full((21, 2), np.nan)
        points[index] = point if index % 2 else point.round()
        weight = changed(image, points, scores=np.full(21, 0.1 if hollow else 0.9))
        expected = rescale(points[index], ratio_of(size, weight.shape))
        assert np.abs(centroid(weight) - expected).max() < 0.05


def test_the_first_pixel_of_a_small_image_is_marked_in_its_middle() -> None:
    weight = changed(np.zeros((6, 8, 3), np.uint8), [[0.0, 0.0]])
    zoom = weight.shape[1] // 8
    assert weight.shape == (6 * zoom, 8 * zoom) and zoom == 60
    assert np.abs(centroid(weight) - (zoom - 1) / 2).max() < 0.05
    assert weight[zoom:].sum() == 0 and weight[:, zoom:].sum() == 0


@pytest.mark.parametrize("shift", [0, 7])
def test_a_keypoint_at_the_border_is_the_same_keypoint_cut(shift: int) -> None:
    rng = np.random.default_rng(1)
    large = rng.integers(0, 255, (90, 120, 3), np.uint8)
    small = large[20:70, 30:90]
    points = np.array([[-0.5, -0.5], [0.0, 30.0], [59.0, 49.0], [59.5, 0.0], [20.0 + shift, 9.3]])
    names = list("abcde")
    more: dict[str, Any] = {"truth": points + 5, "radii": np.full(5, 9.0), "side": NATIVE}
    cut = keypoints(small, points, names, **more)
    more["truth"] = more["truth"] + np.array([30, 20])
    whole = keypoints(large, points + np.array([30, 20]), names, **more)
    assert np.array_equal(cut, whole[20:70, 30:90])


def test_a_disc_covers_what_finer_pixels_say() -> None:
    point, radius, fine = np.array([9.3, 10.8]), 4.0, 32
    canvas = np.full((21, 21, 3), 255, np.uint8)
    draw_keypoint(canvas, point, 0, radius)
    place = (np.arange(21 * fine) + 0.5) / fine - 0.5
    inside = np.hypot(place[None] - point[0], place[:, None] - point[1]) < radius + 1.8
    slow = inside.reshape(21, fine, 21, fine).mean((1, 3))
    rim = canvas.min(2) < 250
    assert abs(slow.sum() - np.pi * (radius + 1.8) ** 2) < 0.1
    assert rim[slow > 0.2].all() and not rim[slow == 0].any()


@pytest.mark.parametrize("level", range(0, 256, 51))
@pytest.mark.parametrize(
    "tint", [(1.0, 1.0, 1.0), (1.0, 0.2, 0.2), (0.2, 1.0, 0.2), (0.2, 0.2, 1.0)]
)
def test_a_keypoint_shows_on_any_background(level: int, tint: tuple[float, float, float]) -> None:
    image = np.empty((64, 64, 3), np.uint8)
    image[:] = np.array(tint) * level
    for index in range(len(POINT_COLOURS)):
        for score in (0.9, 0.1):
            points = np.full((7, 2), np.nan)
            points[index] = 32.0
            drawn = keypoints(image, points, list("abcdefg"), scores=np.full(7, score))
            light = drawn @ [0.2126, 0.7152, 0.0722]
            assert np.abs(light - light[0, 0]).max() > 60


def test_hollow_keypoints_show_what_they_mark() -> None:
    image = np.full((480, 640, 1), 77, np.uint8)
    sure, unsure = ([[200.0, 100.0]], [0.9]), ([[200.0, 100.0]], [0.2])
    assert (keypoints(image, sure[0], ["a"], scores=sure[1])[100, 200] == mark(0)[0]).all()
    assert (keypoints(image, unsure[0], ["a"], scores=unsure[1])[100, 200] == 77).all()
    assert (keypoints(image, unsure[0], ["a"], scores=[0.2], threshold=0.1)[100, 200] != 77).any()
    assert (keypoints(image, unsure[0], ["a"], scores=[np.nan])[100, 200] != 77).any()


def test_lines_circles_and_crosses() -> None:
    image = np.full((200, 300, 1), 90, np.uint8)
    weight = changed(image, [[50.0, 60.0]], truth=[[150.0, 60.0]], radii=[30.0])
    zoom = weight.shape[1] // 300
    at = {angle: np.deg2rad(angle) for angle in range(30, 331, 10)}
    middle = rescale(np.array([50.0, 60.0]), zoom)
    for angle in at.values():
        x, y = np.rint(middle + 30 * zoom * np.array([np.cos(angle), np.sin(angle)])).astype(int)
        assert weight[y, x] > 50
        x, y = np.rint(middle + 24 * zoom * np.array([np.cos(angle), np.sin(angle)])).astype(int)
        assert weight[y, x] == 0
    row = int(rescale(np.array([0.0, 60.0]), zoom)[1])
    assert (weight[row, 62 * zoom : 140 * zoom] > 30).all()
    x, y = np.rint(rescale(np.array([150.0, 60.0]), zoom)).astype(int)
    assert weight[y, x] > 150


def test_a_skeleton_joins_what_is_there() -> None:
    image = np.zeros((100, 100, 1), np.uint8)
    points = [[10.0, 50.0], [90.0, 50.0], [np.nan, np.nan]]
    bones = [("a", "b"), ("b", "c"), ("a", "unknown")]
    drawn = keypoints(image, points, list("abc"), skeleton=bones)
    assert drawn[252, 250].max() > 150 or drawn[250, 250].max() > 150
    assert drawn[100, 250].max() == 0


def test_what_is_no_number_or_far_away_is_not_drawn() -> None:
    image = np.full((40, 40, 3), 50, np.uint8)
    points = np.array([[np.nan, 3.0], [np.inf, 3.0], [1e300, -1e300], [5e5, -4e5], [-900.0, 20.0]])
    drawn = keypoints(image, points, list("abcde"), truth=points[::-1], radii=np.full(5, np.inf))
    assert drawn.shape == (480, 480, 3)
    blank = keypoints(image, np.full((5, 2), np.nan), list("abcde"))
    far = keypoints(image, points[:4], list("abcd"))
    assert np.array_equal(far, blank)


def test_several_instances_are_drawn_alike() -> None:
    image = np.zeros((400, 500, 1), np.uint8)
    points = np.array([[[50.0, 50.0], [90.0, 50.0]], [[350.0, 300.0], [390.0, 300.0]]])
    drawn = keypoints(image, points, ["a", "b"], scores=np.ones((2, 2)))
    assert np.array_equal(drawn[20:80, 20:130], drawn[270:330, 320:430])


def test_a_crop_shows_the_image_about_the_keypoints() -> None:
    y, x = np.mgrid[:200, :250]
    image = np.stack([x, y, 0 * x], 2).astype(np.uint8)
    rng = np.random.default_rng(3)
    for _ in range(30):
        points = rng.uniform(0, 1, (3, 2)) * (249, 199) * rng.uniform(0.1, 1)
        shown = keypoints(image, np.full((3, 2), np.nan), list("abc"), truth=points, crop=True)
        weight = np.where((shown == 16).all(2) | (shown[..., 2] > 20), 1.0, 0.0)
        left, top = (int(v) for v in shown[0, 0, :2]) if weight[0, 0] == 0 else (0, 0)
        right, bottom = (int(v) for v in shown[-1, -1, :2]) if weight[-1, -1] == 0 else (249, 199)
        assert left <= points[:, 0].min() + 0.5 and right >= points[:, 0].max() - 0.5
        assert top <= points[:, 1].min() + 0.5 and bottom >= points[:, 1].max() - 0.5
        keypoint = keypoints(image, points[:1], ["a"], crop=True)
        seen = (keypoint == mark(0)[0]).all(2)
        zoom, corner = (
            keypoint.shape[1] / (keypoint[-1, -1, 0] - keypoint[0, 0, 0] + 1.0),
            keypoint[0, 0, :2],
        )
        expected = rescale(points[0] - corner, zoom)
        assert np.abs(centroid(seen.astype(float)) - expected).max() < 1.0
    everything = keypoints(image, np.full((3, 2), np.nan), list("abc"), crop=True)
    assert (everything[0, 0, :2] == 0).all() and tuple(everything[-1, -1, :2]) == (249, 199)


def test_a_drawing_leaves_its_arguments_as_they_are() -> None:
    image = np.random.default_rng(0).integers(0, 255, (600, 700, 3), np.uint8)
    points = np.array([[5.0, 6.0]])
    before = image.copy(), points.copy()
    keypoints(image, points, ["a"], truth=points, radii=[3.0], legend=True)
    assert np.array_equal(image, before[0]) and np.array_equal(points, before[1])


def test_images_of_all_kinds_are_shown() -> None:
    ramp = np.linspace(0, 1, 256)[None, :, None].repeat(4, 0)
    eight = as_rgb((ramp * 255).round().astype(np.uint8))
    assert np.array_equal(as_rgb(ramp), eight)
    assert np.array_equal(as_rgb(ramp.astype(np.float32)), eight)
    dim = as_rgb((1000 + ramp * 900).astype(np.uint16))  # a tenth of a 12-bit range
    assert np.abs(dim.astype(int) - eight).max() <= 2
    assert as_rgb(np.full((3, 3, 4), 9, np.uint8)).shape == (3, 3, 3)
    assert as_rgb(np.full((3, 3, 1), 7, np.uint16)).max() == 0
    assert as_rgb(np.full((2, 2, 1), np.nan)).max() == 0


@pytest.mark.parametrize(
    ("image", "points", "more", "words"),
    [
        (np.zeros((4, 4)), [[1, 1]], {}, "the image has 1 axes"),
        (np.zeros((4, 4, 2)), [[1, 1]], {}, "1, 3 or 4 channels"),
        (np.zeros((0, 4, 1)), [[1, 1]], {}, "at least one pixel"),
        (np.zeros((4, 4, 1)), [[1, 1], [2, 2]], {}, "for 1 names"),
        (np.zeros((4, 4, 1)), [[1, 1]], {"truth": [[1, 1], [2, 2]]}, "truth of shape (2, 2)"),
        (np.zeros((4, 4, 1)), [[1, 1]], {"radii": [[1]]}, "radii of shape (1, 1)"),
        (np.zeros((4, 4, 1)), [[1, 1]], {"scores": [1, 1]}, "scores of shape (2,)"),
    ],
)
def test_what_does_not_fit_is_refused(image: Any, points: Any, more: Any, words: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(words)):
        keypoints(image, points, ["a"], **more)


def test_the_longer_side_is_kept_within_its_limits() -> None:
    for height, width in [*SIZES, (1, 5000), (5000, 1), (1, 1), (3000, 4000)]:
        drawn = keypoints(np.zeros((height, width, 1), np.uint8), [[0, 0]], ["a"])
        assert 480 <= max(drawn.shape[:2]) <= 1280
        assert (
            keypoints(np.zeros((height, width, 1), np.uint8), [[0, 0]], ["a"], side=(1, 8)).size
            <= 192
        )


def test_a_sheet_holds_every_image_and_its_caption() -> None:
    images = [np.full((30 + 10 * i, 60, 3), 20 * i + 10, np.uint8) for i in range(7)]
    captions = [f"{'folder/' * 30}{i}.png\n\x1b" for i in range(7)]
    for columns in (None, 1, 3, 7, 9):
        made = sheet(images, captions, columns=columns, tile=120)
        for i in range(7):
            assert (made == 20 * i + 10).all(2).sum() > 100 * 50
    dark = sheet(images, captions, names=["nose"], theme=DARK)
    assert tuple(dark[0, 0]) == (0x14, 0x17, 0x1A)
    for wrong in ([], captions[:3]):
        with pytest.raises(SettingsError, match="a caption for each"):
            sheet(images[: 0 if not wrong else 7], wrong)


def test_legends_hold_any_names() -> None:
    names = ["x", "名前", "a" * 3000, "", "‮rtl", *map(str, range(60))]
    for width in (80, 400, 1280):
        strip = legend_of(names, width)
        assert strip.shape[1] == width and strip.dtype == np.uint8
    few, many = legend_of(["a"], 400), legend_of(names, 400)
    assert few.shape[0] < many.shape[0]
    drawn = keypoints(np.zeros((60, 60, 1), np.uint8), [[3, 3]], ["a"], legend=True)
    assert drawn.shape == (480 + few.shape[0], 480, 3)


def test_files(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (30, 50, 3), np.uint8)
    save_image(tmp_path / "a.png", image)
    save_image(tmp_path / "a.png", image)
    assert np.array_equal(np.array(Image.open(tmp_path / "a.png")), image)
    assert to_png(image) == (tmp_path / "a.png").read_bytes()
    with pytest.raises(ImageError, match="could not be written"):
        save_image(tmp_path / "missing" / "a.png", image)
    (tmp_path / "a.jpg").write_bytes(to_jpeg(image, 25))
    with Image.open(tmp_path / "a.jpg") as small:
        assert small.size == (25, 15)


# --- style -----------------------------------------------------------------------------------


def linear(colour: tuple[int, ...]) -> np.ndarray:
    values = np.array(colour) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear RGB, white D65."""
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    xyz = to_xyz @ rgb / (to_xyz @ np.ones(3))
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def hex_rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


DICHROMATS = {  # Viénot, Brettel & Mollon 1999, on linear RGB
    "none": np.eye(3),
    "protanope": np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]]),
    "deuteranope": np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]),
}


@pytest.mark.parametrize("eye", DICHROMATS)
def test_point_colours_differ_for_every_eye(eye: str) -> None:
    seen = [lab((DICHROMATS[eye] @ linear(colour)).clip(0, 1)) for colour in POINT_COLOURS]
    apart = [np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i]]
    assert len(apart) == 21 and min(apart) > 9


def test_marks_are_all_different() -> None:
    assert len({mark(i) for i in range(21)}) == 21 and mark(21) == mark(0)


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_words_can_be_read(theme: Any) -> None:
    def contrast(one: str, other: str) -> float:
        light = sorted(float(linear(hex_rgb(c)) @ [0.2126, 0.7152, 0.0722]) for c in (one, other))
        return (light[1] + 0.05) / (light[0] + 0.05)

    for background in (theme.paper, theme.card):
        assert min(contrast(ink, background) for ink in (theme.ink, theme.muted)) >= 4.5  # WCAG AA
    for series in (theme.first, theme.second, theme.third):
        assert contrast(series, theme.paper) >= 3


# --- figures ---------------------------------------------------------------------------------

LOG: list[dict[str, Any]] = [
    *({"step": s, "loss": 3 / s, "learning_rate": 1e-3} for s in range(1, 101)),
    *({"step": s, "val_error_px": 50.0 / s} for s in range(10, 101, 10)),
    {"step": 100, "val_error_px": None},
    {"step": 101, "loss": float("nan")},
]
BY_POINT: list[dict[str, Any]] = [
    {"point": "nose $x$", "count": 9, "mean_error_px": 2.0, "median_error_px": 1.5,
     "p95_error_px": 5.0},
    {"point": "名前 \x1b", "count": 0, "mean_error_px": None, "median_error_px": None,
     "p95_error_px": None},
    {"point": "tail" * 30, "count": 5, "mean_error_px": 1.0, "median_error_px": 0.0,
     "p95_error_px": 2.0},
]  # fmt: skip
BY_BORDER: list[dict[str, Any]] = [
    {"from_share": 0.0, "to_share": 0.05, "count": 0, "mean_error_px": None},
    {"from_share": 0.05, "to_share": 1.0, "count": 1200, "mean_error_px": 2.5},
]
NAMES = ["cat $x$", "名前 \x1b"]
BINS: list[dict[str, Any]] = [
    {"from": 0.0, "to": 0.5, "images": 0, "confidence": None, "accuracy": None},
    {"from": 0.5, "to": 1.0, "images": 4, "confidence": 0.8, "accuracy": 0.5},
]
FIGURES: dict[str, tuple[Any, Any, Any]] = {
    "curves": (lambda log, *theme: run.curves(log, keypoint_report.VALIDATION, *theme), LOG, []),
    "errors_by_point": (keypoint_report.errors_by_point, BY_POINT, []),
    "errors_by_border": (keypoint_report.errors_by_border, BY_BORDER, BY_BORDER[:1]),
    "error_curve": (keypoint_report.error_curve, [[0.0, 0.5], [np.nan, 9.0]], [np.nan]),
    "confusion_map": (
        lambda counts, *theme: classes.confusion_map(counts, NAMES[: len(counts)], *theme),
        [[3, 1], [0, 4]],
        [[0]],
    ),
    "reliability_diagram": (classes.reliability_diagram, BINS, []),
    "class_counts": (
        classes.class_counts,
        [(name, {"train": 3, "val": 1, "test": 0}) for name in NAMES],
        [("cat", {})],
    ),
}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Figures as objects instead of bytes."""
    for module in (run, keypoint_report, classes):
        monkeypatch.setattr(module, "png", lambda figure: figure)
    return SimpleNamespace(**{name: make for name, (make, _, _) in FIGURES.items()})


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_images_and_always_the_same(name: str) -> None:
    make, full, empty = FIGURES[name]
    for theme in (LIGHT, DARK):
        for content in (full, empty):
            first = make(content, theme)
            image = Image.open(__import__("io").BytesIO(first))
            assert image.size[0] == 950 and len(first) < 120_000
            assert image.convert("RGB").getpixel((0, 0)) == hex_rgb(theme.paper)
            assert make(content, theme) == first


def test_every_figure_is_tested() -> None:
    public = {
        f.name
        for module in (run, keypoint_report, classes)
        for f in ast.parse(Path(module.__file__ or "").read_text(encoding="utf-8")).body
        if isinstance(f, ast.FunctionDef) and f.returns and ast.unparse(f.returns) == "bytes"
    }
    assert public == set(FIGURES)


def test_curves_show_the_log(drawn: SimpleNamespace) -> None:
    above, below = drawn.curves(LOG).axes
    steps, losses = above.lines[0].get_data()
    assert steps.tolist() == list(range(1, 101)) and np.allclose(losses, 3 / steps)
    steps, found = below.lines[0].get_data()
    assert steps.tolist() == list(range(10, 101, 10)) and np.allclose(found, 50 / steps)
    assert "best: 0.5 px at step 100" in below.get_title(loc="right")
    equal = [{**line, "val_error_px": 5.0} if "val_error_px" in line else line for line in LOG]
    assert "at step 100" in drawn.curves(equal).axes[1].get_title(loc="right"), "the one kept"


@pytest.mark.usefixtures("drawn")
def test_no_share_above_all_is_on_an_axis() -> None:
    log = [{"step": step, "f1": 1.0} for step in (10, 20)]
    figure: Any = run.curves(log, Metric("f1", "F1", "%", "", "higher"))
    assert figure.axes[1].get_ylim()[1] < 101


@pytest.mark.parametrize(
    ("size", "column"), [((30, 40), "grid"), ((30, 60), "grid wide"), ((30, 160), "grid widest")]
)
def test_wide_images_have_room_in_a_report(size: tuple[int, int], column: str) -> None:
    image = np.zeros((*size, 3), np.uint8)
    shown = parts.Photographs([("a", image), ("b", image)], "Image").html(iter(["data:"] * 2))
    assert f'<div class="{column}">' in shown


def test_the_smoothed_loss_is_a_running_mean() -> None:
    for count in (0, 1, 2, 39, 40, 41, 200):
        values = np.random.default_rng(count).normal(size=count)
        half = count // 40
        slow = []
        for i in range(count):
            reach = min(i, count - 1 - i, half)
            slow.append(np.mean(values[i - reach : i + reach + 1]))
        assert np.allclose(run._smooth(values), slow)


def test_errors_by_point_are_sorted_and_cut(drawn: SimpleNamespace) -> None:
    axes = drawn.errors_by_point(BY_POINT).axes[0]
    assert [label.get_text()[:4] for label in axes.get_yticklabels()] == ["tail", "nose"]
    assert r"\$" in axes.get_yticklabels()[1].get_text()
    assert axes.lines[0].get_xdata().tolist() == [0.0, 1.5]
    assert axes.lines[1].get_xdata().tolist() == [1.0, 2.0]
    many = [{**BY_POINT[0], "point": str(i), "mean_error_px": i + 1.0} for i in range(300)]
    shown = [text.get_text() for text in drawn.errors_by_point(many).axes[0].get_yticklabels()]
    assert shown == [str(i) for i in range(300 - keypoint_report.SHOWN, 300)]


def test_bars_by_border_distance_and_counts(drawn: SimpleNamespace) -> None:
    axes = drawn.errors_by_border(BY_BORDER).axes[0]
    assert [bar.get_height() for bar in axes.patches] == [0.0, 2.5]
    assert [text.get_text() for text in axes.texts] == ["none", "1,200"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0–5", "5–100"]


def test_the_error_curve_counts(drawn: SimpleNamespace) -> None:
    errors = np.random.default_rng(0).gamma(2.0, 2.0, 400)
    line = drawn.error_curve(errors).axes[0].lines[0]
    distance, part = line.get_data()
    for limit in np.linspace(1.0, 12, 40):
        shown = part[distance <= limit].max(initial=0)
        assert abs(shown - 100 * np.mean(errors <= limit)) < 1e-9


def test_nothing_global_changes() -> None:
    code = (
        "import sys\n"
        "import placewise.report.text\n"
        "light = {'torch', 'matplotlib', 'numpy', 'PIL', 'rich'} & set(sys.modules)\n"
        "assert not light, light\n"
        "from placewise.report.parts import Report\n"
        "from placewise.tasks.keypoints.report import VALIDATION\n"
        "from placewise.report.run import training_section\n"
        "assert 'matplotlib' not in sys.modules\n"
        "import matplotlib\n"
        "before = matplotlib.rcParams.copy()\n"
        "Report('a', 'b', [training_section([{'step': 1, 'loss': 2.0}], VALIDATION)]).html()\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert before == matplotlib.rcParams.copy()\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_a_report_imports_no_step() -> None:
    files = sorted(Path(report.__file__).parent.glob("*.py"))
    assert len(files) >= 8
    for file in files:
        found = {
            name
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            for name in (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else []
            )
            if name.startswith("placewise")
        }
        names = ("errors", "geometry", "images", "metrics", "report", "wording")
        allowed = tuple(f"placewise.{name}" for name in names)
        steps = {name for name in found - {"placewise"} if not name.startswith(allowed)}
        assert not steps, (file.name, steps)


# --- text ------------------------------------------------------------------------------------


def test_nothing_steers_the_terminal() -> None:
    letters = [chr(code) for code in [*range(0x3100), *range(0xD7F0, 0x11000), 0xE0001, 0xE0020]]
    cleaned = printable("".join(letters))
    assert cleaned.encode("utf-8").decode() == cleaned
    for bad in (
        "\x1b",
        "\x00",
        "\n",
        "\r",
        "\x9b",
        "\u202e",
        "\u2066",
        "\u200b",
        "\ud800",
        "\ufeff",
    ):
        assert bad not in cleaned and printable(bad).startswith("\\")
    assert printable("Näse 名前 é") == "Näse 名前 é"


def test_tables_are_aligned() -> None:
    rows = [["a", "1"], ["名前", "22.5"], ["e\u0301e", "3"], ["x\x1by", "–"]]
    lines = table(["point", "px"], rows, numbers=[1]).splitlines()
    assert len(lines) == 6
    assert lines[2:] == ["a          1", "名前    22.5", "e\u0301e         3", "x\\x1by     –"]


def test_a_long_last_cell_is_wrapped() -> None:
    words = " ".join(["word"] * 60)
    lines = table(["score", "value", "meaning"], [["a", "1", words], ["b", "2", ""]], [1]).split(
        "\n"
    )
    assert max(map(len, lines)) <= 100 and len(lines) > 5
    assert " ".join(line[len("score  value  ") :] for line in lines[2:-1]) == words
    assert lines[-1] == "b          2" and all(not line[:12].strip() for line in lines[3:-1])
    wide = table(["a", "b"], [["x" * 90, words]]).split("\n")
    assert len(wide) == 3, "a column that would be too narrow to read is left as it is"
    assert len(table(["a", "b"], [["x", "9" * 150]], [1]).split("\n")) == 3, "numbers are not cut"


def scores(count: int = 3) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 60, (8, count, 2))
    visibility = rng.integers(1, 4, (8, count)).astype(np.int8)
    found = score_table(
        names=[f"point {k}" for k in range(count)],
        sizes=np.full((8, 2), 64),
        truth=truth,
        visibility=visibility,
        predicted=truth + rng.normal(size=truth.shape),
        scores=rng.uniform(size=(8, count)),
        radii=rng.uniform(1, 3, (8, count)),
    )
    extra = {"split": "test", "decode_floor_px": 0.01, "mean_position_baseline_px": 99.5}
    return {**found, **extra}


def run_report(
    title: str,
    verdict: str,
    scores: dict[str, Any],
    log: list[dict[str, Any]] | None = None,
    settings: dict[str, Any] | None = None,
    versions: dict[str, str] | None = None,
    fingerprint: str = "",
    notes: tuple[str, ...] = (),
    **shown: Any,
) -> Report:
    """The report of a run of keypoints, as evaluation builds it."""
    sections = [
        *keypoint_sections(scores, **shown),
        training_section(log or [], keypoint_report.VALIDATION),
        making_section(settings or {}, versions or {}, fingerprint),
    ]
    return Report(title, verdict, sections, keypoint_tiles(scores), notes, KEYPOINT_WORDS)


def test_every_score_is_named_and_shown() -> None:
    found = scores()
    report = run_report("run", "verdict", found)
    text, page = report.text(), report.html()
    shown = {tuple(metric.name.split("/")) for metric in KEYPOINT_METRICS}
    counts = {"images", "points", "located", "split", "by_point", "by_border_distance"}
    leaves = {
        (key, inner) if isinstance(value, dict) else (key,)
        for key, value in found.items()
        if key not in counts
        for inner in (value if isinstance(value, dict) else [""])
    } - {("pck", "norm"), ("presence", "present"), ("presence", "absent")}
    shown -= {("mean_error_mm",), ("mean_error_ms",)}  # of volumes and of signals
    assert leaves == shown and len(shown) > 10
    for metric in (one for one in KEYPOINT_METRICS if one.unit not in ("mm", "ms")):
        assert metric.of(found) is not None
        for place in (text, page):
            assert metric.label in place and metric.shown(metric.of(found)) in place
    for row in found["by_point"]:
        assert row["point"] in text and number(row["mean_error_px"]) in text


def test_scores_that_are_missing_are_no_error() -> None:
    for empty in ({}, {"presence": {"recall": None}, "radius": None, "pck": None, "by_point": []}):
        report = run_report("run", "verdict", empty)
        assert report.text() == "verdict\n\nNo score could be measured."
        assert "No score could be measured." in report.html()


def test_numbers_are_short() -> None:
    assert [number(v) for v in (0.05, 1.0, 9.999, 99.96, 100.0, 1e7, -3.14159, float("inf"))] == [
        "0.05", "1.0", "10.0", "100.0", "100", "10,000,000", "-3.14", "inf",
    ]  # fmt: skip
    assert [share(v) for v in (0.0, 0.5, 0.12345, float("nan"))] == ["0 %", "50 %", "12.3 %", "–"]


# --- pages -----------------------------------------------------------------------------------

RUN = "window.ran=1"
PAYLOADS = [
    *(
        f"<{tag} {event}={RUN}>"
        for tag in ("svg", "body", "details open", "input autofocus", "video", "marquee")
        for event in ("onload", "onfocus", "ontoggle", "onerror", "onstart")
    ),
    f"<script>{RUN}</script>",
    f"<ScRiPt>{RUN}</sCrIpT>",
    f"</style><script>{RUN}</script>",
    f"</title><script>{RUN}</script>",
    f"</main></body><script>{RUN}</script>",
    f"--><script>{RUN}</script><!--",
    f"]]><script>{RUN}</script>",
    f"<img src=x onerror={RUN}>",
    f'"><img src=x onerror={RUN}>',
    f"'><img src=x onerror={RUN}>",
    f'" onload="{RUN}" x="',
    f"' onmouseover='{RUN}' x='",
    f'" autofocus tabindex=1 onfocus="{RUN}',
    f"` onerror={RUN} `",
    f"<iframe srcdoc='<script>parent.ran=1</script>'></iframe>{RUN}",
    f"<iframe src=javascript:parent.{RUN}></iframe>",
    f"<a href=javascript:{RUN}>press</a>",
    f"<object data='data:text/html,<script>{RUN}</script>'></object>",
    f"<embed src='data:text/html,<script>{RUN}</script>'>",
    "<img src=http://127.0.0.1:9/leak.png>",
    "<link rel=stylesheet href=http://127.0.0.1:9/leak.css>",
    "<meta http-equiv=refresh content='0;url=http://127.0.0.1:9/'>",
    "<base href=http://127.0.0.1:9/>",
    "<form action=http://127.0.0.1:9/><button autofocus>",
    "<style>@import 'http://127.0.0.1:9/leak.css';</style>",
    "}</style><style>body{background:url(http://127.0.0.1:9/leak)}",
    "&lt;script&gt;&#60;script&#62;&quot;&amp;",
    "&#x3c;script>window.ran=1&#x3c;/script>",
    f"\x00<\x00script>{RUN}</script>",
    f"\ud83c<script>{RUN}</script>\udfff",
    f"\u202e>tpircs/<1=nar.wodniw>tpircs<\u202c<svg/onload={RUN}>",
    f"<math><mtext><table><mglyph><style><img src=x onerror={RUN}>",
    f"<noscript><p title='</noscript><img src=x onerror={RUN}>'>",
    f"<template><script>{RUN}</script></template><svg><script>{RUN}</script></svg>",
    "{{constructor.constructor('window.ran=1')()}}${window.ran=1}<%= window.ran=1 %>",
]  # fmt: skip


class Tags(HTMLParser):
    """Elements of a page, their attributes, and the text that is shown."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.links: list[str] = []
        self.shown = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        links = {"src", "srcset", "href", "action", "data", "background", "poster"}
        self.links += [value or "" for name, value in attrs if name in links]

    def handle_data(self, data: str) -> None:
        self.shown += data


def page_of(words: str) -> str:
    """A page all of whose words are the given ones."""
    image = np.zeros((8, 8, 3), np.uint8)
    return run_report(
        title=words,
        verdict=words,
        scores={
            "split": words,
            "images": 3,
            "pck": {"norm": words, "0.02": 0.5},
            "by_point": [{**BY_POINT[0], "point": words}],
            "by_border_distance": BY_BORDER,
            words: 1,
        },
        log=[{"step": 1, "loss": 2.0, words: words}],
        best=[(words, image)],
        worst=[(words, image)],
        settings={words: {words: words}, "list": [words, (words,)]},
        versions={words: words},
        fingerprint=words,
        notes=(words,),
    ).html()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without the work of drawing figures."""
    pixel = to_png(np.zeros((1, 1, 3), np.uint8))
    for name in FIGURES:
        for module in (run, keypoint_report, classes):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, lambda *_, **__: pixel)


def test_no_word_becomes_markup(quick: None) -> None:
    assert len(PAYLOADS) >= 60
    plain = Tags(page_of("harmless"))
    for payload in PAYLOADS:
        page = page_of(payload)
        tags = Tags(page.encode("utf-8").decode())
        assert tags.tags == plain.tags
        assert tags.shown.count(printable(payload)) >= 12
        assert all(link.startswith("data:") for link in tags.links)
        assert "<script" not in page.lower()


def test_a_page_says_what_it_is_first_and_closes_what_it_opens() -> None:
    page = run_report("my run", "The keypoints are 2 px off.", scores(), log=LOG).html()
    tags = Tags(page)
    body = page.index("<body>")
    assert page.index("<h1>The keypoints are 2 px off.</h1>") < body + 60
    void = {"br", "img", "link", "meta", "source"}
    for tag in {tag for tag, _ in tags.tags} - void:
        assert len(re.findall(f"<{tag}[ >]", page)) == page.count(f"</{tag}>"), tag
    images = [names for tag, names in tags.tags if tag == "img"]
    assert len(images) >= 3 and all("alt" in names for names in images)
    assert 'lang="en"' in page and "Content-Security-Policy" in page
    assert page.index("Content-Security-Policy") < page.index("<style>")


def test_a_page_is_small_whatever_it_holds(quick: None) -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (300, 450, 3), np.uint8) for _ in range(3)]
    for count in (4, 24):
        cards = [(f"image {i}" * 200, noise[i % 3]) for i in range(count)]
        long = {f"setting {i}": "x" * 5000 for i in range(1000)}
        many = scores(3) | {
            "by_point": [{**BY_POINT[0], "point": f"point {i}" * 100} for i in range(2000)]
        }
        page = run_report(
            "run", "verdict" * 100, many, best=cards, worst=cards, settings=long
        ).html()
        assert len(page.encode()) < 3_000_000
        shown = page.count("data:image/jpeg")
        assert (shown < 2 * count) == ("more images are not shown" in page)
        assert shown >= 8 and "more rows are not shown" in page


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, if this machine has one."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = which("chromium") or which("chromium-browser") or which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine: install it to test pages in a browser")
    with sync_api.sync_playwright() as playwright:
        arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
        ]
        chromium = playwright.chromium.launch(executable_path=path, args=arguments)
        yield chromium
        chromium.close()


def look(browser: Any, file: Path, **options: Any) -> dict[str, Any]:
    """What a browser does with a page: requests, dialogs, errors, and what it shows."""
    context = browser.new_context(**options)
    tab = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.goto(file.as_uri())
    tab.wait_for_timeout(150)
    found = {
        "asked": [url for url in asked if not url.startswith(("data:", file.as_uri()))],
        "said": said,
        "ran": tab.evaluate("window.ran"),
        "text": tab.inner_text("body"),
        "heading": tab.inner_text("h1"),
        "wide": tab.evaluate("document.documentElement.scrollWidth"),
        "broken": tab.evaluate("[...document.images].filter(i => !i.naturalWidth).length"),
        "images": tab.evaluate("document.images.length"),
        "paper": tab.evaluate("getComputedStyle(document.body).backgroundColor"),
    }
    context.close()
    return found


@pytest.mark.parametrize("bypass", [False, True])
def test_a_browser_runs_and_asks_nothing(
    browser: Any, quick: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bypass: bool
) -> None:
    """Also where the page's own policy is switched off."""
    file = tmp_path / "report.html"
    monkeypatch.setattr(parts, "LETTERS", 10_000)  # nothing is cut off
    file.write_text(page_of(" ".join(PAYLOADS)), encoding="utf-8")
    found = look(browser, file, bypass_csp=bypass)
    assert found["asked"] == [] and found["said"] == [] and found["ran"] is None
    assert all(" ".join(printable(p).split()) in found["text"] for p in PAYLOADS[:40])


def test_the_browser_test_would_notice(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "bad.html"
    file.write_text("<h1>a</h1><script>window.ran=1</script><img src=http://127.0.0.1:9/x.png>")
    found = look(browser, file)
    assert found["ran"] == 1 and len(found["asked"]) == 1 and found["said"]


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with everything on it."""
    image = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    shown = run_report(
        "my_run",
        "The keypoints are 2 px off.",
        scores(17),
        log=LOG,
        best=[("a" * 200, image)] * 3,
        worst=[("b.png", image)] * 3,
        errors=np.arange(50.0),
        settings={"model": {"names": ["a" * 40] * 17}},
        fingerprint="f" * 64,
    )
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(shown.html(), encoding="utf-8")
    return file


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_the_verdict_at_any_width(
    browser: Any, page_file: Path, width: int, scheme: str
) -> None:
    size = {"width": width, "height": 900}
    found = look(browser, page_file, viewport=size, color_scheme=scheme)
    assert found["heading"] == "The keypoints are 2 px off." and found["text"].startswith(
        "The keypoints"
    )
    assert found["asked"] == [] and found["said"] == []
    assert found["wide"] <= width and found["broken"] == 0 and found["images"] >= 10
    paper = hex_rgb((LIGHT if scheme == "light" else DARK).paper)
    assert found["paper"] == f"rgb({', '.join(map(str, paper))})"
