"""Adversarial images of a bundle as files, each in the format of its own case."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from torch import Tensor

from monai_smia.adapters.monai_bundle.axes import Axes, axes_of
from monai_smia.adapters.monai_bundle.chain import Chain
from monai_smia.adapters.monai_bundle.parts import is_dicom
from monai_smia.adapters.monai_bundle.ranges import is_picture
from monai_smia.adapters.monai_bundle.units import again_in_units, in_file_units, units_of
from monai_smia.dicom import read_dicom_series
from monai_smia.storage import BelowOneUnitError, DicomStorage, NiftiStorage, NotStorableError, PictureStorage
from monai_smia.storage.several import stored_names, write_several
from monai_smia.victims.preprocessing import as_plain

NETWORK = "attack what the network sees, with --attack#space network, and it is stored as NIfTI"


class BundleStorage:
    """Writes NIfTI, pictures and DICOM series in the format that the case has, and reads them as the bundle does.

    An image of several files is written as several, each in whole units of its own and on its own grid, into a folder
    ``<stem>_adversarial``, by the names of its files. An image in units of its own is written in those of its files.

    Args:
        folder: where to write.
        chain: the bundle's.
        note: for derived DICOM series.
        identified: store DICOM series though their sources do not say that they are de-identified.
        compression: of the pixels of series, as for `DicomStorage`.
    """

    def __init__(
        self, folder: Path, chain: Chain, *, note: str = "", identified: bool = False, compression: str | None = None
    ) -> None:
        self.folder = folder
        self.chain = chain
        self._known: tuple[Any, Axes] | None = None
        self._written: dict[Path, tuple[list[str], Tensor | None]] = {}  # the files of an image, and its units
        self.nifti = NiftiStorage(folder)
        self.pictures = PictureStorage(folder, chain.read)
        self.dicom = DicomStorage(folder, note=note, identified=identified, compression=compression)

    def fingerprint_parts(self) -> dict[str, Any]:
        """What decides, for the fingerprint of records."""
        told = {"transform": self.chain.compose, "note": self.dicom.note, "identified": self.dicom.identified}
        return told if self.dicom.compression is None else {**told, "compression": self.dicom.compression}

    def write(
        self, image: Tensor, adversarial: Tensor, *, eps: float, source: Any, stem: str, norm: str = "linf"
    ) -> Path:
        """As `monai_smia.storage.Storage.write`.

        Raises:
            NotStorableError: if the file of the case cannot hold it.
        """
        storage, units = self.storage_of(source), units_of(image)
        if units is not None:  # the voxels of the file itself, which dividing and multiplying again would round
            change = in_file_units(as_plain(adversarial) - as_plain(image), units)
            image = self.chain.read(source).to(change)
            adversarial = as_plain(image) + change
        radii = [eps] if units is None else [float(f"{eps * unit:.9g}") for unit in units.tolist()]
        if norm != "linf" and len(set(radii)) > 1:
            raise NotStorableError(f"channels with units of their own are stored within a radius of L-inf, not {norm}.")
        if storage is self.pictures and len(set(radii)) > 1:
            raise NotStorableError(
                "a color picture is stored within one radius of all its channels; give it in grey levels, with "
                "--attack#eps_unit image."
            )
        if storage is self.dicom:
            self._check_series(image, source)
        else:
            axes = self._axes(source)
            image, adversarial = axes.file(as_plain(image)), axes.file(as_plain(adversarial))
        files = [source] if storage is self.dicom or not isinstance(source, (list, tuple)) else list(source)
        ball: Any = radii[0] if len(set(radii)) == 1 else radii
        try:
            if len(files) > 1:
                path = write_several(self.nifti, image, adversarial, ball, source=files, stem=stem, norm=norm)
            else:
                path = storage.write(image, adversarial, eps=ball, source=files[0], stem=stem, norm=norm)
        except (BelowOneUnitError, NotStorableError):
            raise
        except ValueError as error:
            raise NotStorableError(str(error)) from error
        written = [str(path / name) for name in stored_names(files)] if len(files) > 1 else [str(path)]
        self._written[path] = written, units
        return path

    def in_file_axes(self, image: Tensor, source: Any) -> Tensor:
        """An image ``(C, *spatial)``, or a decision on it, with the axes of its file."""
        return self._axes(source).file(image)

    def files_of(self, path: Path) -> list[str]:
        """The files of an image that was written, in the order of its channels."""
        return self._written[path][0] if path in self._written else [str(path)]

    def why_not(self, sources: Sequence[Any]) -> str | None:
        """Which cases will have no stored rows, in a sentence; None where all can be stored."""
        reasons = []
        for source in sources:
            try:
                self.storage_of(source)
            except NotStorableError as error:
                reasons.append(str(error))
            except Exception:  # a file that cannot be opened is for the evaluation to name
                continue
        return f"{len(reasons)} of {len(sources)} cases have no stored rows: {reasons[0]}" if reasons else None

    def read(self, path: Any) -> Tensor:
        """The image as the bundle's loader gives it, in the units that it was attacked in."""
        files, units = self._written.get(path, ([str(path)], None))
        source = files if len(files) > 1 or self.chain.source_keys else files[0]
        return again_in_units(self.chain.read(source), units)

    def _axes(self, source: Any) -> Axes:
        """How the bundle's reader turns a file; the next one of a case is its last one's."""
        if self._known is None or self._known[0] != source:
            first = source[0] if isinstance(source, (list, tuple)) else source
            self._known = source, axes_of(self.chain.read_one, first)
        return self._known[1]

    def _check_series(self, image: Tensor, source: Any) -> None:
        """Raise where the bundle's reader gives a series other than it is."""
        values = read_dicom_series(source, getattr(image, "meta", {}).get("series_uid")).values()[None]
        if values.shape != tuple(image.shape) or np.abs(as_plain(image).cpu().numpy() - values).max() > 1e-2:
            raise NotStorableError(f"the bundle's reader gives another image than the series has; {NETWORK}.")

    def storage_of(self, source: Any) -> Any:
        """The storage of a case.

        Raises:
            NotStorableError: if there is none for its format.
        """
        if is_dicom(source):
            return self.dicom
        if isinstance(source, (list, tuple)) and len(source) > 1:
            for file in source:
                if self.storage_of(file) is not self.nifti:
                    name = Path(str(file)).name
                    raise NotStorableError(f"{name}, of an image of several files, is no NIfTI; {NETWORK}.")
            return self.nifti
        source = source[0] if isinstance(source, (list, tuple)) else source
        if is_picture(source):
            return self.pictures
        if str(source).endswith((".nii", ".nii.gz")):
            if type(nib.load(str(source))) is nib.Nifti1Image:
                return self.nifti
            raise NotStorableError(f"{Path(str(source)).name} is NIfTI, but not of version 1; {NETWORK}.")
        name = Path(str(source)).name
        raise NotStorableError(f"{name} is neither NIfTI nor a picture nor DICOM; {NETWORK}.")
