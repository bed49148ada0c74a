"""A test of a product through a DICOM node, killed on either side: it goes on, and no series is lost or counted twice.

A small CT series is tested through the example node on the loopback address (noise, Square and DecisionSearch). At
drawn moments the test or the node is killed (SIGKILL) and started again, until as many kills have hit. Every finished
test is compared with one without trouble: records to the last digit; the journal has every series that the node was
sent, once; no scratch is left. What the node answers to a query of a run that was killed is known as such.
Needs pynetdicom and highdicom: pip install 'monai_smia[dicom]'.

    python benchmarks/product_kills.py --kills 20
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import random
import socket
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measured import Claims, Row, Table, add_save, save
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE
from pynetdicom.sop_class import SegmentationStorage

from monai_smia.adapters.product import DicomNode, product_evaluation
from monai_smia.adapters.product.inbox import EARLIER
from monai_smia.dicom import read_dicom_series

FORK = multiprocessing.get_context("fork")
EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "segmentation_node.py"
SHAPE, AIR = (12, 10, 8), -1024
VARY = ("seconds", "config_sha256", "versions", "input_sha256")
SLOW, LATE = 0.4, 1.5  # seconds that the node takes, most often and at times: kills come while it is at work
PATIENCE = 8.0  # seconds that an answer may take


def example() -> Any:
    """The module of the example node."""
    sys.path.insert(0, str(EXAMPLE.parent))
    return importlib.import_module(EXAMPLE.stem)


def write_series(folder: Path) -> Path:
    """A de-identified CT series of nobody: a dark box."""
    from pydicom.dataset import FileDataset, FileMetaDataset

    image = np.full(SHAPE, -520)
    image[3:9, 2:8, 2:6] = -700
    image += np.random.default_rng(0).integers(-60, 61, SHAPE) - AIR
    folder.mkdir(parents=True)
    study, uid, frame = (generate_uid() for _ in range(3))
    for index in range(SHAPE[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, uid, frame
        ds.ImageType, ds.Modality, ds.BodyPartExamined = ["ORIGINAL", "PRIMARY", "AXIAL"], "CT", "CHEST"
        ds.PatientName = ds.PatientID = "PHANTOM"
        ds.PatientIdentityRemoved, ds.DeidentificationMethod = "YES", "synthetic"
        ds.InstanceNumber, ds.PixelSpacing, ds.SliceThickness = index + 1, [0.7, 0.7], 2.5
        ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, index * 2.5]
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
        ds.Columns, ds.Rows, ds.BitsAllocated, ds.BitsStored, ds.HighBit = *SHAPE[:2], 16, 12, 11
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = AIR, 1, "HU"
        ds.PixelData = image[..., index].T.astype("<u2").tobytes()
        ds.save_as(folder / f"{index:02d}.dcm", enforce_file_format=True)
    return folder


def serve(ports: tuple[int, int], log: Path, seed: int) -> None:
    """The example node, which notes what it is sent, is late at times, and tries again to bring its answers."""
    draw, module = random.Random(seed), example()

    def dark(folder: Path) -> np.ndarray:
        series = read_dicom_series(folder)
        with log.open("a") as file:
            file.write(f"{series.uid}\n")
        time.sleep(LATE if draw.random() < 0.1 else SLOW)
        return np.asarray(series.values() < -620, dtype=np.uint8)

    class Stubborn(module.SegmentationNode):  # type: ignore[name-defined, misc]
        def _send(self, objects: list[Any]) -> None:
            entity, until = AE(ae_title=self.listen[0]), time.monotonic() + 20
            entity.add_requested_context(SegmentationStorage)
            while time.monotonic() < until:
                association = entity.associate("127.0.0.1", self.answer[1], ae_title=self.answer[0])
                if association.is_established:
                    for each in objects:
                        association.send_c_store(each)
                    return association.release()
                time.sleep(0.1)
            return None

    Stubborn(dark, ("LUNGS", ports[0]), ("TESTER", ports[1])).start(block=True)


def tested(series: Path, folder: Path, ports: tuple[int, int], queries: int) -> None:
    """The test that is killed: from where it was, what has failed tried again."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    node = DicomNode(f"LUNGS@127.0.0.1:{ports[0]}", f"TESTER:{ports[1]}", timeout=PATIENCE, retries=20)
    options: dict[str, Any] = {"eps": 60.0, "queries": queries, "figures": False, "progress": False}
    try:
        product_evaluation(node, images=series, output_dir=folder, retry_failed=True, **options).run()
    finally:
        node.close()


def free_ports() -> tuple[int, int]:
    """Two ports of this machine that nobody listens on."""
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def records(folder: Path) -> list[dict[str, Any]]:
    """Records without what varies between runs."""
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in VARY} for line in lines]


def journal(folder: Path) -> list[dict[str, Any]]:
    """What was noted of queries."""
    path, found = folder / "product" / "queries.jsonl", []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            found.append(json.loads(line))
        except ValueError:  # a line that a kill has cut off
            continue
    return found


class Trouble:
    """Kills on either side, and what became of them.

    Args:
        folder: for everything.
        queries: of every attack.
        seed: of the moments.
    """

    def __init__(self, folder: Path, queries: int, seed: int) -> None:
        self.folder, self.queries, self.draw = folder, queries, random.Random(seed)
        self.series, self.ports = write_series(folder / "series"), free_ports()
        self.log = folder / "sent.txt"
        self.log.touch()
        self.node = self._start(serve, self.ports, self.log, seed)
        self.started = 0

    @staticmethod
    def _start(work: Callable[..., None], *arguments: Any) -> Any:
        process = FORK.Process(target=work, args=arguments, daemon=True)
        process.start()
        return process

    def run(self, out: Path) -> Any:
        """The test, started."""
        return self._start(tested, self.series, out, self.ports, self.queries)

    def whole(self) -> list[dict[str, Any]]:
        """The records of a test without trouble."""
        out = self.folder / "whole"
        process = self.run(out)
        process.join()
        assert process.exitcode == 0
        return records(out)

    def kill(self, out: Path, side: str) -> bool:
        """Kill a side at a drawn moment of a test; whether it hit, and the test was not over."""
        process, seen = self.run(out), len(journal(out))
        wanted, until = seen + self.draw.randint(2, 20), time.monotonic() + 60
        while process.is_alive() and len(journal(out)) < wanted and time.monotonic() < until:
            time.sleep(0.002)
        time.sleep(self.draw.uniform(0, 0.15))
        hit = bool(process.is_alive())
        if side == "test":
            process.kill()
        else:
            self.node.kill()
            self.node.join()
            self.node = self._start(serve, self.ports, self.log, self.draw.randint(0, 10**6))
        process.join()
        return hit

    def check(self, out: Path, whole: list[dict[str, Any]], kills: int) -> dict[str, Any]:
        """What there is to say of a finished test."""
        lines = journal(out)
        asked = [line["asked"] for line in lines if "asked" in line]
        told = {line["series"] for line in lines if "series" in line}
        sent = [uid for uid in self.log.read_text().split() if uid in told]
        left = list((out / "product" / "scratch").rglob("*"))
        answered = sum(line.get("came") == "answered" for line in lines)
        leftovers = sum(line.get("strays", {}).get(EARLIER, 0) for line in lines)
        return {
            "equal": records(out) == whole,
            "numbers": [line["query"] for line in lines if "asked" in line] == list(range(1, len(asked) + 1)),
            "again": len(asked) - len(set(asked)),
            "answered": answered,
            "unanswered": len(asked) - answered,
            "twice": len(sent) - len(set(sent)),
            "left": len(left),
            "leftovers": leftovers,
            "kills": kills,
        }


def measure(kills: int, queries: int, seed: int = 0) -> list[Row]:
    """Rows of the table: one a side, and what all tests come to."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        trouble = Trouble(Path(name), queries, seed)
        try:
            whole = trouble.whole()
            hits, found, number, since = {"test": 0, "node": 0}, [], 0, 0
            while sum(hits.values()) < kills:
                out, side = Path(name) / f"out{number}", trouble.draw.choice(sorted(hits))
                hit = trouble.kill(out, side)
                hits[side] += hit
                since += hit
                if (out / "summary.json").is_file() and len(records(out)) == len(whole):
                    trouble.run(out).join()
                    found.append(trouble.check(out, whole, since))
                    number, since = number + 1, 0
            out = Path(name) / f"out{number}"
            for _ in range(3):
                trouble.run(out).join()
            found.append(trouble.check(out, whole, since))
        finally:
            trouble.node.kill()
    sums = {key: sum(int(each[key]) for each in found) for key in found[0]}
    return [
        {"kills": sum(hits.values()), "of_test": hits["test"], "of_node": hits["node"], "tests": len(found)}
        | {key: sums[key] for key in ("equal", "numbers", "again", "unanswered", "twice", "left", "leftovers")}
    ]


def claims(rows: list[Row]) -> Claims:
    """Nothing is lost, nothing counted twice."""
    for row in rows:
        yield (
            f"{row['equal']} of {row['tests']} results are those of a test without trouble.",
            row["equal"] == row["tests"],
        )
        yield "Every query has a number of its own, in order.", row["numbers"] == row["tests"]
        yield "No series was sent twice, and no scratch is left.", row["twice"] == row["left"] == 0
        if row["leftovers"]:
            yield (
                f"Answers that came to queries of a killed test were known as such, and not used: {row['leftovers']}.",
                row["equal"] == row["tests"],
            )
        yield (
            f"A kill costs one query at most: {row['unanswered']} of {row['kills']}.",
            row["unanswered"] <= row["kills"],
        )


TABLES = {
    "table": Table(
        {
            "kills": "{kills}",
            "of the test": "{of_test}",
            "of the node": "{of_node}",
            "finished tests": "{tests}",
            "equal to one without trouble": "{equal}",
            "queries without an answer": "{unanswered}",
            "series sent twice": "{twice}",
            "answers to queries of a killed run": "{leftovers}",
        },
        claims=claims,
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--queries", type=int, default=15, help="of every attack")
    add_save(parser)
    args = parser.parse_args()
    rows = measure(args.kills, args.queries)
    print(TABLES["table"].markdown(rows))
    save(args.save, rows, seeds=[0])


if __name__ == "__main__":
    main()
