"""The command line: one thin function for each verb. Heavy imports stand inside."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import tyro

from placewise import __version__
from placewise.cli._compare import compare
from placewise.cli._dots import check, convert, demo, evaluate, predict, train
from placewise.cli._places import audit, remedy, study
from placewise.cli._show import show
from placewise.errors import PlacewiseError

__all__ = ["VERBS", "main"]

DESCRIPTION = """Networks that keep place: dots on pictures of any size.

A first run, from a folder with pictures and points.csv (image,point,x,y):

  placewise check my_folder
  placewise train my_folder --out my_run --minutes 8
  placewise evaluate my_run my_folder
  placewise predict my_run new_pictures --out dots

Or see it all at once: placewise demo

Any network's blind places: placewise audit torchvision:resnet18"""


VERBS: dict[str, Callable[..., None]] = {
    "check": check,
    "convert": convert,
    "train": train,
    "predict": predict,
    "evaluate": evaluate,
    "audit": audit,
    "remedy": remedy,
    "compare": compare,
    "show": show,
    "study": study,
    "demo": demo,
}


def main(args: Sequence[str] | None = None) -> None:
    """Run a verb; errors of ours are one message and exit code 2."""
    given = list(sys.argv[1:] if args is None else args)
    if given == ["--version"]:
        print(f"placewise {__version__}")
        return
    try:
        tyro.extras.subcommand_cli_from_dict(
            VERBS,
            prog="placewise",
            description=DESCRIPTION,
            args=given,
            sort_subcommands=False,
        )
    except PlacewiseError as error:
        print(f"placewise: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("placewise: stopped", file=sys.stderr)
        raise SystemExit(130) from None
