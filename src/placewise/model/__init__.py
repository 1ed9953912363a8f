"""Backbone and head joined: image in, keypoints or classes out."""

from placewise.model._choose import (
    USUAL_HEAD,
    build,
    check_head,
    choose_model,
    first_model,
    reopened,
)
from placewise.model._classes import Classified, ClassModel
from placewise.model._keypoints import KeypointModel, Located, decode_floor
from placewise.model._network import ModelSettings, Network

__all__ = [
    "USUAL_HEAD",
    "ClassModel",
    "Classified",
    "KeypointModel",
    "Located",
    "ModelSettings",
    "Network",
    "build",
    "check_head",
    "choose_model",
    "decode_floor",
    "first_model",
    "reopened",
]
