"""One row of one case: attack, predict, measure, store, read back, measure again."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from monai_smia.attacks import Attack, AttackResult, CriticalRadius, ShiftSearch
from monai_smia.degradations import Degradation
from monai_smia.evaluation.cases import Case
from monai_smia.evaluation.errors import DisagreementError
from monai_smia.evaluation.file_sizes import sizes_in_files
from monai_smia.evaluation.overlays import write_overlays
from monai_smia.evaluation.pipeline import Pipeline, Scored, VictimPipeline
from monai_smia.evaluation.plan import PlannedAttack
from monai_smia.evaluation.predictor import attacked, case_seed, queries_of
from monai_smia.evaluation.probe import probe
from monai_smia.evaluation.shift_row import Shifted, ShiftRow
from monai_smia.evaluation.survival import degraded_records
from monai_smia.evaluation.volumes import stem_of
from monai_smia.files import remove
from monai_smia.metrics import CaseMetrics, perturbation_metrics
from monai_smia.metrics.base import numbers
from monai_smia.metrics.similarity import StructuralSimilarity
from monai_smia.records import COMPUTED, STORED, Costs, Record
from monai_smia.records.damage import ADDED_DAMAGE, FROZEN, damages
from monai_smia.records.parts import History
from monai_smia.records.rows import RowKey
from monai_smia.records.shift import TOLD
from monai_smia.report.figures.panel import Panel
from monai_smia.report.figures.selector import figure_path, slices_path, within_radius
from monai_smia.report.figures.slices import can_be_leafed_through, write_slices
from monai_smia.storage import BelowOneUnitError, NotStorableError, Storage
from monai_smia.victims.base import Victim
from monai_smia.victims.preprocessing import as_plain

LOGGER = logging.getLogger(__name__)
AGREEMENT = "agreement"  # of the twin with the pipeline, a column of the clean row
LEAST_AGREEMENT = 0.95


@dataclass
class RowEvaluator:
    """Makes the records of a (case, attack).

    Args:
        victim: what is attacked.
        metrics: of the task.
        output_dir: figures go into its ``figures``.
        device: of the network.
        storage: writes and reads adversarial images, or None.
        figure: draws a case under attack, or None.
        unit: unit of the images.
        data_range: width of the images' range that PSNR and SSIM relate to.
        survival: degradations by their names, after each of which the image is measured again.
        pipeline: makes every figure; None for the victim itself.
    """

    victim: Victim
    metrics: CaseMetrics
    output_dir: Path
    device: torch.device
    storage: Storage | None = None
    figure: Callable[..., None] | None = None
    unit: str = ""
    data_range: float = 1.0
    survival: Mapping[str, Degradation] = field(default_factory=dict)
    pipeline: Pipeline | None = None

    def __post_init__(self) -> None:
        self._told, self._class_names = set[str](), getattr(self.metrics, "class_names", None)
        self._decided: Any = None  # on the image that was stored last
        self._worst: dict[Any, tuple[float, Path]] = {}  # of a case within a radius: damage, and its slices
        self._bound_to: tuple[Case, Victim] | None = None
        self._similar_to: tuple[Tensor, StructuralSimilarity] | None = None  # the clean image, for all rows of it
        self.figures: Pipeline = self.pipeline or VictimPipeline(self.victim, self.device, self.storage)

    def __call__(
        self,
        case: Case,
        row: PlannedAttack,
        *,
        draw: Callable[[Record], bool] | None = None,
        settle: Callable[[Record, Path], None] | None = None,
        probe_with: Attack | None = None,
    ) -> list[Record]:
        """The records: as computed, as stored where there is a storage, and after every degradation.

        Args:
            case: the case; the decision on its clean image is kept in it.
            row: the attack.
            draw: says of the computed record whether the case is drawn under this attack; None draws nothing.
            settle: is given the computed record and what was stored, once that was read back: to keep or to remove it.
            probe_with: probe the victim at the radius of this attack, with the clean row.
        """
        if isinstance(row.attack, ShiftSearch):
            return [self._shifted(case, row, row.attack, draw)]
        attack, start = None if row.attack is None else self._judged(case, case.own(row.attack)), time.perf_counter()
        result = None if attack is None else attacked(self._bound(case), case, self.device, attack)
        image = case.image if result is None else result.adversarial
        scored = self.score(case, image)
        seconds = time.perf_counter() - start
        record = Record(
            row=row.key(self.unit),
            stage=COMPUTED,
            case=case.name,
            patient=case.patient,
            strata=case.strata or {},
            seed=None if attack is None else case_seed(attack.seed, case.name),
            metrics=scored.metrics | self._damages(case, scored, clean=attack is None) | {FROZEN: case.frozen},
            costs=Costs(seconds, None if result is None else int(result.gradients[0])),
        )
        if result is None or attack is None:
            found = None if probe_with is None else probe(self.victim, case, case.own(probe_with))
            record = replace(record, metrics=record.metrics | self._agreement(case))
            return [replace(record, probe=found), *self._degraded(case, record, case.image, None)]
        computed = self._with_result(record, case, image[0], attack, result)
        if self.figure is not None and draw is not None and draw(computed):
            self._draw(self.figure, case, computed, image, scored.decision)
        records = [computed]
        if self.storage is not None:
            try:
                image, stored, path = self._stored(self.storage, case, record, image, result)
                records.append(stored)
                if path is not None and settle is not None:
                    settle(computed, path)
                    where: Any = {"storage": self.storage, "source": case.source}
                    write_overlays(path, case.clean_decision, self._decided, self._class_names, self._told, **where)
            except NotStorableError as error:
                if case.name not in self._told:
                    LOGGER.info("%s has no stored rows: %s", case.name, error)
                self._told.add(case.name)
        return [*records, *self._degraded(case, record, image, attack)]

    def _shifted(
        self, case: Case, row: PlannedAttack, attack: ShiftSearch, draw: Callable[[Record], bool] | None
    ) -> Record:
        """The record of a shift: metrics are those of its worst, beside their averages over the draws."""
        start, own = time.perf_counter(), case.own(attack)
        assert isinstance(own, ShiftSearch)
        if case.clean_metrics is None:
            self._damages(case, self.score(case, case.image), clean=True)
        search = ShiftRow(case, self._bound(case), self.score, self.metrics, self.device)
        result, worst = search.run(own), search.worst
        assert worst is not None
        facts = search.facts(own) | queries_of(own, result)
        record = Record(
            row=row.key(self.unit),
            stage=COMPUTED,
            case=case.name,
            patient=case.patient,
            strata=case.strata or {},
            seed=case_seed(own.seed, case.name),
            metrics=worst.scored.metrics | self._damages(case, worst.scored) | facts,
            costs=Costs(time.perf_counter() - start, int(result.gradients[0])),
        )
        if self.figure is not None and draw is not None and draw(record):
            self._draw_shift(self.figure, case, worst, record)
        return record

    def _draw_shift(self, figure: Callable[..., None], case: Case, worst: Shifted, record: Record) -> None:
        """The image at the worst of a shift, with the moved truth; its parameters stand where an attack's name does."""
        truth, decision = self.figures.shown_truth(worst.case), worst.scored.decision
        if truth is None or decision is None:
            return
        largest = float((as_plain(worst.image) - as_plain(case.image)).abs().max())
        key = RowKey(f"{record.metrics[TOLD]}; change up to", eps_input=largest or None, unit=self.unit)
        path = figure_path(self.output_dir / "figures", case.name, record.row.slug)
        figure(path, case.image[0], truth, case.clean_decision, [Panel(key, worst.image[0], decision)], self.unit)

    def _judged(self, case: Case, attack: Attack) -> Attack:
        """The attack, which asks the pipeline whether a radius is enough, where it looks for the smallest one."""
        if not isinstance(attack, CriticalRadius):
            return attack
        judged = copy.copy(attack)
        judged.judge = lambda image: self.score(case, image).damage
        return judged

    def _bound(self, case: Case) -> Victim:
        """The victim with its preprocessing frozen on this case: once, for all attacks on it."""
        if self._bound_to is None or self._bound_to[0] is not case:
            self._bound_to = case, self.victim.bind(case.image, case.label)[0]
        return self._bound_to[1]

    def score(self, case: Case, image: Tensor | Path) -> Scored:
        """What the pipeline makes of an image of the case, or of its file."""
        return self.figures.score(case, image, self.metrics)

    def _damages(self, case: Case, scored: Scored, *, clean: bool = False) -> dict[str, float | None]:
        """Damage of the image scored, of the clean one, and what the attack alone has changed."""
        if clean or case.clean_damage is None or case.clean_metrics is None:  # else it was resumed after its clean row
            before = scored if clean else self.score(case, case.image)
            case.clean_damage, case.clean_decision, case.clean_metrics = before.damage, before.decision, before.metrics
        changes = {} if clean else self.metrics.changes(scored.metrics, case.clean_metrics)
        return damages(scored.damage, case.clean_damage) | changes

    def _agreement(self, case: Case) -> dict[str, float]:
        """How far victim and pipeline decide alike; nothing where they are one.

        Raises:
            DisagreementError: if they are two different maps.
        """
        share = self.figures.agreement(case)
        if share is None:
            return {}
        if share < LEAST_AGREEMENT:
            raise DisagreementError(self.figures.difference(case, share))
        return {AGREEMENT: share}

    def _degraded(self, case: Case, record: Record, image: Tensor, attack: Attack | None) -> list[Record]:
        return degraded_records(self.victim, self.score, self.survival, case, record, image, attack, self.device)

    def _with_result(
        self, record: Record, case: Case, adversarial: Tensor, attack: Attack, result: AttackResult
    ) -> Record:
        """The record with the size of the perturbation and what the attack tells of itself."""
        sizes = self._sizes(adversarial, case, result, record.row) | queries_of(attack, result)
        costs = replace(
            record.costs,
            planned_gradients=int(attack.planned_gradients),
            zero_gradient_steps=int(result.zero_gradient_steps[0]),
        )
        return replace(record, metrics={**record.metrics, **sizes}, costs=costs, history=_history(result))

    def _sizes(self, adversarial: Tensor, case: Case, result: AttackResult, row: RowKey) -> dict[str, Any]:
        attacked, clean = (as_plain(t)[None] for t in (adversarial, case.image[0]))
        if self._similar_to is None or self._similar_to[0] is not case.image:
            self._similar_to = case.image, StructuralSimilarity(clean[0], self.data_range)
        options: Any = {"data_range": self.data_range, "similarities": [self._similar_to[1]], "eps": row.eps_input}
        sizes = perturbation_metrics(attacked, clean, result.cosine, **options)
        resolved = {} if result.unresolved.isnan().all() else {"unresolved": result.unresolved}
        return numbers({**sizes, **resolved}) | sizes_in_files(case.units, attacked[0] - clean[0], row)

    def _stored(
        self, storage: Storage, case: Case, record: Record, adversarial: Tensor, result: AttackResult
    ) -> tuple[Tensor, Record, Path | None]:
        """The image after it was written and read back ``(1, C, *spatial)``, its record, and what was written.

        Where nothing of the perturbation is left it is `below_quantization`: a radius of less than one unit of the
        file, of which no file is written, or changes that all rounded to nothing.
        """
        row, path = record.row, None
        norm = {} if row.norm in (None, "linf") else {"norm": row.norm}
        options: Any = {"eps": row.eps_input, "source": case.source, "stem": stem_of(case.name, row.slug), **norm}
        try:
            path = storage.write(case.image[0], adversarial[0], **options)
            again = storage.read(path).to(self.device)
        except BelowOneUnitError:
            again = case.image[0]
        scored = self.score(case, again.unsqueeze(0) if path is None else path)
        self._decided = scored.decision
        metrics = scored.metrics | self._damages(case, scored) | self._sizes(again, case, result, row)
        before, computed, after = (as_plain(each) for each in (case.image[0], adversarial[0], again))
        lost = bool((computed != before).any()) and not bool((after != before).any())
        return again.unsqueeze(0), record.at(STORED, metrics, below_quantization=lost), path

    def _draw(
        self, figure: Callable[..., None], case: Case, record: Record, adversarial: Tensor, decision: Any
    ) -> None:
        truth = self.figures.shown_truth(case)
        if truth is None or decision is None:
            return
        folder, row = self.output_dir / "figures", record.row
        shown = (case.image[0], truth, case.clean_decision)
        panel = Panel(row, adversarial[0], decision)
        figure(figure_path(folder, case.name, row.slug), *shown, [panel], self.unit)
        within, added = within_radius(record), record.number(ADDED_DAMAGE) or 0.0
        most, before = self._worst.get(within, (0.0, None))
        if within is not None and added > most and can_be_leafed_through(*shown[:2], decision):
            path = slices_path(folder, case.name, row.slug)
            write_slices(path, *shown, panel, self.unit)
            self._worst[within] = added, path
            if before not in (None, path):
                remove(before)


def _history(result: AttackResult) -> History:
    """The values of every iterate."""
    histories = {
        "loss": result.loss_history,
        "cosine": result.cosine,
        "linf": result.linf,
        "variance": result.variance,
    }
    return {
        name: [value if math.isfinite(value) else None for value in tensor[:, 0].tolist()]
        for name, tensor in histories.items()
    }
