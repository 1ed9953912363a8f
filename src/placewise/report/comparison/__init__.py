"""The report of a comparison: intervals drawn, numbers in tables, each traceable to a run.

```
_rows      what is reported on, rows of the tables, how numbers are written
_figures   intervals, seeds, changed images
_words     what the words of the page mean
```
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from placewise.report.comparison._figures import arm_figure, change_figure, difference_figure
from placewise.report.comparison._rows import (
    Compared,
    arm_rows,
    comparison_rows,
    path_rows,
    place_rows,
    runs_apart,
    unmatched,
    verdict,
    without_index,
)
from placewise.report.comparison._words import words_of
from placewise.report.parts import Figure, Paragraph, Part, Report, Section, Table, settings_table
from placewise.wording import begun

__all__ = ["Compared", "compare_report", "compare_table"]


def compare_report(compared: Compared, title: str = "") -> Report:
    """The report of a comparison.

    Args:
        compared: what was found.
        title: name of the comparison.
    """
    return Report(
        title,
        verdict(compared),
        [
            Section("Differences", _differences(compared)),
            Section("Arms", _arms(compared)),
            Section("Sense of place", _place(compared), console=False),
            Section("Tuning", _tuning(compared), console=False),
            Section("Every run", [_every_run(compared)], console=False),
            Section("How it was made", _making(compared), console=False),
        ],
        tiles=_tiles(compared),
        notes=compared.notes,
        words=words_of(compared),
    )


def compare_table(compared: Compared) -> str:
    """The tables as Markdown, for a paper or a README."""
    mismatch = unmatched(compared)
    others = [note for note in compared.notes if note != mismatch]
    parts = [f"**{verdict(compared)}**", *others]
    kinds = [comparison_rows, arm_rows]
    if compared.results["plan"]["place"]:
        kinds += [place_rows, path_rows]
    for rows_of in kinds:
        header, rows = rows_of(compared)
        lines = [header, ["---"] * len(header), *rows]
        table = "\n".join(f"| {' | '.join(_plain(line))} |" for line in lines)
        parts += [mismatch, table] if mismatch else [table]
    parts += [said for said in (runs_apart(compared), without_index(compared)) if said]
    return "\n\n".join(parts) + "\n"


# --- parts of the report -------------------------------------------------------------------------


def _tiles(compared: Compared) -> list[tuple[str, str]]:
    results = compared.results
    return [
        ("arms", str(len(results["arms"]))),
        ("seeds", str(results["seeds"])),
        ("test items", f"{results['test_items']:,}"),
        ("steps of each run", f"{results['steps']:,}"),
        ("budgets", "matched" if results["matched"] else "NOT matched"),
        ("detectable", f"{results['detectable_effect_in_sd']:.2f} sd"),
    ]


def _differences(compared: Compared) -> list[Part]:
    header, rows = comparison_rows(compared)
    metric = compared.metric
    small = metric.difference(compared.results["rope"], signed=False)
    both = any(one["two_way_interval"] for one in compared.results["comparisons"])
    lines = (
        "Thick line: the two-way interval, for other seeds and other test items. Thin lines: "
        "intervals for other seeds alone."
        if both
        else "Lines: intervals for other seeds, with these test items; seeds or items are too few "
        "for the two-way interval."
    )
    caption = (
        f"Each arm compared with the reference. {lines} Grey dots: the seeds. "
        f"Grey band: differences within {small} {metric.difference_unit} of 0, too small to matter."
    )
    reached = f"{metric.heading} of each seed (dots), their mean (diamond) and its 95 % interval."
    means = [f"{arm['name']} {metric.precise(arm['mean'])}" for arm in compared.results["arms"]]
    found: list[Part] = [
        Figure(partial(difference_figure, compared), caption, verdict(compared)),
        Figure(
            partial(arm_figure, compared),
            begun(reached),
            f"Means: {', '.join(means)}",
        ),
        Table(header, rows, range(2, len(header)), unmatched(compared)),
    ]
    said = runs_apart(compared)
    return [*found, Paragraph(said)] if said else found


def _arms(compared: Compared) -> list[Part]:
    header, rows = arm_rows(compared)
    return [Table(header, rows, range(2, len(header)), unmatched(compared))]


def _place(compared: Compared) -> list[Part]:
    if not compared.results["plan"]["place"]:
        return [Paragraph("Not measured: the plan says place = false.")]
    changed, paths = (
        Table(header, rows, range(1, len(header)), unmatched(compared))
        for header, rows in (place_rows(compared), path_rows(compared))
    )
    found: list[Part] = [changed, paths]
    if why := without_index(compared):
        found.insert(1, Paragraph(why))
    if any(arm["place"]["shifted"] for arm in compared.results["arms"]):
        said = (
            "Trained once, tested on changed images. Where a line ends, the head has weights for "
            "each position and gives no prediction at that size."
        )
        alt = "The numbers are in the table below"
        found.insert(0, Figure(partial(change_figure, compared), said, alt))
    return found


def _tuning(compared: Compared) -> list[Part]:
    rows = [
        [
            one["run"],
            f"{one['learning_rate']:.3g}",
            f"{one['weight_decay']:.3g}",
            compared.metric.precise(one["value"]) if one["value"] is not None else "failed",
        ]
        for arm in compared.results["arms"]
        for one in arm["tuning"]
    ]
    if not rows:
        return [Paragraph("Nothing was tuned: all arms use the settings of the plan.")]
    header = ["run", "learning rate", "weight decay", f"validation {compared.metric.heading}"]
    note = "Every arm has as many trials; its runs use the one that is best on validation images."
    return [Table(header, rows, [1, 2, 3], note)]


def _every_run(compared: Compared) -> Table:
    rows = [
        [one["run"], str(one["seed"]), compared.metric.precise(one["value"])]
        for arm in compared.results["arms"]
        for one in arm["by_seed"]
    ]
    note = "Folders next to this page; items.csv in each of them has the value of every test item."
    return Table(["run", "seed", compared.metric.heading], rows, [1, 2], note)


def _making(compared: Compared) -> list[Part]:
    """The plan with the values that it left open, and without what it left empty."""
    results = compared.results
    plan = results["plan"]
    arms = {
        arm["name"]: {key: value for key, value in arm.items() if value and key != "name"}
        for arm in plan["arms"]
    }
    tuning = {
        key: " to ".join(f"{end:g}" for end in value) if key != "trials" else value
        for key, value in plan["tuning"].items()
    }
    found = {key: results[key] for key in ("reference", "measure", "rope")}
    whole = {**plan, **found, "arms": arms, "tuning": tuning}
    facts = {
        "placewise": results["placewise"],
        "fingerprint of the data (SHA-256)": results["fingerprint"],
    }
    shown = {key: value for key, value in whole.items() if value not in (None, {})}
    return [settings_table(shown), settings_table(facts)]


def _plain(cells: Sequence[str]) -> list[str]:
    return [cell.replace("|", "\\|") for cell in cells]
