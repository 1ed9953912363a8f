"""Verbs of the second flow: from any network to findings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from placewise.cli._words import Pairs, complain, teller

if TYPE_CHECKING:
    from torch import Tensor, nn

    from placewise.auditing import Audit, Condition
    from placewise.target import Target


def audit(
    target: Positional[str],
    /,
    size: str | None = None,
    in_channels: int | None = None,
    axes: int | None = None,
    input: str | None = None,
    data: Path | None = None,
    normalise: Literal["auto", "imagenet", "none"] = "auto",
    out: Path | None = None,
    fail_if: Pairs = (),
    against: Path | None = None,
    sizes: str | None = None,
    per_channel: bool = False,
    measure: bool = True,
    seed: int = 0,
    device: str = "auto",
    quiet: bool = False,
) -> None:
    """Find the blind places of any network: paths, borders, shifts, stride-aligned sizes.

    Like this:

      placewise audit torchvision:resnet18 --out findings
      placewise audit my_net.py:build --size 240x320 --data my_images
      placewise audit timm:resnet50 --no-measure --fail-if "max_over_corner>150" "even==false"
      placewise audit my_net.py:build --fail-if "max_over_corner>1.05*baseline" --against old.json
      placewise audit my_tagger.py:build --axes 1 --size 16000 --in-channels 1 --no-measure
      placewise audit my_net.py:build --input my_net.py:example --no-measure

    Exit codes: 0 if all was audited; 1 if a condition of --fail-if holds; 2 if the network cannot
    be audited or an option is wrong; 3 if it was audited partly: something could not be measured,
    or nothing could be counted. Numbers for conditions are
    max_over_corner, max_over_edge, corner_ratio, gini, unseen_pixels, even, uneven_layers,
    receptive_field, window_field, stride, padding_share, padding_only_places, unknown; and,
    measured, effective_field, sensitivity_ratio, consistency, phase_share, position. See
    docs/audit.md.

    Args:
        target: torchvision:NAME, timm:NAME, module:callable, file.py:callable, a program.pt2 that
            torch.export.save wrote, or the folder of a run.
        size: sides of the image, e.g. 224, 240x320 (height x width) or 32x64x64; by default
            that of --input, the network's own size, or else 224 (64 for a volume).
        in_channels: channels of the image; by default those of the first convolution.
        axes: of space: 1 for signals, 2 for images, 3 for volumes; by default those of --input or
            of the first convolution.
        input: an example of what the network takes, if that is not one batch of images: a tensor,
            a tuple or a dictionary of inputs, or a function that returns one, as module:name or
            file.py:name. The first tensor that is an image of --size is the image; other inputs
            are constants.
        data: image or folder of images to measure with, read at twice the size; by default noise.
        normalise: auto normalises images for networks of torchvision and timm, and keeps 0..1 for
            others.
        out: folder for audit.json, figures and report.html; by default nothing is written.
        fail_if: conditions, e.g. "max_over_corner>150"; a name, one of > >= < <= == != and a
            number, true or false, or FACTOR*baseline for the number of --against.
        against: audit.json of an earlier audit, or its folder: both are shown side by side.
        sizes: range of sides to check for stride alignment, e.g. 192:256; by default those near
            --size.
        per_channel: count the channels of a layer apart; by default they count as one.
        measure: run the network on images; --no-measure takes only seconds.
        seed: for all random draws.
        device: auto (cuda, mps or cpu, whichever is there), or cpu, cuda, cuda:1, mps.
        quiet: print only conditions that hold.
    """
    from placewise.auditing import RESULT, Baseline, Condition
    from placewise.auditing import audit as run_audit
    from placewise.files import claim_folder
    from placewise.progress import Display
    from placewise.target import find_target, parse_size, parse_sizes

    conditions = [Condition.parse(text) for text in fail_if]
    earlier = None if against is None else Baseline.read(against)
    say = teller(quiet)
    if out is not None:
        claim_folder(out, RESULT)
    sides = parse_size(size)
    network = find_target(
        target, size=sides, in_channels=in_channels, axes=axes, example=input, notice=say
    )
    network = network.normalised(normalise).on(device)
    images, notes = _images(network, data, quiet) if measure else (None, [])
    with Display("runs of the network", quiet) as progress:
        found = run_audit(
            network.model,
            network.shape,
            example=network.example,
            per_channel=per_channel,
            images=images,
            measure=measure,
            sizes=parse_sizes(sizes),
            seed=seed,
            name=network.name,
            notes=notes,
            against=earlier,
            out=out,
            say=say,
            progress=progress,
        )
    if out is not None:
        say(f"\nreport: {out / 'report.html'}")
    _judge(found, conditions)


def _judge(found: Audit, conditions: Sequence[Condition]) -> None:
    """End with 1 if a condition holds, and with 3 if the audit is not complete."""
    from placewise.report.spoken import said
    from placewise.wording import PIXELS_OF

    scalars, was = found.scalars(), None if found.against is None else found.against.scalars
    broken = [one for one in conditions if one.holds(scalars, was)]
    if broken:
        complain("\n".join(f"{one.said(scalars, was)}: --fail-if {one}" for one in broken))
        raise SystemExit(1)
    if found.missing:
        missing = said(list(found.missing), PIXELS_OF[len(found.shape) - 1])
        complain("\n".join(["audited partly (exit code 3):", *missing]))
        raise SystemExit(3)


def _images(network: Target, data: Path | None, quiet: bool) -> tuple[Tensor | None, list[str]]:
    """Images to measure with, and what the reader has to know about the measurement."""
    from placewise.auditing import ROOM
    from placewise.auditing.memory import LIMIT, bytes_to_measure
    from placewise.progress import Display
    from placewise.target import MOST, read_images

    notes = [network.note] if network.note else []
    if data is None or bytes_to_measure(network.shape, MOST, ROOM) > LIMIT:
        return None, notes
    wide = (network.shape[0], *(ROOM * side for side in network.shape[1:]))
    with Display("images", quiet) as progress:
        images = read_images(data, wide, network.mean, network.std, progress=progress)
    return images, [*notes, f"Measured on images of {data}, {network.said}."]


def mend(
    target: Positional[str],
    /,
    padding: str | None = None,
    blur: bool = False,
    align: bool = False,
    recommend: Pairs = (),
    size: str | None = None,
    in_channels: int | None = None,
    data: Path | None = None,
    axes: int | None = None,
    input: str | None = None,
    out: Path | None = None,
    quiet: bool = False,
) -> None:
    """Make a copy of a network that treats the border better, and audit both.

    Like this:

      placewise mend torchvision:resnet18 --padding symmetric --blur
      placewise mend my_net.py:build --align --out mended
      placewise mend my_net.py:build --recommend "max_over_corner<2" "corner_ratio<=1.1"

    The output of the copy is compared with that of the network, and is another one: train the copy
    further. With --recommend the exit code is 1 if no remedy meets the conditions. See
    docs/mend.md.

    Args:
        target: torchvision:NAME, timm:NAME, module:callable, file.py:callable, or the folder of
            a run.
        padding: rule for all padded layers: symmetric, circular, replicate, reflect, partial, …
        blur: blur before each stride.
        align: use the nearest stride-aligned size; no layer is changed.
        recommend: conditions that must hold; of the remedies that meet them, the one that
            changes the output least is chosen.
        size: sides of the image, e.g. 224 or 240x320 (height x width).
        in_channels: channels of the image; by default those of the first convolution.
        data: image or folder of images on which outputs are compared; by default noise.
        axes: of space: 1 for signals, 2 for images, 3 for volumes; by default those of --input or
            of the first convolution.
        input: an example of what the network takes, if that is not one batch of images; as for
            audit.
        out: folder for mend.json, the copy as a program (mended.pt2) and its weights
            (mended.safetensors); by default nothing is written.
        quiet: print nothing.
    """
    from placewise import remedies
    from placewise.errors import SettingsError
    from placewise.files import claim_folder
    from placewise.target import find_target, parse_size

    if bool(recommend) == bool(padding or blur or align):
        raise SettingsError(
            "choose a remedy with --padding RULE, --blur or --align, or let --recommend choose "
            'one by conditions, e.g. --recommend "max_over_corner<2"; not both'
        )
    say = teller(quiet)
    if out is not None:
        claim_folder(out, remedies.RESULT)
    sides = parse_size(size)
    network = find_target(
        target, size=sides, in_channels=in_channels, axes=axes, example=input, notice=say
    )
    model, shape, name, example = _layered(network), network.shape, network.name, network.example
    images = None if data is None else _pictures(network, data, quiet)
    if recommend:
        found = remedies.recommend(
            model, shape, recommend, example=example, name=name, images=images
        )
        say(f"{found.table()}\n")
        made = found.best
    else:
        made = remedies.mend(
            model,
            shape,
            example=example,
            padding=padding,
            blur=blur,
            align=align,
            name=name,
            images=images,
        )
    if made is None:
        raise SystemExit(1)
    say(made.table())
    if out is not None:
        path = made.save(out)
        say(f"\nmended: {path}\n\n{remedies.loading_said(path)}")


def _layered(network: Target) -> nn.Module:
    """The network, whose layers can be replaced; raises SettingsError where it is a program."""
    from torch import nn

    from placewise.errors import SettingsError

    if not isinstance(network.model, nn.Module):
        raise SettingsError(
            f"{network.name} is an exported program, whose layers cannot be replaced; give the "
            "network itself, e.g. as file.py:function"
        )
    return network.model


def _pictures(network: Target, data: Path, quiet: bool) -> Tensor:
    """Images as the network is used to them."""
    from placewise.progress import Display
    from placewise.target import read_images

    network = network.normalised("auto")
    with Display("images", quiet) as progress:
        return read_images(data, network.shape, network.mean, network.std, progress=progress)
