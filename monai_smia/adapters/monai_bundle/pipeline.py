"""A bundle's own way from a file, or an image handed over behind its loader, to a decision: it makes every figure."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from monai.data import MetaTensor
from monai.data.box_utils import box_iou
from torch import Tensor

from monai_smia.adapters.monai_bundle.boxes import BoxKeys
from monai_smia.adapters.monai_bundle.chain import Chain
from monai_smia.adapters.monai_bundle.decided import Decided, check_label_grid, decided_boxes_of, decided_of
from monai_smia.adapters.monai_bundle.decisions import DecisionRule, deciding_steps
from monai_smia.adapters.monai_bundle.engine import Iteration, QuietEngine
from monai_smia.adapters.monai_bundle.grids import affine_of, lie_alike, on_grid, same_grid
from monai_smia.adapters.monai_bundle.numbers import NumberRule
from monai_smia.adapters.monai_bundle.prompts import Prompted, check_prompts, class_prompts
from monai_smia.adapters.monai_bundle.twins import box_agreement, class_agreement, network_sees, on_network_grid
from monai_smia.adapters.monai_bundle.units import in_file_units, units_of
from monai_smia.evaluation.cases import Case
from monai_smia.evaluation.pipeline import Scored
from monai_smia.metrics import CaseMetrics
from monai_smia.victims.base import Victim
from monai_smia.victims.preprocessing import as_plain


class BundlePipeline:
    """A bundle's transforms, inferer and postprocessing, whole and in their own order.

    An attacked image enters behind the loader of its item, or, where what the network sees is attacked, at the
    network; a stored one enters through its file.

    Args:
        engine: runs the bundle's evaluator.
        chain: the transforms of its dataset.
        items: of the dataset, by the names of the cases.
        task: one of `monai_smia.evaluation.presets.TASKS`.
        rule: how postprocessing decides; None of a detector.
        judge: compares decisions with truth.
        in_scanner: images are those of the files; else what the network sees.
        label_key: key of the label.
        boxes: keys of a detector's boxes.
        labeled: whether items have labels; else the decision on the clean image is the truth.
        seeded: random transforms draw the same for a case every time.

    Attributes:
        twin: the victim that is attacked; set once it is built.
        storage: reads what the network saw from a file.
        unseen: further prompts, `UnseenPrompts`; None for none.
    """

    def __init__(
        self,
        engine: QuietEngine,
        chain: Chain,
        items: Mapping[str, Mapping[Any, Any]],
        *,
        task: str,
        rule: DecisionRule | NumberRule | None,
        judge: Victim | None,
        in_scanner: bool,
        label_key: str,
        boxes: BoxKeys | None,
        labeled: bool,
        seeded: bool = False,
    ) -> None:
        self.engine = engine
        self.chain = chain
        self.items = dict(items)
        self.task = task
        self.rule = rule
        self.judge = judge
        self.in_scanner = in_scanner
        self.label_key = label_key
        self.boxes = boxes
        self.labeled = labeled
        self.seeded = seeded
        self.twin: Any = None
        self.storage: Any = None
        self.unseen: Any = None
        self._alone = threading.Lock()
        self._clean: tuple[str, Mapping[Any, Any], Iteration] | None = None

    def fingerprint_parts(self) -> dict[str, Any]:
        """What decides its figures, for the fingerprint of records."""
        return {
            "transform": self.chain.compose,
            "inferer": self.engine.inferer.inferer,
            "postprocessing": self.engine.postprocessing,
            "rule": self.rule,
            "space": self.in_scanner,
            "labeled": self.labeled,
            "output": self.engine.output_key,
            "seeded": self.seeded,
            **({} if self.unseen is None else {"unseen": self.unseen}),
        }

    # ---- the way

    def transformed(self, name: str, image: Tensor | Path | None = None) -> dict[Any, Any]:
        """A case's item through the whole chain, with an image ``(C, *spatial)`` or a file in the place of its own."""
        item = self.items[name]
        with self._alone:  # transforms have states, and the next case is loaded by another thread
            if self.seeded:
                self.chain.compose.set_random_state(seed=zlib.crc32(name.encode()))
            if isinstance(image, Path):
                return self.chain.run(self.chain.with_files(item, self.storage.files_of(image)))
            return self.chain.run(item, image)

    def clean(self, name: str) -> tuple[Mapping[Any, Any], Iteration]:
        """The item of a case, transformed, and what the evaluator makes of it; kept for the last case."""
        if self._clean is None or self._clean[0] != name:
            item = self.transformed(name)
            self._clean = name, item, self.engine.run(item)
        return self._clean[1:]

    def exchange(self, engine: QuietEngine) -> None:
        """Go on with another engine."""
        self.engine, self._clean = engine, None

    def iterate(self, name: str, image: Tensor | Path, units: Tensor | None = None) -> Iteration:
        """What the evaluator makes of another image of a case, ``(1, C, *spatial)`` or a file.

        Args:
            name: of the case.
            image: in the case's own units, where there are such.
            units: these; None for those that the image's metadata name.
        """
        if self.in_scanner:
            given = image if isinstance(image, Path) else in_file_units(image[0], units)
            return self.engine.run(self.transformed(name, given))
        seen = self.storage.read(image).unsqueeze(0) if isinstance(image, Path) else image
        return self.engine.run(self.clean(name)[0], as_plain(seen))

    # ---- what an evaluation asks for

    def prepare(self, case: Case) -> Case:
        """The case with what needs the network, in the thread of the attack: the twin's reference, if it has no label.

        Raises:
            ValueError: if the twin gives the network something else than the chain does, or the label lies elsewhere.
        """
        iteration = self.clean(case.name)[1]
        if self.task == "detection":
            self.twin.windowed = iteration.windowed
        if isinstance(self.twin.inferer, Prompted):
            self.twin.inferer.prompt = iteration.prompt
        self.check_twin(case.name, case.image, iteration)
        if self.labeled:
            if self.task == "segmentation":
                check_label_grid(iteration, self.label_key, self.clean(case.name)[0][self.chain.image_key])
            return case
        decision = self.twin.decide(on_network_grid(self.twin, case.image))
        if self.task == "detection":
            decision = [{k: d[k][d["scores"] >= self.twin.found_score] for k in ("boxes", "labels")} for d in decision]
        return replace(case, label=decision)

    def check_twin(self, name: str, image: Any, iteration: Iteration) -> None:
        """Raise where the twin gives the network something else than the chain does.

        Args:
            name: of the case.
            image: as it is attacked ``(1, C, *spatial)``.
            iteration: of the clean case.

        Raises:
            ValueError: that says how far they are apart, and from which step on.
        """
        ours, theirs = (as_plain(t).float().cpu() for t in (network_sees(self.twin, image), iteration.seen))
        if ours.shape == theirs.shape:
            apart = float((ours - theirs).abs().max())
            if apart <= 1e-4 * max(float(theirs.abs().max()), 1e-6):
                return
            what = f"by up to {apart:.3g}"
        else:
            what = f"{tuple(theirs.shape)} and not {tuple(ours.shape)}"
        held = self.twin.preprocessing is not None
        alone = self.chain.first_difference(self.items[name], in_file_units(image[0])) if held else None
        where = f", from {alone} on" if alone else ""
        raise ValueError(f"the network is given something else than the image's own steps give ({what}{where}).")

    def score(self, case: Case, image: Tensor | Path, metrics: CaseMetrics) -> Scored:
        """The bundle's decision on an image, compared with the truth that its own chain and postprocessing give."""
        if image is case.image:
            iteration = self.clean(case.name)[1]
        else:
            iteration = self.iterate(case.name, image, units_of(case.image))
        found = self.decided(iteration)
        truth = found.truth
        if truth is None:
            reference = self.decided(self.clean(case.name)[1])
            found, truth = self._beside(found, reference)
        assert self.judge is not None
        frame = self._frame(found, case.image)
        return Scored(
            metrics=metrics.case(self.judge, found.prediction, truth, frame)
            | ({} if self.unseen is None else self.unseen.damages(case, image)),
            damage=float(self.judge.damage(found.prediction, truth)[0]),
            decision=self._shown(found, iteration, case),
        )

    def agreement(self, case: Case) -> float | None:
        """The share of voxels, boxes or labels that twin and pipeline decide alike on the clean case.

        None where they decide on different grids, and nothing says any more where the network's lies.
        """
        iteration = self.clean(case.name)[1]
        decided = self.twin.decide(on_network_grid(self.twin, case.image))
        assert self.judge is not None
        if self.task == "detection":
            assert self.boxes is not None
            return box_agreement(decided[0], self.boxes.of(iteration.raw), box_iou)
        found = self.decided(iteration)
        theirs = self.judge.decide(found.prediction)
        if isinstance(self.rule, NumberRule):
            return self.rule.agreement(decided, theirs)
        seen_affine = affine_of(iteration.seen)
        if self.task == "classification" or same_grid(theirs, found.affine, decided, seen_affine):
            return class_agreement(decided, theirs)
        on_file = self.in_scanner and not (self.rule and self.rule.prompts)  # of these the decision is resampled
        if on_file and same_grid(theirs, found.affine, case.image, affine_of(case.image)):
            return class_agreement(self.twin.decide(self.twin.infer(case.image)), theirs)
        if seen_affine is None or found.affine is None:
            return None
        mapped = on_grid(decided[0], seen_affine, theirs[0], found.affine)
        return class_agreement(mapped[None], theirs)

    def difference(self, case: Case, share: float) -> str:
        """What makes twin and pipeline decide differently, in a sentence."""
        steps = ", ".join(deciding_steps(self.engine.postprocessing)) or "which has no steps"
        return (
            f"{case.name}: the differentiable twin and the bundle's own pipeline agree on {share:.1%} of the clean "
            f"case only, and an attack on the one says little of the other. The network is given the same: what "
            f"differs is the inferer or the postprocessing, {steps}."
        )

    def shown_truth(self, case: Case) -> Any:
        """The truth on the image's own grid; None where it cannot be shown there."""
        iteration = self.clean(case.name)[1]
        if self.task != "segmentation":  # numbers may be places on the network's grid
            there = not isinstance(self.rule, NumberRule) or lie_alike(iteration.seen, case.image)
            return case.label[0] if there else None
        found = self.decided(iteration)
        assert self.judge is not None
        truth = self.judge.decide(found.prediction) if found.truth is None else found.truth
        return self._on_image(truth[0], found.affine, case)

    # ---- decisions

    def decided(self, iteration: Iteration) -> Decided:
        """The decision of an iteration, with its truth, see `decided_of`."""
        key = self.label_key if self.labeled else None
        if self.task == "detection":
            assert self.boxes is not None
            return decided_boxes_of(iteration, self.boxes, key)
        assert self.rule is not None
        if self.rule.prompts:
            steps = self.engine.postprocessing
            check_prompts(class_prompts(iteration.output, iteration.raw.shape[1], steps), self.rule.prompts)
        return decided_of(iteration, self.rule, self.task, key)

    def _beside(self, found: Decided, reference: Decided) -> tuple[Decided, Any]:
        """A decision and the clean one on one grid: that of the clean."""
        assert self.judge is not None
        truth = self.judge.decide(reference.prediction)
        if self.task == "detection":
            score = self.judge.found_score  # type: ignore[attr-defined]  # a DetectionVictim's
            return found, [{k: d[k][d["scores"] >= score] for k in ("boxes", "labels")} for d in truth]
        if self.task != "segmentation" or same_grid(found.prediction, found.affine, truth, reference.affine):
            return found, truth
        moved = on_grid(found.prediction[0], found.affine, truth[0], reference.affine)
        return replace(found, prediction=moved[None], affine=reference.affine), truth

    def _frame(self, found: Decided, image: Tensor) -> Tensor:
        """What metrics take spacing and size from."""
        if self.task != "segmentation":
            return image
        plain = found.prediction[:, :1].float()
        return plain if found.affine is None else MetaTensor(plain, affine=found.affine)

    def _shown(self, found: Decided, iteration: Iteration, case: Case) -> Any:
        assert self.judge is not None
        if self.task == "detection":
            assert self.boxes is not None
            return self.boxes.of(iteration.raw)
        decision = self.judge.decide(found.prediction)[0]
        return self._on_image(decision, found.affine, case) if self.task == "segmentation" else decision

    def _on_image(self, mask: Tensor, affine: Tensor | None, case: Case) -> Tensor | None:
        image = case.image[0]
        if affine is None or affine_of(image) is None:
            return as_plain(mask) if mask.shape[1:] == image.shape[1:] else None
        return on_grid(mask, affine, image, affine_of(image))
