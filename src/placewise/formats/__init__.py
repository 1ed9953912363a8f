"""Labels: which points lie where on pictures, or what the pictures show, and what holds them.

Each file of this folder is a format with a reader and mostly a writer; the file's name is the
format's name. `read_labels` finds the format by looking at the data.

```
file ── recognises ──> Format ── read ──> Labels or ClassLabels ── write ──> file
```
"""

from placewise.formats._classes import NOT_LABELLED, ClassLabels, ClassSample
from placewise.formats._files import convert, holds_arrays, read_labels, write_labels
from placewise.formats._format import FORMATS, Format, Written
from placewise.formats._labels import Labels, Sample, State
from placewise.formats._sets import SPLITS, AnySample, Arrays, Files, LabelSet, S, Source, Task
from placewise.formats._symmetry import guess_symmetry

__all__ = [
    "FORMATS",
    "NOT_LABELLED",
    "SPLITS",
    "AnySample",
    "Arrays",
    "ClassLabels",
    "ClassSample",
    "Files",
    "Format",
    "LabelSet",
    "Labels",
    "S",
    "Sample",
    "Source",
    "State",
    "Task",
    "Written",
    "convert",
    "guess_symmetry",
    "holds_arrays",
    "read_labels",
    "write_labels",
]
