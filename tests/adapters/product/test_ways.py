"""Ways in which a product's results come in: C-STORE of SR and RTSTRUCT, a watched folder, DICOMweb."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import planes, save
from product_objects import number, report_of, structures_expected, structures_of

pytest.importorskip("pynetdicom", reason="needs pynetdicom: pip install 'monai_smia[dicom]'")

from pynetdicom import AE, evt
from pynetdicom.sop_class import Comprehensive3DSRStorage, CTImageStorage, RTStructureSetStorage

from monai_smia.adapters.product import AnswerError, Asking, DicomNode, Finding
from monai_smia.cli import main
from monai_smia.dicom import DicomSeries, read_dicom_series

SHAPE = (12, 10, 8)
Answer = Callable[[DicomSeries], list[Any]]


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ways") / "SECRET^NAME"
    save(planes(np.random.default_rng(0).integers(10, 2000, SHAPE)), folder)
    return folder


class Node:
    """Takes a series and hands it to a function, which says what becomes of it."""

    def __init__(self, folder: Path, came: Callable[[Path], None]) -> None:
        self.folder, self.came, self.count = folder, came, 0
        entity = AE(ae_title="NODE")
        entity.add_supported_context(CTImageStorage)
        handlers: list[Any] = [(evt.EVT_C_STORE, self._store), (evt.EVT_RELEASED, self._released)]
        self.server: Any = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.address = f"NODE@127.0.0.1:{self.server.server_address[1]}"

    def _store(self, event: Any) -> int:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        target = self.folder / f"{self.count}"
        target.mkdir(parents=True, exist_ok=True)
        dataset.save_as(target / f"{dataset.SOPInstanceUID}.dcm", enforce_file_format=True)
        return 0

    def _released(self, event: Any) -> None:
        target, self.count = self.folder / f"{self.count}", self.count + 1
        if target.is_dir():
            self.came(target)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Callable[[Callable[[Path], None]], Node]]:
    made: list[Node] = []

    def start(came: Callable[[Path], None]) -> Node:
        made.append(Node(tmp_path / f"came{len(made)}", came))
        return made[-1]

    yield start
    for node in made:
        node.server.shutdown()


def to_port(port: list[int], answer: Answer) -> Callable[[Path], None]:
    """Sends what a series is answered with to a port."""

    def came(folder: Path) -> None:
        entity = AE(ae_title="NODE")
        entity.add_requested_context(RTStructureSetStorage)
        entity.add_requested_context(Comprehensive3DSRStorage)
        association = entity.associate("127.0.0.1", port[0], ae_title="TESTER")
        for each in answer(read_dicom_series(folder)):
            association.send_c_store(each)
        association.release()

    return came


def ask(product: Any, series: Path, folder: Path) -> np.ndarray:
    asking = Asking(product, 2, folder)
    try:
        return asking.answer(asking.open(series).before)
    finally:
        product.close()


def free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_a_structure_set_and_a_report_come_back_by_c_store(
    series: Path, nodes: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ports = [free_port()]
    node = nodes(to_port(ports, lambda s: [structures_of(s)]))
    found = ask(DicomNode(node.address, f"TESTER:{ports[0]}", timeout=20.0), series, tmp_path / "a")
    assert np.array_equal(found, structures_expected(SHAPE))

    node = nodes(to_port(ports, lambda s: [report_of(s, number(41.5))]))
    volume = Finding("Volume", threshold=40.0)
    product = DicomNode(node.address, f"TESTER:{ports[0]}", timeout=20.0, answers=volume)
    assert ask(product, series, tmp_path / "b").tolist() == [41.5]
    line = ["node", "--send-to", node.address, "--receive-as", f"TESTER:{ports[0]}", "--series", str(series)]
    assert main([*line, "--read", "Volume", "--threshold", "40", "--dry_run"]) == 0
    said = capsys.readouterr().out
    assert "SR of by hand." in said
    assert "It says 41.5 (Volume): decided as class 1." in said
    assert "SECRET" not in said

    masks = DicomNode(node.address, f"TESTER:{ports[0]}", timeout=20.0)
    with pytest.raises(AnswerError, match="must be a DICOM SEG, and is another object"):
        ask(masks, series, tmp_path / "c")


def test_two_reports_that_differ_are_refused_and_the_same_one_twice_is_one(
    series: Path, nodes: Any, tmp_path: Path
) -> None:
    ports, volume = [free_port()], Finding("Volume", threshold=40.0)
    same = nodes(to_port(ports, lambda s: [report_of(s, number(41.5)), report_of(s, number(41.5))]))
    product = DicomNode(same.address, f"TESTER:{ports[0]}", timeout=20.0, answers=volume)
    assert ask(product, series, tmp_path / "a").tolist() == [41.5]
    other = nodes(to_port(ports, lambda s: [report_of(s, number(41.5)), report_of(s, number(12.0))]))
    product = DicomNode(other.address, f"TESTER:{ports[0]}", timeout=20.0, answers=volume)
    with pytest.raises(AnswerError, match="answered 2 times, and differently"):
        ask(product, series, tmp_path / "b")


def test_an_answer_to_a_query_of_an_earlier_run_is_known_as_such(series: Path, nodes: Any, tmp_path: Path) -> None:
    """The node answers what was asked before a kill, when the run goes on."""
    ports, earlier = [free_port()], list[Any]()

    def answer(sent: DicomSeries) -> list[Any]:
        earlier.append(structures_of(sent))
        return [earlier[0]]

    node = nodes(to_port(ports, answer))
    first = DicomNode(node.address, f"TESTER:{ports[0]}", timeout=20.0)
    ask(first, series, tmp_path / "asked")
    again = DicomNode(node.address, f"TESTER:{ports[0]}", timeout=2.0)
    asking = Asking(again, 2, tmp_path / "asked")
    asking.begin(anew=True)
    with pytest.raises(AnswerError, match="within 2 s; there came 1 that answers a query of an earlier run"):
        ask(again, series, tmp_path / "asked2")
    assert asking.asked == 1


def test_a_late_answer_is_counted_and_never_taken_for_that_of_the_next_query(
    series: Path, nodes: Any, tmp_path: Path
) -> None:
    ports, waits = [free_port()], [3.0, 0.0]

    def answer(sent: DicomSeries) -> list[Any]:
        time.sleep(waits.pop(0))
        return [structures_of(sent, planes=range(3, 5)) if waits else structures_of(sent)]

    node = nodes(to_port(ports, answer))
    product = DicomNode(node.address, f"TESTER:{ports[0]}", timeout=2.0)
    asking = Asking(product, 2, tmp_path / "asked")
    source = asking.open(series)
    try:
        with pytest.raises(AnswerError, match="did not answer within 2 s"):
            asking.answer(source.before)
        time.sleep(1.5)
        found = asking.answer(source.stored(np.ones(SHAPE)))
    finally:
        product.close()
    assert np.array_equal(found, structures_expected(SHAPE))
    assert product.strays == {"came too late or twice": 1}
    came = [line["came"] for line in map(json.loads, (tmp_path / "asked" / "queries.jsonl").open()) if "came" in line]
    assert came == ["refused: the node did not answer within 2 s.", "answered"]


# ---- a watched folder


def into_folder(folder: Path, answer: Answer, *, slowly: bool = False) -> Callable[[Path], None]:
    """Writes what a series is answered with into a folder, in halves where it is slow."""

    def write(path: Path, content: bytes) -> None:
        half = len(content) // 2 if slowly else len(content)
        path.write_bytes(content[:half])
        if slowly:
            time.sleep(1.5)
            with path.open("ab") as file:
                file.write(content[half:])

    def came(sent: Path) -> None:
        for index, each in enumerate(answer(read_dicom_series(sent))):
            path = folder / "deep" / f"{index}_{time.time_ns()}.dcm"
            path.parent.mkdir(exist_ok=True)
            whole = folder.parent / "whole.dcm"
            each.save_as(whole, enforce_file_format=True)
            threading.Thread(target=write, args=(path, whole.read_bytes())).start()

    return came


@pytest.mark.parametrize("slowly", [False, True])
def test_results_are_taken_from_a_watched_folder_once_they_are_whole(
    series: Path, nodes: Any, tmp_path: Path, slowly: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    old = structures_of(read_dicom_series(series))
    old.save_as(folder / "yesterday.dcm", enforce_file_format=True)
    before = (folder / "yesterday.dcm").stat().st_mtime_ns
    node = nodes(into_folder(folder, lambda s: [structures_of(s)], slowly=slowly))
    product = DicomNode(node.address, watch=folder, timeout=30.0)
    assert np.array_equal(ask(product, series, tmp_path / "asked"), structures_expected(SHAPE))
    assert product.strays == ({"cannot be read": 1} if slowly else {})
    assert (folder / "yesterday.dcm").stat().st_mtime_ns == before
    assert len(list(folder.rglob("*.dcm"))) == 2  # nothing is moved or removed
    line = ["node", "--send-to", node.address, "--watch", str(folder), "--series", str(series), "--dry_run"]
    assert main([*line, "--rois", "Lung", "--timeout", "30"]) == 0
    assert "RTSTRUCT of by hand, regions: 7 Lung." in capsys.readouterr().out


def other_series(sent: DicomSeries) -> list[Any]:
    ds = structures_of(sent)
    ds.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence[0].SeriesInstanceUID = "1.2"  # fmt: skip  # noqa: E501
    return [ds]


def test_what_does_not_fit_in_a_watched_folder_is_refused_by_name(series: Path, nodes: Any, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    node = nodes(into_folder(folder, other_series))
    with pytest.raises(AnswerError, match="within 3 s; there came 1 that refers to another series"):
        ask(DicomNode(node.address, watch=folder, timeout=3.0), series, tmp_path / "a")
    with pytest.raises(ValueError, match="watch must be a folder that is there"):
        DicomNode(node.address, watch=tmp_path / "no")
    for ways in ({}, {"receive_as": "T:1", "watch": folder}):
        with pytest.raises(ValueError, match="give one of the two"):
            DicomNode(node.address, **ways)
