"""A product that is a DICOM node on the loopback: figures as in process, wrong answers refused, no name sent."""

from __future__ import annotations

import copy
import importlib.util
import json
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_files import phantom_series, planes, save

pytest.importorskip("pynetdicom", reason="needs pynetdicom: pip install 'monai_smia[dicom]'")
pytest.importorskip("highdicom", reason="needs highdicom: pip install 'monai_smia[dicom]'")

from monai_smia.adapters.product import AnswerError, Asking, Command, DicomNode, product_evaluation
from monai_smia.adapters.product.queries import Query, Source
from monai_smia.cli import main
from monai_smia.dicom import read_dicom_series

EXAMPLE = Path(__file__).parents[3] / "examples" / "segmentation_node.py"
SPEC = importlib.util.spec_from_file_location("segmentation_node", EXAMPLE)
assert SPEC is not None
assert SPEC.loader is not None
EXAMPLES = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(EXAMPLES)


def dark(folder: Path) -> np.ndarray:
    return np.asarray(read_dicom_series(folder).values() < -620, dtype=np.uint8)


class InProcess:
    """The node's own segmentation, without a network between."""

    def __init__(self, segment: Callable[[Path], np.ndarray] = dark) -> None:
        self.segment = segment

    def fingerprint_parts(self) -> dict[str, Any]:
        return {}

    def ask(self, query: Query, folder: Path, classes: int) -> np.ndarray:
        return self.segment(query.path).astype(np.uint16)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def data(tmp_path: Path) -> tuple[Path, Path]:
    """A series of a dark box in a folder named after a patient, and its label."""
    image, label = np.full((12, 10, 8), -520), np.zeros((12, 10, 8), np.uint8)
    image[3:9, 2:8, 2:6], label[3:9, 2:8, 2:6] = -700, 1
    image += np.random.default_rng(0).integers(-60, 61, image.shape)
    save(planes(image + 1024), tmp_path / "data" / "SECRET^NAME")
    affine = read_dicom_series(tmp_path / "data").affine
    (tmp_path / "labels").mkdir()
    nib.save(nib.Nifti1Image(label, affine), tmp_path / "labels" / "SECRET^NAME.nii.gz")
    return tmp_path / "data", tmp_path / "labels"


Serve = Callable[..., tuple[str, str, list[pydicom.Dataset]]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a node that answers in a way; its address, where it sends answers, and the objects that it was sent."""
    servers = []

    def start(change: Any = lambda seg: [seg], by: Any = dark) -> tuple[str, str, list[pydicom.Dataset]]:
        ports, seen = (free_port(), free_port()), []

        def segment(folder: Path) -> np.ndarray:
            seen.extend(pydicom.dcmread(path) for path in sorted(folder.iterdir()))
            return np.asarray(by(folder))

        node = EXAMPLES.SegmentationNode(segment, ("LUNGS", ports[0]), ("TESTER", ports[1]), change)
        servers.append(node.start(block=False))
        return f"LUNGS@127.0.0.1:{ports[0]}", f"TESTER:{ports[1]}", seen

    yield start
    for server in servers:
        server.shutdown()


def records(folder: Path) -> list[dict[str, Any]]:
    vary = ("seconds", "config_sha256", "versions", "input_sha256")
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in vary} for line in lines]


def test_figures_are_those_in_process_and_no_name_goes_out(
    data: tuple[Path, Path], serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    series, labels = data
    send_to, receive_as, seen = serve()
    hook = sys.excepthook
    line = ["node", "--send-to", send_to, "--receive-as", receive_as, "--series", str(series)]
    options = ["--labels", str(labels), "--eps", "60", "--queries", "6", "--write_volumes", "all"]
    assert main([*line, *options, "--output_dir", str(tmp_path / "out")]) == 0
    shared = {"images": series, "labels": labels, "eps": 60.0, "queries": 6, "figures": False, "progress": False}
    product_evaluation(InProcess(), output_dir=tmp_path / "here", **shared).run()
    ours = records(tmp_path / "out")
    assert ours == records(tmp_path / "here")
    assert [r["queries"] for r in ours if r["stage"] == "computed" and "queries" in r] == [7, 7]
    assert ours[-1]["jaccard"] < ours[0]["jaccard"]

    said = capsys.readouterr()
    for text in (said.out, said.err, *(str(ds) for ds in seen)):
        assert "SECRET" not in text.replace(str(series), "")
    assert {ds.ImageType[0] for ds in seen} == {"DERIVED"}
    assert {ds[0x0008001C].value for ds in seen} == {"YES"}  # Synthetic Data
    source = read_dicom_series(series)
    assert source.uid not in {ds.SeriesInstanceUID for ds in seen}
    for path in (tmp_path / "out").rglob("*"):
        assert "SECRET" not in path.name
        assert path.is_dir() or b"SECRET" not in path.read_bytes()

    assert main([*line, "--dry_run"]) == 0
    said = capsys.readouterr()
    assert "8 images sent to LUNGS" in said.out
    assert "segments: 1 Lungs" in said.out
    assert "refers to the series that was sent" in said.out
    assert "SECRET" not in said.out
    sys.excepthook = hook


@pytest.mark.slow
def test_the_lung_bundle_behind_a_node_is_that_in_process(serve: Serve, tmp_path: Path) -> None:
    series, label = phantom_series(tmp_path)
    segment = EXAMPLES.bundle_segmentation(EXAMPLES.BUNDLE)
    send_to, receive_as, _ = serve(by=segment)
    shared = {"images": series, "labels": label, "eps": 70.0, "queries": 2, "figures": False, "progress": False}
    node = DicomNode(send_to, receive_as)
    product_evaluation(node, output_dir=tmp_path / "node", **shared).run()
    node.close()
    product_evaluation(InProcess(segment), output_dir=tmp_path / "here", **shared).run()
    ours = records(tmp_path / "node")
    assert ours == records(tmp_path / "here")
    assert 0.5 < ours[0]["jaccard"] < 1


COMMAND = """
import importlib.util, sys
import nibabel as nib
from monai_smia.dicom import read_dicom_series
spec = importlib.util.spec_from_file_location("segmentation_node", sys.argv[3])
node = importlib.util.module_from_spec(spec)
spec.loader.exec_module(node)
mask = node.bundle_segmentation(node.BUNDLE)(sys.argv[1])
nib.save(nib.Nifti1Image(mask, read_dicom_series(sys.argv[1]).affine), sys.argv[2])
"""


@pytest.mark.slow
def test_the_lung_bundle_behind_a_command_is_that_in_process(tmp_path: Path) -> None:
    series, label = phantom_series(tmp_path)
    (tmp_path / "lungs.py").write_text(COMMAND)
    command = Command((sys.executable, str(tmp_path / "lungs.py"), "{input}", "{output}", str(EXAMPLE)))
    shared = {"images": series, "labels": label, "eps": 70.0, "queries": 2, "figures": False, "progress": False}
    product_evaluation(command, output_dir=tmp_path / "command", **shared).run()
    product_evaluation(
        InProcess(EXAMPLES.bundle_segmentation(EXAMPLES.BUNDLE)), output_dir=tmp_path / "here", **shared
    ).run()
    ours = records(tmp_path / "command")
    assert ours == records(tmp_path / "here")
    assert 0.5 < ours[0]["jaccard"] < 1


def other_series(seg: Any) -> list[Any]:
    seg.ReferencedSeriesSequence[0].SeriesInstanceUID = "1.2.3.4"
    return [seg]


def other_patient(seg: Any) -> list[Any]:
    seg.PatientID = "SOMEBODY-ELSE"
    return [seg]


def other_frame(seg: Any) -> list[Any]:
    seg.FrameOfReferenceUID = "1.2.3.4"
    return [seg]


def other_planes(seg: Any) -> list[Any]:
    for frame in seg.PerFrameFunctionalGroupsSequence:
        frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID = "1.2.3.4"
    return [seg]


def no_pixels(seg: Any) -> list[Any]:
    del seg.PixelData
    return [seg]


def half(seg: Any) -> list[Any]:
    seg.PixelData = seg.PixelData[: len(seg.PixelData) // 2]
    return [seg]


def twice(seg: Any) -> list[Any]:
    other = copy.deepcopy(seg)
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4.5"
    other.PixelData = bytes(len(seg.PixelData))
    return [seg, other]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda seg: [], "did not answer within 4 s."),
        (other_series, "did not answer within 4 s; there came 1 that refers to another series"),
        (other_patient, "another PatientID than the series"),
        (other_frame, "another FrameOfReferenceUID than the series"),
        (other_planes, "refers to 1 images that were not sent"),
        (no_pixels, "cannot be read on the planes that were sent"),
        (half, "cannot be read on the planes that were sent"),
        (twice, "answered 2 times, and differently"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(
    change: Any, reason: str, data: tuple[Path, Path], serve: Serve, tmp_path: Path
) -> None:
    send_to, receive_as, _ = serve(change)
    node = DicomNode(send_to, receive_as, timeout=4.0)
    asking = Asking(node, 2, tmp_path / "asked")
    source = asking.open(data[0])
    try:
        with pytest.raises(AnswerError, match=reason):
            asking.answer(source.before)
    finally:
        node.close()
    assert not (tmp_path / "asked" / "answers").exists()
    assert not list((tmp_path / "asked" / "scratch").iterdir())


def test_a_node_that_is_not_there_and_addresses_that_are_none(data: tuple[Path, Path], tmp_path: Path) -> None:
    node = DicomNode(f"LUNGS@127.0.0.1:{free_port()}", f"TESTER:{free_port()}", timeout=5.0, retries=1)
    asking = Asking(node, 2, tmp_path / "asked")
    source = asking.open(data[0])
    with pytest.raises(AnswerError, match="did not take the series in 2 tries: no association with LUNGS"):
        asking.answer(source.before)
    node.close()
    for send_to, receive_as in (("LUNGS", "T:1"), ("L@h:0", "T:1"), ("L@h:70000", "T:1"), ("L@h:1", "T"), ("", "T:1")):
        with pytest.raises(ValueError, match=r"must be AE@host:port"):
            DicomNode(send_to, receive_as)
    for name, value in (("timeout", 0), ("retries", -1), ("per_minute", 0)):
        with pytest.raises(ValueError, match=f"{name} must be"):
            DicomNode("A@127.0.0.1:1", "B:2", **{name: value})


def test_a_series_that_is_not_deidentified_is_not_sent(serve: Serve, tmp_path: Path) -> None:
    save(planes(deidentified=False), tmp_path / "data")
    send_to, receive_as, seen = serve()
    node = DicomNode(send_to, receive_as, timeout=4.0)
    asking = Asking(node, 2, tmp_path / "asked")
    with pytest.raises(ValueError, match="not de-identified"):
        asking.answer(asking.open(tmp_path / "data").before)
    with pytest.raises(ValueError, match="identified must be True or False, got 'false'"):
        Asking(node, 2, tmp_path / "asked", identified="false")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="identified must be True or False, got 'false'"):
        Source(tmp_path / "data", identified="false")  # type: ignore[arg-type]
    node.close()
    assert seen == []
