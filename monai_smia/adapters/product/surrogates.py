"""Surrogates of a product: networks of our own, and one that is distilled on the product's answers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.losses import DiceCELoss
from monai.networks.nets import BasicUNet
from torch import Tensor, nn
from torch.nn import functional as F

from monai_smia.adapters.product.asking import Asking
from monai_smia.adapters.product.learning import asked_pairs, block_noise, check_queries
from monai_smia.adapters.product.queries import Source
from monai_smia.adapters.shipped import shipped_bundles
from monai_smia.attacks import APGD, Attack, AttackResult, Transfer
from monai_smia.attacks.base import AttackProblem
from monai_smia.inferers import CheckpointedSlidingWindowInferer
from monai_smia.metrics.overlap import Overlap
from monai_smia.victims import ClassificationVictim, SegmentationVictim
from monai_smia.victims.base import Victim

LOGGER = logging.getLogger(__name__)
CONFIG = Path("configs") / "attack_eval.yaml"
STRONGEST = partial(APGD, steps=20, loss="soft_jaccard")
TOWARDS = partial(APGD, steps=20, loss="cross_entropy")
OF_CLASSES = partial(APGD, steps=20, loss="margin")
HELD_OUT = 5  # every fifth
WINDOW, DEEPEST = 48, 16  # voxels of a side that are trained on; of which the network wants multiples
FEATURES = (8, 8, 16, 32, 32, 8)
STEPS, BATCH, RATE = 200, 2, 5e-3
BLOCKS = (1, 2, 4, 8)  # voxels of a side that noise is alike in


@dataclass(kw_only=True, eq=False)
class TransferFrom(Transfer):
    """A transfer attack whose row is named after its surrogate.

    Args:
        origin: what the surrogate is called.
        everywhere: class that the surrogate's attack wants in every voxel, where the product's label is none of the
            surrogate's: of masks, for a product that says something of the whole image. None leaves the label.

    The other arguments are those of `Transfer`.
    """

    origin: str
    everywhere: int | None = None

    @property
    def name(self) -> str:
        """``Transfer`` from a surrogate, and what its attack wants."""
        return f"Transfer({self.origin}{'' if self.everywhere is None else f' to class {self.everywhere}'})"

    def made(self, problem: AttackProblem) -> AttackResult:
        """The images, as the surrogate is attacked for them."""
        if self.everywhere is None:
            return super().made(problem)
        decided = self.surrogate.decide(self.surrogate.infer(problem.source_image))
        attack = replace(self.attack, targeted=True)
        with self.surrogate.frozen():
            target = torch.full_like(decided, self.everywhere)
            surrogate, label = self.surrogate.bind(problem.source_image, target)
            return attack.run(replace(problem, victim=surrogate, label=label).part(attack))


def transfers_from(
    surrogate: Victim | None, origin: str, *, finding: bool, eps: Any, clip: Any, seed: int
) -> list[TransferFrom]:
    """Strong attacks on a surrogate, transferred to a product.

    One; of a segmentation, for a product that says something of the whole image, two: one wants nothing to be found,
    the other class 1 everywhere, for nobody knows which of the two turns the product's decision.

    Args:
        surrogate: what they are made on; None of one to come.
        origin: what the surrogate is called.
        finding: the product says something of the whole image.
        eps, clip, seed: of the attacks.
    """
    masks, known = isinstance(surrogate, SegmentationVictim), cast("Victim", surrogate)
    if finding and isinstance(surrogate, SegmentationVictim):
        known = replace(surrogate, allow_empty=True)  # nothing is what one of them wants
    make = TOWARDS if finding and masks else OF_CLASSES if finding else STRONGEST
    attack: Attack = make(eps=eps, clip=clip, seed=seed, progress=True)
    wanted = (0, 1) if finding and masks else (None,)
    return [TransferFrom(attack, surrogate=known, origin=origin, everywhere=each) for each in wanted]


def bundle_surrogate(bundle: str | Path, *, finding: bool = False) -> tuple[str, Victim]:
    """The victim of a bundle of this package's layout, and what it is called.

    Args:
        bundle: one of `shipped_bundles`, or the folder of a bundle that has a ``victim`` in its attack_eval.yaml.
        finding: the product says something of the whole image, so that a classification is taken, too.

    Raises:
        ValueError: if it is none, or its victim does not fit.
    """
    shipped = shipped_bundles()
    folder = shipped.get(str(bundle), Path(bundle))
    if not (folder / CONFIG).is_file():
        raise ValueError(
            f"transfer must be a bundle with {CONFIG}, or one of {', '.join(shipped)}, got {str(bundle)!r}."
        )
    parser = ConfigParser()
    parser.read_config(str(folder / CONFIG))
    parser["bundle_root"] = str(folder)
    parser.get_parsed_content("initialize")
    victim = parser.get_parsed_content("victim")
    taken = (SegmentationVictim, ClassificationVictim) if finding else SegmentationVictim
    if not isinstance(victim, taken):
        kinds = "segmentations or classifications" if finding else "segmentations"
        raise ValueError(f"transfer must be from {kinds}, and {folder.name} has a {type(victim).__name__}.")
    return folder.name, victim


class _Standardized(nn.Module):
    """A network on images of mean 0 and deviation 1, padded to what it takes."""

    def __init__(self, network: nn.Module, mean: float, deviation: float) -> None:
        super().__init__()
        self.network, self.mean, self.deviation = network, mean, deviation

    def forward(self, image: Tensor) -> Tensor:
        """Logits on the image's own grid."""
        pad = [size for n in reversed(image.shape[2:]) for size in (0, -n % DEEPEST)]
        logits: Tensor = self.network(F.pad((image - self.mean) / self.deviation, pad))
        for axis, size in enumerate(image.shape[2:], 2):
            logits = logits.narrow(axis, 0, size)
        return logits


def distilled(
    asking: Asking, cases: Sequence[Mapping[str, Any]], *, queries: int, eps: float, seed: int
) -> tuple[Victim, str]:
    """A small network that is trained to answer as the product does, and a sentence on how well it does.

    It is shown the cases' images, clean and under block noise of the radius, and the product's answers to them; every
    fifth is held out. The answers are kept as all are: asked for once.

    Args:
        asking: of the product, which answers with label maps.
        cases: as `find_cases` gives them.
        queries: answers to learn from, those held out included.
        eps: radius of the noise, in the unit of the images.
        seed: of noise, of the network and of its training.

    Raises:
        ValueError: if there are too few queries to hold one out.
        AnswerError: if the product has no answer to one.
    """
    check_queries(queries)
    generator = torch.Generator().manual_seed(seed)
    asked = asked_pairs(asking, cases, queries, lambda *of: _wanted(*of, eps=eps), seed=seed)
    pairs = [(image, torch.from_numpy(answer.astype(np.int64))) for image, answer in asked]
    learned = [pair for n, pair in enumerate(pairs) if n % HELD_OUT != HELD_OUT - 1]
    values = torch.cat([image.flatten() for image, _ in learned])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _Standardized(
            BasicUNet(learned[0][0].ndim, 1, asking.classes, features=FEATURES, norm=("group", {"num_groups": 4})),
            float(values.mean()),
            float(values.std()) or 1.0,
        )
        _train(network, learned, generator)
    network.eval().requires_grad_(False)
    roi = [min(WINDOW * 2, size) for size in learned[0][0].shape]  # padding is the network's, after standardizing
    victim = SegmentationVictim(network, inferer=CheckpointedSlidingWindowInferer(roi_size=roi, overlap=0.25))
    held = pairs[HELD_OUT - 1 :: HELD_OUT]
    alike = float(np.mean([_agreement(victim, image, answer, asking.classes) for image, answer in held]))
    return victim, (
        f"The surrogate was distilled on {len(learned)} of the product's answers and agrees with {len(held)} others at "
        f"a Jaccard index of {alike:.3f}: the less, the less its transfer says."
    )


def _wanted(source: Source, generator: torch.Generator | None, *, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """Stored values to ask about, and the image that they are of, to learn from."""
    clean = source.values()
    if generator is None:
        return source.before, clean
    block = BLOCKS[int(torch.randint(len(BLOCKS), (1,), generator=generator))]
    delta = np.float32(eps) * block_noise(clean.shape, block, generator)
    return source.stored(delta), clean + delta


def _train(network: nn.Module, pairs: Sequence[tuple[Tensor, Tensor]], generator: torch.Generator) -> None:
    loss = DiceCELoss(to_onehot_y=True, softmax=True)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    for step in range(STEPS):
        chosen = [pairs[int(torch.randint(len(pairs), (1,), generator=generator))] for _ in range(BATCH)]
        crops = [_crop(image, answer, step % 2 == 0, generator) for image, answer in chosen]
        images, answers = (torch.stack([crop[place] for crop in crops])[:, None] for place in (0, 1))
        optimizer.zero_grad()
        value = loss(network(images), answers)
        value.backward()
        optimizer.step()
    LOGGER.info("The surrogate was trained for %d steps, last loss %.3f.", STEPS, float(value.detach()))


def _crop(image: Tensor, answer: Tensor, around: bool, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A window of an image, around something that was found where there is something."""
    found = answer.nonzero() if around else answer.new_zeros(0)
    place = found[int(torch.randint(len(found), (1,), generator=generator))].tolist() if len(found) else None
    where = []
    for axis, size in enumerate(image.shape):
        most = max(size - WINDOW, 0)
        start = int(torch.randint(most + 1, (1,), generator=generator))
        start = start if place is None else min(max(place[axis] - WINDOW // 2, 0), most)
        where.append(slice(start, start + WINDOW))
    return image[tuple(where)], answer[tuple(where)]


@torch.no_grad()
def _agreement(victim: Victim, image: Tensor, answer: Tensor, classes: int) -> float:
    """Jaccard index of the surrogate's decision and the product's, mean over classes."""
    decided = victim.decide(victim.infer(image[None, None]))
    decided = decided[:, 0] if decided.ndim > answer.ndim + 1 else decided
    return float(Overlap.of_classes(decided, answer[None], classes, None).jaccard())
