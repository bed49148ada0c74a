"""Planes with slopes of their own, as PET has them: no plane is held to another's range (fault 95)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from dicom_files import planes, save
from monai.data import MetaTensor
from monai.transforms import Compose, EnsureChannelFirst, LoadImage

from monai_smia.dicom import DicomSeriesReader, read_dicom_series
from monai_smia.storage import DicomStorage


def pet(folder: Path) -> Path:
    """The second plane holds up to 409.5, the others up to 4095 times .01."""
    datasets = planes()
    for number, ds in enumerate(datasets):
        ds.RescaleSlope, ds.RescaleIntercept = (0.1 if number == 1 else 0.01), 0
        ds.RescaleType = "HU"
        ds.BitsStored, ds.HighBit = 12, 11
        pixels = np.frombuffer(ds.PixelData, "<u2").copy()
        pixels[:] = 4000 if number == 1 else 2000
        ds.PixelData = pixels.tobytes()
    save(datasets, folder)
    return folder


def test_the_range_holds_every_voxel(tmp_path: Path) -> None:
    series = read_dicom_series(pet(tmp_path / "series"))
    low, high = series.range
    values = series.values()
    assert low <= values.min()
    assert values.max() <= high
    assert np.isclose(high, 409.5)


def test_what_a_plane_cannot_hold_stops_at_its_own_limit(tmp_path: Path) -> None:
    folder = pet(tmp_path / "series")
    load = Compose([LoadImage(reader=DicomSeriesReader(), image_only=True), EnsureChannelFirst()])
    image: MetaTensor = load(folder)
    storage = DicomStorage(tmp_path / "out", identified=True)
    path = storage.write(image, image + 30.0, eps=30.0, source=str(folder), stem="a")
    change = (storage.read(path) - image).as_tensor()
    assert torch.allclose(
        change.amax((0, 1, 2)), torch.where(torch.arange(len(change[0, 0, 0])) == 1, 9.5, 20.95), atol=0.01
    )
