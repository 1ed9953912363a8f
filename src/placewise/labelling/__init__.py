"""Labelling: a page in the browser on which keypoints are placed, suggested and corrected.

```
project     images of a folder, their labels, and the file that these go to
presence    which images are there, and whether they are those that were labelled
session     edits with undo; journal: each on the disk before it is acknowledged
objects     the keypoints' definition, and the objects on an image
output      points.csv, or the format in which the labels came
order       which image differs most, of which a run is least sure; schedule: in a thread
suggesting  predictions of a run; background: its training
api         what the page can ask; guard: who may ask; server: how
page/       HTML, CSS and JavaScript, without a framework and without requests to anywhere
```
"""

from __future__ import annotations

import logging
import secrets
import webbrowser
from pathlib import Path

from placewise.errors import SettingsError
from placewise.labelling.api import Api, Keys
from placewise.labelling.objects import Definition
from placewise.labelling.order import Order
from placewise.labelling.project import open_project
from placewise.labelling.schedule import Schedule
from placewise.labelling.server import bound, needed, serve
from placewise.labelling.suggesting import Suggester

__all__ = ["label"]

_LOG = logging.getLogger("placewise")


def label(
    data: Path | str,
    *,
    run: Path | str | None = None,
    keypoints: str | None = None,
    order: Order = "kmeans",
    keys: Keys = "dlc",
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    browser: bool = True,
    seed: int = 0,
    out: Path | str | None = None,
    accept_replaced: bool = False,
) -> None:
    """Show a page on which keypoints are labelled, until Ctrl+C.

    Each edit is on the disk before the page says so. Labels are written to `points.csv` beside the
    images; where there are labels of the user's already, to a new file in their format.

    Args:
        data: a folder of images, a video, or a file of labels.
        run: a trained run, whose predictions are suggested.
        keypoints: names between commas; None: those of the labels or the run, or the page asks.
        order: how images follow each other: those that differ most first (kmeans), those of which
            the run is least sure (worst), name, random.
        keys: whose keys the page uses.
        host: address that is served; another than this computer's own needs a token.
        port: port that is served; 0: a free one.
        token: what requests must carry; None: 256 random bits.
        browser: open the page in the browser.
        seed: of what is drawn for the order.
        out: folder that labels and everything else are written to; None: beside the images.
        accept_replaced: whether labels of a video or an image that was replaced by another file
            hold for that one too.

    Raises:
        SettingsError: there is nothing to label, or a setting cannot be.
        LabelError: what is wrong in the labels that are there.

    Example:
        >>> label("my_images", keypoints="nose,tail")  # doctest: +SKIP
    """
    needed("starlette")
    needed("uvicorn")
    if order == "worst" and run is None:
        raise SettingsError("the order 'worst' needs a run that predicts; name it with --run")
    definition = Definition.of(keypoints) if keypoints else None
    listening = bound(host, port, token)
    secret = token or secrets.token_urlsafe(32)
    opened = open_project(data, definition, out=out, accept=accept_replaced)
    with listening, opened as project:
        suggester = None
        if run is not None:
            suggester = Suggester(run, project.images, project.read, project.size)
            if project.session.definition is None:
                project.session.define(_definition_of(suggester))
        schedule = Schedule(project.images, order, seed)
        api = Api(project, schedule, suggester, keys, secret)

        def ready(address: str) -> None:
            _LOG.info(f"{len(project.images):,} images; labels go to {project.output.path}")
            if out is not None:
                _LOG.info(f"name the images when you use these labels: --root {project.root}")
            _LOG.info(f"page: {address}\nCtrl+C ends it; all that is labelled is kept")
            if browser:
                webbrowser.open(address)

        serve(api, listening, secret, ready)


def _definition_of(suggester: Suggester) -> Definition:
    """The keypoints of a run."""
    settings = suggester.settings
    objects = {"poses": "several", "spots": "many"}.get(settings.task, "one")
    return Definition.model_validate(
        {
            "names": settings.names,
            "skeleton": settings.skeleton,
            "symmetry": settings.symmetry,
            "objects": objects,
        }
    )
