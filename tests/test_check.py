"""`placewise check`: counts as a slow twin counts, and every planted fault found and named."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from placewise.checking import Findings, check, write_findings
from placewise.cli import main
from placewise.errors import DataError, SettingsError
from placewise.files import read_json
from placewise.formats import read_dataset
from placewise.labels import SPLITS, KeypointDataset, KeypointSample, Visibility, split_images
from placewise.tasks import task_named
from placewise.training import train

NAMES = ("nose", "tail", "left", "right")
SHAPE = np.array([[0.0, -20.0], [0.0, 20.0], [-8.0, -10.0], [8.0, -10.0]])


def make(folder: Path, count: int = 60, *, seed: int = 0) -> KeypointDataset:
    """Faultless labels: three splits, every point absent once, labels at the border."""
    rng = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    samples = []
    for number in range(count):
        name, size = f"{number:03d}.png", (100, 140)
        angle = rng.uniform(0, 2 * np.pi)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        points = (SHAPE @ turn) * rng.uniform(0.8, 1.2) + rng.uniform(30, 70, 2)
        visibility = np.full(4, Visibility.VISIBLE, np.int8)
        if number < 4:
            points[number] = 1.0, 50.0  # within 5 % of the border
        elif number < 8:
            visibility[number - 4], points[number - 4] = Visibility.ABSENT, np.nan
        visibility[3] = Visibility.HIDDEN if number % 9 == 8 else visibility[3]
        split = ("train", "train", "train", "val", "test")[number % 5]
        Image.fromarray(rng.integers(0, 255, size, np.uint8)).save(folder / name)
        samples.append(KeypointSample(name, size, points[None], visibility[None], split))
    return KeypointDataset(folder, NAMES, tuple(samples), (("left", "right"),))


def changed(labels: KeypointDataset, index: int, **values: Any) -> KeypointDataset:
    """Labels with one sample changed."""
    samples = list(labels.samples)
    samples[index] = replace(samples[index], **values)
    return replace(labels, samples=tuple(samples))


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> KeypointDataset:
    return make(tmp_path_factory.mktemp("clean") / "images")


@pytest.fixture
def own(tmp_path: Path) -> KeypointDataset:
    """Labels whose images a test may spoil."""
    return make(tmp_path / "images")


def without_noses(labels: KeypointDataset) -> KeypointDataset:
    """The nose is labelled on a few images only."""
    for index in range(12, len(labels.samples)):
        visibility = labels.samples[index].visibility.copy()
        visibility[0, 0] = Visibility.UNLABELLED
        points = labels.samples[index].points.copy()
        points[0, 0] = np.nan
        labels = changed(labels, index, visibility=visibility, points=points)
    return labels


def test_faultless_labels_have_nothing_to_warn_of(clean: KeypointDataset) -> None:
    findings = check(clean)
    assert findings.warnings == ()
    assert findings.verdict == "Ready to train: 60 images, 4 keypoints, 236 labels."
    assert str(findings).startswith("Ready to train")


def test_counts_are_those_of_a_slow_count(clean: KeypointDataset) -> None:
    facts = check(clean).facts
    assert facts.splits == {"train": 36, "val": 12, "test": 12} and not facts.split_drawn
    assert facts.sizes == {"140×100": 60} and facts.instances == {1: 60}
    for k, one in enumerate(facts.by_keypoint):
        counts = dict.fromkeys(Visibility, 0)
        near, splits = 0, {"train": 0, "val": 0, "test": 0}
        for sample in clean.samples:
            state = Visibility(int(sample.visibility[0, k]))
            counts[state] += 1
            if state >= Visibility.HIDDEN:
                splits[str(sample.split)] += 1
                x, y = sample.points[0, k]
                nearest = min(x + 0.5, y + 0.5, 139.5 - x, 99.5 - y)
                near += nearest <= 0.05 * 100
        assert one.visible == counts[Visibility.VISIBLE]
        assert one.hidden == counts[Visibility.HIDDEN]
        assert one.absent == counts[Visibility.ABSENT] == 1
        assert one.unlabelled == counts[Visibility.UNLABELLED]
        assert one.near_border == near > 0 and one.by_split == splits
        assert one.keypoint == NAMES[k]
    assert facts.labels == sum(int(sample.located.sum()) for sample in clean.samples)


def test_the_border_band_is_five_percent_of_the_shorter_side(clean: KeypointDataset) -> None:
    inside = {(4.5, 50.0): True, (4.6, 50.0): False, (70.0, 94.5): True, (70.0, 94.4): False,
              (-3.0, 50.0): True, (139.5, 99.5): True}  # fmt: skip
    base = check(clean).facts.by_keypoint[1].near_border
    for place, near in inside.items():
        points = clean.samples[30].points.copy()
        points[0, 1] = place
        found = check(changed(clean, 30, points=points)).facts.by_keypoint[1].near_border
        assert found == base + near, place


def spoil(labels: KeypointDataset, fault: str) -> KeypointDataset:
    """Labels with one planted fault."""
    first = labels.samples[0]
    if fault == "truncated":
        data = (labels.root / "010.png").read_bytes()
        (labels.root / "010.png").write_bytes(data[: len(data) // 2])
    elif fault == "gone":
        (labels.root / "010.png").unlink()
    elif fault == "instances":
        points = np.concatenate([first.points, first.points + 9])
        return changed(labels, 0, points=points, visibility=np.repeat(first.visibility, 2, 0))
    elif fault == "one image":
        return replace(labels, samples=labels.samples[:1])
    elif fault == "nothing located":
        blank = {"points": np.full((1, 4, 2), np.nan), "visibility": np.zeros((1, 4), np.int8)}
        return replace(labels, samples=tuple(replace(s, **blank) for s in labels.samples))
    elif fault == "lost":
        for i, sample in enumerate(labels.samples):
            if sample.split == "train":
                visibility, points = sample.visibility.copy(), sample.points.copy()
                visibility[0, 1], points[0, 1] = Visibility.ABSENT, np.nan
                labels = changed(labels, i, visibility=visibility, points=points)
    elif fault == "leak":
        (labels.root / "013.png").write_bytes((labels.root / "014.png").read_bytes())
    elif fault == "swap":
        points = labels.samples[9].points[:, [0, 1, 3, 2]]
        return changed(labels, 9, points=points)
    elif fault == "few":
        return without_noses(labels)
    elif fault == "border":
        return replace(labels, samples=labels.samples[4:])
    elif fault == "border of one":
        return replace(labels, samples=labels.samples[1:])
    elif fault == "no absent":
        return replace(labels, samples=labels.samples[:4] + labels.samples[8:])
    elif fault == "empty":
        visibility, points = np.full((1, 4), Visibility.ABSENT, np.int8), np.full((1, 4, 2), np.nan)
        return changed(labels, 30, visibility=visibility, points=points)
    elif fault == "copy":
        (labels.root / "013.png").write_bytes((labels.root / "018.png").read_bytes())
    elif fault == "sizes":
        return changed(labels, 9, size=(1000, 1400))
    return labels


STOPS = {
    "truncated": "1 image cannot be read. The first:",
    "gone": "1 image cannot be read. The first:",
    "instances": "Several instances are on 1 of 60 images (up to 2)",
    "one image": "the labels have 1 training and 0 validation images",
    "nothing located": "No keypoint is located on any image",
}
HARMS = {
    "lost": "'tail' is located on no training image",
    "leak": "Identical images are in different splits (once), e.g. 013.png = 014.png",
    "swap": "Left and right look swapped once: left and right on 009.png",
    "few": "Few labels on training images: nose (8)",
}
NOTES = {
    "border": "No label lies near the border (within 5 % of the shorter side): the model cannot",
    "border of one": "'nose' never lies near the border",
    "no absent": "No keypoint is labelled as absent",
    "empty": "1 image without any located keypoint: 030.png",
    "copy": "Identical images are in one split (once), e.g. 013.png = 018.png",
    "sizes": "Images reach from 140×100 to 1400×1000 px",
}


@pytest.mark.parametrize("fault", [*STOPS, *HARMS, *NOTES])
def test_a_planted_fault_is_found_and_weighed(own: KeypointDataset, fault: str) -> None:
    findings = check(spoil(own, fault))
    sentence = {**STOPS, **HARMS, **NOTES}[fault]
    place = [
        i for i, warning in enumerate(findings.warnings) if sentence.lower() in warning.lower()
    ]
    assert len(place) == 1, findings.warnings
    if fault in STOPS:
        assert findings.verdict.startswith("Not ready to train: ") and place == [0]
    elif fault in HARMS:
        assert findings.verdict.startswith("Ready to train, but look at 1 thing") and place == [0]
    else:
        assert findings.verdict.startswith("Ready to train: ")
    assert str(findings).startswith(findings.verdict + "\n\n1. ")


def with_floor(monkeypatch: pytest.MonkeyPatch, floor: float | None) -> None:
    """Let the decode floor be this one."""
    monkeypatch.setattr("placewise.tasks.keypoints.check.floor_of", lambda dataset, seed: floor)


def test_warnings_are_ordered_by_weight(
    own: KeypointDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = own
    for fault in ("copy", "truncated", "swap", "no absent"):
        labels = spoil(labels, fault)
    with_floor(monkeypatch, 0.9)
    warnings = check(labels).warnings
    order = ["cannot be read", "swapped", "decode floor", "Identical images", "as absent"]
    places = [next(i for i, w in enumerate(warnings) if words in w) for words in order]
    assert places == sorted(places) and places[0] == 0


def test_a_high_decode_floor_is_warned_of(
    clean: KeypointDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = check(clean).facts.decode_floor_px
    assert measured is not None and 0 <= measured < 0.05
    with_floor(monkeypatch, 0.01)
    low = check(clean)
    assert low.warnings == () and "0.01 px" in str(low)
    with_floor(monkeypatch, 0.75)
    high = check(clean)
    assert "The decode floor is 0.75 px" in high.warnings[0]
    assert high.verdict.startswith("Ready to train, but")
    with_floor(monkeypatch, None)
    assert check(clean).warnings == () and "not measured" in str(check(clean))


def test_the_decode_floor_is_not_measured_where_nothing_can_be_trained(
    own: KeypointDataset,
) -> None:
    assert check(spoil(own, "nothing located")).facts.decode_floor_px is None
    assert check(spoil(own, "one image")).facts.decode_floor_px is None


def test_a_split_that_is_drawn_is_that_of_the_seed(clean: KeypointDataset) -> None:
    free = replace(clean, samples=tuple(replace(s, split=None) for s in clean.samples))
    facts = [check(free, seed=seed).facts for seed in (0, 0, 1)]
    assert facts[0] == facts[1] and facts[0].split_drawn
    assert set(facts[0].splits) == {"train", "val", "test"}
    for seed in (0, 1):
        expected = split_images(free, seed)
        assert facts[2 * seed].splits == {name: expected.count(name) for name in SPLITS}


def test_progress_is_told(clean: KeypointDataset) -> None:
    told: list[tuple[int, int]] = []
    check(clean, progress=lambda done, total: told.append((done, total)))
    assert told == [(i, 60) for i in range(1, 61)]


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_what_is_written(own: KeypointDataset, tmp_path: Path) -> None:
    labels = spoil(own, "swap")
    before, findings, out = digests(own.root), check(labels), tmp_path / "a" / "b"
    write_findings(findings, labels, out)
    assert {path.name for path in out.iterdir()} == {"check.json", "check.html", "sheet.png"}
    content = read_json(out / "check.json")
    assert content == json.loads(json.dumps(findings.as_json()))
    assert content["warnings"] == list(findings.warnings) and "pixel_convention" in content
    assert (
        content["swaps"][0]["image"] == "009.png"
        and content["by_keypoint"][0]["keypoint"] == "nose"
    )
    page = (out / "check.html").read_text(encoding="utf-8")
    assert page.index(findings.verdict) < page.index(findings.warnings[0][:30])
    assert page.count("data:image/jpeg") == 20 and "009.png (left and right?)" in page
    assert "<script" not in page and "Content-Security-Policy" in page and len(page) < 3_000_000
    with Image.open(out / "sheet.png") as image:
        assert image.size == (4 * 372 + 12, image.height) and image.height > 1000
    assert digests(own.root) == before


def test_only_a_former_check_is_replaced(clean: KeypointDataset, tmp_path: Path) -> None:
    findings = check(clean)
    write_findings(findings, clean, tmp_path / "out")
    write_findings(findings, clean, tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for taken in (tmp_path / "mine", tmp_path / "file", clean.root):
        before = digests(tmp_path)
        with pytest.raises(SettingsError, match=r"name a new (or empty )?folder"):
            write_findings(findings, clean, taken)
        assert digests(tmp_path) == before


def test_labels_that_cannot_be_shown_still_have_a_page(
    own: KeypointDataset, tmp_path: Path
) -> None:
    labels = spoil(own, "nothing located")
    write_findings(check(labels), labels, tmp_path / "out")
    assert not (tmp_path / "out" / "sheet.png").exists()
    page = (tmp_path / "out" / "check.html").read_text(encoding="utf-8")
    assert "No image with a label could be read." in page


def test_names_and_messages_are_escaped(own: KeypointDataset, tmp_path: Path) -> None:
    bad = "<img src=x onerror=alert(1)>"
    (own.root / "000.png").rename(own.root / "<b>&.png")
    labels = changed(own, 0, image="<b>&.png")
    labels = replace(labels, names=(bad, *NAMES[1:]), source=Path(f"{bad}.csv"))
    write_findings(check(labels), labels, tmp_path / "out")
    page = (tmp_path / "out" / "check.html").read_text(encoding="utf-8")
    assert bad not in page and "&lt;b&gt;&amp;.png" in page and page.count("&lt;img src=x") >= 3


def test_the_verb(squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, out = digests(squares), tmp_path / "out"
    main(["check", str(squares / "points.csv")])
    text = capsys.readouterr().out
    assert text.startswith("Ready to train") and digests(squares) == before
    main(["check", str(squares), "--out", str(out), "--quiet"])
    written = capsys.readouterr().out
    assert written.startswith(text.rstrip()) and str(out / "check.html") in written
    floor = read_json(out / "check.json")["decode_floor_px"]
    assert isinstance(floor, float) and 0 <= floor < 0.1
    assert digests(squares) == before
    with pytest.raises(SettingsError, match=r"is not empty and holds no check\.json"):
        check(read_dataset(squares), out=squares)


def test_what_the_verb_writes_is_what_the_function_finds(squares: Path, tmp_path: Path) -> None:
    found = check(read_dataset(squares), out=tmp_path / "out")
    content = read_json(tmp_path / "out" / "check.json")
    assert content["verdict"] == found.verdict and content["warnings"] == list(found.warnings)


def test_two_mice(real_data: Path) -> None:
    mice = {"openfield_mouse": (116, 4, 464), "mirror_mouse": (90, 17, 1396)}
    for name, (images, points, labelled) in mice.items():
        findings = check(read_dataset(real_data / name / "points.csv"))
        facts = findings.facts
        assert (facts.images, len(facts.by_keypoint), facts.labels) == (images, points, labelled)
        assert findings.verdict.startswith("Ready to train") and not facts.damaged
        assert facts.near_border > 20 and re.search("near the border", " ".join(findings.warnings))


def test_cells_are_many_on_an_image(real_data: Path) -> None:
    if not (real_data / "bccd" / "points.csv").is_file():
        pytest.skip("no blood cells in the real data")
    findings = check(read_dataset(real_data / "bccd" / "points.csv", task="keypoints"))
    assert isinstance(findings, Findings) and findings.verdict.startswith("Not ready to train")
    assert "Several instances" in findings.warnings[0] and findings.facts.labels == 4886


# --- implausible labels --------------------------------------------------------------------------

SIZE = (48, 64)
"""(height, width) of the images of tables."""

Place = tuple[float, float] | None


def write_table(folder: Path, places: dict[str, list[Place]], splits: str = "") -> Path:
    """Images with a table of labels: places of each keypoint by image; None: not labelled.

    Args:
        folder: a new folder.
        places: of each keypoint, image by image.
        splits: first letter of the split of each image; empty: the table has none.
    """
    rng = np.random.default_rng(0)
    folder.mkdir()
    words = {"t": "train", "v": "val", "e": "test"}
    rows = ["image,keypoint,x,y" + (",split" if splits else "")]
    for number in range(len(next(iter(places.values())))):
        Image.fromarray(rng.integers(0, 255, SIZE, np.uint8)).save(folder / f"{number:02d}.png")
        for name, found in places.items():
            place = found[number]
            cells = [f"{number:02d}.png", name, *(map(str, place) if place else ("", ""))]
            rows.append(",".join([*cells, *([words[splits[number]]] if splits else [])]))
    (folder / "points.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def scattered(count: int = 24, seed: int = 0) -> list[Place]:
    """Places all over an image, but not at its border."""
    rng = np.random.default_rng(seed)
    return [(float(x), float(y)) for x, y in rng.uniform((5, 5), (58, 42), (count, 2)).round(2)]


def warnings_of(folder: Path, words: str) -> list[str]:
    """Warnings about a table that hold these words."""
    return [one for one in check(read_dataset(folder)).warnings if words in one]


CODES = {"minus one": (-1.0, -1.0), "zero": (0.0, 0.0), "beyond": (66.0, 20.0), "edge": (63.0, 9.0)}


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("times", [2, 12])
def test_a_code_for_missing_is_seen(tmp_path: Path, code: str, times: int) -> None:
    """A place at the border or beyond that occurs twice is no slip of a hand."""
    tails = [CODES[code] if i < times else place for i, place in enumerate(scattered(seed=1))]
    folder = write_table(tmp_path / "data", {"nose": scattered(), "tail": tails})
    (one,) = warnings_of(folder, "code for a missing keypoint")
    x, y = CODES[code]
    assert one.startswith(f"{times} of 24 labels of 'tail' are exactly at {x:g}, {y:g}")
    assert "absent" in one
    assert check(read_dataset(folder)).verdict.startswith("Ready to train, but look at")


def test_a_place_inside_that_repeats_is_a_code_where_a_good_part_has_it(tmp_path: Path) -> None:
    """A tenth of the labels, five at least; where all have it, something stands still."""
    for times, expected in ((1, 0), (4, 0), (5, 1), (23, 1), (24, 0)):
        noses = [(30.0, 20.0) if i < times else place for i, place in enumerate(scattered())]
        folder = write_table(tmp_path / str(times), {"nose": noses, "tail": scattered(seed=1)})
        assert len(warnings_of(folder, "code for a missing keypoint")) == expected, times


def test_one_place_at_the_border_is_no_code(tmp_path: Path) -> None:
    tails = [(-1.0, -1.0), *scattered(23, seed=1)]
    folder = write_table(tmp_path / "data", {"nose": scattered(), "tail": tails})
    assert warnings_of(folder, "code for a missing") == []


def scaled(places: list[Place], x: float, y: float) -> list[Place]:
    return [place and (place[0] * x, place[1] * y) for place in places]


def test_fractions_of_width_and_height_are_seen(tmp_path: Path) -> None:
    parts = {name: scaled(scattered(seed=k), 1 / 64, 1 / 48) for k, name in enumerate("abc")}
    folder = write_table(tmp_path / "data", parts)
    findings = check(read_dataset(folder))
    assert findings.verdict.startswith("Not ready to train: ")
    assert findings.warnings[0].startswith("All 72 labels lie in the top-left pixel: are they frac")


def test_fractions_among_pixels_are_seen(tmp_path: Path) -> None:
    """Some images in fractions; one label in the corner is none."""
    for count, expected in ((0, 0), (1, 0), (12, 1)):
        parts = {}
        for k, name in enumerate("abc"):
            pixels = scattered(seed=k)
            parts[name] = [*scaled(pixels[:count], 1 / 64, 1 / 48), *pixels[count:]]
        folder = write_table(tmp_path / str(count), parts)
        assert len(warnings_of(folder, "fractions of width and height, and the others")) == expected
        assert len(warnings_of(folder, "within one pixel")) == bool(count)


@pytest.mark.parametrize("axis", [0, 1])
def test_fractions_along_one_side_alone_are_seen(tmp_path: Path, axis: int) -> None:
    by = (1 / 64, 1.0) if axis == 0 else (1.0, 1 / 48)
    parts = {name: scaled(scattered(seed=k), *by) for k, name in enumerate("abc")}
    said = f"The {'xy'[axis]} of all 72 labels is at most "
    assert len(warnings_of(write_table(tmp_path / "data", parts), said)) == 1
    whole = {name: scattered(seed=k) for k, name in enumerate("abc")}
    assert warnings_of(write_table(tmp_path / "pixels", whole), "of all 72 labels is at most") == []


def test_keypoints_that_are_all_at_one_place_are_seen(tmp_path: Path) -> None:
    """A placeholder, or a click too many; two keypoints may meet where a third does not."""
    places = scattered()
    parts = {"a": places, "b": places, "c": [*places[:3], *scattered(21, seed=1)]}
    (one,) = warnings_of(write_table(tmp_path / "data", parts), "within one pixel")
    assert "3 images" in one
    folder = write_table(tmp_path / "one", {"a": [(30.0, 20.0)] * 24, "b": [(30.0, 20.0)] * 24})
    assert len(warnings_of(folder, "within one pixel")) == 1
    assert warnings_of(folder, "smaller copy") == []


@pytest.mark.parametrize("pair", [("Nose", "nose"), ("left ear", "left_ear"), ("1", "1.0")])
def test_names_that_are_nearly_the_same_are_seen(tmp_path: Path, pair: tuple[str, str]) -> None:
    parts = {name: scattered(seed=k) for k, name in enumerate((*pair, "tail"))}
    (one,) = warnings_of(write_table(tmp_path / "data", parts), "nearly the same")
    assert f"'{pair[0]}' and '{pair[1]}'" in one and "tail" not in one


def test_percent_and_pixels_of_a_smaller_copy_are_seen(tmp_path: Path) -> None:
    small = {name: scaled(scattered(seed=k), 0.4, 0.4) for k, name in enumerate("ab")}
    (one,) = warnings_of(write_table(tmp_path / "small", small), "pixels of a smaller copy")
    assert "or percent of width and height?" in one
    assert re.match(r"All labels lie in the left 3\d(\.\d)? % and the upper 3\d(\.\d)? %", one)
    usual = {name: scattered(seed=k) for k, name in enumerate("ab")}
    assert warnings_of(write_table(tmp_path / "usual", usual), "smaller copy") == []


def test_pixels_beyond_a_hundred_are_no_percent(tmp_path: Path) -> None:
    """On large images, labels in a corner are pixels of a smaller copy and nothing else."""
    folder = tmp_path / "data"
    folder.mkdir()
    rng = np.random.default_rng(0)
    visibility = np.full((1, 1), Visibility.VISIBLE, np.int8)
    samples = []
    for number in range(12):
        name = f"{number}.png"
        Image.fromarray(rng.integers(0, 255, (500, 600), np.uint8)).save(folder / name)
        points = rng.uniform(100, 200, (1, 1, 2))
        samples.append(KeypointSample(name, (500, 600), points, visibility))
    warnings = check(KeypointDataset(folder, ("nose",), tuple(samples))).warnings
    (one,) = [one for one in warnings if "smaller copy" in one]
    assert "percent" not in one


# --- nothing to learn, nothing to choose by ------------------------------------------------------


@pytest.mark.parametrize(("split", "use"), [("t", "learn from"), ("v", "calibrate radii with")])
def test_a_split_without_labels_stops_check_and_training(
    tmp_path: Path, split: str, use: str
) -> None:
    splits = "tttvteteee" + "tttvteteee"
    keypoints = {
        name: [None if s == split else place for s, place in zip(splits, found, strict=True)]
        for name, found in (("nose", scattered(20)), ("tail", scattered(20, seed=1)))
    }
    folder = write_table(tmp_path / "data", keypoints, splits)
    findings = check(read_dataset(folder))
    assert findings.verdict.startswith("Not ready to train: ")
    assert any(f"nothing to {use}" in one for one in findings.warnings[:1])
    with pytest.raises(DataError, match=f"nothing to {use}"):
        train(read_dataset(folder), tmp_path / "run", max_steps=2, quiet=True)
    assert not (tmp_path / "run").exists()


def test_labels_of_nothing_stop_check_and_training(tmp_path: Path) -> None:
    folder = write_table(tmp_path / "data", {"nose": [None] * 12, "tail": [None] * 12})
    findings = check(read_dataset(folder))
    assert findings.verdict.startswith("Not ready to train: 1 thing")
    assert findings.warnings[0] == (
        "No keypoint is located on any image: there is nothing to learn."
    )
    with pytest.raises(DataError, match="nothing to learn from"):
        train(read_dataset(folder), tmp_path / "run", max_steps=2, quiet=True)
    assert not (tmp_path / "run").exists()


# --- a side without a partner --------------------------------------------------------------------

EYES = ("nose", "left_eye", "right_eye")

ALONE = {
    "no partner": ((*EYES, "left_wrist"), ("left_wrist",)),
    "two possible partners": ((*EYES, "left_l", "right_l", "left_r", "right_r"), None),
    "differently written": ((*EYES, "Left Ear", "right ear"), ("Left Ear", "right ear")),
    "letters": ((*EYES, "wrist_L"), ("wrist_L",)),
    "letters without a break": ((*EYES, "Lhand", "Rhand", "Lfoot"), ("Lfoot",)),
}


@pytest.mark.parametrize("kind", ALONE)
def test_a_side_without_a_partner_turns_mirroring_off_and_says_so(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    names, alone = ALONE[kind]
    alone = alone or tuple(name for name in names if name not in EYES)
    folder = write_table(
        tmp_path / "data", {name: scattered(seed=k) for k, name in enumerate(names)}
    )
    dataset = read_dataset(folder)
    assert ("left_eye", "right_eye") in dataset.symmetry
    (one,) = warnings_of(folder, "not mirrored")
    assert all(f"'{name}'" in one for name in alone)
    caplog.set_level("INFO", "placewise")
    small = {"backbone_settings": {"width": 16, "depth": 1}, "precision": "float32"}
    run = train(dataset, tmp_path / "run", max_steps=1, quiet=True, **small)
    assert run.facts.training["augmentation"]["flip"] is False
    told = [line for line in caplog.messages if "not mirrored" in line]
    assert len(told) == 1 and all(name in told[0] for name in alone)


def test_sides_that_all_have_partners_are_mirrored(tmp_path: Path) -> None:
    names = (*EYES, "L_ear", "R_ear")
    folder = write_table(
        tmp_path / "data", {name: scattered(seed=k) for k, name in enumerate(names)}
    )
    dataset = read_dataset(folder)
    assert warnings_of(folder, "mirrored") == []
    assert task_named("keypoints").augmentation(dataset, dataset.samples)["flip"] is True


def test_names_without_sides_are_not_mirrored_and_nothing_is_said(tmp_path: Path) -> None:
    folder = write_table(tmp_path / "data", {"nose": scattered(), "right_now": scattered(seed=1)})
    dataset = read_dataset(folder)
    assert dataset.symmetry == () and warnings_of(folder, "mirrored") == []
    assert task_named("keypoints").augmentation(dataset, dataset.samples)["flip"] is False


def test_pairs_that_are_only_partly_listed_turn_mirroring_off(tmp_path: Path) -> None:
    names = (*EYES, "left_ear", "right_ear")
    folder = write_table(
        tmp_path / "data", {name: scattered(seed=k) for k, name in enumerate(names)}
    )
    partly = replace(read_dataset(folder), symmetry=(("left_eye", "right_eye"),))
    (one,) = [one for one in check(partly).warnings if "not mirrored" in one]
    assert "'left_ear', 'right_ear'" in one
    assert task_named("keypoints").augmentation(partly, partly.samples)["flip"] is False


def write_objects(folder: Path, objects: list[dict[str, Place]]) -> Path:
    """A table with two objects on each image, of keypoints at these places."""
    folder.mkdir()
    rows = ["image,instance,keypoint,x,y"]
    for number, keypoints in enumerate(objects):
        name = f"{number // 2:02d}.png"
        Image.new("L", SIZE[::-1], number).save(folder / name)
        rows += [f"{name},{number % 2},{k},{x},{y}" for k, (x, y) in keypoints.items() if (x, y)]
    (folder / "points.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("names", [("nose", "tail"), ("cell",)], ids=["poses", "spots"])
def test_codes_and_fractions_are_seen_in_every_task(tmp_path: Path, names: tuple[str, ...]) -> None:
    whole = [dict(zip(names, scattered(len(names), k), strict=True)) for k in range(24)]
    assert not warnings_of(write_objects(tmp_path / "good", whole), "are exactly at")
    coded = [{**one, names[0]: (-1.0, -1.0)} if k % 4 == 0 else one for k, one in enumerate(whole)]
    (said,) = warnings_of(write_objects(tmp_path / "coded", coded), "code for a missing")
    assert said.startswith(f"6 of 24 labels of '{names[0]}' are exactly at -1, -1")
    shares = [{name: (x / 64, y / 48) for name, (x, y) in one.items()} for one in whole]
    (said,) = warnings_of(write_objects(tmp_path / "shares", shares), "are they fractions")
    assert said.startswith(f"All {24 * len(names)} labels lie in the top-left pixel")


def test_objects_that_are_there_twice_are_seen(tmp_path: Path) -> None:
    one, two = (dict(zip(("nose", "tail"), scattered(2, k), strict=True)) for k in range(2))
    folder = write_objects(tmp_path / "twins", [one, one, one, two])
    (said,) = warnings_of(folder, "all keypoints at the same places")
    assert "on 1 image: 00.png" in said


def test_labels_of_one_split_alone_are_told_to_change_it(tmp_path: Path) -> None:
    folder = write_table(tmp_path / "a", {"nose": scattered(6)}, "eeeeee")
    assert warnings_of(folder, "at least one of each is needed: change the split of some")


def test_images_that_show_nothing_are_seen(tmp_path: Path) -> None:
    """Pixels whose alpha is 0 are white, whatever colour they have."""
    folder = write_table(tmp_path / "a", {"nose": scattered()})
    for number in (3, 5):
        pixels = np.random.default_rng(number).integers(0, 255, (*SIZE, 4), np.uint8)
        pixels[..., 3] = 0
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    (said,) = warnings_of(folder, "same value")
    assert said.startswith("2 images show nothing: 03.png, 05.png.")
