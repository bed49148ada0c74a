"""Series as hospitals have them: each is refused and its fault named, or read right; none is silently wrong."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path

import gdcm
import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_files import AFFINE, SHAPE, cut, enhanced, planes, save, stored_volume
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
from monai.transforms import Compose, EnsureChannelFirstd, LoadImage, LoadImaged, Orientationd, Resized, Spacingd
from pydicom.dataset import Dataset as Header
from pydicom.dataset import FileDataset
from pydicom.fileset import FileSet
from pydicom.uid import (
    BasicTextSRStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    RTStructureSetStorage,
    generate_uid,
)

from monai_smia.data import DicomSeriesError, DicomSeriesReader, find_dicom_series, read_dicom_series

HU = stored_volume() - 1024.0
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
    """An overlay in the bits above those stored."""
    pixels = np.frombuffer(datasets[2].PixelData, "<u2") | 0x8000
    datasets[2].PixelData = pixels.tobytes()
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
    ds, kind = enhanced(datasets), Header()
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
    "a plane missing": (without(3), r"1 plane\(s\) missing between 000\d\.dcm and 000\d\.dcm, 5\.000 mm apart"),
    "two planes missing": (without(2, 3), r"2 plane\(s\) missing between"),
    "the second plane missing": (without(1), r"1 plane\(s\) missing between"),
    "the last but one missing": (without(4), r"1 plane\(s\) missing between"),
    "uneven planes": (moved(lambda i: (0, 0, 0.4 * (i == 2))), "uneven planes: 2.900 mm between"),
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
    "another frame of reference": (third(FrameOfReferenceUID="1.2.3"), "FrameOfReferenceUID 1.2.3, but"),
    "another study": (third(StudyInstanceUID="1.2.3"), "StudyInstanceUID 1.2.3, but"),
    "another patient": (third(PatientID="OTHER"), "are of different patients"),
    "signed and unsigned": (third(PixelRepresentation=1), "has PixelRepresentation 1, but"),
    "no position": (third(ImagePositionPatient=None), r"000\d\.dcm must have ImagePositionPatient with 3 values"),
    "no orientation": (every(ImageOrientationPatient=None), "must have ImageOrientationPatient with 6 values"),
    "no pixel spacing": (every(PixelSpacing=None), "must have PixelSpacing with 2 values"),
    "spacing zero": (every(PixelSpacing=[0, 0]), "PixelSpacing > 0"),
    "crooked directions": (every(ImageOrientationPatient=[1, 0, 0, 0.5, 1, 0]), "orthogonal unit vectors"),
    "no SOPInstanceUID": (third(SOPInstanceUID=None), r"000\d\.dcm is truncated, .* no SOPInstanceUID"),
    "no size": (third(Rows=None), r"000\d\.dcm is truncated, .* no Rows"),
    "neither modality nor slope": (every(Modality=None, RescaleSlope=None), "its HU are not known"),
    "two slopes": (third(RescaleSlope=[1, 2]), r"000\d\.dcm has an unreadable RescaleSlope"),
    "no slope": (every(RescaleSlope=None), "no RescaleSlope and RescaleIntercept: its HU are not known"),
    "no intercept in one plane": (third(RescaleIntercept=None), "its HU are not known"),
    "slope zero": (every(RescaleSlope=0), "RescaleSlope > 0"),
    "not HU": (every(RescaleType="OD"), "values in HU, got RescaleType 'OD'"),
    "inverted": (every(PhotometricInterpretation="MONOCHROME1"), "PhotometricInterpretation MONOCHROME2"),
    "colour": (every(SamplesPerPixel=3, PhotometricInterpretation="RGB"), "SamplesPerPixel 1, got 3"),
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
    "frames that do not say where they lie": (every(NumberOfFrames=2), "2 frames that do not say where they lie"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name: str, tmp_path: Path) -> None:
    spoil, message = REFUSED[name]
    folder = tmp_path / "series"
    spoil(planes(), folder)
    if (folder / "x.part").exists():
        folder = folder / "x.part"
    with pytest.raises(DicomSeriesError, match=message) as caught:
        read_dicom_series(folder).values()
    assert "SECRET" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    with pytest.raises(DicomSeriesError, match=message):  # and no other reader steps in
        LoadImage(reader=DicomSeriesReader())(folder)


def rewritten(syntax: str) -> Spoil:
    def spoil(datasets: list[FileDataset], folder: Path) -> None:
        for ds in datasets:
            ds.file_meta.TransferSyntaxUID = syntax
            if syntax == ExplicitVRBigEndian:
                ds["PixelData"].VR = "OW"
                ds.set_original_encoding(False, False)
                ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
        save(datasets, folder)

    return spoil


def compressed(datasets: list[FileDataset], folder: Path) -> None:
    for ds in datasets:
        ds.compress(RLELossless)
    save(datasets, folder)


def signed(datasets: list[FileDataset], folder: Path) -> None:
    for ds in datasets:
        stored = np.frombuffer(ds.PixelData, "<u2").astype(int) - 1024
        ds.PixelData = stored.astype("<i2").tobytes()
        changed(ds, PixelRepresentation=1, RescaleIntercept=0)
    save(datasets, folder)


def half_units(datasets: list[FileDataset], folder: Path) -> None:
    for ds in datasets:
        ds.PixelData = (np.frombuffer(ds.PixelData, "<u2") * 2).astype("<u2").tobytes()
    every(RescaleSlope="0.5")(datasets, folder)


def slope_per_plane(datasets: list[FileDataset], folder: Path) -> None:
    ds = datasets[2]
    ds.PixelData = (np.frombuffer(ds.PixelData, "<u2") * 2).astype("<u2").tobytes()
    third(RescaleSlope="0.5")(datasets, folder)


def long_orientation(datasets: list[FileDataset], folder: Path) -> None:
    """More than the 16 characters that a decimal string may have, as some exporters write them."""
    for path in save([changed(ds, ImageOrientationPatient=[1, 0, 0, 0, 1, 0]) for ds in datasets], folder):
        old, text = b"1\\0\\0\\0\\1\\0 ", b"1.000000000000000000\\0\\0\\0\\1.000000000000000000\\0 "
        tag = b"\x20\x00\x37\x00DS"
        data = path.read_bytes()
        assert tag + len(old[:-1] + b" ").to_bytes(2, "little") + old in data or tag in data
        start = data.index(tag)
        length = int.from_bytes(data[start + 6 : start + 8], "little")
        text = text if len(text) % 2 == 0 else text[:-1]
        head, tail = data[:start], data[start + 8 + length :]
        path.write_bytes(head + tag + len(text).to_bytes(2, "little") + text + tail)


def beside(datasets: list[FileDataset], folder: Path) -> None:
    save(datasets, folder / "study" / "series")
    (folder / "readme.txt").write_text("not an image")
    (folder / ".DS_Store").write_bytes(b"\0")
    (folder / ".x.part").mkdir()
    (folder / ".x.part" / "0.dcm").write_bytes(b"half a file")


def other_modalities(datasets: list[FileDataset], folder: Path) -> None:
    """A structured report and a structure set beside the series, as a study has them."""
    save(datasets, folder)
    for number, (modality, kind) in enumerate((("SR", BasicTextSRStorage), ("RTSTRUCT", RTStructureSetStorage))):
        ds = new(copy.deepcopy(datasets[0]), SOPClassUID=kind, Modality=modality, SeriesInstanceUID=generate_uid())
        for name in ("Rows", "Columns", "PixelData", "ImagePositionPatient"):
            delattr(ds, name)
        ds.save_as(folder / f"{number}.bin", enforce_file_format=True)


def links(datasets: list[FileDataset], folder: Path) -> None:
    """A folder behind a link, which holds a link back."""
    paths = save(datasets, folder.parent / "elsewhere", [f"IM{i}.DCM" for i in range(6)])
    folder.mkdir()
    (folder / "link").symlink_to(paths[0].parent)
    (paths[0].parent / "back").symlink_to(paths[0].parent)


def directory(datasets: list[FileDataset], folder: Path) -> None:
    """As on a CD: a DICOMDIR, and files in folders."""
    files = FileSet()
    for ds in datasets:
        files.add(changed(ds, StudyID="1", StudyTime="1000"))
    files.write(folder)


def recompressed(syntax: int) -> Spoil:
    """By GDCM, which leaves the type of the values unspecified."""

    def spoil(datasets: list[FileDataset], folder: Path) -> None:
        for path in save(datasets, folder):
            reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
            reader.SetFileName(str(path))
            assert reader.Read()
            change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
            change.SetInput(reader.GetImage())
            assert change.Change()
            writer.SetFileName(str(path))
            writer.SetFile(reader.GetFile())
            writer.SetImage(change.GetOutput())
            assert writer.Write()

    return spoil


def own_groups(datasets: list[FileDataset], folder: Path) -> None:
    """Everything in the groups of the frames, one of which has a slope of its own; frames shuffled."""
    order = [3, 1, 5, 0, 2, 4]
    ds = enhanced(datasets, order)
    shared = ds.SharedFunctionalGroupsSequence[0]
    pixels = np.frombuffer(ds.PixelData, "<u2").copy().reshape(6, -1)
    pixels[4] *= 2
    ds.PixelData = pixels.tobytes()
    for number, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
        for element in copy.deepcopy(shared):
            group.add(element)
        group.PixelValueTransformationSequence[0].RescaleSlope = 0.5 if number == 4 else 1
    del ds.SharedFunctionalGroupsSequence
    save([ds], folder)


READ: dict[str, Spoil] = {
    "as it should be": lambda datasets, folder: save(datasets, folder),
    "names without a suffix": lambda d, folder: save(d, folder, [f"IM{i}" for i in (3, 1, 2, 0, 5, 4)]),
    "names that are UIDs": lambda d, folder: save(d, folder, [f"1.2.{i}" for i in (3, 1, 2, 0, 5, 4)]),
    "no InstanceNumber": every(InstanceNumber=None),
    "InstanceNumber the same": every(InstanceNumber=1),
    "InstanceNumber reversed": lambda d, f: save([changed(ds, InstanceNumber=9 - i) for i, ds in enumerate(d)], f),
    "positions rounded": moved(lambda i: (0, 0, 0.02 * (i % 2))),
    "no frame of reference": every(FrameOfReferenceUID=None),
    "directions rounded": every(ImageOrientationPatient=[0.99999, 0.0001, 0, -0.0001, 0.99999, 0]),
    "directions in long strings": long_orientation,
    "no slice thickness": every(SliceThickness=None),
    "SpacingBetweenSlices that is wrong": every(SpacingBetweenSlices=7),
    "implicit VR": rewritten(ImplicitVRLittleEndian),
    "deflated": rewritten(DeflatedExplicitVRLittleEndian),
    "big endian": rewritten(ExplicitVRBigEndian),
    "run length": compressed,
    "signed": signed,
    "half units": half_units,
    "a slope per plane": slope_per_plane,
    "other files beside it": beside,
    "an overlay in the high bits": high_bits,
    "a report and a structure set beside it": other_modalities,
    "links, one in a circle": links,
    "a DICOMDIR": directory,
    "JPEG 2000": recompressed(gdcm.TransferSyntax.JPEG2000Lossless),
    "JPEG-LS": recompressed(gdcm.TransferSyntax.JPEGLSLossless),
    "JPEG Lossless": recompressed(gdcm.TransferSyntax.JPEGLosslessProcess14_1),
    "ImageType empty": every(ImageType=""),
    "planes 1.25 mm apart, rounded to 0.1": moved(lambda i: (0, 0, round(1.25 * i, 1) - 2.5 * i)),
    "a multi-frame file, all in the frames' groups": own_groups,
    "a multi-frame file": multi_frame([0, 1, 2, 3, 4, 5]),
    "a multi-frame file, frames shuffled": multi_frame([3, 1, 5, 0, 2, 4]),
}


@pytest.mark.parametrize("name", READ)
@pytest.mark.filterwarnings("ignore:.*(DS|long|exceeds).*")
def test_read_right(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "series"
    READ[name](planes(), folder)
    image = LoadImage(reader="monai_smia.data.DicomSeriesReader", image_only=True)(folder)
    assert np.array_equal(image.numpy(), HU)
    expected = AFFINE @ np.diag([1, 1, 0.5, 1]) if "1.25 mm" in name else AFFINE
    assert np.allclose(image.affine, expected, atol=0.03 if "rounded" in name else 1e-9)
    assert len(set(image.meta["source_uids"])) == (1 if "multi-frame" in name else SHAPE[2])


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_a_file_cut_anywhere_is_named(syntax: str, tmp_path: Path) -> None:
    datasets = planes()
    for ds in datasets:
        ds.file_meta.TransferSyntaxUID = syntax
    path = save(datasets, tmp_path)[2]
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 5):
        path.write_bytes(whole[:length])
        with pytest.raises(DicomSeriesError, match=path.name):
            read_dicom_series(tmp_path).values()


def test_warnings_do_not_tell_the_folder(tmp_path: Path) -> None:
    """pydicom quotes the path of a file that it warns of, and folders are named after patients."""
    folder = tmp_path / "SECRET^NAME"
    jpeg_cut(planes(), folder)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(DicomSeriesError):
            read_dicom_series(folder).values()
    assert any("End of file" in str(w.message) for w in caught)
    assert not any("SECRET" in str(w.message) for w in caught)


def test_padding_of_signed_pixels_without_its_sign(tmp_path: Path) -> None:
    """-2000 as 63536, as some scanners have it."""
    datasets = planes()
    for ds in datasets:
        stored = np.frombuffer(ds.PixelData, "<u2").astype("<i2") - 1024
        stored[:10] = -2000
        ds.PixelData = stored.tobytes()
        changed(ds, PixelRepresentation=1, RescaleIntercept=0, BitsStored=16, HighBit=15)
        ds.add_new("PixelPaddingValue", "US", 63536)
    save(datasets, tmp_path)
    assert read_dicom_series(tmp_path).padding == (-2000, -2000)


def test_there_are_enough_of_them() -> None:
    assert len(REFUSED) >= 25
    assert len(REFUSED) + len(READ) >= 50


@pytest.mark.parametrize("orientation", [[1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1], [0.6, 0.8, 0, 0, 0, -1]])
def test_affine_and_values_are_those_of_itk(orientation: list[float], tmp_path: Path) -> None:
    """Axial, sagittal and oblique; ITK sorts along the normal too, so planes and affine agree as they are."""
    datasets = planes()
    normal = np.cross(orientation[:3], orientation[3:])
    for index, ds in enumerate(datasets):
        ds.ImageOrientationPatient = orientation
        ds.ImagePositionPatient = [round(float(v), 9) for v in np.array([5.0, -7.0, 3.0]) + 2.5 * index * normal]
    save(datasets, tmp_path / "series")
    ours, itk = (
        LoadImage(reader=reader, image_only=True)(tmp_path / "series") for reader in (DicomSeriesReader(), "ITKReader")
    )
    assert np.array_equal(ours.numpy(), itk.numpy())
    assert np.allclose(ours.affine, itk.affine, atol=1e-6)


def test_one_of_two_series_by_its_uid(tmp_path: Path) -> None:
    second_series(planes(), tmp_path)
    found = find_dicom_series(tmp_path)
    values = [read_dicom_series(tmp_path, uid).values() for uid in found]
    assert np.array_equal(values[0], HU)
    assert np.array_equal(values[1], stored_volume(1) - 1024.0)
    for files, value in zip(found.values(), values, strict=True):  # the files of a series, as an item's image
        assert np.array_equal(LoadImage(reader=DicomSeriesReader(), image_only=True)(files), value)
    with pytest.raises(DicomSeriesError, match=r"found no series '1\.2'"):
        read_dicom_series(tmp_path, "1.2")


def test_a_path_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_dicom_series(tmp_path / "gone")


def test_other_files_are_left_to_other_readers(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(stored_volume().astype(np.int16), np.eye(4)), tmp_path / "ct.nii.gz")
    image = LoadImage(reader=DicomSeriesReader(), image_only=True)(tmp_path / "ct.nii.gz")
    assert np.array_equal(image, stored_volume())


def test_in_a_pipeline(tmp_path: Path) -> None:
    """Chosen by its suffix when registered; metadata survive a loader's collation."""
    save(planes(), tmp_path / "series")
    load = LoadImaged("image", image_only=True)
    load.register(DicomSeriesReader())
    loader = DataLoader(
        Dataset([{"image": str(tmp_path / "series")}], Compose([load, EnsureChannelFirstd("image")])), 1
    )
    image = next(iter(loader))["image"]
    assert isinstance(image, MetaTensor)
    assert image.shape == (1, 1, *SHAPE)
    assert np.allclose(image.affine[0] if image.affine.ndim == 3 else image.affine, AFFINE)


def test_metadata_of_a_batch(tmp_path: Path) -> None:
    """Metadata survive Orientationd, Spacingd and a batch, each series with its own UIDs and padding."""
    for name in ("one", "other"):
        save([changed(ds, PixelPaddingValue=20) for ds in planes()], tmp_path / name)
    transform = Compose(
        [
            LoadImaged("image", reader="monai_smia.data.DicomSeriesReader", image_only=True),
            EnsureChannelFirstd("image"),
            Orientationd("image", "RAS", labels=None),
            Spacingd("image", (1, 1, 2)),
            Resized("image", (8, 8, 8)),
        ]
    )
    items = [{"image": str(tmp_path / name)} for name in ("one", "other")]
    batch = next(iter(DataLoader(Dataset(items, transform), batch_size=2)))
    for item, image in zip(items, (d["image"] for d in decollate_batch(batch)), strict=True):
        uids = [str(plane.header.SOPInstanceUID) for plane in read_dicom_series(item["image"]).slices]
        assert list(image.meta["source_uids"]) == uids
        assert [float(bound) for bound in image.meta["padding"]] == [20 - 1024.0] * 2


def test_a_real_series(shared_data: Callable[[str], Path]) -> None:
    """JPEG Lossless, 512x512x64, names shuffled: value for value and affine as ITK's."""
    folder = shared_data("dicom") / "covidctmd_cap001"
    ours, itk = (LoadImage(reader=reader, image_only=True)(folder) for reader in (DicomSeriesReader(), "ITKReader"))
    assert np.array_equal(ours.numpy(), itk.numpy())
    assert np.allclose(ours.affine, itk.affine, atol=1e-6)
    assert len(set(ours.meta["source_uids"])) == 64
