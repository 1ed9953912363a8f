"""Remedies: from a network to a mended copy.

```
mend              another padding rule, blur before strides, an aligned size; with both audits
recommend         the remedy that meets given conditions and changes the output least
convolutionalize  a classifier that flattens, as one that gives a map of classes at any size
```
"""

from placewise.remedies._convolutionalize import convolutionalize
from placewise.remedies._effect import Effect
from placewise.remedies._exchange import Change, Remedy, Unchanged
from placewise.remedies._files import loading_said
from placewise.remedies._mend import RESULT, Mended, mend
from placewise.remedies._recommend import Recommendation, Tried, recommend

__all__ = [
    "RESULT",
    "Change",
    "Effect",
    "Mended",
    "Recommendation",
    "Remedy",
    "Tried",
    "Unchanged",
    "convolutionalize",
    "loading_said",
    "mend",
    "recommend",
]
