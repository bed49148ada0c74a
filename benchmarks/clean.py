"""The clean figures of a bundle: runs its ``configs/evaluate.yaml`` on the real data and keeps what it says.

python benchmarks/clean.py ct_lung_segmentation
python benchmarks/clean.py endoscopic_artefact_detection
python benchmarks/clean.py fundus_dr_grading
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
from measured import ROOT, Claims, Row, Table, add_save, save
from scipy import ndimage

from monai_smia.data import ct_datalist

CT, FUNDUS, ENDOSCOPY = "ct_lung_segmentation", "fundus_dr_grading", "endoscopic_artefact_detection"
LARGEST = {"--largest_label_part": "True"}
RUNS: dict[str, dict[str, dict[str, str]]] = {  # bundle: what is evaluated: its arguments
    CT: {
        "held-out patient (1), mask as delivered": {"--dataset_dir": "ct"},
        "held-out patient (1), without the piece of table": {"--dataset_dir": "ct", **LARGEST},
        "training patients (3), masks as delivered": {"--dataset_dir": "ct", "--split": "train"},
        "unseen phantoms (2)": {},
    },
    ENDOSCOPY: {
        "test frames, artefacts drawn onto them": {"--frames_dir": "endoscopy"},
        "test frames, polyps": {"--dataset_dir": "endoscopy", "+": "polyps"},
    },
    FUNDUS: {"test photographs": {"--dataset_dir": "fundus"}},
}
FOLDERS = ("--dataset_dir", "--frames_dir")


def evaluated(bundle: str, data: Path, arguments: dict[str, str]) -> Row:
    """The metrics of one run, and the options that others need for it."""
    folder = ROOT / "bundles" / bundle
    given = {name: str(data / value) if name in FOLDERS else value for name, value in arguments.items() if name != "+"}
    names = ["evaluate", *([arguments["+"]] if "+" in arguments else [])]
    configs = [str(folder / "configs" / f"{name}.yaml") for name in names]
    with tempfile.TemporaryDirectory() as output:
        command = [sys.executable, "-m", "monai.bundle", "run", "evaluate", "--config_file", str(configs)]
        command += ["--bundle_root", str(folder), "--output_dir", output, *(w for pair in given.items() for w in pair)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        summary, metrics = Path(output) / "summary.json", Path(output) / "metrics.csv"
        if summary.exists():
            row: Row = json.loads(summary.read_text(encoding="utf-8"))["rows"][0]
        else:
            lines = [line.split(",") for line in metrics.read_text(encoding="utf-8").splitlines()]
            row = {name.removeprefix("val_").removeprefix("mean_"): float(value) for name, value in lines}
    shown = [f"{n} {'<' + v + '>' if n in FOLDERS else v}" for n, v in arguments.items() if n != "+"]
    return {**row, "options": " ".join(shown) or "none"}


def beside_the_largest(mask: Path) -> dict[str, int]:
    """Voxels of a mask, and those that are not of its largest part."""
    voxels = np.asarray(nib.load(mask).dataobj) > 0
    parts = np.bincount(ndimage.label(voxels, np.ones((3, 3, 3)))[0][voxels])
    return {"voxels": int(voxels.sum()), "beside": int(voxels.sum() - parts.max())}


def surfaces(rows: list[Row]) -> Claims:
    held, without, train, phantoms = (row["jaccard"] for row in rows)
    voxels, beside = rows[0]["voxels"], rows[0]["beside"]
    yield (
        f"{beside} of the {voxels} voxels of the held-out patient's mask ({beside / voxels:.1%}) are that piece: who "
        f"leaves it out cannot score above {1 - beside / voxels:.3f} on the mask as it is delivered.",
        beside > 0.01 * voxels and held <= 1 - beside / voxels,
    )
    yield (
        f"Without the piece of table in its mask the held-out patient stands at {without:.3f}, as do the patients that "
        f"the network was trained on ({train:.3f}).",
        held < without and abs(without - train) < 0.03 and phantoms > 0.9,
    )


def graded(rows: list[Row]) -> Claims:
    row = rows[0]
    low, high = row["intervals"]["accuracy"]
    grades = ", ".join(f"{row[f'accuracy_{grade}']:.2f}" for grade in range(5))
    yield (
        f"{row['cases']} photographs leave the accuracy uncertain: 95 % interval {low:.2f} to {high:.2f}; per grade, 0 "
        f"to 4: {grades}.",
        high - low > 0.2,
    )
    yield "No eye of grade 4 is found.", row["accuracy_4"] == 0


HEAD = {"cases": "{of}", "options of `evaluate`": "`{options}`"}
BOXES = {"mAP@0.5": "{map50:.4f}", "mAP@0.5:0.95": "{map:.4f}", "IoU": "{iou:.4f}"}
GRADES = {"accuracy": "{accuracy:.3f}", "kappa": "{kappa:.3f}", "AUC": "{auc:.3f}", "FPR": "{fpr:.3f}"}
TABLES = {
    "clean_ct": Table({**HEAD, "Dice": "{dice:.4f}", "Jaccard": "{jaccard:.4f}"}, claims=surfaces),
    "clean_endoscopy": Table({**HEAD, **BOXES}),
    "clean_fundus": Table({**HEAD, **GRADES, "FPR, macro": "{fpr_macro:.3f}"}, claims=graded),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", choices=sorted(RUNS))
    parser.add_argument("data", type=Path, help="folder with ct, fundus and endoscopy")
    add_save(parser)
    options = parser.parse_args()
    rows = [
        {"of": name, **evaluated(options.bundle, options.data, arguments)}
        for name, arguments in RUNS[options.bundle].items()
    ]
    if options.bundle == CT:
        items = ct_datalist(options.data / "ct", target="lung", split="test")
        rows[0] |= beside_the_largest(Path(items[0]["label"]))
    print(*rows, sep="\n")
    models = ["model.pt", *(["model_polyps.pt"] if options.bundle == ENDOSCOPY else [])]
    folders = {arguments[n] for arguments in RUNS[options.bundle].values() for n in FOLDERS if n in arguments}
    weights = [ROOT / "bundles" / options.bundle / "models" / name for name in models]
    save(options.save, rows, seeds=[0], weights=weights, data=[options.data / name for name in sorted(folders)])


if __name__ == "__main__":
    main()
