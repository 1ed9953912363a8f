"""Labels: which points lie where on which pictures, and the files that hold them.

Each file of this folder is a format with a reader and a writer; the file's name is the format's
name. `read_labels` finds the format by looking at the data.

```
file ── recognises ──> Format ── read ──> Labels ── write ──> file
```
"""

from placewise.formats._files import convert, read_labels, write_labels
from placewise.formats._labels import FORMATS, SPLITS, Format, Labels, Sample, State
from placewise.formats._symmetry import guess_symmetry

__all__ = [
    "FORMATS",
    "SPLITS",
    "Format",
    "Labels",
    "Sample",
    "State",
    "convert",
    "guess_symmetry",
    "read_labels",
    "write_labels",
]
