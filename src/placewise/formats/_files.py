"""From a path to labels and back: which files of a folder, which format of a file."""

from __future__ import annotations

import contextlib
import fnmatch
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from placewise.errors import DataError, Fault, LabelError, NoLabelsError, SettingsError
from placewise.formats._collect import read_bytes, split_named, subfolders
from placewise.formats._format import FORMATS, Format, KeypointFormat, Written, members
from placewise.formats._lines import coding_of
from placewise.formats._refused import in_words, unrecognised
from placewise.formats._splits import with_splits
from placewise.formats._tools import DAMAGED, RUNS, named_like, videos_in
from placewise.hdf5 import is_damaged
from placewise.images import is_hidden, is_image_name, is_result
from placewise.labels import Dataset, KeypointDataset, KeypointSample, Pixels, by_time
from placewise.wording import did_you_mean, natural

HEAD_BYTES = 1 << 16
"""A format is judged by this much of a file."""

LISTED = 8
"""Most files that a message lists."""

_SIDECARS = (".json", ".txt", ".xml", ".csv")
_OTHER_TOOLS = tuple(
    f".{ending}"
    for ending in "h5 hdf5 slp nwb mat tps roi nts pts xls xlsx ods pkl pickle parquet".split()
)
_LABEL_FOLDERS = ("labels", "annotations", "annotation")
_log = logging.getLogger(__name__)


class _Found(NamedTuple):
    """Files of one format in a folder; `together` where they are parts of one data set."""

    folder: Path
    files: list[Path]
    member: Format
    together: bool = False


def read_dataset(
    path: Path | str,
    *,
    format: str | None = None,
    root: Path | str | None = None,
    task: str | None = None,
    splits: Path | str | None = None,
    pixels: Pixels | None = None,
) -> Dataset[Any]:
    r"""Read labels, in whichever format they are.

    Args:
        path: the file; or a folder in which it is found: `points.csv`, else `keypoints.csv`,
            `labels.csv`, `labels.json`, else the only file in a known format there, else what a
            tool keeps in subfolders (`labeled-data`, `annotations`, `train` and `valid`), else
            idx files, else a folder for each class; or several files named with a wildcard, as
            "cameras/*/points.csv". Where a table without a skeleton is taken, and a COCO file
            beside it names the same keypoints, skeleton and symmetry are those of that file.
        format: name of the format; None: find it by looking at the data.
        root: folder of the images; None: the file's folder. For DeepLabCut and COCO files it is
            found where the images are.
        task: name of the task that is learnt from the labels; None: what they suggest. Keypoints
            are those of several objects (poses) where images show several with two keypoints or
            more, and many of a kind (spots) where each object has one.
        splits: a table image,split[,start,stop] that says the splits in place of the labels, and
            may cut long recordings into parts. Without it a single recording is split by time:
            its first 60 % to learn from, up to two thirds to choose by, and the last third to test.
        pixels: what the places in the file count from: "center" of the first pixel, or the image's
            "corner"; None: what the tool counts from that wrote it.

    Returns:
        The labels, e.g. a `KeypointDataset` or a `ClassDataset`.

    Raises:
        SettingsError: there is no such file, or several could be meant.
        LabelError: what is wrong in the file, all of it at once.
        DataError: files that are read together do not agree, or cannot be read.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from PIL import Image
        >>> with TemporaryDirectory() as folder:
        ...     Image.new("L", (8, 6)).save(Path(folder, "a.png"))
        ...     _ = Path(folder, "points.csv").write_text("image,keypoint,x,y\na.png,nose,3,4.5\n")
        ...     labels = read_dataset(folder)
        >>> labels.names, labels.samples[0].size, labels.samples[0].points.tolist()
        (('nose',), (6, 8), [[[3.0, 4.5]]])
    """
    base = None if root is None else Path(root)
    if base is not None and not base.is_dir():
        raise SettingsError(f"there is no folder {base}; name the folder of the images (root)")
    forced = FORMATS[format]() if format else None
    _known(task)
    with in_words(Path(path)):
        found = _find(Path(path), forced, task)
        if len(found.files) == 1:
            labels = found.member.read(found.files[0], base)
        else:
            labels = _read_together(found, base)
        if Path(path).is_dir() and isinstance(labels, KeypointDataset):
            labels = _joined(labels, Path(path))
        labels = labels if task is None else labels.for_task(task)
        labels = labels if pixels is None else _recounted(labels, pixels)
        return by_time(labels) if splits is None else with_splits(labels, Path(splits))


def _recounted(labels: Dataset[Any], pixels: Pixels) -> Dataset[Any]:
    """The labels with places that count from what the user says."""
    found = labels.counted_from(pixels)
    what = {"center": "the centre of the first pixel", "corner": "the image's corner"}[pixels]
    _log.warning("places count from %s, as --pixels says", what)
    return found


def _known(task: str | None) -> None:
    """Refuse a task that nothing holds labels for."""
    names = sorted({name for member in members() for name in member.tasks})
    if task is not None and ":" not in task and task not in names:
        listed = ", ".join(names)
        raise SettingsError(
            f"no task is named '{task}'; there are: {listed}.{did_you_mean(task, names)}"
        )


def _joined(labels: KeypointDataset, folder: Path) -> KeypointDataset:
    """Labels without a skeleton with that of another file in the folder of the same keypoints."""
    if labels.skeleton or labels.source is None:
        return labels
    listed = [file.name for file in folder.iterdir()]
    for member in members():
        if not isinstance(member, KeypointFormat) or not member.patterns:
            continue
        for file in _inside(folder, sorted(listed), member.patterns[0]):
            if file == labels.source or not member.recognises(file, _head(file)):
                continue
            with contextlib.suppress(DataError):
                found = member.joints(file)
                if found and set(found.names) == set(labels.names):
                    _log.info("skeleton and symmetry pairs are those of %s", file)
                    joined = replace(labels, symmetry=found.symmetry, skeleton=found.skeleton)
                    return _followed(joined, member, file)
    return labels


def _followed(labels: KeypointDataset, member: KeypointFormat, file: Path) -> KeypointDataset:
    """Labels without identities with those of a file that has the same keypoints at their places.

    Args:
        labels: with or without identities.
        member: the format of the file.
        file: that names the same keypoints.
    """
    several = any(len(one.points) > 1 for one in labels.samples)
    if not several or any(one.tracks is not None for one in labels.samples):
        return labels
    with contextlib.suppress(DataError):
        other = member.read(file, labels.root).ordered(labels.names)
        told = {one.image: one for one in other.samples if one.tracks is not None}
        samples = tuple(
            replace(one, tracks=told[one.image].tracks)
            if one.image in told and _same_places(one, told[one.image])
            else one
            for one in labels.samples
        )
        count = sum(one.tracks is not None for one in samples)
        if count:
            _log.info("identities on %d images are those of %s", count, file)
            return replace(labels, samples=samples)
    return labels


def _same_places(one: KeypointSample, other: KeypointSample) -> bool:
    """Whether the same keypoints are at the same places, instance by instance."""
    same = one.points.shape == other.points.shape
    return same and bool(np.allclose(one.points, other.points, atol=0.01, equal_nan=True))


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
        overwrite: replace a file that exists (never the one the labels were read from).
        lossy: leave out what the format cannot hold.

    Raises:
        SettingsError: the file exists, something would be lost, or the format cannot be
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
        image,keypoint,x,y,visibility
        a.png,nose,3.0,4.5,visible
    """
    _writer(labels, Path(path), format).write(labels, Path(path), overwrite=overwrite, lossy=lossy)


def _writer(labels: Dataset[Any], path: Path, name: str | None) -> Written[Any]:
    """The format of this name, or of the path's ending, that can be written for such labels."""
    able = [m for m in members() if isinstance(m, Written) and labels.task in m.tasks]
    names = " or ".join(FORMATS.name_of(type(member)) for member in able) or "none"
    if name is None:
        fitting = [member for member in able if path.suffix.lower() in member.endings]
        if not fitting:
            raise SettingsError(f"{path} does not tell its format; name one of: {names}")
        return fitting[0]
    member = FORMATS[name]()
    if isinstance(member, Written) and labels.task in member.tasks:
        return member
    reason = "is only read" if labels.task in member.tasks else "holds something else"
    raise SettingsError(f"these are labels of {labels.what}, and {name} {reason}; write {names}")


def convert(
    source: Path | str,
    target: Path | str,
    *,
    format: str | None = None,
    to_format: str | None = None,
    root: Path | str | None = None,
    threshold: float | None = None,
    pixels: Pixels | None = None,
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
        threshold: of predictions: keypoints with a lower score become absent, the others labels
            without a score.
        pixels: what the places in the source count from, as in `read_dataset`.
        overwrite: replace a file that exists.
        lossy: leave out what the new format cannot hold.

    Returns:
        One line that says what was written, and what was left out.

    Raises:
        SettingsError: as in `write_dataset`, or a threshold for labels without scores.

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
        '...a.json: 1 images, 1 keypoints, written as coco'
    """
    labels = read_dataset(source, format=format, root=root, pixels=pixels)
    path = Path(target)
    if threshold is not None:
        if not (isinstance(labels, KeypointDataset) and labels.scored):
            raise SettingsError(f"{source} holds no scores of keypoints; leave the threshold out")
        decided = labels.above(threshold)
        labels = replace(decided, samples=tuple(replace(s, scores=None) for s in decided.samples))
    writer = _writer(labels, path, to_format)
    writer.write(labels, path, overwrite=overwrite, lossy=lossy)
    losses = writer.losses(labels)
    what = f"{len(labels.samples)} images, {len(labels.names)} {labels.what}"
    said = f"{path}: {what}, written as {FORMATS.name_of(type(writer))}"
    return f"{said}; left out: {', '.join(losses)}" if losses else said


def holds_arrays(path: Path | str) -> bool:
    """Whether a path means arrays of images (.npz, idx), not files of images.

    Example:
        >>> holds_arrays("train-images-idx3-ubyte.gz")
        False
    """
    path = Path(path)
    able = [member for member in members() if member.holds_images]
    if path.is_dir():
        listed = [file.name for file in path.iterdir()]
        alone = (sum(len(fnmatch.filter(listed, p)) for p in m.patterns) == 1 for m in able)
        return any(alone) or any(member.recognises_folder(path) for member in able)
    return path.is_file() and any(member.recognises(path, _head(path)) for member in able)


def _find(path: Path, forced: Format | None, task: str | None) -> _Found:
    """The files or the folder that a path means, and their format."""
    if path.is_file():
        return _Found(path, [path], forced or _recognise(path))
    if "*" in str(path) and not path.exists():
        return _wildcard(path, forced)
    if not path.is_dir():
        raise SettingsError(f"there is no file or folder {path}; name a file of labels")
    if forced and forced.whole_folders:
        return _Found(path, [path], forced)
    able = [member for member in members() if task is None or task in member.tasks]
    tried = [forced] if forced else able
    found = _search(path, tried) or _in_splits(path, tried)
    if found and (over := _instead(path, found, tried, task)):
        return over
    if found and (len(found.files) == 1 or found.together):
        return found
    if found:
        raise SettingsError(
            f"{path} holds several files of labels: {_listed(path, found.files)}; name one of "
            f"them, or all with a wildcard in quotation marks: '{_pattern(path, found.files)}'"
        )
    if forced:
        name = FORMATS.name_of(type(forced))
        raise SettingsError(f"{path} holds no file of labels to read as {name}; name the file")
    for member in sorted(tried, key=lambda one: _generality(one, path)):
        if member.recognises_folder(path):
            if not (member.holds_images or member.beside_files):
                _refuse_labels_below(path, tried)
            if doubt := member.doubt(path):
                raise SettingsError(
                    f"{path}: {doubt}, so it is not clear which folders are the classes; name the "
                    "folder that holds a folder for each class (or train/CLASS and test/CLASS). If "
                    f"the folders of {path} are classes, say --format class_folders"
                )
            return _Found(path, [path], member)
    _refuse_labels_below(path, tried)
    below = [one for one in subfolders(path) if any(m.recognises_folder(one) for m in tried)]
    todo = f"did you mean {below[0]}?" if below else "name the file, or call it points.csv"
    if not below and (videos := videos_in(path)):
        todo = f"label frames of {videos[0]} with 'placewise label {path}'"
    if is_result(path):
        todo = f"placewise wrote it; {RUNS}"
    raise NoLabelsError(
        f"there is no file of labels in {path}, and no folder for each of several classes; {todo}"
    )


def _generality(member: Format, path: Path) -> tuple[bool, bool]:
    """What puts formats of folders in order: the most special first, one in doubt last."""
    return not member.beside_files, not member.whole_folders or bool(member.doubt(path))


def _instead(path: Path, found: _Found, tried: Sequence[Format], task: str | None) -> _Found | None:
    """What a folder as a whole is, where that counts more than the file of labels in it."""
    for member in tried:
        same = type(member) is type(found.member)
        if same or not (member.beside_files and member.recognises_folder(path)):
            continue
        if member.choice(path) == "wins":
            return _Found(path, [path], member)
        if member.choice(path) == "asks" and task is None:
            _ask_for_task(path, member, found)
        _tell(path, member, found)
    return None


def _ask_for_task(path: Path, folder: Format, found: _Found) -> NoReturn:
    """Refuse to guess which of two tasks a folder is for."""
    tasks = " or ".join(f"--task {name}" for name in (folder.tasks[0], found.member.tasks[0]))
    raise SettingsError(
        f"{path} holds labels for two tasks: images with {folder.tasks[0]}, and "
        f"{_listed(path, found.files)}; say which to learn with {tasks}"
    )


def _tell(path: Path, folder: Format, found: _Found) -> None:
    """Say which labels are taken of a folder that holds others too."""
    name, taken = FORMATS.name_of(type(folder)), _listed(path, found.files)
    _log.warning("%s: %s is read; --format %s takes the other labels", path, taken, name)


def _search(folder: Path, tried: Sequence[Format]) -> _Found | None:
    """The files of labels in a folder, by the names and patterns of the formats."""
    for names in zip_longest(*(member.first for member in tried)):
        for name in sorted({name for name in names if name}):
            if (folder / name).is_file():
                file = folder / name
                return _Found(folder, [file], tried[0] if len(tried) == 1 else _recognise(file))
    listed = [file.name for file in folder.iterdir()]
    for patterns in zip_longest(*(member.patterns for member in tried)):
        found: dict[Path, Format] = {}
        for member, pattern in zip(tried, patterns, strict=True):
            for file in _inside(folder, listed, pattern or ""):
                if member.recognises(file, _head(file)):
                    found[file] = member
        if found:
            files = sorted(found, key=lambda file: natural(file.as_posix()))
            kinds = {type(member) for member in found.values()}
            if len(files) == 1:
                return _Found(folder, files, tried[0] if len(tried) == 1 else _recognise(files[0]))
            project = any("/" in (pattern or "") for pattern in patterns)
            splits = [_split_told(file.relative_to(folder)) for file in files]
            parted = None not in splits and len(set(splits)) == len(files)
            return _Found(folder, files, found[files[0]], len(kinds) == 1 and (project or parted))
    return None


def _inside(folder: Path, listed: Sequence[str], pattern: str) -> Iterator[Path]:
    """Files of a pattern, without links out of the folder."""
    inside = folder.resolve()
    names = [name for name in listed if fnmatch.fnmatchcase(name.lower(), pattern.lower())]
    for file in folder.glob(pattern) if "/" in pattern else (folder / name for name in names):
        if file.is_file() and file.resolve().is_relative_to(inside):
            yield file


def _in_splits(folder: Path, tried: Sequence[Format]) -> _Found | None:
    """One file of labels in each folder of a split."""
    found = {}
    for one in subfolders(folder):
        if split_named(one.name) and (below := _search(one, tried)):
            found[one] = below
    kinds = {type(below.member) for below in found.values()}
    if not found or len(kinds) > 1 or any(len(below.files) > 1 for below in found.values()):
        return None
    files = [below.files[0] for below in found.values()]
    return _Found(folder, files, next(iter(found.values())).member, together=True)


def _wildcard(path: Path, forced: Format | None) -> _Found:
    """The files that a path with wildcards means."""
    start = next(i for i, part in enumerate(path.parts) if "*" in part)
    folder = Path(*path.parts[:start])
    found = sorted(folder.glob("/".join(path.parts[start:])), key=lambda f: natural(f.as_posix()))
    files = [file for file in found if file.is_file()]
    if not files:
        raise SettingsError(f"there is no file {path}; name a file of labels")
    kinds = {type(forced or _recognise(file)) for file in files}
    if len(kinds) > 1:
        raise SettingsError(f"{path}: the files are in several formats; name files of one format")
    return _Found(folder, files, forced or _recognise(files[0]), together=True)


def _read_together(found: _Found, root: Path | None) -> Dataset[Any]:
    """One data set of several files, whose faults come together too."""
    splits = [_split_told(file.relative_to(found.folder)) for file in found.files]
    told = None not in splits and len(set(splits)) > 1
    faults: list[Fault] = []
    parts: list[Any] = []
    for file, split in zip(found.files, splits, strict=True):
        try:
            part: Any = found.member.read(file, root)
        except LabelError as error:
            faults += error.faults
            continue
        if told:
            samples = (replace(sample, split=sample.split or split) for sample in part.samples)
            part = replace(part, samples=tuple(samples))
        parts.append(part)
    if faults:
        raise LabelError(faults)
    joined = found.member.join(parts, _pattern(found.folder, found.files))
    by = " as splits, by their names" if told else ""
    listed = _listed(found.folder, found.files)
    _log.warning("%s: %d files are read together%s: %s", found.folder, len(parts), by, listed)
    return joined


def _split_told(file: Path) -> str | None:
    """The split that a file's folder, else a word of its name, says.

    Example:
        >>> _split_told(Path("valid/points.csv")), _split_told(Path("keypoints_train2017.json"))
        ('val', 'train')
    """
    words = re.split(r"[^A-Za-z0-9]+", file.stem)
    found = [split for word in words if (split := split_named(word))]
    return split_named(file.parent.name) or (found[0] if len(found) == 1 else None)


def _pattern(folder: Path, files: Sequence[Path]) -> Path:
    """A wildcard for these files of a folder: a part that differs becomes a star."""
    parts = [file.relative_to(folder).parts for file in files]
    same = [column[0] if len(set(column)) == 1 else "*" for column in zip(*parts, strict=False)]
    return folder.joinpath(*same[:-1], same[-1] if same[-1] != "*" else f"*{files[0].suffix}")


def _refuse_labels_below(folder: Path, tried: Sequence[Format]) -> None:
    """Say so where files of labels are in a folder, whose subfolders are then no classes."""
    ours, strange, home = [], [], folder.resolve()
    for one in [folder, *(f for top in subfolders(folder) for f in (top, *subfolders(top)))]:
        listed = sorted(file for file in one.iterdir() if not is_hidden(file.name))
        listed = [file for file in listed if file.resolve().is_relative_to(home)]
        files = [file for file in listed if file.suffix.lower() in _SIDECARS]
        others = [file for file in listed if file.suffix.lower() in _OTHER_TOOLS]
        images = {file.stem for file in one.iterdir() if is_image_name(file.name)}
        looked = islice((*others, *files), 20)
        known = [f for f in looked if any(m.recognises(f, _head(f)) for m in tried)]
        ours += known
        strange += [file for file in others if file not in known][:1]
        if not known:
            named = {one.name.lower(), one.parent.name.lower()} & set(_LABEL_FOLDERS)
            alone = bool(named) and not images
            strange += [file for file in files if file.stem in images or alone][:1]
    if ours:
        together = _pattern(folder, ours)
        raise SettingsError(
            f"{folder}: there are files of labels in it, so its folders are not classes: "
            f"{_listed(folder, ours)}; name one of the files, or read them together with "
            f"'{together}' (in quotation marks). If the folders are classes, say "
            "--format class_folders"
        )
    if strange and is_damaged(strange[0]):
        raise SettingsError(f"{strange[0]} is {DAMAGED.what}; {DAMAGED.way}")
    if strange:
        tool = named_like(strange[0].name)
        said = f" ({strange[0].name} is {tool.what})" if tool else ""
        raise SettingsError(
            f"{folder}: there are files of another tool in it, so its folders are not classes: "
            f"{_listed(folder, strange)}, …{said}; export the labels as COCO keypoints or as CSV. "
            "If the folders are classes, say --format class_folders"
        )


def _listed(folder: Path, files: Sequence[Path]) -> str:
    """The names of the first files."""
    names = [file.relative_to(folder).as_posix() for file in files[:LISTED]]
    return ", ".join(names) + (f", … ({len(files)} files)" if len(files) > LISTED else "")


def _head(file: Path) -> str:
    data = read_bytes(file, HEAD_BYTES)
    return data.decode(coding_of(data), errors="replace")


def _recognise(file: Path) -> Format:
    """The one format that recognises a file."""
    head = _head(file)
    found = [member for member in members() if member.recognises(file, head)]
    if len(found) > 1:
        names = ", ".join(FORMATS.name_of(type(member)) for member in found)
        raise SettingsError(f"{file} could be {names}; name its format")
    if not found:
        unrecognised(file, head.strip("\ufeff \t\r\n"))
    return found[0]
