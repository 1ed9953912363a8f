"""The long forms of the robustness tests, and how many of each passed.

    python benchmarks/robustness.py

Flipped bits, truncations, full disks, mutated images and labels, and steps that are not a number.
What each test asserts stands in its docstring.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "benchmarks" / "results" / "robustness.json"
FILES = [
    "tests/test_checkpoint.py",
    "tests/test_images_refused.py",
    "tests/test_formats.py",
    "tests/contracts/test_formats.py",
    "tests/test_train.py::test_not_a_number_at_fifty_steps",
    "tests/test_augment.py",
    "tests/test_decoders.py",
]


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        both = ["-m", "slow or not slow", "-q", "-p", "no:cacheprovider"]
        command = [sys.executable, "-m", "pytest", *both, f"--junitxml={report}", *FILES]
        code = subprocess.run(command, cwd=REPOSITORY).returncode
        cases = list(ElementTree.parse(report).iter("testcase"))
    bad = [
        c.get("name") for c in cases if any(c.find(how) is not None for how in ("failure", "error"))
    ]
    skipped = [c.get("name") for c in cases if c.find("skipped") is not None]
    content = {
        "command": "python benchmarks/robustness.py",
        "exit_code": code,
        "tests": len(cases),
        "failed": bad,
        "skipped": skipped,
        "seconds": {
            f"{c.get('classname')}::{c.get('name')}": round(float(c.get("time", 0)), 1)
            for c in cases
            if float(c.get("time", 0)) > 3
        },
    }
    RESULTS.write_text(json.dumps(content, indent=1) + "\n")
    print(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
