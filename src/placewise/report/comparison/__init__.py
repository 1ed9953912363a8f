"""The page of a comparison: intervals drawn, numbers in tables, each traceable to a run.

```
_rows      rows of the tables, and how numbers are written
_figures   intervals, seeds, changed images
_words     what the words of the page mean
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
from placewise.report.comparison._figures import arm_figure, change_figure, difference_figure
from placewise.report.comparison._rows import (
    Results,
    arm_rows,
    as_difference,
    as_value,
    carried,
    comparison_rows,
    measure_of,
    path_rows,
    place_rows,
    runs_apart,
    verdict,
    without_index,
)
from placewise.report.comparison._words import words_of
from placewise.report.text import table as text_table


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
        section("Words", words(words_of(results))),
        FOOTER,
    ]
    return page(title, verdict(results), parts)


def compare_table(results: Results) -> str:
    """The tables as Markdown: what stands in a paper or a README."""
    carried_by_each = carried(results)
    others = [note for note in results["notes"] if note != carried_by_each]
    parts = [f"**{verdict(results)}**", *others]
    kinds = [comparison_rows, arm_rows]
    if results["plan"]["place"]:
        kinds += [place_rows, path_rows]
    for rows_of in kinds:
        header, rows = rows_of(results)
        lines = [header, ["---"] * len(header), *rows]
        table = "\n".join(f"| {' | '.join(_plain(line))} |" for line in lines)
        parts += [carried_by_each, table] if carried_by_each else [table]
    parts += [said for said in (runs_apart(results), without_index(results)) if said]
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
            *([said] if (said := runs_apart(results)) else []),
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
        "test items; thin: for other seeds alone. Keypoints: the seeds. Grey band: differences too "
        f"small to matter, within {as_difference(results, results['rope'], signed=False)} of 0."
    )
    means = [f"{arm['name']} {as_value(results, arm['mean'])}" for arm in results["arms"]]
    reached = f"Marks: {measure_of(results)} of each seed; below: their mean and its 95 % interval."
    plots = [
        plot(partial(difference_figure, results), caption, verdict(results)),
        plot(partial(arm_figure, results), reached, f"Means: {', '.join(means)}"),
    ]
    return [
        element("div", *plots, class_="plots"),
        html_table(header, rows, range(2, len(header)), carried(results)),
        *([element("p", said)] if (said := runs_apart(results)) else []),
    ]


def _arms(results: Results) -> list[Html]:
    header, rows = arm_rows(results)
    return [html_table(header, rows, range(2, len(header)), carried(results))]


def _place(results: Results) -> list[Html]:
    if not results["plan"]["place"]:
        return [element("p", "Not measured: the plan says place = false.")]
    parts = []
    if any(arm["place"]["shifted"] for arm in results["arms"]):
        words = (
            "Trained once, tested on changed images. Where a line does not go on, the head has "
            "weights for each place and cannot answer at that size."
        )
        drawn = plot(partial(change_figure, results), words, "Curves of the table below")
        parts.append(element("div", drawn, class_="plots"))
    for header, rows in (place_rows(results), path_rows(results)):
        parts.append(html_table(header, rows, range(1, len(header)), carried(results)))
    if why := without_index(results):
        parts.insert(-1, element("p", why))
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
    header = ["run", "learning rate", "weight decay", "on validation images"]
    note = "Equally many trials for each arm; the best on validation images is what the runs use."
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
    """The plan with what it left open, and without what it left empty."""
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
