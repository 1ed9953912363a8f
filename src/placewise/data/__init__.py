"""Samples to batches: split, scale, order. Every choice is a pure function of the seed."""

from placewise.data._images import (
    ClassTrainingSet,
    KeypointTrainingSet,
    ScaledImages,
    TrainingSet,
    in_groups,
    mirror_order,
)
from placewise.data._inputs import (
    DETAIL,
    FINER,
    OBJECT,
    PIXELS,
    SMALLEST,
    InputSettings,
    as_input,
    choose_input,
    object_extent,
    scaled_size,
    shown_size,
)
from placewise.data._order import Batch, Order, batches
from placewise.labels import of_split, single, split_images

__all__ = [
    "DETAIL",
    "FINER",
    "OBJECT",
    "PIXELS",
    "SMALLEST",
    "Batch",
    "ClassTrainingSet",
    "InputSettings",
    "KeypointTrainingSet",
    "Order",
    "ScaledImages",
    "TrainingSet",
    "as_input",
    "batches",
    "choose_input",
    "in_groups",
    "mirror_order",
    "object_extent",
    "of_split",
    "scaled_size",
    "shown_size",
    "single",
    "split_images",
]
