"""The demo in a fresh environment, as a stranger runs it after installation.

    python benchmarks/demo.py

Installs the checkout with its demo extra into a new virtual environment, then times
`placewise demo` in a folder of its own. Results: benchmarks/results/demo.json.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "benchmarks" / "results" / "demo.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="keep environment and demo in this new folder")
    parser.add_argument("first", nargs="*", help="what to install before, e.g. torch==2.13.0")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = (given.home or Path(folder)).resolve()
        home.mkdir(exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", home / "env"], check=True)
        pip = [home / "env" / "bin" / "pip", "install", "--quiet"]
        if given.first:
            subprocess.run([*pip, *given.first], check=True)
        subprocess.run([*pip, f"{REPOSITORY}[demo]"], check=True)
        begun = time.monotonic()
        placewise = home / "env" / "bin" / "placewise"
        done = subprocess.run(
            [placewise, "demo"], cwd=home, check=True, stdout=subprocess.PIPE, text=True
        )
        wall = time.monotonic() - begun
        out = home / "placewise-demo"
        scores = json.loads((out / "run" / "evaluation" / "metrics.json").read_text())
        facts = json.loads((out / "run" / "run.json").read_text())
        log = (out / "run" / "log.jsonl").read_text().splitlines()
    line = next(line for line in done.stdout.splitlines() if "within 3 px" in line)
    near, said = re.findall(r"([\d.]+) %", line)
    content = {
        "command": 'pip install ".[demo]" && placewise demo',
        "wall_seconds_after_installation": round(wall, 1),
        "mean_error_px": scores["mean_error_px"],
        "median_error_px": scores["median_error_px"],
        "present_within_3_px_percent": float(near),
        "and_said_to_be_there_percent": float(said),
        "presence": scores["presence"],
        "radius": scores["radius"],
        "by_border_distance": scores["by_border_distance"],
        "test_images": scores["images"],
        "steps": json.loads(log[-1])["step"],
        "precision": facts["training"]["precision"],
        "processors": os.cpu_count(),
        "versions": facts["versions"],
    }
    RESULTS.write_text(json.dumps(content, indent=2) + "\n")
    print(json.dumps(content, indent=2))


if __name__ == "__main__":
    main()
