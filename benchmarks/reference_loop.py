"""An independent check of the CT bundle's table: plain loops over plain MONAI, on the same weights and cases.

Nothing of the package's attacks, victims or inferers is used: MONAI's transforms and SlidingWindowInferer, PyTorch's
autograd, `ResampleToMatch` for the way back. Every BIM, PGD and SMIA row has to agree in its Jaccard index to 0.005,
and the radius is computed again from the written files.

    python -m monai.bundle run attack_eval --config_file bundles/ct_lung_segmentation/configs/attack_eval.yaml \\
        --bundle_root bundles/ct_lung_segmentation --preset paper --write_volumes all --output_dir DIR
    python benchmarks/reference_loop.py DIR [--dataset_dir CT]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from monai.transforms import Compose, ResampleToMatch
from torch import Tensor
from torch.nn import functional as F

BUNDLE = Path(__file__).resolve().parent.parent / "bundles" / "ct_lung_segmentation"
LOW, HIGH = -1024.0, 3071.0


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    return F.cross_entropy(logits, label, reduction="sum")


def soft_jaccard(logits: Tensor, label: Tensor) -> Tensor:
    p = logits.softmax(1)[:, 1]
    return 1 - (p * label).sum() / (p + label - p * label).sum()


def jaccard(decision: Tensor, label: Tensor) -> float:
    return float((decision & label).sum() / (decision | label).sum())


def smooth(eta: Tensor) -> Tensor:
    taps = torch.exp(-(torch.arange(-2.0, 3.0) ** 2) / 2)
    kernel = torch.einsum("i,j,k->ijk", taps, taps, taps)[None, None]
    return F.conv3d(eta, kernel / kernel.sum(), padding=2)


def attack(
    predict: Callable[[Tensor], Tensor],
    loss_of: Callable[[Tensor, Tensor], Tensor],
    image: Tensor,
    label: Tensor,
    start: Tensor,
    *,
    eps: float,
    step: float,
    steps: int,
    alpha: float,
) -> Tensor:
    """The iterate of lowest Jaccard index, then of highest loss."""
    x, best, best_score = start, start, (-1.0, -np.inf)
    for t in range(steps + 1):
        x = x.detach().requires_grad_(True)
        logits = predict(x)
        loss = loss_of(logits, label)
        score = (1 - jaccard(logits.argmax(1).bool(), label.bool()), loss.item())
        if score > best_score:
            best, best_score = x.detach(), score
        if t == steps:
            return best
        if alpha and t:
            target = predict(image + smooth(x - image)).softmax(1)
            loss = loss + alpha * (target * logits.log_softmax(1)).sum()  # minus the cross entropy
        (gradient,) = torch.autograd.grad(loss, x)
        moved = x.detach() + step * gradient.sign()
        x = (image + (moved - image).clamp(-eps, eps)).clamp(LOW, HIGH)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output_dir", type=Path)
    parser.add_argument("--dataset_dir")
    args = parser.parse_args()
    config = ConfigParser()
    config.read_config(BUNDLE / "configs" / "attack_eval.yaml")
    config.update({"bundle_root": str(BUNDLE), "output_dir": str(args.output_dir), "dataset_dir": args.dataset_dir})
    network = config.get_parsed_content("network_def").eval().requires_grad_(False)
    network.load_state_dict(torch.load(BUNDLE / "models" / "model.pt", weights_only=True))
    inferer: SlidingWindowInferer = config.get_parsed_content("inferer")
    load, preprocess = (Compose(config.get_parsed_content(name)) for name in ("load", "preprocess"))
    records = [json.loads(line) for line in (args.output_dir / "records.jsonl").read_text().splitlines()]

    worst = 0.0
    for item in config.get_parsed_content("datalist"):
        case = load(item)
        meta, image, truth = (
            case["image"].meta,
            case["image"].as_tensor().float()[None],
            case["label"].as_tensor().bool(),
        )
        label = preprocess(case)["label"].as_tensor().long()

        def prepared(x: Tensor, meta: dict = meta) -> MetaTensor:
            return preprocess({"image": MetaTensor(x[0].clone(), meta=meta)})["image"]

        def predict(x: Tensor) -> Tensor:
            return inferer(prepared(x).as_tensor()[None], network)

        def evaluate(x: Tensor, truth: Tensor = truth, original: MetaTensor = case["image"]) -> float:
            with torch.no_grad():
                logits = MetaTensor(predict(x)[0], affine=prepared(x).affine)
            back = ResampleToMatch(mode="bilinear", padding_mode="zeros")(logits, original)
            return jaccard(back.as_tensor().argmax(0, keepdim=True).bool(), truth)

        for record in records:
            name, stage = record.get("attack"), record.get("stage")
            if record["case"] != item["case"] or name not in ("BIM", "PGD", "SMIA") or stage != "computed":
                continue
            eps, steps = record["eps_input"], record["steps"]
            step = eps / steps if record["setting"] == "paper" else 2.5 * eps / steps
            start = image
            if name == "PGD":
                key = np.random.SeedSequence([0, *item["case"].encode()]).generate_state(1)[0]
                seed = np.random.SeedSequence([key, 1]).generate_state(1)[0]
                noise = torch.rand(image.shape[1:], generator=torch.Generator().manual_seed(int(seed)))[None] * 2 - 1
                start = (image + (eps * noise).clamp(-eps, eps)).clamp(LOW, HIGH)
            loss_of = soft_jaccard if record["loss"] else cross_entropy
            alpha = 1.0 if name == "SMIA" else 0.0
            adversarial = attack(predict, loss_of, image, label, start, eps=eps, step=step, steps=steps, alpha=alpha)
            ours, theirs = record["jaccard"], evaluate(adversarial)
            slug = "_".join(p for p in (name, record["loss"], record["setting"], f"eps{record['eps']:g}") if p)
            stem = f"{item['case']}_{slug.lower().replace(' ', '-')}_adversarial.nii.gz"
            written = nib.load(args.output_dir / "volumes" / stem).get_fdata()
            radius = np.abs(written - nib.load(item["image"]).get_fdata()).max()
            assert radius <= eps, f"{stem}: {radius} > {eps}"
            worst = max(worst, abs(ours - theirs))
            print(
                f"{item['case']:20} {name:5} {record['loss'] or '':13} {record['setting']:16} "
                f"table {ours:.4f}  loop {theirs:.4f}  radius in the file {radius:g} of {eps:g}",
                flush=True,
            )
    print(f"largest difference {worst:.4f}")
    raise SystemExit(worst > 0.005)


if __name__ == "__main__":
    main()
