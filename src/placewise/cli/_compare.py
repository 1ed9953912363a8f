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
    max_steps: int | None = None,
    batch_size: int | None = None,
    trials: int | None = None,
    unmatched: bool = False,
    place: bool = True,
    n_jobs: int | None = None,
    engine: str = "local",
    format: str | None = None,
    plugin: Pairs = (),
    quiet: bool = False,
) -> None:
    """Compare heads, backbones or settings at the same cost and on the same seeds.

    Like this:

      placewise compare plan.toml --out comparison
      placewise compare digits --heads sheet,proximity --backbone lenet --seeds 20 --out heads

    Arms whose parameters or multiply-adds differ by more than 2 % are refused. Give the same
    command again to continue an interrupted comparison. See docs/compare.md.

    Args:
        what: a plan in TOML; or a file of labels, or the folder that holds one, with --heads.
        out: folder for results.json, table.md, report.html and the runs.
        heads: heads to compare, separated by commas; the others are compared with the first.
        backbone: of all arms; unet by default.
        backbone_set: settings of the backbone as KEY=VALUE.
        seeds: runs of each arm: 10 (the default) to explore, 20 to claim a difference.
        max_steps: optimiser steps of each run; 1000 by default.
        batch_size: images in a step.
        trials: tuning runs of each arm on validation images; 6 by default, 1 turns tuning off.
        unmatched: continue although the budgets differ; every table then says so.
        place: also permute places and measure shifts, sizes and deformations.
        n_jobs: processes; one for each core by default.
        engine: local, ray, ray://HOST:PORT, dask or dask://HOST:PORT.
        format: read the labels in this format instead of detecting it.
        plugin: modules to import first, for your own heads and backbones.
        quiet: print nothing.
    """
    import_all(plugin)
    from placewise.comparison import compare as run_comparison
    from placewise.comparison import make_plan, read_plan
    from placewise.errors import SettingsError

    given = _given(
        backbone=backbone,
        backbone_settings=parse_settings(backbone_set) or None,
        seeds=seeds,
        format=format,
        training=_given(max_steps=max_steps, batch_size=batch_size) or None,
        tuning=_given(trials=trials) or None,
    )
    if heads is None:
        if given:
            raise SettingsError(
                f"{what} is read as a plan because --heads is missing, and a plan states "
                f"{', '.join(given)} itself; change the plan, or give labels and --heads"
            )
        plan = read_plan(what)
        plan = plan.model_copy(
            update={"unmatched": plan.unmatched or unmatched, "place": plan.place and place}
        )
    else:
        arms = [{"name": head, "head": head} for head in heads.split(",")]
        plan = make_plan(data=what, arms=arms, unmatched=unmatched, place=place, **given)
    run_comparison(
        plan, out, engine=engine, n_jobs=n_jobs, plugins=plugin, quiet=quiet, tell=teller(quiet)
    )


def _given(**values: Any) -> dict[str, Any]:
    """The values that are not None."""
    return {name: value for name, value in values.items() if value is not None}
