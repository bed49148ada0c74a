"""Section 3.2 of the SMIA paper in numbers: Eq. 5 (KL, its quadratic form), Eq. 7 (the trace) and Eq. 8 (its product).

python benchmarks/fisher.py [--fundus FOLDER]

Without arguments on a small classifier that is trained here on pictures of its own making; with a folder of fundus
photographs on the network of the fundus bundle and their test part, as the network gets them: perturbations are in
units of local contrast there, where one grey level is about 0.04.
"""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from fisher_tables import TABLES as TABLES  # for `documents.py`
from measured import Row, add_save, save
from monai.bundle import ConfigParser
from monai.transforms import Compose
from torch import Tensor, nn

from monai_smia.attacks import BIM, SMIA, Reading
from monai_smia.victims import ClassificationVictim
from monai_smia.victims.preprocessing import as_plain

FUNDUS = Path(__file__).parents[1] / "bundles" / "fundus_dr_grading"
CLASSES = 3


def pictures(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """A faint bar in noise: upright, lying, none; float64, so that small divergences are not rounding."""
    generator = torch.Generator().manual_seed(seed)
    image = 0.5 + 0.05 * torch.randn(count, 1, 16, 16, generator=generator, dtype=torch.float64)
    label = torch.arange(count) % CLASSES
    for x, y in zip(image, label, strict=True):
        at = int(torch.randint(2, 12, (), generator=generator))
        if y < 2:
            (x[0, :, at : at + 2] if y == 0 else x[0, at : at + 2, :]).add_(0.15)
    return image.clamp(0, 1), label


class Standardise(nn.Module):
    """Pictures of grey 0.5 +- 0.2 to about 0 +- 1."""

    def forward(self, image: Tensor) -> Tensor:
        return (image - 0.5) * 5


def classifier() -> nn.Module:
    """Trained in seconds, with smooth activations, for which a quadratic form means something."""
    torch.manual_seed(0)
    network = nn.Sequential(
        Standardise(),
        *(nn.Conv2d(1, 12, 3, padding=1), nn.SiLU(), nn.AvgPool2d(2)),
        *(nn.Conv2d(12, 12, 3, padding=1), nn.SiLU(), nn.AvgPool2d(4)),
        *(nn.Flatten(), nn.Linear(48, CLASSES)),
    ).double()
    images, labels = pictures(240, 0)
    optimizer = torch.optim.Adam(network.parameters(), 0.003)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), labels, label_smoothing=0.1).backward()
        optimizer.step()
    return network.eval().requires_grad_(False)


def fundus(dataset_dir: str, count: int) -> tuple[ClassificationVictim, Tensor, Tensor]:
    """The fundus bundle's network, and photographs as it sees them; the label is the grade."""
    parser = ConfigParser()
    parser.read_config(FUNDUS / "configs" / "attack_eval.yaml")
    parser.update({"bundle_root": str(FUNDUS), "dataset_dir": dataset_dir})
    parser.get_parsed_content("initialize")
    prepare = Compose([parser.get_parsed_content("load"), *parser.get_parsed_content("preprocess")])
    items = parser.get_parsed_content("datalist")
    cases = [prepare(dict(item)) for item in items[:: max(len(items) // count, 1)][:count]]
    images = torch.stack([as_plain(case["image"]) for case in cases])
    network = parser.get_parsed_content("network").eval().requires_grad_(False)
    return ClassificationVictim(network, activation="ordinal"), images, torch.tensor([int(c["label"]) for c in cases])


def log_probabilities(victim: ClassificationVictim, image: Tensor) -> Tensor:
    """Of every class ``(B, K)``."""
    return victim.output.probabilities(victim.predict(image)).clamp_min(1e-300).log()


def quadratic_form(victim: ClassificationVictim, image: Tensor, change: Tensor) -> Tensor:
    """1/2 eta^T G eta with the Fisher matrix G of the input, from K vector-Jacobian products ``(B,)``."""
    image = image.clone().requires_grad_()
    log_p = log_probabilities(victim, image)
    total = torch.zeros(len(image), dtype=image.dtype)
    for k in range(log_p.shape[1]):
        (score,) = torch.autograd.grad(log_p[:, k].sum(), image, retain_graph=True)
        total += log_p[:, k].exp().detach() * (score * change).flatten(1).sum(1) ** 2
    return total / 2


def perturbed(victim: ClassificationVictim, images: Tensor, eps: float) -> tuple[ClassificationVictim, Tensor, Tensor]:
    """The victim in double precision, SMIA's perturbation eta, and eta' = W * eta - eta."""
    smia = SMIA(eps=eps, steps=10, clip=None)
    eta = smia(victim, images, victim.decide(victim.infer(images))).perturbation
    double = ClassificationVictim(copy.deepcopy(victim.network).double(), activation=victim.activation)
    return double, eta.double(), (smia.smooth(eta) - eta).double()


def equation_5(victim: ClassificationVictim, images: Tensor, eps: float) -> Iterator[Row]:
    """KL(f(z) || f(z + eta')) against the quadratic form, at the clean image and at the adversarial one."""
    double, eta, change = perturbed(victim, images, eps)
    for point, base in (("clean", images.double()), ("adversarial", images.double() + eta)):
        for row in at_point(double, base, change):
            yield {"point": point, "eps": eps, **row}


def at_point(double: ClassificationVictim, images: Tensor, change: Tensor) -> Iterator[Row]:
    """Divergence and form at several scales of the change."""
    with torch.no_grad():
        clean = log_probabilities(double, images)
    form = quadratic_form(double, images, change)
    for scale in (1e-3, 1e-2, 1e-1, 0.3, 1.0):
        with torch.no_grad():
            moved = log_probabilities(double, images + scale * change)
        divergence, scaled = (clean.exp() * (clean - moved)).sum(1), scale**2 * form
        ratio = scaled / divergence
        low, high = ratio.quantile(torch.tensor([0.05, 0.95], dtype=ratio.dtype))
        medians = {
            "kl": divergence.median(),
            "form": scaled.median(),
            "ratio": ratio.median(),
            "low": low,
            "high": high,
        }
        yield {"scale": scale, **{name: float(value) for name, value in medians.items()}}


def equation_8(victim: ClassificationVictim, images: Tensor, eps: float) -> Iterator[Row]:
    """Is the divergence in proportion to a trace times |eta'|^2, as Eq. 8 has it, and are their gradients alike?"""
    double, eta, _ = perturbed(victim, images, eps)
    point = (images.double() + eta).requires_grad_()
    eta = point - images.double()
    change = SMIA(eps=eps, clip=None).smooth(eta) - eta
    log_p, log_q = log_probabilities(double, point), log_probabilities(double, point + change)
    divergence, size = (log_p.exp() * (log_p - log_q)).sum(1), change.square().flatten(1).sum(1)
    form = quadratic_form(double, point.detach(), change.detach())
    (exact,) = torch.autograd.grad(divergence.sum(), point, retain_graph=True)
    products = {"sum 1/p": trace_in_probabilities(log_p.exp()), "1 - sum p^2": trace_in_logits(log_p.exp())}
    for name, product in {
        **{name: trace * size for name, trace in products.items()},
        "the form of Eq. 5": form,
    }.items():
        ratio = (divergence / product).detach()
        low, high = ratio.quantile(torch.tensor([0.05, 0.95], dtype=ratio.dtype)).tolist()
        row = {"product": name, "eps": eps, "spread": high / low, "rank": rank_correlation(divergence, product)}
        cosine = None
        if product.requires_grad:
            (ours,) = torch.autograd.grad(product.sum(), point, retain_graph=True)
            cosine = float(nn.functional.cosine_similarity(ours.flatten(1), exact.flatten(1)).median())
        yield {**row, "cosine": cosine}


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Spearman's."""
    ranks = torch.stack([values.detach().argsort().argsort().double() for values in (first, second)])
    return float(torch.corrcoef(ranks)[0, 1])


def trace_in_probabilities(p: Tensor) -> Tensor:
    """Eq. 7 as printed: sum_i 1 / p_i, the trace where the p_i are taken for free coordinates."""
    return (1 / p).sum(-1)


def trace_in_logits(p: Tensor) -> Tensor:
    """The trace of diag(p) - p p^T, the Fisher matrix of the logits: 1 - sum p^2."""
    return 1 - p.square().sum(-1)


def numeric_trace_in_logits(p: Tensor) -> Tensor:
    """The same from its definition, E_y |grad_z log p_y|^2, with autograd."""
    z = p.log().requires_grad_()
    log_p = z.log_softmax(-1)
    gradients = [torch.autograd.grad(log_p[k], z, retain_graph=True)[0] for k in range(len(p))]
    return torch.stack([p[k] * g.square().sum() for k, g in enumerate(gradients)]).sum()


def equation_7() -> Iterator[Row]:
    """Where the trace is least and largest, in both coordinates."""
    for p in ([1 / 3] * 3, [0.5, 0.3, 0.2], [0.8, 0.15, 0.05], [0.98, 0.01, 0.01]):
        q = torch.tensor(p, dtype=torch.float64)
        q = q / q.sum()
        entropy = -(q * q.log()).sum()
        shown = ", ".join(f"{v:.2f}" for v in q)
        traces = {"inverse": trace_in_probabilities(q), "trace": trace_in_logits(q)}
        traces |= {"numeric": numeric_trace_in_logits(q).detach(), "entropy": entropy}
        yield {"prediction": shown, **{name: float(value) for name, value in traces.items()}}


ATTACKS = {
    "DEV (BIM)": BIM,
    "DEV + STA (SMIA)": SMIA,
    "DEV + STA (SMIA, KL)": partial(SMIA, **Reading.named("soft, total, kl").arguments),
    "DEV + STA (SMIA, reverse KL)": partial(SMIA, **Reading.named("soft, total, reverse_kl").arguments),
}


class Watched(ClassificationVictim):
    """Remembers the probabilities of every iterate, whose prediction an attack takes the loss of."""

    def checked_loss(self, prediction: Tensor, label: Tensor) -> Tensor:
        self.seen.append(self.output.probabilities(prediction.detach()).double())
        return super().checked_loss(prediction, label)


def over_iterations(
    victim: ClassificationVictim, images: Tensor, labels: Tensor, radii: tuple[float, ...]
) -> Iterator[Row]:
    """Does the stabilization term move the prediction towards the uniform one? Entropy and trace of every iterate."""
    watched = Watched(victim.network, activation=victim.activation)
    classes = log_probabilities(victim, images[:1]).shape[1]
    for eps in radii:
        for name, make in ATTACKS.items():
            watched.seen = []
            attack = make(eps=eps, steps=10, step_size=eps / 4, clip=None)  # one more prediction: of the last iterate
            attack(watched, images, labels)
            shown = watched.seen[0:11:2]
            entropy = [-(p * p.clamp_min(1e-300).log()).sum(1).mean() for p in shown]
            trace = [trace_in_logits(p).mean() for p in shown]
            for what, values in (("entropy", entropy), ("trace", trace)):
                uniform = math.log(classes) if what == "entropy" else 1 - 1 / classes
                found = {"attack": name, "what": what, "eps": eps, "uniform": uniform}
                yield {**found, **{str(step): float(v) for step, v in zip(range(0, 11, 2), values, strict=True)}}


def main() -> None:
    """All of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_save(parser)
    parser.add_argument("--fundus", help="photographs for the fundus bundle's network instead of the small classifier")
    parser.add_argument("--photographs", type=int, default=6, help="how many of them")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.fundus:
        victim, images, labels = fundus(options.fundus, options.photographs)
        eps: tuple[float, ...] = (0.03,)
    else:
        victim, (images, labels), eps = ClassificationVictim(classifier()), pictures(60, 1), (0.01, 0.03)
    right = (victim.decide(victim.infer(images)).flatten() == labels).double().mean()
    rows: list[Row] = [{"images": len(images), "accuracy": float(right)}]
    rows += [*equation_5(victim, images, eps[-1]), *equation_7(), *over_iterations(victim, images, labels, eps)]
    rows += equation_8(victim, images, eps[-1])
    print(*rows, sep="\n")
    weights = [FUNDUS / "models" / "model.pt"] if options.fundus else []
    save(options.save, rows, seeds=[0, 1], weights=weights, data=[options.fundus] if options.fundus else [])


if __name__ == "__main__":
    main()
