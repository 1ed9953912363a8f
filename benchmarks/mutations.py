"""Read thousands of damaged files of every format: what comes of each, in how much memory?

    python benchmarks/mutations.py --count 10000 --data FOLDER

Of every kind of file that is read there is a good one (`mutated_files.py`; with `--data` the real
samples too). A trial damages one of them in one way, which the seed and the trial's number decide,
and reads it as a user would: labels with `read_dataset` and then a few of their images and masks,
images, signals, volumes and frames by their names. Readers run in processes of their own. Counted
are results, errors of ours, tracebacks of anything else, processes that died, readings of more than
20 s, and memory above that of the process before it read. `--extremes` reads large tables in which
one thing repeats: 100 MB without a line break, a million equal rows, and the like.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter, defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mutated_files import Seed, damaged, extremes, made, real
from placewise.errors import PlacewiseError
from placewise.formats import read_dataset
from placewise.formats._refused import UNFORESEEN
from placewise.labels import Files

RESULTS = Path(__file__).parent / "results" / "mutations.json"
SECONDS, MEMORY = 20.0, 400
"""What one reading may take: seconds of a processor (three times as many by the clock), and MiB
above the memory before it."""

CEILING = 6 << 30
"""Bytes of addresses that a reading process may take, so that the machine outlives it."""

LOOKED_AT = 3


def read(seed: Seed, folder: Path) -> None:
    """Read what a user would read of a file."""
    if seed.mode == "labels":
        more = {"splits": folder / seed.splits} if seed.splits else {}
        labels = read_dataset(folder / seed.entry, **more)
        for sample in labels.samples[:LOOKED_AT]:
            labels.reading(sample.image)
            labels.images.digest(sample.image)
            for look in ("mask", "instances"):
                if callable(inside := getattr(labels, look, None)):
                    inside(sample)
        return
    files = Files(folder)
    for reading in (files.size, files.read, files.spacing, files.digest):
        reading(seed.entry)


def of_process(name: str) -> int:
    """A number of MiB of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) >> 10 for line in lines if line.startswith(name))


def tried(seed: Seed, folder: Path) -> dict[str, Any]:
    """What comes of one reading."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, start, where = of_process("VmRSS"), time.process_time(), ""
    try:
        read(seed, folder)
        what = "result"
    except PlacewiseError as error:
        what = "error"
        if not str(error).strip() or UNFORESEEN in str(error):
            what, where = "traceback", str(error)[:300] or "an error without a message"
    except BaseException as error:
        what = "traceback"
        last = [f for f in traceback.extract_tb(error.__traceback__) if "placewise" in f.filename]
        place = f"{Path(last[-1].filename).name}:{last[-1].lineno}" if last else "?"
        where = f"{type(error).__name__} at {place}: {str(error)[:120]}"
    seconds = time.process_time() - start
    return {"what": what, "where": where, "seconds": seconds, "mib": of_process("VmHWM") - before}


def serve() -> None:
    """Read what the lines of the input name, and say what came of it."""
    resource.setrlimit(resource.RLIMIT_AS, (CEILING, CEILING))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    said = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what libraries of C say
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    for line in sys.stdin:
        given = json.loads(line)
        folder = Path(given.pop("folder"))
        found = tried(Seed(folder=folder, **given), folder)
        said.write(json.dumps({"rss": of_process("VmRSS"), **found}) + "\n")
        said.flush()


class Reading:
    """A process that reads, begun again when it dies or keeps much memory."""

    def __init__(self) -> None:
        self.process, self.first = None, 0

    def ask(self, seed: Seed, folder: Path) -> dict[str, Any]:
        if self.process is None:
            command = [sys.executable, __file__, "--serve"]
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            self.process = subprocess.Popen(command, text=True, **pipes)
            self.first = 0
        self.process.stdin.write(json.dumps({**asdict(seed), "folder": str(folder)}) + "\n")
        self.process.stdin.flush()
        patience = 3 * SECONDS + (120 if not self.first else 0)  # the first one imports
        if not select.select([self.process.stdout], [], [], patience)[0]:
            self.stop()
            return {"what": "hang", "where": "", "seconds": SECONDS, "mib": 0}
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            self.process = None
            where = signal.Signals(-code).name if code < 0 else f"exit {code}"
            return {"what": "crash", "where": where, "seconds": 0.0, "mib": 0}
        found: dict[str, Any] = json.loads(line)
        self.first = self.first or found["rss"]
        if found["rss"] > self.first + 150:
            self.stop()
        if found["seconds"] > SECONDS:
            found["what"] = "hang"
        return found

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def prepare(seed: Seed, number: int, work: Path) -> tuple[Path, str]:
    """A folder in which one file is damaged, and how."""
    folder = work / "trial"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(seed.folder, folder)
    rng = random.Random(f"{seed.name} {number}")
    target = folder / rng.choice(seed.targets)
    data, how = damaged(target.read_bytes(), target.name, rng)
    target.write_bytes(data)
    return folder, how


def collect(args: argparse.Namespace, seeds: list[Seed], work: Path) -> dict[str, Any]:
    """Run all trials."""
    reading = Reading()
    kinds: Counter[str] = Counter()
    formats: dict[str, Counter[str]] = defaultdict(Counter)
    bad, most, longest = [], 0, 0.0
    seeds = [one for one in seeds if not args.only or args.only in one.name]
    for count in range(args.count):
        seed, number = seeds[count % len(seeds)], args.seed * 10_000_000 + count
        folder, how = prepare(seed, number, work)
        found = reading.ask(seed, folder)
        if found["mib"] > MEMORY and found["what"] in ("result", "error"):
            found["what"] = "memory"
        kinds[found["what"]] += 1
        formats[seed.kind][found["what"]] += 1
        most, longest = max(most, found["mib"]), max(longest, found["seconds"])
        if found["what"] not in ("result", "error"):
            bad.append({"seed": seed.name, "number": number, "how": how, **found})
            print(json.dumps(bad[-1]), flush=True)
            if args.keep:
                shutil.copytree(folder, args.keep / f"{number}", dirs_exist_ok=True)
    reading.stop()
    return {
        "count": args.count,
        "seed": args.seed,
        "seeds": len(seeds),
        "kinds": dict(kinds),
        "formats": {name: dict(counts) for name, counts in sorted(formats.items())},
        "most_mib": most,
        "longest_seconds": round(longest, 2),
        "bad": bad,
    }


def collect_extremes(work: Path, only: str | None) -> list[dict[str, Any]]:
    """Read the large tables, each in a process of its own."""
    rows = []
    for seed in extremes(work / "large", only):
        reading = Reading()
        found = reading.ask(seed, seed.folder)
        reading.stop()
        row = {"file": seed.name, **{k: found[k] for k in ("what", "where", "seconds", "mib")}}
        rows.append({**row, "seconds": round(found["seconds"], 1)})
        print(json.dumps(rows[-1]), flush=True)
        shutil.rmtree(seed.folder)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, help="folder of the real samples")
    parser.add_argument("--only", help="seeds whose names hold this text")
    parser.add_argument("--keep", type=Path, help="folder for what must not be")
    parser.add_argument("--extremes", action="store_true", help="the large tables instead")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve()
        return
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        results = json.loads(args.out.read_text()) if args.out.is_file() else {}
        if args.extremes:
            results["extremes"] = collect_extremes(work, args.only)
        else:
            results |= collect(args, [*made(work / "made"), *real(args.data)], work)
    args.out.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps({k: v for k, v in results.items() if k != "bad"}, indent=1))


if __name__ == "__main__":
    main()
