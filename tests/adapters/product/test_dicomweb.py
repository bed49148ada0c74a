"""A product behind DICOMweb: asked by STOW, QIDO and WADO; what does not fit is refused by name."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import planes, save
from dicomweb_server import DicomWebServer
from product_objects import number, report_of, structures_expected, structures_of

from monai_smia.adapters.product import AnswerError, Asking, DicomWeb, Finding, Masks, dry_run
from monai_smia.cli import main
from monai_smia.dicom import DicomSeries, read_dicom_series

SHAPE = (12, 10, 8)
Answer = Callable[[DicomSeries], list[Any]]


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("web") / "SECRET^NAME"
    save(planes(np.random.default_rng(0).integers(10, 2000, SHAPE)), folder)
    return folder


def ask(product: Any, series: Path, folder: Path) -> np.ndarray:
    asking = Asking(product, 2, folder)
    try:
        return asking.answer(asking.open(series).before)
    finally:
        product.close()


def other_series(sent: DicomSeries) -> list[Any]:
    ds = structures_of(sent)
    ds.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence[0].SeriesInstanceUID = "1.2"  # fmt: skip  # noqa: E501
    return [ds]


@pytest.fixture
def web() -> Iterator[DicomWebServer]:
    pytest.importorskip("dicomweb_client", reason="needs dicomweb-client: pip install 'monai_smia[dicom]'")
    server = DicomWebServer()
    yield server
    server.close()


def answering(answer: Answer, folder: Path) -> Callable[[list[Any]], list[Any]]:
    """What a service makes of the images that were stored."""

    def make(stored: list[Any]) -> list[Any]:
        target = folder / f"{time.time_ns()}"
        target.mkdir(parents=True)
        for ds in stored:
            ds.save_as(target / f"{ds.SOPInstanceUID}.dcm", enforce_file_format=True)
        return answer(read_dicom_series(target))

    return make


def test_a_product_behind_dicomweb_is_asked_by_stow_qido_and_wado(
    series: Path, web: DicomWebServer, tmp_path: Path
) -> None:
    web.make = answering(lambda s: [structures_of(s)], tmp_path / "web")
    assert np.array_equal(ask(DicomWeb(web.url, timeout=20.0), series, tmp_path / "a"), structures_expected(SHAPE))
    for ds in web.stored:
        assert "SECRET" not in str(ds)
        assert ds.ImageType[0] == "DERIVED"
    web.make = answering(lambda s: [report_of(s, number(41.5))], tmp_path / "web")
    volume = Finding("Volume", threshold=40.0)
    assert ask(DicomWeb(web.url, timeout=20.0, answers=volume), series, tmp_path / "b").tolist() == [41.5]
    told = dry_run(DicomWeb(web.url, timeout=20.0, answers=volume), [series], 2)
    assert told[-1] == "It says 41.5 (Volume): decided as class 1."


def in_another_patient(sent: DicomSeries) -> list[Any]:
    ds = structures_of(sent)
    ds.PatientID = "SOMEBODY-ELSE"
    return [ds]


def test_what_does_not_fit_behind_dicomweb_is_refused_by_name(
    series: Path, web: DicomWebServer, tmp_path: Path
) -> None:
    for answer, reason in (
        (lambda s: [], "did not answer within 2 s."),
        (other_series, "within 2 s; there came 1 that refers to another series"),
        (in_another_patient, "another PatientID"),
        (lambda s: [structures_of(s), structures_of(s, planes=range(3, 5))], "answered 2 times, and differently"),
    ):
        web.make = answering(answer, tmp_path / "web")
        with pytest.raises(AnswerError, match=reason):
            ask(DicomWeb(web.url, timeout=2.0), series, tmp_path / f"asked{time.time_ns()}")
    web.refuse = True
    with pytest.raises(AnswerError, match="did not take the series in 1 tries: STOW-RS failed: HTTP status 403"):
        ask(DicomWeb(web.url, timeout=2.0, retries=0), series, tmp_path / "refused")
    web.close()
    with pytest.raises(AnswerError, match="did not take the series in 2 tries: STOW-RS failed: ConnectionError"):
        ask(DicomWeb(web.url, timeout=2.0, retries=1), series, tmp_path / "gone")


def test_addresses_of_dicomweb_that_are_none_are_refused(
    tmp_path: Path, series: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for url in ("", "127.0.0.1:8042", "ftp://a/b", "http://a/b?c=1"):
        with pytest.raises(ValueError, match="url must be that of a DICOMweb service"):
            DicomWeb(url)
    with pytest.raises(ValueError, match="url must hold no credentials") as found:
        DicomWeb("http://me:secret@127.0.0.1/dicom-web")
    assert "secret" not in str(found.value)
    assert DicomWeb("http://a/b", answers=Masks(("Lung",))).fingerprint_parts()["answers"] == Masks(("Lung",))
    line = ["node", "--series", str(series)]
    for options, text in (
        ([], "--send-to) or behind DICOMweb (--dicomweb): give one of the two"),
        (["--dicomweb", "http://a/b", "--send-to", "A@b:1"], "give one of the two"),
        (["--dicomweb", "http://a/b", "--watch", "f"], "--watch is of a node"),
        (["--send-to", "A@127.0.0.1:1", "--receive-as", "B:2", "--threshold", "1"], "say with --read where it stands"),
        (["--send-to", "A@127.0.0.1:1", "--receive-as", "B:2", "--read", "a", "--rois", "b"], "rois are regions of"),
    ):
        assert main([*line, *options]) == 1
        assert text in capsys.readouterr().err
