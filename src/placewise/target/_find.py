"""From the name of a network to the network."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import torch
from torch import nn
from torch.export import ExportedProgram

from placewise.devices import device_of
from placewise.errors import SettingsError, own_line
from placewise.graph import Inputs
from placewise.run import Run
from placewise.target._program import read_program
from placewise.wording import did_you_mean

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of the channels of ImageNet's images in 0..1."""

SIDE = {1: 224, 2: 224, 3: 64}
"""Pixels of a side if the size of images is not known, by the number of axes."""

DEPTH = {1: 1, 2: 3, 3: 1}
"""Channels of a signal, an image and a volume if no layer says otherwise."""

UNTRAINED = (
    "The weights are random: the measurements do not describe a trained network. Give yours as "
    "file.py:function."
)

T = TypeVar("T")


@dataclass(frozen=True)
class Target:
    """A network, and how its images are normalised.

    Attributes:
        name: as the user gave it.
        model: the network.
        shape: (channels, *space) of an image.
        mean: of each channel, to subtract from images; None: images stay in 0..1.
        std: of each channel, to divide images by.
        note: what the reader of an audit has to know; may be empty.
        example: of what the network takes, if it was given; see `placewise.graph.Inputs`.

    Example:
        >>> Target("mine.py:net", nn.Identity(), (3, 224, 224)).mean is None
        True
    """

    name: str
    model: nn.Module | ExportedProgram
    shape: tuple[int, ...]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    note: str = ""
    example: object = None

    @property
    def said(self) -> str:
        """How images are normalised, in words."""
        if self.mean is None or self.std is None:
            return "in 0..1"
        mean, std = (", ".join(f"{value:g}" for value in each) for each in (self.mean, self.std))
        return f"in 0..1, minus {mean}, divided by {std}"

    def normalised(self, how: str) -> Target:
        """The target with images normalised in another way.

        Args:
            how: "auto" keeps what is known for this network, "imagenet" uses mean and standard
                deviation of ImageNet's channels, "none" keeps images in 0..1.

        Raises:
            SettingsError: the network does not take 3 channels.
        """
        if how == "auto":
            return self
        if how == "imagenet" and self.shape[0] != 3:
            raise SettingsError(
                f"ImageNet's images have 3 channels, but this network takes {self.shape[0]}; "
                "choose --normalise none"
            )
        mean, std = IMAGENET if how == "imagenet" else (None, None)
        return replace(self, mean=mean, std=std)

    def on(self, device: str) -> Target:
        """The target on a device.

        Args:
            device: "auto", "cpu", "cuda", "cuda:1" or "mps".

        Raises:
            SettingsError: there is no such device, or the network cannot be moved.
        """
        if not isinstance(self.model, nn.Module):
            if device in ("auto", "cpu"):
                return self
            raise SettingsError(
                "an exported program cannot be moved to another device; choose --device cpu"
            )
        wanted = device_of(device)
        if wanted.type == "cpu":
            return self
        try:
            return replace(self, model=self.model.to(wanted))
        except (RuntimeError, AssertionError, ImportError) as error:
            raise SettingsError(f"the network cannot be moved to '{device}': {error}") from error


def find_target(
    text: str,
    *,
    size: Sequence[int] = (),
    in_channels: int | None = None,
    axes: int | None = None,
    example: str | None = None,
    notice: Callable[[str], None] = print,
) -> Target:
    """Find and build a network that is named on the command line.

    Args:
        text: see `placewise.target`.
        size: sides of the image in pixels; one number holds for all axes. Empty: those of the
            example, the network's own, or else 224 (64 for a volume).
        in_channels: channels of the image; None: those of the example, of the network's first
            convolution, if it has as many axes, or else 3 of an image and 1 of a signal or volume.
        axes: of space; None: those of the example, or of the network's first convolution.
        example: of what the network takes: module:name or file.py:name of a tensor, a tuple or
            dictionary of inputs, or of a function without arguments that returns one.
        notice: called with what the user should know.

    Raises:
        SettingsError: there is no such network, or it is something else.

    Example:
        >>> find_target("torch.nn:Identity", size=(32, 48)).shape
        (3, 32, 48)
    """
    if axes not in (None, 1, 2, 3):
        raise SettingsError(f"--axes is {axes}; give 1 for signals, 2 for images, 3 for volumes")
    found, modules = _named(text, notice)
    if example is None:
        return _shaped(found, tuple(size), in_channels, axes)
    inputs = _example(example, modules)
    shape = Inputs.of(inputs, axes=axes, size=size, in_channels=in_channels).shape
    return replace(found, shape=shape, example=inputs)


def _named(text: str, notice: Callable[[str], None]) -> tuple[Target, dict[str, ModuleType]]:
    """The network of a name, and the user's modules that were imported for it."""
    library, _, name = text.partition(":")
    modules: dict[str, ModuleType] = {}
    if Path(text).is_dir():
        found = _of_run(text, notice)
    elif text.endswith(".pt2"):
        found = _of_program(text)
    elif library in _LIBRARIES and name:
        found = _LIBRARIES[library](name)
    elif name:
        found = _of_callable(text, modules)
    else:
        raise SettingsError(
            f"'{text}' is neither a folder nor a network; give torchvision:NAME, timm:NAME, "
            "module:callable, file.py:callable, a program.pt2, or the folder of a run"
        )
    return found, modules


def parse_size(text: str | None) -> tuple[int, ...]:
    """Sides in pixels, from text.

    Args:
        text: "224", "240x320" (height × width) or "32x64x64" (depth × height × width); None for
            no sides.

    Raises:
        SettingsError: the text is not a size.

    Example:
        >>> parse_size("224"), parse_size("240x320")
        ((224,), (240, 320))
    """
    if text is None:
        return ()
    sides = text.lower().replace("×", "x").split("x")
    if not all(side.isdecimal() and int(side) for side in sides) or len(sides) > 3:
        raise SettingsError(
            f"'{text}' is not a size; give 1 to 3 whole numbers of pixels joined by x, e.g. 224, "
            "240x320 (height x width) or 32x64x64"
        )
    return tuple(int(side) for side in sides)


def parse_sizes(text: str | None) -> range:
    """Sides in pixels from the first to the last; an empty range for None.

    Raises:
        SettingsError: the text is not a range.

    Example:
        >>> parse_sizes("192:256")
        range(192, 257)
    """
    if text is None:
        return range(0)
    first, colon, last = text.partition(":")
    if not (colon and first.isdecimal() and last.isdecimal() and 0 < int(first) <= int(last)):
        raise SettingsError(
            f"'{text}' is not a range of sizes; give FIRST:LAST in pixels, e.g. 192:256"
        )
    return range(int(first), int(last) + 1)


def _shaped(
    found: Target, size: tuple[int, ...], in_channels: int | None, axes: int | None
) -> Target:
    """The target with the size, the channels and the axes that the user chose."""
    own = found.shape or _guessed(found.model)
    axes = axes or (len(size) if len(size) > 1 else len(own) - 1)
    if axes != len(own) - 1:  # the first convolution reads something else than the input
        own = (DEPTH[axes], *(SIDE[axes],) * axes)
    sides = size * axes if len(size) == 1 else size or own[1:]
    if len(sides) != axes:
        raise SettingsError(
            f"--size has {len(sides)} sides, but --axes is {axes}; give one side for each axis, or "
            "one number for all of them"
        )
    return replace(found, shape=(in_channels or own[0], *sides))


def _guessed(model: nn.Module | ExportedProgram) -> tuple[int, ...]:
    """The shape that the first convolution reads; that of images if there is none."""
    for module in model.modules() if isinstance(model, nn.Module) else ():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            axes = len(module.kernel_size)
            return module.in_channels or DEPTH[2], *(SIDE[axes],) * axes
    return DEPTH[2], SIDE[2], SIDE[2]


def _example(text: str, modules: dict[str, ModuleType]) -> object:
    """What a network takes, from the user's own code."""
    where, _, name = text.rpartition(":")
    if not (where and name):
        raise SettingsError(f"--input is '{text}'; {_EXAMPLE}")
    made = _found_in(where, name, modules)
    if callable(made) and not isinstance(made, torch.Tensor):
        made = _called(made, text)
    if not isinstance(made, torch.Tensor | tuple | list | Mapping):
        raise SettingsError(f"'{text}' is a {type(made).__name__}; {_EXAMPLE}")
    return made


def _of_run(text: str, notice: Callable[[str], None]) -> Target:
    run = Run.open(Path(text))
    model = run.model(notice)
    return Target(text, model, (run.facts.model.input.channels, *model.input_size))


def _of_program(text: str) -> Target:
    if not Path(text).is_file():
        raise SettingsError(f"{text}: there is no such file; check the path")
    return Target(text, *read_program(Path(text)))


def _of_torchvision(name: str) -> Target:
    models = _library("torchvision.models", "torchvision")
    _known(name, models.list_models(), "torchvision")
    builder = models.get_model_builder(name)
    # Some networks download weights of their backbone by default.
    weights = [
        w for w in ("weights", "weights_backbone") if w in inspect.signature(builder).parameters
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = builder(**dict.fromkeys(weights))
    return Target(f"torchvision:{name}", model, (), *IMAGENET, note=UNTRAINED)


def _of_timm(name: str) -> Target:
    timm = _library("timm", "timm")
    _known(name.split(".")[0], timm.list_models(), "timm")
    model = timm.create_model(name, pretrained=False)
    facts = getattr(model, "pretrained_cfg", None) or {}
    shape = tuple(facts.get("input_size", ()))
    mean, std = facts.get("mean", IMAGENET[0]), facts.get("std", IMAGENET[1])
    return Target(f"timm:{name}", model, shape, tuple(mean), tuple(std), note=UNTRAINED)


_LIBRARIES = {"torchvision": _of_torchvision, "timm": _of_timm}


def _library(module: str, package: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise SettingsError(
            f"{package} cannot be imported ({error}); install the version that matches your torch "
            f"{torch.__version__}: pip install {package}"
        ) from error


def _known(name: str, names: Sequence[str], package: str) -> None:
    if name not in names:
        raise SettingsError(
            f"{package} has no network named '{name}' among its {len(names)}."
            f"{did_you_mean(name, names, 3)}"
        )


def _of_callable(text: str, modules: dict[str, ModuleType]) -> Target:
    """A network from the user's own code."""
    where, _, name = text.rpartition(":")
    made = _found_in(where, name, modules)
    if not isinstance(made, nn.Module):
        if not callable(made):
            raise SettingsError(f"'{text}' is a {type(made).__name__}; {_NEEDED}")
        made = _called(made, text)
    if not isinstance(made, nn.Module):
        raise SettingsError(f"'{text}' returns a {type(made).__name__}; {_NEEDED}")
    return Target(text, made, ())


_NEEDED = "give a torch.nn.Module, its class, or a function without arguments that returns one"
_EXAMPLE = (
    "give module:name or file.py:name of a tensor, a tuple or dictionary of inputs, or of a "
    "function without arguments that returns one"
)


def _found_in(where: str, name: str, modules: dict[str, ModuleType]) -> Any:
    """What a module of the user calls so; the module is imported once."""
    if where not in modules:
        modules[where] = _own_module(where)
    made: Any = modules[where]
    for part in name.split("."):
        if not hasattr(made, part):
            found = vars(modules[where]).items()
            names = [n for n, value in found if n[0] != "_" and not isinstance(value, ModuleType)]
            raise SettingsError(f"{where} has no '{name}'.{did_you_mean(name, names)}")
        made = getattr(made, part)
    return made


def _called(made: Callable[[], Any], text: str) -> Any:
    """What the user's function or class gives."""
    try:
        inspect.signature(made).bind()
    except TypeError as error:
        raise SettingsError(
            f"'{text}' cannot be called without arguments ({error}); give a function without "
            "arguments that calls it"
        ) from None
    except ValueError:  # its parameters are not known
        pass
    return _trying(made, f"'{text}' fails when it is called")


def _own_module(where: str) -> ModuleType:
    """Import a module from the working folder or the environment, or a file by its path."""
    if not where.endswith(".py"):
        if "" not in sys.path:
            sys.path.insert(0, "")
        return _trying(lambda: importlib.import_module(where), f"{where} cannot be imported")
    path = Path(where)
    if not path.is_file():
        raise SettingsError(f"{where}: there is no such file; check the path")
    name = f"_of_{path.stem}"  # the plain name could hide a module that others import
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SettingsError(f"{where} cannot be imported; give a Python file")
    module, loader = importlib.util.module_from_spec(spec), spec.loader
    sys.path.insert(0, str(path.resolve().parent))  # as `python file.py` does
    sys.modules[name] = module
    _trying(lambda: loader.exec_module(module), f"{where} cannot be imported")
    return module


def _trying(run: Callable[[], T], what: str) -> T:
    """Run the user's code; an error names the last line of it."""
    try:
        return run()
    except Exception as error:
        where = own_line(error)
        at = f" at {where}" if where else ""
        raise SettingsError(
            f"{what} ({type(error).__name__}: {error}{at}); correct it there"
        ) from error
