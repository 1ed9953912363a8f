"""From a video to tables, a labelled video, a report, and the next frames to label."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import placewise.cli as cli
from conftest import draw_squares
from placewise.errors import SettingsError
from placewise.files import read_json, write_json
from placewise.formats import read_dataset
from placewise.frames import VideoWriter
from placewise.frames.video import Video, index_of
from placewise.motion import Track, median_smoothed
from placewise.prediction.labelled import write_labelled
from placewise.prediction.movement import Movement, read_tracks, write_deeplabcut, write_table
from placewise.prediction.video import VideoOptions, predict_video
from placewise.prediction.video_report import report_of
from placewise.report.parts import Legend
from placewise.training import TrainingSettings, train
from videos import av

COUNT = 20
TINY = {"max_steps": 2, "device": "cpu", "backbone_settings": {"width": 16}, "val_interval": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs that have hardly learnt, and a clip of a square that moves."""
    home = tmp_path_factory.mktemp("clips")
    dataset = read_dataset(draw_squares(home / "squares", 10))
    for seed in (0, 1):
        train(dataset, home / f"run{seed}", TrainingSettings.of(**TINY, seed=seed), quiet=True)
    rng = np.random.default_rng(0)
    with VideoWriter(home / "clip.mp4") as writer:
        for number in range(COUNT):
            image = rng.normal(110, 8, (48, 56, 1)).clip(0, 255).repeat(3, -1).astype(np.uint8)
            image[20:27, number : number + 7] = 230
            writer.write(image, number / 25)
    return home


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as text:
        return list(csv.DictReader(text))


@pytest.fixture(scope="module")
def predicted(folder: Path) -> Path:
    words = ["predict", str(folder / "run0"), str(folder / "clip.mp4"), "--device", "cpu"]
    more = ["--start", "2", "--step", "3", "--video", "--smooth", "median=3", "--gate", "0"]
    cli.main([*words, "--out", str(folder / "predicted"), *more, "--quiet"])
    return folder / "predicted"


def test_every_frame_has_its_number_and_its_time(predicted: Path) -> None:
    rows = rows_of(predicted / "predictions.csv")
    assert [*rows[0]] == ["frame", "time", "keypoint", "x", "y", "score", "radius_90"]
    assert [int(row["frame"]) for row in rows[::2]] == [*range(2, COUNT, 3)]
    assert float(rows[2]["time"]) == pytest.approx(5 / 25)
    assert [row["keypoint"] for row in rows[:2]] == ["light", "dark"]


def test_the_table_is_what_the_network_says_smoothed(predicted: Path) -> None:
    numbers = range(2, COUNT, 3)
    (raw,) = read_tracks(predicted / "raw/1/predictions.csv", ("light", "dark"), numbers)
    smooth = median_smoothed(raw.places, 3).reshape(-1, 2)
    rows = rows_of(predicted / "predictions.csv")
    found = [[float(row["x"]), float(row["y"])] for row in rows]
    assert np.array(found) == pytest.approx(smooth, abs=1e-3)
    assert {row["radius_90"] for row in rows} == {""}  # they are of the places before


def test_deeplabcut_gets_a_row_for_each_frame(predicted: Path) -> None:
    lines = (predicted / "clipplacewise.csv").read_text().splitlines()
    assert lines[1].split(",") == ["bodyparts", *["light"] * 3, *["dark"] * 3]
    assert [line.split(",")[0] for line in lines[3:]] == [str(n) for n in range(2, COUNT, 3)]


def test_the_labelled_video_plays_in_browsers(predicted: Path) -> None:
    file = predicted / "labelled.mp4"
    data = file.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat") and b"avc1" in data
    with av.open(str(file)) as container:
        frames = list(container.decode(video=0))
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
    assert len(frames) == len(range(2, COUNT, 3))
    assert frames[0].width % 2 == frames[0].height % 2 == 0
    assert np.diff([frame.time for frame in frames]) == pytest.approx(3 / 25, abs=1e-3)


def test_the_report_holds_what_it_says_and_the_next_command_works(
    predicted: Path, tmp_path: Path
) -> None:
    page = (predicted / "report.html").read_text()
    about = read_json(predicted / "about.json")
    assert "not sure" in page and "longest gap" in page and page.count("data:image") >= 7
    assert about["frames"] == 6 and about["smooth"] == "median=3"
    assert sorted(about["files"]) == sorted(
        path.name for path in predicted.iterdir() if path.name not in ("about.json", "raw")
    )
    words = about["next"].split()
    assert words[:2] == ["placewise", "frames"]
    words[words.index("--out") + 1], words[words.index("--number") + 1] = str(tmp_path), "3"
    cli.main([*words[1:], "--quiet"])
    assert len(list(tmp_path.glob("labeled-data/clip/img*.png"))) == 3


def test_a_prediction_goes_on_and_its_files_are_made_anew(predicted: Path, folder: Path) -> None:
    given = [folder / "run0"], folder / "clip.mp4", predicted
    options = VideoOptions(start=2, step=3)
    with pytest.raises(SettingsError, match="add --resume"):
        predict_video(*given, options, device="cpu")
    before = (predicted / "raw/1/predictions.csv").stat().st_mtime_ns
    rows = (predicted / "predictions.csv").read_text()
    predict_video(*given, options, device="cpu", resume=True)
    assert (predicted / "raw/1/predictions.csv").stat().st_mtime_ns == before
    assert (predicted / "predictions.csv").read_text() != rows  # not smoothed now
    assert not (predicted / "labelled.mp4").exists()  # it was of the smoothed places
    with pytest.raises(SettingsError, match="prediction of another run"):
        predict_video(*given, VideoOptions(start=1, step=3), device="cpu", resume=True)


def test_a_folder_of_the_user_is_left_alone(folder: Path, tmp_path: Path) -> None:
    """Also one that has a folder `raw` of its own, and a table with the name of ours."""
    out = tmp_path / "mine"
    (out / "raw" / "1").mkdir(parents=True)
    (out / "predictions.csv").write_text("precious")
    with pytest.raises(SettingsError, match="new or empty folder"):
        predict_video([folder / "run0"], folder / "clip.mp4", out, device="cpu", resume=True)
    assert [path.name for path in out.rglob("*") if path.is_file()] == ["predictions.csv"]
    assert (out / "predictions.csv").read_text() == "precious"


def test_a_video_has_one_prediction_at_a_time(folder: Path, tmp_path: Path) -> None:
    given, refused = ([folder / "run0"], folder / "clip.mp4", tmp_path / "out"), []
    options = VideoOptions(step=5)

    def progress(done: int, total: int) -> None:
        with pytest.raises(SettingsError, match="a prediction is writing into") as told:
            predict_video(*given, options, device="cpu", resume=True)
        refused.append(told)

    predict_video(*given, options, device="cpu", progress=progress)
    assert refused


def test_two_runs_are_smoothed_together(folder: Path, tmp_path: Path) -> None:
    runs, clip = [folder / "run0", folder / "run1"], folder / "clip.mp4"
    seen = []
    about = predict_video(
        runs,
        clip,
        tmp_path / "both",
        VideoOptions(stop=6, smooth="eks"),
        device="cpu",
        progress=lambda done, total: seen.append((done, total)),
    )
    assert about["runs"] == [str(run) for run in runs]
    assert seen[-1] == (6, 6) and [done for done, _ in seen] == sorted(done for done, _ in seen)
    with pytest.raises(SettingsError, match="eks needs two runs"):
        predict_video(runs[:1], clip, tmp_path / "one", VideoOptions(smooth="eks"))


@pytest.mark.parametrize(
    "wrong", [{"smooth": "median=4"}, {"smooth": "mean"}, {"gate": 2.0}, {"step": 0}, {"stop": 0}]
)
def test_options_that_cannot_be_are_refused(wrong: dict) -> None:
    with pytest.raises(SettingsError, match="got"):
        VideoOptions(**wrong)


def test_options_of_videos_are_for_videos(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", str(folder / "run0"), str(folder / "squares/images")]
    with pytest.raises(SystemExit):
        cli.main([*words, "--out", str(tmp_path / "out"), "--video", "--gate", "0.5"])
    assert "--video, --gate are for videos" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main([*words[:2], "--out", str(tmp_path / "out")])
    assert "name the folder of a run, then the images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--overlays", "0"], "clip.mp4 is a video, and --overlays is for images; leave it out"),
        (["--overlays", "9", "--memory", "4GB"], "and --overlays, --memory are for images; leave"),
        (["--track"], "--track follows objects over images, and "),
    ],
)
def test_options_of_images_are_for_images(
    more: list[str], says: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", str(folder / "run0"), str(folder / "clip.mp4")]
    with pytest.raises(SystemExit):
        cli.main([*words, "--out", str(tmp_path / "out"), *more])
    assert says in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


# --- several animals ----------------------------------------------------------------------------


def crossing(video: Path) -> Movement:
    """Two animals, of which the second comes late and the first goes early."""
    t = np.arange(12.0)
    one = np.stack([t[:9] * 3, t[:9]], -1)[:, None] + np.array([[0.0, 0], [5, 0]])
    two = np.stack([40 - t[4:] * 2, t[4:] * 2], -1)[:, None] + np.array([[0.0, 0], [0, 5]])
    tracks = tuple(
        Track(places, np.full(places.shape[:2], 0.9), np.full(places.shape[:2], np.nan), who, start)
        for places, who, start in ((one, 7, 0), (two, 8, 4))
    )
    numbers, times = range(0, 12), t / 25
    return Movement(video, Video(), ("nose", "tail"), numbers, times, (48, 56), tracks, (), "poses")


def test_animals_keep_their_rows(folder: Path, tmp_path: Path) -> None:
    movement = crossing(folder / "clip.mp4")
    write_table(movement, tmp_path / "p.csv")
    rows = rows_of(tmp_path / "p.csv")
    assert [row["track"] for row in rows] == ["7"] * 8 + ["7", "7", "8", "8"] * 5 + ["8"] * 6
    assert [float(row["x"]) for row in rows if row["track"] == "8"][::2] == [
        40.0 - 2 * t for t in range(4, 12)
    ]
    assert write_deeplabcut(movement, tmp_path)[0] == "clipplacewise.csv"
    lines = (tmp_path / "clipplacewise.csv").read_text().splitlines()
    assert lines[1].split(",")[1::6] == ["individual1", "individual2"]
    cells = [line.split(",") for line in lines[4:]]
    assert [row[0] for row in cells] == [str(n) for n in range(12)]
    assert [bool(row[1]) for row in cells] == [n < 9 for n in range(12)]
    assert [bool(row[7]) for row in cells] == [n >= 4 for n in range(12)]


def test_a_long_table_is_written_piece_by_piece(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    movement = crossing(folder / "clip.mp4")
    write_deeplabcut(movement, tmp_path)
    whole = (tmp_path / "clipplacewise.csv").read_bytes()
    monkeypatch.setattr("placewise.prediction.movement.CHUNK", 5)
    write_deeplabcut(movement, tmp_path)
    assert (tmp_path / "clipplacewise.csv").read_bytes() == whole


@pytest.mark.parametrize("count", [1, 2])
def test_both_tables_of_deeplabcut_hold_the_same(folder: Path, tmp_path: Path, count: int) -> None:
    """The CSV is made from labels piece by piece, the .h5 from arrays."""
    pytest.importorskip("h5py")
    movement = crossing(folder / "clip.mp4")
    movement = replace(movement, tracks=movement.tracks[:count])
    csv, h5 = (tmp_path / name for name in write_deeplabcut(movement, tmp_path))
    task = "poses" if count > 1 else None
    one, other = (read_dataset(file, root=folder, task=task) for file in (csv, h5))
    assert [s.image for s in one.samples] == [s.image for s in other.samples]
    assert len(one.samples) >= 9
    for left, right in zip(one.samples, other.samples, strict=True):
        assert left.points == pytest.approx(right.points, abs=1e-6, nan_ok=True)
        assert left.scores == pytest.approx(right.scores, abs=1e-6, nan_ok=True)


def test_animals_are_drawn_and_reported_with_their_numbers(folder: Path, tmp_path: Path) -> None:
    movement = crossing(folder / "clip.mp4")
    write_labelled(movement, tmp_path / "l.mp4", 0.5)
    assert len(index_of(tmp_path / "l.mp4")) == 12
    report = report_of(movement, movement, np.zeros(12), tmp_path, None, 0.5)
    assert ("animals followed", "2") in report.tiles
    page = report.html()
    assert "animal 8" in page and "animal 7" in report.text()
    assert str(Legend(movement.names, by_shape=True).html(iter(()))) in page, "as they are drawn"
    assert "--order worst" in report.text(), "how the worst frames are corrected"


def test_rows_of_tracks_are_read_with_their_gaps(tmp_path: Path) -> None:
    file = tmp_path / "predictions.csv"
    lines = ["image,instance,keypoint,x,y,score,found,instance_score,track"]
    for number, who in ((4, 0), (6, 0), (6, 3)):
        for k, name in enumerate(("nose", "tail")):
            lines.append(f"c.mp4[{number}],0,{name},{number + k},{who},0.5,peak,1,{who}")
    file.write_text("\n".join(lines) + "\n")
    first, second = read_tracks(file, ("nose", "tail"), range(4, 9))
    assert (first.identity, first.start, first.stop) == (0, 0, 3)
    assert first.places[:, 0, 0].tolist()[::2] == [4.0, 6.0]
    assert first.there.all(1).tolist() == [True, False, True]
    assert (second.identity, second.start, second.stop) == (3, 2, 3)


# --- writing and choosing -----------------------------------------------------------------------


def test_odd_sides_become_even(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "odd.mp4") as writer:
        for number in range(3):
            writer.write(np.full((33, 47, 3), 40 * number, np.uint8), number / 10)
    assert Video().read(tmp_path / "odd.mp4", 2).shape == (34, 48, 3)


def numbers_in(folder: Path) -> list[int]:
    return sorted(int(file.stem[3:]) for file in folder.glob("labeled-data/*/img*.png"))


@pytest.mark.parametrize("method", ["kmeans", "uniform", "random"])
def test_frames_are_taken_out_and_never_overwritten(
    method: str, folder: Path, tmp_path: Path
) -> None:
    words = ["frames", str(folder / "clip.mp4"), "--number", "4", "--method", method, "--quiet"]
    cli.main([*words, "--out", str(tmp_path / "a")])
    first = numbers_in(tmp_path / "a")
    assert len(first) == 4
    mine = tmp_path / "a/labeled-data/clip" / f"img{first[0]:02d}.png"
    assert np.array_equal(np.asarray(Image.open(mine)), Video().read(folder / "clip.mp4", first[0]))
    mine.write_bytes(b"mine")
    cli.main([*words, "--out", str(tmp_path / "a")])
    assert len(numbers_in(tmp_path / "a")) == 8 and mine.read_bytes() == b"mine"
    cli.main([*words, "--out", str(tmp_path / "b")])
    assert numbers_in(tmp_path / "b") == first  # the same seed, the same frames


def test_frames_where_keypoints_jump_are_found_by_predictions(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = tmp_path / "told"
    told.mkdir()
    rows = [
        f"{n},{n / 25},{0.9 if n in (3, 11, 17) else 0.1},{int(n in (5, 9))}" for n in range(20)
    ]
    (told / "frames.csv").write_text("\n".join(["frame,time,doubt,jumps", *rows]) + "\n")
    base = ["frames", str(folder / "clip.mp4"), "--predictions", str(told), "--quiet"]
    cli.main([*base, "--method", "jumps", "--number", "5", "--out", str(tmp_path / "j")])
    assert numbers_in(tmp_path / "j") == [5, 9]
    cli.main([*base, "--method", "uncertain", "--number", "1", "--out", str(tmp_path / "u")])
    assert numbers_in(tmp_path / "u")[0] in (3, 11, 17)
    with pytest.raises(SystemExit):
        cli.main([*base, "--method", "kmeans", "--out", str(tmp_path / "k")])
    with pytest.raises(SystemExit):
        cli.main([*base[:2], "--method", "uncertain", "--out", str(tmp_path / "k")])
    assert "name a run with --run" in capsys.readouterr().err


def test_predictions_of_another_video_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "frames.csv").write_text("frame,time,doubt,jumps\n3,0.1,0.9,1\n")
    write_json(tmp_path / "about.json", {"video": "/somewhere/other.mp4"})
    words = ["frames", str(folder / "clip.mp4"), "--method", "jumps", "--out", str(tmp_path / "o")]
    with pytest.raises(SystemExit):
        cli.main([*words, "--predictions", str(tmp_path)])
    assert "predictions of other.mp4, and the frames are of clip.mp4" in capsys.readouterr().err


def test_predictions_say_which_folder_they_are_not(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "about.json").write_text(json.dumps({}))
    words = ["frames", str(folder / "clip.mp4"), "--method", "jumps", "--out", str(tmp_path / "o")]
    with pytest.raises(SystemExit):
        cli.main([*words, "--predictions", str(tmp_path)])
