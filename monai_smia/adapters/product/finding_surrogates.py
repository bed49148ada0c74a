"""A surrogate that is distilled on the findings of a product: numbers, classes, or probabilities of classes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from monai_smia.adapters.product.asking import Asking
from monai_smia.adapters.product.kinds import Finding
from monai_smia.adapters.product.learning import asked_pairs, block_noise, check_queries
from monai_smia.adapters.product.queries import Source
from monai_smia.victims import ClassificationVictim

LOGGER = logging.getLogger(__name__)
REACH = (1, 2, 4, 8)  # radii, of the attack's, that the noise has: decisions turn further away
BLOCKS = (1, 2, 4, 8, 0)  # voxels of a side that noise is alike in; 0 for the whole image
LONGEST = 48  # voxels of a side at most, that the network sees after averaging
WIDTH, STEPS, BATCH, RATE = 8, 300, 4, 1e-2
HELD_OUT = 5  # every fifth


class _Pooled(nn.Module):
    """From an image of any size to a few numbers: averaged down, convolved twice, and averaged over all places.

    Args:
        axes: of the images.
        outputs: how many numbers.
        mean, deviation: of the values of images that are averaged down.
    """

    def __init__(self, axes: int, outputs: int, mean: float, deviation: float) -> None:
        super().__init__()
        conv: Any = nn.Conv2d if axes == 2 else nn.Conv3d
        self.mean, self.deviation = mean, deviation
        self.first = conv(1, WIDTH, 3, padding=1, padding_mode="replicate")
        self.second = conv(WIDTH, WIDTH, 1)
        self.last = nn.Linear(WIDTH, outputs)

    def of_averaged(self, small: Tensor) -> Tensor:
        """The numbers ``(B, outputs)`` of images that are averaged down."""
        hidden = F.silu(self.first((small - self.mean) / self.deviation))
        numbers: Tensor = self.last(F.silu(self.second(hidden)).flatten(2).mean(2))
        return numbers

    def forward(self, image: Tensor) -> Tensor:
        """The numbers of images as they are."""
        return self.of_averaged(averaged(image))


def averaged(image: Tensor) -> Tensor:
    """Images ``(B, 1, *spatial)`` averaged down, in blocks that leave no side longer than the network takes."""
    pool: Any = F.avg_pool2d if image.ndim == 4 else F.avg_pool3d
    small: Tensor = pool(image, [-(-size // LONGEST) for size in image.shape[2:]])
    return small


class _Margin(nn.Module):
    """Scores of two classes from one number and the reader's threshold, as the product's `Finding` decides.

    Args:
        network: gives the number, of mean 0 and deviation 1.
        mean, deviation: of the product's numbers.
        finding: that decides.
    """

    def __init__(self, network: _Pooled, mean: float, deviation: float, finding: Finding) -> None:
        super().__init__()
        assert finding.threshold is not None
        self.network, self.sign = network, -1.0 if finding.below else 1.0
        self.threshold = (finding.threshold - mean) / deviation

    def of_averaged(self, small: Tensor) -> Tensor:
        """Scores ``(B, 2)`` of images that are averaged down, in deviations of the number."""
        margin = self.sign * (self.network.of_averaged(small) - self.threshold)
        return torch.cat([torch.zeros_like(margin), margin], 1)

    def forward(self, image: Tensor) -> Tensor:
        """Scores of images as they are."""
        return self.of_averaged(averaged(image))


def distilled_finding(
    asking: Asking, cases: Sequence[Mapping[str, Any]], *, queries: int, eps: float, seed: int
) -> tuple[ClassificationVictim, str]:
    """A small network that is trained to answer as the product does, and a sentence on how well it does.

    It is shown the cases' images, clean and under block noise of one to eight radii, so that decisions turn, and the
    product's answers to them; every fifth is held out. A number is learned as a number, a class as a class.

    Args:
        asking: of the product, which answers with a finding.
        cases: as `find_cases` gives them; their images are averaged down, and of one number of axes.
        queries: answers to learn from, those held out included.
        eps: radius of the attack, in the unit of the images.
        seed: of noise, of the network and of its training.

    Raises:
        ValueError: if there are too few queries to hold one out.
        AnswerError: if the product has no answer to one.
    """
    check_queries(queries)
    finding = asking.kind
    assert isinstance(finding, Finding)
    generator = torch.Generator().manual_seed(seed)
    pairs = asked_pairs(
        asking,
        cases,
        queries,
        lambda *of: _wanted(*of, eps=eps),
        seed=seed,
        kept=lambda image: averaged(image[None, None]),
    )
    learned = [pair for n, pair in enumerate(pairs) if n % HELD_OUT != HELD_OUT - 1]
    held = pairs[HELD_OUT - 1 :: HELD_OUT]
    values = torch.cat([image.flatten() for image, _ in learned])
    scored = finding.threshold is not None
    outputs = 1 if scored else asking.classes
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _Pooled(learned[0][0].ndim - 2, outputs, float(values.mean()), float(values.std()) or 1.0)
        answers = torch.stack([_target(answer, finding, asking.classes) for _, answer in learned])
        mean, deviation = (float(answers.mean()), float(answers.std(correction=0)) or 1.0) if scored else (0.0, 1.0)
        _train(network, learned, (answers - mean) / deviation, scored, generator)
    whole = _Margin(network, mean, deviation, finding) if scored else network
    whole.eval().requires_grad_(False)
    told = _told(whole, finding, learned, held, (mean, deviation), asking.classes)
    return ClassificationVictim(whole, loss="margin"), told


def _wanted(source: Source, generator: torch.Generator | None, *, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """Stored values to ask about, and the image that they are."""
    stored = source.before
    if generator is not None:
        reach, block = (int(torch.randint(len(of), (1,), generator=generator)) for of in (REACH, BLOCKS))
        stored = source.stored(eps * REACH[reach] * block_noise(source.before.shape, BLOCKS[block], generator))
    return stored, source.values_of(stored)


def _target(answer: np.ndarray, finding: Finding, classes: int) -> Tensor:
    """What is learned of an answer: its number ``(1,)``, or a probability for each class ``(K,)``."""
    if finding.threshold is not None or len(answer) > 1:
        return torch.from_numpy(answer.astype(np.float32))
    return F.one_hot(torch.tensor(int(answer[0])), classes).float()


def _train(network: _Pooled, learned: Sequence[Any], targets: Tensor, scored: bool, generator: torch.Generator) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    for _ in range(STEPS):
        chosen = torch.randint(len(learned), (BATCH,), generator=generator).tolist()
        found = torch.cat([network.of_averaged(learned[n][0]) for n in chosen])  # cases may differ in size
        wanted = targets[chosen]
        value = F.mse_loss(found, wanted) if scored else F.cross_entropy(found, wanted)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    LOGGER.info("The surrogate was trained for %d steps, last loss %.3f.", STEPS, float(value.detach()))


@torch.no_grad()
def _told(
    network: _Pooled | _Margin,
    finding: Finding,
    learned: Sequence[Any],
    held: Sequence[Any],
    scale: tuple[float, float],
    classes: int,
) -> str:
    """How well the surrogate answers as the product does, in sentences."""
    decided = [int(finding.scores(answer, classes).argmax()) for _, answer in held]
    scores = torch.cat([network.of_averaged(image) for image, _ in held])
    alike = sum(int(a) == b for a, b in zip(scores.argmax(1), decided, strict=True))
    text = (
        f"The surrogate was distilled on {len(learned)} of the product's answers and decides {alike} of {len(held)} "
        "others as the product does"
    )
    if finding.threshold is not None:
        mean, deviation = scale
        numbers = np.asarray([float(answer[0]) for _, answer in held])
        sign = -1.0 if finding.below else 1.0
        guessed = sign * (scores[:, 1] - scores[:, 0]).double().numpy() * deviation + finding.threshold
        known = float(((numbers - mean) ** 2).sum())
        if known > 0:
            missed = float(((numbers - guessed) ** 2).sum())
            text += f", and explains {max(1 - missed / known, 0.0):.0%} of what their numbers vary by"
    one = " It was shown one answer alone, and can tell no other." if len({tuple(a) for _, a in learned}) == 1 else ""
    return f"{text}: the less, the less its transfer says.{one}"
