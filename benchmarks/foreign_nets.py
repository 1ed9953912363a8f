"""Networks of others for `foreign.py`: built from configurations, with random weights, small.

Each family is a function that gives names and functions that build a network and the shape of its
image; networks that want something else than (batch, channels, *space) are wrapped in `Takes`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

Built = tuple[nn.Module, tuple[int, ...]]
Case = tuple[str, Callable[[], Built]]

WIDTH: dict[str, Any] = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
}
IMAGE, SOUND = (3, 64, 64), (1, 4000)


class Takes(nn.Module):
    """A network that takes its image by another name or in another layout.

    Args:
        net: of another library.
        name: of the argument; None for the first.
        layout: from (batch, channels, *space) to what the network takes.
        more: further arguments.
    """

    def __init__(
        self,
        net: nn.Module,
        name: str | None = None,
        layout: Callable[[Tensor], Any] = lambda x: x,
        **more: Any,
    ) -> None:
        super().__init__()
        self.net, self.name, self.layout, self.more = net, name, layout, more

    def forward(self, x: Tensor) -> Any:
        given = self.layout(x)
        if self.name is None:
            return self.net(given, **self.more)
        return self.net(**{self.name: given}, **self.more)


def drop_channel(x: Tensor) -> Tensor:
    """(batch, 1, *space) to (batch, *space)."""
    return x[:, 0]


def channels_last(x: Tensor) -> Tensor:
    """(batch, channels, length) to (batch, length, channels)."""
    return x.transpose(1, 2)


def frames_first(x: Tensor) -> Tensor:
    """(batch, channels, frames, high, wide) to (batch, frames, channels, high, wide)."""
    return x.transpose(1, 2)


# --- transformers ---------------------------------------------------------------------------------

PATCHES = WIDTH | {"image_size": 64, "patch_size": 8}
SWIN = {
    "image_size": 64,
    "patch_size": 2,
    "embed_dim": 16,
    "depths": [1, 1],
    "num_heads": [2, 4],
    "window_size": 4,
    "hidden_size": 32,
}
STAGES = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32]}
DETECTS = {
    "use_timm_backbone": False,
    "use_pretrained_backbone": False,
    "backbone": None,
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "num_queries": 10,
}

VISION: list[tuple[str, str, dict[str, Any]]] = [
    ("vit", "ViTModel", PATCHES),
    ("vit classifier", "ViTForImageClassification", PATCHES),
    ("deit", "DeiTModel", PATCHES),
    ("beit", "BeitModel", PATCHES | {"use_relative_position_bias": True}),
    ("data2vec-vision", "Data2VecVisionModel", PATCHES),
    ("vit-msn", "ViTMSNModel", PATCHES),
    ("ijepa", "IJepaModel", PATCHES),
    ("dinov2", "Dinov2Model", PATCHES),
    ("dinov2 registers", "Dinov2WithRegistersModel", PATCHES),
    ("dinov3-vit", "DINOv3ViTModel", PATCHES),
    ("dinov3-convnext", "DINOv3ConvNextModel", STAGES),
    ("yolos", "YolosForObjectDetection", PATCHES | {"image_size": [64, 64]}),
    ("swin", "SwinModel", SWIN),
    ("swin v2", "Swinv2Model", SWIN),
    (
        "swin2sr",
        "Swin2SRForImageSuperResolution",
        SWIN | {"num_channels": 3, "upscale": 2, "patch_size": 1},
    ),
    ("donut-swin", "DonutSwinModel", SWIN),
    ("hiera", "HieraModel", {"image_size": [64, 64], "embed_dim": 16, "depths": [1, 1, 1, 1]}),
    ("cvt", "CvtModel", {"depth": [1, 2, 3], "embed_dim": [16, 32, 64], "num_heads": [1, 2, 4]}),
    ("levit", "LevitModel", {"image_size": 64, "depths": [1, 1, 1]}),
    ("pvt", "PvtModel", STAGES | {"image_size": 64, "num_attention_heads": [1, 2, 2, 4]}),
    ("pvt v2", "PvtV2Model", STAGES | {"image_size": 64, "num_attention_heads": [1, 2, 2, 4]}),
    ("poolformer", "PoolFormerModel", STAGES),
    ("convnext", "ConvNextModel", STAGES),
    ("convnext v2", "ConvNextV2Model", STAGES),
    ("resnet", "ResNetForImageClassification", STAGES | {"embedding_size": 8}),
    ("regnet", "RegNetModel", STAGES | {"embedding_size": 8, "groups_width": 8}),
    ("bit", "BitModel", STAGES | {"embedding_size": 8, "num_groups": 4}),
    ("hgnet v2", "HGNetV2ForImageClassification", {}),
    ("mobilenet v1", "MobileNetV1Model", {"depth_multiplier": 0.25}),
    ("mobilenet v2", "MobileNetV2Model", {"depth_multiplier": 0.35}),
    ("mobilenet v2 segmenter", "MobileNetV2ForSemanticSegmentation", {"depth_multiplier": 0.35}),
    ("mobilevit", "MobileViTModel", {"image_size": 64}),
    ("mobilevit segmenter", "MobileViTForSemanticSegmentation", {"image_size": 64}),
    ("mobilevit v2", "MobileViTV2Model", {"image_size": 64, "width_multiplier": 0.5}),
    (
        "efficientnet",
        "EfficientNetModel",
        {"width_coefficient": 0.5, "depth_coefficient": 0.5, "hidden_dim": 640},
    ),
    ("swiftformer", "SwiftFormerModel", {"image_size": 64}),
    ("focalnet", "FocalNetModel", {"image_size": 64, "embed_dim": 16, "depths": [1, 1, 1, 1]}),
    ("textnet", "TextNetModel", {"image_size": [64, 64]}),
    (
        "segformer",
        "SegformerForSemanticSegmentation",
        STAGES | {"num_attention_heads": [1, 2, 2, 4]},
    ),
    ("glpn", "GLPNForDepthEstimation", STAGES | {"num_attention_heads": [1, 2, 2, 4]}),
    (
        "dpt",
        "DPTForDepthEstimation",
        PATCHES
        | {
            "num_hidden_layers": 4,
            "backbone_out_indices": [0, 1, 2, 3],
            "neck_hidden_sizes": [8, 16, 32, 32],
        }
        | {"fusion_hidden_size": 16},
    ),
    ("clip", "CLIPVisionModel", PATCHES),
    ("siglip", "SiglipVisionModel", PATCHES),
    ("chinese clip", "ChineseCLIPVisionModel", PATCHES),
    ("altclip", "AltCLIPVisionModel", PATCHES),
    ("blip", "BlipVisionModel", PATCHES),
    ("blip 2", "Blip2VisionModel", PATCHES),
    ("aimv2", "Aimv2VisionModel", PATCHES),
    ("mlcd", "MLCDVisionModel", PATCHES),
    (
        "groupvit",
        "GroupViTVisionModel",
        PATCHES
        | {"depths": [1, 1, 1], "num_group_tokens": [8, 4, 0]}
        | {"num_output_groups": [8, 4, 0]},
    ),
    ("owlvit", "OwlViTVisionModel", PATCHES),
    (
        "sam encoder",
        "SamVisionModel",
        PATCHES
        | {"output_channels": 16, "window_size": 4}
        | {"global_attn_indexes": [1], "mlp_dim": 96},
    ),
    ("vitdet", "VitDetModel", PATCHES | {"window_block_indices": [0], "window_size": 4}),
    (
        "superpoint",
        "SuperPointForKeypointDetection",
        {"encoder_hidden_sizes": [8, 8, 16, 16]}
        | {"decoder_hidden_size": 32, "descriptor_decoder_dim": 32},
    ),
    ("upernet", "UperNetForSemanticSegmentation", {"hidden_size": 32}),
    ("detr", "DetrForObjectDetection", DETECTS),
    ("conditional detr", "ConditionalDetrForObjectDetection", DETECTS),
    ("deformable detr", "DeformableDetrForObjectDetection", DETECTS),
    ("table transformer", "TableTransformerForObjectDetection", DETECTS),
    ("rt-detr", "RTDetrForObjectDetection", {"num_queries": 20, "decoder_layers": 1}),
    ("rt-detr v2", "RTDetrV2ForObjectDetection", {"num_queries": 20, "decoder_layers": 1}),
    ("d-fine", "DFineForObjectDetection", {"num_queries": 20, "decoder_layers": 1}),
    ("mask2former", "Mask2FormerForUniversalSegmentation", {}),
    ("maskformer", "MaskFormerForInstanceSegmentation", {}),
    ("depth anything", "DepthAnythingForDepthEstimation", {}),
    ("zoedepth", "ZoeDepthForDepthEstimation", {}),
    ("vitpose", "VitPoseForPoseEstimation", {}),
    ("vitmatte", "VitMatteForImageMatting", {}),
    ("eomt", "EomtForUniversalSegmentation", PATCHES | {"num_blocks": 1, "num_queries": 10}),
]
"""A name, the class, and its settings; all else is as its configuration has it."""

VIDEO = [
    ("videomae", "VideoMAEModel", PATCHES | {"num_frames": 4, "patch_size": 16}, (3, 4, 64, 64)),
    (
        "vivit",
        "VivitModel",
        PATCHES | {"num_frames": 4, "tubelet_size": [2, 16, 16]},
        (3, 4, 64, 64),
    ),
    (
        "timesformer",
        "TimesformerModel",
        PATCHES | {"num_frames": 4, "patch_size": 16},
        (3, 4, 64, 64),
    ),
]

WAVES = WIDTH | {
    "conv_dim": [16, 16, 16, 16, 16, 16, 16],
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
AUDIO = [
    ("wav2vec2", "Wav2Vec2Model", WAVES, SOUND, drop_channel),
    (
        "wav2vec2 layer norm",
        "Wav2Vec2Model",
        WAVES | {"feat_extract_norm": "layer"},
        SOUND,
        drop_channel,
    ),
    ("wav2vec2 ctc", "Wav2Vec2ForCTC", WAVES, SOUND, drop_channel),
    ("wav2vec2-conformer", "Wav2Vec2ConformerModel", WAVES, SOUND, drop_channel),
    ("hubert", "HubertModel", WAVES, SOUND, drop_channel),
    ("wavlm", "WavLMModel", WAVES, SOUND, drop_channel),
    (
        "sew",
        "SEWModel",
        WIDTH
        | {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
        | {"squeeze_factor": 2},
        SOUND,
        drop_channel,
    ),
    ("unispeech", "UniSpeechModel", WAVES, SOUND, drop_channel),
    ("unispeech-sat", "UniSpeechSatModel", WAVES, SOUND, drop_channel),
    (
        "data2vec-audio",
        "Data2VecAudioModel",
        WAVES | {"num_conv_pos_embeddings": 5} | {"conv_pos_kernel_size": 5},
        SOUND,
        drop_channel,
    ),
    (
        "wav2vec2-bert",
        "Wav2Vec2BertModel",
        WIDTH | {"feature_projection_input_dim": 40},
        (40, 60),
        channels_last,
    ),
    ("ast", "ASTModel", WIDTH | {"max_length": 64, "num_mel_bins": 32}, (1, 64, 32), drop_channel),
    (
        "encodec",
        "EncodecModel",
        {"num_filters": 4, "hidden_size": 16, "codebook_dim": 16},
        SOUND,
        None,
    ),
    ("dac", "DacModel", {"encoder_hidden_size": 8, "decoder_hidden_size": 64}, (1, 4096), None),
    (
        "mimi",
        "MimiModel",
        WIDTH
        | {"num_filters": 4, "hidden_size": 48, "num_key_value_heads": 4}
        | {"head_dim": 12, "codebook_dim": 16, "vector_quantization_hidden_dimension": 16},
        (1, 4800),
        None,
    ),
    (
        "speecht5 hifi-gan",
        "SpeechT5HifiGan",
        {"upsample_initial_channel": 32},
        (80, 12),
        channels_last,
    ),
    (
        "patchtst",
        "PatchTSTModel",
        {"context_length": 64, "num_input_channels": 3, "d_model": 16}
        | {"num_hidden_layers": 1, "patch_length": 8, "patch_stride": 8},
        (3, 64),
        channels_last,
    ),
]


def transformers_cases() -> Iterator[Case]:
    import transformers

    transformers.ViTModel(transformers.ViTConfig(**PATCHES))  # so that no child imports its parts

    def of(kind: str, settings: dict[str, Any]) -> nn.Module:
        found = getattr(transformers, kind)
        backbones = {
            "Detr": "backbone_config",
            "TableTransformer": "backbone_config",
            "UperNet": "backbone_config",
        }
        wants = next((value for name, value in backbones.items() if name in kind), None)
        if wants and "RT" not in kind:
            outs = ["stage1", "stage2", "stage3", "stage4"]
            several = "Deformable" in kind or "UperNet" in kind
            backbone = transformers.ResNetConfig(
                **STAGES, embedding_size=8, out_features=outs if several else outs[-1:]
            )
            settings = settings | {wants: backbone}
            if "UperNet" in kind:
                settings = settings | {"auxiliary_in_channels": 24}
        if kind in BACKBONED:
            settings = settings | BACKBONED[kind](transformers)
        return found(found.config_class(**settings))

    for name, kind, settings in VISION:

        def build(kind: str = kind, settings: dict[str, Any] = settings) -> Built:
            net = of(kind, settings)
            channels = 4 if "VitMatte" in kind else 3
            return Takes(net, net.main_input_name), (channels, *IMAGE[1:])

        yield name, build
    for name, kind, settings, shape in VIDEO:
        yield (
            name,
            lambda k=kind, s=settings, z=shape: (
                Takes(of(k, s), "pixel_values", frames_first),
                z,
            ),
        )
    for name, kind, settings, shape, layout in AUDIO:

        def sound(
            kind: str = kind, settings: Any = settings, shape: Any = shape, layout: Any = layout
        ) -> Built:
            net = of(kind, settings)
            return Takes(net, net.main_input_name, layout or (lambda x: x)), shape

        yield name, sound

    def whisper() -> Built:
        from transformers.models.whisper.modeling_whisper import WhisperEncoder

        sizes = {"d_model": 48, "encoder_layers": 2, "encoder_attention_heads": 4}
        config = transformers.WhisperConfig(**sizes, encoder_ffn_dim=96, max_source_positions=50)
        return Takes(WhisperEncoder(config), "input_features"), (80, 100)

    yield "whisper encoder", whisper

    def clap() -> Built:
        config = transformers.ClapAudioConfig(
            spec_size=64, patch_embeds_hidden_size=16, depths=[1, 1], num_attention_heads=[2, 4],
            window_size=4, num_mel_bins=16, hidden_size=32, projection_dim=16,
            enable_fusion=False,
        )  # fmt: skip
        return Takes(transformers.ClapAudioModel(config), "input_features"), (1, 256, 16)

    yield "clap audio", clap


def _small_swin(t: Any) -> Any:
    outs = ["stage1", "stage2", "stage3", "stage4"]
    return t.SwinConfig(
        image_size=64, embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 4], window_size=2,
        out_features=outs,
    )  # fmt: skip


def _small_dino(t: Any) -> Any:
    return t.Dinov2Config(
        **WIDTH | {"num_hidden_layers": 4}, image_size=70, patch_size=14,
        out_indices=[1, 2, 3, 4], reshape_hidden_states=False, apply_layernorm=True,
    )  # fmt: skip


def _small_beit(t: Any) -> Any:
    return t.BeitConfig(
        **WIDTH | {"num_hidden_layers": 4}, image_size=64, patch_size=16,
        out_indices=[1, 2, 3, 4], reshape_hidden_states=False,
    )  # fmt: skip


NECK = {
    "neck_hidden_sizes": [8, 16, 32, 32],
    "fusion_hidden_size": 16,
    "reassemble_hidden_size": 48,
}
SEGMENTS = {
    "feature_size": 32,
    "mask_feature_size": 32,
    "hidden_dim": 32,
    "encoder_feedforward_dim": 64,
    "dim_feedforward": 64,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "num_attention_heads": 4,
    "num_queries": 10,
}
BACKBONED: dict[str, Callable[[Any], dict[str, Any]]] = {
    "Mask2FormerForUniversalSegmentation": lambda t: SEGMENTS | {"backbone_config": _small_swin(t)},
    "MaskFormerForInstanceSegmentation": lambda t: {
        "fpn_feature_size": 32,
        "mask_feature_size": 32,
        "backbone_config": _small_swin(t),
        "decoder_config": t.DetrConfig(**DETECTS),
    },
    "DepthAnythingForDepthEstimation": lambda t: NECK | {"backbone_config": _small_dino(t), "patch_size": 14},
    "ZoeDepthForDepthEstimation": lambda t: NECK
    | {"backbone_config": _small_beit(t), "bottleneck_features": 16, "num_relative_features": 8},
    "VitPoseForPoseEstimation": lambda t: {
        "backbone_config": t.VitPoseBackboneConfig(
            **WIDTH, image_size=[64, 64], patch_size=[8, 8], out_indices=[2]
        )
    },
    "VitMatteForImageMatting": lambda t: {
        "hidden_size": 48,
        "backbone_config": t.VitDetConfig(
            **WIDTH, image_size=64, patch_size=16, num_channels=4, window_block_indices=[],
            out_features=["stage2"],
        ),
    },
}  # fmt: skip
"""Settings that hold the configuration of another network."""


# --- ultralytics ----------------------------------------------------------------------------------

YOLO = """
yolo11n.yaml yolo11n-seg.yaml yolo11n-pose.yaml yolo11n-obb.yaml yolo11n-cls.yaml yolov8n.yaml
yolov8n-seg.yaml yolov8n-pose.yaml yolov8n-obb.yaml yolov8n-cls.yaml yolov8n-p2.yaml yolov5n.yaml
yolov3-tiny.yaml yolov6n.yaml yolov9t.yaml yolov10n.yaml yolo12n.yaml yolo26n.yaml
""".split()


def ultralytics_cases() -> Iterator[Case]:
    os.environ["YOLO_OFFLINE"] = "true"
    from ultralytics.nn import tasks

    kinds = {
        "-seg": tasks.SegmentationModel,
        "-pose": tasks.PoseModel,
        "-obb": tasks.OBBModel,
        "-cls": tasks.ClassificationModel,
    }
    for name in YOLO:

        def build(name: str = name) -> Built:
            kind = next((k for end, k in kinds.items() if end in name), tasks.DetectionModel)
            return kind(name, verbose=False).eval(), (3, 128, 128)

        yield name.removesuffix(".yaml"), build


# --- MONAI ----------------------------------------------------------------------------------------


def monai_cases() -> Iterator[Case]:
    from monai.networks import nets

    wide = {"channels": (4, 8, 16), "strides": (2, 2)}
    for dims, shape in ((1, (1, 64)), (2, (1, 64, 64)), (3, (1, 32, 32, 32))):
        common = {"spatial_dims": dims, "in_channels": 1, "out_channels": 2}
        yield f"unet {dims}-d", lambda c=common, s=shape: (nets.UNet(**c, **wide), s)
        yield (
            f"residual unet {dims}-d",
            lambda c=common, s=shape: (
                nets.UNet(**c, **wide, num_res_units=1),
                s,
            ),
        )
        yield (
            f"basic unet {dims}-d",
            lambda c=common, s=shape: (
                nets.BasicUNet(**c, features=(4, 4, 8, 8, 8, 4)),
                s,
            ),
        )
        if dims > 1:
            yield (
                f"attention unet {dims}-d",
                lambda c=common, s=shape: (
                    nets.AttentionUnet(**c, **wide),
                    s,
                ),
            )
            yield (
                f"segresnet {dims}-d",
                lambda c=common, s=shape: (
                    nets.SegResNet(**c, init_filters=8),
                    s,
                ),
            )
            yield (
                f"dynunet {dims}-d",
                lambda c=common, s=shape: (
                    nets.DynUNet(
                        **c,
                        kernel_size=[3, 3, 3],
                        strides=[1, 2, 2],
                        upsample_kernel_size=[2, 2],
                        filters=[4, 8, 8],
                    ),
                    s,
                ),
            )
            yield f"vnet {dims}-d", lambda c=common, s=shape: (nets.VNet(**c), s)
        yield (
            f"densenet {dims}-d",
            lambda c=common, s=shape: (
                nets.DenseNet(**c, block_config=(2, 2), init_features=8, growth_rate=4),
                s,
            ),
        )
        yield (
            f"autoencoder {dims}-d",
            lambda c=common, s=shape: (
                nets.AutoEncoder(**c, channels=(4, 8), strides=(2, 2)),
                s,
            ),
        )
    plane = (1, 64, 64)
    yield (
        "unetr",
        lambda: (
            nets.UNETR(1, 2, (32, 32, 32), feature_size=4, hidden_size=48, mlp_dim=96, num_heads=4),
            (1, 32, 32, 32),
        ),
    )
    yield "swin unetr", lambda: (nets.SwinUNETR(1, 2, feature_size=12, spatial_dims=2), plane)
    yield (
        "vit",
        lambda: (
            nets.ViT(1, (64, 64), (8, 8), 48, 96, 2, 4, spatial_dims=2, classification=True),
            plane,
        ),
    )
    yield (
        "vit autoencoder",
        lambda: (
            nets.ViTAutoEnc(1, (64, 64), (16, 16), 1, 8, 48, 96, 2, 4, spatial_dims=2),
            plane,
        ),
    )
    yield "flexible unet", lambda: (
        nets.FlexibleUNet(3, 2, "efficientnet-b0", spatial_dims=2), (3, 64, 64))  # fmt: skip
    yield (
        "efficientnet",
        lambda: (nets.EfficientNetBN("efficientnet-b0", pretrained=False), (3, 64, 64)),
    )
    yield "hovernet", lambda: (nets.HoVerNet(out_classes=3), (3, 256, 256))
    yield "highresnet", lambda: (nets.HighResNet(2, 1, 2), plane)
    yield "resnet 3-d", lambda: (
        nets.ResNet("basic", [1, 1, 1, 1], [4, 8, 8, 8], n_input_channels=1), (1, 32, 32, 32))  # fmt: skip
    yield "vqvae", lambda: (
        nets.VQVAE(2, 1, 1, channels=(8, 8), num_res_layers=1, num_res_channels=(8, 8),
                   num_embeddings=16, embedding_dim=8), plane)  # fmt: skip
    yield "autoencoder kl", lambda: (
        nets.AutoencoderKL(2, 1, 1, (1, 1), channels=(8, 8), attention_levels=(False, False),
                           norm_num_groups=4), plane)  # fmt: skip
    yield "patch discriminator", lambda: (nets.PatchDiscriminator(2, 8, 1, num_layers_d=2), plane)
    yield "daf3d", lambda: (nets.DAF3D(1, 2), (1, 32, 32, 32))
    yield "mednext", lambda: (nets.MedNeXtSmall(2, in_channels=1, out_channels=2), plane)


# --- segmentation_models_pytorch ------------------------------------------------------------------


def smp_cases(side: int = 128) -> Iterator[Case]:
    """Every decoder, on images of this side."""
    import segmentation_models_pytorch as smp

    for name in sorted(smp.MODEL_ARCHITECTURES_MAPPING):
        encoder = "tu-vit_tiny_patch16_224" if name == "dpt" else "resnet18"

        def build(name: str = name, encoder: str = encoder) -> Built:
            size = 224 if name == "dpt" else side
            return smp.create_model(name, encoder, encoder_weights=None), (3, size, size)

        yield name, build


# --- torchaudio -----------------------------------------------------------------------------------


def torchaudio_cases() -> Iterator[Case]:
    import torchaudio
    from torchaudio import models

    def lengths(net: nn.Module, x: Tensor) -> Any:
        return net(x.transpose(1, 2), torch.tensor([x.shape[2]]))

    class Timed(nn.Module):
        """A network that also takes the number of frames."""

        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> Any:
            return lengths(self.net, x)

    yield "conv-tasnet", lambda: (
        models.ConvTasNet(msk_num_stacks=1, msk_num_layers=3, enc_num_feats=16, msk_num_feats=16,
                          msk_num_hidden_feats=16), SOUND)  # fmt: skip
    yield (
        "hdemucs",
        lambda: (
            models.HDemucs(["a", "b"], audio_channels=1, channels=4),
            (1, 16384),
        ),
    )
    yield "wav2letter", lambda: (models.Wav2Letter(num_features=1, input_type="waveform"), SOUND)
    yield "deepspeech", lambda: (
        Takes(models.DeepSpeech(20, n_hidden=16, n_class=5), layout=lambda x: x.transpose(1, 2)[:, None]),
        (20, 30),
    )  # fmt: skip
    yield "wavernn", lambda: (
        Takes(models.WaveRNN(upsample_scales=[2, 2], n_classes=8, hop_length=4, n_rnn=8, n_fc=8,
                             n_res_block=1, n_hidden=8, n_freq=16, n_output=8),
              "specgram", lambda x: x[:, None], waveform=torch.zeros(1, 1, 32)),
        (16, 12),
    )  # fmt: skip
    yield "conformer", lambda: (Timed(models.Conformer(32, 4, 64, 2, 7)), (32, 40))
    yield (
        "emformer",
        lambda: (Timed(models.Emformer(32, 4, 64, 2, 4, right_context_length=2)), (32, 42)),
    )
    yield "wav2vec2", lambda: (
        Takes(models.wav2vec2_model(
            "group_norm", None, False, 32, 0.0, 16, 4, 2, 4, 0.0, 64, 0.0, 0.0, False, 0.0, None),
            layout=drop_channel), SOUND)  # fmt: skip
    yield (
        "squim objective",
        lambda: (Takes(models.squim_objective_base(), layout=drop_channel), (1, 8000)),
    )
    make = torchaudio.transforms
    yield "spectrogram net", lambda: (
        nn.Sequential(
            make.MelSpectrogram(n_fft=256, hop_length=64, n_mels=16), make.AmplitudeToDB(),
            nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, stride=2, padding=1)),
        SOUND)  # fmt: skip
    yield "mfcc net", lambda: (
        nn.Sequential(make.MFCC(n_mfcc=8, melkwargs={"n_fft": 256, "n_mels": 16, "hop_length": 64}),
                      nn.Conv2d(1, 4, 3, padding=1)), SOUND)  # fmt: skip


# --- torchvision ----------------------------------------------------------------------------------

NOT_HERE = ("seg: deeplabv3_resnet101", "seg: fcn_resnet101")
"""Larger members of a kind of which another is here."""


def torchvision_cases() -> Iterator[Case]:
    from torchvision import models, ops

    small = {"fasterrcnn": 96, "fcos": 96, "retinanet": 96, "maskrcnn": 96, "keypointrcnn": 96}
    for name in sorted(models.list_models(module=models.detection)):

        def detector(name: str = name) -> Built:
            sizes = {"min_size": 96, "max_size": 128} if name.split("_")[0] in small else {}
            every = "box_score_thresh" if "rcnn" in name else "score_thresh"
            more = sizes | {every: 0.0}
            net = models.get_model(name, weights=None, weights_backbone=None, **more)
            return net, (3, 96, 128)

        yield f"det: {name}", detector
    for name in sorted(models.list_models(module=models.segmentation)):
        if f"seg: {name}" not in NOT_HERE:
            yield f"seg: {name}", lambda n=name: (
                models.get_model(n, weights=None, weights_backbone=None), (3, 96, 96))  # fmt: skip
    for name in ("mc3_18", "r2plus1d_18", "r3d_18", "s3d", "swin3d_t", "mvit_v2_s"):
        shape = (3, 16, 224, 224) if name in ("mvit_v2_s", "s3d") else (3, 16, 64, 64)
        yield f"video: {name}", lambda n=name, s=shape: (models.get_model(n, weights=None), s)
    yield "flow: raft_small", lambda: (
        Takes(models.get_model("raft_small", weights=None), "image1",
              image2=torch.zeros(1, 3, 128, 128), num_flow_updates=2), (3, 128, 128))  # fmt: skip
    for name in (
        "mobilenet_v2",
        "mobilenet_v3_large",
        "resnet18",
        "shufflenet_v2_x0_5",
        "googlenet",
    ):

        def quantised(name: str = name) -> Built:
            more = {"init_weights": False} if name == "googlenet" else {}
            net = models.get_model(f"quantized_{name}", weights=None, quantize=True, **more)
            return net, (3, 64, 64)

        yield f"quantised: {name}", quantised
    yield "layers: feature pyramid", lambda: (
        _Pyramid(ops.FeaturePyramidNetwork([4, 8], 8)), (3, 64, 64))  # fmt: skip


class _Pyramid(nn.Module):
    """Two maps into a feature pyramid."""

    def __init__(self, pyramid: nn.Module) -> None:
        super().__init__()
        self.low, self.high = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 8, 3, 2, 1)
        self.pyramid = pyramid

    def forward(self, x: Tensor) -> Any:
        low = self.low(x)
        return self.pyramid({"low": low, "high": self.high(low)})


# --- of the tests ---------------------------------------------------------------------------------


def own_cases() -> Iterator[Case]:
    import sys

    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from audit_nets import NETS

    for name in sorted(NETS):
        constructor, shape = NETS[name]
        yield name, partial(lambda c, s: (c(), s), constructor, shape)


FAMILIES: dict[str, Callable[[], Iterator[Case]]] = {
    "transformers": transformers_cases,
    "ultralytics": ultralytics_cases,
    "monai": monai_cases,
    "smp": smp_cases,
    "torchaudio": torchaudio_cases,
    "torchvision": torchvision_cases,
    "tests": own_cases,
}


def define_what_cpu_builds_lack() -> None:
    """Operators of libraries that were built for another torch, without which they do not import.

    Of torchvision two names and one operator; torchaudio is kept from loading what it compiled.
    """
    names = ("nms", "qnms")
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in names:
        with contextlib.suppress(RuntimeError):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.impl("nms", _kept, "CPU")
    KEPT_ALIVE.append(library)
    from torchvision import extension
    from torchvision.ops import boxes

    extension._assert_has_ops = boxes._assert_has_ops = lambda: None
    found = Path.glob
    Path.glob = lambda path, what, **more: [] if "torchaudio" in what else found(path, what, **more)
    try:
        with contextlib.suppress(ModuleNotFoundError):
            import torchaudio  # noqa: F401  (transformers imports it too)
    finally:
        Path.glob = found


KEPT_ALIVE: list[Any] = []


def _kept(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Indices of boxes that no better one overlaps by more than a threshold."""
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    found: list[int] = []
    left = scores.argsort(descending=True).tolist()
    while left:
        best = left.pop(0)
        found.append(best)
        rest = torch.tensor(left, dtype=torch.long)
        corner = torch.maximum(boxes[best, :2], boxes[rest, :2])
        end = torch.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = (end - corner).clamp(min=0).prod(1)
        union = area[best] + area[rest] - shared
        left = rest[shared / union <= threshold].tolist()
    return torch.tensor(found, dtype=torch.long)
