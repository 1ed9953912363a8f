"""What the words of the report of a comparison mean."""

from __future__ import annotations

from placewise.report.comparison._rows import Compared, Words

ALWAYS: Words = (
    (
        "difference",
        "The difference of the means over the same seeds. Its sign is chosen so that a positive "
        "difference is better: a higher accuracy, or a lower error, than that of the reference.",
    ),
    (
        "detectable",
        "The smallest difference that this number of seeds finds in 80 of 100 cases, in standard "
        "deviations (sd) of the differences of single seeds.",
    ),
    (
        "seeds, t; seeds, bootstrap",
        "95 % intervals of the difference over all possible seeds, for these test items: by "
        "Student's t, and by resampling the seeds.",
    ),
    (
        "seeds × items: the two-way interval",
        "The same for other test items too: seeds and items are both resampled. This is the "
        "interval to quote.",
    ),
    (
        "p (Holm)",
        "How often chance alone gives a difference at least this large where there is none, "
        "corrected for the number of arms that were compared.",
    ),
    (
        "better, equal, worse",
        "Probabilities, given the data, that the difference is above, within or below the region "
        "of practical equality, which is too small to matter.",
    ),
)
"""Words of every comparison."""

APART: Words = (
    (
        "McNemar test",
        "Compares two runs with the same seed on the test images that only one of them gets "
        "right. It says whether these two runs differ, and nothing about other seeds.",
    ),
)
"""Words of a metric whose items are right or wrong."""

PATHS: Words = (
    (
        "edge coverage",
        "Paths from a corner pixel to the output, as a share of those of the best-served pixel.",
    ),
    (
        "best pixel / edge, best / worst corner",
        "The same as ratios: to the middle of an edge, and between corners. 1 is even.",
    ),
    (
        "gini of paths",
        "How unevenly pixels share the paths: 0 if all have the same number, near 1 if few have "
        "nearly all of them.",
    ),
    ("unseen pixels", "Pixels without any path to the output."),
)
"""Words of what the audit counts."""


def words_of(compared: Compared) -> list[tuple[str, str]]:
    """The words that this report uses, and no others."""
    found = [*ALWAYS]
    if any(one["mcnemar_p"] for one in compared.results["comparisons"]):
        found += APART
    if compared.results["plan"]["place"]:
        found += [*compared.place_words, *PATHS]
    return found
