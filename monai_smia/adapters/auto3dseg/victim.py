"""Auto3DSeg's algorithms as a victim: the differentiable twin of what their own `infer` does."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from monai.data import MetaTensor
from torch import Tensor, nn

from monai_smia.adapters.auto3dseg.algorithm import IMAGE
from monai_smia.adapters.auto3dseg.ensemble import MEAN, Ensemble
from monai_smia.adapters.auto3dseg.member import Member, OnImage, logits_of
from monai_smia.victims import SegmentationVictim
from monai_smia.victims.batches import SameVoxels, split_batch
from monai_smia.victims.preprocessing import as_plain


@dataclass(kw_only=True, eq=False)
class Auto3DSegVictim(SegmentationVictim):
    """An algorithm that Auto3DSeg has trained, or several together, differentiable on the image's own grid.

    It does what their own `infer` does: orientation, crop to the foreground, resampling, normalization, sliding window,
    activation, and the inverse of all that. The gradient goes through all of it and needs the memory of one batch of
    windows; statistics that an algorithm takes from the image have a gradient, too. The crop is that of the clean
    image. Several algorithms are averaged, as MONAI's `AlgoEnsemble` does; where they vote, the gradient is that of the
    average.

    Images are what the algorithm's own loader gives: `read` makes them. `deployed` is the algorithms themselves, which
    every figure of `auto3dseg_evaluation` is made by.

    Args:
        deployed: the algorithms, run by their own scripts.
        members: their twins.
        network, inferer, preprocessing: set by `from_folder`.
        others: as for `SegmentationVictim`.

    Example:
        >>> victim = Auto3DSegVictim.from_folder("work_dir/segresnet_0", trusted=True)  # doctest: +SKIP
        >>> image = victim.read({"image": "case.nii.gz"})[None]  # doctest: +SKIP
        >>> victim.decide(victim.infer(image)).shape == image.shape  # doctest: +SKIP
        True
    """

    deployed: Ensemble = field(kw_only=True, repr=False)
    members: tuple[Member, ...] = field(kw_only=True, repr=False)

    @classmethod
    def from_folder(
        cls,
        folder: str | Path | Sequence[str | Path],
        *,
        trusted: bool = False,
        device: torch.device | str = "cpu",
        ensemble: str = MEAN,
        straight_through: bool = False,
        **options: Any,
    ) -> Auto3DSegVictim:
        """The algorithm of a folder such as ``work_dir/segresnet_0``, or those of several folders together.

        Args:
            folder: holds ``scripts``, ``configs`` and the weights; or several such folders.
            trusted: the folder's scripts may run; without it they do not, and the folder is refused. Its pickles
                (``algo_object.pkl``) are never opened, and weights are loaded as tensors and numbers alone.
            device: where it runs, also where its scripts name another.
            ensemble: ``"mean"`` or ``"vote"``, of several folders.
            straight_through: let the gradient through where an intensity window clips.
            **options: `loss`, `divergence`, `degradation`, `ignore_index` of the victim.

        Raises:
            ValueError: if something is missing, is not trusted, or cannot be set up; with the reason.
        """
        deployed = Ensemble.of_folders(folder, trusted=trusted, device=device, mode=ensemble)
        members = tuple(
            Member(algorithm, chain, straight_through=straight_through)
            for algorithm, chain in zip(deployed.algorithms, deployed.chains, strict=True)
        )
        return cls(
            nn.ModuleList([member.network for member in members]),
            deployed=deployed,
            members=members,
            preprocessing=[member.steps for member in members],
            straight_through=straight_through,
            activation="sigmoid" if deployed.sigmoid else "softmax",
            **{"allow_empty": True, **options},
        )

    def read(self, item: Mapping[Any, Any]) -> MetaTensor:
        """The image ``(C, *spatial)`` of an item ``{"image": file, ...}``, as the algorithm's own loader gives it."""
        chain = self.deployed.chains[0]
        image: Any = chain.read(chain.source(item)).float()
        return image

    def predict(self, image: Tensor) -> Tensor:
        """Logits on the image's own grid ``(B, K, *spatial)``.

        Args:
            image: ``(B, C, *spatial)``, as `read` gives it; a plain tensor where the victim is bound.
        """
        known: Any = self._frozen if self._frozen is not None else self._freeze(image)
        image = as_plain(image)
        if self.degradation is not None:
            image = self.degradation(image)
        return torch.stack([self._logits(sample, on) for sample, on in zip(image, known.samples, strict=True)])

    def _logits(self, image: Tensor, members: Sequence[OnImage]) -> Tensor:
        together = torch.stack([member.probabilities(image) for member in members]).mean(0)
        return logits_of(together, sigmoid=self.deployed.sigmoid)

    def network_input(self, image: Tensor) -> Tensor:
        """What the first algorithm's network is given."""
        known: Any = self._frozen if self._frozen is not None else self._freeze(image)
        return torch.stack([on[0].frozen(s) for s, on in zip(as_plain(image), known.samples, strict=True)])

    @property
    def frozen_preprocessing(self) -> None:
        """None: several algorithms have no one space of a network that an attack could go by."""
        return

    def intensity_scale(self, image: Tensor | None = None) -> float:
        """Network units per unit of the image.

        Raises:
            ValueError: always: a sigmoid or the image's own statistics follow, of which there is no one slope.
        """
        raise ValueError("a radius has no fixed size in network units: Auto3DSeg's normalization has no one slope.")

    def _label_to_network(self, image: Tensor, label: Any) -> Any:
        return label

    def _to_image_grid(self, prediction: Tensor) -> Tensor:
        return prediction

    def _freeze(self, image: Tensor) -> Any:
        return _Clean(self.members, image)


class _Clean:
    """What stays of a clean batch while it is attacked, in the place of frozen MONAI transforms."""

    def __init__(self, members: Sequence[Member], image: Tensor) -> None:
        self.clean = image
        self._voxels: SameVoxels | None = SameVoxels(image)
        self.samples = [[member.on(_with_affine(sample)) for member in members] for sample in split_batch(image)]

    def is_of(self, image: Tensor) -> bool:
        """Whether it is of this very image, which is as it was."""
        if self._voxels is None or not self._voxels.are(image) or type(image) is not type(self.clean):
            return False
        ours, theirs = (getattr(each, "affine", None) for each in (self.clean, image))
        return ours is None or theirs is None or torch.equal(ours, theirs)

    def subset(self, index: Tensor) -> _Clean:
        """Of the samples that `index` selects, by number or by a boolean mask."""
        part = copy.copy(self)
        part.samples = [self.samples[i] for i in torch.arange(len(self.samples))[index.cpu()].tolist()]
        part._voxels = None
        return part

    def check_differentiable(self) -> None:
        """Raise a ValueError that names the first transform that the gradient does not pass."""
        for member in self.samples[0]:
            member.frozen.check_differentiable()


def _with_affine(image: Tensor) -> MetaTensor:
    """The image, which must say where its voxels lie.

    Raises:
        ValueError: if it does not.
    """
    if not isinstance(image, MetaTensor):
        raise ValueError(
            f"image must be one that the algorithm's own loader gives, a MetaTensor with its affine: take "
            f"victim.read({{{IMAGE!r}: file}})."
        )
    return image
