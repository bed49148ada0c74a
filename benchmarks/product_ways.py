"""The lung bundle as a product, asked in every way: are its figures those in process, to the last digit?

A synthetic thorax as a CT series is tested at 70 HU (noise, Square, DecisionSearch) by the commands of the package: in
process; through a command that writes NIfTI, and one that writes DICOM SEG; through the example node; through the node
behind an Orthanc that routes series to it and segmentations back; and through Orthanc's DICOMweb. Every record of a
way, computed and stored, is compared with that in process.

    python benchmarks/product_ways.py

Needs pynetdicom, highdicom and dicomweb-client (pip install 'monai_smia[dicom]'). The ways through Orthanc
are left out where it is not installed (see with_orthanc.sh), and nothing is saved then.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from measured import Claims, Row, Table, add_save, save
from product_kills import VARY, example, free_ports

from monai_smia.adapters.product import product_evaluation
from monai_smia.adapters.product.queries import Query
from monai_smia.data import write_ct_phantoms
from monai_smia.dicom import read_dicom_series
from monai_smia.targets.ct_lung import ct_datalist

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent / "examples"
ORTHANC, WEB = "ORTHANC@127.0.0.1:14242", "http://127.0.0.1:18042/dicom-web"
ROUTED = (11112, 11113)  # ports of product and tester, in the namespace of with_orthanc.sh
OPTIONS = ("--eps", "70", "--write_volumes", "all", "--timeout", "300")
WAYS = {
    "process": "in process",
    "command": "a command that writes NIfTI",
    "seg": "a command that writes DICOM SEG",
    "node": "a DICOM node",
    "orthanc": "the node behind Orthanc, C-STORE",
    "dicomweb": "the node behind Orthanc, DICOMweb",
}
BEHIND = ("orthanc", "dicomweb")


class InProcess:
    """The bundle, without anything between."""

    def __init__(self, module: Any) -> None:
        self.segment = module.bundle_segmentation(module.BUNDLE)

    def fingerprint_parts(self) -> dict[str, Any]:
        """What decides its answers: nothing that varies here."""
        return {"bundle": "ct_lung_segmentation"}

    def ask(self, query: Query, folder: Path, classes: int) -> np.ndarray:
        """The mask."""
        return np.asarray(self.segment(query.path), np.uint16)


def write_case(folder: Path) -> tuple[Path, Path]:
    """A thorax of nobody as a CT series, and the mask of its lungs."""
    sys.path.insert(0, str(EXAMPLES / "monai_deploy_app"))
    from prepare import SIZE, SPACING, series

    series(folder / "series")
    (item,) = ct_datalist(write_ct_phantoms(folder / "label", 1, size=SIZE, spacing=SPACING, seed=7))
    mask = np.asarray(nib.load(item["label"]).dataobj)
    nib.save(nib.Nifti1Image(mask, read_dicom_series(folder / "series").affine), folder / "label.nii.gz")
    return folder / "series", folder / "label.nii.gz"


def arguments(way: str, folder: Path, queries: int) -> list[str]:
    """The command of the package, less its program, for a way."""
    shared = ["--labels", str(folder / "label.nii.gz"), "--queries", str(queries), *OPTIONS]
    shared += ["--output_dir", str(folder / way)]
    if way in ("command", "seg"):
        output = "{output}" if way == "command" else "{output_folder}"
        line = f"{sys.executable} {EXAMPLES / 'segmentation_command.py'} {{input}} {output}"
        return ["blackbox", "--command", line, "--images", str(folder / "series"), *shared]
    return ["node", "--series", str(folder / "series"), *shared]


def called(line: list[str]) -> None:
    """A command of the package, which has to succeed."""
    done = subprocess.run([sys.executable, "-m", "monai_smia", *line], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{line[0]} ended with {done.returncode}: {done.stdout[-1000:]}{done.stderr[-1000:]}")


class Node:
    """The example node, in a process of its own."""

    def __init__(self, port: int, answer: str) -> None:
        line = ["--listen", f"LUNGS:{port}", "--answer", answer]
        self.process = subprocess.Popen([sys.executable, str(EXAMPLES / "segmentation_node.py"), *line])
        until = time.monotonic() + 120
        while time.monotonic() < until and self.process.poll() is None:
            with socket.socket() as tried:
                if not tried.connect_ex(("127.0.0.1", port)):
                    return
            time.sleep(0.2)
        raise RuntimeError("the example node did not start.")

    def __enter__(self) -> None:
        """It serves."""

    def __exit__(self, *error: Any) -> None:
        self.process.kill()
        self.process.wait()


def behind_orthanc(folder: Path, queries: int) -> None:
    """Both ways through Orthanc; called beside it, by with_orthanc.sh."""
    with Node(ROUTED[0], "ORTHANC:14242"):
        called([*arguments("orthanc", folder, queries), "--send-to", ORTHANC, "--receive-as", f"TESTER:{ROUTED[1]}"])
        called([*arguments("dicomweb", folder, queries), "--dicomweb", WEB])


def run(folder: Path, queries: int, *, orthanc: bool) -> None:
    """All ways, into folders of their names."""
    images, label = write_case(folder)
    shared: dict[str, Any] = {"images": images, "labels": label, "eps": 70.0, "queries": queries, "progress": False}
    product_evaluation(
        InProcess(example()), output_dir=folder / "process", write_volumes="all", figures=False, **shared
    ).run()
    for way in ("command", "seg"):
        called(arguments(way, folder, queries))
    ports = free_ports()
    with Node(ports[0], f"TESTER:{ports[1]}"):
        where = ["--send-to", f"LUNGS@127.0.0.1:{ports[0]}", "--receive-as", f"TESTER:{ports[1]}"]
        called([*arguments("node", folder, queries), *where])
    if orthanc:
        line = [str(HERE / "with_orthanc.sh"), sys.executable, __file__, "--queries", str(queries)]
        routes = {"ORTHANC_LUA": str(HERE / "orthanc_routes.lua")}
        subprocess.run([*line, "--beside", str(folder)], check=True, env={**os.environ, **routes})


def records(folder: Path) -> list[dict[str, Any]]:
    """Records without what varies between runs, or names the product."""
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in VARY} for line in lines]


def row(way: str, folder: Path) -> Row:
    """What there is to say of a way."""
    found, own = records(folder / way), records(folder / "process")
    jaccard = {(r["attack"], r["stage"]): r["jaccard"] for r in found}
    journal = (folder / way / "product" / "queries.jsonl").read_text().splitlines()
    pairs = zip(found, own, strict=False)
    return {
        "way": WAYS[way],
        "queries": sum("asked" in json.loads(line) for line in journal),
        "records": len(found),
        "expected": len(own),
        "equal": sum(one == other for one, other in pairs),
        "clean": jaccard["Clean", "computed"],
        "search": jaccard["DecisionSearch", "stored"],
    }


def claims(rows: list[Row]) -> Claims:
    """Whatever lies between, figures are the same."""
    own, *others = rows
    yield (
        f"Every record of the other {len(others)} ways, computed and stored, is that in process to the last digit.",
        all(row["equal"] == row["records"] == row["expected"] for row in others),
    )
    yield "As many queries were asked in every way.", {row["queries"] for row in others} == {own["queries"]}


TABLES = {
    "table": Table(
        {
            "way": "{way}",
            "queries": "{queries}",
            "records": "{records}",
            "equal to those in process": "{equal}",
            "Jaccard, clean": "{clean:.4f}",
            "Jaccard, DecisionSearch, stored": "{search:.4f}",
        },
        claims=claims,
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=2, help="of every attack")
    parser.add_argument("--beside", type=Path, help=argparse.SUPPRESS)  # Orthanc, of a folder that is made already
    add_save(parser)
    args = parser.parse_args()
    if args.beside is not None:
        return behind_orthanc(args.beside, args.queries)
    orthanc = shutil.which("Orthanc") is not None
    if not orthanc:
        print("Orthanc is not installed: the ways through it are left out (with_orthanc.sh says what it needs).")
    with tempfile.TemporaryDirectory() as name:
        run(Path(name), args.queries, orthanc=orthanc)
        rows = [row(way, Path(name)) for way in WAYS if orthanc or way not in BEHIND]
    print(TABLES["table"].markdown(rows))
    save(args.save if orthanc else None, rows, seeds=[0, 7], weights=[example().BUNDLE / "models" / "model.pt"])
    return None


if __name__ == "__main__":
    main()
