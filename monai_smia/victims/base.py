"""The victim: what is attacked, as one object."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer, SlidingWindowInferer
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss
from torch.nn.parallel import DistributedDataParallel

from monai_smia.inferers.sliding_window import CheckpointedSlidingWindowInferer
from monai_smia.victims.autocast import AutocastNetwork
from monai_smia.victims.freezing import fixed_intensity_scale
from monai_smia.victims.frozen_network import frozen_network
from monai_smia.victims.preprocessing import BatchPreprocessing, as_plain

PerSample = Callable[[Any, Any], Tensor]


class Victim(ABC):
    """Preprocessing, network, inferer, loss and decision rule of one task.

    Args:
        network: the network; it is attacked in eval mode, and a DistributedDataParallel wrapper is looked through. One
            that went through `torch.compile` or has its weights in channels-last memory is taken as it is.
        inferer: how the network is applied, a MONAI Inferer; a plain SlidingWindowInferer becomes a
            `CheckpointedSlidingWindowInferer` of the same settings, so that its gradient needs flat memory.
        preprocessing: a MONAI Compose (array or dictionary transforms) between the case's own image and the network;
            the attack then lives on the case's own grid and in its unit. What it decides from the image (crop windows,
            percentiles) is frozen on the clean image while it is attacked.
        image_key: key of the image in dictionary transforms.
        straight_through: let the gradient through where the preprocessing's intensity window clips, so that an attack
            may bring voxels back into it; decisions and damage are those of the clip.
        loss: deviation loss: a name out of `losses`, a PyTorch or MONAI loss module (taken sample by sample), or a
            callable ``(prediction, label) -> (B,)``.
        divergence: distance of two predictions: a name out of `divergences`, or a callable
            ``(prediction, reference) -> (B,)``.

    Raises:
        ValueError: if `loss` or `divergence` is unknown.
    """

    losses: ClassVar[Mapping[str, Callable[..., Tensor]]] = {}
    divergences: ClassVar[Mapping[str, Callable[..., Tensor]]] = {}

    def __init__(
        self,
        network: nn.Module,
        *,
        inferer: Inferer | None = None,
        preprocessing: Any = None,
        image_key: str = "image",
        straight_through: bool = False,
        loss: str | PerSample = "cross_entropy",
        divergence: str | PerSample = "cross_entropy",
    ) -> None:
        self.network = network.module if isinstance(network, DistributedDataParallel) else network
        if type(inferer) is SlidingWindowInferer:
            inferer = CheckpointedSlidingWindowInferer.of(inferer)
        self.inferer = inferer
        self.preprocessing = preprocessing
        self.image_key = image_key
        self.straight_through = straight_through
        self._loss = self._choice("loss", loss, self.losses)
        self._divergence = self._choice("divergence", divergence, self.divergences)
        self._frozen: BatchPreprocessing | None = None

    # ---- what an attack asks for

    def predict(self, image: Tensor) -> Any:
        """Raw prediction, before any decision; differentiable with respect to the image.

        Args:
            image: ``(B, C, *spatial)``; on the case's own grid where the victim holds its preprocessing.
        """
        if self.preprocessing is not None:
            image = (self._frozen or self._freeze(image))(image)
        return self.network(image) if self.inferer is None else self.inferer(image, self.network)

    def predict_both(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """The predictions of two batches of the samples it is bound to, made as one batch.

        Raises:
            ValueError: if a prediction is no tensor.
        """
        twice = torch.arange(len(first), device=first.device).repeat(2)
        both = self.subset(twice).predict(torch.cat([first, second]))
        if not isinstance(both, Tensor):
            raise ValueError(
                f"one batch of two points needs a network that returns a tensor, got {type(both).__name__}."
            )
        return both[: len(first)], both[len(first) :]

    def loss(self, prediction: Any, label: Any) -> Tensor:
        """Deviation loss of every sample ``(B,)``: how far the prediction is from the label."""
        return self._loss(self, prediction, label)

    def divergence(self, prediction: Any, reference: Any) -> Tensor:
        """Distance of every sample's prediction from a reference prediction ``(B,)``."""
        return self._divergence(self, prediction, reference)

    @abstractmethod
    def decide(self, prediction: Any) -> Any:
        """The decision (classes, masks or boxes), without gradient."""

    @abstractmethod
    def damage(self, prediction: Any, label: Any) -> Tensor:
        """How wrong every sample's decision is ``(B,)``: 0 right, 1 all wrong."""

    @abstractmethod
    def check_label(self, prediction: Any, label: Any) -> None:
        """Raise a ValueError that names what does not fit, where the label does not fit the prediction."""

    @torch.no_grad()
    def infer(self, image: Tensor) -> Any:
        """The prediction as deployed: network in eval mode, preprocessing decided on this very image.

        Args:
            image: ``(B, C, *spatial)`` in the image's unit; a MetaTensor where preprocessing needs the affine.

        Returns:
            The raw prediction; that of a segmentation victim on the image's own grid.
        """
        with self.frozen():
            bound = self._bound_to(image)
            prediction = bound.predict(as_plain(image))
            return bound._to_image_grid(prediction) if bound._frozen else prediction

    # ---- what the attack's machinery asks for

    def bind(self, image: Tensor, label: Any, *, differentiable: bool = True) -> tuple[Victim, Any]:
        """This victim with its preprocessing frozen on a clean batch, and the label on the network's grid.

        Args:
            image: clean batch.
            label: its label.
            differentiable: whether the gradient has to pass the preprocessing.

        Raises:
            ValueError: if the label lies on another grid, or a transform blocks the gradient; it is named.
        """
        check_same_grid(image, label)
        bound = self._bound_to(image)
        if bound._frozen is None:
            return bound, as_plain(label)
        if differentiable:
            bound._frozen.check_differentiable()
        return bound, bound._label_to_network(as_plain(label))

    def on_network_grid(self, image: Tensor, label: Any) -> tuple[Victim, Any, BatchPreprocessing]:
        """As `bind`, for preprocessing that need not be differentiable: also what brings images and labels across.

        Raises:
            ValueError: if the label lies on another grid, or there is no preprocessing.
        """
        bound, target = self.bind(image, label, differentiable=False)
        if bound._frozen is None:
            raise ValueError("victim must hold a preprocessing; without one the image is what the network sees.")
        return bound, target, bound._frozen

    def checked_loss(self, prediction: Any, label: Any) -> Tensor:
        """The loss, or a ValueError where it is not one finite value per sample."""
        loss = self.loss(prediction, label)
        count = self.batch_size(prediction)
        if not isinstance(loss, Tensor) or loss.shape != (count,):
            got = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise ValueError(f"loss must give one value per sample, shape ({count},), got {got}.")
        if not math.isfinite(loss.detach().sum()):
            bad = (~loss.isfinite()).nonzero().flatten().tolist()
            raise ValueError(f"the network's prediction or its loss is NaN or infinite for samples {bad}.")
        return loss

    def subset(self, index: Tensor) -> Victim:
        """The victim of some samples of the batch it is bound to."""
        if self._frozen is None:
            return self
        part = copy.copy(self)
        part._frozen = self._frozen.subset(index)
        return part

    def frozen(self) -> AbstractContextManager[None]:
        """The network in eval mode and without parameter gradients; every module's mode and flag restored after."""
        return frozen_network(self.network)

    def with_loss(self, loss: str | PerSample) -> Victim:
        """A copy with another deviation loss; network and preprocessing are shared."""
        other = copy.copy(self)
        other._loss = self._choice("loss", loss, self.losses)
        return other

    def without_preprocessing(self) -> Victim:
        """A copy that takes what the network sees; the network is shared."""
        other = copy.copy(self)
        other.preprocessing = other._frozen = None
        return other

    def with_divergence(self, divergence: str | PerSample) -> Victim:
        """A copy with another divergence; network and preprocessing are shared."""
        other = copy.copy(self)
        other._divergence = self._choice("divergence", divergence, self.divergences)
        return other

    def with_autocast(self, dtype: torch.dtype, *, channels_last: bool = True) -> Victim:
        """A copy whose network computes in lower precision; preprocessing, stitching and losses stay as they are."""
        other = copy.copy(self)
        other.network = AutocastNetwork(self.network, dtype, channels_last=channels_last)
        return other

    def intensity_scale(self, image: Tensor | None = None) -> float:
        """Network units per unit of the image: eps in HU times this is eps in network units.

        Args:
            image: a case ``(B, C, *spatial)``, needed where the preprocessing takes its scale from the image.

        Raises:
            ValueError: if the image is needed and not given, or channels are scaled differently.
        """
        if self.preprocessing is None:
            return 1.0
        if image is None:
            return fixed_intensity_scale(self.preprocessing)
        return self._freeze(image).intensity_scale

    # ---- shared by batches of tensors; a victim of another prediction type overrides these

    def batch_size(self, prediction: Any) -> int:
        """Number of samples of a prediction."""
        return len(prediction)

    def detach(self, prediction: Any) -> Any:
        """The prediction without its graph."""
        return prediction.detach()

    def select_label(self, label: Any, index: Tensor) -> Any:
        """The labels of some samples."""
        return label[index]

    def _label_to_network(self, label: Any) -> Any:
        return label

    def _to_image_grid(self, prediction: Any) -> Any:
        return prediction

    def _bound_to(self, image: Tensor) -> Victim:
        if self.preprocessing is None:
            return self
        bound = copy.copy(self)
        bound._frozen = self._freeze(image)
        return bound

    def _freeze(self, image: Tensor) -> BatchPreprocessing:
        return BatchPreprocessing(self.preprocessing, image, self.image_key, straight_through=self.straight_through)

    def _choice(self, name: str, choice: str | PerSample, known: Mapping[str, Callable[..., Tensor]]) -> Callable:
        """A function of (victim, prediction, label or reference)."""
        if isinstance(choice, str):
            if choice not in known:
                raise ValueError(f"{name} must be one of {sorted(known)} or a callable, got {choice!r}.")
            return known[choice]
        if not callable(choice):
            raise ValueError(f"{name} must be one of {sorted(known)} or a callable, got {choice!r}.")
        if isinstance(choice, _Loss):
            return lambda _, prediction, label: sample_by_sample(choice, prediction, label)
        return lambda _, prediction, label: choice(prediction, label)


def sample_by_sample(loss: Callable[[Tensor, Tensor], Tensor], prediction: Tensor, label: Tensor) -> Tensor:
    """A loss that reduces over the batch, taken one sample at a time ``(B,)``."""
    values = [loss(prediction[i : i + 1], label[i : i + 1]) for i in range(len(prediction))]
    if values[0].numel() != 1:
        raise ValueError(f"loss must reduce to one value, got {tuple(values[0].shape)}; set its reduction.")
    return torch.stack([value.reshape(()) for value in values])


def check_same_grid(image: Any, label: Any) -> None:
    """Raise a ValueError where image and label are MetaTensors of different affines."""
    if not (isinstance(image, MetaTensor) and isinstance(label, MetaTensor)) or label.ndim != image.ndim:
        return
    ours, theirs = (t.affine.cpu().double() for t in (image, label))  # one, or one per sample
    if not torch.allclose(ours, theirs, atol=1e-3):
        raise ValueError(
            f"label must lie on the image's grid: the affines differ, image {ours.tolist()}, label {theirs.tolist()}; "
            "resample the label to the image first."
        )
