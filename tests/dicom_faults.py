"""Faults of DICOM series that a reader must refuse: what makes each, and what the refusal says."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from dicom_files import cut, enhanced, planes, save, stored_volume
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import RLELossless, generate_uid

Spoil = Callable[[list[FileDataset], Path], object]


def every(**attributes: object) -> Spoil:
    def spoil(datasets: list[FileDataset], folder: Path) -> None:
        for ds in datasets:
            for name, value in attributes.items():
                _set(ds, name, value)
        save(datasets, folder)

    return spoil


def third(**attributes: object) -> Spoil:
    def spoil(datasets: list[FileDataset], folder: Path) -> None:
        for name, value in attributes.items():
            _set(datasets[2], name, value)
        save(datasets, folder)

    return spoil


def _set(ds: FileDataset, name: str, value: object) -> None:
    if value is None:
        delattr(ds, name)
    else:
        setattr(ds, name, value)


def stretched(factor: float) -> Spoil:
    """The first axis of the third plane's orientation, longer."""

    def spoil(datasets: list[FileDataset], folder: Path) -> None:
        row = [float(value) * factor for value in datasets[2].ImageOrientationPatient[:3]]
        datasets[2].ImageOrientationPatient = [*row, *datasets[2].ImageOrientationPatient[3:]]
        save(datasets, folder)

    return spoil


def without(*indices: int) -> Spoil:
    return lambda datasets, folder: save([ds for i, ds in enumerate(datasets) if i not in indices], folder)


def moved(shift: Callable[[int], tuple[float, float, float]]) -> Spoil:
    def spoil(datasets: list[FileDataset], folder: Path) -> None:
        for index, ds in enumerate(datasets):
            ds.ImagePositionPatient = [float(p) + d for p, d in zip(ds.ImagePositionPatient, shift(index), strict=True)]
        save(datasets, folder)

    return spoil


def file(change: Callable[[Path], object]) -> Spoil:
    """Change the file of the third plane once it is written."""
    return lambda datasets, folder: change(save(datasets, folder)[2])


def plus(make: Callable[[list[FileDataset]], FileDataset], name: str = "9999.dcm") -> Spoil:
    def spoil(datasets: list[FileDataset], folder: Path) -> None:
        save(datasets, folder)
        make(copy.deepcopy(datasets)).save_as(folder / name, enforce_file_format=True)

    return spoil


def changed(ds: FileDataset, **attributes: object) -> FileDataset:
    for name, value in attributes.items():
        _set(ds, name, value)
    return ds


def new(ds: FileDataset, **attributes: object) -> FileDataset:
    ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    return changed(ds, SOPInstanceUID=ds.file_meta.MediaStorageSOPInstanceUID, **attributes)


def multi_frame(order: list[int], **attributes: object) -> Spoil:
    return lambda datasets, folder: save([changed(enhanced(datasets, order), **attributes)], folder)


def frame_without_position(datasets: list[FileDataset], folder: Path) -> None:
    ds = enhanced(datasets)
    del ds.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence
    save([ds], folder)


def high_bits(datasets: list[FileDataset], folder: Path) -> None:
    """An overlay in the bits above those stored, as the header says."""
    pixels = np.frombuffer(datasets[2].PixelData, "<u2") | 0x8000
    datasets[2].PixelData = pixels.tobytes()
    datasets[2].add_new((0x6000, 0x0102), "US", 15)
    save(datasets, folder)


def values_beyond_the_bits(datasets: list[FileDataset], folder: Path) -> None:
    every(BitsStored=8, HighBit=7)(datasets, folder)


def alternating(**values: list[object]) -> Spoil:
    """Every other plane has the second value."""

    def spoil(datasets: list[FileDataset], folder: Path) -> None:
        for name, pair in values.items():
            for index, ds in enumerate(datasets):
                _set(ds, name, pair[index % 2])
        save(datasets, folder)

    return spoil


def twice(**values: list[object]) -> Spoil:
    """The whole volume two times, with one value and with the other."""

    def spoil(datasets: list[FileDataset], folder: Path) -> None:
        second = [new(copy.deepcopy(ds), **{n: pair[1] for n, pair in values.items()}) for ds in datasets]
        save([changed(ds, **{n: pair[0] for n, pair in values.items()}) for ds in datasets] + second, folder)

    return spoil


def tilted_and_uneven(datasets: list[FileDataset], folder: Path) -> None:
    moved(lambda i: (0, 0.67 * i, 0.4 * (i == 2)))(datasets, folder)


def dose(datasets: list[FileDataset], folder: Path) -> None:
    ds = changed(enhanced(datasets), Modality="RTDOSE", PerFrameFunctionalGroupsSequence=None)
    changed(ds, GridFrameOffsetVector=[0, 2, 4, 6, 8, 10], BitsAllocated=32, BitsStored=32, HighBit=31)
    save([ds], folder)


def floats(datasets: list[FileDataset], folder: Path) -> None:
    for ds in datasets:
        ds.FloatPixelData = np.frombuffer(ds.PixelData, "<u2").astype("<f4").tobytes()
        changed(ds, PixelData=None, BitsStored=None, HighBit=None, PixelRepresentation=None, BitsAllocated=32)
    save(datasets, folder)


def second_series(datasets: list[FileDataset], folder: Path) -> None:
    save(datasets, folder / "one")
    save(planes(stored_volume(1)), folder / "two")


def thin(datasets: list[FileDataset], folder: Path) -> None:
    """Planes 0.1 mm apart, one of them missing."""
    for index, ds in enumerate(datasets):
        ds.ImagePositionPatient = [*ds.ImagePositionPatient[:2], round(0.1 * index, 1)]
    without(2)(datasets, folder)


def names_are_uids_and_one_is_empty(datasets: list[FileDataset], folder: Path) -> None:
    cut(save(datasets, folder, [f"1.2.{i}" for i in range(6)])[5], 0)


def localizer_frame(datasets: list[FileDataset], folder: Path) -> None:
    ds, kind = enhanced(datasets), Dataset()
    kind.FrameType = ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]
    ds.PerFrameFunctionalGroupsSequence[0].CTImageFrameTypeSequence = [kind]
    save([ds], folder)


def jpeg_cut(datasets: list[FileDataset], folder: Path) -> None:
    for ds in datasets:
        ds.compress(RLELossless)
    cut(save(datasets, folder)[2], -30)


def no_transfer_syntax(path: Path) -> None:
    ds = pydicom.dcmread(path)
    del ds.file_meta.TransferSyntaxUID
    pydicom.dcmwrite(path, ds, implicit_vr=False, little_endian=True)


REFUSED: dict[str, tuple[Spoil, str]] = {
    "a perfusion map in colors": (
        every(ImageType=["DERIVED", "PRIMARY", "PERFUSION", "RCBF"], PixelPresentation="COLOR", RescaleType="US"),
        r"000\d\.dcm is a map of PERFUSION made to be shown in colors",
    ),
    "a perfusion map in a unit that is not said": (
        every(ImageType=["DERIVED", "PRIMARY", "AXIAL", "MTT"], RescaleType="US"),
        "must have values in HU, got RescaleType 'US'",
    ),
    "a mosaic": (every(ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]), "is a mosaic, many planes in one"),
    "a segmentation": (every(Modality="SEG"), "is a DICOM segmentation, no image"),
    "a localizer in small letters": (third(ImageType=["ORIGINAL", "PRIMARY", "localizer"]), "is a localizer inside"),
    "a plane missing": (without(3), r"1 plane\(s\) missing between 000\d\.dcm and 000\d\.dcm, 5\.000 mm apart"),
    "two planes missing": (without(2, 3), r"2 plane\(s\) missing between"),
    "the second plane missing": (without(1), r"1 plane\(s\) missing between"),
    "the last but one missing": (without(4), r"1 plane\(s\) missing between"),
    "uneven planes": (moved(lambda i: (0, 0, 0.4 * (i == 2))), "uneven planes: 2.900 mm between"),
    "a wide gap that is no plane's": (moved(lambda i: (0, 0, 1.5 * (i >= 3))), "uneven planes: 4.000 mm between"),
    "a file twice": (plus(lambda d: d[2]), "are the same image, by their SOPInstanceUID"),
    "a position twice": (plus(lambda d: new(d[2])), "lie at the same position: 5.000 mm, twice"),
    "a second time point": (plus(lambda d: new(d[2], TemporalPositionIndex=2)), "lie at the same position"),
    "two series": (second_series, r"found 2 series, choose one by its SeriesInstanceUID: .* \(CT, 6 files\)"),
    "a localizer by its fourth value": (
        third(ImageType=["ORIGINAL", "PRIMARY", "AXIAL", "LOCALIZER"]),
        r"000\d\.dcm is a localizer inside",
    ),
    "two holes": (without(1, 4), r"1 plane\(s\) missing .*; 1 plane\(s\) missing "),
    "thin planes, one missing": (thin, r"1 plane\(s\) missing between .* 0\.200 mm apart"),
    "names that are UIDs, one file empty": (names_are_uids_and_one_is_empty, r"1\.2\.5 is not DICOM, or is truncated"),
    "a localizer": (plus(lambda d: new(d[2], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])), "9999.dcm is a localiz"),
    "a plane of another direction": (third(ImageOrientationPatient=[1, 0, 0, 0, 0, -1]), "another orientation"),
    "a gantry tilt": (moved(lambda i: (0, 0.67 * i, 0)), r"mm beside the axis .* gantry tilt of 15\.0 degrees"),
    "a plane shifted sideways": (moved(lambda i: (3.0 * (i == 3), 0, 0)), "3.00 mm beside the axis"),
    "another size": (third(Rows=4), "has Rows 4, but .* has 8"),
    "another spacing": (third(PixelSpacing=[0.9, 0.9]), "another spacing"),
    "another frame of reference": (third(FrameOfReferenceUID="1.2.3"), "have not the same FrameOfReferenceUID"),
    "another study": (third(StudyInstanceUID="1.2.3"), "have not the same StudyInstanceUID"),
    "another patient": (third(PatientID="OTHER"), "are of different patients"),
    "a table of values": (every(ModalityLUTSequence=[Dataset()]), "maps its values by a table"),
    "an axis a little too long": (stretched(1.0008), "must have orthogonal unit vectors as orientation"),
    "signed and unsigned": (third(PixelRepresentation=1), "has PixelRepresentation 1, but"),
    "no position": (third(ImagePositionPatient=None), r"000\d\.dcm must have ImagePositionPatient with 3 values"),
    "no orientation": (every(ImageOrientationPatient=None), "must have ImageOrientationPatient with 6 values"),
    "no pixel spacing": (every(PixelSpacing=None), "must have PixelSpacing with 2 values"),
    "spacing zero": (every(PixelSpacing=[0, 0]), "PixelSpacing > 0"),
    "crooked directions": (every(ImageOrientationPatient=[1, 0, 0, 0.5, 1, 0]), "orthogonal unit vectors"),
    "no SOPInstanceUID": (third(SOPInstanceUID=None), r"000\d\.dcm must have SOPInstanceUID, and has none"),
    "no size": (third(Rows=None), r"000\d\.dcm must have Rows, and has none"),
    "neither modality nor slope": (every(Modality=None, RescaleSlope=None), "its HU are not known"),
    "two slopes": (third(RescaleSlope=[1, 2]), r"000\d\.dcm has an unreadable RescaleSlope"),
    "no slope": (every(RescaleSlope=None), "no RescaleSlope and RescaleIntercept: its HU are not known"),
    "no intercept in one plane": (third(RescaleIntercept=None), "its HU are not known"),
    "slope zero": (every(RescaleSlope=0), "RescaleSlope > 0"),
    "not HU": (every(RescaleType="OD"), "values in HU, got RescaleType 'OD'"),
    "inverted": (every(PhotometricInterpretation="MONOCHROME1"), "PhotometricInterpretation MONOCHROME2"),
    "colour": (
        every(SamplesPerPixel=3, PhotometricInterpretation="RGB"),
        "is in color: it must have SamplesPerPixel 1 and MONOCHROME2, got 3 and RGB",
    ),
    "bits that contradict": (every(HighBit=15), "bits that contradict each other"),
    "one plane": (without(1, 2, 3, 4, 5), "a volume needs two planes"),
    "no pixels": (third(PixelData=None), r"pixels of 000\d\.dcm do not decode \(truncated\?\)"),
    "cut in the pixels": (file(lambda p: cut(p, -50)), r"pixels of 000\d\.dcm do not decode"),
    "cut in the header": (file(lambda p: cut(p, 900)), r"000\d\.dcm (must have|is truncated)"),
    "cut after the preamble": (file(lambda p: cut(p, 140)), r"000\d\.dcm is"),
    "empty file": (file(lambda p: cut(p, 0)), r"000\d\.dcm is not DICOM, or is truncated"),
    "not DICOM": (file(lambda p: p.write_text("hello" * 100)), r"000\d\.dcm is not DICOM, or is truncated"),
    "compressed and cut": (jpeg_cut, r"pixels of 000\d\.dcm do not decode"),
    "no transfer syntax": (file(no_transfer_syntax), r"000\d\.dcm"),
    "nothing there": (lambda datasets, folder: folder.mkdir(), "found no DICOM file"),
    "writing interrupted": (lambda d, folder: save(d, folder / "x.part").clear(), "writing was interrupted"),
    "a multi-frame file, one frame missing": (multi_frame([0, 1, 2, 4, 5]), r"1 plane\(s\) missing between .*frame 3"),
    "a multi-frame file, a frame twice": (multi_frame([0, 1, 2, 2, 3, 4]), "lie at the same position"),
    "a multi-frame file, a frame without position": (frame_without_position, "must have ImagePositionPatient"),
    "a multi-frame file, a frame a localizer": (localizer_frame, "holds a localizer, frame 1"),
    "a multi-frame file that counts wrong": (multi_frame([0, 1, 2], NumberOfFrames=4), "4 frames and describes 3"),
    "a palette": (every(PhotometricInterpretation="PALETTE COLOR"), "is in color: .* got 1 and PALETTE COLOR"),
    "a dose": (dose, r"0000\.dcm is a dose \(its planes lie by GridFrameOffsetVector\), no image"),
    "floating-point numbers": (floats, "is a parametric map of floating-point numbers"),
    "one bit a pixel": (every(BitsAllocated=1, BitsStored=1, HighBit=0), "holds one bit a pixel, a mask and no image"),
    "32 bits": (every(BitsAllocated=32, BitsStored=32, HighBit=31), "whole numbers of at most 31 bits, got 32 of 32"),
    "values beyond the bits": (values_beyond_the_bits, "values of more than the 8 bits that it says .*, up to 19"),
    "a tilt in the header alone": (every(GantryDetectorTilt=20), "GantryDetectorTilt 20, and its planes lie 0.0 deg"),
    "a tilt in one header": (third(GantryDetectorTilt=20), "has GantryDetectorTilt (20.0|None), but"),
    "a tilt, and uneven": (tilted_and_uneven, r"uneven planes: 2\.900 mm .* gantry tilt of 15\.0 degrees"),
    "one plane a projection": (third(ImageType=["DERIVED", "SECONDARY", "MIP"]), r"is made of other planes \(MIP\)"),
    "one plane reformatted": (third(ImageType=["DERIVED", "SECONDARY", "REFORMATTED"]), r"planes \(REFORMATTED\)"),
    "one plane feet first": (third(PatientPosition="FFS"), "has PatientPosition (FFS|HFS), but .* has (FFS|HFS)"),
    "every other plane of another time": (
        alternating(TemporalPositionIndex=[1, 2]),
        "has TemporalPositionIndex [12], b",
    ),
    "every other plane of another kernel": (alternating(ConvolutionKernel=["B30f", "B70f"]), "has ConvolutionKernel B"),
    "an intercept that is none": (every(RescaleIntercept=1e9), r"must have values of a scan, got 1e\+09 to 1e\+09"),
    "a slope that is none": (every(RescaleSlope=1e30), "must have values of a scan, got -1024 to 4.095e"),
    "a spacing that is none": (every(PixelSpacing=[1e9, 1e9]), "PixelSpacing > 0 and <= 100 mm"),
    "planes far apart": (moved(lambda i: (0, 0, 1e6 * i)), "planes must lie within 100 mm of each other"),
    "two times": (
        twice(TemporalPositionIndex=[1, 2]),
        r"twice; they differ in TemporalPositionIndex \([12] and [12]\)",
    ),
    "two b-values": (twice(DiffusionBValue=[0, 1000]), r"differ in DiffusionBValue \(\d+\.0 and \d+\.0\): choose the"),
    "two echoes": (twice(EchoTime=[10, 20]), r"twice; they differ in EchoTime \([12]0\.0 and [12]0\.0\)"),
    "two volumes of two slopes": (twice(RescaleSlope=[1, 2]), r"twice; they differ in RescaleSlope"),
    "two times of day": (twice(AcquisitionTime=["101112", "131415"]), "twice; they differ in AcquisitionTime: choose"),
    "frames that do not say where they lie": (every(NumberOfFrames=2), "2 frames that do not say where they lie"),
}
