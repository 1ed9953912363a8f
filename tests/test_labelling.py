"""What is labelled: laws of edits and their undoing, what a crash leaves, what is written where."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conftest import draw_squares
from placewise.demo import write_begun
from placewise.errors import CheckpointError, LabelError, SettingsError
from placewise.formats import read_dataset, write_dataset
from placewise.labelling.journal import Journal, read_lines
from placewise.labelling.objects import (
    Definition,
    Labelled,
    left,
    objects_of,
    read_objects,
    sample_of,
)
from placewise.labelling.order import RANDOM, clusters, diverse, worst
from placewise.labelling.project import HOME, open_project
from placewise.labelling.schedule import Schedule
from placewise.labelling.session import ConflictError, Session
from placewise.labelling.suggesting import unsureness
from placewise.labels import KeypointSample, Visibility
from placewise.task import Suggestion

NAMES = ("nose", "left ear", "right ear", "tail")


def random_objects(
    rng: random.Random, names: tuple[str, ...] = NAMES, count: int = 3
) -> tuple[Labelled, ...]:
    """Objects in which keypoints are visible, hidden, absent or not labelled."""

    def point() -> list[float]:
        return rng.choice([[1], [2, rng.random() * 40, 3.5], [3, 7.25, rng.random() * 40]])

    made = [
        {"points": {name: point() for name in names if rng.random() < 0.6}} for _ in range(count)
    ]
    return read_objects(made[: rng.randint(0, count)])


def state_of(session: Session) -> str:
    definition, labelled, _ = session.snapshot()
    held = {name: [one.model_dump(mode="json") for one in objects] for name, objects in labelled}
    told = definition.model_dump(mode="json") if definition else None
    return json.dumps([told, held], sort_keys=True)


def change(session: Session, rng: random.Random, images: list[str]) -> None:
    """One change at random: mostly of an image, at times of the keypoints."""
    if rng.random() < 0.02 and session.definition:
        names = list(session.definition.names)
        old = rng.choice(names)
        new = f"{old}'" if len(old) < 20 else old[:5] + str(rng.randint(0, 10**9))
        renamed = [new if name == old else name for name in names]
        if len(set(renamed)) == len(renamed):
            session.define(Definition(names=renamed), {old: new})
        return
    names = session.definition.names if session.definition else ()
    session.edit(rng.choice(images), random_objects(rng, names))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of eight images without labels."""
    folder = draw_squares(tmp_path / "images", 8)
    (folder / "points.csv").unlink()
    return folder


def digests(folder: Path) -> dict[str, str]:
    files = (f for f in folder.rglob("*") if f.is_file() and HOME not in f.parts)
    return {
        f.relative_to(folder).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest() for f in files
    }


# --- laws of edits -------------------------------------------------------------------------------


def test_undo_of_a_thousand_changes_gives_the_same_bytes(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of the file beside the images, and also after the journal was opened again."""
    monkeypatch.setattr(os, "fsync", lambda file: None)  # what is on the disk is tested below
    rng = random.Random(0)
    with open_project(images, Definition(names=NAMES)) as project:
        session = project.session
        change(session, rng, project.images)
        session.edit(project.images[0], read_objects([{"points": {"nose": [3, 1, 2]}}]))
        project.save()
        before, bytes_before = state_of(session), (images / "points.csv").read_bytes()
        base, _ = session.undoable
        for _ in range(1000):
            change(session, rng, project.images)
        project.save()
        after, bytes_after = state_of(session), (images / "points.csv").read_bytes()
        assert after != before and bytes_after != bytes_before
        while session.undoable[0] > base:
            session.undo()
        project.save()
        assert state_of(session) == before
        assert (images / "points.csv").read_bytes() == bytes_before
        while session.undoable[1]:
            session.redo()
        assert state_of(session) == after
    with open_project(images) as again:
        assert state_of(again.session) == after
        while again.session.undoable[0] > base:
            again.session.undo()
        assert state_of(again.session) == before


def test_a_new_edit_forgets_what_was_undone(tmp_path: Path) -> None:
    with Journal(tmp_path / "a") as journal:
        session = Session(journal, Definition(names=NAMES))
        one, two = (read_objects([{"points": {"nose": [3, x, 2]}}]) for x in (1, 2))
        session.edit("a", one)
        assert session.undo() == "a" and session.objects("a") == ()
        session.edit("a", two)
        assert session.redo() is None and session.objects("a") == two
    with Journal(tmp_path / "a") as journal:
        assert Session(journal, Definition(names=NAMES)).objects("a") == two


def test_an_edit_that_changes_nothing_is_none(tmp_path: Path) -> None:
    with Journal(tmp_path / "a") as journal:
        session = Session(journal, Definition(names=NAMES))
        one = read_objects([{"points": {"nose": [3, 1, 2]}}])
        tags = {session.edit("a", one), session.edit("a", one)}
        assert len(tags) == 1 and session.undoable == (1, 0)


def test_a_renamed_keypoint_keeps_its_labels_and_a_removed_one_comes_back(tmp_path: Path) -> None:
    with Journal(tmp_path / "a") as journal:
        session = Session(journal, Definition(names=("a", "b")))
        session.edit("x", read_objects([{"points": {"a": [3, 1, 2], "b": [1]}}]))
        session.define(Definition(names=("b", "a")), {"a": "b", "b": "a"})
        assert session.objects("x")[0].points == {"b": (3, 1.0, 2.0), "a": (1,)}
        session.define(Definition(names=("b",)))
        assert session.left("x") == 0 and "a" in session.objects("x")[0].points
        session.define(Definition(names=("b", "a")))
        assert session.left("x") == 0
        for _ in range(3):
            session.undo()
        assert session.objects("x")[0].points == {"a": (3, 1.0, 2.0), "b": (1,)}


@pytest.mark.parametrize(
    ("names", "says"),
    [({"c": "a"}, "that are there"), ({"a": "z"}, "that are there"), ({"a": "b", "b": "b"}, "")],
)
def test_names_that_cannot_be_are_refused(tmp_path: Path, names: dict, says: str) -> None:
    with Journal(tmp_path / "a") as journal:
        session = Session(journal, Definition(names=("a", "b")))
        if says:
            with pytest.raises(SettingsError, match=says):
                session.define(Definition(names=("a", "b")), names)
        with pytest.raises(SettingsError, match="no keypoint 'z'"):
            session.edit("x", read_objects([{"points": {"z": [1]}}]))
        assert session.count == 0


def test_two_tabs_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two writers set keypoints of one image, and read again where the other was first."""
    monkeypatch.setattr(os, "fsync", lambda file: None)
    names = tuple(f"{tab}{k}" for tab in "ab" for k in range(50))
    refused = []

    def write(session: Session, tab: str) -> None:
        for k in range(50):
            while True:
                held, tag = session.objects("x"), session.tag("x")
                points = dict(held[0].points) if held else {}
                points[f"{tab}{k}"] = (3, float(k), 1.0)
                try:
                    session.edit("x", (Labelled(points=points),), tag)
                    break
                except ConflictError:
                    refused.append(tab)

    with Journal(tmp_path / "a") as journal:
        session = Session(journal, Definition(names=names))
        tabs = [threading.Thread(target=write, args=(session, tab)) for tab in "ab"]
        for tab in tabs:
            tab.start()
        for tab in tabs:
            tab.join()
        assert set(session.objects("x")[0].points) == set(names)
    with Journal(tmp_path / "a") as journal:
        assert set(Session(journal, Definition(names=names)).objects("x")[0].points) == set(names)


def test_an_edit_of_what_has_changed_is_refused(tmp_path: Path) -> None:
    with Journal(tmp_path / "a") as journal:
        session = Session(journal, Definition(names=NAMES))
        tag = session.tag("x")
        session.edit("x", read_objects([{"points": {"nose": [1]}}]), tag)
        with pytest.raises(ConflictError):
            session.edit("x", read_objects([{"points": {"tail": [1]}}]), tag)
        assert session.objects("x")[0].points == {"nose": (1,)}


# --- what a crash leaves -------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from placewise.labelling.journal import Journal
from placewise.labelling.objects import Definition, read_objects
from placewise.labelling.session import Session

journal = Journal(Path(sys.argv[1]))
session = Session(journal, Definition(names=("nose",)))
print("ready", flush=True)
for i in range(100_000):
    session.edit(f"{i % 7}", read_objects([{"points": {"nose": [3, i, 0]}}]))
    print(i, flush=True)
"""


def killed(path: Path, edits: int) -> int:
    """Edit until the process is killed, some time after so many edits; the last acknowledged."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout and writer.stdout.readline() == "ready\n"
    said = [writer.stdout.readline() for _ in range(edits)]
    writer.kill()
    said += writer.stdout.read().splitlines(keepends=True)
    writer.wait()
    writer.stdout.close()
    return max(int(line) for line in said if line.endswith("\n"))


@pytest.mark.parametrize(
    "kills", [pytest.param(2, id="2"), pytest.param(200, id="200", marks=pytest.mark.slow)]
)
def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path: Path, kills: int) -> None:
    rng = random.Random(0)
    for number in range(kills):
        path = tmp_path / f"{number}.jsonl"
        last = killed(path, rng.randint(1, 40))
        with Journal(path) as journal:
            session = Session(journal, Definition(names=("nose",)))
            assert session.undoable[0] >= last + 1
            held = session.objects(str(last % 7))[0].points["nose"][1]
            assert held in (last, last + 7), "the next one may be on the disk too"


def test_a_line_that_was_cut_short_is_taken_off_and_a_damaged_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with Journal(path) as journal:
        for number in range(5):
            journal.append({"n": number})
    whole = path.read_bytes()
    for cut in range(1, 17):
        path.write_bytes(whole[:-cut])
        with Journal(path) as journal:
            assert journal.lines == [{"n": n} for n in range(4)]
            journal.append({"n": 4})
        assert path.read_bytes() == whole
    middle = bytearray(whole)
    middle[30] ^= 1
    path.write_bytes(middle)
    with pytest.raises(CheckpointError, match=r"line 2 .* is damaged"):
        Journal(path)


def test_two_processes_do_not_share_a_journal(tmp_path: Path) -> None:
    with Journal(tmp_path / "a"), pytest.raises(SettingsError, match="is in use"):
        Journal(tmp_path / "a")


def test_a_full_disk_loses_no_former_edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Journal(tmp_path / "a") as journal:
        session = Session(journal, Definition(names=NAMES))
        session.edit("x", read_objects([{"points": {"nose": [1]}}]))

        def full(file: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(CheckpointError, match="No space left"):
                session.edit("x", ())
        assert session.objects("x") and session.undoable == (1, 0)
        session.edit("y", read_objects([{"points": {"nose": [1]}}]))
    assert len(read_lines(tmp_path / "a")) == 2


# --- where labels go -----------------------------------------------------------------------------


def test_labels_of_a_folder_go_to_points_csv_with_their_skeleton(images: Path) -> None:
    definition = Definition(
        names=NAMES, skeleton=(("nose", "tail"),), symmetry=(("left ear", "right ear"),)
    )
    points = {"nose": [3, 4.25, 5], "left ear": [2, 1, 2], "tail": [1]}
    with open_project(images, definition) as project:
        project.session.edit(project.images[3], read_objects([{"points": points}]))
        assert project.save() == ""
    dataset = read_dataset(images)
    assert dataset.names == NAMES and dataset.skeleton == (("nose", "tail"),)
    assert [sample.image for sample in dataset.samples] == [project.images[3]]
    assert dataset.samples[0].visibility.tolist() == [[3, 2, 0, 1]]
    with open_project(images) as again:  # our own file is no file of the user's
        again.session.edit(again.images[0], read_objects([{"points": {"nose": [1]}}]))
        again.save()
        assert again.output.path == images / "points.csv"
    assert len(read_dataset(images).samples) == 2


@pytest.mark.parametrize(
    ("written", "form"),
    [("points.csv", "long_csv"), ("labels.json", "coco"), ("CollectedData.csv", "deeplabcut")],
)
def test_files_of_the_user_stay_and_labels_are_written_beside_in_their_format(
    squares: Path, tmp_path: Path, written: str, form: str
) -> None:
    folder = shutil.copytree(squares, tmp_path / "folder")
    dataset = read_dataset(folder)
    (folder / "points.csv").unlink()
    write_dataset(replace(dataset, source=None), folder / written, form, lossy=True)
    before, first = digests(folder), read_dataset(folder)
    image = first.samples[0].image
    with open_project(folder) as project:
        held = project.session.objects(image)
        points = {**held[0].points, "light": (3, 1.5, 2.5)}
        project.session.edit(image, (Labelled(points=points),))
        project.save()
        path = project.output.path
    assert path.name == written.replace(".", "-labelled.")
    after = digests(folder)
    assert {name: after[name] for name in before} == before
    found = read_dataset(path)
    assert len(found.samples) == len(first.samples) and found.names == first.names
    assert found.samples[0].points[0, 0].tolist() == [1.5, 2.5]
    np.testing.assert_allclose(found.samples[1].points, first.samples[1].points, atol=1e-9)
    assert [s.split for s in found.samples] == [s.split for s in first.samples]
    with open_project(path) as again:  # the file that was written means the same labels
        assert again.session.undoable == (1, 0)


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("sleap/labels.slp", "labels-labelled.slp"),
        ("label_studio", None),
        ("cvat", None),
        ("labelme", None),
        ("dlc", None),
        ("roboflow_coco", None),
        ("via/via_project.json", "points-labelled.csv"),
        ("matlab/points.mat", "points-labelled.csv"),
    ],
)
def test_labels_of_other_tools_are_labelled_on_and_their_files_stay(
    real_data: Path, tmp_path: Path, given: str, written: str | None
) -> None:
    folder = shutil.copytree(real_data / "formats" / "same_truth", tmp_path / "kit")
    for path in folder.rglob("*"):
        path.chmod(0o755)
    before = digests(folder)
    with open_project(folder / given) as project:
        image, objects = next(iter(project.session.labelled()))
        name = next(iter(objects[0].points))
        points = {**objects[0].points, name: (3, 2.5, 3.25)}
        project.session.edit(image, (Labelled(points=points), *objects[1:]))
        project.save()
        path, root = project.output.path, project.root
    assert path.exists() and (written is None or path.name == written)
    assert {k: v for k, v in digests(folder).items() if k in before} == before
    found = read_dataset(path, root=root)
    (sample,) = [one for one in found.samples if one.image == image]
    place = sample.points[:, found.names.index(name)]
    assert np.isclose(place, [2.5, 3.25], atol=0.01).all(1).any()


def test_a_format_that_cannot_hold_the_labels_gives_way_to_a_table(
    squares: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(squares, tmp_path / "folder")
    dataset = read_dataset(folder)
    (folder / "points.csv").unlink()
    write_dataset(dataset, folder / "CollectedData.csv", "deeplabcut", lossy=True)
    with open_project(folder) as project:
        image = project.images[0]
        project.session.edit(image, read_objects([{"points": {"light": [2, 1, 2]}}]))
        assert "deeplabcut cannot hold" in project.save()
        assert project.output.path.name == "points-labelled.csv"
    found = read_dataset(folder / "points-labelled.csv")
    assert found.samples[0].visibility[0, 0] == Visibility.HIDDEN


def test_a_file_that_another_program_changed_is_left_alone(images: Path) -> None:
    with open_project(images, Definition(names=NAMES)) as project:
        project.session.edit(project.images[0], read_objects([{"points": {"nose": [1]}}]))
        project.save()
        (images / "points.csv").write_text("image,keypoint,x,y\nmine\n", encoding="utf-8")
        project.session.edit(project.images[1], read_objects([{"points": {"nose": [1]}}]))
        assert "changed by another program" in project.save()
        assert (images / "points.csv").read_text("utf-8").endswith("mine\n")
        assert project.output.path.name == "points-2.csv"
    assert len(read_dataset(images / "points-2.csv").samples) == 2


def test_nothing_labelled_leaves_no_file(images: Path) -> None:
    with open_project(images, Definition(names=NAMES)) as project:
        project.session.edit(project.images[0], read_objects([{"points": {"nose": [1]}}]))
        project.save()
        project.session.undo()
        project.save()
        assert not (images / "points.csv").exists()


def test_several_objects_and_many_of_a_kind_are_read_as_such(images: Path) -> None:
    two = [{"points": {"nose": [3, 1, 2], "tail": [3, 5, 6]}}, {"points": {"nose": [3, 9, 9]}}]
    spots = [{"points": {"cell": [3, x, 2]}} for x in range(5)]
    for names, kind, made, task in (
        (("nose", "tail"), "several", two, "poses"),
        (("cell",), "many", spots, "spots"),
    ):
        with open_project(images, Definition(names=names, objects=kind)) as project:
            project.session.edit(project.images[0], read_objects(made))
            project.save()
        found = read_dataset(images)
        assert found.task == task and len(found.samples[0].points) == len(made)
        shutil.rmtree(images / HOME)
        (images / "points.csv").unlink()


def test_the_demo_begins_with_twenty_labelled_images_and_goes_on(tmp_path: Path) -> None:
    folder = write_begun(tmp_path / "fish", task="poses", images=22)
    with open_project(folder) as project:
        assert len(project.images) == 22 and len(list(project.session.labelled())) == 20
        assert project.session.definition.objects == "several"
    assert write_begun(folder, task="poses", images=22) == folder
    with pytest.raises(SettingsError, match="labels keypoints"):
        write_begun(tmp_path / "threads", task="masks", images=2)


def test_faults_and_folders_without_images_are_told(tmp_path: Path, images: Path) -> None:
    with pytest.raises(SettingsError, match="there is no"), open_project(tmp_path / "nowhere"):
        pass
    (images / "points.csv").write_text("image,keypoint,x,y\nnone.png,nose,1,2\n", encoding="utf-8")
    with pytest.raises(LabelError), open_project(images):
        pass
    with pytest.raises(SettingsError, match="two points are named 'nose'"):
        Definition.of("nose, nose")


def test_objects_and_samples_are_the_same_both_ways() -> None:
    rng = random.Random(1)
    for _ in range(50):
        objects = random_objects(rng)
        sample = sample_of("a.png", (50, 50), objects, NAMES)
        kept = list(objects)
        while kept and not kept[-1].points:
            kept.pop()
        assert objects_of(sample, NAMES) == tuple(kept)


def test_what_is_left_on_an_image() -> None:
    one, cells = Definition(names=NAMES), Definition(names=("cell",), objects="many")
    nose = read_objects([{"points": {"nose": [1]}}])
    assert (left((), one), left(nose, one), left((*nose, *nose), one)) == (4, 3, 6)
    assert (left((), cells), left(read_objects([{"points": {"cell": [1]}}]), cells)) == (1, 0)


# --- the order -----------------------------------------------------------------------------------


def plain_clusters(data: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The nearest centre of each, as plainly as possible."""
    return np.array([np.argmin([((x - c) ** 2).sum() for c in centres]) for x in data])


def test_k_means_finds_groups_and_its_clusters_are_those_of_the_nearest_centre() -> None:
    rng = np.random.default_rng(0)
    middles = rng.normal(0, 30, (6, 8))
    data = np.concatenate([m + rng.normal(0, 1, (10, 8)) for m in middles])
    of, away = clusters(data, 6, seed=1)
    assert all(len(set(of[10 * i : 10 * i + 10])) == 1 for i in range(6)) and len(set(of)) == 6
    centres = np.array([data[of == c].mean(0) for c in range(6)])
    assert (plain_clusters(data, centres) == of).all()
    np.testing.assert_allclose(away, ((data - centres[of]) ** 2).sum(1), rtol=1e-6)


def test_the_first_images_differ_and_each_comes_once() -> None:
    rng = np.random.default_rng(0)
    middles = rng.normal(0, 50, (20, 16))
    data = np.concatenate([m + rng.normal(0, 0.5, (12, 16)) for m in middles])
    order = diverse(data, seed=0)
    assert sorted(order) == list(range(len(data)))
    assert len({i // 12 for i in order[:20]}) >= 18, "twenty groups, an image of nearly each"


def test_the_worst_come_first_but_not_from_one_cluster_and_every_fifth_at_random() -> None:
    unsure = {i: 1 - i / 100 for i in range(100)}
    of = [0] * 50 + [1] * 50
    order = worst(unsure, of, [], seed=0)
    assert sorted(order) == list(range(100))
    assert order[:2] == [0, 50], "the worst of each cluster"
    fixed = [i for n, i in enumerate(order[:40]) if n % RANDOM != RANDOM - 1]
    assert max(i % 50 for i in fixed) < 30 and order != worst(unsure, of, [], seed=1)
    assert worst({1: 0.5, 2: 0.4}, [0, 0, 1], labelled=[0])[0] == 2, "the cluster with less labels"


def test_the_order_by_name_and_at_random() -> None:
    names = [f"{i}.png" for i in range(30)]
    by_name, drawn = (Schedule(names, order, seed=3) for order in ("name", "random"))
    assert by_name.names(["5.png"], {"7.png": 1.0}) == names
    order = drawn.names(["5.png"], {"7.png": 1.0})
    assert order[0] == "5.png" and sorted(order) == sorted(names) and order[1:] != names[1:]
    assert drawn.names(["5.png"], {}) == Schedule(names, "random", seed=3).names(["5.png"], {})


def test_what_a_run_is_not_sure_of() -> None:
    def of(score: float, radius: float) -> float:
        sample = KeypointSample(
            "",
            (30, 40),
            np.ones((1, 1, 2)),
            np.full((1, 1), 3, np.int8),
            scores=np.array([[score]]),
        )
        return unsureness(Suggestion(sample, np.array([[radius]])))

    assert of(1.0, 0.0) == 0 and of(1.0, 2.5) == pytest.approx(0.5) and of(1.0, 50.0) == 1
    assert of(0.5, 0.0) == 1 and of(0.0, 50.0) == 0 and of(0.9, 0.0) == pytest.approx(0.2)
