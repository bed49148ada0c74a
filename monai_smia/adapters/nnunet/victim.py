"""A trained nnU-Net as a victim: the differentiable twin of what its own predictor does."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from monai.data import MetaTensor
from torch import Tensor
from torch.nn import functional as F

from monai_smia.adapters.monai_bundle.units import in_file_units, units_of
from monai_smia.adapters.nnunet.deployed import Deployed
from monai_smia.adapters.nnunet.normalization import Statistics
from monai_smia.adapters.nnunet.preprocessing import Preprocessing
from monai_smia.inferers import TilingInferer
from monai_smia.victims import SegmentationVictim
from monai_smia.victims.batches import SameVoxels, split_batch
from monai_smia.victims.preprocessing import as_plain

SPACING = "nnunet_spacing"  # in the metadata of an image: what nnU-Net's own reader says


@dataclass(kw_only=True, eq=False)
class NNUNetVictim(SegmentationVictim):
    """A trained nnU-Net v2, differentiable from the image in its own unit to logits on the image's own grid.

    It does what nnU-Net's predictor does, in torch: transpose, crop to the nonzero region, normalize, resample, pad, go
    over the tiles with nnU-Net's weights in every mirroring and by every fold, average, resample the logits back, and
    put them where they were. The gradient is exact through all of it, the resampling by scikit-image included, and
    needs the memory of one tile. What nnU-Net decides by the zeros of an image (its box) is decided anew for every
    image, as deployed, and has no gradient.

    Images are what nnU-Net's own reader gives, ``(C, z, y, x)`` for NIfTI: `read` makes them. `deployed` is nnU-Net's
    own predictor, untouched, which every figure of `nnunet_evaluation` is made by. nnU-Net adds up tiles in half
    precision and the twin does not: of voxels whose two highest logits are equal to three digits they may differ.

    Args:
        statistics: ``"differentiate"``: the gradient goes through the mean and deviation that nnU-Net takes from the
            image itself; ``"freeze"``: they stay those of the clean image while it is attacked.
        deployed: nnU-Net's own predictor.
        network, inferer, preprocessing: set by `from_folder` and `from_predictor`.
        others: as for `SegmentationVictim`.

    Raises:
        ValueError: if `statistics` is none of these; in use, if an image does not say how large its voxels are.

    Example:
        >>> victim = NNUNetVictim.from_folder("nnUNetTrainer__nnUNetPlans__3d_fullres")  # doctest: +SKIP
        >>> image = victim.read(["case_0000.nii.gz"])[None]  # doctest: +SKIP
        >>> victim.decide(victim.infer(image)).shape == image.shape  # doctest: +SKIP
        True
    """

    statistics: str = "differentiate"
    deployed: Deployed = field(kw_only=True, repr=False)

    @classmethod
    def from_folder(
        cls,
        model_folder: str | Path,
        *,
        folds: Sequence[int | str] | None = None,
        checkpoint: str | None = None,
        device: torch.device | str = "cpu",
        mirroring: bool = True,
        step: float = 0.5,
        trusted: bool = False,
        **options: Any,
    ) -> NNUNetVictim:
        """The model of a folder such as ``nnUNetTrainer__nnUNetPlans__3d_fullres``, as `nnUNetv2_predict` takes it.

        nnU-Net loads a checkpoint as a pickle, which runs what it holds: one that holds more than tensors and numbers
        is refused, unless it is `trusted`.

        Args:
            model_folder: holds ``plans.json``, ``dataset.json``, ``fold_0``, ...; or the folder ``models`` of a bundle
                that MONAI's ``convert_nnunet_to_monai_bundle`` made of one.
            folds: numbers, or ``"all"``; None for all that are there.
            checkpoint: file in the folder of every fold; None for ``checkpoint_final.pth``, of MONAI's ``model.pt``.
            device: where it runs.
            mirroring: nnU-Net's test-time augmentation, over the axes that the model was trained with.
            step: of the tiles, as a share of their size.
            trusted: load checkpoints whatever they hold.
            **options: as for `from_predictor`.

        Raises:
            ValueError: if something is missing, or nnU-Net cannot load the model; with the reason.
        """
        settings: dict[str, Any] = {"folds": folds, "checkpoint": checkpoint, "mirroring": mirroring, "step": step}
        return cls._of(Deployed.from_folder(model_folder, device=device, trusted=trusted, **settings), **options)

    @classmethod
    def from_predictor(cls, predictor: Any, **options: Any) -> NNUNetVictim:
        """The model of an initialized ``nnUNetPredictor``.

        Args:
            predictor: it is not touched.
            **options: `statistics`, `loss`, `divergence`, `straight_through`, `degradation` of the victim, and
                `memory_limit`, bytes that kept graphs of tiles may hold.

        Raises:
            ValueError: if it is not initialized, is the second stage of a cascade, or normalizes or resamples in a way
                that is not known here.
        """
        return cls._of(Deployed(predictor), **options)

    @classmethod
    def _of(cls, deployed: Deployed, *, memory_limit: float = 0, **options: Any) -> NNUNetVictim:
        straight = bool(options.get("straight_through", False))
        return cls(
            deployed.network(),
            inferer=TilingInferer(deployed.tiling, mirrorings=deployed.mirrorings, memory_limit=memory_limit),
            preprocessing=Preprocessing.of_plans(deployed.plans, deployed.configuration, straight_through=straight),
            deployed=deployed,
            **{**deployed.labels.options, **options},
        )

    def read(self, files: Sequence[str | Path]) -> MetaTensor:
        """An image ``(C, z, y, x)`` of its files, as nnU-Net's own reader gives it; its metadata hold the spacing."""
        values, properties = self.deployed.read(files)
        spacing = [float(size) for size in properties["spacing"]]
        affine = torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64))
        return MetaTensor(torch.from_numpy(values.copy()), affine=affine, meta={SPACING: spacing})

    def read_label(self, file: str | Path) -> Tensor:
        """A label map of a file, by nnU-Net's own reader, as the victim takes it ``(1 or regions, z, y, x)``.

        Raises:
            ValueError: if it holds a label that the dataset does not have.
        """
        return self.deployed.labels.truth(torch.from_numpy(self.deployed.read_label(file).copy()))

    def predict(self, image: Tensor) -> Tensor:
        """Logits on the image's own grid ``(B, K, *spatial)``.

        Args:
            image: ``(B, C, *spatial)``, as `read` gives it; a plain tensor where the victim is bound.
        """
        clean = self._clean(image)
        image = as_plain(image)
        if self.degradation is not None:
            image = self.degradation(image)
        return torch.stack([self._logits(sample, known) for sample, known in zip(image, clean, strict=True)])

    def _clean(self, image: Tensor) -> list[_CleanSample]:
        """What is known of the samples that it is bound to, else of these."""
        found: Any = self._frozen if self._frozen is not None else self._freeze(image)
        return list(found.samples)

    def _logits(self, image: Tensor, clean: _CleanSample) -> Tensor:
        """Logits of one image ``(C, *spatial)``."""
        image = in_file_units(image, clean.units)
        volume = image if image.ndim == 4 else image[:, None]
        chain: Preprocessing = self.preprocessing
        placement = chain.placed(volume, clean.spacing)
        seen = chain.seen(volume, placement, clean.statistics)
        missing = [max(least - size, 0) for least, size in zip(self.deployed.tile, seen.shape[1:], strict=True)]
        before = [amount // 2 for amount in missing]
        padding = [
            n for low, amount in zip(reversed(before), reversed(missing), strict=True) for n in (low, amount - low)
        ]
        logits = self.forward(F.pad(seen, padding)[None])[0]
        for axis, (start, size) in enumerate(zip(before, seen.shape[1:], strict=True)):
            logits = logits.narrow(axis + 1, start, size)
        back = chain.back(logits, placement, exclusive=self.deployed.labels.exclusive)
        return back if image.ndim == 4 else back[:, 0]

    def network_input(self, image: Tensor) -> Tensor:
        """The image as it is resampled for the network, without the padding of a small one."""
        found = []
        for own, clean in zip(as_plain(image), self._clean(image), strict=True):
            sample = in_file_units(own, clean.units)
            volume = sample if sample.ndim == 4 else sample[:, None]
            placement = self.preprocessing.placed(volume, clean.spacing)
            found.append(self.preprocessing.seen(volume, placement, clean.statistics))
        return torch.stack(found)

    @property
    def frozen_preprocessing(self) -> None:
        """None: nothing is frozen that an attack in the network's own space could go by."""
        return

    def intensity_scale(self, image: Tensor | None = None) -> float:
        """Network units per unit of the image.

        Raises:
            ValueError: if every image has its own, or channels have different ones.
        """
        scales = {channel.scale for channel in self.preprocessing.channels}
        (scale,) = scales if len(scales) == 1 else (None,)
        if scale is None:
            schemes = ", ".join(channel.scheme for channel in self.preprocessing.channels)
            raise ValueError(f"a radius has no fixed size in network units where channels are normalized by {schemes}.")
        return float(scale)

    def _label_to_network(self, image: Tensor, label: Any) -> Any:
        return label

    def _to_image_grid(self, prediction: Tensor) -> Tensor:
        return prediction

    def _freeze(self, image: Tensor) -> Any:
        return _Clean(self.preprocessing, image, freeze=self.statistics == "freeze")


@dataclass(frozen=True)
class _CleanSample:
    """What stays of a clean image while it is attacked: its spacing, its units, and its statistics where frozen."""

    spacing: tuple[float, ...]
    statistics: list[Statistics | None] | None
    units: Tensor | None = None  # of its files, per unit of the image; None where it is in theirs


class _Clean:
    """What stays of a clean batch, in the place of frozen MONAI transforms (`BatchPreprocessing`)."""

    def __init__(self, preprocessing: Preprocessing, image: Tensor, *, freeze: bool) -> None:
        self.clean = image
        self._voxels: SameVoxels | None = SameVoxels(image)
        self.samples = []
        for sample in split_batch(image):
            spacing, statistics, units = spacing_of(sample), None, units_of(sample)
            if freeze:
                plain = in_file_units(as_plain(sample).detach(), units)
                volume = plain if plain.ndim == 4 else plain[:, None]
                statistics = preprocessing.statistics(volume, preprocessing.placed(volume, spacing))
            self.samples.append(_CleanSample(spacing, statistics, units))

    def is_of(self, image: Tensor) -> bool:
        """Whether it is of this very image, which is as it was."""
        if self._voxels is None or not self._voxels.are(image) or type(image) is not type(self.clean):
            return False
        pairs = zip(split_batch(image), self.samples, strict=True)
        return all(
            spacing_of(sample) == clean.spacing and _list(units_of(sample)) == _list(clean.units)
            for sample, clean in pairs
        )

    def subset(self, index: Tensor) -> _Clean:
        """Of the samples that `index` selects, by number or by a boolean mask."""
        part = copy.copy(self)
        part.samples = [self.samples[i] for i in torch.arange(len(self.samples))[index.cpu()].tolist()]
        part._voxels = None
        return part

    def check_differentiable(self) -> None:
        """Nothing: all of it is."""


def _list(units: Tensor | None) -> Any:
    return None if units is None else units.tolist()


def spacing_of(image: Tensor) -> tuple[float, ...]:
    """Size of a voxel along the three axes of an image ``(C, *spatial)`` as nnU-Net reads it.

    Raises:
        ValueError: if the image does not say it.
    """
    if not isinstance(image, MetaTensor) or SPACING not in image.meta:
        raise ValueError(
            "image must be one that nnU-Net's own reader gives, whose axes have another order than those of MONAI's "
            f"LoadImage: take victim.read(files), or say MetaTensor(image, meta={{{SPACING!r}: [z, y, x]}}), with the "
            "size of its voxels, of an image that has them in that order."
        )
    return tuple(float(size) for size in image.meta[SPACING])
