"""Tables of what `bundle_runs.py` keeps: a bundle under attack, and what holds of the SMIA paper on it.

A results file has one row, the ``summary.json`` of the run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from measured import Claims, Row, Table
from paper_claims import PaperClaims, PaperTables, Verdicts, told

from monai_smia.records import CLEAN, COMPUTED
from monai_smia.records.rows import EQUAL_RADIUS

STORED = "stored"


def attacked(summary: Row, metric: str) -> list[Row]:
    """One row an attack: as computed, with the metric after storage as ``stored`` and its intervals as texts."""
    found: dict[tuple[Any, ...], Row] = {}
    blank: Row = dict.fromkeys([STORED, *(name for row in summary["rows"] for name in row)])
    for row in summary["rows"]:
        key = (row["attack"], row["setting"], row["loss"], row["eps"], row["steps"])
        interval = (row.get("intervals") or {}).get(metric)
        text = "" if interval is None else " ({:.2f} - {:.2f})".format(*interval)
        if row["stage"] == str(COMPUTED):
            shown = {"loss": row["loss"] or "-", "setting": row["setting"] or "-", "interval": text}
            found[key] = {**blank, **row, **shown, "stored_interval": ""}
        elif row["stage"] == STORED:
            found[key] |= {STORED: row[metric], "stored_interval": text}
    return list(found.values())


def one(rows: list[Row], attack: str, setting: str = EQUAL_RADIUS, **values: Any) -> Row:
    """The row of an attack, as `attacked` gives it."""
    chosen = [r for r in rows if (r["attack"], r["setting"]) == (attack, setting)]
    return next(r for r in chosen if all(r[name] == value for name, value in values.items()))


@dataclass(frozen=True)
class Attacked:
    """The table of an evaluation.

    Args:
        metric: the task's, which is shown after storage, too.
        columns: as for `measured.cells`, of rows of `attacked`.
        claims: of the rows.
    """

    metric: str
    columns: dict[str, str]
    claims: Callable[[list[Row]], Claims]

    def markdown(self, rows: list[Row]) -> str:
        """As `measured.Table` has it."""
        claims = [*told(rows[0]), *self.claims(attacked(rows[0], self.metric))]
        return Table(self.columns, claims=lambda _: claims).markdown(attacked(rows[0], self.metric))


def fundus(rows: list[Row]) -> Claims:
    large = [row for row in rows if (row["eps"] or 0) > 0.01]
    clean, noise = rows[0]["accuracy"], one(large, "Noise")
    yield f"Noise of four grey levels leaves {noise['accuracy']:.2f} of {clean:.2f}.", clean - noise["accuracy"] <= 0.05
    worst = max(row["accuracy"] for row in rows if row["attack"] not in (CLEAN, "Noise", "FGSM"))
    yield (
        f"Every attack but FGSM, whose one step is as long as the radius, leaves at most {worst:.2f} at either radius.",
        worst <= 0.1,
    )
    few = max(one(large, name)["gradients"] for name in ("FGSM", "BIM", "MIFGSM", "PGD", "SMIA"))
    yield (
        f"One gradient is enough ({few:.1f} a photograph; those that are graded wrongly anyhow take none), so that "
        "BIM, MIFGSM and SMIA are one and the same step here.",
        few <= 1 and len({one(large, name)["accuracy"] for name in ("BIM", "MIFGSM", "SMIA")}) == 1,
    )
    small = [row for row in rows if row["eps"] and row["eps"] < 0.01]
    kept = {name: one(small, name)[STORED] for name in ("FGSM", "BIM", "SMIA")}
    yield (
        f"At one grey level storage undoes BIM, MIFGSM and SMIA ({kept['BIM']:.2f}), which stop after a quarter of the "
        f"radius, and leaves FGSM as it was ({kept['FGSM']:.2f}); `--stop_at never` takes all steps.",
        min(kept["BIM"], kept["SMIA"]) >= clean - 0.02 and kept["FGSM"] <= 0.1,
    )
    yield (
        f"DeepFool stops right behind the boundary: stored it leaves {one(large, 'DeepFool')[STORED]:.2f}.",
        one(large, "DeepFool")[STORED] > 0.5,
    )


def endoscopy(rows: list[Row]) -> Claims:
    clean, noise = rows[0]["map50"], one(rows, "Noise")["map50"]
    bim, pgd, smia, dag = (one(rows, name) for name in ("BIM", "PGD", "SMIA", "DAG"))
    values = [row["map50"] for row in (bim, pgd, smia)]
    yield f"Noise of the same size leaves {noise / clean:.0%} of the clean mAP@0.5.", noise > 0.85 * clean
    yield (
        f"BIM, PGD and SMIA are within {max(values) - min(values):.3f} of each other, SMIA for {smia['gradients']:.0f} "
        f"gradients against {bim['gradients']:.0f}.",
        max(values) - min(values) < 0.05,
    )
    yield (
        f"DAG, which only makes classes wrong and does not step along the sign, is the weakest of the iterated in this "
        f"ball: {dag['map50']:.3f}.",
        dag["map50"] > max(values),
    )


def universal(rows: list[Row]) -> Claims:
    made = [row for row in rows if row["attack"] == "Universal"]
    noise = {row["eps"]: row["accuracy"] for row in rows if row["attack"] == "Noise"}
    largest = max(made, key=lambda row: row["eps"])
    yield (
        f"Of {largest['cases']} eyes that it was not made on it leaves an accuracy of {largest['accuracy']:.2f} at "
        f"{largest['eps_input']:.3g} grey levels, where noise leaves {noise[largest['eps']]:.2f}.",
        largest["accuracy"] < noise[largest["eps"]],
    )
    yield (
        "More radius never leaves more.",
        all(a["accuracy"] >= b["accuracy"] for a in made for b in made if a["eps"] < b["eps"]),
    )


HEADS = {"attack": "{attack}", "setting": "{setting}"}
FUNDUS = {"attack": "{attack}", "grey levels": "{eps_input:.3g}", "accuracy": "{accuracy:.2f}{interval}"}
FUNDUS |= {"stored": "{stored:.2f}{stored_interval}", "kappa": "{kappa:.3f}", "AUC": "{auc:.3f}", "FPR": "{fpr:.3f}"}
FUNDUS |= {"Var": "{var:.3f}", "gradients": "{gradients:.1f}"}
BOXES = {**HEADS, "radius": "{eps:.3g}", "gradients": "{gradients:.0f}", "mAP@0.5": "{map50:.3f}{interval}"}
BOXES |= {"stored": "{stored:.3f}{stored_interval}", "mAP@0.5:0.95": "{map:.3f}", "IoU": "{iou:.3f}"}
BOXES |= {"invented boxes": "{invented:.1f}", "Var": "{var:.3f}", "Cos": "{cos:.1f}"}


UNIVERSAL = {**HEADS, "grey levels": "{eps_input:.3g}", "accuracy": "{accuracy:.2f}{interval}"}
UNIVERSAL |= {"stored": "{stored:.2f}{stored_interval}", "kappa": "{kappa:.3f}", "eyes": "{cases}"}
LUNGS, FRAMES = PaperClaims("jaccard", 0.05), PaperClaims("map", 0.01)
EYES, POLYPS = PaperClaims("accuracy", 0.0005, 0.00005), PaperClaims("map", 0.2 / 255, 0.02 / 255)
VERDICTS = Verdicts(
    {
        "CT, cubes": [("ct_cube_tables", LUNGS)],
        "CT, whole": [("ct_tables", LUNGS)],
        "drawn artefacts": [("endoscopy_tables", FRAMES)],
        "polyps": [("polyps_frames_tables", POLYPS), ("polyps_varied", POLYPS)],
        "fundus": [("fundus_tables", EYES), ("fundus_readings", EYES)],
    }
)
TABLES = {
    "verdicts": VERDICTS,
    "universal_fundus": Attacked("accuracy", UNIVERSAL, universal),
    "fundus_attack": Attacked("accuracy", FUNDUS, fundus),
    "endoscopy_attack": Attacked("map50", BOXES, endoscopy),
    "ct_tables": PaperTables("COVID-19", {"Acc(%)": "accuracy", "Jaccard(%)": "jaccard"}, 0.05),
    "endoscopy_tables": PaperTables("EAD-2019", {"IOU(%)": "iou", "mAP(%)": "map"}, 0.01),
    "polyps_tables": PaperTables(
        "EAD-2019", {"IOU(%)": "iou", "mAP(%)": "map", "EAD score(%)": "ead"}, 0.2 / 255, 0.02 / 255
    ),
    "fundus_tables": PaperTables("APTOS-2019", {"Acc(%)": "accuracy"}, 0.0005, 0.00005),
    "ct_claims": LUNGS,
    "endoscopy_claims": FRAMES,
    "polyps_claims": POLYPS,
    "fundus_claims": EYES,
}
