"""The page of a comparison: intervals drawn, numbers in tables, each traceable to a run.

```
_rows      rows of the tables, and how numbers are written
_figures   intervals, seeds, changed pictures
```
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from placewise.report.blocks import (
    FOOTER,
    Html,
    element,
    listed,
    page,
    plot,
    section,
    settings_table,
    tiles,
    words,
)
from placewise.report.blocks import table as html_table
from placewise.report.compare._figures import arm_figure, change_figure, difference_figure
from placewise.report.compare._rows import (
    Results,
    arm_rows,
    as_difference,
    as_value,
    carried,
    comparison_rows,
    measure_of,
    path_rows,
    place_rows,
    verdict,
)
from placewise.report.text import table as text_table

WORDS = (
    (
        "difference",
        "Of the means over the same seeds. It is turned so that more is better: accuracy of the "
        "arm minus that of the reference, or error of the reference minus that of the arm.",
    ),
    (
        "t interval, bootstrap interval",
        "Where the difference over all possible seeds lies with 95 % confidence, for these test "
        "items: by Student's t, and by resampling the seeds.",
    ),
    (
        "two-way interval",
        "The same for other test items too: seeds and items are both resampled. It is the one to "
        "quote.",
    ),
    (
        "p after Holm",
        "How often a difference like this, or larger, comes of chance alone where there is none, "
        "raised because several arms were looked at.",
    ),
    (
        "better, equal, worse",
        "Probabilities, given the data, that the difference is above, within or below the region "
        "of practical equivalence, which is too small to matter.",
    ),
    (
        "place-use index",
        "Accuracy minus accuracy of the same head trained behind one fixed permutation of places: "
        "0 for a head that does not use which places are near each other.",
    ),
    (
        "deformation sensitivity",
        "How much a smooth deformation of a pixel changes the answer, beside noise of the same "
        "size; small is stable.",
    ),
    (
        "edge coverage",
        "Paths from a corner pixel to the answer, as a share of those of the best-served pixel.",
    ),
)


def compare_page(results: Results, title: str) -> str:
    """One self-contained HTML page.

    Args:
        results: what was found.
        title: name of the comparison.
    """
    parts = [
        tiles(_facts(results)),
        section("Notes", listed(results["notes"])) if results["notes"] else Html(),
        section("Differences", *_differences(results)),
        section("Arms", *_arms(results)),
        section("Sense of place", *_place(results)),
        section("Tuning", *_tuning(results)),
        section("Every run", _every_run(results)),
        section("How it was made", *_making(results)),
        section("Words", words(WORDS)),
        FOOTER,
    ]
    return page(title, verdict(results), parts)


def compare_table(results: Results) -> str:
    """The tables as Markdown: what stands in a paper or a README."""
    carried_by_each = carried(results)
    others = [note for note in results["notes"] if note != carried_by_each]
    parts = [f"**{verdict(results)}**", *others]
    for rows_of in (comparison_rows, arm_rows, place_rows, path_rows):
        header, rows = rows_of(results)
        lines = [header, ["---"] * len(header), *rows]
        table = "\n".join(f"| {' | '.join(_plain(line))} |" for line in lines)
        parts += [carried_by_each, table] if carried_by_each else [table]
    return "\n\n".join(parts) + "\n"


def console_table(results: Results) -> str:
    """The differences as aligned text, the verdict first."""
    header, rows = comparison_rows(results)
    arms, reached = arm_rows(results)
    return "\n\n".join(
        [
            verdict(results),
            *results["notes"],
            text_table(header, rows, range(2, len(header))),
            text_table(arms, reached, range(2, len(arms))),
        ]
    )


# --- parts of the page ---------------------------------------------------------------------------


def _facts(results: Results) -> list[tuple[str, str]]:
    return [
        ("arms", str(len(results["arms"]))),
        ("seeds", str(results["seeds"])),
        ("test items", f"{results['test_items']:,}"),
        ("steps of each run", f"{results['steps']:,}"),
        ("budgets", "matched" if results["matched"] else "NOT matched"),
        ("detectable", f"{results['detectable_effect_in_sd']:.2f} sd"),
    ]


def _differences(results: Results) -> list[Html]:
    header, rows = comparison_rows(results)
    caption = (
        "Each arm against the reference. Thick: the two-way interval, for other seeds and other "
        "test items; thin: for other seeds alone. Dots: the seeds. Grey band: differences too "
        f"small to matter, within {as_difference(results, results['rope'], signed=False)} of 0."
    )
    means = [f"{arm['name']} {as_value(results, arm['mean'])}" for arm in results["arms"]]
    reached = f"{measure_of(results)} of each seed (dots), their mean and its 95 % interval."
    plots = [
        plot(partial(difference_figure, results), caption, verdict(results)),
        plot(partial(arm_figure, results), reached, f"Means: {', '.join(means)}"),
    ]
    return [
        element("div", *plots, class_="plots"),
        html_table(header, rows, range(2, len(header)), carried(results)),
    ]


def _arms(results: Results) -> list[Html]:
    header, rows = arm_rows(results)
    return [html_table(header, rows, range(2, len(header)), carried(results))]


def _place(results: Results) -> list[Html]:
    parts = []
    if any(arm["place"]["shifted"] for arm in results["arms"]):
        words = (
            "Trained once, tested on changed pictures. Where a line does not go on, the head has "
            "weights for each place and cannot answer at that size."
        )
        drawn = plot(partial(change_figure, results), words, "Curves of the table below")
        parts.append(element("div", drawn, class_="plots"))
    for header, rows in (place_rows(results), path_rows(results)):
        parts.append(html_table(header, rows, range(1, len(header)), carried(results)))
    return parts


def _tuning(results: Results) -> list[Html]:
    rows = [
        [
            one["run"],
            f"{one['learning_rate']:.3g}",
            f"{one['weight_decay']:.3g}",
            as_value(results, one["value"]) if one["value"] is not None else "failed",
        ]
        for arm in results["arms"]
        for one in arm["tuning"]
    ]
    if not rows:
        return [element("p", "Nothing was tuned: all arms have the settings as given.")]
    header = ["run", "learning rate", "weight decay", "on validation pictures"]
    note = "Equally many trials for each arm; the best on validation pictures is what the runs use."
    return [html_table(header, rows, [1, 2, 3], note)]


def _every_run(results: Results) -> Html:
    rows = [
        [one["run"], str(one["seed"]), as_value(results, one["value"])]
        for arm in results["arms"]
        for one in arm["by_seed"]
    ]
    note = "Folders beside this page; items.csv in each has the measure of every test item."
    return html_table(["run", "seed", measure_of(results)], rows, [1, 2], note)


def _making(results: Results) -> list[Html]:
    arms = {arm["name"]: {k: v for k, v in arm.items() if v} for arm in results["plan"]["arms"]}
    facts = {
        "placewise": results["placewise"],
        "fingerprint of the data (SHA-256)": results["fingerprint"],
    }
    return [settings_table({**results["plan"], "arms": arms}), settings_table(facts)]


def _plain(cells: Sequence[str]) -> list[str]:
    return [cell.replace("|", "\\|") for cell in cells]
