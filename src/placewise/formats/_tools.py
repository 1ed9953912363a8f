"""Files of other tools that are not read: which tool, and the way out, in one line each.

A file is known by its first bytes, and else by the ending of its name. Nothing is opened for it but
the list of names in an HDF5 file or an archive.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from placewise.archives import names_in
from placewise.formats._collect import read_bytes
from placewise.formats._lines import coding_of
from placewise.hdf5 import has_h5py, is_damaged, is_hdf5, needs_h5py, root_names

HEAD = 600
"""Bytes by which a file is known."""

CSV = "export the labels as COCO keypoints or as CSV"
LABELS = "name the file of labels, or the folder that holds it"
UNPACK = "unpack it, and name the file of labels in it"
RUNS = "name the file of labels; runs of placewise are given to predict and evaluate"


class Tool(NamedTuple):
    """A kind of file.

    Attributes:
        what: the file is, in words.
        way: what to do instead.
        endings: of names, without the dot.
        starts: bytes at an offset, one of which it has.
        pattern: what the beginning of its text holds.
    """

    what: str
    way: str
    endings: str = ""
    starts: tuple[tuple[int, bytes], ...] = ()
    pattern: str = ""


VIDEO = Tool(
    "a video, which holds no labels",
    "label it with 'placewise label {file}', or save frames of it with 'placewise frames {file}'",
    "mp4 m4v mov avi mkv webm mpg mpeg wmv flv ts mts m2ts ogv 3gp h264 h265 seq ufmf fmf mjpeg",
    (
        (4, b"ftyp"),
        (8, b"AVI "),
        (0, b"\x1aE\xdf\xa3"),
        (0, b"\0\0\1\xba"),
        (0, b"\0\0\1\xb3"),
        (0, b"FLV\1"),
        (0, b"OggS"),
        (0, b"0&\xb2u\x8ef\xcf\x11"),
    ),
)

TOOLS = (
    Tool(
        "a pickle of Python, which can run code when it is opened, so it is never opened",
        "give the .h5 or .csv that DeepLabCut writes with it, or save the labels as CSV",
        "pkl pickle p joblib dill",
        tuple((0, bytes((0x80, version))) for version in range(2, 6)),
    ),
    Tool(
        "a photo in HEIC or AVIF",
        "save it as PNG",
        "heic heif avif",
        ((4, b"ftyphei"), (4, b"ftypavif")),
    ),
    VIDEO,
    Tool(
        "an image, which holds no labels",
        "name the file of labels, or label images with 'placewise label FOLDER'",
        "png jpg jpeg tif tiff bmp gif webp psd",
        (
            (0, b"\x89PNG\r\n"),
            (0, b"\xff\xd8\xff"),
            (0, b"II*\0"),
            (0, b"MM\0*"),
            (0, b"GIF8"),
            (8, b"WEBP"),
            (0, b"8BPS"),
        ),
    ),
    Tool(
        "a recording of sound, which holds no labels",
        LABELS,
        "wav mp3 flac",
        ((8, b"WAVE"), (0, b"fLaC"), (0, b"ID3")),
    ),
    Tool(
        "a region of ImageJ",
        "save a table: Analyze > Measure, then File > Save As",
        "roi",
        ((0, b"Iout"),),
    ),
    Tool(
        "a project of APT (.lbl)",
        "export its labels as a table with image, keypoint, x and y",
        "lbl",
    ),
    Tool(
        "a MATLAB file without 'positions' (LEAP) or 'points'",
        "save 'points' (images × keypoints × 2), 'names' and 'images' in it",
        "mat fig",
        ((0, b"MATLAB 5.0"), (0, b"MATLAB 7.3")),
    ),
    Tool(
        "an Excel workbook",
        "save the sheet as CSV UTF-8 (File > Save As)",
        "xlsx xlsm xls xlsb",
        ((0, b"\xd0\xcf\x11\xe0"),),
    ),
    Tool("an OpenDocument file", "save the sheet as CSV (File > Save As)", "ods odt"),
    Tool("a document", CSV, "docx doc pdf rtf pptx", ((0, b"%PDF"), (0, b"{\\rtf"))),
    Tool("weights of a network", RUNS, "pt pth ckpt safetensors onnx pb tflite keras"),
    Tool("records of TensorFlow", CSV, "tfrecord tfrecords"),
    Tool("an array of numpy without names", "save the labels as CSV", "npy", ((0, b"\x93NUMPY"),)),
    Tool(
        "a table in Parquet or Feather",
        "save the table as CSV",
        "parquet feather arrow",
        ((0, b"PAR1"), (0, b"ARROW1"), (0, b"FEA1")),
    ),
    Tool("a database of SQLite", CSV, "sqlite sqlite3 db", ((0, b"SQLite format 3\0"),)),
    Tool("data of R", "write the table with write.csv", "rdata rds rda", ((0, b"RDX"),)),
    Tool(
        "data of SPSS, Stata or SAS", "save the table as CSV", "sav dta sas7bdat", ((0, b"$FL2"),)
    ),
    Tool("markers of motion capture (C3D)", "export the places in pixels as CSV", "c3d"),
    Tool("a volume in NIfTI", LABELS, "nii", ((344, b"n+1\0"),)),
    Tool("an image in DICOM", "name the file of labels", "dcm", ((128, b"DICM"),)),
    Tool(
        "a packed file",
        UNPACK,
        "gz bz2 xz zst 7z rar tar tgz",
        (
            (0, b"\x1f\x8b"),
            (0, b"BZh"),
            (0, b"\xfd7zXZ"),
            (0, b"(\xb5/\xfd"),
            (0, b"7z\xbc\xaf"),
            (0, b"Rar!"),
            (257, b"ustar"),
        ),
    ),
    Tool(
        "a program",
        LABELS,
        "exe dll so dylib",
        ((0, b"MZ\x90"), (0, b"\x7fELF"), (0, b"\xcf\xfa\xed\xfe")),
    ),
)
"""Known kinds, the most special first."""

IN_HDF5 = {
    "model_weights": Tool("weights of Keras", RUNS),
    "specifications": Tool("NWB without ndx-pose (PoseTraining or PoseEstimation)", CSV),
    "annotated": Tool("annotations of DeepPoseKit", CSV),
    "box": Tool("images of LEAP", "name the file of its labels (.mat)"),
}
"""What an HDF5 file is by a name at its top."""

IN_ZIP = {
    ".roi": Tool("regions of ImageJ", "save a table: Analyze > Measure, then File > Save As"),
    "xl/": Tool("an Excel workbook", "save the sheet as CSV UTF-8 (File > Save As)"),
    "word/": Tool("a document", CSV),
    "data.pkl": Tool("weights of PyTorch", RUNS),
    "content.xml": Tool("an OpenDocument file", "save the sheet as CSV (File > Save As)"),
}
"""What an archive is by the ends or beginnings of names in it."""

ARCHIVE = Tool("an archive", UNPACK, "zip")
HDF5 = Tool("an HDF5 file of a tool that is not known", CSV)
DAMAGED = Tool("a damaged HDF5 file", "copy it again from where it came from")
UNKNOWN = Tool("no text, and of a tool that is not known", CSV)


def tool_of(path: Path) -> Tool | None:
    """Which other tool's a file is; None where it may be text.

    Raises:
        SettingsError: only h5py could tell, which is not installed.
    """
    ending = path.suffix.lower().removeprefix(".")
    data = read_bytes(path, HEAD)
    if is_hdf5(path):
        return _in_hdf5(path, ending)
    if data.startswith(b"PK\x03\x04"):
        return _in_zip(path, ending)
    for tool in TOOLS:
        if any(data.startswith(start, offset) for offset, start in tool.starts):
            return tool
    binary = is_binary(data)
    named = next((tool for tool in TOOLS if ending and ending in tool.endings.split()), None)
    return named if named and (binary or not data) else UNKNOWN if binary else None


def named_like(name: str) -> Tool | None:
    """Which other tool's a file is by its name alone.

    Example:
        >>> named_like("table.xlsx").what
        'an Excel workbook'
    """
    ending = name.lower().rpartition(".")[2]
    return next((tool for tool in TOOLS if ending in tool.endings.split()), None)


def videos_in(folder: Path) -> list[str]:
    """Names of videos in a folder, by their endings."""
    endings = tuple(f".{ending}" for ending in VIDEO.endings.split())
    return sorted(file.name for file in folder.iterdir() if file.name.lower().endswith(endings))


def is_binary(data: bytes) -> bool:
    r"""Whether bytes are no text, neither in UTF-8 nor in UTF-16.

    Example:
        >>> is_binary(b"a,b"), is_binary("a,b".encode("utf-16")), is_binary(b"\1\0\0\0\7\0")
        (False, False, True)
    """
    if coding_of(data) != "utf-8-sig":
        return False
    controls = sum(byte < 9 or 13 < byte < 27 or 27 < byte < 32 for byte in data)
    return controls > len(data) // 100


def _in_hdf5(path: Path, ending: str) -> Tool:
    if not has_h5py():
        needs_h5py(path)
    if is_damaged(path):
        return DAMAGED
    names = root_names(path)
    found = next((tool for name, tool in IN_HDF5.items() if name in names), None)
    matlab = named_like(path.name) if ending in ("mat", "lbl") else None
    return found or matlab or HDF5


def _in_zip(path: Path, ending: str) -> Tool:
    for name in names_in(path)[:1000]:
        for part, tool in IN_ZIP.items():
            if name.endswith(part) or name.startswith(part):
                return tool
    return named_like(f"a.{ending}") or ARCHIVE
