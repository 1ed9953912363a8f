"""Frames of videos: each is the one that decoding from the beginning gives."""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from placewise.errors import ImageError, SettingsError
from placewise.formats import read_dataset
from placewise.frames import frame_named, frames_of, video
from placewise.frames.video import Video, index_of
from placewise.labels import Files
from videos import LINKED, av, kinds, number_of, shortened, write

COUNT = 60
KINDS = (
    "b_frames.mp4 open_gop.mp4 all_intra.mp4 uneven.mp4 uneven.mkv edit_list.mp4 mpeg4.avi "
    "h264.avi stream.ts fragmented.mp4 cut_off.mp4 turned.mp4 refreshed.mp4 vp9.webm"
).split()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Path, int]]]:
    folder = tmp_path_factory.mktemp("videos")
    files = {name: (path, first) for name, path, first in kinds(folder, COUNT)}
    before = sorted(path.name for path in folder.iterdir())
    yield files
    assert sorted(path.name for path in folder.iterdir()) == before  # nothing lies beside them


def decoded(path: Path) -> list[np.ndarray]:
    """The slow twin: all frames from the beginning, up to the first fault."""
    frames = []
    with av.open(str(path)) as container:
        try:
            for frame in container.decode(video=0):
                frames.append(np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90))
        except av.error.InvalidDataError:
            pass
    return frames


def test_all_kinds_are_tried(made: dict[str, tuple[Path, int]]) -> None:
    assert set(made) == {*KINDS, "no_moov.mp4"}


@pytest.mark.parametrize("name", KINDS)
def test_a_frame_is_the_one_that_carries_its_number(
    name: str, made: dict[str, tuple[Path, int]]
) -> None:
    path, first = made[name]
    twin, reader = decoded(path), Video()
    assert reader.count(path) == len(twin) >= COUNT / 3
    order = np.random.default_rng(0).permutation(len(twin))[:40]
    for number in [*order.tolist(), *range(10), 9, 0, len(twin) - 1]:
        pixels = reader.read(path, number)
        assert reader.size(path, number) == pixels.shape[:2]
        upright = np.rot90(pixels) if name == "turned.mp4" else pixels
        assert number_of(upright) == number + first
        assert np.array_equal(pixels, twin[number])


def test_frames_lie_where_the_file_says(made: dict[str, tuple[Path, int]]) -> None:
    assert index_of(made["edit_list.mp4"][0]).times is not None
    assert len(index_of(made["edit_list.mp4"][0])) == COUNT - 23
    assert Video().read(made["turned.mp4"][0], 0).shape == (96, 48, 3)
    assert Video().times(made["b_frames.mp4"][0])[30] == pytest.approx(1)
    steps = np.diff(Video().times(made["uneven.mkv"][0]))
    assert steps.min() < 0.03 and steps.max() > 0.05


def test_a_key_frame_is_one_that_the_decoder_calls_so(made: dict[str, tuple[Path, int]]) -> None:
    path, _ = made["refreshed.mp4"]
    with av.open(str(path)) as container:
        assert sum(packet.is_keyframe for packet in container.demux(video=0)) > 1
    assert index_of(path).keys.tolist() == [0]
    assert len(index_of(made["open_gop.mp4"][0]).keys) == 3


def test_a_fault_is_told_with_the_number_of_frames_before_it(
    made: dict[str, tuple[Path, int]], caplog: pytest.LogCaptureFixture
) -> None:
    video._index.cache_clear()
    with caplog.at_level(logging.WARNING):
        index = index_of(made["cut_off.mp4"][0])
    assert f"{len(index)} frames can be read, and behind them is a fault (Invalid" in caplog.text
    with pytest.raises(ImageError, match=rf"has {len(index)} frames .* count from 0 to"):
        Video().read(made["cut_off.mp4"][0], len(index))


VP9 = {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime"}}
MORE: dict[str, dict[str, Any]] = {
    "plain.mkv": {},
    "linked.mkv": {"options": LINKED},
    "late.mkv": {"times": lambda number: 3000 + 33 * number},
    "early.mkv": {"times": lambda number: 33 * number - 400},
    "late.mp4": {"times": lambda number: 3000 + 33 * number},
    "early.mp4": {"times": lambda number: 33 * number - 400},
    "long_sound.mkv": {"sound": 5.0},
    "long_sound.mp4": {"sound": 5.0},
    "short_sound.mkv": {"sound": 0.5},
    "plain.webm": VP9,
    "plain.flv": {"codec": "flv1", "options": {}},
    "long_sound.flv": {"codec": "flv1", "options": {}, "sound": 5.0},
    "plain.wmv": {"codec": "wmv2", "options": {}},
    "long_sound.wmv": {"codec": "wmv2", "options": {}, "sound": 5.0},
    "held.mkv": {"options": LINKED, "held": 150},
    "held.mp4": {"options": LINKED, "held": 150},
}
"""Whole videos of other kinds than those that are read frame by frame."""


def test_a_whole_video_is_not_called_cut_off(
    made: dict[str, tuple[Path, int]], tmp_path: Path
) -> None:
    whole = [path for name, (path, _) in made.items() if name not in ("cut_off.mp4", "no_moov.mp4")]
    whole += [write(tmp_path / name, COUNT, **more) for name, more in MORE.items()]
    assert len(whole) == len(KINDS) - 1 + len(MORE)
    assert {path.name: index_of(path).fault for path in whole if index_of(path).fault} == {}


@pytest.mark.parametrize("share", [0.4, 0.8])
@pytest.mark.parametrize("name", ["plain.mkv", "late.mkv", "short_sound.mkv", "plain.webm"])
def test_a_video_that_was_cut_off_says_so_where_its_header_knows_better(
    name: str, share: float, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = shortened(tmp_path / name, COUNT, share, **MORE[name])
    with caplog.at_level(logging.WARNING):
        index = index_of(path)
    assert len(index) < COUNT - 4
    says = r" frames can be read, .* \((it should last \d\.\d\d s, and ends at \d\.\d\d s: copy it"
    says += r" again|a damaged frame)\); only these are used"
    assert re.search(f"{name}: {len(index)}{says}", caplog.text)


def test_a_header_of_the_whole_file_alone_is_held_against_sound_and_images(tmp_path: Path) -> None:
    """As of programs that do not say how long each stream is: sound may last longer."""
    path = write(tmp_path / "long_sound.mkv", COUNT, sound=5.0)
    data = path.read_bytes().replace(b"DURATION", b"DURATIQN")
    path.write_bytes(data)
    assert len(index_of(path)) == COUNT and not index_of(path).fault
    cut = path.with_name("cut.mkv")
    cut.write_bytes(data[: len(data) // 3])
    assert re.match(r"it should last 5\.0[0-9] s, and ends at 0\.", index_of(cut).fault)


def test_a_file_without_rising_times_is_read_from_its_beginning(
    made: dict[str, tuple[Path, int]], caplog: pytest.LogCaptureFixture
) -> None:
    video._index.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert index_of(made["h264.avi"][0]).times is None
    assert "do not rise" in caplog.text and "write it anew" in caplog.text


def test_a_video_without_its_table_is_refused_in_one_line(
    made: dict[str, tuple[Path, int]],
) -> None:
    with pytest.raises(ImageError, match=r"no_moov\.mp4: cannot be read as a video") as error:
        Video().count(made["no_moov.mp4"][0])
    assert "\n" not in str(error.value)


def test_threads_read_what_one_reads(made: dict[str, tuple[Path, int]]) -> None:
    path, _ = made["b_frames.mp4"]
    order = [*range(COUNT), *np.random.default_rng(1).permutation(COUNT).tolist()]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda number: Video().read(path, number), order))
    assert [number_of(pixels) for pixels in found] == order


def number_at(asked: tuple[Path, int]) -> int:
    return number_of(Video().read(*asked))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_processes_have_their_own_place_in_the_file(made: dict[str, tuple[Path, int]]) -> None:
    """The place in an open file is one for all forks of a process."""
    path, _ = made["b_frames.mp4"]
    assert number_at((path, 30)) == 30  # the file is open
    order = np.random.default_rng(2).integers(0, COUNT, 40).tolist()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        waiting = pool.map_async(number_at, [(path, number) for number in order], chunksize=1)
        here = [number_at((path, number)) for number in order[::-1]]
        assert waiting.get(timeout=60) == order
    assert here == order[::-1]


def test_reading_in_order_decodes_each_frame_once(
    made: dict[str, tuple[Path, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    cursor = video._Cursor(made["stream.ts"][0], index_of(made["stream.ts"][0]))
    monkeypatch.setattr(cursor, "_restart", lambda: pytest.fail("it began again"))
    for number in (0, 1, 3, 2, 5, 4, 6):
        cursor.frame(number)
    jumped = []
    monkeypatch.setattr(cursor, "_lands_on", lambda key: jumped.append(key) or True)
    cursor.frame(20)
    assert jumped == []  # no key frame is between, so that a jump would cost more


def test_a_jump_that_misses_goes_further_back(
    made: dict[str, tuple[Path, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = made["b_frames.mp4"]
    index = index_of(path)
    last = index.keys[-1]
    cursor, lands, tried = video._Cursor(path, index), video._Cursor._lands_on, []

    def missing(self: video._Cursor, key: int) -> bool:
        tried.append(key)
        return key != last and lands(self, key)

    monkeypatch.setattr(video._Cursor, "_lands_on", missing)
    frame = cursor.frame(COUNT - 1)
    assert number_of(frame.to_ndarray(format="rgb24")) == COUNT - 1
    assert tried == index.keys[:0:-1].tolist()[: len(tried)] and len(tried) == 2


def test_a_frame_is_named_like_an_image(made: dict[str, tuple[Path, int]]) -> None:
    path, _ = made["b_frames.mp4"]
    source, name = Files(path.parent), frame_named(path.name, 17)
    assert number_of(source.read(name)) == 17
    assert source.size(name) == (48, 96)
    assert source.digest(name) != source.digest(frame_named(path.name, 18))


def test_labels_may_be_of_frames(made: dict[str, tuple[Path, int]], tmp_path: Path) -> None:
    folder = made["b_frames.mp4"][0].parent
    (tmp_path / "points.csv").write_text(
        "image,keypoint,x,y\nb_frames.mp4[17],nose,3,4\nb_frames.mp4[5],nose,5,6\n"
    )
    dataset = read_dataset(tmp_path / "points.csv", root=folder)
    assert [number_of(dataset.image(sample.image)) for sample in dataset.samples] == [17, 5]
    assert dataset.samples[0].size == (48, 96)


def test_a_file_that_was_written_anew_is_another_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", 5)
    assert Video().count(path) == 5
    write(path, 12)
    assert Video().count(path) == 12
    assert number_of(Video().read(path, 11)) == 11


@pytest.mark.parametrize(
    "text", ["ffconcat version 1.0\nfile 'a.mkv'\n", "#EXTM3U\n#EXTINF:9,\na.mkv\n", "", "x" * 4000]
)
def test_what_is_no_video_is_refused_and_opens_no_other_file(text: str, tmp_path: Path) -> None:
    write(tmp_path / "a.mkv", 3)
    (tmp_path / "list.mp4").write_text(text)
    with pytest.raises(ImageError, match=r"list\.mp4: cannot be read as a video"):
        Video().count(tmp_path / "list.mp4")


def test_a_name_is_never_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.mkv", 3).rename(tmp_path / "concat:a.mkv")
    assert Video().count(Path("concat:a.mkv")) == 3
    with pytest.raises(ImageError, match="cannot be opened: No such file"):
        Video().count(Path("http:/nowhere.test/a.mkv"))


def test_grey_and_deep_videos_keep_what_they_have(tmp_path: Path) -> None:
    ramp = (np.arange(64 * 64).reshape(64, 64) * 16).astype(np.uint16)
    for name, form, pixels in (
        ("g", "gray", (ramp >> 8).astype(np.uint8)),
        ("d", "gray16le", ramp),
    ):
        with av.open(str(tmp_path / f"{name}.mkv"), "w") as out:
            stream = out.add_stream("ffv1", rate=30)
            stream.width, stream.height, stream.pix_fmt = 64, 64, form
            frame = av.VideoFrame.from_ndarray(pixels, form)
            out.mux(stream.encode(frame))
            out.mux(stream.encode())
        read = Video().read(tmp_path / f"{name}.mkv", 0)
        assert read.dtype == pixels.dtype and np.array_equal(read[..., 0], pixels)
        assert read.shape == (64, 64, 1)


def test_a_real_clip_has_the_frames_that_were_taken_from_it(real_data: Path) -> None:
    clip = real_data / "fly_pair" / "clip.mp4"
    if not clip.is_file():
        pytest.skip(f"there is no {clip}")
    assert Video().count(clip) == 1100
    for number in (1095, 0, 500, 505, 35):
        image = np.asarray(Image.open(clip.parent / "images" / f"frame{number:04d}.png"))
        read = Video().read(clip, number).astype(int)
        assert np.abs(read.mean(-1) - image.reshape(384, 384, -1).mean(-1)).max() <= 2


def test_without_the_library_one_line_names_it(
    made: dict[str, tuple[Path, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(video, "import_module", missing)
    video._index.cache_clear()
    with pytest.raises(SettingsError, match=r'pip install "placewise\[video\]"'):
        Video().count(made["b_frames.mp4"][0])


def test_videos_are_found_by_their_names() -> None:
    assert isinstance(frames_of(Path("a/Clip.MOV")), Video)
    assert frames_of(Path("a.png")) is None
