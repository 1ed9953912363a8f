"""Remedies: a network to a mended copy.

```
mend              another padding rule, blur before strides, an even size; audited before and after
recommend         the cheapest of these that keeps given bounds
convolutionalize  a classifier that flattens, as one that gives a map of classes at any size
```
"""

from placewise.remedies._convolutionalize import convolutionalize
from placewise.remedies._exchange import Change, Left, Plan
from placewise.remedies._mend import RESULT, Mended, mend
from placewise.remedies._recommend import Recommendation, Tried, recommend

__all__ = [
    "RESULT",
    "Change",
    "Left",
    "Mended",
    "Plan",
    "Recommendation",
    "Tried",
    "convolutionalize",
    "mend",
    "recommend",
]
