"""Damaged and hostile files end in one error of ours; benchmarks/mutations.py reads thousands."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mutated_files import Seed, _classes, _images, _masks, _signals, made, number
from mutations import MEMORY, prepare, tried
from placewise.archives import ArchiveError, names_in, opened
from placewise.errors import DataError, ImageError, LabelError
from placewise.formats import FORMATS, _lines, read_dataset
from placewise.formats._refused import UNFORESEEN
from placewise.labels import Files

# --- thousands of files, in small -----------------------------------------------------------------


def check(seeds: list[Seed], count: int, folder: Path) -> None:
    """Damage and read files: results and errors of ours only, in bounded memory."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("peak memory is read from /proc")
    found: Counter[str] = Counter()
    for trial in range(count):
        seed = seeds[trial % len(seeds)]
        place, how = prepare(seed, trial, folder)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            one = tried(seed, place)
        found[one["what"]] += 1
        assert one["what"] in ("result", "error"), (seed.name, trial, how, one)
        assert one["mib"] < MEMORY, (seed.name, trial, how, one)
    assert found["result"] > count / 10, "hardly a file is still read: what is damaged?"
    assert found["error"] > count / 10, "hardly a file is refused: is anything damaged?"


def test_a_few_hundred_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    seeds = []
    for maker in (_classes, _images, _masks, _signals):
        home = tmp_path / maker.__name__
        home.mkdir()
        seeds += list(maker(home))
    check(seeds, 200, tmp_path)


@pytest.mark.slow
def test_thousands_of_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    check(made(tmp_path / "made"), 3000, tmp_path)


def test_every_good_file_is_read_before_it_is_damaged(tmp_path: Path) -> None:
    """Else the mutations would test nothing but the first check."""
    for maker in (_classes, _images, _masks, _signals):
        home = tmp_path / maker.__name__
        home.mkdir()
        for seed in maker(home):
            assert tried(seed, seed.folder)["what"] == "result", seed


# --- archives -------------------------------------------------------------------------------------


def field(data: bytes, mark: bytes, at: int, value: int) -> bytes:
    """A zip file with another number in the last header of this kind."""
    start = data.rindex(mark) + at
    return data[:start] + value.to_bytes(2, "little") + data[start + 2 :]


FIELDS = {
    "an unknown method": (b"PK\x01\x02", 10, 93),
    "a version that is not there yet": (b"PK\x01\x02", 6, 255),
    "a password": (b"PK\x01\x02", 8, 1),
    "another method than it says": (b"PK\x01\x02", 10, 12),
    "a length that is too long": (b"PK\x03\x04", 26, 60000),
}


@pytest.mark.parametrize("what", FIELDS)
def test_an_archive_that_cannot_be_unpacked_is_one_error(tmp_path: Path, what: str) -> None:
    images = np.zeros((4, 6, 5), np.uint8)
    np.savez_compressed(tmp_path / "good.npz", images=images, labels=[0, 1, 0, 1])
    good = (tmp_path / "good.npz").read_bytes()
    mark, at, value = FIELDS[what]
    for file, arrays in {
        "classes.npz": {"images": images, "labels": [0, 1, 0, 1]},
        "signal.npz": {"fs": 3.0, "signal": np.zeros(9)},
        "beats.npz": {"fs": 3.0, "beats": np.arange(3), "signal": np.zeros(9)},
    }.items():
        np.savez_compressed(tmp_path / file, **arrays)
        data = (tmp_path / file).read_bytes()
        (tmp_path / file).write_bytes(field(data, mark, at, value))
    with pytest.raises((LabelError, DataError)):
        read_dataset(tmp_path / "classes.npz", format="npz")
    with pytest.raises(LabelError):
        read_dataset(tmp_path / "beats.npz", format="beats")
    with pytest.raises(ImageError, match=r"signal\.npz"):
        Files(tmp_path).read("signal.npz")
    archive = tmp_path / "a_RoiSet.zip"
    archive.write_bytes(field(good.replace(b".npy", b".roi"), mark, at, value))
    with pytest.raises(DataError):
        read_dataset(archive, format="imagej")


def test_an_array_is_judged_by_its_header(tmp_path: Path) -> None:
    """A small file that says it holds a terabyte, and one whose member is no array."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**5)}
    )
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("image.npy", header.getvalue())
        packed.writestr("mask.npy", b"not an array")
    with opened(tmp_path / "a.npz") as archive:
        assert archive.arrays == ("image", "mask")
        with pytest.raises(ArchiveError, match="762,939 MiB, the most is 8,192"):
            archive.array("image")
        with pytest.raises(ArchiveError, match="magic"):
            archive.array("mask")
    (tmp_path / "b.zip").write_bytes(b"PK\x03\x04 and no more")
    assert names_in(tmp_path / "b.zip") == ()


def test_names_in_hdf5_that_are_no_text_are_passed_over(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["abcdefgh"] = [1]
        file.attrs["hgfedcba"] = 1
    data = (tmp_path / "a.h5").read_bytes()
    assert b"abcdefgh" in data
    (tmp_path / "a.h5").write_bytes(data.replace(b"abcdefgh", b"\xff\xfe\xffdefgh"))
    with pytest.raises(LabelError):
        read_dataset(tmp_path / "a.h5")


@pytest.mark.parametrize("packed", [False, True])
def test_an_array_of_matlab_without_a_shape_does_not_end_the_process(
    tmp_path: Path, packed: bool
) -> None:
    """scipy 1.17 breaks down (SIGSEGV) at a text in a cell whose shape has no numbers."""
    savemat = pytest.importorskip("scipy.io").savemat
    names = np.array(["nose", "tail"], object)
    saved = {"names": names, "points": np.ones((2, 2, 2))}
    savemat(tmp_path / "a.mat", saved, do_compression=packed)
    data = (tmp_path / "a.mat").read_bytes()
    head, rest = data[:128], data[128:]
    if packed:
        size = int.from_bytes(rest[4:8], "little")
        first, rest = zlib.decompress(rest[8 : 8 + size]), rest[8 + size :]
    else:
        size = 8 + int.from_bytes(rest[4:8], "little")
        first, rest = rest[:size], rest[size:]
    shape = b"\x05\0\0\0\x08\0\0\0"
    assert first.count(shape) == 3  # of the cell, and of its two texts
    at = first.rindex(shape)
    first = first[: at + 4] + bytes(4) + first[at + 8 :]
    if packed:
        kept = zlib.compress(first)
        first = b"\x0f\0\0\0" + len(kept).to_bytes(4, "little") + kept
    (tmp_path / "a.mat").write_bytes(head + first + rest)
    with pytest.raises(LabelError, match="an array in it has no shape"):
        read_dataset(tmp_path / "a.mat")


# --- lines ----------------------------------------------------------------------------------------

PIECES = st.sampled_from(["a", "bc,", "\n", "\r", "\r\n", "é", "語", "\u2028", "\x0b"])


def plain_lines(text: str) -> list[str]:
    """Lines of a whole text, written plainly."""
    return [one for one in re.split(r"(?<=\n)|(?<=\r)(?!\n)", text) if one]


@settings(max_examples=100, deadline=None)
@given(
    text=st.lists(PIECES, max_size=40).map("".join),
    chunk=st.integers(1, 9),
    coding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_lines_are_those_of_the_whole_text(
    tmp_path_factory: pytest.TempPathFactory, text: str, chunk: int, coding: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "lines.txt"
    path.write_bytes(text.encode(coding))
    usual, _lines.CHUNK = _lines.CHUNK, chunk
    try:
        found = list(_lines.lines_of(path, 1000))
    finally:
        _lines.CHUNK = usual
    assert [line.text for line in found] == plain_lines(text)
    assert all(line.bad is None for line in found)


@pytest.mark.parametrize("chunk", [1, 3, 1 << 18])
def test_bytes_that_are_no_text_are_found_and_long_lines_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(_lines, "CHUNK", chunk)
    data = "é\n".encode() + b"ab\xffc\n" + b"x" * 30 + b"\nlast"
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + data)
    found = list(_lines.lines_of(tmp_path / "a.txt", 10))
    assert [line.bad for line in found] == [None, (0xFF, 3 + data.index(b"\xff")), None, None]
    assert [line.text for line in found] == ["é\n", "ab\ufffdc\n", "x" * 11, "last"]


# --- what no reader foresees ----------------------------------------------------------------------


def test_what_no_reader_foresees_is_one_error_with_its_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("colour")

    monkeypatch.setattr(FORMATS["long_csv"], "read", fail)
    (tmp_path / "points.csv").write_text("image,keypoint,x,y\na.png,nose,1,2\n")
    with pytest.raises(DataError, match=UNFORESEEN) as told:
        read_dataset(tmp_path / "points.csv")
    assert isinstance(told.value.__cause__, KeyError)
    assert "points.csv" in str(told.value)
    assert "KeyError: 'colour'" in str(told.value)


def test_a_number_of_a_header_is_damaged_where_it_is_said() -> None:
    """The mutations are functions of their seed."""
    from random import Random

    data = bytes(64)
    assert number(data, Random(3)) == number(data, Random(3))
    assert any(number(data, Random(k)) != data for k in range(9))
