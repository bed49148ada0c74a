"""A marker in every element of every VR, private ones too, at three depths: it comes out where the docs say, alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pydicom
import pytest
import torch
from dicom_files import planes, save, stored_volume
from evaluation.test_resume import CLIP
from monai.transforms import Compose, EnsureChannelFirst, LoadImage
from pydicom.datadict import DicomDictionary, dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from monai_smia.attacks import BIM
from monai_smia.dicom import DicomSeriesReader, read_dicom_series, write_dicom_series
from monai_smia.dicom.kept import CODE, GROUPS, NUMBERS, TEXT
from monai_smia.evaluation import AttackEvaluation
from monai_smia.metrics import SegmentationMetrics
from monai_smia.storage import DicomStorage
from monai_smia.victims import SegmentationVictim

MARKERS: dict[str, Any] = {
    **dict.fromkeys(("AE", "CS", "SH", "LO", "ST", "LT", "UC", "UT", "PN"), "XMARKX"),
    "UR": "http://xmarkx",
    "UI": "1.2.77777.42424",
    "DA": "19770707",
    "TM": "070707.77",
    "DT": "19770707070707",
    "AS": "077Y",
    "DS": "7777.4242",
    "IS": "77774242",
    **dict.fromkeys(("OB", "UN"), b"XMARKXXMARKX"),
    **dict.fromkeys(("OW", "OF", "OD", "OL", "OV"), b"XMARKXXMARKXXMARKXXMARKX"),
    "SQ": [],
}
FOUND = re.compile(rb"XMARKX|xmarkx|1\.2\.77777\.42424|1977-?07-?07|070707\.77|077Y|7777\.4242|77774242")
# the reader needs what these say
NEEDED = (
    *("SOPClassUID", "Modality", "ImageType", "RescaleType", "RescaleSlope", "RescaleIntercept", "PixelSpacing"),
    *("PhotometricInterpretation", "PatientIdentityRemoved", "ImagePositionPatient", "ImageOrientationPatient"),
    *("GantryDetectorTilt", "NumberOfFrames", "PixelPresentation", "ModalityLUTSequence", "SpecificCharacterSet"),
    *(
        "FloatPixelData",
        "DoubleFloatPixelData",
        "PixelData",
        "PerFrameFunctionalGroupsSequence",
        "LossyImageCompression",
    ),
    *("SharedFunctionalGroupsSequence", "GridFrameOffsetVector", "SOPInstanceUID", "KVP"),
    "LossyImageCompression",
)


SENSITIVE = (
    *("PatientName", "PatientID", "InstitutionName", "InstitutionAddress", "PersonTelephoneNumbers", "OperatorsName"),
    *("AccessionNumber", "ClinicalTrialSubjectID", "ClinicalTrialSiteName", "DeviceSerialNumber", "DeviceUID"),
    *("StudyDate", "AcquisitionDateTime", "ProtocolName", "FrameComments", "AcquisitionComments", "CodeValue"),
)
ALWAYS = ("DeidentificationMethodCodeSequence", "ContributingEquipmentSequence", "RequestAttributesSequence")
BY_VR: dict[str, list[int]] = {}
for _tag, (_vr, *_) in DicomDictionary.items():
    if _vr in MARKERS and 8 <= _tag >> 16 < 0x6000 and keyword_for_tag(_tag) not in NEEDED:
        BY_VR.setdefault(_vr, []).append(_tag)


def item(depth: int) -> Dataset:
    """An element of every VR, those that tell most, and private ones, down to a depth."""
    ds = Dataset()
    for name in SENSITIVE:
        setattr(ds, name, MARKERS[dictionary_VR(name)])
    for vr, (tag, *_) in BY_VR.items():
        ds.add_new(tag, vr, MARKERS[vr])
    block = ds.private_block(0x0029, "XMARKX", create=True)
    for number, (vr, value) in enumerate(MARKERS.items(), 1):
        block.add_new(number, vr, value)
    if depth:
        ds.ReferencedStudySequence = [item(depth - 1)]
        block.add_new(0x90, "SQ", [item(depth - 1)])
    return ds


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every element that the dictionary has and the reader does not need; items in many sequences."""
    folder = tmp_path_factory.mktemp("XMARKX")
    header = item(2)
    for vr, tags in BY_VR.items():
        for number, tag in enumerate(tags):
            filled = vr == "SQ" and (number % 10 == 0 or keyword_for_tag(tag) in ALWAYS)
            header.add_new(tag, vr, [item(1)] if filled else MARKERS[vr])
    header.add_new((0x6000, 0x3000), "OB", MARKERS["OB"])
    header.add_new((0x6000, 0x0022), "LO", "XMARKX")
    datasets = planes(stored_volume(0, (10, 8, 3)))
    for ds in datasets:
        for element in header:
            if element.tag not in ds or element.keyword not in (*NEEDED, "Rows", "Columns", "PatientPosition"):
                ds.add(element)
    save(datasets, folder / "series")
    return folder / "series"


def where(ds: Dataset, path: str = "") -> dict[str, DataElement]:
    """The elements of a data set that hold a marker, down to every depth."""
    found = {}
    for element in ds:
        name = f"{path}{element.keyword or element.tag}"
        if element.VR == "SQ":
            for inner in element.value:
                found |= where(inner, f"{name}.")
        elif FOUND.search(element.value if isinstance(element.value, bytes) else str(element.value).encode()):
            found[name] = element
    return found


def test_what_is_derived_holds_no_marker_but_in_what_the_docs_list(series: Path, tmp_path: Path) -> None:
    assert len(where(pydicom.dcmread(next(series.iterdir())))) > 5000
    image = EnsureChannelFirst()(LoadImage(reader=DicomSeriesReader(), image_only=True)(series))
    folder = DicomStorage(tmp_path).write(image, image + 3, eps=3.0, source=str(series), stem="a")
    allowed = {*TEXT, *(f"DeidentificationMethodCodeSequence.{name}" for name in CODE)}
    for path in folder.iterdir():
        found = where(pydicom.dcmread(path))
        for name, element in found.items():
            assert name in allowed or (element.VR in NUMBERS and element.tag.group in GROUPS and "." not in name), name
        data = path.read_bytes()
        for element in sorted(found.values(), key=lambda e: len(str(e.value)), reverse=True):
            data = data.replace(str(element.value).encode(), b"", 1)
        assert not FOUND.search(data)  # neither in the file's own header nor behind its end


def test_in_the_same_study_what_is_private_or_drawn_on_the_old_pixels_goes_at_every_depth(
    series: Path, tmp_path: Path
) -> None:
    source = read_dicom_series(series)
    for path in write_dicom_series(source, source.stored() + 1, tmp_path / "out", same_study=True).iterdir():
        written = pydicom.dcmread(path)
        tags = [element.tag for element in written.iterall()]
        assert len(tags) > 5000
        assert not any(tag.is_private or tag.group == 0x6000 for tag in tags)
        assert written.InstitutionName == "XMARKX"


def test_the_docs_list_it() -> None:
    text = (Path(__file__).parents[2] / "docs" / "hospital.md").read_text()
    listed = text[text.index("### What stays of a header") :].split("\n## ")[0]
    assert set(re.findall(r"`([A-Z]\w+)`", listed)) == {*TEXT, *CODE, "DeidentificationMethodCodeSequence"}


class Scaled(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.cat([image + 500, -image - 500], 1)


def test_no_file_of_an_evaluation_holds_one(series: Path, tmp_path: Path) -> None:
    """Records, journal, tables, page, pictures; a case that fails, too."""
    broken = tmp_path / "XMARKX Doe" / "series"
    broken.mkdir(parents=True)
    for path in series.iterdir():
        (broken / path.name).write_bytes(path.read_bytes()[:-50])
    load = Compose([LoadImage(reader=DicomSeriesReader(), image_only=True), EnsureChannelFirst()])

    def loading(item: dict[str, Any]) -> dict[str, Any]:
        image = load(item["image"])
        return {"image": image, "label": (image < -500).float()}

    evaluation = AttackEvaluation(
        cases=[{"case": name, "image": str(path), "label": 0} for name, path in (("a", series), ("b", broken))],
        loading=loading,
        victim=SegmentationVictim(Scaled()),
        attacks=[BIM(eps=9.0, steps=1, clip=CLIP)],
        metrics=SegmentationMetrics(2),
        output_dir=tmp_path / "out",
        storage=DicomStorage(tmp_path / "out" / "volumes"),
        progress=False,
    )
    with pytest.raises(RuntimeError, match="1 of 2 cases failed: b"):
        evaluation.run()
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.suffix != ".dcm"]
    assert len(files) >= 8
    for path in files:
        data = path.read_bytes()
        assert not FOUND.search(data), path.name
        assert str(tmp_path).encode() not in data, path.name
    uids = {uid for path in series.iterdir() for uid in re.findall(rb"1\.2\.826[\d.]{20,}", path.read_bytes())}
    assert uids
    assert not any(uid in path.read_bytes() for uid in uids for path in files)
