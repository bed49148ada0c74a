"""The victim: what is attacked, as one object."""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from inspect import isfunction
from typing import Any, ClassVar

import torch
from monai.inferers import Inferer, SlidingWindowInferer
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from monai_smia.inferers.sliding_window import CheckpointedSlidingWindowInferer
from monai_smia.victims.autocast import AutocastNetwork
from monai_smia.victims.batches import BatchPreprocessing
from monai_smia.victims.choice import KNOWN, Choice, PerSample
from monai_smia.victims.frozen_network import frozen_network
from monai_smia.victims.gate import SeenShapes, check_image, check_same_grid
from monai_smia.victims.gated import Gated
from monai_smia.victims.in_place import protected
from monai_smia.victims.intensity import fixed_intensity_scale
from monai_smia.victims.own_statistics import FREEZE, check_statistics
from monai_smia.victims.preprocessing import as_plain

__all__ = ["Victim", "check_same_grid"]


@dataclass(kw_only=True, eq=False)
class Victim(Gated):
    """Preprocessing, network, inferer, loss and decision rule of one task.

    A dataclass: `dataclasses.replace(victim, loss=...)` gives another one. A new task subclasses it with `decide`,
    `damage`, `check_label`, `losses` and `divergences`, and says by the fields `loss` and `divergence` which of them
    it takes (``loss: Choice = Choice("squared_error")``). A named function is pure: ``(output, prediction, target) ->
    (B,)``, `output` being the victim's output layer and `target` the label as that takes it; a divergence is given a
    reference prediction in the target's place.

    Every prediction passes one gate, when it is made and when it is scored: it is finite, has an entry for every
    sample, and keeps its shape from call to call.

    Args:
        network: the network; it is attacked in eval mode, and a DistributedDataParallel wrapper is looked through. One
            that went through `torch.compile` or has its weights in channels-last memory is taken as it is.
        inferer: how the network is applied, a MONAI Inferer; a plain SlidingWindowInferer becomes a
            `CheckpointedSlidingWindowInferer` of the same settings, so that its gradient needs flat memory.
        preprocessing: a MONAI Compose (array or dictionary transforms) between the case's own image and the network;
            the attack then lives on the case's own grid and in its unit. Its crop window is that of the clean image.
        statistics: ``"freeze"`` or ``"differentiate"``, as for `FrozenPreprocessing`.
        image_key: key of the image in dictionary transforms.
        straight_through: let the gradient through where the preprocessing's intensity window clips, so that an attack
            may bring voxels back into it; decisions and damage are those of the clip.
        degradation: what happens to every image on its way to preprocessing and network, differentiable, as those of
            `monai_smia.degradations`; see `degraded`.
        loss: deviation loss: a name out of `losses`, a PyTorch or MONAI loss module (taken sample by sample), or a
            callable ``(prediction, label) -> (B,)``. On the victim a method of that signature.
        divergence: distance of two predictions: a name out of `divergences`, or a callable
            ``(prediction, reference) -> (B,)``. On the victim a method of that signature.

    Raises:
        ValueError: if `loss`, `divergence` or `statistics` is unknown.
    """

    differentiable: ClassVar[bool] = True  # whether a gradient can be asked for at all
    losses: ClassVar[Mapping[str, Callable[..., Tensor]]] = {}
    divergences: ClassVar[Mapping[str, Callable[..., Tensor]]] = {}

    network: nn.Module = field(kw_only=False, repr=False)
    inferer: Inferer | None = None
    preprocessing: Any = None
    image_key: str = "image"
    straight_through: bool = False
    statistics: str = FREEZE
    degradation: Callable[[Tensor], Tensor] | None = None
    loss: Choice = Choice("cross_entropy")
    divergence: Choice = Choice("cross_entropy")
    _frozen: BatchPreprocessing | None = field(default=None, init=False, repr=False)
    _seen: SeenShapes | None = field(default=None, init=False, repr=False)  # of the batch that it is bound to

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, known in KNOWN.items():
            if isfunction(vars(cls).get(name)):
                raise TypeError(f"{cls.__name__}.{name} is an argument, no method: put the function into `{known}`.")

    def __post_init__(self) -> None:
        if not isinstance(self.network, nn.Module):
            got = getattr(self.network, "__name__", type(self.network).__name__)
            raise ValueError(f"network must be a torch.nn.Module whose forward does what is wanted, got {got}.")
        check_statistics(self.statistics)
        if isinstance(self.network, DistributedDataParallel):
            self.network = self.network.module
        if type(self.inferer) is SlidingWindowInferer:
            self.inferer = CheckpointedSlidingWindowInferer.of(self.inferer)

    # ---- what an attack asks for

    def predict(self, image: Tensor) -> Any:
        """Raw prediction, before any decision; differentiable with respect to the image.

        Args:
            image: ``(B, C, *spatial)``; on the case's own grid where the victim holds its preprocessing.

        Raises:
            ValueError: if the prediction is NaN or infinite, not one entry per sample, or of another shape than before.
        """
        return self.forward(self.network_input(image))

    def network_input(self, image: Tensor) -> Tensor:
        """The image as the network is given it: after degradation and preprocessing."""
        if self.degradation is not None:
            image = self.degradation(image)
        if self.preprocessing is not None:
            image = (self._frozen or self._freeze(image))(image)
        return image

    def forward(self, network_input: Tensor) -> Any:
        """The raw prediction of what the network is given; a task of another prediction overrides it."""
        with protected(self.network, network_input, windows=self.inferer is not None) as seen:
            return self.network(seen) if self.inferer is None else self.inferer(seen, self.network)

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

        Raises:
            ValueError: if the image is no batch of images or not finite, or its prediction is not.
        """
        check_image(image)
        with self.frozen():
            bound = self._bound_to(image)
            prediction = bound.predict(as_plain(image))
            return bound._to_image_grid(prediction) if bound._frozen else prediction

    # ---- what the attack's machinery asks for

    @property
    def output(self) -> Any:
        """The output layer that named losses and divergences are given; None for a task without one."""
        return None

    def as_label(self, label: Any) -> Any:
        """The label in the one type that everything here takes, whatever it was given in."""
        return label

    def target(self, label: Any) -> Any:
        """The label as the output layer takes it."""
        return self.as_label(label)

    @property
    def frozen_preprocessing(self) -> BatchPreprocessing | None:
        """The preprocessing frozen on the batch that it is bound to; None where there is none or it is not bound."""
        return self._frozen

    def bind(self, image: Tensor, label: Any) -> tuple[Victim, Any]:
        """This victim with its preprocessing frozen on a clean batch, and the label on the network's grid.

        A victim that is bound to the very batch already, which nobody wrote into, is not frozen again.

        Args:
            image: clean batch.
            label: its label.

        Raises:
            ValueError: if the image is no batch of images or not finite, or the label lies on another grid.
        """
        check_image(image)
        check_same_grid(image, label)
        label = self.as_label(as_plain(label))
        known = self._frozen is not None and self._frozen.is_of(image)
        bound = copy.copy(self) if known else self._bound_to(image)
        bound._seen = SeenShapes()
        return bound, label if bound._frozen is None else bound._label_to_network(image, label)

    def check_differentiable(self) -> None:
        """Raise where the gradient does not pass the preprocessing of a bound victim.

        Raises:
            ValueError: if a transform blocks the gradient; it is named. Also if the victim is not bound.
        """
        if self.preprocessing is None:
            return
        if self._frozen is None:
            raise ValueError("the victim must be bound to an image before its preprocessing can be checked.")
        self._frozen.check_differentiable()

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
        """A copy with another deviation loss; network and frozen preprocessing are shared."""
        other = copy.copy(self)
        other.loss = loss
        return other

    def with_divergence(self, divergence: str | PerSample) -> Victim:
        """A copy with another divergence; network and frozen preprocessing are shared."""
        other = copy.copy(self)
        other.divergence = divergence
        return other

    def with_inferer(self, inferer: Inferer | None) -> Victim:
        """A copy whose network is applied by another inferer; network and frozen preprocessing are shared."""
        other = copy.copy(self)
        other.inferer = inferer
        return other

    def without_preprocessing(self) -> Victim:
        """A copy that takes what the network sees; the network is shared."""
        other = copy.copy(self)
        other.preprocessing = other._frozen = other._seen = None
        return other

    def with_autocast(self, dtype: torch.dtype, *, channels_last: bool = True) -> Victim:
        """A copy whose network computes in lower precision; preprocessing, stitching and losses stay as they are."""
        other = copy.copy(self)
        other.network = AutocastNetwork(self.network, dtype, channels_last=channels_last)
        return other

    def intensity_scale(self, image: Tensor | None = None) -> float:
        """Network units per unit of the image: eps in HU times this is eps in network units.

        Args:
            image: a case ``(B, C, *spatial)``, needed where the preprocessing takes its scale from the image, or holds
                a transform whose scale is not known and must be measured.

        Raises:
            ValueError: if the image is needed and not given, or there is no one scale; the transform is named.
        """
        if self.preprocessing is None:
            return 1.0
        if image is None:
            return fixed_intensity_scale(self.preprocessing)
        return self._freeze(image).intensity_scale

    def _label_to_network(self, image: Tensor, label: Any) -> Any:
        return label

    def _to_image_grid(self, prediction: Any) -> Any:
        return prediction

    def _bound_to(self, image: Tensor) -> Victim:
        bound = copy.copy(self)
        if self.preprocessing is not None:
            bound._frozen = self._freeze(image)
        return bound

    def _freeze(self, image: Tensor) -> BatchPreprocessing:
        options: dict[str, Any] = {"straight_through": self.straight_through, "statistics": self.statistics}
        return BatchPreprocessing(self.preprocessing, image, self.image_key, **options)
