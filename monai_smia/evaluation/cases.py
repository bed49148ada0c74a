"""Cases: loaded one at a time, checked, as the victim takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from monai.data import MetaTensor, ThreadBuffer
from torch import Tensor

from monai_smia.attacks import Attack
from monai_smia.attacks.composite.base import within_range
from monai_smia.evaluation.fingerprint import files_of
from monai_smia.evaluation.plan import PlannedAttack
from monai_smia.storage.whole import check_exact, check_magnitude, check_placed, check_whole
from monai_smia.victims.base import check_same_grid
from monai_smia.victims.preprocessing import as_plain

BYTE = 255.0  # width of what eight bits hold


@dataclass
class Case:
    """One case as a batch of one.

    Args:
        name: unique.
        source: file of the image.
        image: ``(1, C, *spatial)``.
        label: as the victim takes it.
        mask: voxels that may change.
        patient: whose it is.
        strata: what cases are grouped by.
        clean_decision: on the clean image; None until it is known.
        clean_damage: on the clean image, which is no attack's; None until it is known.
        clean_metrics: of the clean image; None until they are known.
        frozen: share of voxels that no attack may change because they lie outside of the valid range.
        clip: valid range of this case's own file; None for that of the attack.
        unlabeled: the label is the decision on the clean image.
        units: units of the case's files per unit of its image, one per channel, where each case has its own; None
            where the image is as its files hold it.
    """

    name: str
    source: Any
    image: Tensor
    label: Any
    mask: Tensor
    patient: str = ""
    strata: dict[str, str] | None = None
    clean_decision: Any = None
    clean_damage: float | None = None
    clean_metrics: Mapping[str, Any] | None = None
    frozen: float = 0.0
    clip: tuple[float, float] | None = None
    unlabeled: bool = False
    units: tuple[float, ...] | None = None

    def batch(self) -> dict[str, Any]:
        """As MONAI's engines take a batch."""
        return {"image": self.image, "label": self.label, "mask": self.mask}

    def with_image(self, image: Tensor) -> Case:
        """The same case with another image of the same shape."""
        return replace(self, image=image)

    def own(self, attack: Attack) -> Attack:
        """The attack within the valid range of this case."""
        return attack if self.clip is None else within_range(attack, self.clip)


def load_case(
    item: Mapping[str, Any],
    loading: Callable[[Any], Any],
    device: torch.device,
    clips: Iterable[tuple[float, float]] = (),
    *,
    label_on_grid: bool = True,
) -> Case:
    """Load and check one case.

    Args:
        item: with ``case``, ``image`` and ``label``.
        loading: transform from the item to ``image`` ``(C, *spatial)`` and ``label``, and ``mask`` ``(1, *spatial)`` of
            the voxels that may change, where not all may.
        device: where image and label go.
        clips: valid ranges of the attacks; voxels outside of them (padding of -2048 in some CTs) are left alone, as
            is the padding that a DICOM series names.
        label_on_grid: a label map must lie on the image's grid; False where it lies on that of the network.

    Raises:
        ValueError: if the image is not finite or holds whole numbers that float32 does not, or a label map is not on
            its grid.
        DamagedFileError: if a file's checksum says that it is damaged.
    """
    check_input_files(item)
    loaded = loading(dict(item))
    image = loaded["image"].to(device)
    if not image.is_floating_point() and image.dtype.itemsize > 2:
        check_magnitude(float(as_plain(image).double().abs().max()), "image")
    if not bool(as_plain(image).isfinite().all()):
        raise ValueError("image must be finite, got NaN or infinite voxels.")
    batch = image[None].float()
    plain = as_plain(batch)
    mask = torch.ones_like(plain, dtype=torch.bool)
    if loaded.get("mask") is not None:
        mask &= torch.as_tensor(loaded["mask"], device=device)[None]
    own = loaded.get("clip")
    inside = torch.ones_like(mask)
    for low, high in clips if own is None else [own]:
        inside &= (plain >= low) & (plain <= high)
    mask &= inside
    padding = image.meta.get("padding") if isinstance(image, MetaTensor) else None
    if padding is not None:
        least, most = (torch.as_tensor(bound).to(plain) for bound in padding)
        mask &= (plain < least) | (plain > most)
    return Case(
        name=item["case"],
        source=item["image"],
        image=batch,
        label=batch_of_one(loaded.get("label"), image, on_grid=label_on_grid),
        mask=mask,
        patient=patient_of(item),
        strata=strata_of(item, image),
        clip=own,
        units=loaded.get("units"),
        frozen=1 - float(inside.double().mean()),
    )


def check_radii(plan: Sequence[PlannedAttack], case: Case) -> None:
    """Raise where a radius is wider than the case's own valid range, or, of an image that has none, than its values.

    What a file of more than eight bits can hold says little of its image: its values, with 0, are looked at as well.

    Raises:
        ValueError: that names both: the radius is meant in another unit.
    """
    plain, own = as_plain(case.image), case.clip
    values = min(float(plain.min()), 0.0), max(float(plain.max()), 0.0)
    bounded = own is not None and own[1] - own[0] <= BYTE
    for row in plan:
        if own is not None:
            row.check_range(own, "of this image's file")
        if row.attack is not None and not bounded and (own or row.attack.clip is None) and values[0] < values[1]:
            row.check_range(values, "of this image's values")


def check_labeled(case: Case, items: Sequence[Mapping[str, Any]]) -> None:
    """Raise where a case has no label and others have one, with which its clean decision must not be mixed.

    Raises:
        ValueError: that says what to do.
    """
    if case.label is None and any("label" in item for item in items):
        raise ValueError("the case must have a label, as others have: give it one, or leave it out.")


def check_input_files(item: Mapping[str, Any]) -> None:
    """Raise where a file of a case is damaged by its own account, or its image is one that float32 does not hold.

    Raises:
        ValueError: if the image holds whole numbers beyond 2^24, or the affine of a file is singular.
        DamagedFileError: if a checksum does not match; the file is named.
    """
    for name, value in item.items():
        for file in files_of(value):
            check_whole(file)
            check_placed(file)
            if name == "image":
                check_exact(file)


def patient_of(item: Mapping[str, Any]) -> str:
    """The patient of an item; every case is drawn for itself where nothing else was said."""
    return str(item.get("patient") or item["case"])


def strata_of(item: Mapping[str, Any], image: Tensor) -> dict[str, str]:
    """Names and values to group cases by: the item's ``strata`` (scanner, kernel, ...), and a volume's voxel spacing.

    Example:
        >>> volume = MetaTensor(torch.zeros(1, 8, 8, 4), affine=torch.diag(torch.tensor([0.7, 0.7, 2.5, 1])))
        >>> strata_of({"strata": {"kernel": "B30f"}}, volume)
        {'kernel': 'B30f', 'spacing (mm)': '0.7 x 0.7 x 2.5'}
    """
    strata = {str(name): str(value) for name, value in item.get("strata", {}).items()}
    if isinstance(image, MetaTensor) and image.ndim == 4:
        strata["spacing (mm)"] = " x ".join(f"{float(size):.3g}" for size in image.pixdim)
    return strata


def batch_of_one(label: Any, image: Tensor, *, on_grid: bool = True) -> Any:
    """A case's label as the victim takes it, on the image's device.

    Args:
        label: label map of the image's rank, class number(s), or a dictionary of tensors (boxes); None stays None.
        image: the case's image ``(C, *spatial)``.
        on_grid: check that a label map lies on the image's grid.

    Raises:
        ValueError: if a label map is not on the image's grid.

    Example:
        >>> batch_of_one(3, torch.zeros(3, 8, 8)), batch_of_one({"labels": [1]}, torch.zeros(3, 8, 8))
        (tensor([3]), [{'labels': tensor([1])}])
    """
    if label is None:
        return None
    if isinstance(label, Mapping):
        return [{name: torch.as_tensor(value, device=image.device) for name, value in label.items()}]
    label = torch.as_tensor(label, device=image.device)
    if on_grid and label.ndim == image.ndim:
        if image.shape[1:] != label.shape[1:]:
            raise ValueError(f"label must have the image's shape {tuple(image.shape)}, got {tuple(label.shape)}.")
        check_same_grid(image, label)
    return label[None]


def read_ahead(
    items: Sequence[Mapping[str, Any]], load: Callable[[Mapping[str, Any]], Any]
) -> Iterator[tuple[Mapping[str, Any], Any]]:
    """Every item with its loaded case, or the exception that it raised; the next one loads in the background."""

    def all_of_them() -> Iterator[tuple[Mapping[str, Any], Any]]:
        for item in items:
            try:
                yield item, load(item)
            except Exception as error:
                yield item, error

    return iter(ThreadBuffer(all_of_them(), buffer_size=1))
