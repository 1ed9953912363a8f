"""The verb that compares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tyro.conf import Positional

from placewise.cli._words import Pairs, import_all, parse_settings, teller


def compare(
    what: Positional[Path],
    /,
    out: Path,
    heads: str | None = None,
    backbone: str | None = None,
    backbone_set: Pairs = (),
    seeds: int | None = None,
    steps: int | None = None,
    batch: int | None = None,
    trials: int | None = None,
    unmatched: bool = False,
    place: bool = True,
    jobs: int | None = None,
    engine: str = "local",
    format: str | None = None,
    plugin: Pairs = (),
    quiet: bool = False,
) -> None:
    """Is one way really better than another, at the same cost and on the same seeds?

    Like this:

      placewise compare plan.toml --out comparison
      placewise compare digits --heads sheet,proximity --backbone lenet --seeds 20 --out heads

    Arms whose parameters or multiply-adds differ by more than 2 % are refused. Give the same
    command again to go on with a comparison that was ended. See docs/compare.md.

    Args:
        what: a plan in TOML; or a file of labels, or the folder that holds one, with --heads.
        out: folder for results.json, table.md, report.html and the runs.
        heads: heads to compare, with commas between; the first is what the others are held against.
        backbone: of all arms; unet by default.
        backbone_set: settings of the backbone as KEY=VALUE.
        seeds: runs of each arm; 10 by default explore, 20 claim.
        steps: optimiser steps of each run; 1000 by default.
        batch: images in a step.
        trials: tuning runs of each arm on validation images; 6 by default, 1 tunes nothing.
        unmatched: go on though the budgets differ, and say so in every table.
        place: also permute places and measure shifts, sizes and deformations.
        jobs: processes; by default one for each core.
        engine: local, ray, ray://HOST:PORT, dask or dask://HOST:PORT.
        format: force a format of labels.
        plugin: modules to import first, for heads and backbones of your own.
        quiet: print nothing.
    """
    import_all(plugin)
    from placewise.comparison import compare as run_comparison
    from placewise.comparison import make_plan, read_plan
    from placewise.errors import SettingsError

    given: dict[str, Any] = {
        "backbone": backbone,
        "backbone_settings": parse_settings(backbone_set) or None,
        "seeds": seeds,
        "format": format,
        "training": {k: v for k, v in (("max_steps", steps), ("batch_size", batch)) if v} or None,
        "tuning": {"trials": trials} if trials else None,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if heads is None:
        if given:
            raise SettingsError(
                f"{what} is read as a plan, which says {', '.join(given)} itself; change it there, "
                "or give data and --heads"
            )
        plan = read_plan(what)
        plan = plan.model_copy(
            update={"unmatched": plan.unmatched or unmatched, "place": plan.place and place}
        )
    else:
        arms = [{"name": head, "head": head} for head in heads.split(",")]
        plan = make_plan(data=what, arms=arms, unmatched=unmatched, place=place, **given)
    run_comparison(
        plan, out, engine=engine, workers=jobs, plugins=plugin, quiet=quiet, tell=teller(quiet)
    )
