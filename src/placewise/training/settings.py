"""Settings of a training run."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from placewise.family import from_file, validated
from placewise.images import PIXEL_LIMIT
from placewise.model import Given, Short
from placewise.run import Run

Precision = Literal["auto", "float32", "bfloat16"]


class TrainingSettings(BaseModel):
    """Settings of a training run.

    Attributes:
        max_steps: optimiser steps; None where `max_minutes` decides.
        max_minutes: length by the clock, from the first image read to the last drawing; the
            learning rate follows the clock.
        seed: everything drawn is a pure function of it.
        device: "auto" (cuda, mps or cpu), "cpu", "cuda", "cuda:1", "mps".
        precision: "auto" takes the faster of the two on this machine, measured at the start.
        input_pixels: pixels of the median image after scaling, or of a window on it; more is finer
            and slower; None: 76,800, of a signal 4,096 samples, of a volume 262,144 voxels.
        batch_size: images in a step, over all processes; None: 8 for keypoints, 32 for classes.
        num_workers: processes that prepare batches; 0: a thread beside the network.
        learning_rate: peak of the learning rate: warm-up, then cosine to 0.
        weight_decay: of AdamW.
        ema_decay: decay of the moving average of the weights, which is what answers.
        backbone: member of `BACKBONES`.
        backbone_settings: e.g. {"width": 128}; what is missing is chosen from the data.
        head: member of `HEADS`; None: the usual one for what the labels say.
        head_settings: e.g. {"loss": "mse"}; what is missing is the head's default.
        spectrogram: signals are shown to the network as maps of frequency and time.
        augmentation: changes to the augmentation that is chosen for the data.
        mirrors: predictions are the mean over an image and its mirrored copies, where training
            mirrors images and the head can mirror its maps back (else refused); each copy costs as
            much time as the image.
        val_interval: steps between validations; None: chosen from the time that they take.

    Example:
        >>> TrainingSettings(max_minutes=8, head_settings={"loss": "mse"}).head_settings
        {'loss': 'mse'}
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_steps: int | None = Field(default=None, ge=1, le=10**9)
    max_minutes: float | None = Field(default=None, gt=0, le=1e6)
    seed: int = Field(default=0, ge=0, lt=2**63)
    device: str = Field(default="auto", max_length=64)
    precision: Precision = "auto"
    input_pixels: int | None = Field(default=None, ge=1024, le=PIXEL_LIMIT)
    batch_size: int | None = Field(default=None, ge=2, le=2**16)
    num_workers: int = Field(default=0, ge=0, le=1024)
    learning_rate: float = Field(default=2e-3, gt=0, le=1e30)
    weight_decay: float = Field(default=0.01, ge=0, le=1e6)
    ema_decay: float = Field(default=0.99, ge=0, lt=1)
    backbone: Short = "unet"
    backbone_settings: Given = {}
    head: Short | None = None
    head_settings: Given = {}
    spectrogram: bool = False
    augmentation: dict[Short, Any] = Field(default={}, max_length=64)
    mirrors: bool = False
    val_interval: int | None = Field(default=None, ge=1, le=10**9)

    @classmethod
    def of(cls, **values: Any) -> TrainingSettings:
        """Settings from loose values, with our error where one cannot be.

        Raises:
            SettingsError: names the setting, what was got and what is allowed.

        Example:
            >>> TrainingSettings.of(max_steps=0)
            Traceback (most recent call last):
            ...
            placewise.errors.SettingsError: max_steps: got 0; it must be 1 or more
        """
        return validated(cls, values)


def settings_of(run: Run) -> TrainingSettings:
    """The settings that a run was begun with.

    Raises:
        CheckpointError: its `run.json` holds what no training writes.
    """
    return from_file(TrainingSettings, run.path / "run.json", run.facts.training, "training")
