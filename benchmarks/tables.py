"""Make benchmarks/README.md from the raw numbers in benchmarks/results.

python benchmarks/tables.py
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
HEAD = """# Benchmarks

Made by `python benchmarks/tables.py` from the raw numbers in [results](results); each section names
the command that measured it. Two cores, no accelerator, unless said otherwise. Single runs: on data
sets of this size, differences of a tenth of a pixel mean nothing. Timings are worth something as
ratios only.
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


def mice(entries: list[dict]) -> str:
    rows = [
        [
            e["set"],
            f"{e['minutes']:g}",
            f"{e['mean_error_px']:.2f}",
            f"{e['median_error_px']:.2f}",
            f"{e['p95_error_px']:.1f}",
            percent(e["radius"]["coverage_90"]),
            f"{e['radius']['mean_r90_px']:.1f}",
            e["steps"],
            f"{e['pictures_per_second']:.0f}",
            f"{e['wall_seconds'] / 60:.1f}",
            " ".join(e["flags"]) or "–",
        ]
        for e in entries
    ]
    header = ["set", "minutes", "mean px", "median", "p95", "r90 holds", "r90 px", "steps"]
    return (
        "## Two mice, from scratch\n\n"
        "`python benchmarks/mice.py --data FOLDER`: test pictures of the sets' own split, read once\n"
        "by each run. Always answering the mean place: "
        + ", ".join(
            f"{name} {px:.1f} px"
            for name, px in {e["set"]: e["mean_position_baseline_px"] for e in entries}.items()
        )
        + ".\n\n"
        + table([*header, "pictures/s", "minutes by the clock", "flags"], rows)
    )


def demo(content: dict) -> str:
    presence = content["presence"]
    rows = [
        ["by the clock, after installation", f"{content['wall_seconds_after_installation']:.0f} s"],
        ["mean error on test pictures", f"{content['mean_error_px']:.2f} px"],
        ["median error", f"{content['median_error_px']:.2f} px"],
        [
            "present digits with their dot within 3 px",
            f"{content['present_within_3_px_percent']} %",
        ],
        ["… and a score of 0.5 or more", f"{content['and_said_to_be_there_percent']} %"],
        [
            "presence: precision, recall",
            f"{percent(presence['precision'])}, {percent(presence['recall'])}",
        ],
        ["r90 holds", percent(content["radius"]["coverage_90"])],
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
        f"## Training speed\n\n`{content['command']}`: ours with its augmentation, "
        f"{content['frame'][1]}×{content['frame'][0]} px, {content['parameters'] / 1e6:.2f} M "
        f"parameters; a plain U-Net of {content['plain_parameters'] / 1e6:.2f} M on ready batches of "
        "320×240 px. Ratios within rounds. A plain U-Net of the same widths was measured at 22.3 "
        "(bfloat16) and 10.3 (float32) pictures/s in a process of its own: against those the ratio "
        "is 1.7 and 3.6, so take those below as upper bounds.\n\n"
        + table(["network", "pictures/s", "ratio to the plain U-Net, float32"], rows)
    )


def losses(content: dict) -> str:
    parts = [
        f"## Losses\n\n`{content['command']}`: validation pictures cut out of the training "
        "pictures; the better of the learning rates for each loss.\n"
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
    return f"## Killed and resumed\n\n`{content['command']}`\n\n" + table(["what", "number"], rows)


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
        [name, w["draws"], f"{w['dot_mean_px']:.4f}", f"{w['dot_max_px']:.4f}"]
        for name, w in warps.items()
    ]
    return (
        f"## Augmentation\n\n`{content['command']}`: centroid of a moved blob against the moved dot."
        "\n\n" + table(["warp", "draws", "mean px", "most px"], rows)
    )


def main() -> None:
    sections = [HEAD.rstrip()]
    for make in (mice, demo, speed, losses, survival, decoders, augmentation):
        content = load(make.__name__)
        if content:
            sections.append(make(content))
    (HERE / "README.md").write_text("\n\n".join(sections) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
