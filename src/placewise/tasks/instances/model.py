"""Images in, objects with their outlines out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from placewise.gathering import Gathering
from placewise.geometry import Size
from placewise.heads.instances import Instances as InstanceHead
from placewise.model import Network
from placewise.tasks.instances.evidence import Evidence, Limits
from placewise.tasks.instances.huge import InstanceGathering
from placewise.tasks.instances.prediction import InstancePrediction


class InstanceModel(Network[InstancePrediction]):
    """A backbone and a head: images in, objects with their outlines out.

    Args:
        backbone: images (batch, channels, *size) to features; any module.
        head: features to maps of foreground, centres and offsets.
        names: of the kinds of objects; None: numbers.
        input: how images are brought to the network; None: as they are, in 0..1.
        padding: rule by which images are padded to a multiple of the backbone's stride.
        settings: what it was built from; None for a model that was put together by hand.

    Example:
        >>> import numpy as np
        >>> import torch
        >>> backbone = torch.nn.Conv2d(1, 8, 4, stride=4)
        >>> model = InstanceModel(backbone, InstanceHead(8, 1), names=("cell",)).eval()
        >>> model.predict(np.zeros((30, 40), np.uint8)).labels.shape
        (30, 40)
    """

    head: InstanceHead

    def _named(self, names: Sequence[str] | None) -> tuple[str, ...]:
        """Names, or numbers where none are given: as many as the head has kinds."""
        return self._fitting(names, self.head.kinds, "kinds")

    def decode(
        self, output: Tensor, shown: Size, sizes: Sequence[Size], images: Sequence[str]
    ) -> list[InstancePrediction]:
        """Objects at the size of the images; see `Network.decode`."""
        head = self.head
        read = head.read(output)
        evidence = Evidence.of(read, head.sigma, head.map_stride, shown, sizes)
        predictions = []
        for image, one in zip(images, evidence, strict=True):
            found = one.found(self._limits)
            kept = None if self.calibration else one
            predictions.append(InstancePrediction(self.names, image, one.size, found, kept))
        return predictions

    def gathering(self, shown: Size, size: Size, image: str) -> Gathering[Any]:
        """The same tile by tile; see `Network.gathering`."""
        names = tuple(self.names)
        return InstanceGathering(self.head, names, image, shown, size, self._limits)

    @property
    def _limits(self) -> Limits:
        """What was chosen on validation images; of a run that knows no agreement, without it."""
        chosen = self.calibration
        usual = Limits(agreement=0.0) if chosen else Limits()
        return Limits(*(float(chosen.get(name, value)) for name, value in usual._asdict().items()))
