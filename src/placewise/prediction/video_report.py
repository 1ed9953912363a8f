"""The report of a predicted video: traces, jumps, gaps, and the frames that need a look."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from placewise.geometry import FloatArray
from placewise.motion import Track, jumps_of, worst_frames
from placewise.prediction.labelled import draw_frame
from placewise.prediction.movement import Movement, facts_of
from placewise.report.movement import SHOWN, movement_curves
from placewise.report.parts import (
    Bullets,
    Card,
    Figure,
    Legend,
    Paragraph,
    Photographs,
    Report,
    Section,
    Table,
)
from placewise.report.style import Theme
from placewise.wording import counted

WORST = 12
"""Frames that are shown."""

FOLLOWED = 4
"""Tracks whose traces are shown."""

CARD = (480, 640)
"""Least and most pixels of the longer side of a shown frame."""

WORDS = (
    (
        "not sure",
        "the keypoint has no place, a score below the threshold, or a radius_90 above a tenth of "
        "the image's diagonal",
    ),
    ("jump", "a movement of more than 20 px and five times the median from one frame to the next"),
    ("gap", "frames one after another in which a keypoint is not sure"),
    ("doubt", "of a frame: the mean of 1 − score, and 1 more for what is not sure or has jumped"),
)


def report_of(
    seen: Movement,
    written: Movement,
    doubts: FloatArray,
    out: Path,
    smooth: str | None,
    threshold: float,
) -> Report:
    """The report of a video.

    Args:
        seen: what the networks see; jumps, gaps and doubts are those of it.
        written: the same after the gate and the smoothing, which the curves show.
        doubts: (T,) of each frame.
        out: the folder of the results, for the command that goes on from here.
        smooth: how it was smoothed.
        threshold: score below which a keypoint is not sure.
    """
    tracks = sorted(seen.tracks, key=lambda track: -len(track.places))
    rows = [row for track in tracks for row in facts_of(seen, track, threshold)]
    weights = np.concatenate([[len(track.places)] * len(seen.names) for track in tracks] or [[]])
    unsure = float(np.average([row["unsure"] for row in rows], weights=weights)) if rows else 1.0
    jumps = sum(row["jumps"] for row in rows)
    longest = max((row["gap"] for row in rows), default=0)
    count = len(seen.numbers)
    report = Report(
        seen.video.name,
        f"On {count:,} frames of {seen.video.name}, {100 * unsure:.1f} % of keypoints are not "
        f"sure; {counted(jumps, 'jumps')}.",
        [
            _frames_section(seen, doubts, threshold),
            _next_section(seen, out),
            _curves_section(written, tracks, threshold),
            _table_section(rows, seen.followed),
        ],
        tiles=[
            ("frames", f"{count:,}"),
            *([("animals followed", f"{len(tracks):,}")] if seen.followed else []),
            ("not sure", f"{100 * unsure:.1f} %"),
            ("jumps", f"{jumps:,}"),
            ("longest gap", f"{longest:,} frames"),
        ],
        notes=_notes(seen, smooth),
        words=WORDS,
    )
    return report


def _notes(seen: Movement, smooth: str | None) -> list[str]:
    notes = []
    if smooth:
        notes.append(
            f"The tables and curves are smoothed ({smooth}); jumps, gaps and doubts are those "
            "before it. The radii of the network do not hold for smoothed places, and are left out."
        )
    if seen.times is None:
        notes.append("The file gives no times of its frames that rise; frames are numbered only.")
    if not seen.tracks:
        notes.append("Nothing was found on any frame.")
    return notes


def _frames_section(seen: Movement, doubts: FloatArray, threshold: float) -> Section:
    """The frames that need a look, as images."""
    chosen = worst_frames(doubts, WORST)
    cards: dict[int, Card] = {}
    for at in sorted(chosen):  # in the order of the file, which is the fastest
        tracks = [track for track in seen.tracks if track.start <= at < track.stop]
        drawn = draw_frame(seen, at, tracks, seen.pixels(at), threshold, CARD, crop=True)
        cards[at] = (_caption(seen, at, tracks, threshold), drawn)
    shown = [cards[at] for at in chosen]
    said = (
        "The frames of which the network is least sure, cut to the surroundings of the keypoints. "
        "Below each are the keypoints that are not sure or move far. A hollow mark has a score "
        f"below {threshold:g}."
    )
    alt = "The part of a frame about its keypoints"
    parts = [Paragraph(said), Legend(seen.names, seen.followed), Photographs(shown, alt)]
    return Section("Frames that need a look", parts, console=False)


def _caption(seen: Movement, at: int, tracks: Sequence[Track], threshold: float) -> str:
    """Which frame, and what is not sure on it."""
    when = "" if seen.times is None else f", {seen.seconds(at):.2f} s"
    low: list[str] = []
    for track in tracks:
        row, unsure = at - track.start, track.unsure(threshold, seen.far)
        for k, name in enumerate(seen.names):
            if unsure[row, k]:
                low.append(name)
            elif jumps_of(track.places[max(0, row - 1) : row + 1])[-1, k]:
                low.append(f"{name} moves far")
    more = f": {', '.join(low[:4])}{' …' if len(low) > 4 else ''}" if low else ""
    return f"frame {seen.numbers[at]:,}{when}{more}"


def command(seen: Movement, out: Path) -> str:
    """What puts the frames that need a look into a folder for labelling.

    It is the one that is labelled already where the user names it: frames are added to it.
    """
    words = ["placewise", "frames", str(seen.video), "--out", "my_folder"]
    words += ["--number", "20", "--method", "uncertain", "--predictions", str(out)]
    return shlex.join(words)


def _next_section(seen: Movement, out: Path) -> Section:
    steps = [
        f"Take them out, into the folder that you labelled (here: my_folder): {command(seen, out)}",
        "Correct what the run (here: my_run) suggests on them: placewise label my_folder --run "
        "my_run --order worst",
        "Train again on all of it: placewise train my_folder --out my_run_2",
    ]
    return Section("Correct the worst frames", [Bullets(steps)])


def _curves_section(written: Movement, tracks: Sequence[Track], threshold: float) -> Section:
    """X and y over time."""
    by_identity = {track.identity: track for track in written.tracks}
    figures = [
        _figure(written, by_identity[track.identity], track, threshold)
        for track in tracks[:FOLLOWED]
    ]
    return Section("Over time", figures, console=False)


def _figure(movement: Movement, track: Track, seen: Track, threshold: float) -> Figure:
    """Those keypoints of a track that are least often sure."""
    unsure = seen.unsure(threshold, movement.far) | ~track.there
    chosen = np.sort(np.argsort(-unsure.mean(0), kind="stable")[:SHOWN])
    span = slice(track.start, track.stop)
    frames = np.array(movement.numbers[span], np.float64)
    times = frames if movement.times is None else movement.times[span]
    label = "frame" if movement.times is None else "s"
    names = [movement.names[k] for k in chosen]
    places, jumps = track.places[:, chosen], jumps_of(seen.places)[:, chosen]

    def draw(theme: Theme) -> bytes:
        return movement_curves(times, names, places, unsure[:, chosen], jumps, label, theme)

    who = "" if track.identity is None else f"Animal {track.identity}. "
    some = "" if len(names) == len(movement.names) else " The keypoints that are least often sure."
    caption = f"{who}x and y of each keypoint; grey where it is not sure, a triangle "
    caption += f"where it jumps.{some}"
    return Figure(draw, caption, f"{who}x and y of {', '.join(names)} over time")


def _table_section(rows: Sequence[Mapping[str, Any]], followed: bool) -> Section:
    head = ["keypoint", "not sure", "jumps", "longest gap", "from frame", "99 % of steps below"]
    cells = []
    for row in rows:
        p99 = "" if row["p99"] is None else f"{row['p99']:.1f} px"
        where = f"{row['gap_at']:,}" if row["gap"] else ""
        line = [row["keypoint"], f"{100 * row['unsure']:.1f} %", f"{row['jumps']:,}"]
        line += [f"{row['gap']:,} frames", where, p99]
        cells.append([f"animal {row['track']}", *line] if followed else line)
    head = ["animal", *head] if followed else head
    table = Table(head, cells, numbers=range(2 if followed else 1, len(head)))
    return Section("Keypoints", [table])
