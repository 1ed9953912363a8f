"""What the words of the page of a comparison mean."""

from __future__ import annotations

from placewise.report.comparison._rows import Results, in_percent

Words = tuple[tuple[str, str], ...]
"""Words, each with what it means."""

ALWAYS: Words = (
    (
        "difference",
        "Of the means over the same seeds. It is turned so that more is better: accuracy of the "
        "arm minus that of the reference, or error of the reference minus that of the arm.",
    ),
    (
        "detectable",
        "The smallest difference that so many seeds find in 80 of 100 cases, in standard "
        "deviations (sd) of the differences of single seeds.",
    ),
    (
        "seeds, t; seeds, bootstrap",
        "Where the difference over all possible seeds lies with 95 % confidence, for these test "
        "items: by Student's t, and by resampling the seeds.",
    ),
    (
        "seeds × items: the two-way interval",
        "The same for other test items too: seeds and items are both resampled. It is the one to "
        "quote.",
    ),
    (
        "p (Holm)",
        "How often a difference like this, or larger, comes of chance alone where there is none, "
        "raised because several arms were looked at.",
    ),
    (
        "better, equal, worse",
        "Probabilities, given the data, that the difference is above, within or below the region "
        "of practical equivalence, which is too small to matter.",
    ),
)
"""Words of every comparison."""

APART: Words = (
    (
        "McNemar test",
        "Of two runs with the same seed: whether the test images that one of them alone gets "
        "right are shared out evenly. It tells single runs apart, and nothing of other seeds.",
    ),
)
"""Words of classes."""

PLACE_OF_CLASSES: Words = (
    (
        "place-use index",
        "Accuracy minus accuracy of the same arm trained behind one fixed permutation of the "
        "places of its feature map: 0 for a head that does not use which places are near each "
        "other.",
    ),
    (
        "R_f, deformation sensitivity",
        "How much a smooth deformation by about a pixel changes the answer, beside noise of the "
        "same size; small is stable.",
    ),
)
"""Words of the sense of place of classes."""

PLACE_OF_KEYPOINTS: Words = (
    (
        "place-use index",
        "Error of the same arm trained behind one fixed permutation of the places of its feature "
        "map, minus its error as it is: 0 for a head that learns every place apart, as flattening "
        "does, large for one whose map is the answer.",
    ),
    (
        "R_τ",
        "How far keypoints stay behind a smooth deformation by about a pixel, as a share of what "
        "they "
        "should have moved: 0 follows exactly, 1 is no nearer than keypoints that stay.",
    ),
)
"""Words of the sense of place of keypoints."""

PATHS: Words = (
    (
        "edge coverage",
        "Paths from a corner pixel to the answer, as a share of those of the best-served pixel.",
    ),
    (
        "best pixel / edge, best / worst corner",
        "The same as ratios, with the middle of an edge, and between corners: 1 is even.",
    ),
    (
        "gini of paths",
        "How unevenly pixels share the paths: 0 where all have as many, near 1 where few have "
        "nearly all.",
    ),
    ("unseen pixels", "Pixels that no path joins to the answer."),
)
"""Words of what the audit counts."""


def words_of(results: Results) -> list[tuple[str, str]]:
    """The words that this page uses, and no others.

    Args:
        results: what was found.
    """
    classes = in_percent(results)
    found = [*ALWAYS, *(APART if classes else ())]
    if results["plan"]["place"]:
        found += [*(PLACE_OF_CLASSES if classes else PLACE_OF_KEYPOINTS), *PATHS]
    return found
