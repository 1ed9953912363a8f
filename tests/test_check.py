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

from placewise.checking import Findings, check, check_data, write_findings
from placewise.errors import SettingsError
from placewise.files import read_json
from placewise.formats import read_dataset
from placewise.labels import SPLITS, KeypointDataset, KeypointSample, Visibility, split_images

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
    assert findings.verdict == "Ready to train: 60 images, 4 points, 236 labels."
    assert str(findings).startswith("Ready to train")


def test_counts_are_those_of_a_slow_count(clean: KeypointDataset) -> None:
    facts = check(clean).facts
    assert facts.splits == {"train": 36, "val": 12, "test": 12} and not facts.split_drawn
    assert facts.sizes == {"140×100": 60} and facts.instances == {1: 60}
    for k, point in enumerate(facts.by_point):
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
        assert (
            point.visible == counts[Visibility.VISIBLE]
            and point.hidden == counts[Visibility.HIDDEN]
        )
        assert (
            point.absent == counts[Visibility.ABSENT]
            and point.unlabelled == counts[Visibility.UNLABELLED]
        )
        assert point.near_border == near > 0 and point.by_split == splits
        assert point.point == NAMES[k] and point.absent == 1
    assert facts.labels == sum(int(sample.located.sum()) for sample in clean.samples)


def test_the_border_band_is_five_percent_of_the_shorter_side(clean: KeypointDataset) -> None:
    inside = {(4.5, 50.0): True, (4.6, 50.0): False, (70.0, 94.5): True, (70.0, 94.4): False,
              (-3.0, 50.0): True, (139.5, 99.5): True}  # fmt: skip
    base = check(clean).facts.by_point[1].near_border
    for place, near in inside.items():
        points = clean.samples[30].points.copy()
        points[0, 1] = place
        found = check(changed(clean, 30, points=points)).facts.by_point[1].near_border
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
    "instances": "Several instances stand on 1 of 60 images (up to 2)",
    "one image": "the labels have 1 training and 0 validation images",
    "nothing located": "No point is located on any image",
}
HARMS = {
    "lost": "'tail' is located on no training image",
    "leak": "Identical images stand in different splits (once), e.g. 013.png = 014.png",
    "swap": "Left and right look swapped once: left and right on 009.png",
    "few": "Few labels on training images: nose (8)",
}
NOTES = {
    "border": "No label lies near the border (within 5 % of the shorter side): the model cannot",
    "border of one": "'nose' never lies near the border",
    "no absent": "No point is labelled as absent",
    "empty": "1 image without any located point: 030.png",
    "copy": "Identical images stand in one split (once), e.g. 013.png = 018.png",
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


def test_warnings_are_ordered_by_weight(own: KeypointDataset) -> None:
    labels = own
    for fault in ("copy", "truncated", "swap", "no absent"):
        labels = spoil(labels, fault)
    warnings = check(labels, floor=0.9).warnings
    order = ["cannot be read", "swapped", "decode floor", "as absent", "Identical images"]
    places = [next(i for i, w in enumerate(warnings) if words in w) for words in order]
    assert places == sorted(places) and places[0] == 0


def test_the_decode_floor_is_handed_in(clean: KeypointDataset) -> None:
    assert check(clean).facts.decode_floor_px is None
    low, high = check(clean, floor=0.01), check(clean, floor=0.75)
    assert low.warnings == () and "0.01 px" in str(low)
    assert "The decode floor is 0.75 px" in high.warnings[0]
    assert high.verdict.startswith("Ready to train, but")


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
    assert content["swaps"][0]["image"] == "009.png" and content["by_point"][0]["point"] == "nose"
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
        with pytest.raises(SettingsError, match="new folder"):
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


def test_the_verb(squares: Path, tmp_path: Path) -> None:
    before = digests(squares)
    text = check_data(squares / "points.csv")
    assert text.startswith("Ready to train") and digests(squares) == before
    written = check_data(squares, out=tmp_path / "out")
    assert written.startswith(text) and str(tmp_path / "out" / "check.html") in written
    floor = read_json(tmp_path / "out" / "check.json")["decode_floor_px"]
    assert isinstance(floor, float) and 0 <= floor < 0.1
    assert digests(squares) == before
    with pytest.raises(SettingsError, match=r"is not empty and holds no check\.json"):
        check_data(squares, out=squares)


def test_two_mice(real_data: Path) -> None:
    mice = {"openfield_mouse": (116, 4, 464), "mirror_mouse": (90, 17, 1396)}
    for name, (images, points, labelled) in mice.items():
        findings = check(read_dataset(real_data / name / "points.csv"))
        facts = findings.facts
        assert (facts.images, len(facts.by_point), facts.labels) == (images, points, labelled)
        assert findings.verdict.startswith("Ready to train") and not facts.damaged
        assert facts.near_border > 20 and re.search("near the border", " ".join(findings.warnings))


def test_cells_are_many_on_an_image(real_data: Path) -> None:
    if not (real_data / "bccd" / "points.csv").is_file():
        pytest.skip("no blood cells in the real data")
    findings = check(read_dataset(real_data / "bccd" / "points.csv"))
    assert isinstance(findings, Findings) and findings.verdict.startswith("Not ready to train")
    assert "Several instances" in findings.warnings[0] and findings.facts.labels == 4886
