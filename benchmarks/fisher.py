"""Section 3.2 of the SMIA paper in numbers: Eq. 5 (KL, its quadratic form) and Eq. 7 (the trace and its coordinates).

python benchmarks/fisher.py [--config FILE --weights FILE --images FILE]

Without arguments on a small classifier that is trained here on the pictures of its own making; with a fundus bundle's
weights and photographs on that network.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn

from monai_smia.attacks import BIM, SMIA
from monai_smia.victims import ClassificationVictim

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


def quadratic_form(network: nn.Module, image: Tensor, change: Tensor) -> Tensor:
    """1/2 eta^T G eta with the Fisher matrix G of the input, from K vector-Jacobian products ``(B,)``."""
    image = image.clone().requires_grad_()
    log_p = network(image).log_softmax(1)
    total = torch.zeros(len(image), dtype=image.dtype)
    for k in range(log_p.shape[1]):
        (score,) = torch.autograd.grad(log_p[:, k].sum(), image, retain_graph=True)
        total += log_p[:, k].exp().detach() * (score * change).flatten(1).sum(1) ** 2
    return total / 2


def equation_5(network: nn.Module, images: Tensor) -> None:
    """KL(f(x) || f(x + eta')) against the quadratic form, for eta' = W * eta - eta of SMIA's perturbation."""
    smia = SMIA(eps=0.03, steps=10)
    victim = ClassificationVictim(network)
    eta = smia(victim, images, network(images).argmax(1)).perturbation
    change = smia.smooth(eta) - eta
    print("\nEq. 5: KL and its quadratic form along eta' = W * eta - eta; medians over images")
    print("scale of eta'   KL          1/2 eta'^T G eta'   ratio  [5 %, 95 %]")
    for scale in (1e-3, 1e-2, 1e-1, 0.3, 1.0):
        clean, moved = (network(x).log_softmax(1) for x in (images, images + scale * change))
        divergence = (clean.exp() * (clean - moved)).sum(1)
        form = quadratic_form(network, images, scale * change)
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


def entropy_over_iterations(network: nn.Module, images: Tensor, labels: Tensor) -> None:
    """Does the stabilization term move the prediction towards the uniform one? The entropy of every iterate."""
    victim = ClassificationVictim(network)
    print("\nMean entropy of the prediction over the iterations (log K is uniform: "
          f"{torch.log(torch.tensor(float(network(images).shape[1]))):.3f})")  # fmt: skip
    print("attack                 " + "".join(f"{step:8d}" for step in range(0, 11, 2)))
    for eps in (0.01, 0.03):
        for name, make in (("DEV (BIM)", BIM), ("DEV + STA (SMIA)", SMIA)):
            values = []
            for steps in range(0, 11, 2):
                attack = make(eps=eps, steps=steps, step_size=eps / 4, keep="last")
                p = network(attack(victim, images, labels).adversarial if steps else images).softmax(1)
                values.append(-(p * p.clamp_min(1e-300).log()).sum(1).mean())
            print(f"{name:17s} {eps:5g}" + "".join(f"{v:8.3f}" for v in values))


def main() -> None:
    """Print all three."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", help="a bundle's config with `network_def`; the small classifier where left out")
    parser.add_argument("--weights", help="its weights")
    parser.add_argument("--images", help="a .pt file with `image` (B, C, H, W) and `label` (B,)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.config:
        from monai.bundle import ConfigParser

        config = ConfigParser()
        config.read_config(options.config)
        network = config.get_parsed_content("network_def")
        network.load_state_dict(torch.load(options.weights, weights_only=True))
        network = network.double().eval().requires_grad_(False)
        data = torch.load(options.images, weights_only=True)
        images, labels = data["image"].double(), data["label"]
    else:
        network, (images, labels) = classifier(), pictures(60, 1)
    print(f"accuracy on {len(images)} images: {(network(images).argmax(1) == labels).double().mean():.3f}")
    equation_5(network, images)
    equation_7()
    entropy_over_iterations(network, images, labels)


if __name__ == "__main__":
    main()
