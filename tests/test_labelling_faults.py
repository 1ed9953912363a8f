"""What goes wrong while somebody labels: files that vanish, are replaced, or cannot be named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import draw_squares
from placewise.errors import ImageError, SettingsError
from placewise.formats import read_dataset
from placewise.frames import VideoWriter
from placewise.labelling.api import Api
from placewise.labelling.objects import Definition, Objects, read_objects
from placewise.labelling.project import HOME, Project, open_project
from placewise.labelling.schedule import Schedule

NAMES = Definition(names=("nose",))


def nose(x: float = 1) -> Objects:
    return read_objects([{"points": {"nose": [3, x, 2]}}])


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of four images without labels."""
    folder = draw_squares(tmp_path / "images", 4)
    (folder / "points.csv").unlink()
    return folder


def written(folder: Path, root: Path | None = None) -> list[str]:
    found = read_dataset(folder / "points.csv", root=root or folder)
    return [sample.image for sample in found.samples]


def answered(project: Project) -> dict:
    return Api(project, Schedule(project.images, "name")).session().content


def test_an_image_that_vanishes_is_named_once_and_stops_no_other(images: Path) -> None:
    with open_project(images, NAMES) as project:
        first, second, *_ = project.images
        for name in (first, second):
            project.session.edit(name, nose(), size=project.size(name))
        project.save()
        content = (images / first).read_bytes()
        (images / first).unlink()
        project.session.edit(project.images[2], nose())
        assert f"{first} is not there" in project.save()
        assert written(images) == [second, project.images[2]]
        assert len(project.dataset()[0].samples) == 2, "a training learns from the others"
        project.session.edit(project.images[3], nose())
        assert project.save() == "" and len(written(images)) == 3
    with open_project(images) as project:
        assert first in project.images and first in project.news()
        state = answered(project)
        assert (state["total"], state["done"]) == (3, 3) and len(state["lost"]) == 1
        with pytest.raises(ImageError, match="is not there any more"):
            project.size(first)
        (images / first).write_bytes(content)
        assert project.save() == "" and len(written(images)) == 4
        assert answered(project)["lost"] == []


def test_a_folder_that_is_away_for_a_while_keeps_its_file_of_labels(images: Path) -> None:
    with open_project(images, NAMES) as project:
        for name in project.images:
            project.session.edit(name, nose())
        project.save()
        before = (images / "points.csv").read_bytes()
        (images / "images").rename(images / "elsewhere")
        assert "4" not in project.output.name and "are kept" in project.save()
        assert (images / "points.csv").read_bytes() == before


@pytest.mark.parametrize("name", ["new\nline.png", "a\\b.png", "con.png"])
def test_an_image_whose_name_no_file_can_hold_is_left_out_and_named(
    images: Path, name: str
) -> None:
    (images / "images" / "000.png").rename(images / name)
    with open_project(images, NAMES) as project:
        assert len(project.images) == 3 and name not in project.images
        project.session.edit(name, nose())  # as a former version could
        project.session.edit(project.images[0], nose())
        assert repr(name)[1:-1].replace("\\\\", "\\") in project.news()
        assert project.save() == "" and written(images) == [project.images[0]]


@pytest.mark.parametrize("name", [" a .png", "a,'\"b.png", "=1+1.png", "#a.png", "é ü.png"])
def test_unusual_names_come_back_as_they_are(images: Path, name: str) -> None:
    (images / "images" / "000.png").rename(images / name)
    with open_project(images, NAMES) as project:
        project.session.edit(name, nose())
        assert project.save() == "" and written(images) == [name]


def test_an_image_of_another_size_waits_for_the_next_edit(images: Path) -> None:
    with open_project(images, NAMES) as project:
        name = project.images[0]
        project.session.edit(name, nose(), size=project.size(name))
        project.session.edit(project.images[1], nose())
    Image.new("L", (30, 20)).save(images / name)
    with open_project(images) as project:
        api = Api(project, Schedule(project.images, "name"))
        id, tag = answered_id(api, name), project.session.tag(name)
        assert f"{name} has another size" in project.save()
        assert written(images) == [project.images[1]]
        sent = {"objects": [{"points": {"nose": [3, 5, 5]}}], "size": [48, 56]}
        refused = api.write(id, sent, tag)
        assert refused.status == 409 and "30 × 20 pixels" in refused.content["error"]
        assert api.write(id, {**sent, "size": [20, 30]}, tag).status == 200
        assert project.save() == "" and len(written(images)) == 2
    with open_project(images) as project:
        assert project.news() == ""


def answered_id(api: Api, name: str) -> str:
    return next(one["id"] for one in api.session().content["images"] if one["name"] == name)


def make_video(path: Path, shade: int) -> None:
    pytest.importorskip("av")
    with VideoWriter(path) as video:
        for number in range(4):
            video.write(np.full((48, 64, 3), shade + 20 * number, np.uint8), number / 10)


def test_labels_of_a_video_that_was_replaced_are_kept_and_not_written(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    make_video(clip, 20)
    old = clip.read_bytes()
    with open_project(clip, NAMES) as project:
        project.session.edit("clip.mp4[1]", nose())
        assert project.save() == "" and written(tmp_path) == ["clip.mp4[1]"]
    make_video(clip, 150)
    with open_project(clip) as project:
        assert "clip.mp4 is another file" in project.save()
        assert answered(project)["total"] == 0
        with pytest.raises(ImageError, match="another name"):
            project.files.check("clip.mp4[0]")
        new = clip.read_bytes()
        clip.write_bytes(old)  # also while the page is open
        assert project.save() == "" and answered(project)["total"] == 4
        clip.write_bytes(new)
    with open_project(clip, accept=True) as project:
        assert project.save() == "" and answered(project)["total"] == 4
    with open_project(clip) as project:
        assert project.news() == "", "what the user has said is remembered"


def test_labels_of_a_folder_that_cannot_be_written_go_elsewhere(
    images: Path, tmp_path: Path
) -> None:
    (images / HOME).write_text("in the way")
    with pytest.raises(SettingsError, match="--out FOLDER"), open_project(images, NAMES):
        pass
    out = tmp_path / "labels"
    for x in (1, 2):
        with open_project(images, NAMES, out=out) as project:
            assert project.session.undoable[0] == x - 1
            project.session.edit(project.images[0], nose(x))
            project.save()
            assert written(out, images) == [project.images[0]]
    assert sorted(file.name for file in images.iterdir()) == [HOME, "images"]
    with pytest.raises(SettingsError, match="other images"):
        other = draw_squares(tmp_path / "other", 1)
        (other / "points.csv").unlink()
        with open_project(other, NAMES, out=out):
            pass


def test_ids_are_the_same_for_the_same_folder_and_token_only(images: Path) -> None:
    with open_project(images, NAMES) as project:

        def ids(secret: str | None) -> str:
            made = Api(project, Schedule(project.images, "name"), secret=secret)
            return json.dumps([one["id"] for one in made.session().content["images"]])

        assert ids("a") == ids("a") != ids("b")
        assert ids(None) != ids(None)
