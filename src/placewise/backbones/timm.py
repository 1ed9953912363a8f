"""Any network of timm as a backbone, with weights from a file if there is one."""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from placewise.auditing.receptive_field import ReceptiveField, receptive_fields
from placewise.backbones import Backbone
from placewise.errors import SettingsError
from placewise.graph import capture
from placewise.wording import did_you_mean


class Timm(Backbone):
    """Features of a network of timm, at one of its levels. Nothing is ever fetched.

    It needs the package `timm` ("pip install placewise[timm]", with the build of torchvision that
    fits your torch). Weights are random unless a file of safetensors is given: one that was saved
    for this very network, as timm publishes them.

    Args:
        in_channels: channels of the image; pretrained filters for three are summed for one.
        model: its name in timm, e.g. "resnet18" or "resnet18.a1_in1k".
        level: which of its maps: 0 is the finest, −1 the coarsest.
        weights: path of a .safetensors file; empty for random weights.

    Example:
        >>> from importlib.util import find_spec
        >>> net = Timm(1, model="resnet18", level=2) if find_spec("timm") else None
        >>> (128, 8) if net is None else (net.out_channels, net.stride)
        (128, 8)
    """

    first_weights = ("weights",)
    local = False

    def __init__(
        self, in_channels: int, *, model: str = "resnet18", level: int = -1, weights: str = ""
    ) -> None:
        super().__init__()
        library = _timm()
        _check_name(library, model)
        given: dict[str, Any] = {"in_chans": in_channels}
        if weights:
            path = _check_file(library, model, weights)
            given |= {"pretrained": True, "pretrained_cfg_overlay": {"file": str(path)}}
            _made(library, model, given)  # the whole classifier: every weight has to fit
        else:
            given["pretrained"] = False
        self.body = _made(library, model, {**given, "features_only": True, "out_indices": (level,)})
        self.in_channels = in_channels
        self.out_channels = int(self.body.feature_info.channels()[-1])
        self.stride = self.multiple = int(self.body.feature_info.reduction()[-1])
        self._check_any_size(model)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, out_channels, *size) features; see `Backbone.forward`."""
        self.check(images)
        features: Tensor = self.body(images)[-1]
        if str(getattr(self.body, "output_fmt", "NCHW")).endswith("NHWC"):
            features = features.movedim(-1, 1)
        return features

    def _check_any_size(self, model: str) -> None:
        """Refuse a network that is tied to images of one size, as most transformers are."""
        if any(parameter.is_meta for parameter in self.body.parameters()):
            return  # it has shapes only
        shown = torch.zeros(1, self.in_channels, 2 * self.multiple, 3 * self.multiple)
        try:
            with torch.no_grad():
                got = tuple(self.eval()(shown).shape)
        except Exception as error:
            raise SettingsError(
                f"'{model}' does not take images of any size ({error}), which a backbone has to; "
                "choose a convolutional network, e.g. resnet18 or convnext_atto"
            ) from error
        self.train()
        if got != (1, self.out_channels, 2, 3):
            raise SettingsError(
                f"'{model}' gives {got} where its maps should be {(1, self.out_channels, 2, 3)}; "
                "choose another network or another level"
            )

    @cached_property
    def receptive_field(self) -> int:  # type: ignore[override]
        """Side in image pixels, as the audit finds it."""
        return max(self._field.size)

    @cached_property
    def aligned(self) -> bool:  # type: ignore[override]
        """Whether windows lie about the middle of their cells; see `Backbone`.

        Networks with windows of odd size and stride 2 are half a cell off, those that cut the
        image into patches are not.
        """
        return all(centre == (self.stride - 1) / 2 for centre in self._field.centre)

    @cached_property
    def _field(self) -> ReceptiveField:
        side = 8 * self.multiple
        graph = capture(self, (self.in_channels, side, side))
        return receptive_fields(graph)[graph.outputs[0]]


def _timm() -> ModuleType:
    try:
        return import_module("timm")
    except ImportError as error:
        raise SettingsError(
            f"the backbone 'timm' needs the package timm, which cannot be imported ({error}); "
            "install it: pip install timm, with the build of torchvision that fits your torch "
            f"{torch.__version__}"
        ) from error


def _check_name(library: ModuleType, model: str) -> None:
    names = library.list_models()
    if model.split(".")[0] not in names:
        raise SettingsError(
            f"timm has no network named '{model}' among its {len(names)}; give the name of one as "
            f"the backbone's setting 'model'.{did_you_mean(model, names, 3)}"
        )


def _check_file(library: ModuleType, model: str, weights: str) -> Path:
    """The file, if it is one."""
    path = Path(weights)
    if path.suffix != ".safetensors":
        raise SettingsError(
            f"the weights '{weights}' are no file of safetensors; other files can hold code. "
            f"{_where(library, model)}"
        )
    if not path.is_file():
        raise SettingsError(
            f"there is no file '{weights}' with the weights of {model}, and nothing is fetched by "
            f"itself. {_where(library, model)}"
        )
    return path


def _where(library: ModuleType, model: str) -> str:
    """Where published weights of a network are, in words."""
    facts = library.get_pretrained_cfg(model)
    source = getattr(facts, "hf_hub_id", None)
    if not source:
        return f"timm knows of no published weights for '{model}'; leave 'weights' out"
    name = facts.hf_hub_filename or "model.safetensors"
    return (
        f"Fetch {name} of {source} from the Hugging Face hub on a machine with a network, put it "
        "anywhere on this one, and give its path as the backbone's setting 'weights'"
    )


def _made(library: ModuleType, model: str, settings: dict[str, Any]) -> Any:
    """What timm builds, or an error of ours."""
    try:
        return library.create_model(model, **settings)
    except Exception as error:
        raise SettingsError(
            f"timm cannot build '{model}' with {settings}: {error}. Choose another network, "
            "another level, or the file of weights that was saved for this network"
        ) from error
