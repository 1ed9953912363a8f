"""Memory that a process keeps for its next map."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, threading
import torch
from torch import nn
from placewise.devices import fast_memory

if sys.argv[1] == "kept":
    fast_memory()
torch.set_num_threads(1)
net = nn.Sequential(*[nn.Conv2d(n, 16, 3, padding=1) for n in (1, 16, 16)])

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def work():
    with torch.inference_mode():
        net(torch.zeros(1, 1, 1200, 1200))
        before = faults()
        for _ in range(3):
            net(torch.zeros(1, 1, 1200, 1200))
        print(faults() - before)

thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone can be told to")
def test_a_large_map_takes_the_pages_of_the_one_before_in_threads_too() -> None:
    """Maps of 92 MB: else every page of them is taken from the system again."""

    def faults(word: str) -> int:
        words = [sys.executable, "-c", PROGRAM, word]
        return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)

    given_back, kept = faults("given back"), faults("kept")
    assert given_back > 3 * 3 * 92e6 / 4096 / 2, "nothing was given back, so this says nothing"
    assert kept < given_back / 2
