"""The exceptions that a user can meet.

```
PlacewiseError (ValueError)
├── SettingsError    a setting that cannot be
│   └── NoLabelsError  a folder without labels, where some are needed
├── ShapeError       an array or a tensor of the wrong shape or type
├── DataError        data that nothing can be learnt or measured from
│   └── LabelError   faults in a file of labels, all of them at once
├── ImageError       a file that is not an image we read
├── CheckpointError  a checkpoint that is damaged or of another kind
├── TrainingError    a run that cannot go on
└── CaptureError     a network whose operations cannot be followed
```

Every message says what was got, what is needed and what to do.
"""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class PlacewiseError(ValueError):
    """Base of every error that placewise raises on purpose."""


class SettingsError(PlacewiseError):
    """A setting that cannot be: unknown name, impossible value, mismatch of parts."""


class NoLabelsError(SettingsError):
    """A folder in which there are no labels, nor anything that looks like them."""


class ShapeError(PlacewiseError):
    """An array or a tensor that has the wrong number of dimensions, sides, channels or type."""


class DataError(PlacewiseError):
    """Data that nothing can be learnt from or measured on."""


class ImageError(PlacewiseError):
    """A file that is not an image, is damaged, or is too large to open."""


class CheckpointError(PlacewiseError):
    """A checkpoint that is missing, damaged or of another kind."""


class TrainingError(PlacewiseError):
    """A training run that cannot go on, e.g. because the loss is not a number."""


class CaptureError(PlacewiseError):
    """A network whose operations cannot be followed; it can only be measured from outside."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong in a file of labels.

    Attributes:
        file: the file of labels, as the user named it.
        row: 1-based line of a table, or 0 where the file has no lines (JSON).
        field: column or JSON path.
        got: what stands there and why it cannot be.
        todo: what to do about it.

    Example:
        >>> print(Fault("points.csv", 12, "x", "'abc' is not a number", "write a number"))
        points.csv, row 12, x: 'abc' is not a number; write a number
    """

    file: str
    row: int
    field: str
    got: str
    todo: str

    def __str__(self) -> str:
        row = f", row {self.row}" if self.row else ""
        return f"{self.file}{row}, {self.field}: {self.got}; {self.todo}"


class LabelError(DataError):
    """The faults of a file of labels, all of them at once.

    Attributes:
        faults: the faults, in the order of the file.
    """

    shown = 50

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        lines = [str(fault) for fault in self.faults[: self.shown]]
        if len(self.faults) > self.shown:
            lines.append(f"... and {len(self.faults) - self.shown} more")
        super().__init__("\n".join(lines))


def own_line(error: BaseException) -> str:
    """The last line of the user's own code that an error went through, as "file:line".

    Lines of torch, of Python and of placewise are passed over; lines of other installed packages
    count if there are none of the user's. Empty if there are neither.

    Args:
        error: with its traceback.

    Example:
        >>> own_line(ValueError("never raised"))
        ''
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_file()]
    foreign = [f for f in frames if not _inside(f.filename, _PASSED_OVER)]
    own = [f for f in foreign if not _inside(f.filename, _INSTALLED)]
    last = (own or foreign)[-1:]
    return f"{last[0].filename}:{last[0].lineno}" if last else ""


LONGEST = 200
"""Characters of a foreign message that are shown."""


def first_line(error: BaseException | None) -> str:
    r"""What an error of other code says, on one line: its class, and the first line of its message.

    An error of placewise is a sentence by itself and is given whole, without its class.

    Args:
        error: of the user's network or of a library.

    Example:
        >>> first_line(RuntimeError("shapes differ.\nat layer 3")), first_line(KeyError())
        ('RuntimeError: shapes differ', 'KeyError')
        >>> first_line(SettingsError("sizes differ; give one size"))
        'sizes differ; give one size'
    """
    said = str(error).strip().partition("\n")[0].rstrip(". ")
    if isinstance(error, PlacewiseError):
        return said
    said = said if len(said) <= LONGEST else f"{said[:LONGEST]}…"
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


_INSTALLED = tuple({sysconfig.get_path(name) for name in ("purelib", "platlib")})
_PASSED_OVER = (
    *(str(Path(place, name)) for place in _INSTALLED for name in ("torch", "numpy")),
    str(Path(__file__).parent),
)


def _inside(file: str, folders: Sequence[str]) -> bool:
    """Whether a file is in one of these folders or belongs to Python itself."""
    python = sysconfig.get_path("stdlib")
    inside = Path(file).is_relative_to(python) and not _below(file, _INSTALLED)
    return inside or _below(file, folders)


def _below(file: str, folders: Sequence[str]) -> bool:
    return any(Path(file).is_relative_to(folder) for folder in folders)
