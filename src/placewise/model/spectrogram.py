"""Signals as maps of frequency and time: the power of each frequency, in decibels."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from placewise.geometry import Size

SECONDS = 0.032
"""Length of a window, where the rate of the samples is known: as long as speech stands still."""

SAMPLES = 256
"""Samples of a window, where the rate is not known."""

RANGE = 80.0
"""Decibels below the loudest place of a map down to which it is seen."""


class Spectrogram(BaseModel):
    """How signals become maps; frequency runs up, time to the right.

    Attributes:
        window: samples of the Hann window that a column is made of; the map has half as many rows.
        hop: samples from column to column.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    window: Annotated[int, Field(ge=8, le=2**16)]
    hop: Annotated[int, Field(ge=1, le=2**16)]

    @classmethod
    def of_pitch(cls, pitch: float | None) -> Spectrogram:
        """Windows of `SECONDS`, or nearly so: a power of two; two of them cover each sample.

        Args:
            pitch: seconds from sample to sample; None: not known.

        Example:
            >>> Spectrogram.of_pitch(1 / 8000)
            Spectrogram(window=256, hop=128)
        """
        wanted = SAMPLES if pitch is None else SECONDS / pitch
        window = int(np.clip(2 ** round(float(np.log2(wanted))), 16, 2**15))
        return cls(window=window, hop=window // 2)

    def size(self, length: int) -> Size:
        """(frequencies, columns) of a signal of this length.

        Example:
            >>> Spectrogram(window=256, hop=64).size(640)
            (128, 11)
        """
        return self.window // 2, 1 + length // self.hop

    def map(self, signal: NDArray[Any]) -> NDArray[np.float32]:
        """The map of a signal: 1 is its loudest place, 0 is `RANGE` decibels lower, or less.

        The last channel is the frequency itself, 0 to 1: a convolution sees every place alike, and
        what is said lies in which frequencies are loud.

        A column is 20·log₁₀|Σ w(n) x(n) e^(−2πikn/N)|, with the window about its middle; beyond the
        ends of the signal are zeros. A louder recording of the same sound has the same map. The
        lowest frequency (the mean) is left out.

        Args:
            signal: (length, channels) of any numbers.

        Returns:
            (frequencies, columns, channels + 1) in 0..1, the highest frequency first.

        Example:
            >>> tone = np.sin(2 * np.pi * np.arange(4000) / 8)[:, None]  # an eighth of the rate
            >>> int(Spectrogram(window=64, hop=16).map(tone)[:, 100, 0].argmax())
            24
        """
        columns = 1 + len(signal) // self.hop
        around = ((self.window // 2, self.window), (0, 0))
        padded = np.pad(np.asarray(signal, np.float64), around)
        seen = np.lib.stride_tricks.sliding_window_view(padded, self.window, axis=0)
        seen = seen[:: self.hop][:columns]
        hann = np.sin(np.pi * (np.arange(self.window) + 0.5) / self.window) ** 2
        power = np.abs(np.fft.rfft(seen * hann, axis=-1)[..., 1:]) ** 2
        loudest = float(power.max(initial=0.0)) or 1.0
        decibels = 10 * np.log10(np.maximum(power / loudest, 1e-30))
        shown = (1 + decibels / RANGE).clip(0, 1).transpose(2, 0, 1)
        rows = np.linspace(0, 1, self.window // 2)[:, None, None]
        maps = np.concatenate([shown, np.broadcast_to(rows, (*shown.shape[:2], 1))], axis=-1)
        return np.ascontiguousarray(maps[::-1], np.float32)
