"""Networks that hide their gradient are flagged, sound ones are not: the confusion table, with every kind by name."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from record_helpers import group, record
from torch import Tensor, nn

from monai_smia.analysis.flags import flags_of
from monai_smia.evaluation import AttackEvaluation, paper_comparison
from monai_smia.metrics import CaseMetrics
from monai_smia.records import Record
from monai_smia.records.rows import CRITICAL_RADIUS
from monai_smia.victims import ClassificationVictim

EPS = 0.06


def pictures(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """A faint bar in a noisy image: class 0 upright, 1 lying, 2 none."""
    generator = torch.Generator().manual_seed(seed)
    image = 0.5 + 0.05 * torch.randn(count, 1, 12, 12, generator=generator)
    label = torch.arange(count) % 3
    for x, y in zip(image, label, strict=True):
        at = int(torch.randint(2, 9, (), generator=generator))
        if y < 2:
            (x[0, :, at : at + 2] if y == 0 else x[0, at : at + 2, :]).add_(0.16)
    return image.clamp(0, 1), label


def conv(
    activation: Callable[[], nn.Module] = nn.ReLU, *, width: int = 12, pool: Callable[..., nn.Module] = nn.AvgPool2d
) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), activation(), pool(2),
        nn.Conv2d(width, width, 3, padding=1), activation(), pool(2),
        nn.Flatten(), nn.Linear(width * 9, 3),
    )  # fmt: skip


def trained(network: nn.Module, *, adversarially: bool = False, smoothing: float = 0.1) -> nn.Module:
    """A network that knows the pictures, with losses that float32 can tell from zero unless `smoothing` is 0."""
    images, labels = pictures(96, 0)
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(120):
        batch = images
        if adversarially:
            shifted = images.clone().requires_grad_()
            nn.functional.cross_entropy(network(shifted), labels).backward()
            assert shifted.grad is not None
            batch = (images + 0.03 * shifted.grad.sign()).clamp(0, 1)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(batch), labels, label_smoothing=smoothing).backward()
        optimizer.step()
    return network.eval()


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = conv(nn.ELU)
        self.skip = nn.Sequential(nn.AvgPool2d(3), nn.Flatten(), nn.Linear(16, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.skip(x)


class Around(nn.Module):
    """A sound network with something before or after it."""

    def __init__(
        self, before: Callable[[Tensor], Tensor] | None = None, after: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.network = inside()
        self.before, self.after = before, after
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.before is None else self.before(x)
        x = self.network(x)
        return x if self.after is None else self.after(x)


class Backward(torch.autograd.Function):
    """Identity with a gradient of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rule: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.rule = rule
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return ctx.rule(gradient), None


class Steps(nn.Module):
    """A step function for an activation: zero gradient everywhere."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sign(x) + 0 * x


def straight_through(x: Tensor) -> Tensor:
    return x + ((x * 16).round() / 16 - x).detach()


def frozen_winners(x: Tensor) -> Tensor:
    """Non-differentiable denoising: the median of 3 x 3, on values the gradient does not reach."""
    patches = nn.functional.unfold(nn.functional.pad(x, (1, 1, 1, 1), mode="reflect"), 3)
    return patches.median(1).values.view_as(x).detach() + 0 * x


def noise(x: Tensor) -> Tensor:
    return x + 0.1 * torch.randn_like(x)


def one_hot(logits: Tensor) -> Tensor:
    return 5 * nn.functional.one_hot(logits.argmax(1), 3).to(logits) + 0 * logits


SOUND: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: trained(conv()),
    "elu": lambda: inside(),
    "tanh": lambda: trained(conv(nn.Tanh)),
    "max pooling": lambda: trained(conv(pool=nn.MaxPool2d)),
    "leaky": lambda: trained(conv(nn.LeakyReLU, width=8)),
    "perceptron": lambda: trained(nn.Sequential(nn.Flatten(), nn.Linear(144, 32), nn.GELU(), nn.Linear(32, 3))),
    "batch norm": lambda: trained(nn.Sequential(nn.BatchNorm2d(1), conv())),
    "residual": lambda: trained(Residual()),
    "adversarially trained": lambda: trained(conv(), adversarially=True),
    "straight-through quantised": lambda: Around(before=straight_through),
    "temperature 2": lambda: Around(after=lambda z: z / 2),
    "standardised input": lambda: Around(before=lambda x: (2 * x - 0.3) / 2 + 0.15),
}


@cache
def inside() -> nn.Module:
    """The sound network that others have something around."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return trained(conv(nn.ELU))


@cache
def all_sound() -> dict[str, nn.Module]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        trained(conv(nn.ELU))  # the draws of the one inside
        return {name: make() for name, make in SOUND.items()}


MASKED: dict[str, Callable[[], nn.Module]] = {
    "quantised input": lambda: Around(before=lambda x: (x * 16).round() / 16),
    "saturated head": lambda: Around(after=lambda z: 1e4 * z),
    "decision for logits": lambda: Around(after=one_hot),
    "clamped logits": lambda: Around(after=lambda z: (50 * z).clamp(-3, 3)),
    "rounded logits": lambda: Around(after=lambda z: z.round()),
    "median filter, no gradient": lambda: Around(before=frozen_winners),
    "step activation": lambda: nn.Sequential(nn.Conv2d(1, 8, 3), Steps(), nn.Flatten(), nn.Linear(800, 3)).eval(),
    "overconfident": lambda: trained(nn.Sequential(nn.BatchNorm2d(1), conv()), smoothing=0),
    "noise on the input": lambda: Around(before=noise),
    "dropout always on": lambda: Around(before=lambda x: nn.functional.dropout(x, 0.1, training=True)),
    "shattered gradient": lambda: Around(before=lambda x: x + 2e-4 * torch.sin(2e6 * x)),
    "reversed gradient": lambda: Around(before=lambda x: Backward.apply(x, lambda g: -g)),
    "random gradient": lambda: Around(before=lambda x: Backward.apply(x, torch.randn_like)),
    "wrong gradient": lambda: Around(before=lambda x: Backward.apply(x, lambda g: g.flip((2, 3)).abs())),
}  # fmt: skip


def masked(name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MASKED[name]()


class Right(CaseMetrics):
    def case(self, victim: Any, prediction: Any, label: Any, image: Tensor) -> dict[str, Any]:
        return {"accuracy": 1.0 - float(victim.damage(prediction, label)[0])}


def flags(network: nn.Module, folder: Path, **options: Any) -> set[str]:
    images, labels = pictures(9, 1)
    evaluation = AttackEvaluation(
        cases=[{"case": str(i), "image": f"{i}", "label": int(labels[i])} for i in range(9)],
        loading=lambda item: {"image": images[int(item["image"])], "label": item["label"]},
        victim=ClassificationVictim(network),
        attacks=[row for row in paper_comparison([EPS / 4, EPS], steps=4) if row.setting != "paper"],
        metrics=Right(),
        output_dir=folder,
        progress=False,
        **options,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return {flag["name"] for flag in evaluation.run()["flags"]}


@pytest.mark.filterwarnings("ignore:the gradient of the deviation")
@pytest.mark.parametrize("name", MASKED)
def test_no_masked_network_goes_unflagged(name: str, tmp_path: Path) -> None:
    assert flags(masked(name), tmp_path) - {"train mode"}


@pytest.mark.parametrize("name", SOUND)
def test_sound_networks_are_not_flagged(name: str, tmp_path: Path) -> None:
    assert flags(all_sound()[name], tmp_path) == set()


def agreement(network: nn.Module) -> float:
    """Median over pictures of the cosine between the gradient in single and in double precision."""
    images, labels = pictures(90, 1)
    gradients = []
    for dtype in (torch.float32, torch.float64):
        victim = ClassificationVictim(copy.deepcopy(network).to(dtype))
        x = images.to(dtype, copy=True).requires_grad_()
        victim.loss(victim.predict(x), labels).sum().backward()
        assert x.grad is not None
        gradients.append(x.grad.double().flatten(1))
    return float(torch.cosine_similarity(*gradients).median())


def test_an_overconfident_network_belongs_to_the_masked_ones() -> None:
    """Nothing was added to it, but single precision rounds its losses to 0, and what is left is not their gradient."""
    assert agreement(masked("overconfident")) < 0.1
    assert all(agreement(all_sound()[name]) > 0.999 for name in ("relu", "tanh", "batch norm", "adversarially trained"))


class AlwaysTraining(nn.BatchNorm2d):
    """Statistics of the batch, whatever mode it is put into."""

    def train(self, mode: bool = True) -> Any:
        return super().train(True)


def test_a_network_that_stays_in_train_mode_is_flagged(tmp_path: Path) -> None:
    network = trained(nn.Sequential(AlwaysTraining(1), conv()))
    assert "train mode" in flags(network, tmp_path / "stays")
    assert flags(inside().train(), tmp_path / "handed over") == set()  # the victim puts it into eval mode
    assert inside().training
    inside().eval()


def row(attack: str, damage: float, **values: Any) -> list[Record]:
    key = {"setting": "equal radius", "eps": 0.1, "norm": "linf", "steps": 4}
    costs = {"gradients": 4, "planned_gradients": 4, "zero_gradient_steps": 0}
    return [record(attack, damage=damage, **{**key, **costs, **values})]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row("BIM", 0.5), row("Square", 0.7, gradients=0)], "a weaker attack does more damage"),
        ([row("BIM", 0.5), row("Transfer", 0.7)], "a weaker attack does more damage"),
        ([row("Noise", 0.2, gradients=0), row("Transfer", 0.1)], None),  # neither knows the gradient
        ([row("Noise", 0.2, gradients=0), row("VAFA", 0.1)], None),  # of few forms alone
        ([row("Noise", 0.2, gradients=0), row("LowFrequency(APGD, dct)", 0.1), row("APGD", 0.3)], None),
        ([row("BIM", 0.5), row("Noise", 0.9, gradients=0, eps=0.2)], None),  # another radius
        ([row("BIM", 0.5), row("BIM", 0.3, eps=0.2)], "less damage with more radius"),
        ([row("BIM", 0.5), row("BIM", 0.3, steps=8)], "less damage with more steps"),
        ([row("BIM", 0.5), row("BIM", 0.49, steps=8)], None),
        ([row("BIM", 0.5, gradients=2)], "stopped early"),
        ([row("BIM", 1.0, gradients=2)], None),
        ([row("BIM", 0.5, zero_gradient_steps=1)], "zero gradients"),
        ([row("BIM", 0.5, unresolved=0.3)], "low precision"),
        ([row("BIM", 0.5, unresolved=0.2)], None),
        ([row("BIM", 1.0, unresolved=0.9)], None),  # it has broken everything all the same
        ([row("BIM", 0.5, unresolved=0.9) + row("BIM", 0.5, unresolved=None)], "low precision"),
        ([row("BIM", 0.5, unresolved=0.9) + row("BIM", 0.5, unresolved=0.1)], None),
        ([row("CriticalRadius", 0.5, setting=CRITICAL_RADIUS, unresolved=0.9)], "low precision"),
        ([row("BIM", 0.5, history={"loss": [1.0, 0.5, 0.9]})], "loss falls"),
        (  # wrong before any step: the loss has had no chance to rise
            [
                row("BIM", 1.0, gradients=0, history={"loss": [2.0, 2.0]})
                + row("BIM", 1.0, gradients=2, history={"loss": [0.5, 1.0]})
            ],
            None,
        ),
        ([row("BIM", 0.5, history={"loss": [1.0, 0.5, 1.9]})], None),
    ],
)  # fmt: skip
def test_each_flag(rows: Any, expected: str | None) -> None:
    found = {flag.name for flag in flags_of([group(*members) for members in rows])}
    assert found == (set() if expected is None else {expected})
