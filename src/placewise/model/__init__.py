"""Backbone and head joined: images in, predictions out.

```
kinds     signals, images and volumes: a network reads one of them
inputs    how images are brought to the network
arrays    what a user hands over as images
plain     what has to be known of a backbone that is not ours
network   the model, whatever it answers
parts     huge images tile by tile
coarse    the parts of images that an answer is in
```
"""

from placewise.model.coarse import CoarseToFine
from placewise.model.inputs import (
    PIXELS,
    InputSettings,
    Spacing,
    as_input,
    choose_input,
    object_extent,
    scaled_size,
    shown_size,
    unlike,
)
from placewise.model.network import (
    BATCH,
    Given,
    ModelSettings,
    Network,
    P,
    Scaled,
    Settings,
    Short,
    Whereabouts,
    batches_of,
    padded_size,
)
from placewise.model.parts import MEMORY, file_in_tiles, in_tiles, is_huge

__all__ = [
    "BATCH",
    "MEMORY",
    "PIXELS",
    "CoarseToFine",
    "Given",
    "InputSettings",
    "ModelSettings",
    "Network",
    "P",
    "Scaled",
    "Settings",
    "Short",
    "Spacing",
    "Whereabouts",
    "as_input",
    "batches_of",
    "choose_input",
    "file_in_tiles",
    "in_tiles",
    "is_huge",
    "object_extent",
    "padded_size",
    "scaled_size",
    "shown_size",
    "unlike",
]
