"""From any network to a graph that says which places each tensor reads."""

from placewise.graph._record import tensors_of
from placewise.graph.capture import capture, capture_program, image_shape
from placewise.graph.graph import OUTPUT, Graph, Node, Target
from placewise.graph.undisturbed import running_modules, uncompiled, undisturbed

__all__ = [
    "OUTPUT",
    "Graph",
    "Node",
    "Target",
    "capture",
    "capture_program",
    "image_shape",
    "running_modules",
    "tensors_of",
    "uncompiled",
    "undisturbed",
]
