"""The evaluation: cases x attacks, one record each, and what is made of the records.

It knows nothing of the task. What a task brings along:

- cases: items of a datalist with ``case`` (a unique name), ``image`` (a file), ``label`` (a file, a grade, boxes), and
  ``patient`` where a patient has several cases
- loading: a transform from an item to ``image`` ``(C, *spatial)`` and ``label``: a label map of the image's rank, a
  number or vector ``(K,)`` of classes, or a dictionary of ``boxes`` ``(N, 4 or 6)`` and ``labels`` ``(N,)``. The victim
  gets a batch of one: ``(1, ...)``, ``(1,)``, or a list of one dictionary
- victim: any `monai_smia.victims.Victim`; what it predicts is a tensor or a dictionary of head maps
- metrics: a `monai_smia.metrics.CaseMetrics`: values of a case that JSON can hold, and the summary of many
- storage: ``write(image, adversarial, *, eps, source, stem) -> path`` and ``read(path) -> (C, *spatial)``; the name of
  every file that is written begins with the stem
- figure: ``(path, image, label, clean_decision, panels, unit)`` draws one case, see `segmentation_figure`
"""

from __future__ import annotations

import copy
import glob
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from monai_smia.attacks import FGSM, AttackResult
from monai_smia.engines import AttackEvaluator
from monai_smia.evaluation.plan import PlannedAttack
from monai_smia.evaluation.records import RecordWriter, summarize, write_summary
from monai_smia.evaluation.report import format_table, write_report
from monai_smia.metrics import CaseMetrics, perturbation_metrics
from monai_smia.metrics.base import numbers
from monai_smia.victims.base import Victim, check_same_grid
from monai_smia.victims.preprocessing import as_plain


class Storage(Protocol):
    """Adversarial images as files."""

    def write(self, image: Tensor, adversarial: Tensor, *, eps: float, source: str, stem: str) -> Path:
        """Write an adversarial image ``(C, *spatial)`` within eps of its source; every file begins with the stem."""

    def read(self, path: str | Path) -> Tensor:
        """The image ``(C, *spatial)`` as the pipeline reads it."""


class AttackEvaluation:
    """Evaluates a victim clean and under every planned attack, case by case.

    Every attack is reported twice: as computed, and after the adversarial image was written, read back and predicted
    again. A case that cannot be loaded or attacked becomes a failure with its reason, and the others go on. What is
    done is on disk at once.

    Written into `output_dir`: ``summary.json``, ``records.jsonl``, ``cases.csv``, ``report.html``, ``figures/*.png``.

    Args:
        cases: items with ``image`` (a file), ``label`` and a unique name ``case``.
        loading: transform from an item to its image ``(C, *spatial)`` and label, with whatever preprocessing is not in
            the victim.
        victim: what is attacked.
        attacks: the plan, as from `paper_comparison`.
        metrics: of the task, such as `monai_smia.metrics.SegmentationMetrics`.
        output_dir: where to write.
        storage: writes and reads adversarial images, such as `NiftiStorage`; None leaves the stored rows out.
        figure: draws a case under attack, such as `segmentation_figure`; None draws nothing.
        device: where the victim's network is and the cases go.
        unit: unit of the images, for tables (``"HU"``).
        data_range: width of the images' range that PSNR and SSIM relate to.
        write_volumes: keep adversarial images and perturbations; without them they are removed once read back.
        progress: print the schedule and show progress.

    Raises:
        ValueError: if there are no cases.
    """

    def __init__(
        self,
        *,
        cases: Sequence[Mapping[str, Any]],
        loading: Callable[[Any], Any],
        victim: Victim,
        attacks: Sequence[PlannedAttack],
        metrics: CaseMetrics,
        output_dir: str | Path,
        storage: Storage | None = None,
        figure: Callable[..., None] | None = None,
        device: torch.device | str = "cpu",
        unit: str = "",
        data_range: float = 1.0,
        write_volumes: bool = True,
        progress: bool = True,
    ) -> None:
        if not cases:
            raise ValueError("cases must hold at least one case, got none.")
        self.cases = cases
        self.loading = loading
        self.victim = victim
        self.attacks = attacks
        self.metrics = metrics
        self.output_dir = Path(output_dir)
        self.storage = storage
        self.figure = figure
        self.device = torch.device(device)
        self.unit = unit
        self.data_range = data_range
        self.write_volumes = write_volumes
        self.progress = progress

    def run(self) -> dict[str, Any]:
        """Evaluate everything.

        Returns:
            The summary, as in ``summary.json``.

        Raises:
            RuntimeError: after all the rest is written, if a case failed.
        """
        start = time.perf_counter()
        self.output_dir.mkdir(parents=True, exist_ok=True)
        total = len(self.cases) * len(self.attacks)
        with (
            RecordWriter(self.output_dir / "records.jsonl") as records,
            tqdm(total=total, unit="row", disable=not self.progress) as bar,
        ):
            announced = not self.progress
            for number, item in enumerate(self.cases):
                try:
                    case = self.load(item)
                    if not announced:
                        tqdm.write(self.schedule(case))
                        announced = True
                    self._evaluate_case(case, records, bar)
                except Exception as error:
                    records.add({"case": item["case"], "status": "failed", "reason": reason_of(error)})
                bar.update(len(self.attacks) * (number + 1) - bar.n)
        summary: dict[str, Any] = {
            "rows": summarize(records.all, self.metrics.summary),
            "failures": [record for record in records.all if record["status"] == "failed"],
            "cases": len(self.cases),
            "unit": self.unit,
            "seconds": time.perf_counter() - start,
        }
        write_summary(self.output_dir, summary, records.all)
        report = write_report(self.output_dir, summary)
        if self.progress:
            print(format_table(summary), f"Report: {report.resolve()}", sep="\n")
        if summary["failures"]:
            reasons = "; ".join(f"{record['case']}: {record['reason']}" for record in summary["failures"])
            raise RuntimeError(f"{len(summary['failures'])} of {len(self.cases)} cases failed: {reasons}")
        return summary

    def schedule(self, case: Mapping[str, Any]) -> str:
        """What is going to be computed, and how long it takes, measured on one gradient of one case."""
        image, label = case["image"], case["label"]
        start = time.perf_counter()
        FGSM(eps=0.0, clip=None, keep="last", progress=False)(self.victim, image, label)
        one = time.perf_counter() - start
        gradients = sum(row.attack.planned_gradients for row in self.attacks if row.attack is not None)
        forwards = 2 * len(self.attacks)
        minutes = len(self.cases) * one * (gradients + forwards / 2) / 60
        return (
            f"{len(self.cases)} cases x {len(self.attacks)} rows: {gradients} gradients a case at {one:.1f} s, "
            f"about {minutes:.1f} minutes in all."
        )

    def _evaluate_case(self, case: Mapping[str, Any], records: RecordWriter, bar: Any) -> None:
        image = case["image"][0]
        panels, clean_decision = [], None
        for row in self.attacks:
            bar.set_description(f"{case['case']}: {row.name} {row.setting}".rstrip())
            start = time.perf_counter()
            prediction, adversarial, result = self._predict(case, row)
            seconds = time.perf_counter() - start
            record = {
                "case": case["case"],
                "attack": row.name,
                "setting": row.setting,
                "loss": row.loss,
                "eps": row.eps,
                "eps_input": None if row.attack is None else row.attack.eps,
                "unit": self.unit,
                "norm": None if row.attack is None else row.attack.norm,
                "steps": getattr(row.attack, "steps", None),
                "gradients": None if result is None else int(result.gradients[0]),
                "status": "ok",
                "stage": "computed",
                **self.metrics.case(self.victim, prediction, case["label"], case["image"]),
                "seconds": seconds,
            }
            if result is None or row.attack is None:
                records.add(record)
                clean_decision = self.victim.decide(prediction)[0]
            else:
                records.add(record | self._sizes(adversarial[0], image, result.cosine, row.attack.eps))
                if self.storage is not None:
                    stored = self._stored(self.storage, case, row, adversarial, result)
                    records.add(record | {"stage": "stored", "seconds": None} | stored)
                panels.append((row, adversarial[0], self.victim.decide(prediction)[0]))
            bar.update()
        if self.figure is not None and clean_decision is not None and panels:
            path = self.output_dir / "figures" / f"{case['case']}.png"
            self.figure(path, image, case["label"][0], clean_decision, panels, self.unit)

    def _predict(self, case: Mapping[str, Any], row: PlannedAttack) -> tuple[Any, Tensor, AttackResult | None]:
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
        result = getattr(evaluator.state, "attack_result", None)
        return output["pred"], output["image"], result

    def _stored(
        self, storage: Storage, case: Mapping[str, Any], row: PlannedAttack, adversarial: Tensor, result: AttackResult
    ) -> dict[str, Any]:
        """The metrics after the image was written, read back and predicted again."""
        assert row.attack is not None
        image, stem = case["image"][0], f"{case['case']}_{row.slug}"
        path = storage.write(image, adversarial[0], eps=row.attack.eps, source=case["source"], stem=stem)
        again = storage.read(path).to(self.device)
        prediction, _, _ = self._predict({**case, "image": again.unsqueeze(0)}, PlannedAttack())
        scores = self.metrics.case(self.victim, prediction, case["label"], case["image"])
        sizes = self._sizes(again, image, result.cosine, row.attack.eps)
        if not self.write_volumes:
            for file in path.parent.glob(f"{glob.escape(stem)}*"):
                shutil.rmtree(file) if file.is_dir() else file.unlink()
        return {**scores, **sizes}

    def _sizes(self, adversarial: Tensor, image: Tensor, cosine: Tensor, eps: float) -> dict[str, float | None]:
        attacked, clean = (as_plain(t)[None] for t in (adversarial, image))
        return numbers(perturbation_metrics(attacked, clean, cosine, eps=eps, data_range=self.data_range))

    def load(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """One case as a batch of one, with a mask of the voxels that may change where not all may."""
        loaded = self.loading(dict(item))
        image = loaded["image"].to(self.device)
        if not bool(as_plain(image).isfinite().all()):
            raise ValueError("image must be finite, got NaN or infinite voxels.")
        case = {"case": item["case"], "source": item["image"], "image": image[None].float()}
        case["label"] = batch_of_one(loaded["label"], image)
        case["mask"] = self._changeable(case["image"])
        return case

    def _changeable(self, image: Tensor) -> Tensor:
        """Voxels inside the attacks' valid range: padding outside of it (-2048 in some CTs) is left alone."""
        clips = {row.attack.clip for row in self.attacks if row.attack is not None and row.attack.clip is not None}
        plain = as_plain(image)
        mask = torch.ones_like(plain, dtype=torch.bool)
        for low, high in clips:
            mask &= (plain >= low) & (plain <= high)
        return mask


def case_seed(seed: int | Sequence[int], case: str) -> int:
    """The seed of an attack on a case: of its name, not of when it is its turn."""
    return int(np.random.SeedSequence([*np.atleast_1d(seed), *case.encode()]).generate_state(1)[0])


def reason_of(error: BaseException) -> str:
    """The error that others were raised from: MONAI's "applying transform ..." says nothing of the file."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"


def batch_of_one(label: Any, image: Tensor) -> Any:
    """A case's label as the victim takes it, on the image's device.

    Args:
        label: label map of the image's rank, class number(s), or a dictionary of tensors (boxes).
        image: the case's image ``(C, *spatial)``.

    Raises:
        ValueError: if a label map is not on the image's grid.

    Example:
        >>> batch_of_one(3, torch.zeros(3, 8, 8)), batch_of_one({"labels": [1]}, torch.zeros(3, 8, 8))
        (tensor([3]), [{'labels': tensor([1])}])
    """
    if isinstance(label, Mapping):
        return [{name: torch.as_tensor(value, device=image.device) for name, value in label.items()}]
    label = torch.as_tensor(label, device=image.device)
    if label.ndim == image.ndim:
        if image.shape[1:] != label.shape[1:]:
            raise ValueError(f"label must have the image's shape {tuple(image.shape)}, got {tuple(label.shape)}.")
        check_same_grid(image, label)
    return label[None]
