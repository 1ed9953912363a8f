"""Backbone and head joined: picture in, dots or classes out."""

from placewise.model._choose import (
    USUAL_HEAD,
    build,
    check_head,
    choose_model,
    first_model,
    reopened,
)
from placewise.model._classes import Classified, Classifier
from placewise.model._dots import Localiser, Located, decode_floor
from placewise.model._network import ModelSettings, Network, device_of

__all__ = [
    "USUAL_HEAD",
    "Classified",
    "Classifier",
    "Localiser",
    "Located",
    "ModelSettings",
    "Network",
    "build",
    "check_head",
    "choose_model",
    "decode_floor",
    "device_of",
    "first_model",
    "reopened",
]
