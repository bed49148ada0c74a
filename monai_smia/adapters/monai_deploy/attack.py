"""An operator that attacks: image in, image out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from monai.deploy.core import Fragment

from monai_smia.adapters.monai_deploy.report import RobustnessReportOperator
from monai_smia.attacks import APGD, Attack
from monai_smia.checks import check_number
from monai_smia.evaluation import AttackEvaluation
from monai_smia.evaluation.plan import PlannedAttack, radii_of
from monai_smia.records.rows import EQUAL_RADIUS

STANDARD = partial(APGD, steps=20, loss="soft_jaccard")
OF_PLANS = ("alpha", "extra", "gradients", "only", "steps", "volumes")  # options that choose attacks


class AttackOperator(RobustnessReportOperator):
    """Attacks the application's own bundle with one attack, and hands the attacked image on in the place of the clean.

    As `RobustnessReportOperator`, with a single attack; a radius of 0 hands the image on as it is.

    Args:
        attack: a class or function of ``(eps=, seed=, clip=)``, such as `functools.partial` of an attack; its radius is
            in HU.
        eps: radius in HU.

    The other arguments are those of `RobustnessReportOperator`, less its preset and what chooses among many attacks.

    Raises:
        ValueError: if the radius is no number >= 0, or an argument chooses among many attacks.

    Example:
        >>> attack = AttackOperator(
        ...     self, inference=seg_op, input_folder=input_folder, output_folder=output_folder / "attack", eps=20.0
        ... )  # doctest: +SKIP
        >>> self.add_flow(series_to_vol_op, attack, {("image", "image")})  # doctest: +SKIP
        >>> self.add_flow(attack, seg_op, {("image", "image")})  # doctest: +SKIP
    """

    def __init__(
        self,
        fragment: Fragment,
        *args: Any,
        attack: Callable[..., Attack] = STANDARD,
        eps: float = 20.0,
        **kwargs: Any,
    ) -> None:
        check_number("eps", eps)
        if chosen := sorted({"preset"} & set(kwargs) | set(OF_PLANS) & set(kwargs.get("options") or {})):
            raise ValueError(f"{', '.join(chosen)} choose among many attacks, and this is one: give it with attack.")
        self.attack = attack
        super().__init__(fragment, *args, eps=eps, **kwargs)

    def evaluation(self, files: Sequence[Path]) -> AttackEvaluation:
        """That of the clean image and the one attack."""
        evaluation = super().evaluation(files)
        (radius,) = radii_of(self.eps)
        attack = self.attack(eps=radius, seed=self.options.get("seed", 0), clip=None)
        scale = evaluation.victim.intensity_scale()
        evaluation.attacks = [PlannedAttack(), PlannedAttack(attack, radius * scale, EQUAL_RADIUS)]
        return evaluation
