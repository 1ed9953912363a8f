"""Files with another number of axes, or of channels, than the run reads: said, and passed over."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import placewise
from conftest import blob, write_signals, write_volumes
from placewise.errors import DataError, ImageError, ShapeError
from placewise.readers import list_files

SAYS = {
    1: r"the model reads recordings \(length\): save it as .wav, .csv or .npz",
    2: r"the model reads images \(height, width\): save it as PNG or TIFF",
    3: r"the model reads volumes \(depth, height, width\): save it as a TIFF with the axes ZYX",
}
GOT = {1: r"got a signal \(length\), and ", 2: r"got an image \(", 3: r"got a volume \("}


def write_squares(folder: Path) -> None:
    """Ten images with a bright place each, which is labelled; the folder is there."""
    rng, rows = np.random.default_rng(0), ["image,split,keypoint,x,y"]
    for k, split in enumerate(["train"] * 6 + ["val"] * 2 + ["test"] * 2):
        place = rng.uniform(6, 18, 2)
        pixels = 200 * blob((24, 24), place) + rng.uniform(0, 20, (24, 24, 1))
        Image.fromarray(pixels[..., 0].astype(np.uint8)).save(folder / f"i{k}.png")
        rows.append(f"i{k}.png,{split},peak,{place[0]:.3f},{place[1]:.3f}")
    (folder / "points.csv").write_text("\n".join(rows) + "\n")


WRITE = {1: write_signals, 2: write_squares, 3: write_volumes}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data and a run for each number of axes; read it, do not write to it."""
    home = tmp_path_factory.mktemp("kinds")
    for axes, write in WRITE.items():
        (home / f"data{axes}").mkdir()
        write(home / f"data{axes}")
        dataset = placewise.read_dataset(home / f"data{axes}")
        settings = {"max_steps": 1, "precision": "float32", "backbone_settings": {"width": 16}}
        placewise.train(dataset, home / f"run{axes}", quiet=True, **settings)
    return home


def write_pages(path: Path) -> Path:
    """A TIFF of three pages that names no axis Z."""
    pages = [Image.fromarray(np.full((24, 24), 40 * k, np.uint8)) for k in range(3)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    return path


def one_of(axes: int, home: Path) -> Path:
    return home / f"data{axes}" / {1: "r0.npz", 2: "i0.png", 3: "v0.npz"}[axes]


@pytest.mark.parametrize("got", WRITE)
@pytest.mark.parametrize("axes", WRITE)
def test_a_file_with_other_axes_is_one_error(
    axes: int, got: int, home: Path, tmp_path: Path
) -> None:
    if axes == got:
        return
    run, file = home / f"run{axes}", one_of(got, home)
    with pytest.raises(ImageError, match=f"no image could be predicted.*{GOT[got]}.*{SAYS[axes]}"):
        placewise.predict(run, file, tmp_path / "found")
    with pytest.raises(ShapeError, match=f"^'{file.name}': {GOT[got]}.*{SAYS[axes]}"):
        placewise.load_model(run).predict(file)
    with pytest.raises(ShapeError, match=f"{GOT[got]}.*{SAYS[axes]}"):
        placewise.evaluate(run, placewise.read_dataset(home / f"data{got}"))


@pytest.mark.parametrize("name", ["pages.tif", "flat.TIF"])
def test_a_tiff_that_names_no_axis_z_is_passed_over_by_a_run_of_volumes(
    name: str, home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    file = write_pages(folder / name)
    if name == "flat.TIF":
        Image.fromarray(np.zeros((24, 24), np.uint8)).save(file)
    for where in (file, folder):
        with pytest.raises(ImageError, match=f"no image could be predicted.*{name}.*{SAYS[3]}"):
            placewise.predict(home / "run3", where, tmp_path / f"found_{where.name}")
    shutil.copy(one_of(3, home), folder)
    about = placewise.predict(home / "run3", folder, tmp_path / "found")
    assert about["images"] == 1 and [one["image"] for one in about["skipped"]] == [name]
    assert about["skipped"][0]["reason"].startswith("got an image (height, width)")
    assert "1 of 2 images were passed over" in caplog.text
    with pytest.raises(ShapeError, match=f"'{name}': {GOT[2]}"):
        placewise.load_model(home / "run3").predict(folder)


def test_arrays_of_the_other_kind_in_a_folder_are_passed_over(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for axes in (1, 3):
        shutil.copy(one_of(axes, home), folder)
    for axes, other in ((1, "v0.npz"), (3, "r0.npz")):
        about = placewise.predict(home / f"run{axes}", folder, tmp_path / f"found{axes}")
        assert about["images"] == 1 and [one["image"] for one in about["skipped"]] == [other]


def test_tables_that_are_left_out_of_a_folder_of_signals_are_named(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        assert len(list_files(home / "data1", 1)) == 10
    assert "left out as labels: 1 table with more than numbers, e.g. points.csv" in caplog.text


# --------------------------------------------------------------------------------------------------
# Channels


@pytest.mark.parametrize("axes", [1, 3])
def test_signals_and_volumes_with_other_channels_are_passed_over(
    axes: int, home: Path, tmp_path: Path
) -> None:
    folder, values = tmp_path / "data", np.random.default_rng(0).random((16,) * axes)
    folder.mkdir()
    np.savez(folder / "one.npz", **{"signal" if axes == 1 else "volume": values})
    pair = np.stack([values] * 2, -1)
    np.savez(folder / "two.npz", **{"signal" if axes == 1 else "volume": pair})
    about = placewise.predict(home / f"run{axes}", folder, tmp_path / "found")
    assert about["images"] == 1 and [one["image"] for one in about["skipped"]] == ["two.npz"]
    assert about["skipped"][0]["reason"].startswith("got 2 channels, and the model reads ")
    model = placewise.load_model(home / f"run{axes}")
    with pytest.raises(ShapeError, match=r"got 2 channels, .* with 1: save it with as many"):
        model.predict(pair)
    assert model.predict(values).size == values.shape


def test_decimal_commas_that_were_read_as_columns_are_said(home: Path, tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text("\n".join(f"{k},{k % 7}" for k in range(100)) + "\n")
    with pytest.raises(ImageError, match=r"got 2 channels.*put semicolons between the numbers"):
        placewise.predict(home / "run1", table, tmp_path / "found")


@pytest.mark.parametrize("axes", [1, 3])
def test_training_refuses_several_numbers_of_channels(
    axes: int, home: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(home / f"data{axes}", folder)
    last = folder / ("r9.npz" if axes == 1 else "v9.npz")
    with np.load(last) as held:
        name = "signal" if axes == 1 else "volume"
        values = held[name].reshape(held[name].shape[:axes])
    np.savez(last, **{name: np.stack([values] * 2, -1)})
    dataset = placewise.read_dataset(folder)
    first = dataset.samples[0].image
    with pytest.raises(DataError, match=rf"'{first}' has 1 channel, and '{last.name}' 2; a netw"):
        placewise.train(dataset, tmp_path / "run", max_steps=1, quiet=True)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_keep_changing_between_colour_and_grey(channels: int, home: Path) -> None:
    assert placewise.load_model(home / "run2").predict(np.zeros((24, 24, channels))).size
