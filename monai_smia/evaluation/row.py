"""One row of one case: attack, predict, measure, store, read back, measure again."""

from __future__ import annotations

import copy
import glob
import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from monai_smia.attacks import Attack, AttackResult
from monai_smia.engines import AttackEvaluator
from monai_smia.evaluation.cases import case_seed
from monai_smia.analysis.flags import probe
from monai_smia.evaluation.plan import PlannedAttack
from monai_smia.storage.nifti import BelowOneUnitError
from monai_smia.analysis.survival import degraded_records
from monai_smia.degradations import Degradation
from monai_smia.metrics import CaseMetrics, perturbation_metrics
from monai_smia.metrics.base import numbers
from monai_smia.victims.base import Victim
from monai_smia.victims.preprocessing import as_plain

Record = dict[str, Any]
AT_BOUND = 0.999  # of the radius; the rest is float rounding


class Storage(Protocol):
    """Adversarial images as files."""

    def write(self, image: Tensor, adversarial: Tensor, *, eps: float, source: str, stem: str) -> Path:
        """Write an adversarial image ``(C, *spatial)`` within eps of its source; every file begins with the stem.

        Raises:
            BelowOneUnitError: if eps is less than one unit of the file.
        """

    def read(self, path: str | Path) -> Tensor:
        """The image ``(C, *spatial)`` as the pipeline reads it."""


@dataclass
class RowEvaluator:
    """Makes the records of a (case, attack).

    Args:
        victim: what is attacked.
        metrics: of the task.
        storage: writes and reads adversarial images, or None.
        figure: draws a case under attack, or None.
        output_dir: figures go into its ``figures``.
        device: of the network.
        unit: unit of the images.
        data_range: width of the images' range that PSNR and SSIM relate to.
        write_volumes: keep what was stored.
        survival: degradations by their names, after each of which the image is measured again.
    """

    victim: Victim
    metrics: CaseMetrics
    storage: Storage | None
    figure: Callable[..., None] | None
    output_dir: Path
    device: torch.device
    unit: str
    data_range: float
    write_volumes: bool
    survival: Mapping[str, Degradation] = field(default_factory=dict)

    def __call__(
        self,
        case: dict[str, Any],
        row: PlannedAttack,
        *,
        draw: Callable[[Record], bool] | None = None,
        check: Attack | None = None,
    ) -> list[Record]:
        """The records: as computed, as stored where there is a storage, and after every degradation.

        Args:
            case: as `monai_smia.evaluation.cases.load_case` gives it; what was predicted clean is kept in it.
            row: the attack.
            draw: says of the computed record whether the case is drawn under this attack; None draws nothing.
            check: probe the victim at the radius of this attack, with the clean row.
        """
        attack, start = row.attack, time.perf_counter()
        prediction, adversarial, result = self.predict(case, row)
        seconds = time.perf_counter() - start
        record = {
            "case": case["case"],
            "attack": row.name,
            "setting": row.setting,
            "loss": row.loss,
            "eps": row.eps,
            "eps_input": None if attack is None else attack.eps,
            "unit": self.unit,
            "norm": None if attack is None else attack.norm,
            "steps": getattr(attack, "steps", None),
            "alpha": getattr(attack, "alpha", None),
            "seed": None if attack is None else case_seed(attack.seed, case["case"]),
            "gradients": None if result is None else int(result.gradients[0]),
            "strata": case["strata"],
            "status": "ok",
            "stage": "computed",
            **self.scores(prediction, case),
            "seconds": seconds,
        }
        if result is None or attack is None:
            case["clean_decision"] = self.victim.decide(prediction)[0]
            degraded = degraded_records(self, case, row, record, case["image"])
            probed = record if check is None else record | {"probe": probe(self.victim, case, check)}
            return [probed, *degraded]
        computed = record | self._sizes(adversarial[0], case, result, attack.eps) | _history(attack, result)
        if self.figure is not None and draw is not None and draw(computed):
            self._draw(self.figure, case, row, adversarial, prediction)
        if self.storage is None:
            return [computed, *degraded_records(self, case, row, record, adversarial)]
        again, stored = self._stored(self.storage, case, row, adversarial, result)
        return [
            computed,
            record | {"stage": "stored", "seconds": None} | stored,
            *degraded_records(self, case, row, record, again),
        ]

    def predict(self, case: Mapping[str, Any], row: PlannedAttack) -> tuple[Any, Tensor, AttackResult | None]:
        """Prediction on the case's own grid, the image it was made of, and the attack's result."""
        attack = copy.copy(row.attack)
        if attack is not None:
            attack.seed = case_seed(attack.seed, case["case"])
        evaluator = AttackEvaluator(
            self.device,
            [case],
            self.victim.network,
            attack=attack,
            victim=self.victim,
            mask_key="mask",
            decollate=False,
        )
        evaluator.run()
        output = evaluator.state.output
        return output["pred"], output["image"], getattr(evaluator.state, "attack_result", None)

    def scores(self, prediction: Any, case: Mapping[str, Any]) -> Record:
        """What the task's metrics say of a prediction."""
        return self.metrics.case(self.victim, prediction, case["label"], case["image"])

    def _sizes(self, adversarial: Tensor, case: Mapping[str, Any], result: AttackResult, eps: float) -> Record:
        attacked, clean = (as_plain(t)[None] for t in (adversarial, case["image"][0]))
        values = perturbation_metrics(attacked, clean, result.cosine, eps=eps, data_range=self.data_range)
        at_bound = ((attacked - clean).abs() >= AT_BOUND * eps).flatten(1).float().mean(1)
        return numbers({**values, "at_bound": at_bound})

    def _stored(
        self, storage: Storage, case: Mapping[str, Any], row: PlannedAttack, adversarial: Tensor, result: AttackResult
    ) -> tuple[Tensor, Record]:
        """The image after it was written and read back ``(1, C, *spatial)``, and its metrics.

        A radius of less than one unit of the file leaves the clean image (``erased``), and no file is written.
        """
        assert row.attack is not None
        stem, eps = f"{case['case']}_{row.slug}", row.attack.eps
        try:
            path = storage.write(case["image"][0], adversarial[0], eps=eps, source=case["source"], stem=stem)
            again, erased = storage.read(path).to(self.device), {}
        except BelowOneUnitError:
            again, erased = case["image"][0], {"erased": True}
        prediction, _, _ = self.predict({**case, "image": again.unsqueeze(0)}, PlannedAttack())
        record = self.scores(prediction, case) | self._sizes(again, case, result, eps) | erased
        if not self.write_volumes and not erased:
            for file in path.parent.glob(f"{glob.escape(stem)}*"):
                shutil.rmtree(file) if file.is_dir() else file.unlink()
        return again.unsqueeze(0), record

    def _draw(
        self,
        figure: Callable[..., None],
        case: dict[str, Any],
        row: PlannedAttack,
        adversarial: Tensor,
        prediction: Any,
    ) -> None:
        if "clean_decision" not in case:  # this case was resumed after its clean row
            case["clean_decision"] = self.victim.decide(self.predict(case, PlannedAttack())[0])[0]
        panel = (row, adversarial[0], self.victim.decide(prediction)[0])
        path = self.output_dir / "figures" / f"{case['case']}_{row.slug}.png"
        figure(path, case["image"][0], case["label"][0], case["clean_decision"], [panel], self.unit)


def _history(attack: Any, result: AttackResult) -> Record:
    """What the attack tells of itself: damage on the network's grid, and the values of every iterate."""
    histories = {
        "loss": result.loss_history,
        "cosine": result.cosine,
        "linf": result.linf,
        "variance": result.variance,
    }
    return {
        **numbers({"damage": result.damage}),
        "planned_gradients": int(attack.planned_gradients),
        "still_steps": None if result.still_steps is None else int(result.still_steps[0]),
        "history": {
            name: [v if math.isfinite(v) else None for v in tensor[:, 0].tolist()]
            for name, tensor in histories.items()
            if tensor is not None
        },
    }
