"""DeepLabCut's `.h5`: the table of its CSV as pandas writes it into HDF5.

DeepLabCut itself reads the `.h5` and not the CSV beside it. Nothing in it is unpickled; see
`_pandas`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from placewise.formats._collect import Collector
from placewise.formats._deeplabcut import HEADER, SEVERAL, Rows, read_labels, row_names
from placewise.formats._format import WrittenKeypoints
from placewise.formats._hdf5 import is_file_of, reading
from placewise.formats._losses import check_images, losses_of
from placewise.formats._pandas import Frame, key_of, read_frame, written_frame
from placewise.formats._tables import number
from placewise.geometry import FloatArray
from placewise.hdf5 import has_h5py, needs_h5py
from placewise.labels import KeypointDataset

SCORER = "placewise"


class DeeplabcutH5(WrittenKeypoints):
    """HDF5 of DeepLabCut (.h5): the same table as its CSV, of labels or of predictions.

    Rows that are numbers are frames of a video, which is looked for near the file.
    """

    endings = (".h5",)
    patterns = ("*.h5",)

    def recognises(self, path: Path, head: str) -> bool:
        """HDF5 with a table of pandas."""
        if has_h5py():
            return bool(key_of(path))
        return is_file_of(path, (), (".h5", ".hdf5"))

    def read(self, path: Path, root: Path | None = None) -> KeypointDataset:
        """Read labels; see `Format.read`."""
        collector = Collector(path, root)
        with reading(collector) as file:
            frame = read_frame(file, key_of(path))
        if frame.columns and len(frame.columns[0]) not in (len(HEADER), len(SEVERAL)):
            got = f"the columns have {len(frame.columns[0])} levels of names"
            todo = "give a file of DeepLabCut, whose columns have 3, or 4 with individuals"
            collector.fault(0, "columns", got, todo)
            collector.stop()
        return read_labels(collector, _rows(frame), root)

    def losses(self, labels: KeypointDataset) -> list[str]:
        """Hidden and absent, identities, a split, a skeleton, areas, regions."""
        return losses_of(labels, {"scores"})

    def content(self, labels: KeypointDataset) -> bytes:
        """The table in the fixed layout; see `Written.content`."""
        check_images(labels, "DeepLabCut")
        images = [sample.image for sample in labels.samples]
        shape = (len(images), max(1, labels.instances), len(labels.names))
        values = np.full((*shape, 3 if labels.scored else 2), np.nan)
        for row, sample in enumerate(labels.samples):
            values[row, : len(sample.points), :, :2] = sample.points
            if sample.scores is not None:
                values[row, : len(sample.points), :, 2] = sample.scores
        return h5_of(row_names(images, labels.scored), labels.names, values)


def h5_of(rows: Sequence[tuple[str, ...]], names: Sequence[str], values: FloatArray) -> bytes:
    """The file of keypoints that are in an array already, as those of a long video.

    Args:
        rows: names of the N images or frames; see `row_names`.
        names: of the K keypoints.
        values: (N, A, K, 2) x and y in pixels of each of A individuals, NaN where there is none;
            or (N, A, K, 3) with scores.

    Raises:
        SettingsError: h5py is not there.
    """
    if not has_h5py():
        needs_h5py("DeepLabCut's .h5")
    several = values.shape[1] > 1
    columns = [
        (SCORER, *([f"individual{i + 1}"] if several else []), name, coord)
        for i in range(values.shape[1])
        for name in names
        for coord in ("x", "y", "likelihood")[: values.shape[3]]
    ]
    frame = Frame(tuple(columns), tuple(rows), values.reshape(len(rows), -1))
    return written_frame(frame, SEVERAL if several else HEADER)


def _rows(frame: Frame) -> Rows:
    """The rows that the same table has as a CSV, with the numbers of its lines."""
    words = SEVERAL if frame.columns and len(frame.columns[0]) == len(SEVERAL) else HEADER
    width = len(frame.rows[0]) if frame.rows else 1
    padded = 3 if width > 1 else 1
    head = [
        [word, *[""] * (padded - 1), *(name[level] for name in frame.columns)]
        for level, word in enumerate(words)
    ]
    body = (
        [*(name if width == padded else ("/".join(name), "", "")), *map(number, values)]
        for name, values in zip(frame.rows, frame.values.tolist(), strict=True)
    )
    return list(enumerate([*head, *body], 1))
