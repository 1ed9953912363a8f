"""From a name on the command line to a network, and to images for it.

```
torchvision:resnet18   timm:NAME            a new network with random weights
module:callable        file.py:callable     your own code, which is imported and run
program.pt2                                 a file of torch.export.save
RUN                                         a folder of placewise train
```
"""

from placewise.target._find import Target, find_target, parse_size, parse_sizes
from placewise.target._images import MOST, read_images

__all__ = ["MOST", "Target", "find_target", "parse_size", "parse_sizes", "read_images"]
