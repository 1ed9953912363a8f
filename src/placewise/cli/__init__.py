"""The command line: one thin function for each verb. Heavy imports stand inside."""

from __future__ import annotations

import inspect
import re
import sys
import time
from collections.abc import Callable, Sequence
from functools import wraps
from typing import get_type_hints

import tyro
from tyro.conf import DisallowNone, PositionalMetavarFromFieldName

from placewise import __version__
from placewise.cli._compare import compare
from placewise.cli._export import export
from placewise.cli._images import check, convert, demo, evaluate, predict, train
from placewise.cli._label import label
from placewise.cli._places import audit, mend
from placewise.cli._show import show
from placewise.cli._video import frames
from placewise.cli._words import BEGUN, age, complain, silence
from placewise.errors import PlacewiseError
from placewise.progress import console

__all__ = ["VERBS", "main"]

DESCRIPTION = """Find keypoints in images, sort images into classes, see where a network is blind.

A first run, from a folder with images and points.csv (image,keypoint,x,y):

  placewise check my_folder
  placewise train my_folder --out my_run --minutes 8
  placewise evaluate my_run my_folder
  placewise predict my_run new_images --out predictions

The same commands learn classes if the labels are classes: a folder of images for each class,
a table (image,class), arrays, or the files of MNIST. To see all steps at once: placewise demo

To see any network layer by layer, and where it is blind:

  placewise show lenet+flatten
  placewise audit torchvision:resnet18

Options and examples of a command: placewise COMMAND --help"""


VERBS: dict[str, Callable[..., None]] = {
    "check": check,
    "convert": convert,
    "frames": frames,
    "label": label,
    "train": train,
    "predict": predict,
    "evaluate": evaluate,
    "export": export,
    "audit": audit,
    "mend": mend,
    "compare": compare,
    "show": show,
    "demo": demo,
}


def main(args: Sequence[str] | None = None) -> None:
    """Run a verb; errors of ours are one message and exit code 2."""
    given = list(sys.argv[1:] if args is None else args)
    BEGUN.set(time.monotonic() - (age() if args is None else 0.0))
    try:
        _run(given)
    except BrokenPipeError:  # the reader, e.g. `head`, has seen enough
        pass
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except BrokenPipeError:  # else Python complains when it ends
                silence(stream)


def _run(given: list[str]) -> None:
    """Run a verb, with its errors as exit codes."""
    if given == ["--version"]:
        print(f"placewise {__version__}")
        return
    brief = not given or given[0].startswith("-")
    try:
        with console(quiet="--quiet" in given):
            tyro.extras.subcommand_cli_from_dict(
                {name: _told(verb, brief) for name, verb in VERBS.items()},
                prog="placewise",
                description=DESCRIPTION,
                args=given,
                sort_subcommands=False,
                config=(DisallowNone, PositionalMetavarFromFieldName),
            )
    except PlacewiseError as error:
        complain(f"placewise: {error}")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        complain("placewise: stopped")
        raise SystemExit(130) from None


def _told(verb: Callable[..., None], brief: bool) -> Callable[..., None]:
    """The verb with words as help shows them: arguments on one line, or the first line only."""

    @wraps(verb)
    def told(*args: object, **given: object) -> None:
        verb(*args, **given)

    words = inspect.cleandoc(verb.__doc__ or "")
    told.__doc__ = words.splitlines()[0] if brief else re.sub(r"\n {8,}", " ", words)
    told.__annotations__ = get_type_hints(verb, include_extras=True)
    vars(told)["__signature__"] = inspect.signature(verb)
    del vars(told)["__wrapped__"]  # else its words are read instead
    return told
