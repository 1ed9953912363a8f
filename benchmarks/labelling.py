"""How fast the labelling page is, in a real browser with a scripted mouse.

    python benchmarks/labelling.py [--clicks 60] [--data openfield_mouse] [--chromium /usr/bin/chromium]

Makes folders of drawn images, runs `placewise label` on them as a user would, and measures from the
command to the first keypoint, from a click to the drawn keypoint and to the edit that is on the disk
and acknowledged, from a key to the next image, and CPU seconds of all processes of the browser for a
frame; with --data also from 20 labelled images, with the page's own training, to the first suggestions
on others. Run it alone on the machine. Results: benchmarks/results/labelling.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from placewise.formats import read_dataset

RESULTS = Path(__file__).resolve().parent / "results" / "labelling.json"
TOKEN = "b" * 40
NAMES = [f"keypoint {i + 1}" for i in range(17)]

WATCH = """
async () => {
  const { listen, state } = await import("/store.js");
  window.times = { drawn: [], saved: [], next: [] };
  let begun = 0;
  const painted = (call) => requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = call;
    channel.port2.postMessage(0);
  });
  addEventListener("pointerup", () => {
    const start = performance.now();
    begun = start;
    painted(() => window.times.drawn.push(performance.now() - start));
  }, true);
  addEventListener("keydown", () => { begun = performance.now(); }, true);
  listen((what) => {
    if (what === "saved" && !state.pending) window.times.saved.push(performance.now() - begun);
    if (what === "image") painted(() => window.times.next.push(performance.now() - begun));
  });
}
"""

SPIN = """
async (frames) => {
  const { pan, zoom } = await import("/view.js");
  const start = performance.now();
  for (let i = 0; i < frames; i++) {
    await new Promise((next) => requestAnimationFrame(next));
    pan(i % 2 ? 3 : -3, i % 2 ? 2 : -2);
    zoom(i % 20 < 10 ? 1.03 : 1 / 1.03);
  }
  return frames / (performance.now() - start) * 1000;
}
"""


def drawn(folder: Path, count: int, side: int) -> Path:
    """Smooth images with some noise."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        small = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)
        image = Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)
        image.save(folder / f"{number:03d}.jpg", quality=90)
    return folder


@contextmanager
def labelled(folder: Path, *options: str) -> Iterator[tuple[str, float]]:
    """The page of a folder: its address, and when the command was given."""
    begun = time.monotonic()
    words = [sys.executable, "-m", "placewise", "label", str(folder), "--no-browser"]
    server = subprocess.Popen(
        [*words, "--token", TOKEN, *options], stderr=subprocess.PIPE, text=True
    )
    try:
        assert server.stderr
        line = next(line for line in server.stderr if line.startswith("page: "))
        yield line.split()[1], begun
    finally:
        server.terminate()
        server.wait()


def ready(browser: Browser, address: str) -> Page:
    """The page with its first image."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(address)
    page.wait_for_function("() => / of /.test(document.getElementById('place').textContent)")
    return page


def settled(page: Page) -> None:
    page.evaluate(
        """async () => {
          const { state } = await import("/store.js");
          while (state.pending || state.busy) await new Promise((go) => setTimeout(go, 5));
        }"""
    )


def click(page: Page, x: float, y: float) -> None:
    box = page.locator("#canvas").bounding_box()
    assert box
    page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])


def cpu(pid: int) -> float:
    """CPU seconds of a process and of all below it."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(sum(one.cpu_times()[:2]) for one in processes)


def browser_pid() -> int:
    """The browser that was started last by this process."""
    below = psutil.Process().children(recursive=True)
    found = [one for one in below if "chrom" in one.name() and "--type=" not in str(one.cmdline())]
    return found[-1].pid


def summary(times: list[float]) -> dict[str, float]:
    return {"median_ms": round(float(np.median(times)), 1), "n": len(times),
            "p95_ms": round(float(np.percentile(times, 95)), 1)}  # fmt: skip


def latencies(browser: Browser, folder: Path, clicks: int) -> dict[str, object]:
    """Clicks and next images on a folder; and how long the command took."""
    with labelled(folder, "--keypoints", ",".join(NAMES), "--order", "name") as (address, begun):
        page = ready(browser, address)
        click(page, 0.5, 0.5)
        settled(page)
        first = time.monotonic() - begun
        page.evaluate(WATCH)
        rng, images = np.random.default_rng(0), len(list(folder.iterdir())) - 2
        for number in range(clicks):
            click(page, *rng.uniform(0.3, 0.7, 2))
            settled(page)
            if number % 4 == 3 and number // 4 < images - 1:
                page.wait_for_timeout(400)  # a person looks; the page reads ahead
                page.keyboard.press("d")
                page.wait_for_timeout(100)
                settled(page)
        times = page.evaluate("window.times")
        page.close()
    return {
        "command_to_first_keypoint_s": round(first, 1),
        "click_to_drawn": summary(times["drawn"]),
        "click_to_acknowledged": summary(times["saved"]),
        "next_image": summary(times["next"]),
    }


def frames(browser: Browser, folder: Path, count: int) -> dict[str, float]:
    """CPU for a frame with 1,000 keypoints while the image moves and zooms."""
    with labelled(folder, "--keypoints", "cell") as (address, _):
        page = ready(browser, address)
        page.evaluate(
            """async () => {
              const { define, edit } = await import("/store.js");
              await define({ names: ["cell"], objects: "many" }, {});
              const spots = Array.from({ length: 1000 }, (_, i) =>
                ({ points: { cell: [3, 40 + 130 * (i % 31), 40 + 120 * Math.floor(i / 31)] } }));
              edit(() => spots);
            }"""
        )
        settled(page)
        page.evaluate(SPIN, 20)
        before = cpu(browser_pid())
        rate = page.evaluate(SPIN, count)
        used = cpu(browser_pid()) - before
        page.close()
    return {"cpu_ms_per_frame": round(1000 * used / count, 1), "frames_per_second": round(rate, 1)}


def suggestions(browser: Browser, data: Path, folder: Path) -> dict[str, float]:
    """Seconds from the request to train on 20 labelled images until an image has suggestions."""
    dataset: Any = read_dataset(data)
    learnt = [sample for sample in dataset.samples if sample.split != "test"][:60]
    folder.mkdir()
    rows = ["image,keypoint,x,y"]
    for number, sample in enumerate(learnt):
        name = f"{number:03d}.png"
        Image.fromarray(dataset.image(sample.image)).save(folder / name)
        if number < 20:
            named = zip(dataset.names, sample.points[0], sample.located[0], strict=True)
            rows += [f"{name},{one},{x:.2f},{y:.2f}" for one, (x, y), there in named if there]
    (folder / "points.csv").write_text("\n".join(rows) + "\n")
    with labelled(folder, "--order", "name") as (address, _):
        page = ready(browser, address)
        begun = time.monotonic()
        page.click("#train")
        page.get_by_role("button", name="Start training").click()
        for _ in range(30):
            page.keyboard.press("d")
        page.wait_for_function(
            "() => document.getElementById('keypoints').textContent.includes('suggested')",
            timeout=900_000,
        )
        taken = time.monotonic() - begun
        page.close()
    return {"20_labels_to_suggestions_s": round(taken, 1)}


def keystrokes(points: int, share: float | None = None) -> float:
    """Seconds for an image by the keystroke-level model (Card, Moran and Newell 1980).

    A click is pointing (1.1 s) and pressing (0.2 s), a drag points twice and presses twice, a key
    takes 0.28 s, and looking at an image 1.35 s. With suggestions a share of the keypoints stays.
    """
    if share is None:
        return 1.35 + 1.3 * points + 0.28
    return 1.35 + (1 - share) * points * 2.6 + 0.28


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clicks", type=int, default=60)
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--data", type=Path, help="labelled images to train on from the page")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=given.chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        small, large = (
            drawn(Path(home, f"{s}"), 12 if s > 999 else 30, s) for s in (640, 4096)
        )  # fmt: skip
        content: dict[str, object] = {
            "640": latencies(browser, small, given.clicks),
            "4096": latencies(browser, large, given.clicks // 2),
            "keypoints_1000_on_4096": frames(
                browser, drawn(Path(home, "cells"), 1, 4096), given.frames
            ),
            "keystroke_model_50_images_min": {
                f"{k} keypoints, {round(100 * s)} % of suggestions stay"
                if s is not None
                else f"{k} keypoints": round(50 * keystrokes(k, s) / 60, 1)
                for k in (4, 17)
                for s in (None, 0.7, 0.9)
            },
        }
        if given.data:
            content |= suggestions(browser, given.data, Path(home, "box"))
        browser.close()
    RESULTS.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(content, indent=2))


if __name__ == "__main__":
    main()
