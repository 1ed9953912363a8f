"""From a path to labels and back: which file of a folder, which format of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from placewise.errors import SettingsError
from placewise.formats._collect import Collector, read_bytes
from placewise.formats._format import FORMATS, Format, Written
from placewise.labels import Dataset
from placewise.labels.names import shown

HEAD_BYTES = 1 << 16
"""A format is judged by this much of a file."""

_PREFERRED = ("points.csv", "labels.csv", "labels.json")
_BY_SUFFIX: dict[tuple[str, str], str] = {
    ("keypoints", ".csv"): "long_csv",
    ("keypoints", ".json"): "coco",
    ("classes", ".csv"): "class_csv",
}


def read_dataset(
    path: Path | str, *, format: str | None = None, root: Path | str | None = None
) -> Dataset[Any]:
    r"""Read labels, in whichever format they are.

    Args:
        path: the file, or a folder in which it is found: `points.csv`, else `labels.csv`, else
            `labels.json`, else the only file in a known format there, else the only DeepLabCut
            file in `labeled-data`, else idx files, else a folder for each class.
        format: name of the format; None: find it by looking at the data.
        root: folder of the images; None: the file's folder, for DeepLabCut files also one above
            it where the images are.

    Returns:
        `KeypointDataset` of points, or `ClassDataset`.

    Raises:
        SettingsError: there is no such file, or several could be meant.
        LabelError: what is wrong in the file, all of it at once.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from PIL import Image
        >>> with TemporaryDirectory() as folder:
        ...     Image.new("L", (8, 6)).save(Path(folder, "a.png"))
        ...     _ = Path(folder, "points.csv").write_text("image,point,x,y\na.png,nose,3,4.5\n")
        ...     labels = read_dataset(folder)
        >>> labels.names, labels.samples[0].size, labels.samples[0].points.tolist()
        (('nose',), (6, 8), [[[3.0, 4.5]]])
    """
    file, member = _find(Path(path), FORMATS[format]() if format else None)
    return member.read(file, member.root(file) if root is None else Path(root))


def write_dataset(
    labels: Dataset[Any],
    path: Path | str,
    format: str | None = None,
    *,
    overwrite: bool = False,
    lossy: bool = False,
) -> None:
    """Write labels, whole or not at all.

    Images are named relative to `labels.root`: a file that is written elsewhere is read with
    `read_dataset(path, root=...)`.

    Args:
        labels: the labels.
        path: the file.
        format: name of the format; None: `coco` for `.json`; `long_csv` or `class_csv` for `.csv`.
        overwrite: replace a file that is there (never the one the labels were read from).
        lossy: leave out what the format cannot hold.

    Raises:
        SettingsError: the file is there, something would be lost, or the format cannot be
            written or is for other labels.

    Example:
        >>> import numpy as np
        >>> from tempfile import TemporaryDirectory
        >>> from placewise.labels import KeypointDataset, KeypointSample
        >>> seen = np.array([[3]], dtype="i1")
        >>> sample = KeypointSample("a.png", (6, 8), np.array([[[3.0, 4.5]]]), seen)
        >>> with TemporaryDirectory() as folder:
        ...     labels = KeypointDataset(Path(folder), ("nose",), (sample,))
        ...     write_dataset(labels, Path(folder, "points.csv"))
        ...     print(Path(folder, "points.csv").read_text(encoding="utf-8"))
        image,point,x,y,state
        a.png,nose,3.0,4.5,visible
    """
    path = Path(path)
    writer = _writer(labels, format or _by_ending(labels, path))
    writer.write(labels, path, overwrite=overwrite, lossy=lossy)


def _writer(labels: Dataset[Any], name: str) -> Written[Any]:
    """The format of this name, if it can be written and is for such labels."""
    member = FORMATS[name]()
    able = [
        other
        for other in FORMATS.names()
        if issubclass(FORMATS[other], Written) and FORMATS[other].task == labels.task
    ]
    if isinstance(member, Written) and member.task == labels.task:
        return member
    reason = "holds something else" if member.task != labels.task else "is only read"
    raise SettingsError(
        f"these are labels of {labels.what}, and {name} {reason}; write {' or '.join(able)}"
    )


def convert(
    source: Path | str,
    target: Path | str,
    *,
    format: str | None = None,
    to_format: str | None = None,
    root: Path | str | None = None,
    overwrite: bool = False,
    lossy: bool = False,
) -> str:
    r"""Read labels in one format and write them in another.

    Args:
        source: file or folder, as in `read_dataset`.
        target: the new file.
        format: format of the source; None: find it.
        to_format: format of the target; None: by its ending, as in `write_dataset`.
        root: folder of the images, as in `read_dataset`.
        overwrite: replace a file that is there.
        lossy: leave out what the new format cannot hold.

    Returns:
        One line that says what was written, and what was left out.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from PIL import Image
        >>> with TemporaryDirectory() as folder:
        ...     Image.new("L", (8, 6)).save(Path(folder, "a.png"))
        ...     _ = Path(folder, "a.csv").write_text("image,nose_x,nose_y\na.png,3,4.5\n")
        ...     said = convert(Path(folder, "a.csv"), Path(folder, "a.json"))
        ...     read_dataset(Path(folder, "a.json")).samples[0].points.tolist()
        [[[3.0, 4.5]]]
        >>> said
        '...a.json: 1 images, 1 points, written as coco'
    """
    labels, path = read_dataset(source, format=format, root=root), Path(target)
    name = to_format or _by_ending(labels, path)
    write_dataset(labels, path, name, overwrite=overwrite, lossy=lossy)
    losses = _writer(labels, name).losses(labels)
    what = f"{len(labels.samples)} images, {len(labels.names)} {labels.what}"
    said = f"{path}: {what}, written as {name}"
    return f"{said}; left out: {', '.join(losses)}" if losses else said


def holds_arrays(path: Path) -> bool:
    """Whether a path means arrays of images (.npz, idx), not files of images.

    Example:
        >>> holds_arrays(Path("train-images-idx3-ubyte.gz"))
        False
    """
    members = [FORMATS[name]() for name in ("npz", "idx")]
    if path.is_dir():
        arrays = len(list(path.glob("*.npz"))) == 1
        return arrays or any(member.recognises_folder(path) for member in members)
    return path.is_file() and any(member.recognises(path, _head(path)) for member in members)


def _by_ending(labels: Dataset[Any], path: Path) -> str:
    """The format that the ending of a name suggests."""
    name = _BY_SUFFIX.get((labels.task, path.suffix.lower()))
    if name is None:
        raise SettingsError(
            f"{path} does not tell its format; name one of: {', '.join(FORMATS.names())}"
        )
    return name


def _find(path: Path, forced: Format | None) -> tuple[Path, Format]:
    """The file or folder of labels that a path means, and its format."""
    if path.is_file():
        return path, forced or _recognise(path)
    if not path.is_dir():
        raise SettingsError(f"there is no file or folder {path}; name a file of labels")
    if forced and forced.whole_folders:
        return path, forced
    if file := _file_in(path):
        return file, forced or _recognise(file)
    if forced:
        name = FORMATS.name_of(type(forced))
        raise SettingsError(f"{path} holds no file of labels to read as {name}; name the file")
    for member in [FORMATS[name]() for name in FORMATS.names()]:
        if member.recognises_folder(path):
            return path, member
    raise SettingsError(
        f"there is no file of labels in {path}, and no folder for each of several classes; "
        "name the file, or call it points.csv or labels.json"
    )


def _file_in(path: Path) -> Path | None:
    """The file of labels in a folder, None where there is none."""
    for name in _PREFERRED:
        if (path / name).is_file():
            return path / name
    found = [file for pattern in ("*.csv", "*.json", "*.npz") for file in _known(path, pattern)]
    found = found or _known(path, "labeled-data/*/CollectedData*.csv")
    if len(found) > 1:
        names = ", ".join(file.relative_to(path).as_posix() for file in found)
        raise SettingsError(f"{path} holds several files of labels: {names}; name one of them")
    return found[0] if found else None


def _known(folder: Path, pattern: str) -> list[Path]:
    """Files in a known format, without symlinks that lead out of the folder."""
    inside = folder.resolve()
    return [
        file
        for file in sorted(folder.glob(pattern))
        if file.is_file() and file.resolve().is_relative_to(inside) and _candidates(file)
    ]


def _head(file: Path) -> str:
    return read_bytes(file, HEAD_BYTES).decode("utf-8-sig", errors="replace")


def _candidates(file: Path) -> list[Format]:
    """The formats that recognise a file."""
    head = _head(file)
    members = [FORMATS[name]() for name in FORMATS.names()]
    return [member for member in members if member.recognises(file, head)]


def _recognise(file: Path) -> Format:
    """The one format that recognises a file."""
    found = _candidates(file)
    if len(found) > 1:
        names = ", ".join(FORMATS.name_of(type(member)) for member in found)
        raise SettingsError(f"{file} could be {names}; name its format")
    if not found:
        _unrecognised(file)
    return found[0]


def _unrecognised(file: Path) -> NoReturn:
    """Say what is wrong with a file that no format recognises."""
    collector = Collector(file, file.parent)
    first = collector.text().lstrip().partition("\n")[0].rstrip()
    if not collector.faults:
        got = f"{shown(first)} begins no known format" if first else "the file is empty"
        kinds = [f"{name} ({_summary(name)})" for name in FORMATS.names()]
        collector.fault(1, "header", got, f"write one of: {'; '.join(kinds)}")
    collector.stop()


def _summary(name: str) -> str:
    """First line of a format's docstring."""
    return (FORMATS[name].__doc__ or name).strip().partition("\n")[0].rstrip(".")
