"""Images that are predicted tile by tile, because as a whole they would take too much memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from placewise.errors import ImageError
from placewise.images import image_kind
from placewise.labels import Source
from placewise.model import Network, file_in_tiles, is_huge
from placewise.windows import MOST

HUGE = "in tiles"
"""Stands in the place of a reason for an image that is neither read nor passed over."""


class Huge:
    """Which images of a prediction are huge, and what is predicted for them.

    Args:
        model: predicts them.
        source: where they are.
        memory: bytes that an image, its maps and what is computed of them may take.
    """

    def __init__(self, model: Network[Any], source: Source, memory: int) -> None:
        self.model, self.source, self.memory = model, source, memory

    def holds(self, name: str) -> bool:
        """Whether an image has to be predicted in tiles, as its header says."""
        file = self._file(name)
        if file is None:
            return False
        try:
            size = image_kind(file, MOST).size
        except ImageError:
            return False  # whoever reads it says why
        return is_huge(self.model, size, self.memory)

    def predicted(self, name: str) -> Any:
        """The prediction for an image that `holds` is true of.

        Raises:
            ImageError: its parts cannot be read.
            SettingsError: the model cannot be computed in tiles, or not in the memory.
        """
        file = self._file(name)
        if file is None:
            raise ImageError(f"{name} is in no file of its own")
        return file_in_tiles(self.model, file, name, self.memory)

    def _file(self, name: str) -> Path | None:
        """The file of an image of two axes."""
        view = self.model.input
        return self.source.file(name) if view.axes == view.image_axes == 2 else None
