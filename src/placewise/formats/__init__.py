"""KeypointDataset: which points lie where on images, or what the images show, and what holds them.

Each file of this folder is a format with a reader and mostly a writer; the file's name is the
format's name. `read_dataset` finds the format by looking at the data.

```
file ── recognises ──> Format ── read ──> Labels or ClassDataset ── write ──> file
```
"""

from placewise.formats._classes import NOT_LABELLED, ClassDataset, ClassSample
from placewise.formats._files import convert, holds_arrays, read_dataset, write_dataset
from placewise.formats._format import FORMATS, Format, Written
from placewise.formats._labels import KeypointDataset, KeypointSample, Visibility
from placewise.formats._sets import SPLITS, Arrays, Dataset, Files, S, Sample, Source, Task
from placewise.formats._symmetry import guess_symmetry

__all__ = [
    "FORMATS",
    "NOT_LABELLED",
    "SPLITS",
    "Arrays",
    "ClassDataset",
    "ClassSample",
    "Dataset",
    "Files",
    "Format",
    "KeypointDataset",
    "KeypointSample",
    "S",
    "Sample",
    "Source",
    "Task",
    "Visibility",
    "Written",
    "convert",
    "guess_symmetry",
    "holds_arrays",
    "read_dataset",
    "write_dataset",
]
