"""Recordings of spoken words whose names tell what is said: the Free Spoken Digit Dataset.

```
recordings/7_theo_12.wav      digit, speaker, number of the recording
```
"""

from __future__ import annotations

import re
from pathlib import Path

from placewise.formats._collect import Collector
from placewise.formats._format import Format
from placewise.labels import ClassDataset
from placewise.wording import natural

_NAME = re.compile(r"([0-9])_([A-Za-z0-9]+)_([0-9]+)\.wav", re.IGNORECASE)

TESTED = 5
"""Recordings of each digit and speaker, the first ones, that are the official test split."""


class SpokenDigits(Format):
    """A folder of recordings DIGIT_SPEAKER_NUMBER.wav, in itself or in its folder `recordings`.

    Numbers 0 to 4 are test recordings, as the data set says itself. Every speaker is in both
    splits; `--splits` leaves a speaker out.
    """

    tasks = ("classes",)
    whole_folders = True

    def recognises(self, path: Path, head: str) -> bool:
        """No file is one."""
        return False

    def recognises_folder(self, path: Path) -> bool:
        """Recordings of two digits at least."""
        return len({_NAME.fullmatch(file.name)[1] for file in _recordings(path)}) > 1  # type: ignore[index]

    def read(self, path: Path, root: Path | None = None) -> ClassDataset:
        """Read digits from the names of recordings; see `Format.read`."""
        collector = Collector(path, root)
        for file in _recordings(path):
            digit, _, number = _NAME.fullmatch(file.name).groups()  # type: ignore[union-attr]
            image = collector.image(file.relative_to(path).as_posix(), 0, "name")
            collector.label(image, digit, 0, "digit")
            collector.split(image, "test" if int(number) < TESTED else "train", 0, "split")
        return collector.class_labels()


def _recordings(path: Path) -> list[Path]:
    """The recordings of a folder in natural order."""
    inner = path / "recordings"
    folder = inner if inner.is_dir() and not inner.is_symlink() else path
    found = [file for file in folder.iterdir() if _NAME.fullmatch(file.name) and file.is_file()]
    return sorted(found, key=lambda file: natural(file.name))
