"""KeypointDataset: which points lie where on images, or what the images show, and what holds them.

Each file of this folder is a format with a reader and mostly a writer; the file's name is the
format's name. `read_dataset` finds the format by looking at the data.

```
file ── recognises ──> Format ── read ──> Labels or ClassDataset ── write ──> file
```
"""

from placewise.formats._files import convert, holds_arrays, read_dataset, write_dataset
from placewise.formats._format import FORMATS, Format, Written

__all__ = [
    "FORMATS",
    "Format",
    "Written",
    "convert",
    "holds_arrays",
    "read_dataset",
    "write_dataset",
]
