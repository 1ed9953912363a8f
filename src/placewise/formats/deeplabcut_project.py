"""A project of DeepLabCut: `config.yaml`, and a folder of frames with labels for each video.

```
config.yaml
labeled-data/mouse1/CollectedData_me.h5     read by DeepLabCut
labeled-data/mouse1/CollectedData_me.csv    the same table, perhaps an older one
labeled-data/mouse1/img0001.png
```

Facts: the paths in `config.yaml` are of the machine where the project was made, so none is used.
DeepLabCut reads the `.h5`, and where the CSV differs it is not what is trained on.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from placewise.errors import DataError, Fault, LabelError, SettingsError
from placewise.formats._collect import read_bytes, subfolders
from placewise.formats._format import KeypointFormat, members
from placewise.formats.deeplabcut import Deeplabcut
from placewise.formats.deeplabcut_h5 import DeeplabcutH5
from placewise.hdf5 import has_h5py
from placewise.labels import KeypointDataset

CONFIG, FOLDERS, LABELS = "config.yaml", "labeled-data", "CollectedData*"

MAX_CONFIG = 1 << 20
"""Most bytes of `config.yaml`."""

_KEYS = ("scorer:", "bodyparts:", "video_sets:")
_log = logging.getLogger(__name__)


class DeeplabcutProject(KeypointFormat):
    """A project of DeepLabCut: config.yaml with labeled-data/VIDEO/CollectedData_NAME.h5 or .csv.

    One folder of `labeled-data` is read alone too. Where the .h5 and the .csv of a folder differ,
    the .h5 counts, as in DeepLabCut.
    """

    whole_folders = True
    beside_files = True

    def recognises(self, path: Path, head: str) -> bool:
        """Its config.yaml."""
        return path.suffix.lower() in (".yaml", ".yml") and all(key in head for key in _KEYS)

    def recognises_folder(self, path: Path) -> bool:
        """Whether there are labels in it, and a config.yaml or files in HDF5."""
        files = [file for folder in _folders(path) for file in folder.glob(LABELS)]
        if not any(file.suffix in (".h5", ".csv") for file in files):
            return False
        return _config(path).is_file() or any(file.suffix == ".h5" for file in files)

    def choice(self, path: Path) -> Literal["wins", "asks", "yields"]:
        """The project is meant, unless a file is there that is named as placewise names its own."""
        own = {name for member in members() for name in member.first}
        return "yields" if any((path / name).is_file() for name in own) else "wins"

    def read(self, path: Path, root: Path | None = None) -> KeypointDataset:
        """Read the labels of all its videos; see `Format.read`."""
        folder = path if path.is_dir() else path.parent
        parts, faults = [], list[Fault]()
        for one in _folders(folder):
            for stem in sorted({file.stem for file in one.glob(LABELS) if _is_table(file)}):
                try:
                    parts.append(_read(one, stem, root))
                except LabelError as error:
                    faults += error.faults
        if faults:
            raise LabelError(faults)
        if not parts:
            raise SettingsError(
                f"{folder}: there are no labels in {FOLDERS}/VIDEO/{LABELS}; label frames in "
                "DeepLabCut, or with placewise label"
            )
        labels = self.join(parts, folder) if len(parts) > 1 else replace(parts[0], source=folder)
        skeleton = _skeleton(_config(folder), labels.names)
        return replace(labels, skeleton=skeleton) if skeleton else labels


def _folders(folder: Path) -> list[Path]:
    """The folders with labels: those of the videos, or the folder itself."""
    if not folder.is_dir():
        return []
    below = folder / FOLDERS
    return subfolders(below) if below.is_dir() else [folder]


def _config(folder: Path) -> Path:
    """Where `config.yaml` is, of a project or of one of its folders of frames."""
    home = folder if (folder / FOLDERS).is_dir() else folder.absolute().parent.parent
    return home / CONFIG


def _is_table(file: Path) -> bool:
    return file.suffix in (".h5", ".csv") and file.is_file()


def _read(folder: Path, stem: str, root: Path | None) -> KeypointDataset:
    """The labels of a folder, of the `.h5` where there is one."""
    h5, csv = folder / f"{stem}.h5", folder / f"{stem}.csv"
    if not h5.is_file() or (csv.is_file() and not has_h5py()):
        if h5.is_file():
            _log.warning(
                '%s is read; the .h5 beside it needs h5py: pip install "placewise[h5]"', csv
            )
        return Deeplabcut().read(csv, root)
    labels = DeeplabcutH5().read(h5, root)
    if csv.is_file():
        try:
            told = _difference(labels, Deeplabcut().read(csv, root))
        except LabelError as error:
            told = f"the .csv cannot be read ({error.faults[0]})"
        if told:
            _log.warning("%s: %s; the .h5 counts, as in DeepLabCut", h5, told)
    return labels


def _difference(one: KeypointDataset, other: KeypointDataset) -> str:
    """How the labels of the CSV differ; empty where they do not."""
    if set(one.names) != set(other.names):
        return "the .csv beside it has other keypoints"
    images = {sample.image: sample for sample in other.samples}
    order = [other.names.index(name) for name in one.names]
    away = 0
    for sample in one.samples:
        twin = images.pop(sample.image, None)
        points = None if twin is None else twin.points[:, order]
        same = points is not None and points.shape == sample.points.shape
        if not (same and np.allclose(sample.points, points, atol=1e-3, equal_nan=True)):  # type: ignore[arg-type]
            away += 1
    away += len(images)
    return f"the .csv beside it has other labels on {away} images" if away else ""


def _skeleton(config: Path, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The pairs of keypoints that `config.yaml` joins."""
    if not config.is_file():
        return ()
    if importlib.util.find_spec("yaml") is None:
        _log.warning('%s is not read (its skeleton): pip install "placewise[yaml]"', config)
        return ()
    told = _loaded(config)
    listed = told.get("skeleton") if isinstance(told, dict) else None
    pairs = []
    for pair in listed if isinstance(listed, list) else []:
        named = tuple(map(str, pair)) if isinstance(pair, list) and len(pair) == 2 else ("", "")
        if named[0] != named[1] and set(named) <= set(names):
            pairs.append((named[0], named[1]))
    return tuple(dict.fromkeys(pairs))


def _loaded(config: Path) -> Any:
    """The content of a file of YAML, which makes texts, numbers and lists only.

    Raises:
        DataError: it is no YAML, or too large.
    """
    import yaml

    data = read_bytes(config, MAX_CONFIG + 1)
    if len(data) > MAX_CONFIG:
        raise DataError(f"{config} has more than {MAX_CONFIG:,} bytes; it is no file of DeepLabCut")
    try:
        return yaml.safe_load(data)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{config} is no YAML ({reason}); mend it with an editor") from error
