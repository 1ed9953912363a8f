"""Long recordings with the samples of their beats: a `.npz` for each, or records of PhysioNet.

```
100.npz      signal or signal_adc, fs, beats, and pvc: those of the beats that are ventricular
100.hea      with 100.dat and the annotations 100.atr
```
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from placewise.archives import names_in, opened
from placewise.errors import ImageError
from placewise.formats._collect import Collector
from placewise.formats._format import Format
from placewise.labels import KeypointDataset, Visibility
from placewise.readers import refusing
from placewise.readers.packed import RATES, SIGNALS
from placewise.readers.wfdb import OF_BEATS, read_marks
from placewise.wording import natural

BEAT = "beat"
"""Name of the kind that all beats are of."""


class Beats(Format):
    """A folder of recordings with beats: NAME.npz with `beats`, or NAME.hea with NAME.atr.

    Each beat is a spot of the kind `beat`.
    """

    tasks = ("spots",)
    whole_folders = True

    def recognises(self, path: Path, head: str) -> bool:
        """A recording that says where its beats are."""
        return bool(_records([path]))

    def recognises_folder(self, path: Path) -> bool:
        """One such recording at least."""
        return bool(_records(path.iterdir()))

    def read(self, path: Path, root: Path | None = None) -> KeypointDataset:
        """Read the beats of all recordings; see `Format.read`."""
        collector = Collector(path, root)
        for file in _records(path.iterdir() if path.is_dir() else [path]):
            name = file.relative_to(collector.root).as_posix()
            image = collector.image(name, 0, "recording")
            try:
                places = _beats(file)
            except ImageError as error:
                collector.fault(0, name, str(error), "write it again, or take it out")
                continue
            if not places and image is not None:
                collector.mark(image, (0, BEAT, Visibility.ABSENT, np.nan, np.nan))
            for number, place in enumerate(places):
                collector.within(image, (place,), 0, name)
                collector.mark(image, (number, BEAT, Visibility.VISIBLE, place, np.nan))
        return collector.labels((BEAT,)).for_task("spots")


def _records(files: Iterable[Path]) -> list[Path]:
    """Those of the files that are recordings with beats, in natural order."""
    able = [file for file in files if _tells_beats(file)]
    return sorted(able, key=lambda file: natural(file.name))


def _tells_beats(file: Path) -> bool:
    if file.suffix.lower() == ".hea":
        return file.with_suffix(".atr").is_file()
    return file.suffix.lower() == ".npz" and file.is_file() and "beats" in signal_arrays(file)


def signal_arrays(file: Path) -> frozenset[str]:
    """Names of the arrays of a `.npz` that holds one signal; none for any other file."""
    names = frozenset(one.removesuffix(".npy") for one in names_in(file))
    return names if names & set(SIGNALS) and names & {*RATES, "beats"} else frozenset()


def _beats(file: Path) -> list[float]:
    """Samples of all beats of a recording."""
    if file.suffix.lower() == ".hea":
        with refusing(file.with_suffix(".atr"), "annotations of PhysioNet"):
            times, symbols = read_marks(file.with_suffix(".atr"))
        return [t for t, symbol in zip(times.tolist(), symbols, strict=True) if symbol in OF_BEATS]
    with refusing(file, "an array of whole numbers that is named beats"):
        with opened(file) as archive:
            beats = archive.array("beats").astype(np.float64)
        if beats.ndim != 1:
            raise ValueError(f"beats has the shape {beats.shape}")
        return [float(place) for place in beats]
