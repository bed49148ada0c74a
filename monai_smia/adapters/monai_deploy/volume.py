"""The SDK's volumes: handed over to a bundle as the application does it, and read from files by its own operators."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.data.image_reader import ImageReader
from monai.deploy.core import Fragment
from monai.deploy.core.domain.dicom_series_selection import SelectedSeries, StudySelectedSeries
from monai.deploy.core.domain.image import Image
from monai.deploy.operators.dicom_data_loader_operator import DICOMDataLoaderOperator
from monai.deploy.operators.dicom_series_to_volume_operator import DICOMSeriesToVolumeOperator

from monai_smia.dicom import read_dicom_series
from monai_smia.dicom.series import Paths


class ApplicationReader(ImageReader):
    """Gives a bundle the volumes of an application, with the axes and metadata that its inference operator gives them.

    The series that the application has loaded is handed over; any other, such as one that an attack has written, goes
    through the SDK's own loader and volume operator.

    Args:
        fragment: the application.
        inference: its `MonaiBundleInferenceOperator`, which turns a volume for the bundle.
        to_volume: its `DICOMSeriesToVolumeOperator`; None for one of the SDK's defaults.
    """

    def __init__(self, fragment: Fragment, inference: Any, to_volume: Any = None) -> None:
        super().__init__()
        self.inference = inference
        self.loader = DICOMDataLoaderOperator(fragment, input_folder=Path(), name=f"{id(self)}_loader")
        self.to_volume = to_volume or DICOMSeriesToVolumeOperator(fragment, name=f"{id(self)}_to_volume")
        self.given: tuple[tuple[str, ...], Image] | None = None

    def fingerprint_parts(self) -> dict[str, Any]:
        """What decides, for the fingerprint of records: the volume that was handed over."""
        volume = None if self.given is None else self.given[1].asnumpy()
        sha256 = None if volume is None else hashlib.sha256(volume.tobytes()).hexdigest()
        return {"volume": [sha256, str(getattr(volume, "dtype", ""))], "to_volume": type(self.to_volume).__name__}

    def give(self, files: Sequence[Path], image: Image) -> None:
        """Hand over the volume of a series that the application has loaded."""
        self.given = tuple(map(str, files)), image

    def verify_suffix(self, filename: Paths) -> bool:
        """Any: there is no other reader."""
        return True

    def read(self, data: Paths, **kwargs: Any) -> Image:
        """The volume of a folder, or of the files of a series."""
        names = tuple(map(str, data)) if isinstance(data, (list, tuple)) else (str(data),)
        if self.given is not None and names == self.given[0]:
            return self.given[1]
        return self.selected(Path(names[0]))[0].selected_series[0].image

    def selected(self, folder: Path, uid: str | None = None) -> list[StudySelectedSeries]:
        """A series of a folder, its only one or that of a UID, as a selector passes it on, with its volume."""
        studies = self.loader.load_data_to_studies(folder)
        study, series = next(
            (study, series)
            for study in studies
            for series in study.get_all_series()
            if uid in (None, series.SeriesInstanceUID)
        )
        chosen = StudySelectedSeries(study)
        chosen.add_selected_series(SelectedSeries("", series, None))
        self.to_volume.convert_to_image([chosen])
        return [chosen]

    def get_data(self, img: Image) -> tuple[np.ndarray, dict[str, Any]]:
        """Values ``(columns, rows, planes)`` and metadata, by the inference operator's own conversion."""
        values, meta = self.inference._convert_from_image(img)
        return values, dict(meta)


def check_volume(image: Image, files: Sequence[Path]) -> None:
    """Raise where an application's volume is another than that of its series.

    Args:
        image: the volume, axes ``(planes, rows, columns)``.
        files: of its series.

    Raises:
        ValueError: if its values or its grid are others; what the SDK does is named where that is known.
    """
    series = read_dicom_series(files)
    volume, values = np.swapaxes(np.asarray(image.asnumpy()), 0, 2), series.values()
    if volume.shape != values.shape:
        raise ValueError(f"the application's volume {volume.shape} must have the shape of its series, {values.shape}.")
    apart = float(np.abs(volume.astype(np.float64) - values).max())
    if apart > 1e-2:
        wraps = " (DICOMSeriesToVolumeOperator takes the type of its first plane, into which negative values wrap)"
        raise ValueError(
            f"the application's volume must hold the values of its series, and is apart by up to {apart:g}"
            f"{wraps if volume.dtype.kind == 'u' else ''}: every figure would be one of another image."
        )
    affine = np.asarray(image.metadata().get("nifti_affine_transform", image.metadata().get("affine")), np.float64)
    if affine.shape != (4, 4) or not np.allclose(affine, series.affine, atol=1e-3):
        spacing = series.slices[0].spacing
        swaps = " (DICOMSeriesToVolumeOperator swaps the two in the plane)" if spacing[0] != spacing[1] else ""
        raise ValueError(
            f"the application's volume must lie where its series does, spacing {spacing[1]:g} x {spacing[0]:g}{swaps}: "
            "the bundle would be shown a patient of another shape."
        )
