"""DICOM series that are unusual and right: what makes each of the one volume."""

from __future__ import annotations

import copy
from pathlib import Path

import gdcm
import numpy as np
import pydicom
from dicom_faults import Spoil, changed, every, high_bits, moved, multi_frame, new, third
from dicom_files import enhanced, save
from pydicom.dataset import FileDataset
from pydicom.fileset import FileSet
from pydicom.uid import (
    BasicTextSRStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    RTStructureSetStorage,
    generate_uid,
)


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


def text_beside(datasets: list[FileDataset], folder: Path) -> None:
    save(datasets, folder)
    for name in ("README", "LICENSE", "CHECKSUMS.1"):
        (folder / name).write_text("no image")


def without_preamble(datasets: list[FileDataset], folder: Path) -> None:
    for path in save(datasets, folder, [f"IM{i}" for i in range(6)]):
        path.write_bytes(path.read_bytes()[132:])


def data_set_alone(datasets: list[FileDataset], folder: Path) -> None:
    """As ACR-NEMA had them: neither preamble nor meta information."""
    folder.mkdir()
    for number, ds in enumerate(datasets):
        pydicom.dcmwrite(folder / f"{number}.dcm", pydicom.Dataset(ds), implicit_vr=True, little_endian=True)


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
    "text beside it": text_beside,
    "no preamble": without_preamble,
    "neither preamble nor meta information": data_set_alone,
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
