"""Remedies: from a network to a mended copy.

```
mend              another padding rule, blur before strides, an aligned size; with both audits
recommend         the cheapest remedy that meets given conditions
convolutionalize  a classifier that flattens, as one that gives a map of classes at any size
```
"""

from placewise.remedies._convolutionalize import convolutionalize
from placewise.remedies._exchange import Change, Remedy, Unchanged
from placewise.remedies._mend import RESULT, Mended, Recommendation, Tried, mend, recommend

__all__ = [
    "RESULT",
    "Change",
    "Mended",
    "Recommendation",
    "Remedy",
    "Tried",
    "Unchanged",
    "convolutionalize",
    "mend",
    "recommend",
]
