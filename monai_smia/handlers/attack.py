"""Turns an existing MONAI engine into an attacked one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from ignite.engine import Engine, Events
from monai.engines import IterationEvents
from monai.utils import CommonKeys
from torch import Tensor

from monai_smia.attacks.base import Attack
from monai_smia.attacks.result import AttackResult
from monai_smia.transforms.attack import check_attack
from monai_smia.victims.base import Victim
from monai_smia.victims.preprocessing import as_plain

PERTURBATION = "perturbation"


class AttackHandler:
    """Attacks the batch of a MONAI evaluator or trainer before its network sees it.

    At the start of an iteration the image in ``engine.state.batch`` is replaced by its adversarial version, so that
    everything after it (network, postprocessing, metrics, other handlers) sees the attacked image. The engine's own
    `prepare_batch` says what image and label are. The result stays in ``engine.state.attack_result`` (None after an
    iteration that was not attacked), and the perturbation joins the iteration's output as ``"perturbation"``.

    The image is attacked in the unit in which the engine's network receives it; where the dataset has already scaled it
    to [0, 1], so is `eps`. Every iteration draws from its own seed, derived from the attack's.

    Args:
        attack: the attack; or several, which take turns, each on a batch of its own.
        victim: the network with its loss; usually the engine's own network and inferer.
        image_key: key of the image in a dictionary batch.
        mask_key: key of a mask of voxels that may change, or None.
        label_transform: turns the engine's label into what the victim takes, as the argmax of a one-hot label; None
            leaves it as it is.
        every: attack every so many iterations and leave the others clean, as adversarial training may want it.

    Raises:
        ValueError: if `every` is not a whole number >= 1, or attack or victim is no instance of one.

    Example:
        >>> import torch
        >>> from monai.engines import SupervisedEvaluator
        >>> from monai_smia.attacks import PGD
        >>> from monai_smia.victims import SegmentationVictim
        >>> network = torch.nn.Conv2d(1, 2, 3, padding=1)
        >>> batch = {"image": torch.rand(1, 1, 8, 8), "label": torch.randint(0, 2, (1, 1, 8, 8))}
        >>> evaluator = SupervisedEvaluator(torch.device("cpu"), [batch], network)
        >>> AttackHandler(PGD(eps=0.03), SegmentationVictim(network)).attach(evaluator)
        >>> evaluator.run()
        >>> bool(evaluator.state.attack_result.perturbation.abs().max() <= 0.03 + 1e-6)
        True
    """

    def __init__(
        self,
        attack: Attack | Sequence[Attack],
        victim: Victim,
        *,
        image_key: str = CommonKeys.IMAGE,
        mask_key: str | None = None,
        label_transform: Callable[[Any], Any] | None = None,
        every: int = 1,
    ) -> None:
        self.attacks = tuple(attack) if isinstance(attack, (list, tuple)) else (attack,)
        if not self.attacks:
            raise ValueError("attack must be an attack, or several, got none.")
        for one in self.attacks:
            check_attack(one, victim)
        if every < 1 or int(every) != every:
            raise ValueError(f"every must be a whole number >= 1, got {every}.")
        self.victim = victim
        self.image_key = image_key
        self.mask_key = mask_key
        self.label_transform = label_transform
        self.every = int(every)
        self._turn = 0

    @property
    def attack(self) -> Attack:
        """The attack whose turn it is."""
        return self.attacks[self._turn % len(self.attacks)]

    def attach(self, engine: Engine, event: Any = None) -> None:
        """Attach to an engine; attaching the same handler twice changes nothing.

        Args:
            engine: a MONAI SupervisedEvaluator or SupervisedTrainer, or another engine with its `prepare_batch`.
            event: when to attack; None for the start of every `every`-th iteration.

        Raises:
            ValueError: if the engine has another AttackHandler, whose result this one would attack once more.
        """
        if engine.has_event_handler(self):
            return
        AttackHandler.claim(engine)
        engine.add_event_handler(Events.ITERATION_STARTED(every=self.every) if event is None else event, self)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._add_perturbation)

    @staticmethod
    def claim(engine: Engine) -> None:
        """Mark an engine as one that is attacked.

        Raises:
            ValueError: if it is already.
        """
        if engine.has_event_handler(AttackHandler._forget):
            raise ValueError(
                "engine must have one AttackHandler, got a second one: it would start from an attacked image and leave "
                "the ball of eps; use an Ensemble for several attacks."
            )
        engine.add_event_handler(Events.ITERATION_STARTED, AttackHandler._forget)

    @staticmethod
    def _forget(engine: Engine) -> None:
        """No result is left of the last iteration where this one is not attacked."""
        engine.state.attack_result = None  # type: ignore[attr-defined]  # a State takes any attribute

    @staticmethod
    def _add_perturbation(engine: Engine) -> None:
        """Put the perturbation beside image, label and prediction."""
        result: AttackResult | None = getattr(engine.state, "attack_result", None)
        if result is not None and isinstance(engine.state.output, dict):
            engine.state.output[PERTURBATION] = result.perturbation

    def __call__(self, engine: Any) -> None:
        """Attack the current batch.

        Raises:
            ValueError: if the batch holds no label, or its image is not the tensor that the network receives.
        """
        batch = engine.state.batch
        image, label = engine.prepare_batch(
            batch,
            engine.state.device,
            engine.non_blocking,
            **engine.to_kwargs,
        )[:2]
        if label is None:
            raise ValueError("the batch must hold a label to attack; prepare_batch returned none.")
        if self.label_transform is not None:
            label = self.label_transform(label)
        mask = None if self.mask_key is None else as_plain(batch[self.mask_key])
        iteration = engine.state.iteration

        def of_iteration(seed: Any) -> list[int]:
            state = np.random.SeedSequence([*np.atleast_1d(seed), iteration]).generate_state(len(image))
            return [int(value) for value in state]

        result = self.attack.reseeded(of_iteration)(self.victim, image, label, mask=mask)
        engine.state.batch = self._with_image(batch, image, result.adversarial)
        engine.state.attack_result = result
        self._turn += 1

    def _with_image(self, batch: Any, image: Tensor, adversarial: Tensor) -> Any:
        if isinstance(batch, Mapping):
            if self.image_key not in batch:
                raise ValueError(f"image_key must be a key of the batch, {sorted(batch)}, got {self.image_key!r}.")
            self._check(batch[self.image_key], image)
            return {**batch, self.image_key: adversarial}
        self._check(batch[0], image)
        return type(batch)([adversarial, *batch[1:]])

    def _check(self, ours: Tensor, received: Tensor) -> None:
        if ours.shape != received.shape:
            raise ValueError(
                f"the image in the batch, {tuple(ours.shape)}, must be what prepare_batch hands to the network, "
                f"{tuple(received.shape)}; give image_key, or do the conversion in the dataset."
            )
