"""Answers of other kinds than NIfTI and SEG, structure sets and reports: read, and refused where they do not fit."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import planes, save
from product_objects import coded, contour, number, query_of, report_of, structures_expected, structures_of

from monai_smia.adapters.product import (
    AnswerError,
    Asking,
    Command,
    Finding,
    Masks,
)
from monai_smia.adapters.product.queries import Query

SHAPE = (12, 10, 8)
Change = Callable[[Any], Any]


@pytest.fixture(scope="module")
def query(tmp_path_factory: pytest.TempPathFactory) -> Query:
    folder = tmp_path_factory.mktemp("query")
    save(planes(np.random.default_rng(0).integers(10, 2000, SHAPE)), folder / "series")
    return query_of(folder / "series", folder / "scratch")


# ---- structure sets


def test_contours_are_filled_on_the_planes_with_holes_and_by_name(query: Query) -> None:
    assert query.series is not None
    one = Masks().of_object(structures_of(query.series), query, 2)
    assert np.array_equal(one, structures_expected(SHAPE))
    both = structures_of(query.series, ("Lung", "Node"))
    assert np.array_equal(Masks().of_object(both, query, 3), structures_expected(SHAPE, 2))
    turned = Masks(("Node", "Lung")).of_object(both, query, 3)
    assert np.array_equal(turned, np.asarray([0, 2, 1])[structures_expected(SHAPE, 2)])
    alone = Masks(("Lung",)).of_object(both, query, 2)
    assert np.array_equal(alone, structures_expected(SHAPE))
    empty = structures_of(query.series, planes=range(0))
    assert not Masks().of_object(empty, query, 2).any()  # nothing found is an answer, too


def _moved(ds: Any, by: float) -> Any:
    data = ds.ROIContourSequence[0].ContourSequence[0].ContourData
    ds.ROIContourSequence[0].ContourSequence[0].ContourData = [float(v) + by * (i % 3 == 2) for i, v in enumerate(data)]
    return ds


def _set(ds: Any, name: str, value: Any) -> Any:
    setattr(ds, name, value)
    return ds


def _series(ds: Any, uid: str = "1.2.3") -> Any:
    ds.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence[0].SeriesInstanceUID = uid  # fmt: skip  # noqa: E501
    return ds


def _image(ds: Any) -> Any:
    each = ds.ROIContourSequence[0].ContourSequence[0]
    first = ds.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    each.ContourImageSequence = [copy.deepcopy(first.ContourImageSequence[0])]
    each.ContourImageSequence[0].ReferencedSOPInstanceUID = "1.2.3"
    return ds


def _open(ds: Any) -> Any:
    ds.ROIContourSequence[0].ContourSequence[0].ContourGeometricType = "OPEN_PLANAR"
    return ds


def _short(ds: Any) -> Any:
    ds.ROIContourSequence[0].ContourSequence[0].ContourData = [0.0, 0.0, 40.0, 1.0, 1.0, 40.0]
    return ds


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_series, "refers to another series"),
        (lambda ds: _set(ds, "PatientID", "SOMEBODY"), "another PatientID"),
        (lambda ds: _set(ds, "StudyInstanceUID", "1.2.3"), "another StudyInstanceUID"),
        (
            lambda ds: _set(ds.StructureSetROISequence[0], "ReferencedFrameOfReferenceUID", "1.2") and ds,
            "another FrameOf",
        ),
        (_image, "refers to 1 images that were not sent"),
        (lambda ds: _moved(ds, 1.2), "a contour that lies on none of the planes sent"),
        (lambda ds: _moved(ds, 25.0), "a contour that lies on none of the planes sent"),
        (_open, "must be of closed planar contours, got OPEN_PLANAR"),
        (_short, "a contour of less than three points"),
        (lambda ds: _set(ds, "ROIContourSequence", []), "has no contours of its region 'Lung'"),
        (lambda ds: _set(ds, "StructureSetROISequence", []), "must have 1 regions, one for each class, got 0: none"),
        (lambda ds: _set(ds, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.2"), "must be a DICOM SEG, and is another object"),
    ],
)
def test_a_structure_set_that_does_not_fit_is_refused(query: Query, change: Change, reason: str) -> None:
    assert query.series is not None
    with pytest.raises(AnswerError, match=reason):
        Masks().of_object(change(structures_of(query.series)), query, 2)


def test_regions_that_are_missing_too_many_shared_or_outside_are_refused(query: Query) -> None:
    assert query.series is not None
    both = structures_of(query.series, ("Lung", "Node"))
    with pytest.raises(AnswerError, match=r"must have 1 regions, one for each class, got 2: Lung, Node. Name"):
        Masks().of_object(both, query, 2)
    with pytest.raises(AnswerError, match="must have one region called 'Heart', and has 0 of Lung, Node"):
        Masks(("Heart",)).of_object(both, query, 2)
    both.ROIContourSequence[1].ContourSequence.append(contour(query.series, 2, ((2.5, 1.5), (4.5, 3.5))))
    with pytest.raises(AnswerError, match="'Node' shares voxels with another"):
        Masks().of_object(both, query, 3)
    far = structures_of(query.series)
    far.ROIContourSequence[0].ContourSequence.append(contour(query.series, 2, ((2.5, 1.5), (40.5, 3.5))))
    with pytest.raises(AnswerError, match="reaches beyond the planes"):
        Masks().of_object(far, query, 2)
    with pytest.raises(ValueError, match="rois must name 1 regions"):
        Asking(Command(("a", "{input}", "{output}"), answers=Masks(("a", "b"))), 2)


def test_a_file_that_is_cut_off_anywhere_is_no_answer(query: Query, tmp_path: Path) -> None:
    """What pydicom reads of half a structure set is a structure set with less in it."""
    assert query.series is not None
    path = tmp_path / "answer.dcm"
    structures_of(query.series).save_as(path, enforce_file_format=True)
    content = path.read_bytes()
    expected = structures_expected(SHAPE)
    assert np.array_equal(Masks().of_file(path, query, 2), expected)
    for length in range(200, len(content) - 1, 173):
        path.write_bytes(content[:length])
        with pytest.raises(AnswerError, match="the answer"):
            Masks().of_file(path, query, 2)


# ---- reports


def test_a_number_and_a_class_are_read_from_a_report(query: Query) -> None:
    assert query.series is not None
    report = report_of(query.series, number(41.5), number(3.0, "81827009", "Diameter"), coded("malignant"))
    for key in ("Volume", "118565006", "SCT:118565006"):
        finding = Finding(key, threshold=40.0)
        answer = finding.of_object(report, query, 2)
        assert answer.tolist() == [41.5]
        assert finding.scores(answer).argmax() == 1
    assert Finding("Diameter", threshold=4.0, below=True).of_object(report, query, 2).tolist() == [3.0]
    named = Finding("Finding", names=("benign", "malignant"))
    assert named.of_object(report, query, 2).tolist() == [1.0]
    assert named.scores(np.asarray([1.0]), 2).argmax() == 1


@pytest.mark.parametrize(
    ("key", "change", "reason"),
    [
        ("Mass", lambda ds: ds, "must have an item called 'Mass', got Finding, Volume"),
        ("Volume", lambda ds: _set(ds, "PatientID", "SOMEBODY"), "another PatientID"),
        ("Volume", lambda ds: _set(ds, "CompletionFlag", "PARTIAL"), "must be a complete report, and says PARTIAL"),
        ("Volume", lambda ds: _set(ds, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.2"), "must be a structured report"),
        ("Finding", lambda ds: ds, "must be a finite number, got 'malignant'"),
    ],
)
def test_a_report_that_does_not_fit_is_refused(query: Query, key: str, change: Change, reason: str) -> None:
    assert query.series is not None
    report = change(report_of(query.series, number(41.5), coded("malignant")))
    with pytest.raises(AnswerError, match=reason):
        Finding(key, threshold=40.0).of_object(report, query, 2)


def test_reports_of_other_series_images_or_without_one_value_are_refused(query: Query) -> None:
    assert query.series is not None
    finding = Finding("Volume", threshold=40.0)
    evidence = report_of(query.series, number(41.5))
    referred = evidence.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    referred.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = "1.2.3"
    with pytest.raises(AnswerError, match="refers to 1 images that were not sent"):
        finding.of_object(evidence, query, 2)
    referred.SeriesInstanceUID = "1.2.3"
    with pytest.raises(AnswerError, match="refers to another series"):
        finding.of_object(evidence, query, 2)
    with pytest.raises(AnswerError, match="'Volume' has no value"):
        finding.of_object(report_of(query.series, number(None)), query, 2)
    with pytest.raises(AnswerError, match="must have one item called 'Volume', got 2 of different values"):
        finding.of_object(report_of(query.series, number(41.5), number(42.5)), query, 2)
    alike = report_of(query.series, number(41.5), number(41.5))
    assert finding.of_object(alike, query, 2).tolist() == [41.5]


def test_a_report_of_highdicom_is_read(query: Query, tmp_path: Path) -> None:
    """TID 1500 as a library of its own writes it."""
    hd = pytest.importorskip("highdicom", reason="needs highdicom: pip install 'monai_smia[dicom]'")
    import importlib.util

    import pydicom

    assert query.series is not None
    example = Path(__file__).parents[3] / "examples" / "segmentation_node.py"
    spec = importlib.util.spec_from_file_location("segmentation_node", example)
    assert spec is not None
    assert spec.loader is not None
    node = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(node)
    mask = structures_expected(SHAPE)
    report = node.report_of(query.path, mask)
    assert isinstance(report, hd.sr.Comprehensive3DSR)
    report.save_as(tmp_path / "report.dcm")
    again = pydicom.dcmread(tmp_path / "report.dcm")
    volume = float(mask.sum()) * 0.7 * 0.6 * 2.5 / 1000
    for each in (report, again):
        assert Finding("Volume", threshold=1.0).of_object(each, query, 2)[0] == pytest.approx(volume, rel=1e-6)
