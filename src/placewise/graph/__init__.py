"""Any network to a graph of what reads which places."""

from placewise.graph.capture import capture, capture_program
from placewise.graph.graph import Graph, Node
from placewise.graph.undisturbed import undisturbed

__all__ = ["Graph", "Node", "capture", "capture_program", "undisturbed"]
