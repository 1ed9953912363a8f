"""Labels: what is labelled on images, and where the images are.

```
dataset     Dataset and Sample: what all tasks share
sources     images in files or in arrays
keypoints   keypoints with their visibility
masks       the class of each pixel, or the object that it belongs to
classes     one class for each image
parts       parts of long recordings as samples of their own
symmetry    left and right, guessed from names
splits      which samples train, validate and test
names       names that are safe to open and to write
```
"""

from placewise.labels.classes import NOT_LABELLED, ClassDataset, ClassSample
from placewise.labels.dataset import SPLITS, Dataset, Pixels, S, Sample
from placewise.labels.keypoints import (
    Ignored,
    KeypointDataset,
    KeypointSample,
    PoseDataset,
    SpotDataset,
    Visibility,
    as_told,
    nearest_distances,
    single,
)
from placewise.labels.masks import IGNORED, InstanceDataset, InstanceSample, MaskDataset, MaskSample
from placewise.labels.parts import by_time
from placewise.labels.sources import Arrays, Files, Source
from placewise.labels.splits import of_split, split_images
from placewise.labels.symmetry import guess_symmetry, mirror_order, unpaired

__all__ = [
    "IGNORED",
    "NOT_LABELLED",
    "SPLITS",
    "Arrays",
    "ClassDataset",
    "ClassSample",
    "Dataset",
    "Files",
    "Ignored",
    "InstanceDataset",
    "InstanceSample",
    "KeypointDataset",
    "KeypointSample",
    "MaskDataset",
    "MaskSample",
    "Pixels",
    "PoseDataset",
    "S",
    "Sample",
    "Source",
    "SpotDataset",
    "Visibility",
    "as_told",
    "by_time",
    "guess_symmetry",
    "mirror_order",
    "nearest_distances",
    "of_split",
    "single",
    "split_images",
    "unpaired",
]
