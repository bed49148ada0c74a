"""What of a source's header stays in a series derived from it: an allow-list, nothing of whose it is."""

from __future__ import annotations

import copy

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.valuerep import DSfloat

# what describes the pixels that were, or vouches for them
STALE = (
    "SmallestImagePixelValue",
    "LargestImagePixelValue",
    "DigitalSignaturesSequence",
    "MACParametersSequence",
    "OriginalAttributesSequence",
    "IconImageSequence",
    "ContentCreatorName",
)
# In a study of its own: numbers that say how the scan was made, where it lies and how its pixels are, ...
GROUPS = (0x0018, 0x0020, 0x0028)
NUMBERS = ("DS", "IS", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "US or SS")
# ... and these, all of the text that stays; docs/hospital.md lists them
TEXT = (
    *("SOPClassUID", "SOPInstanceUID", "FrameOfReferenceUID"),  # the instance is named as the source, in a reference
    *("Modality", "Manufacturer", "ManufacturerModelName", "BodyPartExamined", "Laterality", "PatientPosition"),
    *("ScanOptions", "FilterType", "ConvolutionKernel", "RotationDirection", "ExposureModulationType"),
    *("PhotometricInterpretation", "RescaleType", "LossyImageCompression", "LossyImageCompressionMethod"),
    *("PatientIdentityRemoved", "DeidentificationMethod"),
)
CODES = ("DeidentificationMethodCodeSequence",)  # items of codes, of which these stay
# Of a photograph or a frame, beside them: how the eye was photographed, and what colors mean.
EYE = 0x0022
PICTURE_TEXT = (
    *("ImageLaterality", "PatientEyeMovementCommanded", "PupilDilated", "DetectorType", "PatientOrientation"),
    *("BurnedInAnnotation", "ColorSpace", "ICCProfile"),
)
PICTURE_CODES = (
    *("AnatomicRegionSequence", "AcquisitionDeviceTypeCodeSequence", "IlluminationTypeCodeSequence"),
    *("LightPathFilterTypeStackCodeSequence", "ImagePathFilterTypeStackCodeSequence", "LensesCodeSequence"),
)
CODE = ("CodeValue", "CodingSchemeDesignator", "CodingSchemeVersion", "CodeMeaning")
UTF8 = "ISO_IR 192"


def kept_of(source: Dataset, same_study: bool, *, picture: bool = False) -> Dataset:
    """The elements of a header that a derived image keeps, as copies.

    Args:
        source: the header.
        same_study: the image stays in the study and with the patient: all stays but what is private or stale, at any
            depth.
        picture: keep what an allow-list has for pictures, too.
    """
    kept = Dataset()
    text, codes = (TEXT + PICTURE_TEXT, CODES + PICTURE_CODES) if picture else (TEXT, CODES)
    groups = (*GROUPS, EYE) if picture else GROUPS
    for element in source:
        if _is_stale(element):
            continue
        if same_study:
            kept.add(_without_stale(_of_legal_length(copy.deepcopy(element))))
        elif element.keyword in codes:
            items = [item for item in element.value or [] if isinstance(item, Dataset)]
            kept.add_new(element.tag, "SQ", [_only(item, CODE) for item in items])
        elif element.keyword in text or (element.VR in NUMBERS and element.tag.group in groups):
            kept.add(_of_legal_length(copy.deepcopy(element)))
    if not same_study:
        kept.SpecificCharacterSet = UTF8
    return kept


def _is_stale(element: DataElement) -> bool:
    """Private elements may say anything, and overlays (60xx) are drawn on the pixels that were."""
    return element.tag.is_private or element.tag.group >> 8 == 0x60 or element.keyword in STALE


def _without_stale(element: DataElement) -> DataElement:
    if element.VR == "SQ":
        for item in element.value or []:
            for inner in list(item):
                if _is_stale(inner):
                    del item[inner.tag]
                else:
                    _without_stale(inner)
    return element


def _only(item: Dataset, names: tuple[str, ...]) -> Dataset:
    kept = Dataset()
    for name in names:
        if name in item:
            setattr(kept, name, str(item.get(name)))
    return kept


def _of_legal_length(element: DataElement) -> DataElement:
    """A decimal string has 16 characters at most, which some exporters do not know."""
    if element.VR == "DS" and not element.is_empty:
        values = element.value if element.VM > 1 else [element.value]
        if any(len(str(value)) > 16 for value in values):
            element.value = [DSfloat(float(value), auto_format=True) for value in values]
    return element
