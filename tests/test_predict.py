"""Prediction and evaluation on a run that was really trained, through real files."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import draw_squares
from placewise.errors import CheckpointError, DataError, ImageError, SettingsError
from placewise.evaluation import evaluate
from placewise.files import read_json
from placewise.formats import read_dataset
from placewise.images import read_image
from placewise.labels import Visibility
from placewise.metrics import conformal_factor, errors
from placewise.prediction import predict
from placewise.run import Run, load_model
from placewise.tasks.keypoints import Keypoints
from placewise.tasks.keypoints.model import KeypointModel
from placewise.tasks.keypoints.prediction import KeypointPrediction
from placewise.training import TrainingSettings, train


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of six sizes."""
    return draw_squares(tmp_path_factory.mktemp("sizes"), 60, sizes=True)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    settings = TrainingSettings.of(
        max_steps=260,
        precision="float32",
        batch_size=8,
        learning_rate=4e-3,
        backbone_settings={"width": 32},
    )
    out = tmp_path_factory.mktemp("runs") / "run"
    return train(read_dataset(data), out, settings, quiet=True)


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def places(file: Path) -> dict[str, np.ndarray]:
    """(keypoints, 2) of each image in a table of predictions."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in rows(file):
        found.setdefault(row["image"], []).append((float(row["x"]), float(row["y"])))
    return {image: np.array(points) for image, points in found.items()}


def predicted(run: Run, folder: Path) -> list[KeypointPrediction]:
    """What the model says of each image of a folder, in order and in memory."""
    found: list[KeypointPrediction] = load_model(run).predict(folder)
    return found


def test_keypoints_on_images_of_any_size(run: Run, data: Path, tmp_path: Path) -> None:
    """From files to files: the keypoints lie on the squares, also on sizes not seen in training."""
    folder = draw_squares(tmp_path / "new", 12, seed=9)
    rng = np.random.default_rng(0)
    wide = rng.normal(110, 8, (101, 67)).clip(0, 255).astype(np.uint8)
    wide[70:77, 40:47] = 230
    Image.fromarray(wide).save(folder / "images" / "odd.png")
    out = tmp_path / "out"
    assert predict(run, folder / "images", out)["images"] == 13
    assert len(places(out / "predictions.csv")) == 13
    odd = next(row for row in rows(out / "predictions.csv") if row["image"] == "odd.png")
    assert (float(odd["x"]), float(odd["y"])) == pytest.approx((43, 73), abs=1.5)
    assert float(odd["score"]) > 0.5
    one = next(one for one in predicted(run, folder / "images") if one.image == "odd.png")
    assert one.size == (101, 67)
    assert one.keypoints[0] == pytest.approx((43, 73), abs=1.5)


def test_files_of_a_prediction_agree(run: Run, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    about = predict(run, data / "images", out, overlays=3)
    found = predicted(run, data / "images")
    lines = rows(out / "predictions.csv")
    assert len(lines) == 2 * len(found) == 120
    for line, (one, k) in zip(lines, ((one, k) for one in found for k in (0, 1)), strict=True):
        assert line["image"] == one.image
        assert float(line["x"]) == pytest.approx(one.keypoints[k, 0], abs=1e-3)
        assert float(line["radius_90"]) == pytest.approx(one.radius_90[k], abs=1e-3)
    content = json.loads((out / "predictions.coco.json").read_text())
    assert content["info"]["pixel_convention"] == run.facts.pixel_convention
    assert len(content["annotations"]) == 60
    assert content["annotations"][0]["keypoints"][:2] == pytest.approx(
        found[0].keypoints[0], abs=1e-3
    )
    assert content["annotations"][0]["scores"] == pytest.approx(found[0].scores, abs=1e-3)
    tables = (out / "predictions.deeplabcut.csv").read_text().splitlines()
    assert tables[2].split(",")[1:] == ["x", "y", "likelihood"] * 2
    assert len(tables) == 63
    assert len(list((out / "overlays").glob("*.png"))) == 3
    assert read_json(out / "about.json") == about
    assert about["pixel_convention"] == run.facts.pixel_convention
    assert about["skipped"] == []


def test_predictions_are_labels(run: Run, data: Path, tmp_path: Path) -> None:
    """What is written can be read again as labels, to be corrected or trained on."""
    out = tmp_path / "out"
    predict(run, data / "images", out, overlays=0)
    labels = read_dataset(out / "predictions.csv", root=data / "images")
    read = np.stack([sample.points[0] for sample in labels.samples])
    found = predicted(run, data / "images")
    assert [sample.image for sample in labels.samples] == [one.image for one in found]
    assert read == pytest.approx(np.stack([one.keypoints for one in found]), abs=1e-3)


def test_files_that_are_no_images_are_passed_over(
    run: Run, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    good = (data / "images" / "000.png").read_bytes()
    (folder / "good.png").write_bytes(good)
    (folder / "torn.png").write_bytes(good[: len(good) // 2])
    predict(run, folder, tmp_path / "out")
    assert list(places(tmp_path / "out" / "predictions.csv")) == ["good.png"]
    skipped = read_json(tmp_path / "out" / "about.json")["skipped"]
    assert [one["image"] for one in skipped] == ["torn.png"]
    assert any("passed over" in line for line in caplog.messages)


def test_what_has_changed_since_is_not_continued(run: Run, data: Path, tmp_path: Path) -> None:
    """Images that were replaced, and files of the prediction that somebody has edited."""
    folder, out = tmp_path / "new", tmp_path / "out"
    shutil.copytree(data / "images", folder)
    stopped = run_stopped(run, folder, out, after=2)
    whole = stopped.read_bytes()
    journal = (out / "progress.jsonl").read_text()
    stopped.write_bytes(whole[:-20])
    with pytest.raises(CheckpointError, match="shorter than"):
        predict(run, folder, out, overlays=0, resume=True)
    stopped.write_bytes(whole)
    first = next(iter(places(stopped)))
    os.utime(folder / first, ns=(1, 1))
    with pytest.raises(SettingsError, match="prediction of another run"):
        predict(run, folder, out, overlays=0, resume=True)
    for text in ("", "{}\n", "[]\n", "null\n", journal[:20], '{"order": 3}\n'):
        (out / "progress.jsonl").write_text(text)
        with pytest.raises(SettingsError, match="prediction of another run"):
            predict(run, folder, out, overlays=0, resume=True)


def run_stopped(run: Run, folder: Path, out: Path, after: int) -> Path:
    """A prediction that stopped after some batches; its table."""

    def stop(done: int, total: int) -> None:
        if done >= after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(run, folder, out, overlays=0, progress=stop)
    return out / "predictions.csv"


@pytest.mark.parametrize("value", [{"overlays": -1}, {"threshold": 7}, {"threshold": float("nan")}])
def test_options_have_bounds(run: Run, data: Path, tmp_path: Path, value: dict) -> None:
    with pytest.raises(SettingsError, match="the threshold is from 0 to 1"):
        predict(run, data / "images", tmp_path / "out", **value)
    assert not (tmp_path / "out").exists()


def test_overlays_lie_as_the_images_do(run: Run, data: Path, tmp_path: Path) -> None:
    """No drawing replaces another, and long paths do not become long names."""
    image, folder = (data / "images" / "000.png").read_bytes(), tmp_path / "new"
    long = "/".join(letter * 120 for letter in "abc")
    names = ["a/b.png", "a__b.png", f"{long}/c.png"]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(image)
    predict(run, folder, tmp_path / "out")
    overlays = tmp_path / "out" / "overlays"
    drawn = {path.relative_to(overlays).as_posix() for path in overlays.rglob("*.png")}
    assert drawn == set(names) == set(places(tmp_path / "out" / "predictions.csv"))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_no_table_can_hold_are_passed_over(
    run: Run, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image, folder = (data / "images" / "000.png").read_bytes(), tmp_path / "new"
    folder.mkdir()
    for name in (b"good, 'one'.png", b"two\nlines.png", b"caf\xe9.png"):
        (folder / os.fsdecode(name)).write_bytes(image)
    predict(run, folder, tmp_path / "out")
    assert list(places(tmp_path / "out" / "predictions.csv")) == ["good, 'one'.png"]
    skipped = read_json(tmp_path / "out" / "about.json")["skipped"]
    assert {one["image"] for one in skipped} == {"two\nlines.png", "caf\udce9.png"}
    assert all("rename the file" in one["reason"] for one in skipped)
    assert "2 of 3 images were passed over" in caplog.text


def test_a_folder_in_use_or_empty_is_refused(run: Run, data: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SettingsError, match="new or empty folder"):
        predict(run, data / "images", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="no image"):
        predict(run, tmp_path / "empty", tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "mine.txt"]


def test_exif_rotation_end_to_end(run: Run, data: Path, tmp_path: Path) -> None:
    """An image stored in any of the eight orientations gets the keypoints that it shows."""
    upright = Image.open(data / "images" / "000.png")
    expected = load_model(run).predict(read_image(data / "images" / "000.png"))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    folder = tmp_path / "turned"
    folder.mkdir()
    for orientation in range(1, 9):
        stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored.save(folder / f"{orientation}.png", exif=exif)
    predict(run, folder, tmp_path / "out", overlays=0)
    found = places(tmp_path / "out" / "predictions.csv")
    assert len(found) == 8
    for points in found.values():
        assert np.linalg.norm(points - expected.keypoints, axis=-1).max() <= 0.5
    assert {one.size for one in predicted(run, folder)} == {(upright.height, upright.width)}


def test_radii_are_the_uncertainty_times_the_factor(run: Run, data: Path) -> None:
    """Before calibration there is none, and its cell is empty."""
    model = KeypointModel.build(run.facts.model).eval()
    image = data / "images" / "000.png"
    assert np.isnan(model.predict(image).radius_90).all()
    assert all(row[-1] == "" for row in model.predict(image).rows())
    one = model.calibrated({"factor": 2.0}).predict(image)
    assert (one.uncertainty > 0).all()
    assert one.radius_90 == pytest.approx(2 * one.uncertainty)
    assert [row[-1] for row in one.rows()] == pytest.approx(one.radius_90, abs=1e-3)


def test_evaluation_is_what_the_definitions_say(run: Run, data: Path, tmp_path: Path) -> None:
    """metrics.json against numbers worked out here from predictions.csv and points.csv."""
    labels = read_dataset(data)
    out = tmp_path / "scores"
    scores = evaluate(run, labels, out=out)
    assert scores["split"] == "test"
    assert read_json(out / "metrics.json")["mean_error_px"] == scores["mean_error_px"]
    found = {(r["image"], r["keypoint"]): r for r in rows(out / "predictions.csv")}
    truth = {
        (r["image"], r["point"]): r
        for r in rows(data / "points.csv")
        if r["split"] == "test" and r["state"] == "visible"
    }
    assert truth
    off = [
        np.hypot(float(r["x"]) - float(found[k]["x"]), float(r["y"]) - float(found[k]["y"]))
        for k, r in truth.items()
    ]
    assert scores["mean_error_px"] == pytest.approx(np.mean(off), abs=2e-3)
    assert scores["median_error_px"] == pytest.approx(np.median(off), abs=2e-3)
    assert scores["rmse_px"] == pytest.approx(np.sqrt(np.mean(np.square(off))), abs=2e-3)
    within = [d <= float(found[k]["radius_90"]) for d, k in zip(off, truth, strict=True)]
    assert scores["radius"]["coverage_90"] == pytest.approx(np.mean(within), abs=0.05)
    assert scores["decode_floor_px"] < 0.05
    assert scores["mean_error_px"] < 0.5 * scores["mean_position_baseline_px"]
    assert sum(row["count"] for row in scores["by_border_distance"]) == len(off)
    assert scores["presence"]["absent"] > 0


def test_the_radius_holds_ninety_percent_of_validation(run: Run, data: Path) -> None:
    """Calibration by hand gives the factor that training wrote."""
    labels, model = read_dataset(data), load_model(run)
    samples = [s for s in labels.samples if s.image in run.facts.split["val"]]
    found = [model.predict(read_image(data / s.image)) for s in samples]
    off = errors(np.stack([f.keypoints for f in found]), np.stack([s.points[0] for s in samples]))
    uncertainty = np.stack([f.uncertainty for f in found])
    known = np.isfinite(off)
    factor = conformal_factor(off, uncertainty, 0.9)
    assert factor is not None
    assert run.calibration() == {
        "level": 0.9,
        "keypoints": known.sum(),
        "images": len(samples),
        "factor": pytest.approx(factor),
    }
    assert np.mean(off[known] <= factor * uncertainty[known]) >= 0.9
    radii = np.stack([f.radius_90 for f in found])
    assert np.mean(off[known] <= radii[known]) >= 0.9


def test_too_few_labels_give_no_radius(
    run: Run, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And a warning that says how many there are, and how many it takes."""
    labels, model = read_dataset(data), KeypointModel.build(run.facts.model).eval()
    samples = labels.samples[:4]
    found = [model.predict(read_image(data / s.image)) for s in samples]
    chosen = Keypoints().calibrate(labels, samples, found)
    assert chosen == {"level": 0.9, "keypoints": 7, "images": 4, "factor": None}
    Keypoints.calibration(**chosen)
    assert "the 7 keypoints on 4 images of the validation split are too few" in caplog.text
    assert "It takes 9" in caplog.text
    one = model.calibrated(chosen).predict(read_image(data / samples[0].image))
    assert np.isnan(one.radius_90).all() and {row[-1] for row in one.rows()} == {""}


def test_an_evaluation_replaces_only_an_evaluation(run: Run, data: Path, tmp_path: Path) -> None:
    labels = read_dataset(data)
    evaluate(run, labels, split="val", out=tmp_path / "scores")
    assert evaluate(run, labels, split="train", out=tmp_path / "scores")["split"] == "train"
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SettingsError, match=r"is not empty and holds no metrics\.json"):
        evaluate(run, labels, out=tmp_path)


def test_new_labels_are_taken_whole(run: Run, tmp_path: Path) -> None:
    folder = draw_squares(tmp_path / "new", 5, seed=3)
    text = (folder / "points.csv").read_text().replace(",train", ",").replace(",val", ",")
    (folder / "points.csv").write_text(text.replace(",test", ",").replace("images/", "images/"))
    for file in list((folder / "images").iterdir()):
        file.rename(file.with_name(f"new-{file.name}"))
    points = folder / "points.csv"
    points.write_text(points.read_text().replace("images/", "images/new-"))
    scores = evaluate(run, read_dataset(folder), out=tmp_path / "scores")
    assert (scores["split"], scores["images"]) == ("test", 5)
    assert scores["mean_position_baseline_px"] is None


def test_other_points_are_refused(run: Run, tmp_path: Path) -> None:
    folder = draw_squares(tmp_path / "new", 5)
    points = folder / "points.csv"
    points.write_text(points.read_text().replace(",dark,", ",shadow,"))
    with pytest.raises(DataError, match="lack the keypoints dark"):
        evaluate(run, read_dataset(folder), out=tmp_path / "scores")


def test_states_survive_from_file_to_score(data: Path) -> None:
    visibility = np.stack([s.visibility[0] for s in read_dataset(data).samples])
    assert (visibility == Visibility.ABSENT).sum() == 14
    assert (visibility == Visibility.UNLABELLED).sum() == 1


def test_a_huge_image_is_predicted_in_tiles(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "slides"
    folder.mkdir()
    small = np.random.default_rng(0).integers(90, 130, (60, 70), np.uint8)
    large = np.random.default_rng(1).integers(90, 130, (900, 1000), np.uint8)
    large[400:409, 500:509] = 255
    for name, image in (("a.png", small), ("b.tif", large), ("c.png", small)):
        Image.fromarray(image).save(folder / name)
    predict(run, folder, tmp_path / "whole", overlays=0)
    about = predict(run, folder, tmp_path / "tiles", overlays=3, memory=25_000_000)
    assert about["images"] == 3 and not about["skipped"]
    whole, tiles = (places(tmp_path / out / "predictions.csv") for out in ("whole", "tiles"))
    assert list(tiles) == ["a.png", "b.tif", "c.png"]
    np.testing.assert_allclose(tiles["b.tif"], whole["b.tif"], atol=2e-3)
    assert sorted(p.name for p in (tmp_path / "tiles/overlays").iterdir()) == ["a.png", "c.png"]
    about = predict(run, folder, tmp_path / "short", overlays=0, memory=1_000_000)
    assert [one["image"] for one in about["skipped"]] == ["b.tif"]
    assert "--memory" in about["skipped"][0]["reason"]
