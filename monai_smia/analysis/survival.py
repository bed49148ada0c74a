"""What is left of an attack after the usual degradation of an image."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from monai.data import MetaTensor
from monai.utils import convert_to_dst_type
from torch import Tensor

from monai_smia.evaluation.plan import PlannedAttack
from monai_smia.degradations import Degradation
from monai_smia.victims.base import Victim
from monai_smia.victims.preprocessing import as_plain

if TYPE_CHECKING:
    from monai_smia.evaluation.row import RowEvaluator

Record = dict[str, Any]

AFTER, ORACLE = "after", "oracle"  # begin the name of a stage
LEAST = 0.01  # where even the oracle changes the metric by less, a share of it says nothing


def degraded(image: Tensor, degradation: Degradation) -> Tensor:
    """A batch after a degradation, still a MetaTensor where it was one."""
    after = degradation(as_plain(image))
    return convert_to_dst_type(after, image)[0] if isinstance(image, MetaTensor) else after


def through(victim: Victim, degradation: Degradation) -> Victim:
    """The victim behind a degradation: what attacks it is made to survive just that, which is the oracle.

    Args:
        victim: any victim.
        degradation: differentiable, as those of `monai_smia.degradations`.

    Example:
        >>> import torch
        >>> from monai_smia.degradations import Smooth
        >>> from monai_smia.victims import SegmentationVictim
        >>> victim, smooth = SegmentationVictim(torch.nn.Conv2d(1, 2, 1)), Smooth(1.0)
        >>> image = torch.rand(1, 1, 8, 8)
        >>> bool(torch.equal(through(victim, smooth).predict(image), victim.predict(smooth(image))))
        True
    """
    kind: Any = type(victim)

    class Through(kind):  # of its class: a detector's or a segmenter's, whatever else it overrides
        def predict(self, image: Tensor) -> Any:
            return super().predict(degradation(image))

    other = copy.copy(victim)
    other.__class__ = Through
    return other


def degraded_records(
    rows: RowEvaluator, case: Mapping[str, Any], row: PlannedAttack, record: Record, image: Tensor
) -> list[Record]:
    """What a row's image comes to after every degradation, and what the oracle's comes to.

    Args:
        rows: makes the records; its `survival` names the degradations.
        case: the case.
        row: the attack.
        record: of the row, without what belongs to one stage only.
        image: what was attacked (or the clean image), stored and read back where there is a storage.
    """
    records = []
    for name, degradation in rows.survival.items():
        stages = {f"{AFTER} {name}": image}
        if row.attack is not None:
            oracle = replace(rows, victim=through(rows.victim, degradation))
            stages[f"{ORACLE} {name}"] = oracle.predict(case, row)[1]
        for stage, attacked in stages.items():
            prediction, _, _ = rows.predict({**case, "image": degraded(attacked, degradation)}, PlannedAttack())
            records.append(record | {"stage": stage, "seconds": None} | rows.scores(prediction, case))
    return records


def add_recovered(rows: Sequence[dict[str, Any]], primary: str) -> None:
    """Say in every row after a degradation which share of the possible damage is left.

    ``recovered = (clean - attacked) / (clean - oracle)``, all three after the degradation, the oracle being the same
    attack with as many gradients through that degradation alone; None where the oracle itself does next to nothing.

    Args:
        rows: of a summary; changed in place.
        primary: name of the metric.

    Example:
        >>> rows = [{"attack": "Clean", "stage": "after smooth", "jaccard": 0.9}]
        >>> rows += [{"attack": "BIM", "stage": "after smooth", "jaccard": 0.5}]
        >>> rows += [{"attack": "BIM", "stage": "oracle smooth", "jaccard": 0.1}]
        >>> add_recovered(rows, "jaccard")
        >>> rows[1]["recovered"]
        0.5
    """
    found = {_key(row): row.get(primary) for row in rows}
    for row in rows:
        verb, _, name = row["stage"].partition(" ")
        if verb != AFTER or row["attack"] == "Clean":
            continue
        clean = next((r.get(primary) for r in rows if r["attack"] == "Clean" and r["stage"] == row["stage"]), None)
        oracle = found.get(_key({**row, "stage": f"{ORACLE} {name}"}))
        row["recovered"] = _share(clean, row.get(primary), oracle)


def survival_table(rows: Sequence[Mapping[str, Any]], primary: str) -> str:
    """One table: for every attack the metric as computed and stored, and the recovered share after every degradation."""
    names = list(dict.fromkeys(r["stage"].partition(" ")[2] for r in rows if r["stage"].startswith(f"{AFTER} ")))
    attacks = {_key({**r, "stage": ""}): r for r in rows if r["stage"] == "computed" and r["attack"] != "Clean"}
    lines = [["attack", "eps", "computed", "stored", *names]]
    for key, row in attacks.items():
        stages = {r["stage"]: r for r in rows if _key({**r, "stage": ""}) == key}
        label = " ".join(str(row[part]) for part in ("attack", "loss", "setting") if row.get(part))
        values = [row.get(primary), stages.get("stored", {}).get(primary)]
        values += [stages.get(f"{AFTER} {name}", {}).get("recovered") for name in names]
        lines.append([label, f"{row['eps']:g}", *("-" if v is None else f"{v:.3f}" for v in values)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    head = f"Survival: {primary}, then the recovered share of the possible damage after the degradation"
    return "\n".join([head, *("  ".join(c.rjust(w) for c, w in zip(line, widths, strict=True)) for line in lines)])


def _share(clean: float | None, attacked: float | None, oracle: float | None) -> float | None:
    if clean is None or attacked is None or oracle is None or abs(clean - oracle) < LEAST:
        return None
    return (clean - attacked) / (clean - oracle)


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in ("attack", "setting", "loss", "eps", "stage"))
