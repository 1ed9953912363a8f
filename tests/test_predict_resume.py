"""A prediction that was stopped goes on: the same bytes, and nothing is predicted twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import draw_squares
from placewise.errors import CheckpointError, ImageError, SettingsError
from placewise.formats import read_dataset
from placewise.model import BATCH
from placewise.prediction import predict
from placewise.run import Run
from placewise.training import TrainingSettings, train

SMALL = {"precision": "float32", "batch_size": 4, "backbone_settings": {"width": 16, "depth": 1}}
OVERLAYS = 5


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    dataset = read_dataset(draw_squares(folder / "data", 20))
    return train(dataset, folder / "run", TrainingSettings.of(**SMALL, max_steps=2), quiet=True)


def draw_images(folder: Path, count: int) -> Path:
    """Images of two sizes in groups of one to nine, and here and there one that is none."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    size, left = (48, 56), 0
    for number in range(count):
        if not left:
            size, left = ((40, 60) if size == (48, 56) else (48, 56)), int(rng.integers(1, 10))
        left -= 1
        path = folder / f"{number:03d}.png"
        Image.fromarray(rng.integers(0, 255, size).astype(np.uint8)).save(path)
        if number % 11 == 7:
            path.write_bytes(path.read_bytes()[:200])
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_images(tmp_path_factory.mktemp("images") / "images", 60)


def files(folder: Path) -> dict[str, bytes]:
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    assert found, f"no file in {folder}"
    return found


@pytest.fixture(scope="module")
def whole(run: Run, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prediction that nobody disturbed."""
    out = tmp_path_factory.mktemp("whole") / "out"
    predict(run, images, out, overlays=OVERLAYS)
    return out


def test_an_undisturbed_prediction_leaves_these_files(whole: Path) -> None:
    names = set(files(whole))
    overlays = {name for name in names if name.startswith("overlays/")}
    assert names - overlays == {
        "about.json",
        "predictions.coco.json",
        "predictions.csv",
        "predictions.deeplabcut.csv",
    }
    assert len(overlays) == OVERLAYS


class Stopped(Exception):
    """What stops a prediction in these tests."""


def stopped(run: Run, images: Path, out: Path, after: int) -> None:
    """A prediction that ends after so many images, as a crash would end it."""

    def progress(done: int, total: int) -> None:
        if done >= after:
            raise Stopped

    with pytest.raises(Stopped):
        predict(run, images, out, overlays=OVERLAYS, progress=progress, resume=out.exists())


@pytest.mark.parametrize("after", [1, 20, 59])
def test_it_goes_on_where_it_was_stopped(
    run: Run, images: Path, whole: Path, tmp_path: Path, after: int
) -> None:
    out = tmp_path / "out"
    stopped(run, images, out, after)
    assert not (out / "about.json").exists()
    told: list[tuple[int, int]] = []
    about = predict(
        run, images, out, overlays=OVERLAYS, resume=True, progress=lambda *now: told.append(now)
    )
    assert all(after < done <= total == 60 for done, total in told)
    assert told[-1:] == ([(60, 60)] if after < 59 else []), "all had been predicted"
    assert about["images"] == 55 and len(about["skipped"]) == 5
    assert files(out) == files(whole)


def test_a_prediction_can_be_begun_with_resume(
    run: Run, images: Path, whole: Path, tmp_path: Path
) -> None:
    predict(run, images, tmp_path / "out", overlays=OVERLAYS, resume=True)
    assert files(tmp_path / "out") == files(whole)


def test_a_finished_prediction_is_left_as_it_is(run: Run, images: Path, whole: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    about = predict(run, images, whole, overlays=OVERLAYS, resume=True)
    assert about["images"] == 55
    assert before == {path: path.stat().st_mtime_ns for path in whole.rglob("*")}


SPOILT = {
    "a torn last line": lambda out: (out / "progress.jsonl").write_bytes(
        (out / "progress.jsonl").read_bytes()[:-9]
    ),
    "half a line": lambda out: append(out / "progress.jsonl", b'{"bytes": 99, "ima'),
    "a line of zeros": lambda out: append(out / "progress.jsonl", b"\0" * 40),
    "rows without a line": lambda out: append(out / "predictions.csv", b"999.png,light,1,2,1,\n9"),
    "both": lambda out: [SPOILT[name](out) for name in ("half a line", "rows without a line")],
}


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


@pytest.mark.parametrize("how", SPOILT)
def test_what_does_not_count_is_cut_off(
    run: Run, images: Path, whole: Path, tmp_path: Path, how: str
) -> None:
    out = tmp_path / "out"
    stopped(run, images, out, 20)
    SPOILT[how](out)
    predict(run, images, out, overlays=OVERLAYS, resume=True)
    assert files(out) == files(whole)


def test_a_journal_without_its_first_line_is_another_prediction(
    run: Run, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    stopped(run, images, out, 20)
    (out / "progress.jsonl").write_text("")
    before = files(out)
    with pytest.raises(SettingsError, match="another run, of other images, or with other options"):
        predict(run, images, out, overlays=OVERLAYS, resume=True)
    assert files(out) == before


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Another run on the same labels."""
    folder = tmp_path_factory.mktemp("other")
    dataset = read_dataset(draw_squares(folder / "data", 20))
    settings = TrainingSettings.of(**SMALL, max_steps=2, seed=1)
    return train(dataset, folder / "run", settings, quiet=True)


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("what", ["run", "images", "overlays", "threshold"])
def test_another_prediction_is_refused(
    run: Run, other: Run, images: Path, tmp_path: Path, what: str, finished: bool
) -> None:
    out = tmp_path / "out"
    few = draw_images(tmp_path / "few", 12)
    if finished:
        predict(run, few, out, overlays=OVERLAYS)
    else:
        stopped(run, few, out, 3)
    before = files(out)
    options = {"overlays": OVERLAYS, "threshold": 0.5}
    options |= {"overlays": {"overlays": 9}, "threshold": {"threshold": 0.7}}.get(what, {})
    asked = (other if what == "run" else run, images if what == "images" else few)
    with pytest.raises(SettingsError, match="another run, of other images, or with other options"):
        predict(*asked, out, resume=True, **options)
    assert files(out) == before


def test_without_resume_a_begun_prediction_is_refused_and_the_way_named(
    run: Run, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    stopped(run, images, out, 3)
    before = files(out)
    with pytest.raises(SettingsError, match="--resume"):
        predict(run, images, out, overlays=OVERLAYS)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(SettingsError, match="new or empty folder"):
        predict(run, images, tmp_path / "mine", resume=True)
    assert files(out) == before and files(tmp_path / "mine") == {"notes.txt": b"mine"}


def test_a_folder_has_one_prediction_at_a_time(
    run: Run, images: Path, whole: Path, tmp_path: Path
) -> None:
    """A job that is started twice with --resume: the second is refused, the first is not harmed."""
    out, refused = tmp_path / "out", []

    def progress(done: int, total: int) -> None:
        with pytest.raises(SettingsError, match="a prediction is writing into") as told:
            predict(run, images, out, overlays=OVERLAYS, resume=True)
        refused.append(told)

    predict(run, images, out, overlays=OVERLAYS, progress=progress)
    assert refused and files(out) == files(whole)


def test_a_prediction_that_finished_no_image_leaves_its_folder_free(
    run: Run, images: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one whose engine was refused: another engine may take the same folder."""

    def refuse(*args: object) -> None:
        raise SettingsError("no such engine")

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("placewise.prediction._engine", refuse)
        with pytest.raises(SettingsError, match="no such engine"):
            predict(run, images, out, threshold=0.7)
    assert set(files(out)) == {"progress.jsonl"}
    predict(run, images, out, overlays=OVERLAYS)
    assert files(out) == files(whole)


def test_a_finished_prediction_whose_table_is_gone_is_not_called_finished(
    run: Run, images: Path, tmp_path: Path
) -> None:
    few = draw_images(tmp_path / "few", 3)
    predict(run, few, tmp_path / "out")
    (tmp_path / "out" / "predictions.csv").unlink()
    with pytest.raises(CheckpointError, match=r"predictions.csv is missing"):
        predict(run, few, tmp_path / "out", resume=True)


def test_results_are_not_written_among_the_images(run: Run, tmp_path: Path) -> None:
    """The next prediction would read its own drawings."""
    folder = draw_images(tmp_path / "images", 3)
    before = files(folder)
    for out in (folder / "out", folder / "a" / "b", folder, folder / "x" / ".." / "out"):
        with pytest.raises(SettingsError, match=r"lies in .*--out"):
            predict(run, folder, out)
    assert files(folder) == before and {path.name for path in folder.iterdir()} == {
        "000.png", "001.png", "002.png",
    }  # fmt: skip
    assert predict(run, folder / "000.png", tmp_path / "out")["images"] == 1


def test_unreadable_images_change_nothing_about_the_others(
    run: Run, images: Path, whole: Path, tmp_path: Path
) -> None:
    """Their order and their rows are those of a folder without the unreadable ones."""
    about = json.loads((whole / "about.json").read_text())
    torn = [one["image"] for one in about["skipped"]]
    assert torn == [f"{number:03d}.png" for number in range(60) if number % 11 == 7]
    assert all(one["reason"] for one in about["skipped"])
    good = tmp_path / "good"
    good.mkdir()
    for path in images.iterdir():
        if path.name not in torn:
            (good / path.name).write_bytes(path.read_bytes())
    assert predict(run, good, tmp_path / "out", overlays=OVERLAYS)["skipped"] == []
    for name in ("predictions.csv", "predictions.coco.json", "predictions.deeplabcut.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (whole / name).read_bytes()


def test_images_that_are_too_small_are_passed_over(tmp_path: Path) -> None:
    """For a network with windows that need so many pixels; one of them is the first."""
    dataset = read_dataset(draw_squares(tmp_path / "data", 10))
    settings = TrainingSettings.of(precision="float32", batch_size=4, max_steps=1, backbone="lenet")
    run = train(dataset, tmp_path / "run", settings, quiet=True)
    folder = draw_images(tmp_path / "images", 6)
    small = ["000.png", "003.png", "004.png"]
    for name in small:
        Image.fromarray(np.zeros((60, 1), np.uint8)).save(folder / name)
    about = predict(run, folder, tmp_path / "out")
    assert about["images"] == 3 and [one["image"] for one in about["skipped"]] == small
    assert all("use larger images" in one["reason"] for one in about["skipped"])
    with pytest.raises(ImageError, match="use larger images"):
        predict(run, folder / "000.png", tmp_path / "none")


# --- SIGKILL in a real process -------------------------------------------------------------------

NOTED = """
import sys
from placewise.model import Network
from placewise.prediction import predict

run, images, out, note, overlays = sys.argv[1:]
usual = Network.predict_scaled

def noted(self, shown, sizes, images=None):
    with open(note, "a") as file:
        file.write("".join(f"{name}\\n" for name in images))
    return usual(self, shown, sizes, images)

Network.predict_scaled = noted
predict(run, images, out, overlays=int(overlays), resume=True)
"""
"""A prediction that notes each image that the network is asked for."""


def lines(out: Path) -> int:
    file = out / "progress.jsonl"
    return file.read_bytes().count(b"\n") if file.is_file() else 0


def survive(run: Run, images: Path, out: Path, kills: int, seed: int = 0) -> tuple[int, list[str]]:
    """(kills, images that the network was asked for) of a prediction killed again and again."""
    rng, note = random.Random(seed), out.with_suffix(".txt")
    words = [str(run.path), str(images), str(out), str(note), str(OVERLAYS)]
    done, deadline = 0, time.monotonic() + 60 * (kills + 2)
    while time.monotonic() < deadline:
        process = subprocess.Popen(
            [sys.executable, "-c", NOTED, *words],
            stderr=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        aim = lines(out) + rng.randint(0, 2) if done < kills else sys.maxsize
        while process.poll() is None and lines(out) < aim and time.monotonic() < deadline:
            time.sleep(0.0005)
        if done < kills and process.poll() is None:
            time.sleep(rng.uniform(0, 0.02))
            process.send_signal(signal.SIGKILL)
            done += 1
        _, told = process.communicate()
        if process.returncode == 0:
            return done, note.read_text().splitlines()
        assert process.returncode == -signal.SIGKILL, told.decode()[-2000:]
    raise AssertionError("the prediction did not come to its end")


def check_survival(run: Run, images: Path, whole: Path, out: Path, kills: int) -> None:
    killed, asked = survive(run, images, out, kills)
    assert killed == kills
    assert files(out) == files(whole)
    wanted = {path.name for path in images.iterdir()}
    wanted -= {one["image"] for one in json.loads((out / "about.json").read_text())["skipped"]}
    assert set(asked) == wanted
    under_way = (
        2 * BATCH
    )  # with one thread: a batch in the network, and one that is not written yet
    assert len(asked) - len(wanted) <= under_way * kills


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a thing of POSIX")
def test_a_killed_prediction_ends_in_the_same_bytes(
    run: Run, images: Path, whole: Path, tmp_path: Path
) -> None:
    check_survival(run, images, whole, tmp_path / "out", 3)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a thing of POSIX")
def test_twenty_kills(run: Run, tmp_path: Path) -> None:
    images = draw_images(tmp_path / "images", 400)
    predict(run, images, tmp_path / "whole", overlays=OVERLAYS)
    check_survival(run, images, tmp_path / "whole", tmp_path / "out", 20)
