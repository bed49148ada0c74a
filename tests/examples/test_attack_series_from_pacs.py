"""The example against a PACS of pynetdicom, on loopback only."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from dicom_files import phantom_series, planes, save, stored_volume

from monai_smia.dicom import read_dicom_series

pynetdicom = pytest.importorskip("pynetdicom")
FILE = Path(__file__).parents[2] / "examples" / "attack_series_from_pacs.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("attack_series_from_pacs", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def pacs() -> Iterator[tuple[int, dict[str, object]]]:
    """Port and stored data sets by SOPInstanceUID."""
    from pynetdicom import AE, AllStoragePresentationContexts, evt
    from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet

    held: dict[str, object] = {}

    def keep(event: evt.Event) -> int:
        event.dataset.file_meta = event.file_meta
        held[event.dataset.SOPInstanceUID] = event.dataset
        return 0x0000

    def give(event: evt.Event) -> Iterator[object]:
        wanted = [ds for ds in held.values() if ds.SeriesInstanceUID == event.identifier.SeriesInstanceUID]  # type: ignore[attr-defined]
        yield len(wanted)
        for ds in wanted:
            yield 0xFF00, ds

    entity = AE(ae_title="PACS")
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelGet)
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(context.abstract_syntax, scp_role=True, scu_role=True)
    handlers = [(evt.EVT_C_STORE, keep), (evt.EVT_C_GET, give)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    yield server.socket.getsockname()[1], held
    server.shutdown()


def test_store_and_fetch(example: ModuleType, pacs: tuple[int, dict[str, object]], tmp_path: Path) -> None:
    port, held = pacs
    save(planes(), tmp_path / "source")
    assert example.store("127.0.0.1", port, "PACS", tmp_path / "source") == len(held) == 6
    uid = read_dicom_series(tmp_path / "source").uid
    fetched = example.fetch("127.0.0.1", port, "PACS", uid, tmp_path / "fetched")
    assert np.array_equal(read_dicom_series(fetched).stored(), stored_volume())


def test_a_series_that_is_not_there(example: ModuleType, pacs: tuple[int, dict[str, object]], tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match=r"gave no CT image of series 1\.2\.3"):
        example.fetch("127.0.0.1", pacs[0], "PACS", "1.2.3", tmp_path / "fetched")


def test_a_pacs_that_hangs_up(example: ModuleType, tmp_path: Path) -> None:
    """As Orthanc does with an application entity that it does not know."""
    from pynetdicom import AE, evt
    from pynetdicom.sop_class import CTImageStorage, StudyRootQueryRetrieveInformationModelGet

    def hang_up(event: evt.Event) -> Iterator[int]:
        event.assoc.abort()
        yield 0

    entity = AE(ae_title="PACS")
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelGet)
    entity.add_supported_context(CTImageStorage, scp_role=True, scu_role=True)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_GET, hang_up)])
    try:
        with pytest.raises(ConnectionError, match="PACS hung up: does it know MONAI_SMIA"):
            example.fetch("127.0.0.1", server.socket.getsockname()[1], "PACS", "1.2.3", tmp_path / "fetched")
    finally:
        server.shutdown()


def test_no_answer_is_an_error(example: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match="does not answer"):
        example.fetch("127.0.0.1", 1, "PACS", "1.2.3", tmp_path / "fetched")


@pytest.mark.slow
def test_the_attack_changes_the_decision(
    example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    series, _ = phantom_series(tmp_path)
    written = example.attack_series(series, tmp_path / "out", eps=200.0, steps=3)
    assert 0 < np.abs(read_dicom_series(written).stored() - read_dicom_series(series).stored()).max() <= 200
    before, after, both = (int(word) for word in capsys.readouterr().out.replace(",", "").split() if word.isdigit())
    assert both < 0.8 * before
    assert after != before


def test_help_needs_no_network_library() -> None:
    hidden = "import sys; sys.modules['pynetdicom'] = None; sys.argv[1:] = ['--help']; import runpy; "
    done = subprocess.run(
        [sys.executable, "-c", f"{hidden}runpy.run_path({str(FILE)!r}, run_name='__main__')"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "SeriesInstanceUID" in done.stdout
