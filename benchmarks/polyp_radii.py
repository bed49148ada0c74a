"""How small a change is enough for the polyp detectors of the endoscopy bundle: what the preset `standard` leaves.

The detector as it ships and the one that was trained against attacks (`train_robust.yaml`), under the preset
with few gradients, before storage. Radii are grey levels of the frame, of which an 8-bit file holds whole ones; the
SMIA paper's is 2.55 of them.

    python benchmarks/polyp_radii.py ENDOSCOPY
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from clean import ENDOSCOPY, summarized
from measured import ROOT, Claims, Row, Table, add_save, digest, save
from monai.bundle import ConfigParser

from monai_smia.evaluation import standard_attack
from monai_smia.metrics import DetectionMetrics

BUNDLE = ROOT / "bundles" / ENDOSCOPY
MODELS = BUNDLE / "models"
RADII = (0.25, 0.5, 1.0, 2.0, 4.0)
STANDARD, ROBUST = "model.pt", "model_robust.pt"


def left(eps: float) -> str:
    """The name of what a radius leaves."""
    return f"at_{eps:g}".replace(".", "_")


def measured(weights: Path, options: argparse.Namespace, folder: str) -> Row:
    """The mAP@0.5 that one detector keeps of some frames, clean and at every radius."""
    parser = ConfigParser()
    parser.read_config(BUNDLE / "configs" / "attack_eval.yaml")
    given = {"dataset_dir": str(options.endoscopy), "split": options.split, "output_dir": folder}
    parser.update({"bundle_root": str(BUNDLE), "weights": str(weights), **given})
    parser.get_parsed_content("initialize")
    victim, run = (parser.get_parsed_content(part) for part in ("victim", "evaluation"))
    cases = run.cases[:: max(len(run.cases) // options.frames, 1)][: options.frames]
    metrics = DetectionMetrics(["polyp"])
    row: Row = {"network": weights.name, "sha256": digest(weights)[:12], "split": options.split, "frames": len(cases)}
    for eps in (0.0, *RADII):
        attack = standard_attack("detection", eps=eps / 255, steps=options.gradients)
        records = []
        for case in map(run.loading, cases):
            image, label = case["image"][None], [case["label"]]
            seen = attack(victim, image, label).adversarial if eps else image
            records.append(metrics.case(victim, victim.infer(seen), label, seen))
        found = summarized(metrics, records)
        row |= {"objects": found["objects"], left(eps): found["map50"]}
        row[f"{left(eps)}_range"] = [found["low"], found["high"]]
        print(weights.name, eps, found["map50"], flush=True)
    return row


def claims(rows: list[Row]) -> Claims:
    """How far each detector holds, and what the robust one pays for it."""
    for row in rows:
        held = [eps for eps in RADII if row[left(eps)] >= row[left(0)] / 2]
        largest = f"{max(held):g} grey level{'s' * (max(held) != 1)}" if held else f"less than {RADII[0]:g} grey levels"
        yield f"{row['network']} keeps half of its clean mAP@0.5 within {largest}.", True
    found = {row["network"]: row for row in rows}
    if {STANDARD, ROBUST} <= set(found):
        change = found[ROBUST][left(0)] - found[STANDARD][left(0)]
        yield (
            f"The robust one has a clean mAP@0.5 that is {abs(change):.3f} {'lower' if change < 0 else 'higher'}.",
            True,
        )


def cell(name: str) -> str:
    """The mAP of a radius, with its interval."""
    return f"{{{name}:.3f}} ({{{name}_range[0]:.2f}} - {{{name}_range[1]:.2f}})"


COLUMNS = {"network": "{network}", "frames": "{frames} of {split}", "polyps": "{objects}", "clean": cell(left(0))}
COLUMNS |= {f"{eps:g}": cell(left(eps)) for eps in RADII}
TABLES = {"table": Table({**COLUMNS, "SHA-256": "{sha256}"}, claims=claims)}


def main() -> None:
    """Print a row for each detector."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("endoscopy", type=Path)
    parser.add_argument("--weights", nargs="+", type=Path, default=[MODELS / name for name in (STANDARD, ROBUST)])
    parser.add_argument("--split", default="test")
    parser.add_argument("--frames", type=int, default=75, help="of the split, taken evenly")
    parser.add_argument("--gradients", type=int, default=10, help="of the first attack of the preset")
    add_save(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = [measured(weights.resolve(), options, folder) for weights in options.weights]
    print(TABLES["table"].markdown(rows))
    shipped = [weights for weights in options.weights if weights.resolve().parent == MODELS]
    save(options.save, rows, seeds=[0], weights=shipped, data=[options.endoscopy])


if __name__ == "__main__":
    main()
