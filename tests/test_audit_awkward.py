"""Audits of networks that are awkward to measure: always findings or one message, never a crash."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import audit_awkward
from audit_awkward import NETS, SHAPE
from placewise.auditing import RESULT, Audit, _drawings, _measured, audit
from placewise.cli import main
from placewise.errors import PlacewiseError
from placewise.report import canvas

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's own, of scripts and of complex numbers

EVERYTHING = (
    "effective_field sensitivity position consistency equivariance border_swap phases places "
    "occlusion"
).split()


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few images and coarse figures: it is only to be seen what is there."""
    for name, count in (("MANY", 4), ("FEW", 2)):
        monkeypatch.setattr(_measured, name, count)
    for name in ("CELLS", "PLACES"):
        monkeypatch.setattr(_measured, name, {1: 3, 2: 2, 3: 2})
    monkeypatch.setattr(canvas, "DPI", 20)


@pytest.fixture
def blank(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty figures: to draw them takes most of the time."""
    file = io.BytesIO()
    Image.new("L", (1, 1)).save(file, "PNG")
    monkeypatch.setattr(_drawings, "_drawn", lambda *_given: lambda _theme: file.getvalue())


def code_of(out: Path, name: str) -> Any:
    """Exit code of the command for a network of the collection."""
    file = Path(audit_awkward.__file__)
    words = ["audit", f"{file}:{name}", "--size", "16", "--in-channels", "3", "--quiet"]
    try:
        main([*words, "--out", str(out)])
    except SystemExit as ended:
        return ended.code
    return 0


SOME = [
    pytest.param(name, marks=pytest.mark.slow if place % 2 else ())
    for place, name in enumerate(NETS)
]
"""Every second one is tried by the long form alone."""


@pytest.mark.parametrize("name", SOME)
def test_an_awkward_network_gives_findings_or_one_message(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], blank: None
) -> None:
    expected = NETS[name]
    code = code_of(tmp_path / "out", name)
    said = capsys.readouterr().err
    assert code == expected.code, said
    if code == 2:
        assert said.startswith("placewise: ") and not (tmp_path / "out" / RESULT).exists()
        return
    found = json.loads((tmp_path / "out" / RESULT).read_text(encoding="utf-8"))
    assert (tmp_path / "out" / "report.html").is_file()
    assert (found["paths"] is not None) == expected.counted
    missing = found["measured"]["missing"]
    assert set(missing) == expected.missing_of(EVERYTHING)
    assert {one for one in EVERYTHING if found["measured"][one] is None} == set(missing)
    assert all(expected.why in why and "\n" not in why for why in missing.values()), missing
    assert ("audited partly" in said) == (code == 3) and said.count("not measured") <= 9


def test_there_are_many_and_every_exit_code_is_met() -> None:
    assert len(NETS) >= 25
    assert {expected.code for expected in NETS.values()} == {0, 2, 3}


class Wrong(Exception):
    """A mistake of our own."""


def test_a_mistake_of_our_own_is_not_taken_for_the_networks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, blank: None
) -> None:
    def broken(*_args: Any, **_settings: Any) -> None:
        raise Wrong

    monkeypatch.setattr(_measured, "occlusion", broken)
    with pytest.raises(Wrong):
        audit(nn.Conv2d(1, 1, 3), (1, 16, 16), out=tmp_path / "out")
    counted = json.loads((tmp_path / "out" / RESULT).read_text(encoding="utf-8"))
    assert counted["paths"] and counted["measured"] is None


class Stopped(nn.Module):
    """Someone presses Ctrl+C while it runs on more than one image."""

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 1:
            raise KeyboardInterrupt
        return x


def test_what_was_counted_is_there_before_anything_is_measured(tmp_path: Path, blank: None) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        audit(Stopped(), (1, 16, 16), out=out)
    first = json.loads((out / RESULT).read_text(encoding="utf-8"))
    assert first["paths"] and first["measured"] is None
    assert (out / "report.html").is_file() and (out / "figures" / "paths.png").is_file()
    whole = audit(nn.Identity(), (1, 16, 16), out=out)
    second = json.loads((out / RESULT).read_text(encoding="utf-8"))
    assert second["measured"] and second["paths"] == first["paths"]
    assert {kept.stem for kept in (out / "figures").iterdir()} == set(whole.drawings)


def test_figures_of_what_was_counted_are_drawn_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    draw = _drawings.maps.path_map
    monkeypatch.setattr(_drawings.maps, "path_map", lambda *given: drawn.append(1) or draw(*given))
    audit(nn.Conv2d(1, 1, 3), (1, 16, 16), out=tmp_path / "out")
    assert len(drawn) == 2, "once for each of the two themes of the page"


def test_a_condition_that_holds_comes_before_an_audit_in_part(tmp_path: Path) -> None:
    file = Path(audit_awkward.__file__)
    words = ["audit", f"{file}:meta", "--size", "16", "--quiet", "--fail-if"]
    for condition, code in (("max_over_corner>1", 1), ("max_over_corner>99", 3)):
        with pytest.raises(SystemExit) as ended:
            main([*words, condition])
        assert ended.value.code == code


def test_errors_of_ours_are_the_only_ones_from_python_too() -> None:
    """The same networks with the function instead of the command."""
    codes = {}
    for name in ("refuses", "meta", "one_size", "plain"):
        try:
            found: Audit | None = audit(NETS[name].build(), SHAPE)
        except PlacewiseError:
            found = None
        codes[name] = 2 if found is None else 3 if found.missing else 0
    assert codes == {name: NETS[name].code for name in codes}


@pytest.mark.parametrize(("build", "side"), [(audit_awkward.lenet, 28), (audit_awkward.lenet, 32)])
def test_strides_are_those_that_were_counted(build: Callable[[int], nn.Module], side: int) -> None:
    """LeNet-5 refuses other sizes and pads nothing: every map moves exactly with the image."""
    found = audit(build(side), (1, side, side)).measured
    assert found is not None and found.equivariance and found.phases
    assert [tuple(map(int, one.stride)) for one in found.equivariance] == [
        (1, 1),
        (2, 2),
        (2, 2),
        (4, 4),
    ]
    assert all(one.overall < 1e-6 for one in found.equivariance)
    assert found.phases.stride == (4, 4)
    assert set(found.missing) == {"border_swap"}


def test_windows_of_a_network_of_one_size_are_not_much_larger_than_it() -> None:
    """As O-Net of MTCNN: three pools that round up, and a fully connected layer at 48 pixels."""
    pool = [nn.MaxPool2d(3, 2, ceil_mode=True), nn.MaxPool2d(3, 2, ceil_mode=True)]
    net = nn.Sequential(
        *[nn.Conv2d(1, 2, 3), pool[0], nn.Conv2d(2, 2, 3), pool[1], nn.Conv2d(2, 2, 3)],
        *[nn.MaxPool2d(2, 2, ceil_mode=True), nn.Conv2d(2, 3, 2), nn.Flatten(), nn.Linear(27, 2)],
    )
    found = audit(net, (1, 48, 48)).measured
    assert found is not None and found.phases and found.equivariance
    assert found.phases.stride == (8, 8)
    assert set(found.missing) == {"border_swap"}
    strides = [int(one.stride[0]) for one in found.equivariance]
    assert strides == [1, 2, 2, 4, 4, 8, 8] and found.equivariance[0].overall < 1e-6


def test_maps_of_fixed_size_do_not_move_and_are_not_cut() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.AdaptiveAvgPool2d(4))
    found = audit(net, (1, 16, 16)).measured
    assert found is not None and found.border_swap
    assert [one.layer for one in found.border_swap] == ["0"]


def test_the_share_of_the_receptive_field_is_of_the_layer_that_was_measured() -> None:
    """The last map here is the image's mean over channels, read by a vector; all was measured."""
    found = audit(audit_awkward.lenet(28), (1, 28, 28))
    assert found.counted is not None and found.measured is not None
    field = found.measured.effective_field
    assert field is not None and field.theoretical == 16 and field.ratio is not None
    assert 0.5 < field.ratio <= 1


def test_shares_are_at_most_one_and_the_control_is_shown(tmp_path: Path, blank: None) -> None:
    found = audit(NETS["plain"].build(), SHAPE, out=tmp_path / "out")
    assert found.measured is not None and found.measured.phases is not None
    phases = found.measured.phases
    assert phases.share.min() >= 0 and (phases.share <= phases.moved).all()
    assert phases.moved.max() <= 1 and not math.isnan(phases.control)
    (row,) = [line for line in found.table().splitlines() if line.startswith("phase ")]
    words = " ".join(found.table().split())
    assert "of the output's variance is made by a shift below a stride" in row + words
    assert "that a whole stride makes" in words
    assert found.to_dict()["measured"]["phases"]["control"] == pytest.approx(phases.control, 1e-4)
    assert "that a whole stride makes" in (tmp_path / "out" / "report.html").read_text("utf-8")


def test_compiled_parts_are_measured_as_they_were_before() -> None:
    net = audit_awkward.plain()
    own = audit(net, SHAPE).to_dict()["measured"]
    whole = torch.compile(net, backend="eager")
    part = nn.Sequential(torch.compile(net, backend="eager"), nn.Identity())
    assert audit(whole, SHAPE).to_dict()["measured"] == own
    assert audit(part, SHAPE).to_dict()["measured"]["places"] == own["places"]
