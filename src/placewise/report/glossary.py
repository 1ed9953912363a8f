"""What the words on the pages mean."""

from __future__ import annotations

from placewise.metrics import Scores

CLASS_WORDS = (
    (
        "training, validation and test images",
        "The network learns from training images. Validation images choose the best moment of "
        "the training and calibrate the probabilities. Test images take part in neither, so "
        "their scores are what to expect on new images of the same kind.",
    ),
    (
        "precision and recall",
        "Of a class: precision P is the share of right answers among those that name it, recall R "
        "the share of its images that are named rightly.",
    ),
    (
        "evidence",
        "Where on the image the answer comes from: features times the gradient of the class’s "
        "logit, summed over channels. Where the head is linear, the places add up to the logit.",
    ),
    (
        "loss",
        "What the training makes small. Its size says little; that it falls and then settles "
        "is what matters.",
    ),
)
"""(word, explanation) for the reader of a run that answers with classes."""

WORDS = (
    (
        "keypoint and point",
        "A point is a place with a name, such as the tip of a nose. A keypoint is where the "
        "network "
        "puts it.",
    ),
    (
        "px",
        "Pixels of the image as it is in its file. x points right, y points down, counting "
        "starts at 0, and an integer is the centre of a pixel.",
    ),
    (
        "training, validation and test images",
        "The network learns from training images. Validation images choose the best moment of "
        "the training and calibrate the radii. Test images take part in neither, so their "
        "scores are what to expect on new images of the same kind.",
    ),
    (
        "score of a keypoint",
        "How sure the network is that the point is on the image, from 0 to 1. Keypoints with a low "
        "score are drawn hollow.",
    ),
    (
        "r90",
        "A radius about a keypoint that should hold the true place 9 times in 10. It is "
        "calibrated on "
        "validation images by split conformal prediction.",
    ),
    (
        "PCK",
        "Percentage of correct keypoints: the share of keypoints that are closer to the truth "
        "than a "
        "part of a reference length, which is the diagonal of the image unless two points were "
        "named for it.",
    ),
    (
        "distance from the border",
        "Networks often see worse near the border of an image. Distance is given as a share of "
        "half the shorter side: 0 % is the border, 100 % as far from it as a place can be.",
    ),
    (
        "loss",
        "What the training makes small. Its size says little; that it falls and then settles "
        "is what matters.",
    ),
)
"""(word, explanation) for a reader who has never seen the project."""


AUDIT_WORDS = (
    (
        "path",
        "A way from a pixel through the layers to the output: in each layer through one place of "
        "one window. A pixel with few paths weighs little before anything is learnt; training can "
        "make up for some of that.",
    ),
    (
        "spatial, channel-aware",
        "Two ways to count: with all channels of a layer as one, or each told apart.",
    ),
    (
        "padding",
        "What stands beyond the border of an image or a map so that windows fit there, mostly "
        "zeros.",
    ),
    (
        "even size",
        "A size at which no layer drops a padded row or column. At other sizes padding is used at "
        "one side only, and the network leans to that side.",
    ),
    (
        "receptive field",
        "The pixels that a place of a layer can read at all. It is aligned if all ways agree on "
        "where it lies.",
    ),
    (
        "effective receptive field",
        "The pixels that it does listen to, by how much a change of them changes it (Luo et al. "
        "2016); as a rule far fewer.",
    ),
    ("stride", "Pixels of the image from one place of a map to the next."),
    (
        "exact, bound, unknown",
        "Exact: counted, whatever the weights. Bound: no more than that, perhaps less. Unknown: an "
        "operation that the audit does not know is on the way, and is taken to read everything.",
    ),
    (
        "noise",
        "Made images of smooth noise that look alike everywhere: what differs from place to "
        "place is the network’s doing, not that of what images show.",
    ),
    (
        "sensitivity",
        "How much the answer changes when one place of the image is changed a little, or is "
        "painted over.",
    ),
    (
        "phase",
        "Where the image lies on the grid that a strided network samples at. Moving it by a "
        "whole stride brings the phase back.",
    ),
    (
        "equivariance",
        "If the image moves, the features move with it. Padding breaks that near the border.",
    ),
    (
        "place that can be read",
        "A linear probe is asked for the place of features that it sees alone. What it knows "
        "beyond the image’s own hints, the network has put there.",
    ),
)
"""(word, explanation) for the reader of an audit."""


def meaning_of_pck(scores: Scores) -> str:
    """Sentence on the reference length of PCK.

    Example:
        >>> meaning_of_pck({"pck": {"norm": "diagonal"}})
        'The reference length of PCK is: diagonal.'
    """
    norm = (scores.get("pck") or {}).get("norm")
    return f"The reference length of PCK is: {norm}." if norm else ""
