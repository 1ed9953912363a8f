"""Make benchmarks/README.md from the raw numbers in benchmarks/results.

python benchmarks/tables.py
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

HERE = Path(__file__).parent
HEAD = """# Benchmarks

`python benchmarks/tables.py` makes this page from the raw numbers in [results](results). Each section
names the command that measured it: on two cores without an accelerator, and in a single run, unless
stated otherwise. On data sets of this size, differences of a tenth of a pixel mean nothing. Compare
timings only as ratios.
"""


def load(name: str) -> Any:
    file = HERE / "results" / f"{name}.json"
    return json.loads(file.read_text()) if file.is_file() else None


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines)


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def number(decimals: int) -> Callable[[float | None], str]:
    return lambda value: "–" if value is None else f"{value:.{decimals}f}"


MICE: dict[str, tuple[Callable[[dict], float | None], Callable[[float | None], str]]] = {
    "mean px": (lambda e: e["mean_error_px"], number(2)),
    "median": (lambda e: e["median_error_px"], number(2)),
    "p95": (lambda e: e["p95_error_px"], number(1)),
    "radius_90 holds": (lambda e: e["radius"]["coverage_90"], percent),
    "radius_90 px": (lambda e: e["radius"]["mean_radius_90_px"], number(1)),
    "steps": (lambda e: e["steps"], number(0)),
    "images/s": (lambda e: e["images_per_second"], number(0)),
    "minutes by the clock": (lambda e: e["wall_seconds"] / 60, number(1)),
}
"""Columns of the mice: what they show of an entry, and how it is written."""


def mice_row(runs: Sequence[dict], seed: str) -> list[str]:
    """A run, or the mean of some; what one of them does not know the mean does not."""
    first = runs[0]
    cells = [first["set"], f"{first['minutes']:g}", " ".join(first["flags"]) or "–", seed]
    for value, written in MICE.values():
        found = [value(run) for run in runs]
        known = [one for one in found if one is not None]
        cells.append(written(fmean(known) if len(known) == len(found) else None))
    return cells


def mice_rows(entries: Sequence[dict]) -> list[list[str]]:
    """One row for each run, and one for the mean where several differ in nothing but the seed."""

    def kind(entry: dict) -> tuple[str, float, list[str]]:
        return entry["set"], entry["minutes"], entry["flags"]

    rows = []
    for _, same in groupby(sorted(entries, key=lambda e: (*kind(e), e["seed"])), key=kind):
        runs = list({run["seed"]: run for run in same}.values())
        rows += [mice_row([run], str(run["seed"])) for run in runs]
        if len(runs) > 1:
            rows.append(mice_row(runs, f"mean of {len(runs)}"))
    return rows


def mice(entries: list[dict]) -> str:
    baseline = {e["set"]: e["mean_position_baseline_px"] for e in entries}
    places = ", ".join(f"{name} {baseline[name]:.1f} px" for name in sorted(baseline))
    return (
        "## Two mice, from scratch\n\n"
        "`python benchmarks/mice.py --data FOLDER`: test images of the sets' own split, read once\n"
        f"by each run. Always predicting the mean position: {places}.\n\n"
        + table(["set", "minutes", "flags", "seed", *MICE], mice_rows(entries))
    )


Shown = tuple[str, str, Callable[[float | None], str]]
"""What is shown of an answer: its name, where it is in the scores, and how it is written."""

F1S: tuple[Shown, ...] = tuple(
    (kind, f"by_keypoint/{kind}/f1", number(3)) for kind in ("WBC", "RBC", "Platelets")
)
MASKED: tuple[Shown, ...] = (
    ("Dice", "dice", number(3)),
    ("clDice", "cldice", number(3)),
    ("thin ≤ 2 px", "thin_recall/2", number(3)),
)
GROUPED: tuple[Shown, ...] = (
    ("right within 5 %", "pck", percent),
    ("OKS-mAP", "oks_map", number(3)),
    ("in the wrong animal", "wrong_animal_rate", percent),
    ("identity switches", "tracks/switches", number(0)),
)
TIMED: tuple[Shown, ...] = (
    ("F1 at 150 ms", "f1_at_ms/150", number(4)),
    ("F1 at 50 ms", "f1_at_ms/50", number(4)),
    ("mean error, samples", "mean_error_px", number(2)),
)
ANSWERS: dict[str, tuple[Shown, ...]] = {
    "bccd": F1S,
    "nuclei": (
        ("AP at IoU 0.5", "ap_at_iou/0.50", number(3)),
        ("at 0.7", "ap_at_iou/0.70", number(3)),
        ("PQ", "pq", number(3)),
        ("F1", "f1", number(3)),
        ("counting error", "counting_mae", number(1)),
    ),
    "chase": MASKED,
    "glue": GROUPED,
    "fly": GROUPED,
    "beats": TIMED,
    "record": TIMED,
    "digits": (("accuracy", "accuracy", percent),),
    "hippocampus": (
        *(("Dice " + one, f"by_class/{one}/dice", number(3)) for one in ("class 1", "class 2")),
        ("mean error, voxels", "mean_error_px", number(2)),
        ("mm", "mean_error_mm", number(2)),
    ),
}
"""What is shown, by the first word of a trial."""


def answers(entries: list[dict]) -> str:
    rows = []
    for entry in entries:
        shown = []
        for name, place, written in ANSWERS[entry["trial"].split()[0]]:
            value: Any = entry["scores"]
            for key in place.split("/"):
                value = value.get(key) if isinstance(value, dict) else None
            if value is not None:
                shown.append(f"{name} {written(value)}")
        rows.append(
            [
                f"{entry['trial']}, {entry['peer']}" if "peer" in entry else entry["trial"],
                f"{entry['minutes']:g}",
                entry["seed"],
                entry["images"],
                "; ".join(shown),
                entry["steps"],
                f"{entry['wall_seconds'] / 60:.1f}" + (" (shared)" if entry.get("shared") else ""),
            ]
        )
    header = ["trial", "minutes", "seed", "test images", "scores", "steps", "by the clock"]
    return (
        "## Other answers, from scratch\n\n`python benchmarks/answers.py --data FOLDER`: one run "
        "with the defaults on each set's own split, the test images read\nonce by each run. Shared: other work ran on the machine, so "
        "the steps that were planned for the minutes took longer.\n\n" + table(header, rows)
    )


def agreement(content: dict) -> str:
    def written(found: list[dict]) -> str:
        return "; ".join(f"{one['mean_px']:.2f} / {one['median_px']:.2f}" for one in found)

    rows = [
        [
            name,
            written(found["from_the_labels"]),
            written(found["from_each_other"]),
            written([found["median_of_the_runs_from_the_labels"]]),
        ]
        for name, found in content.items()
    ]
    header = ["set", "each from the labels", "from each other", "their median from the labels"]
    return (
        "## The labels' own jitter\n\n"
        "`python benchmarks/agreement.py --data SET RUN RUN RUN`: distances between three networks that\n"
        "were trained separately, mean / median px over the keypoints of the test images.\n\n"
        + table(header, rows)
    )


def radius_row(entry: dict) -> list[object]:
    """One training; see `radius`."""
    known, test = entry["validation"], entry["test"]
    low, high = entry["interval"]
    return [
        entry["set"],
        entry["seed"],
        f"{entry['steps']}, {entry['pixels']:,}",
        f"{known['keypoints']} on {known['images']}",
        f"{test['keypoints']} on {test['images']}",
        f"{entry['design_effect']:.2f}",
        percent(entry["coverage_90"]),
        f"{100 * low:.1f}–{100 * high:.1f}",
        percent(entry["as_if_independent"]),
        f"{entry['mean_error_px']:.1f} / {number(1)(entry['mean_radius_90_px'])}",
    ]


def radius(entries: list[dict]) -> str:
    inside = sum(entry["inside"] for entry in entries)
    of_sets = []
    for name, same in groupby(entries, key=lambda entry: entry["set"]):
        found = [entry["coverage_90"] for entry in same if entry["coverage_90"] is not None]
        if found:
            of_sets.append(f"{name} {percent(fmean(found))} ({len(found)})")
    header = ["set", "seed", "steps, pixels", "keypoints that calibrate, on images"]
    header += ["of the test, on images", "design effect", "radius_90 holds"]
    header += ["95 % binomial interval of 90 %", "with the rank of independent points"]
    return (
        "## Does radius_90 hold?\n\n`python benchmarks/radius.py --data FOLDER`: short trainings on "
        "small images (pixels, voxels of volumes); each\nreads the test images once. The design effect "
        "is that of the test images. Where the labels have no validation\nimages, the seed draws "
        "them, and with few of them the coverage of one training varies more than the interval,\n"
        f"which knows only of the test images: {inside} of {len(entries)} are inside. Mean over "
        f"trainings: {'; '.join(of_sets)}.\n\n"
        + table([*header, "mean error / radius, px"], [radius_row(entry) for entry in entries])
    )


def demo(content: dict) -> str:
    presence = content["presence"]
    rows = [
        ["by the clock, after installation", f"{content['wall_seconds_after_installation']:.0f} s"],
        ["mean error on test images", f"{content['mean_error_px']:.2f} px"],
        ["median error", f"{content['median_error_px']:.2f} px"],
        [
            "present digits with their keypoint within 3 px",
            f"{content['present_within_3_px_percent']} %",
        ],
        ["… and a score of 0.5 or more", f"{content['and_said_to_be_there_percent']} %"],
        [
            "presence: precision, recall",
            f"{percent(presence['precision'])}, {percent(presence['recall'])}",
        ],
        ["radius_90 holds", percent(content["radius"]["coverage_90"])],
    ]
    return (
        "## Demo\n\n`python benchmarks/demo.py`: a fresh environment, then `placewise demo`.\n\n"
        + (table(["what", "figure"], rows))
    )


def speed(content: dict) -> str:
    rows = [
        [name, content["median"][name], content["ratio_to_plain_float32"][name]]
        for name in content["median"]
    ]
    return (
        f"## Training speed\n\n`{content['command']}`: placewise with its augmentation, "
        f"{content['frame'][1]}×{content['frame'][0]} px, {content['parameters'] / 1e6:.2f} M "
        f"parameters; a plain U-Net of {content['plain_parameters'] / 1e6:.2f} M on ready batches of "
        "320×240 px. Ratios within rounds. A plain U-Net of the same widths was measured at 22.3 "
        "(bfloat16) and 10.3 (float32) images/s in a process of its own: against those the ratio "
        "is 1.7 and 3.6, so take those below as upper bounds.\n\n"
        + table(["network", "images/s", "ratio to the plain U-Net, float32"], rows)
    )


def losses(content: dict) -> str:
    parts = [
        f"## Losses\n\n`{content['command']}`: validation images cut out of the training "
        "images; the better of the learning rates for each loss.\n"
    ]
    for name, entries in content["sets"].items():
        rows = []
        for loss in dict.fromkeys(e["loss"] for e in entries):
            best = min((e for e in entries if e["loss"] == loss), key=lambda e: e["mean_error_px"])
            rows.append(
                [
                    loss,
                    f"{best['mean_error_px']:.2f}",
                    f"{best['median_error_px']:.2f}",
                    f"{best['learning_rate']:g}",
                    percent(best["presence_precision"]),
                    percent(best["presence_recall"]),
                    percent(best["presence_calibration_error"]),
                ]
            )
        header = ["loss", "mean px", "median", "rate", "precision", "recall", "calibration error"]
        what = f"{name}, {entries[0]['points']} points, {entries[0]['steps']} steps"
        parts.append(f"{what}:\n\n{table(header, rows)}\n")
    return "\n".join(parts).rstrip()


def survival(content: dict) -> str:
    campaigns = list(content["campaigns"].values())

    def total(key: str) -> int:
        return sum(len(c[key]) if isinstance(c[key], list) else c[key] for c in campaigns)

    rows = [
        ["SIGKILLs of the process group, workers 0 and 2 in turn", total("kills")],
        ["of those before the first checkpoint", total("kills_before_first_checkpoint")],
        ["runs that came to their end", total("runs_finished")],
        ["checkpoints lost", total("checkpoints_lost")],
        [
            f"most steps done again (saved every {content['save_interval']})",
            max(c["most_steps_redone"] for c in campaigns),
        ],
        ["curves, weights or predictions that differ", total("runs_that_differ")],
        ["runs that failed", total("failures")],
    ]
    if two := content.get("pairs"):
        rows += [
            ["pairs of trainings into one folder", two["done"]],
            [
                "of those where one was refused in one line, and the other ended as alone",
                two["done"] - len(two["different"]),
            ],
            ["tracebacks in pairs", len(two["tracebacks"])],
        ]
    if gone := content.get("removals"):
        rows += [
            ["trainings whose folder was removed at a random moment", gone["done"]],
            ["of those that ended with one line", gone["one_line"]],
            ["that had ended before", gone["finished"]],
            ["tracebacks there", len(gone["tracebacks"])],
            ["where something was written afterwards", len(gone["different"])],
        ]
    return f"## Killed and resumed\n\n`{content['command']}`\n\n" + table(["what", "number"], rows)


def training_speed(content: dict) -> str:
    parts = [
        f"## Training: against an earlier commit, beside others, by the clock\n\n"
        f"`{content['command']}`, {content['processors']} cores; PART is speed, load or minutes."
    ]
    if found := content.get("speed"):
        rows = [[name, *each] for name, each in found["images_per_second"].items()]
        rows.append(["ratio", *found["ratios"]])
        rounds = [f"round {number + 1}" for number in range(len(found["ratios"]))]
        parts.append(
            f"Images a second with augmentation, now and at {found['against']}; the ratio is "
            f"{found['ratio']}:\n\n{table(['code', *rounds], rows)}"
        )
    if found := content.get("load"):
        rows = [
            [
                name,
                median(found[name]["alone"]),
                median(found[name]["beside"]),
                found[name]["share"],
            ]
            for name in ("steps", "clock")
        ]
        parts.append(
            f"Images a second beside {found['busy']} busy processes of equal weight:\n\n"
            + table(["length by", "alone", "beside", "share"], rows)
        )
    if found := content.get("minutes"):
        rows = [
            [
                f"{row['minutes']:g}",
                "two busy processes from the middle on" if row["busy_from_the_middle"] else "alone",
                row["wall_seconds"],
                f"{100 * row['deviation']:+.1f} %",
                row["steps"],
            ]
            for row in found["rows"]
        ]
        header = ["minutes", "machine", "seconds on the wall", "deviation", "steps"]
        parts.append(table(header, rows))
    return "\n\n".join(parts)


def prediction(content: dict) -> str:
    memory, killed = content["memory"], content["killed"]
    rows = [
        ["images", f"{memory['images']:,}"],
        ["resident memory after 500 images, MB", f"{memory['early_mb']:.0f}"],
        ["resident memory at the end, MB", f"{memory['end_mb']:.0f}"],
        ["end / early", f"{memory['ratio']:.3f}"],
        ["SIGKILLs of predictions of 200 images, continued with --resume", killed["kills"]],
        ["predictions that came to their end", killed["finished"]],
        ["files that differ from those of an undisturbed prediction", len(killed["different"])],
        [
            f"most images predicted twice after a kill (a batch has {killed['batch']})",
            killed["most_images_twice"],
        ],
    ]
    return f"## Prediction\n\n`{content['command']}`\n\n" + table(["what", "number"], rows)


def scaling(content: dict) -> str:
    kinds = [
        [
            what,
            kind,
            f"{row['per_second']:.2f}",
            f"{row['ratio']:.2f}",
            f"{row['start_seconds']:.0f}",
            f"{row['mib']:,.0f}",
        ]
        for what, key in (("prediction, images", "prediction"), ("training, steps", "training"))
        for kind, row in content[key].items()
    ]
    pixels = [
        [
            f"{row['side']} × {row['side']}",
            f"{1000 * row['seconds']:.0f}",
            f"{row['seconds'] * 1e9 / row['side'] ** 2:.0f}",
        ]
        for row in content["pixels"]
    ]
    points = [[row["points"], f"{1000 * row['seconds']:.0f}"] for row in content["points"]]
    images = [
        [f"{row['images']:,}", f"{row['seconds']:.1f}", f"{row['mib']:,.0f}"]
        for row in content["images"]
    ]
    return "\n\n".join(
        [
            "## How cost grows",
            f"`{content['command']}`: on {content['cores']} cores; a rate is that of the images or steps by which a "
            "long command differs from a short one, its ratio is that of runs in turns, and starting is what is left.",
            table(["what", "with", "per second", "× the first", "start, s", "memory, MiB"], kinds),
            table(["image, px", "ms", "ns for a pixel"], pixels),
            table(["keypoints at 320 × 320", "ms"], points),
            table(["images of 640 × 480 in a folder", "s", "memory, MiB"], images),
        ]
    )


def mutations(content: dict) -> str:
    kinds = content["kinds"]
    wrong = sum(count for kind, count in kinds.items() if kind not in ("result", "error"))
    rows = [
        ["damaged files", f"{content['count']:,} of {content['seeds']} good ones"],
        ["a result", f"{kinds.get('result', 0):,}"],
        ["one error of placewise", f"{kinds.get('error', 0):,}"],
        ["tracebacks of anything else", kinds.get("traceback", 0)],
        ["processes that died", kinds.get("crash", 0)],
        ["longer than 20 s", kinds.get("hang", 0)],
        ["more than 400 MiB above the start", kinds.get("memory", 0)],
        ["most memory above the start, MiB", content["most_mib"]],
        ["longest, s", f"{content['longest_seconds']:.1f}"],
    ]
    text = (
        "## Damaged files\n\n`python benchmarks/mutations.py --count 10000 --data FOLDER`: files of all formats, "
        "damaged and read as a user would.\n\n" + table(["what", "number"], rows)
    )
    if wrong:
        text += "\n\n" + table(
            ["file", "damage", "what came of it"],
            [[one["seed"], one["how"], f"{one['what']} {one['where']}"] for one in content["bad"]],
        )
    if large := content.get("extremes"):
        text += (
            "\n\n`python benchmarks/mutations.py --extremes`: a million equal rows, or 100 MB without a line break.\n\n"
            + table(
                ["file", "what came of it", "s", "memory above the start, MiB"],
                [[one["file"], one["what"], one["seconds"], one["mib"]] for one in large],
            )
        )
    return text


def prediction_speed(content: dict) -> str:
    alone, done, away = content["network"], content["predict"], content["distances"]
    rows = [
        [
            name,
            number(1)(alone[name]),
            number(1)(done[name]["images_per_second"]),
            f"{done[name]['images_per_second'] / content['before']:.1f}",
            number(0)(done[name]["grown_mb"]),
            f"{away[name]['mean_px']:.2g}",
            f"{away[name]['largest_px']:.2g}",
        ]
        for name in alone
    ]
    head = [
        "engine",
        "network alone, images/s",
        "predict, images/s",
        "× before",
        "MB grown",
        "mean px from torch float32",
        "largest px",
    ]
    ratios, auto = content["ratios"], done["auto"]
    silent = "; ".join(f"{name}: {value}" for name, value in content["silent"].items())
    video = "; ".join(
        f"{name} {speed:.1f}" for name, speed in content["video_frames_per_second"].items()
    )
    return (
        f"## Speed of predictions\n\n`{content['command']}`\n\n640 × 480, PNG to CSV. Reading alone: "
        f"{content['reading']:.0f} images/s; before there were engines, in the same run: "
        f"{content['before']:.1f}.\n\n{table(head, rows)}\n\nThe best, {ratios['best']}, reaches "
        f"{100 * ratios['to_slower_of_reading_and_network']:.0f} % of the slower of reading and network "
        f"alone. `auto` took {auto['used']}, choosing included: {auto['images_per_second']:.1f} images/s. "
        f"Video, frames/s: {video}. Cold `placewise predict` of one "
        f"image: {min(content['cold_seconds']):.1f} s. The exported file is "
        f"{away.get('exported file', {}).get('largest_px', '–')} px off at most. Distances are of 20 "
        f"unseen sizes. The file for int8 is made within its time. Without any network: {silent}."
    )


def tiling(content: list[dict]) -> str:
    rows = [
        [
            one["depth"],
            " × ".join(map(str, one["tiles"])),
            one["margin_px"],
            f"{one['peak_bytes'] / 1e9:.2f}",
            f"{one['speed_of_untiled']:.2f}",
            f"{one['map_difference']:.1e}",
            f"{one['spots_compared']:,}",
            one["spots_missing"],
            f"{one['furthest_px']:.1e}",
        ]
        for one in content
    ]
    header = ["depth", "tiles", "margin px", "resident GB", "speed, untiled = 1", "maps differ by"]
    header += ["spots compared", "missing", "furthest px"]
    side = f"{content[0]['side']:,}"
    return (
        "## Huge images\n\n`python benchmarks/tiling.py`\n\n"
        f"A tiled TIFF of {side} × {side} pixels; untiled are images of 2,000 × 2,000 in the same "
        "run. Maps are compared in standard deviations, spots about every crossing of seams.\n\n"
        + table(header, rows)
    )


def coarse_to_fine(content: list[dict]) -> str:
    rows = []
    for one in content:
        cells = [" × ".join(map(str, one["size"][::-1])), one["depth"], one["receptive_field"]]
        if not one["factor"]:
            rows.append([*cells, "off", *["–"] * 6, one["why"]])
            continue
        looked = one["images_looked_at_in_parts"] / one["images"]
        rows.append(
            [
                *cells,
                one["factor"],
                one["slack"],
                f"{one['whole_images_per_second']:.2f}",
                f"{one['images_per_second']:.2f}",
                f"{one['faster']:.2f}",
                percent(looked),
                f"{one['keypoints_same']:,} of {one['keypoints']:,}",
                f"furthest {one['furthest_px']:.1e} px; scores {one['scores_differ_by']:.1e}",
            ]
        )
    header = ["frame at the network's scale", "depth", "receptive field", "factor", "slack px"]
    header += [
        "images/s, whole",
        "images/s",
        "faster",
        "frames in parts",
        "same to 1e-3 px",
        "note",
    ]
    return (
        "## Coarse to fine\n\n`python benchmarks/coarse_to_fine.py --data DATA`\n\n"
        f"Held-out frames of openfield in larger arenas, {content[0]['steps']} steps of training; "
        "factor and slack were chosen on training frames. One thread; both ways in turns.\n\n"
        + table(header, rows)
    )


def robustness(content: dict) -> str:
    failed, skipped = len(content["failed"]), len(content["skipped"])
    rows = [
        ["tests, the long forms too", content["tests"]],
        ["passed", content["tests"] - failed - skipped],
        ["failed", failed],
        ["skipped", skipped],
    ]
    return (
        f"## Robustness\n\n`{content['command']}`: flipped bits, truncations, full disks, mutated "
        "images and labels, and losses that are not a number. The name and the docstring of each "
        f"test say what it asserts. Exit code of pytest: {content['exit_code']}.\n\n"
        + table(["what", "number"], rows)
    )


def decoders(content: dict) -> str:
    rows = []
    for name, by_sigma in content["decoders"].items():
        for sigma, cases in by_sigma.items():
            cells = [
                f"{cases[case][zone]['mean_px']:.3f}"
                for case in ("perfect", "noise_0.02")
                for zone in ("inside", "outermost_pixel", "corner_pixel")
            ]
            lost = sum(cases["perfect"][zone]["lost"] for zone in cases["perfect"])
            rows.append([name, sigma.removeprefix("sigma_"), *cells, lost])
    header = ["decoder", "σ", "inside", "outermost pixel", "corner", "noisy: inside", "outermost"]
    return f"## Decoders\n\n`{content['command']}`: mean error in map px.\n\n" + (
        table([*header, "corner", "lost"], rows)
    )


def augmentation(content: dict) -> str:
    warps = content["blob"]["warps"]
    rows = [
        [name, w["draws"], f"{w['keypoint_mean_px']:.4f}", f"{w['keypoint_max_px']:.4f}"]
        for name, w in warps.items()
    ]
    return (
        f"## Augmentation\n\n`{content['command']}`: centroid of a moved blob against the moved keypoint."
        "\n\n" + table(["warp", "draws", "mean px", "most px"], rows)
    )


def audit_speed(content: dict) -> str:
    rows = [
        [
            name,
            f"{content['median_seconds'][name]:.2f}",
            f"{content['median_processor_seconds'][name]:.2f}",
            content["times_as_long_as_counting"][name],
        ]
        for name in content["median_seconds"]
    ]
    return (
        f"## Speed of the audit\n\n`{content['command']}`: {content['network']}, medians of "
        f"{content['rounds']} alternating rounds, {content['threads']} threads, a load of "
        f"{content['load']:.1f}, torch {content['torch']}. The first audit of a process took "
        f"{content['first_audit_seconds']:.2f} s. The all-ones gradient costs a run of the whole "
        "network in floating point, and gives no exact integers."
        + _measuring(content.get("with_measuring"))
        + "\n\n"
        + table(["what", "s by the clock", "s of processors", "in those of counting"], rows)
    )


def _measuring(found: dict | None) -> str:
    if found is None:
        return ""
    return (
        f" With measuring, {found['network']}: {found['processor_seconds']} s of processors by "
        f"{found['threads']} threads."
    )


def coverage(content: dict) -> str:
    rows = []
    kinds = sorted({kind for found in content["summary"].values() for kind in found["shares"]})
    for source, found in content["summary"].items():
        shares, seconds = found["shares"], found["median_seconds"]
        rows.append(
            [
                source,
                found["models"],
                percent(found["captured_share"]),
                found["crashes"],
                *(percent(shares.get(kind, 0.0)) for kind in kinds),
                found["recorded_alike"],
                f"{seconds['capture']:.1f}",
            ]
        )
    header = ["networks of", "number", "followed", "crashes", *kinds]
    return (
        "## Networks that the audit follows\n\n`python benchmarks/coverage.py`: followed by "
        "`torch.export` or recorded, status of all operations together; *recorded alike* counts those that "
        "give the same number of paths when they are recorded instead. Seconds are medians on a busy "
        "machine.\n\n" + table([*header, "recorded alike", "s to follow"], rows)
    )


def foreign(content: dict) -> str:
    """Networks of others: how sure the audit is of each, and what checks of its claims found."""
    kinds = ["exact", "at least", "masks ignored", "at most", "one run", "guessed"]
    rows, checks = [], []
    for source, found in content["summary"].items():
        status = found["status"]
        of = found["networks"]
        rows.append(
            [source, of, found["crashes"], found["refused"]]
            + [
                f"{status[kind]} ({percent(status[kind] / of)})" if kind in status else "–"
                for kind in kinds
            ]
        )
        checks.append(
            [
                source,
                found["false exact"],
                found["units tried"],
                f"{found['twins that agree']} of {found['twins']}",
                f"{found['advised and taken']} of {found['advised']}",
                f"{found['advised and true']} of {found['advised']}",
            ]
        )
    versions = ", ".join(f"{name} {version}" for name, version in content["versions"].items())
    return (
        f"## Networks that nobody here chose\n\n`{content['command']}`, each in a process of its own, without "
        "measuring; small configurations, random weights. *Refused*: a message instead of an audit.\n\n"
        + table(["networks of", "number", "crashes", "refused", *kinds], rows)
        + "\n\nThe claims against checks in which nothing of the audit takes part. *False exact*: a pixel "
        "that is called unseen changes the output, a unit depends on more than it is said to read, or "
        "operations differ from image to image, and the audit does not say so. *Twin*: the gradient of a "
        "copy in which every function counts (weights 1, activations and normalisations the identity, "
        "pooling and softmax sums) equals the counts to 1e-6, or does not exceed them where they are a "
        "bound; of others some function has no such form. *Advised*: the size that the verdict calls "
        "stride-aligned.\n\n"
        + table(
            [
                "networks of",
                "false exact",
                "units tried",
                "twins that agree",
                "advice taken by the network",
                "true there",
            ],
            checks,
        )
        + f"\n\nVersions: {versions}."
    )


def layers(content: dict) -> str:
    timings, memory = content["timings"], content["memory"]
    speeds = [
        [
            name,
            number(1)(timings["median_ms"].get(name)),
            number(2)(timings["ratio_to_locally_connected"].get(name)),
            memory[name]["peak_mb"],
        ]
        for name in memory
    ]
    edges = [
        [rule, *(f"{share:.3g}" for share in found.values())]
        for rule, found in content["paths_edge_to_centre_after_10_layers"].items()
    ]
    return (
        f"## Locally connected layers\n\n`{content['command']}`: {content['step']}; "
        f"{content['machine']}, torch {content['torch']}.\n\n"
        + table(["layer", "median ms", "in those of ours", "peak MB"], speeds)
        + "\n\n## Paths by padding rule\n\nThe same command: paths of the outermost place over those "
        "of the middle, along one axis, after 10 layers.\n\n"
        + table(["padding", "window 3", "window 5"], edges)
    )


def proximity(content: dict) -> str:
    parts = [f"## Connections by nearness\n\n`{content['command']}`, torch {content['torch']}."]
    for size, found in content.get("speed", {}).items():
        if isinstance(found, dict):
            rows = [
                [name, one["ms"], one["times faster than nn.Linear"]]
                for name, one in found["forward and backward"].items()
            ]
            header = ["forward and backward", "median ms", "times faster than nn.Linear"]
            parts.append(f"{size}:\n\n{table(header, rows)}")
    for name, placed in content.get("placement", {}).items():
        several = placed if isinstance(placed, list) else [placed]
        rows = [
            [
                one["units"],
                f"{one['wire before']:,.0f}",
                f"{one['wire after']:,.0f}",
                f"{one['seconds']:.3f}",
            ]
            for one in several
        ]
        header = ["units", "wire before", "wire after", "s"]
        parts.append(f"Placement, {name}:\n\n{table(header, rows)}")
    if "digits" in content:
        rows = [
            [
                name,
                " ".join(f"{one:.2f}" for one in found["accuracy %"]),
                f"{found['mean']:.2f}",
                f"{found['weights']:,}",
                number(2)(found["mean length"]),
            ]
            for name, found in content["digits"].items()
        ]
        header = ["digits", "right %, by seed", "mean", "weights", "mean length"]
        parts.append(table(header, rows))
    return "\n\n".join(parts)


def palm_tree(content: dict) -> str:
    rows = [
        [
            name,
            found["batch"],
            f"{found['median_ms']['together']:.2f}",
            f"{found['median_ms']['loop']:.2f}",
            f"{found['loop_to_together']:.1f}",
            f"{found['largest_difference_over_largest_logit']:.0e}",
        ]
        for name, found in content["cases"].items()
    ]
    header = ["head", "batch", "together, ms", "loop over branches, ms", "times", "difference"]
    return (
        f"## Palm tree: all branches at once\n\n`{content['command']}`: forward and backward, one "
        f"thread, torch {content['torch']}; *difference* is the largest difference of a logit, relative "
        "to the largest logit.\n\n" + table(header, rows)
    )


def remedies(content: dict) -> str:
    converted = [
        [
            name,
            found["size"],
            f"{found['largest difference']:.0e}",
            "; ".join(f"{size}: {shape}" for size, shape in found["shapes at others"].items()),
        ]
        for name, found in content["convolutionalize"].items()
    ]
    mended = [
        [
            network,
            remedy,
            *(number(2)(found.get(key)) for key in ("max_over_corner", "corner_ratio")),
            number(2)(found.get("left_over_right_at_most")),
            found["receptive_field"],
        ]
        for network, remedied in content["mended"].items()
        for remedy, found in remedied.items()
    ]
    header = ["network", "remedy", "most/corner", "corner/corner", "left/right", "field px"]
    return (
        f"## Remedies\n\n`{content['command']}`, random weights, torchvision "
        f"{content['torchvision']}. Paths to the last map at 224 × 224, before and after:\n\n"
        + table(header, mended)
        + "\n\nClassifiers made fully convolutional, largest difference at the size they were made "
        "for, and the shapes of their answers at others:\n\n"
        + table(["network", "size", "difference", "at other sizes"], converted)
    )


def mended(content: dict) -> str:
    def said(found: dict, digits: int = 1) -> str:
        seeds = found["seeds"]
        spread = f" ± {statistics.stdev(seeds):.{digits}f}" if len(seeds) > 1 else ""
        return f"{found['mean']:.{digits}f}{spread}"

    rows = [
        [
            network,
            remedy,
            said(found["change on noise"], 2),
            said(found["at once"]),
            said(found["fine-tuned"]),
            len(found["at once"]["seeds"]),
        ]
        for network, remedied in content["networks"].items()
        for remedy, found in remedied.items()
    ]
    header = [
        "network", "remedy", "output changes by, noise", "accuracy % at once", "% fine-tuned", "seeds"
    ]  # fmt: skip
    return (
        f"## What a remedy costs a trained network\n\n`{content['command']}`: digits anywhere on images "
        f"of {content['image'][1]} × {content['image'][2]}, {content['steps']} steps, then "
        f"{content['fine-tuning steps']} more at a tenth of the rate; {content['test images']} test "
        "images; mean ± standard deviation of the seeds.\n\n" + table(header, rows)
    )


def mended_files(content: dict) -> str:
    rows = [
        [name, found["remedy"], found["images"], f"{found['largest difference']:.0e}", found["MB"]]
        for name, found in content["networks"].items()
    ]
    header = ["network", "remedy", "images", "largest difference", "program, MB"]
    return (
        f"## Mended copies in a fresh process\n\n`{content['command']}`, torchvision "
        f"{content['torchvision']}: `mended.pt2`, loaded where neither torchvision nor placewise can be "
        "imported, against the copy.\n\n" + table(header, rows)
    )


def location_toy(content: dict) -> str:
    rows = [
        [
            rule,
            f"{found['same place %']:.1f}",
            f"{found['other place %']:.1f}",
            len(found["seeds"]),
        ]
        for rule, found in content["rules"].items()
    ]
    return (
        f"## What a network reads from the border\n\n`{content['command']}`: {content['steps']} "
        f"steps. Published: {content['source']}.\n\n"
        + table(["padding", "same place %", "other place %", "seeds"], rows)
    )


def shift(content: dict) -> str:
    keys = [
        "maps, one pixel",
        "maps, left and right",
        "maps moved back, left and right",
        "global average, left and right",
        "accuracy %",
    ]
    rows = [[name, *(found[key] for key in keys)] for name, found in content["pooling"].items()]
    return (
        f"## An object left and right\n\n`{content['command']}`: distance of activations after the "
        f"last pooling, in units of that between two different digits; {content['seeds']} seeds.\n\n"
        + table(["pooling", *keys], rows)
    )


def intervals(content: dict) -> str:
    paired = [
        [
            found["differences"],
            found["seeds"],
            percent(found["t_interval_holds"]),
            percent(found["bootstrap_interval_holds"]),
        ]
        for found in content["paired"]
    ]
    two_way = [
        [
            found["seeds"],
            found["items"],
            found["spread_of_seeds"],
            found["spread_of_items"],
            percent(found["two_way_interval_holds"]),
            percent(found["t_interval_of_seeds_alone_holds"]),
        ]
        for found in content["two_way"]
    ]
    alarms = [
        [found["arms"], found["seeds"], *map(percent, list(found.values())[2:])]
        for found in content["false_alarms"]
    ]
    return (
        f"## Intervals\n\n`{content.get('command', 'python benchmarks/intervals.py')}`: "
        f"{content['simulations']} simulations each; how often 95 % intervals of a paired difference "
        "contain the true one\n\n"
        + table(["differences", "seeds", "t", "bootstrap"], paired)
        + "\n\nover seeds and test items at once:\n\n"
        + table(["seeds", "items", "sd seeds", "sd items", "two-way", "seeds alone"], two_way)
        + "\n\nFalse alarms where no arm differs:\n\n"
        + table(["arms", "seeds", "any, without Holm", "any, with Holm", "one arm sure"], alarms)
    )


def borders(content: dict) -> str:
    """Means over seeds with their standard deviation."""
    runs = content["runs"]
    rows = []
    for kind in dict.fromkeys((run["set"], run["steps"], run["rule"]) for run in runs):
        same = [run for run in runs if (run["set"], run["steps"], run["rule"]) == kind]
        cells: list[object] = [*kind, len(same)]
        for place in ("border", "elsewhere"):
            for figure in ("mean_px", "median_px"):
                values = [run[place][figure] for run in same if run[place]["points"]]
                apart = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
                cells.append(f"{fmean(values):.2f}{apart}")
        rows.append(cells)
    header = [
        "set",
        "steps",
        "padding",
        "seeds",
        "border: mean px",
        "median",
        "elsewhere: mean",
        "median",
    ]
    return (
        f"## Keypoints near the border, by padding rule\n\n`{content['command']}`: validation folds of the "
        "training images; *border* is within a tenth of the shorter side; ± is one standard "
        "deviation over seeds.\n\n" + table(header, rows)
    )


def sweeps(content: dict) -> str:
    """Kills of sweeps, and what a second process gains: ratios of times within pairs."""
    parts = ["## Sweeps"]
    if kills := content.get("kills"):
        rows = [
            [
                name,
                found["kills"],
                f"{found['while_training']} + {found['while_testing']}",
                found["runs"],
                found["runs_done_twice"],
                percent(found["steps_lost"] / found["steps"]),
                f"{len(found['files_that_differ'])} of {found['files_compared']}",
                found["processes_left"],
            ]
            for name, found in kills.items()
        ]
        header = [
            "engine, what is killed",
            "SIGKILLs",
            "while training + testing",
            "runs",
            "finished runs repeated",
            "steps lost and repeated",
            "files that differ",
            "processes left",
        ]
        parts.append(
            "`python benchmarks/sweeps.py kills --engine E --kill K`: one sweep of two processes,\n"
            "killed repeatedly and then left to finish, compared with an undisturbed sweep of one process;\n"
            "predictions on test images, weights, and `results.json` except speeds.\n\n"
            + table(header, rows)
        )
    if measured := content.get("efficiency"):
        found = measured["two processes"]
        pairs = list(zip(found["whole"], found["one_step"], strict=True))
        gains = [whole["1"] / whole["2"] for whole, _ in pairs]
        later = [(a["1"] - b["1"]) / (a["2"] - b["2"]) for a, b in pairs]
        shares = [start["2"] / whole["2"] for whole, start in pairs]
        rows = [
            ["whole command", f"{median(gains):.2f}×", f"{min(gains):.2f}–{max(gains):.2f}"],
            [
                "less that of the same sweep with one step to a run",
                f"{median(later):.2f}×",
                f"{min(later):.2f}–{max(later):.2f}",
            ],
            [
                "share of that in the command with two processes",
                percent(median(shares)),
                f"{percent(min(shares))}–{percent(max(shares))}",
            ],
        ]
        parts.append(
            f"`python benchmarks/sweeps.py efficiency`: {found['runs']} runs of {found['steps']} "
            f"steps of {found['batch']} images,\none thread each; time with one process by time "
            f"with two, {len(pairs)} pairs in turn, median and range.\n\n"
            + table(["time of", "1 process / 2 processes", "range"], rows)
        )
    return "\n\n".join(parts)


def video(found: dict) -> str:
    rows = [
        [name, "refused", "–", "–"]
        if "refused" in one
        else [name, one["frames"], one["wrong"], "yes" if one["jumps"] else "no"]
        for name, one in found["seeks"].items()
    ]
    tries = max(one.get("tries", 0) for one in found["seeks"].values())
    memory, share = found["memory"], found["share"]
    return (
        "## Videos\n\n`python benchmarks/video.py`: files whose frames carry their numbers, "
        f"{tries} random frames of each.\n\n"
        + table(["file", "frames", "wrong", "jumps"], rows)
        + f"\n\nA prediction of {memory['frames']:,} frames added {memory['peak_grown_mb']:.0f} MB "
        f"of resident memory at its peak. Decoding took {share['decoding_ms']} ms of CPU a frame, "
        f"and a prediction with all its files\n{share['prediction_ms']} ms: "
        f"{percent(share['share'])}."
    )


def formats_oracle(found: dict) -> str:
    rows = [[name, f"{value:.2g}"] for name, value in found.items() if name != "versions"]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return (
        "## Files that others read\n\n`python benchmarks/peers/formats_oracle.py`: what we write, "
        "read by the tools' own readers.\n"
        + versions
        + ".\n\n"
        + table(["reader: file", "largest difference, px"], rows)
    )


def _known(entries: Sequence[dict], key: str) -> list[float]:
    return [entry[key] for entry in entries if entry.get(key) is not None]


def _accuracy_row(runs: Sequence[dict]) -> list[object]:
    """Mean over the seeds; in brackets the lowest and highest where there are several."""
    first, means = runs[0], _known(runs, "mean_px")
    many = f" ({min(means):.2f}–{max(means):.2f})" if len(means) > 1 else ""
    return [
        first["peer"],
        first["network"],
        "×".join(str(side) for side in reversed(first["input"])),
        len(runs),
        f"{fmean(means):.2f}{many}",
        f"{fmean(_known(runs, 'median_px')):.2f}",
        f"{fmean(_known(runs, 'p95_px')):.1f}",
        f"{sum(_known(runs, 'missing'))} of {sum(_known(runs, 'points'))}",
        f"{fmean(_known(runs, 'training_images_per_second')):.1f}",
        f"{fmean(_known(runs, 'images_seen')):,.0f}",
        f"{fmean(_known(runs, 'peak_mib')):,.0f}" if _known(runs, "peak_mib") else "–",
    ]


def _peers_accuracy(entries: Sequence[dict]) -> list[str]:
    header = "peer,network,input,seeds,mean px,median,p95,missing,training images/s,images seen,MiB".split(",")  # fmt: skip
    parts = []
    for (name, minutes), same in groupby(entries, key=lambda e: (e["set"], e["minutes"])):
        runs = [list(one) for _, one in groupby(same, key=lambda e: e["peer"])]
        baseline = runs[0][0]["mean_place_px"]
        head = (
            f"{name}, {minutes:g} minutes (always the mean place of training: {baseline:.1f} px):"
        )
        speeds = {one[0]["peer"]: fmean(_known(one, "training_images_per_second")) for one in runs}
        ours, said = speeds.pop("placewise", None), ""
        if ours and speeds:
            fastest = max(speeds, key=lambda peer: speeds[peer])
            said = f"\n\nplacewise trains on {ours / speeds[fastest]:.1f} times as many images a second as {fastest}."
        rows = table(header, [_accuracy_row(one) for one in runs])
        parts.append(f"{head}\n\n{rows}{said}")
    return parts


def _peers_speed(entries: Sequence[dict]) -> str:
    """All ways of ours, the best way of each peer, and ratios within a round."""
    rounds: dict[tuple[str, int, str], dict[int, float]] = {}
    for entry in entries:
        for way, speed in entry["images_per_second"].items():
            key = entry["peer"], entry["pixels"], way
            rounds.setdefault(key, {})[entry["round"]] = speed
    best: dict[tuple[str, int], str] = {}
    for peer, pixels, way in sorted(rounds, key=lambda key: median(rounds[key].values())):
        best[peer, pixels] = way
    rounds = {
        (peer, pixels, way): speeds
        for (peer, pixels, way), speeds in rounds.items()
        if peer == "placewise" or best[peer, pixels] == way
    }
    ours = {way: speeds for (peer, _, way), speeds in rounds.items() if peer == "placewise"}
    shown = [way for way in ("openvino in bfloat16", "openvino in int8") if way in ours]
    rows = [
        [peer, f"{pixels:,}", way, f"{median(speeds.values()):.1f}"]
        + [_times(ours[one], speeds) if peer != "placewise" else "–" for one in shown]
        for (peer, pixels, way), speeds in rounds.items()
    ]
    header = ["peer", "pixels its network sees", "way", "images/s"]
    return table(header + [f"placewise, {one.split()[-1]} ÷ it" for one in shown], rows)


def _times(ours: Mapping[int, float], theirs: Mapping[int, float]) -> str:
    """The median of the ratios within the rounds that both have."""
    ratios = [ours[number] / speed for number, speed in theirs.items() if number in ours]
    return f"{median(ratios):.2f}" if ratios else "–"


def peers(content: dict) -> str:
    parts = [
        "## Peers\n\n`python benchmarks/peers/mice.py --data FOLDER --minutes 8 --seeds 0 1 2`: each peer is "
        "installed from the\npackage index, gets the training images in its own format, trains from scratch by "
        "the clock, and predicts\nthe test images with its own decoder; one function scores all. No peer has weights "
        "that were trained before,\nwhich all four recommend: these are figures of some minutes on two cores, not "
        "what the peers are able to.\nHow each is set up is said in the script of its name in "
        "[benchmarks/peers](peers); a missing place counts as\nthe mean place of training."
    ]
    known = content.get("accuracy", [])
    parts += _peers_accuracy(known)
    same = ("set", "minutes", "peer", "seed")
    done = {tuple(entry[key] for key in same) for entry in known}
    failed = [
        one for one in content.get("failed", []) if tuple(one[key] for key in same) not in done
    ]
    if failed:
        told = ", ".join(f"{one['peer']} on {one['set']} (seed {one['seed']})" for one in failed)
        parts.append(f"Failed: {told}.")
    if content.get("speed"):
        parts.append("Files of 640 × 480 to places:\n\n" + _peers_speed(content["speed"]))
    return "\n\n".join(parts)


def labelling(found: dict) -> str:
    sides = [side for side in ("640", "4096") if side in found]
    first = ["the command to the first keypoint"]
    rows = [[*first, *(f"{found[side]['command_to_first_keypoint_s']} s" for side in sides)]]
    for key, name in (
        ("click_to_drawn", "a click to the drawn keypoint"),
        ("click_to_acknowledged", "a click to the edit on disk and acknowledged"),
        ("next_image", "a key to the next image"),
    ):
        rows.append([name, *(f"{found[side][key]['p95_ms']} ms" for side in sides)])
    spots = found["keypoints_1000_on_4096"]
    model = found["keystroke_model_50_images_min"]
    learnt = found.get("20_labels_to_suggestions_s")
    after = "" if learnt is None else f" From 20 labelled images to suggestions: {learnt:.0f} s."
    return (
        "## Labelling\n\n`python benchmarks/labelling.py`: Chromium and a scripted mouse; the 95th "
        "percentile where it is ms.\n\n"
        + table(["from", *(f"{side}² images" for side in sides)], rows)
        + f"\n\n1,000 keypoints on 4096²: {spots['cpu_ms_per_frame']} ms of CPU in all processes of "
        f"the browser for each\nframe that moves and zooms, without a graphics card.{after}\n\n"
        "Minutes for 50 images by the keystroke-level model (Card, Moran and Newell 1980):\n\n"
        + table(["images with", "minutes"], [[name, value] for name, value in model.items()])
    )


def decoding(found: dict) -> str:
    images, keypoints, height, width = found["shape"]
    rows = [
        [
            row["decoder"],
            row["ms"],
            f"{row['times_faster_than_dark_loop']:.1f}",
            f"{row['mean_error_map_px']:.3f}",
        ]
        for row in found["rows"]
    ]
    intro = (
        f"## Decoding speed\n\n`{found['command']}`: {images} × {keypoints} maps of {height} × "
        f"{width}, {found['threads']} threads. The loops\ngo over images and keypoints in numpy, "
        "as MMPose is described to do."
    )
    header = ["decoder", "ms", "times as fast as the DARK loop", "mean error, map px"]
    return intro + "\n\n" + table(header, rows)


def labelling_queue(found: dict) -> str:
    parts = [
        "## Suggestions, and the queue\n\n`python benchmarks/labelling_queue.py`: a run on 20 images "
        "chosen by k-means, its suggestions on all\nother training images; then 20 more images, "
        "chosen by the queue of that run, by k-means on what\nis left, or at random."
    ]
    for name, content in found.items():
        rows = [
            [
                one["seed"],
                percent(one["within_5_px"]),
                one["error_20_px"],
                *(
                    one.get(f"error_40_{by}_px", "–")
                    for by in ("by_queue", "by_kmeans", "at_random")
                ),
            ]
            for one in content["trials"]
        ]
        said = []
        for order, of in (("queue", "The queue"), ("kmeans", "k-means")):
            gains = content.get(f"gains_of_{order}_px", [])
            if len(gains) > 1:
                error = stdev(gains) / len(gains) ** 0.5
                said.append(f"{of} gains {fmean(gains):+.2f} ± {error:.2f} px over random images")
        more = f" {'; '.join(said)} (standard error)." if said else ""
        header = ["seed", "within 5 px", "20 images, px", "queue", "k-means", "random"]
        length = next(
            f"{content[unit]:g} {unit}" for unit in ("steps", "minutes") if unit in content
        )
        parts.append(f"{name}, trained for {length}:{more}\n\n" + table(header, rows))
    return "\n\n".join(parts)


def tracks(found: dict) -> str:
    rows = [
        [
            name,
            f"1/{one['every']}",
            part.replace("_", " "),
            one[part]["frames"],
            percent(one[part]["mota"]),
            percent(one[part]["idf1"]),
            one[part]["identity_switches"],
            one[part]["missed"],
            one[part]["extra"],
        ]
        for name, one in found.items()
        for part in ("all", "behind_training")
    ]
    head = ["run", "frames", "part", "number", "MOTA", "IDF1", "switches", "missed", "extra"]
    return (
        "## Who is who over a video\n\n`python benchmarks/tracks.py RUN --data FOLDER/fly_pair`: "
        "two flies, against known\nidentities (those of a network, corrected).\n\n"
        + table(head, rows)
    )


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    sections = [HEAD.rstrip()]
    for make in (
        mice,
        peers,
        answers,
        agreement,
        radius,
        demo,
        speed,
        training_speed,
        losses,
        survival,
        prediction,
        scaling,
        mutations,
        prediction_speed,
        tiling,
        coarse_to_fine,
        robustness,
        decoders,
        augmentation,
        audit_speed,
        coverage,
        foreign,
        layers,
        proximity,
        palm_tree,
        location_toy,
        shift,
        borders,
        remedies,
        mended,
        mended_files,
        intervals,
        sweeps,
        formats_oracle,
        labelling,
        labelling_queue,
        decoding,
        video,
        tracks,
    ):
        content = load(make.__name__)
        if content:
            sections.append(make(content))
    (HERE / "README.md").write_text("\n\n".join(sections) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
