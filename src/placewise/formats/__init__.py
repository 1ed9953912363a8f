"""Formats: files of labels to data sets, and back.

Each file of this folder is a format with a reader and mostly a writer; the file's name is the
format's name. `read_dataset` finds the format by looking at the data.

```
path ── _files ──> files and their Format ── read ──> Dataset ── write ──> file
                                              │
                     _tables, _arrays: cells and numbers, in whatever way they are written
                     _collect: images, marks and all faults of a file
```
"""

from placewise.formats._files import convert, holds_arrays, read_dataset, write_dataset
from placewise.formats._format import FORMATS, Format, Text, Written
from placewise.formats.mask_folders import label_maps_in

__all__ = [
    "FORMATS",
    "Format",
    "Text",
    "Written",
    "convert",
    "holds_arrays",
    "label_maps_in",
    "read_dataset",
    "write_dataset",
]
