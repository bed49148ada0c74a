"""The clean figures of a bundle: runs its ``configs/evaluate.yaml`` on the real data and keeps what it says.

Of the detectors also by centre, with intervals of 95 % over frames drawn anew.

python benchmarks/clean.py ct_lung_segmentation
python benchmarks/clean.py endoscopic_artefact_detection
python benchmarks/clean.py fundus_dr_grading
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
from measured import ROOT, Claims, Row, Table, add_save, save
from monai.bundle import ConfigParser
from scipy import ndimage

from monai_smia.data import ct_datalist
from monai_smia.metrics import DetectionMetrics

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
        "test frames, artefacts drawn onto them": {"--frames_dir": "endoscopy", "+": "artefacts"},
        "test frames, polyps": {"--dataset_dir": "endoscopy"},
        "val frames, polyps": {"--dataset_dir": "endoscopy", "--split": "val"},
    },
    FUNDUS: {
        "test photographs": {"--dataset_dir": "fundus"},
        "test photographs, trained against attacks": {
            "--dataset_dir": "fundus",
            "--weights": "$@bundle_root + '/models/model_robust.pt'",
        },
        "test photographs, EfficientNet-Lite0": {"--dataset_dir": "fundus", "+": "efficient"},
    },
}
MODELS = {
    ENDOSCOPY: ["model.pt", "model_artefacts.pt"],
    FUNDUS: ["model.pt", "model_robust.pt", "model_efficient.pt"],
}  # others: model.pt
NOISE = [  # fundus: clean, and under random noise of four grey levels
    {"_target_": "monai_smia.evaluation.PlannedAttack"},
    {
        "_target_": "monai_smia.evaluation.PlannedAttack",
        "attack": {"_target_": "monai_smia.attacks.Noise", "eps": 4.0, "clip": [0.0, 255.0], "progress": False},
        "eps": 4 / 255,
    },
]
FOLDERS = ("--dataset_dir", "--frames_dir")
# PolypGen names a frame of a centre as that centre does; its folders say which is which.
CENTRES = {
    "C1": r"\d+(OLCV1_100)?[HS]\d+",
    "C2": r"EndoCV2021_\d+",
    "C3": r"C3_EndoCV2021_\d+",
    "C4": r"\d+_endocv2021_(positive|negative)_\d+",
    "C5": r"EndoCV2021_C5_\d+",
    "C6": r"EndoCV2021_C6_\d+",
}
DRAWS = 2000


def given(data: Path, arguments: dict[str, str]) -> dict[str, str]:
    """The options of a run, with its folder."""
    return {name: str(data / value) if name in FOLDERS else value for name, value in arguments.items() if name != "+"}


def shown(arguments: dict[str, str]) -> str:
    """The options that others need for a run, the config that is laid over first."""
    told = [f"{arguments['+']}.yaml"] if "+" in arguments else []
    told += [f"{n} {'<' + v + '>' if n in FOLDERS else v}" for n, v in arguments.items() if n != "+"]
    return " ".join(told) or "none"


def evaluated(bundle: str, data: Path, arguments: dict[str, str]) -> Row:
    """The metrics of one run."""
    folder = ROOT / "bundles" / bundle
    names = ["evaluate", *([arguments["+"]] if "+" in arguments else [])]
    configs = [str(folder / "configs" / f"{name}.yaml") for name in names]
    with tempfile.TemporaryDirectory() as output:
        command = [sys.executable, "-m", "monai.bundle", "run", "evaluate", "--config_file", str(configs)]
        options = {"--bundle_root": str(folder), "--output_dir": output, **given(data, arguments)}
        if bundle == FUNDUS:
            options["--evaluation#attacks"] = str(NOISE)
        command += [word for pair in options.items() for word in pair]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        summary, metrics = Path(output) / "summary.json", Path(output) / "metrics.csv"
        if summary.exists():
            row, *noise = json.loads(summary.read_text(encoding="utf-8"))["rows"]
            row |= {"noise": noise[0]["accuracy"]} if noise else {}
        else:
            lines = [line.split(",") for line in metrics.read_text(encoding="utf-8").splitlines()]
            row = {name.removeprefix("val_").removeprefix("mean_"): float(value) for name, value in lines}
    return {**row, "options": shown(arguments)}


def detected(name: str, data: Path, arguments: dict[str, str]) -> list[Row]:
    """The metrics of one run of a detector, of all frames and of the polyps' centres."""
    folder, parser = ROOT / "bundles" / ENDOSCOPY, ConfigParser()
    names = ["evaluate", *([arguments["+"]] if "+" in arguments else [])]
    parser.read_config([folder / "configs" / f"{name}.yaml" for name in names])
    with tempfile.TemporaryDirectory() as output:
        options = {key.removeprefix("--"): value for key, value in given(data, arguments).items()}
        parser.update({"bundle_root": str(folder), "output_dir": output, **options})
        parser.get_parsed_content("initialize")
        parser.get_parsed_content("evaluator").run()
        cases, metrics = (parser.get_parsed_content(key) for key in ("cases", "metrics"))
    records = parser.get_parsed_content("key_metric")["val_map50"].records
    parts: dict[str, list[Row]] = {"all": records}
    for case, record in zip(cases, records, strict=True) if "--dataset_dir" in arguments else ():
        parts.setdefault(centre(case["case"]), []).append(record)
    about = {"of": name, "options": shown(arguments)}
    return [
        {**about, "centre": part, "frames": len(parts[part]), **summarized(metrics, parts[part])}
        for part in sorted(parts, key=lambda part: (part != "all", part))
    ]


def summarized(metrics: DetectionMetrics, records: list[Row]) -> Row:
    """mAP and IoU, and the interval of mAP@0.5."""
    rng = np.random.default_rng(0)
    drawn = [[records[i] for i in rng.integers(len(records), size=len(records))] for _ in range(DRAWS)]
    values = [value for value in (metrics.summary(draw)["map50"] for draw in drawn) if value is not None]
    found = metrics.summary(records)
    low, high = (float(end) for end in np.percentile(values, [2.5, 97.5]))
    return {"low": low, "high": high, "objects": sum(sum(record["objects"]) for record in records), **found}


def centre(case: str) -> str:
    """The hospital that a frame of PolypGen is from."""
    (found,) = (name for name, pattern in CENTRES.items() if re.fullmatch(f"pg_{pattern}", case))
    return found


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
    intervals = ", ".join("{:.2f} to {:.2f}".format(*row["intervals"]["accuracy"]) for row in rows)
    yield (
        f"{rows[0]['cases']} photographs leave the accuracies uncertain, 95 % intervals: {intervals}.",
        all(high - low > 0.2 for low, high in (row["intervals"]["accuracy"] for row in rows)),
    )
    for row in rows:
        found = "no" if row["accuracy_4"] == 0 else f"{row['accuracy_4']:.2f} of the"
        yield (
            f"{row['of']}: {found} eye{'s' * (found != 'no')} of grade 4 {'is' if found == 'no' else 'are'} found, and "
            f"noise of four grey levels changes the accuracy by {row['noise'] - row['accuracy']:+.2f}.",
            True,
        )
    first, *others = rows
    for row in others:
        kappa, accuracy = (row[metric] - first[metric] for metric in ("kappa", "accuracy"))
        yield f"{row['of']}: beside {first['of']}, kappa {kappa:+.2f} and accuracy {accuracy:+.2f}.", True


def by_centre(rows: list[Row]) -> Claims:
    test, val = (
        {row["centre"]: row["map50"] for row in rows if row["of"].startswith(part)} for part in ("test", "val")
    )
    worst = min(test, key=lambda name: test[name])
    best = max(test, key=lambda name: test[name])
    yield (
        f"mAP@0.5 of polyps by centre: {test[worst]:.2f} ({worst}) to {test[best]:.2f} ({best}) on the test frames; "
        f"{worst} is the worst on the val frames, too ({val[worst]:.2f}).",
        val[worst] == min(val.values()),
    )


HEAD = {"cases": "{of}", "options of `evaluate`": "`{options}`"}
BOXES = {"mAP@0.5": "{map50:.3f} ({low:.2f} - {high:.2f})", "mAP@0.5:0.95": "{map:.3f}", "IoU": "{iou:.3f}"}
GRADES = {
    "accuracy": "{accuracy:.3f}",
    "under noise": "{noise:.3f}",
    "kappa": "{kappa:.3f}",
    "AUC": "{auc:.3f}",
    "FPR": "{fpr:.3f}",
}
PER_GRADE = {f"grade {grade}": f"{{accuracy_{grade}:.2f}}" for grade in range(5)}
TABLES = {
    "clean_ct": Table({**HEAD, "Dice": "{dice:.4f}", "Jaccard": "{jaccard:.4f}"}, claims=surfaces),
    "clean_endoscopy": Table(
        {**HEAD, "frames": "{frames}", "objects": "{objects}", **BOXES}, where=lambda row: row["centre"] == "all"
    ),
    "centres": Table(
        {"cases": "{of}", "centre": "{centre}", "frames": "{frames}", "polyps": "{objects}", **BOXES},
        where=lambda row: row["centre"] != "all",
        claims=by_centre,
    ),
    "clean_fundus": Table(
        {**HEAD, **GRADES, "FPR": "{fpr:.3f}", "FPR, macro": "{fpr_macro:.3f}", **PER_GRADE}, claims=graded
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", choices=sorted(RUNS))
    parser.add_argument("data", type=Path, help="folder with ct, fundus and endoscopy")
    add_save(parser)
    options = parser.parse_args()
    rows: list[Row] = []
    for name, arguments in RUNS[options.bundle].items():
        if options.bundle == ENDOSCOPY:
            rows += detected(name, options.data, arguments)
        else:
            rows.append({"of": name, **evaluated(options.bundle, options.data, arguments)})
    if options.bundle == CT:
        items = ct_datalist(options.data / "ct", target="lung", split="test")
        rows[0] |= beside_the_largest(Path(items[0]["label"]))
    print(*rows, sep="\n")
    models = MODELS.get(options.bundle, ["model.pt"])
    folders = {arguments[n] for arguments in RUNS[options.bundle].values() for n in FOLDERS if n in arguments}
    weights = [ROOT / "bundles" / options.bundle / "models" / name for name in models]
    save(options.save, rows, seeds=[0], weights=weights, data=[options.data / name for name in sorted(folders)])


if __name__ == "__main__":
    main()
