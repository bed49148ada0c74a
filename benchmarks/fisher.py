"""Section 3.2 of the SMIA paper in numbers: Eq. 5 (KL, its quadratic form) and Eq. 7 (the trace and its coordinates).

    python benchmarks/fisher.py
    python benchmarks/fisher.py --fundus <fundus>

On a small classifier that is trained here on the pictures of its own making, or on the network of the fundus bundle
and photographs of its test part, as the network gets them: perturbations are in units of local contrast there, where
one grey level is about 0.04. An ordinal grader's prediction is the probabilities of its grades.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from monai.bundle import ConfigParser
from torch import Tensor, nn

from monai_smia.attacks import BIM, SMIA
from monai_smia.data import LoadPhotograph, fundus_datalist
from monai_smia.victims import ClassificationVictim

BUNDLE = Path(__file__).parents[1] / "bundles" / "fundus_dr_grading"
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


class Grades(nn.Module):
    """An ordinal grader that answers the log-probabilities of its grades.

    Args:
        victim: the grader.
    """

    def __init__(self, victim: ClassificationVictim) -> None:
        super().__init__()
        self.network = victim.network
        self.output = victim.output

    def forward(self, image: Tensor) -> Tensor:
        return self.output.probabilities(self.network(image)).clamp_min(1e-30).log()


def fundus(folder: str, count: int) -> tuple[nn.Module, Tensor, Tensor]:
    """The bundle's network, and test photographs spread over the list, as the network gets them; float64."""
    config = ConfigParser()
    config.read_config(BUNDLE / "configs" / "attack_eval.yaml")
    victim = config.get_parsed_content("victim")
    victim.network.load_state_dict(torch.load(BUNDLE / "models" / "model.pt", weights_only=True))
    items = fundus_datalist(folder, split="test")
    chosen = [items[i * len(items) // count] for i in range(count)]
    preprocess = config.get_parsed_content("victim::preprocessing")
    images = torch.stack(
        [torch.as_tensor(preprocess({"image": LoadPhotograph()(i["image"])})["image"]) for i in chosen]
    )
    network = Grades(victim).double().eval().requires_grad_(False)
    return network, images.double(), torch.tensor([item["label"] for item in chosen])


def quadratic_form(network: nn.Module, image: Tensor, change: Tensor) -> Tensor:
    """1/2 eta^T G eta with the Fisher matrix G of the input, from K vector-Jacobian products ``(B,)``."""
    image = image.clone().requires_grad_()
    log_p = network(image).log_softmax(1)
    total = torch.zeros(len(image), dtype=image.dtype)
    for k in range(log_p.shape[1]):
        (score,) = torch.autograd.grad(log_p[:, k].sum(), image, retain_graph=True)
        total += log_p[:, k].exp().detach() * (score * change).flatten(1).sum(1) ** 2
    return total / 2


def equation_5(network: nn.Module, images: Tensor, clip: tuple[float, float] | None) -> None:
    """KL(f(x) || f(x + eta')) against the quadratic form, for eta' = W * eta - eta of SMIA's perturbation."""
    smia = SMIA(eps=0.03, steps=10, clip=clip)
    victim = ClassificationVictim(network)
    eta = smia(victim, images, network(images).argmax(1)).perturbation
    change = smia.smooth(eta) - eta
    print("\nEq. 5: KL and its quadratic form along eta' = W * eta - eta; medians over images")
    print("scale of eta'   KL          1/2 eta'^T G eta'   ratio  [5 %, 95 %]")
    whole = quadratic_form(network, images, change)
    for scale in (1e-3, 1e-2, 1e-1, 0.3, 1.0):
        clean, moved = (network(x).log_softmax(1) for x in (images, images + scale * change))
        divergence = (clean.exp() * (clean - moved)).sum(1)
        form = scale**2 * whole
        ratio = form / divergence
        low, high = ratio.quantile(torch.tensor([0.05, 0.95], dtype=ratio.dtype))
        medians = f"{divergence.median():11.3e}   {form.median():11.3e}   {ratio.median():10.4f}"
        print(f"{scale:8g}   {medians}  [{low:.3f}, {high:.3f}]")


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


def equation_7() -> None:
    """Where the trace is least and largest, in both coordinates."""
    print("\nEq. 7: trace of the Fisher matrix, by coordinates")
    print("prediction                sum 1/p    1 - sum p^2    (by autograd)   entropy")
    for p in ([1 / 3] * 3, [0.5, 0.3, 0.2], [0.8, 0.15, 0.05], [0.98, 0.01, 0.01]):
        q = torch.tensor(p, dtype=torch.float64)
        q = q / q.sum()
        entropy = -(q * q.log()).sum()
        shown = ", ".join(f"{v:.2f}" for v in q)
        print(
            f"[{shown}]   {trace_in_probabilities(q):12.2f}   {trace_in_logits(q):12.4f}   "
            f"{numeric_trace_in_logits(q):12.4f}   {entropy:8.4f}"
        )
    print("sum 1/p is least at the uniform prediction (the paper's reading); 1 - sum p^2 is largest there.")


def entropy_over_iterations(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    clip: tuple[float, float] | None,
    radii: Sequence[float],
    iterations: Sequence[int],
) -> None:
    """Does the stabilization term move the prediction towards the uniform one? The entropy of every iterate."""
    victim = ClassificationVictim(network)
    print("\nMean entropy of the prediction over the iterations (log K is uniform: "
          f"{torch.log(torch.tensor(float(network(images).shape[1]))):.3f})")  # fmt: skip
    print("attack                 " + "".join(f"{step:8d}" for step in iterations))
    for eps in radii:
        for name, make in (("DEV (BIM)", BIM), ("DEV + STA (SMIA)", SMIA)):
            values = []
            for steps in iterations:
                attack = make(eps=eps, steps=steps, step_size=eps / 4, keep="last", clip=clip)
                p = network(attack(victim, images, labels).adversarial if steps else images).softmax(1)
                values.append(-(p * p.clamp_min(1e-300).log()).sum(1).mean())
            print(f"{name:17s} {eps:5g}" + "".join(f"{v:8.3f}" for v in values))


def main() -> None:
    """Print all three."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fundus", metavar="DIR", help="photographs for the fundus bundle's network")
    parser.add_argument("--photographs", type=int, default=6, help="how many of them")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.fundus:
        network, images, labels = fundus(options.fundus, options.photographs)
        clip, radii, iterations = None, [0.03], [0, 5, 10]
    else:
        network, (images, labels) = classifier(), pictures(60, 1)
        clip, radii, iterations = (0.0, 1.0), [0.01, 0.03], [0, 2, 4, 6, 8, 10]
    print(f"accuracy on {len(images)} images: {(network(images).argmax(1) == labels).double().mean():.3f}")
    equation_5(network, images, clip)
    equation_7()
    entropy_over_iterations(network, images, labels, clip, radii, iterations)


if __name__ == "__main__":
    main()
