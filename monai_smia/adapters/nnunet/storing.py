"""Adversarial images as nnU-Net takes them: a folder with one file for every channel, each on its own grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
from torch import Tensor

from monai_smia.adapters.monai_bundle.units import again_in_units, in_file_units, units_of
from monai_smia.adapters.nnunet.loading import NIFTI, NNUNetReading
from monai_smia.storage import BelowOneUnitError, NiftiStorage, NotStorableError, PictureStorage
from monai_smia.victims.preprocessing import as_plain

PICTURE = ".png"


class NNUNetStorage:
    """Writes ``<stem>_adversarial/CASE_0000.nii.gz`` and on, and the perturbations into ``<stem>_perturbation``.

    Every channel is written in whole units of its own file, with that one's header: ``nnUNetv2_predict`` takes the
    folder as it is. A color picture is one file, ``<stem>_adversarial.png``. An image in units of its own is written in
    those of its files.

    Args:
        folder: where to write.
        reading: reads images as nnU-Net does.
    """

    def __init__(self, folder: Path, reading: NNUNetReading) -> None:
        self.folder, self.reading = folder, reading
        self._written: dict[Path, Tensor | None] = {}  # the units of an image

    def fingerprint_parts(self) -> dict[str, Any]:
        """What decides, for the fingerprint of records."""
        return {"reading": self.reading}

    def write(
        self, image: Tensor, adversarial: Tensor, *, eps: float, source: Any, stem: str, norm: str = "linf"
    ) -> Path:
        """As `monai_smia.storage.Storage.write`.

        Raises:
            NotStorableError: if a file of the case cannot hold it.
        """
        self.check(source)
        units = units_of(image)
        if norm != "linf" and (len(source) > 1 or (units is not None and len(set(units.tolist())) > 1)):
            raise NotStorableError(f"an image of {len(source)} files is stored within a radius of L-inf, not {norm}.")
        if units is not None:  # the voxels of the file itself, which dividing and multiplying again would round
            change = in_file_units(as_plain(adversarial) - as_plain(image), units)
            image = self.reading(source).to(change)
            adversarial = as_plain(image) + change
        radii = [eps] * len(source) if units is None else [float(f"{eps * unit:.9g}") for unit in units.tolist()]
        path = self.folder / f"{stem}_adversarial"
        try:
            if str(source[0]).endswith(PICTURE):
                if len(set(radii)) > 1:
                    raise NotStorableError("a color picture is stored within one radius of all its channels.")
                pictures = PictureStorage(self.folder, lambda file: self.reading([file]))
                path = pictures.write(image, adversarial, eps=radii[0], source=source[0], stem=stem, norm=norm)
                self._written[path] = units
                return path
            axes = self.reading.axes(source[0])
            pair = axes.file(as_plain(image)), axes.file(as_plain(adversarial))
            for number, file in enumerate(source):
                name = Path(file).name
                NiftiStorage(self.folder).write_as(
                    f"{stem}_adversarial/{name}",
                    f"{stem}_perturbation/{name}",
                    *(each if len(source) == 1 else each[number : number + 1] for each in pair),
                    eps=radii[number],
                    source=file,
                    norm=norm,
                )
        except (BelowOneUnitError, NotStorableError):
            raise
        except ValueError as error:
            raise NotStorableError(str(error)) from error
        self._written[path] = units
        return path

    def read(self, path: Any) -> Tensor:
        """The image of a folder, as nnU-Net reads it, in the units that it was attacked in."""
        return again_in_units(self.reading(files_in(path)), self._written.get(path))

    def in_file_axes(self, image: Tensor, source: Any) -> Tensor:
        """An image ``(C, *spatial)``, or a decision on it, with the axes of its file."""
        return self.reading.axes(source[0]).file(image)

    def why_not(self, sources: Sequence[Any]) -> str | None:
        """Which cases will have no stored rows, in a sentence; None where all can be stored."""
        reasons = []
        for source in sources:
            try:
                self.check(source)
            except NotStorableError as error:
                reasons.append(str(error))
        return f"{len(reasons)} of {len(sources)} cases have no stored rows: {reasons[0]}" if reasons else None

    @staticmethod
    def check(source: Sequence[str]) -> None:
        """Raise where a file is none that can be written.

        Raises:
            NotStorableError: that names it.
        """
        if len(source) == 1 and str(source[0]).endswith(PICTURE):
            return
        for file in source:
            if not str(file).endswith(NIFTI) or type(nib.load(file)) is not nib.Nifti1Image:
                raise NotStorableError(f"{Path(file).name} is no NIfTI file of version 1, nor a color PNG.")


def files_in(folder: Path) -> list[str]:
    """The files of an image that was stored, in the order of its channels."""
    if Path(folder).is_file():
        return [str(folder)]
    return [str(file) for file in sorted(Path(folder).iterdir())]
