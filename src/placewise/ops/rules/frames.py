"""Short-time Fourier transforms: frames of a signal to frequencies, and back."""

from __future__ import annotations

import numpy as np

from placewise.ops.axes import pad, spread, window
from placewise.ops.rules.arguments import values
from placewise.ops.rules.everything import everything
from placewise.ops.table import Call, Operand, Outcome, Status, alone, rule


@rule("window", "stft")
def transforming(call: Call) -> Outcome:
    """Each column of a spectrogram reads its frame; frequencies are channels.

    Example:
        >>> from placewise.ops.layout import Layout
        >>> sound = Operand(0, Layout.image((1, 1, 16)).viewed((1, 16)))
        >>> given = {"self": sound, "n_fft": 8, "hop_length": 4, "return_complex": True}
        >>> transforming(Call("stft", given, (1, 5, 3), 0, False)).layout.grid
        (1, 1, 3)
    """
    if call.get("align_to_window", default=False) or len(call.operands) > 1:
        return everything(call)
    size, hop = _frame(call)
    first, end = _taps(call, size)
    last = len(call.operand.shape) - 1
    route = call.route()
    if call.get("center", default=False):
        mode = {"constant": "zeros"}.get(call["pad_mode"], call["pad_mode"])
        route.along(last, pad(route.layout.shape[last], size // 2, size // 2, mode))
    if (first, end) != (0, size):
        route.along(last, pad(route.layout.shape[last], -first, end - size))
    route.along(last, window(route.layout.shape[last], end - first, stride=hop))
    pairs = len(call.shape) - len(call.operand.shape) - 1
    outer, moments = route.layout.shape[:last], route.layout.shape[last]
    route.view((*outer, 1, moments, *[1] * pairs)).spread(last, call.shape[last])
    if pairs:
        route.spread(last + 2, 2)
    return alone(call, route, Status.AT_MOST if pairs and call.per_channel else Status.EXACT)


@rule("window", "istft")
def returning(call: Call) -> Outcome:
    """Each moment reads the frames that lie over it, of all frequencies."""
    if len(call.operands) > 1:
        return everything(call)
    size, hop = _frame(call)
    first, end = _taps(call, size)
    rank = len(call.shape)
    shape = call.operand.shape
    route = call.route()
    for dim in (rank - 1, *range(rank + 1, len(shape))):
        route.reduce(dim)
    route.view((*shape[: rank - 1], shape[rank]))
    route.along(rank - 1, spread(shape[rank], end - first, stride=hop))
    skipped = first - (size // 2 if call.get("center", default=True) else 0)
    rest = call.shape[-1] - route.layout.shape[-1] - skipped
    return alone(call, route.along(rank - 1, pad(route.layout.shape[-1], skipped, rest, "ignored")))


def _frame(call: Call) -> tuple[int, int]:
    """Length of a frame, and steps from one to the next."""
    size = int(call["n_fft"])
    return size, int(call.get("hop_length") or size // 4)


def _taps(call: Call, size: int) -> tuple[int, int]:
    """First and end of the places of a frame that its window does not set to zero.

    A window that is shorter than the frame lies in its middle.
    """
    length = int(call.get("win_length") or size)
    given = call.get("window")
    numbers = values(given) if given is not None and not isinstance(given, Operand) else None
    taps = np.arange(length) if numbers is None else np.flatnonzero(numbers)
    if not len(taps):
        return 0, size
    before = (size - length) // 2
    return before + int(taps[0]), before + int(taps[-1]) + 1
