"""Answers of other kinds than NIfTI and SEG, structure sets, reports, JSON: read, and refused where they do not fit."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dicom_files import planes, save
from product_objects import coded, contour, number, query_of, report_of, structures_expected, structures_of

from monai_smia.adapters.product import (
    AnswerError,
    Asked,
    Asking,
    Command,
    Finding,
    FindingVictim,
    Masks,
    product_evaluation,
)
from monai_smia.adapters.product.queries import Query
from monai_smia.attacks import Square

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


# ---- JSON


@pytest.mark.parametrize(
    ("text", "finding", "answer", "decided"),
    [
        ('{"findings": [{"p": 0.75}]}', Finding("findings.0.p", threshold=0.5), [0.75], 1),
        ('{"p": 0.5}', Finding("p", threshold=0.5), [0.5], 1),  # it reaches the threshold
        ('{"p": 0.4999999}', Finding("p", threshold=0.5), [0.4999999], 0),
        ('{"ml": 12}', Finding("ml", threshold=20.0, below=True), [12.0], 1),
        ('{"ml": 20}', Finding("ml", threshold=20.0, below=True), [20.0], 0),
        ('{"class": "bad"}', Finding("class", names=("good", "bad")), [1.0], 1),
        ("1", Finding(), [1.0], 1),
        ('{"p": [0.3, 0.7]}', Finding("p"), [0.3, 0.7], 1),
        ('{"p": {"bad": 0.2, "good": 0.8}}', Finding("p", names=("good", "bad")), [0.8, 0.2], 0),
    ],
)
def test_findings_of_json(text: str, finding: Finding, answer: list[float], decided: int, tmp_path: Path) -> None:
    (tmp_path / "answer.json").write_text(text)
    found = finding.of_file(tmp_path / "answer.json", None, 2)  # type: ignore[arg-type]  # JSON says nothing of a series
    assert found.tolist() == answer
    assert int(torch.from_numpy(finding.scores(found).astype(np.float32)).argmax()) == decided


@pytest.mark.parametrize(
    ("text", "finding", "reason"),
    [
        ("", Finding("p", threshold=0.5), "is empty"),
        ('{"p": 0.', Finding("p", threshold=0.5), "cannot be read"),
        ('{"p": 0.1, "p": 0.9}', Finding("p", threshold=0.5), "a key stands in it twice"),
        ('{"q": 0.1}', Finding("p", threshold=0.5), "must hold 'p', and has no 'p': there is q"),
        ('{"p": NaN}', Finding("p", threshold=0.5), "NaN is no number of JSON"),
        ('{"p": "0.7"}', Finding("p", threshold=0.5), "must be a finite number, got '0.7'"),
        ('{"p": true}', Finding("p", threshold=0.5), "must be a finite number, got True"),
        (
            '{"p": 0.7}',
            Finding("p"),
            "must be a class of whole numbers from 0 to 1, got 0.7; of a number give a threshold",
        ),
        ('{"p": 2}', Finding("p"), "must be a class of whole numbers from 0 to 1, got 2"),
        ('{"p": "ugly"}', Finding("p", names=("good", "bad")), r"must be a class of \['good', 'bad'\], got 'ugly'"),
        ('{"p": [0.7, 0.7]}', Finding("p"), "must be 2 probabilities that sum to 1"),
        ('{"p": {"good": 0.7}}', Finding("p", names=("good", "bad")), "must have a probability of each"),
    ],
)
def test_json_that_does_not_fit_is_refused(text: str, finding: Finding, reason: str, tmp_path: Path) -> None:
    (tmp_path / "answer.json").write_text(text)
    with pytest.raises(AnswerError, match=reason):
        finding.of_file(tmp_path / "answer.json", None, 2)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "classes", "text"),
    [
        ({"threshold": float("nan")}, 2, "threshold must be a finite number"),
        ({"below": True}, 2, "give the threshold"),
        ({"names": ("a", "a")}, 2, "must differ"),
        ({"threshold": 0.5}, 3, "classes must be 2 with a threshold"),
        ({"names": ("a", "b")}, 3, "class_names must be 3"),
    ],
)
def test_findings_that_cannot_be_are_refused(arguments: dict[str, Any], classes: int, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Finding("p", **arguments).check(classes)


# ---- a product that rates


class Rating:
    """Rates an image by the share of it that is dark, without a process."""

    answers = Finding("dark", threshold=0.05)

    def fingerprint_parts(self) -> dict[str, str]:
        return {"product": "rates"}

    def ask(self, query: Query, folder: Path, classes: int) -> np.ndarray:
        import nibabel as nib

        share = float((nib.load(query.path).get_fdata() < -620).mean())  # type: ignore[attr-defined]
        return self.answers.of_value(share, classes)


SCRIPT = """
import json, sys
import nibabel as nib
share = float((nib.load(sys.argv[1]).get_fdata() < -620).mean())
json.dump({"dark": share}, open(sys.argv[2], "w"))
"""


def test_a_command_that_writes_json_gives_the_figures_in_process(tmp_path: Path) -> None:
    from product_helpers import cases

    images, _ = cases(tmp_path, 2)
    (tmp_path / "labels.csv").write_text("image,label\ncase0,1\ncase1,0\n")
    (tmp_path / "rate.py").write_text(SCRIPT)
    command = Command((sys.executable, str(tmp_path / "rate.py"), "{input}", "{output}"), answers=Rating.answers)
    shared: dict[str, Any] = {"images": images, "labels": tmp_path / "labels.csv", "eps": 60.0, "queries": 2}
    shared |= {"figures": False, "progress": False, "only": ["Noise", "Square"]}
    found = []
    for name, product in (("there", command), ("here", Rating())):
        product_evaluation(product, output_dir=tmp_path / name, **shared).run()
        lines = [json.loads(line) for line in (tmp_path / name / "records.jsonl").read_text().splitlines()]
        vary = ("seconds", "config_sha256", "versions", "input_sha256")
        found.append([{key: value for key, value in line.items() if key not in vary} for line in lines])
    assert found[0] == found[1]
    clean = next(r for r in found[0] if (r["attack"], r["case"]) == ("Clean", "case0"))
    dark = 6 * 6 * 4 / (12 * 10 * 8)
    assert (clean["grade"], clean["decided"], clean["accuracy"]) == (1, 1, 1.0)
    assert clean["answer"] == pytest.approx(dark)
    for record in found[0]:
        if record["attack"] == "Square":
            before = next(r for r in found[0] if (r["attack"], r["case"]) == ("Clean", record["case"]))
            assert record["answer_change"] == pytest.approx(record["answer"] - before["answer"])
    page = (tmp_path / "there" / "report.html").read_text()
    assert "score-based: the number that the product answers with" in page
    assert "answer_change" in page
    summary = json.loads((tmp_path / "there" / "summary.json").read_text())
    row = next(row for row in summary["rows"] if row["attack"] == "Clean")
    assert row["accuracy"] == 0.5  # the second is labeled otherwise than it is rated
    assert row["answer"] == pytest.approx(dark, rel=0.2)


def test_a_rating_is_a_victim_of_a_black_box_attack(tmp_path: Path) -> None:
    from product_helpers import cases

    images, _ = cases(tmp_path)
    victim = FindingVictim(Asked(Asking(Rating(), 2, tmp_path / "asked")))
    victim.open(images / "case0.nii.gz")
    import nibabel as nib

    image = torch.from_numpy(nib.load(images / "case0.nii.gz").get_fdata()[None, None]).float()  # type: ignore[attr-defined]
    result = Square(eps=150.0, queries=30, clip=None, loss="margin", seed=0)(victim, image, torch.tensor([1]))
    losses = result.loss_history[:, 0]
    assert float(losses[0]) == pytest.approx(0.05 - 144 / 960)  # how far its number is from the threshold
    assert float(losses[2:].max()) > float(losses[1])  # it goes by the number, though the decision stands
    assert 1 < victim.asking.asked <= 31
