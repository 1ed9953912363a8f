"""Files of other tools: each is refused in one line that names the tool, and nothing is run."""

from __future__ import annotations

import gzip
import io
import pickle
import sqlite3
import sys
import tarfile
import wave
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from placewise.errors import LabelError, SettingsError
from placewise.formats import read_dataset
from placewise.formats._tools import TOOLS, is_binary, named_like


def archive(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name in names:
            packed.writestr(name, "x")
    return buffer.getvalue()


def an_image(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (9, 9)).save(buffer, kind)
    return buffer.getvalue()


def sound() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(64))
    return buffer.getvalue()


def tape() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        file.addfile(tarfile.TarInfo("a"))
    return buffer.getvalue()


def database() -> bytes:
    with sqlite3.connect(":memory:") as base:
        base.execute("create table a (b)")
        data = base.serialize()
    base.close()
    return data


def hdf5(*names: str, head: int = 0) -> bytes:
    h5py = pytest.importorskip("h5py")
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", userblock_size=head) as file:
        for name in names:
            file.create_group(name)
    return buffer.getvalue()


NOISE = np.random.default_rng(0).integers(0, 256, 4000, dtype=np.uint8).tobytes()
PICKLED = pickle.dumps([np.ones(3)], protocol=4)

FOREIGN = {
    "clip.mp4": (lambda: b"\0\0\0\x20ftypisom" + NOISE, "a video.*placewise label .*clip.mp4"),
    "clip.mov": (lambda: b"\0\0\0\x14ftypqt  " + NOISE, "a video"),
    "clip.avi": (lambda: b"RIFF\1\2\3\4AVI LIST" + NOISE, "a video"),
    "clip.mkv": (lambda: b"\x1aE\xdf\xa3" + NOISE, "a video"),
    "clip.mpg": (lambda: b"\0\0\1\xba" + NOISE, "a video"),
    "clip.wmv": (lambda: b"0&\xb2u\x8ef\xcf\x11" + NOISE, "a video"),
    "clip.ufmf": (lambda: NOISE, "a video"),
    "labels": (lambda: b"\0\0\0\x20ftypisom" + NOISE, "a video"),  # without an ending
    "clipDLC_full.pickle": (lambda: PICKLED, "a pickle.*never opened; give the .h5 or .csv"),
    "labels.pkl": (lambda: PICKLED, "a pickle of Python, which can run code"),
    "labels.csv": (lambda: PICKLED, "a pickle of Python"),  # whatever it is called
    "photo.heic": (lambda: b"\0\0\0\x20ftypheic" + NOISE, "a photo in HEIC"),
    "a.png": (lambda: an_image("png"), "an image, which holds no labels"),
    "a.jpg": (lambda: an_image("jpeg"), "an image"),
    "a.tif": (lambda: an_image("tiff"), "an image"),
    "points.csv": (lambda: an_image("png"), "an image"),
    "song.wav": (sound, "a recording of sound"),
    "old.lbl": (lambda: NOISE, r"a project of APT \(.lbl\); export its labels"),
    "x.mat": (lambda: b"MATLAB 5.0 MAT-file" + bytes(107) + b"\0\1IM", "a MATLAB file without"),
    "seven.mat": (lambda: hdf5("a", head=512), "a MATLAB file without"),
    "table.xlsx": (lambda: archive("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook"),
    "table.xls": (lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "an Excel workbook"),
    "table.ods": (lambda: archive("mimetype", "content.xml"), "an OpenDocument"),
    "paper.pdf": (lambda: b"%PDF-1.7\n" + NOISE, "a document"),
    "net.pt": (lambda: archive("net/data.pkl", "net/version"), "weights of PyTorch"),
    "net.onnx": (lambda: b"\x08\7\x12\0" + NOISE, "weights of a network"),
    "net.h5": (lambda: hdf5("model_weights"), "weights of Keras"),
    "some.h5": (lambda: hdf5("what"), "an HDF5 file of a tool that is not known"),
    "empty.nwb": (
        lambda: hdf5("specifications", "processing", "session_start_time"),
        "NWB without ndx-pose",
    ),
    "a.tfrecord": (lambda: NOISE, "records of TensorFlow"),
    "a.npy": (lambda: b"\x93NUMPY\1\0" + bytes(200), "an array of numpy without names"),
    "a.parquet": (lambda: b"PAR1" + NOISE, "a table in Parquet"),
    "a.sqlite": (database, "a database of SQLite"),
    "a.rds": (lambda: gzip.compress(b"RDX3"), "a packed file"),
    "a.zip": (lambda: archive("a.txt"), "an archive; unpack it"),
    "a.tar": (tape, "a packed file; unpack it"),
    "a.7z": (lambda: b"7z\xbc\xaf\x27\x1c" + NOISE, "a packed file"),
    "a.nii": (lambda: bytes(344) + b"n+1\0" + bytes(100), "a volume in NIfTI"),
    "a.dcm": (lambda: bytes(128) + b"DICM" + bytes(100), "an image in DICOM"),
    "a.c3d": (lambda: b"\2\x50" + NOISE, "markers of motion capture"),
    "a.exe": (lambda: b"MZ\x90\0" + NOISE, "a program"),
    "a.bin": (lambda: NOISE, "no text, and of a tool that is not known"),
}
"""Content of a file, and how its refusal goes."""


def test_there_are_enough_files() -> None:
    assert len(FOREIGN) >= 30


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file_is_refused_by_the_name_of_its_tool(tmp_path: Path, name: str) -> None:
    made, says = FOREIGN[name]
    path = tmp_path / name
    path.write_bytes(made())
    with pytest.raises(LabelError, match=says) as caught:
        read_dataset(path)
    (fault,) = caught.value.faults
    assert "UTF-8" not in str(fault).replace("CSV UTF-8", "")
    assert "\n" not in str(fault)
    assert len(str(fault)) < 300 + 3 * len(str(path))


@pytest.mark.parametrize(
    ("name", "says"),
    {
        "labels.pkl": "a pickle of Python",
        "table.xlsx": "an Excel workbook",
        "old.lbl": "a project of APT",
    }.items(),
)
def test_a_name_tells_a_tool(name: str, says: str) -> None:
    tool = named_like(name)
    assert tool is not None and says in tool.what


def test_each_ending_is_named_once() -> None:
    endings = [ending for tool in TOOLS for ending in tool.endings.split()]
    assert len(endings) == len(set(endings)) > 60


def test_a_folder_of_videos_is_shown_the_way(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"\0\0\0\x20ftypisom")
    with pytest.raises(SettingsError, match=r"label frames of clip\.mp4 with 'placewise label"):
        read_dataset(tmp_path)


def test_text_is_no_binary() -> None:
    for text in ("a,b\n1,2\n", "ü,é\r\n", '{"a": 1}', "x\ty\n"):
        for coding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"):
            assert not is_binary(text.encode(coding)), (text, coding)
    assert is_binary(NOISE)


_HEARD: list[str] = []
_LISTENING: list[bool] = []


def _listen(event: str, args: tuple[object, ...]) -> None:
    if _LISTENING and event in ("pickle.find_class", "os.system", "subprocess.Popen", "os.exec"):
        _HEARD.append(event)


class Evil:
    """What writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return open, (str(self.path), "w")


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An audit hook and stubs in place of pickle hear nothing, whatever file is read."""
    h5py = pytest.importorskip("h5py")
    evil = pickle.dumps(Evil(tmp_path / "pwned"), 0)
    npz = tmp_path / "evil.npz"
    np.savez(npz, images=np.array([Evil(tmp_path / "pwned")], object), labels=np.array([0]))
    (tmp_path / "evil.pkl").write_bytes(evil)
    (tmp_path / "evil.npy").write_bytes(evil)
    with h5py.File(tmp_path / "evil.h5", "w") as file:
        group = file.create_group("df_with_missing")
        group.attrs["pandas_type"] = np.bytes_("frame_table")
        group.attrs["non_index_axes"] = np.bytes_(evil)
        group["table"] = np.zeros(1, [("index", "i8"), ("values_block_0", "f8", (2,))])
    with h5py.File(tmp_path / "objects.h5", "w") as file:
        group = file.create_group("df_with_missing")
        group.attrs["pandas_type"] = np.bytes_("frame")
        group.attrs["nblocks"] = 1
        group["axis0"] = np.frombuffer(evil, np.uint8)
        group["axis0"].attrs["PSEUDOATOM"] = np.bytes_("object")
    sys.addaudithook(_listen)

    def refuse(*args: object, **kwargs: object) -> None:
        _HEARD.append("pickle")
        raise AssertionError("something was unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    _LISTENING.append(True)
    try:
        files = sorted(tmp_path.iterdir())
        assert len(files) == 5
        for path in files:
            with pytest.raises((LabelError, SettingsError)):
                read_dataset(path)
    finally:
        _LISTENING.clear()
    assert _HEARD == []
    assert not (tmp_path / "pwned").exists()
