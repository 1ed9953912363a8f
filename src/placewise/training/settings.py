"""Settings of a training run."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from placewise.family import validated
from placewise.model import PIXELS

Precision = Literal["auto", "float32", "bfloat16"]


class TrainingSettings(BaseModel):
    """Settings of a training run.

    Attributes:
        max_steps: optimiser steps; None where `max_minutes` decides.
        max_minutes: length by the clock: the speed is measured first and the steps are fixed by it.
        seed: everything drawn is a pure function of it.
        device: "auto" (cuda, mps or cpu), "cpu", "cuda", "cuda:1", "mps".
        precision: "auto" takes the faster of the two on this machine, measured at the start.
        pixels: pixels of the median image after scaling; more is finer and slower.
        batch_size: images in a step, over all processes; None: 8 for keypoints, 32 for classes.
        num_workers: processes that prepare batches.
        learning_rate: peak of the learning rate: warm-up, then cosine to 0.
        weight_decay: of AdamW.
        ema_decay: decay of the moving average of the weights, which is what answers.
        backbone: member of `BACKBONES`.
        backbone_settings: e.g. {"width": 128}; what is missing is chosen from the data.
        head: member of `HEADS`; None: the usual one for what the labels say.
        head_settings: e.g. {"loss": "mse"}; what is missing is the head's default.
        augmentation: changes to the augmentation that is chosen for the data.
        val_interval: steps between validations; None: chosen from the speed.

    Example:
        >>> TrainingSettings(max_minutes=8, head_settings={"loss": "mse"}).head_settings
        {'loss': 'mse'}
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_steps: int | None = Field(default=None, ge=1)
    max_minutes: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    seed: int = Field(default=0, ge=0)
    device: str = "auto"
    precision: Precision = "auto"
    pixels: int = Field(default=PIXELS, ge=1024)
    batch_size: int | None = Field(default=None, ge=2)
    num_workers: int = Field(default=0, ge=0)
    learning_rate: float = Field(default=2e-3, gt=0, allow_inf_nan=False)
    weight_decay: float = Field(default=0.01, ge=0, allow_inf_nan=False)
    ema_decay: float = Field(default=0.99, ge=0, lt=1)
    backbone: str = "unet"
    backbone_settings: dict[str, int | float | str | bool] = {}
    head: str | None = None
    head_settings: dict[str, int | float | str | bool] = {}
    augmentation: dict[str, Any] = {}
    val_interval: int | None = Field(default=None, ge=1)

    @classmethod
    def of(cls, **values: Any) -> TrainingSettings:
        """Settings from loose values, with our error where one cannot be.

        Raises:
            SettingsError: names the setting, what was got and what is allowed.

        Example:
            >>> TrainingSettings.of(max_steps=0)
            Traceback (most recent call last):
            ...
            placewise.errors.SettingsError: max_steps: got 0; input should be ...
        """
        return validated(cls, values)
