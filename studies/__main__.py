"""The command line of the studies: `python -m studies NAME`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import tyro
from tyro.conf import DisallowNone, Positional, PositionalMetavarFromFieldName

from placewise.errors import PlacewiseError
from studies import Options, Scale, rewrite_page, run_study


def study(
    name: Positional[str],
    /,
    scale: Scale = "small",
    out: Path = Path("docs/studies"),
    data: Path | None = None,
    seed: int = 0,
    runs: Path | None = None,
    n_jobs: int | None = None,
    page_only: bool = False,
    quiet: bool = False,
) -> None:
    """Answer a question by measuring, and write its page.

    Like this:

      python -m studies edges
      python -m studies edges --scale full --data my_data --out pages
      python -m studies proximity --scale full --data my_data --runs kept --n-jobs 4
      python -m studies edges --page-only

    Args:
        name: edges, colours, flattening, sizes, proximity, keypoints, convergence, signals or
            vessels.
        scale: small takes minutes on two cores, full takes longer; tiny only tries the command out.
        out: folder for NAME.md, NAME.json and figures; only an older page of the study is replaced.
        data: folder that holds data sets; parts that need one are left out without it.
        seed: of everything that is random.
        runs: folder that keeps finished runs; give it again to continue an interrupted study.
        n_jobs: processes for studies of many runs; one for each core by default.
        page_only: measure nothing; write NAME.md again from the numbers in NAME.json.
        quiet: print nothing.
    """
    if page_only:
        page = rewrite_page(name, out)
    else:
        page = run_study(name, out, Options(scale, seed, data, runs, n_jobs, quiet))
    if not quiet:
        print(f"page: {page}")


def main(args: Sequence[str] | None = None) -> None:
    """Run a study; errors of ours are one message and exit code 2."""
    try:
        tyro.cli(
            study,
            prog="python -m studies",
            args=args,
            config=(DisallowNone, PositionalMetavarFromFieldName),
        )
    except PlacewiseError as error:
        print(f"studies: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("studies: stopped", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
