"""Segmentation metrics of one case, of all classes together and of each: overlap, surfaces, volume, lesions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from torch import Tensor

from monai_smia.metrics.base import CaseMetrics, means
from monai_smia.metrics.compared import Compared
from monai_smia.metrics.lesions import lesion_counts
from monai_smia.metrics.overlap import Overlap
from monai_smia.metrics.structures import check_class_names, structures_of
from monai_smia.metrics.surfaces import surface_scores
from monai_smia.metrics.volumes import (
    SPACING,
    as_recorded,
    coefficients_of_variation,
    over_threshold,
    spacing_of,
    surface_dice_name,
    volume_changes,
    voxel_ml,
)


class SegmentationMetrics(CaseMetrics):
    """Overlap, surface distance, surface Dice, invented volume and the volumes of every class, case by case.

    Of all classes together:

    - ``accuracy``: mean over the classes that the label holds, background included, of the share of a class's voxels
      that are found (the "mean accuracy" of semantic segmentation); of 0/1 channels the mean over both values of each.
    - ``jaccard``, ``dice``: mean over the foreground classes that decision or label hold, 1 where neither holds one
      (`monai_smia.metrics.overlap.Overlap`). A victim's damage is 1 - Jaccard.
    - ``hd95``: 95th percentile of the distance between the two surfaces in mm, mean over the same classes. Of a class
      that one of the two holds alone it is the diagonal of the image, so that the worst outcome reads as the worst;
      undefined where neither holds any.
    - ``surface_dice``: share of the edge voxels of both that lie within `tolerance` of the other's, mean over the same
      classes, 0 of one that one of the two holds alone. In a record its name says the tolerance: ``surface_dice_2mm``
      (``surface_dice_2voxels`` where voxels have no size).
    - ``invented``: voxels that are decided as foreground where the label holds none (of 0/1 channels: where some
      channel is decided that the label does not hold). In a record ``invented_ml``, in milliliters, of volumes whose
      voxels have a size, ``invented_voxels`` of others.

    Of every foreground class the same, under the same names with ``_<class>`` behind, undefined where neither holds
    any (``accuracy``: where the label holds none), and in a record (``ml`` or ``voxels``, as above):

    - ``volume_ml``, ``volume_reference_ml`` of the decision and of the label, ``volume_error_ml`` their difference.
    - ``volume_change_ml``, ``volume_change_percent``: what the attack has changed of the clean decision's volume; in a
      summary with their coefficients of variation over cases, ``cv_volume_change_ml`` and ``..._percent``: standard
      deviation over the size of the mean.
    - with `lesion_overlap`: ``lesion_sensitivity``, the share of the label's lesions that are found, undefined where it
      has none, and ``false_lesions``, the number of the decision's that are false
      (`monai_smia.metrics.lesions.lesion_counts`); ``lesions``, the number of the label's, in records alone.
    - with `volume_thresholds`, such as ``{"lung": 4000}``: ``over_4000ml`` says whether the volume is above,
      ``over_4000ml_wrong`` whether the label's says otherwise, ``over_4000ml_changed`` whether the clean decision's
      does; in a summary the shares of cases.

    Ignored labels (the victim's `ignore_index`) count in none of them. `spacing_mm` of a record is the size of a voxel.

    Args:
        num_classes: number of classes with the background for exclusive classes; None for 0/1 channels.
        class_names: name of every class, the background's included for exclusive classes, such as
            `monai_smia.metrics.channel_names` reads them from a bundle's metadata; None for their numbers.
        tolerance: distance that the surface Dice lets pass, in mm, >= 0.
        lesion_overlap: least share, in (0, 1], of a lesion that must be covered for it to be found; None leaves lesions
            out.
        volume_thresholds: volume in ml, by the name of a class, that a decision hangs on.

    Raises:
        ValueError: if an argument is outside its range; in use, if decision or label hold other classes, or a threshold
            in ml is asked of an image whose voxels have no size.

    Example:
        >>> label = torch.zeros(1, 1, 8, 8, dtype=torch.long)
        >>> label[..., 2:6, 2:6] = 1
        >>> decision = label.clone()
        >>> decision[..., 2, 2:6] = 0
        >>> metrics = SegmentationMetrics(num_classes=2, class_names=["background", "lung"], tolerance=0.5)
        >>> values = metrics(decision, label, spacing=(1.0, 1.0))
        >>> {name: round(float(values[name]), 3) for name in ("jaccard", "hd95", "surface_dice", "jaccard_lung")}
        {'jaccard': 0.75, 'hd95': 1.0, 'surface_dice': 0.727, 'jaccard_lung': 0.75}
    """

    primary = "jaccard"

    def __init__(
        self,
        num_classes: int | None = 2,
        *,
        class_names: Sequence[str] | None = None,
        tolerance: float = 2.0,
        lesion_overlap: float | None = None,
        volume_thresholds: Mapping[str, float] | None = None,
    ) -> None:
        if num_classes is not None and num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, or None for 0/1 channels, got {num_classes}.")
        if not 0 <= tolerance < math.inf:
            raise ValueError(f"tolerance must be a distance >= 0 in mm, got {tolerance}.")
        if lesion_overlap is not None and not 0 < lesion_overlap <= 1:
            raise ValueError(f"lesion_overlap must lie in (0, 1], or be None, got {lesion_overlap}.")
        self.num_classes, self.tolerance, self.lesion_overlap = num_classes, float(tolerance), lesion_overlap
        self.volume_thresholds = dict(volume_thresholds or {})
        self.first = 0 if num_classes is None else 1  # the background of exclusive classes is left out
        if class_names is not None and isinstance(class_names, str):
            raise ValueError(f"class_names must be a list of names, got {class_names!r}.")
        if class_names is not None and num_classes is not None and len(class_names) != num_classes:
            raise ValueError(
                f"class_names must hold {num_classes} names, background included, got {list(class_names)}."
            )
        self.class_names = None if class_names is None else list(class_names)[self.first :]
        names = (self.class_names or []) if num_classes is None else self._names(num_classes - 1)
        check_class_names(names, self._directions([])[0])
        self.ranges, self.lower_is_better = self._directions(names)
        if names:
            self._check_thresholds(names)

    def case(self, victim: Any, prediction: Any, label: Any, image: Tensor) -> dict[str, Any]:
        """The metrics of the victim's decision; None where undefined."""
        spacing, ignored = spacing_of(image), getattr(victim, "ignore_index", None)
        size = voxel_ml(image)
        if size is None and self.volume_thresholds:
            raise ValueError("volume_thresholds are in ml, and the image does not say how large its voxels are.")
        (sample,) = self._samples(victim.decide(prediction), victim.as_label(label), ignored)
        values, classes = self._scores(sample, image.shape[2:], spacing or [1.0] * (image.ndim - 2))
        self._check_thresholds(list(classes))
        result = as_recorded(values, spacing, size, self.tolerance)
        for name, of_class in classes.items():
            here = as_recorded(of_class, spacing, size, self.tolerance)
            result |= {f"{metric}_{name}": value for metric, value in here.items()}
            if name in self.volume_thresholds:
                result |= over_threshold(here, name, self.volume_thresholds[name])
        return self.checked(result if spacing is None else result | {SPACING: spacing})

    def changes(self, values: Mapping[str, Any], clean: Mapping[str, Any]) -> dict[str, float | None]:
        """The change of every class's volume, and whether it has crossed a threshold."""
        return volume_changes(values, clean, structures_of(values), self.volume_thresholds)

    def summary(self, records: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
        """Means over the cases, and the coefficients of variation of the changes of volume."""
        return {**means(records), **coefficients_of_variation(records)}

    @torch.no_grad()
    def __call__(
        self, decision: Tensor, label: Tensor, spacing: Sequence[float], *, ignore_index: int | None = None
    ) -> dict[str, Tensor]:
        """The metrics.

        Args:
            decision: classes ``(B, 1, *spatial)`` or 0/1 channels ``(B, K, *spatial)``.
            label: of the same shape.
            spacing: size of a voxel along each axis, in mm.
            ignore_index: label value that does not count.

        Returns:
            Of all classes, and of each with ``_<class>`` behind, each ``(B,)``, float64: ``accuracy, jaccard, dice,
            surface_dice`` in [0, 1], ``hd95`` in mm and ``invented`` in voxels; of each ``volume`` and
            ``volume_reference`` in voxels, too. NaN where undefined.
        """
        samples = []
        for sample in self._samples(decision, label, ignore_index):
            values, classes = self._scores(sample, list(decision.shape[2:]), [float(size) for size in spacing])
            for name, of_class in classes.items():
                values |= {f"{metric}_{name}": value for metric, value in of_class.items()}
            samples.append(values)
        return {name: torch.tensor([s[name] for s in samples], dtype=torch.float64) for name in samples[0]}

    def _samples(self, decision: Tensor, label: Tensor, ignore_index: int | None) -> list[Compared]:
        """Every sample, its values known to be classes."""
        if decision.shape != label.shape:
            raise ValueError(f"label must have the decision's shape {tuple(decision.shape)}, got {tuple(label.shape)}.")
        counted = None if ignore_index is None else (_plain(label) != ignore_index).to(decision.device)
        pair = (
            self._checked(_plain(value), counted, name) for name, value in (("decision", decision), ("label", label))
        )
        found = []
        for number, (decided, truth) in enumerate(zip(*pair, strict=True)):
            counts = None if counted is None else counted[number]
            if self.num_classes is None:
                found.append(Compared.of_channels(decided, truth, counts))
            else:
                found.append(
                    Compared.of_classes(decided[0], truth[0], self.num_classes, None if counts is None else counts[0])
                )
        return found

    def _checked(self, value: Tensor, counted: Tensor | None, name: str) -> Tensor:
        """A map that is known to hold classes where it counts."""
        values = value if counted is None else value.where(counted.to(value.device), 0)
        highest = 1 if self.num_classes is None else self.num_classes - 1
        whole = values.to(torch.int32 if highest > 255 else torch.uint8)
        if bool((whole == values).all()) and int(whole.max()) <= highest:
            return whole
        low, high = float(values.min()), float(values.max())
        raise ValueError(
            f"{name} must hold whole numbers from 0 to {highest}, got values from {low:g} to {high:g}; what does "
            "not count is the victim's ignore_index."
        )

    def _scores(
        self, sample: Compared, shape: Sequence[int], spacing: Sequence[float]
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Values of all classes together, and by name of every foreground class."""
        foreground = sample.overlap.part(slice(self.first, None))
        names = self._names(foreground.both.shape[1])
        diagonal = math.hypot(*(n * s for n, s in zip(shape, spacing, strict=True)))
        classes = {n: self._of_class(sample, foreground, k, diagonal, spacing) for k, n in enumerate(names)}
        found = sample.overlap.both / sample.overlap.truth
        if sample.rest is not None:
            found = torch.cat([found, sample.rest.both / sample.rest.truth], 1)
        values = {
            "accuracy": float(found.nanmean()),
            "jaccard": float(foreground.jaccard()),
            "dice": float(foreground.dice()),
            "invented": sample.invented,
        }
        for name in ("hd95", "surface_dice"):
            values[name] = float(torch.tensor([each[name] for each in classes.values()], dtype=torch.float64).nanmean())
        return values, classes

    def _of_class(
        self, sample: Compared, foreground: Overlap, number: int, diagonal: float, spacing: Sequence[float]
    ) -> dict[str, Any]:
        """Values of one class; NaN where undefined."""
        own = foreground.part(slice(number, number + 1))
        both, decided, truth = (float(count) for count in (own.both, own.decided, own.truth))
        held = decided + truth > 0
        hd95, surface_dice = (diagonal, 0.0) if held else (math.nan, math.nan)
        if decided and truth:
            hd95, surface_dice = surface_scores(*sample.masks(number), spacing, self.tolerance)
        values: dict[str, Any] = {
            "accuracy": both / truth if truth else math.nan,
            "jaccard": float(own.jaccard()) if held else math.nan,
            "dice": float(own.dice()) if held else math.nan,
            "hd95": hd95,
            "surface_dice": surface_dice,
            "invented": decided - both,
            "volume": decided,
            "volume_reference": truth,
        }
        if self.lesion_overlap is not None:
            lesions, detected, false = lesion_counts(*sample.masks(number), self.lesion_overlap)
            values |= {"lesion_sensitivity": detected / lesions if lesions else math.nan, "lesions": lesions}
            values["false_lesions"] = float(false)
        return values

    def _directions(self, names: Sequence[str]) -> tuple[dict[str, tuple[float, float]], frozenset[str]]:
        """Ranges of the metrics by their names in records, and which a victim is better with less of."""
        surface = [surface_dice_name(self.tolerance, unit) for unit in ("mm", "voxels")]
        shares, sizes = ["accuracy", "jaccard", "dice", *surface], ["hd95", "invented_ml", "invented_voxels"]
        lesions = [] if self.lesion_overlap is None else [("lesion_sensitivity", "false_lesions")]
        shares += [f"{name}_{each}" for each in names for name in (*shares, *(found for found, _ in lesions))]
        sizes += [f"{name}_{each}" for each in names for name in (*sizes, *(false for _, false in lesions))]
        ranges: dict[str, tuple[float, float]] = dict.fromkeys(shares, (0, 1))
        return ranges | dict.fromkeys(sizes, (0, math.inf)), frozenset(sizes)

    def _check_thresholds(self, names: Sequence[str]) -> None:
        for name, volume in self.volume_thresholds.items():
            if name not in names or not 0 <= volume < math.inf:
                raise ValueError(f"volume_thresholds must be volumes in ml of {list(names)}, got {name!r}: {volume}.")

    def _names(self, count: int) -> list[str]:
        """Names of the foreground classes.

        Raises:
            ValueError: if there are others than were named.
        """
        if self.class_names is None:
            return [str(number) for number in range(self.first, self.first + count)]
        if len(self.class_names) != count:
            raise ValueError(f"class_names must hold {count} names, one for each channel, got {self.class_names}.")
        return self.class_names


def _plain(value: Tensor) -> Tensor:
    return value.as_tensor() if isinstance(value, MetaTensor) else value
