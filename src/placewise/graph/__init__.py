"""From any network to a graph that says which places each tensor reads."""

from placewise.graph._record import tensors_of, whole_attention
from placewise.graph.capture import capture, capture_program, image_shape
from placewise.graph.graph import OUTPUT, Graph, Node, Target
from placewise.graph.inputs import Inputs, fed, feed, taken
from placewise.undisturbed import running_modules, uncompiled, undisturbed

__all__ = [
    "OUTPUT",
    "Graph",
    "Inputs",
    "Node",
    "Target",
    "capture",
    "capture_program",
    "fed",
    "feed",
    "image_shape",
    "running_modules",
    "taken",
    "tensors_of",
    "uncompiled",
    "undisturbed",
    "whole_attention",
]
